//! Mapfiles, judged by GNU ddrescue itself: what is written here it goes on with, and what it
//! writes is read here.

#![expect(
    clippy::unwrap_used,
    reason = "what fails here is the test's premise, and its place says which"
)]

use std::path::{Path, PathBuf};

use cardkeep_block::{Extent, RescueMap, RescueStatus};
use cardkeep_image::{Mapfile, RescuePhase};
use cardkeep_testkit::{Tool, skip_unless_tools};

const LEN: u64 = 1 << 20;

fn sample() -> Mapfile {
    let mut map = RescueMap::new(LEN, RescueStatus::Finished);
    for (start, end, status) in [
        (0x10000, 0x10200, RescueStatus::BadSector),
        (0x10200, 0x11000, RescueStatus::NonScraped),
        (0x20000, 0x30000, RescueStatus::NonTrimmed),
        (0xF0000, LEN, RescueStatus::NonTried),
    ] {
        map.set(Extent::between(start, end), status);
    }
    Mapfile {
        position: 0xF0000,
        phase: RescuePhase::Copying,
        pass: 1,
        map,
    }
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// A folder with a medium of bytes that differ, and our mapfile of it.
fn bench() -> (tempfile::TempDir, PathBuf, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let medium = folder.path().join("medium");
    let bytes: Vec<u8> = (0..LEN).map(|i| (i / 512 + i) as u8 | 1).collect();
    std::fs::write(&medium, bytes).unwrap();
    let mapfile = folder.path().join("card.map");
    std::fs::write(&mapfile, sample().to_text("cardkeep 1.2.3")).unwrap();
    (folder, medium, mapfile)
}

#[test]
fn ddrescuelog_counts_what_the_map_says() {
    if skip_unless_tools("ddrescuelog_counts_what_the_map_says", &["ddrescuelog"]) {
        return;
    }
    let (_folder, _, mapfile) = bench();
    let said = Tool::new("ddrescuelog").arg("-t").arg(&mapfile).run();
    for (name, status) in [
        ("non-tried", RescueStatus::NonTried),
        ("rescued", RescueStatus::Finished),
        ("non-trimmed", RescueStatus::NonTrimmed),
        ("non-scraped", RescueStatus::NonScraped),
        ("bad-sector", RescueStatus::BadSector),
    ] {
        let line = said.lines().find(|line| line.contains(&format!("{name}:")));
        let bytes = sample().map.bytes(status).to_string();
        assert!(line.unwrap().contains(&format!("{bytes} B")), "{said}");
    }
}

#[test]
fn ddrescue_goes_on_where_the_map_says_and_its_map_is_read() {
    let test = "ddrescue_goes_on_where_the_map_says_and_its_map_is_read";
    if skip_unless_tools(test, &["ddrescue"]) {
        return;
    }
    let (folder, medium, mapfile) = bench();
    let copy = folder.path().join("copy");
    std::fs::write(&copy, vec![0; LEN as usize]).unwrap();
    Tool::new("ddrescue")
        .args(["-q", "-r1", &text(&medium), &text(&copy), &text(&mapfile)])
        .run();
    let (original, copied) = (
        std::fs::read(&medium).unwrap(),
        std::fs::read(&copy).unwrap(),
    );
    for run in sample().map.runs() {
        let part = run.extent.start() as usize..run.extent.end() as usize;
        match run.status {
            // It believed what was done, and read only the rest.
            RescueStatus::Finished => assert!(copied[part].iter().all(|&byte| byte == 0)),
            _ => assert!(copied[part.clone()] == original[part]),
        }
    }
    let theirs = Mapfile::parse(&std::fs::read(&mapfile).unwrap(), LEN).unwrap();
    assert_eq!(theirs.phase, RescuePhase::Finished);
    assert_eq!(theirs.map, RescueMap::new(LEN, RescueStatus::Finished));
}

#[test]
fn the_map_of_an_unfinished_ddrescue_is_read() {
    if skip_unless_tools("the_map_of_an_unfinished_ddrescue_is_read", &["ddrescue"]) {
        return;
    }
    let (folder, medium, _) = bench();
    let (copy, mapfile) = (folder.path().join("copy"), folder.path().join("their.map"));
    let window = ["-q", "-i", "4096", "-s", "8192"];
    let files = [text(&medium), text(&copy), text(&mapfile)];
    Tool::new("ddrescue").args(window).args(files).run();
    let theirs = Mapfile::parse(&std::fs::read(&mapfile).unwrap(), LEN).unwrap();
    let done: Vec<Extent> = theirs.map.extents(RescueStatus::Finished).collect();
    assert_eq!(done, [Extent::between(4096, 12_288)]);
    assert_eq!(theirs.map.bytes(RescueStatus::NonTried), LEN - 8192);
}
