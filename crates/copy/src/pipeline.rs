//! The pipeline itself: threads, channels, and what ends them.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use cardkeep_block::{BufferPool, Monitor, Phase};
use cardkeep_image::{Container, FRAME_BYTES, Format};
use crossbeam_channel::{Receiver, bounded, unbounded};

use crate::destination::Output;
use crate::error::CopyError;
use crate::frames::FrameList;
use crate::job::{Job, ManifestOf, Verify};
use crate::outcome::{Outcome, image_digest};
use crate::prefix::Prefix;
use crate::reader::{ReadFrame, Reading};
use crate::sink::Sink;
use crate::verifier::{Durable, Verifier};
use crate::worker::Worker;
use crate::writer::{Writer, WriterDone};

/// Copies. `manifest_of` is called once, when all frames are written.
///
/// # Errors
/// [`CopyError`]; the destination then holds an unknown part of the image.
pub fn copy(
    job: &Job<'_>,
    output: Output<'_>,
    manifest_of: ManifestOf<'_>,
    monitor: &dyn Monitor,
) -> Result<Outcome, CopyError> {
    copy_behind(job, &Start::default(), output, manifest_of, monitor)
}

/// Where a copy starts, and who hears how far it is.
#[derive(Default)]
pub(crate) struct Start<'a> {
    /// What the output holds already.
    pub(crate) prefix: Prefix,
    /// Hears how much of a raw image is durable, where it is read back.
    pub(crate) durable: Option<Durable<'a>>,
}

/// Does the work of [`copy`] from a start on.
pub(crate) fn copy_behind(
    job: &Job<'_>,
    start: &Start<'_>,
    mut output: Output<'_>,
    manifest_of: ManifestOf<'_>,
    monitor: &dyn Monitor,
) -> Result<Outcome, CopyError> {
    let frames = FrameList::new(&job.map);
    let first = start.prefix.digests.len();
    let used_in = |range: std::ops::Range<usize>| -> u64 {
        range.map(|index| frames.used_bytes(index)).sum()
    };
    let used_bytes = used_in(0..frames.count());
    let left_bytes = used_in(first..frames.count());
    monitor.phase(Phase::Copy, Some(left_bytes));
    let stored = match (&output, job.verify) {
        (Output::Stored(file), Verify::ReadBack) => Some(*file),
        _ => None,
    };
    if stored.is_some() {
        // A stream is read back from its beginning.
        let is_stream = !matches!(job.format, Format::Raw | Format::Zstd);
        let bytes = if is_stream { used_bytes } else { left_bytes };
        monitor.phase(Phase::Verify, Some(bytes));
    }
    if let (Output::Stored(file), Format::Raw) = (&output, job.format) {
        // ORDER: length before content. The verifier reads whole frames while the writer is busy
        // behind them, and a frame that ends in a hole would end past the file's end.
        file.set_len(job.map.len())
            .map_err(CopyError::Destination)?;
    }
    let pool = BufferPool::new(job.limits.buffer_count(), FRAME_BYTES);
    let reading = Reading::new(job, frames, &pool, monitor, first);
    let verifier = stored.map(|file| {
        let verifier = Verifier::new(file, frames, job.format, monitor);
        verifier.behind(&start.prefix).telling(start.durable)
    });
    let crew = Crew {
        reading: &reading,
        verifier,
        failure: &Failure::default(),
        prefix: &start.prefix,
    };
    let sink = Sink::new(&mut output, start.prefix.end);
    let written = crew.work(job, sink, manifest_of)?;
    Ok(Outcome {
        used_bytes,
        read_bytes: reading.read_bytes(),
        written_bytes: written.bytes,
        is_verified: stored.is_some(),
        image_digest: image_digest(&frames, &written.digests),
        frames: written.digests,
    })
}

/// All who work on one copy.
struct Crew<'a> {
    reading: &'a Reading<'a>,
    verifier: Option<Verifier<'a>>,
    failure: &'a Failure,
    prefix: &'a Prefix,
}

impl<'a> Crew<'a> {
    /// Returns the container with what is in the output already; a raw image has none.
    fn container(&self, job: &Job<'_>) -> Result<Option<Container>, CopyError> {
        if job.format == Format::Raw {
            return Ok(None);
        }
        let mut container = Container::new(job.format, &job.options)?;
        self.prefix.enter_into(&mut container)?;
        Ok(Some(container))
    }

    /// Starts all threads, writes, and waits for all to end.
    fn work(
        self,
        job: &Job<'_>,
        sink: Sink<'_, '_>,
        manifest_of: ManifestOf<'_>,
    ) -> Result<WriterDone, CopyError> {
        let (reading, failure) = (self.reading, self.failure);
        let (frames, pool) = (reading.frames, reading.pool);
        let container = self.container(job)?;
        let (spent_sender, spent) = unbounded::<Vec<u8>>();
        let workers = workers(job, container.as_ref(), reading, &spent)?;
        let (permit_sender, permits) = bounded(job.limits.frames_in_flight());
        for _ in 0..job.limits.frames_in_flight() {
            // The channel has just this many places, and its receiver is alive.
            permit_sender
                .send(())
                .map_err(|_| CopyError::Internal("no reader"))?;
        }
        let (frame_sender, frame_receiver) = bounded::<ReadFrame>(job.limits.buffer_count());
        let (piece_sender, pieces) = unbounded();
        let written = std::thread::scope(|scope| {
            for _ in 0..job.limits.readers {
                let (permits, sender) = (permits.clone(), frame_sender.clone());
                scope.spawn(move || failure.keep(reading.run(&permits, &sender), pool));
            }
            drop(frame_sender);
            for worker in workers {
                let (receiver, sender) = (frame_receiver.clone(), piece_sender.clone());
                scope.spawn(move || failure.keep(worker.run(&receiver, &sender), pool));
            }
            drop((frame_receiver, piece_sender));
            let verifier = self.verifier.map(|verifier| {
                let (sender, receiver) = unbounded();
                (sender, scope.spawn(move || verifier.run(&receiver)))
            });
            let (verify, verifier) = verifier.unzip();
            let writer = Writer {
                frames,
                container,
                sink,
                pool,
                pieces,
                waiting: BTreeMap::new(),
                permits: permit_sender,
                spent: spent_sender,
                verify,
                digests: self.prefix.digests.clone(),
                monitor: reading.monitor,
                first: self.prefix.digests.len(),
            };
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
        match failure.take() {
            Some(failure) => Err(failure),
            None => written,
        }
    }
}

fn workers<'a>(
    job: &Job<'_>,
    container: Option<&Container>,
    reading: &Reading<'a>,
    spent: &Receiver<Vec<u8>>,
) -> Result<Vec<Worker<'a>>, CopyError> {
    let make = |_| {
        let encoder = container.map(Container::encoder).transpose()?;
        Ok(Worker {
            encoder,
            frames: reading.frames,
            pool: reading.pool,
            spent: spent.clone(),
        })
    };
    (0..job.limits.workers).map(make).collect()
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
