//! A machine of its own, with a real kernel and readers that cards are really pulled from.
//!
//! ```text
//!   test ──▶ Guest ──▶ files in a shared folder ◀──▶ commands, and what they say
//!              └─────▶ Monitor (QMP) ──▶ readers, slots and cards that come and go
//! ```

mod monitor;
mod slot;

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::answer::Answer;
use crate::skip::{skip, skip_unless_tools};
use monitor::Monitor;
pub use slot::Insertion;

/// The id of the built-in SD slot.
const SLOT: &str = "slot";
const MACHINE: &str = "qemu-system-x86_64";
/// Names the folder that holds the machine's `vmlinux` and `initrd.gz`, and the static program.
const FOLDER_VARIABLE: &str = "CARDKEEP_GUEST";
/// Emulated, and on a busy host: what takes this long will never end.
const PATIENCE: Duration = Duration::from_secs(300);
const PAUSE: Duration = Duration::from_millis(50);

/// A virtual machine that lives as long as this value.
#[derive(Debug)]
pub struct Guest {
    machine: Child,
    monitor: Monitor,
    shared: PathBuf,
    last_job: u32,
    folder: TempDir,
}

/// A command that was started in a machine.
#[derive(Clone, Copy, Debug)]
pub struct Job(u32);

/// A machine to be: what is built into it.
#[derive(Debug, Default)]
pub struct Machine {
    disk: Option<PathBuf>,
    card: Option<PathBuf>,
}

impl Machine {
    /// Returns a machine without any disk.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Builds a disk in, `/dev/vda`, with the content of `file`.
    #[must_use]
    pub fn with_disk(mut self, file: &Path) -> Self {
        self.disk = Some(file.to_owned());
        self
    }

    /// Builds an SD slot in, with a card that has the content of `file`, a power of two long.
    #[must_use]
    pub fn with_slot(mut self, file: &Path) -> Self {
        self.card = Some(file.to_owned());
        self
    }

    /// Starts it, and waits until it takes commands; `None` where the test has to return at once, aloud.
    ///
    /// # Panics
    /// Where it does not start.
    #[must_use]
    pub fn boot(&self, test: &str) -> Option<Guest> {
        let Some(made) = std::env::var_os(FOLDER_VARIABLE).map(PathBuf::from) else {
            skip(test, "the virtual machine of `cargo xtask lab`");
            return None;
        };
        if skip_unless_tools(test, &[MACHINE]) {
            return None;
        }
        let folder = tempfile::tempdir().expect("a folder for the machine");
        let shared = folder.path().join("shared");
        fs::create_dir(&shared).expect("a folder to share");
        fs::copy(made.join("cardkeep"), shared.join("cardkeep")).expect("the static program");
        let control = folder.path().join("control");
        let machine = self.command(&made, folder.path()).spawn();
        let machine = machine.expect("the virtual machine starts");
        let deadline = Instant::now() + PATIENCE;
        let monitor = loop {
            match Monitor::connect(&control) {
                Ok(monitor) => break monitor,
                Err(error) if Instant::now() > deadline => panic!("no control: {error}"),
                Err(_) => std::thread::sleep(PAUSE),
            }
        };
        let guest = Guest {
            machine,
            monitor,
            shared,
            last_job: 0,
            folder,
        };
        guest.wait_until("the machine is up", || guest.shared.join("up").exists());
        Some(guest)
    }

