//! The SHA-256 of what comes from a pipe: known when all of it has come, before the card gets its head.

use std::io::{self, Read};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cardkeep_copy::CopyError;
use sha2::{Digest, Sha256};

use crate::checksum::{Checksum, hex_text};

/// A pipe, and the sum of what has come out of it.
struct Summed<R> {
    reader: R,
    sum: Sha256,
}

/// A pipe whose bytes are summed, shared by the decoder that reads it and by the [`SummedContent`].
pub(crate) struct SummedPipe<R>(Arc<Mutex<Summed<R>>>);

impl<R: Read> SummedPipe<R> {
    pub(crate) fn new(reader: R) -> Self {
        let sum = Sha256::new();
        Self(Arc::new(Mutex::new(Summed { reader, sum })))
    }

    pub(crate) fn share(&self) -> Self {
        Self(Arc::clone(&self.0))
    }

    fn lock(&self) -> MutexGuard<'_, Summed<R>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads what no decoder asked for, and returns the digits of all of it.
    fn finish(&self) -> io::Result<String> {
        io::copy(&mut self.share(), &mut io::sink())?;
        Ok(hex_text(&self.lock().sum.finalize_reset()))
    }
}

impl<R: Read> Read for SummedPipe<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut summed = self.lock();
        let len = summed.reader.read(buffer)?;
        summed.sum.update(&buffer[..len]);
        Ok(len)
    }
}

/// What a pipe holds, decoded: its end is an error unless the pipe or its content has the checksum.
pub(crate) struct SummedContent<R, C> {
    pub(crate) pipe: SummedPipe<R>,
    pub(crate) content: C,
    pub(crate) stated: Checksum,
    sum: Sha256,
    is_right: bool,
}

impl<R: Read, C: Read> SummedContent<R, C> {
    pub(crate) fn new(pipe: SummedPipe<R>, content: C, stated: Checksum) -> Self {
        Self {
            pipe,
            content,
            stated,
            sum: Sha256::new(),
            is_right: false,
        }
    }

    fn check(&mut self) -> io::Result<()> {
        let of_pipe = self.pipe.finish()?;
        let of_content = hex_text(&self.sum.finalize_reset());
        let expected = self.stated.digits();
        if expected == of_pipe || expected == of_content {
            self.is_right = true;
            return Ok(());
        }
        let what = format!(
            "expected {expected}, found {of_pipe} of what came and {of_content} of its content"
        );
        Err(io::Error::other(CopyError::Checksum(what)))
    }
}

impl<R: Read, C: Read> Read for SummedContent<R, C> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.content.read(buffer)?;
        self.sum.update(&buffer[..len]);
        if len == 0 && !buffer.is_empty() && !self.is_right {
            self.check()?;
        }
        Ok(len)
    }
}

#[cfg(test)]
mod tests {
    use super::{SummedContent, SummedPipe};
    use crate::checksum::Checksum;
    use std::io::Read;
    use std::path::Path;

    /// SHA-256 of "abc": FIPS 180-4's example.
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn read(bytes: &'static [u8], content_len: u64) -> std::io::Result<Vec<u8>> {
        let stated = Checksum::of(Path::new("pipe"), Some(ABC)).unwrap().unwrap();
        let pipe = SummedPipe::new(bytes);
        let content = pipe.share().take(content_len);
        let mut all = Vec::new();
        SummedContent::new(pipe, content, stated).read_to_end(&mut all)?;
        Ok(all)
    }

    #[test]
    fn the_end_of_a_pipe_is_an_error_unless_it_or_its_content_has_the_checksum() {
        assert_eq!(read(b"abc", 9).unwrap(), b"abc");
        // What follows the content belongs to the pipe alone.
        assert_eq!(read(b"abcdef", 3).unwrap(), b"abc");
        assert_eq!(read(b"abc", 2).unwrap(), b"ab");
        let error = read(b"abd", 9).unwrap_err();
        assert!(error.to_string().contains(ABC), "{error}");
        read(b"abcd", 9).unwrap_err();
    }
}
