//! The verifier: reads back what the writer wrote, some way behind it.

use std::sync::Arc;

use cardkeep_block::{AlignedBuffer, Extent, Monitor, Phase, ReadAt};
use cardkeep_image::{FRAME_BYTES, Format, FrameDecoder, FrameDigest, load_index, zero_digest};
use crossbeam_channel::Receiver;

use crate::check::check_stream;
use crate::destination::Destination;
use crate::error::CopyError;
use crate::frames::FrameList;
use crate::piece::{ZeroPiece, load_piece};

/// So much is written before it is made durable and read back: flushes cost time, what is left at
/// the end is waited for, and progress is seen in steps of this.
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
