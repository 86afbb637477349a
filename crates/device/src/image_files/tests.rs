//! Runs that end after each single change, from every state: see the table at the head of `image_files.rs`.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use cardkeep_block::WriteAt;

use super::{
    BeginError, Event, FilesState, Found, ImageFiles, Losses, Making, NotNow, Origin, StoreKind,
    next_state,
};
use crate::map_note::{MapNote, MapOf};
use crate::partial_file::Overwrite;
use crate::watch::{Change, Watch};

const OLD: &[u8] = b"the old image";
const NEW: &[u8] = b"the new image, which is longer";
const OLD_MAP: &str = "# Created by cardkeep 1, of the old one\n1\n";
const THEIR_MAP: &str = "# Mapfile. Created by GNU ddrescue version 1.27\n1\n";
const NEW_MAP: &str = "2\n";

/// Lets so many changes happen, and none after them: the run is dead.
#[derive(Debug)]
struct Stop {
    left: AtomicUsize,
}

impl Watch for Stop {
    fn before(&self, change: Change, path: &Path) -> io::Result<()> {
        let left = self.left.load(Ordering::Relaxed);
        if left == 0 {
            let what = format!("stopped before {change:?} of {}", path.display());
            return Err(io::Error::other(what));
        }
        self.left.store(left - 1, Ordering::Relaxed);
        Ok(())
    }
}

fn notes() -> [Option<MapNote>; 4] {
    let note = |of, is_ours| Some(MapNote { of, is_ours });
    [
        None,
        note(MapOf::Image, true),
        note(MapOf::Image, false),
        note(MapOf::Next, true),
    ]
}

/// Returns what can be there.
fn all_found() -> Vec<Found> {
    let mut all = Vec::new();
    for bits in 0..16 {
        for map in notes() {
            let found = Found {
                image: bits & 1 != 0,
                partial: bits & 2 != 0,
                map,
                old_map: bits & 4 != 0,
                store: bits & 8 != 0,
            };
            // Without an image there is none to be replaced.
            if found.image || map.is_none_or(|note| note.of == MapOf::Image) {
                all.push(found);
            }
        }
    }
    all
}

fn events() -> Vec<Event> {
    let mut events = vec![Event::Make, Event::MakeAnew];
    for store in [StoreKind::Image, StoreKind::Beside] {
        for overwrite in [Overwrite::Refuse, Overwrite::Replace] {
            events.push(Event::Resume { store, overwrite });
        }
    }
    events
}

/// Returns a folder, in memory where that can be: there are some thousand runs.
fn folder() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let folder = match memory.is_dir() {
        true => tempfile::tempdir_in(memory),
        false => tempfile::tempdir(),
    };
    folder.unwrap()
}

/// Makes a folder in which this is found, beside a file that is nobody's business.
fn furnish(folder: &Path, found: Found) -> ImageFiles {
    let files = ImageFiles::of(folder.join("card.img"));
    fs::write(folder.join("card.img.md5"), "a bystander").unwrap();
    if found.image {
        fs::write(files.image(), OLD).unwrap();
    }
    if found.partial {
        fs::write(files.partial(), &NEW[..4]).unwrap();
    }
    if found.old_map {
        fs::write(files.old_map(), OLD_MAP).unwrap();
    }
    if found.store {
        fs::write(files.store(), "rescued").unwrap();
    }
    match found.map {
        None => {}
        Some(MapNote {
            of: MapOf::Next, ..
        }) => {
            fs::write(files.map(), "# Created by cardkeep 1, replacing\n2\n").unwrap();
        }
        Some(MapNote { is_ours: true, .. }) => fs::write(files.map(), OLD_MAP).unwrap(),
        Some(_) => fs::write(files.map(), THEIR_MAP).unwrap(),
    }
    files
}

/// Saves the map as the shelf does.
fn save_map(files: &ImageFiles, mark: &str) -> Result<(), BeginError> {
    let text = format!("# Created by cardkeep 2{mark}\n{NEW_MAP}");
    files.save_map(&text).map_err(BeginError::SetAside)
}

