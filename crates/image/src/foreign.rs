//! Files of other kinds: what is neither a disk image nor a container that this crate unpacks,
//! named by its first or last bytes, with what to do about it.
//!
//! A medium has no magic number, so that anything else could be taken for its first sectors.
//! Main type: [`ForeignKind`]. The numbers are those of the formats' own specifications, named in
//! the table where there is one, and the same as in the magic of file(1).

use cardkeep_block::{ReadAt, le_u16, le_u32};

use crate::foreign_kind::ForeignKind;
use crate::{Error, Format, foreign_text};

const SEVENZIP: &str = "unpack it (`7z x FILE`), and use the image that is in it";
const CONVERT: &str = "convert it first: `qemu-img convert -O raw FILE disk.img`";
const DMG: &str = "convert it first: `dmg2img FILE disk.img`, or on macOS \
                   `hdiutil convert FILE -format UDTO -o disk`";
const JOIN_ZIP: &str = "join all its parts first: `zip -s 0 STEM.zip --out whole.zip`";
const OTHER: &str = "choose the disk image";
const FLASH: &str =
    "it is installed by other tools, or is a part of an image; choose the disk image";
const FORENSIC: &str = "convert it first: `ewfexport -f raw FILE`, or `xmount`";
const DECRYPT: &str = "decrypt it first";

