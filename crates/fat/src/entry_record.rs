//! The record of a directory entry, as it is stored.

/// The length of a record.
pub(crate) const ENTRY_BYTES: usize = 32;

/// An entry with a short name, or a part of a long name.
pub(crate) type EntryRecord = [u8; ENTRY_BYTES];
