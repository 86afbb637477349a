//! The card of these tests: junk, of which a map says what matters.

use cardkeep_block::{
    AllocationMap, Extent, MemoryMedium, Patches, ReadAt, ReadWriteAt, Run, Silent, State,
};
use cardkeep_copy::{
    CopyError, HEAD_BYTES, Layout, MediumOriginal, Original, Recipient, RestoreOptions,
    RestoreOutcome, WriteMode, restore,
};
use cardkeep_image::FRAME_BYTES;

pub(crate) const FRAME: u64 = FRAME_BYTES as u64;
pub(crate) const LEN: u64 = 5 * FRAME + 12_800;
pub(crate) const CARD_LEN: u64 = LEN + 3 * HEAD_BYTES;
pub(crate) const OLD: u8 = 0xa5;

/// A card full of junk, and the map of what matters of it.
pub(crate) fn original() -> (MemoryMedium, AllocationMap) {
    let mut seed = 1u64;
    let junk: Vec<u8> = (0..LEN as usize)
        .map(|_| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 56) as u8 | 1
        })
        .collect();
    let used = [
        (0, 512),
        (4096, 8192),
        (FRAME - 512, 2 * FRAME + 512),
        (3 * FRAME, 3 * FRAME + 300_032),
        (3 * FRAME + 309_760, 3 * FRAME + 460_800),
        (5 * FRAME + 512, LEN),
    ];
    let zero = [
        (3 * FRAME + 300_032, 3 * FRAME + 309_760),
        (4 * FRAME, 5 * FRAME + 512),
    ];
    let runs = |list: &[(u64, u64)], state| -> Vec<Run> {
        let run = |&(start, end): &(u64, u64)| Run::new(Extent::between(start, end), state);
        list.iter().map(run).collect()
    };
    let layer = [runs(&used, State::Used), runs(&zero, State::Zero)].concat();
    let map = AllocationMap::all(LEN, State::Free).replaced(&layer);
    (MemoryMedium::from_bytes(&junk), map)
}

/// A card that was used for something else before.
pub(crate) fn card() -> MemoryMedium {
    MemoryMedium::from_bytes(&vec![OLD; CARD_LEN as usize])
}

pub(crate) fn layout<'a>(map: &'a AllocationMap, patches: &'a Patches) -> Layout<'a> {
    Layout {
        map,
        content_len: LEN,
        patches,
        digests: &[],
    }
}

pub(crate) fn options(mode: WriteMode) -> RestoreOptions {
    RestoreOptions { mode, verify: true }
}

pub(crate) fn run(
    original: &dyn Original,
    card: &dyn ReadWriteAt,
    mode: WriteMode,
) -> Result<RestoreOutcome, CopyError> {
    let recipient = Recipient {
        card,
        monitor: &Silent,
    };
    restore(original, &[recipient], options(mode)).remove(0)
}

/// Puts the original onto `card` from a medium.
pub(crate) fn run_medium(
    card: &dyn ReadWriteAt,
    mode: WriteMode,
) -> Result<RestoreOutcome, CopyError> {
    let (medium, map) = original();
    let patches = Patches::default();
    let original = MediumOriginal {
        medium: &medium,
        layout: layout(&map, &patches),
    };
    run(&original, card, mode)
}

/// Checks every byte of a card: what is used, what is zero, and what nobody may have touched.
pub(crate) fn check(card: &dyn ReadAt, what: &str) {
    let (medium, map) = original();
    let mut expected = vec![OLD; CARD_LEN as usize];
    expected[..HEAD_BYTES as usize].fill(0);
    expected[(CARD_LEN - HEAD_BYTES) as usize..].fill(0);
    for run in map.runs() {
        let part = &mut expected[run.extent.start() as usize..run.extent.end() as usize];
        match run.state {
            State::Used => medium.read_at(run.extent.start(), part).unwrap(),
            State::Zero => part.fill(0),
            State::Free => {}
        }
    }
    let found = card.read_vec(0, CARD_LEN as usize).unwrap();
    let first = found.iter().zip(&expected).position(|(a, b)| a != b);
    assert_eq!(first, None, "{what}");
}

pub(crate) fn looks_bootable(card: &dyn ReadAt) -> bool {
    card.read_vec(0, 512).unwrap().iter().any(|&byte| byte != 0)
}
