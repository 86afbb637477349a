//! Files and streams that are no disk images.

use std::fs::{self, File};

use cardkeep_testkit::{Answer, Loop, skip_unless_root};

use crate::desk::Desk;

mod packed;
mod streams;

/// What is on the target before.
const OLD: u8 = 0xa5;

/// Returns a folder with a small card in it, and a target that was used for something else.
fn desk() -> Desk {
    let desk = Desk::new();
    desk.small_card();
    desk.filled("target", 32 << 20, OLD);
    desk
}

/// Restores from a file, or from standard input.
fn restore(desk: &Desk, name: &str, is_piped: bool, options: &[&str]) -> Answer {
    let from = if is_piped { "-" } else { name };
    let words = [&["restore", from, "target", "--yes"], options].concat();
    let mut command = desk.command(&words);
    if is_piped {
        command.stdin(File::open(desk.path(name)).unwrap());
    }
    command.output().unwrap().into()
}

fn is_untouched(desk: &Desk) -> bool {
    let found = fs::read(desk.path("target")).unwrap();
    found.iter().all(|&byte| byte == OLD)
}

/// Asserts that a restore ends with this code, says this, and leaves the target as it was.
fn check_refused(desk: &Desk, name: &str, code: i32, expected: &str) {
    for is_piped in [false, true] {
        let answer = restore(desk, name, is_piped, &[]);
        let said = &answer.stderr;
        assert_eq!(answer.code, code, "{name}: {said}");
        assert!(said.contains(expected), "{name}: {said}");
        assert!(is_untouched(desk), "{name} was written");
    }
}

/// Asserts that a restore puts the card onto the target.
fn check_restored(desk: &Desk, name: &str, is_piped: bool) -> Answer {
    desk.filled("target", 32 << 20, OLD);
    let answer = restore(desk, name, is_piped, &["--no-expand", "--everything"]);
    assert_eq!(answer.code, 0, "{name}: {}", answer.stderr);
    desk.sh("cmp -n $(stat -c %s card.img) card.img target");
    answer
}

const KINDS: &str = "7z a -mx1 -bso0 -bsp0 card.7z card.img
lz4 -q -1 card.img card.img.lz4
lzip -1 -k card.img
xz -0 --format=lzma -k card.img
for kind in qcow qcow2 qed vmdk vdi vpc vhdx parallels; do
    qemu-img convert -O $kind card.img card.$kind
done
qemu-img convert -O vpc -o subformat=fixed card.img fixed.vhd
printf '<!DOCTYPE html><html><body>404 not found</body></html>' > page.img
(echo 'Welcome to nas'; gzip -1 -c card.img) > greeted.img.gz
(echo 'Welcome to nas'; cat card.img) > greeted.img
zip -q -0 -s 10m card.zip card.img
printf '\\x3a\\xff\\x26\\xed\\x01\\0\\0\\0' > sparse.img; head -c 4088 /dev/zero >> sparse.img
cp card.img card.dmg
printf 'koly\\0\\0\\0\\x04\\0\\0\\x02\\0' > koly; truncate -s 512 koly; cat koly >> card.dmg";

/// The files that [`KINDS`] makes, what they are, and what to do about them.
const FOREIGN: &[(&str, &str, &str)] = &[
    ("card.7z", "a 7z archive", "7z x card.7z"),
    (
        "card.img.lz4",
        "compressed with lz4",
        "lz4 -dc card.img.lz4",
    ),
    (
        "card.img.lz",
        "compressed with lzip",
        "lzip -dc card.img.lz",
    ),
    ("card.img.lzma", "compressed with lzma", "--format=lzma"),
    (
        "card.qcow",
        "a qcow image",
        "qemu-img convert -O raw card.qcow",
    ),
    ("card.qcow2", "a qcow2 image", "qemu-img convert -O raw"),
    ("card.qed", "a QED image", "qemu-img convert -O raw"),
    ("card.vmdk", "a VMDK image", "qemu-img convert -O raw"),
    ("card.vdi", "a VDI image", "qemu-img convert -O raw"),
    ("card.vpc", "a VHD image", "qemu-img convert -O raw"),
    ("card.vhdx", "a VHDX image", "qemu-img convert -O raw"),
    (
        "card.parallels",
        "a Parallels image",
        "qemu-img convert -O raw",
    ),
    ("fixed.vhd", "a VHD image", "qemu-img convert -O raw"),
    ("card.dmg", "a macOS disk image", "dmg2img card.dmg"),
    (
        "sparse.img",
        "an Android sparse image",
        "simg2img sparse.img",
    ),
    ("page.img", "a web page", "download"),
    ("greeted.img", "text in front of it", "login shell"),
    ("greeted.img.gz", "text in front of it", "login shell"),
    (
        "card.z01",
        "the first part of a split zip",
        "zip -s 0 card.zip ",
    ),
];

