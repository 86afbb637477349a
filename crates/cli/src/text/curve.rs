//! How fast a card reads over its length, drawn in one line.

use cardkeep_ops::{Health, Stretch};

/// From slow to fast.
const CELLS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Where nothing was read.
const NOTHING: char = '·';
/// Where something failed.
const FAILED: char = '×';

/// Returns `width` cells, each for an equal share of the card's stretches, and the slowest and the
/// fastest speed among them in bytes per second.
pub(crate) fn curve(health: &Health, width: usize) -> (String, Option<(u64, u64)>) {
    let stretches: Vec<Stretch> = health.stretches().map(|(_, stretch)| stretch).collect();
    let edge = |index: usize| index * stretches.len() / width;
    let cells: Vec<Stretch> = (0..width)
        .map(|index| sum(&stretches[edge(index)..edge(index + 1)]))
        .collect();
    let speeds = cells.iter().filter_map(Stretch::bytes_per_second);
    let (slowest, fastest) = (speeds.clone().min(), speeds.max());
    let draw = |cell: &Stretch| match (cell.errors, cell.bytes_per_second()) {
        (0, None) => NOTHING,
        (0, Some(speed)) => {
            let share = u128::from(speed) * 8 / u128::from(fastest.unwrap_or(1).max(1));
            CELLS[(share.saturating_sub(1) as usize).min(CELLS.len() - 1)]
        }
        _ => FAILED,
    };
    (cells.iter().map(draw).collect(), slowest.zip(fastest))
}

fn sum(stretches: &[Stretch]) -> Stretch {
    stretches
        .iter()
        .fold(Stretch::default(), |sum, one| Stretch {
            bytes: sum.bytes + one.bytes,
            time: sum.time + one.time,
            errors: sum.errors + one.errors,
        })
}

#[cfg(test)]
mod tests {
    use super::curve;
    use cardkeep_ops::{Extent, Health};
    use std::time::Duration;

    #[test]
    fn slow_and_failing_stretches_show() {
        let mut health = Health::new(8 << 20);
        for mib in 0..7_u64 {
            let extent = Extent::between(mib << 20, (mib + 1) << 20);
            let millis = if mib == 2 { 80 } else { 10 };
            health.record(extent, Duration::from_millis(millis), mib != 4);
        }
        let (drawn, speeds) = curve(&health, 8);
        assert_eq!(drawn, "██▁█×██·");
        assert_eq!(speeds, Some(((100 << 20) / 8, 100 << 20)));
        let (drawn, speeds) = curve(&Health::new(0), 4);
        assert_eq!((drawn.as_str(), speeds), ("····", None));
    }
}
