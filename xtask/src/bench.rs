//! Measuring cardkeep against others on a card of known speed.
//!
//! Every program reads the same card through the same loop device, whose speed the kernel limits,
//! and writes into the same folder; the clock stops when the output is on the disk. Ratios are
//! those of one round: a machine's mood spares nobody.

mod call;
mod content;
mod growth;
mod machine;
mod measure;
mod options;
mod partition;
mod peer;
#[cfg(target_os = "linux")]
mod rescue;
mod restore;
mod row;
mod scale;
mod scratch;
mod shrink;
mod table;
mod throttle;

use cardkeep_testkit::Loop;

use measure::Measured;
use peer::{Peer, Target};
use row::Row;

pub(crate) use options::Options;

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
            let run = || measure_one(options, peer, speed_mbps);
            rows.push(Row::measure(peer, speed_mbps, Peer::name, run));
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

/// Measures how long a small filesystem takes to fill large cards.
///
/// # Errors
/// Says what can't be set up.
pub(crate) fn run_growth(options: &Options) -> Result<(), String> {
    println!("{}\n", machine::describe());
    growth::run(options)
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
