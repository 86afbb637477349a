//! Invariant: whatever the bytes, loading a partition table ends soon and without a panic, and a
//! table that is accepted lies on its medium: partitions neither overlap each other, nor the
//! table, nor the end. Fitted to another length it is refused, or accepted there with just the
//! partitions that were asked for and no damage.
//!
//! Input: medium length in sectors (u32), flags (u8), length of the tail in sectors (u8), then the
//! bytes at the start of the medium, the last ones of which are its tail. Flags: bit 0 for sectors
//! of 4096 bytes; bit 1 to make the checksums of both GPT copies right, so that what lies behind
//! them is reached; bits 2 to 4 choose the length to fit to, bits 5 to 7 what becomes of the last
//! partition.
#![no_main]

use cardkeep_block::{Extent, MemoryMedium, ReadAt, WriteAt, le_u32, le_u64};
use cardkeep_ptable::{Error, Loaded, PartitionTable, Resize, Scheme, fitted, load, needed_len};
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
        Ok(Loaded::Table(table)) => {
            check(&table, len);
            // Whole sectors: more of a header's last one was sealed than the input gave.
            let head_bytes = head.len().next_multiple_of(sector_bytes as usize);
            let ends = [(0, head_bytes), (len - tail.len() as u64, tail.len())];
            fit(&medium, &table, flags >> 2, &ends);
        }
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

/// Fits the table, and loads it again from a medium that holds the bytes at both ends of the old
/// one and the patches.
fn fit(medium: &MemoryMedium, table: &PartitionTable, choice: u8, ends: &[(u64, usize)]) {
    let sector_bytes = u64::from(table.sector_bytes);
    let last = table.partitions.iter().max_by_key(|p| p.extent);
    let resizes: Vec<Resize> = last
        .filter(|_| choice >> 3 != 0)
        .map(|p| Resize {
            number: p.number,
            len: (p.extent.len() / 4).saturating_mul(u64::from(choice >> 3)) / sector_bytes
                * sector_bytes,
        })
        .into_iter()
        .collect();
    let needed = needed_len(table, &resizes);
    let new_len = match choice & 7 {
        0 => needed,
        1 => medium.len(),
        2 => needed.saturating_sub(1),
        3 => needed.saturating_add(5000),
        shift => medium.len().saturating_mul(1 << shift) / 32,
    };
    let Ok(fitted) = fitted(medium, table, new_len, &resizes) else {
        return;
    };
    let new = MemoryMedium::new(new_len);
    for &(start, len) in ends {
        let len = len.min(usize::try_from(new_len.saturating_sub(start)).unwrap_or(usize::MAX));
        let len = len.min(usize::try_from(medium.len() - start).unwrap_or(usize::MAX));
        new.write_at(start.min(new_len), &medium.read_vec(start, len).unwrap())
            .unwrap();
    }
    for patch in &fitted.patches {
        assert!(fitted.metadata.iter().any(|m| m.covers(patch.extent())));
        new.write_at(patch.offset, &patch.bytes).unwrap();
    }
    let Ok(Loaded::Table(loaded)) = load(&new, table.sector_bytes) else {
        panic!("{table:?} was fitted to {new_len} as {fitted:?}");
    };
    check(&loaded, new_len);
    assert!(
        loaded.scheme == Scheme::Mbr || loaded.damages.is_empty(),
        "{table:?} was fitted to {new_len}, and is {loaded:?}"
    );
    assert_eq!(loaded.metadata, fitted.metadata);
    let mut expected = table.partitions.clone();
    for partition in &mut expected {
        if let Some(resize) = resizes.iter().find(|r| r.number == partition.number) {
            partition.extent = Extent::new(partition.extent.start(), resize.len).unwrap();
        }
    }
    assert_eq!(loaded.partitions, expected);
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
