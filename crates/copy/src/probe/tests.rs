//! The probe on cards that tell the truth, and on all kinds that lie.

use std::collections::VecDeque;
use std::sync::Mutex;

use cardkeep_block::{
    BlockError, BlockErrorKind, Extent, MemoryMedium, Operation, ReadAt, ReadWriteAt, Silent,
    WriteAt,
};
use cardkeep_testkit::{Fault, FaultyMedium, Recorder, Stop, Times};
use proptest::prelude::{any, prop_assert, prop_assert_eq, prop_oneof, proptest};
use proptest::strategy::{Just, Strategy};

use super::{Capacity, Lie, LieKind, PLACE_BYTES, PLACES_MAX, Probed, probe, probe_places};
use crate::error::CopyError;

const MIB: u64 = 1 << 20;

/// What a test card does with sectors past its real end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Beyond {
    Wraps,
    /// Reads this byte, drops writes.
    Reads(u8),
    Fails(BlockErrorKind),
    /// Writes wrap, reads give zeros.
    WritesWrap,
}

/// A card that claims `len` bytes and has those of `inner`; it remembers the sectors written
/// and read last for as long as its cache has room.
struct Card {
    inner: MemoryMedium,
    len: u64,
    beyond: Beyond,
    cache: Mutex<VecDeque<(u64, Vec<u8>)>>,
    cached_sectors: usize,
}

impl Card {
    fn new(real: u64, len: u64, beyond: Beyond) -> Self {
        Self {
            inner: MemoryMedium::new(real),
            len,
            beyond,
            cache: Mutex::default(),
            cached_sectors: 0,
        }
    }

    /// Fills the first MiB with bytes that differ everywhere.
    fn filled(self) -> Self {
        let len = self.inner.len().min(MIB);
        let bytes: Vec<u8> = (0..len).map(|i| (i % 251 + i / 4096 % 5) as u8).collect();
        self.inner.write_at(0, &bytes).unwrap();
        self
    }

    fn read_sector(&self, offset: u64, sector: &mut [u8]) -> Result<(), BlockError> {
        let cached = self.cached(offset);
        if let Some(data) = &cached {
            sector.copy_from_slice(data);
        } else {
            self.read_flash(offset, sector)?;
        }
        self.remember(offset, sector);
        Ok(())
    }

    fn cached(&self, offset: u64) -> Option<Vec<u8>> {
        let cache = self.cache.lock().unwrap();
        let newest = cache.iter().rev().find(|(at, _)| *at == offset);
        newest.map(|(_, data)| data.clone())
    }

    fn remember(&self, offset: u64, sector: &[u8]) {
        let mut cache = self.cache.lock().unwrap();
        cache.push_back((offset, sector.to_vec()));
        while cache.len() > self.cached_sectors {
            cache.pop_front();
        }
    }

    fn read_flash(&self, offset: u64, sector: &mut [u8]) -> Result<(), BlockError> {
        let real = self.inner.len();
        match self.beyond {
            _ if offset < real => self.inner.read_at(offset, sector),
            Beyond::Wraps => self.inner.read_at(offset % real, sector),
            Beyond::Reads(byte) => {
                sector.fill(byte);
                Ok(())
            }
            Beyond::Fails(kind) => Err(BlockError::new(kind, Operation::Read)),
            Beyond::WritesWrap => {
                sector.fill(0);
                Ok(())
            }
        }
    }

    fn write_sector(&self, offset: u64, sector: &[u8]) -> Result<(), BlockError> {
        self.remember(offset, sector);
        let real = self.inner.len();
        match self.beyond {
            _ if offset < real => self.inner.write_at(offset, sector),
            Beyond::Wraps | Beyond::WritesWrap => self.inner.write_at(offset % real, sector),
            Beyond::Reads(_) => Ok(()),
            Beyond::Fails(kind) => Err(BlockError::new(kind, Operation::Write)),
        }
    }
}

impl ReadAt for Card {
    fn len(&self) -> u64 {
        self.len
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), BlockError> {
        self.bounded(offset, buffer.len())?;
        for (index, sector) in buffer.chunks_mut(512).enumerate() {
            self.read_sector(offset + index as u64 * 512, sector)?;
        }
        Ok(())
    }
}

impl WriteAt for Card {
    fn write_at(&self, offset: u64, data: &[u8]) -> Result<(), BlockError> {
        self.bounded(offset, data.len())?;
        for (index, sector) in data.chunks(512).enumerate() {
            self.write_sector(offset + index as u64 * 512, sector)?;
        }
        Ok(())
    }
    fn flush(&self) -> Result<(), BlockError> {
        Ok(())
    }
}

