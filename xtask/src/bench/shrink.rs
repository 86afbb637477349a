//! Measuring the way from a card to a small verified image.
//!
//! Every program reads the same card through the same loop device of known speed and works in a
//! folder of its own, where all that it takes besides its image is counted while it runs. The clock
//! stops when the image is on the disk and verified, as far as the program can. Afterwards e2fsck
//! judges what is in the image: speed at the price of the filesystem would show.

mod judge;
mod outcome;
mod peer;
mod table;

use cardkeep_testkit::Loop;

use super::measure::{self, Measured};
use super::options::Options;
use super::row::Row;
use super::scratch::Scratch;
use outcome::Outcome;
use peer::Peer;

/// The image's name in the folder of a run.
const IMAGE: &str = "card.img.zst";

/// Measures each peer at each speed and prints a table in Markdown.
///
/// # Errors
/// Says what can't be set up. A peer that fails is a line of the table.
pub(crate) fn run(options: &Options) -> Result<(), String> {
    let peers = match &options.peers {
        Some(_) => options.chosen(&Peer::ALL, Peer::name)?,
        None => Peer::USUAL.to_vec(),
    };
    let mut rows = Vec::new();
    for &speed_mbps in options.speeds_or(&[45]) {
        for &peer in &peers {
            let run = || measure_one(options, peer, speed_mbps);
            let row = Row::measure(peer, speed_mbps, Peer::name, run);
            // Runs take minutes: what an interrupted one has measured should not be lost.
            eprintln!("{}", table::line(&row, &[]));
            rows.push(row);
        }
    }
    print!("{}", table::markdown(&rows));
    Ok(())
}

fn measure_one(options: &Options, peer: Peer, speed_mbps: u64) -> Result<Outcome, String> {
    let device = match speed_mbps {
        0 => Loop::attach(&options.card),
        speed => Loop::throttled(&options.card, speed).map_err(|e| format!("no limit: {e}"))?,
    };
    let scratch = Scratch::empty(&options.work.join("bench-shrink"), IMAGE)?;
    let script = peer.script(&options.program, &device, &scratch);
    let measured = measure::pipeline_in(&script, Some(&device), Some(&scratch))?;
    drop(device);
    Ok(Outcome {
        measured: Measured {
            output_bytes: scratch.output_bytes(),
            ..measured
        },
        judgement: judge::judge(&scratch)?,
    })
}
