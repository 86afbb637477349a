//! Reading back: what was just written, and whole images later.

use std::io::Read;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use cardkeep_block::{
    AlignedBuffer, BUFFER_ALIGNMENT, BlockError, Extent, Monitor, Operation, Phase, ReadAt,
};
use cardkeep_image::{
    Error as ImageError, FRAME_BYTES, Format, FrameDecoder, FrameDigest, ImageDigest, Index,
    Manifest, load_index, stream, zero_digest,
};
use crossbeam_channel::Receiver;

use crate::destination::Destination;
use crate::error::CopyError;
use crate::frames::FrameList;
use crate::sequential::{Sequential, read_frame};

/// So much is written before it is made durable and read back: flushes cost time, and what is
/// left at the end is waited for.
const SETTLE_BYTES: u64 = 48 << 20;

/// What the writer tells the verifier, in address order. Places are those in the output.
pub(crate) enum Written {
    /// A frame with used bytes.
    Frame {
        index: usize,
        start: u64,
        len: u64,
        digest: FrameDigest,
    },
    /// A frame without.
    Zeros { index: usize, start: u64, len: u64 },
    /// The output is whole.
    End,
}

/// Reads back what the writer wrote, some way behind it.
pub(crate) struct Verifier<'a> {
    file: &'a dyn Destination,
    frames: FrameList<'a>,
    format: Format,
    monitor: &'a dyn Monitor,
    waiting: Vec<Written>,
    digests: Vec<Option<FrameDigest>>,
    content: Vec<u8>,
    piece: AlignedBuffer,
    zero_piece: ZeroPiece,
}

/// The piece that was last found to decode to zeros, and their number: most frames of a large
/// card are just this one, and equal bytes need not be decoded again.
#[derive(Default)]
struct ZeroPiece {
    bytes: Vec<u8>,
    len: usize,
}

impl ZeroPiece {
    /// Tells whether `bytes` decode to zeros that fill `content`, whose bytes may change.
    fn holds_zeros(
        &mut self,
        bytes: &[u8],
        content: &mut [u8],
        decoder: &mut FrameDecoder,
    ) -> bool {
        if self.len == content.len() && self.bytes == bytes {
            return true;
        }
        let is_zero =
            decoder.decode(bytes, content).is_ok() && content.iter().all(|&byte| byte == 0);
        if is_zero {
            *self = Self {
                bytes: bytes.to_vec(),
                len: content.len(),
            };
        }
        is_zero
    }
}

impl<'a> Verifier<'a> {
    pub(crate) fn new(
        file: &'a dyn Destination,
        frames: FrameList<'a>,
        format: Format,
        monitor: &'a dyn Monitor,
    ) -> Self {
        Self {
            file,
            frames,
            format,
            monitor,
            waiting: Vec::new(),
            digests: Vec::new(),
            content: vec![0; FRAME_BYTES],
            piece: AlignedBuffer::new(0),
            zero_piece: ZeroPiece::default(),
        }
    }

    /// Verifies until the writer says that it is done, or ends early: that is the writer's error.
    pub(crate) fn run(mut self, written: &Receiver<Written>) -> Result<(), CopyError> {
        let mut decoder = FrameDecoder::zstd()?;
        let mut settled = 0;
        for item in written {
            let end = match &item {
                Written::Frame {
                    start, len, digest, ..
                } => {
                    self.digests.push(Some(*digest));
                    start + len
                }
                Written::Zeros { start, len, .. } => {
                    self.digests.push(None);
                    start + len
                }
                Written::End => return self.finish(&mut decoder),
            };
            // Containers that are one stream are decoded in one go at the end.
            if matches!(self.format, Format::Zstd | Format::Raw) {
                self.waiting.push(item);
                if end - settled >= SETTLE_BYTES {
                    settled = end;
                    self.check_waiting(&mut decoder)?;
                }
            }
        }
        Ok(())
    }

    fn check_waiting(&mut self, decoder: &mut FrameDecoder) -> Result<(), CopyError> {
        let reader = self.file.settled().map_err(CopyError::Destination)?;
        for item in std::mem::take(&mut self.waiting) {
            if self.monitor.is_cancelled() {
                return Err(CopyError::Interrupted);
            }
            match item {
                Written::Frame {
                    index,
                    start,
                    len,
                    digest,
                } => {
                    self.check_frame(
                        &*reader,
                        index,
                        Extent::between(start, start + len),
                        digest,
                        decoder,
                    )?;
                    self.monitor
                        .advance(Phase::Verify, self.frames.used_bytes(index));
                }
                Written::Zeros { index, start, len } if self.format == Format::Zstd => {
                    self.check_zeros(
                        &*reader,
                        index,
                        Extent::between(start, start + len),
                        decoder,
                    )?;
                }
                // Holes of a raw image were never written.
                _ => {}
            }
        }
        Ok(())
    }

