//! The machine monitor's line (QMP: QEMU's documentation, "QEMU Machine Protocol Specification").

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

/// A command that takes longer will never be answered.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection to a machine's monitor.
#[derive(Debug)]
pub(super) struct Monitor {
    line: BufReader<UnixStream>,
    /// Events that came while an answer was waited for.
    events: Vec<Value>,
}

impl Monitor {
    pub(super) fn connect(path: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut monitor = Self {
            line: BufReader::new(stream),
            events: Vec::new(),
        };
        monitor.read()?;
        monitor.ask("qmp_capabilities", json!({}));
        Ok(monitor)
    }

    /// Has a command carried out.
    ///
    /// # Panics
    /// Where it is refused or not answered: the test's premise is broken.
    pub(super) fn ask(&mut self, command: &str, arguments: Value) -> Value {
        let words = json!({"execute": command, "arguments": arguments});
        let sent = writeln!(self.line.get_mut(), "{words}");
        sent.unwrap_or_else(|e| panic!("{words}: {e}"));
        loop {
            let mut answer = self.read().unwrap_or_else(|e| panic!("{words}: {e}"));
            if let Some(value) = answer.get_mut("return") {
                return value.take();
            }
            assert!(answer.get("error").is_none(), "{words}: {answer}");
            self.events.push(answer);
        }
    }

    /// Waits for an event that says `value` in its data under `key`, and forgets all before it.
    ///
    /// # Panics
    /// Where it does not come.
    pub(super) fn wait_for(&mut self, event: &str, key: &str, value: &str) {
        let is_it = |said: &Value| said["event"] == event && said["data"][key] == value;
        let mut before = std::mem::take(&mut self.events).into_iter();
        if before.any(|said| is_it(&said)) {
            self.events = before.collect();
            return;
        }
        loop {
            let said = self.read();
            if is_it(&said.unwrap_or_else(|e| panic!("no {event} of {value}: {e}"))) {
                return;
            }
        }
    }

    fn read(&mut self) -> io::Result<Value> {
        let mut line = String::new();
        if self.line.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(serde_json::from_str(&line)?)
    }
}
