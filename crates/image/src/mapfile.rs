//! The rescue map as text: the mapfile of GNU ddrescue, so that either program resumes what the
//! other one began (ddrescue manual, "Mapfile structure").
//!
//! ```text
//!   # comments, from a `#` at the beginning of a line or behind a blank to the line's end
//!   # current_pos  current_status  current_pass
//!   0x00120000     ?               1             where the program is, and what it does there
//!   #      pos        size  status
//!   0x00000000  0x00117000  +                    blocks, each beginning where the last one ends
//!   0x00117000  0x00000200  -
//! ```
//!
//! Numbers are decimal, octal with a leading 0, or hexadecimal with a leading 0x, as in C. More
//! is read than ddrescue takes: gaps between blocks, and a list that ends early, are bytes that
//! nobody tried, and what lies behind the medium's end is dropped.

use std::fmt::Write as _;

use cardkeep_block::{Extent, RescueMap, RescueStatus};

use crate::Error;
use crate::error::CorruptKind;

/// What a program was doing when it wrote the mapfile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RescuePhase {
    /// Reading what nobody tried yet.
    Copying,
    /// Finding the good edges of failed areas.
    Trimming,
    /// Reading failed areas sector by sector.
    Scraping,
    /// Trying bad sectors again.
    Retrying,
    /// ddrescue's fill mode.
    Filling,
    /// ddrescue's generate mode.
    Generating,
    /// Nothing: all was done that was wanted.
    Finished,
}

const PHASES: [(u8, RescuePhase); 7] = [
    (b'?', RescuePhase::Copying),
    (b'*', RescuePhase::Trimming),
    (b'/', RescuePhase::Scraping),
    (b'-', RescuePhase::Retrying),
    (b'F', RescuePhase::Filling),
    (b'G', RescuePhase::Generating),
    (b'+', RescuePhase::Finished),
];

const STATUSES: [(u8, RescueStatus); 5] = [
    (b'?', RescueStatus::NonTried),
    (b'*', RescueStatus::NonTrimmed),
    (b'/', RescueStatus::NonScraped),
    (b'-', RescueStatus::BadSector),
    (b'+', RescueStatus::Finished),
];

/// The content of a mapfile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapfile {
    /// Where on the medium the program was, in bytes.
    pub position: u64,
    /// What it was doing there.
    pub phase: RescuePhase,
    /// The number of the pass within the phase, from 1.
    pub pass: u32,
    /// How far it had come.
    pub map: RescueMap,
}

impl Mapfile {
    /// Returns the mapfile that `text` holds, of a medium of `len` bytes.
    ///
    /// # Errors
    /// [`Error::Corrupt`], naming the line, where it is no mapfile, where blocks overlap or are
    /// out of order, and where they are more than [`RescueMap::RUNS_MAX`].
    pub fn parse(text: &[u8], len: u64) -> Result<Self, Error> {
        let mut lines = lines(text);
        let Some((number, line)) = lines.next() else {
            return Err(corrupt(1, "the line with position and status is missing"));
        };
        let (position, phase, pass) = parse_status(line)
            .ok_or_else(|| corrupt(number, "it must hold a position, a status and a pass"))?;
        let mut map = RescueMap::new(len, RescueStatus::NonTried);
        let mut end = 0;
        for (number, line) in lines {
            let (extent, status) = parse_block(line)
                .ok_or_else(|| corrupt(number, "it must hold a position, a size and a status"))?;
            if extent.start() < end {
                return Err(corrupt(number, "the block begins before the last one ends"));
            }
            end = extent.end();
            map.set(extent, status);
            if map.run_count() > RescueMap::RUNS_MAX {
                return Err(corrupt(number, "there are too many blocks"));
            }
        }
        Ok(Self {
            position,
            phase,
            pass,
            map,
        })
    }

    /// Returns the text, with the name of the program that made it. The same content gives the
    /// same text.
    #[must_use]
    pub fn to_text(&self, tool: &str) -> String {
        let tool: String = tool.chars().filter(|c| !c.is_control()).collect();
        let mut text = format!(
            "# Mapfile of GNU ddrescue's format. Created by {tool}\n\
             # current_pos  current_status  current_pass\n\
             0x{:08X}     {}               {}\n\
             #      pos        size  status\n",
            self.position,
            letter(&PHASES, self.phase),
            self.pass.max(1),
        );
        for run in self.map.runs() {
            let (start, len) = (run.extent.start(), run.extent.len());
            let status = letter(&STATUSES, run.status);
            // Writing to a String can't fail.
            writeln!(text, "0x{start:08X}  0x{len:08X}  {status}").unwrap_or_default();
        }
        text
    }
}

