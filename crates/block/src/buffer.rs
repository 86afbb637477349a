//! Buffers that direct I/O accepts, from a bounded pool.

use std::sync::{Condvar, Mutex, PoisonError};

/// The address alignment of every buffer in bytes: the largest that block devices ask for.
pub const BUFFER_ALIGNMENT: usize = 4096;

/// A zeroed byte buffer whose address is a multiple of [`BUFFER_ALIGNMENT`].
///
/// The allocation is larger by one alignment and the bytes start at the first aligned address:
/// no `unsafe` is needed, and the allocation never moves.
#[derive(Debug)]
pub struct AlignedBuffer {
    storage: Box<[u8]>,
    skip: usize,
    len: usize,
}

impl AlignedBuffer {
    /// Returns a buffer of `len` zero bytes.
    #[must_use]
    pub fn new(len: usize) -> Self {
        Self::of(vec![0; len.saturating_add(BUFFER_ALIGNMENT)])
    }

    /// Returns a buffer of `len` zero bytes; `None` where there is no memory for it.
    #[must_use]
    pub fn try_new(len: usize) -> Option<Self> {
        let storage_bytes = len.checked_add(BUFFER_ALIGNMENT)?;
        let mut storage = Vec::new();
        storage.try_reserve_exact(storage_bytes).ok()?;
        storage.resize(storage_bytes, 0);
        Some(Self::of(storage))
    }

    /// Returns the buffer in `storage`, which is longer than it by one alignment.
    fn of(storage: Vec<u8>) -> Self {
        let len = storage.len() - BUFFER_ALIGNMENT;
        let storage = storage.into_boxed_slice();
        let skip = storage
            .as_ptr()
            .align_offset(BUFFER_ALIGNMENT)
            .min(BUFFER_ALIGNMENT);
        Self { storage, skip, len }
    }
}

impl std::ops::Deref for AlignedBuffer {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.storage[self.skip..self.skip + self.len]
    }
}

impl std::ops::DerefMut for AlignedBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.storage[self.skip..self.skip + self.len]
    }
}

/// A fixed number of buffers of one size: who wants one waits until one is given back. This is
/// what bounds the program's memory.
#[derive(Debug)]
pub struct BufferPool {
    state: Mutex<PoolState>,
    returned: Condvar,
    buffer_bytes: usize,
}

#[derive(Debug)]
struct PoolState {
    free: Vec<AlignedBuffer>,
    unmade: usize,
    closed: bool,
}

impl BufferPool {
    /// Returns a pool of `count` buffers of `buffer_bytes`, made when first wanted.
    #[must_use]
    pub fn new(count: usize, buffer_bytes: usize) -> Self {
        let state = PoolState {
            free: Vec::new(),
            unmade: count,
            closed: false,
        };
        Self {
            state: Mutex::new(state),
            returned: Condvar::new(),
            buffer_bytes,
        }
    }

    /// Returns a pool of `count` buffers of `buffer_bytes` that exist already: nobody who works with
    /// it will lack memory half-way. `None` where there is not enough.
    #[must_use]
    pub fn try_full(count: usize, buffer_bytes: usize) -> Option<Self> {
        let free: Option<Vec<AlignedBuffer>> = (0..count)
            .map(|_| AlignedBuffer::try_new(buffer_bytes))
            .collect();
        let own = Self::new(0, buffer_bytes);
        own.state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .free = free?;
        Some(own)
    }

    /// Returns a buffer, waiting for one; `None` once the pool is closed. Its content is whatever
    /// the last user left.
    #[must_use]
    pub fn take(&self) -> Option<AlignedBuffer> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if state.closed {
                return None;
            }
            if let Some(buffer) = state.free.pop() {
                return Some(buffer);
            }
            if state.unmade > 0 {
                state.unmade -= 1;
                return Some(AlignedBuffer::new(self.buffer_bytes));
            }
            state = self
                .returned
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Gives a buffer back.
    pub fn give_back(&self, buffer: AlignedBuffer) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.closed {
            state.free.push(buffer);
            self.returned.notify_one();
        }
    }

    /// Ends all waiting: every [`BufferPool::take`] answers `None` from now on. The buffers'
    /// memory is given back to the system.
    pub fn close(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.closed = true;
        state.free = Vec::new();
        self.returned.notify_all();
    }

    #[cfg(test)]
    fn free_count(&self) -> usize {
        self.state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .free
            .len()
    }
}

#[cfg(test)]
mod tests {
    use super::{AlignedBuffer, BUFFER_ALIGNMENT, BufferPool};

    #[test]
    fn buffers_are_aligned_and_of_their_size() {
        for len in [0, 1, 4096, 5000] {
            let buffer = AlignedBuffer::new(len);
            assert_eq!(buffer.len(), len);
            assert_eq!(buffer.as_ptr() as usize % BUFFER_ALIGNMENT, 0);
        }
    }

    #[test]
    fn a_pool_never_makes_more_than_its_count() {
        let pool = BufferPool::new(1, 8);
        let buffer = pool.take().unwrap();
        std::thread::scope(|scope| {
            let second = scope.spawn(|| pool.take().map(|b| b[0]));
            let mut buffer = buffer;
            buffer[0] = 7;
            pool.give_back(buffer);
            assert_eq!(second.join().unwrap(), Some(7));
        });
        pool.close();
        assert!(pool.take().is_none());
    }

    #[test]
    fn a_full_pool_has_its_buffers_or_says_that_there_is_no_memory() {
        let pool = BufferPool::try_full(2, 8).unwrap();
        assert_eq!(pool.free_count(), 2);
        assert_eq!(pool.take().unwrap().len(), 8);
        assert!(BufferPool::try_full(1, usize::MAX / 2).is_none());
        assert!(BufferPool::try_full(1, usize::MAX).is_none());
    }

    #[test]
    fn a_closed_pool_keeps_no_memory() {
        let pool = BufferPool::new(2, 8);
        let (one, two) = (pool.take().unwrap(), pool.take().unwrap());
        pool.give_back(one);
        assert_eq!(pool.free_count(), 1);
        pool.close();
        pool.give_back(two);
        assert_eq!(pool.free_count(), 0);
    }
}
