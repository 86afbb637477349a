//! What it means that a card reads otherwise than was written.
//!
//! A digest that differs says that something is wrong, not what to do about it. The bytes that
//! were found do: zeros come from a card that dropped the write, bytes that belong further on from
//! one whose addresses wrap, a few flipped bits from a reader, a cable or worn cells. To recognise
//! what belongs elsewhere, [`Fingerprints`] remembers one block of every frame that was written.

use std::collections::HashMap;
use std::fmt;

use cardkeep_block::Extent;
use cardkeep_image::FRAME_BYTES;
use twox_hash::XxHash64;

/// What is recognised elsewhere: a block of this size. Smaller ones are often alike.
const BLOCK_BYTES: usize = 4096;
/// In which steps a block is looked for: a card wraps at a multiple of its sector.
const SECTOR_BYTES: usize = 512;
/// What bounds the memory of fingerprints to 4 MiB: one frame of 4 MiB each of a card of 1 TiB.
/// Beyond that nothing is remembered, and a shift from there stays [`Diagnosis::Other`].
const FINGERPRINTS_MAX: usize = 1 << 18;
/// So few flipped bits are never content of their own, even where they read as zero.
const FLIPPED_BITS_CERTAIN: u64 = 8;
/// Flipped bits per differing sector that still are damage rather than other content: of unrelated
/// bytes about half of a sector's 4096 bits differ.
const FLIPPED_BITS_PER_SECTOR_MAX: u64 = 16;

/// What bytes that differ from what was written tell of the card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Diagnosis {
    /// They are the same.
    Same,
    /// It reads zeros: the write was dropped, as past the real end of a card that lies.
    Zeros,
    /// It reads bytes of 0xff, as erased flash does: the write was dropped.
    Erased,
    /// It holds what belongs further on: addresses wrap.
    Elsewhere {
        /// How many bytes further on: the card's real size or a multiple of it.
        shift: u64,
    },
    /// It was right until another place was written: addresses wrap.
    Spoiled,
    /// A few bits are flipped: the reader, the cable, or a worn card.
    BitFlips {
        /// How many.
        bits: u64,
    },
    /// None of these: perhaps what was there before, perhaps rubbish.
    Other,
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Same => f.write_str("the card holds what was written"),
            Self::Zeros => f.write_str(
                "the card reads zeros where data was written: it is smaller than it says or worn \
                 out; don't use it",
            ),
            Self::Erased => f.write_str(
                "the card reads as erased where data was written: it is smaller than it says or \
                 worn out; don't use it",
            ),
            Self::Elsewhere { shift } => write!(
                f,
                "the card holds here what belongs {} MB further on: it is smaller than it says; \
                 don't use it",
                shift / 1_000_000
            ),
            Self::Spoiled => f.write_str(
                "it was right until another place was written: the card is smaller than it says; \
                 don't use it",
            ),
            Self::BitFlips { bits: 1 } => f.write_str(
                "one bit is flipped: try another reader, cable or port; if it happens again, \
                 replace the card",
            ),
            Self::BitFlips { bits } => write!(
                f,
                "{bits} bits are flipped: try another reader, cable or port; if it happens again, \
                 replace the card"
            ),
            Self::Other => f.write_str(
                "the card holds something other than what was written: try another reader; if it \
                 happens again, replace the card",
            ),
        }
    }
}

/// Says what it means that `found` was read from `at` where `expected` had been written. Both are
/// as long as `at`; what one has more than the other is not looked at.
#[must_use]
pub fn diagnose(expected: &[u8], found: &[u8], at: Extent, known: &Fingerprints) -> Diagnosis {
    let Some(difference) = Difference::between(expected, found) else {
        return Diagnosis::Same;
    };
    let flips = Diagnosis::BitFlips {
        bits: difference.bits,
    };
    if difference.bits <= FLIPPED_BITS_CERTAIN {
        return flips;
    }
    match difference.filler {
        Some(0) => return Diagnosis::Zeros,
        Some(0xff) => return Diagnosis::Erased,
        _ => {}
    }
    if difference.bits / difference.sectors <= FLIPPED_BITS_PER_SECTOR_MAX {
        return flips;
    }
    // Only what differs: two frames may share a block rightfully.
    let start = at.start().saturating_add(difference.from as u64);
    let place = Extent::between(start, at.end());
    let shift = known.find(&found[difference.from..difference.to], place);
    shift.map_or(Diagnosis::Other, |shift| Diagnosis::Elsewhere { shift })
}

