//! Extent trees (kernel doc, "Extent Tree"): each node is checked before anything that it says is
//! believed, and its checksum where the filesystem has them.

use cardkeep_block::ReadAt;

use crate::block_walk::{Depth, Step, Visit, Walk};
use crate::error::{Error, FileFault};
use crate::record::ExtentNode;

/// Walks a tree from its root, which lies in the inode.
pub(crate) fn walk<M: ReadAt>(
    walk: &mut Walk<'_, M>,
    block_field: &[u8],
    visit: Visit<'_>,
) -> Result<(), Error> {
    let root = ExtentNode::parse(block_field).ok_or_else(|| walk.fault(FileFault::Node))?;
    node(walk, &root, visit)
}

fn node<M: ReadAt>(
    walk: &mut Walk<'_, M>,
    node: &ExtentNode<&[u8]>,
    visit: Visit<'_>,
) -> Result<(), Error> {
    if node.depth() == 0 {
        for extent in node.extents() {
            walk.extent(extent, visit)?;
        }
    } else if walk.depth == Depth::All {
        for block in node.children() {
            child(walk, block, node.depth() - 1, visit)?;
        }
    }
    Ok(())
}

/// Walks the node in `block`, which its parent says has the depth `depth`.
fn child<M: ReadAt>(
    walk: &mut Walk<'_, M>,
    block: u64,
    depth: u16,
    visit: Visit<'_>,
) -> Result<(), Error> {
    let bytes = walk.tree_block(block, visit)?;
    let child = ExtentNode::parse(bytes.as_slice()).filter(|child| child.depth() == depth);
    let child = child.ok_or_else(|| walk.fault(FileFault::Node))?;
    if !walk.sealer.is_extent_block_sound(walk.owner, &bytes) {
        return Err(walk.fault(FileFault::NodeChecksum));
    }
    visit(Step::RefersTo(child.refers_to()))?;
    node(walk, &child, visit)
}
