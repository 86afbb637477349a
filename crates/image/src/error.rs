//! The error of reading and writing image containers: damage and lack of support never share a
//! variant, and damage has a place.

use std::error::Error as StdError;
use std::fmt;

use cardkeep_block::{BlockError, BlockErrorKind, Operation};

/// What went wrong with an image.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The medium that holds the image failed, or a codec ran out of memory.
    Io(BlockError),
    /// The image may be sound, but this version can't read or make it.
    Unsupported(Unsupported),
    /// The image is damaged.
    Corrupt(Corrupt),
}

/// A feature of a container that is not supported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsupported {
    kind: UnsupportedKind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum UnsupportedKind {
    ManifestVersion(u32),
    Writing(&'static str),
    FrameCount(u64),
    FrameBytes(u64),
    ManifestBytes(u64),
    Level(i32),
    /// A block map states no SHA-256.
    BmapSums,
    Memory,
    Window,
    Dictionary,
    Layers(u32),
    Zip(ArchiveKind),
    Tar(ArchiveKind),
}

/// Why no image can be had from an archive; the texts are names of members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ArchiveKind {
    NoImage,
    Images(Vec<String>),
    Encrypted(String),
    UnknownLen(String),
    Method(String, u16),
    Split,
    DirectoryBytes(u64),
    /// Its segments are described in a way that is not known: the member, and the record that says so.
    Sparse(String, String),
    /// It is meant to be unpacked: the files of a card's FAT filesystem.
    FatFiles,
    /// It is meant to be unpacked: all files of a system.
    RootTree,
}

