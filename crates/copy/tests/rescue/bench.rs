//! A small card, a shelf in memory, and what an image of the card must hold.

use std::io::{Cursor, Read};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cardkeep_block::{
    AllocationMap, BlockError, Extent, MemoryMedium, Monitor, Phase, ReadAt, RescueMap, Run,
    Silent, State, Trouble, WriteAt,
};
use cardkeep_copy::{
    Attendant, CopyError, Destination, FrameList, Job, Limits, Outcome, Output, Prefix, Rescue,
    RescueReport, RetryPolicy, Shelf, Unattended, Verify, copy, copy_rescuing, untried,
};
use cardkeep_image::{EncodeOptions, FRAME_BYTES, Format, Manifest, Mapfile, load_index, stream};
use cardkeep_testkit::{FaultyMedium, RequestKind};

pub(crate) const FRAME: u64 = FRAME_BYTES as u64;
pub(crate) const LEN: u64 = 4 * FRAME + 12_800;
pub(crate) const SECTOR: u64 = 512;

pub(crate) type Card = FaultyMedium<MemoryMedium>;

/// Two readers race for the last frames; one at a time makes the order of requests certain.
pub(crate) const ONE_READER: Limits = Limits {
    readers: 1,
    workers: 1,
    read_through_bytes: 4096,
};

/// Returns a card full of bytes that are never zero, and the map of what matters of it: some
/// 5 MB in pieces of all sizes.
pub(crate) fn card() -> (Card, AllocationMap) {
    let medium = MemoryMedium::new(LEN);
    let bytes: Vec<u8> = (0..LEN)
        .map(|i| (i / SECTOR * 7 + i % 13) as u8 | 1)
        .collect();
    medium.write_at(0, &bytes).unwrap();
    let mut used = vec![
        Extent::between(0, 512),
        Extent::between(8192, 300_000 / 512 * 512),
        Extent::between(FRAME - 512, FRAME + 2_000_384),
        Extent::between(2 * FRAME + 65_536, 3 * FRAME - 1_000_448),
        Extent::between(4 * FRAME + 512, LEN),
    ];
    used.extend((0..40).map(|i| {
        let start = 3 * FRAME + i * 24_576;
        Extent::between(start, start + 4096)
    }));
    let runs: Vec<Run> = used.into_iter().map(|e| Run::new(e, State::Used)).collect();
    let map = AllocationMap::all(LEN, State::Free).replaced(&runs);
    (FaultyMedium::new(medium).aligned_to(512), map)
}

/// The card's used content without the sectors in `lost`, zeros elsewhere.
pub(crate) fn expected(card: &Card, map: &AllocationMap, lost: &[Extent]) -> Vec<u8> {
    let mut bytes = vec![0; LEN as usize];
    for extent in map.extents(State::Used) {
        let part = &mut bytes[extent.start() as usize..extent.end() as usize];
        card.inner().read_at(extent.start(), part).unwrap();
    }
    for extent in lost {
        bytes[extent.start() as usize..extent.end() as usize].fill(0);
    }
    bytes
}

/// Returns what the map wants of `bad`, joined where it touches.
pub(crate) fn wanted(map: &AllocationMap, bad: &[Extent]) -> Vec<Extent> {
    let mut bad = bad.to_vec();
    bad.sort();
    let mut all: Vec<Extent> = Vec::new();
    let parts = bad.iter().flat_map(|&extent| map.runs_in(extent));
    for part in parts.filter(|run| run.state == State::Used) {
        match all.last_mut() {
            Some(last) if last.end() >= part.extent.start() => {
                *last = Extent::between(last.start(), part.extent.end().max(last.end()));
            }
            _ => all.push(part.extent),
        }
    }
    all
}

/// A file in memory: what was written of it, and how long it is.
#[derive(Clone)]
pub(crate) struct Memory {
    pub(crate) medium: Arc<FaultyMedium<MemoryMedium>>,
    pub(crate) len: Arc<AtomicU64>,
}

impl Memory {
    pub(crate) fn new() -> Self {
        Self {
            medium: Arc::new(FaultyMedium::new(MemoryMedium::new(2 * LEN))),
            len: Arc::default(),
        }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let len = self.len.load(Ordering::Relaxed) as usize;
        self.medium.inner().read_vec(0, len).unwrap()
    }
}

impl ReadAt for Memory {
    fn len(&self) -> u64 {
        self.len.load(Ordering::Relaxed)
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), BlockError> {
        self.bounded(offset, buffer.len())?;
        self.medium.read_at(offset, buffer)
    }
}