    fn command(&self, made: &Path, folder: &Path) -> Command {
        let mut command = Command::new(MACHINE);
        // Without hardware support: where there is some, it is not to be relied upon.
        command.args(["-M", "q35", "-accel", "tcg,thread=multi", "-cpu", "max"]);
        command.args(["-smp", "2", "-m", "512", "-nodefaults", "-no-reboot"]);
        command.args(["-display", "none", "-device", "qemu-xhci,id=usb"]);
        command.arg("-kernel").arg(made.join("vmlinux"));
        command.arg("-initrd").arg(made.join("initrd.gz"));
        command.args(["-append", "console=ttyS0 panic=-1 quiet mitigations=off"]);
        let option =
            |before: &str, path: &Path, after: &str| format!("{before}{}{after}", path.display());
        let console = option("file:", &folder.join("console"), "");
        command.args(["-serial", &console]);
        let control = option("unix:", &folder.join("control"), ",server=on,wait=off");
        command.args(["-qmp", &control]);
        let after = ",mount_tag=host,security_model=none,multidevs=remap";
        command
            .arg("-virtfs")
            .arg(option("local,path=", &folder.join("shared"), after));
        if let Some(disk) = &self.disk {
            let drive = option("if=none,id=disk,format=raw,file=", disk, "");
            command.args(["-drive", &drive, "-device", "virtio-blk-pci,drive=disk"]);
        }
        if let Some(card) = &self.card {
            let before = "driver=throttle,node-name=card-slot,throttle-group=speed-slot,\
                file.driver=raw,file.file.driver=file,file.file.filename=";
            command.args(["-object", "throttle-group,id=speed-slot"]);
            command.args(["-blockdev", &option(before, card, "")]);
            command.args(["-device", "sdhci-pci"]);
            command.args(["-device", &format!("sd-card,id={SLOT},drive=card-slot")]);
        }
        command
    }
}

impl Guest {
    /// Returns the folder that is `/host` in the machine, where its commands run.
    #[must_use]
    pub fn shared(&self) -> &Path {
        &self.shared
    }

    /// Runs a command of the machine's shell to its end.
    ///
    /// # Panics
    /// Where it takes too long or the machine stops.
    pub fn run(&mut self, command: &str) -> Answer {
        let job = self.start(command);
        self.wait(job)
    }

    /// Starts a command of the machine's shell, beside all others.
    ///
    /// # Panics
    /// Where it can't be written down.
    pub fn start(&mut self, command: &str) -> Job {
        self.last_job += 1;
        // The machine looks for the whole one.
        let part = self.shared.join("command.part");
        let whole = self.shared.join(format!("{}.command", self.last_job));
        fs::write(&part, command).expect("a shared folder");
        fs::rename(&part, &whole).expect("a shared folder");
        Job(self.last_job)
    }

    /// Waits for a command's end.
    ///
    /// # Panics
    /// As [`Guest::run`].
    #[must_use]
    pub fn wait(&self, job: Job) -> Answer {
        let code = self.shared.join(format!("{}.code", job.0));
        self.wait_until("a command ends", || code.exists());
        let code = fs::read_to_string(&code).unwrap_or_default();
        Answer {
            code: code.trim().parse().unwrap_or(-1),
            stdout: self.text(job, "out"),
            stderr: self.text(job, "err"),
        }
    }

    /// Tells whether a command has ended.
    #[must_use]
    pub fn has_ended(&self, job: Job) -> bool {
        self.shared.join(format!("{}.code", job.0)).exists()
    }

    /// Returns what a command has written on stderr so far.
    #[must_use]
    pub fn stderr(&self, job: Job) -> String {
        self.text(job, "err")
    }

    /// Waits until something is so; `what` says it.
    ///
    /// # Panics
    /// Where it takes too long.
    pub fn wait_until(&self, what: &str, mut is_so: impl FnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_so() {
            let is_late = Instant::now() > deadline;
            assert!(!is_late, "not so: {what}\n{}", self.console());
            std::thread::sleep(PAUSE);
        }
    }

    /// Returns the signal that ended the emulator, where one did.
    pub fn crash(&mut self) -> Option<i32> {
        // Its monitor falls silent a moment before it has ended.
        std::thread::sleep(Duration::from_secs(2));
        self.machine.try_wait().ok()??.signal()
    }

    fn text(&self, job: Job, extension: &str) -> String {
        let file = self.shared.join(format!("{}.{extension}", job.0));
        let bytes = fs::read(file).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn console(&self) -> String {
        let said = fs::read(self.folder.path().join("console")).unwrap_or_default();
        let start = said.len().saturating_sub(2000);
        String::from_utf8_lossy(&said[start..]).into_owned()
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // Fails where it has stopped, which is as good.
        self.machine.kill().ok();
        self.machine.wait().ok();
    }
}
