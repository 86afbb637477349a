//! Names that would steer a terminal or a page are shown, never obeyed.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;

use cardkeep_testkit::{Answer, skip_unless_tools};

use crate::desk::Desk;

/// A name that clears the screen, sets the title, turns the reading direction, hides and forges a line.
const NAME: &str = "e\x1b[2J\x1b]0;PWN\x07\r\u{9b}31m\u{202e}\u{200b}\x7f\nDone forged";
/// The same without a line end, which labels and identities can't have.
const LINE: &str = "e\x1b[2J\x1b]0;PWN\x07\u{9b}31m\u{202e}\u{200b}Q";

/// Asserts that nothing in what was printed acts on a terminal.
#[track_caller]
fn assert_tame(what: &str, bytes: &[u8]) {
    let text = std::str::from_utf8(bytes).expect("what is printed is UTF-8");
    let acts = |c: &char| {
        c.is_control() && *c != '\n' || matches!(c, '\u{202e}' | '\u{200b}' | '\u{feff}')
    };
    let found = text.chars().find(acts);
    assert_eq!(found, None, "{what}: {text:?}");
    assert!(!text.contains("\nDone forged"), "{what}: {text}");
}

/// Runs the program, and asserts that what it prints is tame; returns all of it.
#[track_caller]
fn tame<S: AsRef<OsStr>>(desk: &Desk, arguments: &[S]) -> String {
    let output = desk.command(&[]).args(arguments).output().unwrap();
    assert!(output.status.code().is_some_and(|code| code != 101));
    let what = format!("{:?}", arguments[0].as_ref());
    assert_tame(&what, &output.stdout);
    assert_tame(&what, &output.stderr);
    let Answer { stdout, stderr, .. } = output.into();
    stdout + &stderr
}

/// Makes a card whose system, host, label and files have such names, in one filesystem.
fn make_card(desk: &Desk, name: &str) {
    let root = desk.path("root");
    fs::create_dir_all(root.join("etc")).unwrap();
    fs::write(root.join("etc/hostname"), format!("{LINE}\n")).unwrap();
    let release = format!("PRETTY_NAME=\"{LINE}\"\n");
    fs::write(root.join("etc/os-release"), release).unwrap();
    fs::write(root.join(NAME), vec![7; 20_000]).unwrap();
    desk.sh("mke2fs -q -t ext4 -b 4096 -d root -L $'l\\e[2J\\u202e' plain.img 40M");
    fs::rename(desk.path("plain.img"), desk.path(name)).unwrap();
}

#[test]
fn text_from_outside_is_quoted_in_every_message() {
    let test = "text_from_outside_is_quoted_in_every_message";
    if skip_unless_tools(test, &["mke2fs"]) {
        return;
    }
    let desk = Desk::new();
    let card = format!("{NAME}.img");
    let image = format!("{NAME}.img.zst");
    let report = format!("{NAME}.html");
    make_card(&desk, &card);
    let target = format!("{NAME}-target.img");
    fs::copy(desk.path(&card), desk.path(&target)).unwrap();
    let [card, image, report, target] = [&*card, &*image, &*report, &*target];
    let calls: &[&[&str]] = &[
        &["info", card],
        &["info", card, "--json"],
        &["backup", card, image, "--dry-run"],
        &["backup", card, image, "--report", report],
        &["backup", card, image],
        &["backup", card, image, "--force", "--json"],
        &["backup", card, NAME],
        &["info", image],
        &["info", image, "--json"],
        &["verify", image],
        &["verify", image, "--against", target],
        &["verify", image, "--against", target, "--json"],
        &["restore", image, target, "--dry-run"],
        &["restore", image, target, "--dry-run", "--json"],
        &["restore", image, target],
        &["restore", image, target, "--yes"],
        &["clone", card, target, "--yes"],
        &["shrink", image, "--dry-run"],
        &["shrink", image],
        &["list", "--all"],
        &["sample", target],
        &["completions", NAME],
        &["man", NAME],
        &["info", NAME],
        &["verify", NAME],
        &["shrink", NAME],
        &["restore", NAME, target, "--yes"],
        &["restore", image, NAME, "--yes"],
        &["restore", image, target, "--yes", "--expect-serial", NAME],
        &["backup", NAME, image],
        &["backup", card, "x.img", "--report", NAME],
        &["backup", card, "x.img", "--shrink=1e\x1b[2J"],
        &["backup", card, "x.img", "--margin", NAME],
        &["backup", card, "x.img", "--format", NAME],
        &[NAME],
        &["info", "--e\x1b[2J\n\u{202e}"],
    ];
    let mut all = String::new();
    for call in calls {
        all += &tame(&desk, call);
    }
    for shown in ["\\033[2J", "\\342\\200\\256", "\\nDone forged", "Verified"] {
        assert!(all.contains(shown), "{shown} in {all}");
    }
    let page = fs::read(desk.path(report)).unwrap();
    assert_tame("the report", &page);
}

#[test]
fn names_of_lost_files_are_quoted() {
    let test = "names_of_lost_files_are_quoted";
    if skip_unless_tools(test, &["mke2fs", "debugfs"]) {
        return;
    }
    let desk = Desk::new();
    make_card(&desk, "evil.img");
    // The map says that the first sector of the file could not be read.
    desk.sh("ino=$(debugfs -R 'ls -p /' evil.img 2>/dev/null | grep -a forged -B9 | grep -a /e | tail -1 | cut -d/ -f2)\n\
         block=$(debugfs -R \"blocks <$ino>\" evil.img 2>/dev/null | awk '{print $1}')\n\
         off=$((block * 4096)); size=$(stat -c %s evil.img)\n\
         printf '# Mapfile. Created by x\\n0x0 ? 1\\n0x0 0x%x +\\n0x%x 0x200 -\\n0x%x 0x%x +\\n' \
         $off $off $((off + 512)) $((size - off - 512)) >evil.img.map");
    let said = tame(&desk, &["info", "evil.img"]);
    assert!(
        said.contains("\\033[2J") && said.contains("\\nDone forged"),
        "{said}"
    );
    tame(&desk, &["info", "evil.img", "--json"]);
}

#[test]
fn names_that_are_no_utf8_are_quoted_byte_by_byte() {
    let desk = Desk::new();
    let name = OsStr::from_bytes(b"x\xff\xfe.img");
    let said = tame(&desk, &[OsStr::new("info"), name]);
    assert!(said.contains("no file x\\377\\376.img"), "{said}");
}

#[test]
fn a_name_that_is_no_utf8_and_may_not_be_read_is_no_panic() {
    let test = "a_name_that_is_no_utf8_and_may_not_be_read_is_no_panic";
    if cardkeep_testkit::skip_unless_root(test) || skip_unless_tools(test, &["setpriv"]) {
        return;
    }
    let desk = Desk::new();
    let path = desk.folder().join(OsStr::from_bytes(b"x\xff.img"));
    fs::write(&path, "secret").unwrap();
    desk.sh("chmod 755 .; chmod 600 x*");
    let mut command = std::process::Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    command
        .arg(env!("CARGO_BIN_EXE_cardkeep"))
        .arg("info")
        .arg(&path);
    let answer: Answer = command.output().unwrap().into();
    answer
        .expect(4)
        .says(&["you may not read", "sudo", "x\\377.img'"]);
}
