//! squashfs 4.0, the read-only root of many appliances: what its superblock says.
//!
//! Reads only, through [`ReadAt`](cardkeep_block::ReadAt), and nothing but the superblock: what is
//! packed inside is not looked into, so that all of it is used.
//!
//! Facts are taken from the kernel's `fs/squashfs/squashfs_fs.h` (the fields and their names) and
//! `fs/squashfs/super.c` (which values a mount refuses), and from the behaviour of mksquashfs.

mod driver;
mod error;
mod filesystem;
mod superblock;

pub use driver::SquashfsDriver;
pub use error::{Corrupt, Error, Unsupported};
pub use filesystem::Squashfs;
pub use superblock::{Compression, SUPERBLOCK_BYTES, Superblock, probe};
