//! Images that end before their content does, or that can be known not to do before a card is wiped.

use std::fs;
use std::process::Stdio;

use cardkeep_testkit::{Answer, Mount, skip_unless_root, skip_unless_tools};

use crate::desk::Desk;

/// A card of 64 MiB: 10 MiB of FAT, and an ext4 full of random bytes up to the end, and to where its
/// copy broke off. `$1` is the name, `$2` how much of the ext4 is filled.
const CARD: &str = r"
card() {
    truncate -s 64M $1
    printf 'start=2048,size=20480,type=c\nstart=22528,type=83\n' | sfdisk -q $1 >&2
    mkfs.vfat -F 16 -n BOOT --offset 2048 $1 10240 >&2
    mkdir tree; head -c $2 /dev/urandom > tree/data
    mke2fs -q -t ext4 -d tree -E offset=$((22528 * 512)),root_owner=0:0 $1 54272k >&2; rm -r tree
}
";
const CUT: &str = "36000256";

impl Desk {
    /// Makes a card and cuts its image to the first 36 MB.
    fn cut_card(&self) {
        self.sh(&format!(
            "{CARD} card whole.img 40M; head -c {CUT} whole.img > cut.img"
        ));
    }

    /// Makes a file of the card's size that is full of what was on it before.
    fn victim(&self) {
        self.filled("victim.img", 64 << 20, 0xa5);
    }

    fn is_untouched(&self, len: usize) {
        let found = fs::read(self.path("victim.img")).unwrap();
        assert_eq!(found.len(), len);
        assert!(found.iter().all(|&byte| byte == 0xa5), "it was written");
    }

    /// Restores what `script` prints to the victim by way of a pipe.
    fn piped(&self, script: &str, options: &[&str]) -> Answer {
        let mut source = std::process::Command::new("bash")
            .args(["-c", script])
            .current_dir(self.folder())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut arguments = vec!["restore", "-", "victim.img", "--yes"];
        arguments.extend(options);
        let mut command = self.command(&arguments);
        let output = command.stdin(source.stdout.take().unwrap()).output();
        drop(command);
        source.wait().unwrap();
        output.unwrap().into()
    }
}

fn assert_says(answer: &Answer, text: &str) {
    let all = format!("{}{}", answer.stdout, answer.stderr);
    assert!(all.contains(text), "{text:?} is missing in:\n{all}");
}

const ENDS_EARLY: &str = "ends 31.1 MB before its partition 2 does";

#[test]
fn an_image_cut_short_is_refused_in_every_container_before_anything_is_written() {
    let desk = Desk::new();
    desk.cut_card();
    desk.victim();
    desk.sh("gzip -1k cut.img; xz -0k cut.img; zstd -q -1 cut.img; bzip2 -1k cut.img");
    for name in [
        "cut.img",
        "cut.img.gz",
        "cut.img.xz",
        "cut.img.zst",
        "cut.img.bz2",
    ] {
        for dry in ["--dry-run", "--quiet"] {
            let answer = desk.expect(3, &["restore", name, "victim.img", "--yes", dry]);
            assert_says(&answer, &format!("{name} {ENDS_EARLY}"));
            assert_says(&answer, "used bytes are missing");
            assert_says(&answer, "--allow-truncated");
        }
        desk.is_untouched(64 << 20);
        let answer = desk.expect(7, &["verify", name]);
        assert_says(&answer, ENDS_EARLY);
        let answer = desk.expect(3, &["shrink", name, "new.img.zst"]);
        assert_says(&answer, ENDS_EARLY);
    }
    // With an index, too: ours, which says what it holds.
    desk.expect(3, &["backup", "cut.img", "copy.img.zst"]);
    desk.expect(
        9,
        &["backup", "cut.img", "copy.img.zst", "--allow-truncated"],
    );
    let answer = desk.expect(3, &["restore", "copy.img.zst", "victim.img", "--yes"]);
    assert_says(&answer, ENDS_EARLY);
    assert_says(&desk.expect(7, &["verify", "copy.img.zst"]), ENDS_EARLY);
    assert_says(
        &desk.expect(7, &["verify", "cut.img", "--against", "whole.img"]),
        ENDS_EARLY,
    );
    assert_says(
        &desk.expect(3, &["clone", "cut.img", "victim.img", "--yes"]),
        ENDS_EARLY,
    );
    assert_says(&desk.expect(9, &["info", "cut.img"]), ENDS_EARLY);
    desk.is_untouched(64 << 20);
}

