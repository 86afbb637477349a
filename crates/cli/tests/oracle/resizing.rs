//! Images that are smaller than their cards, and cards of another size than their images: the last
//! filesystem is made to fit, and others judge it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use cardkeep_block::Extent;
use cardkeep_testkit::{Churn, Likeness, Loop, Mount, Tool, Tree};
use serde_json::Value;

use crate::card::{Card, MIB, STALE_TARGET, Table, format_ext};
use crate::fat;
use crate::life;
use crate::original::{Original, is_filled, restore, skipped, write};
use crate::program::{Answer, cardkeep, cardkeep_reading};

/// The PARTUUIDs of cards with an MBR.
const DISK_ID: &str = "0x5049424b";

/// The last partition of a card, as `sfdisk` tells it.
fn last_partition(card: &Path) -> Extent {
    let said = Tool::new("sfdisk").arg("--json").arg(card).run();
    let said: Value = serde_json::from_str(&said).unwrap();
    let partitions = said["partitiontable"]["partitions"].as_array().unwrap();
    let ends = partitions.iter().filter(|part| part["type"] != "f");
    let extents = ends.map(|part| {
        let (start, size) = (part["start"].as_u64(), part["size"].as_u64());
        Extent::between(start.unwrap() * 512, (start.unwrap() + size.unwrap()) * 512)
    });
    extents.max_by_key(|extent| extent.end()).unwrap()
}

/// Judges the boot partition, the table and the files of a card whose last partition has another
/// size than the original's, and returns where that one lies.
fn judge(original: &Original, card: &Path, table: Table) -> Extent {
    Tool::new("sfdisk").arg("--verify").arg(card).run();
    let said = Tool::new("sfdisk").arg("--dump").arg(card).run();
    if table == Table::Gpt {
        judge_gpt_of(card);
    } else {
        assert!(said.contains(DISK_ID), "another identity:\n{said}");
    }
    let place = last_partition(card);
    assert_eq!(place.start(), original.card.partitions()[1].start());
    let device = Loop::attach_extent(card, place);
    life::assert_ext_is_clean(device.path());
    let tree = life::tree(device.path(), "ro");
    let before = life::tree(original.card.partition(1).path(), "ro");
    assert_same(&before, &tree);
    place
}

fn assert_same(before: &Tree, after: &Tree) {
    let differences = before.differences(after, Likeness::Files);
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert!(before.count() > 20, "an empty tree proves nothing");
}

fn judge_gpt_of(card: &Path) {
    let said = Tool::new("sgdisk").arg("--verify").arg(card).run();
    assert!(said.contains("No problems found"), "sgdisk:\n{said}");
}

/// Lets the kernel write until nothing more fits, and delete again; e2fsck must find nothing.
fn live_on(card: &Path, place: Extent) {
    let device = Loop::attach_extent(card, place);
    {
        let mount = Mount::new(device.path(), "noatime").unwrap();
        let mut files = Vec::new();
        for number in 0..10_000 {
            let file = mount.path().join(format!("filling {number}"));
            if fs::write(&file, vec![3; 90_000]).is_err() {
                break;
            }
            files.push(file);
        }
        for file in files.iter().step_by(2) {
            fs::remove_file(file).unwrap();
        }
        Churn::unix(mount.path(), 4711).run(60).unwrap();
    }
    life::assert_ext_is_clean(device.path());
}

/// Returns how many bytes the filesystem in the last partition has.
fn fs_bytes(card: &Path, place: Extent) -> u64 {
    let device = Loop::attach_extent(card, place);
    let said = Tool::new("dumpe2fs").arg("-h").arg(device.path()).run();
    let field = |name: &str| -> u64 {
        let line = said.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap().trim().parse().unwrap()
    };
    field("Block count:") * field("Block size:")
}

/// Backs a card up to a raw image beside it, and returns the image and the answer.
fn back_up_shrunk(card: &Card, options: &[&str]) -> (PathBuf, Answer) {
    let image = card.beside("smaller.img");
    let device = card.device();
    let answer = run_backup(device.path(), &image, options);
    (image, answer)
}

