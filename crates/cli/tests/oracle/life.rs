//! What happens to a filesystem between its making and its backup, and after its return.

use std::path::Path;

use cardkeep_testkit::{Churn, Likeness, Loop, Mount, Tool, Tree};

/// Makes files on a mounted filesystem come and go.
pub(crate) fn age(device: &Path, options: &str, seed: u64, steps: u32) {
    let mount = Mount::new(device, options).expect("the kernel mounts it");
    Churn::unix(mount.path(), seed)
        .run(steps)
        .expect("the churn");
}

/// Returns what the kernel sees on a filesystem, mounted so that nothing changes.
pub(crate) fn tree(device: &Path, options: &str) -> Tree {
    let mount = Mount::new(device, options).expect("the kernel mounts it");
    Tree::read(mount.path()).expect("all files can be read")
}

/// Asserts that two filesystems hold the same files.
pub(crate) fn assert_same_files(one: &Loop, two: &Loop, options: &str, likeness: Likeness) {
    let (one, two) = (tree(one.path(), options), tree(two.path(), options));
    let differences = one.differences(&two, likeness);
    assert!(
        differences.is_empty(),
        "files differ:\n{}",
        differences.join("\n")
    );
    assert!(one.count() > 1, "an empty tree proves nothing");
}

/// Asserts that e2fsck finds nothing to mend.
pub(crate) fn assert_ext_is_clean(device: &Path) {
    let (code, said) = Tool::new("e2fsck").args(["-f", "-n"]).arg(device).outcome();
    assert_eq!(code, Some(0), "e2fsck:\n{said}");
}

/// Returns the paths of unwritten extents by the kernel's own account (FIEMAP).
pub(crate) fn unwritten_extents(device: &Path, block_bytes: u64) -> Vec<cardkeep_block::Extent> {
    let mount = Mount::new(device, "ro").expect("the kernel mounts it");
    let mut files = Vec::new();
    collect_files(mount.path(), &mut files);
    if files.is_empty() {
        return Vec::new();
    }
    let (_, said) = Tool::new("filefrag")
        .args(["-v", &format!("-b{block_bytes}")])
        .args(&files)
        .outcome();
    let lines = said.lines().filter(|line| line.contains("unwritten"));
    let extents = lines.filter_map(|line| {
        let (first, last) = line.split(':').nth(2)?.split_once("..")?;
        let first: u64 = first.trim().parse().ok()?;
        let last: u64 = last.trim().parse().ok()?;
        Some(cardkeep_block::Extent::between(
            first * block_bytes,
            (last + 1) * block_bytes,
        ))
    });
    extents.collect()
}

fn collect_files(folder: &Path, files: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let kind = entry.file_type().expect("a type");
        if kind.is_dir() {
            collect_files(&entry.path(), files);
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
}
