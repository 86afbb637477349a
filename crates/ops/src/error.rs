//! Why a verb could not be done, sorted by what the user can do about it.

use std::fmt;
use std::path::Path;

use cardkeep_block::{BlockError, BlockErrorKind, Operation, path_text};
use cardkeep_copy::CopyError;
use cardkeep_device::{
    NotPermitted, PartialFileError, PartialFileErrorKind, effective_user_is_root, permission_hint,
};
use cardkeep_image::Error as ImageError;

/// What the user can do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpErrorKind {
    /// Call it otherwise.
    Usage,
    /// It would not be safe.
    Refused,
    /// Change something outside: permissions, free space, what is mounted.
    Environment,
    /// The card, the reader or the disk fails.
    Medium,
    /// What was read is not what it should be.
    Mismatch,
    /// The bytes make no sense.
    Corrupt,
    /// The user stopped it.
    Interrupted,
    /// A bug in this program.
    Internal,
}

/// One thing to do, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hint(pub String);

/// An error of a verb: what, what to do, and why.
#[derive(Debug)]
pub struct OpError {
    /// What the user can do about it.
    pub kind: OpErrorKind,
    /// What could not be done.
    pub message: String,
    /// What to do.
    pub hints: Vec<Hint>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl OpError {
    /// Returns an error without a cause.
    pub fn new(kind: OpErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            hints: Vec::new(),
            source: None,
        }
    }

