//! Targets: what is approved is a thing, not a path.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Stdio;

use cardkeep_testkit::{Answer, Loop, Mount, Tool, skip_unless_root, skip_unless_tools};

use crate::desk::Desk;

/// Larger than the sample card.
const CARD_BYTES: u64 = 140 << 20;

/// Makes the sample card `s.img` and its image `s.img.zst`.
fn desk() -> Desk {
    let desk = Desk::new();
    desk.sample("s.img");
    desk.expect(0, &["backup", "s.img", "s.img.zst", "--quiet"]);
    desk
}

/// Restores to `target`, which must be refused with these words, and be left as it is.
fn assert_refused(desk: &Desk, target: &Path, words: &[&str]) {
    let before = blake3_of(target);
    for options in [&["--yes"][..], &["--yes", "--dry-run"]] {
        let mut command = desk.command(&["restore", "s.img.zst"]);
        let answer: Answer = command.arg(target).args(options).output().unwrap().into();
        answer.expect(3).says(words);
    }
    assert_eq!(before, blake3_of(target), "{target:?} was written");
}

fn blake3_of(path: &Path) -> String {
    let file = File::open(path).unwrap();
    let sum = std::process::Command::new("sha256sum")
        .stdin(file)
        .output()
        .unwrap();
    String::from_utf8(sum.stdout).unwrap()
}

#[test]
fn the_file_behind_a_mounted_device_is_not_written_whatever_it_is_called() {
    let test = "the_file_behind_a_mounted_device_is_not_written_whatever_it_is_called";
    if skip_unless_root(test) || skip_unless_tools(test, &["mke2fs"]) {
        return;
    }
    let desk = desk();
    for name in [&b"plain"[..], b"not \xff utf-8", b"line feed\n", b"renamed"] {
        let path = desk.folder().join(OsStr::from_bytes(name));
        File::create(&path).unwrap().set_len(CARD_BYTES).unwrap();
        Tool::new("mke2fs").args(["-q", "-F"]).arg(&path).run();
        let device = Loop::attach(&path);
        // Read-only: the kernel itself would change it otherwise.
        let mount = Mount::new(device.path(), "ro").unwrap();
        assert_refused(&desk, &path, &["serves as the device"]);
        // The name that the system noted leads nowhere now.
        let other = desk.path("second name");
        fs::rename(&path, &other).unwrap();
        assert_refused(&desk, &other, &["serves as the device"]);
        drop(mount);
        drop(device);
        fs::remove_file(other).unwrap();
    }
}

#[test]
fn standard_input_that_is_the_target_is_refused() {
    let desk = desk();
    let card = desk.path("card.img");
    fs::copy(desk.path("s.img"), &card).unwrap();
    symlink("card.img", desk.path("link.img")).unwrap();
    fs::hard_link(&card, desk.path("second.img")).unwrap();
    let before = blake3_of(&card);
    for target in ["card.img", "link.img", "second.img"] {
        let mut command = desk.command(&["restore", "-", target, "--yes"]);
        let answer = command.stdin(File::open(&card).unwrap()).output().unwrap();
        Answer::from(answer).expect(3).says(&["it is being read"]);
        assert_eq!(before, blake3_of(&card), "{target}");
    }
    // Another file that is redirected is as good as a pipe.
    fs::remove_file(desk.path("second.img")).unwrap();
    let mut command = desk.command(&["restore", "-", "card.img", "--yes", "--quiet"]);
    let image = File::open(desk.path("s.img.zst")).unwrap();
    Answer::from(command.stdin(image).output().unwrap()).expect(0);
}

#[test]
fn a_device_that_is_standard_input_or_holds_it_is_not_written() {
    let test = "a_device_that_is_standard_input_or_holds_it_is_not_written";
    if skip_unless_root(test) || skip_unless_tools(test, &["mke2fs"]) {
        return;
    }
    let desk = desk();
    let file = desk.path("device.img");
    File::create(&file).unwrap().set_len(CARD_BYTES).unwrap();
    Tool::new("mke2fs").args(["-q", "-F"]).arg(&file).run();
    let device = Loop::attach(&file);
    let restore = |stdin: File| {
        let mut command = desk.command(&["restore", "-"]);
        let command = command.arg(device.path()).args(["--yes", "--no-probe"]);
        Answer::from(command.stdin(stdin).output().unwrap())
    };
    let before = blake3_of(device.path());
    restore(File::open(device.path()).unwrap())
        .expect(3)
        .says(&["it is being read"]);
    assert_eq!(before, blake3_of(device.path()));
    let mount = Mount::new(device.path(), "rw").unwrap();
    let image = mount.path().join("s.img.zst");
    fs::copy(desk.path("s.img.zst"), &image).unwrap();
    let answer = restore(File::open(&image).unwrap());
    answer.expect(3);
    assert_eq!(blake3_of(&image), blake3_of(&desk.path("s.img.zst")));
}

