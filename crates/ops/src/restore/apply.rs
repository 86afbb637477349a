//! Doing what the plan of a restore says.

use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use cardkeep_block::{AllocationMap, Extent, Monitor, ReadAt, Run, State, Trouble, path_text};
use cardkeep_copy::{
    Capacity, CopyError, Ending, HEAD_BYTES, IndexedOriginal, Knowledge, Layout, MediumOriginal,
    Original, Recipient, RestoreOptions, RestoreOutcome, StreamOriginal, WriteMode, probe,
    probe_places, restore,
};
use cardkeep_device::{DeviceSink, Machine, WritePermit};

use crate::completeness::Truncated;
use crate::error::{OpError, OpErrorKind};
use crate::input::{InputAccess, SurveyedInput};
use crate::restore::fit::Fit;
use crate::restore::plan::RestorePlan;
use crate::restore::target::TargetPlan;
use crate::restore::telling::{Known, of_refusal, of_restore};

/// What became of one card.
#[derive(Debug)]
pub struct TargetDone {
    /// What was written and found.
    pub outcome: RestoreOutcome,
    /// Whether it was ejected.
    pub is_ejected: bool,
    /// What did not matter enough to fail, in words.
    pub notes: Vec<String>,
}

/// One card's result.
#[derive(Debug)]
pub struct TargetReport {
    /// The card.
    pub path: PathBuf,
    /// What became of it.
    pub result: Result<TargetDone, OpError>,
}

/// What was done.
#[derive(Debug)]
pub struct RestoreReport {
    /// Each card's result, in the order of the plan.
    pub targets: Vec<TargetReport>,
    /// How long it took.
    pub elapsed: Duration,
}

/// Does what the plan says, to all its cards at once. `monitors` has one for each card.
pub fn apply(
    machine: &dyn Machine,
    plan: &RestorePlan,
    monitors: &[&dyn Monitor],
) -> RestoreReport {
    let started = Instant::now();
    let sinks = open_all(machine, plan, monitors);
    let results = write_all(plan, sinks, monitors);
    if let (Some(cut), Some(monitor)) = (plan.cut_on_the_way.get(), monitors.first()) {
        let name = plan.origin.name();
        monitor.trouble(Trouble::new(format!("{name} {cut}")));
    }
    let targets = plan.targets.iter().zip(results);
    let targets = targets.map(|(target, result)| TargetReport {
        path: target.path.clone(),
        result: result.map(|written| finish(machine, plan, target, written)),
    });
    RestoreReport {
        targets: targets.collect(),
        elapsed: started.elapsed(),
    }
}

type Sinks = Vec<Result<DeviceSink, OpError>>;

/// Opens all cards for writing, and asks each whether it is as large as it says.
fn open_all(machine: &dyn Machine, plan: &RestorePlan, monitors: &[&dyn Monitor]) -> Sinks {
    std::thread::scope(|scope| {
        let jobs = plan.targets.iter().zip(monitors).map(|(target, monitor)| {
            scope.spawn(move || {
                let sink = open(machine, plan, target, *monitor)?;
                // However much of it is written: where addresses wrap, what is written in one place
                // spoils what was found to be right in another, and is not read again.
                if plan.probe && sink.is_device() {
                    probe_card(&sink, plan, target, *monitor)?;
                }
                Ok(sink)
            })
        });
        let threads: Vec<_> = jobs.collect();
        let died = || OpError::new(OpErrorKind::Internal, "the thread of a card died");
        let join = |thread: std::thread::ScopedJoinHandle<'_, _>| {
            thread.join().unwrap_or_else(|_| Err(died()))
        };
        threads.into_iter().map(join).collect()
    })
}

fn open(
    machine: &dyn Machine,
    plan: &RestorePlan,
    target: &TargetPlan,
    monitor: &dyn Monitor,
) -> Result<DeviceSink, OpError> {
    let input = &plan.origin.input.standard_input;
    let keep: Vec<PathBuf> = plan
        .origin
        .path()
        .into_iter()
        .chain(&input.path)
        .cloned()
        .collect();
    let places = places(target, plan.probe);
    let permit = match (&target.device, &target.file) {
        (Some(device), _) => {
            machine.unmount(device).map_err(|error| {
                let message = format!("{} can't be unmounted", path_text(&target.path));
                OpError::new(OpErrorKind::Environment, message)
                    .hint(error.hint.clone())
                    .caused_by(error)
            })?;
            WritePermit::for_device(machine, device, &keep, places)
        }
        (None, Some(file)) => WritePermit::for_file(file, &keep, places),
        (None, None) => {
            let what = "a target that is neither a device nor a file";
            return Err(OpError::new(OpErrorKind::Internal, what));
        }
    };
    let permit = permit.and_then(|permit| permit.sparing(input.id));
    let permit = permit.map_err(|refusal| of_refusal(&target.path, refusal))?;
    DeviceSink::open(permit, monitor).map_err(|error| OpError::of_card(&target.path, error))
}

