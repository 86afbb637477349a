//! A UDisks2 that hands out what a test says, on a bus of its own.
//!
//! Main type: [`FakeUdisks`]. It answers what cardkeep asks and nothing else, in the words of the
//! real one: org.freedesktop.UDisks2(5).

use std::collections::HashMap;
use std::fs::{File, OpenOptions, Permissions};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use zbus::{DBusError, OwnedObjectPath, OwnedVariant, interface};

use crate::tool::{Tool, tool};

const CARD: &str = "/org/freedesktop/UDisks2/block_devices/card";
const DRIVE: &str = "/org/freedesktop/UDisks2/drives/card";
const MANAGER: &str = "/org/freedesktop/UDisks2/Manager";
const SERVICE: &str = "org.freedesktop.UDisks2";

/// How long the bus may take to be there.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(20);

/// A bus that lets everybody do everything.
const BUS: &str = r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <listen>unix:path=SOCKET</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <allow own="*"/>
    <allow send_destination="*" eavesdrop="true"/>
    <allow receive_sender="*"/>
  </policy>
</busconfig>
"#;

/// What the fake answers where it is asked to open the card.
#[derive(Clone, Debug)]
pub enum Handing {
    /// This device, open as was asked for.
    Device(PathBuf),
    /// This device, open in the right mode but without the flags that were asked for.
    WithoutFlags(PathBuf),
    /// This device, always open for reading and writing.
    ForWriting(PathBuf),
    /// It may not.
    Forbidden,
    /// A person would have to agree, and nothing can ask one.
    NoAgent,
    /// A person was asked and did not agree.
    Declined,
    /// Opening failed.
    Busy,
    /// Nothing, ever.
    Silence,
}

/// A bus with a UDisks2 on it, which ends when dropped.
#[derive(Debug)]
pub struct FakeUdisks {
    daemon: Child,
    folder: TempDir,
    requests: Requests,
    /// Serves for as long as it lives.
    _bus: Option<zbus::Connection>,
}

#[derive(Clone, Debug, Default)]
struct Requests(Arc<Mutex<Vec<String>>>);

impl Requests {
    fn add(&self, request: String) {
        let mut list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        list.push(request);
    }
}

impl FakeUdisks {
    /// Starts a bus and a UDisks2 that knows `card`, a block device. Needs dbus-daemon.
    ///
    /// # Panics
    /// Where that fails: the test's premise is broken.
    #[must_use]
    pub fn start(card: &Path, handing: Handing) -> Self {
        let mut fake = Self::bus_alone();
        let served = serve(&fake.address(), card, handing, &fake.requests);
        fake._bus = Some(served.unwrap_or_else(|e| panic!("the fake can't be served: {e}")));
        fake
    }

    /// Starts a bus on which nobody is.
    ///
    /// # Panics
    /// As [`FakeUdisks::start`].
    #[must_use]
    pub fn bus_alone() -> Self {
        let folder = TempDir::new().unwrap_or_else(|e| panic!("no folder for the bus: {e}"));
        let write = || {
            // Other accounts come here too.
            std::fs::set_permissions(folder.path(), Permissions::from_mode(0o755))?;
            let socket = folder.path().join("bus").display().to_string();
            let config = BUS.replace("SOCKET", &socket);
            std::fs::write(folder.path().join("bus.conf"), config)
        };
        write().unwrap_or_else(|e| panic!("the bus can't be described: {e}"));
        let program = tool("dbus-daemon").unwrap_or_else(|| "dbus-daemon".into());
        let mut option = std::ffi::OsString::from("--config-file=");
        option.push(folder.path().join("bus.conf"));
        let daemon = Command::new(program)
            .args(["--nofork", "--nopidfile"])
            .arg(option)
            .stdin(Stdio::null())
            .spawn()
            .unwrap_or_else(|e| panic!("can't start dbus-daemon: {e}"));
        let fake = Self {
            daemon,
            folder,
            requests: Requests::default(),
            _bus: None,
        };
        let until = Instant::now() + PATIENCE;
        // The socket is there a moment before anybody listens on it.
        while UnixStream::connect(fake.folder.path().join("bus")).is_err() {
            assert!(Instant::now() < until, "the bus does not come up");
            std::thread::sleep(PAUSE);
        }
        fake
    }

    /// Returns the bus's address.
    #[must_use]
    pub fn address(&self) -> String {
        format!("unix:path={}", self.folder.path().join("bus").display())
    }

