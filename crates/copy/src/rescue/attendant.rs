//! Who waits for a source that vanishes while it is rescued.

/// Waits for a source that vanishes, and tells how often it came back. Cards do, when a reader is reset
/// or a plug was loose.
pub trait Attendant: Send + Sync {
    /// Waits for a source that fails everywhere, whatever errors it gives; answers whether it is there again.
    fn come_back(&self) -> bool;

    /// Returns how often it came back so far: what failed just before that says nothing of its places.
    fn return_count(&self) -> u64;
}

/// Nobody: what is gone is gone.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unattended;

impl Attendant for Unattended {
    fn come_back(&self) -> bool {
        false
    }

    fn return_count(&self) -> u64 {
        0
    }
}
