//! The programs that read a failing card, and how each is called.

use std::path::Path;

/// A program that reads what can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    /// The used bytes, compressed.
    Cardkeep,
    /// The used bytes, as they are.
    CardkeepRaw,
    /// The whole card, as its manual recommends for media that fail.
    Ddrescue,
}

impl Peer {
    /// In the order of the table.
    pub(super) const ALL: [Self; 3] = [Self::Cardkeep, Self::CardkeepRaw, Self::Ddrescue];

    /// Returns its name on the command line and in the table.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Cardkeep => "cardkeep",
            Self::CardkeepRaw => "cardkeep-raw",
            Self::Ddrescue => "ddrescue",
        }
    }

    /// Returns the name of its image.
    pub(super) fn image(self) -> &'static str {
        match self {
            Self::Cardkeep => "card.img.zst",
            Self::CardkeepRaw | Self::Ddrescue => "card.img",
        }
    }

    /// Returns the call, in bash. It ends when the output is durable.
    pub(super) fn script(self, device: &Path, folder: &Path, program: &Path) -> String {
        let (device, image) = (device.display(), folder.join(self.image()));
        let (image, program) = (image.display(), program.display());
        let call = match self {
            // 9 is "done, with trouble on the way".
            Self::Cardkeep | Self::CardkeepRaw => {
                format!("{program} backup --quiet --retries 1 {device} {image} || [ $? = 9 ]")
            }
            Self::Ddrescue => format!("ddrescue -q -d -r1 {device} {image} {image}.map"),
        };
        format!("{call}; sync {}/*", folder.display())
    }
}
