//! Cards that fail, forget and lie.

use cardkeep_block::{
    AllocationMap, BlockError, BlockErrorKind, Extent, MemoryMedium, Operation, Patches, ReadAt,
    Silent, State, WriteAt,
};
use cardkeep_copy::{
    CopyError, Diagnosis, HEAD_BYTES, MediumOriginal, Recipient, WriteMode, restore,
};
use cardkeep_testkit::{Fault, FaultyMedium, Request, Times};

use crate::card::{
    CARD_LEN, FRAME, LEN, card, check, layout, looks_bootable, options, original, run, run_medium,
};

#[test]
fn each_card_gets_its_own_result_whatever_happens_to_the_others() {
    let (medium, map) = original();
    let patches = Patches::default();
    let original = MediumOriginal {
        medium: &medium,
        layout: layout(&map, &patches),
    };
    let slow = Fault::SlowWrites {
        extent: Extent::between(HEAD_BYTES, CARD_LEN),
        delay: std::time::Duration::from_millis(60),
    };
    let bad = Fault::DropsWrites {
        extent: Extent::between(FRAME + 4096, FRAME + 8192),
        times: Times::Always,
    };
    let cards = [
        FaultyMedium::new(card()),
        FaultyMedium::new(card()).with(slow),
        FaultyMedium::new(card()).with(Fault::GoneAfterWrites(5)),
        FaultyMedium::new(card()).with(bad),
    ];
    let recipients = cards.each_ref().map(|card| Recipient {
        card,
        monitor: &Silent,
    });
    let results = restore(&original, &recipients, options(WriteMode::All));
    for place in [0, 1] {
        results[place].as_ref().unwrap();
        check(&cards[place], "a good card");
    }
    assert!(matches!(results[2], Err(CopyError::Destination(_))));
    let Err(CopyError::BadCard(place)) = &results[3] else {
        panic!("{:?}", results[3])
    };
    assert_eq!(place.extent, Extent::between(FRAME + 4096, FRAME + 8192));
    let bad = cards.into_iter().next_back().unwrap().into_inner();
    assert!(!looks_bootable(&bad));
}

#[test]
fn what_was_lost_once_is_written_again() {
    let faults = [
        Fault::DropsWrites {
            extent: Extent::between(FRAME + 4096, FRAME + 8192),
            times: Times::First(1),
        },
        Fault::DropsWrites {
            extent: Extent::between(4096, 8192),
            times: Times::First(2),
        },
        Fault::Unwritable {
            extent: Extent::between(3 * FRAME, 3 * FRAME + 512),
            times: Times::First(1),
        },
    ];
    for (fault, mended) in faults.into_iter().zip([1, 1, 0]) {
        let card = FaultyMedium::new(card()).with(fault);
        let outcome = run_medium(&card, WriteMode::All).unwrap();
        assert_eq!(outcome.mended_frames, mended, "{fault:?}");
        check(&card, "mended");
    }
}

#[test]
fn a_card_that_wraps_or_swallows_never_passes() {
    for fault in [Fault::WrapsAt(2 * FRAME), Fault::HollowFrom(2 * FRAME)] {
        let card = FaultyMedium::new(card()).with(fault);
        let error = run_medium(&card, WriteMode::All).unwrap_err();
        let CopyError::BadCard(place) = error else {
            panic!("{fault:?}: {error}")
        };
        if matches!(fault, Fault::HollowFrom(_)) {
            assert_eq!(place.diagnosis, Diagnosis::Zeros);
        }
        assert!(!looks_bootable(&card.into_inner()));
    }
}

#[test]
fn a_card_that_wraps_is_recognised_by_what_it_holds_and_not_mended() {
    let (medium, _) = original();
    let (map, patches) = (AllocationMap::all(LEN, State::Used), Patches::default());
    let original = MediumOriginal {
        medium: &medium,
        layout: layout(&map, &patches),
    };
    let card = FaultyMedium::new(card()).with(Fault::WrapsAt(2 * FRAME));
    let error = run(&original, &card, WriteMode::All).unwrap_err();
    let CopyError::BadCard(place) = error else {
        panic!("{error}")
    };
    let shift = 4 * FRAME;
    assert_eq!(place.diagnosis, Diagnosis::Elsewhere { shift });
    let writes = card.writes();
    let to_frame_1 = |write: &&Request| write.extent.start() == FRAME;
    assert_eq!(writes.iter().filter(to_frame_1).count(), 1);
}

/// A card whose first sector can't be read once it holds anything.
struct Unlucky(MemoryMedium);

impl ReadAt for Unlucky {
    fn len(&self) -> u64 {
        self.0.len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), BlockError> {
        if offset == 0 && looks_bootable(&self.0) {
            return Err(BlockError::new(BlockErrorKind::Io, Operation::Read));
        }
        self.0.read_at(offset, buffer)
    }
}

impl WriteAt for Unlucky {
    fn write_at(&self, offset: u64, data: &[u8]) -> Result<(), BlockError> {
        self.0.write_at(offset, data)
    }

    fn flush(&self) -> Result<(), BlockError> {
        self.0.flush()
    }
}

#[test]
fn a_head_that_cannot_be_read_back_is_wiped_again() {
    let card = Unlucky(card());
    let error = run_medium(&card, WriteMode::All).unwrap_err();
    assert!(matches!(error, CopyError::Destination(_)), "{error}");
    assert!(!looks_bootable(&card.0));
}
