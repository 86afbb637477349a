//! The pipeline itself: threads, channels, and what ends them.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use cardkeep_block::{AlignedBuffer, AllocationMap, BufferPool, Monitor, Phase, ReadAt};
use cardkeep_image::{
    Container, EncodeOptions, FRAME_BYTES, Format, FrameDigest, FrameEncoder, Manifest, PieceInfo,
};
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

use crate::destination::Output;
use crate::error::CopyError;
use crate::frames::FrameList;
use crate::limits::Limits;
use crate::outcome::{Outcome, image_digest};
use crate::reader::{ReadFrame, Reading};
use crate::sink::Sink;
use crate::verifier::{Verifier, Written};

/// Whether the destination is read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verify {
    /// Every used byte, past the cache, while the copy goes on.
    ReadBack,
    /// Not at all.
    Never,
}

/// What to copy and how.
pub struct Job<'a> {
    /// The medium.
    pub source: &'a dyn ReadAt,
    /// Which of its bytes matter.
    pub map: &'a AllocationMap,
    /// The container to make.
    pub format: Format,
    /// How to make it.
    pub options: EncodeOptions,
    /// Whether to read it back.
    pub verify: Verify,
    /// The sizes of the pipeline.
    pub limits: Limits,
}

/// What goes from workers to the writer.
struct Piece {
    bytes: PieceBytes,
    digest: FrameDigest,
}

enum PieceBytes {
    Encoded(Vec<u8>, PieceInfo),
    Raw(AlignedBuffer),
}

/// Copies. `manifest_of` makes the image's manifest out of the digests of all frames.
///
/// # Errors
/// [`CopyError`]; the destination then holds an unknown part of the image.
pub fn copy(
    job: &Job<'_>,
    mut output: Output<'_>,
    manifest_of: &dyn Fn(Vec<Option<FrameDigest>>) -> Manifest,
    monitor: &dyn Monitor,
) -> Result<Outcome, CopyError> {
    let frames = FrameList::new(job.map);
    let used_bytes = (0..frames.count())
        .map(|index| frames.used_bytes(index))
        .sum();
    monitor.phase(Phase::Copy, Some(used_bytes));
    let stored = match (&output, job.verify) {
        (Output::Stored(file), Verify::ReadBack) => Some(*file),
        _ => None,
    };
    if stored.is_some() {
        monitor.phase(Phase::Verify, Some(used_bytes));
    }
    let pool = BufferPool::new(job.limits.buffer_count(), FRAME_BYTES);
    let reading = Reading {
        source: job.source,
        frames,
        pool: &pool,
        read_through_bytes: job.limits.read_through_bytes,
        monitor,
        next: Mutex::new(0),
        read_bytes: Mutex::new(0),
    };
    let container = match job.format {
        Format::Raw => None,
        format => Some(Container::new(format, &job.options)?),
    };
    let (spent_sender, spent) = unbounded::<Vec<u8>>();
    let make_worker = |_| -> Result<Worker<'_>, CopyError> {
        let encoder = container.as_ref().map(Container::encoder).transpose()?;
        Ok(Worker {
            encoder,
            frames,
            pool: &pool,
            spent: spent.clone(),
        })
    };
    let workers = (0..job.limits.workers)
        .map(make_worker)
        .collect::<Result<Vec<_>, _>>()?;
    let (permit_sender, permits) = bounded(job.limits.frames_in_flight());
    for _ in 0..job.limits.frames_in_flight() {
        // The channel has just this many places, and its receiver is alive.
        permit_sender
            .send(())
            .map_err(|_| CopyError::Internal("no reader"))?;
    }
    let first_failure = Failure::default();
    let written = std::thread::scope(|scope| {
        let (frame_sender, frame_receiver) = bounded::<ReadFrame>(job.limits.buffer_count());
        let (piece_sender, piece_receiver) = unbounded::<(usize, Piece)>();
        for _ in 0..job.limits.readers {
            let (permits, sender) = (permits.clone(), frame_sender.clone());
            let (reading, first_failure) = (&reading, &first_failure);
            scope.spawn(move || first_failure.keep(reading.run(&permits, &sender), reading.pool));
        }
        drop(frame_sender);
        for worker in workers {
            let (receiver, sender) = (frame_receiver.clone(), piece_sender.clone());
            let first_failure = &first_failure;
            scope.spawn(move || {
                let pool = worker.pool;
                first_failure.keep(worker.run(&receiver, &sender), pool);
            });
        }
        drop((frame_receiver, piece_sender));
        let verifier = stored.map(|file| {
            let (sender, receiver) = unbounded::<Written>();
            let verifier = Verifier::new(file, frames, job.format, monitor);
            (sender, scope.spawn(move || verifier.run(&receiver)))
        });
        let (verify, verifier) = verifier.unzip();
        let writer = Writer {
            frames,
            container,
            sink: Sink::new(&mut output, 0),
            pool: &pool,
            pieces: piece_receiver,
            waiting: BTreeMap::new(),
            permits: permit_sender,
            spent: spent_sender,
            verify,
            digests: Vec::new(),
            monitor,
        };
        // The writer takes its ends of the channels with it, which ends all who wait for it.
        let written = writer.run(manifest_of);
        pool.close();
        // Why the verifier failed says more than that it did, which is all the writer knows.
        if let Some(thread) = verifier {
            thread
                .join()
                .unwrap_or(Err(CopyError::Internal("the verifier died")))?;
        }
        written
    });
    let written = match (written, first_failure.take()) {
        (_, Some(failure)) => return Err(failure),
        (written, None) => written?,
    };
    let read_bytes = *reading
        .read_bytes
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    Ok(Outcome {
        used_bytes,
        read_bytes,
        written_bytes: written.bytes,
        is_verified: stored.is_some(),
        image_digest: image_digest(&frames, &written.digests),
        frames: written.digests,
    })
}

