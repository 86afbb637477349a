//! The same content on ever larger cards: time and memory should follow the content.

use std::fs::File;
use std::path::Path;

use cardkeep_testkit::{Loop, Tool};

use super::machine;
use super::measure;
use super::options::Options;
use super::partition;
use super::peer::{Peer, Target};

const GB: u64 = 1_000_000_000;
const MIB: u64 = 1 << 20;

/// Grows a copy of the card from size to size, last partition and filesystem included, and
/// backs it up each time.
///
/// # Errors
/// Says which step failed.
pub(crate) fn run(options: &Options) -> Result<(), String> {
    let copy = options.work.join("bench-scale.img");
    Tool::new("cp")
        .arg("--sparse=always")
        .args([&options.card, &copy])
        .run();
    println!("| card GB | wall s | cpu s | read MB | output MB | memory MB | load |");
    println!("|---:|---:|---:|---:|---:|---:|---:|");
    for &size_gb in &options.sizes_gb {
        grow(&copy, size_gb.saturating_mul(GB) / MIB * MIB)?;
        let device = Loop::attach(&copy);
        let target = Target::new(&device, options)?;
        let measured = measure::pipeline(&Peer::Cardkeep.script(&target), Some(&device))?;
        let output_bytes = target.output_bytes();
        target.remove_output();
        let mb = |bytes: u64| bytes as f64 / 1e6;
        println!(
            "| {size_gb} | {:.1} | {:.1} | {:.0} | {:.0} | {:.1} | {} |",
            measured.wall_seconds,
            measured.cpu_seconds,
            mb(measured.bytes_read),
            mb(output_bytes),
            mb(measured.memory_bytes),
            machine::load()
        );
    }
    std::fs::remove_file(&copy).map_err(|e| format!("can't remove the copy: {e}"))
}

/// Makes the card `len` bytes long, unless it is longer already.
fn grow(card: &Path, len: u64) -> Result<(), String> {
    let file = File::options()
        .write(true)
        .open(card)
        .map_err(|e| e.to_string())?;
    if file.metadata().map_err(|e| e.to_string())?.len() >= len {
        return Ok(());
    }
    file.set_len(len)
        .map_err(|e| format!("can't grow the card: {e}"))?;
    Tool::new("sfdisk")
        .args(["-q", "--no-reread", "-N", "2"])
        .arg(card)
        .run_with(", +\n");
    let extents = partition::extents(card)?;
    let extent = *extents.get(1).ok_or("the card lacks a second partition")?;
    let device = Loop::attach_extent(card, extent);
    Tool::new("e2fsck")
        .args(["-f", "-p"])
        .arg(device.path())
        .outcome();
    Tool::new("resize2fs").arg(device.path()).run();
    Ok(())
}