    /// Returns what was asked for, in order: "open r 0x4000", "unmount", "power off".
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        let list = self.requests.0.lock();
        list.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for FakeUdisks {
    fn drop(&mut self) {
        // Fails where it has ended, which is as good.
        self.daemon.kill().ok();
        self.daemon.wait().ok();
    }
}

fn serve(
    address: &str,
    card: &Path,
    handing: Handing,
    requests: &Requests,
) -> zbus::Result<zbus::Connection> {
    let number = std::fs::metadata(card).map_err(|e| zbus::Error::Failure(e.to_string()))?;
    let block = Block {
        number: number.rdev(),
        handing,
        requests: requests.clone(),
    };
    let manager = Manager {
        card: card.to_path_buf(),
    };
    let filesystem = Filesystem {
        card: card.to_path_buf(),
        requests: requests.clone(),
    };
    zbus::block_on(async {
        zbus::connection::Builder::address(address)
            .serve_at(MANAGER, manager)
            .serve_at(CARD, block)
            .serve_at(CARD, filesystem)
            .serve_at(DRIVE, Drive(requests.clone()))
            .name(SERVICE)
            .build()
            .await
    })
}

/// The errors of the real one: udisks/udiskserror.c.
#[derive(Debug, DBusError)]
#[zbus(prefix = "org.freedesktop.UDisks2.Error")]
enum UdisksError {
    #[zbus(error)]
    ZBus(zbus::Error),
    NotAuthorized(String),
    NotAuthorizedCanObtain(String),
    NotAuthorizedDismissed(String),
    Failed(String),
    NotMounted(String),
}

type Options = HashMap<String, OwnedVariant>;

struct Manager {
    card: PathBuf,
}

#[interface(name = "org.freedesktop.UDisks2.Manager")]
impl Manager {
    async fn resolve_device(&self, devspec: Options, _options: Options) -> Vec<OwnedObjectPath> {
        let path = devspec.get("path").and_then(|path| {
            let path: &str = path.try_into().ok()?;
            Some(path == self.card.to_str()?)
        });
        let known = path == Some(true);
        let card = OwnedObjectPath::try_from(CARD).ok();
        card.filter(|_| known).into_iter().collect()
    }
}

struct Block {
    number: u64,
    handing: Handing,
    requests: Requests,
}

#[interface(name = "org.freedesktop.UDisks2.Block")]
impl Block {
    #[zbus(property)]
    fn device_number(&self) -> u64 {
        self.number
    }

    #[zbus(property)]
    fn drive(&self) -> zbus::fdo::Result<OwnedObjectPath> {
        OwnedObjectPath::try_from(DRIVE).map_err(|e| zbus::fdo::Error::Failed(e.to_string()))
    }

    async fn open_device(
        &self,
        mode: String,
        options: Options,
    ) -> Result<zbus::OwnedFd, UdisksError> {
        let flags = options.get("flags").and_then(|flags| flags.try_into().ok());
        let flags: i32 = flags.unwrap_or(0);
        self.requests.add(format!("open {mode} {flags:#x}"));
        let word = |words: &str| words.to_owned();
        match &self.handing {
            Handing::Device(path) => opened(path, &mode, flags),
            Handing::WithoutFlags(path) => opened(path, &mode, 0),
            Handing::ForWriting(path) => opened(path, "rw", flags),
            Handing::Forbidden => Err(UdisksError::NotAuthorized(word("Not authorized"))),
            Handing::NoAgent => Err(UdisksError::NotAuthorizedCanObtain(word("Not authorized"))),
            Handing::Declined => Err(UdisksError::NotAuthorizedDismissed(word("Dismissed"))),
            Handing::Busy => Err(UdisksError::Failed(word(
                "Error opening device: Device or resource busy",
            ))),
            Handing::Silence => std::future::pending().await,
        }
    }
}

fn opened(path: &Path, mode: &str, flags: i32) -> Result<zbus::OwnedFd, UdisksError> {
    let file: Result<File, _> = OpenOptions::new()
        .read(true)
        .write(mode == "rw")
        .custom_flags(flags)
        .open(path);
    let file = file.map_err(|e| UdisksError::Failed(format!("Error opening device: {e}")))?;
    Ok(OwnedFd::from(file).into())
}

struct Filesystem {
    card: PathBuf,
    requests: Requests,
}

#[interface(name = "org.freedesktop.UDisks2.Filesystem")]
impl Filesystem {
    async fn unmount(&self, _options: Options) -> Result<(), UdisksError> {
        self.requests.add("unmount".to_owned());
        match Tool::new("umount").arg(&self.card).outcome() {
            (Some(0), _) => Ok(()),
            (_, said) => Err(UdisksError::NotMounted(said)),
        }
    }
}

struct Drive(Requests);

#[interface(name = "org.freedesktop.UDisks2.Drive")]
impl Drive {
    async fn power_off(&self, _options: Options) {
        self.0.add("power off".to_owned());
    }
}
