//! A card of several partitions, and how it is judged after a filesystem on it was resized.

use std::fs;
use std::path::Path;

use cardkeep_testkit::Tool;
use serde_json::Value;

use crate::desk::Desk;

pub(crate) const SECTOR: u64 = 512;
pub(crate) const MIB: u64 = 1 << 20;
/// What is on a card before it is written.
const RUBBISH: u8 = 0xa5;
/// Where a FAT says how many sectors lie before it, in the boot sector and its copy in FAT32.
const HIDDEN_SECTORS: [usize; 2] = [0x1c, 6 * 512 + 0x1c];

/// A partition, as `sfdisk` tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) number: u32,
    pub(crate) start: u64,
    pub(crate) len: u64,
    pub(crate) kind: String,
    /// All that `sfdisk` says but for the place.
    identity: String,
}

/// Returns the partitions of the card in the file `name`, extended ones too, by number.
pub(crate) fn parts(desk: &Desk, name: &str) -> Vec<Part> {
    let said = desk.sh(&format!("sfdisk -J {name}"));
    let said: Value = serde_json::from_str(&said).unwrap();
    let table = &said["partitiontable"];
    let id = table["id"].to_string();
    let entries = table["partitions"].as_array().unwrap();
    let part = |entry: &Value| {
        let node = entry["node"].as_str().unwrap();
        let digits = node.trim_end_matches(|c: char| c.is_ascii_digit()).len();
        let field = |key: &str| entry[key].as_u64().unwrap() * SECTOR;
        let identity = ["type", "uuid", "name", "attrs", "bootable"].map(|key| entry[key].clone());
        Part {
            number: node[digits..].parse().unwrap(),
            start: field("start"),
            len: field("size"),
            kind: entry["type"].as_str().unwrap().to_owned(),
            identity: format!("{id} {identity:?}"),
        }
    };
    let mut parts: Vec<Part> = entries.iter().map(part).collect();
    parts.sort_by_key(|part| part.number);
    parts
}

/// Returns the bytes of a partition.
pub(crate) fn bytes_of(desk: &Desk, name: &str, part: &Part) -> Vec<u8> {
    let bytes = fs::read(desk.path(name)).unwrap();
    let end = (part.start + part.len) as usize;
    bytes[part.start as usize..end].to_vec()
}

/// Returns the length of a file.
pub(crate) fn len_of(desk: &Desk, name: &str) -> u64 {
    fs::metadata(desk.path(name)).unwrap().len()
}

/// Makes a card of `len` bytes full of rubbish.
pub(crate) fn blank(desk: &Desk, name: &str, len: u64) {
    desk.filled(name, len, RUBBISH);
}

/// What is known of the card before it was resized.
pub(crate) struct Known<'a> {
    pub(crate) desk: &'a Desk,
    pub(crate) name: &'a str,
    /// The partition that may change its length.
    pub(crate) resized: u32,
    /// The partitions whose every byte counts; the files of FAT and ext filesystems are compared
    /// anyway.
    pub(crate) whole: &'a [u32],
}

