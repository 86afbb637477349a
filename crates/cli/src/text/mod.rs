//! What people read on standard output.

mod backup;
mod bar;
mod curve;
mod info;
mod list;
mod restore;
mod verify;

pub(crate) use backup::{print_backup, print_plan};
pub(crate) use info::print_info;
pub(crate) use list::{headline_of, print_list};
pub(crate) use restore::{print_restore, print_restore_plan};
pub(crate) use verify::print_verify;

use cardkeep_ops::Survey;

use crate::units::size;

/// Returns what is on a medium in a line: `Raspberry Pi OS 12 bookworm, host pihole, 5.2 GB used
/// of 29.7 GB`.
pub(crate) fn contents(survey: &Survey) -> String {
    let mut parts = Vec::new();
    if let Some(os) = &survey.identity.os {
        parts.push(os.clone());
    }
    if let Some(hostname) = &survey.identity.hostname {
        parts.push(format!("host {hostname}"));
    }
    if parts.is_empty() {
        let names: Vec<&str> = survey
            .partitions
            .iter()
            .map(|partition| partition.content.name())
            .collect();
        parts.push(match names.as_slice() {
            [] => "no known partition".to_owned(),
            ["unknown"] => format!("{} of unknown data", size(survey.len)),
            names => names.join(" + "),
        });
    }
    let filesystems = survey
        .partitions
        .iter()
        .filter_map(|p| p.content.filesystem());
    let (used, total) = filesystems.fold((0, 0), |(used, total), fs| {
        (used + fs.len.saturating_sub(fs.free_bytes), total + fs.len)
    });
    if total > 0 {
        parts.push(format!("{} used of {}", size(used), size(total)));
    }
    parts.join(", ")
}
