//! The survey of a medium that passes by once, in address order: an image that can only be read
//! from its beginning on.
//!
//! Each thing learnt says where the next one lies, so there is an agenda of places to wait for:
//!
//! ```text
//!   head of the medium ─► partition table ─► head of each partition ─┬─► FATs ──► map
//!        ▲      │ logical partitions: the next link                  ├─► swap header ──► map
//!        └──────┘                                                    └─► ext: descriptors ─┐
//!                         journal's superblock ◄─ journal's inode ◄──┬─────────────────────┘
//!                                                                    └─► a bitmap ──► a group
//! ```
//!
//! Only the bytes of these places are kept, and only up to a constant. Whatever passes before it
//! is proven free is used; whatever does not add up stays used.

use std::collections::BTreeSet;

use cardkeep_block::{
    AllocationMap, Behind, Extent, MapBuilder, ReadAt, Run, Silent, State, Step, Streaming, Trouble,
};
use cardkeep_ptable::{Error as TableError, Loaded, PartitionTable, Scheme};

use crate::content::{Content, learn};
use crate::cut::Cut;
use crate::drivers;
use crate::gap::{Gap, gaps};
use crate::identity::{Identity, shown};
use crate::kept::Kept;
use crate::medium::{Partition, Survey, TableState};
use crate::passing_partition::{Known, PassingPartition};
use crate::stale::stale_places;
use crate::stated_len::stated_len;

/// What is kept of the beginning of the medium and of each partition: a GPT of the usual size, and
/// the signatures of all filesystems (that of btrfs lies furthest, right behind 64 KiB).
const HEAD_BYTES: u64 = 72 * 1024;
/// A chain of logical partitions has at most 256 links (see `ptable`), each read on its own.
const TABLE_TRIES_MAX: u32 = 260;

/// What to learn once its bytes have passed. Numbers are indices of partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Task {
    Table,
    Head(usize),
    Whole(usize),
    Begin(usize),
    Step { partition: usize, number: u64 },
}

/// Learns what a medium holds while its content passes by, in address order.
#[derive(Debug)]
pub struct PassingSurvey {
    content_len: Option<u64>,
    sector_bytes: u32,
    kept: Kept,
    /// What to do when, by the offset that must have passed.
    agenda: BTreeSet<(u64, Task)>,
    table_tries_left: u32,
    table: Option<PartitionTable>,
    /// In address order, disjoint.
    partitions: Vec<PassingPartition>,
    gaps: Vec<Gap>,
    /// What lies outside the partitions; used behind its end.
    outside: AllocationMap,
    doubt: Option<Trouble>,
}

impl PassingSurvey {
    /// Returns the survey of a medium of which nothing has passed. `content_len` is its length in
    /// bytes, where that is known: only then what lies behind its last partition can be free.
    #[must_use]
    pub fn new(content_len: Option<u64>, sector_bytes: u32) -> Self {
        let len = content_len.unwrap_or(AllocationMap::LEN_MAX);
        let len = len.min(AllocationMap::LEN_MAX);
        let mut survey = Self {
            content_len,
            sector_bytes,
            kept: Kept::new(len),
            agenda: BTreeSet::new(),
            table_tries_left: TABLE_TRIES_MAX,
            table: None,
            partitions: Vec::new(),
            gaps: Vec::new(),
            outside: AllocationMap::all(0, State::Used),
            doubt: None,
        };
        survey.ask(Extent::between(0, HEAD_BYTES.min(len)), Task::Table);
        survey
    }

    /// Takes the next bytes, without gaps. What is learnt does not depend on how the content is
    /// cut into pieces.
    pub fn see(&mut self, bytes: &[u8]) {
        let mut bytes = bytes;
        while !bytes.is_empty() {
            // Each task may want what follows right behind its own bytes.
            let next = self.agenda.first().map_or(u64::MAX, |&(end, _)| end);
            let room = next.saturating_sub(self.kept.passed()).max(1);
            let room = usize::try_from(room).unwrap_or(usize::MAX);
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.kept.see(now);
            bytes = later;
            while let Some(&(end, task)) = self.agenda.first()
                && end <= self.kept.passed()
            {
                self.agenda.pop_first();
                self.learn(task);
            }
        }
    }

