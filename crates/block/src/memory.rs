//! A medium in memory, sparse by pages: small cards for tests and the built-in sample card.

use std::collections::BTreeMap;
use std::sync::RwLock;

use crate::{BlockError, BlockErrorKind, Extent, Operation, ReadAt, WriteAt};

const PAGE_BYTES: usize = 4096;

/// A medium in memory. Pages never written read as zero and take no room, so that a card of
/// 1 TB can be tested.
#[derive(Debug, Default)]
pub struct MemoryMedium {
    len: u64,
    pages: RwLock<BTreeMap<u64, Box<[u8]>>>,
}

impl MemoryMedium {
    /// Returns a medium of `len` zero bytes.
    #[must_use]
    pub fn new(len: u64) -> Self {
        Self {
            len,
            pages: RwLock::default(),
        }
    }

    /// Returns a medium that holds `bytes`.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let medium = Self::new(bytes.len() as u64);
        for (index, page) in bytes.chunks(PAGE_BYTES).enumerate() {
            if page.iter().any(|&byte| byte != 0) {
                medium.with_page(index as u64, |own| own[..page.len()].copy_from_slice(page));
            }
        }
        medium
    }

    /// Returns all bytes. For media that fit memory.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(self.len).unwrap_or(0)];
        self.fill(0, &mut bytes);
        bytes
    }

    fn with_page(&self, index: u64, change: impl FnOnce(&mut [u8])) {
        // A poisoned lock means a test panicked while writing: its bytes are still bytes.
        let mut pages = self
            .pages
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        change(
            pages
                .entry(index)
                .or_insert_with(|| vec![0; PAGE_BYTES].into_boxed_slice()),
        );
    }

    fn fill(&self, offset: u64, buffer: &mut [u8]) {
        let pages = self
            .pages
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        for (index, within, part) in page_parts(offset, buffer.len()) {
            let target = &mut buffer[part.clone()];
            match pages.get(&index) {
                Some(page) => target.copy_from_slice(&page[within..within + part.len()]),
                None => target.fill(0),
            }
        }
    }
}

/// Cuts a request into page index, offset within the page, and range of the request's buffer.
fn page_parts(
    offset: u64,
    len: usize,
) -> impl Iterator<Item = (u64, usize, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done == len {
            return None;
        }
        let position = offset + done as u64;
        let within = (position % PAGE_BYTES as u64) as usize;
        let size = (PAGE_BYTES - within).min(len - done);
        let part = (position / PAGE_BYTES as u64, within, done..done + size);
        done += size;
        Some(part)
    })
}

impl ReadAt for MemoryMedium {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), BlockError> {
        self.bounded(offset, buffer.len())?;
        self.fill(offset, buffer);
        Ok(())
    }
}

impl WriteAt for MemoryMedium {
    fn write_at(&self, offset: u64, data: &[u8]) -> Result<(), BlockError> {
        let extent = Extent::new(offset, data.len() as u64).filter(|e| e.end() <= self.len);
        if extent.is_none() {
            return Err(BlockError::new(
                BlockErrorKind::OutOfBounds,
                Operation::Write,
            ));
        }
        for (index, within, part) in page_parts(offset, data.len()) {
            self.with_page(index, |page| {
                page[within..within + part.len()].copy_from_slice(&data[part]);
            });
        }
        Ok(())
    }

    fn flush(&self) -> Result<(), BlockError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::MemoryMedium;
    use crate::{BlockErrorKind, ReadAt, WriteAt};

    #[test]
    fn what_is_written_across_pages_is_read_back() {
        let medium = MemoryMedium::new(20_000);
        let data: Vec<u8> = (0..9000u32).map(|i| i as u8).collect();
        medium.write_at(4000, &data).unwrap();
        let mut expected = vec![0; 20_000];
        expected[4000..13_000].copy_from_slice(&data);
        assert_eq!(medium.to_vec(), expected);
        assert_eq!(MemoryMedium::from_bytes(&expected).to_vec(), expected);
    }

    #[test]
    fn reading_past_the_end_is_out_of_bounds() {
        let error = MemoryMedium::new(10).read_at(8, &mut [0; 3]).unwrap_err();
        assert_eq!(error.kind(), BlockErrorKind::OutOfBounds);
        assert!(MemoryMedium::new(10).write_at(8, &[0; 3]).is_err());
    }
}
