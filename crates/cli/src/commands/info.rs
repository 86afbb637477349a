//! `cardkeep info`.

use cardkeep_ops::report::InfoFields;
use cardkeep_ops::{OpError, info, machine};

use crate::args::{InfoArgs, content};
use crate::commands::setting;
use crate::done::Done;
use crate::progress::Progress;
use crate::{json, text};

pub(crate) fn run(args: &InfoArgs) -> Result<Done, OpError> {
    let progress = Progress::new(args.output, Some(setting::signals()?));
    let path = setting::image_path(args.path.clone())?;
    let content = content(args.allow_unknown_content);
    let report = info(&*machine(), &path, content, &progress)?;
    let troubles = progress.finish();
    if args.output.json {
        json::print("info", InfoFields::new(&report, &troubles));
    } else {
        text::print_info(&report);
    }
    Ok(Done::with(&troubles))
}
