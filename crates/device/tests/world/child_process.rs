//! Signals and sudo, seen from outside: each case runs the test again as a child process.

use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use cardkeep_device::{Overwrite, PartialFile, Signals, effective_user_is_root};

const CHILD: &str = "CARDKEEP_TEST_CHILD";

/// Starts this test program again, to run one test with [`CHILD`] set to `value`.
fn child(test: &str, value: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test]).env(CHILD, value);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Waits until the child has made the file, which tells how far it is.
fn wait_for(path: &std::path::Path) {
    let start = Instant::now();
    while !path.exists() {
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "{}",
            path.display()
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn send(signal: &str, child: &Child) {
    crate::lab::run("kill", &[signal, &child.id().to_string()]);
}

#[test]
fn the_first_interrupt_asks_and_the_second_ends() {
    if let Some(folder) = std::env::var_os(CHILD) {
        let folder = std::path::Path::new(&folder);
        let signals = Signals::catch().unwrap();
        std::fs::write(folder.join("ready"), "").unwrap();
        loop {
            if signals.is_interrupted() {
                std::fs::write(folder.join("asked"), "").unwrap();
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    let test = "child_process::the_first_interrupt_asks_and_the_second_ends";
    for first in ["-INT", "-TERM", "-HUP", "-QUIT"] {
        let folder = tempfile::tempdir().unwrap();
        let mut running = child(test, folder.path().to_str().unwrap())
            .spawn()
            .unwrap();
        wait_for(&folder.path().join("ready"));
        send(first, &running);
        wait_for(&folder.path().join("asked"));
        assert_eq!(running.try_wait().unwrap(), None, "{first} ended it");
        send("-INT", &running);
        let status = running.wait().unwrap();
        assert_eq!(
            (status.code(), status.signal()),
            (Some(130), None),
            "{first}"
        );
    }
}

#[test]
fn under_sudo_the_image_belongs_to_the_user() {
    if let Some(path) = std::env::var_os(CHILD) {
        let path = std::path::Path::new(&path);
        PartialFile::create(path, Overwrite::Refuse)
            .unwrap()
            .finish()
            .unwrap();
        return;
    }
    if !effective_user_is_root() {
        eprintln!("skipped: needs root");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let test = "child_process::under_sudo_the_image_belongs_to_the_user";
    let owner = |name: &str, user: &str, group: &str| {
        let path = folder.path().join(name);
        let mut command = child(test, path.to_str().unwrap());
        let status = command
            .env("SUDO_UID", user)
            .env("SUDO_GID", group)
            .status()
            .unwrap();
        assert!(status.success());
        let metadata = path.metadata().unwrap();
        (metadata.uid(), metadata.gid())
    };
    assert_eq!(owner("theirs.img", "1234", "2345"), (1234, 2345));
    assert_eq!(owner("odd.img", "ann", "-1"), (0, 0));
}
