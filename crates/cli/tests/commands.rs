//! The program from outside, on the sample card that it makes itself: no root, no devices.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on fails by panicking"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

/// A folder with the sample card in it.
struct Desk {
    folder: TempDir,
}

impl Desk {
    fn new() -> Self {
        let desk = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        let made = desk.run(&["sample", "card.img"]);
        assert!(made.status.success(), "{}", stderr(&made));
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cardkeep"));
        command
            .args(args)
            .current_dir(self.folder.path())
            .stdin(Stdio::null());
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Runs, and asserts the exit code.
    fn expect(&self, code: i32, args: &[&str]) -> Output {
        let output = self.run(args);
        assert_eq!(
            output.status.code(),
            Some(code),
            "{args:?}\n{}",
            stderr(&output)
        );
        output
    }

    fn json(&self, code: i32, args: &[&str]) -> Value {
        let output = self.expect(code, args);
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn change_byte(path: &Path, offset: u64) {
    let mut bytes = fs::read(path).unwrap();
    bytes[offset as usize] ^= 0x55;
    fs::write(path, bytes).unwrap();
}

/// Where the text of a file of the sample card lies on it.
fn find(card: &Path, text: &str) -> u64 {
    let bytes = fs::read(card).unwrap();
    let found = bytes
        .windows(text.len())
        .position(|window| window == text.as_bytes());
    found.unwrap() as u64
}

#[test]
fn a_backup_is_small_verified_and_good() {
    let desk = Desk::new();
    let report = desk.json(
        0,
        &["backup", "card.img", "card.img.zst", "--json", "--quiet"],
    );
    assert_eq!(report["verified"], "read back");
    assert_eq!(report["plan"]["contents"]["hostname"], "sample-pi");
    // The junk in free space is 100 MB that no compressor can shorten.
    assert!(fs::metadata(desk.path("card.img.zst")).unwrap().len() < 1_000_000);
    let verified = desk.json(0, &["verify", "card.img.zst", "--json", "--quiet"]);
    assert_eq!(verified["checked"]["checked_against"], "digests");
    assert_eq!(verified["checked"]["image_digest"], report["image_digest"]);
    assert_eq!(desk.names(), ["card.img", "card.img.zst"]);
}

#[test]
fn every_format_decodes_to_the_same_content_by_the_ordinary_tools() {
    let desk = Desk::new();
    desk.expect(0, &["backup", "--quiet", "card.img", "out.img"]);
    let raw = fs::read(desk.path("out.img")).unwrap();
    assert_eq!(
        raw.len() as u64,
        fs::metadata(desk.path("card.img")).unwrap().len()
    );
    for (name, tool) in [
        ("out.img.zst", "zstd"),
        ("out.img.gz", "gzip"),
        ("out.img.xz", "xz"),
    ] {
        desk.expect(0, &["backup", "--quiet", "card.img", name]);
        desk.expect(0, &["verify", "--quiet", name]);
        if cardkeep_testkit::tool(tool).is_none() {
            cardkeep_testkit::skip("every_format_decodes_to_the_same_content", tool);
            continue;
        }
        let decoded = Command::new(tool)
            .arg("-dc")
            .arg(desk.path(name))
            .output()
            .unwrap();
        assert!(decoded.status.success(), "{tool}: {}", stderr(&decoded));
        assert!(decoded.stdout == raw, "{tool} decodes to something else");
    }
}

#[test]
fn the_same_card_gives_the_same_bytes_to_files_and_pipes() {
    let desk = Desk::new();
    desk.expect(0, &["backup", "--quiet", "card.img", "one.img.zst"]);
    desk.expect(0, &["backup", "--quiet", "card.img", "two.img.zst"]);
    let one = fs::read(desk.path("one.img.zst")).unwrap();
    assert!(one == fs::read(desk.path("two.img.zst")).unwrap());
    let piped = desk.expect(0, &["backup", "card.img", "-"]);
    assert!(one == piped.stdout);
    assert!(stderr(&piped).contains("a stream can't be read back"));
}

#[test]
fn an_image_is_named_after_host_and_day_and_never_replaced_unasked() {
    let desk = Desk::new();
    desk.expect(0, &["backup", "--quiet", "card.img"]);
    desk.expect(0, &["backup", "--quiet", "card.img"]);
    let names = desk.names();
    assert_eq!(names.len(), 3, "{names:?}");
    assert!(
        names[1].starts_with("sample-pi-20") && names[1].ends_with("-2.img.zst"),
        "{names:?}"
    );
    fs::write(desk.path("mine.img.zst"), "precious").unwrap();
    let refused = desk.expect(2, &["backup", "--quiet", "card.img", "mine.img.zst"]);
    assert!(stderr(&refused).contains("--force"), "{}", stderr(&refused));
    assert_eq!(fs::read(desk.path("mine.img.zst")).unwrap(), b"precious");
    desk.expect(
        0,
        &["backup", "--quiet", "--force", "card.img", "mine.img.zst"],
    );
    desk.expect(0, &["verify", "--quiet", "mine.img.zst"]);
}

#[test]
fn an_image_comes_back_onto_a_file_once_somebody_agrees() {
    let desk = Desk::new();
    desk.expect(0, &["backup", "--quiet", "card.img", "out.img.zst"]);
    let stale = vec![0xA5; 140_000_000];
    fs::write(desk.path("target.img"), &stale).unwrap();
    let refused = desk.expect(3, &["restore", "out.img.zst", "target.img"]);
    assert!(stderr(&refused).contains("--yes"), "{}", stderr(&refused));
    let dry = [
        "restore",
        "out.img.zst",
        "target.img",
        "--dry-run",
        "--json",
    ];
    let plan = desk.json(0, &dry);
    assert_eq!(plan["plan"]["hostname"], "sample-pi");
    assert!(fs::read(desk.path("target.img")).unwrap() == stale);
    desk.expect(
        0,
        &["restore", "--quiet", "--yes", "out.img.zst", "target.img"],
    );
    let against = ["verify", "out.img.zst", "--against", "target.img"];
    desk.expect(0, &against);
}

#[test]
fn a_dry_run_shows_the_plan_and_writes_nothing() {
    let desk = Desk::new();
    let plan = desk.json(
        0,
        &["backup", "card.img", "out.img.zst", "--dry-run", "--json"],
    );
    assert_eq!(plan["dry_run"], true);
    assert!(plan["plan"]["used_bytes"].as_u64().unwrap() < 20_000_000);
    assert_eq!(desk.names(), ["card.img"]);
}

#[test]
fn a_comparison_names_the_file_that_differs() {
    let desk = Desk::new();
    desk.expect(0, &["backup", "--quiet", "card.img", "out.img.zst"]);
    let against = [
        "verify",
        "out.img.zst",
        "--against",
        "card.img",
        "--json",
        "--quiet",
    ];
    assert_eq!(desk.json(0, &against)["against"]["equal"], true);
    let offset = find(&desk.path("card.img"), "This card was made by cardkeep");
    change_byte(&desk.path("card.img"), offset);
    let report = desk.json(6, &against);
    let places = report["against"]["places"].as_array().unwrap();
    assert_eq!(places.len(), 1, "{places:?}");
    assert_eq!(places[0]["path"], "/home/pi/Documents/hello.txt");
    assert_eq!(places[0]["partition"], 2);
    assert_eq!(places[0]["start"].as_u64().unwrap(), offset / 512 * 512);
}

#[test]
fn junk_in_free_space_is_no_difference() {
    let desk = Desk::new();
    desk.expect(0, &["backup", "--quiet", "card.img", "out.img.zst"]);
    let info = desk.json(0, &["info", "card.img", "--json", "--quiet"]);
    let used = info["map"]["used"].as_array().unwrap();
    let first_free = used[0][0].as_u64().unwrap() + used[0][1].as_u64().unwrap();
    change_byte(&desk.path("card.img"), first_free);
    desk.expect(
        0,
        &["verify", "--quiet", "out.img.zst", "--against", "card.img"],
    );
}

#[test]
fn a_damaged_image_is_found_with_its_place() {
    let desk = Desk::new();
    desk.expect(0, &["backup", "--quiet", "card.img", "out.img.zst"]);
    change_byte(&desk.path("out.img.zst"), 2000);
    let found = desk.expect(6, &["verify", "--quiet", "out.img.zst"]);
    assert!(
        stderr(&found).contains("bytes 4194304..8388608"),
        "{}",
        stderr(&found)
    );
    let bytes = fs::read(desk.path("out.img.zst")).unwrap();
    fs::write(desk.path("cut.img.zst"), &bytes[..bytes.len() / 2]).unwrap();
    let cut = desk.run(&["verify", "--quiet", "cut.img.zst"]);
    assert!(matches!(cut.status.code(), Some(6 | 7)), "{}", stderr(&cut));
}

#[test]
fn everything_copies_every_byte() {
    let desk = Desk::new();
    desk.expect(
        0,
        &["backup", "--quiet", "--everything", "card.img", "all.img"],
    );
    assert!(fs::read(desk.path("all.img")).unwrap() == fs::read(desk.path("card.img")).unwrap());
}

#[test]
fn garbage_and_cut_off_cards_are_copied_whole_and_told() {
    let desk = Desk::new();
    let mut card = fs::read(desk.path("card.img")).unwrap();
    fs::write(desk.path("cut.img"), &card[..70_000_001]).unwrap();
    let told = desk.expect(3, &["backup", "--quiet", "cut.img", "cut-out.img"]);
    let said = stderr(&told);
    assert!(said.contains("used bytes are missing"), "{said}");
    let words = [
        "backup",
        "--quiet",
        "cut.img",
        "cut-out.img",
        "--everything",
        "--allow-truncated",
    ];
    desk.expect(9, &words);
    assert!(fs::read(desk.path("cut-out.img")).unwrap() == card[..70_000_001]);
    // A damaged filesystem: its own partition is copied whole, the other one is not.
    let superblock = (4 + 40) * 1_048_576 + 1024;
    card[superblock + 0x20..superblock + 0x28].fill(0);
    fs::write(desk.path("torn.img"), &card).unwrap();
    let told = desk.expect(9, &["backup", "--quiet", "torn.img", "torn-out.img"]);
    assert!(stderr(&told).contains("partition 2"), "{}", stderr(&told));
    let out = fs::read(desk.path("torn-out.img")).unwrap();
    assert!(out[44 * 1_048_576..] == card[44 * 1_048_576..]);
    assert!(out[..44 * 1_048_576] != card[..44 * 1_048_576]);
    let noise: Vec<u8> = (0..3_000_001u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    fs::write(desk.path("noise.img"), &noise).unwrap();
    desk.expect(9, &["backup", "--quiet", "noise.img", "noise-out.img"]);
    assert!(fs::read(desk.path("noise-out.img")).unwrap() == noise);
}

#[test]
fn wrong_names_get_errors_that_say_what_to_do() {
    let desk = Desk::new();
    fs::write(desk.path("empty.img"), "").unwrap();
    fs::create_dir(desk.path("folder")).unwrap();
    let cases: [(&[&str], i32, &str); 7] = [
        (
            &["backup", "/dev/no-such-card", "x.img"],
            2,
            "cardkeep list",
        ),
        (&["backup", "card.img", "x.tar"], 2, "--format"),
        (
            &["backup", "card.img", "no/such/folder/x.img"],
            2,
            "no folder",
        ),
        (&["backup", "empty.img", "x.img"], 2, "empty"),
        (&["backup", "folder", "x.img"], 5, "folder"),
        (
            &["backup", "card.img", "card.img", "--force"],
            3,
            "the file that is read",
        ),
        (&["verify", "/no/such/image"], 2, "no file /no/such/image"),
    ];
    for (args, code, text) in cases {
        let output = desk.expect(code, args);
        assert!(
            stderr(&output).contains(text),
            "{args:?}: {}",
            stderr(&output)
        );
    }
    assert_eq!(desk.names(), ["card.img", "empty.img", "folder"]);
}

#[test]
fn ctrl_c_stops_cleanly_and_leaves_no_image() {
    let desk = Desk::new();
    // 64 GB of nothing known: all of it would be read.
    fs::File::create(desk.path("huge.img"))
        .unwrap()
        .set_len(64_000_000_000)
        .unwrap();
    let mut child = desk
        .command(&["backup", "huge.img", "out.img.zst"])
        .stderr(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let partial = desk.path("out.img.zst.partial");
    while !partial.exists() {
        std::thread::sleep(Duration::from_millis(20));
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    child.wait().unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(8), "{}", stderr(&output));
    assert!(stderr(&output).contains("--resume"), "{}", stderr(&output));
    let names = ["card.img", "huge.img", "out.img.zst.partial"];
    assert_eq!(desk.names(), names);
}

#[test]
fn info_shows_the_card() {
    let desk = Desk::new();
    let shown = stdout(&desk.expect(0, &["info", "card.img"]));
    let expected = include_str!("snapshots/info.txt");
    assert_eq!(shown, expected, "shown:\n{shown}");
}

/// Returns what a snapshot holds; `None` where there is none yet.
fn snapshot(name: &str) -> Option<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots");
    fs::read_to_string(folder.join(name)).ok()
}

/// Compares texts with their snapshots, and shows all that differ.
fn expect_snapshots(shown: &[(String, String)]) {
    let differs = shown
        .iter()
        .filter(|(name, text)| snapshot(name).as_ref() != Some(text));
    let differs: Vec<String> = differs
        .map(|(name, text)| format!("{name}:\n{text}"))
        .collect();
    assert!(differs.is_empty(), "shown:\n{}", differs.join("\n"));
}

#[test]
fn every_command_has_the_help_of_its_snapshot() {
    let desk = Desk::new();
    let commands = stdout(&desk.expect(0, &["help"]));
    let names = commands
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1);
    let names = names.take_while(|line| !line.is_empty());
    // What is further in continues the line above.
    let names = names.filter(|line| !line.starts_with("   "));
    let mut names: Vec<&str> = names
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(names.contains(&"restore"), "{commands}");
    names.retain(|name| *name != "help");
    let help = |name: &str| {
        let shown = stdout(&desk.expect(0, &["help", name]));
        // What clap puts between the paragraphs of an option.
        let lines = shown.lines().map(str::trim_end);
        lines.map(|line| format!("{line}\n")).collect::<String>()
    };
    let texts = names
        .iter()
        .map(|name| (format!("help-{name}.txt"), help(name)));
    let all = ("help.txt".to_owned(), commands.clone());
    expect_snapshots(&std::iter::once(all).chain(texts).collect::<Vec<_>>());
}

#[test]
fn every_plan_is_that_of_its_snapshot() {
    let desk = Desk::new();
    fs::write(desk.path("blank"), []).unwrap();
    let blank = fs::File::options().write(true).open(desk.path("blank"));
    blank.unwrap().set_len(315_000_000).unwrap();
    let plans: [(&str, &[&str]); 8] = [
        ("backup", &["backup", "card.img", "new.img.zst"]),
        (
            "backup-shrink",
            &["backup", "card.img", "new.img", "--shrink"],
        ),
        (
            "backup-everything",
            &["backup", "card.img", "new.img.gz", "--everything"],
        ),
        ("shrink", &["shrink", "card.img"]),
        ("restore", &["restore", "card.img", "blank"]),
        (
            "restore-delta",
            &["restore", "card.img", "blank", "--delta", "--no-expand"],
        ),
        (
            "restore-resume",
            &[
                "restore", "card.img", "blank", "--resume", "--verify", "none",
            ],
        ),
        ("clone", &["clone", "card.img", "blank"]),
    ];
    let plan = |args: &[&str]| {
        let shown = stderr(&desk.expect(0, &[args, &["--dry-run"]].concat()));
        // How fast the disk is.
        let lines = shown
            .lines()
            .map(|line| line.split(", about ").next().unwrap_or(line));
        lines.map(|line| format!("{line}\n")).collect::<String>()
    };
    let shown = plans.map(|(name, args)| (format!("plan-{name}.txt"), plan(args)));
    expect_snapshots(&shown);
}

#[test]
fn info_knows_an_image_like_its_card() {
    let desk = Desk::new();
    desk.expect(0, &["backup", "--quiet", "card.img", "out.img.zst"]);
    let card = desk.json(0, &["info", "card.img", "--json", "--quiet"]);
    let image = desk.json(0, &["info", "out.img.zst", "--json", "--quiet"]);
    assert_eq!(card["map"], image["map"]);
    assert_eq!(
        card["contents"]["partitions"],
        image["contents"]["partitions"]
    );
    assert_eq!(image["kind"], "image");
}

#[test]
fn list_is_json_with_a_schema() {
    let desk = Desk::new();
    let list = desk.json(0, &["list", "--all", "--json", "--quiet"]);
    assert_eq!(list["schema"], 1);
    assert!(list["devices"].is_array());
}

#[test]
fn completions_and_man_pages_come_from_the_command_line() {
    let desk = Desk::new();
    assert!(stdout(&desk.expect(0, &["completions", "bash"])).contains("cardkeep"));
    fs::create_dir(desk.path("man")).unwrap();
    desk.expect(0, &["man", "man"]);
    let page = fs::read_to_string(desk.path("man/cardkeep-backup.1")).unwrap();
    assert!(page.contains("dry\\-run"), "{page}");
}

#[test]
fn errors_in_json_have_code_and_hints() {
    let desk = Desk::new();
    let output = desk.expect(2, &["backup", "/dev/no-such-card", "x.img", "--json"]);
    let event: Value = serde_json::from_str(stderr(&output).lines().last().unwrap()).unwrap();
    assert_eq!(
        (event["event"].as_str(), event["exit_code"].as_u64()),
        (Some("error"), Some(2))
    );
    assert!(!event["hints"].as_array().unwrap().is_empty());
}

#[test]
fn what_is_no_image_is_never_put_onto_a_card() {
    let desk = Desk::new();
    let card = fs::read(desk.path("card.img")).unwrap();
    fs::write(desk.path("page.img.zst"), vec![0x11; 4096]).unwrap();
    fs::write(desk.path("cut.img"), &card[..100_001]).unwrap();
    for name in ["page.img.zst", "cut.img"] {
        let output = desk.expect(7, &["restore", name, "card.img", "--yes"]);
        assert!(stderr(&output).contains(name), "{}", stderr(&output));
        assert!(fs::read(desk.path("card.img")).unwrap() == card, "{name}");
    }
    // Nor called an image otherwise.
    for command in ["verify", "info", "shrink"] {
        let output = desk.expect(7, &[command, "page.img.zst"]);
        let said = stderr(&output);
        assert!(
            said.contains("page.img.zst") && said.contains("does not hold one"),
            "{said}"
        );
    }
}

#[test]
fn a_broken_map_beside_an_image_is_told_with_its_line() {
    let desk = Desk::new();
    fs::write(desk.path("card.img.map"), "no map\n").unwrap();
    let output = desk.expect(9, &["verify", "card.img"]);
    let said = stderr(&output);
    assert!(
        said.contains("card.img.map") && said.contains("line 1"),
        "{said}"
    );
}