#[test]
fn an_image_cut_short_is_written_where_that_is_asked_for_and_never_called_whole() {
    let desk = Desk::new();
    desk.cut_card();
    desk.victim();
    desk.sh("gzip -1k cut.img");
    for name in ["cut.img", "cut.img.gz"] {
        let options = ["--yes", "--allow-truncated"];
        let answer = desk.expect(
            9,
            &[&["restore", name, "victim.img"], &options[..]].concat(),
        );
        assert_says(&answer, "used bytes are missing");
        desk.sh("cmp -i 22000000 -n 4000000 cut.img victim.img");
    }
    desk.expect(9, &["verify", "cut.img.gz", "--allow-truncated"]);
}

#[test]
fn what_comes_cut_short_out_of_a_pipe_leaves_no_bootable_card() {
    let desk = Desk::new();
    desk.cut_card();
    desk.victim();
    let answer = desk.piped("cat cut.img", &[]);
    assert_eq!(answer.code, 7, "{}", answer.stderr);
    assert_says(&answer, ENDS_EARLY);
    let head = fs::read(desk.path("victim.img")).unwrap();
    assert!(head[..1 << 20].iter().all(|&byte| byte == 0));
    let answer = desk.piped("gzip -1c cut.img", &["--allow-truncated"]);
    assert_eq!(answer.code, 9, "{}", answer.stderr);
    assert_says(&answer, "used bytes are missing");
    desk.sh("cmp -i 22000000 -n 4000000 cut.img victim.img");
}

#[test]
fn logical_partitions_whose_records_are_cut_off_are_missed() {
    let desk = Desk::new();
    desk.sh(
        "truncate -s 64M card.img
         printf 'start=2048,size=20480,type=c\nstart=24576,type=5\nstart=26624,size=20480,type=83\nstart=49152,type=83\n' | sfdisk -q card.img
         mkfs.vfat -F 16 --offset 2048 card.img 10240 >&2
         mke2fs -q -t ext4 -E offset=$((26624 * 512)) card.img 10240k
         head -c 24125440 card.img > cut.img; gzip -1k cut.img",
    );
    desk.victim();
    for name in ["cut.img", "cut.img.gz"] {
        let answer = desk.expect(3, &["restore", name, "victim.img", "--yes"]);
        assert_says(&answer, "used bytes are missing");
    }
    desk.is_untouched(64 << 20);
    let answer = desk.piped("cat cut.img", &[]);
    assert_eq!(answer.code, 7, "{}", answer.stderr);
}

#[test]
fn an_image_cut_where_nothing_used_is_missing_is_whole() {
    let desk = Desk::new();
    // The entry is longer than the filesystem, and the image ends with that.
    desk.sh(&format!(
        "{CARD} card whole.img 20M
         head -c $((22528 * 512 + 54272 * 1024)) whole.img > cut.img
         printf 'start=2048,size=20480,type=c\nstart=22528,size=180000,type=83\n' \
             | sfdisk -q --force --no-reread cut.img >&2 2>/dev/null || :
         sfdisk -d cut.img | grep -q 'size= *180000' || {{
             truncate -s 200M cut.img
             printf 'start=2048,size=20480,type=c\nstart=22528,size=180000,type=83\n' | sfdisk -q cut.img >&2
             truncate -s $((22528 * 512 + 54272 * 1024)) cut.img
         }}
         gzip -1k cut.img; xz -0k cut.img"
    ));
    for name in ["cut.img", "cut.img.gz", "cut.img.xz"] {
        desk.filled("victim.img", 110 << 20, 0xa5);
        let answer = desk.expect(0, &["restore", name, "victim.img", "--yes"]);
        assert_says(&answer, "no used bytes are missing");
        desk.sh("e2fsck -fn 'victim.img?offset=11534336' >&2");
        desk.expect(0, &["verify", name]);
        // Free blocks were not written: it was read by use.
        let found = fs::read(desk.path("victim.img")).unwrap();
        let old = found.iter().filter(|&&byte| byte == 0xa5).count();
        assert!(old > 70 << 20, "{old} bytes are as they were");
        // A card that is shorter than the table says: the partition ends with it.
        desk.filled("victim.img", 70 << 20, 0xa5);
        let answer = desk.expect(0, &["restore", name, "victim.img", "--yes"]);
        assert_says(&answer, "ends with the card");
        desk.sh("e2fsck -fn 'victim.img?offset=11534336' >&2; sfdisk --verify victim.img >&2");
        // A card on which the filesystem has no room.
        desk.filled("victim.img", 60 << 20, 0xa5);
        desk.expect(3, &["restore", name, "victim.img", "--yes"]);
        desk.is_untouched(60 << 20);
    }
    desk.expect(0, &["info", "cut.img"]);
    desk.expect(0, &["backup", "cut.img", "new.img.zst"]);
    desk.filled("victim.img", 110 << 20, 0xa5);
    let answer = desk.piped("cat cut.img", &[]);
    assert_eq!(answer.code, 0, "{}", answer.stderr);
    desk.sh("e2fsck -fn 'victim.img?offset=11534336' >&2");
}