    fn check_frame(
        &mut self,
        reader: &dyn ReadAt,
        index: usize,
        piece: Extent,
        expected: FrameDigest,
        decoder: &mut FrameDecoder,
    ) -> Result<(), CopyError> {
        let extent = self.frames.extent(index);
        let content = &mut self.content[..extent.len() as usize];
        let decoded = if self.format == Format::Raw {
            reader
                .read_at(extent.start(), content)
                .map_err(CopyError::Destination)?;
            true
        } else {
            let bytes = load_piece(reader, piece, &mut self.piece)?;
            decoder.decode(bytes, content).is_ok()
        };
        let found = decoded.then(|| FrameDigest::of(content));
        if found == Some(expected) {
            return Ok(());
        }
        Err(CopyError::Mismatch {
            extent,
            expected,
            found,
        })
    }

    fn check_zeros(
        &mut self,
        reader: &dyn ReadAt,
        index: usize,
        piece: Extent,
        decoder: &mut FrameDecoder,
    ) -> Result<(), CopyError> {
        let extent = self.frames.extent(index);
        let content = &mut self.content[..extent.len() as usize];
        let bytes = load_piece(reader, piece, &mut self.piece)?;
        if self.zero_piece.holds_zeros(bytes, content, decoder) {
            return Ok(());
        }
        let expected = zero_digest(extent.len());
        Err(CopyError::Mismatch {
            extent,
            expected,
            found: None,
        })
    }

    /// The output is whole: checks the rest, and what only the end can tell.
    fn finish(mut self, decoder: &mut FrameDecoder) -> Result<(), CopyError> {
        self.check_waiting(decoder)?;
        let reader = self.file.settled().map_err(CopyError::Destination)?;
        match self.format {
            Format::Raw => Ok(()),
            Format::Zstd => self.check_index(&*reader),
            format => {
                let mut expected = self.digests.iter().copied();
                let reader: Arc<dyn ReadAt> = Arc::from(reader);
                let frames = self.frames;
                check_stream(format, &reader, self.monitor, &mut |index, content| {
                    let extent = frames.extent(index);
                    let zero = || zero_digest(extent.len());
                    let expected = expected.next().map(|digest| digest.unwrap_or_else(zero));
                    let found = FrameDigest::of(content);
                    self.monitor
                        .advance(Phase::Verify, frames.used_bytes(index));
                    match expected {
                        Some(expected) if expected == found => Ok(()),
                        Some(expected) => Err(CopyError::Mismatch {
                            extent,
                            expected,
                            found: Some(found),
                        }),
                        None => Err(CopyError::Index("it is longer than the card".into())),
                    }
                })?;
                match expected.next() {
                    None => Ok(()),
                    Some(_) => Err(CopyError::Index("it is shorter than the card".into())),
                }
            }
        }
    }

    fn check_index(&self, reader: &dyn ReadAt) -> Result<(), CopyError> {
        let wrong = |what: &str| Err(CopyError::Index(what.to_owned()));
        match load_index(&reader)?.and_then(|index| index.manifest) {
            Some(manifest) if manifest.frames == self.digests => Ok(()),
            Some(_) => wrong("its digests differ"),
            None => wrong("it is missing"),
        }
    }
}

/// Reads a piece with aligned requests, so that direct I/O needs no detour.
fn load_piece<'b>(
    reader: &dyn ReadAt,
    piece: Extent,
    buffer: &'b mut AlignedBuffer,
) -> Result<&'b [u8], CopyError> {
    let alignment = BUFFER_ALIGNMENT as u64;
    let start = piece.start() / alignment * alignment;
    let end = piece
        .end()
        .div_ceil(alignment)
        .saturating_mul(alignment)
        .min(reader.len());
    let size = Extent::between(start, end).len() as usize;
    if buffer.len() < size {
        *buffer = AlignedBuffer::new(size);
    }
    reader
        .read_at(start, &mut buffer[..size])
        .map_err(CopyError::Destination)?;
    let skip = (piece.start() - start) as usize;
    Ok(&buffer[skip..skip + piece.len() as usize])
}

/// Takes a frame's index and content.
type VisitFrame<'a> = &'a mut dyn FnMut(usize, &[u8]) -> Result<(), CopyError>;

/// Decodes a whole container, frame by frame.
fn check_stream(
    format: Format,
    image: &Arc<dyn ReadAt>,
    monitor: &dyn Monitor,
    visit: VisitFrame<'_>,
) -> Result<u64, CopyError> {
    let mut stream = stream(format, Sequential::new(Arc::clone(image)))?;
    let mut content = vec![0; FRAME_BYTES];
    let mut total = 0;
    for index in 0.. {
        if monitor.is_cancelled() {
            return Err(CopyError::Interrupted);
        }
        let len = read_content(&mut *stream, &mut content)?;
        if len == 0 {
            break;
        }
        visit(index, &content[..len])?;
        total += len as u64;
    }
    Ok(total)
}

