//! Whether a filesystem of another size is as good as the one that it was made from.

use std::fs;
use std::path::Path;
use std::process::Command;

use cardkeep_block::ReadAt;
use cardkeep_ext4::Ext4;

/// The files of a seed, as [`cardkeep_ext4::Ext4::read_file`] takes their names.
const FILES: [&str; 5] = [
    "etc/hostname",
    "etc/deep/file",
    "etc/deep/link",
    "file 0",
    "file 39",
];
/// Longer than any file of a seed.
const FILE_BYTES_MAX: usize = 1 << 17;

/// Asserts that each file that could be read still reads the same. A name of an inode that is not in use
/// is no file: it may come to name no inode at all.
pub fn assert_same_files<M: ReadAt, N: ReadAt>(before: &Ext4<M>, after: &Ext4<N>) {
    for name in FILES {
        if let Ok(Some(content)) = before.read_file(name, FILE_BYTES_MAX) {
            let now = after.read_file(name, FILE_BYTES_MAX);
            let now = now.unwrap_or_else(|e| panic!("{name}: {e}"));
            assert!(now == Some(content), "{name} changed");
        }
    }
}

/// What e2fsck says where it gives up: how much there is to mend stays unknown.
const GIVEN_UP: &str = "The superblock could not be read";

/// Asserts that e2fsck does not find more to mend in `after` than in `before`, unless it says something of
/// `before` that excuses it.
pub fn assert_no_worse(before: &[u8], after: &[u8], excuses: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image");
    let (before, said_before) = problems(&path, before);
    let is_excused = excuses.iter().any(|excuse| said_before.contains(excuse));
    if is_excused || said_before.contains(GIVEN_UP) {
        return;
    }
    let (after, said) = problems(&path, after);
    assert!(
        after <= before,
        "{after} problems, {before} before: {said}\nbefore: {said_before}"
    );
}

/// Returns how many things e2fsck would mend, and its words.
fn problems(path: &Path, bytes: &[u8]) -> (usize, String) {
    fs::write(path, bytes).unwrap();
    let output = Command::new("e2fsck")
        .arg("-fn")
        .arg(path)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.code() == Some(0) {
        return (0, said);
    }
    // One at least: it also stops at what it can't mend.
    let count = said.lines().filter(|line| line.ends_with("? no")).count();
    (count.max(1), said)
}
