//! The survey of a whole medium.

use cardkeep_block::{
    AllocationMap, Cached, Extent, Monitor, Phase, ReadAt, Run, Slice, State, Trouble,
};
use cardkeep_ptable::{Error as TableError, Loaded, PartitionTable};

use crate::content::{Content, learn};
use crate::gap::{Gap, gaps};
use crate::identity::{Identity, shown};

/// How much of a medium is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// What is proven free is left out.
    UsedOnly,
    /// Every byte is wanted, whatever the filesystems say.
    Everything,
}

/// What is known of the partition table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableSummary {
    /// `MBR`, `GPT` or a hybrid, in words.
    pub scheme: String,
    /// The disk's id, as `blkid` prints it.
    pub disk_id: String,
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
    pub table: Option<TableSummary>,
    /// Its partitions in address order.
    pub partitions: Vec<Partition>,
    /// What lies outside all partitions.
    pub gaps: Vec<Gap>,
    /// Which bytes matter.
    pub map: AllocationMap,
    /// What the card says of itself.
    pub identity: Identity,
    /// How much was read to learn all this, in bytes.
    pub bytes_read: u64,
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
        partitions: Vec::new(),
        gaps: Vec::new(),
        map: AllocationMap::all(medium.len(), State::Used),
        identity: Identity::default(),
        bytes_read: 0,
    };
    match cardkeep_ptable::load(&cached, sector_bytes) {
        Ok(Loaded::Table(table)) => survey.add_table(&cached, &table, monitor),
        Ok(Loaded::None) => survey.add_whole(&cached, monitor),
        Err(error) => survey.add_broken_table(&error, monitor),
    }
    if scope == Scope::Everything {
        survey.map = AllocationMap::all(medium.len(), State::Used);
    }
    survey.bytes_read = cached.bytes_read();
    survey
}

impl Survey {
    fn add_table(&mut self, medium: &dyn ReadAt, table: &PartitionTable, monitor: &dyn Monitor) {
        for damage in &table.damages {
            monitor.trouble(Trouble::new(format!("partition table: {damage}")));
        }
        self.table = Some(summary(table));
        if table.partitions.is_empty() {
            // A table without partitions proves nothing: what lies there may be older than it.
            monitor.trouble(Trouble::new(
                "the partition table lists no partitions; all of the card is copied",
            ));
            return;
        }
        let mut entries = table.partitions.clone();
        entries.sort_by_key(|entry| entry.extent);
        let extents: Vec<Extent> = entries.iter().map(|entry| entry.extent).collect();
        self.gaps = gaps(self.len, &extents);
        let runs: Vec<Run> = self.gaps.iter().flat_map(Gap::runs).collect();
        self.map = self.map.replaced(&runs);
        for entry in entries {
            let slice = Slice::new(medium, entry.extent);
            let name = format!("partition {}", entry.number);
            let learnt = learn(&slice, &name, monitor);
            self.map = self.map.with_inner(entry.extent.start(), &learnt.map);
            if self.identity.is_empty() {
                self.identity = learnt.identity;
            }
            self.partitions.push(Partition {
                number: entry.number,
                extent: entry.extent,
                kind: entry.kind.description().to_owned(),
                kind_code: entry.kind.to_string(),
                part_uuid: table.part_uuid(&entry),
                name: entry.name.as_deref().map(shown),
                content: learnt.content,
                used_bytes: learnt.map.bytes(State::Used),
                zero_bytes: learnt.map.bytes(State::Zero),
                free_bytes: learnt.map.bytes(State::Free),
            });
        }
        let own: Vec<Run> = table
            .metadata
            .iter()
            .map(|&extent| Run::new(extent, State::Used))
            .collect();
        self.map = self.map.raised(&own);
    }

    /// A medium without a partition table: a filesystem from its first byte on, or nothing known.
    fn add_whole(&mut self, medium: &dyn ReadAt, monitor: &dyn Monitor) {
        let learnt = learn(medium, "the medium", monitor);
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

    /// A table that contradicts itself is shown, but nothing is left out because of it.
    fn add_broken_table(&mut self, error: &TableError, monitor: &dyn Monitor) {
        let mut message = format!("{error}");
        let mut source = std::error::Error::source(error);
        while let Some(cause) = source {
            message = format!("{message}: {cause}");
            source = cause.source();
        }
        monitor.trouble(Trouble::new(format!("{message}; the whole card is copied")));
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
                content: Content::Opaque(Some("not looked at")),
                used_bytes: extent.len(),
                zero_bytes: 0,
                free_bytes: 0,
            });
        }
    }
}

/// Returns what is shown of a table.
pub(crate) fn summary(table: &PartitionTable) -> TableSummary {
    TableSummary {
        scheme: table.scheme.to_string(),
        disk_id: table.disk_id.to_string(),
    }
}
