//! A folder of its own for each run, and what it takes of the disk besides the output.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// `stat` counts blocks in these, whatever the filesystem's own (stat(2)).
const SECTOR_BYTES: u64 = 512;

/// A folder that holds one output and whatever its maker needs on the way; removed when dropped.
#[derive(Debug)]
pub(crate) struct Scratch {
    folder: PathBuf,
    output: PathBuf,
}

/// Files by device and inode, and the sectors that each takes.
type Files = HashMap<(u64, u64), u64>;

impl Scratch {
    /// Makes an empty folder for an output called `output`.
    ///
    /// # Errors
    /// Says what can't be removed or made.
    pub(crate) fn empty(folder: &Path, output: &str) -> Result<Self, String> {
        let error = |e: io::Error| format!("{}: {e}", folder.display());
        if folder.exists() {
            fs::remove_dir_all(folder).map_err(error)?;
        }
        fs::create_dir_all(folder).map_err(error)?;
        let folder = std::path::absolute(folder).map_err(error)?;
        Ok(Self {
            output: folder.join(output),
            folder,
        })
    }

    /// Returns the folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns where the output goes.
    pub(crate) fn output(&self) -> &Path {
        &self.output
    }

    /// Returns what the output takes on the disk; 0 where there is none.
    pub(crate) fn output_bytes(&self) -> u64 {
        let sectors = self.output.metadata().map_or(0, |output| output.blocks());
        sectors * SECTOR_BYTES
    }

    /// Returns what all else takes on the disk now: files in the folder, and those without a name
    /// that `processes` hold open.
    pub(crate) fn temporary_bytes(&self, processes: &[u32]) -> u64 {
        let Ok(folder) = self.folder.metadata() else {
            return 0;
        };
        let mut files = Files::new();
        self.note_named(&self.folder, &mut files);
        for process in processes {
            note_nameless(*process, folder.dev(), &mut files);
        }
        files.values().sum::<u64>() * SECTOR_BYTES
    }

    /// Notes the files below `folder`. What vanishes meanwhile takes nothing.
    fn note_named(&self, folder: &Path, files: &mut Files) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() && metadata.dev() == device_of(folder) => {
                    self.note_named(&entry.path(), files);
                }
                Ok(metadata) if metadata.is_file() && !self.is_output(&entry.path()) => {
                    note(&metadata, files);
                }
                _ => {}
            }
        }
    }

    /// Tells whether a file is the output, be it under a longer name until it is finished.
    fn is_output(&self, path: &Path) -> bool {
        let names = (path.file_name(), self.output.file_name());
        let (Some(name), Some(output)) = names else {
            return false;
        };
        path.parent() == self.output.parent()
            && name
                .as_encoded_bytes()
                .starts_with(output.as_encoded_bytes())
    }
}

/// Returns the device of a folder, so that what is mounted below it is not counted with it.
fn device_of(folder: &Path) -> u64 {
    folder.metadata().map_or(0, |metadata| metadata.dev())
}

/// Notes the files of one device that a process holds open though their names are gone.
fn note_nameless(process: u32, device: u64, files: &mut Files) {
    let descriptors = fs::read_dir(format!("/proc/{process}/fd"));
    for descriptor in descriptors.into_iter().flatten().flatten() {
        // Follows the link to the file itself, name or not (proc(5)).
        if let Ok(metadata) = fs::metadata(descriptor.path())
            && metadata.is_file()
            && metadata.nlink() == 0
            && metadata.dev() == device
        {
            note(&metadata, files);
        }
    }
}

fn note(metadata: &fs::Metadata, files: &mut Files) {
    files.insert((metadata.dev(), metadata.ino()), metadata.blocks());
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            eprintln!("can't remove {}: {error}", self.folder.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Scratch;
    use std::fs::{self, File};
    use std::io::Write;

    #[test]
    fn all_but_the_output_is_temporary_also_without_a_name() {
        let folder = std::env::temp_dir().join(format!("cardkeep-scratch-{}", std::process::id()));
        let own = [std::process::id()];
        let scratch = Scratch::empty(&folder, "card.img").unwrap();
        fs::write(scratch.output(), vec![1; 1 << 20]).unwrap();
        assert!(scratch.output_bytes() >= 1 << 20);
        fs::write(folder.join("card.img.partial"), vec![1; 1 << 20]).unwrap();
        assert_eq!(scratch.temporary_bytes(&own), 0);

        fs::create_dir(folder.join("below")).unwrap();
        fs::write(folder.join("below/raw"), vec![1; 1 << 20]).unwrap();
        let mut nameless = File::create(folder.join("nameless")).unwrap();
        nameless.write_all(&vec![1; 1 << 20]).unwrap();
        fs::hard_link(folder.join("below/raw"), folder.join("again")).unwrap();
        let both = scratch.temporary_bytes(&own);
        assert!((2 << 20..3 << 20).contains(&both), "{both}");
        fs::remove_file(folder.join("nameless")).unwrap();
        assert_eq!(scratch.temporary_bytes(&own), both);
        drop(nameless);
        assert!(scratch.temporary_bytes(&own) < both);
        drop(scratch);
        assert!(!folder.exists());
    }
}