fn run_backup(card: &Path, image: &Path, options: &[&str]) -> Answer {
    let mut arguments: Vec<PathBuf> = vec!["backup".into(), card.into(), image.into()];
    arguments.extend(["--json", "--quiet", "--force"].map(PathBuf::from));
    arguments.extend(options.iter().map(PathBuf::from));
    cardkeep(arguments)
}

/// Catches: blocks that were left behind the cut, a table or a backup GPT that does not end with the
/// image, another identity, files that changed, and a filesystem that breaks when it is used.
fn check_backup(test: &str, table: Table) {
    if skipped(test) {
        return;
    }
    let original = Original::pi(table);
    let before = fs::read(original.card.file()).unwrap();
    let mut lens = Vec::new();
    for margin in ["0", "30"] {
        let (image, answer) = back_up_shrunk(&original.card, &["--shrink", "--margin", margin]);
        let plan = answer.expect(0).json()["plan"].take();
        let len = fs::metadata(&image).unwrap().len();
        assert_eq!(plan["shrunk"]["content_bytes"], len);
        let place = judge(&original, &image, table);
        assert_eq!(plan["shrunk"]["fs_bytes"], fs_bytes(&image, place));
        live_on(&image, place);
        lens.push(len);
    }
    assert!(lens[0] < lens[1] && lens[1] < original.len(), "{lens:?}");
    assert!(
        before == fs::read(original.card.file()).unwrap(),
        "the card was written to"
    );
}

#[test]
fn a_card_with_an_mbr_gets_a_smaller_image() {
    check_backup("a_card_with_an_mbr_gets_a_smaller_image", Table::Mbr);
}

#[test]
fn a_card_with_logical_partitions_gets_a_smaller_image() {
    let test = "a_card_with_logical_partitions_gets_a_smaller_image";
    check_backup(test, Table::MbrLogical);
}

#[test]
fn a_card_with_a_gpt_gets_a_smaller_image() {
    check_backup("a_card_with_a_gpt_gets_a_smaller_image", Table::Gpt);
}

/// Every size between the smallest and the card's own can be had, and no other one.
#[test]
fn an_image_gets_the_size_that_is_wanted() {
    let test = "an_image_gets_the_size_that_is_wanted";
    if skipped(test) {
        return;
    }
    let original = Original::pi(Table::Gpt);
    let (image, _) = back_up_shrunk(&original.card, &["--shrink", "--margin=0"]);
    let least = fs::metadata(&image).unwrap().len();
    for wanted in [
        least,
        least + 700_001,
        (least + original.len()) / 2,
        original.len(),
    ] {
        let (image, answer) = back_up_shrunk(&original.card, &[&format!("--shrink={wanted}")]);
        answer.expect(0);
        let len = fs::metadata(&image).unwrap().len();
        assert!(
            len <= wanted && len + (12 << 20) > wanted,
            "{len} for {wanted}"
        );
        judge(&original, &image, Table::Gpt);
    }
    fs::remove_file(&image).unwrap();
    let (image, answer) = back_up_shrunk(&original.card, &["--shrink=45MB"]);
    let said = answer.expect(2).stderr;
    assert!(said.contains("the smallest possible size"), "{said}");
    assert!(!image.exists());
}

/// What can't be made smaller is refused, or copied whole where that is wanted, with trouble.
#[test]
fn a_card_that_cannot_be_made_smaller_is_copied_whole_only_on_request() {
    let test = "a_card_that_cannot_be_made_smaller_is_copied_whole_only_on_request";
    if skipped(test) {
        return;
    }
    let card = Card::new(Table::Mbr, &[40, 48]);
    fat::format(&card, 1, &["-F", "32", "-s", "1"]);
    let (image, answer) = back_up_shrunk(&card, &["--shrink"]);
    let said = answer.expect(3).stderr;
    assert!(said.contains("holds no ext2, ext3 or ext4"), "{said}");
    assert!(!image.exists());
    let (image, answer) = back_up_shrunk(&card, &["--shrink", "--or-whole"]);
    let said = answer.expect(9).json();
    assert_eq!(said["plan"]["shrunk"], Value::Null);
    assert_eq!(
        fs::metadata(image).unwrap().len(),
        fs::metadata(card.file()).unwrap().len()
    );
}

