//! Measuring how fast a card is written from its image, against others on a card of known speed.
//!
//! Every program writes to the same loop device, which the kernel holds to a speed of writing and
//! to three times that of reading, and which holds junk before. The clock stops when the content is
//! on the medium. Afterwards each byte that matters is compared with the original: speed at the
//! price of content would show.

mod call;
mod outcome;
mod peer;
mod shelf;
mod table;
mod target;

use std::fs;
use std::path::PathBuf;

use super::measure;
use super::options::Options;
use super::row::Row;
use call::script;
use outcome::Outcome;
use peer::{Peer, Task};
use shelf::Shelf;
use target::Held;

/// Cards read two to four times as fast as they write.
const READ_PER_WRITE: u64 = 3;

/// Measures each peer at each speed and prints a table in Markdown.
///
/// # Errors
/// Says what can't be set up. A peer that fails is a line of the table.
pub(crate) fn run(options: &Options) -> Result<(), String> {
    let peers = match &options.peers {
        Some(_) => options.chosen(&Peer::ALL, Peer::name)?,
        None => Peer::USUAL.to_vec(),
    };
    let mut shelf = Shelf::open(options)?;
    let mut rows = Vec::new();
    for &write_mbps in options.speeds_or(&[10, 20, 45, 0]) {
        // Decoding knows no card, so it is measured once, where nothing is limited.
        let here = peers
            .iter()
            .filter(|peer| write_mbps == 0 || peer.task() != Task::Decode);
        for &peer in here {
            let run = || measure_one(options, &mut shelf, peer, write_mbps);
            let row = Row::measure(peer, write_mbps, Peer::name, run);
            // Runs take minutes: what an interrupted one has measured should not be lost.
            eprintln!("{}", table::line(&row, &[]));
            rows.push(row);
        }
    }
    print!("{}", table::markdown(&rows, &shelf));
    let file = target_file(options);
    match file.exists() {
        true => fs::remove_file(&file).map_err(|e| format!("{}: {e}", file.display())),
        false => Ok(()),
    }
}

fn target_file(options: &Options) -> PathBuf {
    options.target_folder().join("bench-target.img")
}

fn measure_one(
    options: &Options,
    shelf: &mut Shelf,
    peer: Peer,
    write_mbps: u64,
) -> Result<Outcome, String> {
    shelf.provide(peer)?;
    let task = peer.task();
    if task == Task::Decode {
        shelf.evict()?;
        let measured = measure::pipeline(&script(peer, shelf, None, options), None)?;
        return Ok(Outcome {
            measured,
            ..Outcome::default()
        });
    }
    let file = target_file(options);
    let before = (task == Task::Delta).then_some(shelf.card());
    target::fill(&file, shelf.card(), before)?;
    shelf.evict()?;
    let measured = {
        let mut held = Held::attach(&file, write_mbps * READ_PER_WRITE, write_mbps)?;
        if peer == Peer::Partclone {
            held.attach_partitions(shelf.card())?;
        }
        let script = script(peer, shelf, Some(&held), options);
        measure::pipeline(&script, Some(held.device()))?
    };
    let wanted = shelf.wanted(task);
    Ok(Outcome {
        measured,
        wrong_bytes: wanted.wrong_bytes(&file)?,
        budget_seconds: budget(shelf, task, write_mbps),
    })
}

/// Returns what writing and reading back takes at least, by the card's speeds alone.
fn budget(shelf: &Shelf, task: Task, write_mbps: u64) -> Option<f64> {
    if write_mbps == 0 {
        return None;
    }
    let used = shelf.wanted(task).used_bytes() as f64;
    let written = match task {
        Task::Full => used,
        Task::Delta => shelf.changed_bytes() as f64,
        Task::Decode => return None,
    };
    let speed = write_mbps as f64 * 1e6;
    Some(written / speed + used / (speed * READ_PER_WRITE as f64))
}
