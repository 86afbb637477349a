//! Writes that only a card's cache holds: what a power cut takes back.

use cardkeep_block::{BlockError, BlockErrorKind, Operation, ReadWriteAt};

use crate::churn::Random;
use crate::fault::Unflushed;

/// What a card writes as a whole, in bytes: the unit of its interface (SD Physical Layer
/// Simplified Specification 4.3.4: blocks of 512 bytes).
const SECTOR_BYTES: u64 = 512;

/// The writes since the last flush, with what they replaced.
#[derive(Debug, Default)]
pub(crate) struct Volatile {
    writes: Vec<Write>,
    request: u64,
    is_cut: bool,
}

#[derive(Debug)]
struct Write {
    /// Pieces of one request share a number.
    request: u64,
    address: u64,
    old: Vec<u8>,
    new: Vec<u8>,
}

impl Volatile {
    /// Begins a request.
    ///
    /// # Errors
    /// [`BlockErrorKind::Gone`] after the cut: a request that was let in before it comes too late.
    pub(crate) fn begin(&mut self) -> Result<(), BlockError> {
        if self.is_cut {
            return Err(BlockError::new(BlockErrorKind::Gone, Operation::Write));
        }
        self.request += 1;
        Ok(())
    }

    /// Remembers a piece of the request that is about to be written to `medium`.
    ///
    /// # Errors
    /// What reading the old content reports.
    pub(crate) fn record(
        &mut self,
        medium: &impl ReadWriteAt,
        address: u64,
        new: &[u8],
    ) -> Result<(), BlockError> {
        self.writes.push(Write {
            request: self.request,
            address,
            old: medium.read_vec(address, new.len())?,
            new: new.to_vec(),
        });
        Ok(())
    }

    /// Forgets what a flush made durable.
    pub(crate) fn settle(&mut self) {
        self.writes.clear();
    }

    /// Brings the power back.
    pub(crate) fn restart(&mut self) {
        *self = Self::default();
    }

    /// Cuts the power: leaves on `medium` what `unflushed` says.
    ///
    /// # Errors
    /// What `medium` reports.
    pub(crate) fn cut(
        &mut self,
        medium: &impl ReadWriteAt,
        unflushed: Unflushed,
    ) -> Result<(), BlockError> {
        self.is_cut = true;
        // ORDER: all is taken back, the latest first, before anything is put there again. A
        // write that survives would otherwise vanish under the old content of one that doesn't.
        for write in self.writes.iter().rev() {
            medium.write_at(write.address, &write.old)?;
        }
        let mut survivors = Survivors::new(unflushed, self.request);
        for write in std::mem::take(&mut self.writes) {
            for (address, sector) in write.sectors() {
                if survivors.take(write.request) {
                    medium.write_at(address, sector)?;
                }
            }
        }
        Ok(())
    }
}

impl Write {
    /// Cuts the new bytes at the medium's sectors.
    fn sectors(&self) -> impl Iterator<Item = (u64, &[u8])> {
        let mut rest = &self.new[..];
        let mut address = self.address;
        std::iter::from_fn(move || {
            let size = (SECTOR_BYTES - address % SECTOR_BYTES).min(rest.len() as u64);
            let (sector, behind) = rest.split_at(size as usize);
            let found = (!sector.is_empty()).then_some((address, sector));
            rest = behind;
            address += size;
            found
        })
    }
}

/// Decides sector by sector what survives.
#[derive(Debug)]
enum Survivors {
    None,
    Before { last_request: u64, sectors: u64 },
    Some(Random),
}

impl Survivors {
    fn new(unflushed: Unflushed, last_request: u64) -> Self {
        match unflushed {
            Unflushed::Lost => Self::None,
            Unflushed::Torn { sectors } => Self::Before {
                last_request,
                sectors,
            },
            Unflushed::Scattered { seed } => Self::Some(Random::new(seed)),
        }
    }

    fn take(&mut self, request: u64) -> bool {
        match self {
            Self::None => false,
            Self::Before {
                last_request,
                sectors,
            } => {
                if request < *last_request {
                    return true;
                }
                let is_left = *sectors > 0;
                *sectors = sectors.saturating_sub(1);
                is_left
            }
            Self::Some(random) => random.below(2) == 1,
        }
    }
}
