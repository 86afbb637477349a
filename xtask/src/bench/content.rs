//! What a card should hold after a restore.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use cardkeep_block::Extent;
use serde_json::Value;

/// Differences are counted in these, the block of nearly all ext filesystems.
const UNIT_BYTES: usize = 4096;
/// The least that a card loses.
const SECTOR_BYTES: usize = 512;
/// How much of both sides is compared at once.
const STEP_BYTES: u64 = 4 << 20;

/// A card in a file, and which of its bytes matter.
#[derive(Debug)]
pub(crate) struct Content {
    raw: PathBuf,
    used: Vec<Extent>,
    zero: Vec<Extent>,
}

impl Content {
    /// Asks `program` for the map of the card in the file `raw`.
    ///
    /// # Errors
    /// Says what the program said instead.
    pub(crate) fn survey(program: &Path, raw: &Path) -> Result<Self, String> {
        let output = Command::new(program)
            .args(["info", "--json"])
            .arg(raw)
            .output()
            .map_err(|e| format!("can't run {}: {e}", program.display()))?;
        let info: Value = serde_json::from_slice(&output.stdout).map_err(|e| {
            let said = String::from_utf8_lossy(&output.stderr);
            format!("no map ({e}): {said}")
        })?;
        Ok(Self {
            raw: raw.to_path_buf(),
            used: extents(&info["map"]["used"])?,
            zero: extents(&info["map"]["zero"])?,
        })
    }

    /// Returns how many bytes matter.
    pub(crate) fn used_bytes(&self) -> u64 {
        self.used.iter().map(|extent| extent.len()).sum()
    }

    /// Returns how many of the used bytes are not the same in the file `other`, counted in blocks
    /// of 4 KiB, each with at least one byte that differs.
    ///
    /// # Errors
    /// Says which file can't be read.
    pub(crate) fn differing_bytes(&self, other: &Path) -> Result<u64, String> {
        self.count(&self.used, other, UNIT_BYTES, |own, other| own != other)
    }

    /// Returns how many of the used bytes are not the same in the file `other`, counted in sectors.
    ///
    /// # Errors
    /// Says which file can't be read.
    pub(crate) fn differing_sector_bytes(&self, other: &Path) -> Result<u64, String> {
        self.count(&self.used, other, SECTOR_BYTES, |own, other| own != other)
    }

    /// Returns where bytes are in use.
    pub(crate) fn used(&self) -> &[Extent] {
        &self.used
    }

    /// Returns where bytes are known to be zero.
    pub(crate) fn zero(&self) -> &[Extent] {
        &self.zero
    }

    /// Returns how many bytes are wrong in `other` after a restore: used ones that differ, and
    /// those that must be zero and are neither that nor what the card holds there.
    ///
    /// # Errors
    /// Says which file can't be read.
    pub(crate) fn wrong_bytes(&self, other: &Path) -> Result<u64, String> {
        let is_stale =
            |own: &[u8], other: &[u8]| own != other && other.iter().any(|&byte| byte != 0);
        Ok(self.differing_bytes(other)? + self.count(&self.zero, other, UNIT_BYTES, is_stale)?)
    }

    /// Adds up the units of `extents` that `is_counted`, given the card's own and the other.
    fn count(
        &self,
        extents: &[Extent],
        other: &Path,
        unit_bytes: usize,
        is_counted: impl Fn(&[u8], &[u8]) -> bool,
    ) -> Result<u64, String> {
        let open = |path: &Path| File::open(path).map_err(|e| format!("{}: {e}", path.display()));
        let (own, other) = (open(&self.raw)?, open(other)?);
        let mut counted = 0;
        let mut buffers = (Vec::new(), Vec::new());
        for extent in extents {
            let mut start = extent.start();
            while start < extent.end() {
                let len = (extent.end() - start).min(STEP_BYTES);
                buffers.0.resize(len as usize, 0);
                buffers.1.resize(len as usize, 0);
                own.read_exact_at(&mut buffers.0, start)
                    .and_then(|()| other.read_exact_at(&mut buffers.1, start))
                    .map_err(|e| format!("can't compare at {start}: {e}"))?;
                let units = buffers
                    .0
                    .chunks(unit_bytes)
                    .zip(buffers.1.chunks(unit_bytes));
                let found = units.filter(|(own, other)| is_counted(own, other));
                counted += found.map(|(own, _)| own.len() as u64).sum::<u64>();
                start += len;
            }
        }
        Ok(counted)
    }
}

fn extents(pairs: &Value) -> Result<Vec<Extent>, String> {
    let extent = |pair: &Value| Extent::new(pair[0].as_u64()?, pair[1].as_u64()?);
    let extents = pairs.as_array().map(|pairs| pairs.iter().map(extent));
    let extents: Option<Option<_>> = extents.map(Iterator::collect);
    extents.flatten().ok_or_else(|| "no map".to_owned())
}

#[cfg(test)]
mod tests {
    use super::Content;
    use cardkeep_block::Extent;

    #[test]
    fn only_differences_in_used_bytes_count_by_the_block() {
        let folder = std::env::temp_dir().join(format!("xtask-content-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (raw, other) = (folder.join("raw"), folder.join("other"));
        let mut bytes = vec![1; 6 << 20];
        std::fs::write(&raw, &bytes).unwrap();
        bytes[100] = 2; // free
        bytes[8192] = 2;
        bytes[8200] = 2; // the same block
        bytes[(5 << 20) + 1] = 2; // beyond the first step
        std::fs::write(&other, &bytes).unwrap();
        let content = Content {
            raw,
            used: vec![Extent::between(4096, 6 << 20)],
            zero: Vec::new(),
        };
        assert_eq!(content.used_bytes(), (6 << 20) - 4096);
        assert_eq!(content.differing_bytes(&other), Ok(8192));
        assert_eq!(content.wrong_bytes(&other), Ok(8192));
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn what_must_be_zero_is_wrong_where_it_is_neither_that_nor_the_cards() {
        let folder = std::env::temp_dir().join(format!("xtask-zero-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (raw, other) = (folder.join("raw"), folder.join("other"));
        std::fs::write(&raw, [7; 16384]).unwrap();
        let mut bytes = [7; 16384];
        bytes[4096..8192].fill(0);
        bytes[8192..12288].fill(0xA5);
        std::fs::write(&other, bytes).unwrap();
        let content = Content {
            raw,
            used: Vec::new(),
            zero: vec![Extent::between(0, 16384)],
        };
        assert_eq!(content.differing_bytes(&other), Ok(0));
        assert_eq!(content.wrong_bytes(&other), Ok(4096));
        std::fs::remove_dir_all(folder).unwrap();
    }
}
