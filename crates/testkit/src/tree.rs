//! Everything the kernel says about the files of a mounted filesystem, to be compared.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{CString, OsString};
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Differences beyond this many are counted, not told.
const DIFFERENCES_TOLD: usize = 20;
const XATTR_BYTES_MAX: usize = 64 * 1024;

/// How much two trees must have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Likeness {
    /// Names, types and contents only: what survives an extraction by somebody's tool.
    Contents,
    /// What a user sees: type, content, mode, owner, time of change, extended attributes, hard
    /// links, device numbers, symlink targets.
    Files,
    /// The same inodes too: number, size in blocks and time of inode change. For filesystems
    /// copied block by block that have inodes.
    Inodes,
}

/// The files below one folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    entries: BTreeMap<PathBuf, Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    content: Content,
    mode: u32,
    owner: (u32, u32),
    modified: (i64, i64),
    /// The first path of the same inode, where it has several.
    linked_to: Option<PathBuf>,
    link_count: u64,
    xattrs: BTreeMap<OsString, Vec<u8>>,
    inode: Inode,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Content {
    File { len: u64, digest: blake3::Hash },
    Folder,
    Symlink(PathBuf),
    Device(u64),
    Other,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Inode {
    number: u64,
    blocks: u64,
    changed: (i64, i64),
}

impl Tree {
    /// Reads all files below `root`, without crossing into other filesystems.
    ///
    /// # Errors
    /// Names the path that can't be read.
    pub fn read(root: &Path) -> io::Result<Self> {
        let mut reader = Reader {
            root,
            device: fs::metadata(root)?.dev(),
            first_paths: HashMap::new(),
            entries: BTreeMap::new(),
        };
        reader.visit(Path::new(""))?;
        Ok(Self {
            entries: reader.entries,
        })
    }

    /// Returns how many files, folders and other nodes there are, the root included.
    #[must_use]
    pub fn count(&self) -> usize {
        self.entries.len()
    }

    /// Returns a line for each difference, up to a bound; none where the trees are alike.
    #[must_use]
    pub fn differences(&self, other: &Self, likeness: Likeness) -> Vec<String> {
        let paths = self.entries.keys().chain(other.entries.keys());
        let paths: std::collections::BTreeSet<&PathBuf> = paths.collect();
        let mut told: Vec<String> = Vec::new();
        let mut count = 0_usize;
        for path in paths {
            let line = match (self.entries.get(path), other.entries.get(path)) {
                (Some(one), Some(two)) if one.is_like(two, likeness) => continue,
                (Some(one), Some(two)) => format!("{}: {one:?} is not {two:?}", path.display()),
                (Some(_), None) => format!("{}: missing", path.display()),
                (None, _) => format!("{}: should not be there", path.display()),
            };
            count += 1;
            if told.len() < DIFFERENCES_TOLD {
                told.push(line);
            }
        }
        if count > told.len() {
            told.push(format!("and {} more", count - told.len()));
        }
        told
    }
}

impl Entry {
    fn is_like(&self, other: &Self, likeness: Likeness) -> bool {
        match likeness {
            Likeness::Contents => self.content == other.content,
            Likeness::Inodes => self == other,
            Likeness::Files => {
                let inode = self.inode.clone();
                *self
                    == Self {
                        inode,
                        ..other.clone()
                    }
            }
        }
    }
}

struct Reader<'a> {
    root: &'a Path,
    device: u64,
    first_paths: HashMap<u64, PathBuf>,
    entries: BTreeMap<PathBuf, Entry>,
}

impl Reader<'_> {
    fn visit(&mut self, path: &Path) -> io::Result<()> {
        let full = self.root.join(path);
        let at = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", path.display()));
        let metadata = fs::symlink_metadata(&full).map_err(at)?;
        if metadata.dev() != self.device {
            return Ok(());
        }
        let entry = self.entry(path, &full, &metadata).map_err(at)?;
        self.entries.insert(path.to_path_buf(), entry);
        if metadata.is_dir() {
            let mut names = fs::read_dir(&full)
                .and_then(|found| {
                    found
                        .map(|item| Ok(item?.file_name()))
                        .collect::<Result<Vec<_>, _>>()
                })
                .map_err(at)?;
            // The order in which a folder lists its names decides which hard link comes first.
            names.sort();
            for name in names {
                self.visit(&path.join(name))?;
            }
        }
        Ok(())
    }

    fn entry(&mut self, path: &Path, full: &Path, metadata: &fs::Metadata) -> io::Result<Entry> {
        let is_linked = metadata.nlink() > 1 && !metadata.is_dir();
        let first = is_linked.then(|| {
            let first = self.first_paths.entry(metadata.ino());
            first.or_insert_with(|| path.to_path_buf()).clone()
        });
        Ok(Entry {
            content: content(full, metadata)?,
            mode: metadata.mode(),
            owner: (metadata.uid(), metadata.gid()),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            linked_to: first,
            link_count: metadata.nlink(),
            xattrs: xattrs(full)?,
            inode: Inode {
                number: metadata.ino(),
                blocks: metadata.blocks(),
                changed: (metadata.ctime(), metadata.ctime_nsec()),
            },
        })
    }
}

