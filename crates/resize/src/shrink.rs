//! ext2, ext3 and ext4 made smaller: a plan, and a view that is the smaller filesystem.
//!
//! ```text
//!   source   |SGGBBII ddd..d..|BBII.. dd.d...|S ...... ddd ......|
//!                                    cut ^        |
//!   view     |SGGBBII dddDDdDD|BBII..Ddd.d|   <---+   nothing is written anywhere
//! ```
//!
//! [`plan`] reads all inodes and their trees, checks them against the bitmaps to the last block,
//! and finds room below the cut for what lies above. [`ShrinkPlan::view`] then answers reads: data
//! comes from where it is on the source; blocks that name places or inode numbers are computed
//! when they are read, by the list of moves. So the plan stays small: no block is kept but those
//! of trees that had to be built anew.
//!
//! What can't be done safely is [`Declined`] before anything starts: see [`plan`].

mod attempt;
mod bits;
mod census;
mod descriptors;
mod directories;
mod file_map;
mod geometry;
mod header;
mod inode_record;
mod layout;
mod map;
mod numbers;
mod orphans;
mod rebuild;
mod relocation;
mod resize_inode;
mod rewrite;
mod size;
mod tally;
mod view;

use std::sync::{Arc, Mutex, PoisonError};

use cardkeep_block::{AllocationMap, Monitor, Phase, ReadAt, Trouble};
use cardkeep_ext4::{Ext4, Sealer, Superblock};

use crate::declined::Declined;
use crate::inconsistent::InconsistentKind;
use attempt::{Attempt, Outcome};
use census::Enumerator;
use descriptors::Descriptors;
use header::Header;
use layout::Layout;
use size::Sizes;
use tally::{Census, Cut};

pub use view::ShrunkView;

/// How often a size is raised because something did not fit after all.
const ATTEMPTS_MAX: u32 = 24;

/// How small it should get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// As small as can be, and so many thousandths more.
    Smallest {
        /// Of the smallest size.
        margin_per_mille: u32,
    },
    /// At most so many blocks; up to the metadata of one group fewer where they would cut it.
    Blocks(u64),
}

/// A filesystem of fewer blocks, laid out.
#[derive(Clone)]
pub struct ShrinkPlan {
    layout: Arc<Layout>,
    map: AllocationMap,
}

impl ShrinkPlan {
    /// Returns the number of blocks that there will be.
    #[must_use]
    pub fn block_count(&self) -> u64 {
        self.layout.new.block_count
    }

    /// Returns the size of a block, in bytes.
    #[must_use]
    pub fn block_bytes(&self) -> u32 {
        self.layout.new.block_bytes
    }

    /// Returns the length of the view, in bytes.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a filesystem is never empty")]
    pub fn len(&self) -> u64 {
        self.layout.len()
    }

    /// Returns the number of blocks that will be free.
    #[must_use]
    pub fn free_block_count(&self) -> u64 {
        let first = u64::from(self.layout.new.first_data_block);
        let in_use = self.layout.blocks.count(first, self.block_count());
        self.block_count() - first - in_use
    }

    /// Returns the number of blocks that move.
    #[must_use]
    pub fn moved_block_count(&self) -> u64 {
        self.layout.moves.block_count()
    }

    /// Returns the number of inodes that get another number.
    #[must_use]
    pub fn renumbered_inode_count(&self) -> usize {
        self.layout.numbers.count()
    }

    /// Returns the number of files that are scattered over more extents than before.
    #[must_use]
    pub fn split_file_count(&self) -> usize {
        self.layout.trees.len()
    }

    /// Returns the map of the view's whole length.
    #[must_use]
    pub const fn allocation_map(&self) -> &AllocationMap {
        &self.map
    }

    /// Returns the smaller filesystem. `medium` must be the one that the plan was made from,
    /// unchanged; a read that finds otherwise fails, as far as that can be told.
    pub fn view<M: ReadAt>(&self, medium: M) -> ShrunkView<M> {
        ShrunkView::new(medium, Arc::clone(&self.layout))
    }
}

/// In numbers: bitmaps and lists of moves help nobody.
impl std::fmt::Debug for ShrinkPlan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ShrinkPlan")
            .field("block_count", &self.block_count())
            .field("free_block_count", &self.free_block_count())
            .field("moved_block_count", &self.moved_block_count())
            .field("renumbered_inode_count", &self.renumbered_inode_count())
            .field("split_file_count", &self.split_file_count())
            .finish_non_exhaustive()
    }
}

