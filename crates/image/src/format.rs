//! Which container an image comes in: by content when reading, by name when making one.

use std::path::Path;

use crate::tar_header::{BLOCK_BYTES, TarHeader};

/// A container of images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// The medium's bytes as they are.
    Raw,
    /// Zstandard frames, with or without a seek table and a manifest.
    Zstd,
    /// One or more gzip members.
    Gzip,
    /// One or more xz streams.
    Xz,
    /// One or more bzip2 streams; read only.
    Bzip2,
    /// A zip archive with an image in it; read only.
    Zip,
    /// A tar archive with an image in it; read only.
    Tar,
}

impl Format {
    /// The first bytes of an image that [`Format::detect`] needs in order to know all formats.
    pub const DETECT_BYTES: usize = BLOCK_BYTES;

    /// Returns the format that an image of this name should be written in, by its extension
    /// without regard to case; `None` where the extension says nothing.
    #[must_use]
    pub fn from_name(name: impl AsRef<Path>) -> Option<Self> {
        let extension = name.as_ref().extension()?.to_str()?.to_ascii_lowercase();
        Some(match extension.as_str() {
            "img" | "iso" | "bin" | "raw" => Self::Raw,
            "zst" | "zstd" => Self::Zstd,
            "gz" => Self::Gzip,
            "xz" => Self::Xz,
            "bz2" => Self::Bzip2,
            "zip" => Self::Zip,
            "tar" => Self::Tar,
            _ => return None,
        })
    }

    /// Returns the format of an image that begins with `first_bytes`; [`Format::Raw`] where they
    /// are no container's.
    ///
    /// The magic numbers are those of RFC 8878 section 3.1 (zstd; a skippable frame may come
    /// first), RFC 1952 section 2.3 (gzip with the only method there is), the xz file format 1.2
    /// section 2.1.1, bzip2's header with what may follow it, and a zip local file header or the end
    /// record of an empty archive (APPNOTE 4.3.7, 4.3.16). A tar archive has the checksum of its
    /// first header. All are far from what a boot sector
    /// begins with: a jump, a register being cleared, or nothing.
    #[must_use]
    pub fn detect(first_bytes: &[u8]) -> Self {
        match first_bytes {
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            [0x1f, 0x8b, 0x08, ..] => Self::Gzip,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            [b'B', b'Z', b'h', b'1'..=b'9', block_or_end @ ..] if is_bzip2(block_or_end) => {
                Self::Bzip2
            }
            [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => Self::Zip,
            _ if TarHeader::parse(first_bytes).is_some() => Self::Tar,
            _ => Self::Raw,
        }
    }

    /// Returns the extension that images of this format are named with, without a leading dot.
    #[must_use]
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Raw => "img",
            Self::Zstd => "img.zst",
            Self::Gzip => "img.gz",
            Self::Xz => "img.xz",
            Self::Bzip2 => "img.bz2",
            Self::Zip => "zip",
            Self::Tar => "tar",
        }
    }
}

/// Tells whether a bzip2 header is followed by a block (pi in BCD) or the end of an empty stream
/// (its square root).
fn is_bzip2(bytes: &[u8]) -> bool {
    const BLOCK: [u8; 6] = [0x31, 0x41, 0x59, 0x26, 0x53, 0x59];
    const END: [u8; 6] = [0x17, 0x72, 0x45, 0x38, 0x50, 0x90];
    bytes.starts_with(&BLOCK) || bytes.starts_with(&END)
}

#[cfg(test)]
mod tests {
    use super::Format;

    #[test]
    fn names_tell_the_format_whatever_their_case() {
        for (name, format) in [
            ("pi.img", Some(Format::Raw)),
            ("PI.IMG.ZST", Some(Format::Zstd)),
            ("a.b/pi.zst", Some(Format::Zstd)),
            ("pi.img.gz", Some(Format::Gzip)),
            ("pi.xz", Some(Format::Xz)),
            ("pi.iso", Some(Format::Raw)),
            ("pi.txt", None),
            ("img", None),
        ] {
            assert_eq!(Format::from_name(name), format, "{name}");
        }
        for format in [Format::Raw, Format::Zstd, Format::Gzip, Format::Xz] {
            let name = format!("card.{}", format.extension());
            assert_eq!(Format::from_name(name), Some(format));
        }
    }

    #[test]
    fn content_tells_the_format() {
        for (bytes, format) in [
            (&[0x28, 0xb5, 0x2f, 0xfd, 0][..], Format::Zstd),
            (&[0x5e, 0x2a, 0x4d, 0x18], Format::Zstd),
            (&[0x4f, 0x2a, 0x4d, 0x18], Format::Raw),
            (&[0x1f, 0x8b, 8, 0], Format::Gzip),
            (b"\xfd7zXZ\0", Format::Xz),
            (b"BZh91AY&SY", Format::Bzip2),
            (b"BZh9 is a text", Format::Raw),
            (b"BZh1\x17\x72\x45\x38\x50\x90", Format::Bzip2),
            (b"PK\x03\x04", Format::Zip),
            (b"PK\x05\x06", Format::Zip),
            // Boot sectors: FAT, GRUB, Windows, syslinux, and a table without code.
            (
                &[0xeb, 0x58, 0x90, b'm', b'k', b'f', b's', b'.', b'f', b'a'],
                Format::Raw,
            ),
            (
                &[0xeb, 0x63, 0x90, 0x10, 0x8e, 0xd0, 0xbc, 0, 0xb0, 0xb8],
                Format::Raw,
            ),
            (
                &[0x33, 0xc0, 0x8e, 0xd0, 0xbc, 0, 0x7c, 0x8e, 0xc0, 0x8e],
                Format::Raw,
            ),
            (
                &[0xfa, 0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xd0, 0xbc, 0, 0x7c],
                Format::Raw,
            ),
            (&[0; 10], Format::Raw),
            (b"", Format::Raw),
        ] {
            assert_eq!(Format::detect(bytes), format, "{bytes:?}");
        }
    }
}
