//! Whatever happens at many moments of a backup or a restore: the outcome is a good image or card, one
//! whose losses are named, or none that looks good but one to go on with.
//!
//! With `CARDKEEP_RELIABILITY=FILE` it is twenty moments each, and the tables of what came of them are
//! put into that file, `docs/reliability.md`; with `CARDKEEP_RELIABILITY_ROWS=WORD,...`, only the rows that
//! say one of the words.

pub(crate) mod blow;
mod destination;
pub(crate) mod disk;
pub(crate) mod outcome;
mod page;
mod stage;
mod way_back;

use cardkeep_testkit::{Random, skip_unless_tools};

use crate::failing::Failing;
use crate::original::Original;
use blow::BLOWS;
use destination::MISHAPS;
use page::{Row, Table, is_wanted, page};
use way_back::WOES;

const SEED: u64 = 0x5eed_0f06;
const NAMES: [&str; 3] = ["card.img.zst", "card.img", "card.img.gz"];

/// Returns how the page tells a kind of image.
fn ending(name: &str) -> String {
    format!("`{}`", name.trim_start_matches("card"))
}

#[test]
fn whatever_strikes_a_backup_no_bad_image_has_a_good_name() {
    let test = "whatever_strikes_a_backup_no_bad_image_has_a_good_name";
    let Some(card) = Failing::new(test) else {
        return;
    };
    blow::slow_down(&card);
    let mut random = Random::new(SEED);
    let mut table = Table::new("Backups");
    for (blow, said) in BLOWS.into_iter().filter(|row| is_wanted(row.1)) {
        for name in NAMES {
            let check = || blow::check(&card, blow, name, &mut random);
            let row = struck(blow.must_strike(), check);
            let is_as_due = row.is_struck() || !blow.must_strike();
            assert!(is_as_due, "{said} did not strike {name}");
            table.add(said, &ending(name), &row);
        }
    }
    table.write();
}

#[test]
fn whatever_strikes_a_destination_no_bad_image_has_a_good_name() {
    let test = "whatever_strikes_a_destination_no_bad_image_has_a_good_name";
    let Some(card) = Failing::new(test) else {
        return;
    };
    if skip_unless_tools(test, &["mke2fs", "e2fsck", "gzip"]) {
        return;
    }
    blow::slow_down(&card);
    let mut random = Random::new(SEED);
    let mut table = Table::new("Backups to a disk that fails");
    let rows = MISHAPS.into_iter().enumerate();
    for (index, (mishap, said)) in rows.filter(|row| is_wanted(row.1.1)) {
        let must_strike = mishap.must_strike(page::moments());
        let mut is_struck = false;
        for name in in_turn(&NAMES, index) {
            let check = || destination::check(&card, mishap, name, &mut random);
            let row = struck(must_strike, check);
            is_struck |= row.is_struck();
            table.add(said, &ending(name), &row);
        }
        assert!(is_struck || !must_strike, "{said} did not strike");
    }
    table.write();
}

#[test]
fn whatever_strikes_a_restore_no_bad_card_looks_good() {
    let test = "whatever_strikes_a_restore_no_bad_card_looks_good";
    let Some(original) = Original::new(test) else {
        return;
    };
    let mut random = Random::new(SEED);
    let mut table = Table::new("Restores");
    let images = way_back::images(&original);
    let rows = WOES.into_iter().enumerate();
    for (index, (woe, said)) in rows.filter(|row| is_wanted(row.1.1)) {
        let must_strike = woe.must_strike(page::moments());
        let mut is_struck = false;
        for (image, name) in in_turn(&images, index) {
            let check = || way_back::check(&original, woe, image, &mut random);
            let row = struck(must_strike, check);
            is_struck |= row.is_struck();
            table.add(said, name, &row);
        }
        assert!(is_struck || !must_strike, "{said} did not strike");
    }
    table.write();
}

/// A run seldom asks a device for just as much as the one before: a moment at its end may never come.
const TRIES_PER_ROW: u32 = 5;

/// Returns a row in which a run was struck, where one must be; the last one tried where none was.
fn struck(must_strike: bool, mut check: impl FnMut() -> Row) -> Row {
    let mut row = check();
    for _ in 1..TRIES_PER_ROW {
        if row.is_struck() || !must_strike {
            break;
        }
        row = check();
    }
    row
}

/// Returns all of them where a page is written, else the one whose turn it is.
fn in_turn<T>(all: &[T], index: usize) -> &[T] {
    let one = index % all.len();
    if page().is_some() {
        all
    } else {
        &all[one..=one]
    }
}
