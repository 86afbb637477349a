//! Fitting what is restored to a card of another size.

use std::fmt;
use std::sync::Arc;

use cardkeep_block::{
    AllocationMap, Extent, MapBuilder, Monitor, Patch, Patches, ReadAt, Run, State, size_text,
    with_causes,
};
use cardkeep_image::{FRAME_BYTES, FrameDigest};
use cardkeep_ptable::{
    Fitted, PartitionTable, Resize, Scheme, Shift, fitted, fitted_with_shift, needed_len,
};
use cardkeep_resize::Declined;
use cardkeep_resize::medium::{Larger, Length, smaller};
use cardkeep_survey::{Partition, Scope, Survey, survey};

use crate::error::{OpError, OpErrorKind};
use crate::input::SurveyedInput;
use crate::resizing_text::{hibernation_text, moved_text, name_of};
use crate::restore::expansion::{Expand, Expansion, expansion, notes, remedy};

/// The unit of every medium, in bytes.
const SECTOR_BYTES: u64 = 512;

/// How what is restored lies on a card.
#[derive(Clone, Debug)]
pub struct Fit {
    /// What of the card is used, zero and free.
    pub map: AllocationMap,
    /// What is read in place of the original, where a filesystem of it is another one.
    pub(crate) content: Option<Resized>,
    pub(crate) patches: Patches,
    pub(crate) digests: Vec<Option<FrameDigest>>,
    /// Where the partitions lie on the card, where some lie elsewhere than on the original.
    pub(crate) placed: Option<Vec<Extent>>,
    /// What was changed to make it fit, in words.
    pub notes: Vec<String>,
}

/// How the partition table has to change.
#[derive(Clone, Copy)]
pub(crate) enum Change<'a> {
    /// Partitions get other lengths.
    Lengths(&'a [Resize]),
    /// One gets another length, and what lies behind it moves.
    Shift(Shift),
}

impl Change<'_> {
    /// Returns where the partitions of `table` lie afterwards.
    fn placed(self, table: &PartitionTable) -> Vec<Extent> {
        let placed = table.partitions.iter().filter_map(|partition| {
            let old = partition.extent;
            match self {
                Self::Shift(shift) => shift.extent(old),
                Self::Lengths(resizes) => {
                    let own = resizes.iter().find(|own| own.number == partition.number);
                    let len = own.map_or(old.len(), |own| own.len);
                    let end = old.start().saturating_add(len);
                    Some(Extent::between(old.start(), end))
                }
            }
        });
        placed.collect()
    }
}

/// A view that is read in place of the original.
#[derive(Clone)]
pub(crate) struct Resized {
    pub(crate) view: Arc<dyn ReadAt>,
    /// What is on it.
    pub(crate) survey: Option<Survey>,
}

impl fmt::Debug for Resized {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let len = self.view.len();
        f.debug_struct("Resized")
            .field("len", &len)
            .finish_non_exhaustive()
    }
}

/// How the original is made to fit a card.
#[derive(Clone, Copy)]
pub(crate) struct Fitting<'a> {
    pub(crate) origin: &'a SurveyedInput,
    /// The card's length in bytes.
    pub(crate) len: u64,
    pub(crate) expand: Expand,
    pub(crate) monitor: &'a dyn Monitor,
}

impl Fit {
    /// Returns the fit of what lies on a card as `map` says, unchanged.
    #[must_use]
    pub fn of(map: AllocationMap) -> Self {
        Self {
            map,
            content: None,
            patches: Patches::default(),
            digests: Vec::new(),
            placed: None,
            notes: Vec::new(),
        }
    }

    /// Fits an original to a card.
    pub(crate) fn new(fitting: Fitting<'_>) -> Result<Self, OpError> {
        let fit = Self::in_length(fitting)?;
        Ok(fit.without_stale_signatures(fitting.origin, fitting.len))
    }

