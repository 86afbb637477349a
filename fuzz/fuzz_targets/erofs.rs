//! Invariant: whatever the bytes, an erofs is probed, loaded and mapped without a panic; its map
//! tiles the medium and calls nothing free, and owners stay within what was asked.
//!
//! Input: medium length in sectors of 512 bytes (u32, cut to 16 MiB), then the bytes at the start of
//! the medium, where the magic number and, for every other input, a true checksum are put.
#![no_main]

mod read_only;

use cardkeep_block::{MemoryMedium, ReadAt, WriteAt};
use cardkeep_erofs::ErofsDriver;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some(medium) = read_only::medium(input) else {
        return;
    };
    medium.write_at(1024, &0xE0F5_E1E2u32.to_le_bytes()).unwrap();
    if input.len() % 2 == 0 {
        seal(&medium);
    }
    read_only::check(&ErofsDriver, &medium);
});

/// Gives the superblock the checksum of what it holds.
fn seal(medium: &MemoryMedium) {
    let bits = medium.read_vec(1024 + 12, 1).unwrap()[0];
    let block_bytes = 1usize << bits.min(16);
    let len = match block_bytes {
        0..=1024 => block_bytes,
        longer => longer - 1024,
    };
    medium.write_at(1028, &[0; 4]).unwrap();
    let Ok(bytes) = medium.read_vec(1024, len) else {
        return;
    };
    let sum = !crc32c::crc32c(&bytes);
    medium.write_at(1028, &sum.to_le_bytes()).unwrap();
}
