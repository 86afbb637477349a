//! What came of a run that was struck.

use std::fs;
use std::path::Path;

use cardkeep_testkit::Tool;

use crate::failing::{Failing, content};

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outcome {
    /// Nothing was amiss.
    Good,
    /// What is missing is listed.
    LossNamed,
    /// Nothing looked finished, and the same command with `--resume` finished it.
    Resumed,
    /// It says that it can't go on, and starts anew with `--force`.
    Anew,
}

pub(crate) const OUTCOMES: [Outcome; 4] = [
    Outcome::Good,
    Outcome::LossNamed,
    Outcome::Resumed,
    Outcome::Anew,
];

/// Asserts that an image holds all that the sound card does.
pub(crate) fn assert_sound(card: &Failing, image: &Path, what: &str) {
    let name = image.file_name().unwrap().to_string_lossy();
    let extension = name.split_once('.').unwrap().1;
    let copy = card.path("judged").with_extension(extension);
    let copied = fs::copy(image, &copy);
    assert!(copied.is_ok(), "{copied:?} after {what}");
    card.assert_holds(&unpacked(&copy), &[], &format!("a bad image after {what}"));
}

/// Returns what is in an image, as other programs read it.
pub(crate) fn unpacked(image: &Path) -> Vec<u8> {
    if image.extension() == Some("gz".as_ref()) {
        Tool::new("gzip").args(["-d", "-f"]).arg(image).run();
        return fs::read(image.with_extension("")).unwrap();
    }
    content(image)
}
