//! `cardkeep info` for people.

use anstyle::Style;
use cardkeep_ops::{InfoReport, InputKind, Partition, State, Survey, Verdict, path_text};

use crate::terminal::outln;
use crate::text::bar::bar;
use crate::text::contents;
use crate::text::list::headline;
use crate::units::{duration, size};

/// A line of a terminal that nobody made wider.
const BAR_CELLS: u64 = 72;

/// Prints all that was learnt.
pub(crate) fn print_info(report: &InfoReport) {
    let bold = Style::new().bold();
    let survey = &report.survey;
    let path = path_text(&report.opened.path);
    outln!([bold, path] "  {}", what(report));
    outln!("  holds    {}", contents(survey));
    match &survey.table {
        Some(table) => outln!("  table    {}, disk id {}", table.scheme, table.disk_id),
        // A medium without a table is one partition, number 0.
        None if survey.partitions.iter().any(|part| part.number == 0) => {
            outln!("  table    none: there are no partitions");
        }
        None => outln!("  table    damaged: it can't be trusted"),
    }
    for note in &survey.notes {
        outln!("  note     {note}");
    }
    if let Some(Verdict::Guarded(guards)) = &report.verdict {
        for guard in guards {
            outln!("  guarded  {guard}");
        }
    }
    if let Some(manifest) = report.opened.manifest() {
        outln!("  made by  {}", shown(&manifest.tool));
        if !manifest.lost.is_empty() {
            let bytes: u64 = manifest.lost.iter().map(|extent| extent.len()).sum();
            outln!(
                "  lost     {}, which could not be read from the card",
                size(bytes)
            );
        }
        for note in &manifest.notes {
            outln!("  note     {}", shown(note));
        }
        outln!("  digest   blake3-frames:{}", manifest.image_digest());
    }
    for note in &report.notes {
        outln!("  note     {note}");
    }
    outln!("");
    outln!("  {}", bar(&survey.map, BAR_CELLS));
    outln!("  █ all used  ▓▒░ partly  · free or zero");
    outln!("");
    print_partitions(survey);
    print_totals(report);
}

/// Returns as much of a text from an image as anybody reads.
fn shown(note: &str) -> String {
    note.chars().take(200).collect()
}

fn what(report: &InfoReport) -> String {
    match &report.opened.kind {
        InputKind::Card(device) => headline(device),
        InputKind::Image { format, .. } => {
            let image = format!(
                "{} image of {}",
                format.extension(),
                size(report.survey.len)
            );
            match report.opened.stored_bytes {
                Some(bytes) => format!("{image}, stored in {}", size(bytes)),
                None => image,
            }
        }
        InputKind::Plain => format!("raw image of {}", size(report.survey.len)),
    }
}

fn print_partitions(survey: &Survey) {
    outln!(
        "  {:>3}  {:<10} {:>9} {:>9} {:>9} {:>9}  {:<10} {}",
        "nr",
        "filesystem",
        "size",
        "used",
        "zero",
        "free",
        "label",
        "state"
    );
    for partition in &survey.partitions {
        outln!(
            "  {:>3}  {:<10} {:>9} {:>9} {:>9} {:>9}  {:<10} {}",
            partition.number,
            partition.content.name(),
            size(partition.extent.len()),
            size(partition.used_bytes),
            size(partition.zero_bytes),
            size(partition.free_bytes),
            label(partition),
            state(partition)
        );
    }
    for gap in survey.gaps.iter().filter(|gap| !gap.skipped.is_empty()) {
        outln!(
            "    -  gap of {} at byte {}: {} in its middle are not copied (--everything copies them)",
            size(gap.extent.len()),
            gap.extent.start(),
            size(gap.skipped.len())
        );
    }
}

fn label(partition: &Partition) -> &str {
    partition
        .content
        .filesystem()
        .and_then(|fs| fs.label.as_deref())
        .unwrap_or("-")
}

fn state(partition: &Partition) -> String {
    let Some(fs) = partition.content.filesystem() else {
        return format!("{} (copied whole)", partition.kind);
    };
    let state = if fs.is_clean {
        "clean"
    } else {
        "not unmounted"
    };
    let made = fs.created_seconds.and_then(day);
    let parts = [
        Some(state.to_owned()),
        fs.uuid.as_ref().map(|uuid| format!("UUID {uuid}")),
        fs.compression.clone(),
        made.map(|day| format!("made {day}")),
        (fs.more_devices > 0).then(|| format!("parts of it on {} more devices", fs.more_devices)),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// Returns the day, in UTC, of a time in seconds since 1970; `None` for one that no calendar has.
fn day(seconds: u64) -> Option<String> {
    // A time that no calendar has is left out.
    let time = jiff::Timestamp::from_second(i64::try_from(seconds).ok()?).ok()?;
    Some(time.strftime("%Y-%m-%d").to_string())
}

fn print_totals(report: &InfoReport) {
    let map = &report.survey.map;
    let used = map.bytes(State::Used);
    let time = report
        .speed
        .filter(|&speed| speed > 0)
        .map_or_else(String::new, |speed| {
            let seconds = used as f64 / speed as f64;
            format!(
                ", about {} at the {}/s measured",
                duration(seconds),
                size(speed)
            )
        });
    outln!("");
    outln!(
        "  a backup reads {} of {}{time}",
        size(used),
        size(report.survey.len)
    );
}
