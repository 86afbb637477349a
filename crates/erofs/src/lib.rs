//! erofs, the read-only root of many appliances and phones: what its superblock says.
//!
//! Reads only, through [`ReadAt`](cardkeep_block::ReadAt), and nothing but the first block: what is
//! inside is not looked into, so that all of it is used.
//!
//! Facts are taken from the kernel's `fs/erofs/erofs_fs.h` (the fields and their names) and
//! `fs/erofs/super.c` (the checksum, and which values a mount refuses).

mod driver;
mod error;
mod filesystem;
mod superblock;

pub use driver::ErofsDriver;
pub use error::{Corrupt, Error, Unsupported};
pub use filesystem::Erofs;
pub use superblock::{SUPERBLOCK_OFFSET, Superblock, probe};
