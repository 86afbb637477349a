//! Sinks on real block devices made of files. They need root and loop devices.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test that can't be set up has failed")]

use std::path::{Path, PathBuf};

use cardkeep_block::{
    AlignedBuffer, AllocationMap, BlockErrorKind, Extent, ReadAt, Run, Silent, State, WriteAt,
};
use cardkeep_device::{
    DeviceSink, FileId, FileTarget, Linux, Machine, Refusal, Source, WritePermit,
};
use cardkeep_testkit::{
    FaultDisk, Mount, SectorSize, Tool, skip_unless_fuse, skip_unless_root, skip_unless_tools,
};
use tempfile::TempDir;

const LEN: usize = 8 << 20;
const SENTINEL: u8 = 0xa5;

/// The number of a loop device that is far from those that are found free, so that nobody takes it
/// while it is detached for a moment.
fn lonely_number() -> u32 {
    1000 + std::process::id() % 16
}

/// A loop device with sectors of a chosen size, detached when dropped.
struct Card {
    folder: TempDir,
    path: PathBuf,
    bytes: Vec<u8>,
}

impl Card {
    fn new(sector_bytes: u32) -> Self {
        Self::attach(sector_bytes, "--find")
    }

    /// Attaches a new file; `place` is `--find` or a loop device's path.
    fn attach(sector_bytes: u32, place: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let bytes = vec![SENTINEL; LEN];
        let file = folder.path().join("file");
        std::fs::write(&file, &bytes).unwrap();
        let said = Tool::new("losetup")
            .args(["--show", "--sector-size"])
            .args([&sector_bytes.to_string(), place])
            .arg(&file)
            .run();
        let path = PathBuf::from(said.trim());
        Self {
            folder,
            path,
            bytes,
        }
    }

    fn permit(&self, allowed: &[Extent]) -> Result<WritePermit, Refusal> {
        let machine = Linux::new();
        let device = machine.device_of_path(&self.path).unwrap().unwrap();
        WritePermit::for_device(&machine, &device, &[], places(allowed))
    }

    fn sink(&self, allowed: &[Extent]) -> DeviceSink {
        DeviceSink::open(self.permit(allowed).unwrap(), &Silent).unwrap()
    }

    /// Notes what the device should hold from now on.
    fn expect(&mut self, start: usize, bytes: &[u8]) {
        self.bytes[start..start + bytes.len()].copy_from_slice(bytes);
    }

    /// Compares the whole device, and the file that it is made of.
    fn check(&self, what: &str) {
        let device = Source::open(&self.path).unwrap().read_vec(0, LEN).unwrap();
        let file = std::fs::read(self.folder.path().join("file")).unwrap();
        for found in [device, file] {
            let differing = found.iter().zip(&self.bytes).position(|(a, b)| a != b);
            assert_eq!((found.len(), differing), (LEN, None), "{what}");
        }
    }
}

impl Drop for Card {
    fn drop(&mut self) {
        Tool::new("losetup")
            .arg("--detach")
            .arg(&self.path)
            .outcome();
    }
}

fn places(allowed: &[Extent]) -> AllocationMap {
    let runs: Vec<_> = allowed
        .iter()
        .map(|&extent| Run::new(extent, State::Used))
        .collect();
    AllocationMap::all(LEN as u64, State::Free).replaced(&runs)
}

fn everywhere() -> [Extent; 1] {
    [Extent::between(0, LEN as u64)]
}

#[test]
fn only_permitted_bytes_of_a_device_change() {
    if skip_unless_root("only_permitted_bytes_of_a_device_change") {
        return;
    }
    for sector_bytes in [512, 4096] {
        let mut card = Card::new(sector_bytes);
        let sink = card.sink(&[Extent::between(5000, 3_000_000)]);
        assert_eq!(
            (sink.is_device(), sink.sector_bytes()),
            (true, sector_bytes)
        );
        assert_eq!(sink.alignment(), sector_bytes as usize);
        for (start, len) in [
            (4999, 2),
            (2_999_999, 2),
            (0, 4096),
            (3_000_000, 1),
            (0, LEN),
        ] {
            let error = sink.write_at(start, &vec![1; len]).unwrap_err();
            assert_eq!(error.kind(), BlockErrorKind::OutsidePermit, "{start}");
            let extent = Extent::new(start, len as u64).unwrap();
            assert!(sink.write_zeros(extent).is_err());
        }
        let data: Vec<u8> = (0..2_995_000).map(|index| (index % 251) as u8).collect();
        sink.write_at(5000, &data).unwrap();
        card.expect(5000, &data);
        sink.write_at(6001, &[9; 3]).unwrap();
        card.expect(6001, &[9; 3]);
        let mut aligned = AlignedBuffer::new(1 << 20);
        aligned.fill(8);
        sink.write_at(1 << 20, &aligned).unwrap();
        card.expect(1 << 20, &aligned);
        sink.flush().unwrap();
        assert!(sink.read_vec(1, LEN - 1).unwrap() == card.bytes[1..]);
        card.check(&format!("sectors of {sector_bytes}"));
    }
}

#[test]
fn zeros_on_a_device_are_zeros_to_the_byte() {
    if skip_unless_root("zeros_on_a_device_are_zeros_to_the_byte") {
        return;
    }
    for sector_bytes in [512, 4096] {
        let mut card = Card::new(sector_bytes);
        let ranges = [(0, 4096), (5000, 5001), (8191, 20_481), (1 << 20, LEN - 7)];
        for (start, end) in ranges {
            let extent = Extent::between(start as u64, end as u64);
            let sink = card.sink(&[extent]);
            sink.write_zeros(extent).unwrap();
            sink.flush().unwrap();
            card.expect(start, &vec![0; end - start]);
            let read = sink.read_vec(start as u64, end - start).unwrap();
            assert!(read.iter().all(|&byte| byte == 0));
            drop(sink);
            card.check(&format!("{extent}, sectors of {sector_bytes}"));
        }
    }
}