/// A GPT image of 64 MiB with FAT and ext4 up to the backup of its table, in `gpt.img`.
const GPT: &str = r"
    truncate -s 64M gpt.img
    sgdisk -og -n1:2048:+10M -t1:0700 -n2:0:0 -t2:8300 gpt.img >&2
    mkfs.vfat -F 16 -n BOOT --offset 2048 gpt.img 10240 >&2
    start=$(sgdisk -i2 gpt.img | awk '/First sector/{print $3}')
    end=$(sgdisk -i2 gpt.img | awk '/Last sector/{print $3}')
    mkdir tree; head -c 5M /dev/urandom > tree/data
    mke2fs -q -t ext4 -d tree -E offset=$((start * 512)) gpt.img $(((end - start + 1) / 2))k >&2
";

#[test]
fn a_gpt_without_its_end_is_whole_and_gets_a_new_backup() {
    let desk = Desk::new();
    desk.sh(&format!(
        "{GPT} truncate -s $(((end + 1) * 512)) gpt.img; gzip -1k gpt.img; zstd -q gpt.img -o gpt.img.zst"
    ));
    for name in ["gpt.img", "gpt.img.gz", "gpt.img.zst"] {
        desk.filled("victim.img", 80 << 20, 0xa5);
        let answer = desk.expect(0, &["restore", name, "victim.img", "--yes"]);
        assert_says(&answer, "backup GPT would lie past the end");
        let verified = desk.sh("sgdisk -v victim.img");
        assert!(verified.contains("No problems found"), "{verified}");
        let backup = desk.sh("sgdisk -p victim.img; dd if=victim.img bs=512 skip=163839 count=1 status=none | head -c 8");
        assert!(backup.contains("EFI PART"), "{backup}");
        desk.expect(0, &["verify", name]);
    }
    desk.expect(0, &["info", "gpt.img"]);
    desk.expect(0, &["backup", "gpt.img", "new.img.zst"]);
}

#[test]
fn zeros_behind_an_image_do_not_make_it_worse() {
    let desk = Desk::new();
    desk.sh(&format!(
        "{GPT} dd if=gpt.img of=padded.img bs=10M conv=sync iflag=fullblock status=none; gzip -1k padded.img"
    ));
    for (name, len) in [
        ("padded.img", 70),
        ("padded.img.gz", 70),
        ("padded.img", 100),
    ] {
        desk.filled("victim.img", len << 20, 0xa5);
        desk.expect(0, &["restore", name, "victim.img", "--yes"]);
        let verified = desk.sh("sgdisk -v victim.img");
        assert!(verified.contains("No problems found"), "{verified}");
    }
    desk.expect(0, &["info", "padded.img"]);
}

/// A disc's volume descriptor and the table of a hybrid in front of it: the first partition begins
/// with the table itself, the second lies in the first.
fn hybrid_disc(blocks: u32) -> Vec<u8> {
    let mut bytes = vec![0x5a; 4 << 20];
    let entry = |kind: u8, start: u32, count: u32| {
        let mut entry = vec![0, 0, 2, 0, kind, 0xff, 0xff, 0xff];
        entry.extend(start.to_le_bytes());
        entry.extend(count.to_le_bytes());
        entry
    };
    bytes[440..512].fill(0);
    bytes[446..462].copy_from_slice(&entry(0x17, 0, 8192));
    bytes[462..478].copy_from_slice(&entry(0xef, 64, 100));
    bytes[510..512].copy_from_slice(&[0x55, 0xaa]);
    let volume = &mut bytes[32768..34816];
    volume.fill(0);
    volume[0..7].copy_from_slice(b"\x01CD001\x01");
    volume[80..84].copy_from_slice(&blocks.to_le_bytes());
    volume[128..130].copy_from_slice(&2048_u16.to_le_bytes());
    bytes
}

