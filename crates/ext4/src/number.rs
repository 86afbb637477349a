//! Numbers of the filesystem's parts.

/// The number of an inode, from 1.
pub type InodeNumber = u32;

/// The root directory.
pub(crate) const ROOT_INODE: InodeNumber = 2;
