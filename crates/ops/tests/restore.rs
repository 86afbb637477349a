//! What a restore plans and does with images that are not what they seem, on files.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on fails by panicking"
)]

use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};

use cardkeep_block::{BlockError, MemoryMedium, ReadAt, Silent, WriteAt};
use cardkeep_copy::WriteMode;
use cardkeep_device::{Device, Machine, UnmountError, machine};
use cardkeep_ops::restore::{Expand, RestoreFrom, RestorePlan, RestoreRequest, apply, plan};
use cardkeep_ops::{ContentRule, OpError, OpErrorKind, SAMPLE_BYTES, Truncated, write_sample};
use cardkeep_survey::Scope;
use cardkeep_testkit::{Fault, FaultDisk, SectorSize, skip_unless_fuse};
use tempfile::TempDir;

const LEN: usize = 3 << 20;
const OLD: u8 = 0xa5;

/// A machine without disks: all is done on files.
struct NoDisks;

impl Machine for NoDisks {
    fn devices(&self) -> Result<Vec<Device>, BlockError> {
        Ok(Vec::new())
    }
    fn device_of_path(&self, _: &Path) -> Result<Option<Device>, BlockError> {
        Ok(None)
    }
    fn device_holding(&self, _: &Path) -> Result<Option<String>, BlockError> {
        Ok(None)
    }
    fn unmount(&self, _: &Device) -> Result<(), UnmountError> {
        Ok(())
    }
}

/// A folder with a card in it that was used for something else.
fn desk() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("card"), vec![OLD; LEN]).unwrap();
    folder
}

fn card(desk: &TempDir) -> Vec<u8> {
    std::fs::read(desk.path().join("card")).unwrap()
}

fn request(from: RestoreFrom, target: PathBuf) -> RestoreRequest {
    RestoreRequest {
        truncated: Truncated::Refuse,
        from,
        targets: vec![target],
        expected_serial: None,
        scope: Scope::UsedOnly,
        mode: WriteMode::All,
        verify: true,
        probe: true,
        eject: false,
        expand: Expand::Never,
        content: ContentRule::Any,
        sha256: None,
        cores: 2,
    }
}

fn try_plan(desk: &TempDir, from: RestoreFrom) -> Result<RestorePlan, OpError> {
    plan(&NoDisks, request(from, desk.path().join("card")), &Silent)
}

fn run(plan: &RestorePlan) {
    let mut report = apply(&NoDisks, plan, &[&Silent]);
    let done = report.targets.remove(0).result.unwrap();
    assert!(done.outcome.is_verified);
}

/// A gzip member whose content is stored as it is: RFC 1951, section 3.2.4, and RFC 1952.
fn gzip(content: &[u8]) -> Vec<u8> {
    let mut file = b"\x1f\x8b\x08\0\0\0\0\0\0\xff".to_vec();
    for block in content.chunks(0xffff) {
        let len = block.len() as u16;
        file.push(0);
        file.extend([len, !len].map(u16::to_le_bytes).concat());
        file.extend(block);
    }
    file.extend([1, 0, 0, 0xff, 0xff]);
    file.extend(crc32(content).to_le_bytes());
    file.extend((content.len() as u32).to_le_bytes());
    file
}

fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, &byte: &u8| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    };
    !bytes.iter().fold(u32::MAX, step)
}

