//! What there is to tell of a source that may fail, however its copy ended.

use cardkeep_block::Extent;

use crate::rescue::health::Health;

/// What there is to tell of a source, however the copy ended.
#[derive(Clone, Debug)]
pub struct RescueReport {
    /// Used bytes that could not be read, in address order.
    pub lost: Vec<Extent>,
    /// How well it reads.
    pub health: Health,
}

impl RescueReport {
    /// Returns what there is to tell of a medium of `len` bytes that was not read.
    pub(crate) fn nothing(len: u64) -> Self {
        Self {
            lost: Vec::new(),
            health: Health::new(len),
        }
    }
}
