//! A life of files in fast motion: what makes a fresh filesystem a used one.

use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// A small generator of numbers (xorshift64*, G. Marsaglia 2003): the same seed gives the same
/// life on every machine.
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    /// Returns the generator of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            // The state must not be 0.
            state: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
        }
    }

    /// Returns the next number below `bound`; 0 where the bound is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        let number = self.state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16;
        number.checked_rem(bound).unwrap_or(0)
    }

    /// Fills `buffer` with bytes that don't compress.
    pub fn fill(&mut self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(4) {
            let bytes = self.below(u64::MAX).to_le_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
    }
}

/// What a filesystem can hold beside files and folders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Abilities {
    /// As FAT.
    Plain,
    /// As ext4.
    Unix,
}

/// Writes, changes and deletes files by a fixed seed.
#[derive(Debug)]
pub struct Churn {
    root: PathBuf,
    random: Random,
    abilities: Abilities,
    files: Vec<PathBuf>,
    seed: u64,
    made: u64,
    file_bytes_max: u64,
}

impl Churn {
    /// Returns the churn of a filesystem that knows files and folders only, mounted at `root`.
    /// The files of an earlier life with another seed take part.
    #[must_use]
    pub fn plain(root: &Path, seed: u64) -> Self {
        Self {
            root: root.to_path_buf(),
            random: Random::new(seed),
            abilities: Abilities::Plain,
            files: existing_files(root),
            seed,
            made: 0,
            file_bytes_max: 200_000,
        }
    }

    /// Returns the churn of a filesystem with links, holes, preallocation, modes and attributes.
    #[must_use]
    pub fn unix(root: &Path, seed: u64) -> Self {
        Self {
            abilities: Abilities::Unix,
            ..Self::plain(root, seed)
        }
    }

    /// Does `count` things, then waits until they are on the medium. A full filesystem makes
    /// room by deletion.
    ///
    /// # Errors
    /// What the filesystem reports, except that it is full.
    pub fn run(&mut self, count: u32) -> io::Result<()> {
        self.steps(count)?;
        rustix::fs::syncfs(File::open(&self.root)?)?;
        Ok(())
    }

    /// Does `count` things, then waits until the journal holds them. The filesystem's own places
    /// still hold what was there before: syncing it as a whole would write them too.
    ///
    /// # Errors
    /// As [`Churn::run`].
    pub fn run_journalled(&mut self, count: u32) -> io::Result<()> {
        self.steps(count)?;
        for path in &self.files {
            File::open(path)?.sync_all()?;
        }
        File::open(&self.root)?.sync_all()
    }

