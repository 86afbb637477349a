//! Files that a run writes, held against those that it reads and against each other.

use std::path::{Path, PathBuf};

use cardkeep_block::path_text;
use cardkeep_device::{ImageFiles, are_same_file};

use crate::backup::BackupPlan;
use crate::error::{OpError, OpErrorKind};

impl BackupPlan {
    /// Refuses a report that would replace what is read, or what else is written. Nothing is looked at
    /// but names and what they lead to.
    ///
    /// # Errors
    /// [`OpErrorKind::Refused`], with the file that would be lost.
    pub fn check_report(&self, report: &Path) -> Result<(), OpError> {
        let source = &self.card;
        let map = ImageFiles::of(source).map();
        if is_one_place(report, source) || is_one_place(report, &map) {
            return Err(lost(report, "the source"));
        }
        let Some(image) = &self.image else {
            return Ok(());
        };
        let beside = ImageFiles::of(image).beside();
        if is_one_place(report, image) || beside.iter().any(|path| is_one_place(report, path)) {
            return Err(lost(report, "the image, or a file that belongs to it"));
        }
        Ok(())
    }
}

fn lost(report: &Path, what: &str) -> OpError {
    let message = format!("the report {} would replace {what}", path_text(report));
    OpError::new(OpErrorKind::Refused, message).hint("choose another name for the report")
}

/// Tells whether two paths lead to one file, or will once they are made.
fn is_one_place(one: &Path, other: &Path) -> bool {
    are_same_file(one, other) || place(one).is_some_and(|own| Some(own) == place(other))
}

/// Returns the path without links; for a file that is not there yet, that of its folder and its name.
fn place(path: &Path) -> Option<PathBuf> {
    if let Ok(real) = path.canonicalize() {
        return Some(real);
    }
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let folder = parent.unwrap_or(Path::new(".")).canonicalize().ok()?;
    Some(folder.join(path.file_name()?))
}
