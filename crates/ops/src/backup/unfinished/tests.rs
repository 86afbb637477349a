//! Backups that end after any single change to any file, and what the next run makes of what they left.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cardkeep_block::{AllocationMap, Extent, MemoryMedium, Monitor, ReadAt, Silent, State};
use cardkeep_copy::{FileShelf, RetryPolicy, Verify, decoded};
use cardkeep_device::{Change, ImageFiles, Overwrite, Source, Watch, machine};
use cardkeep_image::{FRAME_BYTES, Format};
use cardkeep_survey::{Scope, survey};
use cardkeep_testkit::{Fault, FaultyMedium};
use tempfile::TempDir;

use crate::backup::{
    BackupReport, BackupRequest, Estimate, Looked, Resume, SecondReading, Target, Unmount, apply,
};
use crate::completeness::Truncated;
use crate::error::{OpError, OpErrorKind};
use crate::input::{ContentRule, Input, InputKind};

const FRAME: u64 = FRAME_BYTES as u64;
/// The length of most cards: there are many runs.
const SMALL: u64 = 192 * 1024;
/// The length of one whose image has two frames.
const LARGE: u64 = FRAME + 65_536;
/// What a failing card does not give, or not at once.
const BAD: Extent = Extent::between(65_536, 66_560);
/// The same of a large card: the second frame is not made of the store.
const BAD_LATE: Extent = Extent::between(FRAME + 4096, FRAME + 5120);
const NAMES: [&str; 3] = ["card.img", "card.img.zst", "card.img.gz"];

type Card = FaultyMedium<MemoryMedium>;

/// Returns a small card full of bytes that are never zero; another one for each `kind`.
fn card(kind: u64) -> Arc<Card> {
    card_of(kind, SMALL)
}

fn card_of(kind: u64, len: u64) -> Arc<Card> {
    let byte = |i: u64| (i / 512 * 7 + i % 13 + kind * 3) as u8 | 1;
    let bytes: Vec<u8> = (0..len).map(byte).collect();
    Arc::new(FaultyMedium::new(MemoryMedium::from_bytes(&bytes)).aligned_to(512))
}

/// When a run dies.
#[derive(Debug)]
enum Death {
    /// Before the change with this number, from 0, and each one after it.
    Before(AtomicUsize),
    /// Before the file of this name gets another one.
    AtRename(PathBuf, AtomicUsize),
}

impl Death {
    fn before(count: usize) -> Self {
        Self::Before(AtomicUsize::new(count))
    }
}

impl Watch for Death {
    fn before(&self, change: Change, path: &Path) -> io::Result<()> {
        let is_dead = match self {
            Self::Before(left) => {
                let count = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                    left.checked_sub(1)
                });
                count.is_err()
            }
            Self::AtRename(name, dead) => {
                if change == Change::Rename && path == name {
                    dead.store(1, Ordering::Relaxed);
                }
                dead.load(Ordering::Relaxed) == 1
            }
        };
        match is_dead {
            true => Err(io::Error::other("the run is dead")),
            false => Ok(()),
        }
    }
}

/// Takes down all changes.
#[derive(Clone, Debug, Default)]
struct Log(Arc<Mutex<Vec<(Change, PathBuf)>>>);

impl Watch for Log {
    fn before(&self, change: Change, path: &Path) -> io::Result<()> {
        self.0.lock().unwrap().push((change, path.to_path_buf()));
        Ok(())
    }
}

/// A folder in memory, where there is one, with the place of an image.
struct Desk {
    folder: TempDir,
    image: PathBuf,
}

impl Desk {
    fn new(name: &str) -> Self {
        let memory = Path::new("/dev/shm");
        let folder = match memory.is_dir() {
            true => tempfile::tempdir_in(memory),
            false => tempfile::tempdir(),
        };
        let folder = folder.unwrap();
        std::fs::write(folder.path().join("card.img.md5"), "a bystander").unwrap();
        let image = folder.path().join(name);
        Self { folder, image }
    }

    /// Returns a desk on which the same files lie.
    fn copy(&self) -> Self {
        let name = self.image.file_name().unwrap();
        let own = Self::new(name.to_str().unwrap());
        for entry in std::fs::read_dir(self.folder.path()).unwrap() {
            let path = entry.unwrap().path();
            let target = own.folder.path().join(path.file_name().unwrap());
            std::fs::copy(&path, target).unwrap();
        }
        own
    }

