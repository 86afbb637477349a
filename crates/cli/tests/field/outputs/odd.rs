//! Media as long as any can be.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use cardkeep_testkit::{Mount, skip_unless_root};

use crate::desk::Desk;

#[test]
fn a_long_medium_is_let_go_when_asked_to() {
    if skip_unless_root("a_long_medium_is_let_go_when_asked_to") {
        return;
    }
    let desk = Desk::new();
    let mount = Mount::in_memory(64 << 20);
    let path = mount.path().join("long.img");
    File::create(&path).unwrap().set_len(255 << 40).unwrap();
    let mut command = desk.command(&["backup"]);
    command
        .arg(&path)
        .args(["-", "--format=raw", "--json", "--everything"]);
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    // The first line says that it is on its way.
    lines.next().unwrap().unwrap();
    let id = child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-TERM", &id])
            .status()
            .unwrap()
            .success()
    );
    let rest: Vec<String> = lines.map_while(Result::ok).collect();
    assert_eq!(child.wait().unwrap().code(), Some(8), "{rest:?}");
}
