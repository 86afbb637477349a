//! Loading: finds out which kind of table a medium has, and holds it against the medium.

use cardkeep_block::{BlockError, Extent, ReadAt};

use crate::damage::DamageKind;
use crate::ebr::Chain;
use crate::fault::Fault;
use crate::filesystem_sector::filesystem_of;
use crate::mbr::{Entry, RECORD_BYTES, Record};
use crate::{
    Corrupt, Damage, DiskId, Error, Kind, Loaded, Partition, PartitionTable, Scheme, Unsupported,
    gpt, gpt_header,
};

/// Loads the partition table of a medium whose sectors have `sector_bytes` bytes.
///
/// [`Loaded::None`] says that nothing is known: the medium is too short, has no signature, no
/// entries, or starts with a filesystem's boot sector.
///
/// # Errors
/// [`Error::Io`] where the first sector or a link of the chain of logical partitions can't be
/// read; an unreadable copy of a GPT is a [`Damage`] as long as the other serves.
/// [`Error::Corrupt`] where partitions overlap, lie on the table or past the medium's end, the
/// chain of logical partitions is broken, or both copies of a GPT are.
/// [`Error::Unsupported`] for sector sizes that are no power of two from 512 to 4096.
pub fn load(medium: &impl ReadAt, sector_bytes: u32) -> Result<Loaded, Error> {
    match draft(medium, sector_bytes)? {
        Some(draft) => draft.finish(medium.len()),
        None => Ok(Loaded::None),
    }
}

/// Reads what is there, before it is held against the medium; `None` where [`load`] would say so.
pub(crate) fn draft(medium: &impl ReadAt, sector_bytes: u32) -> Result<Option<Draft>, Error> {
    if !sector_bytes.is_power_of_two() || !(512..=4096).contains(&sector_bytes) {
        return Err(Error::Unsupported(Unsupported::sector_size(sector_bytes)));
    }
    let sectors = Sectors::new(medium, sector_bytes);
    if sectors.count() == 0 {
        return Ok(None);
    }
    let first = sectors.record(0).map_err(Error::Io)?;
    let Some(record) = Record::parse(&first).filter(is_table) else {
        return Ok(None);
    };
    let filesystem = filesystem_of(&first);
    if filesystem.is_some() && !record.entries.iter().any(|entry| sectors.holds(entry)) {
        return Ok(None);
    }
    let mut draft = if has_protective(&record) {
        gpt::read(&sectors, &record)
    } else {
        read_mbr(&sectors, &record)?
    };
    if let Some(filesystem) = filesystem {
        draft.faults.insert(0, Fault::Ambiguous { filesystem });
    }
    Ok(Some(draft))
}

fn is_table(record: &Record) -> bool {
    record.has_valid_status() && (!record.is_empty() || has_protective(record))
}

fn has_protective(record: &Record) -> bool {
    record.entries.iter().any(Entry::is_protective)
}

fn read_mbr(sectors: &Sectors<'_, impl ReadAt>, record: &Record) -> Result<Draft, Error> {
    let mut draft = Draft::new(
        Scheme::Mbr,
        DiskId::Mbr(record.disk_signature),
        sectors.bytes,
    );
    draft.table.metadata.extend(sectors.extent(0, 1));
    // A header that a table no longer announces tells that another tool wrote over a GPT.
    if sectors
        .read(1)
        .is_ok_and(|sector| gpt_header::has_signature(&sector))
    {
        draft.damage(DamageKind::StaleGpt);
    }
    let mut chain = Chain::new();
    for (number, entry) in (1..).zip(&record.entries) {
        if !entry.is_used() {
            continue;
        }
        draft.slots.push(Slot {
            record_lba: 0,
            index: number as usize - 1,
            names: Named::Partition(number),
        });
        let Some(partition) = sectors.partition(number, 0, entry) else {
            let lba = u64::from(entry.first_sector);
            draft.faults.push(Fault::Backwards { number, lba });
            continue;
        };
        if entry.is_extended() {
            chain.walk(sectors, &partition, &mut draft)?;
            draft.table.containers.push(partition);
        } else {
            draft.table.partitions.push(partition);
        }
    }
    draft.table.partitions.sort_by_key(|p| p.number);
    Ok(draft)
}

/// A medium in sectors.
#[derive(Debug)]
pub(crate) struct Sectors<'a, M> {
    medium: &'a M,
    pub(crate) bytes: u32,
}

impl<'a, M: ReadAt> Sectors<'a, M> {
    /// Returns the medium in sectors of `bytes`, which must not be 0.
    pub(crate) const fn new(medium: &'a M, bytes: u32) -> Self {
        Self { medium, bytes }
    }