/// A card that was pulled while it was written to is recovered in the image, and left as it is.
#[test]
fn a_pulled_card_gets_a_smaller_image() {
    let test = "a_pulled_card_gets_a_smaller_image";
    if skipped(test) {
        return;
    }
    let original = Original::pi(Table::Mbr);
    let pulled = {
        let device = original.card.partition(1);
        let mount = Mount::new(device.path(), "noatime").unwrap();
        Churn::unix(mount.path(), 5).run_journalled(150).unwrap();
        original.card.copy()
    };
    let before = fs::read(pulled.file()).unwrap();
    let (image, answer) = back_up_shrunk(&pulled, &["--shrink"]);
    answer.expect(0);
    assert!(
        before == fs::read(pulled.file()).unwrap(),
        "the card was written to"
    );
    let place = last_partition(&image);
    let device = Loop::attach_extent(&image, place);
    life::assert_ext_is_clean(device.path());
    // The kernel replays the journal of its own copy.
    let by_kernel = life::tree(pulled.partition(1).path(), "noatime");
    assert_same(&by_kernel, &life::tree(device.path(), "ro"));
    drop(device);
    live_on(&image, place);
}

/// The content of an image does not depend on what it was made from.
#[test]
fn images_of_all_kinds_are_made_smaller_alike() {
    let test = "images_of_all_kinds_are_made_smaller_alike";
    if skipped(test) {
        return;
    }
    let original = Original::pi(Table::Mbr);
    let (small, answer) = back_up_shrunk(&original.card, &["--shrink"]);
    answer.expect(0);
    let expected = fs::read(&small).unwrap();
    let raw = original.card.beside("whole.img");
    let device = original.card.device();
    run_backup(device.path(), &raw, &[]).expect(0);
    drop(device);
    let (folder, name) = (raw.parent().unwrap(), "whole.img");
    for (program, words, made) in [
        ("true", &[][..], name),
        ("zstd", &["-q", "-k", "-f"][..], "whole.img.zst"),
        ("gzip", &["-k", "-f", "-1"][..], "whole.img.gz"),
        ("xz", &["-k", "-f", "-0"][..], "whole.img.xz"),
        ("bzip2", &["-k", "-f", "-1"][..], "whole.img.bz2"),
    ] {
        Tool::new(program).args(words).arg(&raw).run();
        let made = folder.join(made);
        let new = folder.join("new.img");
        let mut arguments: Vec<PathBuf> = vec!["shrink".into(), made.clone(), new.clone()];
        arguments.extend(["--json", "--quiet", "--force"].map(PathBuf::from));
        cardkeep(arguments).expect(0);
        let found = fs::read(&new).unwrap();
        let differing = found
            .iter()
            .zip(&expected)
            .position(|(is, should)| is != should);
        assert_eq!(
            (differing, found.len()),
            (None, expected.len()),
            "{program}"
        );
        let left: Vec<_> = fs::read_dir(folder).unwrap().flatten().collect();
        let is_left = |entry: &fs::DirEntry| entry.path().extension() == Some("partial".as_ref());
        assert!(!left.iter().any(is_left), "{program} left something behind");
    }
    let small_zst = folder.join("small.img.zst");
    let arguments = [
        "shrink".into(),
        raw.clone(),
        small_zst.clone(),
        "--quiet".into(),
    ];
    cardkeep(arguments).expect(0);
    Tool::new("zstd")
        .args(["-q", "-d", "-f"])
        .arg(&small_zst)
        .run();
    assert!(fs::read(folder.join("small.img")).unwrap() == expected);
    Tool::new("zstd").args(["-q", "-t"]).arg(small_zst).run();
}

