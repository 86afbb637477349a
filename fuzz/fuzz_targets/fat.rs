//! Invariant: whatever the bytes, a FAT filesystem is loaded, mapped, searched and read without a
//! panic and soon; its map tiles the medium, what it counts as free is what the map calls free,
//! and owners stay within what was asked.
//!
//! Input: medium length in sectors of 512 bytes (u32, cut to 16 MiB), then the bytes at the start
//! of the medium.
#![no_main]

use cardkeep_block::{Extent, MemoryMedium, ReadAt, Silent, State, WriteAt};
use cardkeep_fat::{FatFs, OwnerKind, probe};
use libfuzzer_sys::fuzz_target;

const LEN_MAX: u64 = 16 << 20;

fuzz_target!(|input: &[u8]| {
    let Some((&len, bytes)) = input.split_first_chunk::<4>() else {
        return;
    };
    let len = u64::from(u32::from_le_bytes(len)) * 512 % LEN_MAX;
    let medium = MemoryMedium::new(len);
    let head = &bytes[..bytes.len().min(len as usize)];
    medium.write_at(0, head).unwrap();
    let kind = probe(&medium);
    let Ok(fs) = FatFs::load(&medium) else { return };
    assert_eq!(kind, Some(fs.info().kind));
    check_map(&fs, medium.len());
    check_owners(&fs, medium.len());
    for path in ["/config.txt", "/overlays/a rather long name.dtbo", "/a/b/c"] {
        if let Ok(Some(content)) = fs.read_file(path, 100_000) {
            assert!(content.len() <= 100_000);
        }
    }
});

fn check_map(fs: &FatFs<&MemoryMedium>, len: u64) {
    let map = fs.allocation_map(&Silent).unwrap();
    assert_eq!(map.len(), len);
    let mut end = 0;
    for run in map.runs() {
        assert_eq!(run.extent.start(), end);
        end = run.extent.end();
    }
    assert_eq!(end, len);
    let info = fs.info();
    assert!(info.free_clusters <= info.cluster_count);
    let clusters = u64::from(info.cluster_count) * u64::from(info.cluster_bytes);
    assert!(map.bytes(State::Free) <= clusters && clusters < len);
    assert!(
        !map.runs_in(Extent::between(0, 512))
            .any(|run| run.state != State::Used)
    );
}

fn check_owners(fs: &FatFs<&MemoryMedium>, len: u64) {
    let asked = [
        Extent::between(0, len / 2),
        Extent::between(len / 2 + 777, len),
    ];
    let owners = fs.owners(&asked).unwrap();
    for owner in &owners {
        assert!(!owner.extent.is_empty());
        assert!(asked.iter().any(|asked| asked.covers(owner.extent)));
        if let OwnerKind::File(path) | OwnerKind::Directory(path) = &owner.what {
            assert!(path.starts_with('/'));
        }
    }
    let mut end = 0;
    for owner in &owners {
        let is_hole = owner.extent.start() > end;
        assert!(!is_hole || end == len / 2, "{owner:?} after {end}");
        end = end.max(owner.extent.end());
    }
    assert!(len == 0 || end == len);
}
