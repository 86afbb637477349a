//! What mke2fs, debugfs and e2fsck sealed is spoiled and sealed again: it must be what it was.

use std::collections::BTreeMap;

use cardkeep_block::{le_u16, le_u32, le_u64};
use cardkeep_ext4::{
    BlockOwner, ChecksumKind, DescriptorRecord, InodeRecord, Sealer, Superblock, SuperblockRecord,
    feature, journal_superblock,
};
use cardkeep_testkit::Tool;

use crate::image::{Image, is_skipped};

const EXTENTS: u32 = 0x8_0000;
const EXTENT_MAGIC: u16 = 0xF30A;
const BLOCK_UNINIT: u16 = 2;
const INODE_UNINIT: u16 = 1;

/// How many structures of each kind were sealed again.
type Counts = BTreeMap<&'static str, u32>;

struct Resealing {
    bytes: Vec<u8>,
    superblock: Superblock,
    sealer: Sealer,
    counts: Counts,
}

impl Resealing {
    fn new(image: &Image) -> Self {
        let superblock = Superblock::load(&image.medium()).unwrap();
        Self {
            bytes: image.bytes(),
            sealer: Sealer::new(&superblock),
            superblock,
            counts: Counts::new(),
        }
    }

    fn block(&self, number: u64) -> Vec<u8> {
        let size = self.superblock.block_bytes as usize;
        self.bytes[number as usize * size..][..size].to_vec()
    }

    /// Counts one structure that `seal` is to mend after `spoil`.
    fn reseal(
        &mut self,
        kind: &'static str,
        original: &[u8],
        spoiled: &[usize],
        seal: impl Fn(&Sealer, &mut [u8]),
    ) {
        let mut sealed = original.to_vec();
        for &offset in spoiled.iter().filter(|&&offset| offset < original.len()) {
            sealed[offset] ^= 0x5A;
        }
        assert_ne!(sealed, original, "{kind}: nothing was spoiled");
        seal(&self.sealer, &mut sealed);
        assert!(
            sealed == original,
            "{kind} number {:?}",
            self.counts.get(kind)
        );
        *self.counts.entry(kind).or_default() += 1;
    }

    fn groups(&mut self) {
        let superblock = self.superblock.clone();
        let all = self.sealer.kind() == ChecksumKind::Metadata;
        let size = usize::from(superblock.descriptor_bytes);
        for group in 0..superblock.group_count() {
            let index = group / superblock.descriptors_per_block();
            let within = (group % superblock.descriptors_per_block()) as usize * size;
            let block = self.block(superblock.descriptor_block(index));
            let original = block[within..within + size].to_vec();
            let flags = le_u16(&original, 0x12);
            let wide = size >= 64;
            let place = |low, high| {
                let high = if wide { le_u32(&original, high) } else { 0 };
                u64::from(le_u32(&original, low)) | u64::from(high) << 32
            };
            let block_bitmap = self.block(place(0, 0x20));
            let inode_bitmap = self.block(place(4, 0x24));
            let mut spoiled = vec![0x1E, 0x1F];
            let has_blocks = all && flags & BLOCK_UNINIT == 0;
            let has_inodes = all && flags & INODE_UNINIT == 0;
            if has_blocks {
                spoiled.extend([0x18, 0x19, 0x38, 0x39]);
            }
            if has_inodes {
                spoiled.extend([0x1A, 0x1B, 0x3A, 0x3B]);
            }
            self.reseal("descriptor", &original, &spoiled, |sealer, descriptor| {
                let mut descriptor = DescriptorRecord::new(descriptor).unwrap();
                if has_blocks {
                    sealer.block_bitmap(&block_bitmap, &mut descriptor);
                }
                if has_inodes {
                    sealer.inode_bitmap(&inode_bitmap, &mut descriptor);
                }
                sealer.descriptor(group as u32, &mut descriptor);
            });
            if all && superblock.has_superblock(group) {
                let first = superblock.group_first_block(group) * u64::from(superblock.block_bytes);
                let at = if group == 0 { 1024 } else { first as usize };
                let copy = self.bytes[at..at + 1024].to_vec();
                self.reseal("superblock", &copy, &[0x3FC, 0x3FF], |sealer, copy| {
                    sealer.superblock(&mut SuperblockRecord::new(copy).unwrap());
                });
            }
        }
    }