/// In what two contents differ.
#[derive(Clone, Copy)]
struct Difference {
    /// The first sector that differs, and the end of the last one, in bytes.
    from: usize,
    to: usize,
    /// How many sectors differ, at least one.
    sectors: u64,
    /// How many bits differ.
    bits: u64,
    /// The byte that all differing sectors that were found consist of, where there is one.
    filler: Option<u8>,
}

impl Difference {
    fn between(expected: &[u8], found: &[u8]) -> Option<Self> {
        let size = expected.len().min(found.len());
        let sectors = expected[..size]
            .chunks(SECTOR_BYTES)
            .zip(found[..size].chunks(SECTOR_BYTES));
        sectors
            .enumerate()
            .filter(|(_, (expected, found))| expected != found)
            .map(|(index, (expected, found))| Self {
                from: index * SECTOR_BYTES,
                to: index * SECTOR_BYTES + found.len(),
                sectors: 1,
                bits: flipped_bits(expected, found),
                filler: filler(found),
            })
            .reduce(Self::and)
    }

    /// Returns the difference that both make; `later` lies further on.
    fn and(self, later: Self) -> Self {
        Self {
            from: self.from,
            to: later.to,
            sectors: self.sectors + later.sectors,
            bits: self.bits + later.bits,
            filler: self.filler.filter(|_| self.filler == later.filler),
        }
    }
}

fn flipped_bits(expected: &[u8], found: &[u8]) -> u64 {
    let bytes = expected.iter().zip(found);
    bytes.map(|(a, b)| u64::from((a ^ b).count_ones())).sum()
}

/// Returns the byte that `bytes` consist of, where it is a single one.
fn filler(bytes: &[u8]) -> Option<u8> {
    let first = *bytes.first()?;
    bytes.iter().all(|&byte| byte == first).then_some(first)
}

/// What was written where: of every frame the hash of its first block that is told from others.
///
/// 16 bytes a frame, at most 4 MiB in all.
#[derive(Clone, Debug, Default)]
pub struct Fingerprints {
    list: Vec<Fingerprint>,
}

#[derive(Clone, Copy, Debug)]
struct Fingerprint {
    hash: u64,
    offset: u64,
}

impl Fingerprints {
    /// Returns the fingerprints of nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Remembers that `written` was written at `offset`, as long as its frame has no fingerprint
    /// yet. What lies in the next frame is not looked at. Blocks of one byte throughout, such as
    /// zeros, belong anywhere and are passed over.
    pub fn add(&mut self, offset: u64, written: &[u8]) {
        let frame = offset / FRAME_BYTES as u64;
        let is_known = |last: &Fingerprint| last.offset / FRAME_BYTES as u64 == frame;
        if self.list.last().is_some_and(is_known) || self.list.len() >= FINGERPRINTS_MAX {
            return;
        }
        let block = BLOCK_BYTES as u64;
        // OK to cast: less than a block.
        let skipped = (offset.wrapping_neg() % block) as usize;
        let rest = FRAME_BYTES - (offset % FRAME_BYTES as u64) as usize;
        let within = written.get(skipped..written.len().min(rest));
        for (index, bytes) in within
            .unwrap_or_default()
            .chunks_exact(BLOCK_BYTES)
            .enumerate()
        {
            if filler(bytes).is_none() {
                let before = (skipped + index * BLOCK_BYTES) as u64;
                if let Some(offset) = offset.checked_add(before) {
                    let hash = XxHash64::oneshot(0, bytes);
                    self.list.push(Fingerprint { hash, offset });
                }
                return;
            }
        }
    }

