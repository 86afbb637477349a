//! `cardkeep backup`.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cardkeep_ops::report::{BackupDone, BackupDryRun};
use cardkeep_ops::{
    BackupRequest, BackupSession, Candidate, Choice, ContentRule, Estimate, Holes, Machine,
    Monitor, OpError, OpErrorKind, Otherwise, Overwrite, Resume, RetryPolicy, Scope, SecondReading,
    Shrink, Signals, Target, Unmount, Verify, apply, choose, machine, path_text, plan,
};

use crate::args::{BackupArgs, OutputArgs, SkipErrorsArg, VerifyArg, length, truncated};
use crate::commands::question;
use crate::commands::setting;
use crate::done::Done;
use crate::progress::Progress;
use crate::terminal::errln;
use crate::units::size;
use crate::{json, report, text};

pub(crate) fn run(args: BackupArgs) -> Result<Done, OpError> {
    let machine = machine();
    let signals = setting::signals()?;
    let output = args.output;
    let shown = Shown {
        command: "backup",
        is_dry: args.dry_run,
        report: args.report.clone(),
        output,
    };
    let progress = Progress::new(output, Some(signals));
    if let Some(path) = &shown.report {
        report::check(path, args.force || args.resume)?;
    }
    let request = request(&*machine, signals, args)?;
    shown.check(&request)?;
    let session = plan(&*machine, request, &progress)?;
    shown.carry_out(machine, &session, progress)
}

/// How the making of an image is shown: a backup, or a smaller image.
pub(crate) struct Shown {
    pub(crate) command: &'static str,
    pub(crate) is_dry: bool,
    /// Where a report of the card's health goes.
    pub(crate) report: Option<PathBuf>,
    pub(crate) output: OutputArgs,
}

impl Shown {
    /// Refuses to send an image to a terminal.
    pub(crate) fn check(&self, request: &BackupRequest) -> Result<(), OpError> {
        let is_stream = request.target == Target::Stream;
        if !is_stream || self.is_dry || !std::io::stdout().is_terminal() {
            return Ok(());
        }
        let hint = format!(
            "name a file, or pipe the image: `cardkeep {} ... - | ...`",
            self.command
        );
        Err(OpError::new(
            OpErrorKind::Usage,
            "refusing to write an image to a terminal",
        )
        .hint(hint))
    }

    /// Shows the plan, does what it says, and shows what came of it.
    pub(crate) fn carry_out(
        self,
        machine: Box<dyn Machine>,
        session: &BackupSession,
        progress: Progress,
    ) -> Result<Done, OpError> {
        let (output, plan) = (self.output, &session.plan);
        if let Some(path) = &self.report {
            plan.check_report(path)?;
        }
        // What is shown must not mix with an image on standard output.
        if !output.json && !output.quiet {
            text::print_plan(plan);
        }
        if self.is_dry {
            let troubles = progress.finish();
            if output.json {
                json::print(self.command, BackupDryRun::new(plan, &troubles));
            }
            return Ok(Done::with(&troubles));
        }
        let mut stdout = std::io::stdout();
        let progress = Arc::new(progress);
        let monitor = Arc::clone(&progress) as Arc<dyn Monitor>;
        let report = apply(&Arc::from(machine), session, &mut stdout, &monitor);
        let troubles = progress.finish();
        let report = report?;
        if output.json {
            let done = BackupDone::new(plan, &report, &troubles);
            json::print_backup(self.command, done, report.image.is_some());
        } else if !output.quiet {
            text::print_backup(plan, &report);
        }
        // The image is there, whatever becomes of the report.
        if let Some(path) = &self.report {
            report::write(path, plan, &report)?;
        }
        Ok(Done::with(&troubles))
    }
}