#[test]
fn a_disc_that_starts_from_a_stick_is_no_corrupt_table() {
    let desk = Desk::new();
    fs::write(desk.path("disc.iso"), hybrid_disc(2048)).unwrap();
    desk.filled("victim.img", 8 << 20, 0xa5);
    let answer = desk.expect(0, &["restore", "disc.iso", "victim.img", "--yes"]);
    assert_says(&answer, "ISO 9660");
    desk.sh("cmp -n 4194304 disc.iso victim.img");
    desk.expect(0, &["info", "disc.iso"]);
    // One that was cut is known by its own length.
    fs::write(desk.path("disc.iso"), hybrid_disc(4096)).unwrap();
    let answer = desk.expect(3, &["restore", "disc.iso", "victim.img", "--yes"]);
    assert_says(
        &answer,
        "before its filesystem does; 4194304 used bytes are missing",
    );
}

#[test]
fn a_first_frame_that_cannot_be_decoded_costs_no_card() {
    let desk = Desk::new();
    desk.cut_card();
    desk.sh(
        "gzip -1kc whole.img > whole.img.gz; xz -0kc --block-size=4MiB whole.img > whole.img.xz",
    );
    desk.expect(0, &["backup", "whole.img", "whole.img.zst"]);
    desk.victim();
    for (name, offset) in [
        ("whole.img.zst", 200),
        ("whole.img.gz", 2000),
        ("whole.img.xz", 200),
    ] {
        desk.sh(&format!(
            r"printf '\xff\xff\xff\xff' | dd of={name} bs=1 seek={offset} conv=notrunc status=none"
        ));
        for last in ["--dry-run", "--quiet"] {
            desk.expect(7, &["restore", name, "victim.img", "--yes", last]);
        }
        desk.is_untouched(64 << 20);
    }
}

#[test]
fn no_memory_for_the_buffers_costs_no_card() {
    let desk = Desk::new();
    desk.sample("card.img");
    desk.filled("victim.img", 140 << 20, 0xa5);
    let program = env!("CARGO_BIN_EXE_cardkeep");
    let said = desk.sh(&format!(
        "(ulimit -v 45000; {program} restore card.img victim.img --yes -q) 2>&1 || echo code $?"
    ));
    assert!(said.contains("not enough memory"), "{said}");
    assert!(said.contains("code 4"), "{said}");
    desk.is_untouched(140 << 20);
}

#[test]
fn a_checksum_beside_an_image_is_held_against_it_before_anything_is_written() {
    let test = "a_checksum_beside_an_image_is_held_against_it_before_anything_is_written";
    if skip_unless_tools(test, &["sha256sum"]) {
        return;
    }
    let desk = Desk::new();
    desk.sample("s.img");
    desk.sh("gzip -1 -k s.img; sha256sum *.gz >SHA256SUMS; truncate -s 140M card.img");
    let words = ["restore", "s.img.gz", "card.img", "--yes"];
    desk.expect(0, &words).says(&["SHA256SUMS states"]);
    let sum = desk.sh("sha256sum s.img.gz | cut -c1-64 | tr -d '\\n'");
    desk.expect(0, &["verify", "s.img.gz", "--sha256", &sum]);
    // Another image of the same name, which is whole in itself.
    desk.sh("gzip -9 -k -f s.img; rm card.img; truncate -s 140M card.img");
    for command in [&words[..], &["verify", "s.img.gz"]] {
        desk.expect(6, command).says(&["does not have the SHA-256"]);
    }
    assert_eq!(desk.sh("stat -c %b card.img"), "0\n");
    let wrong = ["restore", "s.img.gz", "card.img", "--yes", "--sha256", "12"];
    desk.expect(2, &wrong).says(&["is not a SHA-256"]);
}

#[test]
fn a_medium_that_no_index_can_hold_is_told_at_once() {
    if skip_unless_root("a_medium_that_no_index_can_hold_is_told_at_once") {
        return;
    }
    let desk = Desk::new();
    // Not every filesystem has files of that length.
    let mount = Mount::in_memory(64 << 20);
    let card = mount.path().join("huge.img");
    let file = fs::File::create(&card).unwrap();
    file.set_len((1 << 44) + 512).unwrap();
    let mut command = desk.command(&["backup", "--dry-run"]);
    let answer = command.arg(&card).arg("huge.img.zst").output().unwrap();
    Answer::from(answer).expect(2).says(&["bytes at most"]);
}
