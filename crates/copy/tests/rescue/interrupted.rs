//! Copies that end early, at random moments: the card vanishes, the program is killed, the power
//! fails. Whatever is left makes the same image in the end.

use std::sync::atomic::{AtomicU64, Ordering};

use cardkeep_block::{
    AllocationMap, BlockErrorKind, Extent, Monitor, Phase, RescueStatus, State, Trouble,
};
use cardkeep_copy::CopyError;
use cardkeep_image::Format;
use cardkeep_testkit::{Fault, Random, Unflushed};

use crate::bench::{Card, FRAME, LEN, Memory, MemoryShelf, Way, card, expected, recorded, wanted};

const BAD: Extent = Extent::between(FRAME + 51_200, FRAME + 52_224);

fn hurt(card: &Card) {
    card.declare(Fault::Unreadable(BAD));
}

/// Checks that the image is that of the card with the bad sectors lost, whatever came before.
fn assert_rescued(card: &Card, map: &AllocationMap, format: Format, image: &Memory, what: &str) {
    let bytes = image.bytes();
    let lost = wanted(map, &[BAD]);
    if format == Format::Zstd {
        assert_eq!(recorded(&bytes), lost, "{what}");
    }
    let content = crate::bench::content(format, bytes);
    assert!(content == expected(card, map, &lost), "{what}");
}

/// What a run that was never interrupted writes.
fn undisturbed(format: Format) -> Vec<u8> {
    let (card, map) = card();
    hurt(&card);
    let image = Memory::new();
    let (result, _) = Way::new(format).rescue(&card, &map, &MemoryShelf::new(), &image);
    result.unwrap();
    image.bytes()
}

#[test]
fn a_card_that_vanishes_at_any_moment_is_gone_on_with() {
    let reference = undisturbed(Format::Zstd);
    let mut random = Random::new(7);
    for round in 0..24 {
        let (card, map) = card();
        hurt(&card);
        let used = map.bytes(State::Used);
        let (way, shelf, image) = (Way::new(Format::Zstd), MemoryShelf::new(), Memory::new());
        let mut runs = 0;
        loop {
            // Each time it is there for a while, longer and longer.
            let bytes = random.below(used * (runs + 1));
            card.declare(Fault::GoneAfter(bytes));
            let (result, _) = way.rescue(&card, &map, &shelf, &image);
            card.heal();
            hurt(&card);
            match result {
                Ok(_) => break,
                Err(CopyError::Source(error)) if error.kind() == BlockErrorKind::Gone => runs += 1,
                Err(error) => panic!("round {round}: {error:?}"),
            }
            let bad = shelf.map(&map).bytes(RescueStatus::BadSector);
            assert!(bad <= BAD.len(), "round {round}: {bad}");
        }
        assert!(
            image.bytes() == reference,
            "round {round} after {runs} runs"
        );
    }
}

#[test]
fn a_card_that_fails_everywhere_is_called_gone_and_its_sectors_are_not_called_bad() {
    let (card, map) = card();
    hurt(&card);
    // The reader answers EIO for all once it lost the card, as loop devices and many readers do.
    let (way, shelf, image) = (Way::new(Format::Zstd), MemoryShelf::new(), Memory::new());
    let vanishing = Vanishing {
        card: &card,
        after: AtomicU64::new(6),
    };
    let (result, _) = way.rescue_watched(&card, &map, &shelf, &image, &vanishing);
    let error = result.unwrap_err();
    assert!(
        matches!(&error, CopyError::Source(e) if e.kind() == BlockErrorKind::Gone),
        "{error:?}"
    );
    assert!(shelf.map(&map).bytes(RescueStatus::BadSector) <= BAD.len());
    card.heal();
    hurt(&card);
    let (result, _) = way.rescue(&card, &map, &shelf, &image);
    result.unwrap();
    assert_rescued(&card, &map, Format::Zstd, &image, "after it came back");
}

/// Takes the card away, in the way of readers that only say EIO, after some rescued requests.
struct Vanishing<'a> {
    card: &'a Card,
    after: AtomicU64,
}

impl Monitor for Vanishing<'_> {
    fn phase(&self, _: Phase, _: Option<u64>) {}
    fn advance(&self, phase: Phase, _: u64) {
        if phase == Phase::Rescue && self.after.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.card
                .declare(Fault::Unreadable(Extent::between(0, LEN)));
        }
    }
    fn trouble(&self, _: Trouble) {}
}

/// Stops the work after so many bytes of any phase.
struct Stop(AtomicU64);

impl Monitor for Stop {
    fn phase(&self, _: Phase, _: Option<u64>) {}
    fn advance(&self, _: Phase, bytes: u64) {
        let left = self.0.load(Ordering::Relaxed);
        self.0.store(left.saturating_sub(bytes), Ordering::Relaxed);
    }
    fn trouble(&self, _: Trouble) {}
    fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }
}

#[test]
fn a_stopped_copy_says_so_and_goes_on() {
    let reference = undisturbed(Format::Zstd);
    let mut random = Random::new(3);
    for round in 0..20 {
        let (card, map) = card();
        hurt(&card);
        let (way, shelf, image) = (Way::new(Format::Zstd), MemoryShelf::new(), Memory::new());
        let stop = Stop(AtomicU64::new(random.below(2 * map.bytes(State::Used))));
        let (result, _) = way.rescue_watched(&card, &map, &shelf, &image, &stop);
        if let Err(error) = result {
            assert!(
                matches!(error, CopyError::Interrupted),
                "round {round}: {error:?}"
            );
            way.rescue(&card, &map, &shelf, &image).0.unwrap();
        }
        assert!(image.bytes() == reference, "round {round}");
    }
}

