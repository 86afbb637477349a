//! What follows a compressed image that is whole: padding, or the metadata that builders of
//! firmware append (OpenWrt's fwtool). gzip and bzip2 ignore all of it, and with it the rest of a
//! file whose middle is damaged; here it is taken only where it can't be that.

use std::io::{self, BufRead, Read};

use crate::StreamNotes;
use crate::stream_error::damaged;

/// fwtool's metadata and signatures are a few KiB.
const METADATA_BYTES_MAX: u64 = 64 * 1024;

/// Passes over what follows the last of `pieces_count` pieces of a container, whose pieces begin
/// with `magic`.
///
/// Zeros may follow in any number. Anything else is noted where it is short and follows a single
/// piece, and has no beginning of another one in it.
///
/// # Errors
/// Where it may be the rest of a damaged image, at the offset where it begins; as the reader.
pub(crate) fn pass_over(
    reader: &mut impl BufRead,
    pieces_count: u64,
    magic: &[u8],
    notes: &StreamNotes,
) -> io::Result<()> {
    let zeros = skip_zeros(reader)?;
    if reader.fill_buf()?.is_empty() {
        return Ok(());
    }
    if pieces_count != 1 {
        return Err(follows());
    }
    let mut rest = Vec::new();
    // A look at the buffer first: an error is told where what follows begins.
    let ahead = reader.fill_buf()?;
    if ahead.len() as u64 > METADATA_BYTES_MAX || has_piece(ahead, magic) {
        return Err(follows());
    }
    (&mut *reader)
        .take(METADATA_BYTES_MAX + 1)
        .read_to_end(&mut rest)?;
    if rest.len() as u64 > METADATA_BYTES_MAX || has_piece(&rest, magic) {
        return Err(follows());
    }
    notes.add(format!(
        "{} bytes behind the compressed image are left out: its own length and checksum are right",
        zeros + rest.len() as u64
    ));
    Ok(())
}

fn has_piece(bytes: &[u8], magic: &[u8]) -> bool {
    bytes.windows(magic.len()).any(|part| part == magic)
}

fn follows() -> io::Error {
    damaged("something else follows the compressed image")
}

/// Reads all zeros that come next, and returns how many there were.
///
/// # Errors
/// As the reader.
pub(crate) fn skip_zeros(reader: &mut impl BufRead) -> io::Result<u64> {
    let mut count = 0;
    loop {
        let bytes = reader.fill_buf()?;
        let zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
        let is_over = zeros < bytes.len() || bytes.is_empty();
        reader.consume(zeros);
        count += zeros as u64;
        if is_over {
            return Ok(count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::pass_over;
    use crate::StreamNotes;

    fn pass(bytes: &[u8], pieces_count: u64) -> Result<Vec<String>, String> {
        let notes = StreamNotes::default();
        let mut reader = std::io::BufReader::with_capacity(1 << 17, bytes);
        pass_over(&mut reader, pieces_count, b"\x1f\x8b\x08", &notes)
            .map(|()| notes.all())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn zeros_are_padding_and_metadata_is_noted() {
        assert!(pass(b"", 3).unwrap().is_empty());
        assert!(pass(&[0; 300_000], 3).unwrap().is_empty());
        let notes = pass(b"\0\0{ \"metadata_version\": \"1.1\" }\nFWx0", 1).unwrap();
        assert!(notes[0].starts_with("36 bytes"), "{notes:?}");
    }

    #[test]
    fn what_may_be_the_rest_of_a_damaged_image_is_refused() {
        pass(b"metadata", 2).unwrap_err();
        pass(b"xx\x1f\x8b\x08yy", 1).unwrap_err();
        pass(&[7; 65_537], 1).unwrap_err();
        pass(&[7; 300_000], 1).unwrap_err();
    }
}