#[test]
fn a_device_is_opened_by_one_at_a_time() {
    if skip_unless_root("a_device_is_opened_by_one_at_a_time") {
        return;
    }
    let card = Card::new(512);
    let first = card.sink(&everywhere());
    let second = DeviceSink::open(card.permit(&everywhere()).unwrap(), &Silent);
    assert_eq!(second.unwrap_err().kind(), BlockErrorKind::Busy);
    assert!(Source::open_exclusive(&card.path).is_err());
    drop(first);
    card.sink(&everywhere());
}

#[test]
fn a_mounted_device_gets_no_permit_and_does_not_open() {
    let test = "a_mounted_device_gets_no_permit_and_does_not_open";
    if skip_unless_root(test) || skip_unless_tools(test, &["mkfs.ext4"]) {
        return;
    }
    let card = Card::new(512);
    Tool::new("mkfs.ext4").arg("-q").arg(&card.path).run();
    let permit = card.permit(&everywhere()).unwrap();
    let mount = Mount::new(&card.path, "ro").unwrap();
    let is_refused = |refusal| {
        matches!(
            refusal,
            Err(Refusal::Guarded { .. } | Refusal::Mounted { .. })
        )
    };
    assert!(is_refused(card.permit(&everywhere())));
    // The permit of before the mount is not enough either.
    let error = DeviceSink::open(permit, &Silent).unwrap_err();
    assert_eq!(error.kind(), BlockErrorKind::Busy);
    drop(mount);
    card.sink(&everywhere());
}

#[test]
fn another_card_in_the_same_slot_does_not_open() {
    if skip_unless_root("another_card_in_the_same_slot_does_not_open") {
        return;
    }
    let path = format!("/dev/loop{}", lonely_number());
    let card = Card::attach(512, &path);
    let permit = card.permit(&everywhere()).unwrap();
    let file = card.folder.path().join("file");
    Tool::new("losetup").args(["--detach", &path]).run();
    Tool::new("losetup").arg(&path).arg(&file).run();
    let error = DeviceSink::open(permit, &Silent).unwrap_err();
    assert_eq!(error.kind(), BlockErrorKind::Gone);
    card.check("a card that was not approved");
}

#[test]
fn the_file_behind_a_device_gets_no_permit() {
    if skip_unless_root("the_file_behind_a_device_gets_no_permit") {
        return;
    }
    let card = Card::new(512);
    let file = card.folder.path().join("file");
    let name = card.path.file_name().unwrap().to_str().unwrap();
    let refusal = FileTarget::look(&file).unwrap_err();
    assert!(
        matches!(&refusal, Refusal::BacksDevice { device, .. } if device == name),
        "{refusal:?}"
    );
    let refusal = FileTarget::look(Path::new(&card.path)).unwrap_err();
    assert!(matches!(
        refusal,
        Refusal::NotAFile {
            what: "a device",
            ..
        }
    ));
}

#[test]
fn a_device_whose_file_is_gone_for_good_keeps_no_other_file_from_being_written() {
    let test = "a_device_whose_file_is_gone_for_good_keeps_no_other_file_from_being_written";
    if skip_unless_root(test) || skip_unless_fuse(test) {
        return;
    }
    let lost = FaultDisk::blank(LEN as u64, SectorSize::Bytes512).unwrap();
    lost.abandon().unwrap();
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("card.img");
    std::fs::write(&file, vec![SENTINEL; LEN]).unwrap();
    FileTarget::look(&file).unwrap();
}

#[test]
fn standard_input_that_a_device_is_made_of_gets_no_permit() {
    if skip_unless_root("standard_input_that_a_device_is_made_of_gets_no_permit") {
        return;
    }
    let card = Card::new(512);
    let file = card.folder.path().join("file");
    let (renamed, other) = (
        card.folder.path().join("renamed"),
        card.folder.path().join("other"),
    );
    std::fs::write(&other, "image").unwrap();
    // The name that the system noted leads nowhere now.
    std::fs::rename(&file, &renamed).unwrap();
    let permit = || card.permit(&everywhere()).unwrap();
    let refusal = permit().sparing(FileId::of_path(&renamed)).unwrap_err();
    assert!(matches!(refusal, Refusal::IsRead), "{refusal:?}");
    permit().sparing(FileId::of_path(&other)).unwrap();
    let machine = Linux::new();
    let device = machine.device_of_path(&card.path).unwrap().unwrap();
    let permit = |keep: &Path| {
        let keep = [keep.to_path_buf()];
        WritePermit::for_device(&machine, &device, &keep, places(&everywhere()))
    };
    let refusal = permit(&renamed).unwrap_err();
    assert!(matches!(refusal, Refusal::HoldsImage { .. }), "{refusal:?}");
    permit(&other).unwrap();
}

#[test]
fn a_written_partition_table_is_seen_and_the_card_let_go() {
    if skip_unless_root("a_written_partition_table_is_seen_and_the_card_let_go") {
        return;
    }
    let card = Card::new(512);
    let sink = card.sink(&everywhere());
    sink.write_zeros(Extent::between(0, 512)).unwrap();
    sink.flush().unwrap();
    // The kernel looks for no partitions on such a loop device: nothing to do is no error.
    sink.reread_partitions().unwrap();
    drop(sink);
    let machine = Linux::new();
    let device = machine.device_of_path(&card.path).unwrap().unwrap();
    machine.eject(&device).unwrap();
    card.permit(&everywhere()).unwrap();
}
