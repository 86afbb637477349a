//! The main job on the sample card, for those who have no card at hand.

use std::path::Path;
use std::process::Command;

/// The steps, as one would type them.
const STEPS: [&[&str]; 4] = [
    &["sample", "card.img"],
    &["info", "card.img"],
    &["backup", "card.img", "card.img.zst"],
    &["verify", "card.img.zst", "--against", "card.img"],
];

/// Builds the program and walks through a backup in `target/demo`.
///
/// # Errors
/// Says which step failed.
pub(crate) fn run(root: &Path) -> Result<(), String> {
    let mut build = Command::new(env!("CARGO"));
    build
        .args(["build", "--release", "--package", "cardkeep-cli"])
        .current_dir(root);
    succeed(&mut build, "the build")?;
    let folder = root.join("target/demo");
    if folder.exists() {
        std::fs::remove_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    }
    std::fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let program = root.join("target/release/cardkeep");
    for step in STEPS {
        println!("\n$ cardkeep {}", step.join(" "));
        succeed(
            Command::new(&program).args(step).current_dir(&folder),
            step[0],
        )?;
    }
    println!("\nAll of it is in {}.", folder.display());
    Ok(())
}

fn succeed(command: &mut Command, name: &str) -> Result<(), String> {
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{name} failed: {status}")),
        Err(error) => Err(format!("{name} can't be started: {error}")),
    }
}