impl WriteAt for Memory {
    fn write_at(&self, offset: u64, data: &[u8]) -> Result<(), BlockError> {
        self.medium.write_at(offset, data)?;
        let end = offset + data.len() as u64;
        self.len.fetch_max(end, Ordering::Relaxed);
        Ok(())
    }
    fn flush(&self) -> Result<(), BlockError> {
        self.medium.flush()
    }
}

impl Destination for Memory {
    fn start_writeback(&self, _: Extent) -> Result<(), BlockError> {
        Ok(())
    }
    fn settled(&self) -> Result<Box<dyn ReadAt>, BlockError> {
        self.flush()?;
        Ok(Box::new(self.clone()))
    }
    fn set_len(&self, len: u64) -> Result<(), BlockError> {
        let old = self.len.swap(len, Ordering::Relaxed);
        // What was cut off a file does not come back when it grows.
        self.medium.inner().write_zeros(Extent::between(len, old))
    }
}

/// A shelf in memory. The mapfile is kept as the text that a file would hold.
pub(crate) struct MemoryShelf {
    pub(crate) store: Memory,
    pub(crate) mapfile: Mutex<Option<String>>,
    pub(crate) is_asked: AtomicBool,
    pub(crate) is_image: bool,
    pub(crate) room: u64,
    /// So many maps are saved, then there is no more power.
    pub(crate) saves_left: AtomicU64,
}

impl MemoryShelf {
    pub(crate) fn new() -> Self {
        Self::on(Memory::new(), false)
    }

    pub(crate) fn on(store: Memory, is_image: bool) -> Self {
        Self {
            store,
            mapfile: Mutex::default(),
            is_asked: AtomicBool::new(false),
            is_image,
            room: u64::MAX,
            saves_left: AtomicU64::new(u64::MAX),
        }
    }

    /// Returns the map that was saved last.
    pub(crate) fn map(&self, map: &AllocationMap) -> RescueMap {
        match &*self.mapfile.lock().unwrap() {
            Some(text) => Mapfile::parse(text.as_bytes(), LEN).unwrap().map,
            None => untried(map),
        }
    }
}

impl Shelf for MemoryShelf {
    fn store(&self) -> Result<&dyn Destination, BlockError> {
        self.is_asked.store(true, Ordering::Relaxed);
        Ok(&self.store)
    }
    fn save(&self, mapfile: &Mapfile) -> Result<(), BlockError> {
        use cardkeep_block::{BlockErrorKind, Operation};
        let left = self.saves_left.load(Ordering::Relaxed);
        if left == 0 {
            return Err(BlockError::new(BlockErrorKind::Gone, Operation::Write));
        }
        self.saves_left.store(left - 1, Ordering::Relaxed);
        *self.mapfile.lock().unwrap() = Some(mapfile.to_text("test"));
        Ok(())
    }
    fn finish(&self, mapfile: &Mapfile) -> Result<(), BlockError> {
        let requests = self.store.medium.requests();
        let last = requests.iter().rfind(|own| own.kind != RequestKind::Read);
        let is_flushed = last.is_none_or(|own| own.kind == RequestKind::Flush);
        assert!(is_flushed, "the map tells of what is not durable");
        self.save(mapfile)
    }
    fn has_room(&self, _: u64, bytes: u64) -> bool {
        bytes <= self.room
    }
    fn is_image(&self) -> bool {
        self.is_image
    }
}

/// What is lent to a rescue, which owns all that it needs.
struct Lent<'a, T: ?Sized>(&'a T);

impl Shelf for Lent<'_, MemoryShelf> {
    fn store(&self) -> Result<&dyn Destination, BlockError> {
        self.0.store()
    }
    fn save(&self, mapfile: &Mapfile) -> Result<(), BlockError> {
        self.0.save(mapfile)
    }
    fn finish(&self, mapfile: &Mapfile) -> Result<(), BlockError> {
        self.0.finish(mapfile)
    }
    fn has_room(&self, len: u64, bytes: u64) -> bool {
        self.0.has_room(len, bytes)
    }
    fn is_image(&self) -> bool {
        self.0.is_image()
    }
}

impl Attendant for Lent<'_, dyn Attendant + '_> {
    fn come_back(&self) -> bool {
        self.0.come_back()
    }
    fn return_count(&self) -> u64 {
        self.0.return_count()
    }
}

impl Monitor for Lent<'_, dyn Monitor + '_> {
    fn phase(&self, phase: Phase, total_bytes: Option<u64>) {
        self.0.phase(phase, total_bytes);
    }
    fn advance(&self, phase: Phase, bytes: u64) {
        self.0.advance(phase, bytes);
    }
    fn trouble(&self, trouble: Trouble) {
        self.0.trouble(trouble);
    }
    fn is_cancelled(&self) -> bool {
        self.0.is_cancelled()
    }
}

