//! An original that can only be read from its beginning on: gzip, bzip2, zip, a pipe.

use std::io::Read;
use std::sync::{Arc, OnceLock};

use cardkeep_block::{BufferPool, Extent, Run, State};
use cardkeep_image::{FRAME_BYTES, FrameDigest, zero_digest};
use cardkeep_survey::{Cut, PassingSurvey, Scope};
use crossbeam_channel::{Receiver, Sender, bounded};

use crate::error::CopyError;
use crate::restore::frame::{Frame, Lent, clear_unused};
use crate::restore::layout::{Layout, frame_extent};
use crate::restore::medium::{filled_frames, known_bytes};
use crate::restore::original::{Original, Take, Wanted};
use crate::sequential::read_content;

/// Opens the content's stream at its beginning.
pub type OpenStream<'a> = &'a (dyn Fn() -> Result<Box<dyn Read + Send>, CopyError> + Sync);

/// Frames decoded ahead.
const AHEAD: usize = 2;
/// The unit of every medium, in bytes.
const SECTOR_BYTES: usize = 512;

/// A stream of content.
pub struct StreamOriginal<'a> {
    /// Opens the stream; once only where it is not repeatable.
    pub open: OpenStream<'a>,
    /// Whether it can be opened again.
    pub is_repeatable: bool,
    /// What is known of its content.
    pub knowledge: Knowledge<'a>,
}

/// What is known of a stream's content before it comes.
#[derive(Clone, Copy)]
pub enum Knowledge<'a> {
    /// All that matters: it was read before.
    Layout(Layout<'a>),
    /// Nothing: its length shows at its end, and what of it matters is learnt on the way.
    Nothing {
        /// How long it may be, in bytes: the length of the shortest card.
        len_max: u64,
        /// The size in bytes of the sectors that its partition table counts in.
        sector_bytes: u32,
        /// How much of it is wanted.
        scope: Scope,
        /// What becomes of content that ends before its partitions do.
        ending: Ending<'a>,
    },
}

/// What becomes of content that ends before what is used of its partitions does.
#[derive(Clone, Copy)]
pub enum Ending<'a> {
    /// It fails.
    Whole,
    /// It is taken; what it lacks is left here.
    Truncated(&'a OnceLock<Cut>),
}

impl Original for StreamOriginal<'_> {
    fn deliver(
        &self,
        wanted: Wanted<'_>,
        pool: &Arc<BufferPool>,
        take: Take<'_>,
    ) -> Result<(), CopyError> {
        let stream = (self.open)()?;
        let len = match self.knowledge {
            Knowledge::Layout(layout) => layout.map.len().min(layout.content_len),
            Knowledge::Nothing { .. } => u64::MAX,
        };
        let last = wanted.last().unwrap_or(usize::MAX);
        let (sender, decoded) = bounded(AHEAD);
        std::thread::scope(|scope| {
            let reach = Reach { len, last };
            // Owned by the thread, so that its end is the end of what comes.
            scope.spawn(move || decode(stream, reach, pool, &sender));
            match self.knowledge {
                Knowledge::Layout(layout) => {
                    let mut cutting = KnownContent { layout, wanted };
                    cutting.take_all(decoded, pool, take)
                }
                Knowledge::Nothing {
                    len_max,
                    sector_bytes,
                    scope,
                    ending,
                } => {
                    let survey = PassingSurvey::new(None, sector_bytes);
                    let mut learning = NewContent {
                        survey,
                        len_max,
                        scope,
                        wanted,
                        ending,
                    };
                    learning.take_all(decoded, take)
                }
            }
        })
    }

    fn is_repeatable(&self) -> bool {
        self.is_repeatable
    }

    fn known_bytes(&self) -> Option<u64> {
        match self.knowledge {
            Knowledge::Layout(layout) => Some(known_bytes(&layout)),
            Knowledge::Nothing { .. } => None,
        }
    }

    fn frames_under_way(&self) -> usize {
        AHEAD + 3
    }
}

/// What the decoding thread sends. The receiver owns it, so that ending early frees that thread.
type Incoming = Receiver<Result<Decoded, CopyError>>;

/// Content of which it is known what matters.
struct KnownContent<'a> {
    layout: Layout<'a>,
    wanted: Wanted<'a>,
}

impl KnownContent<'_> {
    fn take_all(
        &mut self,
        decoded: Incoming,
        pool: &Arc<BufferPool>,
        take: Take<'_>,
    ) -> Result<(), CopyError> {
        let mut frames = filled_frames(self.layout, self.wanted).peekable();
        let end = self.layout.content_len.min(self.layout.map.len());
        for item in decoded {
            let Decoded {
                index,
                len,
                content,
            } = item?;
            if frames.next_if_eq(&index).is_none() {
                continue;
            }
            let there = frame_extent(index, end).len();
            if (len as u64) < there {
                let at = self.layout.extent(index).start() + len as u64;
                return Err(ends_early(at));
            }
            let runs = self.layout.runs(index);
            let is_used = runs.iter().any(|run| run.state == State::Used);
            let content = is_used.then_some(content);
            if !take(self.layout.finish(index, runs, content)?)? {
                return Ok(());
            }
        }
        // What lies behind the content's end comes from patches.
        for index in frames {
            let start = self.layout.extent(index).start();
            if start < end {
                return Err(ends_early(start));
            }
            let Some(content) = Lent::from_pool(pool) else {
                return Ok(());
            };
            let runs = self.layout.runs(index);
            if !take(self.layout.finish(index, runs, Some(content))?)? {
                return Ok(());
            }
        }
        Ok(())
    }
}

