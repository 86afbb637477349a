//! The verifier: reads back what the writer wrote, some way behind it.

use std::sync::Arc;

use cardkeep_block::{Extent, Monitor, Phase, ReadAt};
use cardkeep_image::{
    FRAME_BYTES, Format, FrameDecoder, FrameDigest, ImageDigest, load_index, zero_digest,
};
use crossbeam_channel::Receiver;

use crate::check::check_stream;
use crate::destination::Destination;
use crate::error::CopyError;
use crate::frames::FrameList;
use crate::piece::{PieceWindow, ZeroPiece};
use crate::prefix::Prefix;
use crate::sequential::decoded_layer;

/// So much is written before it is made durable and read back: flushes cost time, the end waits for
/// the rest, and progress is seen in steps of this.
const SETTLE_BYTES: u64 = 16 << 20;

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

/// What is written and not yet read back.
enum Waiting {
    Frame {
        index: usize,
        piece: Extent,
        digest: FrameDigest,
    },
    /// `count` frames without used bytes from `index` on, in pieces of `piece_bytes` each.
    Zeros {
        index: usize,
        start: u64,
        piece_bytes: u64,
        count: u64,
    },
}

/// A piece of the output that is to be checked.
#[derive(Clone, Copy)]
struct Stored<'a> {
    reader: &'a dyn ReadAt,
    extent: Extent,
    /// Where what may be read ends.
    settled: u64,
}

impl Stored<'_> {
    /// Reads the piece by way of `pieces`.
    fn load<'p>(&self, pieces: &'p mut PieceWindow) -> Result<&'p [u8], CopyError> {
        pieces.load(self.reader, self.extent, self.settled)
    }
}

/// Reads back what the writer wrote, some way behind it.
pub(crate) struct Verifier<'a> {
    file: &'a dyn Destination,
    frames: FrameList<'a>,
    format: Format,
    monitor: &'a dyn Monitor,
    waiting: Vec<Waiting>,
    /// What the manifest has to come to.
    image: ImageDigest,
    whole_zero: FrameDigest,
    /// Kept only for containers that are decoded at the end.
    digests: Vec<FrameDigest>,
    content: Vec<u8>,
    pieces: PieceWindow,
    zero_piece: ZeroPiece,
    /// What was in the output before, in bytes.
    settled: u64,
    /// Hears how much of the output is durable and right.
    durable: Option<Durable<'a>>,
}

