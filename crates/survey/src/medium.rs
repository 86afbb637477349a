//! The survey of a whole medium.

use cardkeep_block::{
    AllocationMap, Cached, Extent, Monitor, Phase, ReadAt, Run, Silent, Slice, State, Trouble,
    with_causes,
};
use cardkeep_ptable::{Corrupt, Error as TableError, Loaded, Partition as Entry, PartitionTable};

use crate::content::{Content, learn};
use crate::cut::{Cut, Extended, used_in, whole_len};
use crate::gap::{Gap, gaps};
use crate::identity::{Identity, shown};
use crate::signature::iso_len;
use crate::stale::clear_stale_signatures;
use crate::stated_len::stated_len;

/// How much of a medium is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// What is proven free is left out.
    UsedOnly,
    /// Every byte is wanted, whatever the filesystems say.
    Everything,
}

/// How far a survey's partition table is the medium's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableState {
    /// It was loaded from the whole medium, and agrees with it.
    Whole,
    /// It reaches past the medium's end, and lists all partitions.
    Cut,
    /// It reaches past the medium's end, and records of partitions lie there.
    Incomplete,
    /// It is good for showing: it passed by, or the medium got another size since.
    Shown,
}

/// One partition with what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Its number as Linux counts; 0 stands for a medium without partitions.
    pub number: u32,
    /// Where it lies on the medium, in bytes.
    pub extent: Extent,
    /// What its table entry says it is, in words.
    pub kind: String,
    /// Its type in the table: two hexadecimal digits or a GUID; empty without a table.
    pub kind_code: String,
    /// Its name in a GPT.
    pub name: Option<String>,
    /// Its `PARTUUID`; empty without a table.
    pub part_uuid: String,
    /// What it holds.
    pub content: Content,
    /// Bytes that matter.
    pub used_bytes: u64,
    /// Bytes that have to be zero.
    pub zero_bytes: u64,
    /// Bytes that don't matter.
    pub free_bytes: u64,
}

/// All that was learnt of a medium.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survey {
    /// The medium's length in bytes.
    pub len: u64,
    /// The size in bytes of the sectors that its partition table counts in.
    pub sector_bytes: u32,
    /// Its partition table, where it has one that can be trusted.
    pub table: Option<PartitionTable>,
    /// How far that is the medium's own.
    pub table_state: TableState,
    /// Its partitions in address order.
    pub partitions: Vec<Partition>,
    /// What lies outside all partitions.
    pub gaps: Vec<Gap>,
    /// What it lacks at its end, where it ends before its partitions or its filesystem do.
    pub cut: Option<Cut>,
    /// What is unusual about it and harms nothing, in words.
    pub notes: Vec<String>,
    /// Which bytes matter.
    pub map: AllocationMap,
    /// What the card says of itself.
    pub identity: Identity,
    /// How much was read to learn all this, in bytes.
    pub bytes_read: u64,
}

impl Partition {
    /// Counts the bytes in each state; `runs` tile the partition.
    pub(crate) fn count(&mut self, runs: impl Iterator<Item = Run>) {
        (self.used_bytes, self.zero_bytes, self.free_bytes) = (0, 0, 0);
        for run in runs {
            *match run.state {
                State::Used => &mut self.used_bytes,
                State::Zero => &mut self.zero_bytes,
                State::Free => &mut self.free_bytes,
            } += run.extent.len();
        }
    }
}

impl Survey {
    /// Tells whether all filesystems that are understood were unmounted properly.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.partitions
            .iter()
            .filter_map(|partition| partition.content.filesystem())
            .all(|summary| summary.is_clean)
    }

    /// Returns the partition table, where it was loaded from the whole medium and agrees with it.
    #[must_use]
    pub fn whole_table(&self) -> Option<&PartitionTable> {
        let is_whole = self.table_state == TableState::Whole;
        self.table.as_ref().filter(|_| is_whole)
    }

    /// Returns the partition table, where it lists all partitions, even such as reach past the
    /// medium's end.
    #[must_use]
    pub fn complete_table(&self) -> Option<&PartitionTable> {
        let is_complete = matches!(self.table_state, TableState::Whole | TableState::Cut);
        self.table.as_ref().filter(|_| is_complete)
    }

    /// Returns the partition that holds the byte at `offset`.
    #[must_use]
    pub fn partition_at(&self, offset: u64) -> Option<&Partition> {
        self.partitions
            .iter()
            .find(|partition| partition.extent.contains(offset))
    }
}

