//! The command line. Completions and man pages are made from it.

use std::path::PathBuf;

use cardkeep_ops::restore::Expand;
use cardkeep_ops::{ContentRule, Format, Length, Truncated};
use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum, ValueHint};

use crate::done::Telling;
use crate::units;

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
    /// Write an image to one or more cards, and verify them. Erases what is on them.
    #[command(after_help = RESTORE_EXAMPLES)]
    Restore(RestoreArgs),
    /// Copy a card to one or more others, and verify them. Erases what is on those.
    Clone(CloneArgs),
    /// Shrink the system's filesystem in an image, into a new and smaller image.
    #[command(after_help = SHRINK_EXAMPLES)]
    Shrink(ShrinkArgs),
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
  cardkeep backup                          the only card, to HOST-DATE.img.zst
  cardkeep backup /dev/sdb pi.img.zst      that card, to that file
  cardkeep backup /dev/sdb --dry-run       what would be read, and how long it takes
  cardkeep backup /dev/sdb --shrink        an image that fits on smaller cards
  cardkeep backup /dev/sdb --shrink=8GB    one that fits on a card of 8 GB
  cardkeep backup /dev/sdb - | ssh nas 'cat > pi.img.zst'";

const SHRINK_EXAMPLES: &str = "Examples:
  cardkeep shrink pi.img                   to pi-small.img.zst
  cardkeep shrink pi.img.xz small.img.zst --margin 10
  cardkeep shrink pi.img.zst pi-8.img.zst --size 8GB";

const RESTORE_EXAMPLES: &str = "Examples:
  cardkeep restore pi.img.zst                         to the only card; asks first
  cardkeep restore raspios.img.xz /dev/sdb            any image, to that card
  cardkeep restore pi.img.zst /dev/sdb --delta        write only what differs
  cardkeep restore pi.img.zst --to /dev/sdb --to /dev/sdc
  curl ... | cardkeep restore - /dev/sdb --yes";

#[derive(Clone, Copy, Debug, Default, ClapArgs)]
pub(crate) struct OutputArgs {
    /// Print JSON; progress and warnings as JSON lines on standard error.
    #[arg(long)]
    pub(crate) json: bool,
    /// Show no progress; of a backup, restore, clone or shrink neither plan nor result.
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
    /// Accept a file even if it looks like one of another kind than a disk image.
    #[arg(long)]
    pub(crate) allow_unknown_content: bool,
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
    /// Read it back from its disk, decode it, and compare it with what was read from the card.
    Image,
    /// As `image`, then re-read the card and report anything that changed.
    Card,
    /// Don't verify.
    None,
}

/// How an image made from another one is verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum VerifyImageArg {
    /// Read it back from its disk, decode it, and compare it with the old image.
    Image,
    /// Don't verify.
    None,
}

/// What becomes of sectors that can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SkipErrorsArg {
    /// Make the image, with zeros in their place, and report what is lost.
    Always,
    /// Make no image; what was read is kept for --resume.
    Never,
}

/// The filesystem's smallest size, and some room for a system to start in: usually 5 % are reserved
/// for root, and other users write, too.
const MARGIN_PER_MILLE: u32 = 80;
/// What `--shrink` and `--expand` mean without a size.
const AS_FAR_AS_CAN_BE: &str = "max";

/// How far a filesystem is made smaller or larger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SizeArg {
    /// As far as possible.
    Most,
    /// To this many bytes of image or card in all.
    Bytes(u64),
}

fn parse_size(text: &str) -> Result<SizeArg, String> {
    match text {
        AS_FAR_AS_CAN_BE => Ok(SizeArg::Most),
        text => units::parse_size(text).map(SizeArg::Bytes),
    }
}

/// Returns which content is taken.
pub(crate) const fn content(is_any: bool) -> ContentRule {
    match is_any {
        true => ContentRule::Any,
        false => ContentRule::Known,
    }
}

/// Returns what happens to content that ends before its partitions do.
pub(crate) const fn truncated(is_allowed: bool) -> Truncated {
    match is_allowed {
        true => Truncated::Allow,
        false => Truncated::Refuse,
    }
}

/// Returns how short an image gets.
pub(crate) fn length(size: Option<SizeArg>, margin: Option<u32>) -> Length {
    match size {
        Some(SizeArg::Bytes(bytes)) => Length::AtMost(bytes),
        _ => Length::Smallest {
            margin_per_mille: margin.unwrap_or(MARGIN_PER_MILLE),
        },
    }
}

