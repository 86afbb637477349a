//! The reference names every field that `--json` prints.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::desk::Desk;

/// Collects the names of all fields, at any depth.
fn collect(value: &Value, names: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                names.insert(name.clone());
                collect(value, names);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| collect(value, names)),
        _ => {}
    }
}

#[test]
fn the_reference_names_every_field() {
    let desk = Desk::new();
    desk.sample("card.img");
    desk.sample("target.img");
    let calls: &[(i32, &[&str])] = &[
        (
            0,
            &["backup", "card.img", "i.img.zst", "--dry-run", "--shrink"],
        ),
        (0, &["backup", "card.img", "i.img.zst"]),
        (0, &["backup", "card.img", "-"]),
        (0, &["info", "card.img"]),
        (0, &["info", "i.img.zst"]),
        (0, &["verify", "i.img.zst", "--against", "target.img"]),
        (0, &["restore", "i.img.zst", "target.img", "--dry-run"]),
        (0, &["restore", "i.img.zst", "target.img", "--yes"]),
        (0, &["list", "--all"]),
        (2, &["info", "missing.img"]),
    ];
    let mut names = BTreeSet::new();
    for (code, call) in calls {
        let output = desk.command(call).arg("--json").output().unwrap();
        assert_eq!(output.status.code(), Some(*code), "{call:?}");
        let is_image = call.contains(&"-");
        for stream in [&output.stdout, &output.stderr] {
            if is_image && stream == &output.stdout {
                continue;
            }
            for record in serde_json::Deserializer::from_slice(stream).into_iter() {
                collect(&record.unwrap(), &mut names);
            }
        }
    }
    let reference = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference.md");
    let reference = fs::read_to_string(reference).unwrap();
    let words: BTreeSet<&str> = reference.split('`').skip(1).step_by(2).collect();
    let missing: Vec<_> = names
        .iter()
        .filter(|name| !words.contains(name.as_str()))
        .collect();
    assert!(missing.is_empty(), "docs/reference.md lacks {missing:?}");
    assert!(names.len() > 80, "{names:?}");
}
