//! `cardkeep list` for people.

use anstyle::Style;
use cardkeep_ops::{Device, Listed, Verdict, path_text};

use crate::terminal::outln;
use crate::text::contents;
use crate::units::size;

/// Prints the devices, one paragraph each.
pub(crate) fn print_list(listed: &[Listed], hidden: usize) {
    if listed.is_empty() {
        outln!("No card was found. Put one in, or see `cardkeep list --all`.");
    }
    for (index, one) in listed.iter().enumerate() {
        if index > 0 {
            outln!("");
        }
        print_one(one);
    }
    if hidden > 0 {
        let disks = if hidden == 1 { "disk is" } else { "disks are" };
        outln!("");
        outln!("{hidden} {disks} hidden because this system needs them; --all shows why.");
    }
}

fn print_one(listed: &Listed) {
    let bold = Style::new().bold();
    let device = &listed.device;
    outln!([bold, path_text(&device.path)] "  {}", headline(device));
    if let Some(survey) = &listed.survey {
        outln!("  holds    {}", contents(survey));
    }
    if let Some(unread) = &listed.unread {
        outln!("  holds    unknown: {unread}");
    }
    for mount in &device.mounts {
        let how = if mount.read_only { " (read-only)" } else { "" };
        outln!(
            "  mounted  {} at {}{how}",
            mount.source,
            path_text(&mount.target)
        );
    }
    match &listed.verdict {
        Verdict::Free => outln!("  writing  possible after you confirm it"),
        Verdict::Guarded(guards) => {
            for guard in guards {
                outln!("  guarded  {guard}");
            }
        }
    }
    for note in &device.notes {
        outln!("  note     {note}");
    }
}

/// Size, transport and model: `31.9 GB  USB  Generic STORAGE DEVICE`.
pub(crate) fn headline(device: &Device) -> String {
    let size = if device.size_bytes == 0 {
        "no card".to_owned()
    } else {
        size(device.size_bytes)
    };
    let mut parts = vec![size, device.transport.to_string()];
    let name = [&device.vendor, &device.model].map(|part| part.as_deref().unwrap_or("").trim());
    let name = name.join(" ");
    if !name.trim().is_empty() {
        parts.push(name.trim().to_owned());
    }
    parts.join("  ")
}

/// Returns a device's path and what it is, in a line.
pub(crate) fn headline_of(device: &Device) -> String {
    format!("{}  {}", path_text(&device.path), headline(device))
}
