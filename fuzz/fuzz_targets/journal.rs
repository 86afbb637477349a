//! Invariant: whatever a journal holds, replaying it in memory ends soon, without a panic; the view
//! can be read to its end, and a map made of it keeps the journal whole.
//!
//! Input: which seed (a byte), then what to lay over its journal (see `seed.rs`). Checksums of the
//! log's own blocks are mended, those of its data are not.
#![no_main]

mod seed;

use std::sync::LazyLock;

use cardkeep_block::{Extent, ReadAt, Silent, State};
use cardkeep_ext4::Ext4;
use libfuzzer_sys::fuzz_target;
use seed::{Bytes, Seed, make};

const MAGIC: [u8; 4] = [0xC0, 0x3B, 0x39, 0x98];
const BLOCK: usize = 1024;
const LOG_BLOCKS: usize = 24;
const WORDS: &str =
    "jw -b 3000,3001,3002 NEW\njc\njo\njw -b 3003,2,600 -r 3001 NEW\njc\njo\njw -r 3002\njc\n";

static SEEDS: LazyLock<Vec<(Seed, usize)>> = LazyLock::new(|| {
    let cases = [
        ("^metadata_csum,^64bit", "jo\n"),
        ("^metadata_csum,64bit", "jo\n"),
        ("64bit", "jo -c -v 2\n"),
        ("64bit", "jo -c -v 3\n"),
        ("^64bit", "jo -c -v 3\n"),
    ];
    cases
        .into_iter()
        .map(|(features, open)| {
            let options = ["-t", "ext4", "-b", "1024", "-O", features];
            let seed = make(&options, 4096, &format!("{open}{WORDS}"));
            let bytes = seed.mutated(&[], |_| true);
            let start = (0..bytes.len() / BLOCK)
                .find(|block| bytes[block * BLOCK..].starts_with(&[MAGIC, [0, 0, 0, 4]].concat()));
            (seed, start.unwrap() * BLOCK)
        })
        .collect()
});

fuzz_target!(|input: &[u8]| {
    let Some((&which, patches)) = input.split_first() else {
        return;
    };
    let (seed, start) = &SEEDS[usize::from(which) % SEEDS.len()];
    let log = *start..start + LOG_BLOCKS * BLOCK;
    let mut bytes = seed.mutated(patches, |piece| log.contains(&piece));
    mend(&mut bytes[log.clone()]);
    let medium = Bytes(bytes);
    let Ok(fs) = Ext4::load(&medium) else { return };
    if let Ok(view) = fs.replayed() {
        if let Ok(Some(content)) = view.read_file("/etc/hostname", 100) {
            assert!(content.len() <= 100);
        }
        assert!(view.info().len <= medium.len());
    }
    let Ok(map) = fs.allocation_map(&Silent) else {
        return;
    };
    assert_eq!(map.len(), medium.len());
    let first = Extent::between(log.start as u64, (log.start + BLOCK) as u64);
    assert!(map.runs_in(first).all(|run| run.state == State::Used));
});

/// Makes the checksums of the log's own blocks right.
fn mend(log: &mut [u8]) {
    let has_checksums = log[0x2B] & 0x18 != 0;
    if !has_checksums {
        return;
    }
    let seed = !crc32c::crc32c(&log[0x30..0x40]);
    for (index, block) in log.chunks_exact_mut(BLOCK).enumerate() {
        let place = match (block.starts_with(&MAGIC), block[7]) {
            (true, 4) if index == 0 => 0xFC,
            (true, 1 | 5) => BLOCK - 4,
            (true, 2) => 0x10,
            _ => continue,
        };
        block[place..place + 4].fill(0);
        let start = if index == 0 { !0 } else { seed };
        let sum = !crc32c::crc32c_append(!start, block);
        block[place..place + 4].copy_from_slice(&sum.to_be_bytes());
    }
}