    fn inodes(&mut self, image: &Image) {
        let numbers: Vec<u32> = (1..=self.superblock.inode_count).collect();
        let size = usize::from(self.superblock.inode_bytes);
        let mut owners = Vec::new();
        for &number in &numbers {
            let at = self.inode_offset(number);
            let record = self.bytes[at..at + size].to_vec();
            // What never was an inode has no sum.
            if le_u16(&record, 0x7C) == 0 && record.iter().all(|&byte| byte == 0) {
                continue;
            }
            let spoiled = if size > 128 && le_u16(&record, 0x80) >= 4 {
                vec![0x7C, 0x7D, 0x82, 0x83]
            } else {
                vec![0x7C, 0x7D]
            };
            self.reseal("inode", &record, &spoiled, |sealer, record| {
                sealer.inode(number, &mut InodeRecord::new(record).unwrap());
            });
            if le_u16(&record, 0) != 0 && le_u16(&record, 0x1A) != 0 {
                owners.push((number, record));
            }
        }
        let blocks = blocks_of(image, owners.iter().map(|(number, _)| *number));
        for ((number, record), blocks) in owners.iter().zip(blocks) {
            self.blocks(*number, record, &blocks);
        }
    }

    fn inode_offset(&self, number: u32) -> usize {
        let superblock = &self.superblock;
        let group = u64::from((number - 1) / superblock.inodes_per_group);
        let within = (number - 1) % superblock.inodes_per_group;
        let block =
            self.block(superblock.descriptor_block(group / superblock.descriptors_per_block()));
        let at = (group % superblock.descriptors_per_block()) as usize
            * usize::from(superblock.descriptor_bytes);
        let table = le_u32(&block, at + 8) as usize * superblock.block_bytes as usize;
        table + within as usize * usize::from(superblock.inode_bytes)
    }

    fn blocks(&mut self, number: u32, record: &[u8], blocks: &[u64]) {
        let owner = BlockOwner::new(number, &InodeRecord::new(record).unwrap());
        let kind = le_u16(record, 0) & 0xF000;
        let is_directory = kind == 0x4000;
        // debugfs takes the text of a short link for block numbers.
        let is_short_link = kind == 0xA000 && le_u32(record, 4) < 60;
        let blocks = if is_short_link { &[] } else { blocks };
        let has_extents = le_u32(record, 0x20) & EXTENTS != 0;
        for &place in blocks {
            let block = self.block(place);
            let len = block.len();
            if has_extents && le_u16(&block, 0) == EXTENT_MAGIC {
                let tail = 12 + usize::from(le_u16(&block, 4)) * 12;
                self.reseal("extents", &block, &[tail, tail + 3], |sealer, block| {
                    sealer.extent_block(owner, block);
                });
            } else if is_directory && block[len - 5] == 0xDE {
                self.reseal("directory", &block, &[len - 4, len - 1], |sealer, block| {
                    sealer.directory_block(owner, block);
                });
            } else if is_directory {
                let spoiled = [len - 4, len - 1];
                self.reseal("htree", &block, &spoiled, |sealer, block| {
                    sealer.directory_block(owner, block);
                });
            } else if le_u32(&block, len - 8) == 0x0B10_CA04 {
                let spoiled = [len - 4, len - 1];
                self.reseal("orphans", &block, &spoiled, |sealer, block| {
                    sealer.orphan_block(owner, place, block);
                });
            } else if number == self.superblock.journal_inode && place == blocks[0] {
                self.journal(&block);
            }
        }
        let place = u64::from(le_u32(record, 0x68));
        if place != 0 {
            let block = self.block(place);
            self.reseal("attributes", &block, &[0x10, 0x13], |sealer, block| {
                sealer.xattr_block(place, block);
            });
        }
    }

    /// mke2fs makes journals without checksums: the kernel switches them on.
    fn journal(&mut self, block: &[u8]) {
        let mut same = block.to_vec();
        journal_superblock(&mut same);
        assert!(same == block, "a journal without checksums was changed");
        *self.counts.entry("journal").or_default() += 1;
    }

