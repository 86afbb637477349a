//! What ends up on a card, and in which order: what makes a torn-out card harmless.

use cardkeep_block::{BlockErrorKind, Extent, MemoryMedium, ReadAt, State, WriteAt};
use cardkeep_copy::{CopyError, HEAD_BYTES, WriteMode};
use cardkeep_image::FRAME_BYTES;
use cardkeep_testkit::{Fault, FaultyMedium, RequestKind, Unflushed};

use crate::card::{CARD_LEN, FRAME, OLD, card, check, looks_bootable, original, run_medium};

#[test]
fn used_bytes_and_zeros_arrive_and_free_bytes_are_left_alone() {
    let card = card();
    let outcome = run_medium(&card, WriteMode::All).unwrap();
    check(&card, "restored");
    let (_, map) = original();
    let filled = map.bytes(State::Used) + map.bytes(State::Zero);
    assert_eq!(
        (
            outcome.filled_bytes,
            outcome.written_bytes,
            outcome.found_bytes
        ),
        (filled, filled, 0)
    );
    assert!(outcome.is_verified);
}

#[test]
fn the_head_is_wiped_first_and_written_last() {
    let card = FaultyMedium::new(card());
    run_medium(&card, WriteMode::All).unwrap();
    let head = Extent::between(0, HEAD_BYTES);
    let writes: Vec<_> = card
        .requests()
        .into_iter()
        .filter(|request| request.kind != RequestKind::Read)
        .collect();
    let first = Extent::between(0, 4096);
    let wiped = [0, 1].map(|index| (writes[index].kind, writes[index].extent));
    assert_eq!(
        wiped,
        [(RequestKind::Zeros, first), (RequestKind::Zeros, head)]
    );
    assert_eq!(writes[3].kind, RequestKind::Flush);
    let rest = &writes[4..];
    let first_of_head = rest
        .iter()
        .position(|w| w.kind != RequestKind::Flush && w.extent.overlaps(head));
    let after: Vec<_> = rest[first_of_head.unwrap()..]
        .iter()
        .map(|w| (w.kind, w.extent.start(), w.extent.end()))
        .collect();
    let flush = (RequestKind::Flush, 0, 0);
    assert_eq!(
        after,
        [
            (RequestKind::Write, 4096, 8192),
            flush,
            (RequestKind::Write, 0, 512),
            flush
        ]
    );
}

#[test]
fn a_card_torn_out_after_any_write_is_complete_or_not_bootable_and_can_be_finished() {
    let whole = FaultyMedium::new(card());
    run_medium(&whole, WriteMode::All).unwrap();
    let count = whole.writes().len() as u64;
    assert!(count > 10, "{count}");
    for after in 0..count {
        let torn = FaultyMedium::new(card()).with(Fault::GoneAfterWrites(after));
        let error = run_medium(&torn, WriteMode::All).unwrap_err();
        assert!(
            matches!(&error, CopyError::Destination(e) if e.kind() == BlockErrorKind::Gone),
            "{after}: {error}"
        );
        let torn = torn.into_inner();
        // With no write at all the card is still the old one.
        assert!(after == 0 || !looks_bootable(&torn), "{after}");
        run_medium(&torn, WriteMode::Resumed).unwrap();
        check_resumed(&torn, after);
    }
}

/// As [`check`], where the tail, wiped third, was only wiped if the first run came that far.
fn check_resumed(card: &MemoryMedium, after: u64) {
    if after < 3 {
        let tail = Extent::between(CARD_LEN - HEAD_BYTES, CARD_LEN);
        card.write_zeros(tail).unwrap();
    }
    check(card, &format!("resumed after {after} writes"));
}

#[test]
fn a_power_cut_leaves_no_bootable_card_whatever_the_cards_cache_kept() {
    let whole = FaultyMedium::new(card());
    run_medium(&whole, WriteMode::All).unwrap();
    let count = whole.writes().len() as u64;
    for after in 0..count {
        for (round, unflushed) in [
            Unflushed::Lost,
            Unflushed::Torn { sectors: 1 },
            Unflushed::Scattered { seed: after },
        ]
        .into_iter()
        .enumerate()
        {
            let cut = FaultyMedium::new(card()).with(Fault::PowerCutAfterWrites {
                writes: after,
                unflushed,
            });
            run_medium(&cut, WriteMode::All).unwrap_err();
            let cut = cut.into_inner();
            let old_head = cut.read_vec(0, 512).unwrap() == [OLD; 512];
            let untouched = cut.read_vec(FRAME, FRAME_BYTES).unwrap() == [OLD; FRAME_BYTES];
            // Either the old card, of which nothing but its head may be gone, or no card at all.
            assert!(
                !looks_bootable(&cut) || old_head && untouched || after + 1 >= count,
                "{after} {round}"
            );
            run_medium(&cut, WriteMode::Resumed).unwrap();
        }
    }
}
