//! `cardkeep shrink`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use cardkeep_ops::{
    BackupRequest, Estimate, Holes, OpError, OpErrorKind, Otherwise, Overwrite, Resume,
    RetryPolicy, Scope, SecondReading, Shrink, Target, Unmount, Verify, machine, plan_shrink,
};

use crate::args::{ShrinkArgs, VerifyImageArg, content, length, truncated};
use crate::commands::backup::Shown;
use crate::commands::setting;
use crate::done::Done;
use crate::progress::Progress;

pub(crate) fn run(args: ShrinkArgs) -> Result<Done, OpError> {
    let signals = setting::signals()?;
    let shown = Shown {
        command: "shrink",
        is_dry: args.dry_run,
        report: None,
        output: args.output,
    };
    let progress = Progress::new(args.output, Some(signals));
    if args.image == Path::new("-") && args.new.is_none() {
        let message = "standard input has no name for the new image";
        return Err(OpError::new(OpErrorKind::Usage, message).hint("name it"));
    }
    let image = setting::image_path(args.image.clone())?;
    let request = request(ShrinkArgs { image, ..args });
    shown.check(&request)?;
    let machine = machine();
    let session = plan_shrink(&*machine, request, &progress)?;
    shown.carry_out(machine, &session, progress)
}

fn request(args: ShrinkArgs) -> BackupRequest {
    BackupRequest {
        content: content(args.allow_unknown_content),
        truncated: truncated(args.allow_truncated),
        card: args.image,
        target: target(args.new),
        format: args.format.map(Into::into),
        level: args.level,
        scope: Scope::UsedOnly,
        overwrite: if args.force {
            Overwrite::Replace
        } else {
            Overwrite::Refuse
        },
        unmount: Unmount::No,
        shrink: Some(Shrink {
            length: length(args.size, args.margin),
            otherwise: Otherwise::Refuse,
        }),
        policy: RetryPolicy {
            holes: Holes::Refused,
            ..RetryPolicy::default()
        },
        resume: Resume::No,
        patience: Duration::ZERO,
        verify: match args.verify {
            VerifyImageArg::Image => Verify::ReadBack,
            VerifyImageArg::None => Verify::Never,
        },
        second_reading: SecondReading::No,
        estimate: Estimate::None,
        date: setting::today(),
        tool: setting::TOOL.to_owned(),
        cores: setting::cores(),
    }
}

fn target(new: Option<PathBuf>) -> Target {
    match new {
        None => Target::Named,
        Some(new) if new == Path::new("-") => Target::Stream,
        Some(new) => Target::File(new),
    }
}
