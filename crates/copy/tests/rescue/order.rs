//! In which order a failing card is read: what is good first.

use std::sync::atomic::Ordering;
use std::time::Duration;

use cardkeep_block::Extent;
use cardkeep_image::Format;
use cardkeep_testkit::{Fault, Request};

use crate::bench::{
    Card, FRAME, Memory, MemoryShelf, ONE_READER, SECTOR, Way, card, content, expected,
};

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
    let mut served: Vec<Extent> = requests
        .iter()
        .filter(|r| r.is_served)
        .map(|r| r.extent)
        .collect();
    // But for the one sector that tells whether the card is still there, since the last requests failed.
    assert_eq!(served.pop().unwrap().len(), SECTOR);
    for (index, one) in served.iter().enumerate() {
        for other in &served[index + 1..] {
            assert!(!one.overlaps(*other), "{one} and {other}");
        }
    }
}

#[test]
fn slow_stretches_are_put_off_behind_an_error() {
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

/// Small pieces of the fourth frame, each of which is a request.
fn pieces(indices: impl Iterator<Item = u64>) -> Vec<Extent> {
    indices
        .map(|index| 3 * FRAME + index * 24_576)
        .map(|start| Extent::between(start, start + 4096))
        .collect()
}

/// Copies a card that is slow in these places and fails nowhere; returns what was asked of it, and whether
/// the store was.
fn from_slow(slow: &[Extent], room: u64) -> (Vec<Request>, bool) {
    let (card, map) = card();
    for &extent in slow {
        card.declare(Fault::Slow {
            extent,
            delay: Duration::from_millis(120),
        });
    }
    let mut way = Way::new(Format::Zstd);
    way.limits = ONE_READER;
    way.policy.slow_time_min = Duration::from_millis(100);
    let shelf = MemoryShelf {
        room,
        ..MemoryShelf::new()
    };
    let image = Memory::new();
    let (result, report) = way.rescue(&card, &map, &shelf, &image);
    assert!(result.unwrap().is_verified && report.lost.is_empty());
    let whole = content(Format::Zstd, image.bytes());
    assert!(whole == expected(&card, &map, &[]));
    (card.requests(), shelf.is_asked.load(Ordering::Relaxed))
}

/// Returns how many requests for these places came before the last frame was read.
fn before_the_last_frame(requests: &[Request], places: &[Extent]) -> usize {
    let last = requests
        .iter()
        .position(|request| request.extent.end() > 4 * FRAME + 512)
        .unwrap();
    let is_there = |request: &&Request| places.iter().any(|p| p.overlaps(request.extent));
    requests[..last].iter().filter(is_there).count()
}

#[test]
fn a_stretch_that_stays_slow_is_put_off_though_nothing_failed() {
    let slow = pieces(0..20);
    let (requests, is_asked) = from_slow(&slow, u64::MAX);
    assert!(is_asked);
    // Three are enough to see it, and with one more the rescue finds it out for itself.
    let early = before_the_last_frame(&requests, &slow);
    assert!((3..=4).contains(&early), "{early}");
}

#[test]
fn a_card_that_pauses_now_and_then_asks_for_no_store() {
    let slow = pieces([0, 1, 3, 4, 6, 7, 9].into_iter());
    let (requests, is_asked) = from_slow(&slow, u64::MAX);
    assert!(!is_asked);
    assert_eq!(before_the_last_frame(&requests, &slow), slow.len());
}

#[test]
fn a_slow_stretch_is_read_on_where_the_store_has_no_room() {
    let slow = pieces(0..5);
    let (requests, is_asked) = from_slow(&slow, 1000);
    assert!(!is_asked);
    assert_eq!(before_the_last_frame(&requests, &slow), slow.len());
}
