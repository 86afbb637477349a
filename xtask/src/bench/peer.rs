//! The programs that are measured, and how each is called.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use cardkeep_testkit::Loop;
use serde_json::Value;

use super::options::Options;
use super::partition::{self, Partition};

/// `stat` counts blocks in these, whatever the filesystem's own (stat(2)).
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
    partitions: Vec<Partition>,
}

impl Target {
    /// Prepares the peers' view of the card: the kernel may not know its partitions.
    ///
    /// # Errors
    /// Says that the partition table can't be read.
    pub(crate) fn new(device: &Loop, options: &Options) -> Result<Self, String> {
        let extents = partition::extents(device.path())?;
        Ok(Self {
            device: device.path().display().to_string(),
            output: options.work.join(OUTPUT).display().to_string(),
            program: options.program.display().to_string(),
            work: options.work.clone(),
            partitions: partition::probe(device.path(), &extents),
        })
    }

    fn partclone(&self) -> String {
        let calls = self
            .partitions
            .iter()
            .enumerate()
            .map(|(index, partition)| {
                let output = format!("{}.p{index}", self.output);
                partition.to_partclone(Path::new(&output))
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
