//! What a program under test answered.

use std::process::Output;

use serde_json::Value;

/// What a program answered that has ended.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The exit code; -1 where a signal ended it.
    pub code: i32,
    /// What it wrote on stdout.
    pub stdout: String,
    /// What it wrote on stderr.
    pub stderr: String,
}

impl From<Output> for Answer {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// What it was asked to be.
///
/// # Panics
/// All panic where it is not so, with all that was said.
impl Answer {
    /// Asserts the exit code, and returns the answer.
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}\n{}", self.stdout, self.stderr);
        self
    }

    /// Asserts that stderr says all of `words`, and returns the answer.
    pub fn says(self, words: &[&str]) -> Self {
        for word in words {
            assert!(self.stderr.contains(word), "no {word:?}:\n{}", self.stderr);
        }
        self
    }

    /// Returns stdout as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|e| panic!("stdout is no JSON ({e}):\n{}", self.stdout))
    }

    /// Returns the errors among the events on stderr.
    #[must_use]
    pub fn errors(&self) -> Vec<Value> {
        let lines = self.stderr.lines();
        let events = lines.map(|line| {
            serde_json::from_str::<Value>(line).unwrap_or_else(|e| panic!("no JSON ({e}): {line}"))
        });
        events.filter(|event| event["event"] == "error").collect()
    }
}