#[derive(Debug, ClapArgs)]
pub(crate) struct BackupArgs {
    /// The card, or any other device or file [default: the only card].
    #[arg(value_name = "CARD", value_hint = ValueHint::AnyPath)]
    pub(crate) card: Option<PathBuf>,
    /// The image: .img, .img.zst, .img.gz or .img.xz; `-` for standard output.
    #[arg(value_name = "IMAGE", value_hint = ValueHint::FilePath)]
    pub(crate) image: Option<PathBuf>,
    /// Show what would be done, and do nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Copy every byte, even what the filesystems call free.
    #[arg(long)]
    pub(crate) everything: bool,
    /// Shrink the system's filesystem so that the image is as small as its files allow; or with a SIZE
    /// such as 8GB, so that the image fits a card of that size. The card is not changed.
    #[arg(long, value_name = "SIZE", num_args = 0..=1, require_equals = true,
          default_missing_value = AS_FAR_AS_CAN_BE, value_parser = parse_size,
          conflicts_with = "everything")]
    pub(crate) shrink: Option<SizeArg>,
    /// With --shrink: how much larger than its smallest size the filesystem becomes, in percent
    /// [default: 8].
    #[arg(long, value_name = "PERCENT", value_parser = units::parse_per_mille,
          requires = "shrink")]
    pub(crate) margin: Option<u32>,
    /// With --shrink: copy the card unchanged if it can't be shrunk safely.
    #[arg(long, requires = "shrink")]
    pub(crate) or_whole: bool,
    /// Resume an interrupted backup, or a rescue that ddrescue began (IMAGE.map beside the raw
    /// IMAGE); nothing is read twice.
    #[arg(long, conflicts_with = "force")]
    pub(crate) resume: bool,
    /// How long to wait if the card disappears during the backup.
    #[arg(long, value_name = "SECONDS", default_value_t = 20)]
    pub(crate) wait_for_card: u32,
    /// How often to retry sectors that can't be read, once everything else was read.
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    pub(crate) retries: u32,
    /// How long each place that can't be read may take in each pass over it.
    #[arg(long, value_name = "SECONDS")]
    pub(crate) area_time: Option<u32>,
    /// What to do with sectors that can't be read at all.
    #[arg(long, value_name = "WHEN", value_enum, default_value = "always")]
    pub(crate) skip_errors: SkipErrorsArg,
    /// Write a report on the card's health to this file: .html or .svg.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) report: Option<PathBuf>,
    /// Replace an existing image once the new one is complete; discard what an interrupted run left.
    #[arg(long)]
    pub(crate) force: bool,
    /// Unmount the card first.
    #[arg(long)]
    pub(crate) unmount: bool,
    /// Accept an image that ends before its partitions do, even if used bytes are missing.
    #[arg(long)]
    pub(crate) allow_truncated: bool,
    /// Image format [default: from the file name, else zst].
    #[arg(long, value_enum)]
    pub(crate) format: Option<FormatArg>,
    /// Compression level; the range depends on the format [default: 3 for zst].
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
    /// Don't verify.
    None,
}

/// What all commands that write cards have in common.
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
    /// Write every byte, even what the filesystems call free.
    #[arg(long)]
    pub(crate) everything: bool,
    /// Let the system's ext filesystem fill the card (the default on a larger card), or the first
    /// SIZE of it; refuse if that isn't possible.
    #[arg(long, value_name = "SIZE", num_args = 0..=1, require_equals = true,
          default_missing_value = AS_FAR_AS_CAN_BE, value_parser = parse_size)]
    pub(crate) expand: Option<SizeArg>,
    /// Keep the sizes of the partitions.
    #[arg(long, conflicts_with = "expand")]
    pub(crate) no_expand: bool,
    /// Read the card first, and write only what differs.
    #[arg(long, conflicts_with = "resume")]
    pub(crate) delta: bool,
    /// Resume an interrupted restore; checks what the card already holds.
    #[arg(long)]
    pub(crate) resume: bool,
    /// How to verify the card.
    #[arg(long, value_enum, default_value = "card")]
    pub(crate) verify: VerifyCardArg,
    /// Skip the test whether the card is as large as it claims.
    #[arg(long)]
    pub(crate) no_probe: bool,
    /// Eject the card at the end.
    #[arg(long)]
    pub(crate) eject: bool,
    /// Write content that doesn't look like a disk's: one without a known partition table, filesystem
    /// or boot code, or a file of another kind.
    #[arg(long)]
    pub(crate) allow_unknown_content: bool,
    /// Accept a source that ends before its partitions do, even if used bytes are missing.
    #[arg(long)]
    pub(crate) allow_truncated: bool,
}

