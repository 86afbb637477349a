//! `cardkeep restore` and `cardkeep clone`.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use cardkeep_ops::report::{RestoreDone, RestoreDryRun};
use cardkeep_ops::restore::{RestoreFrom, RestorePlan, RestoreRequest, apply, plan};
use cardkeep_ops::{
    Machine, Monitor, OpError, OpErrorKind, Phase, Scope, StandardInput, Trouble, Verdict,
    WriteMode, cards, machine, verdict,
};

use crate::args::{
    CloneArgs, OutputArgs, RestoreArgs, VerifyCardArg, WriteArgs, content, truncated,
};
use crate::commands::confirm::confirm;
use crate::commands::setting;
use crate::done::Done;
use crate::exit;
use crate::progress::Progress;
use crate::{json, text};

pub(crate) fn restore(args: RestoreArgs) -> Result<Done, OpError> {
    let machine = machine();
    let from = if args.image == Path::new("-") {
        if std::io::stdin().is_terminal() {
            return Err(OpError::new(
                OpErrorKind::Usage,
                "refusing to read an image from a terminal",
            )
            .hint("pipe it in: `... | cardkeep restore - CARD --yes`"));
        }
        RestoreFrom::Pipe {
            pipe: Box::new(std::io::stdin()),
            input: StandardInput::look(&std::io::stdin()),
        }
    } else {
        RestoreFrom::Image(args.image)
    };
    let mut targets: Vec<PathBuf> = args.card.into_iter().chain(args.to).collect();
    if targets.is_empty() {
        targets.push(only_card(&*machine, args.write.yes)?);
    }
    let mut wanted = request(from, targets, &args.write);
    wanted.request.sha256 = args.sha256;
    run("restore", &*machine, wanted, args.write.yes, args.output)
}

pub(crate) fn clone(args: CloneArgs) -> Result<Done, OpError> {
    let targets: Vec<PathBuf> = std::iter::once(args.card).chain(args.to).collect();
    let request = request(RestoreFrom::Card(args.source), targets, &args.write);
    run("clone", &*machine(), request, args.write.yes, args.output)
}

fn request(from: RestoreFrom, targets: Vec<PathBuf>, args: &WriteArgs) -> WriteRequest {
    let mode = match (args.delta, args.resume) {
        (true, _) => WriteMode::Differing,
        (_, true) => WriteMode::Resumed,
        _ => WriteMode::All,
    };
    let scope = if args.everything {
        Scope::Everything
    } else {
        Scope::UsedOnly
    };
    WriteRequest {
        is_dry: args.dry_run,
        request: RestoreRequest {
            from,
            targets,
            expected_serial: args.expect_serial.clone(),
            scope,
            mode,
            verify: args.verify == VerifyCardArg::Card,
            probe: !args.no_probe,
            eject: args.eject,
            expand: args.expand(),
            content: content(args.allow_unknown_content),
            truncated: truncated(args.allow_truncated),
            sha256: None,
            cores: setting::cores(),
        },
    }
}

/// What is wanted, and whether it is only to be shown.
struct WriteRequest {
    is_dry: bool,
    request: RestoreRequest,
}

fn run(
    command: &'static str,
    machine: &dyn Machine,
    wanted: WriteRequest,
    is_confirmed: bool,
    output: OutputArgs,
) -> Result<Done, OpError> {
    let signals = setting::signals()?;
    let progress = Progress::new(output, Some(signals));
    let plan = plan(machine, wanted.request, &progress)?;
    // Nobody is asked to agree to what was not shown.
    let is_asked = !is_confirmed && !wanted.is_dry;
    if is_asked || !output.json && !output.quiet {
        text::print_restore_plan(&plan);
    }
    if wanted.is_dry {
        let troubles = progress.finish();
        if output.json {
            json::print(command, RestoreDryRun::new(&plan, &troubles));
        }
        return Ok(Done::with(&troubles));
    }
    if !is_confirmed {
        confirm(&plan, signals)?;
    }
    let shares: Vec<Share<'_>> = plan
        .targets
        .iter()
        .map(|_| Share::of(&progress, &plan))
        .collect();
    let monitors: Vec<&dyn Monitor> = shares.iter().map(|share| share as &dyn Monitor).collect();
    let report = apply(machine, &plan, &monitors);
    let troubles = progress.finish();
    if output.json {
        json::print(command, RestoreDone::new(&plan, &report, &troubles));
    } else if !output.quiet {
        text::print_restore(&plan, &report);
    }
    let mut first = None;
    for target in report.targets {
        if let Err(error) = target.result {
            // The first one is the command's error; the others are told as they are.
            if first.is_none() {
                first = Some(error);
            } else {
                exit::fail(&error, output);
            }
        }
    }
    match first {
        Some(error) => Err(error),
        None => Ok(Done::with(&troubles)),
    }
}

/// Returns the only card that may be written, where the user named none.
fn only_card(machine: &dyn Machine, is_confirmed: bool) -> Result<PathBuf, OpError> {
    if is_confirmed {
        return Err(
            OpError::new(OpErrorKind::Usage, "--yes needs the card's name")
                .hint("`cardkeep list` shows the available cards"),
        );
    }
    let all = cards(machine)?.into_iter();
    let mut free: Vec<_> = all
        .filter(|card| verdict(&card.device) == Verdict::Free)
        .collect();
    match free.len() {
        1 => Ok(free.remove(0).device.path),
        0 => Err(OpError::new(OpErrorKind::Usage, "no card was found")
            .hint("put one in, or name it: `cardkeep restore IMAGE /dev/...`")
            .hint("`cardkeep list --all` shows every disk and why it is guarded")),
        _ => {
            let error = OpError::new(OpErrorKind::Usage, "there are several cards; name one");
            let named = |error: OpError, card: &cardkeep_ops::Candidate| {
                error.hint(text::headline_of(&card.device))
            };
            Err(free.iter().fold(error, named))
        }
    }
}

/// One card's share of the progress of all.
struct Share<'a> {
    all: &'a Progress,
    /// How many cards there are.
    count: u64,
}

impl<'a> Share<'a> {
    fn of(all: &'a Progress, plan: &RestorePlan) -> Self {
        let count = plan.targets.len() as u64;
        Self { all, count }
    }
}

impl Monitor for Share<'_> {
    fn phase(&self, phase: Phase, total_bytes: Option<u64>) {
        let of_all = total_bytes.map(|total| total.saturating_mul(self.count));
        self.all.phase(phase, of_all);
    }

    fn advance(&self, phase: Phase, bytes: u64) {
        self.all.advance(phase, bytes);
    }

    fn trouble(&self, trouble: Trouble) {
        self.all.trouble(trouble);
    }

    fn is_cancelled(&self) -> bool {
        self.all.is_cancelled()
    }
}
