//! The command line. Completions and man pages are made from it.

use std::path::PathBuf;

use cardkeep_image::Format;
use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum, ValueHint};

/// Backs up a Raspberry Pi's SD card to an image, verified, at the card's own speed.
///
/// Reads only what is in use, knows ext2/3/4, FAT and swap, works without mounting anything, and
/// never writes to a card unless told to restore one.
#[derive(Debug, Parser)]
#[command(name = "cardkeep", version, max_term_width = 100)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show the cards, what is on them, and why each may or may not be written to.
    List(ListArgs),
    /// Show partitions, filesystems and what is used where, of a card or an image.
    Info(InfoArgs),
    /// Copy a card to an image, and verify it.
    #[command(after_help = BACKUP_EXAMPLES)]
    Backup(BackupArgs),
    /// Put an image onto one or more cards, and verify them. Erases what is on them.
    #[command(after_help = RESTORE_EXAMPLES)]
    Restore(RestoreArgs),
    /// Copy a card to one or more others, and verify them. Erases what is on those.
    Clone(CloneArgs),
    /// Check every digest in an image, or compare it with a card.
    Verify(VerifyArgs),
    /// Write the built-in sample card to a file, to try things out without a card.
    Sample(SampleArgs),
    /// Print shell completions.
    Completions(CompletionsArgs),
    /// Write the man pages to a folder.
    Man(ManArgs),
}

const BACKUP_EXAMPLES: &str = "Examples:
  cardkeep backup                          the only card there is, to HOST-DATE.img.zst
  cardkeep backup /dev/sdb pi.img.zst      that card, to that file
  cardkeep backup /dev/sdb --dry-run       what would be read, and how long it takes
  cardkeep backup /dev/sdb - | ssh nas 'cat > pi.img.zst'";

const RESTORE_EXAMPLES: &str = "Examples:
  cardkeep restore pi.img.zst                         onto the only card there is; asks first
  cardkeep restore raspios.img.xz /dev/sdb            any image, onto that card
  cardkeep restore pi.img.zst /dev/sdb --delta        write only what differs
  cardkeep restore pi.img.zst --to /dev/sdb --to /dev/sdc
  curl ... | cardkeep restore - /dev/sdb --yes";