/// A failed check of an image, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Corrupt {
    kind: CorruptKind,
    offset: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CorruptKind {
    SeekTable(&'static str),
    ManifestFrame(&'static str),
    Manifest(String),
    FrameData(String),
    FrameLen,
    FrameChecksum,
    Xz(&'static str),
    Zip(&'static str),
    /// The number of the line, from 1.
    Mapfile(usize, &'static str),
    Stream(String),
    Bmap(&'static str),
}

impl Corrupt {
    /// Returns the offset in the image file where the damage was noticed, where it is known.
    #[must_use]
    pub const fn offset(&self) -> Option<u64> {
        self.offset
    }
}

impl Error {
    pub(crate) fn unsupported(kind: UnsupportedKind) -> Self {
        Self::Unsupported(Unsupported { kind })
    }

    pub(crate) fn corrupt(kind: CorruptKind) -> Self {
        Self::Corrupt(Corrupt { kind, offset: None })
    }

    /// Returns the error of a codec that failed on data that is not to blame.
    pub(crate) fn codec(source: std::io::Error) -> Self {
        Self::Io(BlockError::new(BlockErrorKind::Io, Operation::Write).caused_by(source))
    }

    /// Adds the offset in the image file, in bytes, to damage that has none yet.
    #[must_use]
    pub fn at(self, offset: u64) -> Self {
        match self {
            Self::Corrupt(mut corrupt) => {
                corrupt.offset = corrupt.offset.or(Some(offset));
                Self::Corrupt(corrupt)
            }
            other => other,
        }
    }
}

impl From<BlockError> for Error {
    fn from(error: BlockError) -> Self {
        Self::Io(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(_) => f.write_str("the image can't be read or written"),
            Self::Unsupported(unsupported) => unsupported.fmt(f),
            Self::Corrupt(corrupt) => corrupt.fmt(f),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            Self::Unsupported(_) | Self::Corrupt(_) => None,
        }
    }
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            UnsupportedKind::ManifestVersion(version) => write!(
                f,
                "the image has format version {version}, which is newer than this program"
            ),
            UnsupportedKind::Writing(what) => write!(f, "{what} images can't be written"),
            UnsupportedKind::FrameCount(count) => write!(f, "the image has {count} frames"),
            UnsupportedKind::FrameBytes(bytes) => {
                write!(f, "the image has a frame of {bytes} bytes")
            }
            UnsupportedKind::ManifestBytes(bytes) => {
                write!(f, "the image's manifest has {bytes} bytes")
            }
            UnsupportedKind::Zip(kind) => kind.fmt_in("zip", f),
            UnsupportedKind::Tar(kind) => kind.fmt_in("tar", f),
            UnsupportedKind::Layers(most) => {
                write!(f, "the image is packed more than {most} times")
            }
            UnsupportedKind::Window => f.write_str(
                "the image was compressed by zstd with a window of more than 128 MiB (--long)",
            ),
            UnsupportedKind::Dictionary => {
                f.write_str("the image was compressed by zstd with a dictionary")
            }
            UnsupportedKind::BmapSums => f.write_str("the block map has no SHA-256 checksums"),
            UnsupportedKind::Memory => f.write_str("the image needs too much memory to decode"),
            UnsupportedKind::Level(level) => write!(f, "there is no compression level {level}"),
        }
    }
}

impl Unsupported {
    /// Returns what to do, where that is known; `FILE` stands for the image's name.
    #[must_use]
    pub const fn advice(&self) -> Option<&'static str> {
        Some(match &self.kind {
            UnsupportedKind::Window => {
                "decompress it in a pipe: `zstd -d --long=31 -c FILE | cardkeep restore - CARD`"
            }
            UnsupportedKind::Dictionary => {
                "decompress it in a pipe: `zstd -d -D DICTIONARY -c FILE | cardkeep restore - CARD`"
            }
            UnsupportedKind::Memory => {
                "decompress it in a pipe: `xz -dc FILE | cardkeep restore - CARD`"
            }
            UnsupportedKind::Layers(_) => "unpack it first",
            UnsupportedKind::Zip(kind) => match kind {
                ArchiveKind::Split => "join its parts first: `zip -s 0 FILE --out whole.zip`",
                _ => return kind.advice(),
            },
            UnsupportedKind::Tar(kind) => return kind.advice(),
            _ => return None,
        })
    }
}

impl ArchiveKind {
    const fn advice(&self) -> Option<&'static str> {
        Some(match self {
            Self::FatFiles => "unpack it onto a card that is formatted with FAT32",
            Self::RootTree => "unpack it as root onto an ext4 partition",
            Self::Images(_) => "unpack the one you want, and restore that",
            Self::Sparse(..) => "unpack it first: `tar -xSf FILE`",
            Self::Encrypted(_) | Self::UnknownLen(_) | Self::Method(..) => {
                "unpack it first: `7z x FILE`"
            }
            _ => return None,
        })
    }

    /// Says what is wrong with an archive of this kind.
    fn fmt_in(&self, archive: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoImage => write!(f, "the {archive} archive holds no image"),
            Self::Images(names) => {
                let names = names.join(", ");
                write!(
                    f,
                    "the {archive} archive holds more than one image: {names}"
                )
            }
            Self::Encrypted(name) => write!(f, "{name} in the {archive} archive is encrypted"),
            Self::UnknownLen(name) => write!(
                f,
                "where {name} ends can be told from the end of the {archive} archive only"
            ),
            Self::Method(name, id) => write!(
                f,
                "{name} in the {archive} archive is compressed by the unknown method {id}"
            ),
            Self::Split => write!(f, "the {archive} archive is split into several files"),
            Self::DirectoryBytes(bytes) => {
                write!(f, "the {archive} archive has a directory of {bytes} bytes")
            }
            Self::Sparse(name, record) => write!(
                f,
                "{name} in the {archive} archive is a sparse file of an unknown kind ({record})"
            ),
            Self::FatFiles => write!(
                f,
                "the {archive} archive holds files for a card's FAT filesystem, but no image"
            ),
            Self::RootTree => write!(
                f,
                "the {archive} archive holds the files of a root filesystem, but no image"
            ),
        }
    }
}

impl fmt::Display for Corrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            CorruptKind::SeekTable(what) => write!(f, "damaged seek table: {what}")?,
            CorruptKind::ManifestFrame(what) => write!(f, "damaged manifest frame: {what}")?,
            CorruptKind::Manifest(what) => write!(f, "damaged manifest: {what}")?,
            CorruptKind::FrameData(what) => write!(f, "damaged frame: {what}")?,
            CorruptKind::Stream(what) => write!(f, "damaged image: {what}")?,
            CorruptKind::Xz(what) => write!(f, "damaged xz file: {what}")?,
            CorruptKind::Bmap(what) => write!(f, "damaged block map: {what}")?,
            CorruptKind::Zip(what) => write!(f, "damaged zip archive: {what}")?,
            CorruptKind::Mapfile(line, what) => {
                write!(f, "damaged mapfile: line {line}: {what}")?;
            }
            CorruptKind::FrameLen => f.write_str("damaged frame: it holds less than it should")?,
            CorruptKind::FrameChecksum => {
                f.write_str("damaged frame: its content differs from the checksum in the table")?;
            }
        }
        match self.offset {
            Some(offset) => write!(f, " (at byte {offset} of the image)"),
            None => Ok(()),
        }
    }
}
