//! Where rescued bytes and the map of them are kept.

use cardkeep_block::BlockError;
use cardkeep_image::Mapfile;

use crate::destination::Destination;

/// Keeps what was read of a failing source until an image can be made of it, and longer: the next
/// run resumes from it.
///
/// The store and the mapfile together are what ddrescue calls output file and mapfile: every byte
/// that the mapfile calls finished is in the store, at its own place, and durable, unless nobody
/// wants it.
pub trait Shelf: Send + Sync {
    /// Returns the store. Asked for when the first byte has to be kept, which is never on a
    /// healthy source.
    ///
    /// # Errors
    /// What the system said.
    fn store(&self) -> Result<&dyn Destination, BlockError>;

    /// Puts `mapfile` in the place of the last one, so that a crash leaves one of them whole.
    ///
    /// # Errors
    /// What the system said.
    fn save(&self, mapfile: &Mapfile) -> Result<(), BlockError>;

    /// Puts the last mapfile there: the image is made, and lacks what this says.
    ///
    /// # Errors
    /// As [`Shelf::save`].
    fn finish(&self, mapfile: &Mapfile) -> Result<(), BlockError> {
        self.save(mapfile)
    }

    /// Tells whether there is a mapfile already, which must say in the end that nothing is missing.
    fn is_begun(&self) -> bool {
        false
    }

    /// Tells whether the store, which is `len` bytes long, has room for `bytes` in it beside an image of
    /// them. Where nothing failed, what is slow is put off only then.
    fn has_room(&self, len: u64, bytes: u64) -> bool;

    /// Tells whether the store is the image itself, which a raw one can be. Its mapfile is then
    /// written from the beginning on.
    fn is_image(&self) -> bool {
        false
    }
}