fn content(full: &Path, metadata: &fs::Metadata) -> io::Result<Content> {
    let kind = metadata.file_type();
    Ok(if kind.is_file() {
        let mut hasher = blake3::Hasher::new();
        let len = io::copy(&mut File::open(full)?, &mut hasher)?;
        let digest = hasher.finalize();
        Content::File { len, digest }
    } else if kind.is_dir() {
        Content::Folder
    } else if kind.is_symlink() {
        Content::Symlink(fs::read_link(full)?)
    } else if kind.is_block_device() || kind.is_char_device() {
        Content::Device(metadata.rdev())
    } else {
        Content::Other
    })
}

fn xattrs(full: &Path) -> io::Result<BTreeMap<OsString, Vec<u8>>> {
    let mut names = vec![0; XATTR_BYTES_MAX];
    let len = match rustix::fs::llistxattr(full, &mut names[..]) {
        Ok(len) => len,
        // FAT and others have none.
        Err(rustix::io::Errno::OPNOTSUPP) => return Ok(BTreeMap::new()),
        Err(error) => return Err(error.into()),
    };
    let mut found = BTreeMap::new();
    for name in names[..len]
        .split(|&byte| byte == 0)
        .filter(|name| !name.is_empty())
    {
        let mut value = vec![0; XATTR_BYTES_MAX];
        let key = CString::new(name)?;
        let len = rustix::fs::lgetxattr(full, &key, &mut value[..])?;
        value.truncate(len);
        found.insert(std::ffi::OsStr::from_bytes(name).to_owned(), value);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::{Likeness, Tree};
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    /// Makes a tree, changes it by `change`, and returns how many differences are seen.
    fn differences_after(change: impl FnOnce(&std::path::Path)) -> usize {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::create_dir(root.join("d")).unwrap();
        fs::write(root.join("d/a"), "one").unwrap();
        fs::hard_link(root.join("d/a"), root.join("b")).unwrap();
        fs::write(root.join("c"), "one").unwrap();
        std::os::unix::fs::symlink("a", root.join("s")).unwrap();
        let before = Tree::read(root).unwrap();
        assert_eq!(before.count(), 6);
        change(root);
        let after = Tree::read(root).unwrap();
        before.differences(&after, Likeness::Files).len()
    }

    #[test]
    fn each_kind_of_change_is_seen() {
        assert_eq!(differences_after(|_| {}), 0);
        assert_eq!(
            differences_after(|root| fs::write(root.join("c"), "two").unwrap()),
            1
        );
        assert_eq!(
            differences_after(|root| {
                let mode = fs::Permissions::from_mode(0o4711);
                fs::set_permissions(root.join("c"), mode).unwrap();
            }),
            1
        );
        assert_eq!(
            differences_after(|root| {
                let file = fs::File::options()
                    .write(true)
                    .open(root.join("c"))
                    .unwrap();
                file.set_modified(std::time::UNIX_EPOCH).unwrap();
            }),
            1
        );
        assert!(differences_after(|root| fs::remove_file(root.join("s")).unwrap()) >= 1);
    }

    #[test]
    fn a_copy_in_place_of_a_hard_link_is_seen() {
        let count = differences_after(|root| {
            let mtime = fs::metadata(root.join("b")).unwrap().modified().unwrap();
            fs::remove_file(root.join("b")).unwrap();
            fs::write(root.join("b"), "one").unwrap();
            let file = fs::File::options()
                .write(true)
                .open(root.join("b"))
                .unwrap();
            file.set_modified(mtime).unwrap();
        });
        // The root's own time changes too.
        assert_eq!(count, 3);
    }
}
