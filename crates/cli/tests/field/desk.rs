//! A folder to work in, and the program run in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use cardkeep_testkit::{Answer, Tool};
use tempfile::TempDir;

/// Makes a card of 24 MiB with FAT and ext4: `card.img`.
const SMALL_CARD: &str = "truncate -s 24M card.img
printf 'label: dos\\nstart=2048, size=16384, type=c\\nstart=18432, type=83\\n' | sfdisk -q card.img
mkfs.vfat -n BOOT --offset 2048 card.img 8192 >/dev/null 2>&1
mkdir -p tree/etc; echo pi > tree/etc/hostname; head -c 2000000 /dev/urandom > tree/data
mke2fs -q -t ext4 -d tree -E offset=9437184 card.img 15360k
rm -r tree";

/// A folder of its own for one test.
pub(crate) struct Desk {
    folder: TempDir,
}

impl Desk {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Returns a call of the program in this folder, with an empty standard input.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cardkeep"));
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .stdin(Stdio::null());
        command
    }

    /// Runs the program.
    pub(crate) fn run(&self, arguments: &[&str]) -> Answer {
        let output = self.command(arguments).output();
        output.expect("the program starts").into()
    }

    /// Runs the program, and asserts its exit code.
    pub(crate) fn expect(&self, code: i32, arguments: &[&str]) -> Answer {
        let answer = self.run(arguments);
        let Answer { stdout, stderr, .. } = &answer;
        assert_eq!(answer.code, code, "{arguments:?}\n{stdout}{stderr}");
        answer
    }

    /// Runs a script of the shell in this folder, which must end well, and returns what it printed.
    pub(crate) fn sh(&self, script: &str) -> String {
        let script = format!("set -eu; PATH=$PATH:/usr/sbin:/sbin; cd \"$1\"\n{script}");
        Tool::new("bash")
            .args(["-c", &script, "bash"])
            .arg(self.folder.path())
            .run()
    }

    /// Writes the built-in sample card to `name`.
    pub(crate) fn sample(&self, name: &str) -> PathBuf {
        self.expect(0, &["sample", name]);
        self.path(name)
    }

    /// Makes `card.img`, 24 MiB with FAT and ext4.
    pub(crate) fn small_card(&self) {
        self.sh(SMALL_CARD);
    }

    /// Makes a file of `len` bytes, all of them `byte`.
    pub(crate) fn filled(&self, name: &str, len: u64, byte: u8) -> PathBuf {
        let path = self.path(name);
        let file = fs::File::create(&path).unwrap();
        let mut content = std::io::Read::take(std::io::repeat(byte), len);
        std::io::copy(&mut content, &mut &file).unwrap();
        path
    }
}
