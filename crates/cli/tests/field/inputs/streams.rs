//! Streams that don't fit a card, or can't be decoded: what is known early is told early.

use super::{Content, check_refused, desk, is_untouched, renew, restore};
use cardkeep_testkit::skip_unless_tools;

/// An ext4 filesystem of 31 MiB behind the FAT, of which 16 MB are incompressible; streams of it that are
/// cut in their middle, so that whoever decodes them to their end finds that first.
const LARGE: &str = "truncate -s 40M large.img
printf 'label: dos\nstart=2048, size=16384, type=c\nstart=18432, type=83\n' | sfdisk -q large.img
mkfs.vfat --offset 2048 large.img 8192 >/dev/null 2>&1
mkdir tree; head -c 16000000 /dev/urandom > tree/data
mke2fs -q -t ext4 -d tree -E offset=9437184 large.img 31744k
gzip -1 -k large.img; xz -0 -k large.img; bzip2 -1 -k large.img; cat large.img | zstd -q -1 > large.img.zst
for name in large.img.gz large.img.xz large.img.bz2 large.img.zst; do truncate -s 12M $name; done";

#[test]
fn a_stream_that_does_not_fit_is_refused_as_soon_as_its_filesystems_are_known() {
    let desk = desk();
    desk.sh(LARGE);
    for name in [
        "large.img.gz",
        "large.img.xz",
        "large.img.bz2",
        "large.img.zst",
    ] {
        let expected = ["target is too small", "needs at least 41943040 bytes"];
        // Xz has an index at its end, and without it is refused before it is decoded.
        if name != "large.img.xz" {
            check_refused(&desk, Content::file(name), 3, &expected);
            assert!(is_untouched(&desk), "{name} was written");
        }
        let expected = ["does not fit", "its partitions need 41943040 bytes"];
        check_refused(&desk, Content::pipe(name), 3, &expected);
        renew(&desk);
    }
}

/// What the first sector says of the partitions is known before a pipe costs anything.
#[test]
fn a_pipe_whose_partition_begins_behind_the_card_costs_nothing() {
    let desk = desk();
    desk.sh("truncate -s 70M far.img
printf 'label: dos\\nstart=2048, size=16384, type=c\\nstart=81920, type=83\\n' | sfdisk -q far.img
mkfs.vfat --offset 2048 far.img 8192 >/dev/null 2>&1");
    for is_piped in [false, true] {
        check_refused(
            &desk,
            Content {
                name: "far.img",
                is_piped,
            },
            3,
            &["too small"],
        );
        assert!(is_untouched(&desk));
    }
}

#[test]
fn content_without_partitions_that_does_not_fit_is_not_decoded_to_its_end() {
    let desk = desk();
    desk.sh(
        "head -c 48000000 /dev/urandom > noise; gzip -1 -c noise | head -c 40000000 > noise.img.gz",
    );
    let answer = restore(&desk, "noise.img.gz", false, &["--allow-unknown-content"]);
    assert_eq!(answer.code, 3, "{}", answer.stderr);
    assert!(answer.stderr.contains("too small"), "{}", answer.stderr);
    assert!(is_untouched(&desk));
}

/// A stream that goes on behind what its partitions need fits as before.
#[test]
fn a_stream_of_which_only_padding_does_not_fit_is_restored() {
    let desk = desk();
    desk.sh("cp card.img padded.img; truncate -s 40M padded.img; gzip -1 -k padded.img");
    for is_piped in [false, true] {
        let answer = restore(&desk, "padded.img.gz", is_piped, &["--no-expand"]);
        assert_eq!(answer.code, 0, "{}", answer.stderr);
        desk.sh("e2fsck -fn 'target?offset=9437184' 2>/dev/null >/dev/null");
    }
}

/// The second of two streams claims a dictionary of 1 GiB (.xz file format 1.2.1, section 5.3.1).
const LATER_BLOCK: &str = "
head -c 12M card.img | xz -0 > one; tail -c +12582913 card.img | xz -0 > two
python3 - <<'END'
import zlib
data = bytearray(open('two', 'rb').read())
size = (data[12] + 1) * 4
header = data[12:12 + size]
at = header.index(b'\\x21\\x01')
header[at + 2] = 36
header[-4:] = zlib.crc32(header[:-4]).to_bytes(4, 'little')
data[12:12 + size] = header
open('later.img.xz', 'wb').write(open('one', 'rb').read() + data)
END";

#[test]
fn a_later_block_that_needs_too_much_memory_is_told_before_the_card_is_touched() {
    let name = "a_later_block_that_needs_too_much_memory_is_told_before_the_card_is_touched";
    if skip_unless_tools(name, &["python3"]) {
        return;
    }
    let desk = desk();
    desk.sh(LATER_BLOCK);
    check_refused(
        &desk,
        Content::file("later.img.xz"),
        2,
        &["too much memory"],
    );
    assert!(is_untouched(&desk));
    // The same where its blocks are so large that it is read as a stream.
    desk.sh("zip -q -0 later.zip later.img.xz");
    check_refused(&desk, Content::file("later.zip"), 2, &["too much memory"]);
    assert!(is_untouched(&desk));
}

#[test]
fn a_later_frame_that_needs_a_dictionary_is_told_before_the_card_is_touched() {
    let desk = desk();
    desk.sh("mkdir samples; for i in $(seq 300); do head -c 700 /dev/urandom | base64 > samples/$i; done
zstd -q --train -r samples -o dictionary --maxdict=20000
head -c 12M card.img > one; tail -c +12582913 card.img > two
zstd -q -1 one -o one.zst; zstd -q -1 -D dictionary two -o two.zst; cat one.zst two.zst > later.img.zst");
    check_refused(
        &desk,
        Content::file("later.img.zst"),
        2,
        &["with a dictionary"],
    );
    assert!(is_untouched(&desk));
}

/// GNU tar's three ways to describe holes in pax archives, and bsdtar's default.
#[test]
fn a_sparse_image_in_a_pax_archive_is_restored_with_its_holes() {
    let desk = desk();
    desk.sh("fallocate -d card.img
for version in 0.0 0.1 1.0; do
    tar --format=pax --sparse-version=$version -Scf pax$version.tar card.img
done
bsdtar --format=pax -cf bsd.tar card.img; gzip -k pax1.0.tar");
    let sparse = desk.sh("stat -c %s pax1.0.tar").trim().parse::<u64>();
    assert!(sparse.unwrap() < 20 << 20, "the archive is sparse");
    for name in [
        "pax0.0.tar",
        "pax0.1.tar",
        "pax1.0.tar",
        "pax1.0.tar.gz",
        "bsd.tar",
    ] {
        for is_piped in [false, true] {
            renew(&desk);
            let options = ["--no-expand", "--everything"];
            let answer = restore(&desk, name, is_piped, &options);
            assert_eq!(answer.code, 0, "{name}: {}", answer.stderr);
            desk.sh("cmp -n $(stat -c %s card.img) card.img target");
        }
        desk.expect(0, &["verify", name, "--quiet"]);
    }
}

#[test]
fn files_that_are_named_like_archives_or_discs_are_no_cards() {
    let desk = desk();
    for ending in ["lzma", "lzo", "iso", "ISO", "lrz", "tzst", "bmap"] {
        let name = format!("zeros.{ending}");
        desk.filled(&name, 32 << 20, 0);
        let answer = desk.run(&["restore", "card.img", &name, "--yes"]);
        assert_eq!(answer.code, 3, "{name}: {}", answer.stderr);
        let said = "named like something to keep";
        assert!(answer.stderr.contains(said), "{}", answer.stderr);
    }
}