fn letter<T: PartialEq + Copy>(table: &[(u8, T)], value: T) -> char {
    let entry = table.iter().find(|(_, entry)| *entry == value);
    entry.map_or('?', |(letter, _)| char::from(*letter))
}

/// Returns what a single letter means.
fn meaning<T: Copy>(table: &[(u8, T)], word: &[u8]) -> Option<T> {
    let &[letter] = word else { return None };
    let entry = table.iter().find(|(entry, _)| *entry == letter);
    entry.map(|(_, meaning)| *meaning)
}

/// Returns the lines that hold more than blanks and comments, with their numbers from 1.
fn lines(text: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    text.split(|&byte| byte == b'\n')
        .map(without_comment)
        .enumerate()
        .map(|(index, line)| (index.saturating_add(1), line))
        .filter(|(_, line)| words(line).next().is_some())
}

fn without_comment(line: &[u8]) -> &[u8] {
    let mut is_after_blank = true;
    let end = line.iter().position(|&byte| {
        let is_comment = byte == b'#' && is_after_blank;
        is_after_blank = byte.is_ascii_whitespace();
        is_comment
    });
    end.and_then(|end| line.get(..end)).unwrap_or(line)
}

fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(u8::is_ascii_whitespace)
        .filter(|word| !word.is_empty())
}

/// Older programs write no pass.
fn parse_status(line: &[u8]) -> Option<(u64, RescuePhase, u32)> {
    let mut words = words(line);
    let position = parse_number(words.next()?)?;
    let phase = meaning(&PHASES, words.next()?)?;
    let pass = words.next().map_or(Some(1), parse_number)?;
    let pass = u32::try_from(pass).ok().filter(|&pass| pass > 0)?;
    words.next().is_none().then_some((position, phase, pass))
}

fn parse_block(line: &[u8]) -> Option<(Extent, RescueStatus)> {
    let mut words = words(line);
    let start = parse_number(words.next()?)?;
    let len = parse_number(words.next()?)?;
    let extent = Extent::new(start, len).filter(|extent| !extent.is_empty())?;
    let status = meaning(&STATUSES, words.next()?)?;
    words.next().is_none().then_some((extent, status))
}

fn parse_number(word: &[u8]) -> Option<u64> {
    let (digits, radix) = match word {
        [b'0', b'x' | b'X', digits @ ..] => (digits, 16),
        [b'0', digits @ ..] if !digits.is_empty() => (digits, 8),
        digits => (digits, 10),
    };
    // `from_str_radix` takes a sign, which the format does not.
    if !digits.first()?.is_ascii_hexdigit() {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, radix).ok()
}

fn corrupt(line: usize, what: &'static str) -> Error {
    Error::corrupt(CorruptKind::Mapfile(line, what))
}

#[cfg(test)]
mod tests {
    use super::{Mapfile, RescuePhase};
    use cardkeep_block::{Extent, RescueMap, RescueStatus};
    use proptest::prelude::{any, prop, proptest};

    const LEN: u64 = 0x4000;

    fn runs(text: &str) -> Vec<(u64, u64, RescueStatus)> {
        let mapfile = Mapfile::parse(text.as_bytes(), LEN).unwrap();
        let runs = mapfile.map.runs();
        runs.map(|run| (run.extent.start(), run.extent.end(), run.status))
            .collect()
    }

    fn error(text: &str) -> String {
        let error = Mapfile::parse(text.as_bytes(), LEN).unwrap_err();
        error.to_string()
    }

    #[test]
    fn what_ddrescue_writes_is_read() {
        use RescueStatus::{BadSector, Finished, NonScraped, NonTried, NonTrimmed};
        let text = "# Mapfile. Created by GNU ddrescue version 1.27\n\
            # Command line: ddrescue a b m\n\
            # Copying non-tried blocks... Pass 1 (forwards)\n\
            # current_pos  current_status  current_pass\n\
            0x00001000     ?               2\n\
            #      pos        size  status\n\
            0x00000000  0x00001000  +\n\
            0x00001000  0x00000200  -\n\
            0x00001200  0x00000E00  /\n\
            0x00002000  0x00001000  *\n\
            0x00003000  0x00001000  ?\n";
        let mapfile = Mapfile::parse(text.as_bytes(), LEN).unwrap();
        assert_eq!((mapfile.position, mapfile.pass), (0x1000, 2));
        assert_eq!(mapfile.phase, RescuePhase::Copying);
        let expected = [
            (0, 0x1000, Finished),
            (0x1000, 0x1200, BadSector),
            (0x1200, 0x2000, NonScraped),
            (0x2000, 0x3000, NonTrimmed),
            (0x3000, 0x4000, NonTried),
        ];
        assert_eq!(runs(text), expected);
    }

