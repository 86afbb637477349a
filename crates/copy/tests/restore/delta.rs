//! Writing only what differs.

use cardkeep_block::{AllocationMap, Extent, MemoryMedium, Patches, ReadAt, State, WriteAt};
use cardkeep_copy::{HEAD_BYTES, Layout, MediumOriginal, WriteMode};
use cardkeep_testkit::{FaultyMedium, RequestKind};

use crate::card::{FRAME, OLD, card, check, layout, run, run_medium};

#[test]
fn a_card_that_holds_it_all_already_is_not_written() {
    let card = card();
    run_medium(&card, WriteMode::All).unwrap();
    let card = FaultyMedium::new(card);
    let outcome = run_medium(&card, WriteMode::Differing).unwrap();
    assert_eq!(card.writes(), []);
    assert_eq!(
        (outcome.written_bytes, outcome.found_bytes),
        (0, outcome.filled_bytes)
    );
}

#[test]
fn only_what_differs_is_written_and_the_head_again() {
    let card = card();
    run_medium(&card, WriteMode::All).unwrap();
    // Within a used extent, within zeros, and within what is free.
    for (offset, junk) in [
        (FRAME + 5000, 7),
        (4 * FRAME + 100, 8),
        (2 * FRAME + 5000, OLD),
    ] {
        card.write_at(offset, &[junk]).unwrap();
    }
    let card = FaultyMedium::new(card);
    let outcome = run_medium(&card, WriteMode::Differing).unwrap();
    let head = Extent::between(0, HEAD_BYTES);
    let written: Vec<u64> = card
        .writes()
        .iter()
        .map(|write| write.extent)
        .filter(|extent| !extent.overlaps(head))
        .map(Extent::start)
        .collect();
    assert_eq!(written, [FRAME + 4096, 4 * FRAME]);
    assert_eq!(outcome.written_bytes, 2 * 4096);
    // The frame was read once, and of it what was written once more.
    let reads: Vec<u64> = card
        .requests()
        .iter()
        .filter(|r| {
            r.kind == RequestKind::Read && r.extent.overlaps(Extent::between(FRAME, 2 * FRAME))
        })
        .map(|request| request.extent.len())
        .collect();
    assert_eq!(reads, [FRAME, 4096]);
    check(&card, "mended");
}

#[test]
fn a_head_that_differs_is_written_alone() {
    let card = card();
    run_medium(&card, WriteMode::All).unwrap();
    card.write_at(5000, &[1, 2, 3]).unwrap();
    run_medium(&card, WriteMode::Differing).unwrap();
    check(&card, "head");
}

#[test]
fn an_image_shorter_than_the_head_is_compared_as_well() {
    let bytes = [3; 70_000];
    let medium = MemoryMedium::from_bytes(&bytes);
    let (map, patches) = (AllocationMap::all(70_000, State::Used), Patches::default());
    let original = MediumOriginal {
        medium: &medium,
        layout: Layout {
            content_len: 70_000,
            ..layout(&map, &patches)
        },
    };
    for mode in [WriteMode::All, WriteMode::Differing, WriteMode::Resumed] {
        let card = card();
        let outcome = run(&original, &card, mode).unwrap();
        assert_eq!(outcome.filled_bytes, 70_000, "{mode:?}");
        assert!(card.read_vec(0, 70_000).unwrap() == bytes, "{mode:?}");
    }
}