    /// The number of whole sectors.
    pub(crate) fn count(&self) -> u64 {
        self.medium.len() / u64::from(self.bytes)
    }

    /// The extent of `count` sectors, if 64 bits can count its bytes.
    pub(crate) fn extent(&self, lba: u64, count: u64) -> Option<Extent> {
        let bytes = u64::from(self.bytes);
        Extent::new(lba.checked_mul(bytes)?, count.checked_mul(bytes)?)
    }

    /// The same, if all of it lies on the medium.
    pub(crate) fn extent_on_medium(&self, lba: u64, count: u64) -> Option<Extent> {
        self.extent(lba, count)
            .filter(|&extent| self.holds_extent(extent))
    }

    /// Tells whether all of it lies on the medium.
    pub(crate) fn holds_extent(&self, extent: Extent) -> bool {
        extent.end() <= self.medium.len()
    }

    pub(crate) fn read(&self, lba: u64) -> Result<Vec<u8>, BlockError> {
        let offset = lba.saturating_mul(u64::from(self.bytes));
        self.medium.read_vec(offset, self.bytes as usize)
    }

    pub(crate) fn read_extent(&self, extent: Extent, len: usize) -> Result<Vec<u8>, BlockError> {
        self.medium.read_vec(extent.start(), len)
    }

    /// The first 512 bytes of a sector: what counts of an MBR or EBR.
    pub(crate) fn record(&self, lba: u64) -> Result<[u8; RECORD_BYTES], BlockError> {
        let mut record = [0; RECORD_BYTES];
        let offset = lba.saturating_mul(u64::from(self.bytes));
        self.medium.read_at(offset, &mut record)?;
        Ok(record)
    }

    /// Tells whether these bytes are on the medium already.
    pub(crate) fn holds_bytes(&self, offset: u64, bytes: &[u8]) -> bool {
        // What can't be read, or lies past the end, must be written.
        let held = self.medium.read_vec(offset, bytes.len());
        held.is_ok_and(|held| held == bytes)
    }

    fn holds(&self, entry: &Entry) -> bool {
        let start = u64::from(entry.first_sector);
        let extent = self.extent_on_medium(start, entry.sector_count.into());
        entry.is_used() && start > 0 && extent.is_some()
    }

    /// The partition of an MBR or EBR entry that counts from sector `base`.
    pub(crate) fn partition(&self, number: u32, base: u64, entry: &Entry) -> Option<Partition> {
        let lba = base.checked_add(entry.first_sector.into())?;
        Some(Partition {
            number,
            extent: self.extent(lba, entry.sector_count.into())?,
            kind: Kind::Mbr(entry.kind),
            name: None,
            bootable: entry.is_active(),
            logical: base != 0,
            guid: None,
        })
    }
}

/// Where an MBR or a chain of EBRs names something.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot {
    pub(crate) record_lba: u64,
    /// Which of the record's four entries.
    pub(crate) index: usize,
    pub(crate) names: Named,
}

/// What an entry of a record names.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Named {
    /// The partition, or extended partition, with this number.
    Partition(u32),
    /// The next record of a chain.
    Link { to_lba: u64 },
}

/// A table in the making, with the faults found so far.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) table: PartitionTable,
    /// The entries of an MBR and its chains; empty for a GPT.
    pub(crate) slots: Vec<Slot>,
    pub(crate) faults: Vec<Fault>,
}

impl Draft {
    pub(crate) fn new(scheme: Scheme, disk_id: DiskId, sector_bytes: u32) -> Self {
        Self {
            table: PartitionTable {
                scheme,
                disk_id,
                sector_bytes,
                partitions: Vec::new(),
                containers: Vec::new(),
                metadata: Vec::new(),
                damages: Vec::new(),
                usable_start: sector_bytes.into(),
                tail_bytes: 0,
            },
            slots: Vec::new(),
            faults: Vec::new(),
        }
    }

    pub(crate) fn damage(&mut self, kind: DamageKind) {
        self.table.damages.push(Damage(kind));
    }

    /// Holds the table against a medium of `medium_len` bytes.
    pub(crate) fn finish(mut self, medium_len: u64) -> Result<Loaded, Error> {
        self.check_ends(medium_len);
        self.check_overlaps();
        self.check_metadata();
        self.table.metadata = disjoint(std::mem::take(&mut self.table.metadata));
        let Self { table, faults, .. } = self;
        if faults.is_empty() {
            return Ok(Loaded::Table(table));
        }
        match Corrupt::of(faults, Some(table)) {
            Some(corrupt) => Err(Error::Corrupt(corrupt)),
            None => Ok(Loaded::None),
        }
    }

