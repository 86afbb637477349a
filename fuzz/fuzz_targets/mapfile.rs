//! Mapfiles from strangers.
//!
//! Invariant: whatever the bytes, reading a mapfile ends, in bounded memory, without a panic, with
//! a map that tiles the medium or an error; and what was read is written so that it is read again.
//!
//! The first two bytes are the medium's length in units of 512 bytes.
#![no_main]

use cardkeep_block::RescueMap;
use cardkeep_image::Mapfile;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((&[low, high], text)) = data.split_first_chunk() else {
        return;
    };
    let len = u64::from(u16::from_le_bytes([low, high])) * 512;
    let Ok(mapfile) = Mapfile::parse(text, len) else {
        return;
    };
    assert!(mapfile.map.run_count() <= RescueMap::RUNS_MAX);
    let mut end = 0;
    for run in mapfile.map.runs() {
        assert_eq!(run.extent.start(), end);
        end = run.extent.end();
    }
    assert_eq!(end, len);
    let again = Mapfile::parse(mapfile.to_text("fuzz").as_bytes(), len);
    assert_eq!(again.ok(), Some(mapfile));
});
