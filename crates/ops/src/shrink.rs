//! `shrink`: an image in, a smaller verified image out.
//!
//! It is a backup whose card is an image. What can be read anywhere is read where it lies; a stream
//! (gzip, bzip2, zip, one large frame) is unpacked first, next to the
//! new image, and so is xz.

use std::path::{Path, PathBuf};

use cardkeep_block::{Monitor, ReadAt, path_text};
use cardkeep_device::Machine;
use cardkeep_image::Format;
use cardkeep_survey::{Scope, survey};

use crate::backup::{BackupRequest, BackupSession, Looked, Target};
use crate::error::{OpError, OpErrorKind};
use crate::input::{Input, Opening, Sums, is_pipe};
use crate::precheck::check_name;

/// Looks at an image, and says what making it smaller will do. A stream is unpacked here: what it
/// holds can't be known before. `request.card` names the image; it is never changed.
///
/// # Errors
/// [`OpErrorKind::Usage`] for a card, and as [`plan`](crate::plan).
pub fn plan_shrink(
    machine: &dyn Machine,
    mut request: BackupRequest,
    monitor: &dyn Monitor,
) -> Result<BackupSession, OpError> {
    // A disk or a share that is slow is no card that dies.
    request.policy.slow_streak = u32::MAX;
    let path = &request.card;
    let image = match &request.target {
        Target::File(image) => Some(image.clone()),
        _ if is_pipe(path) => {
            let message = format!("{} has no name for the new image", path_text(path));
            return Err(OpError::new(OpErrorKind::Usage, message)
                .hint("name it: what comes from a pipe is unpacked beside the new image"));
        }
        Target::Named => Some(smaller_name(path)),
        Target::Stream => None,
    };
    if let Some(image) = &image {
        check_name(image, request.overwrite)?;
    }
    // ORDER: before a stream is unpacked, which may take minutes.
    request.container()?;
    let opened = open(machine, &request, image.as_deref(), monitor)?;
    let content = opened.random_content()?;
    let learnt = survey(&content, opened.sector_bytes, Scope::UsedOnly, monitor);
    opened.tell_losses(content.len(), monitor);
    let looked = Looked {
        opened,
        survey: learnt,
    };
    looked.planned(image, request, monitor)
}

fn open(
    machine: &dyn Machine,
    request: &BackupRequest,
    image: Option<&Path>,
    monitor: &dyn Monitor,
) -> Result<Input, OpError> {
    let path = &request.card;
    let opening = Opening {
        rule: request.content,
        sums: Sums::None,
        device_hint: Some("`cardkeep backup CARD IMAGE --shrink` makes a small image of a card"),
    };
    let (input, _) = Input::open_image(machine, path, opening, monitor)?;
    // Blocks of xz are large, and each one that is looked into takes half a second.
    match input.content() {
        Some(_) if input.format() != Format::Xz => Ok(input),
        _ => input.unpacked(image.unwrap_or(path), monitor),
    }
}

/// Returns `pi-small.img.zst` for `pi.img` and the like, in the same folder.
fn smaller_name(image: &Path) -> PathBuf {
    let name = image.file_name().unwrap_or_default().to_string_lossy();
    let ending = format!(".{}", Format::Zstd.extension());
    let known = [
        ".zst", ".zstd", ".gz", ".xz", ".bz2", ".zip", ".tgz", ".tar",
    ];
    let stem = known.iter().find_map(|ending| name.strip_suffix(ending));
    let stem = stem.unwrap_or(&name);
    let stem = stem.strip_suffix(".img").unwrap_or(stem);
    image.with_file_name(format!("{stem}-small{ending}"))
}

#[cfg(test)]
mod tests {
    use super::smaller_name;
    use std::path::Path;

    #[test]
    fn smaller_images_are_named_after_their_originals() {
        let cases = [
            ("a/pi.img", "a/pi-small.img.zst"),
            ("pi.img.zst", "pi-small.img.zst"),
            ("2024-raspios.zip", "2024-raspios-small.img.zst"),
            ("dump", "dump-small.img.zst"),
        ];
        for (name, expected) in cases {
            assert_eq!(smaller_name(Path::new(name)), Path::new(expected));
        }
    }
}