    fn files(&self) -> ImageFiles {
        ImageFiles::of(&self.image)
    }

    fn request(&self, how: How) -> BackupRequest {
        BackupRequest {
            content: ContentRule::Known,
            truncated: Truncated::Refuse,
            card: self.folder.path().join("card"),
            target: Target::File(self.image.clone()),
            format: None,
            level: Some(1),
            scope: Scope::UsedOnly,
            overwrite: match how {
                How::Anew => Overwrite::Replace,
                How::Plain | How::Resumed => Overwrite::Refuse,
            },
            unmount: Unmount::No,
            shrink: None,
            policy: RetryPolicy::default(),
            resume: match how {
                How::Resumed => Resume::Yes,
                How::Plain | How::Anew => Resume::No,
            },
            patience: Duration::ZERO,
            verify: Verify::ReadBack,
            second_reading: SecondReading::No,
            estimate: Estimate::None,
            date: "2026-11-22".into(),
            tool: "cardkeep test".into(),
            cores: 1,
        }
    }

    /// Backs up a card; all changes are made by leave of `death`.
    fn back_up(
        &self,
        card: &Arc<Card>,
        how: How,
        death: Option<Death>,
    ) -> Result<BackupReport, OpError> {
        let watch = death.map(|death| Arc::new(death) as Arc<dyn Watch>);
        self.back_up_watched(card, how, watch)
    }

    fn back_up_watched(
        &self,
        card: &Arc<Card>,
        how: How,
        watch: Option<Arc<dyn Watch>>,
    ) -> Result<BackupReport, OpError> {
        let request = self.request(how);
        let content = Arc::clone(card) as Arc<dyn ReadAt>;
        let opened = Input::from_medium(&request.card, InputKind::Plain, content, 512);
        let map = AllocationMap::all(card.len(), State::Used);
        let mut learnt = survey(card.inner(), 512, Scope::UsedOnly, &Silent);
        learnt.map = map;
        let image = Some(self.image.clone());
        crate::precheck::check_name(&self.image, request.overwrite_of(&self.image))?;
        let looked = Looked {
            opened,
            survey: learnt,
        };
        let mut session = looked.planned(image, request, &Silent)?;
        if let Some(watch) = watch {
            session.watch(watch);
        }
        let monitor: Arc<dyn Monitor> = Arc::new(Silent);
        apply(&Arc::from(machine()), &session, &mut io::sink(), &monitor)
    }

    fn format(&self) -> Format {
        Format::from_name(&self.image).unwrap()
    }

    /// Returns what the image holds.
    fn content(&self) -> Vec<u8> {
        let source = Arc::new(Source::open(&self.image).unwrap());
        if self.format() == Format::Raw {
            return source.read_vec(0, source.len() as usize).unwrap();
        }
        let (mut stream, _) = decoded(source, self.format()).unwrap();
        let mut content = Vec::new();
        stream.read_to_end(&mut content).unwrap();
        content
    }

    /// Returns what the image lacks, as it and its map say.
    fn told(&self) -> Vec<Extent> {
        if self.format() == Format::Zstd {
            let source = Source::open(&self.image).unwrap();
            let opened = Input::from_file(&self.image, source, ContentRule::Known).unwrap();
            return opened.manifest().unwrap().lost.clone();
        }
        let len = self.content().len() as u64;
        FileShelf::lost_of_image(&self.files(), self.format(), len).unwrap()
    }

    /// Asserts that an image that has the name holds one of the cards, but for what it says it lacks, and
    /// lacks no more than `BAD`; and that others' files are as they were.
    fn assert_whole(&self, cards: &[&Arc<Card>], what: &str) {
        let bystander = self.folder.path().join("card.img.md5");
        assert_eq!(std::fs::read(bystander).unwrap(), b"a bystander", "{what}");
        if !self.image.exists() {
            return;
        }
        let (content, told) = (self.content(), self.told());
        let holds = |card: &Arc<Card>| {
            let mut expected = card.inner().to_vec();
            for lost in &told {
                expected[lost.start() as usize..lost.end() as usize].fill(0);
            }
            content == expected
        };
        assert!(cards.iter().any(|card| holds(card)), "{what}: {told:?}");
        let is_bad = |lost: &Extent| {
            [BAD, BAD_LATE]
                .iter()
                .any(|bad| lost.intersection(*bad) == *lost)
        };
        assert!(told.iter().all(is_bad), "{what}: {told:?}");
    }

