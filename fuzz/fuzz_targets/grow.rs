//! Invariant: whatever the bytes, an ext filesystem is made larger or declined, without a panic and
//! soon; patches lie in order and within the new size, and with them it is a filesystem of just
//! that size.
//!
//! Input: which seed (a byte), the new size in MiB (two), then what to lay over the seed (see
//! `seed.rs`).
#![no_main]

mod seed;

use std::sync::LazyLock;

use cardkeep_block::{MemoryMedium, ReadAt, WriteAt};
use cardkeep_ext4::{Ext4, Superblock};
use cardkeep_resize::grow::{Grown, plan};
use libfuzzer_sys::fuzz_target;
use seed::{Bytes, Seed, make};

const MIB: u64 = 1 << 20;

static SEEDS: LazyLock<Vec<Seed>> = LazyLock::new(|| {
    let plain = "^metadata_csum,^64bit,^uninit_bg";
    let meta = "meta_bg,^resize_inode,^metadata_csum";
    let clusters = "bigalloc,^metadata_csum";
    vec![
        make(&["-t", "ext4", "-b", "1024", "-O", plain], 2048, ""),
        make(&["-t", "ext4", "-b", "1024", "-g", "256"], 2048, ""),
        make(&["-t", "ext2", "-b", "1024"], 600, ""),
        make(&["-t", "ext4", "-b", "1024", "-O", clusters], 4096, ""),
        make(&["-t", "ext4", "-b", "1024", "-O", meta], 2048, ""),
    ]
});

fuzz_target!(|input: &[u8]| {
    let [which, low, high, patches @ ..] = input else {
        return;
    };
    let seed = &SEEDS[usize::from(*which) % SEEDS.len()];
    let medium = Bytes(seed.mutated(patches, |_| true));
    let len = medium.len() + u64::from(u16::from_le_bytes([*low, *high])) * MIB;
    if let Ok(grown) = plan(&medium, len) {
        check(&medium, &grown, len);
    }
});

fn check(medium: &Bytes, grown: &Grown, len: u64) {
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
}
