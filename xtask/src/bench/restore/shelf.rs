//! The images that the peers restore, made once from the card and kept for the next run.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use super::peer::{Peer, Task};
use crate::bench::call::{bash, call};
use crate::bench::content::Content;
use crate::bench::options::Options;
use crate::bench::partition;

/// What a day changes of the used bytes, in per cent.
const CHANGED_PERCENT: u64 = 5;

/// A folder of images of one card.
#[derive(Debug)]
pub(crate) struct Shelf {
    folder: PathBuf,
    program: PathBuf,
    card: PathBuf,
    content: Content,
    /// The card a day later, and how many of its used bytes are new.
    changed: Option<(Content, u64)>,
}

impl Shelf {
    /// Opens the shelf, and empties it where it is another card's.
    ///
    /// # Errors
    /// Says what can't be read or made.
    pub(crate) fn open(options: &Options) -> Result<Self, String> {
        let card = options.card.canonicalize().map_err(|e| e.to_string())?;
        let folder = options.work.join("bench-shelf");
        let label = folder.join("label.txt");
        let identity = identity(&card)?;
        if fs::read_to_string(&label).is_ok_and(|label| label != identity) {
            fs::remove_dir_all(&folder).map_err(|e| e.to_string())?;
        }
        fs::create_dir_all(&folder)
            .and_then(|()| fs::write(&label, identity))
            .map_err(|e| format!("{}: {e}", folder.display()))?;
        Ok(Self {
            content: Content::survey(&options.program, &card)?,
            folder,
            program: options.program.clone(),
            card,
            changed: None,
        })
    }

    /// Makes what `peer` restores from, where it isn't there yet.
    ///
    /// # Errors
    /// Says which step failed.
    pub(crate) fn provide(&mut self, peer: Peer) -> Result<(), String> {
        match peer {
            Peer::Dd => Ok(()),
            Peer::Cardkeep
            | Peer::CardkeepUnverified
            | Peer::ZstdDd
            | Peer::Verify
            | Peer::Zstd => self.back_up(&self.card, &self.image()),
            Peer::Caligula => self.recompress(&self.image_of_one_frame(), "zstd -q -T2 -3"),
            Peer::VerifyXz | Peer::Xz => self.recompress(&self.image_xz(), "xz -1 -T2"),
            Peer::CardkeepDelta => self.change(),
            Peer::Bmaptool => self.keep(&self.bmap(), |bmap| {
                let (create, to) = (Path::new("create"), Path::new("-o"));
                call("bmaptool", [create, &self.card, to, bmap])
            }),
            Peer::Partclone => self.clone_partitions(),
        }
    }

    fn back_up(&self, card: &Path, image: &Path) -> Result<(), String> {
        self.keep(image, |image| {
            let options = ["backup", "--quiet", "--force"].map(Path::new);
            let paths = [card, image];
            call(&self.program, options.into_iter().chain(paths))
        })
    }

    /// Empties the page cache of all images, so that everybody reads them from the disk.
    ///
    /// # Errors
    /// Says which one resists.
    pub(crate) fn evict(&self) -> Result<(), String> {
        // GNU dd: `nocache` with a count of zero drops the cache of the whole file.
        let drop = r#"for file in "$@"; do dd if="$file" iflag=nocache count=0 status=none; done"#;
        let entries = fs::read_dir(&self.folder).map_err(|e| e.to_string())?;
        let images = entries.flatten().map(|entry| entry.path());
        bash(drop, images.chain([self.card.clone()]))
    }

