//! What a program sees of a block device that fails: through the kernel, as root, with direct I/O
//! where nothing else is said.
#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    reason = "a test's broken premise may stop it where it stands"
)]

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use cardkeep_block::{AlignedBuffer, Extent, ReadAt, WriteAt};
use cardkeep_testkit::{
    CardFile, Fault, FaultDisk, RequestKind, SectorSize, Throttle, Times, Tool, Unflushed,
    skip_unless_fuse,
};
use rustix::io::Errno;

const MIB: u64 = 1 << 20;
const DISK_BYTES: u64 = 16 * MIB;

/// Returns a disk whose every byte is 1.
fn ones() -> FaultDisk {
    let disk = FaultDisk::blank(DISK_BYTES, SectorSize::Bytes512).unwrap();
    let content = vec![1; DISK_BYTES as usize];
    disk.medium().inner().write_at(0, &content).unwrap();
    disk
}

fn open(path: &Path, flags: rustix::fs::OFlags) -> File {
    let mut options = File::options();
    options.read(true).write(true);
    let flags = flags.bits().cast_signed();
    options.custom_flags(flags).open(path).unwrap()
}

fn direct(disk: &FaultDisk) -> File {
    open(disk.path(), rustix::fs::OFlags::DIRECT)
}

/// Reads `len` bytes at `offset` into an aligned buffer.
fn read(file: &File, offset: u64, len: usize) -> io::Result<AlignedBuffer> {
    let mut buffer = AlignedBuffer::new(len);
    file.read_exact_at(&mut buffer, offset)?;
    Ok(buffer)
}

/// Writes `len` bytes of `value` at `offset` from an aligned buffer.
fn write(file: &File, offset: u64, len: usize, value: u8) -> io::Result<()> {
    let mut buffer = AlignedBuffer::new(len);
    buffer.fill(value);
    file.write_all_at(&buffer, offset)
}

fn number<T>(result: io::Result<T>) -> Option<i32> {
    result.err().and_then(|error| error.raw_os_error())
}

fn raw(errno: Errno) -> Option<i32> {
    Some(errno.raw_os_error())
}

/// Tells what the card itself holds at `offset`.
fn held(card: &CardFile, offset: u64) -> u8 {
    card.read_vec(offset, 1).unwrap()[0]
}

fn always(extent: Extent) -> Fault {
    Fault::Unwritable {
        extent,
        times: Times::Always,
    }
}

#[test]
fn a_disk_without_faults_keeps_what_is_written() {
    if skip_unless_fuse("a_disk_without_faults_keeps_what_is_written") {
        return;
    }
    let disk = ones();
    let file = direct(&disk);
    write(&file, MIB, 4 * MIB as usize, 2).unwrap();
    file.sync_all().unwrap();
    assert_eq!(*read(&file, 0, MIB as usize).unwrap(), [1; MIB as usize]);
    assert!(read(&file, MIB, 4 << 20).unwrap().iter().all(|&b| b == 2));
    assert_eq!(held(disk.medium().inner(), 5 * MIB - 1), 2);
    assert_eq!(held(disk.medium().inner(), 5 * MIB), 1);
    let kinds: Vec<_> = disk.medium().requests().iter().map(|r| r.kind).collect();
    assert!(kinds.contains(&RequestKind::Flush), "{kinds:?}");
    assert_eq!(disk.medium().bytes_written(), 4 * MIB);
    assert_eq!(disk.device().bytes_written().unwrap(), 4 * MIB);
    assert_eq!(disk.device().bytes_read().unwrap(), 5 * MIB);
}

#[test]
fn a_bad_sector_fails_alone() {
    if skip_unless_fuse("a_bad_sector_fails_alone") {
        return;
    }
    let disk = ones();
    let bad = Extent::new(5 * MIB + 512, 512).unwrap();
    disk.declare(Fault::Unreadable(bad));
    let file = direct(&disk);
    assert_eq!(number(read(&file, 4 * MIB, 4 << 20)), raw(Errno::IO));
    assert_eq!(number(read(&file, bad.start(), 512)), raw(Errno::IO));
    assert_eq!(*read(&file, bad.start() - 512, 512).unwrap(), [1; 512]);
    assert_eq!(*read(&file, bad.end(), 512).unwrap(), [1; 512]);
    disk.heal();
    assert!(read(&file, 4 * MIB, 4 << 20).is_ok());
}

