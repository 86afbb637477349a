//! Images that are packed more than once, padded, cut at odd places, or followed by something.

use super::{check_refused, check_restored, desk, is_untouched, restore};

/// etcher#2047, rpi-imager#116: an image in a tar archive is what people have.
#[test]
fn an_image_is_unpacked_on_the_way_however_it_is_packed() {
    let desk = desk();
    desk.sh(
        "tar -cf card.tar card.img; tar -czf card.tar.gz card.img; tar -cJf card.tar.xz card.img
tar -Scf sparse.tar card.img
gzip -1 -c card.img | gzip -1 > twice.img.gz
xz -0 -k card.img; zip -q -0 card.zip card.img.xz; zstd -q -c card.tar.gz > deep.zst
echo notes > README.txt; tar -czf notes.tgz README.txt card.img",
    );
    for name in [
        "card.tar",
        "card.tar.gz",
        "card.tar.xz",
        "sparse.tar",
        "twice.img.gz",
        "card.zip",
        "deep.zst",
        "notes.tgz",
    ] {
        for is_piped in [false, true] {
            check_restored(&desk, name, is_piped);
        }
        desk.expect(0, &["verify", name, "--quiet"]);
        let info = desk.expect(0, &["info", name]).stdout;
        assert!(
            info.contains("ext4") && info.contains("all of it was read"),
            "{info}"
        );
    }
    desk.expect(0, &["shrink", "card.tar.gz", "small.img.zst", "--quiet"]);
    desk.expect(0, &["verify", "small.img.zst", "--quiet"]);
}

#[test]
fn an_archive_with_several_images_is_refused_with_their_names() {
    let desk = desk();
    desk.sh("cp card.img other.img; tar -czf two.tar.gz card.img other.img");
    let answer = restore(&desk, "two.tar.gz", false, &[]);
    assert_eq!(answer.code, 2, "{}", answer.stderr);
    assert!(
        answer.stderr.contains("card.img, other.img"),
        "{}",
        answer.stderr
    );
    assert!(is_untouched(&desk));
}

/// A `dd` that was told another block size, or a tool that counts otherwise.
#[test]
fn an_image_that_ends_within_a_sector_is_filled_up_on_every_path() {
    let desk = desk();
    desk.sh("cp card.img odd.img; head -c 102 /dev/urandom >> odd.img
gzip -1 -k odd.img; xz -0 --block-size=4MiB -k odd.img; zstd -q -1 odd.img; bzip2 -1 -k odd.img");
    for name in [
        "odd.img",
        "odd.img.gz",
        "odd.img.xz",
        "odd.img.zst",
        "odd.img.bz2",
    ] {
        for is_piped in [false, true] {
            let answer = check_restored(&desk, name, is_piped);
            desk.sh("cmp -n $(stat -c %s odd.img) odd.img target
cmp -n 410 -i $(stat -c %s odd.img):0 target /dev/zero");
            let said = answer.stderr;
            assert!(is_piped || said.contains("410 zeros"), "{name}: {said}");
        }
        desk.expect(0, &["verify", name, "--quiet"]);
    }
    desk.expect(0, &["verify", "odd.img", "--against", "target"]);
    desk.expect(0, &["shrink", "odd.img", "small.img.zst", "--quiet"]);
    desk.expect(
        0,
        &[
            "backup",
            "odd.img",
            "ours.img.zst",
            "--everything",
            "--quiet",
        ],
    );
    check_restored(&desk, "ours.img.zst", false);
}

/// As `dd bs=10M conv=sync` pads: zeros behind the last partition.
#[test]
fn an_image_that_is_padded_with_zeros_fits_the_card_that_it_came_from() {
    let desk = desk();
    desk.sh(
        "dd if=card.img of=padded.img bs=10M conv=sync,noerror iflag=fullblock status=none
truncate -s 24M target",
    );
    for is_piped in [false, true] {
        let answer = restore(&desk, "padded.img", is_piped, &[]);
        assert_eq!(answer.code, 0, "{}", answer.stderr);
        desk.sh("e2fsck -fn 'target?offset=9437184'; sfdisk --verify -q target");
    }
}

/// openwrt images carry fwtool's metadata behind the gzip member.
#[test]
fn metadata_behind_a_gzip_image_is_left_out_with_a_note() {
    let desk = desk();
    desk.sh("gzip -1 -c card.img > wrt.img.gz
printf '\\0\\0\\0\\0\\0\\0\\0\\0{  \"metadata_version\": \"1.1\", \"supported_devices\":[\"rpi,4\"] }\\nFWx0\\x12\\x34\\0\\x54' >> wrt.img.gz
gzip -1 -c card.img > padded.img.gz; head -c 5000 /dev/zero >> padded.img.gz
bzip2 -1 -c card.img > padded.img.bz2; head -c 5000 /dev/zero >> padded.img.bz2
xz -0 -c card.img > padded.img.xz; head -c 5000 /dev/zero >> padded.img.xz");
    for is_piped in [false, true] {
        let answer = check_restored(&desk, "wrt.img.gz", is_piped);
        let said = answer.stdout + &answer.stderr;
        assert!(said.contains("behind the compressed image"), "{said}");
        for name in ["padded.img.gz", "padded.img.bz2", "padded.img.xz"] {
            check_restored(&desk, name, is_piped);
        }
    }
    desk.expect(0, &["verify", "wrt.img.gz", "--quiet"]);
    let info = desk.expect(0, &["info", "wrt.img.gz"]).stdout;
    assert!(info.contains("behind the compressed image"), "{info}");
    // A second image is no metadata.
    desk.sh(
        "gzip -1 -c card.img > cut.img.gz; printf 'junk' >> cut.img.gz
gzip -1 -c card.img >> cut.img.gz",
    );
    check_refused_file(&desk, "cut.img.gz");
}

fn check_refused_file(desk: &crate::desk::Desk, name: &str) {
    desk.filled("target", 32 << 20, super::OLD);
    let answer = restore(desk, name, false, &[]);
    assert_eq!(answer.code, 7, "{}", answer.stderr);
    assert!(is_untouched(desk));
}

/// What can't be decoded in bounded memory has a way all the same, and it is printed.
#[test]
fn a_long_window_and_a_dictionary_are_told_as_that() {
    let desk = desk();
    desk.sh("cat card.img | zstd -q -1 --long=31 -c > long.img.zst
mkdir samples; for i in $(seq 300); do head -c 700 /dev/urandom | base64 > samples/$i; done
zstd -q --train -r samples -o dictionary --maxdict=20000
zstd -q -1 -D dictionary -c card.img > dictionary.img.zst");
    check_refused(&desk, "long.img.zst", 2, "zstd -d --long=31 -c");
    check_refused(&desk, "dictionary.img.zst", 2, "with a dictionary");
    for words in [
        &["verify", "dictionary.img.zst"][..],
        &["info", "long.img.zst"],
    ] {
        let said = desk.expect(2, words).stderr;
        assert!(said.contains("zstd -d"), "{said}");
    }
    desk.sh("zstd -q -d --long=31 -c long.img.zst > long.img");
    check_restored(&desk, "long.img", true);
}