/// Learns what is on `medium`. Never fails: what can't be read or understood is used, and the
/// monitor hears of it.
pub fn survey(
    medium: &dyn ReadAt,
    sector_bytes: u32,
    scope: Scope,
    monitor: &dyn Monitor,
) -> Survey {
    monitor.phase(Phase::Survey, None);
    let cached = Cached::new(medium);
    let mut survey = Survey {
        len: medium.len(),
        sector_bytes,
        table: None,
        table_state: TableState::Whole,
        partitions: Vec::new(),
        gaps: Vec::new(),
        cut: None,
        notes: Vec::new(),
        map: AllocationMap::all(medium.len(), State::Used),
        identity: Identity::default(),
        bytes_read: 0,
    };
    match cardkeep_ptable::load(&cached, sector_bytes) {
        Ok(Loaded::Table(table)) => survey.add_table(&cached, &table, monitor),
        Ok(Loaded::None) => survey.add_whole(&cached, monitor),
        Err(TableError::Corrupt(corrupt)) if corrupt.cut().is_some() => {
            survey.add_cut_table(&cached, &corrupt, monitor);
        }
        Err(_) if iso_len(&cached).is_some() => survey.add_hybrid_disc(&cached, monitor),
        Err(error) => survey.add_broken_table(&error, monitor),
    }
    survey.tell_cut(monitor);
    survey.clear_stale_signatures();
    if scope == Scope::Everything {
        survey.map = AllocationMap::all(medium.len(), State::Used);
    }
    survey.bytes_read = cached.bytes_read();
    survey
}

impl Survey {
    fn add_table(&mut self, medium: &dyn ReadAt, table: &PartitionTable, monitor: &dyn Monitor) {
        self.note_length(table);
        for damage in table.damages.iter().filter(|own| !own.is_of_length()) {
            monitor.trouble(Trouble::new(format!("partition table: {damage}")));
        }
        self.table = Some(table.clone());
        if table.partitions.is_empty() {
            // A table without partitions proves nothing: what lies there may be older than it.
            monitor.trouble(Trouble::new(
                "the partition table lists no partitions; all of the card is copied",
            ));
            return;
        }
        let mut entries = table.partitions.clone();
        entries.sort_by_key(|entry| entry.extent);
        let here = Extent::between(0, self.len);
        let mut cut = self.cut.take().unwrap_or(Cut::of(self.len));
        let reaches = self.reaches(medium, &entries, monitor);
        let extents: Vec<Extent> = reaches
            .iter()
            .map(|reach| reach.intersection(here))
            .filter(|extent| !extent.is_empty())
            .collect();
        self.gaps = gaps(self.len, &extents);
        let runs: Vec<Run> = self.gaps.iter().flat_map(Gap::runs).collect();
        self.map = self.map.replaced(&runs);
        for (entry, reach) in entries.iter().zip(reaches) {
            self.add_entry(medium, (table, entry, reach), &mut cut, monitor);
        }
        self.cut = cut.found();
        let own: Vec<Run> = table
            .metadata
            .iter()
            .map(|&extent| Run::new(extent, State::Used))
            .collect();
        self.map = self.map.raised(&own);
    }

