//! Why a permission to write was not given.
//!
//! Main type: [`Refusal`].

use std::error::Error;
use std::fmt;
use std::path::PathBuf;

use cardkeep_block::BlockError;

use crate::verdict::Guard;

/// Why a device or file may not be written.
#[derive(Debug)]
#[non_exhaustive]
pub enum Refusal {
    /// There is no such device or file any more.
    NotThere {
        /// The path that was approved.
        path: PathBuf,
    },
    /// It is not what was approved: another card in the same slot, or another length.
    Changed {
        /// What differs, in words: "its size is 8 bytes, not 4".
        what: String,
    },
    /// Its verdict speaks against it.
    Guarded {
        /// Every reason, the gravest first.
        guards: Vec<Guard>,
    },
    /// Something is mounted from it.
    Mounted {
        /// Where.
        at: PathBuf,
    },
    /// A file that is needed lies on it, or is it.
    HoldsImage {
        /// The file.
        file: PathBuf,
    },
    /// It was to be a regular file and is none.
    NotAFile {
        /// Its path.
        path: PathBuf,
        /// What it is instead, with its article: "a folder".
        what: &'static str,
    },
    /// The file serves as a device, which somebody may use.
    BacksDevice {
        /// The file.
        file: PathBuf,
        /// The device's name: `loop0`.
        device: String,
    },
    /// The file may serve as a device: it can't be told what that one is made of.
    MayBackDevice {
        /// The file.
        file: PathBuf,
        /// The device's name: `loop0`.
        device: String,
    },
    /// Another process uses the file.
    InUse {
        /// How, in words: "another program holds a lock on it".
        how: &'static str,
    },
    /// It is what is read, by standard input.
    IsRead,
    /// The machine could not be asked.
    Machine(BlockError),
}

impl Refusal {
    /// Returns what the user can do about it, in words, where there is something.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NotThere { .. } | Self::Changed { .. } => {
                "list the devices again, and start over with the one you mean".to_owned()
            }
            Self::Guarded { guards } => hint_against(guards),
            Self::Mounted { at } => format!("run: sudo umount '{}'", at.display()),
            Self::HoldsImage { .. } => "put the image on another disk first".to_owned(),
            Self::NotAFile { .. } => "give a device or a regular file".to_owned(),
            Self::BacksDevice { device, .. } => {
                format!(
                    "write to /dev/{device} instead, or detach it: sudo losetup -d /dev/{device}"
                )
            }
            Self::MayBackDevice { device, .. } => {
                format!(
                    "run cardkeep with sudo, or detach the device: sudo losetup -d /dev/{device}"
                )
            }
            Self::InUse { .. } => "end that program first (`fuser` or `lsof` name it)".to_owned(),
            Self::IsRead => "write it to another card or file".to_owned(),
            Self::Machine(_) => return None,
        };
        Some(hint)
    }
}

fn hint_against(guards: &[Guard]) -> String {
    let hint = match guards {
        [Guard::ReadOnly] => "move the card's lock switch, or use another card",
        [Guard::NoMedia] => "put a card into it",
        _ => "choose another device",
    };
    hint.to_owned()
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotThere { path } => write!(f, "{} is gone", path.display()),
            Self::Changed { what } => write!(f, "it is not what was approved: {what}"),
            Self::Guarded { guards } => {
                let reasons: Vec<_> = guards.iter().map(ToString::to_string).collect();
                write!(f, "it must not be written: {}", reasons.join("; "))
            }
            Self::Mounted { at } => write!(f, "it is mounted at {}", at.display()),
            Self::HoldsImage { file } => {
                write!(f, "{} lies on it and is still needed", file.display())
            }
            Self::NotAFile { path, what } => {
                write!(f, "{} is {what}, not a regular file", path.display())
            }
            Self::BacksDevice { file, device } => {
                write!(f, "{} serves as the device {device}", file.display())
            }
            Self::MayBackDevice { file, device } => write!(
                f,
                "{} may be the file behind the device {device}, which the system doesn't name",
                file.display()
            ),
            Self::InUse { how } => f.write_str(how),
            Self::IsRead => f.write_str("it is being read"),
            Self::Machine(_) => write!(f, "it is unknown whether it may be written"),
        }
    }
}

impl Error for Refusal {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Machine(error) => Some(error),
            _ => None,
        }
    }
}