    fn steps(&mut self, count: u32) -> io::Result<()> {
        for _ in 0..count {
            match self.step() {
                Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                    for _ in 0..8 {
                        self.delete()?;
                    }
                }
                other => other?,
            }
        }
        Ok(())
    }

    fn step(&mut self) -> io::Result<()> {
        match self.random.below(if self.abilities == Abilities::Unix {
            16
        } else {
            10
        }) {
            0..=4 => self.create(),
            5 | 6 => self.overwrite(),
            7..=9 => self.delete(),
            10 => self.truncate(),
            11 => self.hard_link(),
            12 => self.preallocate(),
            13 => self.hole(),
            14 => self.attributes(),
            _ => self.nodes(),
        }
    }

    fn fresh_path(&mut self) -> io::Result<PathBuf> {
        let folder = self.root.join(format!("folder{}", self.random.below(12)));
        fs::create_dir_all(&folder)?;
        self.made += 1;
        Ok(folder.join(format!("file {}-{:06}", self.seed, self.made)))
    }

    fn any_file(&mut self) -> Option<PathBuf> {
        let index = self.random.below(self.files.len() as u64);
        self.files.get(usize::try_from(index).ok()?).cloned()
    }

    fn bytes(&mut self) -> Vec<u8> {
        let bound = [100, 5_000, 30_000, self.file_bytes_max];
        let kind = usize::try_from(self.random.below(4)).unwrap_or(0);
        let len = self.random.below(bound[kind]);
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
        self.random.fill(&mut bytes);
        bytes
    }

    fn create(&mut self) -> io::Result<()> {
        let path = self.fresh_path()?;
        self.files.push(path.clone());
        let bytes = self.bytes();
        fs::write(path, bytes)
    }

    fn overwrite(&mut self) -> io::Result<()> {
        let Some(path) = self.any_file() else {
            return Ok(());
        };
        let bytes = self.bytes();
        let mut file = File::options().write(true).open(path)?;
        let len = file.metadata()?.len();
        file.seek(SeekFrom::Start(self.random.below(len + 1)))?;
        file.write_all(&bytes)
    }

    fn delete(&mut self) -> io::Result<()> {
        let index = self.random.below(self.files.len() as u64);
        match usize::try_from(index) {
            Ok(index) if index < self.files.len() => fs::remove_file(self.files.swap_remove(index)),
            _ => Ok(()),
        }
    }

    fn truncate(&mut self) -> io::Result<()> {
        let Some(path) = self.any_file() else {
            return Ok(());
        };
        let file = File::options().write(true).open(path)?;
        let len = file.metadata()?.len();
        file.set_len(self.random.below(len + 1))
    }

    fn hard_link(&mut self) -> io::Result<()> {
        let Some(old) = self.any_file() else {
            return Ok(());
        };
        let new = self.fresh_path()?;
        fs::hard_link(old, &new)?;
        self.files.push(new);
        Ok(())
    }

    /// Reserves blocks that are never written; ext2 and ext3 can't.
    fn preallocate(&mut self) -> io::Result<()> {
        let path = self.fresh_path()?;
        self.files.push(path.clone());
        let file = File::create(path)?;
        let len = 1 + self.random.below(300_000);
        match rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, len) {
            Ok(()) | Err(rustix::io::Errno::OPNOTSUPP) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn hole(&mut self) -> io::Result<()> {
        let path = self.fresh_path()?;
        self.files.push(path.clone());
        let mut file = File::create(path)?;
        file.seek(SeekFrom::Start(self.random.below(3_000_000)))?;
        file.write_all(b"behind a hole")
    }

    fn attributes(&mut self) -> io::Result<()> {
        let Some(path) = self.any_file() else {
            return Ok(());
        };
        let mode = u32::try_from(0o400 + self.random.below(0o400)).unwrap_or(0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
        let owner = u32::try_from(self.random.below(70_000)).ok();
        std::os::unix::fs::chown(&path, owner, owner)?;
        let value = self.bytes();
        let value = &value[..value.len().min(900)];
        let flags = rustix::fs::XattrFlags::empty();
        Ok(rustix::fs::setxattr(&path, "user.note", value, flags)?)
    }

    fn nodes(&mut self) -> io::Result<()> {
        let link = self.fresh_path()?;
        let target = "x".repeat(1 + usize::try_from(self.random.below(200)).unwrap_or(0));
        symlink(target, &link)?;
        let node = self.fresh_path()?;
        let (kind, mode) = (
            rustix::fs::FileType::CharacterDevice,
            rustix::fs::Mode::RUSR,
        );
        let number = rustix::fs::makedev(1, 3);
        rustix::fs::mknodat(rustix::fs::CWD, &node, kind, mode, number)?;
        Ok(())
    }
}

/// Returns the regular files in the folders below `root`, in a fixed order.
fn existing_files(root: &Path) -> Vec<PathBuf> {
    let list = |folder: &Path| -> Vec<fs::DirEntry> {
        // What can't be listed takes no part.
        fs::read_dir(folder).map_or(Vec::new(), |entries| entries.flatten().collect())
    };
    let is_file = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_file());
    let folders = list(root).into_iter();
    let entries = folders.flat_map(|folder| list(&folder.path()));
    let mut files: Vec<PathBuf> = entries.filter(is_file).map(|entry| entry.path()).collect();
    files.sort();
    files
}

#[cfg(test)]
mod tests {
    use super::{Churn, Random};

    #[test]
    fn the_same_seed_gives_the_same_life() {
        let names = |seed| {
            let folder = tempfile::tempdir().unwrap();
            let mut churn = Churn::plain(folder.path(), seed);
            churn.run(60).unwrap();
            let strip = |path: &std::path::PathBuf| {
                let bytes = std::fs::read(path).unwrap();
                (
                    path.strip_prefix(folder.path()).unwrap().to_path_buf(),
                    bytes,
                )
            };
            churn.files.iter().map(strip).collect::<Vec<_>>()
        };
        assert_eq!(names(1), names(1));
        assert_ne!(names(1), names(2));
    }

    #[test]
    fn numbers_stay_below_their_bound() {
        let mut random = Random::new(3);
        assert!((0..1000).all(|_| random.below(7) < 7));
        assert_eq!(random.below(0), 0);
    }
}
