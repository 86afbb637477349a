//! Threads that digest and compress: frames in, pieces out, in any order.

use cardkeep_block::{AlignedBuffer, BufferPool};
use cardkeep_image::{FrameDigest, FrameEncoder, PieceInfo};
use crossbeam_channel::{Receiver, Sender};

use crate::error::CopyError;
use crate::frames::FrameList;
use crate::reader::ReadFrame;

/// What goes from workers to the writer.
pub(crate) struct Piece {
    pub(crate) bytes: PieceBytes,
    pub(crate) digest: FrameDigest,
}

/// A frame as it goes into the output.
pub(crate) enum PieceBytes {
    /// Compressed, with what the container wants to know of it.
    Encoded(Vec<u8>, PieceInfo),
    /// As it was read.
    Raw(AlignedBuffer),
}

/// One thread that digests and compresses.
pub(crate) struct Worker<'a> {
    pub(crate) encoder: Option<Box<dyn FrameEncoder>>,
    pub(crate) frames: FrameList<'a>,
    pub(crate) pool: &'a BufferPool,
    /// Buffers of pieces that were written: to be filled again.
    pub(crate) spent: Receiver<Vec<u8>>,
}

impl Worker<'_> {
    /// Works until no more frames come, or nobody wants the pieces.
    pub(crate) fn run(
        mut self,
        frames: &Receiver<ReadFrame>,
        pieces: &Sender<(usize, Piece)>,
    ) -> Result<(), CopyError> {
        for frame in frames {
            let len = self.frames.extent(frame.index).len() as usize;
            let digest = FrameDigest::of(&frame.content[..len]);
            let bytes = match &mut self.encoder {
                None => PieceBytes::Raw(frame.content),
                Some(encoder) => {
                    // None was given back yet: a new one.
                    let mut piece = self.spent.try_recv().unwrap_or_default();
                    let info = encoder.encode(&frame.content[..len], &mut piece)?;
                    self.pool.give_back(frame.content);
                    PieceBytes::Encoded(piece, info)
                }
            };
            if pieces.send((frame.index, Piece { bytes, digest })).is_err() {
                break;
            }
        }
        Ok(())
    }
}