/// Plans to make `fs` smaller. Reads its bitmaps, its inodes in use and their trees; directories
/// too where inodes get other numbers.
///
/// # Errors
/// [`Declined::Inconsistent`] for a filesystem that was not unmounted or whose bitmaps disagree
/// with its inodes in any block; [`Declined::Unsupported`] for shared_blocks, an external journal,
/// bad blocks, a last cluster that is cut short, a resize inode beside meta block groups, a
/// first meta block group behind the end, any unknown feature, quotas where a file has to be split, and more pieces to move than memory
/// bears; [`Declined::Impossible`] for a size that does not do, also where inodes must keep their
/// numbers (encryption, inline data, ea_inode, stable_inodes).
pub fn plan<M: ReadAt>(
    fs: &Ext4<M>,
    wanted: Wanted,
    monitor: &dyn Monitor,
) -> Result<ShrinkPlan, Declined> {
    let medium = fs.medium();
    let old = Superblock::load(medium)?;
    let header = Header::load(medium, &old)?;
    header.check(&old)?;
    let listener = Listener {
        monitor,
        heard: Mutex::new(None),
    };
    let source = fs.allocation_map(&listener)?;
    let heard = listener.heard.into_inner();
    if let Some(what) = heard.unwrap_or_else(PoisonError::into_inner) {
        return Err(InconsistentKind::Mapping(what).into());
    }
    let descriptors = Descriptors::load(medium, &old)?;
    let sizes = Sizes::new(&old, &descriptors);
    let planner = Planner {
        medium,
        old: &old,
        header: &header,
        descriptors: &descriptors,
        sizes: &sizes,
        wanted,
        monitor,
    };
    let layout = planner.layout()?;
    let map = map::allocation_map(&layout, &source);
    Ok(ShrinkPlan {
        layout: Arc::new(layout),
        map,
    })
}

struct Planner<'a, M> {
    medium: &'a M,
    old: &'a Superblock,
    header: &'a Header,
    descriptors: &'a Descriptors,
    sizes: &'a Sizes<'a>,
    wanted: Wanted,
    monitor: &'a dyn Monitor,
}

impl<M: ReadAt> Planner<'_, M> {
    fn layout(&self) -> Result<Layout, Declined> {
        let mut block_count = self.first_size()?;
        let census = self.census(block_count)?;
        let mut step = 1;
        for _ in 0..ATTEMPTS_MAX {
            let attempt = Attempt {
                medium: self.medium,
                old: self.old,
                header: self.header,
                descriptors: self.descriptors,
                census: &census,
                block_count,
            };
            let (from, declined) = match attempt.layout() {
                Ok(layout) => return Ok(layout),
                Err(Outcome::Declined(declined)) => return Err(declined),
                Err(Outcome::Inodes(count)) => {
                    let least = self.sizes.for_inodes(count);
                    (least, self.impossible(least))
                }
                Err(Outcome::Missing(count)) => {
                    step = step.max(count);
                    (block_count + step, self.impossible(block_count + count))
                }
                Err(Outcome::Split(declined)) => (block_count + step, declined),
            };
            if matches!(self.wanted, Wanted::Blocks(_)) {
                return Err(declined);
            }
            // One by one would take too many attempts.
            step = step.saturating_mul(2);
            let from = from.max(block_count + 1);
            block_count = self.sizes.settled(from).ok_or(declined)?;
        }
        Err(self.impossible(block_count))
    }

    /// Returns the size to try first.
    fn first_size(&self) -> Result<u64, Declined> {
        let size = match self.wanted {
            Wanted::Smallest { margin_per_mille } => self.sizes.least().and_then(|least| {
                let more = u128::from(least) * u128::from(margin_per_mille) / 1000;
                let more = u64::try_from(more).unwrap_or(u64::MAX);
                let wanted = least.saturating_add(more).min(self.old.block_count);
                self.sizes.settled(wanted)
            }),
            Wanted::Blocks(count) => self.sizes.not_above(count),
        };
        size.ok_or_else(|| self.impossible(0))
    }

    fn census(&self, block_count: u64) -> Result<Census, Declined> {
        let new = geometry::resized(self.old, block_count);
        let enumerator = Enumerator {
            medium: self.medium,
            superblock: self.old,
            header: self.header,
            descriptors: self.descriptors,
            sealer: Sealer::new(self.old),
            monitor: self.monitor,
        };
        enumerator.census(Cut {
            block: block_count,
            inode: new.inode_count.saturating_add(1),
        })
    }

    /// Returns the answer to a size that does not do, where it takes at least `least` blocks.
    fn impossible(&self, least: u64) -> Declined {
        let most = self.old.block_count;
        Declined::Impossible {
            wanted: match self.wanted {
                Wanted::Blocks(count) => count,
                Wanted::Smallest { .. } => self.sizes.used_blocks(),
            },
            least: self.sizes.least().unwrap_or(most).max(least),
            most,
        }
    }
}

/// Passes on all but trouble, which it keeps: a filesystem that is in trouble is left alone.
struct Listener<'a> {
    monitor: &'a dyn Monitor,
    heard: Mutex<Option<String>>,
}

impl Monitor for Listener<'_> {
    fn phase(&self, phase: Phase, total_bytes: Option<u64>) {
        self.monitor.phase(phase, total_bytes);
    }

    fn advance(&self, phase: Phase, bytes: u64) {
        self.monitor.advance(phase, bytes);
    }

    fn trouble(&self, trouble: Trouble) {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.get_or_insert(trouble.message);
    }

    fn is_cancelled(&self) -> bool {
        self.monitor.is_cancelled()
    }
}
