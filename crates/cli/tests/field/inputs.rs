//! What images come as: streams that don't fit, containers that can't be decoded, checksums beside them.

use std::fs;

use cardkeep_testkit::Answer;

use crate::desk::Desk;

mod pipes;
mod streams;
mod sums;

/// What is on the target before.
const OLD: u8 = 0xa5;

/// Returns a folder with a small card in it, and a target that was used for something else.
fn desk() -> Desk {
    let desk = Desk::new();
    desk.small_card();
    renew(&desk);
    desk
}

fn renew(desk: &Desk) {
    desk.filled("target", 32 << 20, OLD);
}

fn is_untouched(desk: &Desk) -> bool {
    let found = fs::read(desk.path("target")).unwrap();
    found.iter().all(|&byte| byte == OLD)
}

/// Restores from a file, or what it holds from standard input.
fn restore(desk: &Desk, name: &str, is_piped: bool, options: &[&str]) -> Answer {
    let from = if is_piped { "-" } else { name };
    let words = [&["restore", from, "target", "--yes"], options].concat();
    let mut command = desk.command(&words);
    if is_piped {
        command.stdin(fs::File::open(desk.path(name)).unwrap());
    }
    command.output().unwrap().into()
}

/// What a restore gets its content from.
#[derive(Clone, Copy)]
struct Content<'a> {
    name: &'a str,
    /// Whether the file comes through a pipe.
    is_piped: bool,
}

impl<'a> Content<'a> {
    const fn file(name: &'a str) -> Self {
        let is_piped = false;
        Self { name, is_piped }
    }

    const fn pipe(name: &'a str) -> Self {
        let is_piped = true;
        Self { name, is_piped }
    }
}

/// Asserts that a restore ends with this code and says this.
fn check_refused(desk: &Desk, from: Content<'_>, code: i32, expected: &[&str]) {
    let Content { name, is_piped } = from;
    let answer = restore(desk, name, is_piped, &[]);
    let said = &answer.stderr;
    assert_eq!(answer.code, code, "{name}: {said}");
    for expected in expected {
        assert!(said.contains(expected), "{name}: {expected}: {said}");
    }
}
