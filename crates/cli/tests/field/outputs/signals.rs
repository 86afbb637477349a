//! Signals that end a run, that ask how far it is, and that mean nothing.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use super::{assert_restored, desk};
use crate::desk::Desk;

/// A restore from a pipe that has got the first half of its image.
struct Half {
    child: Child,
    pipe: ChildStdin,
    rest: Vec<u8>,
    lines: Receiver<String>,
}

impl Half {
    /// Starts it by a shell, which may set how signals are met.
    fn start(desk: &Desk, before: &str) -> Self {
        let script = format!("{before} exec \"$0\" restore - card.img --yes");
        let mut command = Command::new("sh");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_cardkeep")]);
        command.current_dir(desk.folder()).stdout(Stdio::null());
        command.stdin(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (send, lines) = channel();
        let said = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || {
            said.lines()
                .map_while(Result::ok)
                .all(|line| send.send(line).is_ok())
        });
        let mut image = fs::read(desk.path("s.img")).unwrap();
        let rest = image.split_off(image.len() / 2);
        let mut pipe = child.stdin.take().unwrap();
        pipe.write_all(&image).unwrap();
        Self {
            child,
            pipe,
            rest,
            lines,
        }
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill")
            .args(["-s", name, &id])
            .status()
            .unwrap();
        assert!(sent.success(), "{name}");
    }

    /// Feeds the rest, and returns the exit code and what was said since.
    fn finish(mut self) -> (Option<i32>, String) {
        // A run that stopped reads no more.
        drop(self.pipe.write_all(&self.rest));
        drop(self.pipe);
        let said: Vec<String> = self.lines.iter().collect();
        (self.child.wait().unwrap().code(), said.join("\n"))
    }
}

#[test]
fn signals_that_mean_nothing_leave_a_restore_alone() {
    let desk = desk();
    let half = Half::start(&desk, "");
    for name in [
        "USR1", "USR2", "ALRM", "VTALRM", "PROF", "IO", "XFSZ", "STKFLT",
    ] {
        half.signal(name);
    }
    let (code, said) = half.finish();
    assert_eq!(code, Some(0), "{said}");
    assert_restored(&desk);
}

#[test]
fn every_signal_that_ends_a_restore_leaves_what_term_leaves() {
    let desk = desk();
    for name in ["TERM", "INT", "HUP", "QUIT", "XCPU", "PWR"] {
        desk.sh("truncate -s 0 card.img; truncate -s $(stat -c %s s.img) card.img");
        let half = Half::start(&desk, "");
        half.signal(name);
        let (code, said) = half.finish();
        assert_eq!(code, Some(8), "{name}: {said}");
        assert!(said.contains("stopped"), "{name}: {said}");
        let head = &fs::read(desk.path("card.img")).unwrap()[..512];
        assert!(head.iter().all(|&byte| byte == 0), "{name}");
    }
}