#[test]
fn a_flaky_sector_recovers_and_a_flipped_bit_does_not() {
    if skip_unless_fuse("a_flaky_sector_recovers_and_a_flipped_bit_does_not") {
        return;
    }
    let disk = ones();
    let extent = Extent::between(MIB, MIB + 512);
    disk.declare(Fault::Flaky {
        extent,
        failures: 2,
    });
    disk.declare(Fault::BitFlip {
        offset: 4099,
        mask: 0x80,
    });
    let file = direct(&disk);
    assert_eq!(number(read(&file, MIB, 512)), raw(Errno::IO));
    assert_eq!(number(read(&file, MIB, 512)), raw(Errno::IO));
    assert_eq!(*read(&file, MIB, 512).unwrap(), [1; 512]);
    assert_eq!(read(&file, 4096, 512).unwrap()[..5], [1, 1, 1, 0x81, 1]);
    assert_eq!(held(disk.medium().inner(), 4099), 1);
}

#[test]
fn a_failed_write_shows_at_once_or_at_the_flush() {
    if skip_unless_fuse("a_failed_write_shows_at_once_or_at_the_flush") {
        return;
    }
    let disk = ones();
    disk.declare(always(Extent::between(MIB, MIB + 512)));
    let file = direct(&disk);
    assert_eq!(number(write(&file, MIB, 4096, 2)), raw(Errno::IO));
    write(&file, MIB + 512, 512, 2).unwrap();
    file.sync_all().unwrap();
    assert_eq!(held(disk.medium().inner(), MIB), 1);
    assert_eq!(held(disk.medium().inner(), MIB + 512), 2);
    drop(file);
    let file = open(disk.path(), rustix::fs::OFlags::empty());
    write(&file, MIB, 4096, 3).unwrap();
    assert_eq!(number(file.sync_all()), raw(Errno::IO));
}

#[test]
fn dropped_and_spoiled_writes_look_good_until_read_back() {
    if skip_unless_fuse("dropped_and_spoiled_writes_look_good_until_read_back") {
        return;
    }
    let disk = ones();
    disk.declare(Fault::DropsWrites {
        extent: Extent::between(MIB, MIB + 512),
        times: Times::First(1),
    });
    disk.declare(Fault::FlipsOnWrite {
        offset: 2 * MIB,
        mask: 4,
        times: Times::First(1),
    });
    let file = direct(&disk);
    write(&file, MIB - 512, 1536, 2).unwrap();
    write(&file, 2 * MIB, 512, 2).unwrap();
    file.sync_all().unwrap();
    let back = read(&file, MIB - 512, 1536).unwrap();
    assert_eq!(*back, [[2; 512], [1; 512], [2; 512]].concat());
    assert_eq!(read(&file, 2 * MIB, 512).unwrap()[..2], [6, 2]);
    write(&file, MIB, 512, 2).unwrap();
    write(&file, 2 * MIB, 512, 2).unwrap();
    assert_eq!(*read(&file, MIB, 512).unwrap(), [2; 512]);
    assert_eq!(*read(&file, 2 * MIB, 512).unwrap(), [2; 512]);
}

#[test]
fn counterfeit_cards_wrap_or_are_hollow() {
    if skip_unless_fuse("counterfeit_cards_wrap_or_are_hollow") {
        return;
    }
    let disk = ones();
    disk.declare(Fault::WrapsAt(4 * MIB));
    let file = direct(&disk);
    write(&file, 9 * MIB, 512, 2).unwrap();
    file.sync_all().unwrap();
    assert_eq!(*read(&file, MIB, 512).unwrap(), [2; 512]);
    assert_eq!(*read(&file, 9 * MIB, 512).unwrap(), [2; 512]);
    assert_eq!(held(disk.medium().inner(), 9 * MIB), 1);
    disk.heal();
    disk.declare(Fault::HollowFrom(4 * MIB));
    write(&file, 8 * MIB, 512, 3).unwrap();
    write(&file, 4 * MIB - 512, 512, 3).unwrap();
    assert_eq!(*read(&file, 8 * MIB, 512).unwrap(), [0; 512]);
    assert_eq!(*read(&file, 4 * MIB - 512, 512).unwrap(), [3; 512]);
}

