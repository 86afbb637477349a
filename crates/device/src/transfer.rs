//! Positioned reads and writes of open files that survive interruption and short transfers.

use std::fs::File;
use std::io::{self, ErrorKind};

use cardkeep_block::{BlockError, BlockErrorKind, Extent, Operation};

/// What can be read by position: files, and in tests what behaves worse than files do.
pub(crate) trait ReadPart {
    /// Reads some bytes at `offset`; 0 means that there are none.
    fn read_part_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;
}

impl ReadPart for File {
    #[cfg(unix)]
    fn read_part_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(self, buffer, offset)
    }

    #[cfg(windows)]
    fn read_part_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        std::os::windows::fs::FileExt::seek_read(self, buffer, offset)
    }
}

/// Reads at `offset` until the first `needed` bytes of `buffer` are there; the rest of it may be
/// filled or not. Each further read starts at a multiple of `unit`, as direct I/O demands.
///
/// # Errors
/// What the system said, and [`BlockErrorKind::ShortRead`] where the medium ended before.
pub(crate) fn read_covering(
    file: &impl ReadPart,
    offset: u64,
    buffer: &mut [u8],
    needed: usize,
    unit: usize,
) -> Result<(), BlockError> {
    let mut done = 0;
    while done < needed {
        let at = offset + done as u64;
        let extent = Extent::between(at, at + (needed - done) as u64);
        let read = match file.read_part_at(at, &mut buffer[done..]) {
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(system_error(Operation::Read, error).at(extent)),
        };
        if done + read >= needed {
            break;
        }
        let whole = read - read % unit;
        if whole == 0 {
            let error = BlockError::new(BlockErrorKind::ShortRead, Operation::Read);
            return Err(error.at(extent));
        }
        done += whole;
    }
    Ok(())
}

/// Writes all of `data` at `offset`.
///
/// # Errors
/// What the system said; an unknown part may have been written.
pub(crate) fn write_all(file: &File, offset: u64, data: &[u8]) -> Result<(), BlockError> {
    let extent = Extent::between(offset, offset.saturating_add(data.len() as u64));
    write_parts(file, offset, data)
        .map_err(|error| system_error(Operation::Write, error).at(extent))
}

#[cfg(unix)]
fn write_parts(file: &File, offset: u64, data: &[u8]) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, data, offset)
}

#[cfg(windows)]
fn write_parts(file: &File, mut offset: u64, mut data: &[u8]) -> io::Result<()> {
    while !data.is_empty() {
        match std::os::windows::fs::FileExt::seek_write(file, data, offset) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => {
                offset += written as u64;
                data = &data[written..];
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Returns the ground floor's error for the system's.
pub(crate) fn system_error(operation: Operation, error: io::Error) -> BlockError {
    BlockError::from_io(operation, error)
}

#[cfg(test)]
mod tests {
    use super::{ReadPart, read_covering};
    use cardkeep_block::BlockErrorKind;
    use std::cell::RefCell;
    use std::io;

    /// Answers each read with the next scripted result and records where reads started.
    struct Scripted {
        answers: RefCell<Vec<io::Result<usize>>>,
        offsets: RefCell<Vec<u64>>,
    }

    impl ReadPart for Scripted {
        fn read_part_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
            self.offsets.borrow_mut().push(offset);
            let read = self.answers.borrow_mut().remove(0)?.min(buffer.len());
            buffer[..read].fill(offset as u8);
            Ok(read)
        }
    }

    fn check(
        answers: Vec<io::Result<usize>>,
        needed: usize,
        unit: usize,
    ) -> (Result<(), BlockErrorKind>, Vec<u64>) {
        let scripted = Scripted {
            answers: RefCell::new(answers),
            offsets: RefCell::default(),
        };
        let mut buffer = vec![0; needed.next_multiple_of(unit)];
        let result = read_covering(&scripted, 0, &mut buffer, needed, unit);
        (result.map_err(|e| e.kind()), scripted.offsets.into_inner())
    }

    fn os(number: i32) -> io::Result<usize> {
        Err(io::Error::from_raw_os_error(number))
    }

    #[test]
    fn an_interrupted_read_is_asked_again() {
        let answers = vec![Err(io::ErrorKind::Interrupted.into()), Ok(8)];
        assert_eq!(check(answers, 8, 1), (Ok(()), vec![0, 0]));
    }

    #[test]
    fn short_reads_go_on_where_they_ended() {
        assert_eq!(check(vec![Ok(3), Ok(5)], 8, 1), (Ok(()), vec![0, 3]));
    }

    #[test]
    fn a_short_direct_read_goes_on_at_a_sector() {
        let answers = vec![Ok(700), Ok(512)];
        assert_eq!(check(answers, 1024, 512), (Ok(()), vec![0, 512]));
    }

    #[test]
    fn the_end_of_the_medium_is_a_short_read() {
        let short = Err(BlockErrorKind::ShortRead);
        assert_eq!(check(vec![Ok(4), Ok(0)], 8, 1), (short, vec![0, 4]));
        assert_eq!(check(vec![Ok(100)], 512, 512), (short, vec![0]));
    }

    #[test]
    fn padding_past_the_end_of_a_file_is_not_missed() {
        assert_eq!(check(vec![Ok(100)], 100, 512), (Ok(()), vec![0]));
    }

    #[test]
    fn a_bad_sector_and_a_pulled_card_are_told_apart() {
        assert_eq!(check(vec![os(5)], 8, 1).0, Err(BlockErrorKind::Io));
        for gone in [6, 19] {
            assert_eq!(check(vec![os(gone)], 8, 1).0, Err(BlockErrorKind::Gone));
        }
        #[cfg(target_os = "linux")]
        assert_eq!(check(vec![os(123)], 8, 1).0, Err(BlockErrorKind::Gone));
    }
}