impl Known<'_> {
    /// Judges another card that holds the same, with one partition of another length, and returns
    /// that length's partition.
    pub(crate) fn judge(&self, name: &str) -> Part {
        let desk = self.desk;
        desk.sh(&format!("sfdisk --verify {name} 2>&1"));
        let (before, after) = (parts(desk, self.name), parts(desk, name));
        assert_eq!(before.len(), after.len());
        for (old, new) in before.iter().zip(&after) {
            assert_eq!((old.number, &old.identity), (new.number, &new.identity));
            assert_eq!(old.start % MIB, new.start % MIB, "the alignment of {old:?}");
            if !is_extended(old) {
                self.judge_part(name, old, new);
            }
        }
        let mut resized = after.into_iter();
        resized.find(|part| part.number == self.resized).unwrap()
    }

    fn judge_part(&self, name: &str, old: &Part, new: &Part) {
        let desk = self.desk;
        if old.number != self.resized {
            assert_eq!(old.len, new.len, "{old:?}");
        }
        let (start, old_start) = (new.start, old.start);
        let own = bytes_of(desk, name, new);
        if own.get(1080..1082) == Some(&[0x53, 0xef]) {
            desk.sh(&format!("e2fsck -fn '{name}?offset={start}' 2>&1"));
            let script = format!(
                "rm -rf a b; mkdir a b
                 debugfs -R 'rdump / a' '{}?offset={old_start}' 2>/dev/null
                 debugfs -R 'rdump / b' '{name}?offset={start}' 2>/dev/null
                 diff -r a b; test -n \"$(ls a)\"",
                self.name
            );
            desk.sh(&script);
            return;
        }
        if own.get(510..512) == Some(&[0x55, 0xaa]) {
            self.judge_fat(old, new, &own);
        }
        if self.whole.contains(&old.number) {
            let hidden = own.get(510..512) == Some(&[0x55, 0xaa]);
            let masked = |mut bytes: Vec<u8>| {
                for place in HIDDEN_SECTORS.into_iter().filter(|_| hidden) {
                    bytes[place..place + 4].fill(0);
                }
                bytes
            };
            let expected = masked(bytes_of(desk, self.name, old));
            assert!(masked(own) == expected, "partition {} differs", old.number);
        }
    }

    fn judge_fat(&self, old: &Part, new: &Part, own: &[u8]) {
        let desk = self.desk;
        let before = bytes_of(desk, self.name, old);
        let hidden = |bytes: &[u8]| {
            u64::from(u32::from_le_bytes(bytes[0x1c..0x20].try_into().unwrap())) * SECTOR
        };
        if hidden(&before) == old.start {
            assert_eq!(
                hidden(own),
                new.start,
                "BPB_HiddSec of partition {}",
                old.number
            );
        } else {
            assert_eq!(hidden(own), hidden(&before));
        }
        fs::write(desk.path("part.fat"), own).unwrap();
        desk.sh(&format!(
            "fsck.fat -n part.fat
             rm -rf a b; mkdir a b
             export MTOOLS_SKIP_CHECK=1
             mcopy -s -n -i {}@@{} '::*' a 2>/dev/null || true
             mcopy -s -n -i part.fat '::*' b 2>/dev/null || true
             diff -r a b",
            self.name, old.start
        ));
    }
}

fn is_extended(part: &Part) -> bool {
    matches!(part.kind.as_str(), "5" | "f" | "85")
}

/// Writes a card of this layout to `name`: a script for `sfdisk`.
pub(crate) fn partition(desk: &Desk, name: &str, mib: u64, layout: &str) {
    desk.sh(&format!(
        "rm -f {name}; truncate -s {mib}M {name}; sfdisk -q --no-tell-kernel {name} <<'S'\n{layout}\nS"
    ));
}

