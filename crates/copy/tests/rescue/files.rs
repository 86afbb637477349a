//! The shelf in files, and what ddrescue makes of it.

use std::path::Path;
use std::sync::Arc;

use cardkeep_block::{Extent, ReadAt, RescueMap, RescueStatus, State};
use cardkeep_copy::{
    FileShelf, FrameList, Job, Output, Prefix, Rescue, RescueReport, Shelf, Unattended, Verify,
    copy_rescuing,
};
use cardkeep_device::{Event, ImageFiles, Losses, Overwrite, PartialFile, StoreKind};
use cardkeep_image::{EncodeOptions, Format, Manifest, Mapfile, RescuePhase};
use cardkeep_testkit::{Fault, Tool, skip_unless_tools};

use crate::bench::{Card, FRAME, LEN, Way, card, content, expected, recorded};

const BAD: Extent = Extent::between(FRAME + 51_200, FRAME + 52_224);

fn rescue(card: &Card, file: &PartialFile, shelf: &Arc<FileShelf>, format: Format) -> RescueReport {
    let (_, map) = crate::bench::card();
    let way = Way::new(format);
    let prefix = match format {
        Format::Zstd | Format::Xz => Prefix::load(file, &FrameList::new(&map), format).unwrap(),
        _ => Prefix::default(),
    };
    let job = Job {
        source: Arc::new(card),
        map: Arc::new(map.clone()),
        format,
        options: EncodeOptions::default(),
        verify: Verify::ReadBack,
        limits: way.limits,
    };
    let rescue = Rescue {
        map: shelf.load(LEN).unwrap(),
        shelf: Arc::clone(shelf) as Arc<dyn Shelf>,
        attendant: Arc::new(Unattended),
        policy: way.policy,
        prefix,
    };
    let manifest = |frames| Manifest::new("test", map.clone(), frames);
    let output = Output::Stored(file);
    let monitor: Arc<dyn cardkeep_block::Monitor> = Arc::new(cardkeep_block::Silent);
    copy_rescuing(&job, rescue, output, &manifest, &monitor).1
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn ddrescue_reads_what_was_lost_and_the_image_gets_it() {
    if skip_unless_tools(
        "ddrescue_reads_what_was_lost_and_the_image_gets_it",
        &["ddrescue"],
    ) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("card.img.zst");
    let (card, map) = card();
    card.declare(Fault::Unreadable(BAD));
    let files = ImageFiles::of(&path);
    let shelf = Arc::new(FileShelf::beside(files.clone(), "test"));
    let making = files.begin(Event::Make, "test").unwrap();
    let report = rescue(&card, making.file(), &shelf, Format::Zstd);
    assert_eq!(report.lost, [BAD]);
    let made = std::fs::read(files.partial()).unwrap();
    assert_eq!(recorded(&made), [BAD]);
    assert!(content(Format::Zstd, made) == expected(&card, &map, &[BAD]));
    // Both files are let go, for ddrescue and a reader that reads it all.
    drop((making, shelf));
    let medium = folder.path().join("card");
    std::fs::write(&medium, card.inner().read_vec(0, LEN as usize).unwrap()).unwrap();
    let (store, mapfile) = (files.store(), files.map());
    Tool::new("ddrescue")
        .args(["-q", "-r1"])
        .args([&medium, &store, &mapfile])
        .run();
    // The card itself stays as bad as it was: all comes from the store.
    let shelf = Arc::new(FileShelf::beside(files.clone(), "test"));
    let resume = Event::Resume {
        store: StoreKind::Beside,
        overwrite: Overwrite::Refuse,
    };
    let making = files.begin(resume, "test").unwrap();
    let report = rescue(&card, making.file(), &shelf, Format::Zstd);
    assert_eq!(report.lost, []);
    let made = std::fs::read(files.partial()).unwrap();
    assert!(made == Way::new(Format::Zstd).healthy(&card, &map));
    drop(shelf);
    let left = making.finish(Losses::None, StoreKind::Beside).unwrap();
    assert!(left.is_empty());
    assert_eq!(names(folder.path()), ["card", "card.img.zst"]);
}

#[test]
fn a_raw_image_is_its_own_store() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("card.img");
    let (card, map) = card();
    card.declare(Fault::GoneAfter(map.bytes(State::Used) / 2));
    let files = ImageFiles::of(&path);
    let making = files.begin(Event::Make, "test").unwrap();
    let file = making.file();
    let shelf = || Arc::new(FileShelf::within(files.clone(), Arc::clone(file), "test"));
    rescue(&card, file, &shelf(), Format::Raw);
    card.heal();
    card.declare(Fault::Unreadable(BAD));
    let report = rescue(&card, file, &shelf(), Format::Raw);
    assert_eq!(report.lost, [BAD]);
    assert_eq!(names(folder.path()), ["card.img.map", "card.img.partial"]);
    let made = std::fs::read(file.path()).unwrap();
    assert!(made == expected(&card, &map, &[BAD]));
}

#[test]
fn a_mapfile_without_its_store_is_not_believed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("card.img.zst");
    let files = ImageFiles::of(&path);
    let shelf = FileShelf::beside(files.clone(), "test");
    let untried = RescueMap::new(LEN, RescueStatus::NonTried);
    assert_eq!(shelf.load(LEN).unwrap(), untried);
    let done = RescueMap::new(LEN, RescueStatus::Finished);
    let mapfile = Mapfile {
        position: 0,
        phase: RescuePhase::Copying,
        pass: 1,
        map: done.clone(),
    };
    shelf.save(&mapfile).unwrap();
    assert_eq!(shelf.load(LEN).unwrap(), untried);
    let store = shelf.store().unwrap();
    store.write_at(0, b"too short").unwrap();
    assert_eq!(shelf.load(LEN).unwrap(), untried);
    store.set_len(LEN).unwrap();
    assert_eq!(shelf.load(LEN).unwrap(), done);
    std::fs::write(files.map(), "0 ? 1\nrubbish").unwrap();
    assert!(shelf.load(LEN).unwrap_err().to_string().contains("image"));
}
