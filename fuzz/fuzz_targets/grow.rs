//! Invariant: whatever the bytes, an ext filesystem is made larger or declined, without a panic and
//! soon; patches lie in order and within the new size, and with them it is a filesystem of just
//! that size, with the files that could be read before. What e2fsck calls clean stays clean; it is
//! asked about one in sixteen.
//!
//! Input: which seed (the low half of a byte), how many MiB or sixteenths larger (two bytes, shifted
//! right by the high half), then what to lay over the seed (see `seed.rs`).
#![no_main]

mod seed;
mod verdict;

use std::sync::LazyLock;

use cardkeep_block::{MemoryMedium, ReadAt, WriteAt};
use cardkeep_ext4::{Ext4, Superblock};
use cardkeep_resize::grow::{Grown, plan};
use libfuzzer_sys::fuzz_target;
use seed::{Bytes, Seed, make};
use verdict::{assert_no_worse, assert_same_files};

const MIB: u64 = 1 << 20;
/// A damaged file that points behind the end points at something once the end is further away. Files are not
/// looked at, as the kernel doesn't either when it makes a filesystem larger.
const POINTS_BEHIND_THE_END: &str = "illegal block(s)";
/// Longer ones would take e2fsck too long.
const LEN_JUDGED_MAX: u64 = 64 * MIB;

/// Each with the unit of the new size: where groups are small, few bytes make many of them.
static SEEDS: LazyLock<Vec<(Seed, u64)>> = LazyLock::new(|| {
    let plain = "^metadata_csum,^64bit,^uninit_bg";
    let meta = "meta_bg,^resize_inode,^metadata_csum";
    let clusters = "bigalloc,^metadata_csum";
    let small = ["-t", "ext4", "-b", "1024", "-g", "256"];
    let with = |before: &[&str], more: &[&str], kib| {
        let options = [before, &small[..], more].concat();
        (make(&options, kib, ""), MIB / 16)
    };
    let meta_of_clusters = "bigalloc,meta_bg,^resize_inode";
    vec![
        (
            make(&["-t", "ext4", "-b", "1024", "-O", plain], 2048, ""),
            MIB,
        ),
        with(&[], &[], 2048),
        (make(&["-t", "ext2", "-b", "1024"], 600, ""), MIB),
        (
            make(&["-t", "ext4", "-b", "1024", "-O", clusters], 4096, ""),
            MIB,
        ),
        (
            make(&["-t", "ext4", "-b", "1024", "-O", meta], 2048, ""),
            MIB,
        ),
        with(&[], &["-O", meta], 5120),
        with(
            &["MKE2FS_FIRST_META_BG=1"],
            &["-O", "meta_bg,^resize_inode"],
            5120,
        ),
        with(&[], &["-C", "2048", "-O", meta_of_clusters], 4096),
    ]
});

fuzz_target!(|input: &[u8]| {
    let [which, low, high, patches @ ..] = input else {
        return;
    };
    let (seed, unit) = &SEEDS[usize::from(*which) % SEEDS.len()];
    let medium = Bytes(seed.mutated(patches, |_| true));
    // Small steps as often as large ones, which take long.
    let more = u64::from(u16::from_le_bytes([*low, *high])) >> (which >> 4);
    let len = medium.len() + more * unit;
    if let Ok(grown) = plan(&medium, len) {
        let target = check(&medium, &grown, len);
        let large = Ext4::load(&target).unwrap();
        assert_same_files(&Ext4::load(&medium).unwrap(), &large);
        if crc32c::crc32c(input).is_multiple_of(16) && grown.len < LEN_JUDGED_MAX {
            let bytes = target.read_vec(0, grown.len as usize).unwrap();
            assert_no_worse(&medium.0, &bytes, &[POINTS_BEHIND_THE_END]);
        }
    }
});

/// Checks the patches, and returns the filesystem with them.
fn check(medium: &Bytes, grown: &Grown, len: u64) -> MemoryMedium {
    assert!(grown.old_len <= grown.len && grown.len <= len);
    let target = MemoryMedium::new(grown.len);
    target
        .write_at(0, &medium.0[..grown.old_len as usize])
        .unwrap();
    let mut end = 0;
    for patch in &grown.patches {
        assert!(patch.offset >= end);
        end = patch.extent().end();
        assert!(end <= grown.len);
        target.write_at(patch.offset, &patch.bytes).unwrap();
    }
    assert!(grown.zeros.iter().all(|zero| zero.end() <= grown.len));
    let fs = Ext4::load(&target).unwrap();
    fs.check_at_rest().unwrap();
    assert_eq!(fs.info().len, grown.len);
    assert!(Superblock::load(&target).is_ok());
    target
}
