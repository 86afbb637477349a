//! What an interrupted backup left of a zstd image: whole frames, to go on behind.

use cardkeep_block::{AllocationMap, ReadAt, RescueMap, RescueRun, RescueStatus, State};
use cardkeep_image::{
    Container, FRAME_BYTES, Format, FrameDecoder, FrameDigest, ScannedPiece, scan_pieces,
};

use crate::error::CopyError;
use crate::frames::FrameList;
use crate::piece::PieceWindow;

/// The whole frames that an unfinished image begins with, each decoded and found right.
#[derive(Clone, Debug, Default)]
pub struct Prefix {
    /// The digest of each frame; `None` for frames without a used byte.
    pub(crate) digests: Vec<Option<FrameDigest>>,
    pieces: Vec<ScannedPiece>,
    /// Where the last of them ends in the file.
    pub(crate) end: u64,
}

impl Prefix {
    /// Finds out what of the image in `file` is whole. Frames must be cut as `frames` says, and
    /// their checksums right: power may have failed while the last of them were written. Nothing is in
    /// formats whose frames have no checksums.
    ///
    /// # Errors
    /// [`CopyError::Destination`] where the file can't be read.
    pub fn load(
        file: &dyn ReadAt,
        frames: &FrameList<'_>,
        format: Format,
    ) -> Result<Self, CopyError> {
        let mut prefix = Self::default();
        let mut decoder = FrameDecoder::of_pieces(format)?;
        let mut window = PieceWindow::new();
        let mut content = vec![0; FRAME_BYTES];
        for (index, scanned) in scan_pieces(&file, format, frames.count())?
            .into_iter()
            .enumerate()
        {
            let entry = &scanned.entry;
            let extent = frames.extent(index);
            if extent.is_empty() || entry.content != extent {
                break;
            }
            // OK to cast: at most a frame.
            let content = &mut content[..extent.len() as usize];
            let Ok(piece) = window.load(file, entry.compressed, file.len()) else {
                break;
            };
            if decoder.decode(piece, content).is_err() || entry.check(content).is_err() {
                break;
            }
            let is_used = frames.used(index).next().is_some();
            if !is_used && content.iter().any(|&byte| byte != 0) {
                break;
            }
            prefix
                .digests
                .push(is_used.then(|| FrameDigest::of(content)));
            prefix.end = entry.compressed.end();
            prefix.pieces.push(scanned);
        }
        Ok(prefix)
    }

    /// Leaves out what comes from the first frame on of which the store holds anything, or failed
    /// to get it: such frames are made of the store, and may have been made when it held less.
    #[must_use]
    pub fn before_rescued(mut self, map: &RescueMap, wanted: &AllocationMap) -> Self {
        let is_wanted = |run: &RescueRun| {
            let mut runs = wanted.runs_in(run.extent);
            runs.any(|run| run.state == State::Used)
        };
        let mut runs = map
            .runs()
            .filter(|run| run.status != RescueStatus::NonTried);
        let Some(rescued) = runs.find(is_wanted) else {
            return self;
        };
        let mut parts = wanted.runs_in(rescued.extent);
        let first = parts.find(|run| run.state == State::Used);
        let first = first.map_or(rescued.extent, |run| run.extent);
        // OK to cast: the index of a frame.
        let count = (first.start() / FRAME_BYTES as u64) as usize;
        if count < self.digests.len() {
            self.digests.truncate(count);
            self.pieces.truncate(count);
            self.end = self
                .pieces
                .last()
                .map_or(0, |piece| piece.entry.compressed.end());
        }
        self
    }

    /// Returns the number of frames.
    #[must_use]
    pub fn frame_count(&self) -> usize {
        self.digests.len()
    }

    /// Returns how many bytes of the file they take.
    #[must_use]
    pub const fn stored_bytes(&self) -> u64 {
        self.end
    }

    /// Returns up to where on the medium the frames reach.
    pub(crate) fn content_end(&self) -> u64 {
        self.pieces
            .last()
            .map_or(0, |piece| piece.entry.content.end())
    }

    /// Takes the frames down in a container's books.
    pub(crate) fn enter_into(&self, container: &mut Container) -> Result<(), CopyError> {
        for piece in &self.pieces {
            container.adopt(piece)?;
        }
        Ok(())
    }
}