#[derive(Clone, Copy, Debug, Default, ClapArgs)]
pub(crate) struct OutputArgs {
    /// Print JSON; progress and trouble as JSON lines on standard error.
    #[arg(long)]
    pub(crate) json: bool,
    /// Show no progress.
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ListArgs {
    /// Show the system's disks too, and why each is guarded.
    #[arg(long)]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct InfoArgs {
    /// A card, any other device, or an image.
    #[arg(value_name = "CARD|IMAGE", value_hint = ValueHint::AnyPath)]
    pub(crate) path: PathBuf,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// The containers that can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FormatArg {
    /// Raw and sparse.
    Raw,
    /// Compressed with zstd, with digests and an index.
    Zst,
    /// Compressed with gzip.
    Gz,
    /// Compressed with xz.
    Xz,
}

impl From<FormatArg> for Format {
    fn from(format: FormatArg) -> Self {
        match format {
            FormatArg::Raw => Self::Raw,
            FormatArg::Zst => Self::Zstd,
            FormatArg::Gz => Self::Gzip,
            FormatArg::Xz => Self::Xz,
        }
    }
}

/// How an image is verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum VerifyArg {
    /// Read it back from its disk, decode it, and compare it with what the card gave.
    Image,
    /// Don't.
    None,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct BackupArgs {
    /// The card, or any other device or file; the only card there is when left out.
    #[arg(value_name = "CARD", value_hint = ValueHint::AnyPath)]
    pub(crate) card: Option<PathBuf>,
    /// The image: .img, .img.zst, .img.gz or .img.xz; `-` for standard output.
    #[arg(value_name = "IMAGE", value_hint = ValueHint::FilePath)]
    pub(crate) image: Option<PathBuf>,
    /// Show what would be done, and do nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Copy every byte, whatever the filesystems say is free.
    #[arg(long)]
    pub(crate) everything: bool,
    /// Replace an existing image once the new one is whole.
    #[arg(long)]
    pub(crate) force: bool,
    /// Unmount the card first.
    #[arg(long)]
    pub(crate) unmount: bool,
    /// The container; told by the image's name when left out.
    #[arg(long, value_enum)]
    pub(crate) format: Option<FormatArg>,
    /// The compression level, in the numbers of the format [default: 3 for zst].
    #[arg(long, allow_negative_numbers = true)]
    pub(crate) level: Option<i32>,
    /// How to verify the image.
    #[arg(long, value_enum, default_value = "image")]
    pub(crate) verify: VerifyArg,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// How a card is verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum VerifyCardArg {
    /// Read it back, past every cache, and compare it.
    Card,
    /// Don't.
    None,
}

/// What all commands have in common that write cards.
#[derive(Debug, ClapArgs)]
pub(crate) struct WriteArgs {
    /// Don't ask; the card must be named.
    #[arg(long)]
    pub(crate) yes: bool,
    /// Write only if this is the card's serial number (or the whole of an SD card's CID).
    #[arg(long, value_name = "SERIAL")]
    pub(crate) expect_serial: Option<String>,
    /// Show what would be done, and do nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Write every byte, whatever the filesystems say is free.
    #[arg(long)]
    pub(crate) everything: bool,
    /// Read the card first, and write only what differs.
    #[arg(long, conflicts_with = "resume")]
    pub(crate) delta: bool,
    /// Go on with a restore that was interrupted; what is there already is checked.
    #[arg(long)]
    pub(crate) resume: bool,
    /// How to verify the card.
    #[arg(long, value_enum, default_value = "card")]
    pub(crate) verify: VerifyCardArg,
    /// Don't test first whether the card is as large as it says.
    #[arg(long)]
    pub(crate) no_probe: bool,
    /// Eject the card in the end.
    #[arg(long)]
    pub(crate) eject: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct RestoreArgs {
    /// The image: .img, .img.zst, .img.gz, .img.xz, .img.bz2 or .zip; `-` for standard input.
    #[arg(value_name = "IMAGE", value_hint = ValueHint::FilePath)]
    pub(crate) image: PathBuf,
    /// The card; the only one there is when left out.
    #[arg(value_name = "CARD", value_hint = ValueHint::AnyPath)]
    pub(crate) card: Option<PathBuf>,
    /// One more card; can be given several times.
    #[arg(long, value_name = "CARD", value_hint = ValueHint::AnyPath)]
    pub(crate) to: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) write: WriteArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct CloneArgs {
    /// The card that is read.
    #[arg(value_name = "FROM", value_hint = ValueHint::AnyPath)]
    pub(crate) source: PathBuf,
    /// The card that is written.
    #[arg(value_name = "TO", value_hint = ValueHint::AnyPath)]
    pub(crate) card: PathBuf,
    /// One more card to write; can be given several times.
    #[arg(long, value_name = "CARD", value_hint = ValueHint::AnyPath)]
    pub(crate) to: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) write: WriteArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct VerifyArgs {
    /// The image.
    #[arg(value_name = "IMAGE", value_hint = ValueHint::FilePath)]
    pub(crate) image: PathBuf,
    /// Compare it with this card, and name what differs.
    #[arg(long, value_name = "CARD", value_hint = ValueHint::AnyPath)]
    pub(crate) against: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct SampleArgs {
    /// The file to write; it must not exist.
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct CompletionsArgs {
    /// The shell.
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ManArgs {
    /// The folder; it must exist.
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) dir: PathBuf,
}

impl Args {
    /// Returns how to talk to the user.
    pub(crate) const fn output(&self) -> OutputArgs {
        match &self.command {
            Command::List(args) => args.output,
            Command::Info(args) => args.output,
            Command::Backup(args) => args.output,
            Command::Restore(args) => args.output,
            Command::Clone(args) => args.output,
            Command::Verify(args) => args.output,
            Command::Sample(_) | Command::Completions(_) | Command::Man(_) => OutputArgs {
                json: false,
                quiet: false,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Args::command().debug_assert();
    }
}
