//! Reading an image from its beginning to its end before any card is touched.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use cardkeep_block::{
    AllocationMap, BlockError, BlockErrorKind, Extent, MapBuilder, Monitor, Operation, Phase,
    ReadAt, State, Trouble, path_text,
};
use cardkeep_copy::{CopyError, decoded_noting, read_content};
use cardkeep_device::Source;
use cardkeep_image::{FRAME_BYTES, Format, StreamNotes};
use cardkeep_survey::{PassingSurvey, Scope, Survey};

use crate::error::{OpError, OpErrorKind};

/// What is kept of the beginning: partition tables end long before.
const PREFIX_BYTES: usize = 2 << 20;

/// The first bytes of a medium; what lies behind them can't be read.
#[derive(Debug, Default)]
pub struct Prefix {
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

/// Reads an image to its end.
pub(crate) fn prescan(
    path: &Path,
    file: &Arc<Source>,
    (format, notes): (Format, &StreamNotes),
    scope: Scope,
    monitor: &dyn Monitor,
) -> Result<Scanned, OpError> {
    monitor.phase(Phase::Survey, Some(file.len()));
    let failed = |error| OpError::of_copy(path, path, error);
    let file = Arc::clone(file) as Arc<dyn ReadAt>;
    let (mut content, position) =
        decoded_noting(file, format, notes).map_err(|error| OpError::of_image(path, error))?;
    let mut told = 0;
    let mut passing = PassingSurvey::new(None, 512);
    let mut prefix = Vec::new();
    let mut frame = vec![0; FRAME_BYTES];
    let mut len = 0;
    loop {
        if monitor.is_cancelled() {
            return Err(failed(CopyError::Interrupted));
        }
        let done = read_content(&mut *content, &mut frame).map_err(failed)?;
        if done == 0 {
            break;
        }
        let missing = PREFIX_BYTES - prefix.len();
        prefix.extend_from_slice(&frame[..done.min(missing)]);
        passing.see(&frame[..done]);
        let now = position.load(Ordering::Relaxed);
        monitor.advance(Phase::Survey, now - told);
        told = now;
        len += done as u64;
    }
    if len == 0 {
        let message = format!("there is nothing in {}", path_text(path));
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