    fn check_ends(&mut self, medium_len: u64) {
        let all = self.table.partitions.iter().chain(&self.table.containers);
        for partition in all.filter(|p| p.extent.end() > medium_len) {
            self.faults.push(Fault::PastEnd {
                number: partition.number,
                extent: partition.extent,
            });
        }
    }

    /// Logical partitions are known to lie inside their container: those overlap each other, or
    /// their containers overlap something.
    fn check_overlaps(&mut self) {
        let (logical, primary): (Vec<_>, Vec<_>) =
            self.table.partitions.iter().partition(|p| p.logical);
        let primary = primary.into_iter().chain(&self.table.containers);
        let mut faults = overlaps(primary);
        faults.extend(overlaps(logical.into_iter()));
        self.faults.append(&mut faults);
    }

    fn check_metadata(&mut self) {
        for partition in &self.table.partitions {
            let hit = self
                .table
                .metadata
                .iter()
                .find(|m| m.overlaps(partition.extent));
            if let Some(metadata) = hit {
                self.faults.push(Fault::OnTable {
                    number: partition.number,
                    at: metadata.intersection(partition.extent),
                });
            }
        }
    }
}

fn overlaps<'a>(partitions: impl Iterator<Item = &'a Partition>) -> Vec<Fault> {
    let mut sorted: Vec<_> = partitions.collect();
    sorted.sort_by_key(|p| (p.extent, p.number));
    let mut faults = Vec::new();
    let mut furthest: Option<&Partition> = None;
    for partition in sorted {
        if let Some(before) = furthest
            && before.extent.overlaps(partition.extent)
        {
            faults.push(Fault::Overlap {
                one: before.number,
                other: partition.number,
                at: before.extent.intersection(partition.extent),
            });
        }
        if furthest.is_none_or(|before| before.extent.end() < partition.extent.end()) {
            furthest = Some(partition);
        }
    }
    faults
}

