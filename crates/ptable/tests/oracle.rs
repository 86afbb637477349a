//! Tables written by `fdisk` and `sgdisk`, compared with what `fdisk` reads in them.
//!
//! The tests skip, visibly, where the tools are not installed. None needs root.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};

use cardkeep_block::{BlockError, Extent, MemoryMedium, ReadAt};
use cardkeep_ptable::{
    DiskId, Kind, Loaded, Partition, PartitionTable, Resize, Scheme, fitted, load, needed_len,
};

/// A sparse image, of which only the table is read.
struct FileMedium(File);

impl ReadAt for FileMedium {
    fn len(&self) -> u64 {
        self.0.metadata().unwrap().len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), BlockError> {
        self.0.read_exact_at(buffer, offset).unwrap();
        Ok(())
    }
}

/// Runs a tool with `input`; `None` where it is not installed.
fn run(tool: &str, arguments: &[&str], input: &str) -> Option<String> {
    let mut command = Command::new(tool);
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/sbin:/sbin"));
    let spawned = command
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            skipped(tool);
            return None;
        }
        Err(error) => panic!("{tool}: {error}"),
    };
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{tool} {arguments:?}: {stderr}");
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[expect(
    clippy::print_stderr,
    reason = "a test that proves nothing must say so"
)]
fn skipped(tool: &str) {
    eprintln!("skipped: {tool} is not installed");
}

/// An image of `mib` MiB with the table of an sfdisk script. `fdisk` applies it: unlike older
/// `sfdisk` it knows sector sizes of images.
fn image(script: &str, sector_bytes: u32, mib: u64) -> Option<tempfile::NamedTempFile> {
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(mib << 20).unwrap();
    let script_file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(script_file.path(), script).unwrap();
    let commands = format!("I\n{}\nw\n", script_file.path().display());
    fdisk(file.path(), sector_bytes, &commands)?;
    Some(file)
}

fn fdisk(image: &Path, sector_bytes: u32, commands: &str) -> Option<String> {
    let size = sector_bytes.to_string();
    let arguments = ["--sector-size", &size, image.to_str().unwrap()];
    run("fdisk", &arguments, commands)
}

fn table(path: &Path, sector_bytes: u32) -> PartitionTable {
    match load(&FileMedium(File::open(path).unwrap()), sector_bytes).unwrap() {
        Loaded::Table(table) => table,
        Loaded::None => panic!("no table in {}", path.display()),
    }
}

/// What fdisk reads in the image: the id, and the number and fields of each partition.
fn dump(path: &Path, sector_bytes: u32) -> (String, Vec<String>) {
    let out = tempfile::NamedTempFile::new().unwrap();
    let commands = format!("O\n{}\nq\n", out.path().display());
    fdisk(path, sector_bytes, &commands).unwrap();
    let text = std::fs::read_to_string(out.path()).unwrap();
    let name = path.to_str().unwrap();
    let id = text
        .lines()
        .find_map(|line| line.strip_prefix("label-id: "));
    let partitions = text.lines().filter_map(|line| {
        // fdisk puts a "p" between a name that ends in a digit and the number.
        let line = line.strip_prefix(name)?.trim_start_matches('p');
        Some(line.replace(' ', ""))
    });
    (id.unwrap().to_owned(), partitions.collect())
}

/// What was loaded, in fdisk's words.
fn as_dump(table: &PartitionTable) -> Vec<String> {
    let mut all: Vec<_> = table.partitions.iter().chain(&table.containers).collect();
    all.sort_by_key(|p| p.number);
    all.into_iter()
        .map(|p| line(p, table.sector_bytes))
        .collect()
}

fn line(partition: &Partition, sector_bytes: u32) -> String {
    let start = partition.extent.start() / u64::from(sector_bytes);
    let size = partition.extent.len() / u64::from(sector_bytes);
    let number = partition.number;
    let mut line = format!("{number}:start={start},size={size},type=");
    match partition.kind {
        Kind::Mbr(byte) => line += &format!("{byte:x}"),
        Kind::Gpt(guid) => line += &guid.to_string().to_uppercase(),
    }
    match partition.guid {
        Some(guid) => line += &format!(",uuid={}", guid.to_string().to_uppercase()),
        None if partition.bootable => line += ",bootable",
        None => {}
    }
    if let Some(name) = &partition.name {
        line += &format!(",name=\"{name}\"");
    }
    if partition.guid.is_some() && partition.bootable {
        line += ",attrs=\"LegacyBIOSBootable\"";
    }
    line
}

