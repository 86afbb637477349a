//! The figures as a table in Markdown.

use std::fmt::Write;

use super::measure::Measured;
use super::peer::Peer;
use super::row::{Row, outcome_of, speed_name};

const MILLION: f64 = 1e6;
/// What is promised: no slower than reading the used bytes once takes, plus this.
const TARGET_RATIO: f64 = 1.05;

/// Returns the rows with ratios to cardkeep's own, and whether the target is met.
pub(crate) fn markdown(rows: &[Row<Peer, Measured>], used_bytes: Option<u64>) -> String {
    let mut text = String::from(
        "| card | program | wall s | cpu s | read MB | output MB | memory MB | load | cardkeep/it |\n\
         |---|---|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    for row in rows {
        let speed = speed_name(row.speed_mbps);
        let line = match &row.result {
            Ok(measured) => figures(measured, outcome_of(rows, Peer::Cardkeep, row.speed_mbps)),
            Err(error) => format!("failed: {error} | | | | | | "),
        };
        // Writing into a String can't fail.
        writeln!(text, "| {speed} | {} | {line} |", row.peer.name()).unwrap_or_default();
    }
    if let Some(used_bytes) = used_bytes {
        text.push_str(&targets(rows, used_bytes));
    }
    text
}

fn figures(measured: &Measured, own: Option<&Measured>) -> String {
    let mb = |bytes: u64| bytes as f64 / MILLION;
    let ratio = own.map(|own| format!("{:.2}", own.wall_seconds / measured.wall_seconds));
    format!(
        "{:.1} | {:.1} | {:.0} | {:.0} | {:.1} | {} | {}",
        measured.wall_seconds,
        measured.cpu_seconds,
        mb(measured.bytes_read),
        mb(measured.output_bytes),
        mb(measured.memory_bytes),
        measured.load,
        ratio.unwrap_or_default()
    )
}

fn targets(rows: &[Row<Peer, Measured>], used_bytes: u64) -> String {
    let mut text = format!("\nUsed: {:.1} MB\n", used_bytes as f64 / MILLION);
    let own = rows
        .iter()
        .filter(|row| row.peer == Peer::Cardkeep && row.speed_mbps > 0);
    for row in own {
        let Ok(measured) = &row.result else { continue };
        let least = used_bytes as f64 / (row.speed_mbps as f64 * MILLION);
        let ratio = measured.wall_seconds / least;
        let verdict = if ratio <= TARGET_RATIO {
            "met"
        } else {
            "missed"
        };
        let speed = speed_name(row.speed_mbps);
        writeln!(
            text,
            "- {speed}: {:.1} s, {ratio:.3} x Used/speed ({least:.1} s); target {TARGET_RATIO}: {verdict}",
            measured.wall_seconds
        )
        .unwrap_or_default();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::markdown;
    use crate::bench::measure::Measured;
    use crate::bench::peer::Peer;
    use crate::bench::row::Row;

    #[test]
    fn ratios_are_cardkeeps_time_by_the_peers_at_the_same_speed() {
        let row = |peer, speed_mbps, wall_seconds| Row {
            peer,
            speed_mbps,
            result: Ok(Measured {
                wall_seconds,
                ..Measured::default()
            }),
        };
        let rows = [
            row(Peer::Cardkeep, 20, 52.0),
            row(Peer::Dd, 20, 208.0),
            row(Peer::Cardkeep, 45, 30.0),
        ];
        let text = markdown(&rows, Some(1_000_000_000));
        assert!(
            text.contains("| 20 MB/s | dd | 208.0 | 0.0 | 0 | 0 | 0.0 |  | 0.25 |"),
            "{text}"
        );
        assert!(text.contains("20 MB/s: 52.0 s, 1.040 x Used/speed (50.0 s); target 1.05: met"));
        assert!(text.contains("45 MB/s: 30.0 s, 1.350 x Used/speed (22.2 s); target 1.05: missed"));
    }
}