/// What a file begins with: name, advice, offset in bytes, and the bytes there.
type Magic = (&'static str, &'static str, usize, &'static [u8]);

/// Archives, and compressors that this crate has no decoder for.
const PACKED: &[Magic] = &[
    // 7-Zip's 7zFormat.txt, "Signature Header".
    ("a 7z archive", SEVENZIP, 0, b"7z\xbc\xaf\x27\x1c"),
    // RARLAB's technotes: versions 1.5 to 4, and 5.
    ("a rar archive", SEVENZIP, 0, b"Rar!\x1a\x07\x00"),
    ("a rar archive", SEVENZIP, 0, b"Rar!\x1a\x07\x01\x00"),
    // LZ4 frame format, "General structure" and "Legacy frame".
    (
        "compressed with lz4",
        "decompress it in a pipe: `lz4 -dc FILE | cardkeep restore - CARD`",
        0,
        &[0x04, 0x22, 0x4d, 0x18],
    ),
    (
        "compressed with lz4",
        "decompress it in a pipe: `lz4 -dc FILE | cardkeep restore - CARD`",
        0,
        &[0x02, 0x21, 0x4c, 0x18],
    ),
    // Lzip's manual, "File format".
    (
        "compressed with lzip",
        "decompress it in a pipe: `lzip -dc FILE | cardkeep restore - CARD`",
        0,
        b"LZIP",
    ),
    (
        "compressed with lzop",
        "decompress it in a pipe: `lzop -dc FILE | cardkeep restore - CARD`",
        0,
        b"\x89LZO\x00\r\n\x1a\n",
    ),
    (
        "compressed with lrzip",
        "decompress it first: `lrzip -d FILE`",
        0,
        b"LRZI",
    ),
    (
        "compressed with compress",
        "decompress it in a pipe: `gzip -dc FILE | cardkeep restore - CARD`",
        0,
        &[0x1f, 0x9d],
    ),
    // MS-CAB, section 2.1: "MSCF" and a reserved field.
    ("a Windows cabinet", SEVENZIP, 0, b"MSCF\0\0\0\0"),
    ("a Debian package or ar archive", OTHER, 0, b"!<arch>\n"),
    ("an RPM package", OTHER, 0, &[0xed, 0xab, 0xee, 0xdb]),
    ("a cpio archive", OTHER, 0, b"070701"),
    ("a cpio archive", OTHER, 0, b"070702"),
    ("a cpio archive", OTHER, 0, b"070707"),
    ("a macOS package", OTHER, 0, b"xar!"),
    ("a Windows image (WIM)", SEVENZIP, 0, b"MSWIM\0\0\0"),
    // APPNOTE 8.5.3 and 8.5.4: the marker of an archive that is split, or was to be.
    (
        "the first part of a split zip archive",
        JOIN_ZIP,
        0,
        b"PK\x07\x08",
    ),
    (
        "the first part of a split zip archive",
        JOIN_ZIP,
        0,
        b"PK00PK\x03\x04",
    ),
];

/// Disks of virtual machines, and images that have to be converted.
const DISKS: &[Magic] = &[
    // QEMU's docs/interop/qcow2: version 1 is qcow.
    (
        "a qcow image of a virtual disk",
        CONVERT,
        0,
        b"QFI\xfb\0\0\0\x01",
    ),
    ("a qcow2 image of a virtual disk", CONVERT, 0, b"QFI\xfb"),
    ("a QED image of a virtual disk", CONVERT, 0, b"QED\0"),
    // VMware's "Virtual Disk Format 5.0": sparse extents, the descriptor, and ESX's own kinds.
    ("a VMDK image of a virtual disk", CONVERT, 0, b"KDMV"),
    ("a VMDK image of a virtual disk", CONVERT, 0, b"COWD"),
    (
        "a VMDK image of a virtual disk",
        CONVERT,
        0,
        &[0xbe, 0xba, 0xfe, 0xca, 0, 0, 0, 0],
    ),
    // VirtualBox's VDICore.h: behind 64 bytes of text.
    (
        "a VDI image of a virtual disk",
        CONVERT,
        0x40,
        &[0x7f, 0x10, 0xda, 0xbe],
    ),
    // Microsoft's VHD specification: dynamic disks begin with a copy of their footer.
    ("a VHD image of a virtual disk", CONVERT, 0, b"conectix"),
    // MS-VHDX, section 2.2.1.
    ("a VHDX image of a virtual disk", CONVERT, 0, b"vhdxfile"),
    (
        "a Parallels image of a virtual disk",
        CONVERT,
        0,
        b"WithoutFreeSpace",
    ),
    (
        "a Parallels image of a virtual disk",
        CONVERT,
        0,
        b"WithouFreSpacExt",
    ),
    (
        "a Bochs image of a virtual disk",
        CONVERT,
        0,
        b"Bochs Virtual HD Image",
    ),
    ("an encrypted macOS disk image", DMG, 0, b"encrcdsa"),
    // AOSP's sparse_format.h.
    (
        "an Android sparse image",
        "convert it first: `simg2img FILE disk.img`",
        0,
        &[0x3a, 0xff, 0x26, 0xed],
    ),
    (
        "a forensic image (EWF)",
        FORENSIC,
        0,
        b"EVF\x09\x0d\x0a\xff\x00",
    ),
    // partclone's IMAGE_FORMATS.md, partimage, ntfsclone, fsarchiver.
    (
        "a partclone image of one partition",
        "restore it with `partclone.restore`, or the folder it is in with Clonezilla",
        0,
        b"partclone-image",
    ),
    (
        "a partimage image of one partition",
        "restore it with `partimage`",
        0,
        b"PaRtImAgE-VoLuMe",
    ),
    (
        "an ntfsclone image of one partition",
        "restore it with `ntfsclone --restore-image`",
        0,
        b"\0ntfsclone-image",
    ),
    (
        "an fsarchiver archive",
        "restore it with `fsarchiver`",
        0,
        b"FsArCh_0",
    ),
];

/// Parts of systems, and anything else that is chosen by mistake.
const OTHERS: &[Magic] = &[
    // Documentation/filesystems/squashfs.rst: little-endian, and older big-endian ones.
    (
        "a squashfs filesystem, a part of an update",
        FLASH,
        0,
        b"hsqs",
    ),
    (
        "a squashfs filesystem, a part of an update",
        FLASH,
        0,
        b"sqsh",
    ),
    ("an Android boot image", FLASH, 0, b"ANDROID!"),
    // U-Boot's image.h, the devicetree specification 5.2.
    ("a U-Boot image", FLASH, 0, &[0x27, 0x05, 0x19, 0x56]),
    (
        "a device tree or FIT image",
        FLASH,
        0,
        &[0xd0, 0x0d, 0xfe, 0xed],
    ),
    ("a UBI image for flash memory", FLASH, 0, b"UBI#\x01"),
    // Documentation/arch/arm64/booting.rst, arch/arm/booting.rst, arch/x86/boot.rst.
    ("a Linux kernel", FLASH, 0x38, b"ARM\x64"),
    ("a Linux kernel", FLASH, 0x24, &[0x18, 0x28, 0x6f, 0x01]),
    ("a Linux kernel", FLASH, 0x202, b"HdrS"),
    ("a program (ELF)", OTHER, 0, b"\x7fELF"),
    ("a program for macOS", OTHER, 0, &[0xcf, 0xfa, 0xed, 0xfe]),
    ("a PDF document", OTHER, 0, b"%PDF-"),
    ("a picture (JPEG)", OTHER, 0, &[0xff, 0xd8, 0xff]),
    ("a picture (PNG)", OTHER, 0, b"\x89PNG\r\n\x1a\n"),
    ("a picture (GIF)", OTHER, 0, b"GIF8"),
    ("a video or sound file", OTHER, 0, b"RIFF"),
    ("a video or sound file", OTHER, 4, b"ftyp"),
    ("a video or sound file", OTHER, 0, b"OggS"),
    ("a video or sound file", OTHER, 0, &[0x1a, 0x45, 0xdf, 0xa3]),
    ("a video or sound file", OTHER, 0, b"ID3"),
    ("a database (SQLite)", OTHER, 0, b"SQLite format 3\0"),
    (
        "an office document",
        OTHER,
        0,
        &[0xd0, 0xcf, 0x11, 0xe0, 0xa1, 0xb1, 0x1a, 0xe1],
    ),
    (
        "a torrent file",
        "give it to a torrent client, which downloads the image",
        0,
        b"d8:announce",
    ),
    ("an encrypted file (OpenSSL)", DECRYPT, 0, b"Salted__"),
    (
        "an encrypted file (age)",
        DECRYPT,
        0,
        b"age-encryption.org/",
    ),
];

const MANGLED: ForeignKind = ForeignKind::new(
    "an image whose line ends were changed on the way (LF became CR LF)",
    "a terminal did that: use `ssh HOST 'cat IMAGE'` without -t, or copy the file in binary mode",
);
const LZMA: ForeignKind = ForeignKind::new(
    "compressed with lzma",
    "decompress it in a pipe: `xz --format=lzma -dc FILE | cardkeep restore - CARD`",
);
const WINDOWS_PROGRAM: ForeignKind = ForeignKind::new("a program for Windows or EFI", OTHER);
const DMG_TRAILED: ForeignKind = ForeignKind::new("a macOS disk image (dmg)", DMG);
const VHD_FIXED: ForeignKind = ForeignKind::new("a VHD image of a virtual disk", CONVERT);
const ZIP_LAST: ForeignKind = ForeignKind::new("the last part of a split zip archive", JOIN_ZIP);

/// Returns what a file is that begins with `first_bytes`, where that is no disk image and no
/// container that is unpacked, as far as it is known. The bytes are all there are where they are
/// fewer than [`ForeignKind::DETECT_BYTES`].
#[must_use]
pub fn detect_foreign(first_bytes: &[u8]) -> Option<ForeignKind> {
    if Format::detect(first_bytes) != Format::Raw {
        return is_mangled(first_bytes).then_some(MANGLED);
    }
    let tables = [PACKED, DISKS, OTHERS];
    let found = tables.into_iter().flatten().find(|(_, _, offset, magic)| {
        let there = first_bytes.get(*offset..);
        there.is_some_and(|there| there.starts_with(magic))
    });
    if let Some((name, advice, ..)) = found {
        return Some(ForeignKind::new(name, advice));
    }
    if is_lzma(first_bytes) {
        return Some(LZMA);
    }
    if is_windows_program(first_bytes) {
        return Some(WINDOWS_PROGRAM);
    }
    foreign_text::detect(first_bytes)
}

/// Returns what the file on `medium` is, as [`detect_foreign`] does; kinds that have their magic
/// at their end only, too.
///
/// # Errors
/// [`Error::Io`] where the medium can't be read.
pub fn load_foreign(medium: &impl ReadAt) -> Result<Option<ForeignKind>, Error> {
    // OK to cast: at most DETECT_BYTES.
    let len = medium.len().min(ForeignKind::DETECT_BYTES as u64) as usize;
    let head = medium.read_vec(0, len)?;
    if let Some(kind) = detect_foreign(&head) {
        return Ok(Some(kind));
    }
    // OK to cast: at most a sector.
    let tail_len = medium.len().min(TRAILER_BYTES) as usize;
    let tail = medium.read_vec(medium.len() - tail_len as u64, tail_len)?;
    Ok(detect_trailer(&tail).filter(|_| Format::detect(&head) == Format::Raw))
}

/// The length of dmg's and VHD's trailers in bytes.
const TRAILER_BYTES: u64 = 512;
/// The end record of a zip archive without a comment (APPNOTE 4.3.16).
const ZIP_END_BYTES: usize = 22;

/// Returns what a file is whose last [`TRAILER_BYTES`] are `tail`.
fn detect_trailer(tail: &[u8]) -> Option<ForeignKind> {
    // A UDIF trailer states its own length, big-endian, behind its version.
    if tail.starts_with(b"koly") && tail.get(8..12) == Some(&[0, 0, 2, 0]) {
        return Some(DMG_TRAILED);
    }
    // Before Virtual PC 2004 the footer had 511 bytes.
    if tail.starts_with(b"conectix") || tail.get(1..9) == Some(b"conectix") {
        return Some(VHD_FIXED);
    }
    let end = tail.get(tail.len().checked_sub(ZIP_END_BYTES)?..)?;
    let is_last_part = end.starts_with(b"PK\x05\x06") && le_u16(end, 4) > 0;
    is_last_part.then_some(ZIP_LAST)
}

/// So many line feeds with a carriage return in front of each are no chance: one in 2^48.
const MANGLED_LINE_ENDS_MIN: usize = 6;

/// Tells whether every line feed in compressed data has a carriage return in front of it.
pub(crate) fn is_mangled(bytes: &[u8]) -> bool {
    let mut count = 0;
    for pair in bytes.windows(2).filter(|pair| pair[1] == b'\n') {
        if pair[0] != b'\r' {
            return false;
        }
        count += 1;
    }
    count >= MANGLED_LINE_ENDS_MIN
}

/// The header of lzma's old format has no magic: a byte of properties, the dictionary's size, and
/// the content's length or all ones (the LZMA SDK's lzma.txt). As liblzma does, only sizes are
/// taken that encoders write, and of the properties only the default.
fn is_lzma(bytes: &[u8]) -> bool {
    const CONTENT_BYTES_MAX: u64 = 1 << 38;
    let (Some(dictionary), Some(len)) = (bytes.get(1..5), bytes.get(5..13)) else {
        return false;
    };
    let dictionary = le_u32(dictionary, 0);
    let shape = dictionary.checked_shr(dictionary.trailing_zeros());
    // 2^n, or 2^n + 2^(n+1).
    let is_usual = dictionary >= 4096 && matches!(shape, Some(1 | 3));
    let len = cardkeep_block::le_u64(len, 0);
    bytes[0] == 0x5d && is_usual && (len == u64::MAX || len < CONTENT_BYTES_MAX)
}

/// Tells whether a DOS header points to a PE header (the PE format, "MS-DOS Stub").
fn is_windows_program(bytes: &[u8]) -> bool {
    if !bytes.starts_with(b"MZ") || bytes.len() < 0x40 {
        return false;
    }
    // OK to cast: an offset that doesn't fit leads nowhere either.
    let header = bytes.get(le_u32(bytes, 0x3c) as usize..);
    header.is_some_and(|header| header.starts_with(b"PE\0\0"))
}

#[cfg(test)]
mod tests {
    use super::{ForeignKind, detect_foreign, detect_trailer, load_foreign};
    use cardkeep_block::MemoryMedium;

    fn name(bytes: &[u8]) -> Option<&'static str> {
        detect_foreign(bytes).map(|kind| kind.name())
    }

    /// A sector that begins with these bytes at this offset.
    fn sector(offset: usize, magic: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; 1024];
        bytes[offset..offset + magic.len()].copy_from_slice(magic);
        bytes
    }

    #[test]
    fn what_is_no_image_is_named() {
        for (bytes, expected) in [
            (sector(0, b"7z\xbc\xaf\x27\x1c\0\x04"), "a 7z archive"),
            (sector(0, b"Rar!\x1a\x07\x01\x00"), "a rar archive"),
            (sector(0, b"\x04\x22\x4d\x18"), "compressed with lz4"),
            (sector(0, b"LZIP\x01"), "compressed with lzip"),
            (
                sector(0, b"\x5d\0\0\x80\0\xff\xff\xff\xff\xff\xff\xff\xff"),
                "compressed with lzma",
            ),
            (
                sector(0, b"QFI\xfb\0\0\0\x03"),
                "a qcow2 image of a virtual disk",
            ),
            (
                sector(0, b"QFI\xfb\0\0\0\x01"),
                "a qcow image of a virtual disk",
            ),
            (
                sector(0x40, b"\x7f\x10\xda\xbe"),
                "a VDI image of a virtual disk",
            ),
            (
                sector(0, b"PK\x07\x08PK\x03\x04"),
                "the first part of a split zip archive",
            ),
            (
                sector(0, b"hsqs"),
                "a squashfs filesystem, a part of an update",
            ),
            (sector(0x24, b"\x18\x28\x6f\x01"), "a Linux kernel"),
            (sector(0, b"\x7fELF"), "a program (ELF)"),
        ] {
            assert_eq!(name(&bytes), Some(expected));
        }
        let mut program = sector(0, b"MZ");
        program[0x3c] = 0x80;
        assert_eq!(name(&program), None);
        program[0x80..0x84].copy_from_slice(b"PE\0\0");
        assert_eq!(name(&program), Some("a program for Windows or EFI"));
    }

    #[test]
    fn what_media_begin_with_is_not_foreign() {
        for head in [
            &b"\xeb\x58\x90mkfs.fat"[..],
            b"\xeb\x52\x90NTFS    ",
            b"\xeb\x76\x90EXFAT   ",
            b"\x33\xc0\x8e\xd0\xbc\0\x7c\x8e",
            b"\xfa\x31\xc0\x8e\xd8\x8e\xd0\xbc",
            b"\xfa\xb8\0\x10\x8e\xd0\xbc\0\xb0",
            b"XFSB\0\0\x10\0",
            b"LUKS\xba\xbe\0\x02",
            b"LABELONE\x01\0\0\0",
            b"ER\x02\0\0\0",
            b"\x45\x52\x08\0\0\0\x90\x90",
            b"",
            b"\0",
        ] {
            assert_eq!(name(&sector(0, head)), None, "{head:?}");
        }
    }

    #[test]
    fn what_a_terminal_did_to_a_compressed_image_is_told() {
        let random = |seed: u32| (seed.wrapping_mul(2_654_435_761) >> 13) as u8;
        let mut image = b"\x28\xb5\x2f\xfd".to_vec();
        image.extend((0..40_000).map(random));
        assert_eq!(name(&image), None);
        let mut sent = Vec::new();
        for byte in image {
            if byte == b'\n' {
                sent.push(b'\r');
            }
            sent.push(byte);
        }
        assert!(name(&sent).unwrap().contains("CR LF"));
    }

    #[test]
    fn trailers_tell_what_beginnings_do_not() {
        let mut dmg = vec![0; 512];
        dmg[..12].copy_from_slice(b"koly\0\0\0\x04\0\0\x02\0");
        for (tail, expected) in [
            (dmg, "a macOS disk image (dmg)"),
            (
                sector(0, b"conectix")[..512].to_vec(),
                "a VHD image of a virtual disk",
            ),
            (
                sector(490, b"PK\x05\x06\x02\0\x01\0")[..512].to_vec(),
                "the last part of a split zip archive",
            ),
        ] {
            assert_eq!(detect_trailer(&tail).unwrap().name(), expected);
            let file = [vec![0; 5000], tail].concat();
            let medium = MemoryMedium::from_bytes(&file);
            assert_eq!(load_foreign(&medium).unwrap().unwrap().name(), expected);
        }
        for len in [0, 1, 21, 22, 511, 512, 2 * ForeignKind::DETECT_BYTES] {
            let medium = MemoryMedium::from_bytes(&vec![0; len]);
            assert_eq!(load_foreign(&medium).unwrap(), None, "{len}");
        }
    }

    #[test]
    fn zip_archives_that_are_whole_are_not_foreign() {
        let file = sector(490, b"PK\x05\x06\0\0\0\0")[..512].to_vec();
        assert_eq!(detect_trailer(&file), None);
    }
}
