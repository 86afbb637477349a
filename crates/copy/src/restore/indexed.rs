//! An original with an index: a compressed image whose frames are decoded by several threads.

use std::iter::Peekable;
use std::sync::Arc;

use cardkeep_block::{BufferPool, Extent, ReadAt, Run, State};
use cardkeep_image::{FrameDecoder, FrameEntry, Index};

use crate::error::CopyError;
use crate::piece::PieceWindow;
use crate::restore::frame::Lent;
use crate::restore::in_order::{Crew, in_flight, in_order};
use crate::restore::layout::Layout;
use crate::restore::medium::{filled_frames, known_bytes};
use crate::restore::original::{Original, Take, Wanted};

/// What decoded frames of the image may take together, in bytes: images made by others have frames
/// of 24 MiB, of which two can be under way.
const DECODED_BYTES_MAX: u64 = 48 << 20;
const WORKERS_MAX: usize = 4;

/// A compressed image with an index.
pub struct IndexedOriginal<'a> {
    /// The image file.
    pub image: &'a dyn ReadAt,
    /// Where its frames lie.
    pub index: &'a Index,
    /// What of its content matters.
    pub layout: Layout<'a>,
    /// How many threads may decode.
    pub cores: usize,
}

/// One thread that decodes.
struct Worker {
    decoder: FrameDecoder,
    pieces: PieceWindow,
}

impl IndexedOriginal<'_> {
    /// Returns how many threads decode, and how many frames of the image are under way at most.
    fn crew(&self) -> (usize, usize) {
        let entries = self.index.table.entries().iter();
        let largest = entries.map(|entry| entry.content.len()).max().unwrap_or(1);
        let fitting = (DECODED_BYTES_MAX / largest.max(1)).max(1) as usize;
        let workers = self.cores.clamp(1, WORKERS_MAX).min(fitting);
        (workers, in_flight(workers).min(fitting))
    }

    /// Returns the image's frames that hold used bytes of wanted frames.
    fn entries<'b>(&'b self, wanted: Wanted<'b>) -> impl Iterator<Item = FrameEntry> + 'b {
        let mut used = filled_frames(self.layout, wanted)
            .flat_map(|index| self.layout.runs(index))
            .filter(|run| run.state == State::Used)
            .map(|run| run.extent)
            .peekable();
        let first = used.peek().map_or(u64::MAX, |extent| extent.start());
        let table = &self.index.table;
        let first = table.index_at(first).unwrap_or(usize::MAX);
        table
            .entries()
            .iter()
            .skip(first)
            .copied()
            .filter(move |entry| {
                while used
                    .next_if(|extent| extent.end() <= entry.content.start())
                    .is_some()
                {}
                used.peek()
                    .is_some_and(|extent| extent.start() < entry.content.end())
            })
    }

    fn decode(&self, worker: &mut Worker, entry: FrameEntry) -> Result<Decoded, CopyError> {
        let len = entry.content.len();
        if len > DECODED_BYTES_MAX {
            return Err(CopyError::Index(format!("it has a frame of {len} bytes")));
        }
        let bytes = worker
            .pieces
            .load(self.image, entry.compressed, u64::MAX)
            .map_err(|error| match error {
                CopyError::Destination(error) => CopyError::Source(error),
                error => error,
            })?;
        let mut content = Vec::new();
        content
            .try_reserve_exact(len as usize)
            .map_err(|_| CopyError::NoMemory { bytes: len })?;
        content.resize(len as usize, 0);
        worker
            .decoder
            .decode(bytes, &mut content)
            .and_then(|()| entry.check(&content))
            .map_err(|error| CopyError::Image(error.at(entry.compressed.start())))?;
        Ok(Decoded {
            extent: entry.content,
            content,
        })
    }
}