    /// Fits an original to a card's length.
    fn in_length(fitting: Fitting<'_>) -> Result<Self, OpError> {
        let Fitting { origin, len, .. } = fitting;
        let own = Self {
            digests: origin.digests.clone(),
            ..Self::of(origin.map.clone())
        };
        if let Some(cut) = &origin.cut {
            return fitting.cut_short(own, cut);
        }
        if origin.len.is_some_and(|content_len| len < content_len) {
            return fitting.cut(own);
        }
        let fit = match expansion(origin, len, fitting.expand, fitting.monitor)? {
            Expansion::Grown(larger) => own.grown(fitting, &larger),
            Expansion::Kept(note) => fitting.kept(own.noting(note)),
            Expansion::Same => fitting.kept(own),
        };
        Ok(fit?.with_last_sector(len))
    }

    /// Fills up the sector that an image ends in: a medium is made of whole ones.
    fn with_last_sector(self, card_len: u64) -> Self {
        let len = self.map.len();
        let end = len.next_multiple_of(SECTOR_BYTES).min(card_len);
        if end <= len {
            return self;
        }
        let mut builder = MapBuilder::new(end);
        for run in self.map.runs() {
            builder.push_to(run.extent.end(), run.state);
        }
        let map = builder.finish(State::Used);
        let note = format!(
            "the image ends within a sector: {} zeros fill it up",
            end - len
        );
        // The frame that grows has another digest.
        let changed = Extent::between(len.saturating_sub(1), u64::MAX);
        Self { map, ..self }
            .noting(note)
            .without_changed(&[changed])
    }

    fn noting(mut self, note: String) -> Self {
        self.notes.push(note);
        self
    }

