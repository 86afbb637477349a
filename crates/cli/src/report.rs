//! The report of a card's health as a page (`.html`) or a picture (`.svg`): how fast it reads over its
//! length, where it fails, and what was lost.

use std::fmt::Write as _;
use std::path::Path;

use cardkeep_ops::{
    BackupPlan, BackupReport, Health, OpError, OpErrorKind, Stretch, TextFile, path_text,
};

use crate::quote::markup;
use crate::units::size;

const WIDTH: f64 = 1024.0;
const HEIGHT: f64 = 240.0;
/// Nobody reads more rows.
const ROWS_MAX: usize = 1000;

/// What kind of file was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Page,
    Picture,
}

/// Finds out before the long work what would keep the report from being written.
pub(crate) fn check(path: &Path, may_replace: bool) -> Result<(), OpError> {
    kind_of(path)?;
    if !may_replace && path.symlink_metadata().is_ok() {
        let message = format!("{} already exists", path_text(path));
        return Err(OpError::new(OpErrorKind::Usage, message)
            .hint("choose another name for the report, or let --force replace it"));
    }
    Ok(())
}

/// Writes the report of a backup.
pub(crate) fn write(path: &Path, plan: &BackupPlan, report: &BackupReport) -> Result<(), OpError> {
    let Some(health) = &report.health else {
        return Ok(());
    };
    let text = match kind_of(path)? {
        Kind::Picture => picture(health),
        Kind::Page => page(plan, report, health),
    };
    let written = TextFile::new(path.to_path_buf()).replace(text.as_bytes());
    written.map_err(|error| {
        let message = format!("the report {} can't be written", path_text(path));
        OpError::new(OpErrorKind::Environment, message).caused_by(error)
    })
}

fn kind_of(path: &Path) -> Result<Kind, OpError> {
    let ending = path.extension().and_then(|ending| ending.to_str());
    match ending {
        Some("html" | "htm") => Ok(Kind::Page),
        Some("svg") => Ok(Kind::Picture),
        _ => {
            let message = format!(
                "can't tell the report format from the name {}",
                path_text(path)
            );
            Err(OpError::new(OpErrorKind::Usage, message).hint("end its name in .html or .svg"))
        }
    }
}

/// Draws the speed over the card: a bar for each stretch, red where something failed.
fn picture(health: &Health) -> String {
    let stretches: Vec<Stretch> = health.stretches().map(|(_, stretch)| stretch).collect();
    let fastest = stretches.iter().filter_map(Stretch::bytes_per_second).max();
    let fastest = fastest.unwrap_or(1).max(1) as f64;
    let step = WIDTH / stretches.len().max(1) as f64;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n",
        HEIGHT + 40.0
    );
    for (index, stretch) in stretches.iter().enumerate() {
        let left = index as f64 * step;
        let speed = stretch.bytes_per_second().unwrap_or(0) as f64;
        let height = if stretch.errors > 0 {
            HEIGHT
        } else {
            speed / fastest * HEIGHT
        };
        let color = if stretch.errors > 0 {
            "#c0392b"
        } else {
            "#2e86c1"
        };
        // Writing to a string can't fail.
        writeln!(
            svg,
            "<rect x=\"{left:.2}\" y=\"{:.2}\" width=\"{step:.2}\" height=\"{height:.2}\" \
             fill=\"{color}\"/>",
            HEIGHT - height
        )
        .unwrap_or_default();
    }
    let place: u64 = health
        .stretches()
        .last()
        .map_or(0, |(extent, _)| extent.end());
    writeln!(
        svg,
        "<line x1=\"0\" y1=\"{HEIGHT}\" x2=\"{WIDTH}\" y2=\"{HEIGHT}\" stroke=\"#333\"/>\n\
         <text x=\"0\" y=\"{0}\">0</text><text x=\"{WIDTH}\" y=\"{0}\" text-anchor=\"end\">{1}</text>\n\
         <text x=\"{2}\" y=\"{0}\" text-anchor=\"middle\">speed over the card, up to {3}/s; red: \
         errors</text>\n</svg>",
        HEIGHT + 20.0,
        size(place),
        WIDTH / 2.0,
        size(fastest as u64)
    )
    .unwrap_or_default();
    svg
}

fn page(plan: &BackupPlan, report: &BackupReport, health: &Health) -> String {
    let card = markup(&path_text(&plan.card).to_string());
    let slowest: String = health
        .slowest()
        .iter()
        .map(|read| {
            format!(
                "<tr><td>{}</td><td>{}</td><td>{:.3} s</td><td>{}</td></tr>\n",
                read.extent.start(),
                read.extent.len(),
                read.time.as_secs_f64(),
                if read.is_served { "read" } else { "failed" }
            )
        })
        .collect();
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Health of \
         {card}</title><style>body{{font-family:sans-serif;max-width:70em;margin:2em \
         auto}}td,th{{padding:.2em 1em;text-align:left}}</style></head><body>\n<h1>Health of \
         {card}</h1>\n<p>{} read; {} requests failed, {} were retries.</p>\n{}\n<h2>What could \
         not be read</h2>\n{}\n<h2>The slowest \
         requests</h2>\n<table><tr><th>byte</th><th>bytes</th><th>took</th><th></th></tr>\n{slowest}</table>\n</body></html>\n",
        size(health.total().bytes),
        health.errors(),
        health.retries(),
        picture(health),
        lost(report)
    )
}

/// Lists what was lost. Names come from the card.
fn lost(report: &BackupReport) -> String {
    if report.lost.is_empty() {
        return "<p>Nothing: everything was read.</p>".to_owned();
    }
    let row = |place: &cardkeep_ops::Place| {
        let what = place.name();
        let partition = place.partition.map_or_else(String::new, |n| n.to_string());
        format!(
            "<tr><td>{}</td><td>{}</td><td>{partition}</td><td>{}</td><td>{}</td></tr>\n",
            place.extent.start(),
            place.extent.len(),
            markup(what.as_deref().unwrap_or("unknown")),
            place.loss()
        )
    };
    let rows: String = report.lost.iter().take(ROWS_MAX).map(row).collect();
    format!(
        "<table><tr><th>byte</th><th>bytes</th><th>partition</th><th>what</th><th>meaning</th></tr>\n\
         {rows}</table>"
    )
}

#[cfg(test)]
mod tests {
    use super::picture;
    use cardkeep_ops::{Extent, Health};
    use std::time::Duration;

    #[test]
    fn stretches_that_fail_are_red_and_as_high_as_the_picture() {
        let mut health = Health::new(4 << 20);
        health.record(Extent::between(0, 4096), Duration::from_millis(1), true);
        assert!(!picture(&health).contains("#c0392b"));
        health.record(
            Extent::between(1 << 20, (1 << 20) + 512),
            Duration::from_millis(1),
            false,
        );
        assert_eq!(picture(&health).matches("#c0392b").count(), 1);
    }
}
