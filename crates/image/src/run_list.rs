//! The text form of an allocation map: runs that tile the medium, as letter and count of units.
//!
//! ```text
//!   {"unit_bytes":4096,"runs":"U1024F3Z16U5"}
//!                              |    `- then 3 units Free, 16 units Zero, ...
//!                              `------ the first 1024 units are Used
//! ```
//!
//! Since each run begins where the one before ended, no list can overlap or be out of order, and
//! the map of a badly fragmented card stays small: a million runs of random lengths took 2.6 MB,
//! and offset and length of the `Used` half alone 10.3 MB (measured 2026-11).

use std::borrow::Cow;
use std::fmt::Write as _;

use cardkeep_block::{AllocationMap, MEDIUM_BYTES_MAX, MapBuilder, State};
use serde::{Deserialize, Serialize};

/// Larger units would not shorten the counts by much.
const UNIT_BYTES_MAX: u64 = 1 << 20;

/// An allocation map as it lies in the manifest.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RunList<'a> {
    unit_bytes: u64,
    #[serde(borrow)]
    runs: Cow<'a, str>,
}

impl RunList<'_> {
    /// Returns the text form of `map`. Its unit is the largest power of two that all runs are
    /// multiples of.
    pub(crate) fn from_map(map: &AllocationMap) -> Self {
        let bits = map
            .runs()
            .fold(UNIT_BYTES_MAX, |bits, run| bits | run.extent.len());
        let unit_bytes = 1 << bits.trailing_zeros();
        let mut runs = String::new();
        for run in map.runs() {
            let letter = match run.state {
                State::Used => 'U',
                State::Zero => 'Z',
                State::Free => 'F',
            };
            // Writing to a String can't fail.
            write!(runs, "{letter}{}", run.extent.len() / unit_bytes).unwrap_or_default();
        }
        Self {
            unit_bytes,
            runs: Cow::Owned(runs),
        }
    }

    /// Returns the map of a medium of `len` bytes, or what is wrong with the list.
    pub(crate) fn to_map(&self, len: u64) -> Result<AllocationMap, &'static str> {
        if len > MEDIUM_BYTES_MAX {
            return Err("the medium is longer than any can be");
        }
        let mut builder = MapBuilder::new(len);
        let mut end = 0_u64;
        let mut rest = self.runs.as_bytes();
        while let Some((&letter, after)) = rest.split_first() {
            let state = match letter {
                b'U' => State::Used,
                b'Z' => State::Zero,
                b'F' => State::Free,
                _ => return Err("a run has an unknown state"),
            };
            let (units, after) = parse_count(after).ok_or("a run has no length")?;
            rest = after;
            end = units
                .checked_mul(self.unit_bytes)
                .filter(|&run_len| run_len > 0)
                .and_then(|run_len| end.checked_add(run_len))
                .filter(|&end| end <= len)
                .ok_or("a run reaches past the end of the medium")?;
            builder.push_to(end, state);
        }
        if end != len {
            return Err("the runs end before the medium does");
        }
        Ok(builder.finish(State::Used))
    }
}

/// Returns the decimal number that `text` begins with, and what follows it.
fn parse_count(text: &[u8]) -> Option<(u64, &[u8])> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, rest) = text.split_at(digits);
    let value = number.iter().try_fold(0_u64, |value, digit| {
        value
            .checked_mul(10)?
            .checked_add(u64::from(digit.wrapping_sub(b'0')))
    })?;
    (digits > 0).then_some((value, rest))
}

#[cfg(test)]
mod tests {
    use super::RunList;
    use cardkeep_block::{AllocationMap, MapBuilder, State};
    use proptest::prelude::{prop, prop_assert_eq, proptest};
    use std::borrow::Cow;

    fn list(unit_bytes: u64, runs: &str) -> RunList<'_> {
        RunList {
            unit_bytes,
            runs: Cow::Borrowed(runs),
        }
    }

    #[test]
    fn runs_are_counted_in_the_largest_unit_that_fits_all() {
        let mut builder = MapBuilder::new(40_960);
        builder.push(8192, State::Used);
        builder.push(24_576, State::Free);
        builder.push(8192, State::Zero);
        let list = RunList::from_map(&builder.finish(State::Used));
        assert_eq!((list.unit_bytes, &*list.runs), (8192, "U1F3Z1"));
    }

    #[test]
    fn lists_that_do_not_tile_the_medium_are_refused() {
        for (runs, len) in [
            ("U1", 1024),
            ("U3", 1024),
            ("U1X1", 1024),
            ("U", 512),
            ("U0", 0),
            ("1U1", 512),
            ("U-1", 512),
            ("U36028797018963968U1", 512),
            ("U99999999999999999999999", 512),
        ] {
            assert!(list(512, runs).to_map(len).is_err(), "{runs}");
        }
        assert!(list(0, "U1").to_map(512).is_err());
        assert!(list(1, "").to_map(u64::MAX).is_err());
        assert_eq!(
            list(512, "U1U1").to_map(1024).unwrap(),
            AllocationMap::all(1024, State::Used)
        );
    }

    proptest! {
        #[test]
        fn a_map_survives_the_round_trip(
            runs in prop::collection::vec((1_u64..5000, 0..3_u8), 0..40), shift in 0..12_u32
        ) {
            let len = runs.iter().map(|(len, _)| len << shift).sum();
            let mut builder = MapBuilder::new(len);
            for (run_len, state) in runs {
                let state = [State::Free, State::Zero, State::Used][usize::from(state)];
                builder.push(run_len << shift, state);
            }
            let map = builder.finish(State::Used);
            prop_assert_eq!(RunList::from_map(&map).to_map(len).unwrap(), map);
        }
    }
}
