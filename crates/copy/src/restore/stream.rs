//! An original that can only be read from its beginning on: gzip, bzip2, zip, a pipe.

use std::io::{ErrorKind, Read};
use std::sync::Arc;

use cardkeep_block::{BlockError, BufferPool, Extent, Operation, Run, State};
use cardkeep_image::{Error as ImageError, FRAME_BYTES};
use crossbeam_channel::{Receiver, Sender, bounded};

use crate::error::CopyError;
use crate::restore::frame::Lent;
use crate::restore::layout::Layout;
use crate::restore::medium::known_bytes;
use crate::restore::original::{Original, Take, Wanted};
use crate::sequential::read_frame;

/// Opens the content's stream at its beginning.
pub type OpenStream<'a> = &'a (dyn Fn() -> Result<Box<dyn Read + Send>, CopyError> + Sync);

/// Frames decoded ahead.
const AHEAD: usize = 2;

/// A stream of content.
pub struct StreamOriginal<'a> {
    /// Opens the stream; once only where it is not repeatable.
    pub open: OpenStream<'a>,
    /// Whether it can be opened again.
    pub is_repeatable: bool,
    /// What of its content matters.
    pub layout: Layout<'a>,
}

impl Original for StreamOriginal<'_> {
    fn deliver(
        &self,
        wanted: Wanted<'_>,
        pool: &Arc<BufferPool>,
        take: Take<'_>,
    ) -> Result<(), CopyError> {
        let stream = (self.open)()?;
        let count = self.layout.count();
        let last = wanted.last().map_or(count, |last| count.min(last + 1));
        let (sender, decoded) = bounded(AHEAD);
        std::thread::scope(|scope| {
            scope.spawn(|| decode(stream, self.layout, last, (pool, sender)));
            self.hand_on(wanted, &decoded, take)
        })
    }

    fn is_repeatable(&self) -> bool {
        self.is_repeatable
    }

    fn known_bytes(&self) -> Option<u64> {
        Some(known_bytes(&self.layout))
    }

    fn frames_under_way(&self) -> usize {
        AHEAD + 3
    }
}

impl StreamOriginal<'_> {
    fn hand_on(
        &self,
        wanted: Wanted<'_>,
        decoded: &Receiver<Result<Decoded, CopyError>>,
        take: Take<'_>,
    ) -> Result<(), CopyError> {
        for item in decoded {
            let Decoded { index, content } = item?;
            let runs = self.runs(index, &content);
            if !wanted.holds(index) || runs.iter().all(|run| run.state == State::Free) {
                continue;
            }
            let content = runs
                .iter()
                .any(|run| run.state == State::Used)
                .then_some(content);
            if !take(self.layout.finish(index, runs, content)?)? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Returns a frame's runs; what would be used and is wholly zero is as good as told so.
    fn runs(&self, index: usize, content: &[u8]) -> Vec<Run> {
        let extent = self.layout.extent(index);
        let runs = self.layout.runs(index);
        let is_patched = self.layout.patches.touch(extent);
        let all_used = runs.iter().all(|run| run.state == State::Used);
        if all_used && !is_patched && is_zero(&content[..extent.len() as usize]) {
            return vec![Run::new(extent, State::Zero)];
        }
        runs
    }
}

fn is_zero(bytes: &[u8]) -> bool {
    static ZEROS: [u8; 4096] = [0; 4096];
    let mut pieces = bytes.chunks(ZEROS.len());
    pieces.all(|piece| piece == &ZEROS[..piece.len()])
}

/// A frame's bytes, as they came.
struct Decoded {
    index: usize,
    content: Lent,
}

type Results = Sender<Result<Decoded, CopyError>>;

/// Decodes up to the frame `last`, which is not wanted any more, or until nobody listens.
fn decode(
    mut stream: Box<dyn Read + Send>,
    layout: Layout<'_>,
    last: usize,
    (pool, results): (&Arc<BufferPool>, Results),
) {
    for index in 0..last {
        let Some(mut content) = Lent::from_pool(pool) else {
            return;
        };
        let extent = layout.extent(index);
        let result = fill(&mut *stream, extent, &mut content).map(|()| Decoded { index, content });
        let failed = result.is_err();
        if results.send(result).is_err() || failed {
            return;
        }
    }
}

fn fill(stream: &mut dyn Read, extent: Extent, content: &mut [u8]) -> Result<(), CopyError> {
    let len = (extent.len() as usize).min(FRAME_BYTES);
    let done = read_frame(stream, &mut content[..len]).map_err(stream_error)?;
    if done == len {
        return Ok(());
    }
    let at = extent.start() + done as u64;
    Err(CopyError::Index(format!(
        "it ends at byte {at} of its content"
    )))
}

/// Returns the error of a stream: what is wrong with the image travels inside.
pub(crate) fn stream_error(error: std::io::Error) -> CopyError {
    match error.downcast::<ImageError>() {
        Ok(error) => CopyError::Image(error),
        Err(error) if error.kind() == ErrorKind::Other => match error.downcast::<BlockError>() {
            Ok(error) => CopyError::Source(error),
            Err(error) => CopyError::Source(BlockError::from_io(Operation::Read, error)),
        },
        Err(error) => CopyError::Source(BlockError::from_io(Operation::Read, error)),
    }
}