fn ends_early(at: u64) -> CopyError {
    CopyError::Index(format!("it ends at byte {at} of its content"))
}

/// Content of which nothing is known before it comes.
struct NewContent<'a> {
    survey: PassingSurvey,
    len_max: u64,
    scope: Scope,
    wanted: Wanted<'a>,
    ending: Ending<'a>,
}

impl NewContent<'_> {
    fn take_all(&mut self, decoded: Incoming, take: Take<'_>) -> Result<(), CopyError> {
        let mut total = 0;
        for item in decoded {
            let Decoded {
                index,
                len,
                mut content,
            } = item?;
            if len == 0 {
                break;
            }
            total += len as u64;
            self.survey.see(&content[..len]);
            if let Some(doubt) = self
                .survey
                .doubt()
                .filter(|_| self.scope == Scope::UsedOnly)
            {
                return Err(CopyError::Doubt(doubt.message.clone()));
            }
            let (needed, len_max) = (self.survey.needed_len(), self.len_max);
            if needed > len_max {
                return Err(CopyError::TooLarge { needed, len_max });
            }
            let start = index as u64 * FRAME_BYTES as u64;
            // A medium is made of whole sectors.
            let whole = len.next_multiple_of(SECTOR_BYTES).min(FRAME_BYTES);
            content[len..whole].fill(0);
            let extent = Extent::between(start, start + whole as u64);
            if extent.end() > self.len_max {
                let beyond = self.len_max.saturating_sub(start).min(whole as u64) as usize;
                if !is_zero(&content[beyond..whole]) || self.is_larger_than_card() {
                    return Err(CopyError::TooLong { len_max });
                }
            }
            let extent = extent.intersection(Extent::between(0, self.len_max));
            if extent.is_empty() || !self.wanted.holds(index) {
                continue;
            }
            if let Some(frame) = self.frame(index, extent, content)
                && !take(frame)?
            {
                return Ok(());
            }
        }
        self.expect_whole(total)
    }

    /// Refuses content that ended, after `total` bytes, before what is used of its partitions does.
    /// What comes raw out of a pipe has no other sign of its end.
    fn expect_whole(&self, total: u64) -> Result<(), CopyError> {
        if self.wanted.last().is_some() {
            return Ok(());
        }
        let cut = self.survey.cut().filter(|cut| !cut.is_harmless());
        match (self.ending, cut) {
            (Ending::Truncated(found), cut) => {
                if let Some(cut) = cut {
                    // Several cards may get it, one after the other; it ends in one place.
                    found.get_or_init(|| cut);
                }
                Ok(())
            }
            (Ending::Whole, Some(cut)) => Err(CopyError::Truncated(Box::new(cut))),
            (Ending::Whole, None) if self.survey.lacks_partitions() => Err(ends_early(total)),
            (Ending::Whole, None) => Ok(()),
        }
    }

    /// Tells whether a partition, or a filesystem without one, ends behind the card's end, even
    /// with nothing but zeros there.
    fn is_larger_than_card(&self) -> bool {
        let partitions = self.survey.survey().partitions;
        partitions.iter().any(|partition| {
            let end = match (partition.number, partition.content.filesystem()) {
                (0, summary) => summary.map_or(0, |summary| summary.len),
                _ => partition.extent.end(),
            };
            end > self.len_max
        })
    }

    /// Returns a frame; `None` where nothing of it matters.
    fn frame(&self, index: usize, extent: Extent, mut content: Lent) -> Option<Frame> {
        let size = extent.len() as usize;
        let runs = match self.scope {
            // What would be used and is wholly zero is as good as known to be zero.
            _ if is_zero(&content[..size]) && self.has_used(extent) => {
                vec![Run::new(extent, State::Zero)]
            }
            Scope::UsedOnly => self.survey.runs(extent),
            Scope::Everything => vec![Run::new(extent, State::Used)],
        };
        let has = |state| runs.iter().any(|run| run.state == state);
        if !has(State::Used) {
            return has(State::Zero).then(|| Frame {
                index,
                extent,
                runs,
                digest: zero_digest(extent.len()),
                content: None,
            });
        }
        clear_unused(&runs, extent.start(), &mut content[..size]);
        let digest = FrameDigest::of(&content[..size]);
        Some(Frame {
            index,
            extent,
            runs,
            digest,
            content: Some(content),
        })
    }

    fn has_used(&self, extent: Extent) -> bool {
        self.scope == Scope::Everything
            || (self.survey.runs(extent).iter()).any(|run| run.state == State::Used)
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
    /// How many there are: fewer than a frame has at the end only, and none behind it.
    len: usize,
    content: Lent,
}

/// How much of a stream is decoded.
#[derive(Clone, Copy)]
struct Reach {
    /// The bytes from its beginning.
    len: u64,
    /// The last frame that is wanted.
    last: usize,
}

/// Decodes the stream as far as `reach`, or until nobody listens.
fn decode(
    mut stream: Box<dyn Read + Send>,
    reach: Reach,
    pool: &Arc<BufferPool>,
    results: &Sender<Result<Decoded, CopyError>>,
) {
    for index in 0..=reach.last {
        let wanted = frame_extent(index, reach.len).len() as usize;
        if wanted == 0 {
            return;
        }
        let Some(mut content) = Lent::from_pool(pool) else {
            return;
        };
        let done = read_content(&mut *stream, &mut content[..wanted]);
        // The error itself is sent on.
        let is_last = !done.as_ref().is_ok_and(|&done| done == wanted);
        let decoded = done.map(|len| Decoded {
            index,
            len,
            content,
        });
        if results.send(decoded).is_err() || is_last {
            return;
        }
    }
}