/// Restores onto a larger card, and judges it.
fn onto_larger(original: &Original, image: &Path, table: Table, options: &[&str]) -> Extent {
    let len = original.len() + 150 * MIB + 512;
    let target = original.target(len);
    let device = target.device();
    let answer = restore(image, device.path(), options).expect(0);
    drop(device);
    let changes = answer.json()["plan"]["targets"][0]["changes"].to_string();
    assert!(changes.contains("grows from"), "{changes}");
    let place = judge(original, &target.file(), table);
    let tail = if table == Table::Gpt { 33 * 512 } else { 0 };
    assert_eq!(place.end(), len - tail);
    let fs_len = fs_bytes(&target.file(), place);
    assert!(fs_len > place.len() - 4096 && fs_len <= place.len());
    // Only metadata is written.
    let found = fs::read(target.file()).unwrap();
    let old_end = original.card.partitions()[1].end() as usize;
    let pages = found[old_end..].chunks(4096);
    let written = pages.filter(|page| !is_filled(page, STALE_TARGET)).count() * 4096;
    assert!(
        written < 5 << 20,
        "{written} bytes were written behind the old end"
    );
    live_on(&target.file(), place);
    place
}

/// Catches: metadata of new groups that is missing or wrong, a backup GPT in the middle, a partition
/// that does not fill the card, and the original's identity lost.
fn check_expansion(test: &str, table: Table) {
    if skipped(test) {
        return;
    }
    let original = Original::pi(table);
    onto_larger(&original, &original.card.file(), table, &["--expand"]);
    let image = original.card.beside("card.img.zst");
    let device = original.card.device();
    run_backup(device.path(), &image, &[]).expect(0);
    drop(device);
    onto_larger(&original, &image, table, &["--expand"]);
    Tool::new("gzip")
        .args(["-1", "-k"])
        .arg(original.card.file())
        .run();
    let stream = original.card.beside("card.img.gz");
    onto_larger(&original, &stream, table, &["--expand"]);
}

#[test]
fn a_filesystem_fills_a_larger_card_with_an_mbr() {
    check_expansion("a_filesystem_fills_a_larger_card_with_an_mbr", Table::Mbr);
}

#[test]
fn a_filesystem_fills_a_larger_card_with_logical_partitions() {
    let test = "a_filesystem_fills_a_larger_card_with_logical_partitions";
    check_expansion(test, Table::MbrLogical);
}

#[test]
fn a_filesystem_fills_a_larger_card_with_a_gpt() {
    check_expansion("a_filesystem_fills_a_larger_card_with_a_gpt", Table::Gpt);
}

/// Restores as a user would, without a word about sizes.
fn restore_plainly(image: &Path, target: &Path, options: &[&str]) -> Answer {
    let mut arguments: Vec<PathBuf> = vec!["restore".into(), image.into(), target.into()];
    arguments.extend(["--yes", "--json", "--quiet"].map(PathBuf::from));
    arguments.extend(options.iter().map(PathBuf::from));
    cardkeep(arguments)
}

/// What was made smaller becomes larger again by itself, is found right on the card and against the
/// card that it came from, and becomes smaller again.
#[test]
fn a_smaller_image_fills_any_card_and_becomes_smaller_again() {
    let test = "a_smaller_image_fills_any_card_and_becomes_smaller_again";
    if skipped(test) {
        return;
    }
    let original = Original::pi(Table::Mbr);
    let image = original.card.beside("small.img.zst");
    let device = original.card.device();
    run_backup(device.path(), &image, &["--shrink", "--margin", "0"]).expect(0);
    let against = |card: &Path| {
        let mut arguments: Vec<PathBuf> = vec!["verify".into(), image.clone()];
        arguments.extend(["--against".into(), card.into(), "--json".into()]);
        cardkeep(arguments)
    };
    assert_eq!(
        against(device.path()).expect(0).json()["against"]["equal"],
        true
    );
    drop(device);
    let target = original.target(original.len() + 40 * MIB);
    let device = target.device();
    restore_plainly(&image, device.path(), &[]).expect(0);
    assert_eq!(
        against(device.path()).expect(0).json()["against"]["equal"],
        true
    );
    drop(device);
    // One that was filled holds the table of the card that was backed up.
    let full = original.target(original.len());
    let device = full.device();
    restore_plainly(&image, device.path(), &["--expand"]).expect(0);
    against(device.path()).expect(0);
    drop(device);
    let place = judge(&original, &target.file(), Table::Mbr);
    assert_eq!(place.end(), original.len() + 40 * MIB);
    let (again, answer) = back_up_shrunk(&target, &["--shrink", "--margin", "0"]);
    answer.expect(0);
    judge(&original, &again, Table::Mbr);
    // A second restore finds all of it there already.
    let device = target.device();
    let answer = restore_plainly(&image, device.path(), &["--delta"])
        .expect(0)
        .json();
    assert_eq!(answer["targets"][0]["written_bytes"], 0, "{answer}");
}