/// Kills at write number `writes` of image or store: nothing written later arrives, and of what no
/// flush made durable survives what `unflushed` says. Then goes on with what is left.
fn killed(format: Format, in_store: bool, writes: u64, unflushed: Unflushed) -> bool {
    let (card, map) = card();
    hurt(&card);
    let image = Memory::new();
    let shelf = match format {
        Format::Raw => MemoryShelf::on(image.clone(), true),
        _ => MemoryShelf::new(),
    };
    let victim = if in_store { &shelf.store } else { &image };
    victim
        .medium
        .declare(Fault::PowerCutAfterWrites { writes, unflushed });
    let way = Way::new(format);
    let (result, _) = way.rescue(&card, &map, &shelf, &image);
    let was_killed = result.is_err();
    image.medium.heal();
    shelf.store.medium.heal();
    if format == Format::Gzip {
        image.len.store(0, Ordering::Relaxed);
    }
    let (result, report) = way.rescue(&card, &map, &shelf, &image);
    result.unwrap();
    let what = format!("{format:?} {in_store} {writes} {unflushed:?}");
    assert_eq!(report.lost, wanted(&map, &[BAD]), "{what}");
    assert_rescued(&card, &map, format, &image, &what);
    was_killed
}

#[test]
fn a_power_cut_at_any_write_leaves_what_can_be_gone_on_with() {
    for format in [Format::Zstd, Format::Raw, Format::Xz, Format::Gzip] {
        for in_store in [false, true] {
            let mut killed_count = 0;
            // Those of gzip begin anew whatever is left of the image, and xz takes its time.
            let is_slow = matches!(format, Format::Gzip | Format::Xz);
            let step = if is_slow { 5 } else { 2 };
            for writes in (1..40).step_by(step) {
                let unflushed = match writes % 3 {
                    0 => Unflushed::Lost,
                    1 => Unflushed::Torn { sectors: writes },
                    _ => Unflushed::Scattered { seed: writes },
                };
                killed_count += u32::from(killed(format, in_store, writes, unflushed));
            }
            assert!(killed_count >= 2, "{format:?} {in_store}: {killed_count}");
        }
    }
}

#[test]
fn an_image_that_was_cut_anywhere_is_gone_on_with_without_reading_its_frames_again() {
    let (card, map) = card();
    let mut random = Random::new(11);
    for (format, rounds) in [(Format::Zstd, 24), (Format::Xz, 8)] {
        let way = Way::new(format);
        let whole = way.healthy(&card, &map);
        for round in 0..rounds {
            let cut = random.below(whole.len() as u64) as usize;
            check_cut(
                &card,
                &map,
                &way,
                &whole,
                cut,
                &format!("{format:?} {round}"),
            );
        }
    }
}

/// Goes on with the first `cut` bytes of an image.
fn check_cut(card: &Card, map: &AllocationMap, way: &Way, whole: &[u8], cut: usize, round: &str) {
    let image = Memory::new();
    cardkeep_block::WriteAt::write_at(&image, 0, &whole[..cut]).unwrap();
    let before = card.bytes_served();
    let frames = cardkeep_copy::FrameList::new(map);
    let prefix = cardkeep_copy::Prefix::load(&image, &frames, way.format).unwrap();
    let (result, _) = way.rescue(card, map, &MemoryShelf::new(), &image);
    let outcome = result.unwrap();
    assert!(image.bytes() == whole, "round {round} at {cut}");
    assert!(outcome.is_verified);
    let done: u64 = (0..prefix.frame_count())
        .map(|i| frames.used_bytes(i))
        .sum();
    let read = card.bytes_served() - before;
    let through = read.saturating_sub(map.bytes(State::Used) - done);
    assert!(
        through <= 40 * 20_480,
        "round {round}: {read} of it were read"
    );
}

#[test]
fn damage_in_what_was_left_is_not_gone_on_with() {
    let way = Way::new(Format::Zstd);
    let (card, map) = card();
    let whole = way.healthy(&card, &map);
    for damage in [40, whole.len() / 3, whole.len() / 2] {
        let image = Memory::new();
        let mut bytes = whole.clone();
        bytes[damage] ^= 0x10;
        cardkeep_block::WriteAt::write_at(&image, 0, &bytes[..whole.len() * 2 / 3]).unwrap();
        way.rescue(&card, &map, &MemoryShelf::new(), &image)
            .0
            .unwrap();
        assert!(image.bytes() == whole, "{damage}");
    }
}

#[test]
fn frames_that_were_made_with_zeros_are_made_anew_once_their_sectors_were_read() {
    let way = Way::new(Format::Zstd);
    let (card, map) = card();
    let whole = way.healthy(&card, &map);
    let mut interrupted_count = 0;
    for writes in 1..10 {
        hurt(&card);
        let (shelf, image) = (MemoryShelf::new(), Memory::new());
        way.rescue(&card, &map, &shelf, &image).0.unwrap();
        assert_eq!(recorded(&image.bytes()), [BAD]);
        // Another reader reads them, but the power fails before the image is whole again.
        card.heal();
        let cut = Fault::PowerCutAfterWrites {
            writes,
            unflushed: Unflushed::Lost,
        };
        image.medium.declare(cut);
        let (result, _) = way.rescue(&card, &map, &shelf, &image);
        interrupted_count += u32::from(result.is_err());
        image.medium.heal();
        let (result, report) = way.rescue(&card, &map, &shelf, &image);
        result.unwrap();
        assert!(report.lost.is_empty());
        assert!(image.bytes() == whole, "{writes}");
    }
    assert!(interrupted_count >= 2, "{interrupted_count}");
}
