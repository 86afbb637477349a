//! The pipeline from end to end, in memory: what goes in comes out, and faults are told.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on fails by panicking"
)]

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use cardkeep_block::{
    AllocationMap, BlockError, BlockErrorKind, Extent, MemoryMedium, Monitor, Operation, ReadAt,
    Run, Silent, State, WriteAt,
};
use cardkeep_copy::{
    Check, CopyError, Destination, Job, Limits, Outcome, Output, Verify, check_frames, copy,
};
use cardkeep_image::{EncodeOptions, FRAME_BYTES, Format, Manifest, load_index, stream};
use cardkeep_testkit::{Recorder, Stop};

const FRAME: u64 = FRAME_BYTES as u64;
const LEN: u64 = 9 * FRAME + 12_800;

/// A destination in memory; from `lie_from` on it stores something else than it was given.
struct Memory {
    medium: Arc<MemoryMedium>,
    len: Arc<AtomicU64>,
    lie_from: u64,
    full_at: u64,
    /// Writes from here on wait until something was read back.
    waits_from: u64,
    was_read_back: Arc<AtomicBool>,
}

impl Memory {
    fn new() -> Self {
        let medium = Arc::new(MemoryMedium::new(1 << 30));
        Self {
            medium,
            len: Arc::default(),
            lie_from: u64::MAX,
            full_at: u64::MAX,
            waits_from: u64::MAX,
            was_read_back: Arc::default(),
        }
    }

    fn bytes(&self) -> Vec<u8> {
        self.medium
            .read_vec(0, self.len.load(Ordering::Relaxed) as usize)
            .unwrap()
    }
}

/// What a reader sees of the destination: as long as it was written.
struct Seen {
    medium: Arc<MemoryMedium>,
    len: u64,
    was_read_back: Arc<AtomicBool>,
}

impl ReadAt for Seen {
    fn len(&self) -> u64 {
        self.len
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), BlockError> {
        self.was_read_back.store(true, Ordering::Relaxed);
        self.bounded(offset, buffer.len())?;
        self.medium.read_at(offset, buffer)
    }
}

impl WriteAt for Memory {
    fn write_at(&self, offset: u64, data: &[u8]) -> Result<(), BlockError> {
        let end = offset + data.len() as u64;
        if end > self.full_at {
            return Err(BlockError::new(BlockErrorKind::NoSpace, Operation::Write));
        }
        while offset >= self.waits_from && !self.was_read_back.load(Ordering::Relaxed) {
            std::thread::yield_now();
        }
        self.len.fetch_max(end, Ordering::Relaxed);
        if (offset..end).contains(&self.lie_from) {
            let mut lie = data.to_vec();
            lie[(self.lie_from - offset) as usize] ^= 1;
            return self.medium.write_at(offset, &lie);
        }
        self.medium.write_at(offset, data)
    }
    fn flush(&self) -> Result<(), BlockError> {
        Ok(())
    }
}

impl Destination for Memory {
    fn start_writeback(&self, _: Extent) -> Result<(), BlockError> {
        Ok(())
    }
    fn settled(&self) -> Result<Box<dyn ReadAt>, BlockError> {
        let len = self.len.load(Ordering::Relaxed);
        Ok(Box::new(Seen {
            medium: Arc::clone(&self.medium),
            len,
            was_read_back: Arc::clone(&self.was_read_back),
        }))
    }
    fn set_len(&self, len: u64) -> Result<(), BlockError> {
        self.len.store(len, Ordering::Relaxed);
        Ok(())
    }
}

/// A card full of junk, and the map of what matters of it.
fn card() -> (MemoryMedium, AllocationMap) {
    let medium = MemoryMedium::new(LEN);
    let mut seed = 1u64;
    let junk: Vec<u8> = (0..LEN as usize)
        .map(|i| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            if i / 4096 % 3 == 0 {
                (seed >> 56) as u8
            } else {
                (i / 512) as u8
            }
        })
        .collect();
    medium.write_at(0, &junk).unwrap();
    let used = [
        (0, 512),
        (4096, 8192),
        (FRAME - 512, 2 * FRAME + 512),
        (3 * FRAME, 3 * FRAME + 300_000),
        (3 * FRAME + 310_000 / 512 * 512, 3 * FRAME + 900 * 512),
        (7 * FRAME, 8 * FRAME),
        (9 * FRAME + 512, LEN),
    ];
    let mut layer: Vec<Run> = used
        .iter()
        .map(|&(a, b)| Run::new(Extent::between(a, b), State::Used))
        .collect();
    layer.push(Run::new(Extent::between(5 * FRAME, 6 * FRAME), State::Zero));
    (
        medium,
        AllocationMap::all(LEN, State::Free).replaced(&layer),
    )
}

