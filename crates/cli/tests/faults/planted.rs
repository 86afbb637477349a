//! Traps under the names that a backup uses: nothing elsewhere is written, nothing is waited for, and the
//! error is clear.

use std::fs::{self, File};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use cardkeep_testkit::{Fault, Tool, is_big_matrix};

use crate::failing::Failing;
use crate::matrix::outcome::assert_sound;
use crate::program::{Answer, Running};

const PRECIOUS: &[u8] = b"precious";
const SOMEBODY: u32 = 4711;
const NAMES: [&str; 2] = ["card.img", "card.img.zst"];
const ENDINGS: [&str; 6] = ["", ".partial", ".map", ".rescue", ".map.new", ".map.old"];

/// A folder of everybody's, as `/tmp` is, and a file elsewhere that must stay as it is.
struct Place {
    folder: PathBuf,
    victim: PathBuf,
}

impl Place {
    fn new(card: &Failing, name: &str) -> Self {
        let folder = card.path(name);
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o1777)).unwrap();
        let victim = folder.join("victim");
        fs::write(&victim, PRECIOUS).unwrap();
        Self { folder, victim }
    }

    fn assert_unharmed(&self, what: &str) {
        let found = fs::read(&self.victim).unwrap();
        assert!(found == PRECIOUS, "{what}: written elsewhere");
        let missing = self.folder.join("missing");
        assert!(!missing.exists(), "{what}: made elsewhere");
    }
}

/// What lies in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trap {
    LinkToFile,
    LinkToNothing,
    LinkToDevice,
    HardLink,
    Pipe,
    Folder,
    FileOfOthers,
}

const TRAPS: [Trap; 7] = [
    Trap::LinkToFile,
    Trap::LinkToNothing,
    Trap::LinkToDevice,
    Trap::HardLink,
    Trap::Pipe,
    Trap::Folder,
    Trap::FileOfOthers,
];

fn plant(trap: Trap, place: &Place, path: &Path) {
    match trap {
        Trap::LinkToFile => symlink(&place.victim, path).unwrap(),
        Trap::LinkToNothing => symlink(place.folder.join("missing"), path).unwrap(),
        Trap::LinkToDevice => symlink("/dev/null", path).unwrap(),
        Trap::HardLink => fs::hard_link(&place.victim, path).unwrap(),
        Trap::Pipe => drop(Tool::new("mkfifo").arg(path).run()),
        Trap::Folder => fs::create_dir(path).unwrap(),
        Trap::FileOfOthers => {
            File::create(path).unwrap();
            chown(path, Some(SOMEBODY), Some(SOMEBODY)).unwrap();
        }
    }
}

/// Asserts that what a run ended with is right: it refuses with a reason, or its image is whole and its own.
fn judge(card: &Failing, image: &Path, answer: &Answer, what: &str) {
    let what = format!("{what}: {answer:?}");
    if !matches!(answer.code, 0 | 9) {
        assert!((1..=8).contains(&answer.code) && answer.code != 8, "{what}");
        assert!(answer.stderr.contains("\"error\""), "{what}");
        return;
    }
    let metadata = image.symlink_metadata().unwrap();
    assert!(metadata.is_file(), "{what}");
    assert_eq!((metadata.uid(), metadata.nlink()), (0, 1), "{what}");
    assert_sound(card, image, &what);
}

/// Catches: a card's content written over somebody's file, or into a file that somebody else owns, and a
/// backup that waits for a pipe.
#[test]
fn traps_under_our_names_are_not_walked_into() {
    let Some(card) = Failing::new("traps_under_our_names_are_not_walked_into") else {
        return;
    };
    // No divisor of the number of endings: all of them have their turn.
    let every = if is_big_matrix() { 1 } else { 5 };
    let pairs = TRAPS
        .iter()
        .flat_map(|&trap| ENDINGS.map(|ending| (trap, ending)));
    for (number, (trap, ending)) in pairs.step_by(every).enumerate() {
        // So that each ending meets all options and names.
        let turn = number + number / ENDINGS.len();
        let options = [&[][..], &["--resume"], &["--force"]][turn % 3];
        // A card that fails, so that all names are used.
        card.disk.declare(Fault::Flaky {
            extent: card.used_place(1, 512),
            failures: 1,
        });
        let place = Place::new(&card, &format!("place{number}"));
        let image = place.folder.join(NAMES[turn % 2]);
        let trapped = PathBuf::from(format!("{}{ending}", image.display()));
        plant(trap, &place, &trapped);
        let answer = card.back_up(&image, options);
        card.disk.heal();
        let what = format!("{trap:?} as {}, {options:?}", trapped.display());
        place.assert_unharmed(&what);
        judge(&card, &image, &answer, &what);
        let null = fs::metadata("/dev/null").unwrap();
        assert!(null.file_type().is_char_device(), "{what}");
        fs::remove_dir_all(&place.folder).unwrap();
    }
}

