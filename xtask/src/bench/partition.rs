//! A card's partitions as devices of their own, for programs that copy one at a time.
//!
//! The kernel may not know the partitions of a loop device, so each gets a loop of its own on top
//! of the card's; the card's speed limit holds for these too.

use std::path::Path;

use cardkeep_block::Extent;
use cardkeep_testkit::{Loop, Tool};
use serde_json::Value;

/// Sectors in sfdisk's answers: loop devices and files have these.
const SECTOR_BYTES: u64 = 512;

/// One partition.
#[derive(Debug)]
pub(crate) struct Partition {
    device: Loop,
    /// What blkid calls its filesystem; empty where it knows none.
    kind: String,
}

impl Partition {
    /// Returns the call, in bash, that copies the partition's used blocks to `image`, compressed.
    pub(crate) fn to_partclone(&self, image: &Path) -> String {
        let tool = match self.kind.as_str() {
            "vfat" => "partclone.fat",
            "ext2" | "ext3" | "ext4" => "partclone.extfs",
            _ => "partclone.dd",
        };
        let (device, image) = (self.device.path().display(), image.display());
        format!(
            "{tool} -q -c -L /dev/null -s {device} -o - 2>/dev/null | zstd -T0 -3 -q -f -o {image}"
        )
    }
}

/// Returns where the partitions of a card lie, be it a device or a file.
///
/// # Errors
/// Says that the partition table can't be read.
pub(crate) fn extents(card: &Path) -> Result<Vec<Extent>, String> {
    let table = Tool::new("sfdisk").arg("--json").arg(card).run();
    let table: Value = serde_json::from_str(&table).map_err(|e| e.to_string())?;
    let entries = table["partitiontable"]["partitions"].as_array();
    let extent = |entry: &Value| {
        let bytes = |name: &str| entry[name].as_u64().unwrap_or(0) * SECTOR_BYTES;
        let start = bytes("start");
        Extent::between(start, start + bytes("size"))
    };
    Ok(entries
        .map_or(&[][..], Vec::as_slice)
        .iter()
        .map(extent)
        .collect())
}

/// Gives each extent of a card a device of its own.
pub(crate) fn attach(card: &Path, extents: &[Extent]) -> Vec<Loop> {
    let device = |&extent: &Extent| Loop::attach_extent(card, extent);
    extents.iter().map(device).collect()
}

/// Attaches the extents of a card and asks what each holds.
pub(crate) fn probe(card: &Path, extents: &[Extent]) -> Vec<Partition> {
    let partition = |device: Loop| {
        let (_, kind) = Tool::new("blkid")
            .args(["-p", "-s", "TYPE", "-o", "value"])
            .arg(device.path())
            .outcome();
        let kind = kind.trim().to_owned();
        Partition { device, kind }
    };
    attach(card, extents).into_iter().map(partition).collect()
}
