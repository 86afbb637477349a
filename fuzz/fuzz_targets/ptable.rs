//! Invariant: whatever the bytes, loading a partition table ends soon and without a panic, and a
//! table that is accepted lies on its medium: partitions neither overlap each other, nor the
//! table, nor the end.
//!
//! Input: medium length in sectors (u32), flags (u8), length of the tail in sectors (u8), then the
//! bytes at the start of the medium, the last ones of which are its tail. Flags: bit 0 for sectors
//! of 4096 bytes; bit 1 to make the checksums of both GPT copies right, so that what lies behind
//! them is reached.
#![no_main]

use cardkeep_block::{Extent, MemoryMedium, ReadAt, WriteAt, le_u32, le_u64};
use cardkeep_ptable::{Error, Loaded, PartitionTable, load};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((&[a, b, c, d, flags, tail], bytes)) = input.split_first_chunk::<6>() else {
        return;
    };
    let sector_bytes = if flags & 1 == 0 { 512_u32 } else { 4096 };
    let len = u64::from(u32::from_le_bytes([a, b, c, d])) * u64::from(sector_bytes);
    let tail_bytes = (usize::from(tail) * sector_bytes as usize).min(bytes.len());
    let (head, tail) = bytes.split_at(bytes.len() - tail_bytes);
    let medium = MemoryMedium::new(len);
    let head = &head[..head.len().min(len.try_into().unwrap_or(usize::MAX))];
    medium.write_at(0, head).unwrap();
    if let Some(start) = len.checked_sub(tail.len() as u64) {
        medium.write_at(start, tail).unwrap();
    }
    if flags & 2 != 0 {
        seal(&medium, 1, sector_bytes);
        seal(
            &medium,
            (len / u64::from(sector_bytes)).saturating_sub(1),
            sector_bytes,
        );
    }
    match load(&medium, sector_bytes) {
        Ok(Loaded::None) => {}
        Ok(Loaded::Table(table)) => check(&table, len),
        Err(Error::Corrupt(corrupt)) => {
            assert!(corrupt.messages().count() > 0);
            let _ = format!("{corrupt} {:?}", corrupt.readable());
        }
        Err(error) => panic!("a medium in memory can be read: {error:?}"),
    }
});

fn check(table: &PartitionTable, len: u64) {
    let mut extents: Vec<Extent> = table.partitions.iter().map(|p| p.extent).collect();
    extents.extend(&table.metadata);
    extents.sort_unstable();
    for pair in extents.windows(2) {
        assert!(!pair[0].overlaps(pair[1]), "{pair:?}");
    }
    assert!(extents.iter().all(|extent| extent.end() <= len));
    for partition in &table.partitions {
        assert!(!partition.extent.is_empty());
        assert!(!table.part_uuid(partition).is_empty());
        assert!(table.partition(partition.number).is_some());
    }
    for damage in &table.damages {
        assert!(!damage.to_string().is_empty());
    }
}

/// Sets both checksums of the header at `lba`, where it has a shape that allows it.
fn seal(medium: &MemoryMedium, lba: u64, sector_bytes: u32) -> Option<()> {
    let offset = lba * u64::from(sector_bytes);
    let mut header = medium.read_vec(offset, sector_bytes as usize).ok()?;
    let array_offset = le_u64(&header, 0x48).checked_mul(sector_bytes.into())?;
    let array_bytes = u64::from(le_u32(&header, 0x50)) * u64::from(le_u32(&header, 0x54));
    let array_bytes = usize::try_from(array_bytes)
        .ok()
        .filter(|&len| len <= 2 << 20)?;
    let array = medium.read_vec(array_offset, array_bytes).ok()?;
    header[0x58..0x5c].copy_from_slice(&crc32fast::hash(&array).to_le_bytes());
    header[0x10..0x14].fill(0);
    let crc = crc32fast::hash(header.get(..le_u32(&header, 0x0c) as usize)?);
    header[0x10..0x14].copy_from_slice(&crc.to_le_bytes());
    medium.write_at(offset, &header).ok()
}
