//! The system's own programs, as oracles.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Where administrators' programs lie that a user's `PATH` may lack.
const ADMIN_FOLDERS: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// Returns where the program `name` is installed.
#[must_use]
pub fn tool(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(ADMIN_FOLDERS.map(PathBuf::from));
    folders
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
}

/// One call of a program, which must end well.
#[derive(Debug)]
pub struct Tool {
    command: Command,
    name: String,
}

impl Tool {
    /// Returns a call of the program `name`, without arguments yet.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let path = tool(name).unwrap_or_else(|| Path::new(name).to_path_buf());
        let mut command = Command::new(path);
        // Their words are parsed: keep them English.
        command.env("LC_ALL", "C");
        Self {
            command,
            name: name.to_owned(),
        }
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<S: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.command.args(arguments);
        self
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    /// Runs it with `input` on its stdin, and returns what it said on stdout.
    ///
    /// # Panics
    /// Where it can't be started or reports failure: the test's premise is broken.
    pub fn run_with(mut self, input: &str) -> String {
        use std::io::Write;
        use std::process::Stdio;
        let command = self.command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("can't start {}: {e}", self.name));
        if let Some(mut stdin) = child.stdin.take() {
            // A program that ends without reading its input says why itself.
            stdin.write_all(input.as_bytes()).ok();
        }
        let output = child
            .wait_with_output()
            .unwrap_or_else(|e| panic!("can't wait for {}: {e}", self.name));
        self.said(&output)
    }

    /// Runs it and returns what it said on stdout.
    ///
    /// # Panics
    /// As [`Tool::run_with`].
    pub fn run(mut self) -> String {
        let output = self.output();
        self.said(&output)
    }

    /// Runs it and returns its exit code and all it said, whatever the code.
    ///
    /// # Panics
    /// Where it can't be started.
    pub fn outcome(mut self) -> (Option<i32>, String) {
        let output = self.output();
        let both = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&both).into_owned();
        (output.status.code(), said)
    }

    fn output(&mut self) -> Output {
        let output = self.command.output();
        output.unwrap_or_else(|e| panic!("can't start {}: {e}", self.name))
    }

    fn said(&self, output: &Output) -> String {
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "{:?} ended with {}:\n{stdout}{}",
            self.command,
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        stdout
    }
}

#[cfg(test)]
mod tests {
    use super::{Tool, tool};

    #[test]
    fn programs_are_found_and_their_words_returned() {
        assert!(tool("sh").is_some());
        assert_eq!(tool("no-such-program-anywhere"), None);
        assert_eq!(Tool::new("cat").run_with("abc"), "abc");
        let (code, said) = Tool::new("sh")
            .args(["-c", "echo a; echo b >&2; exit 3"])
            .outcome();
        assert_eq!((code, said.as_str()), (Some(3), "a\nb\n"));
    }
}
