//! The figures of restoring as a table in Markdown.

use std::fmt::Write;

use super::outcome::Outcome;
use super::peer::{Peer, Task};
use super::shelf::Shelf;
use crate::bench::row::{self, outcome_of, speed_name};

type Row = row::Row<Peer, Outcome>;

const MILLION: f64 = 1e6;
/// What is promised of a whole restore: writing the used bytes and reading them back, plus this.
const TARGET_FULL: f64 = 1.05;
/// What is promised where only differences are written: there is less to write, and more to seek.
const TARGET_DELTA: f64 = 1.10;
/// What is promised of memory, on any card.
const MEMORY_BYTES_MAX: u64 = 128 << 20;

/// Returns all rows, and below them whether the targets are met.
pub(crate) fn markdown(rows: &[Row], shelf: &Shelf) -> String {
    let mut text = String::from(
        "| card | program | verifies | wall s | cpu s | written MB | read MB | memory MB | load \
         | wrong MB | x budget | cardkeep/it |\n\
         |---|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    for row in rows {
        // Writing into a String can't fail.
        writeln!(text, "{}", line(row, rows)).unwrap_or_default();
    }
    let used = shelf.wanted(Task::Full).used_bytes() as f64 / MILLION;
    writeln!(text, "\nUsed: {used:.1} MB").unwrap_or_default();
    if shelf.changed_bytes() > 0 {
        let used = shelf.wanted(Task::Delta).used_bytes() as f64 / MILLION;
        let changed = shelf.changed_bytes() as f64 / MILLION;
        writeln!(
            text,
            "A day later: {used:.1} MB, of them changed: {changed:.1} MB"
        )
        .unwrap_or_default();
    }
    text.push_str(&targets(rows));
    text
}

/// Returns one row; the ratio compares it with its rival among `rows`.
pub(crate) fn line(row: &Row, rows: &[Row]) -> String {
    let card = match row.peer.task() {
        Task::Decode => "none".to_owned(),
        Task::Full | Task::Delta => speed_name(row.speed_mbps),
    };
    let figures = match &row.result {
        Ok(outcome) => figures(outcome, outcome_of(rows, row.peer.rival(), row.speed_mbps)),
        Err(error) => format!("failed: {error} | | | | | | | | "),
    };
    let (name, verifies) = (row.peer.name(), row.peer.verifies());
    format!("| {card} | {name} | {verifies} | {figures} |")
}

fn figures(outcome: &Outcome, rival: Option<&Outcome>) -> String {
    let measured = &outcome.measured;
    let mb = |bytes: u64| bytes as f64 / MILLION;
    let ratio = rival.map(|rival| rival.measured.wall_seconds / measured.wall_seconds);
    format!(
        "{:.1} | {:.1} | {:.0} | {:.0} | {:.1} | {} | {:.1} | {} | {}",
        measured.wall_seconds,
        measured.cpu_seconds,
        mb(measured.bytes_written),
        mb(measured.bytes_read),
        mb(measured.memory_bytes),
        measured.load,
        mb(outcome.wrong_bytes),
        outcome
            .of_budget()
            .map_or(String::new(), |ratio| format!("{ratio:.3}")),
        ratio.map_or(String::new(), |ratio| format!("{ratio:.2}")),
    )
}

fn targets(rows: &[Row]) -> String {
    let mut text = String::new();
    for row in rows {
        let Ok(outcome) = &row.result else { continue };
        if row.peer != row.peer.rival() {
            continue;
        }
        let target = match row.peer {
            Peer::CardkeepDelta => TARGET_DELTA,
            _ => TARGET_FULL,
        };
        let mut said = Vec::new();
        if let (Some(ratio), Some(budget)) = (outcome.of_budget(), outcome.budget_seconds) {
            let verdict = verdict(ratio <= target);
            said.push(format!(
                "{:.1} s, {ratio:.3} x budget ({budget:.1} s), target {target}: {verdict}",
                outcome.measured.wall_seconds
            ));
        }
        let memory = outcome.measured.memory_bytes;
        said.push(format!(
            "{:.1} MiB of memory, target {}: {}",
            memory as f64 / (1 << 20) as f64,
            MEMORY_BYTES_MAX >> 20,
            verdict(memory <= MEMORY_BYTES_MAX)
        ));
        let (name, speed) = (row.peer.name(), speed_name(row.speed_mbps));
        writeln!(text, "- {name} at {speed}: {}", said.join("; ")).unwrap_or_default();
    }
    text
}

fn verdict(is_met: bool) -> &'static str {
    if is_met { "met" } else { "missed" }
}

#[cfg(test)]
mod tests {
    use super::{line, targets};
    use crate::bench::measure::Measured;
    use crate::bench::restore::outcome::Outcome;
    use crate::bench::restore::peer::Peer;
    use crate::bench::row::Row;

    fn row(
        peer: Peer,
        speed_mbps: u64,
        wall_seconds: f64,
        budget_seconds: f64,
    ) -> Row<Peer, Outcome> {
        let measured = Measured {
            wall_seconds,
            memory_bytes: 129 << 20,
            ..Measured::default()
        };
        Row {
            peer,
            speed_mbps,
            result: Ok(Outcome {
                measured,
                wrong_bytes: 1_500_000,
                budget_seconds: Some(budget_seconds),
            }),
        }
    }

    #[test]
    fn ratios_compare_with_the_cardkeep_that_did_the_same_job() {
        let rows = [
            row(Peer::Cardkeep, 20, 52.0, 50.0),
            row(Peer::CardkeepDelta, 20, 20.0, 10.0),
            row(Peer::Verify, 20, 3.0, 1.0),
            row(Peer::Dd, 20, 208.0, 50.0),
            row(Peer::Dd, 45, 104.0, 50.0),
            row(Peer::Zstd, 20, 6.0, 1.0),
        ];
        let lines: Vec<String> = rows.iter().map(|row| line(row, &rows)).collect();
        let dd = "| 20 MB/s | dd | no | 208.0 | 0.0 | 0 | 0 | 135.3 |  | 1.5 | 4.160 | 0.25 |";
        assert_eq!(lines[3], dd);
        assert!(lines[1].ends_with("| 2.000 | 1.00 |"), "{}", lines[1]);
        assert!(lines[4].ends_with("| 2.080 |  |"), "{}", lines[4]);
        assert!(lines[5].starts_with("| none | zstd |"), "{}", lines[5]);
        assert!(lines[5].ends_with("| 0.50 |"), "{}", lines[5]);
    }

    #[test]
    fn a_delta_may_take_longer_than_a_whole_restore_and_memory_counts_for_both() {
        let rows = [
            row(Peer::Cardkeep, 10, 105.1, 100.0),
            row(Peer::CardkeepDelta, 10, 109.9, 100.0),
            row(Peer::Dd, 10, 1.0, 100.0),
        ];
        let memory = "129.0 MiB of memory, target 128: missed";
        let expected = format!(
            "- cardkeep at 10 MB/s: 105.1 s, 1.051 x budget (100.0 s), target 1.05: missed; {memory}\n\
             - cardkeep-delta at 10 MB/s: 109.9 s, 1.099 x budget (100.0 s), target 1.1: met; {memory}\n"
        );
        assert_eq!(targets(&rows), expected);
    }
}
