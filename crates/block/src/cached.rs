//! Small reads of metadata served from few larger ones.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use crate::{BlockError, ReadAt};

/// A card answers a read of 512 bytes as slowly as one of this size (measured on USB readers by
/// flashbench's authors); more would read data nobody asked for.
const PAGE_BYTES: u64 = 16 * 1024;
const PAGES_MAX: usize = 512;
/// Requests at least this long gain nothing from the cache and pass it by.
const BYPASS_BYTES: usize = 4 * PAGE_BYTES as usize;

/// The view of a medium that keeps the pages read last (8 MiB at the most).
#[derive(Debug)]
pub struct Cached<M> {
    inner: M,
    pages: Mutex<Pages>,
}

#[derive(Debug, Default)]
struct Pages {
    by_index: HashMap<u64, Box<[u8]>>,
    oldest_first: VecDeque<u64>,
    bytes_read: u64,
}

impl<M: ReadAt> Cached<M> {
    /// Returns the view of `inner`, with nothing cached.
    #[must_use]
    pub fn new(inner: M) -> Self {
        Self {
            inner,
            pages: Mutex::default(),
        }
    }

    /// Returns the number of bytes asked of the medium below so far.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.pages
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .bytes_read
    }

    fn load(&self, index: u64) -> Result<Box<[u8]>, BlockError> {
        let start = index * PAGE_BYTES;
        let len = PAGE_BYTES.min(self.inner.len() - start) as usize;
        let mut page = vec![0; len].into_boxed_slice();
        self.inner.read_at(start, &mut page)?;
        Ok(page)
    }
}

impl<M: ReadAt> ReadAt for Cached<M> {
    fn len(&self) -> u64 {
        self.inner.len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), BlockError> {
        let extent = self.bounded(offset, buffer.len())?;
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        if buffer.len() >= BYPASS_BYTES {
            pages.bytes_read += buffer.len() as u64;
            drop(pages);
            return self.inner.read_at(offset, buffer);
        }
        let mut position = offset;
        while position < extent.end() {
            let index = position / PAGE_BYTES;
            if !pages.by_index.contains_key(&index) {
                let page = match self.load(index) {
                    Ok(page) => page,
                    // One bad sector must not spoil its neighbours: ask for just what is wanted.
                    Err(_) => return self.inner.read_at(offset, buffer),
                };
                pages.bytes_read += page.len() as u64;
                if pages.oldest_first.len() == PAGES_MAX
                    && let Some(oldest) = pages.oldest_first.pop_front()
                {
                    pages.by_index.remove(&oldest);
                }
                pages.oldest_first.push_back(index);
                pages.by_index.insert(index, page);
            }
            let page = &pages.by_index[&index];
            let within = (position - index * PAGE_BYTES) as usize;
            let done = (position - offset) as usize;
            let size = (page.len() - within).min(buffer.len() - done);
            buffer[done..done + size].copy_from_slice(&page[within..within + size]);
            position += size as u64;
        }
        Ok(())
    }

    fn alignment(&self) -> usize {
        self.inner.alignment()
    }
}

#[cfg(test)]
mod tests {
    use super::{Cached, PAGE_BYTES, PAGES_MAX};
    use crate::{MemoryMedium, ReadAt, WriteAt};

    #[test]
    fn cached_reads_equal_direct_ones_across_eviction() {
        let len = PAGE_BYTES * (PAGES_MAX as u64 + 8) + 100;
        let medium = MemoryMedium::new(len);
        for i in 0..len / 1000 {
            medium.write_at(i * 1000, &i.to_le_bytes()).unwrap();
        }
        let cached = Cached::new(&medium);
        for offset in (0..len - 3000).step_by(2777) {
            assert_eq!(
                cached.read_vec(offset, 3000).unwrap(),
                medium.read_vec(offset, 3000).unwrap()
            );
        }
        assert_eq!(
            cached.read_vec(len - 10, 10).unwrap(),
            medium.read_vec(len - 10, 10).unwrap()
        );
        assert!(cached.read_vec(len - 10, 11).is_err());
        assert!(cached.bytes_read() <= len);
    }
}
