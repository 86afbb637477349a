//! How long a filesystem says it is: it may be longer than its partition, where a resize stopped
//! half way or a partition was made anew too short.

use cardkeep_block::ReadAt;

use crate::{drivers, signature};

/// Returns the length in bytes that the filesystem at the beginning of `medium` states; `None` where
/// it is not known. The number is not checked against anything.
pub(crate) fn stated_len(medium: &dyn ReadAt) -> Option<u64> {
    match drivers::at_beginning(medium) {
        Some(driver) => driver.stated_len(medium),
        None => (signature::find(medium)?.stated_len)(medium),
    }
}