/// Compares what was loaded with what fdisk reads, and returns it.
fn check(path: &Path, sector_bytes: u32) -> PartitionTable {
    let table = table(path, sector_bytes);
    let (id, partitions) = dump(path, sector_bytes);
    assert_eq!(as_dump(&table), partitions);
    match table.disk_id {
        DiskId::Mbr(signature) => assert_eq!(format!("0x{signature:08x}"), id),
        DiskId::Gpt(guid) => assert_eq!(guid.to_string().to_uppercase(), id),
    }
    assert_eq!(table.damages, []);
    table
}

#[test]
fn a_raspberry_pi_card_is_read_as_fdisk_reads_it() {
    let script = "label: dos\nlabel-id: 0x5049424b\n\
                  start=8192,size=32768,type=c,bootable\nstart=40960,type=83\n";
    for (sector_bytes, mib) in [(512, 64), (4096, 512)] {
        let Some(file) = image(script, sector_bytes, mib) else {
            return;
        };
        let table = check(file.path(), sector_bytes);
        assert_eq!(table.scheme, Scheme::Mbr);
        assert_eq!(table.part_uuid(&table.partitions[1]), "5049424b-02");
    }
}

#[test]
fn logical_partitions_are_read_as_fdisk_reads_them() {
    // As PINN lays out a card: a recovery partition, then everything in an extended one.
    let script = "label: dos\nlabel-id: 0x00001234\nstart=2048,size=2048,type=e\n\
                  start=8192,size=24576,type=5\nstart=28,size=1,type=83\n\
                  start=8200,size=2048,type=c\nstart=10256,size=2048,type=83\n\
                  start=12312,size=8192,type=82\nstart=20512,size=64,type=83\n";
    for (sector_bytes, mib) in [(512, 17), (4096, 129)] {
        let Some(file) = image(script, sector_bytes, mib) else {
            return;
        };
        let table = check(file.path(), sector_bytes);
        let numbers: Vec<_> = table.partitions.iter().map(|p| p.number).collect();
        assert_eq!(numbers, [1, 3, 5, 6, 7, 8]);
        assert_eq!(table.metadata.len(), 5);
        assert_eq!(table.part_uuid(&table.partitions[5]), "00001234-08");
    }
}

#[test]
fn a_gpt_is_read_as_fdisk_reads_it() {
    let script = "label: gpt\n\
                  start=2048,size=2048,type=uefi,name=\"EFI/boot\"\n\
                  start=4096,size=1000,type=linux,name=root,attrs=LegacyBIOSBootable\n\
                  start=5096,size=9,type=swap\n";
    for (sector_bytes, mib) in [(512, 8), (4096, 64)] {
        let Some(file) = image(script, sector_bytes, mib) else {
            return;
        };
        let table = check(file.path(), sector_bytes);
        assert_eq!(table.scheme, Scheme::Gpt);
        assert_eq!(table.partitions[0].kind.description(), "EFI system");
        assert_eq!(table.partitions[0].name.as_deref(), Some("EFI/boot"));
        let array = 16_384_u64.div_ceil(sector_bytes.into()) * u64::from(sector_bytes);
        let lens: Vec<_> = table.metadata.iter().map(|m| m.len()).collect();
        let sector = u64::from(sector_bytes);
        assert_eq!(lens, [2 * sector + array, array + sector]);
    }
}

#[test]
fn a_hybrid_mbr_by_sgdisk_is_read_as_gpt() {
    let script = "label: gpt\nstart=2048,size=2048,type=uefi\nstart=4096,size=1000,type=linux\n";
    let Some(file) = image(script, 512, 8) else {
        return;
    };
    let path = file.path().to_str().unwrap();
    if run("sgdisk", &["--hybrid", "1:2", path], "").is_none() {
        return;
    }
    let table = table(file.path(), 512);
    assert_eq!(table.scheme, Scheme::HybridGpt);
    let starts: Vec<_> = table
        .partitions
        .iter()
        .map(|p| p.extent.start() / 512)
        .collect();
    assert_eq!(starts, [2048, 4096]);
}

