//! What a system is about to do when it boots for the first time.
//!
//! Images of Raspberry Pi OS fill the card themselves: a word in `cmdline.txt` of the boot partition
//! asks for it, and goes once it is done. The words are those of raspi-config (up to bullseye),
//! raspberrypi-sys-mods (bookworm, script `firstboot`) and pi-gen (trixie).

use cardkeep_block::{ReadAt, Slice};
use cardkeep_fat::FatFs;
use cardkeep_ptable::PartitionTable;

/// The firmware takes no longer ones.
const CMDLINE_BYTES_MAX: usize = 16 * 1024;

/// Tells whether the system on `medium`, which has this partition table, will grow its last
/// partition itself when it is booted. `false` also where that can't be told.
#[must_use]
pub fn grows_itself(medium: &dyn ReadAt, table: &PartitionTable) -> bool {
    cmdlines(medium, table).any(|cmdline| asks_for_it(&cmdline))
}

/// Returns the kernel's command line of each boot partition.
fn cmdlines<'a>(
    medium: &'a dyn ReadAt,
    table: &'a PartitionTable,
) -> impl Iterator<Item = String> + 'a {
    table.partitions.iter().filter_map(move |partition| {
        // What is no FAT, or damaged, boots no Pi.
        let fs = FatFs::load(Slice::new(medium, partition.extent)).ok()?;
        let bytes = fs.read_file("cmdline.txt", CMDLINE_BYTES_MAX).ok()??;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    })
}

fn asks_for_it(cmdline: &str) -> bool {
    cmdline.split_whitespace().any(|word| {
        let is_script = |name: &str| word.starts_with("init=") && word.ends_with(name);
        word == "resize" || is_script("/init_resize.sh") || is_script("/firstboot")
    })
}

#[cfg(test)]
mod tests {
    use super::asks_for_it;

    #[test]
    fn images_that_grow_themselves_are_told_by_their_command_line() {
        let common = "console=tty1 root=PARTUUID=4a422963-02 rootfstype=ext4 rootwait";
        assert!(!asks_for_it(common));
        for word in [
            "init=/usr/lib/raspi-config/init_resize.sh",
            "init=/usr/lib/raspberrypi-sys-mods/firstboot",
            "resize",
        ] {
            assert!(asks_for_it(&format!("{common} quiet {word} splash\n")));
        }
        assert!(!asks_for_it("init=/sbin/init noresize firstboot=0"));
    }
}