#[test]
fn a_card_that_is_gone_says_so_and_keeps_its_length() {
    if skip_unless_fuse("a_card_that_is_gone_says_so_and_keeps_its_length") {
        return;
    }
    let disk = ones();
    disk.declare(Fault::GoneAfterWrites(2));
    let file = direct(&disk);
    write(&file, 0, 512, 2).unwrap();
    write(&file, 512, 512, 2).unwrap();
    assert_eq!(number(write(&file, 1024, 512, 2)), raw(Errno::NODEV));
    assert_eq!(number(read(&file, 0, 512)), raw(Errno::NODEV));
    assert_eq!(
        Tool::new("blockdev")
            .args(["--getsize64"])
            .arg(disk.path())
            .run()
            .trim(),
        DISK_BYTES.to_string()
    );
    drop(file);
    disk.heal();
    let file = direct(&disk);
    assert_eq!(
        *read(&file, 512, 1024).unwrap(),
        [[2; 512], [1; 512]].concat()
    );
    disk.declare(Fault::GoneAfter(MIB));
    read(&file, 0, MIB as usize).unwrap();
    assert_eq!(number(read(&file, 0, 512)), raw(Errno::NODEV));
}

#[test]
fn full_and_protected_cards_have_their_errors() {
    if skip_unless_fuse("full_and_protected_cards_have_their_errors") {
        return;
    }
    let disk = ones();
    disk.declare(Fault::EndsAt(8 * MIB));
    let file = direct(&disk);
    assert_eq!(number(write(&file, 8 * MIB, 512, 2)), raw(Errno::NOSPC));
    assert_eq!(number(read(&file, 8 * MIB, 512)), raw(Errno::IO));
    write(&file, 8 * MIB - 512, 512, 2).unwrap();
    disk.declare(Fault::WriteProtected);
    assert_eq!(number(write(&file, 0, 512, 2)), raw(Errno::IO));
    assert_eq!(*read(&file, 0, 512).unwrap(), [1; 512]);
}

#[test]
fn a_power_cut_takes_back_what_was_not_flushed() {
    if skip_unless_fuse("a_power_cut_takes_back_what_was_not_flushed") {
        return;
    }
    let disk = ones();
    disk.declare(Fault::PowerCutAfterWrites {
        writes: 3,
        unflushed: Unflushed::Torn { sectors: 1 },
    });
    let file = direct(&disk);
    write(&file, 0, 512, 2).unwrap();
    file.sync_all().unwrap();
    write(&file, 512, 512, 3).unwrap();
    write(&file, 1024, 1024, 4).unwrap();
    assert_eq!(number(write(&file, 0, 512, 5)), raw(Errno::NODEV));
    let left = disk.medium().inner().read_vec(0, 2048).unwrap();
    assert_eq!(left, [[2; 512], [3; 512], [4; 512], [1; 512]].concat());
}

#[test]
fn zeros_asked_of_the_kernel_reach_the_faults() {
    if skip_unless_fuse("zeros_asked_of_the_kernel_reach_the_faults") {
        return;
    }
    let disk = ones();
    let bad = Extent::between(2 * MIB, 2 * MIB + 512);
    let zero = |offset: u64| {
        let (offset, len) = (offset.to_string(), MIB.to_string());
        let arguments = ["--zeroout", "--offset", &offset, "--length", &len];
        let (code, _) = Tool::new("blkdiscard")
            .args(arguments)
            .arg(disk.path())
            .outcome();
        code
    };
    assert_eq!(zero(MIB), Some(0));
    assert_eq!(held(disk.medium().inner(), 2 * MIB - 1), 0);
    assert_eq!(held(disk.medium().inner(), 2 * MIB), 1);
    let zeros = disk.medium().writes();
    assert!(
        zeros.iter().all(|r| r.kind == RequestKind::Zeros),
        "{zeros:?}"
    );
    disk.declare(always(bad));
    assert_eq!(zero(2 * MIB), Some(1));
    assert_eq!(held(disk.medium().inner(), 2 * MIB), 1);
}

