//! The figures of making small images as a table in Markdown.

use std::fmt::Write;

use super::outcome::Outcome;
use super::peer::Peer;
use crate::bench::row::{self, outcome_of, speed_name};

type Row = row::Row<Peer, Outcome>;

const MILLION: f64 = 1e6;

/// Returns all rows.
pub(crate) fn markdown(rows: &[Row]) -> String {
    let mut text = String::from(
        "| card | program | verifies | wall s | cpu s | read MB | temporary MB | image MB \
         | needs a card of MB | filesystem MB | free % | memory MB | load | e2fsck | cardkeep/it |\n\
         |---|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---|---:|\n",
    );
    for row in rows {
        // Writing into a String can't fail.
        writeln!(text, "{}", line(row, rows)).unwrap_or_default();
    }
    text
}

/// Returns one row; the ratio compares it with cardkeep's among `rows`.
pub(crate) fn line(row: &Row, rows: &[Row]) -> String {
    let figures = match &row.result {
        Ok(outcome) => figures(outcome, outcome_of(rows, Peer::Cardkeep, row.speed_mbps)),
        Err(error) => format!("failed: {error} | | | | | | | | | | | "),
    };
    let (speed, peer) = (speed_name(row.speed_mbps), row.peer);
    format!(
        "| {speed} | {} | {} | {figures} |",
        peer.name(),
        peer.verifies()
    )
}

fn figures(outcome: &Outcome, own: Option<&Outcome>) -> String {
    let Outcome {
        measured,
        judgement,
    } = outcome;
    let mb = |bytes: u64| bytes as f64 / MILLION;
    let ratio = own.map(|own| own.measured.wall_seconds / measured.wall_seconds);
    format!(
        "{:.1} | {:.1} | {:.0} | {:.0} | {:.0} | {:.0} | {:.0} | {:.1} | {:.1} | {} | {} | {}",
        measured.wall_seconds,
        measured.cpu_seconds,
        mb(measured.bytes_read),
        mb(measured.temporary_bytes),
        mb(measured.output_bytes),
        mb(judgement.card_bytes),
        mb(judgement.fs_bytes),
        100.0 * judgement.free_bytes as f64 / judgement.fs_bytes as f64,
        mb(measured.memory_bytes),
        measured.load,
        if judgement.is_clean { "clean" } else { "WRONG" },
        ratio.map_or(String::new(), |ratio| format!("{ratio:.2}")),
    )
}

#[cfg(test)]
mod tests {
    use super::line;
    use crate::bench::measure::Measured;
    use crate::bench::row::Row;
    use crate::bench::shrink::judge::Judgement;
    use crate::bench::shrink::outcome::Outcome;
    use crate::bench::shrink::peer::Peer;

    fn row(
        peer: Peer,
        wall_seconds: f64,
        temporary_bytes: u64,
        is_clean: bool,
    ) -> Row<Peer, Outcome> {
        let measured = Measured {
            wall_seconds,
            temporary_bytes,
            ..Measured::default()
        };
        let judgement = Judgement {
            card_bytes: 5_000_000,
            fs_bytes: 4_000_000,
            free_bytes: 1_000_000,
            is_clean,
        };
        Row {
            peer,
            speed_mbps: 45,
            result: Ok(Outcome {
                measured,
                judgement,
            }),
        }
    }

    #[test]
    fn a_row_tells_the_disk_it_took_and_what_came_of_it() {
        let rows = [
            row(Peer::Cardkeep, 90.0, 0, true),
            row(Peer::PiShrink, 360.0, 7_948_206_080, false),
        ];
        assert_eq!(
            line(&rows[1], &rows),
            "| 45 MB/s | dd+pishrink+zstd | zstd's checksum | 360.0 | 0.0 | 0 | 7948 | 0 | 5 | 4 \
             | 25.0 | 0.0 |  | WRONG | 0.25 |"
        );
        assert!(line(&rows[0], &rows).ends_with("| clean | 1.00 |"));
        let failed = Row {
            peer: Peer::CardkeepTight,
            speed_mbps: 0,
            result: Err("no room".to_owned()),
        };
        let columns = |line: &str| line.matches('|').count();
        assert_eq!(columns(&line(&failed, &[])), columns(&line(&rows[0], &[])));
    }
}
