//! `cardkeep list`.

use cardkeep_ops::report::ListedDevices;
use cardkeep_ops::{Listed, OpError, list, machine};

use crate::args::ListArgs;
use crate::commands::setting;
use crate::done::Done;
use crate::progress::Progress;
use crate::{json, text};

pub(crate) fn run(args: &ListArgs) -> Result<Done, OpError> {
    let progress = Progress::new(args.output, Some(setting::signals()?));
    let all = list(&*machine(), &progress)?;
    progress.finish();
    let hidden = all.iter().filter(|listed| listed.is_system()).count();
    let shown: Vec<Listed> = all
        .into_iter()
        .filter(|listed| args.all || !listed.is_system())
        .collect();
    if args.output.json {
        json::print("list", ListedDevices::from(&*shown));
    } else {
        text::print_list(&shown, if args.all { 0 } else { hidden });
    }
    // What could not be learnt is part of the list: it is no failure of listing.
    Ok(Done::Well)
}