#[test]
fn images_archives_and_parts_of_backups_are_no_cards() {
    let desk = desk();
    desk.sh("cp s.img.zst other.img.zst; truncate -s 150M other.img.zst
        tar -cf backup.tar s.img
        truncate -s 150M backup.tar
        gzip -1 -c s.img >plain; truncate -s 150M plain
        truncate -s 150M zeros.img.xz zeros.img.partial zeros.qcow2");
    for (name, words) in [
        ("other.img.zst", "a compressed image or an archive"),
        ("plain", "a compressed image or an archive"),
        ("backup.tar", "tar"),
        ("zeros.img.xz", "named like something to keep (.xz)"),
        (
            "zeros.img.partial",
            "named like something to keep (.partial)",
        ),
        ("zeros.qcow2", "named like something to keep (.qcow2)"),
    ] {
        assert_refused(&desk, &desk.path(name), &[words]);
    }
}

#[test]
fn a_file_that_another_program_writes_or_locks_is_not_written() {
    let desk = desk();
    let card = desk.path("card.img");
    let writer = File::create(&card).unwrap();
    writer.set_len(CARD_BYTES).unwrap();
    assert_refused(&desk, &card, &["has it open for writing"]);
    drop(writer);
    if skip_unless_tools("a_file_that_another_program_writes_or_locks", &["python3"]) {
        return;
    }
    // It says when it holds the lock, and keeps it until its input ends.
    let script = "import fcntl,sys
f = open(sys.argv[1], 'rb'); fcntl.lockf(f, fcntl.LOCK_SH); print('held', flush=True)
sys.stdin.read()";
    let mut holder = std::process::Command::new("python3")
        .args(["-c", script])
        .arg(&card)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = [0; 5];
    std::io::Read::read_exact(holder.stdout.as_mut().unwrap(), &mut said).unwrap();
    assert_refused(&desk, &card, &["holds a lock on it"]);
    drop(holder.stdin.take());
    holder.wait().unwrap();
    desk.expect(0, &["restore", "s.img.zst", "card.img", "--yes", "--quiet"]);
}

#[test]
fn a_plan_says_what_an_unknown_file_is_and_how_many_names_it_has() {
    let desk = desk();
    desk.filled("card.img", CARD_BYTES, 0xA5);
    fs::hard_link(desk.path("card.img"), desk.path("twin.img")).unwrap();
    let plan = ["restore", "s.img.zst", "card.img", "--dry-run"];
    desk.expect(0, &plan)
        .says(&["147 MB of unknown data", "2 names"]);
    fs::remove_file(desk.path("card.img")).unwrap();
    let file = File::create(desk.path("card.img")).unwrap();
    file.set_len(CARD_BYTES).unwrap();
    drop(file);
    desk.expect(0, &plan).says(&["nothing: the file is empty"]);
}

#[test]
fn a_report_replaces_neither_what_is_read_nor_what_is_written() {
    let desk = desk();
    fs::rename(desk.path("s.img"), desk.path("s.html")).unwrap();
    symlink("s.html", desk.path("link.svg")).unwrap();
    let before = blake3_of(&desk.path("s.html"));
    for report in ["s.html", "./s.html", "link.svg"] {
        let words = ["backup", "s.html", "new.img", "--force", "--report", report];
        desk.expect(3, &words).says(&["would replace the source"]);
    }
    let words = [
        "backup", "s.html", "x.html", "--format", "raw", "--report", "./x.html",
    ];
    desk.expect(3, &words).says(&["would replace the image"]);
    assert_eq!(before, blake3_of(&desk.path("s.html")));
    assert!(!desk.path("x.html").exists() && !desk.path("new.img").exists());
}

#[test]
fn man_pages_follow_no_link_and_wait_for_no_pipe() {
    let desk = Desk::new();
    fs::create_dir(desk.path("pages")).unwrap();
    fs::write(desk.path("precious"), "precious").unwrap();
    symlink("../precious", desk.path("pages/cardkeep.1")).unwrap();
    Tool::new("mkfifo")
        .arg(desk.path("pages/cardkeep-backup.1"))
        .run();
    desk.expect(0, &["man", "pages"]);
    assert_eq!(fs::read(desk.path("precious")).unwrap(), b"precious");
    for page in ["cardkeep.1", "cardkeep-backup.1"] {
        let metadata = desk.path("pages").join(page).symlink_metadata().unwrap();
        assert!(metadata.is_file() && metadata.len() > 500, "{page}");
        assert_eq!(metadata.permissions().mode() & 0o777, 0o644, "{page}");
    }
}

#[test]
fn what_a_backup_makes_is_its_owners_alone() {
    let desk = desk();
    let words = ["backup", "s.img", "n.img", "--report", "n.html", "--quiet"];
    desk.expect(0, &words);
    for name in ["s.img.zst", "n.img", "n.html"] {
        let mode = desk.path(name).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[test]
fn images_may_have_names_as_long_as_the_filesystem_takes() {
    let desk = desk();
    for ending in [".img", ".img.zst", ".img.gz"] {
        let name = format!("{}{ending}", "n".repeat(255 - ending.len()));
        desk.expect(0, &["backup", "s.img", &name, "--quiet"]);
        desk.expect(0, &["verify", &name, "--against", "s.img"][..2]);
        fs::remove_file(desk.path(&name)).unwrap();
        let left = fs::read_dir(desk.folder()).unwrap().count();
        assert_eq!(left, 2, "{ending}");
    }
}
