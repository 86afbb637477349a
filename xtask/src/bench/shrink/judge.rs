//! What a small image holds, as e2fsprogs sees it.

use std::path::Path;

use cardkeep_testkit::{Loop, Tool};

use crate::bench::call::call;
use crate::bench::partition;
use crate::bench::scratch::Scratch;

/// Of an image and the last filesystem in it.
#[derive(Debug, Default)]
pub(crate) struct Judgement {
    /// What a card needs to take the image.
    pub(crate) card_bytes: u64,
    pub(crate) fs_bytes: u64,
    pub(crate) free_bytes: u64,
    /// Whether `e2fsck -fn` finds nothing.
    pub(crate) is_clean: bool,
}

/// Decodes the output of a run and judges it.
///
/// # Errors
/// Says what can't be decoded or read.
pub(crate) fn judge(scratch: &Scratch) -> Result<Judgement, String> {
    let raw = scratch.folder().join("judged.img");
    let options = ["-dq", "--sparse", "-o"].map(Path::new);
    let paths = [raw.as_path(), scratch.output()];
    call("zstd", options.into_iter().chain(paths))?;
    let card_bytes = raw.metadata().map_err(|e| e.to_string())?.len();
    let extents = partition::extents(&raw)?;
    let last = extents.iter().max_by_key(|extent| extent.start());
    let last = *last.ok_or("the image has no partitions")?;
    if last.end() > card_bytes {
        return Err(format!(
            "the last partition ends at {}, the image at {card_bytes}",
            last.end()
        ));
    }
    let device = Loop::attach_extent(&raw, last);
    let (status, _) = Tool::new("e2fsck").arg("-fn").arg(device.path()).outcome();
    let header = Tool::new("dumpe2fs").arg("-h").arg(device.path()).run();
    let block_bytes = field(&header, "Block size")?;
    Ok(Judgement {
        card_bytes,
        fs_bytes: field(&header, "Block count")? * block_bytes,
        free_bytes: field(&header, "Free blocks")? * block_bytes,
        is_clean: status == Some(0),
    })
}

/// Returns the number behind a name in what dumpe2fs says.
fn field(header: &str, name: &str) -> Result<u64, String> {
    let value = header.lines().find_map(|line| {
        let (said, value) = line.split_once(':')?;
        (said == name).then(|| value.trim())
    });
    value
        .and_then(|value| value.parse().ok())
        .ok_or_else(|| format!("dumpe2fs tells no {name}"))
}

#[cfg(test)]
mod tests {
    use super::field;

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let header = "Reserved block count:     7\nBlock count:              1939200\nBlocks: x\n";
        assert_eq!(field(header, "Block count"), Ok(1_939_200));
        assert!(field(header, "Blocks").is_err());
        assert!(field(header, "Free blocks").is_err());
    }
}