    fn mmp(&mut self) {
        let place = le_u64(&self.bytes, 1024 + 0x168);
        let block = self.block(place);
        self.reseal("mmp", &block, &[0x3FC, 0x3FF], |sealer, block| {
            sealer.mmp_block(block);
        });
    }
}

/// Returns the blocks of each inode, those of its tree included, as debugfs lists them.
fn blocks_of(image: &Image, numbers: impl Iterator<Item = u32>) -> Vec<Vec<u64>> {
    let script: String = numbers
        .map(|number| format!("blocks <{number}>\n"))
        .collect();
    let path = image.aside("script");
    std::fs::write(&path, script).unwrap();
    let debugfs = Tool::new("debugfs").arg("-f").arg(path).arg(image.path());
    let said = debugfs.run();
    let answers = said.split("debugfs: ").skip(1);
    let parse = |answer: &str| {
        let list = answer.split_once('\n').map_or("", |(_, list)| list);
        list.split_whitespace()
            .filter_map(|word| word.parse().ok())
            .filter(|&block| block != 0)
            .collect()
    };
    answers.map(parse).collect()
}

/// Makes a hashed tree of the folder with many files, and attributes too long for an inode.
fn enrich(image: &Image) {
    let long = "x".repeat(700);
    let words = format!("ea_set /etc/hostname user.long {long}\n");
    image.debugfs(&words);
    let (code, said) = Tool::new("e2fsck").arg("-fyD").arg(image.path()).outcome();
    assert!(matches!(code, Some(0 | 1)), "{said}");
}

fn resealed(options: &[&str], mib: u32) -> Counts {
    let image = Image::make(options, mib);
    enrich(&image);
    let mut resealing = Resealing::new(&image);
    resealing.groups();
    if resealing.sealer.kind() == ChecksumKind::Metadata {
        resealing.inodes(&image);
        if resealing.superblock.has_incompat(feature::INCOMPAT_MMP) {
            resealing.mmp();
        }
    }
    resealing.counts
}

#[test]
fn sealing_again_gives_the_bytes_that_e2fsprogs_wrote() {
    if is_skipped("sealing_again_gives_the_bytes_that_e2fsprogs_wrote") {
        return;
    }
    let everything = [
        "descriptor",
        "superblock",
        "inode",
        "extents",
        "directory",
        "htree",
        "attributes",
        "journal",
    ];
    let cases: [&[&str]; 6] = [
        &["-t", "ext4", "-O", "orphan_file", "-I", "256"],
        &["-t", "ext4", "-O", "^64bit,^huge_file"],
        &[
            "-t",
            "ext4",
            "-O",
            "metadata_csum_seed,mmp,meta_bg,^resize_inode",
            "-b",
            "1024",
        ],
        &["-t", "ext4", "-I", "128"],
        &["-t", "ext4", "-b", "1024", "-O", "^flex_bg,large_dir"],
        &["-t", "ext4", "-O", "bigalloc", "-C", "16384"],
    ];
    for case in cases {
        let counts = resealed(case, 40);
        for kind in everything {
            assert!(counts.contains_key(kind), "{case:?}: no {kind}: {counts:?}");
        }
        assert_eq!(
            counts.contains_key("orphans"),
            case.contains(&"orphan_file")
        );
        assert_eq!(counts.contains_key("mmp"), case[3].contains("mmp"));
    }
}

#[test]
fn old_descriptor_checksums_are_sealed_alike() {
    if is_skipped("old_descriptor_checksums_are_sealed_alike") {
        return;
    }
    let old = [
        "-t",
        "ext4",
        "-O",
        "^metadata_csum,uninit_bg,^64bit",
        "-b",
        "1024",
    ];
    let wide = [
        "-t",
        "ext4",
        "-O",
        "^metadata_csum,uninit_bg,64bit",
        "-b",
        "1024",
    ];
    for options in [old, wide] {
        assert_eq!(resealed(&options, 40), Counts::from([("descriptor", 5)]));
    }
}
