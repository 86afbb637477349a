//! The figures of reading a failing card as a table in Markdown.

use std::fmt::Write;

use cardkeep_block::Extent;

use super::outcome::Outcome;
use super::peer::Peer;
use super::places::Places;
use crate::bench::content::Content;
use crate::bench::row::{self, outcome_of, speed_name};

type Row = row::Row<Peer, Outcome>;

const MILLION: f64 = 1e6;
/// What is promised: at most this part of ddrescue's time, at a quarter of the card in use.
const TARGET_RATIO: f64 = 0.5;

/// Returns what the card is like.
pub(super) fn card(content: &Content, len: u64, places: &Places) -> String {
    let used = content.used_bytes() as f64;
    let sum = |extents: &[Extent]| extents.iter().map(|extent| extent.len()).sum::<u64>();
    format!(
        "A card of {:.1} MB, of them used: {:.1} MB ({:.1} %).\n\
         Unreadable: {} places ({} bytes) of them, {} places ({} bytes) of free space; slow: {} \
         places ({} bytes).",
        len as f64 / MILLION,
        used / MILLION,
        used * 100.0 / len as f64,
        places.bad_used.len(),
        sum(&places.bad_used),
        places.bad_free.len(),
        sum(&places.bad_free),
        places.slow.len(),
        sum(&places.slow),
    )
}

/// Returns all rows, and below them whether the targets are met.
pub(super) fn markdown(rows: &[Row]) -> String {
    let mut text = String::from(
        "| card | program | wall s | cpu s | read MB | good used bytes | image MB | beside MB \
         | memory MB | load | it/ddrescue |\n\
         |---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    for row in rows {
        // Writing into a String can't fail.
        writeln!(text, "{}", line(row, rows)).unwrap_or_default();
    }
    text.push_str(&targets(rows));
    text
}

/// Returns one row; the ratio compares it with ddrescue among `rows`.
pub(super) fn line(row: &Row, rows: &[Row]) -> String {
    let figures = match &row.result {
        Ok(outcome) => figures(outcome, outcome_of(rows, Peer::Ddrescue, row.speed_mbps)),
        Err(error) => format!("failed: {error} | | | | | | | | "),
    };
    let speed = speed_name(row.speed_mbps);
    format!("| {speed} | {} | {figures} |", row.peer.name())
}

fn figures(outcome: &Outcome, rival: Option<&Outcome>) -> String {
    let measured = &outcome.measured;
    let mb = |bytes: u64| bytes as f64 / MILLION;
    let ratio = rival.map(|rival| format!("{:.2}", time_ratio(outcome, rival)));
    format!(
        "{:.1} | {:.1} | {:.0} | {} | {:.0} | {:.0} | {:.1} | {} | {}",
        measured.wall_seconds,
        measured.cpu_seconds,
        mb(measured.bytes_read),
        outcome.good_bytes,
        mb(measured.output_bytes),
        mb(outcome.beside_bytes),
        mb(measured.memory_bytes),
        measured.load,
        ratio.unwrap_or_default()
    )
}

fn time_ratio(outcome: &Outcome, rival: &Outcome) -> f64 {
    outcome.measured.wall_seconds / rival.measured.wall_seconds
}

fn targets(rows: &[Row]) -> String {
    let mut text = String::from("\n");
    for row in rows.iter().filter(|row| row.peer != Peer::Ddrescue) {
        let (Ok(outcome), Some(rival)) = (
            &row.result,
            outcome_of(rows, Peer::Ddrescue, row.speed_mbps),
        ) else {
            continue;
        };
        let verdict = |is_met| if is_met { "met" } else { "missed" };
        let ratio = time_ratio(outcome, rival);
        writeln!(
            text,
            "- {}, {}: {ratio:.3} x ddrescue's time, target {TARGET_RATIO}: {}; {} good used \
             bytes against {}, target no fewer: {}",
            row.peer.name(),
            speed_name(row.speed_mbps),
            verdict(ratio <= TARGET_RATIO),
            outcome.good_bytes,
            rival.good_bytes,
            verdict(outcome.good_bytes >= rival.good_bytes),
        )
        .unwrap_or_default();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::markdown;
    use crate::bench::measure::Measured;
    use crate::bench::rescue::outcome::Outcome;
    use crate::bench::rescue::peer::Peer;
    use crate::bench::row::Row;

    #[test]
    fn speed_at_the_price_of_content_is_no_success() {
        let row = |peer, wall_seconds, good_bytes| Row {
            peer,
            speed_mbps: 20,
            result: Ok(Outcome {
                measured: Measured {
                    wall_seconds,
                    ..Measured::default()
                },
                good_bytes,
                ..Outcome::default()
            }),
        };
        let rows = [
            row(Peer::Cardkeep, 50.0, 999),
            row(Peer::CardkeepRaw, 60.0, 1000),
            row(Peer::Ddrescue, 100.0, 1000),
        ];
        let text = markdown(&rows);
        assert!(text.contains(
            "cardkeep, 20 MB/s: 0.500 x ddrescue's time, target 0.5: met; 999 good used bytes \
             against 1000, target no fewer: missed"
        ));
        assert!(text.contains(
            "cardkeep-raw, 20 MB/s: 0.600 x ddrescue's time, target 0.5: missed; 1000 good used \
             bytes against 1000, target no fewer: met"
        ));
    }
}