    /// Looks in `found`, read from `at`, for a block that belongs further on, and returns how many
    /// bytes further: the smallest shift, where several blocks are recognised. Looks at no more
    /// than a frame, in steps of 512 bytes.
    #[must_use]
    pub fn find(&self, found: &[u8], at: Extent) -> Option<u64> {
        let found = &found[..found.len().min(FRAME_BYTES)];
        let windows = found.windows(BLOCK_BYTES).enumerate().step_by(SECTOR_BYTES);
        let positions: HashMap<u64, usize> = windows
            .map(|(position, bytes)| (XxHash64::oneshot(0, bytes), position))
            .collect();
        let known = self.list.iter().filter_map(|fingerprint| {
            let position = *positions.get(&fingerprint.hash)?;
            let here = at.start().checked_add(position as u64)?;
            fingerprint.offset.checked_sub(here)
        });
        known.filter(|&shift| shift > 0).min()
    }
}

#[cfg(test)]
mod tests {
    use cardkeep_block::Extent;
    use cardkeep_image::FRAME_BYTES;
    use proptest::prelude::{ProptestConfig, any, prop_assert_eq, proptest};

    use super::{BLOCK_BYTES, Diagnosis, FINGERPRINTS_MAX, Fingerprints, diagnose};

    const FRAME: u64 = FRAME_BYTES as u64;

    /// Returns a frame that shares no block with those of other numbers.
    fn frame(number: u64) -> Vec<u8> {
        let word = |index: u64| {
            let mixed = (number * FRAME + index + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9)
        };
        (0..FRAME / 8)
            .flat_map(|index| word(index).to_le_bytes())
            .collect()
    }

    fn extent_of(number: u64) -> Extent {
        Extent::between(number * FRAME, (number + 1) * FRAME)
    }

    fn diagnose_first(found: &[u8], known: &Fingerprints) -> Diagnosis {
        diagnose(&frame(1), found, extent_of(1), known)
    }

    #[test]
    fn zeros_and_erased_flash_are_dropped_writes() {
        let known = Fingerprints::new();
        for (byte, diagnosis) in [
            (0, Diagnosis::Zeros),
            (0xff, Diagnosis::Erased),
            (0x55, Diagnosis::Other),
        ] {
            let mut found = frame(1);
            found[FRAME_BYTES / 2..].fill(byte);
            assert_eq!(diagnose_first(&found, &known), diagnosis);
            found[512] ^= 0x80;
            // Half a frame dropped and one sector damaged is no longer only the one.
            assert_eq!(diagnose_first(&found, &known), Diagnosis::Other);
        }
        assert_eq!(diagnose_first(&frame(1), &known), Diagnosis::Same);
    }

    #[test]
    fn few_flipped_bits_are_counted() {
        let known = Fingerprints::new();
        let mut found = frame(1);
        found[0] ^= 0x11;
        found[FRAME_BYTES - 1] ^= 1;
        let three = Diagnosis::BitFlips { bits: 3 };
        assert_eq!(diagnose_first(&found, &known), three);
        // One bit in every sector.
        found = frame(1);
        found.iter_mut().step_by(512).for_each(|byte| *byte ^= 4);
        let bits = FRAME / 512;
        assert_eq!(diagnose_first(&found, &known), Diagnosis::BitFlips { bits });
        // A lone bit that is lost is no dropped write, though its sector reads as zeros.
        let mut lone = vec![0; 512];
        lone[7] = 1;
        let at = Extent::between(0, 512);
        let one = Diagnosis::BitFlips { bits: 1 };
        assert_eq!(diagnose(&lone, &[0; 512], at, &known), one);
        assert_eq!(diagnose(&[0; 512], &lone, at, &known), one);
    }

    #[test]
    fn what_belongs_further_on_tells_the_shift() {
        let mut known = Fingerprints::new();
        for number in 0..40 {
            known.add(number * FRAME, &frame(number));
        }
        for other in [2, 17, 39] {
            let shift = (other - 1) * FRAME;
            let elsewhere = Diagnosis::Elsewhere { shift };
            assert_eq!(diagnose_first(&frame(other), &known), elsewhere);
        }
        assert_eq!(diagnose_first(&frame(40), &known), Diagnosis::Other);
        // What belongs before is no wrap: there it would have been written later.
        assert_eq!(diagnose_first(&frame(0), &known), Diagnosis::Other);
    }