    /// Returns the runs that tile `extent`, as cautious as what has passed so far demands: bytes
    /// that have not passed are used. Asked again later, the answer may have become less cautious,
    /// or more so where there is a [`PassingSurvey::doubt`].
    #[must_use]
    pub fn runs(&self, extent: Extent) -> Vec<Run> {
        let end = self.kept.passed().min(self.kept.len());
        let seen = extent.intersection(Extent::between(0, end));
        let mut builder = MapBuilder::new(seen.end());
        builder.push_to(seen.start(), State::Used);
        let before = |part: &PassingPartition| part.summary.extent.end() <= seen.start();
        let first = self.partitions.partition_point(before);
        for partition in &self.partitions[first..] {
            let part = partition.summary.extent.intersection(seen);
            if part.is_empty() {
                break;
            }
            self.push_outside(&mut builder, part.start());
            for run in partition.runs(&self.kept, part) {
                builder.push_to(run.extent.end(), run.state);
            }
        }
        self.push_outside(&mut builder, seen.end());
        let map = builder.finish(State::Used).raised(&self.stale_places(seen));
        let mut runs: Vec<Run> = map.runs_in(seen).collect();
        let rest = Extent::between(seen.end().max(extent.start()), extent.end());
        match runs.last_mut() {
            _ if rest.is_empty() => {}
            Some(last) if last.state == State::Used => {
                last.extent = Extent::between(last.extent.start(), rest.end());
            }
            _ => runs.push(Run::new(rest, State::Used)),
        }
        runs
    }

    /// Returns the places of signatures of older contents in `window`. An unknown end is no end.
    fn stale_places(&self, window: Extent) -> Vec<Run> {
        let extents = self.partitions.iter().map(|part| part.summary.extent);
        let extents: Vec<Extent> = extents.collect();
        stale_places(&extents, Extent::between(0, self.kept.len()), window)
    }

    fn push_outside(&self, builder: &mut MapBuilder, end: u64) {
        let window = Extent::between(builder.end(), end);
        for run in self.outside.runs_in(window) {
            builder.push_to(run.extent.end(), run.state);
        }
        builder.push_to(end, State::Used);
    }

    /// Returns what came by later and contradicts what was called free before: a caller that left
    /// something out by then has to start again and leave out nothing.
    #[must_use]
    pub const fn doubt(&self) -> Option<&Trouble> {
        self.doubt.as_ref()
    }

    /// Returns what was learnt so far, for showing it: partitions and filesystems with what these
    /// say is free. Whose card it is can't be told in passing. Its map calls everything used: ask
    /// [`PassingSurvey::runs`] instead.
    #[must_use]
    pub fn survey(&self) -> Survey {
        let len = self.content_len.unwrap_or(self.kept.passed());
        let len = len.min(AllocationMap::LEN_MAX);
        Survey {
            len,
            sector_bytes: self.sector_bytes,
            table: self.table.clone(),
            table_state: TableState::Shown,
            partitions: self.shown_partitions(len),
            gaps: self.gaps.clone(),
            cut: self.cut(),
            notes: Vec::new(),
            map: AllocationMap::all(len, State::Used),
            identity: Identity::default(),
            bytes_read: self.kept.passed(),
        }
    }

    /// Returns what the medium lacks, if it ended here: where it ends before its partitions or its
    /// filesystem do.
    #[must_use]
    pub fn cut(&self) -> Option<Cut> {
        let mut cut = Cut::of(self.kept.passed());
        for partition in &self.partitions {
            let Partition { number, extent, .. } = partition.summary;
            let start = extent.start();
            let own_len = match (number, partition.content_len) {
                // Without a table, the medium is as long as it is, or as its filesystem says.
                (0, None) => continue,
                (_, own_len) => own_len.unwrap_or(extent.len()).min(extent.len()),
            };
            let place = match number {
                0 if own_len == extent.len() => continue,
                0 => Extent::between(start, start + own_len),
                _ => extent,
            };
            cut.add((number, place), own_len, |missing| {
                let missing = Extent::between(start + missing.start(), start + missing.end());
                let runs = partition.runs(&self.kept, missing).into_iter();
                let used = runs.filter(|run| run.state == State::Used);
                used.map(|run| run.extent.len()).sum()
            });
        }
        cut.found()
    }

    /// Tells whether the partition table goes on in what has not passed yet: a chain of logical
    /// partitions does.
    #[must_use]
    pub fn lacks_partitions(&self) -> bool {
        self.agenda.iter().any(|&(_, task)| task == Task::Table) && self.kept.passed() >= HEAD_BYTES
    }

    /// Returns how long a medium has to be at the least to hold what is known so far, in bytes; it never gets
    /// less. What follows the last partition, and what is not known yet, counts for nothing.
    #[must_use]
    pub fn needed_len(&self) -> u64 {
        let ends = self.partitions.iter().enumerate();
        ends.map(|(index, partition)| self.needed_end(index, partition))
            .max()
            .unwrap_or(0)
    }