/// An archive of members that are stored as they are: PKWARE APPNOTE 6.3, section 4.3.
fn zip(members: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for (name, content) in members {
        let at = file.len() as u32;
        let size = (content.len() as u32).to_le_bytes();
        let mut fields = [20u16, 0, 0, 0, 0].map(u16::to_le_bytes).concat();
        fields.extend(crc32(content).to_le_bytes());
        fields.extend([size, size].concat());
        fields.extend((name.len() as u16).to_le_bytes());
        fields.extend([0, 0]);
        file.extend(b"PK\x03\x04");
        file.extend(&fields);
        file.extend(name.as_bytes());
        file.extend(*content);
        directory.extend(b"PK\x01\x02\x14\x00");
        directory.extend(&fields);
        directory.extend([0; 10]);
        directory.extend(at.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let (count, start) = (members.len() as u16, file.len() as u32);
    file.extend(&directory);
    file.extend(b"PK\x05\x06\0\0\0\0");
    file.extend([count, count].map(u16::to_le_bytes).concat());
    file.extend((directory.len() as u32).to_le_bytes());
    file.extend(start.to_le_bytes());
    file.extend([0, 0]);
    file
}

fn piped(pipe: Box<dyn std::io::Read + Send>) -> RestoreFrom {
    RestoreFrom::Pipe {
        pipe,
        input: cardkeep_device::StandardInput::default(),
    }
}

#[test]
fn an_image_replaced_after_it_was_looked_at_is_restored_as_it_was() {
    let desk = desk();
    let image = desk.path().join("pi.img.gz");
    std::fs::write(&image, gzip(&vec![1; LEN])).unwrap();
    let plan = try_plan(&desk, RestoreFrom::Image(image.clone())).unwrap();
    let other = desk.path().join("other");
    std::fs::write(&other, gzip(&vec![2; LEN])).unwrap();
    std::fs::rename(&other, &image).unwrap();
    run(&plan);
    assert!(card(&desk) == vec![1; LEN]);
}

#[test]
fn the_member_that_was_looked_at_in_an_archive_is_the_one_that_is_restored() {
    let desk = desk();
    let image = desk.path().join("pi.zip");
    let members = [("firmware.bin", vec![1; LEN]), ("pi.img", vec![2; LEN])];
    let members = members
        .each_ref()
        .map(|(name, content)| (*name, &content[..]));
    std::fs::write(&image, zip(&members)).unwrap();
    let plan = try_plan(&desk, RestoreFrom::Image(image)).unwrap();
    run(&plan);
    assert!(card(&desk) == vec![2; LEN]);
}

#[test]
fn a_pipe_that_holds_nothing_or_rubbish_costs_nothing() {
    let mut damaged = gzip(&vec![1; LEN]);
    damaged[10..40].fill(0xff);
    for (input, kind) in [
        (Vec::new(), OpErrorKind::Usage),
        (gzip(&[]), OpErrorKind::Usage),
        (damaged, OpErrorKind::Corrupt),
    ] {
        let desk = desk();
        let pipe: Box<dyn Read + Send> = Box::new(Cursor::new(input));
        let Err(error) = try_plan(&desk, piped(pipe)) else {
            panic!("{kind:?}")
        };
        assert_eq!(error.kind, kind, "{}", error.message);
        assert!(card(&desk) == vec![OLD; LEN]);
    }
}

#[test]
fn a_pipe_arrives_from_its_first_byte_on() {
    let desk = desk();
    let content: Vec<u8> = (0..LEN).map(|index| (index / 100) as u8 | 1).collect();
    for input in [content.clone(), gzip(&content)] {
        let plan = try_plan(&desk, piped(Box::new(Cursor::new(input)))).unwrap();
        run(&plan);
        assert!(card(&desk) == content);
    }
}

#[test]
fn a_raw_pipe_that_ends_before_what_is_used_makes_no_good_card() {
    let sample = MemoryMedium::new(SAMPLE_BYTES);
    write_sample(&sample).unwrap();
    let content = sample.to_vec();
    // Nothing is used in the last 2 MiB.
    for (lost, is_good) in [(0, true), (2 << 20, true), (100 << 20, false)] {
        let folder = tempfile::tempdir().unwrap();
        let card = folder.path().join("card");
        std::fs::write(&card, vec![OLD; content.len()]).unwrap();
        let input = content[..content.len() - lost].to_vec();
        let from = piped(Box::new(Cursor::new(input)));
        let plan = plan(&NoDisks, request(from, card.clone()), &Silent).unwrap();
        let result = apply(&NoDisks, &plan, &[&Silent]).targets.remove(0).result;
        assert_eq!(result.is_ok(), is_good, "{result:?}");
        let first_sector = &std::fs::read(&card).unwrap()[..512];
        let is_wiped = first_sector.iter().all(|&byte| byte == 0);
        assert_eq!(is_wiped, !is_good);
    }
}

#[test]
fn a_card_that_wraps_is_found_out_before_it_is_compared() {
    if skip_unless_fuse("a_card_that_wraps_is_found_out_before_it_is_compared") {
        return;
    }
    const REAL: usize = 16 << 20;
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("pi.img");
    let content = [vec![1; REAL], vec![2; REAL]].concat();
    std::fs::write(&image, &content).unwrap();
    for mode in [WriteMode::Differing, WriteMode::Resumed] {
        let disk = FaultDisk::blank(2 * REAL as u64, SectorSize::Bytes512).unwrap();
        let lower = &content[..REAL];
        disk.medium().inner().write_at(0, lower).unwrap();
        disk.declare(Fault::WrapsAt(REAL as u64));
        let from = RestoreFrom::Image(image.clone());
        let wanted = RestoreRequest {
            mode,
            ..request(from, disk.path().to_path_buf())
        };
        let machine = machine();
        let plan = plan(&*machine, wanted, &Silent).unwrap();
        let mut report = apply(&*machine, &plan, &[&Silent]);
        let error = report.targets.remove(0).result.unwrap_err();
        assert_eq!(error.kind, OpErrorKind::Medium, "{}", error.message);
        let found = disk.medium().inner().read_vec(0, REAL).unwrap();
        assert!(found == lower, "{mode:?}");
    }
}