/// Hears up to which offset the output is durable, and holds what it should.
pub(crate) type Durable<'a> = &'a (dyn Fn(u64) -> Result<(), CopyError> + Sync);

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
            image: ImageDigest::new(),
            whole_zero: zero_digest(FRAME_BYTES as u64),
            digests: Vec::new(),
            content: vec![0; FRAME_BYTES],
            pieces: PieceWindow::new(),
            zero_piece: ZeroPiece::default(),
            settled: 0,
            durable: None,
        }
    }

    /// Goes on behind what was verified before.
    pub(crate) fn behind(mut self, prefix: &Prefix) -> Self {
        for (index, digest) in prefix.digests.iter().enumerate() {
            let digest = digest.unwrap_or_else(|| self.zero(index));
            self.image.add(&digest);
            if self.is_stream() {
                self.digests.push(digest);
            }
        }
        self.settled = prefix.end;
        self
    }

    /// Tells `durable` how far it is.
    pub(crate) fn telling(mut self, durable: Option<Durable<'a>>) -> Self {
        self.durable = durable;
        self
    }

    /// Verifies until the writer says that it is done, or ends early: that is the writer's error.
    pub(crate) fn run(mut self, written: &Receiver<Written>) -> Result<(), CopyError> {
        let mut decoder = FrameDecoder::zstd()?;
        let mut settled = self.settled;
        for item in written {
            let (end, digest) = match &item {
                Written::Frame {
                    start, len, digest, ..
                } => (start + len, *digest),
                Written::Zeros { index, start, len } => (start + len, self.zero(*index)),
                Written::End => return self.finish(&mut decoder),
            };
            self.image.add(&digest);
            if self.is_stream() {
                self.digests.push(digest);
                continue;
            }
            self.wait(item);
            if end - settled >= SETTLE_BYTES {
                settled = end;
                self.check_waiting(&mut decoder, settled)?;
                if let Some(durable) = self.durable {
                    durable(settled)?;
                }
            }
        }
        Ok(())
    }

    /// Tells whether it is read back as a whole, at the end.
    const fn is_stream(&self) -> bool {
        !matches!(self.format, Format::Zstd | Format::Raw)
    }

    /// Returns the digest of a frame without used bytes.
    fn zero(&self, index: usize) -> FrameDigest {
        match self.frames.extent(index).len() {
            len if len == FRAME_BYTES as u64 => self.whole_zero,
            len => zero_digest(len),
        }
    }

    /// Keeps what was written for later; like zeros in a row are one.
    fn wait(&mut self, item: Written) {
        match item {
            Written::Frame {
                index,
                start,
                len,
                digest,
            } => {
                let piece = Extent::between(start, start + len);
                self.waiting.push(Waiting::Frame {
                    index,
                    piece,
                    digest,
                });
            }
            Written::Zeros { index, start, len } => {
                if let Some(Waiting::Zeros {
                    start: first,
                    piece_bytes,
                    count,
                    ..
                }) = self.waiting.last_mut()
                    && *piece_bytes == len
                    && *first + *piece_bytes * *count == start
                {
                    *count += 1;
                    return;
                }
                let zeros = Waiting::Zeros {
                    index,
                    start,
                    piece_bytes: len,
                    count: 1,
                };
                self.waiting.push(zeros);
            }
            Written::End => {}
        }
    }

    fn check_waiting(&mut self, decoder: &mut FrameDecoder, settled: u64) -> Result<(), CopyError> {
        let reader = self.file.settled().map_err(CopyError::Destination)?;
        let reader = &*reader;
        self.pieces.forget();
        for item in std::mem::take(&mut self.waiting) {
            if self.monitor.is_cancelled() {
                return Err(CopyError::Interrupted);
            }
            match item {
                Waiting::Frame {
                    index,
                    piece,
                    digest,
                } => {
                    let stored = Stored {
                        reader,
                        extent: piece,
                        settled,
                    };
                    self.check_frame(index, stored, digest, decoder)?;
                    self.monitor
                        .advance(Phase::Verify, self.frames.used_bytes(index));
                }
                Waiting::Zeros {
                    index,
                    start,
                    piece_bytes,
                    count,
                } if self.format == Format::Zstd => {
                    for step in 0..count {
                        let from = start + step * piece_bytes;
                        let piece = Extent::between(from, from + piece_bytes);
                        let index = index + step as usize;
                        let stored = Stored {
                            reader,
                            extent: piece,
                            settled,
                        };
                        self.check_zeros(index, stored, decoder)?;
                    }
                }
                // Holes of a raw image were never written.
                Waiting::Zeros { .. } => {}
            }
        }
        Ok(())
    }

    fn check_frame(
        &mut self,
        index: usize,
        stored: Stored<'_>,
        expected: FrameDigest,
        decoder: &mut FrameDecoder,
    ) -> Result<(), CopyError> {
        let extent = self.frames.extent(index);
        let content = &mut self.content[..extent.len() as usize];
        let decoded = if self.format == Format::Raw {
            stored
                .reader
                .read_at(extent.start(), content)
                .map_err(CopyError::Destination)?;
            // What ddrescue began holds what was free, too.
            self.frames.clear_unused(index, content);
            true
        } else {
            let bytes = stored.load(&mut self.pieces)?;
            // What can't be decoded is told as a mismatch without a digest.
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
        index: usize,
        stored: Stored<'_>,
        decoder: &mut FrameDecoder,
    ) -> Result<(), CopyError> {
        let extent = self.frames.extent(index);
        let content = &mut self.content[..extent.len() as usize];
        let bytes = stored.load(&mut self.pieces)?;
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
        self.check_waiting(decoder, u64::MAX)?;
        let reader = self.file.settled().map_err(CopyError::Destination)?;
        match self.format {
            Format::Raw => Ok(()),
            Format::Zstd => self.check_index(&*reader),
            format => {
                let mut expected = self.digests.iter().copied();
                let reader: Arc<dyn ReadAt> = Arc::from(reader);
                let frames = self.frames;
                let stream = decoded_layer(reader, format)?;
                check_stream(stream, self.monitor, &mut |index, content| {
                    let extent = frames.extent(index);
                    let expected = expected.next();
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
            Some(manifest) if manifest.image_digest() == self.image.finish() => Ok(()),
            Some(_) => wrong("its digests differ"),
            None => wrong("it is missing"),
        }
    }
}