    /// Looks at one partition, as far as the medium goes; its filesystem reaches as far as `reach`.
    fn add_entry(
        &mut self,
        medium: &dyn ReadAt,
        (table, entry, reach): (&PartitionTable, &Entry, Extent),
        cut: &mut Cut,
        monitor: &dyn Monitor,
    ) {
        let slice = Slice::new(medium, reach);
        let name = format!("partition {}", entry.number);
        let is_cut = entry.extent.end() > self.len;
        // Of what can't be read behind the end, the cut itself tells enough.
        let learnt = learn(&slice, &name, if is_cut { &Silent } else { monitor });
        cut.add((entry.number, reach), learnt.content_len, |extent| {
            used_in(&learnt.map, extent)
        });
        let extent = entry.extent.intersection(Extent::between(0, self.len));
        if extent.is_empty() {
            return;
        }
        self.map = self.map.with_inner(extent.start(), &learnt.map);
        if self.identity.is_empty() {
            self.identity = learnt.identity;
        }
        let count = |state| {
            let own = self.map.runs_in(extent).filter(|run| run.state == state);
            own.map(|run| run.extent.len()).sum()
        };
        self.partitions.push(Partition {
            number: entry.number,
            extent,
            kind: entry.kind.description().to_owned(),
            kind_code: entry.kind.to_string(),
            part_uuid: table.part_uuid(entry),
            name: entry.name.as_deref().map(shown),
            content: learnt.content,
            used_bytes: count(State::Used),
            zero_bytes: count(State::Zero),
            free_bytes: count(State::Free),
        });
    }

    /// Returns how far each entry (ordered) reaches by what its filesystem says: to its end, or behind
    /// it up to the next one where the filesystem is longer. The monitor hears of these.
    fn reaches(
        &self,
        medium: &dyn ReadAt,
        entries: &[Entry],
        monitor: &dyn Monitor,
    ) -> Vec<Extent> {
        let reach = |(index, entry): (usize, &Entry)| {
            let extent = entry.extent;
            let stated = stated_len(&Slice::new(medium, extent)).unwrap_or(0);
            if stated <= extent.len() || extent.end() > self.len {
                return extent;
            }
            monitor.trouble(longer_than_partition(entry.number, extent, stated));
            let next = entries.get(index + 1).map(|next| next.extent.start());
            let limit = next.unwrap_or(self.len).min(self.len);
            let end = extent.start().saturating_add(stated).min(limit);
            Extent::between(extent.start(), end.max(extent.end()))
        };
        entries.iter().enumerate().map(reach).collect()
    }

    /// Lets the places of signatures of older contents be zero unless they are used.
    fn clear_stale_signatures(&mut self) {
        let extents: Vec<Extent> = self.partitions.iter().map(|part| part.extent).collect();
        self.map = clear_stale_signatures(&self.map, &extents, self.len);
        for partition in &mut self.partitions {
            let runs = self.map.runs_in(partition.extent);
            partition.count(runs);
        }
    }

    /// A medium without a partition table: a filesystem from its first byte on, or nothing known.
    fn add_whole(&mut self, medium: &dyn ReadAt, monitor: &dyn Monitor) {
        let own_len = whole_len(medium).unwrap_or(self.len);
        let whole = Extended::new(medium, own_len);
        let is_cut = whole.len() > self.len;
        let mut learnt = learn(&whole, "the medium", if is_cut { &Silent } else { monitor });
        let mut cut = Cut::of(self.len);
        let place = (0, Extent::between(0, whole.len()));
        cut.add(place, whole.len(), |extent| used_in(&learnt.map, extent));
        self.cut = cut.found();
        if is_cut {
            learnt.map = AllocationMap::all(self.len, State::Used).with_inner(0, &learnt.map);
        }
        if learnt.content == Content::Opaque(None) {
            monitor.trouble(Trouble::new(
                "no partition table and no known filesystem was found; all of it is copied",
            ));
        }
        self.map = learnt.map;
        self.identity = learnt.identity;
        self.partitions.push(Partition {
            number: 0,
            extent: Extent::between(0, self.len),
            kind: "whole medium".to_owned(),
            kind_code: String::new(),
            name: None,
            part_uuid: String::new(),
            content: learnt.content,
            used_bytes: self.map.bytes(State::Used),
            zero_bytes: self.map.bytes(State::Zero),
            free_bytes: self.map.bytes(State::Free),
        });
    }