    /// Compresses the same content by `program`, as one stream.
    fn recompress(&self, image: &Path, program: &str) -> Result<(), String> {
        self.back_up(&self.card, &self.image())?;
        self.keep(image, |image| {
            let pipe = format!(r#"zstd -dcq "$1" | {program} > "$2""#);
            bash(&pipe, [self.image().as_path(), image])
        })
    }

    fn clone_partitions(&self) -> Result<(), String> {
        let extents = partition::extents(&self.card)?;
        let partitions = partition::probe(&self.card, &extents);
        for (index, partition) in partitions.iter().enumerate() {
            self.keep(&self.partition_image(index), |image| {
                bash::<&str>(&partition.to_partclone(image), [])
            })?;
        }
        Ok(())
    }

    /// Lets a copy of the card live for a day, and backs it up.
    fn change(&mut self) -> Result<(), String> {
        let raw = self.folder.join("changed.img");
        let bytes = self.content.used_bytes() / 100 * CHANGED_PERCENT;
        self.keep(&raw, |raw| {
            call("cp", [self.card.as_path(), raw])?;
            let script = crate::project::root().join("lab/change.sh");
            let bytes = bytes.to_string();
            call(
                "bash",
                [script.as_os_str(), raw.as_os_str(), bytes.as_ref()],
            )
        })?;
        self.back_up(&raw, &self.image_changed())?;
        if self.changed.is_none() {
            let content = Content::survey(&self.program, &raw)?;
            let differing = content.differing_bytes(&self.card)?;
            self.changed = Some((content, differing));
        }
        Ok(())
    }

    /// Calls `make` with another name, so that what was interrupted is not taken for whole.
    fn keep(
        &self,
        path: &Path,
        make: impl FnOnce(&Path) -> Result<(), String>,
    ) -> Result<(), String> {
        if path.exists() {
            return Ok(());
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // The name's end tells programs the format.
        let unfinished = self.folder.join(format!("unfinished-{name}"));
        eprintln!("making {name} ...");
        make(&unfinished)?;
        fs::rename(&unfinished, path).map_err(|e| format!("{}: {e}", path.display()))
    }

    /// Returns the card itself, a raw image.
    pub(crate) fn card(&self) -> &Path {
        &self.card
    }

    /// Returns cardkeep's image of the card.
    pub(crate) fn image(&self) -> PathBuf {
        self.folder.join("card.img.zst")
    }

    /// Returns the same content as `zstd` compresses it: caligula 0.5.0 takes the end of the first
    /// frame for the end of the image, and says that it is done.
    pub(crate) fn image_of_one_frame(&self) -> PathBuf {
        self.folder.join("card-one-frame.img.zst")
    }

    /// Returns what `xz` made of the same content.
    pub(crate) fn image_xz(&self) -> PathBuf {
        self.folder.join("card.img.xz")
    }

    /// Returns cardkeep's image of the card a day later.
    pub(crate) fn image_changed(&self) -> PathBuf {
        self.folder.join("changed.img.zst")
    }

    /// Returns bmaptool's map of the raw image.
    pub(crate) fn bmap(&self) -> PathBuf {
        self.folder.join("card.bmap")
    }

    /// Returns partclone's image of one partition, compressed.
    pub(crate) fn partition_image(&self, index: usize) -> PathBuf {
        self.folder.join(format!("partition-{index}.pcl.zst"))
    }

    /// Returns what the card should hold after a task.
    pub(crate) fn wanted(&self, task: Task) -> &Content {
        match (task, &self.changed) {
            (Task::Delta, Some((changed, _))) => changed,
            _ => &self.content,
        }
    }

    /// Returns how many used bytes of the changed card are new; 0 where it isn't made yet.
    pub(crate) fn changed_bytes(&self) -> u64 {
        self.changed.as_ref().map_or(0, |(_, bytes)| *bytes)
    }
}

/// Returns what tells one card file from another, and from its own later state.
fn identity(card: &Path) -> Result<String, String> {
    let error = |e: std::io::Error| format!("{}: {e}", card.display());
    let metadata = card.metadata().map_err(error)?;
    let modified = metadata.modified().map_err(error)?;
    let since = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (len, nanoseconds) = (metadata.len(), since.as_nanos());
    Ok(format!("{}\n{len}\n{nanoseconds}\n", card.display()))
}