    /// Adds something to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(Hint(hint.into()));
        self
    }

    /// Adds the cause.
    #[must_use]
    pub fn caused_by(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Returns the error of an address on the net, which is no path.
    fn of_address(path: &Path) -> Option<Self> {
        let text = path.to_str()?;
        let is_address = ["http://", "https://", "ftp://"]
            .iter()
            .any(|scheme| text.starts_with(scheme));
        is_address.then(|| {
            Self::new(
                OpErrorKind::Usage,
                format!("{text} is an address, not a file"),
            )
            .hint("download the image first")
            .hint(format!(
                "or restore while you download it: `curl -L {text} | cardkeep restore - CARD`"
            ))
        })
    }

    /// Returns the error of opening or reading the card or image at `path`.
    pub(crate) fn of_source(path: &Path, error: BlockError) -> Self {
        if not_permitted(&error) == Some(&NotPermitted::Stopped) {
            return Self::new(OpErrorKind::Interrupted, "stopped");
        }
        if let Some(own) = Self::of_address(path) {
            return own;
        }
        let path_text = path_text(path);
        let (kind, message) = match error.kind() {
            BlockErrorKind::Permission => (
                OpErrorKind::Environment,
                format!("you may not read {path_text}"),
            ),
            BlockErrorKind::Gone if error.extent().is_none() => {
                (OpErrorKind::Usage, not_there(path))
            }
            BlockErrorKind::Gone => (
                OpErrorKind::Medium,
                format!("{path_text} disappeared while it was read"),
            ),
            BlockErrorKind::Busy => (OpErrorKind::Environment, format!("{path_text} is in use")),
            _ => (OpErrorKind::Medium, format!("{path_text} can't be read")),
        };
        let hint = match error.kind() {
            BlockErrorKind::Permission if effective_user_is_root() => Some(
                "the system forbids it even to root: is this program in a container?".to_owned(),
            ),
            BlockErrorKind::Permission => Some(permission_hint(path)),
            BlockErrorKind::Gone if error.extent().is_none() && !is_of_devices(path) => None,
            BlockErrorKind::Gone if error.extent().is_none() => {
                Some("`cardkeep list` shows the available cards".to_owned())
            }
            BlockErrorKind::Gone => Some("put the card back and run the command again".to_owned()),
            _ => None,
        };
        let own = Self::new(kind, message).caused_by(error);
        match hint {
            Some(hint) => own.hint(hint),
            None => own,
        }
    }

    /// Returns the error of what an earlier run left beside an image.
    pub(crate) fn of_leftover(image: &Path, error: BlockError) -> Self {
        let message = format!(
            "the files left beside {} can't be removed",
            path_text(image)
        );
        Self::new(OpErrorKind::Environment, message).caused_by(error)
    }

    /// Returns the error of opening or writing the card at `path`.
    pub(crate) fn of_card(path: &Path, error: BlockError) -> Self {
        if not_permitted(&error) == Some(&NotPermitted::Stopped) {
            return Self::new(OpErrorKind::Interrupted, "stopped");
        }
        let path_text = path_text(path);
        let (kind, message) = match (error.kind(), error.operation()) {
            (BlockErrorKind::Permission, _) => (
                OpErrorKind::Environment,
                format!("you may not write {path_text}"),
            ),
            (BlockErrorKind::Busy, _) => {
                (OpErrorKind::Environment, format!("{path_text} is in use"))
            }
            (BlockErrorKind::Gone, Operation::Open) => (
                OpErrorKind::Refused,
                format!("{path_text} is not the device that was chosen"),
            ),
            (BlockErrorKind::Gone, _) => (
                OpErrorKind::Medium,
                format!("{path_text} disappeared while it was written"),
            ),
            (BlockErrorKind::ReadOnly, _) => (
                OpErrorKind::Environment,
                format!("{path_text} is write-protected"),
            ),
            (BlockErrorKind::OutsidePermit, _) => (
                OpErrorKind::Internal,
                format!("a write outside the plan was blocked on {path_text}"),
            ),
            (_, Operation::Read) => (OpErrorKind::Medium, format!("{path_text} can't be read")),
            _ => (OpErrorKind::Medium, format!("{path_text} can't be written")),
        };
        Self::new(kind, message).caused_by(error)
    }

    /// Returns the error of writing the image at `path`.
    pub(crate) fn of_destination(path: &Path, error: BlockError) -> Self {
        let path_text = path_text(path);
        match error.kind() {
            _ if is_broken_pipe(&error) => Self::new(
                OpErrorKind::Environment,
                format!("{path_text} was closed too early"),
            )
            .hint("the program at the end of the pipe stopped before it had everything")
            .caused_by(error),
            BlockErrorKind::NoSpace => {
                let own = Self::new(
                    OpErrorKind::Environment,
                    format!("no space is left for {path_text}"),
                );
                match cardkeep_device::max_file_bytes(path.parent().unwrap_or(path)) {
                    Some(most) => own.hint(format!(
                        "files there can't be larger than {most} bytes; choose a disk with another filesystem, such as exFAT"
                    )),
                    None => own.hint("free some space, or choose another disk"),
                }
                .caused_by(error)
            }
            BlockErrorKind::Permission => Self::new(
                OpErrorKind::Environment,
                format!("you may not write {path_text}"),
            )
            .hint("choose a folder of your own")
            .caused_by(error),
            _ => Self::new(OpErrorKind::Medium, format!("{path_text} can't be written"))
                // A filesystem without a journal does not write again what failed once.
                .hint(
                    "unmount the disk and check its filesystem first: what the system remembers \
                     of it may not be on it",
                )
                .caused_by(error),
        }
    }

    /// Returns the error of a destination file as a whole.
    pub(crate) fn of_partial_file(path: &Path, error: PartialFileError) -> Self {
        let kind = match error.kind {
            PartialFileErrorKind::Medium => OpErrorKind::Environment,
            PartialFileErrorKind::InUse => OpErrorKind::Environment,
            _ => OpErrorKind::Usage,
        };
        let is_permission = error
            .medium_error()
            .is_some_and(|error| error.kind() == BlockErrorKind::Permission);
        let hint = match error.kind {
            PartialFileErrorKind::Exists => {
                Some("--force replaces it once the new one is complete")
            }
            PartialFileErrorKind::PartialExists => {
                Some("--resume continues it; --force discards it and starts over")
            }
            PartialFileErrorKind::Medium if is_permission => Some("choose a folder of your own"),
            _ => error.hint(),
        };
        let own = Self::new(kind, format!("{} can't be created", path_text(path)));
        match hint {
            Some(hint) => own.hint(hint),
            None => own,
        }
        .caused_by(error)
    }

    /// Returns the error of a copy or comparison.
    pub(crate) fn of_copy(source: &Path, destination: &Path, error: CopyError) -> Self {
        match error {
            CopyError::Source(error) => Self::of_source(source, error),
            CopyError::Destination(error) => Self::of_destination(destination, error),
            CopyError::Image(error) => Self::of_image(destination, error),
            CopyError::Mismatch { .. } | CopyError::Index(_) => Self::new(
                OpErrorKind::Mismatch,
                format!("{} does not hold what it should", path_text(destination)),
            )
            .caused_by(error),
            CopyError::Interrupted => Self::new(OpErrorKind::Interrupted, "stopped"),
            CopyError::Checksum(_) => Self::new(
                OpErrorKind::Mismatch,
                format!(
                    "{} doesn't have the SHA-256 that was given",
                    path_text(source)
                ),
            )
            .caused_by(error),
            error => Self::new(OpErrorKind::Internal, "the copy failed").caused_by(error),
        }
    }

    /// Returns the error of the content of the image at `path`, which can't be read: the image's own where it
    /// is damaged.
    pub(crate) fn of_content(path: &Path, error: BlockError) -> Self {
        let source = std::error::Error::source(&error);
        match source.and_then(|source| source.downcast_ref()) {
            Some(ImageError::Corrupt(_)) => {
                let message = format!("{} is damaged", path_text(path));
                Self::new(OpErrorKind::Corrupt, message).caused_by(error)
            }
            _ => Self::of_source(path, error),
        }
    }

    /// Returns the error of an image's container.
    pub(crate) fn of_image(path: &Path, error: ImageError) -> Self {
        let path_text = path_text(path);
        match error {
            ImageError::Io(error) => Self::of_source(path, error),
            ImageError::Unsupported(what) => {
                let message =
                    format!("{path_text} needs a feature that this version does not support");
                let own = Self::new(OpErrorKind::Usage, message).caused_by(what.to_string());
                match what.advice() {
                    Some(advice) => own.hint(advice.replace("FILE", &path_text.to_string())),
                    None => own,
                }
            }
            error => {
                Self::new(OpErrorKind::Corrupt, format!("{path_text} is damaged")).caused_by(error)
            }
        }
    }
}

impl fmt::Display for OpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Returns why a device was not handed out that the system was asked for.
pub(crate) fn not_permitted(error: &BlockError) -> Option<&NotPermitted> {
    std::error::Error::source(error)?.downcast_ref()
}

impl std::error::Error for OpError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
/// Tells whether the reader of a pipe has closed it.
fn is_broken_pipe(error: &BlockError) -> bool {
    let cause = std::error::Error::source(error);
    let cause = cause.and_then(|cause| cause.downcast_ref::<std::io::Error>());
    cause.is_some_and(|cause| cause.kind() == std::io::ErrorKind::BrokenPipe)
}

/// Says that a path leads nowhere: a file that is missing, or a reader without a card.
fn not_there(path: &Path) -> String {
    let shown = path_text(path);
    match is_of_devices(path) {
        true => format!("there is no {shown}, or no card is in it"),
        false => format!("there is no file {shown}"),
    }
}

/// Tells whether a path is one that devices have.
fn is_of_devices(path: &Path) -> bool {
    path.starts_with("/dev")
}