/// The card's content with zeros wherever it does not matter: what any image must hold.
fn expected(medium: &MemoryMedium, map: &AllocationMap) -> Vec<u8> {
    let mut bytes = vec![0; LEN as usize];
    for extent in map.extents(State::Used) {
        let part = &mut bytes[extent.start() as usize..extent.end() as usize];
        medium.read_at(extent.start(), part).unwrap();
    }
    bytes
}

fn run(
    source: &dyn ReadAt,
    map: &AllocationMap,
    format: Format,
    destination: &Memory,
    cores: usize,
    monitor: &dyn Monitor,
) -> Result<Outcome, CopyError> {
    let job = Job {
        source: Arc::new(source),
        map: Arc::new(map.clone()),
        format,
        options: EncodeOptions::default(),
        verify: Verify::ReadBack,
        limits: Limits::for_cores(cores),
    };
    let manifest = |frames| Manifest::new("test", map.clone(), frames);
    copy(&job, Output::Stored(destination), &manifest, monitor)
}

fn content(format: Format, bytes: Vec<u8>) -> Vec<u8> {
    let mut content = Vec::new();
    let mut stream = stream(format, std::io::Cursor::new(bytes)).unwrap();
    stream.read_to_end(&mut content).unwrap();
    content
}

#[test]
fn every_format_holds_the_used_bytes_and_zeros_elsewhere() {
    let (card, map) = card();
    let expected = expected(&card, &map);
    for format in [Format::Zstd, Format::Raw, Format::Gzip, Format::Xz] {
        let destination = Memory::new();
        let outcome = run(&card, &map, format, &destination, 2, &Silent).unwrap();
        assert!(
            content(format, destination.bytes()) == expected,
            "{format:?}"
        );
        assert!(outcome.is_verified);
        assert_eq!(outcome.used_bytes, map.bytes(State::Used));
        assert!(outcome.read_bytes >= outcome.used_bytes);
    }
}

#[test]
fn the_same_card_gives_the_same_bytes_on_any_number_of_cores() {
    let (card, map) = card();
    for format in [Format::Zstd, Format::Gzip, Format::Xz] {
        let images = [1, 2, 5].map(|cores| {
            let destination = Memory::new();
            run(&card, &map, format, &destination, cores, &Silent).unwrap();
            destination.bytes()
        });
        assert!(
            images[0] == images[1] && images[1] == images[2],
            "{format:?}"
        );
    }
}

#[test]
fn whole_images_are_checked_against_their_digests() {
    let (card, map) = card();
    let destination = Memory::new();
    let outcome = run(&card, &map, Format::Zstd, &destination, 2, &Silent).unwrap();
    let bytes = destination.bytes();
    let image: Arc<dyn ReadAt> = Arc::new(MemoryMedium::from_bytes(&bytes));
    let checked = check_frames(&image, &load_index(&image).unwrap().unwrap(), 2, &Silent).unwrap();
    assert_eq!(checked.check, Check::Digests);
    assert_eq!(checked.content_len, LEN);
    assert_eq!(checked.image_digest, outcome.image_digest);
    let mut damaged = bytes;
    damaged[1000] ^= 4;
    let image: Arc<dyn ReadAt> = Arc::new(MemoryMedium::from_bytes(&damaged));
    let error =
        check_frames(&image, &load_index(&image).unwrap().unwrap(), 2, &Silent).unwrap_err();
    assert!(
        matches!(error, CopyError::Mismatch { extent, .. } if extent == Extent::between(0, FRAME)),
        "{error}"
    );
}

#[test]
fn a_destination_that_stores_something_else_is_found_out() {
    let (card, map) = card();
    for format in [Format::Zstd, Format::Raw, Format::Gzip, Format::Xz] {
        let destination = Memory {
            lie_from: 6000,
            ..Memory::new()
        };
        let result = run(&card, &map, format, &destination, 2, &Silent);
        let told = matches!(
            result,
            Err(CopyError::Mismatch { .. } | CopyError::Image(_))
        );
        assert!(told, "{format:?}: {result:?}");
    }
}