#[test]
fn slowness_and_speed_are_felt() {
    if skip_unless_fuse("slowness_and_speed_are_felt") {
        return;
    }
    let disk = ones();
    let delay = Duration::from_millis(400);
    let extent = Extent::between(MIB, MIB + 512);
    disk.declare(Fault::Slow { extent, delay });
    let file = direct(&disk);
    let took = |work: &dyn Fn()| {
        let started = Instant::now();
        work();
        started.elapsed()
    };
    let slow = took(&|| drop(read(&file, MIB, 512).unwrap()));
    let fast = took(&|| drop(read(&file, 0, 512).unwrap()));
    assert!(slow >= delay && fast < delay, "{slow:?} {fast:?}");
    let speed = Throttle {
        read_bps: 0,
        write_bps: 4_000_000,
    };
    if disk.device().throttle(speed).is_err() {
        return cardkeep_testkit::skip(
            "slowness_and_speed_are_felt",
            "the blkio cgroup, version 1",
        );
    }
    let writing = took(&|| write(&file, 2 * MIB, 4 << 20, 2).unwrap());
    let reading = took(&|| drop(read(&file, 2 * MIB, 4 << 20).unwrap()));
    assert!(writing > Duration::from_millis(700), "{writing:?}");
    assert!(reading < Duration::from_millis(700), "{reading:?}");
}

#[test]
fn sectors_are_as_large_as_asked_for_and_a_file_keeps_the_writes() {
    let test = "sectors_are_as_large_as_asked_for_and_a_file_keeps_the_writes";
    if skip_unless_fuse(test) {
        return;
    }
    let base = tempfile::NamedTempFile::new().unwrap();
    fs::write(base.path(), vec![7; 1 << 20]).unwrap();
    let disk = FaultDisk::over(base.path(), SectorSize::Bytes4096).unwrap();
    let file = direct(&disk);
    assert_eq!(number(read(&file, 512, 512)), raw(Errno::INVAL));
    assert_eq!(*read(&file, 4096, 4096).unwrap(), [7; 4096]);
    write(&file, 8192, 4096, 8).unwrap();
    drop((file, disk));
    let content = fs::read(base.path()).unwrap();
    assert_eq!(content[8191..8193], [7, 8]);
    assert_eq!(content[12287..12289], [8, 7]);
}

/// Returns what file a loop device stands on, as the kernel names it; nothing where it is free.
fn backing(path: &Path) -> String {
    let name = path.file_name().unwrap();
    let backing = Path::new("/sys/block").join(name).join("loop/backing_file");
    let found = fs::read_to_string(backing).unwrap_or_default();
    found.trim().to_owned()
}

#[test]
fn nothing_is_left_after_a_panic_even_with_a_file_open() {
    if skip_unless_fuse("nothing_is_left_after_a_panic_even_with_a_file_open") {
        return;
    }
    let disk = ones();
    let path = disk.path().to_path_buf();
    let folder = Path::new(&backing(&path)).parent().unwrap().to_path_buf();
    assert!(folder.is_dir(), "{folder:?}");
    let file = open(&path, rustix::fs::OFlags::empty());
    file.write_all_at(&[2; 4096], 0).unwrap();
    let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _dropped_by_the_panic = disk;
        std::panic::resume_unwind(Box::new("the test fails"));
    }));
    assert!(unwound.is_err());
    // The folder is gone already: without it, the file's path starts at itself.
    assert_eq!(backing(&path), "/card", "an open device stays");
    file.sync_all().unwrap();
    drop(file);
    let started = Instant::now();
    while backing(&path) == "/card" {
        assert!(started.elapsed() < Duration::from_secs(10), "attached");
        std::thread::sleep(Duration::from_millis(10));
    }
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains(folder.to_str().unwrap()), "mounted");
    assert!(!folder.exists(), "{folder:?} is left");
}