/// Returns where a card may be written: where the plan has content or zeros, at both ends, and
/// where it is asked for its size.
fn places(target: &TargetPlan, probe: bool) -> AllocationMap {
    let len = target.len;
    let map = &target.fit.map;
    let filled = map.runs().filter(|run| run.state != State::Free);
    let mut used: Vec<Run> = filled
        .map(|run| Run::new(run.extent, State::Used))
        .collect();
    let head = Extent::between(0, HEAD_BYTES.min(len));
    let tail = Extent::between(len.saturating_sub(HEAD_BYTES), len);
    let probed = if probe { probe_places(len) } else { Vec::new() };
    let others = [head, tail].into_iter().chain(probed);
    used.extend(others.map(|extent| Run::new(extent, State::Used)));
    AllocationMap::all(len, State::Free).raised(&used)
}

fn probe_card(
    sink: &DeviceSink,
    plan: &RestorePlan,
    target: &TargetPlan,
    monitor: &dyn Monitor,
) -> Result<(), OpError> {
    let seed = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        // A clock before 1970 makes the markers less new, no more.
        .map_or(0, |time| time.as_nanos() as u64);
    let of_probe = |error| of_restore(&target.path, None, error);
    let probed = probe(sink, &probe_places(target.len), seed, monitor).map_err(of_probe)?;
    let capacity = probed.capacity;
    if capacity == Capacity::Honest {
        // What of a pipe is written shows only when it comes.
        let is_pipe = matches!(plan.origin.input.access, InputAccess::Pipe(_));
        let is_needed = |place| is_pipe || is_needed(&target.fit.map, plan.mode, place);
        return probed.put_back(sink, is_needed).map_err(of_probe);
    }
    let message = format!("{} can't be trusted", path_text(&target.path));
    let error = OpError::new(OpErrorKind::Medium, message).caused_by(capacity.to_string());
    match probed.put_back(sink, |_| true) {
        Ok(()) => Err(error.hint("what the test had overwritten was put back")),
        Err(_) => Err(error.hint("what the test had overwritten could not be put back")),
    }
}

/// Tells whether what a place held counts: it is compared, or not wholly written.
fn is_needed(map: &AllocationMap, mode: WriteMode, place: Extent) -> bool {
    let is_filled =
        place.end() <= map.len() && map.runs_in(place).all(|run| run.state != State::Free);
    mode != WriteMode::All || !is_filled
}

/// A card that was written.
struct Written {
    sink: DeviceSink,
    outcome: RestoreOutcome,
}

/// Cards that hold the same, by their places in the plan.
type Members = Vec<(usize, DeviceSink)>;

/// Writes all cards that could be opened; those that hold the same share one decoding.
fn write_all(
    plan: &RestorePlan,
    sinks: Sinks,
    monitors: &[&dyn Monitor],
) -> Vec<Result<Written, OpError>> {
    let mut results: Vec<Option<Result<Written, OpError>>> = Vec::new();
    let mut groups: Vec<(&Arc<Fit>, Members)> = Vec::new();
    for (place, sink) in sinks.into_iter().enumerate() {
        let sink = match sink {
            Ok(sink) => sink,
            Err(error) => {
                results.push(Some(Err(error)));
                continue;
            }
        };
        results.push(None);
        let fit = &plan.targets[place].fit;
        match groups.iter_mut().find(|(own, _)| Arc::ptr_eq(own, fit)) {
            Some((_, members)) => members.push((place, sink)),
            None => groups.push((fit, vec![(place, sink)])),
        }
    }
    let done = std::thread::scope(|scope| {
        let jobs = groups
            .into_iter()
            .map(|(fit, members)| scope.spawn(move || write_group(plan, fit, members, monitors)));
        let threads: Vec<_> = jobs.collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap_or_default())
            .collect::<Vec<_>>()
    });
    for (place, result) in done {
        results[place] = Some(result);
    }
    let died = || {
        Err(OpError::new(
            OpErrorKind::Internal,
            "the thread of a card died",
        ))
    };
    let results = results.into_iter();
    results.map(|result| result.unwrap_or_else(died)).collect()
}

