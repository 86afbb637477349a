//! Measuring cardkeep against others on a card of known speed.
//!
//! Every program reads the same card through the same loop device, whose speed the kernel limits,
//! and writes into the same folder; the clock stops when the output is on the disk. Ratios are
//! those of one round: a machine's mood spares nobody.

mod machine;
mod measure;
mod peer;
mod scale;
mod table;

use std::path::PathBuf;

use cardkeep_testkit::Loop;

use measure::Measured;
use peer::{Peer, Target};

/// What to measure.
#[derive(Debug)]
pub(crate) struct Options {
    card: PathBuf,
    work: PathBuf,
    program: PathBuf,
    speeds_mbps: Vec<u64>,
    peers: Vec<Peer>,
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
            speeds_mbps: vec![20, 45, 90, 0],
            peers: Peer::ALL.to_vec(),
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
                "--speed" => options.speeds_mbps = numbers(value)?,
                "--sizes" => options.sizes_gb = numbers(value)?,
                "--peers" => {
                    options.peers = value
                        .split(',')
                        .map(Peer::parse)
                        .collect::<Result<_, _>>()?
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
    let used_bytes = used_bytes(options)?;
    let mut rows = Vec::new();
    for &speed_mbps in &options.speeds_mbps {
        for &peer in &options.peers {
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
    let measured = measure::pipeline(&peer.script(&target), &device)?;
    let output_bytes = target.output_bytes();
    target.remove_output();
    Ok(Measured {
        output_bytes,
        ..measured
    })
}

/// Returns how many bytes of the card the program calls used, from its own plan; `None` where it
/// takes no part.
fn used_bytes(options: &Options) -> Result<Option<u64>, String> {
    if !options.peers.contains(&Peer::Cardkeep) {
        return Ok(None);
    }
    let device = Loop::attach(&options.card);
    peer::planned_bytes(&options.program, device.path(), &options.work).map(Some)
}

/// Measures how time and memory grow with the card.
///
/// # Errors
/// Says what can't be set up.
pub(crate) fn run_scale(options: &Options) -> Result<(), String> {
    println!("{}\n", machine::describe());
    scale::run(options)
}
