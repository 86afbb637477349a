//! A kind of filesystem: how it is found, and opened.

use std::fmt::Debug;

use super::error::DriverError;
use super::opened::Filesystem;
use super::streaming::{Streaming, StreamingMap};
use crate::extent::Extent;
use crate::medium::ReadAt;

/// One kind of filesystem. Nothing that a medium says makes a driver panic, loop, or take memory
/// without bound.
pub trait Driver: Debug + Send + Sync {
    /// Returns what messages call the kind: `ext`, `FAT`.
    fn name(&self) -> &'static str;

    /// Tells whether `medium` begins with a filesystem of this kind, damaged or not. Reads its
    /// first bytes only; what can't be read is none.
    fn probe(&self, medium: &dyn ReadAt) -> bool;

    /// Tells whether `medium` holds one whose beginning can't be read, by what lies elsewhere.
    fn probe_remains(&self, medium: &dyn ReadAt) -> bool {
        let _ = medium;
        false
    }

    /// Returns the length in bytes that the filesystem states, checked against nothing: the medium
    /// may be shorter. `None` where it states none.
    fn stated_len(&self, medium: &dyn ReadAt) -> Option<u64> {
        let _ = medium;
        None
    }

    /// Returns how long a medium without partitions has to be to hold the whole filesystem, in
    /// bytes. `open` is that medium, with endless room behind its end in which nothing can be read.
    fn whole_len(&self, open: &dyn ReadAt) -> Option<u64> {
        // What can't be opened is copied as it is, and lacks nothing that is known.
        self.open(open).ok()?;
        self.stated_len(open)
    }

    /// Opens the filesystem on `medium`.
    ///
    /// # Errors
    /// Of the driver's crate: the medium failed, the filesystem is damaged or not supported. All of
    /// the medium is used then.
    fn open<'m>(&self, medium: &'m dyn ReadAt) -> Result<Box<dyn Filesystem + 'm>, DriverError>;

    /// Returns what has to come by for the allocation map to be known, of a filesystem whose first
    /// 72 KiB can be read from `head`.
    fn streaming(&self, head: &dyn ReadAt) -> Streaming {
        let _ = head;
        Streaming::Head
    }

    /// Begins to learn the allocation map of a filesystem that passes by, where
    /// [`Driver::streaming`] said that it takes steps.
    ///
    /// # Errors
    /// As [`Driver::open`].
    fn streaming_map(&self, head: &dyn ReadAt) -> Result<Box<dyn StreamingMap>, DriverError> {
        let _ = head;
        Err("it can't be learnt step by step".into())
    }

    /// Returns where the names of files lie, where the kernel replaces a file without a trace at the
    /// filesystem's beginning: what tells whether it was used since. In bytes of `medium`.
    fn silent_places(&self, medium: &dyn ReadAt) -> Vec<Extent> {
        let _ = medium;
        Vec::new()
    }

    /// Tells whether [`Filesystem::files`] may find the root of an operating system.
    fn holds_systems(&self) -> bool {
        false
    }

    /// Returns what makes filesystems of this kind smaller and larger; `None` where nothing does.
    fn resizer(&self) -> Option<Resizer> {
        None
    }
}

impl PartialEq for dyn Driver {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Eq for dyn Driver {}

/// What makes filesystems smaller and larger. It stands above the formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Resizer {
    /// The resizer of ext2, ext3 and ext4.
    Ext,
}
