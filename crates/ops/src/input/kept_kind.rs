//! What a file is that must not be written although it is large enough for a card: somebody keeps it for
//! its content.

use std::path::Path;

use cardkeep_device::Source;
use cardkeep_image::Format;

use super::admission::Detected;
use crate::error::OpError;

/// Returns what a file is that somebody keeps for its content, with its article, by what is in it or by
/// its name.
pub(crate) fn kept_kind(path: &Path) -> Result<Option<String>, OpError> {
    let source = Source::open(path).map_err(|error| OpError::of_source(path, error))?;
    let detected = Detected::load(path, &source)?;
    if detected.format != Format::Raw {
        return Ok(Some("a compressed image or an archive".to_owned()));
    }
    if let Some(kind) = detected.foreign {
        return Ok(Some(kind.name().to_owned()));
    }
    let ending = path.extension().and_then(|ending| ending.to_str());
    let ending = ending.unwrap_or_default().to_ascii_lowercase();
    let is_kept = KEPT_ENDINGS.contains(&ending.as_str());
    Ok(is_kept.then(|| format!("named like something to keep (.{ending})")))
}

/// What files are named that hold an image, an archive, a virtual disk, or a part of a backup.
const KEPT_ENDINGS: [&str; 38] = [
    "zst", "zstd", "gz", "xz", "bz2", "zip", "tar", "tgz", "txz", "tbz", "tbz2", "tzst", "tlz",
    "7z", "rar", "lz4", "lz", "lzma", "lzo", "lrz", "z", "cab", "wim", "iso", "qcow", "qcow2",
    "qed", "vmdk", "vdi", "vhd", "vhdx", "dmg", "ova", "bmap", "sha256", "partial", "rescue",
    "map",
];