/// Catches: a file that others own gone on with, so that they read the card and change its image.
#[test]
fn a_partial_image_of_somebody_else_is_not_gone_on_with() {
    let Some(card) = Failing::new("a_partial_image_of_somebody_else_is_not_gone_on_with") else {
        return;
    };
    for name in NAMES {
        let place = Place::new(&card, &format!("place-of-{name}"));
        let image = place.folder.join(name);
        let partial = PathBuf::from(format!("{}.partial", image.display()));
        plant(Trap::FileOfOthers, &place, &partial);
        let answer = card.back_up(&image, &["--resume"]);
        answer
            .expect(2)
            .says(&["another owner", "a folder of your own"]);
        assert_eq!(fs::metadata(&partial).unwrap().len(), 0);
        assert!(!image.exists());
    }
}

/// Catches: images, maps, stores and reports that belong to root where a user called sudo.
#[test]
fn under_sudo_all_files_are_the_users_own() {
    let Some(card) = Failing::new("under_sudo_all_files_are_the_users_own") else {
        return;
    };
    let user = [
        ("SUDO_UID", SOMEBODY.to_string()),
        ("SUDO_GID", SOMEBODY.to_string()),
    ];
    for name in NAMES {
        card.disk
            .declare(Fault::Unreadable(card.used_place(1, 512)));
        let place = Place::new(&card, &format!("home-of-{name}"));
        let image = place.folder.join(name);
        let report = format!("--report={}", place.folder.join("report.html").display());
        let run = |options: &[&str]| Running::start_with(card.words(&image, options), &user).wait();
        fs::remove_file(&place.victim).unwrap();
        run(&["--skip-errors=never", "--retries=0"]).expect(5);
        assert_owned(&place.folder);
        run(&["--resume", "--retries=0", &report]).expect(9);
        let names = assert_owned(&place.folder);
        assert!(names.len() >= 3, "{names:?}");
        card.disk.heal();
    }
}

/// Asserts that all files of a folder are the user's; returns their names.
fn assert_owned(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap();
    let names: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    for name in &names {
        let metadata = name.symlink_metadata().unwrap();
        let owner = (metadata.uid(), metadata.gid());
        assert_eq!(owner, (SOMEBODY, SOMEBODY), "{}", name.display());
    }
    assert!(!names.is_empty());
    names
}

/// Catches: waiting for a pipe, and a map's or an image's content written over somebody's file.
#[test]
fn leftovers_that_are_traps_end_a_resume_at_once() {
    let Some(card) = Failing::new("leftovers_that_are_traps_end_a_resume_at_once") else {
        return;
    };
    for (number, (trap, ending)) in [
        (Trap::Pipe, ".map"),
        (Trap::Pipe, ".partial"),
        (Trap::HardLink, ".partial"),
    ]
    .into_iter()
    .enumerate()
    {
        let place = Place::new(&card, &format!("leftover{number}"));
        let image = place.folder.join("card.img");
        plant(
            trap,
            &place,
            Path::new(&format!("{}{ending}", image.display())),
        );
        let answer = card.back_up(&image, &["--resume"]);
        assert!(matches!(answer.code, 2 | 4 | 5), "{answer:?}");
        place.assert_unharmed(ending);
        assert!(!image.exists());
    }
}

/// Catches: a link renamed in place of the image that it leads to, which then is the unfinished one's name.
#[test]
fn a_raw_image_that_is_a_link_is_not_gone_on_with() {
    let Some(card) = Failing::new("a_raw_image_that_is_a_link_is_not_gone_on_with") else {
        return;
    };
    card.disk
        .declare(Fault::Unreadable(card.used_place(1, 512)));
    let image = card.path("card.img");
    card.back_up(&image, &["--retries=0"]).expect(9);
    card.disk.heal();
    let elsewhere = card.path("elsewhere.img");
    fs::rename(&image, &elsewhere).unwrap();
    symlink(&elsewhere, &image).unwrap();
    let before = fs::read(&elsewhere).unwrap();
    let answer = card.back_up(&image, &["--resume"]);
    answer.expect(2).says(&["is a link"]);
    assert!(image.is_symlink() && fs::read(&elsewhere).unwrap() == before);
}
