//! One pipeline of programs, from its start until its output is on the disk.

use std::collections::HashMap;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use cardkeep_testkit::Loop;

use super::machine;
use super::scratch::Scratch;

/// How often memory and disk are looked at. The kernel keeps each process's own peak of memory: only
/// one that ends within this time escapes. Of the disk, a peak that is shorter escapes.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(50);
/// `/proc/PID/stat` counts in these (USER_HZ, 100 on all that Linux runs on; proc(5)).
const TICKS_PER_SECOND: f64 = 100.0;

/// What a pipeline cost.
#[derive(Clone, Debug, Default)]
pub(crate) struct Measured {
    pub(crate) wall_seconds: f64,
    /// User and system time of all its processes.
    pub(crate) cpu_seconds: f64,
    /// As the card's own counter tells.
    pub(crate) bytes_read: u64,
    /// As the card's own counter tells; zeros that it was asked for without sending them count.
    pub(crate) bytes_written: u64,
    pub(crate) output_bytes: u64,
    /// The sum of the peaks of all its processes.
    pub(crate) memory_bytes: u64,
    /// The peak of what it took on the disk besides its output, where that was asked for.
    pub(crate) temporary_bytes: u64,
    /// Others who wanted the cores meanwhile, as the load average tells it.
    pub(crate) load: String,
}

/// What the samples of one run showed at most.
#[derive(Debug, Default)]
struct Peaks {
    /// Of each process.
    memory: HashMap<u32, u64>,
    temporary_bytes: u64,
}

/// What went through a device since it exists.
#[derive(Clone, Copy, Debug, Default)]
struct Traffic {
    bytes_read: u64,
    bytes_written: u64,
}

impl Traffic {
    /// Asks the kernel (Documentation/block/stat.rst: sectors read are the third field, sectors
    /// written the seventh, both of 512 bytes whatever the device's own).
    fn of(device: &Loop) -> Result<Self, String> {
        let name = device.path().file_name().unwrap_or_default();
        let path = Path::new("/sys/block").join(name).join("stat");
        let stat = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        let field = |index: usize| {
            let word = stat.split_whitespace().nth(index);
            let sectors: u64 = word.and_then(|word| word.parse().ok()).unwrap_or(0);
            sectors.saturating_mul(512)
        };
        Ok(Self {
            bytes_read: field(2),
            bytes_written: field(6),
        })
    }
}

/// Runs `script` in bash until its end; `device` is the card whose traffic counts.
///
/// # Errors
/// Says how it failed.
pub(crate) fn pipeline(script: &str, device: Option<&Loop>) -> Result<Measured, String> {
    pipeline_in(script, device, None)
}

/// As [`pipeline`]; what the script keeps in `scratch` besides its output counts too.
///
/// # Errors
/// Says how it failed.
pub(crate) fn pipeline_in(
    script: &str,
    device: Option<&Loop>,
    scratch: Option<&Scratch>,
) -> Result<Measured, String> {
    let before = device.map(Traffic::of).transpose()?.unwrap_or_default();
    let cpu_before = children_seconds();
    let started = Instant::now();
    let mut child = Command::new("bash")
        .args(["-c", &format!("set -euo pipefail; {script}")])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(|e| format!("can't run bash: {e}"))?;
    let (status, peaks) = watch(&mut child, scratch)?;
    if !status.success() {
        return Err(format!("{status}: {script}"));
    }
    let after = device.map(Traffic::of).transpose()?.unwrap_or_default();
    Ok(Measured {
        wall_seconds: started.elapsed().as_secs_f64(),
        cpu_seconds: children_seconds() - cpu_before,
        bytes_read: after.bytes_read - before.bytes_read,
        bytes_written: after.bytes_written - before.bytes_written,
        output_bytes: 0,
        memory_bytes: peaks.memory.values().sum(),
        temporary_bytes: peaks.temporary_bytes,
        load: machine::load(),
    })
}

/// Waits for the end of `child` and looks at its group meanwhile.
fn watch(child: &mut Child, scratch: Option<&Scratch>) -> Result<(ExitStatus, Peaks), String> {
    let mut peaks = Peaks::default();
    loop {
        if let Some(status) = child.try_wait().map_err(|e| e.to_string())? {
            return Ok((status, peaks));
        }
        let processes = processes_of(child.id());
        sample_memory(&processes, &mut peaks.memory);
        let temporary_bytes = scratch.map_or(0, |scratch| scratch.temporary_bytes(&processes));
        peaks.temporary_bytes = temporary_bytes.max(peaks.temporary_bytes);
        std::thread::sleep(SAMPLE_INTERVAL);
    }
}

/// Returns the processor time of all children waited for so far (proc(5), `cutime`, `cstime`).
fn children_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name in the second field may hold anything, but ends with the last bracket.
    let after_name = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    let ticks = after_name.split(' ').skip(13).take(2);
    ticks
        .filter_map(|word| word.parse::<f64>().ok())
        .sum::<f64>()
        / TICKS_PER_SECOND
}

/// Returns the processes of a group.
fn processes_of(group: u32) -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let processes = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    processes
        .filter(|&process| group_of(process) == Some(group))
        .collect()
}

/// Notes the peak memory of every process, by process.
fn sample_memory(processes: &[u32], peaks: &mut HashMap<u32, u64>) {
    for &process in processes {
        if let Some(bytes) = peak_bytes(process) {
            let known = peaks.entry(process).or_insert(0);
            *known = bytes.max(*known);
        }
    }
}

fn group_of(process: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.split(' ').nth(2)?.parse().ok()
}

fn peak_bytes(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}