/// Makes an image as a run does that gets `losses`, and ends where a change is refused.
fn run(files: &ImageFiles, event: Event, losses: Losses) -> Result<(), BeginError> {
    let making = files.begin(event, "cardkeep")?;
    let is_replacing = files.image().exists();
    let store = match event {
        Event::Resume { store, .. } => store,
        _ => StoreKind::Beside,
    };
    if is_replacing || losses == Losses::Some || files.map().exists() {
        save_map(
            files,
            if is_replacing {
                MapNote::replacing()
            } else {
                ""
            },
        )?;
    }
    if losses == Losses::Some && store == StoreKind::Beside {
        drop(files.open_store()?);
    }
    let written = making.file().write_at(0, NEW);
    written.map_err(BeginError::Empty)?;
    let trimmed = making.file().set_len(NEW.len() as u64);
    trimmed.map_err(BeginError::Empty)?;
    if files.map().exists() {
        let mark = match is_replacing {
            true => MapNote::replacing_this(files.image()),
            false => String::new(),
        };
        save_map(files, &mark)?;
    }
    let left = making.finish(losses, store)?;
    match left.into_iter().next() {
        Some(left) => Err(BeginError::Leftover(left.error)),
        None => Ok(()),
    }
}

/// Asserts that the image is whole, and that its map is its own.
fn assert_whole(files: &ImageFiles, found: Found, losses: Losses, what: &str) {
    let bystander = files.image().with_file_name("card.img.md5");
    assert_eq!(fs::read(bystander).unwrap(), b"a bystander", "{what}");
    let Ok(content) = fs::read(files.image()) else {
        // Only a raw image with a map is taken back, and is the partial one then.
        let is_taken_back = found.state() == FilesState::Lossy && files.partial().exists();
        assert!(!found.image || is_taken_back, "{what}: lost");
        return;
    };
    let map = files.map_of_image().unwrap();
    let map = map.map(|text| String::from_utf8(text).unwrap());
    if content == OLD {
        // What there was of a map of it when it was found.
        let had = match found.state() {
            FilesState::Lossy if found.map.is_some_and(|note| note.is_ours) => Some(OLD_MAP),
            FilesState::Lossy => Some(THEIR_MAP),
            FilesState::Orphaned | FilesState::Replacing => found.old_map.then_some(OLD_MAP),
            _ => None,
        };
        assert_eq!(map.as_deref(), had, "{what}: the map of the old image");
        return;
    }
    assert!(content == NEW, "{what}: {content:?} is neither image");
    match map {
        Some(text) => assert!(text.ends_with(NEW_MAP), "{what}: {text} of the new image"),
        None => assert_eq!(losses, Losses::None, "{what}: no losses are told"),
    }
}

/// Tells whether a test can say whose map is whose: a partial file that a user put beside a lossy image
/// was no run's.
fn is_reachable(found: Found) -> bool {
    match found.state() {
        // The map is then of the partial file. Before there is one, there is none to be set aside.
        FilesState::Replacing => match found.map {
            Some(note) => note.of == MapOf::Next,
            None => !found.old_map,
        },
        _ => true,
    }
}

/// Catches: a crash between two changes after which an image is lost, half of one, or taken for whole.
#[test]
fn a_run_that_ends_after_any_change_leaves_a_whole_image_with_its_own_map() {
    let mut stops = 0;
    for found in all_found().into_iter().filter(|&found| is_reachable(found)) {
        // Whether an image without a map may be replaced changes no step.
        let is_told_apart = |event: &Event| !format!("{event:?}").contains("Replace");
        for event in events().into_iter().filter(is_told_apart) {
            for losses in [Losses::None, Losses::Some] {
                for count in 0.. {
                    let folder = folder();
                    let files = furnish(folder.path(), found);
                    let stop = Stop {
                        left: AtomicUsize::new(count),
                    };
                    let watched = files.clone().watched_by(Arc::new(stop));
                    let ended = run(&watched, event, losses);
                    let what = format!("{found:?}, {event:?}, {losses:?}, {count}: {ended:?}");
                    assert_whole(&files, found, losses, &what);
                    // The user may throw away what is not finished.
                    if files.image().exists() && fs::remove_file(files.partial()).is_ok() {
                        assert_whole(&files, found, losses, &format!("{what}, partial removed"));
                    }
                    stops += 1;
                    let is_refused = matches!(&ended, Err(BeginError::NotNow(_)));
                    let is_stopped = format!("{ended:?}").contains("stopped before");
                    if ended.is_ok() || is_refused || !is_stopped {
                        break;
                    }
                    // Whatever was left, an image can be made anew.
                    run(&files, Event::MakeAnew, Losses::None).unwrap();
                    assert_eq!(fs::read(files.image()).unwrap(), NEW, "{what}");
                    for path in files.beside() {
                        assert!(!path.exists(), "{what}: {} is left", path.display());
                    }
                }
            }
        }
    }
    assert!(stops > 1000, "{stops}");
}

