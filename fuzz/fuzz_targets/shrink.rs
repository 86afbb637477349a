//! Invariant: whatever the bytes, an ext filesystem is made smaller or declined, without a panic
//! and soon. What comes out has the planned size, holds the files that could be read before, and can
//! be planned again: its bitmaps agree with its inodes to the last block. What e2fsck calls clean
//! stays clean; it is asked about one in sixteen.
//!
//! Input: which seed (a byte), the margin in thousandths (a byte), then what to lay over the seed
//! (see `seed.rs`).
#![no_main]

mod seed;
mod verdict;

use std::sync::LazyLock;

use cardkeep_block::{AllocationMap, ReadAt, Silent, State};
use cardkeep_ext4::Ext4;
use cardkeep_resize::shrink::{Wanted, plan};
use libfuzzer_sys::fuzz_target;
use seed::{Bytes, Seed, make};
use verdict::{assert_no_worse, assert_same_files};

const META: &str = "meta_bg,^resize_inode,^has_journal,^metadata_csum";
const CLUSTERS: &str = "bigalloc,^metadata_csum,^resize_inode";
const MIXED: &str = "MKE2FS_FIRST_META_BG=1";

static SEEDS: LazyLock<Vec<Seed>> = LazyLock::new(|| {
    let plain = "^metadata_csum,^64bit,^uninit_bg";
    let small = ["-t", "ext4", "-b", "1024", "-g", "256"];
    let with = |more: &[&str], kib| make(&[&small, more].concat(), kib, "");
    vec![
        make(&["-t", "ext4", "-b", "1024", "-O", plain], 2048, ""),
        with(&[], 2048),
        make(&["-t", "ext2", "-b", "1024"], 600, ""),
        make(&["-t", "ext3", "-b", "1024", "-g", "512"], 4096, ""),
        with(&["-O", META], 5120),
        make(&[&[MIXED], &small[..], &["-O", META]].concat(), 5120, ""),
        make(&["-t", "ext4", "-b", "1024", "-O", CLUSTERS], 4096, ""),
        with(&["-C", "2048", "-O", "bigalloc"], 4096),
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
    let bytes = Bytes(restored(smaller.allocation_map(), &view));
    let small = Ext4::load(&bytes).unwrap();
    let again = plan(&small, Wanted::Blocks(smaller.block_count()), &Silent).unwrap();
    assert_eq!(again.block_count(), smaller.block_count());
    assert_eq!(again.free_block_count(), smaller.free_block_count());
    assert_same_files(&fs, &small);
    if crc32c::crc32c(input).is_multiple_of(16) {
        assert_no_worse(&medium.0, &bytes.0, &[]);
    }
});

/// Returns what a backup of `view` leaves on a medium that was full of other things.
fn restored(map: &AllocationMap, view: &impl ReadAt) -> Vec<u8> {
    let mut bytes = vec![0xA5; view.len() as usize];
    for run in map.runs() {
        let part = &mut bytes[run.extent.start() as usize..run.extent.end() as usize];
        match run.state {
            State::Used => view.read_at(run.extent.start(), part).unwrap(),
            State::Zero => part.fill(0),
            State::Free => {}
        }
    }
    bytes
}
