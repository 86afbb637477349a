//! Measuring how much of a failing card each program reads, and how soon.
//!
//! Every program reads the same card, which fails in the same places and which the kernel holds to
//! a speed. The clock stops when the output is on the disk. Afterwards the used bytes are compared
//! with those of the sound card, sector by sector.

mod outcome;
mod peer;
mod places;
mod table;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use cardkeep_testkit::{FaultDisk, SectorSize, Throttle};

use super::call::call;
use super::content::Content;
use super::measure::{self, Measured};
use super::options::Options;
use super::row::Row;
use outcome::Outcome;
use peer::Peer;
use places::Places;

/// `stat` counts blocks in these, whatever the filesystem's own (stat(2)).
const SECTOR_BYTES: u64 = 512;

/// Measures each peer at each speed and prints a table in Markdown.
///
/// # Errors
/// Says what can't be set up. A peer that fails is a line of the table.
pub(crate) fn run(options: &Options) -> Result<(), String> {
    let peers = options.chosen(&Peer::ALL, Peer::name)?;
    let content = Content::survey(&options.program, &options.card)?;
    let len = options.card.metadata().map_err(|e| e.to_string())?.len();
    let places = Places::choose(&content, len)?;
    println!("{}\n", table::card(&content, len, &places));
    let mut rows = Vec::new();
    for &speed_mbps in options.speeds_or(&[20]) {
        for &peer in &peers {
            let run = || measure_one(options, &content, &places, peer, speed_mbps);
            let row = Row::measure(peer, speed_mbps, Peer::name, run);
            // Runs take minutes: what an interrupted one has measured should not be lost.
            eprintln!("{}", table::line(&row, &[]));
            rows.push(row);
        }
    }
    print!("{}", table::markdown(&rows));
    Ok(())
}

fn measure_one(
    options: &Options,
    content: &Content,
    places: &Places,
    peer: Peer,
    speed_mbps: u64,
) -> Result<Outcome, String> {
    let folder = options.work.join("bench-rescue");
    renew(&folder)?;
    let measured = {
        let disk = FaultDisk::over(&options.card, SectorSize::Bytes512)
            .map_err(|e| format!("no card that fails: {e}"))?;
        places.faults().for_each(|fault| disk.declare(fault));
        let speed = Throttle {
            read_bps: speed_mbps.saturating_mul(1_000_000),
            write_bps: 0,
        };
        let held = disk.device().throttle(speed);
        held.map_err(|e| format!("no limit: {e}"))?;
        let script = peer.script(disk.path(), &folder, &options.program);
        measure::pipeline(&script, Some(disk.device()))?
    };
    let image = folder.join(peer.image());
    let output_bytes = stored_bytes(&image);
    let beside_bytes = folder_bytes(&folder) - output_bytes;
    let raw = raw_of(peer, &image, &folder)?;
    let good_bytes = content.used_bytes() - content.differing_sector_bytes(&raw)?;
    fs::remove_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    Ok(Outcome {
        measured: Measured {
            output_bytes,
            ..measured
        },
        good_bytes,
        beside_bytes,
    })
}

/// Makes an empty folder in the place of what an interrupted run has left.
fn renew(folder: &Path) -> Result<(), String> {
    let error = |e: std::io::Error| format!("{}: {e}", folder.display());
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(error)?;
    }
    fs::create_dir_all(folder).map_err(error)
}

/// Returns the image as it is without compression, which the time does not count for.
fn raw_of(peer: Peer, image: &Path, folder: &Path) -> Result<PathBuf, String> {
    if peer != Peer::Cardkeep {
        return Ok(image.to_path_buf());
    }
    let raw = folder.join("judged.img");
    let (options, to) = (Path::new("-dqf"), Path::new("-o"));
    call("zstd", [options, Path::new("--sparse"), image, to, &raw])?;
    Ok(raw)
}

fn stored_bytes(path: &Path) -> u64 {
    let blocks = path.metadata().map_or(0, |metadata| metadata.blocks());
    blocks * SECTOR_BYTES
}

fn folder_bytes(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| stored_bytes(&entry.path())).sum()
}
