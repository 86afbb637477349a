//! What the command line asks to be measured.

use std::path::{Path, PathBuf};

/// What to measure.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) card: PathBuf,
    pub(crate) work: PathBuf,
    pub(crate) program: PathBuf,
    /// Where the card lies that a restore writes to; the folder for all else by default.
    target: Option<PathBuf>,
    speeds_mbps: Option<Vec<u64>>,
    pub(crate) peers: Option<Vec<String>>,
    pub(crate) sizes_gb: Vec<u64>,
}

impl Options {
    /// Reads `--name value` pairs.
    ///
    /// # Errors
    /// Says what can't be understood or is missing.
    pub(crate) fn parse(words: &[&str]) -> Result<Self, String> {
        let options = Self::without_card(words)?;
        match options.card.exists() {
            true => Ok(options),
            false => Err("--card must name what exists".to_owned()),
        }
    }

    /// As [`Options::parse`], for what needs no card.
    ///
    /// # Errors
    /// As [`Options::parse`].
    pub(crate) fn without_card(words: &[&str]) -> Result<Self, String> {
        let mut options = Self {
            card: PathBuf::new(),
            work: PathBuf::new(),
            program: PathBuf::from("target/release/cardkeep"),
            target: None,
            speeds_mbps: None,
            peers: None,
            sizes_gb: vec![8, 64, 512, 1000],
        };
        for pair in words.chunks(2) {
            let [name, value] = pair else {
                return Err(format!("{} lacks a value", pair.concat()));
            };
            match *name {
                "--card" => options.card = PathBuf::from(value),
                "--work" => options.work = PathBuf::from(value),
                "--program" => options.program = PathBuf::from(value),
                "--target" => options.target = Some(PathBuf::from(value)),
                "--speed" => options.speeds_mbps = Some(numbers(value)?),
                "--sizes" => options.sizes_gb = numbers(value)?,
                "--peers" => {
                    options.peers = Some(value.split(',').map(str::to_owned).collect());
                }
                _ => return Err(format!("unknown option {name}")),
            }
        }
        if !options.work.exists() {
            return Err("--work must name what exists".to_owned());
        }
        Ok(options)
    }

    /// Returns the peers that were asked for, or all; `name` tells what each is called.
    ///
    /// # Errors
    /// Lists the names that there are.
    pub(crate) fn chosen<P: Copy>(
        &self,
        all: &[P],
        name: fn(P) -> &'static str,
    ) -> Result<Vec<P>, String> {
        let Some(wanted) = &self.peers else {
            return Ok(all.to_vec());
        };
        let find = |word: &String| all.iter().copied().find(|&peer| name(peer) == word);
        let names = || all.iter().map(|&peer| name(peer)).collect::<Vec<_>>();
        wanted
            .iter()
            .map(|word| {
                find(word)
                    .ok_or_else(|| format!("no peer `{word}`; there are {}", names().join(", ")))
            })
            .collect()
    }

    pub(crate) fn speeds_or<'a>(&'a self, otherwise: &'a [u64]) -> &'a [u64] {
        self.speeds_mbps.as_deref().unwrap_or(otherwise)
    }

    /// Returns the folder that holds the card which a restore writes to.
    pub(crate) fn target_folder(&self) -> &Path {
        self.target.as_deref().unwrap_or(&self.work)
    }
}

fn numbers(list: &str) -> Result<Vec<u64>, String> {
    let parse = |word: &str| word.parse().map_err(|_| format!("`{word}` is no number"));
    list.split(',').map(parse).collect()
}