    /// A table that reaches past the medium's end, and has no other fault: what is there is looked at.
    fn add_cut_table(&mut self, medium: &dyn ReadAt, corrupt: &Corrupt, monitor: &dyn Monitor) {
        let Some(table) = corrupt.cut() else { return };
        let all = table.partitions.iter().chain(&table.containers);
        let end = all.map(|entry| entry.extent.end()).max().unwrap_or(0);
        let mut cut = Cut::of(self.len);
        for container in &table.containers {
            // Partitions whose records are gone may be anywhere in what is missing.
            let own_len = match corrupt.lacks_partitions() {
                true => container.extent.len(),
                false => 0,
            };
            let place = (container.number, container.extent);
            cut.add(place, own_len, |extent| extent.len());
        }
        self.cut = Some(cut);
        self.table_state = match corrupt.lacks_partitions() {
            true => TableState::Incomplete,
            false => TableState::Cut,
        };
        self.add_table(&Extended::new(medium, end), table, monitor);
        self.cut = self.cut.take().and_then(Cut::found);
    }

    /// A disc that is a disk as well: its partition table describes the filesystem of the disc once
    /// more, and partitions overlap on purpose.
    fn add_hybrid_disc(&mut self, medium: &dyn ReadAt, monitor: &dyn Monitor) {
        self.notes
            .push("it is a hybrid disc image (ISO 9660): all of it is copied".to_owned());
        self.add_whole(medium, monitor);
    }

    /// Notes what is wrong with a table only because the medium has another length.
    pub fn note_length(&mut self, table: &PartitionTable) {
        let damages = table.damages.iter().filter(|damage| damage.is_of_length());
        let notes = damages.map(|damage| format!("partition table: {damage}"));
        self.notes.extend(notes);
    }

    /// Tells what is missing at its end, or notes that nothing is.
    pub fn tell_cut(&mut self, monitor: &dyn Monitor) {
        match &self.cut {
            Some(cut) if cut.is_harmless() => self.notes.push(format!("it {cut}")),
            Some(cut) => monitor.trouble(Trouble::new(format!("it {cut}"))),
            None => {}
        }
    }

    /// A table that contradicts itself is shown, but nothing is left out because of it.
    fn add_broken_table(&mut self, error: &TableError, monitor: &dyn Monitor) {
        let message = format!("{}; the whole card is copied", with_causes(error));
        monitor.trouble(Trouble::new(message));
        let TableError::Corrupt(corrupt) = error else {
            return;
        };
        let Some(table) = corrupt.readable() else {
            return;
        };
        for entry in &table.partitions {
            let extent = entry.extent.intersection(Extent::between(0, self.len));
            self.partitions.push(Partition {
                number: entry.number,
                extent,
                kind: entry.kind.description().to_owned(),
                kind_code: entry.kind.to_string(),
                name: entry.name.as_deref().map(shown),
                part_uuid: table.part_uuid(entry),
                content: Content::Opaque(Some("not looked at".into())),
                used_bytes: extent.len(),
                zero_bytes: 0,
                free_bytes: 0,
            });
        }
    }
}

/// Says that a filesystem is longer than its partition, and what to do.
pub(crate) fn longer_than_partition(number: u32, partition: Extent, stated: u64) -> Trouble {
    let len = partition.len();
    let sectors = stated.div_ceil(512);
    Trouble::new(format!(
        "partition {number} has {len} bytes, but its filesystem {stated}: a resize may have \
         stopped half way. What lies behind the partition is copied up to the filesystem's end. \
         To repair the card, make the partition {sectors} sectors long (`echo ,{sectors} | sudo \
         sfdisk -N{number} CARD`), then check the filesystem"
    ))
    .at(partition)
}