/// The first error of any thread: later ones only follow from it.
#[derive(Default)]
struct Failure(Mutex<Option<CopyError>>);

impl Failure {
    fn keep(&self, result: Result<(), CopyError>, pool: &BufferPool) {
        if let Err(error) = result {
            let mut first = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            first.get_or_insert(error);
            pool.close();
        }
    }

    fn take(&self) -> Option<CopyError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// One thread that digests and compresses.
struct Worker<'a> {
    encoder: Option<Box<dyn FrameEncoder>>,
    frames: FrameList<'a>,
    pool: &'a BufferPool,
    /// Buffers of pieces that were written: to be filled again.
    spent: Receiver<Vec<u8>>,
}

impl Worker<'_> {
    fn run(
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

/// The calling thread: puts pieces in order and writes them.
struct Writer<'a, 'o> {
    frames: FrameList<'a>,
    container: Option<Container>,
    sink: Sink<'a, 'o>,
    pool: &'a BufferPool,
    pieces: Receiver<(usize, Piece)>,
    waiting: BTreeMap<usize, Piece>,
    permits: Sender<()>,
    spent: Sender<Vec<u8>>,
    verify: Option<Sender<Written>>,
    digests: Vec<Option<FrameDigest>>,
    monitor: &'a dyn Monitor,
}

/// What the writer leaves behind.
struct WriterDone {
    bytes: u64,
    digests: Vec<Option<FrameDigest>>,
}

impl Writer<'_, '_> {
    fn run(
        mut self,
        manifest_of: &dyn Fn(Vec<Option<FrameDigest>>) -> Manifest,
    ) -> Result<WriterDone, CopyError> {
        if let Some(container) = &self.container {
            let prologue = container.prologue();
            self.sink.append(&prologue)?;
        }
        let count = self.frames.count();
        let mut zero: Option<(Vec<u8>, PieceInfo)> = None;
        for index in 0..count {
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
        let manifest = self
            .container
            .is_some()
            .then(|| manifest_of(self.digests.clone()));
        if let (Some(container), Some(manifest)) = (&mut self.container, &manifest) {
            let epilogue = container.epilogue(manifest)?;
            self.sink.append(&epilogue)?;
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
