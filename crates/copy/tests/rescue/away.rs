//! A card that is away for a while and answers every request with an I/O error meanwhile, as many readers do:
//! none of its places is to blame.

use std::sync::{Mutex, MutexGuard};

use cardkeep_block::{BlockError, BlockErrorKind, Extent, Operation, ReadAt};
use cardkeep_copy::Attendant;
use cardkeep_image::Format;
use cardkeep_testkit::Fault;

use crate::bench::{Card, FRAME, Memory, MemoryShelf, ONE_READER, Way, card, expected, recorded};

const BAD: Extent = Extent::between(FRAME + 51_200, FRAME + 52_224);
/// As the bad sectors are found, and once more, and some to spare: so many requests may fail for them.
const ERRORS_MAX: u64 = 16;

/// A card in a loose plug, and who puts it in again.
struct Loose<'a> {
    card: &'a Card,
    plug: Mutex<Plug>,
}

struct Plug {
    requests_left: u64,
    /// Requests that fail until it is back without anybody's help; `None` where it stays away.
    failures_left: Option<u64>,
    is_away: bool,
    returns: u64,
}

impl<'a> Loose<'a> {
    fn new(card: &'a Card, requests: u64, failures: Option<u64>) -> Self {
        let plug = Plug {
            requests_left: requests,
            failures_left: failures,
            is_away: false,
            returns: 0,
        };
        Self {
            card,
            plug: Mutex::new(plug),
        }
    }

    fn plug(&self) -> MutexGuard<'_, Plug> {
        self.plug.lock().unwrap()
    }
}

impl Plug {
    /// Tells whether a request finds the card.
    fn is_there(&mut self) -> bool {
        if self.returns == 0 && !self.is_away {
            self.is_away = self.requests_left == 0;
            self.requests_left = self.requests_left.saturating_sub(1);
        }
        if !self.is_away {
            return true;
        }
        match &mut self.failures_left {
            Some(0) => self.come_back(),
            Some(left) => *left -= 1,
            None => {}
        }
        !self.is_away
    }

    fn come_back(&mut self) {
        self.is_away = false;
        self.returns += 1;
    }
}

impl ReadAt for Loose<'_> {
    fn len(&self) -> u64 {
        self.card.len()
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), BlockError> {
        if self.plug().is_there() {
            return self.card.read_at(offset, buffer);
        }
        let extent = Extent::between(offset, offset + buffer.len() as u64);
        Err(BlockError::new(BlockErrorKind::Io, Operation::Read).at(extent))
    }
    fn alignment(&self) -> usize {
        self.card.alignment()
    }
}

impl Attendant for Loose<'_> {
    fn come_back(&self) -> bool {
        self.plug().come_back();
        true
    }
    fn return_count(&self) -> u64 {
        self.plug().returns
    }
}

/// Takes the card away at every `step`th moment, and checks that nothing but its bad sectors is lost by that.
fn assert_nothing_is_blamed(failures: Option<u64>, step: usize) {
    for requests in (1..).step_by(step) {
        let (card, map) = card();
        card.declare(Fault::Unreadable(BAD));
        let mut way = Way::new(Format::Zstd);
        way.limits = ONE_READER;
        // What is called bad once is not tried again.
        way.policy.retries = 0;
        let loose = Loose::new(&card, requests, failures);
        let (shelf, image) = (MemoryShelf::new(), Memory::new());
        let (result, report) = way.rescue_attended(&loose, &map, &shelf, &image, &loose);
        result.unwrap();
        let lost = recorded(&image.bytes());
        assert_eq!(lost, [BAD], "away after {requests} requests");
        let content = crate::bench::content(Format::Zstd, image.bytes());
        assert!(content == expected(&card, &map, &lost));
        if loose.plug().returns == 0 {
            assert!(requests > 50, "no moments: {requests}");
            return;
        }
        let errors = report.health.errors();
        assert!(errors <= ERRORS_MAX, "away after {requests}: {errors}");
    }
}

#[test]
fn a_card_that_is_waited_for_loses_nothing() {
    assert_nothing_is_blamed(None, 2);
}

#[test]
fn a_card_that_comes_back_while_it_is_read_loses_nothing() {
    for failures in [1, 5, 40] {
        assert_nothing_is_blamed(Some(failures), 5);
    }
}

/// Catches: waiting for it, and trying all again, without end.
#[test]
fn a_card_that_is_said_to_be_back_and_fails_everywhere_comes_to_an_end() {
    struct Wrong(Mutex<u64>);
    impl Attendant for Wrong {
        fn come_back(&self) -> bool {
            *self.0.lock().unwrap() += 1;
            true
        }
        fn return_count(&self) -> u64 {
            *self.0.lock().unwrap()
        }
    }
    let (card, map) = card();
    let loose = Loose::new(&card, 3, None);
    let (shelf, image) = (MemoryShelf::new(), Memory::new());
    let wrong = Wrong(Mutex::new(0));
    let mut way = Way::new(Format::Zstd);
    way.limits = ONE_READER;
    let (result, report) = way.rescue_attended(&loose, &map, &shelf, &image, &wrong);
    result.unwrap();
    assert_eq!(*wrong.0.lock().unwrap(), 1);
    let lost = recorded(&image.bytes());
    assert_eq!(lost, report.lost);
    let content = crate::bench::content(Format::Zstd, image.bytes());
    assert!(content == expected(&card, &map, &lost));
}
