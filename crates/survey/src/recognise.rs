//! What a medium is by its first bytes: enough to tell a disk from a file that is none.

use cardkeep_block::MemoryMedium;
use cardkeep_ptable::Loaded;

use crate::{drivers, signature};

/// The first bytes of a medium that [`recognise`] needs in order to know all that it can.
pub const RECOGNISE_BYTES: usize = 128 * 1024;

/// What a medium begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recognised {
    /// A partition table, damaged or not.
    Table,
    /// A filesystem, or part of one, with its name: there is no partition table.
    Filesystem(&'static str),
    /// The code that some computer boots, without a partition table.
    BootCode,
    /// Nothing but zeros.
    Zeros,
    /// Nothing that is known.
    Unknown,
}

type Signature = (&'static str, usize, &'static [u8]);

/// Filesystems and the like that `signature.rs` has no name for: name, offset in bytes, and the
/// bytes there, as libblkid's probes have them.
const FILESYSTEMS: [Signature; 13] = [
    ("RAID", 0, b"\xfc\x4e\x2b\xa9"),
    ("RAID", 4096, b"\xfc\x4e\x2b\xa9"),
    ("BitLocker", 3, b"-FVE-FS-"),
    ("HFS", 1024, b"BD"),
    ("HFS+", 1024, b"HX"),
    ("APFS", 32, b"NXSB"),
    ("cramfs", 0, b"\x45\x3d\xcd\x28"),
    ("romfs", 0, b"-rom1fs-"),
    ("UDF", 0x8001, b"BEA01"),
    ("UDF", 0x8001, b"NSR0"),
    ("JFS", 0x8000, b"JFS1"),
    ("reiserfs", 0x1_0034, b"ReIsEr"),
    ("bcachefs", 4096 + 24, b"\xc6\x85\x73\xf6\x4e\x1a\x45\xca"),
];

/// What computers boot, and tables that the parser does not know. U-Boot's documentation of each
/// board family has the places; disk labels are the kernel's `block/partitions`.
const BOOT_CODE: [Signature; 15] = [
    ("boot sector", 510, b"\x55\xaa"),
    ("GPT", 512, b"EFI PART"),
    ("GPT", 4096, b"EFI PART"),
    ("Apple partition map", 512, b"PM\0\0"),
    ("Amiga rigid disk block", 0, b"RDSK"),
    ("Sun label", 508, b"\xda\xbe"),
    ("BSD label", 512, b"\x57\x45\x56\x82"),
    ("Allwinner", 8192 + 4, b"eGON.BT0"),
    ("Allwinner", 128 * 1024 - 512 + 4, b"eGON.BT0"),
    ("Rockchip", 64 * 512, b"\x3b\x8c\xdc\xfc"),
    ("Rockchip", 64 * 512, b"RKNS"),
    ("i.MX", 1024, b"\xd1\x00\x20\x40"),
    ("i.MX", 1024, b"\xd1\x00\x20\x41"),
    ("TI", 0x14, b"CHSETTINGS"),
    ("Amlogic", 512 + 16, b"@AML"),
];

/// Tells what a medium is that begins with `first_bytes`.
#[must_use]
pub fn recognise(first_bytes: &[u8]) -> Recognised {
    if first_bytes.iter().all(|&byte| byte == 0) {
        return Recognised::Zeros;
    }
    let medium = MemoryMedium::from_bytes(first_bytes);
    if !matches!(cardkeep_ptable::load(&medium, 512), Ok(Loaded::None)) {
        return Recognised::Table;
    }
    if let Some(name) = filesystem(&medium, first_bytes) {
        return Recognised::Filesystem(name);
    }
    match find(&BOOT_CODE, first_bytes) {
        Some(_) => Recognised::BootCode,
        None => Recognised::Unknown,
    }
}

fn filesystem(medium: &MemoryMedium, first_bytes: &[u8]) -> Option<&'static str> {
    let known = drivers::at_beginning(medium).map(|driver| driver.name());
    let named = || signature::find(medium).map(|named| named.name);
    let known = known.or_else(named);
    known.or_else(|| find(&FILESYSTEMS, first_bytes))
}

fn find(signatures: &[Signature], first_bytes: &[u8]) -> Option<&'static str> {
    let found = signatures.iter().find(|(_, offset, bytes)| {
        let there = first_bytes.get(*offset..);
        there.is_some_and(|there| there.starts_with(bytes))
    });
    found.map(|(name, ..)| *name)
}

#[cfg(test)]
mod tests {
    use super::{RECOGNISE_BYTES, Recognised, recognise};

    fn with(offset: usize, bytes: &[u8]) -> Recognised {
        let mut head = vec![0; RECOGNISE_BYTES];
        head[offset..offset + bytes.len()].copy_from_slice(bytes);
        recognise(&head)
    }

    /// The rest of a boot record, from the type of its first partition on.
    fn mbr_entry() -> Vec<u8> {
        let mut bytes = vec![0; 62];
        bytes[0] = 0x83;
        bytes[4..12].copy_from_slice(&[8, 0, 0, 0, 16, 0, 0, 0]);
        bytes[60..].copy_from_slice(b"\x55\xaa");
        bytes
    }

    #[test]
    fn beginnings_of_media_are_known() {
        assert_eq!(with(510, b"\x55\xaa"), Recognised::BootCode);
        assert_eq!(with(450, &mbr_entry()), Recognised::Table);
        assert_eq!(with(0x438, b"\x53\xef"), Recognised::Filesystem("ext"));
        assert_eq!(with(0, b"XFSB"), Recognised::Filesystem("XFS"));
        assert_eq!(with(8196, b"eGON.BT0"), Recognised::BootCode);
        assert_eq!(with(32 << 10, b"RKNS"), Recognised::BootCode);
    }

    #[test]
    fn anything_else_is_not() {
        assert_eq!(with(0, b""), Recognised::Zeros);
        assert_eq!(recognise(b""), Recognised::Zeros);
        assert_eq!(with(700, b"x"), Recognised::Unknown);
        assert_eq!(recognise(&[7; RECOGNISE_BYTES]), Recognised::Unknown);
        assert_eq!(recognise(b"x"), Recognised::Unknown);
    }
}
