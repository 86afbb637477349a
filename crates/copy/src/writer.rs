//! The writer: puts pieces in address order, and writes them. Runs on the calling thread.

use std::collections::BTreeMap;

use cardkeep_block::{BufferPool, Monitor, Phase};
use cardkeep_image::{Container, FrameDigest, PieceInfo};
use crossbeam_channel::{Receiver, Sender};

use crate::error::CopyError;
use crate::frames::FrameList;
use crate::job::ManifestOf;
use crate::sink::Sink;
use crate::verifier::Written;
use crate::worker::{Piece, PieceBytes};

/// What the writer works with; it takes its ends of all channels with it when it is done.
pub(crate) struct Writer<'a, 'o> {
    pub(crate) frames: FrameList<'a>,
    pub(crate) container: Option<Container>,
    pub(crate) sink: Sink<'a, 'o>,
    pub(crate) pool: &'a BufferPool,
    pub(crate) pieces: Receiver<(usize, Piece)>,
    pub(crate) waiting: BTreeMap<usize, Piece>,
    pub(crate) permits: Sender<()>,
    pub(crate) spent: Sender<Vec<u8>>,
    pub(crate) verify: Option<Sender<Written>>,
    pub(crate) digests: Vec<Option<FrameDigest>>,
    pub(crate) monitor: &'a dyn Monitor,
    /// The first frame to write; those before it are in the output.
    pub(crate) first: usize,
}

/// What the writer leaves behind.
pub(crate) struct WriterDone {
    pub(crate) bytes: u64,
    pub(crate) digests: Vec<Option<FrameDigest>>,
}

impl Writer<'_, '_> {
    /// Writes all frames in address order, then what only the end can tell.
    pub(crate) fn run(mut self, manifest_of: ManifestOf<'_>) -> Result<WriterDone, CopyError> {
        if let Some(container) = self.container.as_ref().filter(|_| self.first == 0) {
            let prologue = container.prologue();
            self.sink.append(&prologue)?;
        }
        let count = self.frames.count();
        let mut zero: Option<(Vec<u8>, PieceInfo)> = None;
        for index in self.first..count {
            if self.monitor.is_cancelled() {
                return Err(CopyError::Interrupted);
            }
            if self.frames.next_used(index) == Some(index) {
                let piece = self.wait_for(index)?;
                self.write_piece(index, piece)?;
            } else {
                let len = self.frames.extent(index).len() as usize;
                if zero
                    .as_ref()
                    .is_none_or(|(_, info)| info.content_len() != len)
                {
                    zero = self
                        .container
                        .as_ref()
                        .map(|c| c.zero_piece(len))
                        .transpose()?;
                }
                self.write_zero(index, len, zero.as_ref())?;
            }
        }
        // What follows needs memory that grows with the card; the frames' is free for it now.
        self.pool.close();
        if let Some(mut container) = self.container.take() {
            // Lent to the manifest and taken back: on a large card a copy is megabytes.
            let manifest = manifest_of(std::mem::take(&mut self.digests));
            self.sink.append(&container.epilogue(&manifest)?)?;
            self.digests = manifest.frames;
        }
        self.sink.finish()?;
        self.tell(Written::End)?;
        Ok(WriterDone {
            bytes: self.sink.written_bytes(),
            digests: self.digests,
        })
    }

    fn wait_for(&mut self, index: usize) -> Result<Piece, CopyError> {
        loop {
            if let Some(piece) = self.waiting.remove(&index) {
                return Ok(piece);
            }
            // All senders gone: a thread failed, and its error counts, not this one.
            let Ok((arrived, piece)) = self.pieces.recv() else {
                return Err(CopyError::Internal("the readers ended early"));
            };
            self.waiting.insert(arrived, piece);
        }
    }

    fn write_piece(&mut self, index: usize, piece: Piece) -> Result<(), CopyError> {
        let start = self.sink.position();
        match piece.bytes {
            PieceBytes::Raw(content) => {
                self.sink.append_raw(&self.frames, index, &content)?;
                self.pool.give_back(content);
            }
            PieceBytes::Encoded(bytes, info) => {
                if let Some(container) = &mut self.container {
                    container.add(&bytes, &info)?;
                }
                self.sink.append(&bytes)?;
                // Nobody may be left to fill it again.
                drop(self.spent.send(bytes));
            }
        }
        let len = self.sink.position() - start;
        self.tell(Written::Frame {
            index,
            start,
            len,
            digest: piece.digest,
        })?;
        self.digests.push(Some(piece.digest));
        self.monitor
            .advance(Phase::Copy, self.frames.used_bytes(index));
        // The readers may have ended: then nobody needs the permit, and the channel says so.
        self.permits.send(()).or(Ok(()))
    }

    fn write_zero(
        &mut self,
        index: usize,
        len: usize,
        zero: Option<&(Vec<u8>, PieceInfo)>,
    ) -> Result<(), CopyError> {
        let start = self.sink.position();
        match (&mut self.container, zero) {
            (Some(container), Some((bytes, info))) => {
                container.add(bytes, info)?;
                self.sink.append(bytes)?;
            }
            _ => self.sink.skip(len as u64)?,
        }
        let len = self.sink.position() - start;
        self.tell(Written::Zeros { index, start, len })?;
        self.digests.push(None);
        Ok(())
    }

    fn tell(&self, written: Written) -> Result<(), CopyError> {
        match &self.verify {
            // The verifier ends early only with an error of its own, which counts, not this one.
            Some(verify) => verify
                .send(written)
                .map_err(|_| CopyError::Internal("no verifier")),
            None => Ok(()),
        }
    }
}
