//! Invariant: whatever the bytes, a squashfs is probed, loaded and mapped without a panic; its map
//! tiles the medium and calls nothing free, and owners stay within what was asked.
//!
//! Input: medium length in sectors of 512 bytes (u32, cut to 16 MiB), then the bytes at the start of
//! the medium, where the magic number and the version are put.
#![no_main]

mod read_only;

use cardkeep_block::WriteAt;
use cardkeep_squashfs::SquashfsDriver;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some(medium) = read_only::medium(input) else {
        return;
    };
    medium.write_at(0, b"hsqs").unwrap();
    medium.write_at(0x1C, &[4, 0, 0, 0]).unwrap();
    read_only::check(&SquashfsDriver, &medium);
});