#[test]
fn a_size_is_kept_or_reached_as_wanted() {
    let test = "a_size_is_kept_or_reached_as_wanted";
    if skipped(test) {
        return;
    }
    let original = Original::pi(Table::Mbr);
    let end = original.card.partitions()[1].end();
    let len = original.len() + 100 * MIB;
    let wanted = original.len() + 30 * MIB;
    let sized = format!("--expand={wanted}");
    for (option, expected) in [("--no-expand", end), (&sized, wanted), ("--no-probe", len)] {
        let target = original.target(len);
        let device = target.device();
        restore_plainly(&original.card.file(), device.path(), &[option]).expect(0);
        drop(device);
        assert_eq!(judge(&original, &target.file(), Table::Mbr).end(), expected);
    }
    let target = original.target(len);
    let device = target.device();
    let too_much = format!("--expand={}", len + 512);
    let answer = restore_plainly(&original.card.file(), device.path(), &[&too_much]);
    answer.expect(3);
    drop(device);
    let found = fs::read(target.file()).unwrap();
    assert!(is_filled(&found, STALE_TARGET), "it was written to");
}

/// An image that fills the card at its first boot is left to do so; told to, it grows all the same,
/// to the card's very end, where its own script finds nothing to do.
#[test]
fn a_system_that_grows_itself_is_left_to_do_so() {
    let test = "a_system_that_grows_itself_is_left_to_do_so";
    if skipped(test) {
        return;
    }
    let original = Original::pi(Table::Mbr);
    let cmdline = original.card.beside("cmdline.txt");
    let words = "console=tty1 root=PARTUUID=5049424b-02 rootwait quiet \
                 init=/usr/lib/raspberrypi-sys-mods/firstboot\n";
    fs::write(&cmdline, words).unwrap();
    {
        let device = original.card.partition(0);
        let image = device.path().to_path_buf();
        Tool::new("mcopy")
            .arg("-o")
            .arg("-i")
            .args([&image, &cmdline])
            .arg("::")
            .run();
    }
    let original = Original::known(original.card, Table::Mbr);
    let len = original.len() + 60 * MIB;
    for (option, expected) in [
        ("--no-probe", original.card.partitions()[1].end()),
        ("--expand", len),
    ] {
        let target = original.target(len);
        let device = target.device();
        let answer = restore_plainly(&original.card.file(), device.path(), &[option]);
        let answer = answer.expect(0).json();
        let changes = answer["plan"]["targets"][0]["changes"].to_string();
        assert_eq!(
            changes.contains("fills the card itself"),
            option == "--no-probe"
        );
        drop(device);
        assert_eq!(judge(&original, &target.file(), Table::Mbr).end(), expected);
    }
}

