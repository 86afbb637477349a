//! `cardkeep verify`.

use cardkeep_ops::report::VerifyFields;
use cardkeep_ops::{OpError, VerifyRequest, machine, verify};

use crate::args::{VerifyArgs, content, truncated};
use crate::commands::setting;
use crate::done::Done;
use crate::progress::Progress;
use crate::{json, text};

pub(crate) fn run(args: VerifyArgs) -> Result<Done, OpError> {
    // Without the handler Ctrl-C ends the program at once, which harms nothing here.
    let signals = setting::signals()?;
    let progress = Progress::new(args.output, Some(signals));
    let request = VerifyRequest {
        image: setting::image_path(args.image)?,
        against: args.against,
        content: content(args.allow_unknown_content),
        truncated: truncated(args.allow_truncated),
        sha256: args.sha256,
        cores: setting::cores(),
    };
    let report = verify(&*machine(), &request, &progress)?;
    let troubles = progress.finish();
    if args.output.json {
        json::print("verify", VerifyFields::new(&report, &troubles));
    } else {
        text::print_verify(&report);
    }
    let differs = report
        .against
        .as_ref()
        .is_some_and(|against| against.difference.bytes > 0);
    Ok(if differs {
        Done::Mismatch
    } else {
        Done::with(&troubles)
    })
}
