//! Opening exactly the file that has a name, and making names durable.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::Path;

/// Opens exactly the file of that name: a link planted in a shared folder must not lead the
/// image of a whole card elsewhere, and a pipe must not be waited for. What it makes is its owner's
/// alone: a card holds password hashes and keys.
pub(crate) fn open_as_named(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
        options.mode(0o600).custom_flags(flags);
    }
    options.open(path)
}

/// Makes a new name in a folder durable.
pub(crate) fn sync_folder(file: &Path) -> io::Result<()> {
    if cfg!(not(unix)) {
        return Ok(());
    }
    let folder = file
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    match File::open(folder.unwrap_or(Path::new(".")))?.sync_all() {
        // Some filesystems (FUSE, network shares) have no such call; the name is theirs to keep.
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::InvalidInput | ErrorKind::Unsupported
            ) =>
        {
            Ok(())
        }
        result => result,
    }
}