    /// Makes the image that is wanted, whatever was left, and asserts that nothing else stays.
    fn assert_can_be_made(&self, card: &Arc<Card>, what: &str) {
        let resumed = self.back_up(card, How::Resumed, None);
        if let Err(error) = resumed {
            // An image that nothing says is to be replaced, or the card of another one.
            let is_refused = matches!(error.kind, OpErrorKind::Usage | OpErrorKind::Refused);
            assert!(is_refused && self.image.exists(), "{what}: {error:?}");
            let anew = self.back_up(card, How::Anew, None);
            anew.unwrap_or_else(|error| panic!("{what}: {error:?}"));
        }
        assert!(
            self.content() == card.inner().to_vec(),
            "{what}: another image"
        );
        assert_eq!(self.told(), [], "{what}");
        for path in self.files().beside() {
            assert!(!path.exists(), "{what}: {} is left", path.display());
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Plain,
    Anew,
    Resumed,
}

/// What was there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Before {
    Nothing,
    /// Another card's image.
    Whole,
    /// Another card's image, with its losses.
    Lossy,
    /// This card's image, with its losses.
    OwnLossy,
    /// What a run left that ended early.
    Begun,
}

/// How the card behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    Sound,
    /// What fails once can be read later, from when on the store has the rest.
    Weak,
    Bad,
}

impl Health {
    fn declare(self, card: &Card) {
        card.heal();
        let extent = if card.len() == SMALL { BAD } else { BAD_LATE };
        match self {
            Self::Sound => {}
            Self::Weak => card.declare(Fault::Flaky {
                extent,
                failures: 1,
            }),
            Self::Bad => card.declare(Fault::Unreadable(extent)),
        }
    }
}

fn prepare(desk: &Desk, before: Before, own: &Arc<Card>, other: &Arc<Card>) {
    match before {
        Before::Nothing => {}
        Before::Whole => drop(desk.back_up(other, How::Plain, None).unwrap()),
        Before::Lossy | Before::OwnLossy => {
            let card = if before == Before::Lossy { other } else { own };
            Health::Bad.declare(card);
            desk.back_up(card, How::Plain, None).unwrap();
            card.heal();
        }
        Before::Begun => {
            Health::Bad.declare(own);
            let death = Death::AtRename(desk.files().partial(), AtomicUsize::new(0));
            desk.back_up(own, How::Plain, Some(death)).unwrap_err();
            own.heal();
        }
    }
}

/// Lets a run die before each of its changes in turn, and judges what it left.
fn check(before: Before, how: How, health: Health) {
    let cards = [card(0), card(1)];
    for name in NAMES {
        check_name(name, &cards, before, how, health);
    }
}

fn check_name(name: &str, cards: &[Arc<Card>; 2], before: Before, how: How, health: Health) {
    let [own, other] = cards;
    let prepared = Desk::new(name);
    prepare(&prepared, before, own, other);
    for count in 0.. {
        let desk = prepared.copy();
        health.declare(own);
        let ended = desk.back_up(own, how, Some(Death::before(count)));
        own.heal();
        let what = format!("{name}, {before:?}, {how:?}, {health:?}, {count} changes");
        match before {
            Before::Nothing | Before::Begun => {}
            Before::Whole | Before::Lossy => assert!(desk.image.exists(), "{what}: no image"),
            Before::OwnLossy => {
                let is_there = desk.image.exists() || desk.files().partial().exists();
                assert!(is_there, "{what}: no image");
            }
        }
        desk.assert_whole(&[own, other], &what);
        desk.assert_can_be_made(own, &what);
        if ended.is_ok() {
            assert!(count > 5, "{what}");
            break;
        }
    }
}

#[test]
fn a_first_backup_that_dies_after_any_change_is_resumed() {
    check(Before::Nothing, How::Plain, Health::Sound);
    check(Before::Nothing, How::Plain, Health::Weak);
    check(Before::Nothing, How::Plain, Health::Bad);
}

#[test]
fn a_backup_that_replaces_an_image_leaves_one_of_the_two_after_any_change() {
    check(Before::Whole, How::Anew, Health::Sound);
    check(Before::Whole, How::Anew, Health::Bad);
}

