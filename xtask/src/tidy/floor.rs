//! The floors: which crate may depend on which.
//!
//! ```text
//!   5 doors      cli tui web          3 engines   copy resize repo
//!   4 use-cases  ops                  2 maps      survey
//!                                     1 formats   ptable image ext4 fat     world  device
//!                                                 squashfs erofs
//!                                     0 ground    block
//! ```
//!
//! A crate depends on floors below its own, never on its neighbours; a door on the use-cases alone.
//! `device` knows the ground alone, and only engines and use-cases know it. Tests may use `testkit`, nothing else may.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::finding::Finding;

const RULE: &str = "floor";
const PREFIX: &str = "cardkeep-";

/// Where a crate stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Floor {
    /// A numbered floor.
    Level(u8),
    /// The world: discovery, locks, system calls.
    World,
    /// For tests only.
    Tool,
}

const TABLE: [(&str, Floor); 17] = [
    ("block", Floor::Level(0)),
    ("ptable", Floor::Level(1)),
    ("ext4", Floor::Level(1)),
    ("fat", Floor::Level(1)),
    ("squashfs", Floor::Level(1)),
    ("erofs", Floor::Level(1)),
    ("image", Floor::Level(1)),
    ("device", Floor::World),
    ("survey", Floor::Level(2)),
    ("copy", Floor::Level(3)),
    ("resize", Floor::Level(3)),
    ("repo", Floor::Level(3)),
    ("ops", Floor::Level(4)),
    ("cli", Floor::Level(5)),
    ("tui", Floor::Level(5)),
    ("web", Floor::Level(5)),
    ("testkit", Floor::Tool),
];

const DOOR: Floor = Floor::Level(5);
const USE_CASES: Floor = Floor::Level(4);

/// Returns the floor of a crate by its noun; `None` for what stands outside the house.
pub(crate) fn of(noun: &str) -> Option<Floor> {
    TABLE
        .iter()
        .find(|(name, _)| *name == noun)
        .map(|(_, floor)| *floor)
}

impl Floor {
    /// Tells whether printing and exiting is none of its business.
    pub(crate) fn is_below_doors(self) -> bool {
        match self {
            Self::Level(level) => level < 5,
            Self::World => true,
            Self::Tool => false,
        }
    }

    /// Tells whether it must see the world through `ReadAt` alone.
    pub(crate) fn is_pure(self) -> bool {
        matches!(self, Self::Level(0 | 1))
    }

    fn may_use(self, other: Self) -> bool {
        match (self, other) {
            (Self::Level(own), Self::Level(below)) => below < own,
            (Self::Level(own), Self::World) => own >= 3,
            (Self::World | Self::Tool, other) => other == Self::Level(0),
            (_, Self::Tool) => false,
        }
    }
}

/// Checks the dependencies of every crate of the workspace.
///
/// # Errors
/// Says that cargo can't describe the workspace.
pub(crate) fn check(root: &Path) -> Result<Vec<Finding>, String> {
    let metadata = metadata(root)?;
    let mut findings = Vec::new();
    for package in array(&metadata["packages"]) {
        let manifest = text(&package["manifest_path"]);
        let path = Path::new(manifest)
            .strip_prefix(root)
            .unwrap_or(Path::new(manifest));
        let path = path.to_string_lossy();
        let content = std::fs::read_to_string(manifest).unwrap_or_default();
        for message in check_package(package) {
            let (dependency, message) = message;
            let line = content
                .lines()
                .position(|line| line.starts_with(&dependency));
            findings.push(Finding::error(
                RULE,
                &path,
                line.map_or(1, |line| line + 1),
                message,
            ));
        }
    }
    Ok(findings)
}

/// Returns the offending dependency's name and what is wrong with it.
fn check_package(package: &Value) -> Vec<(String, String)> {
    let name = text(&package["name"]);
    let Some(noun) = name.strip_prefix(PREFIX) else {
        return Vec::new();
    };
    let Some(own) = of(noun) else {
        let message =
            format!("{name} stands on no floor: give it one in the table of tidy/floor.rs");
        return vec![("name".to_owned(), message)];
    };
    let mut wrong = Vec::new();
    for dependency in array(&package["dependencies"]) {
        let used = text(&dependency["name"]);
        let Some(other) = used.strip_prefix(PREFIX).and_then(of) else {
            continue;
        };
        let is_for_tests = dependency["kind"] == "dev";
        let may_use = match own {
            DOOR if !is_for_tests => other == USE_CASES,
            _ => own.may_use(other) || is_for_tests && other == Floor::Tool,
        };
        if !may_use {
            let message = format!("{name} ({own:?}) must not depend on {used} ({other:?})");
            wrong.push((used.to_owned(), message));
        }
    }
    wrong
}

fn metadata(root: &Path) -> Result<Value, String> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output = Command::new(cargo)
        .args([
            "metadata",
            "--no-deps",
            "--format-version",
            "1",
            "--offline",
        ])
        .current_dir(root)
        .output()
        .map_err(|e| format!("can't run cargo metadata: {e}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("cargo metadata failed: {said}"));
    }
    serde_json::from_slice(&output.stdout).map_err(|e| format!("cargo metadata is no JSON: {e}"))
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::check_package;
    use serde_json::json;

    fn offenders(name: &str, used: &str, kind: Option<&str>) -> usize {
        let dependency = json!({"name": used, "kind": kind});
        check_package(&json!({"name": name, "dependencies": [dependency]})).len()
    }

    #[test]
    fn dependencies_point_down() {
        assert_eq!(offenders("cardkeep-ops", "cardkeep-survey", None), 0);
        assert_eq!(offenders("cardkeep-copy", "cardkeep-device", None), 0);
        assert_eq!(offenders("cardkeep-survey", "cardkeep-ops", None), 1);
        assert_eq!(
            offenders("cardkeep-ext4", "cardkeep-fat", None),
            1,
            "neighbours"
        );
        assert_eq!(offenders("cardkeep-device", "cardkeep-ptable", None), 1);
        assert_eq!(offenders("cardkeep-survey", "cardkeep-device", None), 1);
    }

    #[test]
    fn a_door_opens_on_the_use_cases_alone() {
        assert_eq!(offenders("cardkeep-cli", "cardkeep-ops", None), 0);
        assert_eq!(offenders("cardkeep-cli", "cardkeep-copy", None), 1);
        assert_eq!(offenders("cardkeep-cli", "cardkeep-block", Some("dev")), 0);
    }

    #[test]
    fn testkit_is_for_tests() {
        assert_eq!(
            offenders("cardkeep-ext4", "cardkeep-testkit", Some("dev")),
            0
        );
        assert_eq!(offenders("cardkeep-ext4", "cardkeep-testkit", None), 1);
    }

    #[test]
    fn a_crate_without_a_floor_is_found() {
        assert_eq!(offenders("cardkeep-attic", "serde", None), 1);
    }
}