/// Whatever can be chosen is chosen.
#[test]
fn files_of_other_kinds_are_refused_by_name_with_what_to_do() {
    let desk = desk();
    desk.sh(KINDS);
    for &(name, kind, advice) in FOREIGN {
        let answer = restore(&desk, name, false, &[]);
        let said = &answer.stderr;
        assert_eq!(answer.code, 7, "{name}: {said}");
        assert!(
            said.contains(kind) && said.contains(advice),
            "{name}: {said}"
        );
        assert!(is_untouched(&desk), "{name} was written");
        // What has its mark at its end only can't be known from a pipe.
        if !["fixed.vhd", "card.dmg"].contains(&name) {
            check_refused(&desk, name, 7, kind);
        }
    }
    let last_part = desk.run(&["restore", "card.zip", "target", "--yes"]);
    assert_ne!(last_part.code, 0);
    assert!(
        last_part.stderr.contains("zip -s 0 card.zip "),
        "{}",
        last_part.stderr
    );
    assert!(is_untouched(&desk));
}

#[test]
fn every_command_knows_files_of_other_kinds() {
    let desk = desk();
    desk.sh("7z a -mx1 -bso0 -bsp0 card.7z card.img");
    for words in [
        &["verify", "card.7z"][..],
        &["info", "card.7z"],
        &["shrink", "card.7z"],
        &["backup", "card.7z", "new.img.zst"],
        &["clone", "card.7z", "target", "--yes"],
        &["verify", "card.7z", "--against", "target"],
    ] {
        let said = desk.expect(7, words).stderr;
        assert!(said.contains("it is a 7z archive"), "{words:?}: {said}");
    }
    assert!(is_untouched(&desk));
}