    fn needed_end(&self, index: usize, partition: &PassingPartition) -> u64 {
        let Partition {
            number,
            extent,
            content,
            ..
        } = &partition.summary;
        let waits = |task: &Task| matches!(*task, Task::Head(own) | Task::Whole(own) | Task::Begin(own) if own == index);
        if self.agenda.iter().any(|(_, task)| waits(task)) {
            return extent.start();
        }
        let stated = content.filesystem().map(|summary| summary.len);
        let known = match content.filesystem().map(|summary| summary.behind) {
            // An overlay needs the rest of the partition.
            Some(Behind::Unknown) if *number > 0 => partition.content_len,
            _ => [partition.content_len, stated].into_iter().flatten().min(),
        };
        match (number, stated) {
            // Without a table, nothing but a filesystem says where the medium ends.
            (0, None) => 0,
            _ => extent
                .start()
                .saturating_add(known.unwrap_or(u64::MAX).min(extent.len())),
        }
    }

    /// Tells whether the medium is known to have no partition table.
    #[must_use]
    pub fn is_without_table(&self) -> bool {
        let first = self.partitions.first();
        first.is_some_and(|partition| partition.summary.number == 0)
    }

    /// A medium whose length is not known ends, for showing, where it has passed.
    fn shown_partitions(&self, len: u64) -> Vec<Partition> {
        let mut shown: Vec<Partition> = self.partitions.iter().map(|p| p.summary.clone()).collect();
        for partition in shown.iter_mut().filter(|partition| partition.number == 0) {
            partition.extent = partition.extent.intersection(Extent::between(0, len));
            let rest = len.saturating_sub(partition.free_bytes);
            partition.used_bytes = rest.saturating_sub(partition.zero_bytes);
        }
        shown
    }

    /// Puts `task` on the agenda for when `extent` has passed. Tells whether it can be kept.
    fn ask(&mut self, extent: Extent, task: Task) -> bool {
        let is_kept = self.kept.want(extent);
        if is_kept {
            self.agenda.insert((extent.end(), task));
        }
        is_kept
    }

    /// As [`PassingSurvey::ask`], for an extent of a partition.
    fn ask_in(&mut self, index: usize, extent: Extent, task: Task) -> bool {
        let whole = self.partitions[index].summary.extent;
        match extent.shifted(whole.start()) {
            Some(place) if whole.covers(place) => self.ask(place, task),
            _ => false,
        }
    }

    fn learn(&mut self, task: Task) {
        match task {
            Task::Table => self.learn_table(),
            Task::Head(index) => self.learn_head(index),
            Task::Whole(index) => self.learn_whole(index),
            Task::Begin(index) => self.begin_steps(index),
            Task::Step { partition, number } => self.learn_step(partition, number),
        }
    }

    fn learn_table(&mut self) {
        self.kept.take_missed();
        let loaded = cardkeep_ptable::load(&self.kept, self.sector_bytes);
        let missed = self.kept.take_missed();
        match (loaded, missed) {
            (Ok(Loaded::Table(table)), missed) => self.add_table(&table, missed),
            (Ok(Loaded::None), None) => self.add_whole(),
            (Err(TableError::Io(_)), Some(missed)) if self.table_tries_left > 0 => {
                // The next link of a chain; where it has passed already, all stays used.
                self.table_tries_left -= 1;
                self.ask(missed, Task::Table);
            }
            _ => {}
        }
    }

    /// `missed` is the backup of a GPT, which comes last.
    fn add_table(&mut self, table: &PartitionTable, missed: Option<Extent>) {
        let mut entries = table.partitions.clone();
        entries.sort_by_key(|entry| entry.extent);
        let is_hit = |missed: Extent| entries.iter().any(|e| e.extent.overlaps(missed));
        self.table = Some(table.clone());
        if missed.is_some_and(is_hit) {
            return;
        }
        let extents: Vec<Extent> = entries.iter().map(|entry| entry.extent).collect();
        let Some(end) = extents.last().map(|extent| extent.end()) else {
            return;
        };
        // The backup of a GPT may lie in any gap, and an unknown end is no end.
        let len = self.content_len.map_or(end, |_| self.kept.len());
        self.gaps = gaps(len, &extents);
        if table.scheme == Scheme::Mbr {
            let free: Vec<Run> = self.gaps.iter().flat_map(Gap::runs).collect();
            let own = table.metadata.iter();
            let own: Vec<Run> = own.map(|&extent| Run::new(extent, State::Used)).collect();
            let all = AllocationMap::all(len, State::Used);
            self.outside = all.replaced(&free).raised(&own);
        }
        for entry in entries {
            self.add_partition(Partition {
                number: entry.number,
                extent: entry.extent,
                kind: entry.kind.description().to_owned(),
                kind_code: entry.kind.to_string(),
                part_uuid: table.part_uuid(&entry),
                name: entry.name.as_deref().map(shown),
                content: Content::Opaque(None),
                used_bytes: entry.extent.len(),
                zero_bytes: 0,
                free_bytes: 0,
            });
        }
    }

