//! Sinks on regular files: nothing changes but what the permit allows.

#![expect(clippy::unwrap_used, reason = "a test that can't be set up has failed")]

use std::path::{Path, PathBuf};

use cardkeep_block::{AllocationMap, BlockErrorKind, Extent, ReadAt, Run, Silent, State, WriteAt};
use cardkeep_device::{DeviceSink, FileId, FileTarget, Refusal, WritePermit};
use tempfile::TempDir;

/// What the file is filled with: bytes that neither zeros nor the tests' own writes look like.
const SENTINEL: u8 = 0xa5;

struct Card {
    folder: TempDir,
    bytes: Vec<u8>,
}

impl Card {
    fn of(len: usize) -> Self {
        let folder = TempDir::new().unwrap();
        let bytes = vec![SENTINEL; len];
        std::fs::write(folder.path().join("card"), &bytes).unwrap();
        Self { folder, bytes }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("card")
    }

    fn sink(&self, allowed: &[Extent]) -> DeviceSink {
        let permit = permit_for(&self.path(), &[], self.places(allowed)).unwrap();
        DeviceSink::open(permit, &Silent).unwrap()
    }

    fn places(&self, allowed: &[Extent]) -> AllocationMap {
        places(self.bytes.len() as u64, allowed)
    }

    /// Notes what the file should hold from now on.
    fn expect(&mut self, start: usize, bytes: &[u8]) {
        self.bytes[start..start + bytes.len()].copy_from_slice(bytes);
    }

    /// Compares the whole file.
    fn check(&self, what: &str) {
        let found = std::fs::read(self.path()).unwrap();
        assert_eq!(found.len(), self.bytes.len(), "{what}: length");
        let differing = found.iter().zip(&self.bytes).position(|(a, b)| a != b);
        assert_eq!(differing, None, "{what}");
    }
}

fn places(len: u64, allowed: &[Extent]) -> AllocationMap {
    let runs: Vec<_> = allowed
        .iter()
        .map(|&extent| Run::new(extent, State::Used))
        .collect();
    AllocationMap::all(len, State::Free).replaced(&runs)
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|index| (index % 251) as u8).collect()
}

fn permit_for(
    path: &Path,
    keep: &[PathBuf],
    places: AllocationMap,
) -> Result<WritePermit, Refusal> {
    WritePermit::for_file(&FileTarget::look(path)?, keep, places)
}

#[test]
fn what_the_permit_does_not_allow_is_refused_whole() {
    let card = Card::of(65_536);
    let sink = card.sink(&[Extent::between(4096, 8192), Extent::between(9000, 20_000)]);
    let outside = [
        (4095, 2),
        (8191, 2),
        (8192, 808),
        (0, 65_536),
        (4096, 4906),
        (19_999, 2),
    ];
    for (start, len) in outside {
        let extent = Extent::new(start, len).unwrap();
        let error = sink.write_at(start, &vec![1; len as usize]).unwrap_err();
        assert_eq!(error.kind(), BlockErrorKind::OutsidePermit, "{extent}");
        assert_eq!(error.extent(), Some(extent));
        let error = sink.write_zeros(extent).unwrap_err();
        assert_eq!(error.kind(), BlockErrorKind::OutsidePermit, "{extent}");
    }
    for (start, len) in [(65_535, 2), (65_536, 1), (u64::MAX, 1), (u64::MAX - 1, 1)] {
        let error = sink.write_at(start, &vec![1; len]).unwrap_err();
        assert_eq!(error.kind(), BlockErrorKind::OutOfBounds, "{start}");
    }
    sink.flush().unwrap();
    card.check("after refusals");
}

#[test]
fn places_to_be_zero_or_free_are_no_places_to_write() {
    let card = Card::of(8192);
    let zero = Run::new(Extent::between(0, 4096), State::Zero);
    let used = Run::new(Extent::between(4096, 8192), State::Used);
    let places = AllocationMap::all(8192, State::Free).replaced(&[zero, used]);
    let permit = permit_for(&card.path(), &[], places).unwrap();
    assert!(!permit.allows(Extent::between(0, 1)));
    assert!(permit.allows(Extent::between(4096, 8192)));
    assert!(permit.allows(Extent::between(100, 100)));
    assert!(!permit.allows(Extent::between(4096, 8193)));
    assert!(!permit.allows(Extent::between(9000, 9001)));
    let sink = DeviceSink::open(permit, &Silent).unwrap();
    assert!(sink.write_zeros(Extent::between(0, 4096)).is_err());
    card.check("a place that should be zero is no place to write");
}