#[test]
fn a_primary_broken_after_fdisk_is_repaired_from_its_backup() {
    let script = "label: gpt\nstart=2048,size=2048,type=uefi\nstart=4096,size=1000,type=linux\n";
    let Some(file) = image(script, 512, 8) else {
        return;
    };
    let whole = check(file.path(), 512);
    let mut bytes = std::fs::read(file.path()).unwrap();
    bytes[512..1024].fill(0);
    let Loaded::Table(table) = load(&MemoryMedium::from_bytes(&bytes), 512).unwrap() else {
        panic!("no table");
    };
    assert_eq!(table.partitions, whole.partitions);
    assert_eq!(
        table.damages[0].to_string(),
        "the primary GPT has no signature at sector 1; the backup copy was used instead"
    );
}

fn resize(number: u32, len: u64) -> Resize {
    Resize { number, len }
}

/// Makes the image one of a medium of `len` bytes, as a restore would. Returns the new table; every partition keeps all fields, but for the lengths asked for.
fn refit(path: &Path, sector_bytes: u32, len: u64, resizes: &[Resize]) -> PartitionTable {
    let before = table(path, sector_bytes);
    let file = FileMedium(File::options().read(true).write(true).open(path).unwrap());
    let fitted = fitted(&file, &before, len, resizes).unwrap();
    file.0.set_len(len).unwrap();
    for patch in &fitted.patches {
        file.0.write_all_at(&patch.bytes, patch.offset).unwrap();
    }
    let after = table(path, sector_bytes);
    assert_eq!(after.damages, []);
    let bare = |lines: Vec<String>| -> Vec<String> {
        // This program knows one attribute only: `description` compares the others.
        let bare = |line: &String| line.split(",attrs").next().unwrap().to_owned();
        lines.iter().map(bare).collect()
    };
    assert_eq!(bare(as_dump(&after)), bare(dump(path, sector_bytes).1));
    let mut expected = before.partitions;
    for partition in &mut expected {
        if let Some(resize) = resizes.iter().find(|r| r.number == partition.number) {
            let start = partition.extent.start();
            partition.extent = Extent::between(start, start + resize.len);
        }
    }
    assert_eq!(after.partitions, expected);
    assert_eq!(after.metadata, fitted.metadata);
    assert!(
        fdisk(path, sector_bytes, "v\nq\n")
            .unwrap()
            .contains("No errors detected.")
    );
    after
}

/// What sfdisk says of the image, but for what a change of lengths changes.
fn description(path: &Path) -> Option<Vec<String>> {
    let path = path.to_str().unwrap();
    let verdict = run("sfdisk", &["--verify", path], "")?;
    assert!(verdict.contains("No errors detected."), "{verdict}");
    let json = run("sfdisk", &["--json", path], "")?;
    assert!(json.contains("\"partitions\""));
    let lines = json.lines().filter(|line| !line.contains("\"lastlba\""));
    let lines = lines.map(|line| {
        let Some((before, size)) = line.split_once("\"size\":") else {
            return line.to_owned();
        };
        before.to_owned() + size.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ')
    });
    Some(lines.collect())
}

fn verify_with_sgdisk(path: &Path) {
    if let Some(verdict) = run("sgdisk", &["-v", path.to_str().unwrap()], "") {
        assert!(verdict.contains("No problems found."), "{verdict}");
    }
}

const GPT_SCRIPT: &str = "label: gpt\n\
    start=2048,size=2048,type=uefi,name=\"EFI/boot\"\n\
    start=5096,size=9,type=swap,attrs=\"RequiredPartition GUID:63\"\n\
    start=8192,size=2000,type=linux,name=root,attrs=LegacyBIOSBootable\n";

