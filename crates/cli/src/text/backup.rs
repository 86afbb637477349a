//! `cardkeep backup` for people: the plan before, the report after.

use anstyle::{AnsiColor, Style};
use cardkeep_ops::{
    BackupPlan, BackupReport, GapKind, Health, InputKind, Shrunk, Verified, hibernation_text,
    moved_text, name_of, path_text,
};

use crate::terminal::{errln, outln};
use crate::text::contents;
use crate::text::curve::curve;
use crate::text::list::headline;
use crate::units::{duration, size};

/// From here on, bytes before the first partition are worth a line: others begin at 1 to 16 MiB.
const BOOT_AREA_TOLD_BYTES: u64 = 17 << 20;

/// Prints what will be done. To standard error: standard output may carry the image.
pub(crate) fn print_plan(plan: &BackupPlan) {
    let card = path_text(&plan.card);
    let what = plan
        .device()
        .map(|device| format!("  {}", headline(device)));
    let from = match plan.kind {
        InputKind::Image { .. } => "From",
        _ => "Card",
    };
    errln!("{from}     {card}{}", what.unwrap_or_default());
    errln!("Holds    {}", contents(&plan.survey));
    for note in &plan.survey.notes {
        errln!("Note     {note}");
    }
    let image = match &plan.image {
        Some(image) => path_text(image).to_string(),
        None => "standard output".to_owned(),
    };
    errln!("Image    {image} ({})", plan.format.extension());
    if let Some(shrunk) = &plan.shrunk {
        print_shrunk(shrunk);
    }
    let time = plan
        .speed
        .filter(|&speed| speed > 0)
        .map_or_else(String::new, |speed| {
            let seconds = plan.used_bytes() as f64 / speed as f64;
            format!(", about {} at {}/s", duration(seconds), size(speed))
        });
    // Of a smaller image, what is free is no number of the card's.
    let rest = match plan.shrunk {
        Some(_) => String::new(),
        None => format!(
            " ({} are free, {} zero)",
            size(plan.free_bytes()),
            size(plan.zero_bytes())
        ),
    };
    errln!(
        "To read  {} of {}{rest}{time}",
        size(plan.used_bytes()),
        size(plan.survey.len)
    );
    if !plan.contents().is_clean() {
        errln!(
            "Note     a filesystem was not unmounted properly; its journal is copied whole, and the card is not touched"
        );
    } else if !plan.survey.is_clean() {
        errln!(
            "Note     the filesystem was not unmounted properly; the image contains it with the journal replayed, and the card is not touched"
        );
    }
    print_gaps(plan);
}

/// Prints what lies outside all partitions, where that is worth a line.
fn print_gaps(plan: &BackupPlan) {
    let boot_areas = (plan.contents().gaps.iter()).filter(|gap| gap.kind == GapKind::BootArea);
    for gap in boot_areas.filter(|gap| gap.extent.len() >= BOOT_AREA_TOLD_BYTES) {
        errln!(
            "Gap      {} bytes before the first partition are copied: firmware may lie there",
            gap.extent.len()
        );
    }
    for gap in plan
        .contents()
        .gaps
        .iter()
        .filter(|gap| !gap.skipped.is_empty())
    {
        errln!(
            "Gap      {} outside all partitions at byte {} are left out (--everything copies them)",
            size(gap.skipped.len()),
            gap.skipped.start()
        );
    }
}

fn print_shrunk(shrunk: &Shrunk) {
    let what = name_of(shrunk.number, shrunk.label.as_deref());
    errln!(
        "Shrinks  {what} from {} to {}, {} of them free; the whole image unpacks to {}",
        size(shrunk.old_fs_bytes),
        size(shrunk.fs_bytes),
        size(shrunk.free_bytes),
        size(shrunk.survey.len)
    );
    let moved = moved_text(&shrunk.moved);
    for note in moved.into_iter().chain(hibernation_text(&shrunk.survey)) {
        errln!("Note     {note}");
    }
    if shrunk.left_out_bytes > 0 {
        errln!(
            "Note     {} behind the last partition, which belong to no filesystem, are left out",
            size(shrunk.left_out_bytes)
        );
    }
}

/// Prints what was done. To standard error where standard output carries the image.
pub(crate) fn print_backup(plan: &BackupPlan, report: &BackupReport) {
    let lines = lines(plan, report);
    let green = Style::new().bold().fg_color(Some(AnsiColor::Green.into()));
    for (index, (name, text)) in lines.iter().enumerate() {
        let style = if index == 0 { green } else { Style::new() };
        if report.image.is_some() {
            outln!([style, format!("{name:<8}")] " {text}");
        } else {
            errln!([style, format!("{name:<8}")] " {text}");
        }
    }
}

fn lines(plan: &BackupPlan, report: &BackupReport) -> Vec<(&'static str, String)> {
    let outcome = &report.outcome;
    let seconds = report.elapsed.as_secs_f64();
    let image = match &report.image {
        Some(image) => path_text(image).to_string(),
        None => "the image was sent".to_owned(),
    };
    let speed = size((outcome.read_bytes as f64 / seconds.max(0.001)) as u64);
    let verified = match report.verified {
        Verified::ReadBack => "read back from its disk, decoded, and compared: everything matches",
        Verified::Skipped => "no: --verify none",
        Verified::Impossible => "no: a stream can't be read back",
    };
    let mut lines = vec![
        ("Done", format!("{image}, {}", size(outcome.written_bytes))),
        (
            "Read",
            format!(
                "{} in {} ({speed}/s)",
                size(outcome.read_bytes),
                duration(seconds)
            ),
        ),
        (
            "Skipped",
            format!(
                "{} free, {} journal and other zeros",
                size(plan.free_bytes()),
                size(plan.zero_bytes())
            ),
        ),
        ("Verified", verified.to_owned()),
        ("Digest", format!("blake3-frames:{}", outcome.image_digest)),
    ];
    if plan.image.is_some() && cfg!(unix) {
        let text = "by you alone (mode 600): the image holds the card's passwords and keys";
        lines.push(("Readable", text.to_owned()));
    }
    if let Some(shrunk) = &plan.shrunk {
        let what = name_of(shrunk.number, shrunk.label.as_deref());
        let text = format!(
            "`cardkeep restore` lets {what} fill a card; other programs leave it at {}",
            size(shrunk.fs_bytes)
        );
        lines.push(("Shrunk", text));
    }
    if let Some(health) = report
        .health
        .as_ref()
        .filter(|health| is_worth_telling(plan, health))
    {
        lines.extend(health_lines(health));
    }
    if !report.lost.is_empty() {
        let text = format!(
            "{} could not be read, and are zeros in the image; try again with --resume, perhaps in \
             another reader",
            size(report.lost_bytes)
        );
        lines.push(("Lost", text));
    }
    lines
}

/// A file has no health, unless it fails.
fn is_worth_telling(plan: &BackupPlan, health: &Health) -> bool {
    plan.device().is_some() || health.errors() > 0
}

const CURVE_CELLS: usize = 48;

fn health_lines(health: &Health) -> Vec<(&'static str, String)> {
    let (drawn, speeds) = curve(health, CURVE_CELLS);
    let speeds = speeds.map_or_else(String::new, |(slowest, fastest)| {
        format!("  {}/s to {}/s", size(slowest), size(fastest))
    });
    let mut lines = vec![("Health", format!("{drawn}{speeds}"))];
    if health.errors() > 0 {
        let text = format!(
            "{} requests failed, {} were retries",
            health.errors(),
            health.retries()
        );
        lines.push(("Errors", text));
    }
    lines
}
