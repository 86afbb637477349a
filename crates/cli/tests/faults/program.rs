//! The program under test, run as a user runs it, and stopped where it hangs.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read, Seek};
use std::os::unix::fs::FileExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

pub(crate) use cardkeep_testkit::Answer;
use cardkeep_testkit::Gate;
use rustix::process::{Pid, Signal, kill_process};

/// After this long a run hangs.
const PATIENCE: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(5);

/// A run that was started. It is killed when dropped.
pub(crate) struct Running {
    child: Child,
    stdout: File,
    stderr: File,
    started: Instant,
}

impl Running {
    /// Starts `cardkeep` with these arguments and an empty stdin.
    pub(crate) fn start<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Self {
        Self::start_with(arguments, &[])
    }

    /// Starts it as [`Running::start`] does, with more variables in its environment.
    pub(crate) fn start_with<S: AsRef<OsStr>>(
        arguments: impl IntoIterator<Item = S>,
        variables: &[(&str, String)],
    ) -> Self {
        let stdout = tempfile::tempfile().unwrap();
        let stderr = tempfile::tempfile().unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_cardkeep"))
            .args(arguments)
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(stdout.try_clone().unwrap())
            .stderr(stderr.try_clone().unwrap())
            .spawn()
            .expect("the program starts");
        Self {
            child,
            stdout,
            stderr,
            started: Instant::now(),
        }
    }

    /// Sends a signal; answers whether the program still ran.
    pub(crate) fn signal(&mut self, signal: Signal) -> bool {
        if self.child.try_wait().unwrap().is_some() {
            return false;
        }
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).unwrap();
        true
    }

    /// Tells whether it has ended; panics where it hangs.
    pub(crate) fn is_done(&mut self) -> bool {
        self.ended().is_some()
    }

    /// Tells whether it has written these words to standard error.
    pub(crate) fn has_told(&self, words: &str) -> bool {
        // A place of its own to read at: the program writes at the one that it shares.
        let mut bytes = vec![0; self.stderr.metadata().unwrap().len() as usize];
        let count = self.stderr.read_at(&mut bytes, 0).unwrap();
        String::from_utf8_lossy(&bytes[..count]).contains(words)
    }

    /// Sends a signal while a request is held at the gate, or once the run is over, and opens the gate.
    /// Answers whether it was held.
    pub(crate) fn signal_at(&mut self, gate: &Gate, signal: Signal) -> bool {
        let is_held = gate.wait(|| self.is_done());
        self.signal(signal);
        gate.open();
        is_held
    }

    fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.child.try_wait().unwrap();
        let is_late = status.is_none() && self.started.elapsed() > PATIENCE;
        assert!(!is_late, "it hangs:\n{}", text(&mut self.stderr));
        status
    }

    /// Waits for its end.
    pub(crate) fn wait(mut self) -> Answer {
        let status: ExitStatus = loop {
            if let Some(status) = self.ended() {
                break status;
            }
            std::thread::sleep(PAUSE);
        };
        Answer {
            code: status.code().unwrap_or(-1),
            stdout: text(&mut self.stdout),
            stderr: text(&mut self.stderr),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Fails where it has ended, which is as good.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn text(file: &mut File) -> String {
    let mut bytes = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Runs `cardkeep` to its end.
pub(crate) fn cardkeep<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Answer {
    Running::start(arguments).wait()
}

/// Returns the arguments of a restore that asks nothing.
pub(crate) fn restore(
    image: impl AsRef<OsStr>,
    card: impl AsRef<OsStr>,
    options: &[&str],
) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = ["restore", "--quiet", "--yes"].map(OsString::from).into();
    arguments.push(image.as_ref().to_owned());
    arguments.push(card.as_ref().to_owned());
    arguments.extend(options.iter().map(OsString::from));
    arguments
}