impl Original for IndexedOriginal<'_> {
    fn deliver(
        &self,
        wanted: Wanted<'_>,
        pool: &Arc<BufferPool>,
        take: Take<'_>,
    ) -> Result<(), CopyError> {
        let make = |_| {
            Ok(Worker {
                decoder: self.index.decoder()?,
                pieces: PieceWindow::new(),
            })
        };
        let (count, in_flight) = self.crew();
        let workers = (0..count)
            .map(make)
            .collect::<Result<Vec<_>, CopyError>>()?;
        let mut cutting = Cutting {
            layout: self.layout,
            frames: filled_frames(self.layout, wanted).peekable(),
            open: None,
            pool,
            take,
            is_over: false,
        };
        in_order(
            self.entries(wanted),
            Crew { workers, in_flight },
            |worker, entry| self.decode(worker, entry),
            |decoded| cutting.add(&decoded),
        )?;
        cutting.finish()
    }

    fn is_repeatable(&self) -> bool {
        true
    }

    fn known_bytes(&self) -> Option<u64> {
        Some(known_bytes(&self.layout))
    }

    fn frames_under_way(&self) -> usize {
        in_flight(1)
    }
}

/// A frame of the image, decoded.
struct Decoded {
    extent: Extent,
    content: Vec<u8>,
}

/// Cuts what was decoded, in pieces of the image's choice, into frames of ours.
struct Cutting<'a, I: Iterator<Item = usize>> {
    layout: Layout<'a>,
    frames: Peekable<I>,
    open: Option<OpenFrame>,
    pool: &'a Arc<BufferPool>,
    take: Take<'a>,
    /// Nobody wants any more.
    is_over: bool,
}

/// A frame that is being filled.
struct OpenFrame {
    index: usize,
    extent: Extent,
    runs: Vec<Run>,
    /// Where its last used byte ends.
    used_end: u64,
    content: Option<Lent>,
}

impl<I: Iterator<Item = usize>> Cutting<'_, I> {
    /// Takes the next piece; answers whether more are wanted.
    fn add(&mut self, decoded: &Decoded) -> Result<bool, CopyError> {
        while self.open()? {
            let Some(open) = &mut self.open else { break };
            if open.used_end > decoded.extent.start() {
                if open.extent.start() >= decoded.extent.end() {
                    break;
                }
                open.copy(decoded);
                if open.used_end > decoded.extent.end() {
                    break;
                }
            }
            self.close()?;
        }
        Ok(!self.is_over)
    }

    /// Makes sure that a frame is being filled; answers whether there is one.
    fn open(&mut self) -> Result<bool, CopyError> {
        if self.open.is_some() || self.is_over {
            return Ok(!self.is_over);
        }
        let Some(index) = self.frames.next() else {
            return Ok(false);
        };
        let runs = self.layout.runs(index);
        let used = runs.iter().rev().find(|run| run.state == State::Used);
        // What lies behind the image's end is no business of its pieces.
        let used_end = used.map_or(0, |run| run.extent.end().min(self.layout.content_len));
        let content = match used {
            None => None,
            Some(_) => match Lent::from_pool(self.pool) {
                None => {
                    self.is_over = true;
                    return Ok(false);
                }
                content => content,
            },
        };
        self.open = Some(OpenFrame {
            index,
            extent: self.layout.extent(index),
            runs,
            used_end,
            content,
        });
        Ok(true)
    }

    fn close(&mut self) -> Result<(), CopyError> {
        if let Some(open) = self.open.take() {
            let frame = self.layout.finish(open.index, open.runs, open.content)?;
            self.is_over = !(self.take)(frame)?;
        }
        Ok(())
    }

    /// All pieces were taken: what is left are frames without used bytes.
    fn finish(mut self) -> Result<(), CopyError> {
        while self.open()? {
            if self.open.as_ref().is_some_and(OpenFrame::lacks_content) {
                return Err(CopyError::Index("it ends before its content does".into()));
            }
            self.close()?;
        }
        Ok(())
    }
}

impl OpenFrame {
    /// Tells whether it should have got content by now.
    fn lacks_content(&self) -> bool {
        self.content.is_some() && self.used_end > self.extent.start()
    }

    fn copy(&mut self, decoded: &Decoded) {
        let part = self.extent.intersection(decoded.extent);
        let to = (part.start() - self.extent.start()) as usize;
        let from = (part.start() - decoded.extent.start()) as usize;
        let len = part.len() as usize;
        if let Some(content) = &mut self.content {
            content[to..to + len].copy_from_slice(&decoded.content[from..from + len]);
        }
    }
}