fn write_group(
    plan: &RestorePlan,
    fit: &Fit,
    members: Members,
    monitors: &[&dyn Monitor],
) -> Vec<(usize, Result<Written, OpError>)> {
    let recipients: Vec<Recipient<'_>> = members
        .iter()
        .map(|(place, sink)| Recipient {
            card: sink,
            monitor: monitors[*place],
        })
        .collect();
    let before: Vec<u64> = members.iter().map(|(_, sink)| sink.write_count()).collect();
    let options = RestoreOptions {
        mode: plan.mode,
        verify: plan.verify,
    };
    let outcomes = with_original(plan, fit, |original| {
        restore(original, &recipients, options)
    });
    drop(recipients);
    let results = members.into_iter().zip(before).zip(outcomes);
    results
        .map(|(((place, sink), before), outcome)| {
            let is_untouched = sink.write_count() == before;
            let path = &plan.targets[place].path;
            let written = outcome
                .map(|outcome| Written { sink, outcome })
                .map_err(|error| {
                    let known = Known {
                        origin: &plan.origin,
                        fit,
                        monitor: monitors[place],
                        is_untouched,
                    };
                    // Stopped before its first write, a card is what it was.
                    let is_same = is_untouched && matches!(error, CopyError::Interrupted);
                    of_restore(path, (!is_same).then_some(known), error)
                });
            (place, written)
        })
        .collect()
}

/// Calls `run` with the origin in the form that the engine wants.
fn with_original<T>(plan: &RestorePlan, fit: &Fit, run: impl FnOnce(&dyn Original) -> T) -> T {
    let origin: &SurveyedInput = &plan.origin;
    let resized = fit.content.as_ref().map(|resized| &resized.view);
    let own_len = origin.len.unwrap_or(fit.map.len());
    let layout = Layout {
        map: &fit.map,
        content_len: resized.map_or(own_len, |view| view.len()),
        patches: &fit.patches,
        digests: &fit.digests,
    };
    let open = || -> Result<Box<dyn Read + Send>, CopyError> { Ok(origin.input.stream()?.content) };
    if let Some(medium) = resized {
        return run(&MediumOriginal { medium, layout });
    }
    match &origin.input.access {
        InputAccess::Medium(medium) => run(&MediumOriginal { medium, layout }),
        InputAccess::Indexed {
            file,
            index,
            content,
        } => {
            // What planning had looked at is memory that decoding needs.
            content.forget();
            run(&IndexedOriginal {
                image: file,
                index,
                layout,
                cores: plan.cores,
            })
        }
        InputAccess::Sequential { .. } => run(&StreamOriginal {
            open: &open,
            is_repeatable: true,
            knowledge: Knowledge::Layout(layout),
        }),
        InputAccess::Pipe(_) => run(&StreamOriginal {
            open: &open,
            is_repeatable: false,
            knowledge: Knowledge::Nothing {
                len_max: fit.map.len(),
                sector_bytes: origin.input.sector_bytes,
                scope: plan.scope,
                ending: match plan.truncated {
                    Truncated::Refuse => Ending::Whole,
                    Truncated::Allow => Ending::Truncated(&plan.cut_on_the_way),
                },
            },
        }),
    }
}

/// What is left to do with a card that holds what it should.
fn finish(
    machine: &dyn Machine,
    plan: &RestorePlan,
    target: &TargetPlan,
    written: Written,
) -> TargetDone {
    let Written { sink, outcome } = written;
    // What follows the content of a pipe is known now.
    let mut notes = match plan.origin.input.access {
        InputAccess::Pipe(_) => plan.origin.input.stream_notes.all(),
        _ => Vec::new(),
    };
    if let Err(error) = sink.reread_partitions() {
        notes.push(format!(
            "the system has not read the new partition table ({error}); reinsert the card before \
             you use it here"
        ));
    }
    // Closed before it is ejected.
    drop(sink);
    let device = target.device.as_ref().filter(|_| plan.eject);
    let is_ejected = match device.map(|device| machine.eject(device)) {
        Some(Ok(())) => true,
        Some(Err(error)) => {
            notes.push(format!("{error}: {}", error.hint));
            false
        }
        None => false,
    };
    TargetDone {
        outcome,
        is_ejected,
        notes,
    }
}

#[cfg(test)]
mod tests {
    use super::is_needed;
    use cardkeep_block::{AllocationMap, Extent, Run, State};
    use cardkeep_copy::WriteMode;

    #[test]
    fn a_probe_puts_back_all_that_is_not_written_anyway() {
        let free = Run::new(Extent::between(3000, 4000), State::Free);
        let map = AllocationMap::all(8000, State::Used).replaced(&[free]);
        for (place, mode, expected) in [
            (Extent::between(0, 3000), WriteMode::All, false),
            (Extent::between(0, 3001), WriteMode::All, true),
            (Extent::between(7999, 8001), WriteMode::All, true),
            (Extent::between(0, 3000), WriteMode::Differing, true),
            (Extent::between(0, 3000), WriteMode::Resumed, true),
        ] {
            assert_eq!(is_needed(&map, mode, place), expected, "{place:?} {mode:?}");
        }
    }
}
