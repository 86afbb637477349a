//! ext2, ext3 and ext4 in the variants that cards were and are made with.
//!
//! What every case catches is said at the judgements in `ext_case.rs`; the comments here say why
//! the variant is special.

use cardkeep_block::Extent;
use cardkeep_testkit::{Churn, Likeness, Loop, Mount, Tool, Tree};

use crate::card::{Card, MIB, Table, format_ext};
use crate::ext_case::{ExtCase, Matrix, judge_clean, judge_copy, skipped};
use crate::image::{Image, State, back_up};
use crate::life;

macro_rules! cases {
    ($($(#[$comment:meta])* $name:ident: $($option:literal)+;)+) => {$(
        $(#[$comment])*
        #[test]
        fn $name() {
            ExtCase::new(stringify!($name), &[$($option),+]).check();
        }
    )+};
}

cases! {
    ext4_with_blocks_of_1_kib: "-t" "ext4" "-b" "1024";
    ext4_with_blocks_of_2_kib: "-t" "ext4" "-b" "2048";
    ext4_with_blocks_of_4_kib: "-t" "ext4" "-b" "4096";
    ext2_with_blocks_of_1_kib: "-t" "ext2" "-b" "1024";
    ext2_with_blocks_of_4_kib: "-t" "ext2" "-b" "4096";
    ext3_with_blocks_of_1_kib: "-t" "ext3" "-b" "1024" "-J" "size=8";
    ext3_with_blocks_of_4_kib: "-t" "ext3" "-b" "4096";
    /// Raspberry Pi OS since bullseye (pi-gen, export-image/prerun.sh).
    ext4_as_raspberry_pi_os_makes_it: "-t" "ext4" "-O" "^64bit,^huge_file";
    /// Raspberry Pi OS up to buster.
    ext4_as_old_raspberry_pi_os_made_it: "-t" "ext4" "-O" "^metadata_csum,^64bit,^huge_file";
    /// The older checksum of descriptors: crc16.
    ext4_with_uninit_bg: "-t" "ext4" "-O" "^metadata_csum,uninit_bg" "-b" "1024";
    /// Without any checksum no group can be called uninitialised.
    ext4_without_checksums: "-t" "ext4" "-O" "^metadata_csum,^uninit_bg";
    /// The unused ends of the inode tables hold what lay there before.
    ext4_with_unwritten_inode_tables: "-t" "ext4" "-E" "nodiscard,lazy_itable_init=1" "-N" "60000";
    ext4_with_zeroed_inode_tables: "-t" "ext4" "-E" "nodiscard,lazy_itable_init=0" "-N" "60000";
    ext4_without_flex_bg: "-t" "ext4" "-O" "^flex_bg" "-b" "1024";
    ext4_with_large_flex_groups: "-t" "ext4" "-G" "64" "-b" "1024";
    ext4_with_packed_metadata: "-t" "ext4" "-E" "nodiscard,packed_meta_blocks=1" "-b" "1024";
    /// Groups of 2 MiB: many descriptors, several blocks of them.
    ext4_with_small_groups: "-t" "ext4" "-b" "1024" "-g" "2048";
    ext4_with_meta_bg: "-t" "ext4" "-O" "meta_bg,^resize_inode" "-b" "1024" "-g" "1024";
    ext4_with_meta_bg_and_64bit: "-t" "ext4" "-O" "meta_bg,^resize_inode,64bit,^flex_bg" "-b" "1024" "-g" "1024";
    ext4_without_resize_inode: "-t" "ext4" "-O" "^resize_inode";
    ext4_with_room_to_grow: "-t" "ext4" "-b" "1024" "-E" "nodiscard,resize=4000000";
    ext4_with_sparse_super2: "-t" "ext4" "-O" "sparse_super2,^resize_inode" "-b" "1024" "-g" "4096";
    ext4_without_sparse_super: "-t" "ext4" "-O" "^sparse_super,^resize_inode" "-b" "1024" "-g" "4096";
    ext4_with_bigalloc: "-t" "ext4" "-O" "bigalloc" "-C" "16384";
    ext4_with_bigalloc_and_blocks_of_1_kib: "-t" "ext4" "-O" "bigalloc" "-b" "1024" "-C" "8192";
    ext4_without_journal: "-t" "ext4" "-O" "^has_journal";
    ext4_without_extents: "-t" "ext4" "-O" "^extents,^64bit" "-b" "1024";
    ext4_with_inline_data: "-t" "ext4" "-O" "inline_data" "-I" "512";
    ext4_with_small_inodes: "-t" "ext4" "-I" "128";
    ext4_with_large_inodes: "-t" "ext4" "-I" "1024";
    ext4_with_ea_inodes: "-t" "ext4" "-O" "ea_inode,large_dir";
    ext4_with_quota: "-t" "ext4" "-O" "quota,project";
    ext4_with_mmp: "-t" "ext4" "-O" "mmp";
    ext4_with_orphan_file: "-t" "ext4" "-O" "orphan_file";
    ext4_with_fast_commits: "-t" "ext4" "-O" "fast_commit";
    ext4_with_a_seed_for_checksums: "-t" "ext4" "-O" "metadata_csum_seed";
}

/// What every Raspberry Pi does at its first boot: the filesystem grows into its partition.
#[test]
fn ext4_grown_into_its_partition() {
    let test = "ext4_grown_into_its_partition";
    if skipped(test, Matrix::Small) {
        return;
    }
    let card = Card::new(Table::Mbr, &[160]);
    {
        let device = card.partition(0);
        let options = ["-q", "-F", "-t", "ext4", "-b", "1024", "-E", "nodiscard"];
        Tool::new("mke2fs")
            .args(options)
            .arg(device.path())
            .arg("20M")
            .run();
        life::age(device.path(), "noatime", 1, 300);
        Tool::new("e2fsck")
            .args(["-f", "-p"])
            .arg(device.path())
            .run();
        Tool::new("resize2fs").arg(device.path()).run();
        life::age(device.path(), "noatime", 2, 300);
    }
    judge_clean(&card);
}

/// The space between the filesystem's end and the partition's end is nobody's: it is kept.
///
/// Catches: a map as long as the filesystem, laid over a longer partition.
#[test]
fn bytes_behind_the_filesystem_are_kept() {
    let test = "bytes_behind_the_filesystem_are_kept";
    if skipped(test, Matrix::Small) {
        return;
    }
    let card = Card::new(Table::Mbr, &[40]);
    let partition = card.partitions()[0];
    {
        let device = card.partition(0);
        let options = ["-q", "-F", "-t", "ext4", "-E", "nodiscard"];
        Tool::new("mke2fs")
            .args(options)
            .arg(device.path())
            .arg("30M")
            .run();
        life::age(device.path(), "noatime", 1, 100);
    }
    card.write(partition.end() - 12, b"hidden bytes");
    let copy = back_up(&card, &[], 0).rebuilt(&card);
    let bytes = std::fs::read(copy.file()).unwrap();
    let end = usize::try_from(partition.end()).unwrap();
    assert_eq!(&bytes[end - 12..end], b"hidden bytes");
    judge_copy(&card, &copy);
}

/// No block is free.
#[test]
fn a_full_filesystem_comes_back_whole() {
    let test = "a_full_filesystem_comes_back_whole";
    if skipped(test, Matrix::Big) {
        return;
    }
    let card = Card::new(Table::Mbr, &[32]);
    {
        let device = card.partition(0);
        format_ext(device.path(), &["-t", "ext4", "-b", "1024", "-m", "0"]);
        let mount = Mount::new(device.path(), "noatime").unwrap();
        Churn::unix(mount.path(), 1).run(100).unwrap();
        let full = std::fs::write(mount.path().join("filler"), vec![7; 40 << 20]);
        assert!(full.is_err(), "the filesystem has room left");
    }
    let copy = back_up(&card, &[], 0).rebuilt(&card);
    let (one, two) = (card.partition(0), copy.partition(0));
    life::assert_ext_is_clean(two.path());
    life::assert_same_files(&one, &two, "ro", Likeness::Inodes);
}

/// mke2fs was told of unreadable sectors: they belong to inode 1 and count as used.
#[test]
fn ext4_with_listed_bad_blocks() {
    let test = "ext4_with_listed_bad_blocks";
    if skipped(test, Matrix::Big) {
        return;
    }
    let card = Card::new(Table::Mbr, &[64]);
    let list = card.beside("bad");
    std::fs::write(&list, "9000\n9001\n9500\n15000\n").unwrap();
    {
        let device = card.partition(0);
        let list = list.to_str().unwrap();
        format_ext(device.path(), &["-t", "ext4", "-b", "4096", "-l", list]);
        life::age(device.path(), "noatime", 1, 300);
    }
    judge_clean(&card);
}

/// Blocks larger than the kernel's pages: only e2fsck can judge.
#[test]
fn ext4_with_blocks_of_64_kib() {
    let test = "ext4_with_blocks_of_64_kib";
    if skipped(test, Matrix::Big) {
        return;
    }
    let card = Card::new(Table::Mbr, &[512]);
    {
        let device = card.partition(0);
        format_ext(
            device.path(),
            &["-t", "ext4", "-b", "65536", "-d", "/usr/share/doc/bash"],
        );
    }
    let image = back_up(&card, &[], 0);
    let copy = image.rebuilt(&card);
    life::assert_ext_is_clean(copy.partition(0).path());
    let free = image.bytes_in(State::Free, card.partitions()[0]);
    assert!(free > 300 << 20, "only {free} bytes are free");
}

/// A journal that holds what the filesystem doesn't yet: the card was pulled.
///
/// Catches: a map from the bitmaps before the replay alone (blocks allocated by the journal are
/// rubbish) or after it alone (who looks without replaying sees rubbish), and a journal not copied
/// whole (nothing to replay).
fn check_unclean(test: &'static str, matrix: Matrix, options: &[&str], mount_options: &str) {
    if skipped(test, matrix) {
        return;
    }
    let image = judge_unclean(options, mount_options, 0);
    let used = image.bytes_in(State::Used, Extent::between(MIB, 97 * MIB));
    assert!(used < 60 * MIB, "an unclean card is copied whole");
}

fn judge_unclean(options: &[&str], mount_options: &str, code: i32) -> Image {
    let card = Card::new(Table::Mbr, &[96]);
    let pulled = pull_while_mounted(&card, options, mount_options);
    {
        let device = pulled.partition(0);
        let said = Tool::new("dumpe2fs").arg("-h").arg(device.path()).run();
        assert!(
            said.contains("needs_recovery"),
            "the card is clean:\n{said}"
        );
    }
    let image = back_up(&pulled, &[], code);
    assert!(
        image.answer.stderr.contains("not") && !image.answer.stderr.is_empty(),
        "nothing is said about the unclean filesystem: {:?}",
        image.answer
    );
    let copy = image.rebuilt(&pulled);
    let (one, two) = (pulled.partition(0), copy.partition(0));
    assert_same_before_replay(&one, &two);
    for device in [&one, &two] {
        // The kernel replays the journal.
        drop(Mount::new(device.path(), "noatime").expect("the kernel mounts it"));
    }
    life::assert_ext_is_clean(one.path());
    life::assert_ext_is_clean(two.path());
    life::assert_same_files(&one, &two, "ro", Likeness::Inodes);
    image
}

/// Whoever looks without replaying the journal sees the same as on the original.
fn assert_same_before_replay(one: &Loop, two: &Loop) {
    let findings = |device: &Loop| {
        let (_, said) = Tool::new("e2fsck")
            .args(["-f", "-n"])
            .arg(device.path())
            .outcome();
        said.replace(&device.path().display().to_string(), "card")
    };
    assert_eq!(findings(one), findings(two));
    let look = |device: &Loop| {
        let mount = Mount::new(device.path(), "ro,noload").expect("the kernel mounts it");
        Tree::read(mount.path())
    };
    // Half of a change may make the original unreadable: then there is nothing to compare.
    if let Ok(original) = look(one) {
        let copy = look(two).expect("the copy is as readable as the original");
        let differences = original.differences(&copy, Likeness::Inodes);
        assert!(
            differences.is_empty(),
            "before the replay:\n{}",
            differences.join("\n")
        );
    }
}

/// Returns what lies on the card at a moment when its filesystem is mounted and in use.
fn pull_while_mounted(card: &Card, options: &[&str], mount_options: &str) -> Card {
    let device = card.partition(0);
    format_ext(device.path(), options);
    life::age(device.path(), "noatime", 1, 500);
    // A late commit interval: nothing is written but what is asked for.
    let mount = Mount::new(
        device.path(),
        &format!("noatime,commit=300,{mount_options}"),
    );
    let mount = mount.expect("the kernel mounts it");
    let mut churn = Churn::unix(mount.path(), 2);
    churn.run_journalled(300).expect("the churn");
    card.copy()
}

#[test]
fn a_pulled_ext4_card_can_be_replayed() {
    let test = "a_pulled_ext4_card_can_be_replayed";
    check_unclean(test, Matrix::Small, &["-t", "ext4"], "data=ordered");
}

#[test]
fn a_pulled_ext4_card_with_journalled_data_can_be_replayed() {
    let test = "a_pulled_ext4_card_with_journalled_data_can_be_replayed";
    check_unclean(test, Matrix::Big, &["-t", "ext4"], "data=journal");
}

#[test]
fn a_pulled_ext4_card_with_fast_commits_can_be_replayed() {
    let test = "a_pulled_ext4_card_with_fast_commits_can_be_replayed";
    if skipped(test, Matrix::Big) {
        return;
    }
    // Fast commits are not followed: all of the filesystem is copied, and that is trouble.
    judge_unclean(&["-t", "ext4", "-O", "fast_commit"], "data=ordered", 9);
}

#[test]
fn a_pulled_ext4_card_without_checksums_can_be_replayed() {
    let test = "a_pulled_ext4_card_without_checksums_can_be_replayed";
    let options = ["-t", "ext4", "-O", "^metadata_csum,^64bit", "-b", "1024"];
    check_unclean(test, Matrix::Big, &options, "data=ordered");
}

#[test]
fn a_pulled_ext4_card_with_checksums_in_commits_can_be_replayed() {
    let test = "a_pulled_ext4_card_with_checksums_in_commits_can_be_replayed";
    if skipped(test, Matrix::Big) {
        return;
    }
    // Checksums of commit blocks alone (JBD2_FEATURE_COMPAT_CHECKSUM) can't tell a torn commit
    // from a whole one: all of the filesystem is copied, and that is trouble.
    let options = ["-t", "ext4", "-O", "^metadata_csum"];
    judge_unclean(&options, "journal_async_commit,data=writeback", 9);
}

#[test]
fn a_pulled_ext3_card_can_be_replayed() {
    let test = "a_pulled_ext3_card_can_be_replayed";
    check_unclean(
        test,
        Matrix::Big,
        &["-t", "ext3", "-b", "1024"],
        "data=ordered",
    );
}

#[test]
fn a_pulled_card_with_bigalloc_can_be_replayed() {
    let test = "a_pulled_card_with_bigalloc_can_be_replayed";
    let options = ["-t", "ext4", "-O", "bigalloc", "-C", "16384"];
    check_unclean(test, Matrix::Big, &options, "data=ordered");
}

/// A restore over an older, unclean life of the same filesystem leaves no log behind that could
/// be replayed.
///
/// Catches: a clean journal's log left as it was on the target.
#[test]
fn an_old_log_on_the_target_is_gone() {
    let test = "an_old_log_on_the_target_is_gone";
    if skipped(test, Matrix::Small) {
        return;
    }
    let card = Card::new(Table::Mbr, &[96]);
    let older = pull_while_mounted(&card, &["-t", "ext4"], "data=ordered");
    let image = back_up(&card, &[], 0);
    image.lay_onto(&older);
    let device = older.partition(0);
    let journal = older.beside("journal");
    let dump = format!("dump <8> {}", journal.display());
    Tool::new("debugfs")
        .args(["-R", &dump])
        .arg(device.path())
        .run();
    let log = std::fs::read(journal).unwrap();
    let stale = log.iter().skip(4096).filter(|&&byte| byte != 0).count();
    assert!(log.len() > 1 << 20, "no journal was dumped");
    assert_eq!(stale, 0, "bytes of the old log are left");
    assert_eq!(
        log[..4],
        [0xC0, 0x3B, 0x39, 0x98],
        "the journal begins as jbd2 does"
    );
    life::assert_ext_is_clean(device.path());
}
