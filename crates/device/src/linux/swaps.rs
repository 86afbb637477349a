//! The swap table: `/proc/swaps`, as proc_swaps(5) describes it.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use super::mountinfo::unescape;

/// Returns the partitions and files that the system swaps to.
pub(super) fn parse(table: &[u8]) -> Vec<PathBuf> {
    // The first line is the heading.
    let lines = table.split(|&byte| byte == b'\n').skip(1);
    let first_field = |line: &[u8]| {
        let end = line.iter().position(u8::is_ascii_whitespace)?;
        let name = unescape(&line[..end]);
        // A swap file may have been deleted since; its name is of no use then, but its folder is.
        let name = name
            .strip_suffix(b" (deleted)")
            .map_or(name.clone(), <[u8]>::to_vec);
        Some(PathBuf::from(OsString::from_vec(name)))
    };
    lines
        .filter_map(first_field)
        .filter(|path| !path.as_os_str().is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::parse;
    use std::path::PathBuf;

    #[test]
    fn names_are_the_first_column_unescaped() {
        let table = b"Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n\
            /dev/sda2                               partition\t999\t\t0\t\t-2\n\
            /my\\040swap\\040(deleted)               file\t999\t\t0\t\t-3\n";
        assert_eq!(parse(table), ["/dev/sda2", "/my swap"].map(PathBuf::from));
        assert!(parse(b"").is_empty());
    }
}