/// Catches: a table that says one thing and changes that do another.
#[test]
fn what_is_found_after_an_event_is_what_the_table_says() {
    for found in all_found() {
        for event in events() {
            let folder = folder();
            let files = furnish(folder.path(), found);
            assert_eq!(files.look("cardkeep"), found);
            let what = format!("{found:?}, {event:?}");
            let (making, to) = match (files.begin(event, "cardkeep"), next_state(found, event)) {
                (Ok(making), Ok(transition)) => (making, transition.to),
                (Err(_), Err(_)) => {
                    assert_eq!(files.look("cardkeep"), found, "{what}: refused");
                    continue;
                }
                (begun, expected) => panic!("{what}: {begun:?}, not {expected:?}"),
            };
            let begun = files.look("cardkeep");
            let blind = |found: Found| Found { map: None, ..found };
            assert_eq!(blind(begun), blind(to), "{what}");
            assert_eq!(begun.map.is_some(), to.map.is_some(), "{what}");
            check_withdrawal(&files, making, found, &what);
        }
    }
}

/// Asserts that a run that changed nothing leaves what it found.
fn check_withdrawal(files: &ImageFiles, making: Making, found: Found, what: &str) {
    let is_anew = what.contains("MakeAnew");
    if is_anew || making.origin() == Origin::Reopened {
        return;
    }
    making.withdraw("cardkeep").unwrap();
    let left = files.look("cardkeep");
    let expected = Found {
        // A stale one may be gone.
        old_map: left.old_map && found.old_map,
        ..found
    };
    assert_eq!(left, expected, "{what}: withdrawn");
}

/// Catches: bytes of a dying card, or another program's map, overwritten by a backup that was not told to.
#[test]
fn what_others_left_is_not_overwritten_without_leave() {
    let kept = |map, store| Found {
        map,
        store,
        ..Found::default()
    };
    let [_, ours, theirs, _] = notes();
    for found in [
        kept(None, true),
        kept(ours, true),
        kept(theirs, false),
        kept(theirs, true),
    ] {
        assert_eq!(
            next_state(found, Event::Make),
            Err(NotNow::Left),
            "{found:?}"
        );
    }
    // Our own map alone describes nothing that there is.
    assert!(next_state(kept(ours, false), Event::Make).is_ok());
}

/// Catches: a name taken from a file that appeared while an image was to be taken back.
#[test]
fn giving_an_image_its_name_back_replaces_nothing() {
    let folder = folder();
    let [_, ours, ..] = notes();
    let found = Found {
        image: true,
        map: ours,
        ..Found::default()
    };
    let files = furnish(folder.path(), found);
    let event = Event::Resume {
        store: StoreKind::Image,
        overwrite: Overwrite::Refuse,
    };
    let making = files.begin(event, "cardkeep").unwrap();
    assert_eq!(making.origin(), Origin::TakenBack);
    fs::write(files.image(), "somebody's").unwrap();
    assert!(making.withdraw("cardkeep").is_err());
    assert_eq!(fs::read(files.image()).unwrap(), b"somebody's");
    assert_eq!(fs::read(files.partial()).unwrap(), OLD);
}
