//! Reading an image from its beginning to its end before any card is touched.

use std::path::{Path, PathBuf};

use cardkeep_block::{
    AllocationMap, BlockError, BlockErrorKind, Extent, MapBuilder, Monitor, Operation, Phase,
    ReadAt, Run, State, Trouble, path_text,
};
use cardkeep_copy::CopyError;
use cardkeep_image::FRAME_BYTES;
use cardkeep_survey::{PassingSurvey, Scope, Survey};

use super::Input;
use crate::content_check::ContentCheck;
use crate::error::{OpError, OpErrorKind};

/// What is kept of the beginning: partition tables end long before.
const PREFIX_BYTES: usize = 2 << 20;

/// The first bytes of a medium; what lies behind them can't be read.
#[derive(Debug, Default)]
pub(crate) struct Prefix {
    bytes: Vec<u8>,
    len: u64,
}

impl ReadAt for Prefix {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), BlockError> {
        let extent = self.bounded(offset, buffer.len())?;
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let bytes = self
            .bytes
            .get(from..)
            .and_then(|rest| rest.get(..buffer.len()));
        let Some(bytes) = bytes else {
            return Err(BlockError::new(BlockErrorKind::Io, Operation::Read).at(extent));
        };
        buffer.copy_from_slice(bytes);
        Ok(())
    }
}

/// What reading an image to its end came to.
pub(crate) struct Scanned {
    pub(crate) len: u64,
    pub(crate) map: AllocationMap,
    pub(crate) survey: Survey,
    pub(crate) prefix: Prefix,
}

/// The shortest of the cards that an image is for.
#[derive(Clone, Debug)]
pub(crate) struct Room {
    /// The card.
    pub(crate) card: PathBuf,
    /// How long it is, in bytes.
    pub(crate) len: u64,
}

/// What makes of an image that can be read in order only one whose partitions can get other sizes.
pub(crate) const UNPACK: &str = "unpack it first, or let `cardkeep shrink` make an .img.zst of it";
/// The same for what comes out of a pipe.
pub(crate) const STORE: &str = "store it in a file first, unpacked or as .img.zst";

impl Room {
    /// Refuses content that won't fit, however it goes on; `last` has passed last.
    ///
    /// # Errors
    /// [`OpErrorKind::Refused`].
    pub(crate) fn expect_fit(
        &self,
        image: &Path,
        passing: &PassingSurvey,
        last: Extent,
    ) -> Result<(), OpError> {
        let position = last.end();
        let beyond = Extent::between(self.len.clamp(last.start(), position), position);
        let is_used = |run: &Run| run.state != State::Free;
        let has_more = passing.is_without_table() && passing.runs(beyond).iter().any(is_used);
        let needed = match has_more {
            true => passing.needed_len().max(position),
            false => passing.needed_len(),
        };
        self.expect_room_for(image, needed)
            .map_err(|error| error.hint(UNPACK))
    }

    /// Refuses content whose partitions are known not to fit by what has passed of it.
    ///
    /// # Errors
    /// [`OpErrorKind::Refused`].
    pub(crate) fn expect_partitions(
        &self,
        image: &Path,
        passing: &PassingSurvey,
    ) -> Result<(), OpError> {
        let room = self.expect_room_for(image, passing.needed_len());
        room.map_err(|error| error.hint(STORE))
    }

    fn expect_room_for(&self, image: &Path, needed: u64) -> Result<(), OpError> {
        if needed <= self.len {
            return Ok(());
        }
        let (shown, card, len) = (path_text(image), path_text(&self.card), self.len);
        let message = format!(
            "{card} is too small: {shown} needs at least {needed} bytes, the card has {len}"
        );
        Err(OpError::new(OpErrorKind::Refused, message)
            .hint("it can only be read in order, so no filesystem in it can be made smaller"))
    }
}

/// What is done with an input while it is read.
#[derive(Debug)]
pub(crate) struct Prescan<'a> {
    pub(crate) scope: Scope,
    /// The card that it must fit, where it is for one.
    pub(crate) room: Option<&'a Room>,
    /// What sees its content pass.
    pub(crate) check: Option<&'a mut ContentCheck>,
}

/// Reads an input to its end, or until it is known that it won't fit.
pub(crate) fn prescan(
    input: &Input,
    how: Prescan<'_>,
    monitor: &dyn Monitor,
) -> Result<Scanned, OpError> {
    let Prescan {
        scope,
        room,
        mut check,
    } = how;
    let path = &input.path;
    let failed = |error| OpError::of_copy(path, path, error);
    let mut stream = input.stream().map_err(failed)?;
    monitor.phase(Phase::Survey, stream.file_len);
    let mut passing = PassingSurvey::new(None, 512);
    let mut prefix = Vec::new();
    let mut frame = vec![0; FRAME_BYTES];
    let mut len = 0;
    loop {
        if monitor.is_cancelled() {
            return Err(failed(CopyError::Interrupted));
        }
        let done = stream.read(&mut frame).map_err(failed)?;
        if done == 0 {
            break;
        }
        let missing = PREFIX_BYTES - prefix.len();
        prefix.extend_from_slice(&frame[..done.min(missing)]);
        passing.see(&frame[..done]);
        if let Some(check) = &mut check {
            check.push(&frame[..done]);
        }
        monitor.advance(Phase::Survey, stream.newly_read());
        len += done as u64;
        if let Some(room) = room {
            room.expect_fit(path, &passing, Extent::between(len - done as u64, len))?;
        }
    }
    if len == 0 {
        let message = format!("{} has no content", path_text(path));
        return Err(OpError::new(OpErrorKind::Usage, message));
    }
    let map = map_of(&passing, len, scope, monitor);
    let mut survey = passing.survey();
    survey.map.clone_from(&map);
    survey.tell_cut(monitor);
    Ok(Scanned {
        len,
        map,
        survey,
        prefix: Prefix { bytes: prefix, len },
    })
}

/// Returns what matters, as far as it could be proven in passing.
fn map_of(passing: &PassingSurvey, len: u64, scope: Scope, monitor: &dyn Monitor) -> AllocationMap {
    if scope == Scope::Everything {
        return AllocationMap::all(len, State::Used);
    }
    if let Some(doubt) = passing.doubt() {
        let message = format!("{}; all of it is written", doubt.message);
        monitor.trouble(Trouble::new(message));
        return AllocationMap::all(len, State::Used);
    }
    let mut builder = MapBuilder::new(len);
    let mut start = 0;
    while start < len {
        let end = len.min(start + FRAME_BYTES as u64);
        for run in passing.runs(Extent::between(start, end)) {
            builder.push_to(run.extent.end(), run.state);
        }
        start = end;
    }
    builder.finish(State::Used)
}
