//! The content of one member of a zip archive, whichever way it is compressed.

use std::io::{self, BufRead, ErrorKind, Read};

use bzip2::bufread::BzDecoder;
use cardkeep_block::le_u32;
use deflate64::Deflate64Decoder;
use flate2::bufread::DeflateDecoder;
use liblzma::bufread::XzDecoder;

use crate::Error;
use crate::archive_choice::printable;
use crate::decoder::{xz_decoder, zstd_decoder};
use crate::error::{ArchiveKind, UnsupportedKind};
use crate::stream_error::damaged;
use crate::zip_layout::{DATA_DESCRIPTOR, Method, ZipEntry};

/// A member's content; its checksum and length are compared by [`MemberReader::finish`].
pub(crate) struct MemberReader<R: BufRead> {
    entry: ZipEntry,
    decoder: Decoder<R>,
    crc: crc32fast::Hasher,
    content_len: u64,
    stated: Stated,
}

/// What the archive says of a member's content, and where.
#[derive(Clone, Copy)]
enum Stated {
    /// All of it stands in the header.
    Header,
    /// In the header, but only the lower half of the length.
    CutHeader,
    /// In the descriptor behind the data.
    Descriptor,
}

enum Decoder<R: BufRead> {
    Stored(MemberData<R>),
    Deflate(DeflateDecoder<MemberData<R>>),
    Deflate64(Deflate64Decoder<MemberData<R>>),
    Bzip2(BzDecoder<MemberData<R>>),
    Zstd(zstd::Decoder<'static, MemberData<R>>),
    Xz(XzDecoder<MemberData<R>>),
}

impl<R: BufRead> MemberReader<R> {
    /// Returns the content of the member whose compressed data comes next from `input`.
    ///
    /// # Errors
    /// Where the member is encrypted, compressed in a way that is not known, or of a length that
    /// only its end could tell; [`Error::Io`] where memory is short.
    pub(crate) fn new(entry: ZipEntry, input: R, memory_bytes_max: u64) -> Result<Self, Error> {
        let stated = match entry.has_descriptor {
            true => Stated::Descriptor,
            false => Stated::Header,
        };
        let compressed_len = entry.known_compressed_len();
        Self::open(entry, stated, compressed_len, input, memory_bytes_max)
    }

    /// Returns the content of a member that the directory has an entry of: that says what the
    /// descriptor would.
    ///
    /// # Errors
    /// As [`MemberReader::new`].
    pub(crate) fn listed(entry: ZipEntry, input: R, memory_bytes_max: u64) -> Result<Self, Error> {
        let stated = match entry.sure_content_len() {
            Some(_) => Stated::Header,
            None => Stated::CutHeader,
        };
        let compressed_len = Some(entry.compressed_len);
        Self::open(entry, stated, compressed_len, input, memory_bytes_max)
    }

    fn open(
        entry: ZipEntry,
        stated: Stated,
        compressed_len: Option<u64>,
        input: R,
        memory_bytes_max: u64,
    ) -> Result<Self, Error> {
        let refuse = |kind: fn(String) -> ArchiveKind| {
            let kind = kind(printable(&entry.name));
            Err(Error::unsupported(UnsupportedKind::Zip(kind)))
        };
        if entry.is_encrypted {
            return refuse(ArchiveKind::Encrypted);
        }
        // Only these two say themselves where they end, to the byte.
        if compressed_len.is_none() && ![Method::Deflate, Method::Bzip2].contains(&entry.method) {
            return refuse(ArchiveKind::UnknownLen);
        }
        let data = MemberData {
            input,
            left: compressed_len,
            taken: 0,
        };
        let decoder = match entry.method {
            Method::Stored => Decoder::Stored(data),
            Method::Deflate => Decoder::Deflate(DeflateDecoder::new(data)),
            Method::Deflate64 => Decoder::Deflate64(Deflate64Decoder::with_buffer(data)),
            Method::Bzip2 => Decoder::Bzip2(BzDecoder::new(data)),
            Method::Zstd => Decoder::Zstd(zstd_decoder(data, memory_bytes_max)?),
            Method::Xz => Decoder::Xz(xz_decoder(data, memory_bytes_max)?),
            Method::Other(id) => {
                let kind = ArchiveKind::Method(printable(&entry.name), id);
                return Err(Error::unsupported(UnsupportedKind::Zip(kind)));
            }
        };
        Ok(Self {
            entry,
            decoder,
            crc: crc32fast::Hasher::new(),
            content_len: 0,
            stated,
        })
    }

