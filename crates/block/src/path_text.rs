//! A path as text: bytes that are no UTF-8 stand in octal, as GNU `ls -b` writes them, so that names
//! which differ look different.

use std::fmt::{self, Write};
use std::path::Path;

/// Shows a path; see [`path_text`].
#[derive(Clone, Copy, Debug)]
pub struct PathText<'a>(&'a Path);

/// Returns `path` for messages: as it is, but for bytes that are no UTF-8, `\377`.
#[must_use]
pub fn path_text(path: &Path) -> PathText<'_> {
    PathText(path)
}

impl fmt::Display for PathText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.as_os_str().as_encoded_bytes().utf8_chunks() {
            chunk.valid().chars().try_for_each(|c| f.write_char(c))?;
            for byte in chunk.invalid() {
                write!(f, "\\{byte:03o}")?;
            }
        }
        Ok(())
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::path_text;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::path::Path;

    #[test]
    fn bytes_that_are_no_utf8_stand_in_octal() {
        let path = Path::new(OsStr::from_bytes(b"a\xffK\xc3\xa4se\xc3"));
        assert_eq!(path_text(path).to_string(), "a\\377Käse\\303");
    }
}
