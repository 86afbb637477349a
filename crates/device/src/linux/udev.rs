//! What udev found out about a device: `/run/udev/data/b<major>:<minor>`.
//!
//! A help where it is there, never needed: containers and small systems run no udev. The lines
//! that matter read `E:KEY=value` (systemd, `device_update_db`).

use std::collections::BTreeMap;
use std::path::Path;

use super::sysfs::clean;

/// Returns the properties of the block device with that number; none where udev knows nothing.
pub(super) fn properties(root: &Path, number: &str) -> BTreeMap<String, String> {
    let file = root.join("run/udev/data").join(format!("b{number}"));
    // Without udev there is no file, and nothing is missed.
    parse(&std::fs::read(file).unwrap_or_default())
}

fn parse(database: &[u8]) -> BTreeMap<String, String> {
    let lines = database.split(|&byte| byte == b'\n');
    let property = |line: &[u8]| {
        let line = line.strip_prefix(b"E:")?;
        let end = line.iter().position(|&byte| byte == b'=')?;
        Some((clean(&line[..end])?, clean(&line[end + 1..])?))
    };
    lines.filter_map(property).collect()
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn properties_are_the_lines_with_an_e() {
        let found = parse(b"S:disk/by-id/x\nI:12\nE:ID_BUS=usb\nE:ID_MODEL=\nE:BAD\nE:A=b=c\n");
        let found: Vec<_> = found
            .iter()
            .map(|(key, value)| (&**key, &**value))
            .collect();
        assert_eq!(found, [("A", "b=c"), ("ID_BUS", "usb")]);
    }
}