fn probed(card: &dyn ReadWriteAt) -> Probed {
    probe(card, &probe_places(card.len()), 7, &Silent).unwrap()
}

fn lie(card: &Card) -> Lie {
    match probed(card).capacity {
        Capacity::Lying(lie) => lie,
        other => panic!("{other:?} of {:?} in {}", card.inner.len(), card.len),
    }
}

#[test]
fn places_are_few_aligned_disjoint_and_reach_both_ends() {
    for len in (0..48).flat_map(|bits| [(1u64 << bits) - 1, 1 << bits, 1_000_003 << bits]) {
        let places = probe_places(len);
        assert!(places.len() <= PLACES_MAX, "{len}");
        assert_eq!(places.is_empty(), len < PLACE_BYTES, "{len}");
        for place in &places {
            assert_eq!((place.start() % 4096, place.len()), (0, PLACE_BYTES));
            assert!(place.end() <= len, "{len}");
        }
        assert!(places.windows(2).all(|two| two[0].end() <= two[1].start()));
        let Some((first, last)) = places.first().zip(places.last()) else {
            continue;
        };
        assert_eq!(first.start(), 0);
        assert!(len < 2 * PLACE_BYTES || len - last.end() < 4096, "{len}");
    }
    assert_eq!(probe_places(u64::MAX).first().unwrap().start(), 0);
}

#[test]
fn a_card_of_one_terabyte_is_probed_at_the_usual_sizes() {
    let places = probe_places(1 << 40);
    let starts: Vec<u64> = places.iter().map(|place| place.start()).collect();
    let bytes: u64 = places.iter().map(|place| place.len()).sum();
    assert_eq!(bytes, MIB);
    for power in 16..40 {
        assert!(starts.contains(&(1 << power)), "{power}");
    }
    for gigabytes in [2, 4, 8, 16, 32, 64, 128, 256, 512, 1024] {
        let start = gigabytes * 1_000_000_000 / 4096 * 4096;
        assert!(starts.contains(&start), "{gigabytes}");
    }
}

#[test]
fn a_card_that_wraps_tells_its_real_size() {
    let gib = 1 << 30;
    for claimed in [64 * gib, 128_000_000_000, 512_110_190_592, 1 << 40] {
        for real in (20..39).flat_map(|bits| [1 << bits, 3 << (bits - 1)]) {
            if real < claimed {
                let found = lie(&Card::new(real, claimed, Beyond::Wraps));
                assert_eq!((found.how, found.real_bytes), (LieKind::Wraps, real));
                assert!(found.first_bad >= real && found.first_bad <= 2 * real);
            }
        }
    }
    for gigabytes in [8, 16, 32, 64, 128, 256] {
        // A multiple of 4096, as 8, 16 ... GB are.
        let real = gigabytes * 1_000_000_000;
        let found = lie(&Card::new(real, 1 << 40, Beyond::Wraps));
        assert_eq!((found.how, found.real_bytes), (LieKind::Wraps, real));
    }
}

proptest! {
    #[test]
    fn a_card_that_swallows_is_found_whatever_its_real_size(
        claimed in (MIB..(1u64 << 41)).prop_map(|len| len / 512 * 512),
        part in 1u64..1_000_000,
        beyond in prop_oneof![
            any::<u8>().prop_map(Beyond::Reads),
            Just(Beyond::Fails(BlockErrorKind::Io)),
            Just(Beyond::Fails(BlockErrorKind::NoSpace)),
        ],
    ) {
        let end = probe_places(claimed).last().unwrap().end();
        let real = (u128::from(end) * u128::from(part) / 1_000_000) as u64 / 512 * 512;
        let real = real.max(PLACE_BYTES);
        let found = lie(&Card::new(real, claimed, beyond));
        prop_assert_eq!(found.how, LieKind::Swallows);
        prop_assert!(found.real_bytes <= real);
        let refused = if matches!(beyond, Beyond::Fails(_)) { PLACE_BYTES } else { 0 };
        prop_assert!(real <= found.first_bad + refused);
        // Precise to a third where places at powers of two and between them lie.
        prop_assert!(real < MIB || real < claimed >> 20 || found.real_bytes > real / 8 * 5);
    }

    #[test]
    fn an_honest_card_passes_and_is_put_back_whole(
        len in (MIB..3 * MIB).prop_map(|len| len / 512 * 512),
        seed in any::<u64>(),
    ) {
        let card = Card::new(len, len, Beyond::Wraps).filled();
        let before = card.inner.to_vec();
        let probed = probe(&card, &probe_places(len), seed, &Silent).unwrap();
        prop_assert_eq!(probed.capacity, Capacity::Honest);
        prop_assert!(card.inner.to_vec() != before);
        probed.put_back(&card, |_| true).unwrap();
        prop_assert!(card.inner.to_vec() == before);
    }

    #[test]
    fn a_lying_card_is_put_back_whole(
        real in (64u64..2048).prop_map(|sectors| sectors * 512),
        claimed in (MIB..64 * MIB).prop_map(|len| len / 512 * 512),
        beyond in prop_oneof![
            Just(Beyond::Wraps),
            Just(Beyond::Reads(0xff)),
            Just(Beyond::Fails(BlockErrorKind::Io)),
        ],
    ) {
        let card = Card::new(real, claimed, beyond).filled();
        let before = card.inner.to_vec();
        probed(&card).put_back(&card, |_| true).unwrap();
        prop_assert!(card.inner.to_vec() == before);
    }
}

