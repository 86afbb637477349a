//! The view of a filesystem as it would be after its journal is replayed. The medium itself is
//! never touched: blocks that the log replaces are read from the log.

use cardkeep_block::{BlockError, ReadAt};

use crate::journal::{Replacement, Replay};

/// What an escaped block begins with once it is at home: the journal's own magic number.
const MAGIC_BYTES: [u8; 4] = [0xC0, 0x3B, 0x39, 0x98];

/// A filesystem's medium with its journal replayed in memory.
#[derive(Debug)]
pub struct Replayed<M> {
    inner: M,
    block_bytes: u64,
    replay: Replay,
}

impl<M> Replayed<M> {
    /// Returns the same view of another medium with the same content.
    pub(crate) fn onto<N>(self, medium: N) -> Replayed<N> {
        Replayed {
            inner: medium,
            block_bytes: self.block_bytes,
            replay: self.replay,
        }
    }
}

impl<M: ReadAt> Replayed<M> {
    pub(crate) fn new(inner: M, block_bytes: u32, replay: Replay) -> Self {
        Self {
            inner,
            block_bytes: u64::from(block_bytes),
            replay,
        }
    }

    /// Returns how many transactions were replayed.
    #[must_use]
    pub fn transaction_count(&self) -> u32 {
        self.replay.transaction_count
    }

    fn patch(&self, offset: u64, part: &mut [u8], with: Replacement) -> Result<(), BlockError> {
        let within = offset % self.block_bytes;
        self.inner
            .read_at(with.log_block * self.block_bytes + within, part)?;
        if with.is_escaped {
            for (index, byte) in MAGIC_BYTES.into_iter().enumerate() {
                if let Some(at) = (index as u64).checked_sub(within)
                    && let Some(target) = part.get_mut(at as usize)
                {
                    *target = byte;
                }
            }
        }
        Ok(())
    }
}

impl<M: ReadAt> ReadAt for Replayed<M> {
    fn len(&self) -> u64 {
        self.inner.len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), BlockError> {
        self.inner.read_at(offset, buffer)?;
        if self.replay.replacements.is_empty() {
            return Ok(());
        }
        let mut done = 0;
        while done < buffer.len() {
            let position = offset + done as u64;
            let left_in_block = self.block_bytes - position % self.block_bytes;
            let size = (buffer.len() - done).min(left_in_block as usize);
            let block = position / self.block_bytes;
            if let Some(&with) = self.replay.replacements.get(&block) {
                self.patch(position, &mut buffer[done..done + size], with)?;
            }
            done += size;
        }
        Ok(())
    }

    fn alignment(&self) -> usize {
        self.inner.alignment()
    }
}

#[cfg(test)]
mod tests {
    use super::Replayed;
    use crate::journal::{Replacement, Replay};
    use cardkeep_block::{MemoryMedium, ReadAt};

    #[test]
    fn replaced_and_escaped_blocks_are_served_at_any_cut() {
        let bytes: Vec<u8> = (0..64).collect();
        let medium = MemoryMedium::from_bytes(&bytes);
        let mut replay = Replay::default();
        replay.replacements.insert(
            1,
            Replacement {
                log_block: 3,
                is_escaped: true,
            },
        );
        let view = Replayed::new(&medium, 16, replay);
        let mut expected = bytes.clone();
        expected[16..32].copy_from_slice(&bytes[48..64]);
        expected[16..20].copy_from_slice(&[0xC0, 0x3B, 0x39, 0x98]);
        for start in 0..40 {
            for len in 0..20 {
                let got = view.read_vec(start as u64, len).unwrap();
                assert_eq!(got, expected[start..start + len]);
            }
        }
    }
}