    /// Tells whether two cards hold the same when they are written.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        // Of two views it can't be told.
        let is_view = self.content.is_some() || other.content.is_some();
        !is_view
            && (&self.map, &self.patches, &self.digests, &self.notes)
                == (&other.map, &other.patches, &other.digests, &other.notes)
    }

    /// Lets a filesystem fill the card.
    fn grown(self, fitting: Fitting<'_>, larger: &Larger) -> Result<Self, OpError> {
        let mut own = self;
        own.notes.extend(notes(larger));
        own.notes
            .extend(fitting.origin.survey.as_ref().and_then(hibernation_text));
        let map = larger.map(&own.map);
        let changed: Vec<Extent> = match &larger.content {
            Some(_) => vec![Extent::between(0, u64::MAX)],
            None => larger.patches.iter().map(Patch::extent).collect(),
        };
        let beyond = Extent::between(own.map.len().min(map.len()), u64::MAX);
        let own = Self {
            map: map.clone(),
            ..own
        }
        .without_changed(&[changed, vec![beyond]].concat());
        let content = larger.content.as_ref().map(|view| Resized {
            view: Arc::clone(view) as Arc<dyn ReadAt>,
            survey: None,
        });
        let resizes: Vec<Resize> = larger.resize().into_iter().collect();
        let change = match larger.shift() {
            Some(shift) => Change::Shift(shift),
            None => Change::Lengths(&resizes),
        };
        let own = match &fitting.origin.table {
            Some(table) => own.with_table(fitting, table, change)?,
            None if resizes.is_empty() => own,
            None => {
                let what = "a partition table was found and lost";
                return Err(OpError::new(OpErrorKind::Internal, what));
            }
        };
        let patches = own.patches.iter().chain(&larger.patches).cloned();
        Ok(Self {
            // The old table's end, which holds nothing any more, may lie where groups begin now.
            map: own.map.union(&map),
            patches: Patches::new(patches.collect()),
            content,
            ..own
        })
    }

    /// Adapts the partition table to the card.
    pub(crate) fn with_table(
        self,
        fitting: Fitting<'_>,
        table: &PartitionTable,
        change: Change<'_>,
    ) -> Result<Self, OpError> {
        let Fitting { origin, len, .. } = fitting;
        let fit = |content: &dyn ReadAt| match change {
            Change::Lengths(resizes) => fitted(&content, table, len, resizes),
            Change::Shift(shift) => fitted_with_shift(&content, table, shift, len),
        };
        let looked = match origin.table_medium() {
            Some(medium) => Some(fit(medium)),
            None => origin.look(fitting.monitor, |content| fit(content))?,
        };
        let told = |why: &str| {
            let message = format!(
                "the partition table of {} can't be fitted to a card of {len} bytes",
                origin.name()
            );
            OpError::new(OpErrorKind::Refused, message)
                .hint(match origin.len {
                    Some(least) => card_hint(least),
                    None => "use a larger card".to_owned(),
                })
                .caused_by(why.to_owned())
        };
        let fitted = looked
            .ok_or_else(|| told("it is spread over too much of a stream"))?
            .map_err(|error| told(&error.to_string()))?;
        let placed = Some(change.placed(table));
        Ok(Self { placed, ..self }.with_fitted(fitted, table, len))
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
    pub(crate) fn without_changed(mut self, changed: &[Extent]) -> Self {
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

impl Fitting<'_> {
    /// Leaves the partitions at their sizes, on a card that is not shorter.
    fn kept(self, own: Fit) -> Result<Fit, OpError> {
        match (&self.origin.table, self.origin.len) {
            // The backup of a GPT belongs at the card's very end.
            (Some(table), Some(len)) if self.len > len && table.scheme != Scheme::Mbr => {
                own.with_table(self, table, Change::Lengths(&[]))
            }
            // It isn't there now, or not there, though there is room for it.
            (Some(table), Some(len))
                if self.len == len && lacks_end(table, len) && needed_len(table, &[]) <= len =>
            {
                own.with_table(self, table, Change::Lengths(&[]))
            }
            _ => Ok(own),
        }
    }

    /// Fits what is longer than the card: at the cost of what is behind the last partition, or else
    /// of a filesystem's free blocks.
    fn cut(self, own: Fit) -> Result<Fit, OpError> {
        let Some(survey) = self.survey() else {
            return Err(self.too_small(self.origin.map.len(), None));
        };
        let needed = match &self.origin.table {
            Some(table) => needed_with_table(table, &survey),
            None => needed_without_table(self.origin, &survey),
        };
        if needed > self.len {
            return self.shrunk(&survey, needed);
        }
        match &self.origin.table {
            Some(table) => self.cut_table(own, table, &survey),
            None => {
                let map = cut_map(&own.map, self.len);
                let behind = Extent::between(self.len, u64::MAX);
                Ok(Fit { map, ..own }.without_changed(&[behind]))
            }
        }
    }

    /// Cuts partitions that reach behind the end and need no more than is before it.
    fn cut_table(self, own: Fit, table: &PartitionTable, survey: &Survey) -> Result<Fit, OpError> {
        let end = self.end(table);
        let reaching = survey.partitions.iter().filter(|p| p.extent.end() > end);
        let mut own = own;
        let mut resizes = Vec::new();
        for partition in reaching {
            let (number, cut) = (partition.number, partition.extent.end() - end);
            own.notes.push(format!(
                "partition {number} becomes {cut} bytes smaller; its filesystem needs no more"
            ));
            resizes.push(Resize {
                number,
                len: end - partition.extent.start(),
            });
        }
        own.with_table(self, table, Change::Lengths(&resizes))
    }

    /// Returns where partitions have to end.
    pub(crate) fn end(self, table: &PartitionTable) -> u64 {
        let sector = u64::from(self.origin.input.sector_bytes.max(1));
        self.len.saturating_sub(tail_of(table)) / sector * sector
    }

    /// Makes a filesystem smaller; as it is, the original needs `needed` bytes.
    fn shrunk(self, survey: &Survey, needed: u64) -> Result<Fit, OpError> {
        let Some(content) = self.origin.input.shared_content() else {
            return Err(self.too_small(needed, Some("it can only be read in order")));
        };
        let wanted = Length::Exactly(self.len);
        let smaller = match smaller(&content, survey, wanted, self.monitor) {
            Ok(smaller) => smaller,
            Err(_) if self.monitor.is_cancelled() => {
                return Err(OpError::new(OpErrorKind::Interrupted, "stopped"));
            }
            Err(Declined::TooShort { least, .. }) => return Err(self.too_small(least, None)),
            Err(declined) => return Err(self.too_small(needed, Some(&with_causes(&declined)))),
        };
        let mut fit = Fit::of(smaller.shrunk.survey.map.clone());
        fit.notes.push(format!(
            "{} shrinks from {} to {}, {} of them free",
            name_of(smaller.shrunk.number, smaller.shrunk.label.as_deref()),
            size_text(smaller.shrunk.old_fs_bytes),
            size_text(smaller.shrunk.fs_bytes),
            size_text(smaller.shrunk.free_bytes)
        ));
        fit.notes.extend(moved_text(&smaller.shrunk.moved));
        fit.notes.extend(hibernation_text(survey));
        if smaller.shrunk.left_out_bytes > 0 {
            fit.notes.push(format!(
                "{} bytes behind the last partition, which belong to no filesystem, are left out",
                smaller.shrunk.left_out_bytes
            ));
        }
        let partitions = smaller.shrunk.survey.partitions.iter();
        fit.placed = Some(partitions.map(|own| own.extent).collect());
        fit.content = Some(Resized {
            view: smaller.view,
            survey: Some(smaller.shrunk.survey),
        });
        Ok(fit)
    }

    fn survey(self) -> Option<Survey> {
        if let Some(survey) = &self.origin.survey {
            return Some(survey.clone());
        }
        let content = self.origin.content()?;
        let sector_bytes = self.origin.input.sector_bytes;
        Some(survey(content, sector_bytes, Scope::UsedOnly, self.monitor))
    }

    /// Returns the error of a card that is too small for what needs `needed` bytes; `why` says why
    /// it can't be made smaller.
    pub(crate) fn too_small(self, needed: u64, why: Option<&str>) -> OpError {
        let (origin, len) = (self.origin, self.len);
        let by = needed.saturating_sub(len);
        let message = format!(
            "the card is {by} bytes too small: {} needs {needed}, the card has {len}",
            origin.name()
        );
        let error = OpError::new(OpErrorKind::Refused, message);
        let used = origin.map.bytes(State::Used);
        let error = match why {
            None => error.hint(format!("{} of it are used", size_text(used))),
            Some(why) => error.hint(format!("no filesystem on it can be made smaller: {why}")),
        };
        // What an image lacks at its end stays missing, however it is read.
        let is_helped = used < len && origin.cut.is_none();
        let remedy = remedy(&origin.input.access).filter(|_| is_helped);
        let error = remedy.into_iter().fold(error, OpError::hint);
        error.hint(card_hint(needed))
    }
}

/// Says which card would do for what needs `needed` bytes.
fn card_hint(needed: u64) -> String {
    let size = size_text(needed);
    format!("the smallest card that fits has {needed} bytes ({size})")
}

/// Returns where a partition's content ends, on the medium.
fn content_end(partition: &Partition) -> u64 {
    // It may be longer than its partition.
    let len = partition.content.needed_len(partition.extent.len());
    partition.extent.start().saturating_add(len)
}

/// Tells whether the backup of a GPT is not known to be at the end of a medium of `len` bytes.
fn lacks_end(table: &PartitionTable, len: u64) -> bool {
    let last = len.saturating_sub(u64::from(table.sector_bytes));
    let mut metadata = table.metadata.iter();
    table.scheme != Scheme::Mbr && !metadata.any(|extent| extent.end() > last)
}

fn last_end(table: &PartitionTable) -> u64 {
    let ends = table.partitions.iter().map(|part| part.extent.end());
    ends.max().unwrap_or(0)
}

/// Returns what a table needs behind its last partition.
pub(crate) fn tail_of(table: &PartitionTable) -> u64 {
    needed_len(table, &[]).saturating_sub(last_end(table))
}

/// Returns how long a card must be for all filesystems to be on it.
fn needed_with_table(table: &PartitionTable, survey: &Survey) -> u64 {
    // The one that ends last: a number that is too small would be believed.
    let end = survey.partitions.iter().map(content_end).max().unwrap_or(0);
    let sector = u64::from(table.sector_bytes.max(1));
    let end = end.checked_next_multiple_of(sector).unwrap_or(u64::MAX);
    end.saturating_add(tail_of(table))
}

fn needed_without_table(origin: &SurveyedInput, survey: &Survey) -> u64 {
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