/// One way of copying: what the tests vary.
#[derive(Clone, Copy)]
pub(crate) struct Way {
    pub(crate) format: Format,
    pub(crate) policy: RetryPolicy,
    pub(crate) limits: Limits,
    pub(crate) verify: Verify,
}

impl Way {
    pub(crate) fn new(format: Format) -> Self {
        let policy = RetryPolicy {
            // A busy machine is no slow card.
            slow_time_min: Duration::from_secs(600),
            ..RetryPolicy::default()
        };
        Self {
            format,
            policy,
            limits: Limits::for_cores(2),
            verify: Verify::ReadBack,
        }
    }

    fn job<'a>(&self, source: &'a dyn ReadAt, map: &AllocationMap) -> Job<'a> {
        Job {
            source: Arc::new(source),
            map: Arc::new(map.clone()),
            format: self.format,
            options: EncodeOptions::default(),
            verify: self.verify,
            limits: self.limits,
        }
    }

    /// Copies what may fail, going on with what is on the shelf, and in the image where it can be.
    pub(crate) fn rescue(
        &self,
        card: &Card,
        map: &AllocationMap,
        shelf: &MemoryShelf,
        image: &Memory,
    ) -> (Result<Outcome, CopyError>, RescueReport) {
        self.rescue_watched(card, map, shelf, image, &Silent)
    }

    pub(crate) fn rescue_watched(
        &self,
        card: &Card,
        map: &AllocationMap,
        shelf: &MemoryShelf,
        image: &Memory,
        monitor: &dyn Monitor,
    ) -> (Result<Outcome, CopyError>, RescueReport) {
        let watch = Watch {
            attendant: &Unattended,
            monitor,
        };
        self.rescue_by(card, map, shelf, image, watch)
    }

    /// Copies what may be away for a while.
    pub(crate) fn rescue_attended(
        &self,
        source: &dyn ReadAt,
        map: &AllocationMap,
        shelf: &MemoryShelf,
        image: &Memory,
        attendant: &dyn Attendant,
    ) -> (Result<Outcome, CopyError>, RescueReport) {
        let watch = Watch {
            attendant,
            monitor: &Silent,
        };
        self.rescue_by(source, map, shelf, image, watch)
    }

    fn rescue_by(
        &self,
        source: &dyn ReadAt,
        map: &AllocationMap,
        shelf: &MemoryShelf,
        image: &Memory,
        watch: Watch<'_>,
    ) -> (Result<Outcome, CopyError>, RescueReport) {
        let Watch { attendant, monitor } = watch;
        let prefix = match self.format {
            Format::Raw => Prefix::default(),
            format => Prefix::load(image, &FrameList::new(map), format).unwrap(),
        };
        let rescue = Rescue {
            shelf: Arc::new(Lent(shelf)),
            attendant: Arc::new(Lent(attendant)),
            policy: self.policy,
            map: shelf.map(map),
            prefix,
        };
        let manifest = |frames| Manifest::new("test", map.clone(), frames);
        let job = self.job(source, map);
        let monitor: Arc<dyn Monitor + '_> = Arc::new(Lent(monitor));
        copy_rescuing(&job, rescue, Output::Stored(image), &manifest, &monitor)
    }

    /// Returns the image that a healthy card gives, by the copy that knows of no failures.
    pub(crate) fn healthy(&self, card: &Card, map: &AllocationMap) -> Vec<u8> {
        let image = Memory::new();
        let manifest = |frames| Manifest::new("test", map.clone(), frames);
        let job = self.job(card.inner(), map);
        copy(&job, Output::Stored(&image), &manifest, &Silent).unwrap();
        image.bytes()
    }
}

/// Who hears of a rescue.
#[derive(Clone, Copy)]
struct Watch<'a> {
    attendant: &'a dyn Attendant,
    monitor: &'a dyn Monitor,
}

pub(crate) fn content(format: Format, bytes: Vec<u8>) -> Vec<u8> {
    let mut content = Vec::new();
    let mut stream = stream(format, Cursor::new(bytes)).unwrap();
    stream.read_to_end(&mut content).unwrap();
    content
}

/// Returns what a zstd image says was lost.
pub(crate) fn recorded(bytes: &[u8]) -> Vec<Extent> {
    let index = load_index(&MemoryMedium::from_bytes(bytes)).unwrap();
    index.unwrap().manifest.unwrap().lost
}
