//! The built-in sample card: a small Raspberry Pi card, so that anyone can try the program
//! without having one. What is free on it is filled with junk, as on a card that was used.

use std::sync::Arc;

use cardkeep_block::{BlockError, Extent, MemoryMedium, ReadAt, Silent, State, WriteAt};
use cardkeep_image::{FrameReader, load_index};
use cardkeep_survey::{Scope, survey};

use crate::error::{OpError, OpErrorKind};

/// Made by `lab/sample.sh` with the ordinary tools (sfdisk, mkfs.vfat, mke2fs) and this program.
const IMAGE: &[u8] = include_bytes!("../assets/sample.img.zst");
/// The size of the sample card in bytes.
pub const SAMPLE_BYTES: u64 = 128 << 20;
const STEP_BYTES: u64 = 1 << 20;

/// Writes the sample card onto a medium of [`SAMPLE_BYTES`].
///
/// # Errors
/// [`OpErrorKind::Medium`] where the medium fails.
pub fn write_sample(medium: &dyn WriteAt) -> Result<(), OpError> {
    let broken = |error: cardkeep_image::Error| {
        OpError::new(OpErrorKind::Internal, "the built-in sample card is damaged").caused_by(error)
    };
    let image = Arc::new(MemoryMedium::from_bytes(IMAGE));
    let index = load_index(&image).map_err(broken)?;
    let index = index.ok_or_else(|| {
        OpError::new(
            OpErrorKind::Internal,
            "the built-in sample card has no index",
        )
    })?;
    let card = FrameReader::new(image, index).map_err(broken)?;
    let learnt = survey(&card, 512, Scope::UsedOnly, &Silent);
    let mut junk = Junk(0x2545_F491_4F6C_DD1D);
    for run in learnt.map.runs() {
        fill(medium, &card, run.extent, run.state, &mut junk).map_err(|error| {
            OpError::new(OpErrorKind::Medium, "the sample card can't be written").caused_by(error)
        })?;
    }
    medium.flush().map_err(|error| {
        OpError::new(OpErrorKind::Medium, "the sample card can't be written").caused_by(error)
    })
}

fn fill(
    medium: &dyn WriteAt,
    card: &dyn ReadAt,
    extent: Extent,
    state: State,
    junk: &mut Junk,
) -> Result<(), BlockError> {
    let mut buffer = vec![0; STEP_BYTES as usize];
    let mut offset = extent.start();
    while offset < extent.end() {
        let size = STEP_BYTES.min(extent.end() - offset);
        let part = &mut buffer[..size as usize];
        match state {
            State::Used => card.read_at(offset, part)?,
            State::Zero => part.fill(0),
            State::Free => junk.fill(part),
        }
        medium.write_at(offset, part)?;
        offset += size;
    }
    Ok(())
}

/// Bytes that no compressor can shorten (Marsaglia's xorshift64).
struct Junk(u64);

impl Junk {
    fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            let word = self.0.to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
    }
}
