//! Fitting what is restored to a card of another size.

use cardkeep_block::{AllocationMap, Extent, MapBuilder, Patches, Run, State};
use cardkeep_image::{FRAME_BYTES, FrameDigest};
use cardkeep_ptable::{Fitted, PartitionTable, Resize, Scheme, fitted, needed_len};
use cardkeep_survey::{Partition, Survey};

use crate::error::{OpError, OpErrorKind};
use crate::restore::origin::Origin;

/// How what is restored lies on a card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fit {
    /// What of the card is used, zero and free.
    pub map: AllocationMap,
    pub(crate) patches: Patches,
    pub(crate) digests: Vec<Option<FrameDigest>>,
    /// What was changed to make it fit, in words.
    pub notes: Vec<String>,
}

impl Fit {
    /// Returns the fit of what lies on a card as `map` says, unchanged.
    #[must_use]
    pub fn of(map: AllocationMap) -> Self {
        Self {
            map,
            patches: Patches::default(),
            digests: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Fits `origin` to a card of `len` bytes. `survey` tells what is on the origin; it is asked for
    /// only where the card is smaller.
    pub(crate) fn new(
        origin: &Origin,
        len: u64,
        survey: impl FnOnce() -> Option<Survey>,
    ) -> Result<Self, OpError> {
        let own = Self {
            digests: origin.digests.clone(),
            ..Self::of(origin.map.clone())
        };
        let Some(content_len) = origin.len else {
            return Ok(own);
        };
        if len < content_len {
            return own.cut(origin, len, survey());
        }
        match &origin.table {
            // The backup of a GPT belongs at the card's very end.
            Some(table) if len > content_len && table.scheme != Scheme::Mbr => {
                own.with_table(origin, table, len, &[])
            }
            _ => Ok(own),
        }
    }

    /// Fits what is longer than the card.
    fn cut(self, origin: &Origin, len: u64, survey: Option<Survey>) -> Result<Self, OpError> {
        let missing = |needed: u64| too_small(origin, len, needed);
        let Some(survey) = survey else {
            return Err(missing(origin.map.len()));
        };
        let Some(table) = &origin.table else {
            let needed = needed_without_table(origin, &survey);
            if needed > len {
                return Err(missing(needed));
            }
            let map = cut_map(&self.map, len);
            return Ok(Self { map, ..self }.without_changed(&[Extent::between(len, u64::MAX)]));
        };
        let tail = needed_len(table, &[]).saturating_sub(last_end(table));
        let sector = u64::from(origin.sector_bytes.max(1));
        let end = len.saturating_sub(tail) / sector * sector;
        // The one that ends last: a number that is too small would be believed.
        let needed = survey.partitions.iter().map(content_end).max().unwrap_or(0);
        if needed > end {
            return Err(missing(needed.saturating_add(tail)));
        }
        let mut resizes = Vec::new();
        let mut notes = Vec::new();
        for partition in &survey.partitions {
            if partition.extent.end() <= end {
                continue;
            }
            let cut = partition.extent.end() - end;
            notes.push(format!(
                "partition {} becomes {cut} bytes smaller; its filesystem needs no more",
                partition.number
            ));
            resizes.push(Resize {
                number: partition.number,
                len: end - partition.extent.start(),
            });
        }
        let notes = [self.notes.clone(), notes].concat();
        Self { notes, ..self }.with_table(origin, table, len, &resizes)
    }

    /// Adapts the partition table to a card of `len` bytes.
    fn with_table(
        self,
        origin: &Origin,
        table: &PartitionTable,
        len: u64,
        resizes: &[Resize],
    ) -> Result<Self, OpError> {
        let Some(medium) = origin.table_medium() else {
            return Ok(self);
        };
        let fitted =
            fitted(&medium, origin.sector_bytes, table, len, resizes).map_err(|error| {
                let message = format!(
                    "the partition table of {} can't be fitted to a card of {len} bytes",
                    origin.name()
                );
                OpError::new(OpErrorKind::Refused, message)
                    .hint("use a card of the original's size or larger")
                    .caused_by(error.to_string())
            })?;
        Ok(self.with_fitted(fitted, table, len))
    }

    fn with_fitted(mut self, fitted: Fitted, table: &PartitionTable, len: u64) -> Self {
        let Fitted {
            patches,
            stale,
            metadata,
        } = fitted;
        let stale_runs: Vec<Run> = stale.iter().map(|&e| Run::new(e, State::Free)).collect();
        let own: Vec<Run> = metadata.iter().map(|&e| Run::new(e, State::Used)).collect();
        // The table of a larger card may lie behind what is restored.
        let reach = metadata
            .iter()
            .map(|extent| extent.end())
            .max()
            .unwrap_or(0);
        let map = self.map.replaced(&stale_runs);
        self.notes.extend(left_out(&map, len));
        let own_len = map.len();
        let map_len = map.len().min(len).max(reach.min(len));
        self.map = cut_map(&map, map_len).replaced(&own);
        if table.scheme != Scheme::Mbr && !stale.is_empty() {
            let note = "the backup of the partition table moves to the card's end";
            self.notes.push(note.to_owned());
        }
        self.patches = Patches::new(patches);
        // Where the map grows, the last frame does, and has another digest.
        let beyond = Extent::between(map_len.min(own_len), u64::MAX);
        let changed: Vec<Extent> = [stale, metadata, vec![beyond]].concat();
        self.without_changed(&changed)
    }

    /// Forgets the digests of frames that are not restored as they are.
    fn without_changed(mut self, changed: &[Extent]) -> Self {
        for (index, digest) in self.digests.iter_mut().enumerate() {
            let start = index as u64 * FRAME_BYTES as u64;
            let frame = Extent::between(start, start + FRAME_BYTES as u64);
            if changed.iter().any(|extent| extent.overlaps(frame)) {
                *digest = None;
            }
        }
        self
    }
}

/// Returns where a partition's content ends, on the medium.
fn content_end(partition: &Partition) -> u64 {
    let len = match partition.content.filesystem() {
        Some(summary) if summary.len < partition.extent.len() => summary.len,
        _ => partition.extent.len(),
    };
    partition.extent.start().saturating_add(len)
}

fn last_end(table: &PartitionTable) -> u64 {
    let ends = table.partitions.iter().map(|part| part.extent.end());
    ends.max().unwrap_or(0)
}

fn needed_without_table(origin: &Origin, survey: &Survey) -> u64 {
    let filled = origin.map.runs().filter(|run| run.state != State::Free);
    let end = filled.last().map_or(0, |run| run.extent.end());
    let of_filesystems = survey.partitions.iter().map(content_end).max();
    end.max(of_filesystems.unwrap_or(0))
}

/// Returns the map cut to `len` bytes, or with what lies behind it free.
fn cut_map(map: &AllocationMap, len: u64) -> AllocationMap {
    let mut builder = MapBuilder::new(len);
    for run in map.runs_in(Extent::between(0, len)) {
        builder.push_to(run.extent.end(), run.state);
    }
    builder.finish(State::Free)
}

/// Says what lies outside of all partitions and behind the end of a card of `len` bytes.
fn left_out(map: &AllocationMap, len: u64) -> Option<String> {
    let behind = map.runs_in(Extent::between(len, u64::MAX));
    let used = behind.filter(|run| run.state == State::Used);
    let bytes: u64 = used.map(|run| run.extent.len()).sum();
    (bytes > 0).then(|| {
        format!("{bytes} bytes past the card's end, which belong to no filesystem, are left out")
    })
}

fn too_small(origin: &Origin, len: u64, needed: u64) -> OpError {
    let by = needed.saturating_sub(len);
    let used = origin.map.bytes(State::Used);
    let message = format!(
        "the card is {by} bytes too small: {} needs {needed}, the card has {len}",
        origin.name()
    );
    let error = OpError::new(OpErrorKind::Refused, message);
    if used < len {
        return error
            .hint(format!(
                "only {used} bytes of it are used: make the last filesystem smaller first \
                 (resize2fs, then the partition), and back it up again"
            ))
            .hint("or use a card of the original's size");
    }
    error.hint(format!("{used} bytes of it are used: use a larger card"))
}

#[cfg(test)]
mod tests {
    use super::{Fit, left_out};
    use cardkeep_block::{AllocationMap, Extent, MapBuilder, State};
    use cardkeep_image::{FRAME_BYTES, FrameDigest};
    use cardkeep_ptable::{DiskId, Fitted, PartitionTable, Scheme};

    const FRAME: u64 = FRAME_BYTES as u64;

    #[test]
    fn a_last_frame_that_grows_loses_its_digest_wherever_the_table_was() {
        let digest = Some(FrameDigest::of(b"a frame"));
        let fit = Fit {
            digests: vec![digest; 3],
            ..Fit::of(AllocationMap::all(2 * FRAME + 512, State::Used))
        };
        let fitted = Fitted {
            patches: Vec::new(),
            stale: vec![Extent::between(512, 1024)],
            metadata: vec![Extent::between(4 * FRAME - 512, 4 * FRAME)],
        };
        let table = PartitionTable {
            scheme: Scheme::Gpt,
            disk_id: DiskId::Mbr(0),
            sector_bytes: 512,
            partitions: Vec::new(),
            containers: Vec::new(),
            metadata: Vec::new(),
            damages: Vec::new(),
            usable_start: 0,
            tail_bytes: 0,
        };
        let fit = fit.with_fitted(fitted, &table, 4 * FRAME);
        assert_eq!(fit.map.len(), 4 * FRAME);
        assert_eq!(fit.digests, [None, digest, None]);
    }

    #[test]
    fn used_bytes_past_the_cards_end_are_told() {
        let mut builder = MapBuilder::new(5000);
        builder.push_to(3000, State::Free);
        builder.push_to(4000, State::Used);
        let map = builder.finish(State::Zero);
        assert_eq!(left_out(&map, 4000), None);
        let told = left_out(&map, 3600).unwrap();
        assert!(told.starts_with("400 bytes"), "{told}");
    }
}
