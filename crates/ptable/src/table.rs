//! The partition table: what all schemes have in common.

use cardkeep_block::Extent;

use crate::{Damage, Guid, Kind};

/// What was found where a partition table would be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Loaded {
    /// No table: blank, a filesystem directly on the medium, a boot sector without entries, or
    /// something else. Nothing is known about the medium's bytes then.
    None,
    /// A table that is consistent with itself and with its medium.
    Table(PartitionTable),
}

/// How a medium is partitioned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// A master boot record, with logical partitions perhaps.
    Mbr,
    /// A GUID partition table behind a protective MBR.
    Gpt,
    /// A GUID partition table whose MBR lists some of the partitions too, for firmware that
    /// reads nothing else. The GPT counts, as for Linux.
    HybridGpt,
}

impl std::fmt::Display for Scheme {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Mbr => "MBR",
            Self::Gpt => "GPT",
            Self::HybridGpt => "GPT with a hybrid MBR",
        })
    }
}

/// The identity that a table gives its medium.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DiskId {
    /// The disk signature of an MBR; 0 where none was ever set.
    Mbr(u32),
    /// The disk GUID of a GPT.
    Gpt(Guid),
}

/// As blkid and udev write `PTUUID`.
impl std::fmt::Display for DiskId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Mbr(signature) => write!(f, "{signature:08x}"),
            Self::Gpt(guid) => guid.fmt(f),
        }
    }
}

/// One partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// The number as Linux counts: the slot of a primary partition or GPT entry from 1, logical
    /// ones from 5 in the order of their chain.
    pub number: u32,
    /// Where it lies on the medium, in bytes.
    pub extent: Extent,
    /// What it is said to be for.
    pub kind: Kind,
    /// The name in its GPT entry, where it has one.
    pub name: Option<String>,
    /// Whether firmware should boot from it: the MBR's active flag, or the GPT's attribute
    /// "legacy BIOS bootable".
    pub bootable: bool,
    /// Whether it lies in an extended partition.
    pub logical: bool,
    /// The partition's own GUID, where the scheme has one.
    pub guid: Option<Guid>,
}

impl Partition {
    /// Returns what blkid and udev call `PARTUUID`, on a disk called `disk`: `5049424b-02` for
    /// MBR (the number is hexadecimal), the lower-case GUID for GPT.
    #[must_use]
    pub fn part_uuid(&self, disk: DiskId) -> String {
        match self.guid {
            Some(guid) => guid.to_string(),
            None => format!("{disk}-{:02x}", self.number),
        }
    }
}

/// A medium's partition table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionTable {
    /// How it is written.
    pub scheme: Scheme,
    /// The identity it gives the medium.
    pub disk_id: DiskId,
    /// The size in bytes of the sectors it counts in.
    pub sector_bytes: u32,
    /// The partitions that can hold a filesystem, ordered by number. Extended partitions are
    /// not among them: see [`PartitionTable::containers`].
    pub partitions: Vec<Partition>,
    /// The extended partitions, in which the logical ones lie.
    pub containers: Vec<Partition>,
    /// Every byte range that the table itself takes, ordered and disjoint: MBR, each EBR, the
    /// headers and entry arrays of both GPT copies.
    pub metadata: Vec<Extent>,
    /// What is wrong with it without putting any partition in doubt.
    pub damages: Vec<Damage>,
    /// The first byte that a partition may take: FirstUsableLBA of a GPT; the byte behind the
    /// first sector for MBR.
    pub usable_start: u64,
    /// How many bytes the table needs at the medium's end: the backup GPT; 0 for MBR.
    pub tail_bytes: u64,
}

impl PartitionTable {
    /// Returns the partition with this number.
    #[must_use]
    pub fn partition(&self, number: u32) -> Option<&Partition> {
        self.partitions.iter().find(|p| p.number == number)
    }

    /// Returns the partition or extended partition with this number.
    pub(crate) fn any_partition(&self, number: u32) -> Option<&Partition> {
        let mut all = self.partitions.iter().chain(&self.containers);
        all.find(|p| p.number == number)
    }

    /// Returns what blkid and udev call `PARTUUID` of a partition of this table.
    #[must_use]
    pub fn part_uuid(&self, partition: &Partition) -> String {
        partition.part_uuid(self.disk_id)
    }
}

#[cfg(test)]
mod tests {
    use cardkeep_block::Extent;

    use super::{DiskId, Partition};
    use crate::{Guid, Kind};

    #[test]
    fn part_uuids_are_written_as_udev_does() {
        let mut partition = Partition {
            number: 16,
            extent: Extent::default(),
            kind: Kind::Mbr(0x83),
            name: None,
            bootable: false,
            logical: true,
            guid: None,
        };
        assert_eq!(partition.part_uuid(DiskId::Mbr(0x49_424b)), "0049424b-10");
        partition.guid = Some(Guid::from_u128(0xAB));
        assert_eq!(
            partition.part_uuid(DiskId::Gpt(Guid::ZERO)),
            "00000000-0000-0000-0000-0000000000ab"
        );
    }
}
