//! Where the project lies.

use std::path::PathBuf;

/// Returns the folder that holds the workspace's `Cargo.toml`.
pub(crate) fn root() -> PathBuf {
    // What cargo says now, not where this was built: clones may share their target folder.
    let told = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let own = told.unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    own.parent().unwrap_or(&own).to_path_buf()
}