    #[test]
    fn gaps_and_early_ends_are_untried_and_late_ends_are_cut() {
        use RescueStatus::{BadSector, Finished, NonTried};
        assert_eq!(runs("0 ?"), [(0, LEN, NonTried)]);
        assert_eq!(
            runs("0 + 1 # a comment\r\n\r\n512 010 + # octal\n\t0x400 512 -"),
            [
                (0, 512, NonTried),
                (512, 520, Finished),
                (520, 1024, NonTried),
                (1024, 1536, BadSector),
                (1536, LEN, NonTried)
            ]
        );
        assert_eq!(
            runs("0 + 1\n0x3000 0x100000 +\n0x103000 1 -"),
            [(0, 0x3000, NonTried), (0x3000, LEN, Finished)]
        );
    }

    #[test]
    fn errors_name_the_line() {
        for (text, line) in [
            ("", 1),
            ("# nothing\n\n", 1),
            ("\nposition", 2),
            ("0x0 x 1", 1),
            ("0x0 ? 0", 1),
            ("0x0 ? 1 2", 1),
            ("-1 ? 1", 1),
            ("0 ? 1\n0 0x10 +\n0x10 0x20", 3),
            ("0 ? 1\n0 0 +", 2),
            ("0 ? 1\n0 +1 +", 2),
            ("0 ? 1\n0 0x +", 2),
            ("0 ? 1\n0 0x+1 +", 2),
            ("0 ? 1\n0 09 +", 2),
            ("0 ? 1\n0 1 F", 2),
            ("0 ? 1\n0 1 ++", 2),
            ("0 ? 1\n0xFFFFFFFFFFFFFFFF 1 +", 2),
            ("0 ? 1\n0 0x10000000000000000 +", 2),
            ("0 ? 1\n0 0x20 +\n# here\n0x1F 1 -", 4),
        ] {
            let said = error(text);
            assert!(said.contains(&format!("line {line}:")), "{text:?}: {said}");
        }
    }

    #[test]
    fn a_list_of_too_many_blocks_is_refused() {
        let mut text = "0 ? 1\n".to_owned();
        for index in 0..=RescueMap::RUNS_MAX as u64 {
            text.push_str(&format!("{} 1 +\n", index * 2));
        }
        let error = Mapfile::parse(text.as_bytes(), u64::MAX).unwrap_err();
        assert!(error.to_string().contains("too many"), "{error}");
    }

    #[test]
    fn a_tool_cannot_break_out_of_its_comment() {
        let mapfile = Mapfile::parse(b"0 ? 1\n0 512 -", LEN).unwrap();
        let text = mapfile.to_text("evil\n0 + 1\r\n");
        assert_eq!(Mapfile::parse(text.as_bytes(), LEN).unwrap(), mapfile);
    }

    proptest! {
        #[test]
        fn a_map_survives_the_round_trip(
            steps in prop::collection::vec((0..LEN, 1..LEN, 0..5_usize), 0..20),
            position in any::<u64>(), phase in 0..7_usize, pass in 1..99_u32,
        ) {
            let mut map = RescueMap::new(LEN, RescueStatus::NonTried);
            for (start, len, status) in steps {
                map.set(Extent::new(start, len).unwrap(), super::STATUSES[status].1);
            }
            let mapfile = Mapfile { position, phase: super::PHASES[phase].1, pass, map };
            let text = mapfile.to_text("test 1.2");
            assert_eq!(Mapfile::parse(text.as_bytes(), LEN).unwrap(), mapfile);
        }

        #[test]
        fn any_text_gives_a_map_or_an_error(text in "[0-9x#?*/+ \\-\n\tFG]{0,200}") {
            if let Ok(mapfile) = Mapfile::parse(text.as_bytes(), LEN) {
                assert_eq!(mapfile.map.len(), LEN);
            }
        }
    }
}