#[test]
fn unaligned_writes_change_their_bytes_alone() {
    // The second length leaves direct writes no room for the last bytes.
    for len in [1 << 20, (1 << 20) + 777] {
        let mut card = Card::of(len);
        let sink = card.sink(&[Extent::between(0, len as u64)]);
        let source = pattern(300_001);
        let writes = [
            (0, 1),
            (511, 2),
            (4095, 8194),
            (100_000, 299_999),
            (len - 5, 5),
            (len, 0),
        ];
        for (start, count) in writes {
            // One byte into the buffer: an address that no direct write accepts.
            let data = &source[1..=count];
            sink.write_at(start as u64, data).unwrap();
            card.expect(start, data);
        }
        sink.flush().unwrap();
        card.check("the file");
        let mut read = vec![0; len - 3];
        sink.read_at(3, &mut read).unwrap();
        assert!(read == card.bytes[3..], "what the sink reads");
    }
}

#[test]
fn requests_larger_than_one_write_arrive_whole() {
    let len = 9 << 20;
    let mut card = Card::of(len);
    let sink = card.sink(&[Extent::between(0, len as u64)]);
    let data = pattern(len - 100);
    sink.write_at(50, &data).unwrap();
    card.expect(50, &data);
    let mut aligned = cardkeep_block::AlignedBuffer::new(len - 4096);
    aligned.fill(7);
    sink.write_at(4096, &aligned).unwrap();
    card.expect(4096, &aligned);
    sink.flush().unwrap();
    card.check("the file");
}

#[test]
fn zeros_are_zeros_to_the_byte() {
    for len in [1 << 20, (1 << 20) + 777] {
        let ranges = [
            (0, 4096),
            (5000, 5001),
            (8191, 16_385),
            (20_000, len - 1),
            (70_000, 70_000),
        ];
        for (start, end) in ranges {
            let mut card = Card::of(len);
            let extent = Extent::between(start as u64, end as u64);
            // The permit ends where the zeros do: nothing else may be asked for within.
            card.sink(&[extent]).write_zeros(extent).unwrap();
            card.expect(start, &vec![0; end - start]);
            card.check(&format!("{start}..{end} of {len}"));
        }
    }
}

#[test]
fn neighbours_within_one_sector_keep_each_others_bytes() {
    let mut card = Card::of(4096);
    let sink = card.sink(&[Extent::between(0, 4096)]);
    std::thread::scope(|scope| {
        for worker in 0..4_usize {
            let sink = &sink;
            scope.spawn(move || {
                for index in (worker * 1024..(worker + 1) * 1024).step_by(16) {
                    sink.write_at(index as u64, &[worker as u8; 16]).unwrap();
                }
            });
        }
    });
    for worker in 0..4 {
        card.expect(worker * 1024, &[worker as u8; 1024]);
    }
    card.check("after four writers");
}

#[test]
fn a_file_takes_one_restore_at_a_time() {
    let card = Card::of(4096);
    let again = || permit_for(&card.path(), &[], card.places(&[]));
    let second = again().unwrap();
    let first = card.sink(&[]);
    let error = DeviceSink::open(second, &Silent).unwrap_err();
    assert_eq!(error.kind(), BlockErrorKind::Busy);
    let refusal = again().unwrap_err();
    assert!(matches!(refusal, Refusal::InUse { .. }), "{refusal:?}");
    drop(first);
    DeviceSink::open(again().unwrap(), &Silent).unwrap();
}

#[test]
fn a_locked_file_is_told_before_it_is_to_be_written() {
    let file = Card::of(4096);
    let lock = std::fs::File::open(file.path()).unwrap();
    for is_exclusive in [true, false] {
        match is_exclusive {
            true => lock.lock().unwrap(),
            false => lock.lock_shared().unwrap(),
        }
        let refusal = FileTarget::look(&file.path()).unwrap_err();
        assert!(matches!(refusal, Refusal::InUse { .. }), "{refusal:?}");
        lock.unlock().unwrap();
        // Looking leaves no lock of its own.
        let looked = FileTarget::look(&file.path()).unwrap();
        lock.try_lock().unwrap();
        lock.unlock().unwrap();
        drop(looked);
    }
}