    /// A medium without a partition table: a filesystem from its first byte on, or nothing known.
    fn add_whole(&mut self) {
        let extent = Extent::between(0, self.kept.len());
        self.add_partition(Partition {
            number: 0,
            extent,
            kind: "whole medium".to_owned(),
            kind_code: String::new(),
            name: None,
            part_uuid: String::new(),
            content: Content::Opaque(None),
            used_bytes: extent.len(),
            zero_bytes: 0,
            free_bytes: 0,
        });
    }

    /// Adds a partition behind those before. One whose head has passed already stays unknown, and
    /// used.
    fn add_partition(&mut self, partition: Partition) {
        let index = self.partitions.len();
        let head = Extent::between(0, HEAD_BYTES.min(partition.extent.len()));
        self.partitions.push(PassingPartition::new(partition));
        self.ask_in(index, head, Task::Head(index));
    }

    fn learn_head(&mut self, index: usize) {
        let slice = self.partitions[index].slice(&self.kept);
        let stated = stated_len(&slice).unwrap_or(0);
        if stated > slice.extent().len() {
            self.keep_behind(index, stated);
            return;
        }
        let Some(driver) = drivers::at_beginning(&slice) else {
            return self.learn_whole(index);
        };
        match driver.streaming(&slice) {
            Streaming::Head => self.learn_whole(index),
            Streaming::Bytes(len) => {
                self.ask_in(index, Extent::between(0, len), Task::Whole(index));
            }
            Streaming::Steps(len) => {
                self.ask_in(index, Extent::between(0, len), Task::Begin(index));
            }
            _ => {}
        }
    }

    /// Keeps what lies behind a partition whose filesystem is longer, `stated` bytes; the partition
    /// stays used.
    fn keep_behind(&mut self, index: usize, stated: u64) {
        let partition = self.partitions[index].summary.extent;
        let end = partition.start().saturating_add(stated);
        let behind = Extent::between(partition.end(), end.max(partition.end()));
        self.outside = self.outside.raised(&[Run::new(behind, State::Used)]);
        let gaps = self.gaps.iter().filter_map(|gap| {
            let is_next = gap.extent.start() == partition.end();
            if is_next { gap.behind(end) } else { Some(*gap) }
        });
        self.gaps = gaps.collect();
    }

    /// Learns what needs nothing but what was kept up to now.
    fn learn_whole(&mut self, index: usize) {
        let partition = &mut self.partitions[index];
        let slice = partition.slice(&self.kept);
        let learnt = learn(&slice, "the partition", &Silent);
        let map_bytes = learnt.map.run_count().saturating_mul(size_of::<u64>());
        if self.kept.charge(map_bytes as u64) {
            partition.set_map(learnt);
        }
    }

    /// Begins to learn, step by step, a filesystem whose first bytes were kept.
    fn begin_steps(&mut self, index: usize) {
        let slice = self.partitions[index].slice(&self.kept);
        let Some(driver) = drivers::at_beginning(&slice) else {
            return;
        };
        let Ok(map) = driver.streaming_map(&slice) else {
            return;
        };
        let passed = self.kept.passed() - slice.extent().start();
        let steps = map.first_steps(passed);
        self.partitions[index].set_steps(driver, map);
        self.ask_steps(index, steps);
    }

    /// Waits for the bytes of steps; a map hears of those that can't be kept.
    fn ask_steps(&mut self, index: usize, steps: Vec<Step>) {
        for Step { extent, number } in steps {
            let task = Task::Step {
                partition: index,
                number,
            };
            if !self.ask_in(index, extent, task)
                && let Known::Steps(map) = &mut self.partitions[index].known
            {
                map.miss(number);
            }
        }
    }

    fn learn_step(&mut self, index: usize, number: u64) {
        let partition = &mut self.partitions[index];
        let slice = partition.slice(&self.kept);
        let Known::Steps(map) = &mut partition.known else {
            return;
        };
        match map.learn(number, &slice) {
            Ok(next) => self.ask_steps(index, next),
            Err(error) => {
                let number = partition.summary.number;
                let message = format!(
                    "partition {number}: {error}; what lies before its journal was treated as \
                     free too early"
                );
                let place = partition.summary.extent;
                self.doubt.get_or_insert(Trouble::new(message).at(place));
            }
        }
    }
}