#[test]
fn the_first_sectors_come_back_even_where_only_writes_wrap() {
    let card = Card::new(16 * MIB, 64 * MIB, Beyond::WritesWrap).filled();
    let before = card.inner.to_vec();
    let probed = probed(&card);
    assert!(matches!(probed.capacity, Capacity::Lying(_)));
    probed.put_back(&card, |_| true).unwrap();
    let place = PLACE_BYTES as usize;
    assert!(card.inner.to_vec()[..2 * place] == before[..2 * place]);
}

#[test]
fn a_card_that_wraps_and_loses_the_end_of_its_reach_shows_the_smaller_size() {
    struct Limbo(Card);
    impl ReadAt for Limbo {
        fn len(&self) -> u64 {
            self.0.len()
        }
        fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), BlockError> {
            if offset % (8 << 30) >= 7_860_000_000 {
                buffer.fill(0xff);
                return Ok(());
            }
            self.0.read_at(offset, buffer)
        }
    }
    impl WriteAt for Limbo {
        fn write_at(&self, offset: u64, data: &[u8]) -> Result<(), BlockError> {
            self.0.write_at(offset, data)
        }
        fn flush(&self) -> Result<(), BlockError> {
            Ok(())
        }
    }
    let card = Limbo(Card::new(8 << 30, 64 << 30, Beyond::Wraps));
    let Capacity::Lying(lie) = probed(&card).capacity else {
        panic!("an honest limbo");
    };
    assert_eq!((lie.how, lie.real_bytes), (LieKind::Wraps, 8_000_000_000));
    assert_eq!(lie.first_bad, lie.real_bytes);
}

#[test]
fn a_small_write_cache_in_the_card_hides_nothing() {
    let mut card = Card::new(8 << 30, 64 << 30, Beyond::Reads(0));
    // More than all that is written to this card's places.
    let sectors = probe_places(card.len()).len() * PLACE_BYTES as usize / 512;
    card.cached_sectors = sectors * 3 / 2;
    assert_eq!(lie(&card).how, LieKind::Swallows);
}

#[test]
fn markers_of_an_earlier_probe_do_not_pass_for_new_ones() {
    let card = FaultyMedium::new(MemoryMedium::new(64 * MIB));
    assert_eq!(probed(&card).capacity, Capacity::Honest);
    let extent = Extent::between(0, card.len());
    let times = Times::Always;
    card.declare(Fault::DropsWrites { extent, times });
    let again = probe(&card, &probe_places(card.len()), 8, &Silent).unwrap();
    assert_eq!(again.capacity, Capacity::Faulty { first_bad: 0 });
}

/// Returns a medium of 64 MiB with a fault.
fn faulty(fault: Fault) -> FaultyMedium<MemoryMedium> {
    FaultyMedium::new(MemoryMedium::new(64 * MIB)).with(fault)
}

