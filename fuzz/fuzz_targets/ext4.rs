//! Invariant: whatever the bytes, an ext filesystem is loaded, mapped, searched and read without a
//! panic and soon; its map tiles the medium and keeps the superblock, and owners stay within what
//! was asked.
//!
//! Input: which seed (a byte), then what to lay over it (see `seed.rs`).
#![no_main]

mod seed;

use std::sync::LazyLock;

use cardkeep_block::{Extent, ReadAt, Silent, State};
use cardkeep_ext4::{Ext4, OwnerKind, probe};
use libfuzzer_sys::fuzz_target;
use seed::{Bytes, Seed, make};

static SEEDS: LazyLock<Vec<Seed>> = LazyLock::new(|| {
    let plain = "^metadata_csum,^64bit,^uninit_bg";
    vec![
        make(&["-t", "ext4", "-b", "1024", "-O", plain], 2048, ""),
        make(&["-t", "ext4", "-b", "1024"], 2048, ""),
        make(
            &["-t", "ext4", "-b", "1024", "-O", "^metadata_csum,uninit_bg"],
            2048,
            "",
        ),
        make(&["-t", "ext2", "-b", "1024"], 600, ""),
        make(
            &[
                "-t",
                "ext4",
                "-b",
                "1024",
                "-C",
                "4096",
                "-O",
                "bigalloc,^metadata_csum",
            ],
            4096,
            "",
        ),
        make(
            &[
                "-t",
                "ext4",
                "-b",
                "1024",
                "-g",
                "256",
                "-O",
                "meta_bg,^resize_inode,^metadata_csum",
            ],
            2048,
            "",
        ),
        make(
            &[
                "-t",
                "ext4",
                "-b",
                "4096",
                "-O",
                "inline_data,^metadata_csum,^uninit_bg",
            ],
            8192,
            "",
        ),
    ]
});

fuzz_target!(|input: &[u8]| {
    let Some((&which, patches)) = input.split_first() else {
        return;
    };
    let seed = &SEEDS[usize::from(which) % SEEDS.len()];
    let medium = Bytes(seed.mutated(patches, |_| true));
    let Ok(fs) = Ext4::load(&medium) else { return };
    assert!(probe(&medium));
    let info = fs.info();
    assert!(info.len <= medium.len() && info.free_bytes <= info.len);
    check_map(&fs, medium.len());
    check_owners(&fs, medium.len());
    for path in [
        "/etc/hostname",
        "/etc/deep/link",
        "/etc/deep/file",
        "/file 7/../file 3",
    ] {
        if let Ok(Some(content)) = fs.read_file(path, 50_000) {
            assert!(content.len() <= 50_000);
        }
    }
});

fn check_map(fs: &Ext4<&Bytes>, len: u64) {
    let Ok(map) = fs.allocation_map(&Silent) else {
        return;
    };
    assert_eq!(map.len(), len);
    let mut end = 0;
    for run in map.runs() {
        assert_eq!(run.extent.start(), end);
        end = run.extent.end();
    }
    assert_eq!(end, len);
    let kept = [
        Extent::between(1024, 2048),
        Extent::between(fs.info().len, len),
    ];
    for kept in kept {
        assert!(map.runs_in(kept).all(|run| run.state == State::Used));
    }
}

fn check_owners(fs: &Ext4<&Bytes>, len: u64) {
    let asked = [
        Extent::between(0, len / 2),
        Extent::between(len / 2 + 777, len),
    ];
    let Ok(owners) = fs.owners(&asked, &Silent) else {
        return;
    };
    for owner in &owners {
        assert!(!owner.extent.is_empty());
        assert!(asked.iter().any(|asked| asked.covers(owner.extent)));
        if let OwnerKind::Path(path) = &owner.kind {
            assert!(path.starts_with('/'));
        }
    }
}
