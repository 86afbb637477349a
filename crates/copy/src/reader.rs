//! Reading threads: each takes the next frame that holds used bytes, in address order.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use cardkeep_block::{AlignedBuffer, BufferPool, Monitor, ReadAt};
use crossbeam_channel::{Receiver, Sender};

use crate::error::CopyError;
use crate::frames::FrameList;
use crate::job::Job;
use crate::runs::RequestCost;

/// A frame's content, read and with all unused bytes zero.
pub(crate) struct ReadFrame {
    pub(crate) index: usize,
    pub(crate) content: AlignedBuffer,
}

/// What all reading threads share.
pub(crate) struct Reading<'a> {
    source: &'a dyn ReadAt,
    pub(crate) frames: FrameList<'a>,
    pub(crate) pool: &'a BufferPool,
    pub(crate) monitor: &'a dyn Monitor,
    cost: RequestCost,
    /// The frame from which on to look for the next one to read.
    next: Mutex<usize>,
    /// Bytes that were asked of the source.
    read_bytes: AtomicU64,
}

impl<'a> Reading<'a> {
    /// Returns what reads the frames from `first` on.
    pub(crate) fn new(
        job: &'a Job<'_>,
        frames: FrameList<'a>,
        pool: &'a BufferPool,
        monitor: &'a dyn Monitor,
        first: usize,
    ) -> Self {
        Self {
            source: &*job.source,
            frames,
            pool,
            monitor,
            cost: RequestCost {
                alignment: job.source.alignment() as u64,
                read_through_bytes: job.limits.read_through_bytes,
            },
            next: Mutex::new(first),
            read_bytes: AtomicU64::new(0),
        }
    }

    /// Returns how many bytes were asked of the source.
    pub(crate) fn read_bytes(&self) -> u64 {
        self.read_bytes.load(Ordering::Relaxed)
    }

    /// Reads until no frame is left, or nobody wants them. A frame needs a place among those in
    /// flight (`permits`), which the writer gives back, and a buffer.
    pub(crate) fn run(
        &self,
        permits: &Receiver<()>,
        frames: &Sender<ReadFrame>,
    ) -> Result<(), CopyError> {
        loop {
            // ORDER: permit and buffer before index. Frames are handed out in address order to
            // those who hold both, so that the frame that the writer waits for never lacks them.
            if permits.recv().is_err() {
                return Ok(());
            }
            let Some(mut content) = self.pool.take() else {
                return Ok(());
            };
            let Some(index) = self.take_next() else {
                self.pool.give_back(content);
                return Ok(());
            };
            self.read(index, &mut content)?;
            if frames.send(ReadFrame { index, content }).is_err() {
                return Ok(());
            }
        }
    }

    fn take_next(&self) -> Option<usize> {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let index = self.frames.next_used(*next)?;
        *next = index + 1;
        Some(index)
    }

    fn read(&self, index: usize, content: &mut AlignedBuffer) -> Result<(), CopyError> {
        let start = self.frames.extent(index).start();
        for request in self.frames.requests(index, self.cost) {
            if self.monitor.is_cancelled() {
                return Err(CopyError::Interrupted);
            }
            let from = (request.start() - start) as usize;
            let target = &mut content[from..from + request.len() as usize];
            self.source
                .read_at(request.start(), target)
                .map_err(CopyError::Source)?;
            self.read_bytes.fetch_add(request.len(), Ordering::Relaxed);
        }
        self.frames.clear_unused(index, content);
        Ok(())
    }
}
