//! In which order a failing card is read: what is good first.

use std::time::Duration;

use cardkeep_block::Extent;
use cardkeep_image::Format;
use cardkeep_testkit::{Fault, Request};

use crate::bench::{Card, FRAME, Memory, MemoryShelf, ONE_READER, SECTOR, Way, card};

fn rescue(card: &Card, map: &cardkeep_block::AllocationMap, slow: Duration) -> Vec<Request> {
    let mut way = Way::new(Format::Zstd);
    way.limits = ONE_READER;
    way.policy.slow_time_min = slow;
    let (result, _) = way.rescue(card, map, &MemoryShelf::new(), &Memory::new());
    result.unwrap();
    card.requests()
}

#[test]
fn all_good_areas_are_read_before_a_bad_one_is_taken_apart() {
    let (card, map) = card();
    let dead = Extent::between(FRAME + 512, FRAME + 1_000_448);
    card.declare(Fault::Unreadable(dead));
    let requests = rescue(&card, &map, Duration::from_secs(600));
    let is_single = |r: &Request| r.extent.len() <= 4096 && dead.overlaps(r.extent);
    let first_single = requests.iter().position(is_single).unwrap();
    let far = requests
        .iter()
        .rposition(|r| r.is_served && r.extent.start() >= 2 * FRAME);
    assert!(far.unwrap() < first_single);
    // And before that it was hardly touched: a first try, a jump, and a few more.
    let early = requests[..first_single].iter();
    let failed = early.filter(|r| !r.is_served).count();
    assert!(failed <= 24, "{failed}");
}

#[test]
fn only_used_bytes_and_what_lies_between_them_are_asked_for() {
    let (card, map) = card();
    card.declare(Fault::Unreadable(Extent::between(FRAME, FRAME + SECTOR)));
    let requests = rescue(&card, &map, Duration::from_secs(600));
    for request in requests {
        let free = Extent::between(FRAME + 2_000_384, 2 * FRAME + 65_536);
        assert!(!request.extent.overlaps(free), "{request:?}");
        assert!(request.is_aligned, "{request:?}");
    }
}

#[test]
fn nothing_that_was_read_is_asked_for_again() {
    let (card, map) = card();
    let bad = Extent::between(2 * FRAME + 1_000_448, 2 * FRAME + 1_000_960);
    card.declare(Fault::Unreadable(bad));
    let requests = rescue(&card, &map, Duration::from_secs(600));
    let served: Vec<Extent> = requests
        .iter()
        .filter(|r| r.is_served)
        .map(|r| r.extent)
        .collect();
    for (index, one) in served.iter().enumerate() {
        for other in &served[index + 1..] {
            assert!(!one.overlaps(*other), "{one} and {other}");
        }
    }
}

#[test]
fn slow_stretches_are_put_off() {
    let (card, map) = card();
    card.declare(Fault::Unreadable(Extent::between(0, SECTOR)));
    let slow = Extent::between(2 * FRAME + 65_536, 2 * FRAME + 1_000_448);
    card.declare(Fault::Slow {
        extent: slow,
        delay: Duration::from_millis(300),
    });
    let requests = rescue(&card, &map, Duration::from_millis(200));
    let far = requests
        .iter()
        .position(|r| r.extent.start() >= 2 * FRAME + (2 << 20))
        .unwrap();
    let touched = requests[..far]
        .iter()
        .filter(|r| r.extent.overlaps(slow))
        .count();
    assert!(touched <= 1, "{touched}");
    assert!(
        requests
            .iter()
            .any(|r| r.is_served && r.extent.overlaps(slow))
    );
}