fn read_content(stream: &mut dyn Read, content: &mut [u8]) -> Result<usize, CopyError> {
    // What is wrong with the image travels inside the stream's error.
    read_frame(stream, content).map_err(|error| match error.downcast::<ImageError>() {
        Ok(error) => CopyError::Image(error),
        Err(error) => CopyError::Source(BlockError::from_io(Operation::Read, error)),
    })
}

/// What an image was checked against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// Every frame, against the digests in the manifest.
    Digests,
    /// The container's own checksums only: it has no manifest.
    Checksums,
    /// Nothing: a raw image holds no checksum. It could be read.
    Readable,
}

/// An image that holds what it should.
#[derive(Clone, Debug)]
pub struct Checked {
    /// Its container.
    pub format: Format,
    /// The size of the medium in it, in bytes.
    pub content_len: u64,
    /// The digest of its content.
    pub image_digest: FrameDigest,
    /// What it says about itself.
    pub manifest: Option<Manifest>,
    /// What it was checked against.
    pub check: Check,
}

/// Checks everything in an image that can be checked without the medium it came from.
///
/// # Errors
/// [`CopyError::Mismatch`] with the place, [`CopyError::Image`] where it can't be decoded.
pub fn check_image(
    image: &Arc<dyn ReadAt>,
    workers: usize,
    monitor: &dyn Monitor,
) -> Result<Checked, CopyError> {
    let head = image
        .read_vec(0, image.len().min(64) as usize)
        .map_err(CopyError::Source)?;
    let format = Format::detect(&head);
    if format == Format::Zstd
        && let Some(index) = load_index(image)?
        && let Some(manifest) = index.manifest.clone()
    {
        return check_indexed(image, &index, manifest, workers, monitor);
    }
    monitor.phase(Phase::Verify, None);
    let mut digest = ImageDigest::new();
    let content_len = check_stream(format, image, monitor, &mut |_, content| {
        digest.add(&FrameDigest::of(content));
        monitor.advance(Phase::Verify, content.len() as u64);
        Ok(())
    })?;
    let check = if format == Format::Raw {
        Check::Readable
    } else {
        Check::Checksums
    };
    Ok(Checked {
        format,
        content_len,
        image_digest: digest.finish(),
        manifest: None,
        check,
    })
}

/// Checks frames in parallel.
fn check_indexed(
    image: &Arc<dyn ReadAt>,
    index: &Index,
    manifest: Manifest,
    workers: usize,
    monitor: &dyn Monitor,
) -> Result<Checked, CopyError> {
    monitor.phase(Phase::Verify, Some(index.table.content_len()));
    let next = AtomicUsize::new(0);
    let failure: Mutex<Option<CopyError>> = Mutex::new(None);
    let fail = |error| {
        failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert(error);
        next.store(usize::MAX / 2, Ordering::Relaxed);
    };
    let check = IndexedCheck {
        image: &**image,
        index,
        manifest: &manifest,
        next: &next,
        monitor,
    };
    std::thread::scope(|scope| {
        for _ in 0..workers.max(1) {
            scope.spawn(|| {
                if let Err(error) = check.run() {
                    fail(error);
                }
            });
        }
    });
    if let Some(error) = failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(error);
    }
    Ok(Checked {
        format: Format::Zstd,
        content_len: index.table.content_len(),
        image_digest: manifest.image_digest(),
        manifest: Some(manifest),
        check: Check::Digests,
    })
}

struct IndexedCheck<'a> {
    image: &'a dyn ReadAt,
    index: &'a Index,
    manifest: &'a Manifest,
    next: &'a AtomicUsize,
    monitor: &'a dyn Monitor,
}

impl IndexedCheck<'_> {
    fn run(&self) -> Result<(), CopyError> {
        let mut decoder = self.index.decoder()?;
        let (mut content, mut buffer) = (Vec::new(), AlignedBuffer::new(0));
        let mut zero_piece = ZeroPiece::default();
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(entry) = self.index.table.entries().get(number) else {
                return Ok(());
            };
            if self.monitor.is_cancelled() {
                return Err(CopyError::Interrupted);
            }
            // Frames of an image with a manifest are no longer than its bound, checked on load.
            content.resize(entry.content.len() as usize, 0);
            let bytes = load_piece(self.image, entry.compressed, &mut buffer)?;
            let extent = entry.content;
            let digest = self.manifest.frames.get(number).copied().flatten();
            if digest.is_none() && zero_piece.holds_zeros(bytes, &mut content, &mut decoder) {
                self.monitor.advance(Phase::Verify, extent.len());
                continue;
            }
            let expected = digest.unwrap_or_else(|| zero_digest(extent.len()));
            let decoded = decoder.decode(bytes, &mut content).is_ok();
            let found = decoded.then(|| FrameDigest::of(&content));
            if found != Some(expected) {
                return Err(CopyError::Mismatch {
                    extent,
                    expected,
                    found,
                });
            }
            self.monitor.advance(Phase::Verify, extent.len());
        }
    }
}
