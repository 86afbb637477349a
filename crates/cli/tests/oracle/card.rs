//! Cards made of files, stale from end to end before anything is put on them.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use cardkeep_block::Extent;
use cardkeep_testkit::{Loop, Tool};
use tempfile::TempDir;

pub(crate) const MIB: u64 = 1 << 20;
const SECTOR_BYTES: u64 = 512;
/// What lies on a source card where nothing was written.
pub(crate) const STALE_SOURCE: u8 = 0x5A;
/// What lies on a target card where a restore writes nothing.
pub(crate) const STALE_TARGET: u8 = 0xA5;

/// How a card is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Table {
    Mbr,
    /// All but the first partition lie in an extended one, each behind its own boot record.
    MbrLogical,
    Gpt,
}

/// A card in a file.
#[derive(Debug)]
pub(crate) struct Card {
    folder: TempDir,
    partitions: Vec<Extent>,
}

impl Card {
    /// Makes a card with partitions of these sizes, one after the other from 1 MiB on (logical
    /// ones 1 MiB apart), and 3 MiB behind the last.
    pub(crate) fn new(table: Table, partitions_mib: &[u64]) -> Self {
        let mut end = MIB;
        let mut partitions = Vec::new();
        for mib in partitions_mib {
            let is_logical = table == Table::MbrLogical && !partitions.is_empty();
            let start = end + if is_logical { MIB } else { 0 };
            end = start + mib * MIB;
            partitions.push(Extent::between(start, end));
        }
        let card = Self::stale(end + 3 * MIB, STALE_SOURCE, partitions);
        Tool::new("sfdisk")
            .args(["--quiet", "--no-reread", "--wipe", "never"])
            .arg(card.file())
            .run_with(&card.script(table));
        card
    }

    /// Returns the table as sfdisk takes it.
    fn script(&self, table: Table) -> String {
        let line = |number: usize, extent: Extent, kind: &str| {
            let (start, size) = (extent.start() / SECTOR_BYTES, extent.len() / SECTOR_BYTES);
            format!("p{number} : start={start}, size={size}{kind}\n")
        };
        let label = match table {
            Table::Mbr | Table::MbrLogical => "label: dos\nlabel-id: 0x5049424b\n",
            Table::Gpt => "label: gpt\n",
        };
        let mut script = label.to_owned();
        let (first, last) = (
            self.partitions[0],
            self.partitions[self.partitions.len() - 1],
        );
        if table == Table::MbrLogical {
            let extended = Extent::between(first.end(), last.end());
            script += &line(2, extended, ", type=f");
        }
        for (index, &extent) in self.partitions.iter().enumerate() {
            // Logical partitions count from 5.
            let skipped = if table == Table::MbrLogical && index > 0 {
                3
            } else {
                0
            };
            script += &line(index + 1 + skipped, extent, "");
        }
        script
    }

    /// Makes a card of `len` bytes that all have the value `stale`.
    pub(crate) fn stale(len: u64, stale: u8, partitions: Vec<Extent>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let card = Self { folder, partitions };
        let mut file = File::create(card.file()).expect("the card's file");
        let mib = vec![stale; usize::try_from(MIB).expect("fits")];
        let mut left = len;
        while left > 0 {
            let part = left.min(MIB);
            let bytes = &mib[..usize::try_from(part).expect("fits")];
            file.write_all(bytes).expect("room for the card");
            left -= part;
        }
        card
    }

    /// Returns a copy of the card as it is now, whatever is mounted from it.
    pub(crate) fn copy(&self) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let partitions = self.partitions.clone();
        let copy = Self { folder, partitions };
        std::fs::copy(self.file(), copy.file()).expect("room for the copy");
        copy
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path().join("card.img")
    }

    pub(crate) fn partitions(&self) -> &[Extent] {
        &self.partitions
    }

    /// Attaches the whole card as a device.
    pub(crate) fn device(&self) -> Loop {
        Loop::attach(&self.file())
    }

    /// Attaches the partition at `index` as a device.
    pub(crate) fn partition(&self, index: usize) -> Loop {
        Loop::attach_extent(&self.file(), self.partitions[index])
    }

    /// Writes bytes straight onto the card.
    pub(crate) fn write(&self, offset: u64, bytes: &[u8]) {
        let mut file = File::options()
            .write(true)
            .open(self.file())
            .expect("the card's file");
        file.seek(SeekFrom::Start(offset)).expect("within the card");
        file.write_all(bytes).expect("within the card");
    }

    /// Returns a path beside the card's file.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// Formats a device with `mke2fs`, without discarding: what is free stays stale.
pub(crate) fn format_ext(device: &Path, options: &[&str]) {
    Tool::new("mke2fs")
        .args(["-q", "-F", "-E", "nodiscard"])
        .args(options)
        .arg(device)
        .run();
}
