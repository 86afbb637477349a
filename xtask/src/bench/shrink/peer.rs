//! The ways to a small image, and how each is called.

use std::path::Path;

use cardkeep_testkit::Loop;

use crate::bench::scratch::Scratch;

/// What PiShrink does, after the copy that it wants and with zstd in place of its gzip: checks the
/// filesystem, makes it as small as resize2fs calls possible and 5000 blocks larger, fills what is
/// free with zeros, makes the partition anew, and cuts the file (`pishrink.sh` of
/// github.com/Drewsif/PiShrink at a5f9463, v26.03.16, without growing on the first boot, `-s`).
/// It knows no verification but that of its compressor.
const PISHRINK: &str = r#"
dd if="$card" of=raw.img bs=4M iflag=direct status=none $holes
truncate -s "$(blockdev --getsize64 "$card")" raw.img
last=$(parted -ms raw.img unit B print | tail -1)
number=$(cut -d: -f1 <<< "$last") start=$(cut -d: -f2 <<< "$last" | tr -d B)
mkdir mounted
device=$(losetup -f --show -o "$start" raw.img)
trap 'if mountpoint -q mounted; then umount mounted; fi; losetup -d "$device"' EXIT
field() { tune2fs -l "$device" | sed -n "s/^$1: *//p"; }
blocks=$(field "Block count") block_bytes=$(field "Block size")
e2fsck -pf "$device" || [ $? -lt 4 ]
wanted=$(resize2fs -P "$device" | cut -d: -f2 | tr -d ' ')
for more in 5000 1000 100; do
  if [ $((blocks - wanted)) -gt $more ]; then wanted=$((wanted + more)); break; fi
done
resize2fs -p "$device" "$wanted"
mount "$device" mounted
cat /dev/zero > mounted/zeros 2> full || :
rm mounted/zeros
umount mounted
parted -s -a minimal raw.img rm "$number"
parted -s raw.img unit B mkpart primary "$start" $((start + wanted * block_bytes))
end=$(parted -ms raw.img unit B print free | tail -1 | cut -d: -f2 | tr -d B)
truncate -s "$end" raw.img
losetup -d "$device"
trap - EXIT
zstd -T0 -3 -q --rm raw.img -o "$image"
sync "$image"
zstd -t -q "$image"
"#;

/// A program, called as its users call it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// In one pass, with the margin that it leaves by itself; the image is read back.
    Cardkeep,
    /// As above, as small as it can.
    CardkeepTight,
    /// The whole card into a file, which is made smaller in place.
    PiShrink,
    /// As above, with holes where the card holds zeros: of a card that was never full, that spares
    /// disk.
    PiShrinkSparse,
}

impl Peer {
    /// In the order of the table.
    pub(crate) const ALL: [Self; 4] = [
        Self::Cardkeep,
        Self::CardkeepTight,
        Self::PiShrink,
        Self::PiShrinkSparse,
    ];

    /// Whom to measure where nobody is named: a card's copy with holes takes as long as one without.
    pub(crate) const USUAL: [Self; 3] = [Self::Cardkeep, Self::CardkeepTight, Self::PiShrink];

    /// Returns its name on the command line and in the table.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Cardkeep => "cardkeep",
            Self::CardkeepTight => "cardkeep-tight",
            Self::PiShrink => "dd+pishrink+zstd",
            Self::PiShrinkSparse => "dd-sparse+pishrink+zstd",
        }
    }

    /// Returns what it compares, in words for the table.
    pub(crate) fn verifies(self) -> &'static str {
        match self {
            Self::Cardkeep | Self::CardkeepTight => "image with card",
            Self::PiShrink | Self::PiShrinkSparse => "zstd's checksum",
        }
    }

    /// Returns the call, in bash. It ends when the image is durable and verified.
    pub(crate) fn script(self, program: &Path, card: &Loop, scratch: &Scratch) -> String {
        let card = card.path().display();
        let image = scratch.output().display();
        let program = std::path::absolute(program).unwrap_or_else(|_| program.to_path_buf());
        let backup = format!("{} backup --quiet --shrink", program.display());
        let call = match self {
            Self::Cardkeep => format!(r#"{backup} "$card" "$image"; sync "$image""#),
            Self::CardkeepTight => {
                format!(r#"{backup} --margin 0 "$card" "$image"; sync "$image""#)
            }
            Self::PiShrink => format!("holes=; {PISHRINK}"),
            Self::PiShrinkSparse => format!("holes=conv=sparse; {PISHRINK}"),
        };
        let folder = scratch.folder().display();
        format!("cd {folder}; export TMPDIR=$PWD; card={card}; image={image}; {call}")
    }
}