#[test]
fn a_fitted_gpt_is_sound_to_sfdisk_and_sgdisk() {
    // Grow, shrink to the least, grow in one go past 32 bits of sectors.
    for (len, last) in [(64 << 20, 3000), (8 << 20, 4000), (3 << 40, 5_000_000_000)] {
        let Some(file) = image(GPT_SCRIPT, 512, 16) else {
            return;
        };
        let before = description(file.path());
        refit(file.path(), 512, len, &[resize(3, last * 512)]);
        assert_eq!(description(file.path()), before);
        verify_with_sgdisk(file.path());
    }
}

#[test]
fn a_gpt_fits_the_shortest_medium_in_sectors_of_either_size() {
    for (sector_bytes, mib) in [(512, 16), (4096, 128)] {
        let Some(file) = image(GPT_SCRIPT, sector_bytes, mib) else {
            return;
        };
        let needed = needed_len(&table(file.path(), sector_bytes), &[]);
        let after = refit(file.path(), sector_bytes, needed, &[]);
        assert_eq!(after.partitions[2].extent.end() + after.tail_bytes, needed);
        if sector_bytes == 512 {
            verify_with_sgdisk(file.path());
        }
    }
}

#[test]
fn unusual_gpts_by_sgdisk_are_sound_to_it_when_fitted() {
    for arguments in [
        &["--resize-table=256"][..],
        &["--hybrid", "1:3"],
        &["--hybrid", "3:EE"],
        &["--move-main-table=1000"],
    ] {
        let Some(file) = image(GPT_SCRIPT, 512, 16) else {
            return;
        };
        let path = file.path().to_str().unwrap();
        if run("sgdisk", &[arguments, &[path]].concat(), "").is_none() {
            return;
        }
        for len in [8 << 20, 40 << 20] {
            let resizes = [resize(3, len / 8 / 512 * 512)];
            let before = table(file.path(), 512);
            let after = refit(file.path(), 512, len, &resizes);
            assert_eq!(after.scheme, before.scheme);
            verify_with_sgdisk(file.path());
        }
    }
}

#[test]
fn an_mbr_is_as_if_sfdisk_had_resized_it() {
    let script = "label: dos\nlabel-id: 0x5049424b\n\
                  start=8192,size=32768,type=c,bootable\nstart=40960,type=83\n";
    // Within what cylinders count, and past it.
    for (len, sectors) in [(4 << 30, 5_000_000), (32 << 30, 60_000_001_u64)] {
        let (Some(ours), Some(theirs)) = (image(script, 512, 64), image(script, 512, 64)) else {
            return;
        };
        let before = description(ours.path());
        refit(ours.path(), 512, len, &[resize(2, sectors * 512)]);
        theirs.as_file().set_len(len).unwrap();
        let path = theirs.path().to_str().unwrap();
        let arguments = ["--no-reread", "--partno", "2", path];
        if run("sfdisk", &arguments, &format!(",{sectors}\n")).is_none() {
            return;
        }
        assert_eq!(first_sector(ours.path()), first_sector(theirs.path()));
        assert_eq!(description(ours.path()), before);
    }
}

fn first_sector(path: &Path) -> Vec<u8> {
    FileMedium(File::open(path).unwrap())
        .read_vec(0, 512)
        .unwrap()
}

#[test]
fn a_fitted_chain_of_logical_partitions_is_sound_to_sfdisk() {
    let script = "label: dos\nlabel-id: 0x00001234\nstart=2048,size=2048,type=e\n\
                  start=8192,size=24576,type=5\n\
                  start=8200,size=2048,type=c\nstart=10256,size=2048,type=83\n\
                  start=12312,size=8192,type=82\nstart=20512,size=64,type=83\n";
    for (len, last) in [(64 << 20, 50_000), (20_544 * 512, 32), (20_576 * 512, 64)] {
        let Some(file) = image(script, 512, 17) else {
            return;
        };
        let before = description(file.path());
        let after = refit(file.path(), 512, len, &[resize(8, last * 512)]);
        let end = after.partitions.last().unwrap().extent.end();
        assert_eq!(after.containers[0].extent.end(), end);
        assert_eq!(description(file.path()), before);
    }
}