/// Catches: what lay behind the cut lost, and a card that is called too small although its files fit.
fn check_smaller_card(test: &str, table: Table) {
    if skipped(test) {
        return;
    }
    let original = Original::pi(table);
    let (small, answer) = back_up_shrunk(&original.card, &["--shrink", "--margin", "0"]);
    answer.expect(0);
    let least = fs::metadata(small).unwrap().len();
    let image = original.card.beside("card.img.zst");
    let device = original.card.device();
    run_backup(device.path(), &image, &[]).expect(0);
    for (command, from) in [("restore", image.as_path()), ("clone", device.path())] {
        for len in [
            least,
            (least + original.card.partitions()[1].end()) / 2 / 512 * 512,
        ] {
            let target = original.target(len);
            let to = target.device();
            write(command, from, to.path(), &[]).expect(0);
            let words = [
                "verify".into(),
                image.clone(),
                "--against".into(),
                to.path().into(),
            ];
            cardkeep::<PathBuf>(words).expect(0);
            drop(to);
            let place = judge(&original, &target.file(), table);
            assert!(place.end() <= len);
            live_on(&target.file(), place);
        }
        let target = original.target(least - 4096);
        let to = target.device();
        let said = write(command, from, to.path(), &[]).expect(3).stderr;
        assert!(said.contains("bytes too small"), "{said}");
        drop(to);
        let found = fs::read(target.file()).unwrap();
        assert!(is_filled(&found, STALE_TARGET), "it was written to");
    }
}

#[test]
fn files_fit_a_card_that_is_smaller_than_their_partition() {
    let test = "files_fit_a_card_that_is_smaller_than_their_partition";
    check_smaller_card(test, Table::Mbr);
}

#[test]
fn files_fit_a_smaller_card_with_a_gpt() {
    check_smaller_card("files_fit_a_smaller_card_with_a_gpt", Table::Gpt);
}

/// Catches: a partition table looked for where there is none, and the filesystem's beginning taken
/// for one.
#[test]
fn a_filesystem_without_a_table_gets_smaller_and_larger() {
    let test = "a_filesystem_without_a_table_gets_smaller_and_larger";
    if skipped(test) {
        return;
    }
    let whole = |len: u64| vec![Extent::between(0, len)];
    let card = Card::stale(80 * MIB, STALE_TARGET, whole(80 * MIB));
    format_ext(card.partition(0).path(), &["-t", "ext4"]);
    life::age(card.partition(0).path(), "noatime", 3, 300);
    let before = life::tree(card.partition(0).path(), "ro");
    let (image, answer) = back_up_shrunk(&card, &["--shrink"]);
    answer.expect(0);
    let len = fs::metadata(&image).unwrap().len();
    assert!(len < 70 * MIB, "{len}");
    assert_same(&before, &life::tree(Loop::attach(&image).path(), "ro"));
    live_on(&image, Extent::between(0, len));
    let (image, _) = back_up_shrunk(&card, &["--shrink"]);
    for len in [len, 75 * MIB, 300 * MIB] {
        let target = Card::stale(len, STALE_TARGET, whole(len));
        let device = target.device();
        restore_plainly(&image, device.path(), &[]).expect(0);
        drop(device);
        let place = Extent::between(0, len);
        assert!(fs_bytes(&target.file(), place) > len - 4096);
        assert_same(&before, &life::tree(target.partition(0).path(), "ro"));
        live_on(&target.file(), place);
    }
    let target = Card::stale(60 * MIB, STALE_TARGET, whole(60 * MIB));
    let device = target.device();
    write("clone", card.device().path(), device.path(), &[]).expect(0);
    drop(device);
    assert_same(&before, &life::tree(target.partition(0).path(), "ro"));
}

/// What comes from a pipe can't be known beforehand.
#[test]
fn a_pipe_keeps_its_sizes() {
    let test = "a_pipe_keeps_its_sizes";
    if skipped(test) {
        return;
    }
    let original = Original::pi(Table::Mbr);
    let target = original.target(original.len() + 50 * MIB);
    let device = target.device();
    let run = |options: &[&str]| {
        let pipe = fs::File::open(original.card.file()).unwrap();
        let mut arguments: Vec<PathBuf> = vec!["restore".into(), "-".into()];
        arguments.push(device.path().into());
        arguments.extend(["--yes", "--json", "--quiet"].map(PathBuf::from));
        arguments.extend(options.iter().map(PathBuf::from));
        cardkeep_reading(Stdio::from(pipe), arguments)
    };
    run(&["--expand"]).expect(3);
    run(&[]).expect(0);
    let place = judge(&original, &target.file(), Table::Mbr);
    assert_eq!(place, original.card.partitions()[1]);
}