#[test]
fn a_backup_that_replaces_an_image_with_losses_keeps_them_told_after_any_change() {
    check(Before::Lossy, How::Anew, Health::Sound);
    check(Before::Lossy, How::Anew, Health::Bad);
}

#[test]
fn an_image_with_losses_that_is_resumed_keeps_them_told_after_any_change() {
    check(Before::OwnLossy, How::Resumed, Health::Sound);
    check(Before::OwnLossy, How::Resumed, Health::Weak);
}

#[test]
fn a_resumed_backup_that_dies_after_any_change_is_resumed_again() {
    check(Before::Begun, How::Resumed, Health::Sound);
    check(Before::Begun, How::Resumed, Health::Weak);
    // The first frame was not made of the store, and is kept.
    let cards = [card_of(0, LARGE), card_of(1, LARGE)];
    for before in [Before::Nothing, Before::Begun] {
        check_name(NAMES[1], &cards, before, How::Resumed, Health::Weak);
    }
}

#[test]
fn what_an_earlier_run_left_may_be_begun_anew_after_any_change() {
    check(Before::Begun, How::Anew, Health::Sound);
    check(Before::Begun, How::Anew, Health::Weak);
}

/// Catches: a map whose store was thrown away, believed as soon as there is a store of that length again.
#[test]
fn a_map_is_not_believed_of_a_store_that_was_made_after_it() {
    let own = card(0);
    for name in NAMES {
        let prepared = Desk::new(name);
        prepare(&prepared, Before::Begun, &own, &own);
        let files = prepared.files();
        // To make room, say.
        match prepared.format() {
            Format::Raw => std::fs::write(files.partial(), []).unwrap(),
            _ => std::fs::remove_file(files.store()).unwrap(),
        }
        for count in 0.. {
            let desk = prepared.copy();
            Health::Weak.declare(&own);
            let ended = desk.back_up(&own, How::Resumed, Some(Death::before(count)));
            own.heal();
            let what = format!("{name}, {count} changes");
            desk.assert_whole(&[&own], &what);
            let resumed = desk.back_up(&own, How::Resumed, None);
            assert!(resumed.is_ok() || ended.is_ok(), "{what}: {resumed:?}");
            assert!(desk.content() == own.inner().to_vec(), "{what}");
            assert_eq!(desk.told(), [], "{what}");
            if ended.is_ok() {
                break;
            }
        }
    }
}

/// Catches: the store removed before the image that was made of it has its name, so that what a dying card
/// gave once is asked for again.
#[test]
fn what_a_card_gave_once_is_kept_until_the_image_has_its_name() {
    for name in NAMES {
        let (desk, own) = (Desk::new(name), card(0));
        Health::Weak.declare(&own);
        let death = Death::AtRename(desk.files().partial(), AtomicUsize::new(0));
        desk.back_up(&own, How::Plain, Some(death)).unwrap_err();
        // It is dead now where it was weak.
        Health::Bad.declare(&own);
        let report = desk.back_up(&own, How::Resumed, None).unwrap();
        assert_eq!(report.lost_bytes, 0, "{name}");
        assert!(desk.content() == own.inner().to_vec(), "{name}");
    }
}

/// Catches: an image that was finished but for its name made anew, because nothing says any more that it
/// was to replace another one.
#[test]
fn an_image_that_lacked_only_its_name_replaces_the_other_one_when_it_is_resumed() {
    for name in NAMES {
        let (desk, own, other) = (Desk::new(name), card(0), card(1));
        prepare(&desk, Before::Whole, &own, &other);
        let death = Death::AtRename(desk.files().partial(), AtomicUsize::new(0));
        desk.back_up(&own, How::Anew, Some(death)).unwrap_err();
        assert!(desk.content() == other.inner().to_vec(), "{name}");
        desk.back_up(&own, How::Resumed, None).unwrap();
        assert!(desk.content() == own.inner().to_vec(), "{name}");
    }
}