/// What a container holds is looked at as what comes bare.
#[test]
fn files_of_other_kinds_are_refused_inside_of_containers_too() {
    let desk = desk();
    desk.sh("qemu-img convert -O qcow2 card.img card.qcow2
gzip -1 -k card.qcow2; xz -0 -k card.qcow2; zstd -q -1 card.qcow2; bzip2 -1 -k card.qcow2
zip -q card.qcow2.zip card.qcow2
printf '<html>' > page.img; gzip -k page.img; zip -q page.zip page.img");
    for ending in ["gz", "xz", "zst", "bz2", "zip"] {
        check_refused(&desk, &format!("card.qcow2.{ending}"), 7, "a qcow2 image");
    }
    for name in ["page.img.gz", "page.zip"] {
        check_refused(&desk, name, 7, "a web page");
    }
    for words in [
        &["verify", "card.qcow2.gz"][..],
        &["info", "card.qcow2.zst"],
        &["shrink", "card.qcow2.xz"],
    ] {
        let said = desk.expect(7, words).stderr;
        assert!(said.contains("a qcow2 image"), "{words:?}: {said}");
        assert!(said.contains("unpack it first"), "{words:?}: {said}");
        assert!(said.contains("-O raw FILE "), "{words:?}: {said}");
    }
}

/// An update of the boot EEPROM, and NOOBS: both are meant to be unpacked onto a FAT card. A root
/// tree is meant for ext4 (archlinuxarm).
#[test]
fn archives_that_are_meant_to_be_unpacked_say_so() {
    let desk = desk();
    desk.sh(
        "head -c 2097152 /dev/urandom > pieeprom.bin; echo 00 > pieeprom.sig
head -c 100000 /dev/urandom > recovery.bin
zip -q eeprom.zip pieeprom.bin pieeprom.sig recovery.bin
head -c 17824 /dev/urandom > bootcode.bin; head -c 2499584 /dev/urandom > recovery.img
head -c 5000000 /dev/urandom > recovery.rfs; mkdir -p os/Raspbian; echo '{}' > os/Raspbian/os.json
zip -q -r noobs.zip bootcode.bin recovery.img recovery.rfs os
mkdir -p root/etc root/usr root/boot; echo alarm > root/etc/hostname
head -c 3000000 /dev/urandom > root/kernel8.img; tar -czf root.tar.gz -C root .",
    );
    for name in ["eeprom.zip", "noobs.zip"] {
        check_refused(&desk, name, 2, "files for a card's FAT filesystem");
        check_refused(&desk, name, 2, "formatted with FAT32");
    }
    check_refused(&desk, "root.tar.gz", 2, "a root filesystem");
}

/// Etcher's "missing partition table".
#[test]
fn unknown_content_takes_an_option_and_a_bare_filesystem_a_note() {
    let desk = desk();
    desk.sh(
        "head -c 4194304 /dev/urandom > noise.img; truncate -s 4M zeros.img
gzip -k noise.img; zstd -q noise.img; xz -0 -k zeros.img
truncate -s 16M ext.img; mke2fs -q -t ext4 ext.img
truncate -s 8M fat.img; mkfs.vfat fat.img >/dev/null; gzip -k ext.img",
    );
    for name in [
        "noise.img",
        "noise.img.gz",
        "noise.img.zst",
        "zeros.img",
        "zeros.img.xz",
    ] {
        check_refused(&desk, name, 3, "does not look like a disk image");
        check_refused(&desk, name, 3, "--allow-unknown-content");
    }
    for is_piped in [false, true] {
        let answer = restore(
            &desk,
            "noise.img.gz",
            is_piped,
            &["--allow-unknown-content"],
        );
        assert_eq!(answer.code, 0, "{}", answer.stderr);
        desk.sh("cmp -n 4194304 noise.img target");
        for name in ["ext.img", "ext.img.gz", "fat.img"] {
            let answer = restore(&desk, name, is_piped, &[]);
            assert_eq!(answer.code, 0, "{name}: {}", answer.stderr);
            let said = &answer.stderr;
            assert!(
                said.contains("there is no partition table"),
                "{name}: {said}"
            );
        }
    }
    let plan = desk.expect(
        0,
        &["restore", "ext.img", "target", "--dry-run", "--json", "-q"],
    );
    assert!(
        plan.stdout.contains("there is no partition table"),
        "{}",
        plan.stdout
    );
}

/// Who backed up a card gets it back, whatever it holds.
#[test]
fn what_this_program_made_of_a_card_comes_back_without_a_word() {
    let desk = desk();
    desk.sh("head -c 4194304 /dev/urandom > noise");
    desk.run(&["backup", "noise", "noise.img.zst", "--quiet"]);
    let answer = desk.run(&["restore", "noise.img.zst", "target", "--yes"]);
    assert_eq!(answer.code, 0, "{}", answer.stderr);
    desk.sh("cmp -n 4194304 noise target");
}

/// A card without anything that is known is cloned: it is the user's own.
#[test]
fn a_card_of_unknown_content_is_cloned_without_a_word() {
    if skip_unless_root("a_card_of_unknown_content_is_cloned_without_a_word") {
        return;
    }
    let desk = desk();
    desk.sh("head -c 4194304 /dev/urandom > noise");
    let card = Loop::attach(&desk.path("noise"));
    let from = card.path().to_str().unwrap().to_owned();
    let answer = desk.run(&["clone", &from, "target", "--yes"]);
    // That all of it is copied is trouble.
    assert!([0, 9].contains(&answer.code), "{}", answer.stderr);
    desk.sh("cmp -n 4194304 noise target");
}

/// The name is a promise to the reader, who keeps the writer to it.
#[test]
fn an_image_is_never_given_a_name_that_contradicts_its_format() {
    let desk = desk();
    for (name, format) in [
        ("new.img.zst", "raw"),
        ("new.img", "zst"),
        ("new.img.gz", "xz"),
        ("new.zip", "raw"),
    ] {
        for words in [
            &["backup", "card.img", name, "--format", format][..],
            &["shrink", "card.img", name, "--format", format],
            &["backup", "card.img", name, "--format", format, "--dry-run"],
        ] {
            let said = desk.expect(2, words).stderr;
            assert!(said.contains("not a name for an image"), "{said}");
        }
        assert!(!desk.path(name).exists());
    }
    desk.expect(
        0,
        &["backup", "card.img", "plain", "--format", "raw", "--quiet"],
    );
    desk.expect(0, &["verify", "plain", "--quiet"]);
}
