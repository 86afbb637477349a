//! Names for what is not understood further: the user wants to know what it is all the same.

use cardkeep_block::ReadAt;

/// The name of the filesystem of compact discs.
pub(crate) const ISO_9660: &str = "ISO 9660";

/// Name, offset in bytes, and the bytes there. Sources: each format's own documentation; the
/// same places as in libblkid's probes.
const SIGNATURES: [(&str, u64, &[u8]); 11] = [
    ("LUKS", 0, b"LUKS\xba\xbe"),
    ("NTFS", 3, b"NTFS    "),
    ("exFAT", 3, b"EXFAT   "),
    ("XFS", 0, b"XFSB"),
    ("squashfs", 0, b"hsqs"),
    ("F2FS", 1024, b"\x10\x20\xf5\xf2"),
    ("LVM", 512, b"LABELONE"),
    ("LVM", 0, b"LABELONE"),
    ("HFS+", 1024, b"H+"),
    ("btrfs", 0x1_0040, b"_BHRfS_M"),
    (ISO_9660, 0x8001, b"CD001"),
];

/// Returns the name of what `medium` seems to hold.
pub(crate) fn name_of(medium: &dyn ReadAt) -> Option<&'static str> {
    SIGNATURES.iter().find_map(|&(name, offset, bytes)| {
        let found = medium.read_vec(offset, bytes.len());
        found.is_ok_and(|found| found == bytes).then_some(name)
    })
}
