//! What fitting a table starts from and what comes of it.

use cardkeep_block::{Extent, Patch};

use crate::{PartitionTable, Shift};

/// What turns a medium's table into that of a medium of another size.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fitted {
    /// The bytes that differ from the old medium's, in address order.
    pub patches: Vec<Patch>,
    /// The places of the old medium that hold nothing any more: those that a backup GPT moved
    /// away from. They may lie past the new medium's end, or in partitions that grew.
    pub stale: Vec<Extent>,
    /// The places of the new medium that hold its table, ordered and disjoint.
    pub metadata: Vec<Extent>,
}

/// The change of a table that the entries on the medium are to follow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change<'a> {
    pub(crate) old: &'a PartitionTable,
    pub(crate) new: &'a PartitionTable,
    /// How what lies on the medium moves.
    pub(crate) shift: Shift,
}
