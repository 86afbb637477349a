//! Partition tables: where a medium's partitions lie, and which bytes the table itself takes.
//!
//! Reads MBR with its chains of logical partitions, GPT with both of its copies, and hybrids of
//! the two. Opens no files and writes nothing: it sees a medium through `ReadAt`, and what a
//! table needs to fit a medium of another size it answers as patches ([`fitted`],
//! [`fitted_with_shift`]).
//!
//! A table that contradicts itself or its medium is never half believed: [`load`] answers
//! [`Error::Corrupt`], which still holds what could be read, for showing only.

mod damage;
mod draft;
mod ebr;
mod error;
mod fault;
mod filesystem_sector;
mod fit;
mod fit_error;
mod fit_gpt;
mod fit_record;
mod fit_shifted;
mod fitted;
mod flaw;
mod gpt;
mod gpt_header;
mod guid;
mod kind;
mod loader;
mod mbr;
mod sectors;
mod shift;
mod table;
#[cfg(test)]
mod test_writer;

pub use damage::Damage;
pub use error::{Corrupt, Error, Unsupported};
pub use fit::{Resize, fitted, needed_len};
pub use fit_error::FitError;
pub use fit_shifted::fitted_with_shift;
pub use fitted::Fitted;
pub use guid::Guid;
pub use kind::Kind;
pub use loader::load;
pub use shift::Shift;
pub use table::{DiskId, Loaded, Partition, PartitionTable, Scheme};