    /// Compares the content, which must have been read to its end, with what the archive says of
    /// it, and returns that and the input behind the member.
    ///
    /// # Errors
    /// Where they differ, and as the input.
    pub(crate) fn finish(self) -> io::Result<Finished<R>> {
        let data = match self.decoder {
            Decoder::Stored(data) => data,
            Decoder::Deflate(decoder) => decoder.into_inner(),
            Decoder::Deflate64(decoder) => decoder.into_inner(),
            Decoder::Bzip2(decoder) => decoder.into_inner(),
            Decoder::Zstd(decoder) => decoder.finish(),
            Decoder::Xz(decoder) => decoder.into_inner(),
        };
        if data.left.is_some_and(|left| left > 0) {
            return Err(damaged("a member's data continues past its end"));
        }
        let mut input = data.input;
        let crc = self.crc.finalize();
        let is_right = match self.stated {
            Stated::Descriptor => {
                let lens = [data.taken, self.content_len];
                descriptor_agrees(&mut input, crc, lens, self.entry.has_zip64)?
            }
            Stated::Header => crc == self.entry.crc && self.content_len == self.entry.content_len,
            // The truncation takes the lower half, as meant.
            Stated::CutHeader => {
                crc == self.entry.crc && self.content_len as u32 == self.entry.content_len as u32
            }
        };
        if !is_right {
            return Err(damaged("a member's content differs from its checksum"));
        }
        Ok(Finished {
            input,
            crc,
            content_len: self.content_len,
        })
    }
}

/// A member that was read to its end.
pub(crate) struct Finished<R> {
    /// What follows it.
    pub(crate) input: R,
    /// Its content's CRC-32.
    pub(crate) crc: u32,
    /// Its content's length in bytes.
    pub(crate) content_len: u64,
}

impl<R: BufRead> Read for MemberReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = match &mut self.decoder {
            Decoder::Stored(data) => data.read(buffer),
            Decoder::Deflate(decoder) => decoder.read(buffer),
            Decoder::Deflate64(decoder) => decoder.read(buffer),
            Decoder::Bzip2(decoder) => decoder.read(buffer),
            Decoder::Zstd(decoder) => decoder.read(buffer),
            Decoder::Xz(decoder) => decoder.read(buffer),
        }?;
        self.crc.update(&buffer[..len]);
        self.content_len = self.content_len.saturating_add(len as u64);
        if matches!(self.stated, Stated::Header) && self.content_len > self.entry.content_len {
            return Err(damaged("a member holds more than it should"));
        }
        Ok(len)
    }
}

/// Reads the data descriptor (APPNOTE 4.3.9) and tells whether it says what was found; `lens` are
/// the compressed and the content's length in bytes.
///
/// Its signature is optional. Its sizes have 64 bits where the header has a Zip64 field, but there
/// are writers that widen them without one, and some (macOS) that cut them to 32 bits instead.
fn descriptor_agrees(
    input: &mut impl Read,
    crc: u32,
    lens: [u64; 2],
    has_zip64: bool,
) -> io::Result<bool> {
    let mut first = [0; 4];
    input.read_exact(&mut first)?;
    if u32::from_le_bytes(first) == DATA_DESCRIPTOR {
        input.read_exact(&mut first)?;
    }
    let mut sizes = [0; 8];
    input.read_exact(&mut sizes)?;
    // The truncations take the low half, as meant.
    let narrow = lens.map(|len| len as u32);
    let is_narrow = le_u32(&sizes, 4) == narrow[1];
    let is_wide = u64::from_le_bytes(sizes) == lens[0];
    let is_right = if is_wide && (has_zip64 || !is_narrow) {
        input.read_exact(&mut sizes)?;
        u64::from_le_bytes(sizes) == lens[1]
    } else {
        is_narrow && le_u32(&sizes, 0) == narrow[0]
    };
    Ok(is_right && u32::from_le_bytes(first) == crc)
}

/// The compressed data of a member: up to its stated length, and without one until the decoder
/// wants no more. The archive must not end within it.
struct MemberData<R> {
    input: R,
    left: Option<u64>,
    taken: u64,
}

impl<R: BufRead> BufRead for MemberData<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.left == Some(0) {
            return Ok(&[]);
        }
        let bytes = self.input.fill_buf()?;
        if bytes.is_empty() {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let len = self.left.map_or(bytes.len(), |left| {
            // OK to cast: no more than the length of a slice.
            left.min(bytes.len() as u64) as usize
        });
        Ok(&bytes[..len])
    }

    fn consume(&mut self, amount: usize) {
        self.input.consume(amount);
        self.taken = self.taken.saturating_add(amount as u64);
        self.left = self.left.map(|left| left.saturating_sub(amount as u64));
    }
}

impl<R: BufRead> Read for MemberData<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.fill_buf()?;
        let len = bytes.len().min(buffer.len());
        buffer[..len].copy_from_slice(&bytes[..len]);
        self.consume(len);
        Ok(len)
    }
}

#[cfg(test)]
mod tests {
    use super::descriptor_agrees;
    use crate::zip_layout::DATA_DESCRIPTOR;

    const CRC: u32 = 0x1234_5678;

    /// Checks that the descriptor of these parts is right for a member of these lengths, and that
    /// no byte of it is left over; and that any other byte in it is noticed.
    fn check(parts: &[&[u8]], lens: [u64; 2], has_zip64: bool) {
        let bytes = parts.concat();
        let mut rest = &bytes[..];
        assert!(descriptor_agrees(&mut rest, CRC, lens, has_zip64).unwrap());
        assert!(rest.is_empty());
        for position in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[position] ^= 0x40;
            let agrees = descriptor_agrees(&mut &damaged[..], CRC, lens, has_zip64);
            // One of the wrong shape may be longer than this one.
            assert!(!agrees.unwrap_or(false), "byte {position}");
        }
    }

    #[test]
    fn descriptors_of_all_shapes_are_compared() {
        let signature = DATA_DESCRIPTOR.to_le_bytes();
        let crc = CRC.to_le_bytes();
        for lens in [[7, 9], [(5 << 32) + 7, (6 << 32) + 9]] {
            let wide = lens.map(u64::to_le_bytes);
            let narrow = lens.map(|len: u64| (len as u32).to_le_bytes());
            check(&[&signature, &crc, &wide[0], &wide[1]], lens, true);
            check(&[&crc, &wide[0], &wide[1]], lens, true);
            check(&[&signature, &crc, &wide[0], &wide[1]], lens, false);
            check(&[&signature, &crc, &narrow[0], &narrow[1]], lens, false);
            check(&[&crc, &narrow[0], &narrow[1]], lens, false);
        }
    }
}
