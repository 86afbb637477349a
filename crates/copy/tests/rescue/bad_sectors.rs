//! Sectors that can't be read: for good, or the first times.

use std::sync::atomic::Ordering;
use std::time::Duration;

use cardkeep_block::{AllocationMap, Extent, RescueStatus, Run, State};
use cardkeep_copy::{CopyError, FrameList, Holes, Prefix, RetryPolicy, Verify};
use cardkeep_image::Format;
use cardkeep_testkit::{Fault, Random};

use crate::bench::{
    FRAME, LEN, Memory, MemoryShelf, ONE_READER, SECTOR, Way, card, content, expected, recorded,
    wanted,
};

const FORMATS: [Format; 4] = [Format::Zstd, Format::Raw, Format::Gzip, Format::Xz];

#[test]
fn a_healthy_card_gives_the_same_bytes_and_asks_for_no_store() {
    let (card, map) = card();
    for format in FORMATS {
        let (way, shelf, image) = (Way::new(format), MemoryShelf::new(), Memory::new());
        let (result, report) = way.rescue(&card, &map, &shelf, &image);
        result.unwrap();
        assert!(image.bytes() == way.healthy(&card, &map), "{format:?}");
        assert!(!shelf.is_asked.load(Ordering::Relaxed), "{format:?}");
        assert!(report.lost.is_empty());
        assert_eq!(report.health.errors(), 0);
        assert!(report.health.total().bytes >= map.bytes(cardkeep_block::State::Used));
    }
}

#[test]
fn a_bad_sector_in_free_space_costs_nothing() {
    let (card, map) = card();
    card.declare(Fault::Unreadable(Extent::between(
        FRAME + 3_000_320,
        FRAME + 3_500_032,
    )));
    let (way, shelf, image) = (Way::new(Format::Zstd), MemoryShelf::new(), Memory::new());
    let (result, report) = way.rescue(&card, &map, &shelf, &image);
    result.unwrap();
    assert!(image.bytes() == way.healthy(&card, &map));
    assert_eq!(report.health.errors(), 0);
}

#[test]
fn a_bad_sector_in_a_gap_that_is_read_through_loses_nothing() {
    let (card, map) = card();
    card.declare(Fault::Unreadable(Extent::between(
        3 * FRAME + 8192,
        3 * FRAME + 8704,
    )));
    let (way, shelf, image) = (Way::new(Format::Zstd), MemoryShelf::new(), Memory::new());
    let (result, report) = way.rescue(&card, &map, &shelf, &image);
    result.unwrap();
    assert!(report.health.errors() > 0, "the gap was not read through");
    assert!(image.bytes() == way.healthy(&card, &map));
    assert!(report.lost.is_empty());
}

/// Random bad sectors, alone and in stretches, in used and in free space.
fn bad_sectors(random: &mut Random) -> Vec<Extent> {
    let count = 1 + random.below(12);
    let mut bad: Vec<Extent> = (0..count)
        .map(|_| {
            let start = random.below(LEN / SECTOR) * SECTOR;
            let sectors = if random.below(4) == 0 {
                random.below(300)
            } else {
                1
            };
            Extent::between(start, (start + (sectors + 1) * SECTOR).min(LEN))
        })
        .collect();
    // Where it hurts: the first sector of all, and both ends of a used stretch.
    for place in [0, FRAME - 512, FRAME + 1_999_872, LEN - SECTOR] {
        if random.below(4) == 0 {
            bad.push(Extent::between(place, place + SECTOR));
        }
    }
    bad
}

#[test]
fn just_what_is_bad_and_used_is_lost_and_zero_and_told() {
    for seed in 0..24_u64 {
        let mut random = Random::new(seed);
        let (card, map) = card();
        let bad = bad_sectors(&mut random);
        for &extent in &bad {
            card.declare(Fault::Unreadable(extent));
        }
        let format = FORMATS[(seed % 4) as usize];
        let (way, shelf, image) = (Way::new(format), MemoryShelf::new(), Memory::new());
        let (result, report) = way.rescue(&card, &map, &shelf, &image);
        assert!(result.unwrap().is_verified);
        let lost = wanted(&map, &bad);
        assert_eq!(report.lost, lost, "seed {seed}");
        let bytes = image.bytes();
        if format == Format::Zstd {
            assert_eq!(recorded(&bytes), lost, "seed {seed}");
        }
        assert!(
            content(format, bytes) == expected(&card, &map, &lost),
            "seed {seed}"
        );
        assert_eq!(shelf.map(&map).bytes(RescueStatus::NonTrimmed), 0);
    }
}

#[test]
fn a_card_of_which_nothing_can_be_read_gives_no_image() {
    let (card, map) = card();
    card.declare(Fault::Unreadable(Extent::between(0, map.len())));
    for format in FORMATS {
        let (shelf, image) = (MemoryShelf::new(), Memory::new());
        let (result, report) = Way::new(format).rescue(&card, &map, &shelf, &image);
        assert!(matches!(result, Err(CopyError::Source(_))), "{format:?}");
        assert!(!report.lost.is_empty());
    }
}

#[test]
fn flaky_sectors_are_read_in_the_end() {
    for failures in [1, 2, 3, 6] {
        let (card, map) = card();
        for start in [0, 10 * SECTOR + 8192, 2 * FRAME + 99 * SECTOR + 65_536] {
            card.declare(Fault::Flaky {
                extent: Extent::between(start, start + SECTOR),
                failures,
            });
        }
        let mut way = Way::new(Format::Zstd);
        way.policy.retries = 6;
        let (shelf, image) = (MemoryShelf::new(), Memory::new());
        let (result, report) = way.rescue(&card, &map, &shelf, &image);
        result.unwrap();
        assert!(report.lost.is_empty(), "{failures}: {:?}", report.lost);
        assert!(image.bytes() == way.healthy(&card, &map), "{failures}");
    }
}

