//! Restoring in memory: what ends up on cards, in which order, and what becomes of cards that fail.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on fails by panicking"
)]

use std::io::Read;
use std::sync::{Arc, Mutex};

use cardkeep_block::{
    AllocationMap, BlockError, BlockErrorKind, BufferPool, Extent, MemoryMedium, Operation, Patch,
    Patches, ReadAt, ReadWriteAt, Run, Silent, State, WriteAt,
};
use cardkeep_copy::{
    CopyError, Diagnosis, HEAD_BYTES, IndexedOriginal, Knowledge, Layout, MediumOriginal, Original,
    Recipient, RestoreOptions, RestoreOutcome, StreamOriginal, Take, Wanted, WriteMode, restore,
};
use cardkeep_image::{
    Container, EncodeOptions, FRAME_BYTES, Format, FrameDigest, Manifest, load_index, stream,
};
use cardkeep_survey::Scope;
use cardkeep_testkit::{Fault, FaultyMedium, Request, RequestKind, Times, Unflushed};

const FRAME: u64 = FRAME_BYTES as u64;
const LEN: u64 = 5 * FRAME + 12_800;
const CARD_LEN: u64 = LEN + 3 * HEAD_BYTES;
const OLD: u8 = 0xa5;

/// A card full of junk, and the map of what matters of it.
fn original() -> (MemoryMedium, AllocationMap) {
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
fn card() -> MemoryMedium {
    MemoryMedium::from_bytes(&vec![OLD; CARD_LEN as usize])
}

fn layout<'a>(map: &'a AllocationMap, patches: &'a Patches) -> Layout<'a> {
    Layout {
        map,
        content_len: LEN,
        patches,
        digests: &[],
    }
}

fn options(mode: WriteMode) -> RestoreOptions {
    RestoreOptions { mode, verify: true }
}

fn run(
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
fn run_medium(card: &dyn ReadWriteAt, mode: WriteMode) -> Result<RestoreOutcome, CopyError> {
    let (medium, map) = original();
    let patches = Patches::default();
    let original = MediumOriginal {
        medium: &medium,
        layout: layout(&map, &patches),
    };
    run(&original, card, mode)
}

/// Checks every byte of a card: what is used, what is zero, and what nobody may have touched.
fn check(card: &dyn ReadAt, what: &str) {
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

fn looks_bootable(card: &dyn ReadAt) -> bool {
    card.read_vec(0, 512).unwrap().iter().any(|&byte| byte != 0)
}

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
    assert_eq!(
        (writes[0].kind, writes[0].extent),
        (RequestKind::Zeros, head)
    );
    assert_eq!(writes[2].kind, RequestKind::Flush);
    let rest = &writes[3..];
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

/// As [`check`], where the tail was only wiped if the first run came that far.
fn check_resumed(card: &MemoryMedium, after: u64) {
    if after < 2 {
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

/// The bytes of an image whose pieces hold `piece_len` bytes of content each.
fn image(format: Format, piece_len: usize) -> Vec<u8> {
    let (medium, map) = original();
    let mut content = medium.to_vec();
    for run in map.runs().filter(|run| run.state != State::Used) {
        content[run.extent.start() as usize..run.extent.end() as usize].fill(0);
    }
    let mut container = Container::new(format, &EncodeOptions::default()).unwrap();
    let mut encoder = container.encoder().unwrap();
    let mut bytes = container.prologue();
    let mut digests = Vec::new();
    for part in content.chunks(piece_len) {
        let mut piece = Vec::new();
        let info = encoder.encode(part, &mut piece).unwrap();
        container.add(&piece, &info).unwrap();
        bytes.extend(piece);
        digests.push(Some(FrameDigest::of(part)));
    }
    let everything = AllocationMap::all(LEN, State::Used);
    let manifest = Manifest::new("test", everything, digests);
    if format != Format::Zstd || piece_len == FRAME_BYTES {
        bytes.extend(container.epilogue(&manifest).unwrap());
    }
    bytes
}

#[test]
fn images_with_an_index_arrive_whatever_the_size_of_their_pieces() {
    let (_, map) = original();
    let patches = Patches::default();
    for (format, piece_len) in [
        (Format::Zstd, FRAME_BYTES),
        (Format::Zstd, 1_000_000),
        (Format::Zstd, LEN as usize),
        (Format::Xz, 1_000_000),
        (Format::Xz, 9_000_001),
    ] {
        let file = MemoryMedium::from_bytes(&image(format, piece_len));
        let index = load_index(&file).unwrap().unwrap();
        for cores in [1, 3] {
            let original = IndexedOriginal {
                image: &file,
                index: &index,
                layout: layout(&map, &patches),
                cores,
            };
            let card = card();
            run(&original, &card, WriteMode::All).unwrap();
            check(&card, &format!("{format:?} {piece_len} {cores}"));
        }
    }
}

#[test]
fn a_stream_arrives_and_can_be_read_again_where_it_is_a_file() {
    let (_, map) = original();
    let patches = Patches::default();
    let bytes = image(Format::Gzip, 100_000);
    let opened = Mutex::new(0);
    let open = || -> Result<Box<dyn Read + Send>, CopyError> {
        *opened.lock().unwrap() += 1;
        Ok(stream(Format::Gzip, std::io::Cursor::new(bytes.clone()))?)
    };
    let lost = |times| Fault::DropsWrites {
        extent: Extent::between(FRAME + 4096, FRAME + 8192),
        times: Times::First(times),
    };
    for (is_repeatable, times) in [(true, 0), (true, 1), (false, 0), (false, 1)] {
        *opened.lock().unwrap() = 0;
        let original = StreamOriginal {
            open: &open,
            is_repeatable,
            knowledge: Knowledge::Layout(layout(&map, &patches)),
        };
        let card = FaultyMedium::new(card()).with(lost(times));
        let result = run(&original, &card, WriteMode::All);
        if is_repeatable || times == 0 {
            result.unwrap();
            check(&card, "stream");
            assert_eq!(*opened.lock().unwrap(), 1 + times);
        } else {
            assert!(matches!(result, Err(CopyError::BadCard(_))));
        }
    }
}

#[test]
fn a_stream_ends_where_its_only_card_fails_long_before_its_end() {
    let content = vec![7; 20 * FRAME_BYTES];
    let len = content.len() as u64;
    let (map, patches) = (AllocationMap::all(len, State::Used), Patches::default());
    let open = || -> Result<Box<dyn Read + Send>, CopyError> {
        Ok(Box::new(std::io::Cursor::new(content.clone())))
    };
    let known = Knowledge::Layout(Layout {
        content_len: len,
        ..layout(&map, &patches)
    });
    let unknown = |len_max| Knowledge::Nothing {
        len_max,
        sector_bytes: 512,
        scope: Scope::Everything,
    };
    for (knowledge, card_len) in [(known, len), (unknown(len), len), (unknown(FRAME), FRAME)] {
        let original = StreamOriginal {
            open: &open,
            is_repeatable: false,
            knowledge,
        };
        let card = MemoryMedium::new(card_len);
        let card = FaultyMedium::new(card).with(Fault::GoneAfterWrites(5));
        run(&original, &card, WriteMode::All).unwrap_err();
    }
}

#[test]
fn a_stream_of_which_nothing_is_known_arrives_whole_with_its_zeros() {
    let bytes = image(Format::Gzip, 100_000);
    let open = || -> Result<Box<dyn Read + Send>, CopyError> {
        Ok(stream(Format::Gzip, std::io::Cursor::new(bytes.clone()))?)
    };
    let unknown = |len_max| StreamOriginal {
        open: &open,
        is_repeatable: false,
        knowledge: Knowledge::Nothing {
            len_max,
            sector_bytes: 512,
            scope: Scope::UsedOnly,
        },
    };
    let card = FaultyMedium::new(card());
    run(&unknown(CARD_LEN), &card, WriteMode::All).unwrap();
    let zeros = card
        .writes()
        .into_iter()
        .filter(|write| write.kind == RequestKind::Zeros && write.extent.len() == FRAME)
        .count();
    assert_eq!(zeros, 1);
    let mut content = Vec::new();
    open().unwrap().read_to_end(&mut content).unwrap();
    assert!(card.read_vec(0, LEN as usize).unwrap() == content);
    let short = MemoryMedium::new(LEN - 512);
    let error = run(&unknown(LEN - 512), &short, WriteMode::All).unwrap_err();
    assert!(matches!(error, CopyError::Original(e) if matches!(*e, CopyError::TooLong { .. })));
    assert!(!looks_bootable(&short));
}

#[test]
fn patches_take_the_place_of_the_originals_bytes() {
    let (medium, map) = original();
    let patches = Patches::new(vec![Patch::new(100, vec![9; 50])]);
    let original = MediumOriginal {
        medium: &medium,
        layout: layout(&map, &patches),
    };
    let card = card();
    run(&original, &card, WriteMode::All).unwrap();
    assert_eq!(card.read_vec(100, 50).unwrap(), [9; 50]);
    card.write_at(100, &medium.read_vec(100, 50).unwrap())
        .unwrap();
    check(&card, "the rest");
}

#[test]
fn an_image_that_is_not_what_it_says_stops_every_card_before_it_is_bootable() {
    let (medium, map) = original();
    let patches = Patches::default();
    let digests = vec![None, None, Some(FrameDigest::of(b"other"))];
    let original = MediumOriginal {
        medium: &medium,
        layout: Layout {
            digests: &digests,
            ..layout(&map, &patches)
        },
    };
    let cards = [card(), card()];
    let recipients = cards.each_ref().map(|card| Recipient {
        card,
        monitor: &Silent,
    });
    for result in restore(&original, &recipients, options(WriteMode::All)) {
        let Err(CopyError::Original(error)) = result else {
            panic!("{result:?}")
        };
        assert!(matches!(&*error, CopyError::Mismatch { extent, .. }
            if *extent == Extent::between(2 * FRAME, 3 * FRAME)));
    }
    assert!(cards.iter().all(|card| !looks_bootable(card)));
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

/// An original of which a part dies or never comes.
struct Broken<'a> {
    whole: MediumOriginal<'a>,
    breaks: fn(usize) -> bool,
}

impl Original for Broken<'_> {
    fn deliver(
        &self,
        wanted: Wanted<'_>,
        pool: &Arc<BufferPool>,
        take: Take<'_>,
    ) -> Result<(), CopyError> {
        self.whole.deliver(wanted, pool, &mut |frame| {
            if (self.breaks)(frame.index) {
                return Ok(true);
            }
            take(frame)
        })
    }

    fn is_repeatable(&self) -> bool {
        true
    }

    fn known_bytes(&self) -> Option<u64> {
        self.whole.known_bytes()
    }

    fn frames_under_way(&self) -> usize {
        self.whole.frames_under_way()
    }
}

#[test]
fn a_card_that_lacks_a_frame_is_never_taken_for_good() {
    let (medium, map) = original();
    let patches = Patches::default();
    for mode in [WriteMode::All, WriteMode::Differing] {
        let original = Broken {
            whole: MediumOriginal {
                medium: &medium,
                layout: layout(&map, &patches),
            },
            breaks: |index| index == 3,
        };
        let card = card();
        let error = run(&original, &card, mode).unwrap_err();
        assert!(matches!(error, CopyError::Internal(_)), "{error}");
        assert!(!looks_bootable(&card));
    }
}

#[test]
fn nobody_waits_for_a_thread_that_died() {
    let (medium, map) = original();
    let patches = Patches::default();
    let original = Broken {
        whole: MediumOriginal {
            medium: &medium,
            layout: layout(&map, &patches),
        },
        breaks: |index| {
            assert!(index != 3, "as a broken original would");
            false
        },
    };
    for mode in [WriteMode::All, WriteMode::Differing] {
        let error = run(&original, &card(), mode).unwrap_err();
        let CopyError::Original(error) = error else {
            panic!("{error}")
        };
        assert!(matches!(*error, CopyError::Internal(_)), "{error}");
    }
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
