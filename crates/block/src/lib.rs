//! The ground floor of cardkeep: what a medium is, and which of its bytes matter.
//!
//! Everything above talks about media through [`ReadAt`] and about their content through
//! [`AllocationMap`]. This crate opens no files, spawns no threads and reads no clock.

mod buffer;
mod bytes;
mod cached;
mod causes;
mod error;
mod extent;
mod filesystem;
mod lossy;
mod map;
mod medium;
mod memory;
mod monitor;
mod patch;
mod patched;
mod path_text;
mod rescue_map;
mod size;
mod slice;
mod structure;

pub use buffer::{AlignedBuffer, BUFFER_ALIGNMENT, BufferPool};
pub use bytes::{be_u16, be_u32, be_u64, le_u16, le_u32, le_u64};
pub use cached::Cached;
pub use causes::{causes, with_causes};
pub use error::{BlockError, BlockErrorKind, Operation};
pub use extent::Extent;
pub use filesystem::{
    Behind, Driver, DriverError, Files, Filesystem, FsSummary, Owner, Resizer, Step, Streaming,
    StreamingMap,
};
pub use lossy::Lossy;
pub use map::{AllocationMap, MapBuilder, Run, State};
pub use medium::{MEDIUM_BYTES_MAX, ReadAt, ReadWriteAt, WriteAt};
pub use memory::MemoryMedium;
pub use monitor::{Monitor, Phase, Silent, Trouble};
pub use patch::{Patch, Patches};
pub use patched::Patched;
pub use path_text::{PathText, path_text};
pub use rescue_map::{RescueMap, RescueRun, RescueStatus};
pub use size::size_text;
pub use slice::Slice;
pub use structure::Structure;
