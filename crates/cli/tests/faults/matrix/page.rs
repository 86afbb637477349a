//! The page on which is written what came of it, and how many moments a row of it has.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read, Seek, Write as _};

use cardkeep_testkit::{Random, is_big_matrix};

use super::outcome::{OUTCOMES, Outcome};
use super::stage::{STAGES, Stage};

const VARIABLE: &str = "CARDKEEP_RELIABILITY";
/// Words, with commas between them: only rows that say one of them are written then, and the others stay.
const ROWS_VARIABLE: &str = "CARDKEEP_RELIABILITY_ROWS";

/// Returns how many moments each row has.
pub(crate) fn moments() -> u32 {
    match page() {
        Some(_) => 20,
        None if is_big_matrix() => 3,
        None => 1,
    }
}

/// Returns the page to be written, where one is.
pub(crate) fn page() -> Option<OsString> {
    std::env::var_os(VARIABLE)
}

/// Tells whether what happens is to be tried now.
pub(crate) fn is_wanted(said: &str) -> bool {
    match std::env::var(ROWS_VARIABLE) {
        Ok(words) => words.split(',').any(|word| said.contains(word)),
        Err(_) => true,
    }
}

/// Returns a moment as a part of a run: each has its own share of it, and lies in it at random.
pub(crate) fn part_of_run(index: u32, random: &mut Random) -> f64 {
    (f64::from(index) + random.below(1000) as f64 / 1000.0) / f64::from(moments())
}

/// What came of one thing that happens to one kind of run.
#[derive(Default)]
pub(crate) struct Row {
    outcomes: Vec<Outcome>,
    stages: Vec<Stage>,
}

impl Row {
    pub(crate) fn add(&mut self, outcome: Outcome, stage: Option<Stage>) {
        self.outcomes.push(outcome);
        self.stages.extend(stage);
    }

    /// Tells whether any run was struck at all.
    pub(crate) fn is_struck(&self) -> bool {
        self.outcomes
            .iter()
            .any(|&outcome| outcome != Outcome::Good)
    }

    /// Returns how many runs were in this stage when they were struck.
    pub(crate) fn count(&self, stage: Stage) -> u32 {
        self.stages.iter().filter(|&&own| own == stage).count() as u32
    }

    /// Returns how many moments there were, and what came of them.
    fn rest_of_line(&self) -> String {
        let mut line = format!(" {} ", self.outcomes.len());
        for outcome in OUTCOMES {
            let count = self.outcomes.iter().filter(|&&own| own == outcome).count();
            write!(line, "| {count} ").unwrap();
        }
        let stages = match self.stages.is_empty() {
            true => String::new(),
            false => STAGES.map(|stage| self.count(stage).to_string()).join(", "),
        };
        line + &format!("| 0 | {stages} |\n")
    }
}

/// A table of the page, which holds the section that it belongs to and nothing else.
pub(crate) struct Table {
    heading: &'static str,
    /// What happens to which kind of image, as the line begins, and the line.
    rows: Vec<(String, String)>,
}

const COLUMNS: &str =
    "| what happens | image | moments | good | losses named | resumed | restarted | bad | stages |
|---|---|---:|---:|---:|---:|---:|---:|---|
";

impl Table {
    /// Begins the table under this heading of the page.
    pub(crate) fn new(heading: &'static str) -> Self {
        let rows = Vec::new();
        Self { heading, rows }
    }

    pub(crate) fn add(&mut self, what: &str, name: &str, row: &Row) {
        let begin = format!("| {what} | {name} |");
        let line = begin.clone() + &row.rest_of_line();
        self.rows.push((begin, line));
    }

    /// Returns the table's text, given the one that the page has: rows that were not tried stay.
    fn over(&self, old: &str) -> String {
        let mut lines: Vec<&str> = match std::env::var_os(ROWS_VARIABLE) {
            Some(_) => old.split_inclusive('\n').collect(),
            None => COLUMNS.split_inclusive('\n').collect(),
        };
        for (begin, line) in &self.rows {
            match lines.iter_mut().find(|old| old.starts_with(begin)) {
                Some(old) => *old = line,
                None => lines.push(line),
            }
        }
        lines.concat()
    }

    /// Puts the table in the place of the one that the page has there, where a page is to be written.
    pub(crate) fn write(&self) {
        let Some(page) = page() else {
            return;
        };
        let mut file = File::options().read(true).write(true).open(page).unwrap();
        // Other tests write their own tables.
        file.lock().unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        let heading = format!("\n## {}\n", self.heading);
        let section = text.find(&heading).expect("the heading") + heading.len();
        let table = section + text[section..].find("\n| ").expect("a table") + 1;
        let end = text[table..]
            .find("\n\n")
            .map_or(text.len(), |end| table + end + 1);
        let own = self.over(&text[table..end]);
        text.replace_range(table..end, &own);
        file.rewind().unwrap();
        file.set_len(0).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }
}