    #[test]
    fn a_block_that_two_frames_share_rightfully_tells_nothing() {
        let mut known = Fingerprints::new();
        let mut later = frame(2);
        later[..BLOCK_BYTES].copy_from_slice(&frame(1)[..BLOCK_BYTES]);
        known.add(FRAME, &frame(1));
        known.add(2 * FRAME, &later);
        let mut found = frame(1);
        found[FRAME_BYTES / 2..].fill(0x55);
        assert_eq!(diagnose_first(&found, &known), Diagnosis::Other);
    }

    proptest! {
        // Each case hashes two frames at every sector.
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn a_shift_by_any_number_of_sectors_is_found(sectors in 1u64..4000) {
            let mut known = Fingerprints::new();
            known.add(2 * FRAME, &frame(2));
            let shift = sectors * 512;
            // What a card shows at `at` whose addresses wrap after `shift` bytes.
            let at = 2 * FRAME - shift;
            let at = Extent::between(at, at + FRAME);
            prop_assert_eq!(known.find(&frame(2), at), Some(shift));
            // The shifted frame begins in the middle of what was read.
            let mut found = vec![0x55; FRAME_BYTES];
            let from = (sectors * 512) as usize;
            found[from..].copy_from_slice(&frame(2)[..FRAME_BYTES - from]);
            prop_assert_eq!(known.find(&found, extent_of(1)), Some(FRAME - shift));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_diagnosed(
            expected in proptest::collection::vec(any::<u8>(), 0..2000),
            found in proptest::collection::vec(any::<u8>(), 0..2000),
            start in any::<u64>(),
        ) {
            let mut known = Fingerprints::new();
            known.add(start, &found);
            let at = Extent::between(start, u64::MAX);
            let size = expected.len().min(found.len());
            let is_same = diagnose(&expected, &found, at, &known) == Diagnosis::Same;
            prop_assert_eq!(is_same, expected[..size] == found[..size]);
        }
    }

    #[test]
    fn the_first_telling_block_of_a_frame_is_remembered_in_bounded_memory() {
        let mut known = Fingerprints::new();
        let mut content = vec![0; FRAME_BYTES];
        content[8192..12_288].copy_from_slice(&frame(3)[..4096]);
        content[16_384..20_480].copy_from_slice(&frame(4)[..4096]);
        known.add(FRAME + 512, &content[512..]);
        known.add(FRAME + 16_384, &content[16_384..]);
        let offsets: Vec<u64> = known.list.iter().map(|own| own.offset).collect();
        assert_eq!(offsets, [FRAME + 8192]);
        // Of the next frame nothing is taken.
        known.add(3 * FRAME - 4096, &[&[0; 4096][..], &frame(3)].concat());
        assert_eq!(known.list.len(), 1);
        known.add(u64::MAX - 100, &content);
        let block = &frame(5)[..BLOCK_BYTES];
        for number in 0..FINGERPRINTS_MAX as u64 + 10 {
            known.add(number * FRAME, block);
        }
        assert_eq!(known.list.len(), FINGERPRINTS_MAX);
        assert_eq!(size_of_val(&*known.list), 4 << 20);
    }

    #[test]
    fn diagnoses_are_told_with_what_to_do() {
        for (diagnosis, text) in [
            (Diagnosis::Zeros, "don't use it"),
            (Diagnosis::Erased, "don't use it"),
            (
                Diagnosis::Elsewhere {
                    shift: 8_000_000_000,
                },
                "what belongs 8000 MB further on: it is smaller than it says; don't use it",
            ),
            (Diagnosis::BitFlips { bits: 1 }, "one bit is flipped"),
            (Diagnosis::BitFlips { bits: 2 }, "2 bits are flipped"),
            (Diagnosis::Other, "try another reader"),
        ] {
            assert!(diagnosis.to_string().contains(text), "{diagnosis}");
        }
    }
}
