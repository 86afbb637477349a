//! Two cards, an image, and the program run by somebody who may not open the cards.

use std::ffi::OsStr;
use std::fs::{File, Permissions};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub(crate) use cardkeep_testkit::Answer;
use cardkeep_testkit::{Loop, Random, skip_unless_root, skip_unless_tools};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// The account of nobody, and its group.
const NOBODY: u32 = 65_534;
const LEN: usize = 16 << 20;
/// After this long a run hangs.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(10);

/// Which of the two cards.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Which {
    /// The one that the program is told of.
    Card,
    /// One as large, which it is not told of.
    Other,
}

/// The cards, the image, and a program that nobody may run too.
pub(crate) struct Scene {
    card: Loop,
    other: Loop,
    image: Vec<u8>,
    folder: TempDir,
}

impl Scene {
    /// Returns the scene; `None` where `test` can't be run here.
    pub(crate) fn new(test: &str) -> Option<Self> {
        if skip_unless_root(test) || skip_unless_tools(test, &["losetup", "dbus-daemon"]) {
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).unwrap();
        let mut random = Random::new(7);
        let mut bytes = || {
            let mut bytes = vec![0; LEN];
            random.fill(&mut bytes);
            bytes
        };
        let attached = |name: &str, bytes: Vec<u8>| {
            let file = folder.path().join(name);
            std::fs::write(&file, bytes).unwrap();
            Loop::attach(&file)
        };
        let card = attached("card", bytes());
        let other = attached("other", bytes());
        let mut image = bytes();
        add_table(&mut image);
        std::fs::write(folder.path().join("image.img"), &image).unwrap();
        // Where it was built nobody else may go.
        let program = folder.path().join("cardkeep");
        std::fs::copy(env!("CARGO_BIN_EXE_cardkeep"), program).unwrap();
        Some(Self {
            card,
            other,
            image,
            folder,
        })
    }

    /// Returns the path of the card that the program is told of.
    pub(crate) fn card(&self) -> &Path {
        self.card.path()
    }

    /// Returns the same as text.
    pub(crate) fn card_name(&self) -> &str {
        self.card.path().to_str().unwrap()
    }

    /// Returns the path of the other card.
    pub(crate) fn other(&self) -> &Path {
        self.other.path()
    }

    /// Returns the path of a file in the scene's folder.
    pub(crate) fn beside(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// Returns the path of the image.
    pub(crate) fn image(&self) -> String {
        self.beside("image.img")
    }

    /// Returns what is in the image.
    pub(crate) fn image_bytes(&self) -> &[u8] {
        &self.image
    }

    /// Returns what is on a card, below every cache of the device.
    pub(crate) fn bytes(&self, which: Which) -> Vec<u8> {
        let file: PathBuf = match which {
            Which::Card => self.folder.path().join("card"),
            Which::Other => self.folder.path().join("other"),
        };
        std::fs::read(file).unwrap()
    }

    /// Returns how much was read from a card's device.
    pub(crate) fn bytes_read(&self, which: Which) -> u64 {
        let device = match which {
            Which::Card => &self.card,
            Which::Other => &self.other,
        };
        device.bytes_read().unwrap()
    }

    /// Runs the program as nobody, with a system bus at `address`.
    pub(crate) fn run<S: AsRef<OsStr>>(&self, address: &str, arguments: &[S]) -> Answer {
        self.start(address, arguments).wait()
    }

    /// Runs it, and sends it SIGINT once it has said `word`.
    pub(crate) fn run_and_stop<S: AsRef<OsStr>>(
        &self,
        address: &str,
        arguments: &[S],
        word: &str,
    ) -> Answer {
        let mut running = self.start(address, arguments);
        while !text(&running.stderr).contains(word) {
            running.expect_in_time();
            std::thread::sleep(PAUSE);
        }
        kill_process(Pid::from_child(&running.child), Signal::INT).unwrap();
        running.wait()
    }

    fn start<S: AsRef<OsStr>>(&self, address: &str, arguments: &[S]) -> Running {
        let stdout = tempfile::tempfile().unwrap();
        let stderr = tempfile::tempfile().unwrap();
        let child = Command::new(self.folder.path().join("cardkeep"))
            .args(arguments)
            .env("DBUS_SYSTEM_BUS_ADDRESS", address)
            .env("HOME", self.folder.path())
            .uid(NOBODY)
            .gid(NOBODY)
            .stdin(Stdio::null())
            .stdout(stdout.try_clone().unwrap())
            .stderr(stderr.try_clone().unwrap())
            .spawn()
            .expect("the program starts");
        Running {
            child,
            stdout,
            stderr,
            started: Instant::now(),
        }
    }
}

/// A run that was started.
struct Running {
    child: Child,
    stdout: File,
    stderr: File,
    started: Instant,
}

impl Running {
    fn expect_in_time(&mut self) {
        if self.started.elapsed() > PATIENCE {
            // Fails where it has ended, which is as good.
            self.child.kill().ok();
            panic!("it hangs:\n{}", text(&self.stderr));
        }
    }

    fn wait(mut self) -> Answer {
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            self.expect_in_time();
            std::thread::sleep(PAUSE);
        };
        Answer {
            code: status.code().unwrap_or(-1),
            stdout: text(&self.stdout),
            stderr: text(&self.stderr),
        }
    }
}

/// Returns all of a file without moving the place in it, at which a running program writes on.
fn text(file: &File) -> String {
    let mut bytes = vec![0; file.metadata().unwrap().len() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Makes noise look like a disk: an MBR with one partition, which reaches from the second sector to the end
/// (UEFI specification 2.10, section 5.2.1).
fn add_table(disk: &mut [u8]) {
    let sectors = u32::try_from(disk.len() / 512 - 1).unwrap();
    disk[440..510].fill(0);
    disk[446 + 4] = 0x83;
    disk[446 + 8..446 + 12].copy_from_slice(&1u32.to_le_bytes());
    disk[446 + 12..446 + 16].copy_from_slice(&sectors.to_le_bytes());
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
}
