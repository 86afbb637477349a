//! The main job on the sample card, for those who have no card at hand: there and back.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The file that stands in for the card that is restored to.
const NEW_CARD: &str = "new-card.img";
/// Its size in bytes: a card is seldom as long as the one before.
const NEW_CARD_BYTES: u64 = 160 << 20;

/// The steps before there is a new card, as one would type them.
const STEPS_THERE: [&[&str]; 4] = [
    &["sample", "card.img"],
    &["info", "card.img"],
    &["backup", "card.img", "card.img.zst"],
    &["verify", "card.img.zst", "--against", "card.img"],
];

/// The steps after that.
const STEPS_BACK: [&[&str]; 2] = [
    &["restore", "card.img.zst", NEW_CARD, "--yes"],
    &["verify", "card.img.zst", "--against", NEW_CARD],
];

/// Builds the program and walks through a backup and a restore in `target/demo`.
///
/// # Errors
/// Says which step failed.
pub(crate) fn run(root: &Path) -> Result<(), String> {
    let mut build = Command::new(env!("CARGO"));
    // The profile of the tests: whoever runs these next has built most of them then.
    build
        .args(["build", "--package", "cardkeep-cli"])
        .current_dir(root);
    succeed(&mut build, "the build")?;
    let target = target_folder(root);
    let folder = target.join("demo");
    if folder.exists() {
        std::fs::remove_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    }
    std::fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let program = target.join("debug/cardkeep");
    walk(&program, &folder, &STEPS_THERE)?;
    println!("\n$ truncate --size {NEW_CARD_BYTES} {NEW_CARD}");
    let new_card = folder.join(NEW_CARD);
    std::fs::File::create_new(&new_card)
        .and_then(|file| file.set_len(NEW_CARD_BYTES))
        .map_err(|e| format!("{}: {e}", new_card.display()))?;
    walk(&program, &folder, &STEPS_BACK)?;
    println!("\nAll of it is in {}.", folder.display());
    Ok(())
}

/// Returns the folder that cargo builds into.
pub(crate) fn target_folder(root: &Path) -> PathBuf {
    let other = std::env::var_os("CARGO_TARGET_DIR");
    // A relative one counts from where cargo builds.
    root.join(other.unwrap_or_else(|| "target".into()))
}

fn walk(program: &Path, folder: &Path, steps: &[&[&str]]) -> Result<(), String> {
    for step in steps {
        println!("\n$ cardkeep {}", step.join(" "));
        succeed(
            Command::new(program).args(*step).current_dir(folder),
            step[0],
        )?;
    }
    Ok(())
}

/// Runs a command called `name`.
///
/// # Errors
/// Says that it failed.
pub(crate) fn succeed(command: &mut Command, name: &str) -> Result<(), String> {
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{name} failed: {status}")),
        Err(error) => Err(format!("{name} can't be started: {error}")),
    }
}