#[test]
fn a_file_that_took_the_name_of_the_approved_one_is_not_opened() {
    let card = Card::of(4096);
    let permit = permit_for(&card.path(), &[], card.places(&[])).unwrap();
    let other = card.folder.path().join("other");
    std::fs::write(&other, &card.bytes).unwrap();
    std::fs::rename(&other, card.path()).unwrap();
    assert_eq!(
        DeviceSink::open(permit, &Silent).unwrap_err().kind(),
        BlockErrorKind::Gone
    );
}

#[test]
fn a_file_that_took_the_name_before_the_permit_gets_none() {
    let card = Card::of(4096);
    let approved = FileTarget::look(&card.path()).unwrap();
    let other = card.folder.path().join("other");
    std::fs::write(&other, &card.bytes).unwrap();
    std::fs::rename(&other, card.path()).unwrap();
    let refusal = WritePermit::for_file(&approved, &[], card.places(&[])).unwrap_err();
    assert!(matches!(refusal, Refusal::Changed { .. }), "{refusal:?}");
}

/// Catches: a file that was given the removed one's inode number, as ext4 does at once.
#[test]
fn a_file_that_was_made_anew_before_the_permit_gets_none() {
    let card = Card::of(4096);
    let approved = FileTarget::look(&card.path()).unwrap();
    std::fs::remove_file(card.path()).unwrap();
    std::fs::write(card.path(), &card.bytes).unwrap();
    let refusal = WritePermit::for_file(&approved, &[], card.places(&[])).unwrap_err();
    assert!(matches!(refusal, Refusal::Changed { .. }), "{refusal:?}");
}

#[test]
fn what_is_read_on_standard_input_gets_no_permit() {
    let card = Card::of(4096);
    let permit = || permit_for(&card.path(), &[], card.places(&[])).unwrap();
    let refusal = permit().sparing(FileId::of_path(&card.path()));
    assert!(matches!(refusal.unwrap_err(), Refusal::IsRead));
    permit().sparing(None).unwrap();
    permit()
        .sparing(FileId::of_path(card.folder.path()))
        .unwrap();
}

#[test]
fn a_file_that_grew_is_not_opened() {
    let card = Card::of(4096);
    let permit = permit_for(&card.path(), &[], card.places(&[])).unwrap();
    std::fs::write(card.path(), vec![1; 8192]).unwrap();
    assert_eq!(
        DeviceSink::open(permit, &Silent).unwrap_err().kind(),
        BlockErrorKind::Gone
    );
}

#[test]
fn only_regular_files_that_nobody_needs_get_a_permit() {
    let card = Card::of(4096);
    let refused =
        |path: &Path, keep: &[PathBuf], len| permit_for(path, keep, places(len, &[])).unwrap_err();
    let folder = card.folder.path();
    let is_none = |refusal| {
        matches!(
            refusal,
            Refusal::NotAFile {
                what: "a folder",
                ..
            }
        )
    };
    assert!(is_none(refused(folder, &[], 4096)));
    let is_gone = |refusal| matches!(refusal, Refusal::NotThere { .. });
    assert!(is_gone(refused(&folder.join("nothing"), &[], 4096)));
    let is_changed = |refusal| matches!(refusal, Refusal::Changed { .. });
    assert!(is_changed(refused(&card.path(), &[], 4095)));
    assert!(is_changed(refused(&card.path(), &[], 4097)));
    let link = folder.join("link");
    std::fs::hard_link(card.path(), &link).unwrap();
    let refusal = refused(&card.path(), std::slice::from_ref(&link), 4096);
    assert!(matches!(refusal, Refusal::HoldsImage { file } if file == link));
}

#[cfg(unix)]
#[test]
fn a_link_to_a_special_file_is_what_it_leads_to() {
    let folder = TempDir::new().unwrap();
    let link = folder.path().join("card");
    std::os::unix::fs::symlink("/dev/null", &link).unwrap();
    let refusal = permit_for(&link, &[], places(0, &[])).unwrap_err();
    assert!(matches!(refusal, Refusal::NotAFile { .. }), "{refusal:?}");
}