impl WriteArgs {
    /// Returns whether the last filesystem grows.
    pub(crate) const fn expand(&self) -> Expand {
        match self.expand {
            _ if self.no_expand => Expand::Never,
            None => Expand::Auto,
            Some(SizeArg::Most) => Expand::Always,
            Some(SizeArg::Bytes(bytes)) => Expand::UpTo(bytes),
        }
    }
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ShrinkArgs {
    /// The image: .img, .img.zst, .img.gz, .img.xz, .img.bz2, .zip or .tar. It is not changed.
    #[arg(value_name = "IMAGE", value_hint = ValueHint::FilePath)]
    pub(crate) image: PathBuf,
    /// The new image: .img, .img.zst, .img.gz or .img.xz; `-` for standard output
    /// [default: NAME-small.img.zst].
    #[arg(value_name = "NEW", value_hint = ValueHint::FilePath)]
    pub(crate) new: Option<PathBuf>,
    /// Make it fit a card of this size, such as 8GB, instead of as small as possible.
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub(crate) size: Option<SizeArg>,
    /// How much larger than its smallest size the filesystem becomes, in percent [default: 8].
    #[arg(long, value_name = "PERCENT", value_parser = units::parse_per_mille)]
    pub(crate) margin: Option<u32>,
    /// Show what would be done, and do nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Replace an existing image once the new one is complete.
    #[arg(long)]
    pub(crate) force: bool,
    /// Accept a file even if it looks like one of another kind than a disk image.
    #[arg(long)]
    pub(crate) allow_unknown_content: bool,
    /// Accept an image that ends before its partitions do, even if used bytes are missing.
    #[arg(long)]
    pub(crate) allow_truncated: bool,
    /// Image format [default: from the file name, else zst].
    #[arg(long, value_enum)]
    pub(crate) format: Option<FormatArg>,
    /// Compression level; the range depends on the format [default: 3 for zst].
    #[arg(long, allow_negative_numbers = true)]
    pub(crate) level: Option<i32>,
    /// How to verify the new image.
    #[arg(long, value_enum, default_value = "image")]
    pub(crate) verify: VerifyImageArg,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct RestoreArgs {
    /// The image: .img, .img.zst, .img.gz, .img.xz, .img.bz2, .zip or .tar; `-` for standard
    /// input.
    #[arg(value_name = "IMAGE", value_hint = ValueHint::FilePath)]
    pub(crate) image: PathBuf,
    /// The card [default: the only card].
    #[arg(value_name = "CARD", value_hint = ValueHint::AnyPath)]
    pub(crate) card: Option<PathBuf>,
    /// One more card; can be given several times.
    #[arg(long, value_name = "CARD", value_hint = ValueHint::AnyPath)]
    pub(crate) to: Vec<PathBuf>,
    /// Restore only if the image file or its content has this SHA-256 [default: the one in IMAGE.sha256 or
    /// SHA256SUMS beside the image, if there is one].
    #[arg(long, value_name = "HEX")]
    pub(crate) sha256: Option<String>,
    #[command(flatten)]
    pub(crate) write: WriteArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct CloneArgs {
    /// The card to read.
    #[arg(value_name = "FROM", value_hint = ValueHint::AnyPath)]
    pub(crate) source: PathBuf,
    /// The card to write.
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
    /// Accept a file even if it looks like one of another kind than a disk image.
    #[arg(long)]
    pub(crate) allow_unknown_content: bool,
    /// Accept an image that ends before its partitions do, even if used bytes are missing.
    #[arg(long)]
    pub(crate) allow_truncated: bool,
    /// Check that the image file or its content has this SHA-256 [default: the one in IMAGE.sha256 or
    /// SHA256SUMS beside the image, if there is one].
    #[arg(long, value_name = "HEX")]
    pub(crate) sha256: Option<String>,
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
    /// Returns what the command has to show for its work.
    pub(crate) const fn telling(&self) -> Telling {
        match &self.command {
            Command::List(_) | Command::Info(_) | Command::Completions(_) => Telling::Everything,
            _ => Telling::Report,
        }
    }

    /// Returns how to talk to the user.
    pub(crate) const fn output(&self) -> OutputArgs {
        match &self.command {
            Command::List(args) => args.output,
            Command::Info(args) => args.output,
            Command::Backup(args) => args.output,
            Command::Restore(args) => args.output,
            Command::Clone(args) => args.output,
            Command::Shrink(args) => args.output,
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