/// Catches: the losses of an unfinished image told of the one that it was to replace.
#[test]
fn an_unfinished_image_that_is_thrown_away_takes_its_losses_along() {
    for name in NAMES {
        for before in [Before::Whole, Before::Lossy] {
            let (desk, own, other) = (Desk::new(name), card(0), card(1));
            prepare(&desk, before, &own, &other);
            let told = desk.told();
            // Another place than that of the old one.
            own.declare(Fault::Unreadable(Extent::between(8192, 9216)));
            let death = Death::AtRename(desk.files().partial(), AtomicUsize::new(0));
            desk.back_up(&own, How::Anew, Some(death)).unwrap_err();
            std::fs::remove_file(desk.files().partial()).unwrap();
            assert_eq!(desk.told(), told, "{name}, {before:?}");
            desk.assert_whole(&[&other], name);
        }
    }
}

/// Catches: an empty partial file left by a run that was refused, which the next one is refused for.
#[test]
fn a_resume_that_is_refused_leaves_what_it_found() {
    for name in NAMES {
        let (desk, own, other) = (Desk::new(name), card(0), card(1));
        prepare(&desk, Before::OwnLossy, &own, &other);
        let found = desk.files().look("cardkeep");
        let refused = desk.back_up(&other, How::Resumed, None).unwrap_err();
        assert_eq!(refused.kind, OpErrorKind::Refused, "{refused:?}");
        assert_eq!(desk.files().look("cardkeep"), found, "{name}");
        desk.assert_whole(&[&own], name);
    }
}

/// Catches: ddrescue's files, or an earlier run's store, overwritten by a backup that was not told to.
#[test]
fn a_backup_overwrites_no_store_and_no_map_of_another_program_without_leave() {
    let own = card(0);
    for (ending, text) in [
        (".rescue", "rescued"),
        (
            ".map",
            "# Mapfile. Created by GNU ddrescue version 1.27\n0 ? 1\n",
        ),
        (".map", "no mapfile at all"),
    ] {
        let desk = Desk::new("card.img.zst");
        let path = PathBuf::from(format!("{}{ending}", desk.image.display()));
        std::fs::write(&path, text).unwrap();
        Health::Weak.declare(&own);
        let refused = desk.back_up(&own, How::Plain, None).unwrap_err();
        assert_eq!(refused.kind, OpErrorKind::Usage, "{refused:?}");
        assert_eq!(std::fs::read(&path).unwrap(), text.as_bytes());
        assert!(!desk.files().partial().exists());
        desk.back_up(&own, How::Anew, None).unwrap();
        assert!(!path.exists());
    }
}

/// Catches: a name that a power cut leaves without the content, and a removed map that a power cut brings
/// back beside new content.
#[test]
fn content_is_durable_before_its_name_and_a_removal_before_new_content() {
    let (own, other) = (card(0), card(1));
    for name in NAMES {
        for before in [Before::Begun, Before::Lossy] {
            let desk = Desk::new(name);
            prepare(&desk, before, &own, &other);
            Health::Weak.declare(&own);
            let log = Log::default();
            let watch = Arc::new(log.clone()) as Arc<dyn Watch>;
            desk.back_up_watched(&own, How::Anew, Some(watch)).unwrap();
            let log = log.0.lock().unwrap();
            check_order(&log, &desk.files(), &format!("{name}, {before:?}"));
        }
    }
}

fn check_order(log: &[(Change, PathBuf)], files: &ImageFiles, what: &str) {
    let last_before = |at: usize, path: &Path, wanted: &[Change]| {
        let mut earlier = log[..at].iter();
        earlier.rposition(|(change, own)| own == path && wanted.contains(change))
    };
    let mut names = 0;
    for (at, (change, path)) in log.iter().enumerate() {
        match change {
            Change::Rename => {
                names += 1;
                let written = last_before(at, path, &[Change::Write, Change::Resize]);
                let flushed = last_before(at, path, &[Change::Flush]);
                assert!(written < flushed, "{what}: {path:?} is not durable");
                let rest = &log[at..];
                let is_named = rest
                    .iter()
                    .any(|(change, _)| *change == Change::FlushFolder);
                assert!(is_named, "{what}: the name {path:?} is not durable");
            }
            Change::Write if *path == files.partial() => {
                let beside = [files.map(), files.store()];
                let removed = beside
                    .iter()
                    .filter_map(|path| last_before(at, path, &[Change::Remove]))
                    .max();
                let flushed = log[..at]
                    .iter()
                    .rposition(|(change, _)| *change == Change::FlushFolder);
                assert!(removed <= flushed, "{what}: what was removed may come back");
            }
            _ => {}
        }
    }
    assert!(names >= 1, "{what}");
}