#[test]
fn a_lie_in_a_frame_of_zeros_is_found_out() {
    let (card, map) = card();
    let good = Memory::new();
    run(&card, &map, Format::Zstd, &good, 2, &Silent).unwrap();
    let index = load_index(&MemoryMedium::from_bytes(&good.bytes()))
        .unwrap()
        .unwrap();
    for number in [4, 5, 6] {
        let piece = index.table.entries()[number].compressed;
        let destination = Memory {
            lie_from: piece.end() - 6,
            ..Memory::new()
        };
        let result = run(&card, &map, Format::Zstd, &destination, 2, &Silent);
        let frame = Extent::between(number as u64 * FRAME, (number as u64 + 1) * FRAME);
        assert!(
            matches!(result, Err(CopyError::Mismatch { extent, .. }) if extent == frame),
            "{number}: {result:?}"
        );
    }
}

#[test]
fn a_raw_image_is_read_back_before_its_last_byte_is_written() {
    let (card, map) = card();
    // The fourth frame ends in a hole, and its successors are held back until it was read.
    let destination = Memory {
        waits_from: 4 * FRAME,
        ..Memory::new()
    };
    let outcome = run(&card, &map, Format::Raw, &destination, 2, &Silent).unwrap();
    assert!(outcome.is_verified);
    assert!(destination.bytes() == expected(&card, &map));
}

#[test]
fn a_full_destination_ends_the_copy_with_its_error() {
    let (card, map) = card();
    for full_at in [0, 1000, 2_000_000] {
        let destination = Memory {
            full_at,
            ..Memory::new()
        };
        let error = run(&card, &map, Format::Zstd, &destination, 2, &Silent).unwrap_err();
        let CopyError::Destination(error) = error else {
            panic!("{error}")
        };
        assert_eq!(error.kind(), BlockErrorKind::NoSpace);
    }
}

/// A card with a sector that can't be read.
struct Torn<'a>(&'a MemoryMedium, u64);

impl ReadAt for Torn<'_> {
    fn len(&self) -> u64 {
        self.0.len()
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), BlockError> {
        let extent = self.bounded(offset, buffer.len())?;
        if extent.contains(self.1) {
            return Err(BlockError::new(BlockErrorKind::Io, Operation::Read).at(extent));
        }
        self.0.read_at(offset, buffer)
    }
}

#[test]
fn an_unreadable_used_sector_ends_the_copy_and_a_free_one_does_not() {
    let (card, map) = card();
    let used = Torn(&card, 7 * FRAME + 5);
    let error = run(&used, &map, Format::Zstd, &Memory::new(), 2, &Silent).unwrap_err();
    assert!(matches!(error, CopyError::Source(_)), "{error}");
    let free = Torn(&card, 6 * FRAME);
    run(&free, &map, Format::Zstd, &Memory::new(), 2, &Silent).unwrap();
}

#[test]
fn progress_adds_up_to_the_used_bytes() {
    let (card, map) = card();
    for format in [Format::Zstd, Format::Raw, Format::Gzip] {
        let counter = Recorder::new();
        run(&card, &map, format, &Memory::new(), 2, &counter).unwrap();
        let used = map.bytes(State::Used);
        assert_eq!(counter.copied_bytes(), used);
        assert_eq!(counter.verified_bytes(), used, "{format:?}");
        assert_eq!(counter.troubles(), []);
    }
}

#[test]
fn a_cancelled_copy_ends_soon_and_says_so() {
    let (card, map) = card();
    let counter = Recorder::stopping(Stop::AfterCopied(1));
    let error = run(&card, &map, Format::Zstd, &Memory::new(), 2, &counter).unwrap_err();
    assert!(matches!(error, CopyError::Interrupted), "{error}");
    assert_eq!(counter.troubles(), []);
}

#[test]
fn a_stream_gets_the_same_bytes_as_a_file() {
    let (card, map) = card();
    for format in [Format::Zstd, Format::Raw] {
        let file = Memory::new();
        run(&card, &map, format, &file, 2, &Silent).unwrap();
        let mut stream = Vec::new();
        let job = Job {
            source: Arc::new(&card),
            map: Arc::new(map.clone()),
            format,
            options: EncodeOptions::default(),
            verify: Verify::ReadBack,
            limits: Limits::for_cores(2),
        };
        let manifest = |frames| Manifest::new("test", map.clone(), frames);
        let outcome = copy(&job, Output::Stream(&mut stream), &manifest, &Silent).unwrap();
        assert!(stream == file.bytes(), "{format:?}");
        assert!(!outcome.is_verified);
    }
}
