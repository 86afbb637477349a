//! `cardkeep info` for people.

use anstyle::Style;
use cardkeep_block::State;
use cardkeep_device::Verdict;
use cardkeep_ops::{InfoReport, OpenedKind};
use cardkeep_survey::{Partition, Survey};

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
    let path = report.opened.path.display();
    anstream::println!("{bold}{path}{bold:#}  {}", what(report));
    anstream::println!("  holds    {}", contents(survey));
    match &survey.table {
        Some(table) => anstream::println!("  table    {}, disk id {}", table.scheme, table.disk_id),
        // A medium without a table is one partition, number 0.
        None if survey.partitions.iter().any(|part| part.number == 0) => {
            anstream::println!("  table    none: there are no partitions");
        }
        None => anstream::println!("  table    damaged: it can't be trusted"),
    }
    for note in &survey.notes {
        anstream::println!("  note     {note}");
    }
    if let Some(Verdict::Guarded(guards)) = &report.verdict {
        for guard in guards {
            anstream::println!("  guarded  {guard}");
        }
    }
    if let Some(manifest) = report.opened.manifest() {
        anstream::println!("  made by  {}", manifest.tool);
        if !manifest.lost.is_empty() {
            let bytes: u64 = manifest.lost.iter().map(|extent| extent.len()).sum();
            anstream::println!("  lost     {}, which its card did not give", size(bytes));
        }
        for note in &manifest.notes {
            anstream::println!("  note     {}", shown(note));
        }
        anstream::println!("  digest   blake3-frames:{}", manifest.image_digest());
    }
    for note in &report.notes {
        anstream::println!("  note     {note}");
    }
    anstream::println!("\n  {}", bar(&survey.map, BAR_CELLS));
    anstream::println!("  █ all used  ▓▒░ partly  · free or zero\n");
    print_partitions(survey);
    print_totals(report);
}

/// Returns a note from an image fit for a terminal.
fn shown(note: &str) -> String {
    note.chars().filter(|c| !c.is_control()).take(200).collect()
}

fn what(report: &InfoReport) -> String {
    match &report.opened.kind {
        OpenedKind::Card(device) => headline(device),
        OpenedKind::Image { format, .. } => format!(
            "{} image of {}, stored in {}",
            format.extension(),
            size(report.survey.len),
            size(report.opened.stored_bytes)
        ),
        OpenedKind::Plain => format!("raw image of {}", size(report.survey.len)),
    }
}

fn print_partitions(survey: &Survey) {
    anstream::println!(
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
        anstream::println!(
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
        anstream::println!(
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
    match partition.content.filesystem() {
        None => format!("{} (copied whole)", partition.kind),
        Some(fs) => {
            let state = if fs.is_clean {
                "clean"
            } else {
                "not unmounted"
            };
            match &fs.uuid {
                Some(uuid) => format!("{state}, UUID {uuid}"),
                None => state.to_owned(),
            }
        }
    }
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
    anstream::println!(
        "\n  a backup reads {} of {}{time}",
        size(used),
        size(report.survey.len)
    );
}
