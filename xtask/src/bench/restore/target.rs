//! The card that is written to.

use std::fs::File;
use std::path::Path;

use cardkeep_testkit::Loop;

use super::shelf::Shelf;
use crate::bench::call::bash;
use crate::bench::partition;
use crate::bench::throttle::Throttle;

/// Fills a file of known length with 0xA5 round the page cache, which must not help any peer.
const FILL_JUNK: &str = r#"head -c "$2" /dev/zero | tr '\0' '\245' |
    dd of="$1" bs=4M iflag=fullblock oflag=direct conv=notrunc status=none"#;
/// The same with the content of a card.
const FILL_CARD: &str = r#"dd if="$3" of="$1" bs=4M oflag=direct conv=notrunc status=none"#;

/// A target as a device of a speed.
#[derive(Debug)]
pub(crate) struct Held {
    // ORDER: fields go in this order, what stands on a device before the device.
    partitions: Vec<Loop>,
    _throttle: Option<Throttle>,
    device: Loop,
    /// How many bytes lie before the first partition.
    lead_bytes: u64,
}

/// Makes `file` as long as `card` and fills it: with the content of another card, or with junk.
///
/// # Errors
/// Says what can't be written.
pub(crate) fn fill(file: &Path, card: &Path, before: Option<&Path>) -> Result<(), String> {
    let error = |e: std::io::Error| format!("{}: {e}", file.display());
    let len = card.metadata().map_err(error)?.len();
    let target = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(file);
    target
        .and_then(|target| target.set_len(len))
        .map_err(error)?;
    let len = len.to_string();
    let arguments = [file.as_os_str(), len.as_ref()];
    match before {
        None => bash(FILL_JUNK, arguments),
        Some(card) => bash(FILL_CARD, arguments.into_iter().chain([card.as_os_str()])),
    }
}

impl Held {
    /// Attaches a target, held to its speeds in million bytes per second, 0 for none.
    ///
    /// # Errors
    /// Says that there is no way to limit the speed.
    pub(crate) fn attach(file: &Path, read_mbps: u64, write_mbps: u64) -> Result<Self, String> {
        let device = Loop::attach(file);
        let throttle = match write_mbps {
            0 => None,
            _ => Some(Throttle::hold(&device, read_mbps, write_mbps)?),
        };
        Ok(Self {
            partitions: Vec::new(),
            _throttle: throttle,
            device,
            lead_bytes: 0,
        })
    }

    /// Gives each partition that `card` has a device of its own, at the same place of the target.
    ///
    /// # Errors
    /// Says that the partition table can't be read.
    pub(crate) fn attach_partitions(&mut self, card: &Path) -> Result<(), String> {
        let extents = partition::extents(card)?;
        self.lead_bytes = extents.first().map_or(0, |first| first.start());
        self.partitions = partition::attach(self.device.path(), &extents);
        Ok(())
    }

    /// Returns the whole card's device.
    pub(crate) fn device(&self) -> &Loop {
        &self.device
    }

    /// Returns its path, for a script.
    pub(crate) fn path(&self) -> String {
        self.device.path().display().to_string()
    }

    /// Returns the call, in bash, that restores each partition with partclone, after what lies
    /// before the first.
    pub(crate) fn partclone(&self, shelf: &Shelf) -> String {
        let mut script = format!(
            "head -c {} {} | dd of={} bs=4M iflag=fullblock oflag=direct conv=fsync status=none",
            self.lead_bytes,
            shelf.card().display(),
            self.path(),
        );
        for (index, partition) in self.partitions.iter().enumerate() {
            let (image, device) = (shelf.partition_image(index), partition.path().display());
            script.push_str(&format!(
                "; zstd -dcq {} | partclone.restore -q -L /dev/null -s - -o {device} 2>/dev/null; \
                 sync {device}",
                image.display()
            ));
        }
        script
    }
}
