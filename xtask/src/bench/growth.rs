//! A small filesystem that fills a large card: time should follow what is written, not the card.

use std::path::{Path, PathBuf};

use cardkeep_testkit::Tool;

use super::measure::{self, Measured};
use super::{Options, machine};

const GB: u64 = 1_000_000_000;
const MIB: u64 = 1 << 20;
/// What LibreELEC comes with: 32 MiB in blocks of 1 KiB, whose groups have 8 MiB. A card of 256 GB has
/// some 30,000 of them.
const FILESYSTEM: &str = "mke2fs -q -F -t ext4 -b 1024";

/// A way to make the filesystem larger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Restored with `--expand`, and read back.
    Cardkeep,
    /// The same, but not read back.
    Unverified,
    /// Copied, and made larger in its place.
    Resize2fs,
}

impl Way {
    const ALL: [Self; 3] = [Self::Resize2fs, Self::Unverified, Self::Cardkeep];

    const fn name(self) -> &'static str {
        match self {
            Self::Cardkeep => "cardkeep",
            Self::Unverified => "cardkeep-unverified",
            Self::Resize2fs => "resize2fs",
        }
    }

    /// Returns what makes a card of `image` in the sparse file `card`, which has its length already.
    fn script(self, program: &Path, image: &Path, card: &Path) -> String {
        let (program, image, card) = (program.display(), image.display(), card.display());
        let restore = format!("'{program}' restore '{image}' '{card}' --yes --expand --quiet");
        match self {
            Self::Cardkeep => restore,
            Self::Unverified => format!("{restore} --verify none"),
            Self::Resize2fs => format!(
                "dd if='{image}' of='{card}' bs=1M conv=notrunc,sparse status=none; \
                 resize2fs '{card}' 2>/dev/null; sync '{card}'"
            ),
        }
    }
}

/// Lets each way fill cards of each size, one after the other.
///
/// # Errors
/// Says what can't be set up. A way that fails is a line of the table.
pub(super) fn run(options: &Options) -> Result<(), String> {
    let image = options.work.join("bench-growth.img");
    let card = options.work.join("bench-growth.card");
    make_image(&image)?;
    println!("| card GB | program | wall s | cpu s | on the disk MB | load | wall/resize2fs |");
    println!("|---:|---|---:|---:|---:|---:|---:|");
    let program = std::path::absolute(&options.program).map_err(|e| e.to_string())?;
    for &size_gb in &options.sizes_gb {
        let mut peer = None;
        for way in Way::ALL {
            make_sparse(&card, size_gb.saturating_mul(GB) / MIB * MIB)?;
            let measured = measure::pipeline(&way.script(&program, &image, &card), None);
            println!(
                "{}",
                line(size_gb, way, &measured, peer, stored_bytes(&card)?)
            );
            if let (Way::Resize2fs, Ok(measured)) = (way, &measured) {
                peer = Some(measured.wall_seconds);
            }
            if measured.is_ok() {
                check(&card)?;
            }
        }
    }
    for path in [&image, &card] {
        std::fs::remove_file(path).map_err(|e| format!("can't remove {}: {e}", path.display()))?;
    }
    Ok(())
}

fn line(
    size_gb: u64,
    way: Way,
    measured: &Result<Measured, String>,
    peer_seconds: Option<f64>,
    stored_bytes: u64,
) -> String {
    let name = way.name();
    let measured = match measured {
        Ok(measured) => measured,
        Err(_) => return format!("| {size_gb} | {name} | refuses | | | | |"),
    };
    let ratio = peer_seconds.map_or(String::new(), |seconds| {
        format!("{:.2}", measured.wall_seconds / seconds)
    });
    format!(
        "| {size_gb} | {name} | {:.2} | {:.2} | {:.0} | {} | {ratio} |",
        measured.wall_seconds,
        measured.cpu_seconds,
        stored_bytes as f64 / 1e6,
        machine::load()
    )
}

fn make_image(image: &PathBuf) -> Result<(), String> {
    make_sparse(image, 32 * MIB)?;
    Tool::new("bash")
        .args(["-c", &format!("{FILESYSTEM} \"$1\""), "bash"])
        .arg(image)
        .run();
    Ok(())
}

/// Makes an empty file of `len` bytes.
fn make_sparse(path: &Path, len: u64) -> Result<(), String> {
    let file = std::fs::File::create(path).map_err(|e| e.to_string())?;
    file.set_len(len)
        .map_err(|e| format!("can't make {} {len} bytes long: {e}", path.display()))
}

fn stored_bytes(path: &Path) -> Result<u64, String> {
    use std::os::unix::fs::MetadataExt;
    let data = std::fs::metadata(path).map_err(|e| e.to_string())?;
    Ok(data.blocks().saturating_mul(512))
}

/// Lets `e2fsck` judge what was made: a wrong filesystem is made in no time.
fn check(card: &Path) -> Result<(), String> {
    super::call::call("e2fsck", ["-fn".as_ref(), card.as_os_str()])
}
