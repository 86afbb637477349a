//! What is said of filesystems that get another size, and of what moves for them.

use cardkeep_block::size_text;
use cardkeep_resize::medium::Moved;
use cardkeep_survey::Survey;

/// Returns what a partition is called in notes: its number, and its label where it has one.
#[must_use]
pub fn name_of(number: u32, label: Option<&str>) -> String {
    let what = match number {
        0 => "the filesystem".to_owned(),
        number => format!("partition {number}"),
    };
    match label {
        Some(label) => format!("{what} ({label})"),
        None => what,
    }
}

/// Says which partitions move, and how far; `None` where none does.
#[must_use]
pub fn moved_text(moved: &[Moved]) -> Option<String> {
    let first = moved.first()?;
    let numbers: Vec<String> = moved.iter().map(|own| own.number.to_string()).collect();
    let (what, verb) = match &numbers[..] {
        [number] => (format!("partition {number}"), "moves"),
        [numbers @ .., last] => (
            format!("partitions {} and {last}", numbers.join(", ")),
            "move",
        ),
        [] => return None,
    };
    let (from, to) = (first.from.start(), first.to.start());
    let size = size_text(from.abs_diff(to));
    match to.cmp(&from) {
        std::cmp::Ordering::Less => Some(format!("{what} {verb} {size} towards the beginning")),
        std::cmp::Ordering::Equal => None,
        std::cmp::Ordering::Greater => Some(format!("{what} {verb} {size} towards the end")),
    }
}

/// Warns of a hibernated system, which doesn't know that its filesystem has changed.
#[must_use]
pub fn hibernation_text(survey: &Survey) -> Option<String> {
    let mut partitions = survey.partitions.iter();
    let swap = partitions.find(|partition| {
        let summary = partition.content.filesystem();
        summary.is_some_and(|summary| summary.is_hibernated)
    })?;
    Some(format!(
        "partition {} holds a hibernated system that doesn't know of the change: start it with \
         `noresume`",
        swap.number
    ))
}

#[cfg(test)]
mod tests {
    use cardkeep_block::Extent;
    use cardkeep_resize::medium::Moved;

    use super::{moved_text, name_of};

    fn moved(number: u32, from: u64, to: u64) -> Moved {
        Moved {
            number,
            from: Extent::between(from, from + 10),
            to: Extent::between(to, to + 10),
        }
    }

    #[test]
    fn what_moves_is_named_with_how_far() {
        assert_eq!(moved_text(&[]), None);
        assert_eq!(moved_text(&[moved(3, 5, 5)]), None);
        let cases = [
            (
                vec![moved(3, 9_000_000, 5_000_000)],
                "partition 3 moves 4.00 MB towards the beginning",
            ),
            (
                vec![moved(3, 1, 4001), moved(5, 2, 4002), moved(6, 3, 4003)],
                "partitions 3, 5 and 6 move 4.00 kB towards the end",
            ),
        ];
        for (moved, expected) in cases {
            assert_eq!(moved_text(&moved).unwrap(), expected);
        }
        assert_eq!(name_of(0, None), "the filesystem");
        assert_eq!(name_of(2, Some("rootfs")), "partition 2 (rootfs)");
    }
}