fn failure(card: &dyn ReadWriteAt) -> BlockError {
    match probe(card, &probe_places(card.len()), 7, &Silent).unwrap_err() {
        CopyError::Destination(error) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_failing_medium_of_the_other_tests_is_seen_through_as_well() {
    for real in (1..64).map(|mib| mib * MIB - 512) {
        let hollow = faulty(Fault::HollowFrom(real));
        let ended = faulty(Fault::EndsAt(real));
        for card in [&hollow, &ended] {
            let probed = probed(card);
            let Capacity::Lying(lie) = probed.capacity else {
                panic!("{:?}", probed.capacity);
            };
            assert_eq!(lie.how, LieKind::Swallows);
            assert!(lie.real_bytes <= real && real <= lie.first_bad + PLACE_BYTES);
            probed.put_back(card, |_| true).unwrap();
            assert!(card.inner().to_vec().iter().all(|&byte| byte == 0));
        }
    }
    let card = faulty(Fault::WrapsAt(24 * MIB));
    let probed = probed(&card);
    let wraps = Capacity::Lying(Lie {
        real_bytes: 24 * MIB,
        how: LieKind::Wraps,
        first_bad: 24 * MIB,
    });
    assert_eq!(probed.capacity, wraps);
    probed.put_back(&card, |_| true).unwrap();
    assert!(card.inner().to_vec().iter().all(|&byte| byte == 0));
}

#[test]
fn a_card_torn_out_meanwhile_is_unchanged_or_does_not_look_good() {
    let len = 8 * MIB;
    let count = probe_places(len).len() as u64;
    for writes in 0..=count + 1 {
        let card = FaultyMedium::new(MemoryMedium::new(len));
        card.inner().write_at(0, &vec![7; len as usize]).unwrap();
        card.declare(Fault::GoneAfterWrites(writes));
        let places = probe_places(len);
        let probed = probe(&card, &places, 1, &Silent);
        assert_eq!(probed.is_err(), writes <= count + 1);
        let content = card.inner().to_vec();
        let is_unchanged = content.iter().all(|&byte| byte == 7);
        assert_eq!(is_unchanged, writes == 0);
        assert!(is_unchanged || content[..512] != [7; 512]);
    }
}

#[test]
fn every_place_is_read_and_written_once_and_read_again_in_aligned_requests() {
    let card = FaultyMedium::new(MemoryMedium::new(64 * MIB)).aligned_to(4096);
    let places = probe_places(card.len());
    let probed = probed(&card);
    probed.put_back(&card, |_| false).unwrap();
    let requests = card.requests();
    assert!(requests.iter().all(|request| request.is_aligned));
    // The first place is hidden before it is marked.
    let hidden = places[0].len();
    assert_eq!(card.writes().len(), places.len() + 1);
    let of_flushes = requests.iter().filter(|r| r.extent.is_empty()).count();
    assert_eq!(requests.len() - of_flushes, places.len() * 3 + 1);
    assert_eq!(card.bytes_served(), (card.bytes_written() - hidden) * 2);
}

#[test]
fn one_bad_sector_is_not_a_lie_about_size() {
    let bad = Extent::between(4 * MIB + 512, 4 * MIB + 1024);
    let always = Times::Always;
    for fault in [
        Fault::Unreadable(bad),
        Fault::Unwritable {
            extent: bad,
            times: always,
        },
    ] {
        let card = faulty(fault);
        assert_eq!(failure(&card).extent().unwrap().start(), 4 * MIB);
        assert!(card.inner().to_vec().iter().all(|&byte| byte == 0));
    }
    // Flipped at the end too, where a lie would show first.
    for offset in [4 * MIB + 700, 64 * MIB - 1] {
        let first_bad = offset / 512 * 512;
        let card = faulty(Fault::BitFlip { offset, mask: 4 });
        assert_eq!(probed(&card).capacity, Capacity::Faulty { first_bad });
    }
    let card = faulty(Fault::DropsWrites {
        extent: bad,
        times: always,
    });
    let first_bad = bad.start();
    assert_eq!(probed(&card).capacity, Capacity::Faulty { first_bad });
}

#[test]
fn a_flush_that_fails_is_an_error_unless_it_shows_a_lie() {
    let always = Fault::FlushFails(Times::Always);
    let error = failure(&faulty(always));
    assert_eq!(error.operation(), Operation::Flush);
    let once = || Fault::FlushFails(Times::First(1));
    let lying = faulty(Fault::HollowFrom(16 * MIB)).with(once());
    let probed = probed(&lying);
    assert!(matches!(probed.capacity, Capacity::Lying(_)));
    lying.declare(once());
    probed.put_back(&lying, |_| true).unwrap();
    lying.declare(always);
    assert!(probed.put_back(&lying, |_| true).is_err());
}

#[test]
fn a_write_protected_card_is_not_called_a_liar() {
    let error = failure(&faulty(Fault::WriteProtected));
    assert_eq!(error.kind(), BlockErrorKind::ReadOnly);
}

#[test]
fn what_cannot_be_put_back_is_told() {
    let card = FaultyMedium::new(MemoryMedium::new(64 * MIB));
    let probed = probed(&card);
    let extent = Extent::between(0, 512);
    let times = Times::Always;
    card.declare(Fault::Unwritable { extent, times });
    assert!(probed.put_back(&card, |_| true).is_err());
    // All others were put back.
    let place = PLACE_BYTES as usize;
    assert!(card.inner().to_vec()[place..].iter().all(|&byte| byte == 0));
}

#[test]
fn a_card_that_fails_everywhere_or_is_gone_is_an_error() {
    for kind in [BlockErrorKind::Io, BlockErrorKind::Gone] {
        let card = Card::new(0, 64 * MIB, Beyond::Fails(kind));
        let error = probe(&card, &probe_places(card.len()), 7, &Silent).unwrap_err();
        assert!(matches!(error, CopyError::Destination(e) if e.kind() == kind));
    }
}

#[test]
fn an_interrupted_probe_puts_back_what_it_overwrote() {
    for claimed in [2 * MIB, 8 * MIB] {
        let places = probe_places(claimed);
        let questions = places.len() * 3;
        for after in 0..questions {
            let card = Card::new(2 * MIB, claimed, Beyond::Wraps).filled();
            let before = card.inner.to_vec();
            let monitor = Recorder::stopping(Stop::AfterQuestions(after));
            let error = probe(&card, &places, 7, &monitor).unwrap_err();
            assert!(matches!(error, CopyError::Interrupted));
            assert!(card.inner.to_vec() == before, "after {after}");
        }
        let card = Card::new(2 * MIB, claimed, Beyond::Wraps);
        let monitor = Recorder::stopping(Stop::AfterQuestions(questions));
        assert!(probe(&card, &places, 7, &monitor).is_ok());
    }
}

#[test]
fn an_interrupted_probe_saves_the_first_sectors_even_where_only_writes_wrap() {
    let card = Card::new(2 * MIB, 8 * MIB, Beyond::WritesWrap).filled();
    let before = card.inner.to_vec();
    let places = probe_places(8 * MIB);
    let monitor = Recorder::stopping(Stop::AfterQuestions(places.len() * 2));
    let error = probe(&card, &places, 7, &monitor).unwrap_err();
    assert!(matches!(error, CopyError::Interrupted));
    let place = PLACE_BYTES as usize;
    assert!(card.inner.to_vec()[..place] == before[..place]);
}

#[test]
fn several_twins_together_tell_the_size() {
    let card = Card::new(MIB, 8 * MIB, Beyond::Wraps);
    let starts = [0, MIB / 2, 2 * MIB, 3 * MIB + MIB / 2];
    let places = starts.map(|start| Extent::between(start, start + 4096));
    let found = probe(&card, &places, 7, &Silent).unwrap().capacity;
    let lie = Lie {
        real_bytes: MIB,
        how: LieKind::Wraps,
        first_bad: 2 * MIB,
    };
    assert_eq!(found, Capacity::Lying(lie));
}

#[test]
fn only_wanted_places_are_put_back() {
    let card = Card::new(2 * MIB, 2 * MIB, Beyond::Wraps).filled();
    let before = card.inner.to_vec();
    let probed = probed(&card);
    let after = card.inner.to_vec();
    probed
        .put_back(&card, |place| place.start() >= MIB / 2)
        .unwrap();
    let half = MIB as usize / 2;
    assert!(card.inner.to_vec()[..half] == after[..half]);
    assert!(card.inner.to_vec()[half..] == before[half..]);
}

#[test]
fn findings_are_told_with_what_to_do() {
    let lie = |how| {
        let real_bytes = 8_000_000_000;
        let first_bad = real_bytes;
        Capacity::Lying(Lie {
            real_bytes,
            how,
            first_bad,
        })
    };
    assert_eq!(
        lie(LieKind::Wraps).to_string(),
        "the card is smaller than it says: it holds at most 8000 MB and overwrites its \
         beginning with the rest; don't use it"
    );
    assert_eq!(
        lie(LieKind::Swallows).to_string(),
        "the card is smaller than it says: it holds at most 8000 MB and loses the rest; don't \
         use it"
    );
    assert_eq!(
        Capacity::Faulty { first_bad: 512 }.to_string(),
        "the card does not hold what is written to it (first at byte 512): it is worn out or \
         the reader is bad; try another reader, then another card"
    );
}
