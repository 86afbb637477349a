//! FAT12, FAT16 and FAT32: what is allocated, whose it is, and single files.
//!
//! Reads only. Opens no files on the host: it sees the filesystem through `ReadAt`, whose first
//! byte is that of the boot sector. All facts are from Microsoft's "FAT: General Overview of
//! On-Disk Format" 1.03 (fatgen103), the field names included; where Linux deviates from it,
//! Linux is followed, since it wrote the cards.

mod boot_sector;
mod bpb;
mod chain;
mod directory;
mod driver;
mod entry_record;
mod error;
mod file;
mod filesystem;
mod geometry;
mod hidden_sectors;
mod kind;
mod map;
mod name;
mod owner;
mod table;
#[cfg(test)]
mod test_writer;

pub use boot_sector::probe;
pub use driver::FatDriver;
pub use error::{Corrupt, Error, Unsupported};
pub use filesystem::{FatFs, Info, head_bytes, stated_len};
pub use hidden_sectors::moved_hidden_sectors;
pub use kind::FatKind;
pub use owner::{Owner, OwnerKind};