fn request(
    machine: &dyn Machine,
    signals: Signals,
    args: BackupArgs,
) -> Result<BackupRequest, OpError> {
    let policy = policy(&args);
    let (card, image) = names(args.card, args.image);
    let card = match card {
        Some(card) => card,
        None => choose_card(machine, signals)?,
    };
    let target = match image {
        None => Target::Named,
        Some(image) if image == Path::new("-") => Target::Stream,
        Some(image) => Target::File(image),
    };
    Ok(BackupRequest {
        content: ContentRule::Known,
        truncated: truncated(args.allow_truncated),
        card,
        target,
        format: args.format.map(Into::into),
        level: args.level,
        scope: if args.everything {
            Scope::Everything
        } else {
            Scope::UsedOnly
        },
        overwrite: if args.force {
            Overwrite::Replace
        } else {
            Overwrite::Refuse
        },
        unmount: if args.unmount {
            Unmount::Yes
        } else {
            Unmount::No
        },
        shrink: args.shrink.map(|size| Shrink {
            length: length(Some(size), args.margin),
            otherwise: if args.or_whole {
                Otherwise::CopyWhole
            } else {
                Otherwise::Refuse
            },
        }),
        policy,
        patience: Duration::from_secs(args.wait_for_card.into()),
        resume: if args.resume { Resume::Yes } else { Resume::No },
        verify: match args.verify {
            VerifyArg::Image | VerifyArg::Card => Verify::ReadBack,
            VerifyArg::None => Verify::Never,
        },
        second_reading: match args.verify {
            VerifyArg::Card => SecondReading::Yes,
            VerifyArg::Image | VerifyArg::None => SecondReading::No,
        },
        estimate: if args.dry_run {
            Estimate::Measured
        } else {
            Estimate::None
        },
        date: setting::today(),
        tool: setting::TOOL.to_owned(),
        cores: setting::cores(),
    })
}

fn policy(args: &BackupArgs) -> RetryPolicy {
    RetryPolicy {
        retries: args.retries,
        area_time_max: args
            .area_time
            .map(|seconds| Duration::from_secs(seconds.into())),
        holes: match args.skip_errors {
            SkipErrorsArg::Always => Holes::Recorded,
            SkipErrorsArg::Never => Holes::Refused,
        },
        ..RetryPolicy::default()
    }
}

/// With one name only, one that does not exist but looks like an image is the image: nobody has
/// a card called `pi.img.zst`.
fn names(card: Option<PathBuf>, image: Option<PathBuf>) -> (Option<PathBuf>, Option<PathBuf>) {
    match (card, image) {
        (Some(only), None)
            if only == Path::new("-")
                || !only.exists() && cardkeep_ops::Format::from_name(&only).is_some() =>
        {
            (None, Some(only))
        }
        names => names,
    }
}

fn choose_card(machine: &dyn Machine, signals: Signals) -> Result<PathBuf, OpError> {
    match choose(machine)? {
        Choice::Only(card) => Ok(card.device.path),
        Choice::Several(cards) if std::io::stdin().is_terminal() => ask(&cards, signals),
        Choice::Several(cards) => {
            let error = OpError::new(OpErrorKind::Usage, "there are several cards; name one");
            Err(cards.iter().fold(error, |error, card| {
                error.hint(format!("cardkeep backup {}", describe(card)))
            }))
        }
    }
}

fn describe(card: &Candidate) -> String {
    let device = &card.device;
    let model = device.model.as_deref().unwrap_or("unknown model").trim();
    format!(
        "{}   {} {} {model}",
        path_text(&device.path),
        size(device.size_bytes),
        device.transport
    )
}

fn ask(cards: &[Candidate], signals: Signals) -> Result<PathBuf, OpError> {
    errln!("There are several cards:");
    for (index, card) in cards.iter().enumerate() {
        errln!("  {}  {}", index + 1, describe(card));
    }
    let answer = question::ask(
        format_args!("Back up which one? [1-{}] ", cards.len()),
        signals,
    )?;
    // What is no number chooses nothing.
    let number = answer.trim().parse::<usize>().ok();
    let chosen = number.and_then(|number| cards.get(number.checked_sub(1)?));
    match chosen {
        Some(card) => Ok(card.device.path.clone()),
        None => Err(OpError::new(OpErrorKind::Usage, "no card was chosen")),
    }
}
