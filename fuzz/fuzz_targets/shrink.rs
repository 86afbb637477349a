//! Invariant: whatever the bytes, an ext filesystem is made smaller or declined, without a panic
//! and soon; what comes out has the planned size and can be planned again: its bitmaps agree with
//! its inodes to the last block.
//!
//! Input: which seed (a byte), the margin in thousandths (a byte), then what to lay over the seed
//! (see `seed.rs`).
#![no_main]

mod seed;

use std::sync::LazyLock;

use cardkeep_block::{MemoryMedium, ReadAt, Silent};
use cardkeep_ext4::Ext4;
use cardkeep_resize::shrink::{Wanted, plan};
use libfuzzer_sys::fuzz_target;
use seed::{Bytes, Seed, make};

static SEEDS: LazyLock<Vec<Seed>> = LazyLock::new(|| {
    let plain = "^metadata_csum,^64bit,^uninit_bg";
    vec![
        make(&["-t", "ext4", "-b", "1024", "-O", plain], 2048, ""),
        make(&["-t", "ext4", "-b", "1024", "-g", "256"], 2048, ""),
        make(&["-t", "ext2", "-b", "1024"], 600, ""),
        make(&["-t", "ext3", "-b", "1024", "-g", "512"], 4096, ""),
    ]
});

fuzz_target!(|input: &[u8]| {
    let [which, margin, patches @ ..] = input else {
        return;
    };
    let seed = &SEEDS[usize::from(*which) % SEEDS.len()];
    let medium = Bytes(seed.mutated(patches, |_| true));
    let Ok(fs) = Ext4::load(&medium) else {
        return;
    };
    let margin_per_mille = u32::from(*margin);
    let Ok(smaller) = plan(&fs, Wanted::Smallest { margin_per_mille }, &Silent) else {
        return;
    };
    assert!(smaller.len() <= medium.len());
    let view = smaller.view(&medium);
    let bytes = view.read_vec(0, smaller.len() as usize).unwrap();
    let fs = Ext4::load(MemoryMedium::from_bytes(&bytes)).unwrap();
    let again = plan(&fs, Wanted::Blocks(smaller.block_count()), &Silent).unwrap();
    assert_eq!(again.block_count(), smaller.block_count());
    assert_eq!(again.free_block_count(), smaller.free_block_count());
});
