//! The programs that are measured, and how each is called.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use cardkeep_block::Extent;
use cardkeep_testkit::{Loop, Tool};
use serde_json::Value;

use super::Options;

const SECTOR_BYTES: u64 = 512;
/// All outputs of a run begin with this.
const OUTPUT: &str = "bench-output";

/// A program, called as its users call it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// The whole card, as it is.
    Dd,
    /// The whole card, compressed.
    DdZstd,
    /// The used blocks of each partition, compressed.
    Partclone,
    /// The whole card, ready for unreadable sectors.
    Ddrescue,
    /// The whole card, without zeros.
    QemuImg,
    /// The used bytes, compressed; the image is read back and verified.
    Cardkeep,
    /// As above without reading back, as the others do.
    CardkeepUnverified,
}

impl Peer {
    /// In the order of the table.
    pub(crate) const ALL: [Self; 7] = [
        Self::Cardkeep,
        Self::CardkeepUnverified,
        Self::Dd,
        Self::DdZstd,
        Self::Partclone,
        Self::Ddrescue,
        Self::QemuImg,
    ];

    /// Returns its name on the command line and in the table.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Dd => "dd",
            Self::DdZstd => "dd+zstd",
            Self::Partclone => "partclone+zstd",
            Self::Ddrescue => "ddrescue",
            Self::QemuImg => "qemu-img",
            Self::Cardkeep => "cardkeep",
            Self::CardkeepUnverified => "cardkeep-unverified",
        }
    }

    /// Returns the peer of a name.
    ///
    /// # Errors
    /// Lists the names that there are.
    pub(crate) fn parse(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|peer| peer.name() == name);
        let names = Self::ALL.map(Self::name).join(", ");
        found.ok_or_else(|| format!("no peer `{name}`; there are {names}"))
    }

    /// Returns the call, in bash. It ends when the output is durable.
    pub(crate) fn script(self, target: &Target) -> String {
        let Target {
            device,
            output,
            program,
            ..
        } = target;
        let call = match self {
            Self::Dd => format!("dd if={device} of={output} bs=4M iflag=direct status=none"),
            Self::DdZstd => format!(
                "dd if={device} bs=4M iflag=direct status=none | zstd -T0 -3 -q -f -o {output}"
            ),
            Self::Partclone => target.partclone(),
            Self::Ddrescue => format!("ddrescue -q -d -n {device} {output} {output}.map"),
            Self::QemuImg => {
                format!("qemu-img convert -q -f raw -T none -O qcow2 {device} {output}")
            }
            Self::Cardkeep => format!("{program} backup --quiet --force {device} {output}.img.zst"),
            Self::CardkeepUnverified => {
                format!("{program} backup --quiet --force --verify none {device} {output}.img.zst")
            }
        };
        format!("{call}; sync {output}*")
    }
}

/// Where a peer reads and writes.
#[derive(Debug)]
pub(crate) struct Target {
    device: String,
    output: String,
    program: String,
    work: PathBuf,
    /// Devices of the partitions on top of the card's, with their filesystems' names.
    partitions: Vec<(Loop, String)>,
}

impl Target {
    /// Prepares the peers' view of the card: the kernel may not know its partitions.
    ///
    /// # Errors
    /// Says that the partition table can't be read.
    pub(crate) fn new(device: &Loop, options: &Options) -> Result<Self, String> {
        let table = Tool::new("sfdisk").arg("--json").arg(device.path()).run();
        let table: Value = serde_json::from_str(&table).map_err(|e| e.to_string())?;
        let entries = table["partitiontable"]["partitions"].as_array();
        let mut partitions = Vec::new();
        for entry in entries.map_or(&[][..], Vec::as_slice) {
            let bytes = |name: &str| entry[name].as_u64().unwrap_or(0) * SECTOR_BYTES;
            let start = bytes("start");
            let extent = Extent::between(start, start + bytes("size"));
            let partition = Loop::attach_extent(device.path(), extent);
            let arguments = ["-p", "-s", "TYPE", "-o", "value"];
            let (_, kind) = Tool::new("blkid")
                .args(arguments)
                .arg(partition.path())
                .outcome();
            partitions.push((partition, kind.trim().to_owned()));
        }
        Ok(Self {
            device: device.path().display().to_string(),
            output: options.work.join(OUTPUT).display().to_string(),
            program: options.program.display().to_string(),
            work: options.work.clone(),
            partitions,
        })
    }

    fn partclone(&self) -> String {
        let calls = self.partitions.iter().enumerate().map(|(index, (partition, kind))| {
            let tool = match kind.as_str() {
                "vfat" => "partclone.fat",
                "ext2" | "ext3" | "ext4" => "partclone.extfs",
                _ => "partclone.dd",
            };
            let (device, output) = (partition.path().display(), &self.output);
            format!(
                "{tool} -q -c -L /dev/null -s {device} -o - 2>/dev/null | zstd -T0 -3 -q -f -o {output}.p{index}"
            )
        });
        calls.collect::<Vec<_>>().join("; ")
    }

    fn outputs(&self) -> impl Iterator<Item = PathBuf> {
        let entries = fs::read_dir(&self.work).into_iter().flatten().flatten();
        let is_output =
            |entry: &fs::DirEntry| entry.file_name().to_string_lossy().starts_with(OUTPUT);
        entries.filter(is_output).map(|entry| entry.path())
    }

    /// Returns what the output takes on the disk.
    pub(crate) fn output_bytes(&self) -> u64 {
        let blocks = self
            .outputs()
            .filter_map(|path| Some(path.metadata().ok()?.blocks()));
        blocks.sum::<u64>() * SECTOR_BYTES
    }

    /// Makes room for the next.
    pub(crate) fn remove_output(&self) {
        for path in self.outputs() {
            if let Err(error) = fs::remove_file(&path) {
                eprintln!("can't remove {}: {error}", path.display());
            }
        }
    }
}

/// Returns how many bytes the program plans to store, from `backup --dry-run --json`.
///
/// # Errors
/// Says what the program said instead.
pub(crate) fn planned_bytes(program: &Path, card: &Path, work: &Path) -> Result<u64, String> {
    let output = Command::new(program)
        .args(["backup", "--dry-run", "--json"])
        .args([card, &work.join("plan.img.zst")])
        .output()
        .map_err(|e| format!("can't run {}: {e}", program.display()))?;
    let plan: Value = serde_json::from_slice(&output.stdout).map_err(|e| {
        let said = String::from_utf8_lossy(&output.stderr);
        format!("no plan ({e}): {said}")
    })?;
    plan["plan"]["used_bytes"]
        .as_u64()
        .ok_or_else(|| format!("the plan lacks used_bytes: {plan}"))
}
