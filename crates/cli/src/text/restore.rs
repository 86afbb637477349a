//! `cardkeep restore` and `clone` for people: the plan before, the report after.

use anstyle::{AnsiColor, Style};
use cardkeep_ops::restore::{RestorePlan, RestoreReport, TargetDone, TargetPlan};
use cardkeep_ops::{State, Survey, SurveyedInput, WriteMode, path_text, stored_bytes};

use crate::terminal::{errln, outln};
use crate::text::contents;
use crate::text::list::headline;
use crate::units::{duration, size};

/// Prints what will be done.
pub(crate) fn print_restore_plan(plan: &RestorePlan) {
    errln!("From     {}{}", plan.origin.name(), origin(&plan.origin));
    print_notes(plan.origin.survey.as_ref());
    for target in &plan.targets {
        let what = match &target.device {
            Some(device) => headline(device),
            None => size(target.len),
        };
        errln!("To       {}  {what}", path_text(&target.path));
        let lost = lost(target);
        let red = Style::new().bold().fg_color(Some(AnsiColor::Red.into()));
        errln!([red, "Erases"] "   {lost}");
        errln!("Writes   {}", writes(plan, target));
        for note in &target.fit.notes {
            errln!("Changes  {note}");
        }
        if let Some(names) = target.file.as_ref().map(|file| file.name_count)
            && names > 1
        {
            errln!("Note     the file has {names} names; it changes under all of them");
        }
    }
    for note in plan.notes() {
        errln!("Note     {note}");
    }
    if !plan.verify {
        errln!("Note     the card is not read back (--verify none)");
    }
}

/// Returns what is on a target, and will be lost.
fn lost(target: &TargetPlan) -> String {
    let is_blank = target.file.is_some() && stored_bytes(&target.path) == 0;
    match &target.contents {
        _ if is_blank => "nothing: the file is empty".to_owned(),
        Some(survey) => contents(survey),
        None => "unknown content: it can't be read".to_owned(),
    }
}

/// Prints what is unusual about what comes, and harms nothing.
fn print_notes(survey: Option<&Survey>) {
    for note in survey.iter().flat_map(|survey| &survey.notes) {
        errln!("Note     {note}");
    }
}

fn origin(origin: &SurveyedInput) -> String {
    let identity = origin.identity();
    let mut parts: Vec<String> = Vec::new();
    parts.extend(identity.os);
    parts.extend(identity.hostname.map(|host| format!("host {host}")));
    if let (true, Some(survey)) = (parts.is_empty(), &origin.survey) {
        parts.push(contents(survey));
    }
    if let Some(len) = origin.len {
        parts.push(size(len));
    }
    if parts.is_empty() {
        return String::new();
    }
    format!("  {}", parts.join(", "))
}

fn writes(plan: &RestorePlan, target: &TargetPlan) -> String {
    if plan.origin.input.is_pipe() {
        return "everything in the pipe except free space found along the way".to_owned();
    }
    let map = &target.fit.map;
    let (used, zero) = (map.bytes(State::Used), map.bytes(State::Zero));
    let rest = target.len.saturating_sub(used + zero);
    let only = match plan.mode {
        WriteMode::All => "",
        WriteMode::Differing => ", only where the card differs",
        WriteMode::Resumed => ", from where it was interrupted",
    };
    // Only a card that is written as a whole has its end wiped.
    let wiped = match plan.mode {
        WriteMode::All => "first and last MiB",
        WriteMode::Differing | WriteMode::Resumed => "first MiB",
    };
    format!(
        "{} and {} of zeros{only}; {} are left alone but for the {wiped}",
        size(used),
        size(zero),
        size(rest)
    )
}

/// Prints what was done.
pub(crate) fn print_restore(plan: &RestorePlan, report: &RestoreReport) {
    let green = Style::new().bold().fg_color(Some(AnsiColor::Green.into()));
    let seconds = report.elapsed.as_secs_f64();
    for (target, planned) in report.targets.iter().zip(&plan.targets) {
        // What failed is told as an error of the command.
        let Ok(done) = &target.result else { continue };
        let path = path_text(&target.path);
        outln!(
            [green, "Done"] "     {path}, {} in {}",
            size(done.outcome.filled_bytes),
            duration(seconds)
        );
        for (name, text) in lines(planned, done) {
            outln!("{name:<8} {text}");
        }
    }
}

fn lines(target: &TargetPlan, done: &TargetDone) -> Vec<(&'static str, String)> {
    let outcome = &done.outcome;
    let mut lines = vec![("Written", size(outcome.written_bytes))];
    if outcome.found_bytes > 0 {
        let found = format!("{} were there already", size(outcome.found_bytes));
        lines.push(("Found", found));
    }
    if outcome.mended_frames > 0 {
        let count = outcome.mended_frames;
        let rewrote = format!("{count} pieces that read back wrong: watch this card");
        lines.push(("Rewrote", rewrote));
    }
    lines.push((
        "Verified",
        match outcome.is_verified {
            true => "read back from the card itself and compared: everything matches".to_owned(),
            false => "no: --verify none".to_owned(),
        },
    ));
    lines.extend(done.notes.iter().map(|note| ("Note", note.clone())));
    let is_device = target.device.is_some();
    if done.is_ejected {
        lines.push(("Ejected", "you can take it out".to_owned()));
    } else if is_device {
        let next = "`cardkeep info` shows what is on it now; eject it before you take it out";
        lines.push(("Next", next.to_owned()));
    }
    lines
}
