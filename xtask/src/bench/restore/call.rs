//! How each program is called that puts a card back.

use super::peer::Peer;
use super::shelf::Shelf;
use super::target::Held;
use crate::bench::options::Options;

/// Returns the call, in bash. It ends when the content is on the target, which tasks that
/// write nowhere lack.
pub(super) fn script(
    peer: Peer,
    shelf: &Shelf,
    target: Option<&Held>,
    options: &Options,
) -> String {
    let program = options.program.display();
    let card = shelf.card().display();
    let image = shelf.image();
    let (image, xz) = (image.display(), shelf.image_xz());
    let xz = xz.display();
    let device = target.map(Held::path).unwrap_or_default();
    let call = match peer {
        Peer::Cardkeep => format!("{program} restore --yes --quiet {image} {device}"),
        Peer::CardkeepUnverified => {
            format!("{program} restore --yes --quiet --verify none {image} {device}")
        }
        Peer::CardkeepDelta => format!(
            "{program} restore --yes --quiet --delta {} {device}",
            shelf.image_changed().display()
        ),
        Peer::Dd => {
            format!("dd if={card} of={device} bs=4M oflag=direct conv=fsync status=none")
        }
        Peer::ZstdDd => format!(
            "zstd -dcq {image} | \
             dd of={device} bs=4M iflag=fullblock oflag=direct conv=fsync status=none"
        ),
        Peer::Bmaptool => format!(
            "bmaptool -q copy --bmap {} {card} {device}",
            shelf.bmap().display()
        ),
        Peer::Partclone => target.map_or(String::new(), |target| target.partclone(shelf)),
        Peer::Caligula => format!(
            "caligula burn {} -o {device} -z zst -s skip --interactive never --force --root never",
            shelf.image_of_one_frame().display()
        ),
        Peer::Verify => return format!("{program} verify --quiet {image}"),
        Peer::Zstd => return format!("zstd -dq -T0 -f -o /dev/null {image}"),
        Peer::VerifyXz => return format!("{program} verify --quiet {xz}"),
        Peer::Xz => return format!("xz -dc -T0 {xz} > /dev/null"),
    };
    format!("{call}; sync {device}")
}