/// Makes an ext4 filesystem with an operating system's names in a partition.
pub(crate) fn format_root(desk: &Desk, name: &str, number: u32, options: &str) {
    desk.sh("rm -rf root; mkdir -p root/etc root/home
         echo 'NAME=\"Debian GNU/Linux\"' >root/etc/os-release; echo pi >root/etc/hostname
         for i in $(seq 1 12); do head -c 700000 /dev/urandom >root/home/f$i; done");
    format_ext(desk, name, number, "root", options);
}

/// Makes an ext filesystem of a folder's files in a partition.
pub(crate) fn format_ext(desk: &Desk, name: &str, number: u32, files: &str, options: &str) {
    let part = part(desk, name, number);
    let (start, kib) = (part.start, part.len / 1024);
    desk.sh(&format!(
        "mke2fs -q -F -t ext4 {options} -d {files} -E offset={start} {name} {kib}k"
    ));
}

/// Makes a FAT filesystem with some files in a partition.
pub(crate) fn format_fat(desk: &Desk, name: &str, number: u32, options: &str) {
    let part = part(desk, name, number);
    let (sector, kib, start) = (part.start / SECTOR, part.len / 1024, part.start);
    desk.sh(&format!(
        "mkfs.vfat {options} --offset {sector} {name} {kib} >/dev/null 2>&1
         for i in 1 2 3 4 5 6; do head -c $((i*9000+77)) /dev/urandom >c$i; done
         mcopy -i {name}@@{start} c1 c2 c3 c4 c5 c6 ::; mdel -i {name}@@{start} ::c2 ::c4
         head -c 40000 /dev/urandom >big; mcopy -i {name}@@{start} big ::"
    ));
}

/// Fills a partition with bytes that mean nothing.
pub(crate) fn fill(desk: &Desk, name: &str, number: u32) {
    let part = part(desk, name, number);
    desk.sh(&format!(
        "head -c {} /dev/urandom | dd of={name} bs=64k oflag=seek_bytes seek={} conv=notrunc \
         status=none iflag=fullblock",
        part.len, part.start
    ));
}

/// Makes a swap area in a partition.
pub(crate) fn format_swap(desk: &Desk, name: &str, number: u32) {
    let part = part(desk, name, number);
    desk.sh(&format!(
        "truncate -s {} swap; mkswap -q -L swapped swap
         dd if=swap of={name} bs=64k oflag=seek_bytes seek={} conv=notrunc status=none; rm swap",
        part.len, part.start
    ));
}

/// Returns the partition with this number.
pub(crate) fn part(desk: &Desk, name: &str, number: u32) -> Part {
    let mut all = parts(desk, name).into_iter();
    all.find(|part| part.number == number).unwrap()
}

/// Asserts that `blkid` finds the same in a partition of two cards.
pub(crate) fn assert_same_to_blkid(desk: &Desk, one: (&str, &Part), other: (&str, &Part)) {
    let say = |(name, part): (&str, &Part)| {
        let mut said: Vec<String> = Tool::new("blkid")
            .args(["-p", "-o", "export", "-O"])
            .arg(Path::new(&part.start.to_string()))
            .args(["-S", &part.len.to_string()])
            .arg(desk.path(name))
            .run()
            .lines()
            .filter(|line| !line.starts_with("DEVNAME"))
            .map(str::to_owned)
            .collect();
        said.sort();
        said
    };
    assert_eq!(say(one), say(other));
}

/// Shrinks, restores to a smaller and to a larger card, and lets `verify` compare each card with its
/// image. Returns the answers' standard error.
pub(crate) fn round(known: &Known<'_>) -> Vec<String> {
    let desk = known.desk;
    let card = known.name;
    let old = part(desk, card, known.resized);
    let mut said = Vec::new();
    let mut run = |arguments: &[&str]| said.push(desk.expect(0, arguments).stderr);
    run(&[
        "backup",
        card,
        "small.img",
        "--shrink",
        "--margin",
        "0",
        "--force",
    ]);
    let small = known.judge("small.img");
    assert!(small.len < old.len, "it did not get smaller");
    let least = len_of(desk, "small.img");
    // The smallest image's own size, half a MB less than the card, and more.
    let whole = len_of(desk, card);
    for len in [least, whole - 512 * 1024, whole + 60 * MIB + 512] {
        blank(desk, "card", len);
        run(&["restore", card, "card", "--yes"]);
        let place = known.judge("card");
        assert_eq!(place.len > old.len, len > whole, "{place:?} of {len} bytes");
        run(&["verify", card, "--against", "card"]);
    }
    // The smaller image fills a card again.
    blank(desk, "card", whole + 8 * MIB);
    run(&[
        "backup",
        card,
        "small.img.zst",
        "--shrink",
        "--margin",
        "0",
        "--force",
    ]);
    run(&["restore", "small.img.zst", "card", "--yes"]);
    let place = known.judge("card");
    assert!(place.len >= old.len, "{place:?}");
    run(&["verify", "small.img.zst", "--against", "card"]);
    fs::remove_file(desk.path("card")).unwrap();
    said
}
