//! The laboratory: a machine of its own for the program, whose cards are really pulled out.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::demo::{succeed, target_folder};

/// What the program is built for: a C library within it asks for the target to be named.
const TARGET: &str = "x86_64-unknown-linux-gnu";
/// Names the machine's folder to the tests.
const FOLDER_VARIABLE: &str = "CARDKEEP_GUEST";

/// Makes the machine, and runs the tests that need it.
///
/// # Errors
/// Says which step failed.
pub(crate) fn run(root: &Path) -> Result<(), String> {
    let made = make(root)?;
    let mut tests = Command::new(env!("CARGO"));
    tests
        .args([
            "test",
            "--workspace",
            "--test",
            "guest",
            "--",
            "--test-threads",
            "2",
        ])
        .env(FOLDER_VARIABLE, made)
        .current_dir(root);
    succeed(&mut tests, "the laboratory")
}

/// Makes the machine with the static program in it, and returns its folder.
///
/// # Errors
/// As [`run`].
pub(crate) fn make(root: &Path) -> Result<PathBuf, String> {
    let target = target_folder(root);
    let (built, made) = (target.join("static"), target.join("lab/guest"));
    let mut build = Command::new(env!("CARGO"));
    build
        .args([
            "build",
            "--release",
            "--package",
            "cardkeep-cli",
            "--target",
            TARGET,
        ])
        .arg("--target-dir")
        .arg(&built)
        .env("RUSTFLAGS", "-C target-feature=+crt-static")
        // Optimizing it as a whole takes longer than all that it runs here.
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")
        .current_dir(root);
    succeed(&mut build, "the build of the static program")?;
    succeed(
        Command::new(root.join("lab/guest.sh")).arg(&made),
        "lab/guest.sh",
    )?;
    let program = built.join(TARGET).join("release/cardkeep");
    std::fs::copy(&program, made.join("cardkeep"))
        .map_err(|e| format!("{}: {e}", program.display()))?;
    Ok(made)
}