#[test]
fn bad_sectors_are_retried_as_often_as_the_policy_says() {
    let bad = Extent::between(FRAME + 512, FRAME + 1024);
    let asked = |retries| {
        let (card, map) = card();
        card.declare(Fault::Unreadable(bad));
        let mut way = Way::new(Format::Zstd);
        way.policy.retries = retries;
        let (_, report) = way.rescue(&card, &map, &MemoryShelf::new(), &Memory::new());
        assert_eq!(report.health.retries(), u64::from(retries));
        let requests = card.requests();
        requests.iter().filter(|r| r.extent == bad).count() as u32
    };
    assert_eq!(asked(0), 1);
    assert_eq!(asked(5), 6);
}

#[test]
fn a_policy_without_holes_makes_no_image_but_keeps_what_was_read() {
    let (card, map) = card();
    let bad = Extent::between(FRAME + 512, FRAME + 1024);
    card.declare(Fault::Unreadable(bad));
    let mut way = Way::new(Format::Zstd);
    // Of two readers one may be behind the error already.
    way.limits = ONE_READER;
    way.policy.holes = Holes::Refused;
    let (shelf, image) = (MemoryShelf::new(), Memory::new());
    let (result, report) = way.rescue(&card, &map, &shelf, &image);
    let error = result.unwrap_err();
    assert!(
        matches!(&error, CopyError::Source(e) if e.extent() == Some(bad)),
        "{error:?}"
    );
    assert_eq!(report.lost, [bad]);
    // Another reader reads it: nothing else is asked for again, but for a frame that was read before the
    // error and not yet written when the copy ended.
    let frames = FrameList::new(&map);
    let kept = Prefix::load(&image, &frames, way.format).unwrap();
    let written = kept.frame_count() as u64 * FRAME;
    card.heal();
    let before = card.requests().len();
    let (result, report) = way.rescue(&card, &map, &shelf, &image);
    result.unwrap();
    assert!(report.lost.is_empty());
    assert!(image.bytes() == way.healthy(&card, &map));
    let mut again: Vec<Extent> = card.requests()[before..].iter().map(|r| r.extent).collect();
    again.retain(|extent| extent.start() < written || extent.start() >= FRAME);
    assert_eq!(again, [bad]);
}

#[test]
fn an_area_that_takes_too_long_is_left_for_good() {
    let (card, map) = card();
    let dead = Extent::between(FRAME + 4096, FRAME + 104_448);
    card.declare(Fault::Unreadable(dead));
    card.declare(Fault::Slow {
        extent: dead,
        delay: Duration::from_millis(1),
    });
    let mut way = Way::new(Format::Zstd);
    way.policy = RetryPolicy {
        retries: 0,
        area_time_max: Some(Duration::ZERO),
        ..way.policy
    };
    let (shelf, image) = (MemoryShelf::new(), Memory::new());
    let (result, report) = way.rescue(&card, &map, &shelf, &image);
    result.unwrap();
    assert_eq!(report.lost, [dead]);
    let left = shelf.map(&map).bytes(RescueStatus::NonScraped);
    assert_eq!(left, dead.len() - 2 * SECTOR);
    // With time it is scraped.
    way.policy.area_time_max = None;
    let (_, report) = way.rescue(&card, &map, &shelf, &image);
    assert_eq!(report.lost, [dead]);
    assert_eq!(shelf.map(&map).bytes(RescueStatus::NonScraped), 0);
}

/// Catches: a map that calls a raw image's bytes finished before they are durable.
#[test]
fn what_an_image_lacks_is_said_once_it_is_durable() {
    let (card, map) = card();
    card.declare(Fault::Unreadable(Extent::between(
        FRAME + 512,
        FRAME + 1024,
    )));
    let image = Memory::new();
    let mut way = Way::new(Format::Raw);
    way.verify = Verify::Never;
    let shelf = MemoryShelf::on(image.clone(), true);
    let (result, report) = way.rescue(&card, &map, &shelf, &image);
    result.unwrap();
    // The shelf itself asserts the order; and nothing else is missing in the end.
    let missing = shelf.map(&map);
    let missing = missing.unfinished_in(Extent::between(0, LEN));
    let missing: Vec<Extent> = missing.map(|run| run.extent).collect();
    assert_eq!(missing, report.lost);
}

/// Catches: requests of a small piece that nobody looks at again once another one of it has failed.
#[test]
fn small_pieces_with_several_bad_places_lose_just_those() {
    let (card, _) = card();
    let piece = |index: u64| {
        let start = FRAME + index * 40_960;
        Extent::between(start, start + 4096)
    };
    let runs = (0..60).map(|index| Run::new(piece(index), State::Used));
    let map = AllocationMap::all(LEN, State::Free).replaced(&runs.collect::<Vec<_>>());
    let bad: Vec<Extent> = [5, 6, 7, 20, 22, 30, 31, 32, 33, 34].map(piece).into();
    for &extent in &bad {
        card.declare(Fault::Unreadable(extent));
    }
    let mut way = Way::new(Format::Zstd);
    way.limits.read_through_bytes = 32 << 10;
    let image = Memory::new();
    let (result, report) = way.rescue(&card, &map, &MemoryShelf::new(), &image);
    result.unwrap();
    assert_eq!(report.lost, bad);
    assert!(content(Format::Zstd, image.bytes()) == expected(&card, &map, &bad));
}