/// Returns the extents ordered, with those that touch or overlap joined.
fn disjoint(mut extents: Vec<Extent>) -> Vec<Extent> {
    extents.sort_unstable();
    let mut joined: Vec<Extent> = Vec::with_capacity(extents.len());
    for extent in extents {
        match joined.last_mut() {
            Some(last) if extent.start() <= last.end() => {
                *last = Extent::between(last.start(), last.end().max(extent.end()));
            }
            _ => joined.push(extent),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use cardkeep_block::{Extent, MemoryMedium, ReadAt, Slice, WriteAt};

    use super::load;
    use crate::damage::DamageKind;
    use crate::fault::Fault;
    use crate::writer::{Gpt, write_record};
    use crate::{Damage, Error, Loaded, PartitionTable, Scheme};

    fn table(medium: &impl ReadAt) -> PartitionTable {
        match load(medium, 512).unwrap() {
            Loaded::Table(table) => table,
            Loaded::None => panic!("no table"),
        }
    }

    fn fault(medium: &impl ReadAt) -> Fault {
        match load(medium, 512) {
            Err(Error::Corrupt(corrupt)) => corrupt.fault().clone(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn blank_short_and_empty_media_have_no_table() {
        assert_eq!(load(&MemoryMedium::new(511), 512).unwrap(), Loaded::None);
        assert_eq!(load(&MemoryMedium::new(0), 4096).unwrap(), Loaded::None);
        let medium = MemoryMedium::new(5120);
        assert_eq!(load(&medium, 512).unwrap(), Loaded::None);
        write_record(&medium, 512, 0, &[]);
        assert_eq!(load(&medium, 512).unwrap(), Loaded::None);
    }

    #[test]
    fn boot_code_where_status_bytes_would_be_is_no_table() {
        let medium = MemoryMedium::new(5120);
        write_record(&medium, 512, 0, &[(0x55, 0x83, 1, 1)]);
        assert_eq!(load(&medium, 512).unwrap(), Loaded::None);
    }

    #[test]
    fn odd_sector_sizes_are_refused() {
        for bytes in [0, 1, 256, 513, 8192, u32::MAX] {
            let result = load(&MemoryMedium::new(5120), bytes);
            assert!(matches!(result, Err(Error::Unsupported(_))), "{bytes}");
        }
    }

    #[test]
    fn an_entry_past_the_end_is_found_and_still_shown() {
        let medium = MemoryMedium::new(100 * 512);
        write_record(&medium, 512, 0, &[(0x80, 0x0c, 1, 50), (0, 0x83, 51, 50)]);
        let Err(Error::Corrupt(corrupt)) = load(&medium, 512) else {
            panic!("no fault");
        };
        assert_eq!(
            corrupt.to_string(),
            "partition 2 (bytes 26112..51712) reaches past the end of the medium"
        );
        let shown = corrupt.readable().unwrap();
        assert_eq!(shown.partitions.len(), 2);
        assert!(shown.partitions[0].bootable);
        // One sector more, and it fits to the last byte.
        let longer = MemoryMedium::from_bytes(&[medium.to_vec(), vec![0; 512]].concat());
        assert_eq!(table(&longer).partitions[1].extent.end(), longer.len());
    }

    #[test]
    fn overlaps_are_found_past_a_partition_between() {
        let medium = MemoryMedium::new(100 * 512);
        // The second lies inside the first and ends before the third, which does too.
        let entries = [(0, 0x83, 1, 80), (0, 0x83, 10, 5), (0, 0x83, 50, 2)];
        write_record(&medium, 512, 0, &entries);
        let Err(Error::Corrupt(corrupt)) = load(&medium, 512) else {
            panic!("no fault");
        };
        let messages: Vec<_> = corrupt.messages().collect();
        assert_eq!(
            messages,
            [
                "partitions 1 and 2 overlap at bytes 5120..7680",
                "partitions 1 and 3 overlap at bytes 25600..26624"
            ]
        );
        assert_eq!(
            corrupt.to_string(),
            "partitions 1 and 2 overlap at bytes 5120..7680 (and 1 more)"
        );
    }

    #[test]
    fn a_partition_on_the_mbr_is_found() {
        let medium = MemoryMedium::new(100 * 512);
        write_record(&medium, 512, 0, &[(0x80, 0x17, 0, 100)]);
        let at = Extent::between(0, 512);
        assert_eq!(fault(&medium), Fault::OnTable { number: 1, at });
    }

    fn fat_boot_sector(medium: &MemoryMedium) {
        // What `mkfs.vfat -F 16` writes: BytsPerSec 512, SecPerClus 4, RsvdSecCnt 4, NumFATs 2,
        // RootEntCnt 512, TotSec16 100, Media f8.
        let bpb = [
            0xeb, 0x3c, 0x90, b'm', b'k', b'f', b's', b'.', b'f', b'a', b't', 0x00, 0x02, 0x04,
            0x04, 0x00, 0x02, 0x00, 0x02, 100, 0, 0xf8,
        ];
        medium.write_at(0, &bpb).unwrap();
    }

    #[test]
    fn a_filesystem_directly_on_the_medium_is_no_table() {
        let medium = MemoryMedium::new(100 * 512);
        write_record(&medium, 512, 0, &[]);
        fat_boot_sector(&medium);
        assert_eq!(load(&medium, 512).unwrap(), Loaded::None);
        // Boot code with a zero where a status would be, but no partition on the medium.
        write_record(&medium, 512, 0, &[(0, b'N', 0x4c44_544e, 0x2073_6920)]);
        fat_boot_sector(&medium);
        assert_eq!(load(&medium, 512).unwrap(), Loaded::None);
        for oem in [b"EXFAT   ", b"NTFS    "] {
            write_record(&medium, 512, 0, &[(0, 7, 500, 1)]);
            medium.write_at(3, oem).unwrap();
            assert_eq!(load(&medium, 512).unwrap(), Loaded::None);
        }
    }

    #[test]
    fn a_filesystem_with_a_plausible_table_in_it_is_doubtful() {
        let medium = MemoryMedium::new(100 * 512);
        write_record(&medium, 512, 0, &[(0, 0x0c, 10, 50)]);
        assert_eq!(table(&medium).partitions.len(), 1);
        fat_boot_sector(&medium);
        assert_eq!(fault(&medium), Fault::Ambiguous { filesystem: "FAT" });
    }

    fn gpt() -> Gpt {
        Gpt {
            sector_bytes: 512,
            sector_count: 1000,
            partitions: vec![Some((40, 99)), None, Some((100, 966))],
        }
    }

    #[test]
    fn a_gpt_that_the_mbr_does_not_announce_is_a_damage() {
        let medium = gpt().medium();
        write_record(&medium, 512, 0, &[(0, 0x83, 40, 10)]);
        let table = table(&medium);
        assert_eq!(table.scheme, Scheme::Mbr);
        assert_eq!(table.damages, [Damage(DamageKind::StaleGpt)]);
    }

    #[test]
    fn an_image_cut_short_is_found() {
        let medium = gpt().medium();
        let cut = Slice::new(&medium, Extent::between(0, 900 * 512));
        let expected = Fault::PastEnd {
            number: 3,
            extent: Extent::between(100 * 512, 967 * 512),
        };
        assert_eq!(fault(&cut), expected);
    }
}
