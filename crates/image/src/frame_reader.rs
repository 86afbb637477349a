//! The content of a compressed image seen as a medium.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use cardkeep_block::{BlockError, BlockErrorKind, Extent, Operation, ReadAt};

use crate::error::UnsupportedKind;
use crate::index::FRAME_FILE_BYTES_MAX;
use crate::{Error, FrameDecoder, Index};

/// Enough for a filesystem's metadata in one place and a file's data in another.
const FRAMES_KEPT_MAX: usize = 4;
/// Fewer large frames are kept, one at the least.
const KEPT_BYTES_MAX: u64 = 32 << 20;

/// Random access to the content of an image with an index: frames are decoded when they are
/// asked for, and the last few are kept.
pub struct FrameReader<M> {
    medium: M,
    index: Index,
    frames_kept_max: usize,
    state: Mutex<Kept>,
}

struct Kept {
    decoder: FrameDecoder,
    /// Frames by index, the one used last in front.
    frames: VecDeque<(usize, Arc<Vec<u8>>)>,
}

impl<M: ReadAt> FrameReader<M> {
    /// Returns the content of the image on `medium`, whose index is `index`.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where a frame is so large that keeping some would take too much
    /// memory.
    pub fn new(medium: M, index: Index) -> Result<Self, Error> {
        let lens = index.table.entries().iter();
        let largest = lens.map(|e| e.content.len().max(e.compressed.len())).max();
        let largest = largest.unwrap_or(1);
        if largest > FRAME_FILE_BYTES_MAX {
            return Err(Error::unsupported(UnsupportedKind::FrameBytes(largest)));
        }
        // OK to cast: at most FRAMES_KEPT_MAX.
        let frames_kept_max = (KEPT_BYTES_MAX / largest).clamp(1, FRAMES_KEPT_MAX as u64) as usize;
        let decoder = index.decoder()?;
        Ok(Self {
            medium,
            index,
            frames_kept_max,
            state: Mutex::new(Kept {
                decoder,
                frames: VecDeque::new(),
            }),
        })
    }

    /// Returns the image's index.
    #[must_use]
    pub const fn index(&self) -> &Index {
        &self.index
    }

    /// Gives back the memory of the frames that were kept.
    pub fn forget(&self) {
        let mut kept = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        kept.frames = VecDeque::new();
    }

    /// Returns the content of the frame with this 0-based index.
    ///
    /// # Errors
    /// [`Error::Io`] where the image can't be read, [`Error::Corrupt`] at the frame's offset
    /// where it is damaged.
    fn frame(&self, index: usize) -> Result<Arc<Vec<u8>>, Error> {
        let mut kept = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(position) = kept.frames.iter().position(|(own, _)| *own == index)
            && let Some(found) = kept.frames.remove(position)
        {
            let content = Arc::clone(&found.1);
            kept.frames.push_front(found);
            return Ok(content);
        }
        let entry = self.index.table.entries()[index];
        // OK to cast: `new` refused longer frames than FRAME_FILE_BYTES_MAX.
        let (file_len, len) = (
            entry.compressed.len() as usize,
            entry.content.len() as usize,
        );
        let compressed = self.medium.read_vec(entry.compressed.start(), file_len)?;
        // The oldest goes first, so that no more than the promised number exists at once.
        kept.frames.truncate(self.frames_kept_max - 1);
        let mut content = vec![0; len];
        kept.decoder
            .decode(&compressed, &mut content)
            .and_then(|()| entry.check(&content))
            .map_err(|error| error.at(entry.compressed.start()))?;
        let content = Arc::new(content);
        kept.frames.push_front((index, Arc::clone(&content)));
        Ok(content)
    }
}

impl<M: ReadAt> ReadAt for FrameReader<M> {
    fn len(&self) -> u64 {
        self.index.table.content_len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), BlockError> {
        let wanted = self.bounded(offset, buffer.len())?;
        let first = self.index.table.index_at(offset).unwrap_or(usize::MAX);
        let entries = self.index.table.entries().iter().enumerate().skip(first);
        for (index, entry) in entries.take_while(|(_, e)| e.content.start() < wanted.end()) {
            let part = entry.content.intersection(wanted);
            let frame = self
                .frame(index)
                .map_err(|error| block_error(error, part))?;
            // OK to cast: all are offsets within a frame or a buffer in memory.
            let within = (part.start() - entry.content.start()) as usize;
            let done = (part.start() - offset) as usize;
            let len = part.len() as usize;
            buffer[done..done + len].copy_from_slice(&frame[within..within + len]);
        }
        Ok(())
    }
}

/// Returns the error of a medium whose bytes at `extent` can't be had because of `error`.
fn block_error(error: Error, extent: Extent) -> BlockError {
    BlockError::new(BlockErrorKind::Io, Operation::Read)
        .at(extent)
        .caused_by(error)
}

impl<M> fmt::Debug for FrameReader<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrameReader").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::{FRAMES_KEPT_MAX, FrameReader};
    use crate::seek_table::SeekTableBuilder;
    use crate::{Error, frame_table::content_checksum, load_index};
    use cardkeep_block::{MemoryMedium, ReadAt};

    /// An image of frames of 1000 bytes: the first holds zeros, the next ones, and so on.
    fn image(frames_count: u8) -> Vec<u8> {
        let mut table = SeekTableBuilder::default();
        let mut file = Vec::new();
        for value in 0..frames_count {
            let content = [value; 1000];
            let frame = zstd::bulk::compress(&content, 1).unwrap();
            table
                .add(frame.len(), 1000, content_checksum(&content))
                .unwrap();
            file.extend(frame);
        }
        file.extend(table.encode());
        file
    }

    #[test]
    fn no_more_frames_are_kept_than_promised() {
        let medium = MemoryMedium::from_bytes(&image(20));
        let index = load_index(&medium).unwrap().unwrap();
        let reader = FrameReader::new(&medium, index).unwrap();
        for value in (0..20).chain([3, 19, 3]) {
            let content = reader.read_vec(u64::from(value) * 1000, 1000).unwrap();
            assert_eq!(content, [value; 1000]);
            assert!(reader.state.lock().unwrap().frames.len() <= FRAMES_KEPT_MAX);
        }
        let kept = reader.state.lock().unwrap();
        let indexes: Vec<usize> = kept.frames.iter().map(|(index, _)| *index).collect();
        assert_eq!(indexes, [3, 19, 18, 17]);
        drop(kept);
        reader.forget();
        assert!(reader.state.lock().unwrap().frames.is_empty());
    }

    #[test]
    fn frames_larger_than_memory_should_hold_are_refused() {
        let mut table = SeekTableBuilder::default();
        table.add(4, 1 << 30, 0).unwrap();
        let mut file = vec![0x28, 0xb5, 0x2f, 0xfd];
        file.extend(table.encode());
        let medium = MemoryMedium::from_bytes(&file);
        let index = load_index(&medium).unwrap().unwrap();
        let error = FrameReader::new(&medium, index).unwrap_err();
        assert!(matches!(error, Error::Unsupported(_)), "{error}");
    }
}
