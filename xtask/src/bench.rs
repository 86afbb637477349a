//! Measuring cardkeep against others on a card of known speed.
//!
//! Every program reads the same card through the same loop device, whose speed the kernel limits,
//! and writes into the same folder; the clock stops when the output is on the disk. Ratios are
//! those of one round: a machine's mood spares nobody.

mod call;
mod content;
mod machine;
mod measure;
mod partition;
mod peer;
#[cfg(target_os = "linux")]
mod rescue;
mod restore;
mod scale;
mod scratch;
mod shrink;
mod table;
mod throttle;

use std::path::{Path, PathBuf};

use cardkeep_testkit::Loop;

use measure::Measured;
use peer::{Peer, Target};

/// What to measure.
#[derive(Debug)]
pub(crate) struct Options {
    card: PathBuf,
    work: PathBuf,
    program: PathBuf,
    /// Where the card lies that a restore writes to; the folder for all else by default.
    target: Option<PathBuf>,
    speeds_mbps: Option<Vec<u64>>,
    peers: Option<Vec<String>>,
    sizes_gb: Vec<u64>,
}

/// One program at one speed.
#[derive(Debug)]
struct Row {
    peer: Peer,
    /// In million bytes per second; 0 is without limit.
    speed_mbps: u64,
    result: Result<Measured, String>,
}

impl Options {
    /// Reads `--name value` pairs.
    ///
    /// # Errors
    /// Says what can't be understood or is missing.
    pub(crate) fn parse(words: &[&str]) -> Result<Self, String> {
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
        for (path, name) in [(&options.card, "--card"), (&options.work, "--work")] {
            if !path.exists() {
                return Err(format!("{name} must name what exists"));
            }
        }
        Ok(options)
    }

    /// Returns the peers that were asked for, or all; `name` tells what each is called.
    ///
    /// # Errors
    /// Lists the names that there are.
    fn chosen<P: Copy>(&self, all: &[P], name: fn(P) -> &'static str) -> Result<Vec<P>, String> {
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

    fn speeds_or<'a>(&'a self, otherwise: &'a [u64]) -> &'a [u64] {
        self.speeds_mbps.as_deref().unwrap_or(otherwise)
    }

    /// Returns the folder that holds the card which a restore writes to.
    fn target_folder(&self) -> &Path {
        self.target.as_deref().unwrap_or(&self.work)
    }
}

fn numbers(list: &str) -> Result<Vec<u64>, String> {
    let parse = |word: &str| word.parse().map_err(|_| format!("`{word}` is no number"));
    list.split(',').map(parse).collect()
}

/// Measures each peer at each speed and prints a table in Markdown.
///
/// # Errors
/// Says what can't be set up. A peer that fails is a line of the table.
pub(crate) fn run(options: &Options) -> Result<(), String> {
    println!("{}\n", machine::describe());
    let peers = options.chosen(&Peer::ALL, Peer::name)?;
    let used_bytes = match peers.contains(&Peer::Cardkeep) {
        true => Some(used_bytes(options)?),
        false => None,
    };
    let mut rows = Vec::new();
    for &speed_mbps in options.speeds_or(&[20, 45, 90, 0]) {
        for &peer in &peers {
            eprintln!("{} at {} ...", peer.name(), table::speed_name(speed_mbps));
            let result = measure_one(options, peer, speed_mbps);
            rows.push(Row {
                peer,
                speed_mbps,
                result,
            });
        }
    }
    print!("{}", table::markdown(&rows, used_bytes));
    Ok(())
}

fn measure_one(options: &Options, peer: Peer, speed_mbps: u64) -> Result<Measured, String> {
    let device = match speed_mbps {
        0 => Loop::attach(&options.card),
        speed => Loop::throttled(&options.card, speed).map_err(|e| format!("no limit: {e}"))?,
    };
    let target = Target::new(&device, options)?;
    let measured = measure::pipeline(&peer.script(&target), Some(&device))?;
    let output_bytes = target.output_bytes();
    target.remove_output();
    Ok(Measured {
        output_bytes,
        ..measured
    })
}

/// Returns how many bytes of the card the program calls used, from its own plan.
fn used_bytes(options: &Options) -> Result<u64, String> {
    let device = Loop::attach(&options.card);
    peer::planned_bytes(&options.program, device.path(), &options.work)
}

/// Measures how time and memory grow with the card.
///
/// # Errors
/// Says what can't be set up.
pub(crate) fn run_scale(options: &Options) -> Result<(), String> {
    println!("{}\n", machine::describe());
    scale::run(options)
}

/// Measures how fast a card is written from its image.
///
/// # Errors
/// Says what can't be set up. A peer that fails is a line of the table.
pub(crate) fn run_restore(options: &Options) -> Result<(), String> {
    println!("{}\n", machine::describe());
    restore::run(options)
}

/// Measures the way from a card to a small image.
///
/// # Errors
/// Says what can't be set up. A peer that fails is a line of the table.
pub(crate) fn run_shrink(options: &Options) -> Result<(), String> {
    println!("{}\n", machine::describe());
    shrink::run(options)
}

/// Measures how much of a failing card is read, and how soon.
///
/// # Errors
/// Says what can't be set up. A peer that fails is a line of the table.
#[cfg(target_os = "linux")]
pub(crate) fn run_rescue(options: &Options) -> Result<(), String> {
    println!("{}\n", machine::describe());
    rescue::run(options)
}

/// Says that there is no card that fails.
///
/// # Errors
/// Always.
#[cfg(not(target_os = "linux"))]
pub(crate) fn run_rescue(_: &Options) -> Result<(), String> {
    Err("a card that fails needs Linux".to_owned())
}
