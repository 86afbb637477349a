//! Asking UDisks2 for what the account itself may not do: the system service that desktops mount
//! cards by. Whether it may, polkit decides, by its rules or by asking a person.
//!
//! Main type: [`Udisks`]. What it hands out is held against what was asked for: UDisks2 is trusted
//! to keep others from a device, not to know which one is meant.

mod bus;

use std::fmt;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use cardkeep_block::{BlockError, BlockErrorKind, Monitor, Operation, Phase};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::ioctl::{Getter, Opcode, ioctl, opcode};

use self::bus::{Asked, Event, Failure, Request, converse};
use super::opening::{diskseq_of, expect_sequential};
use super::writing::{device_number, number_of};
use crate::not_permitted::NotPermitted;
use crate::purpose::Purpose;

/// `BLKGETDISKSEQ`, `_IOR(0x12, 128, __u64)`: linux/fs.h, since Linux 5.15.
const BLKGETDISKSEQ: Opcode = opcode::read::<u64>(0x12, 128);

/// How often it is looked whether the user wants to stop.
const TICK: Duration = Duration::from_millis(50);

/// How long to wait for an answer.
#[derive(Clone, Copy, Debug)]
struct Patience {
    /// For one that takes no person: the service may have to be started, which the bus gives 25 s
    /// (dbus-daemon(1), `service_start_timeout`).
    service: Duration,
    /// For one that may take a person who looks for a password.
    person: Duration,
    /// After this long the monitor hears that the program waits. Rules answer in milliseconds.
    silence: Duration,
}

const PATIENCE: Patience = Patience {
    service: Duration::from_secs(30),
    person: Duration::from_secs(300),
    silence: Duration::from_millis(500),
};

/// UDisks2 on a bus.
#[derive(Clone, Debug)]
pub(super) struct Udisks {
    /// The bus's address; `None` for that of the system.
    address: Option<String>,
    patience: Patience,
}

/// Why UDisks2 has not done what it was asked for.
#[derive(Debug)]
pub(super) enum Unserved {
    /// There is no bus, no UDisks2, or it doesn't know the device.
    NobodyToAsk,
    /// It may not.
    NotPermitted(NotPermitted),
    /// It tried in vain. The error's name, without what all have in common, and what it said.
    Failed { name: String, said: String },
}

/// Opens a device through UDisks2; `None` where there is nobody to ask.
pub(crate) fn ask_to_open(
    path: &Path,
    purpose: Purpose,
    monitor: &dyn Monitor,
) -> Option<Result<(File, bool), BlockError>> {
    Udisks::of_system().open(path, purpose, monitor)
}

impl Udisks {
    pub(super) const fn of_system() -> Self {
        Self {
            address: None,
            patience: PATIENCE,
        }
    }

    /// Opens a device, and tells whether past the page cache; `None` where there is nobody to ask.
    fn open(
        &self,
        path: &Path,
        purpose: Purpose,
        monitor: &dyn Monitor,
    ) -> Option<Result<(File, bool), BlockError>> {
        // Looked at before anything is asked: what comes must be what the name means now.
        let number = device_number(path)?;
        let wanted = Wanted {
            number,
            diskseq: diskseq_of(number),
            purpose,
        };
        let request = match purpose {
            Purpose::Read => Request::Open {
                mode: "r",
                flags: libc::O_DIRECT | libc::O_CLOEXEC,
            },
            Purpose::Write => Request::Open {
                mode: "rw",
                flags: libc::O_EXCL | libc::O_DIRECT | libc::O_CLOEXEC,
            },
        };
        let opened = match self.ask(path, request, monitor) {
            Ok(Some(fd)) => checked(fd, wanted),
            Err(Unserved::NobodyToAsk) => return None,
            Ok(None) => Err(NotPermitted::AnotherMode),
            Err(Unserved::NotPermitted(why)) => Err(why),
            Err(Unserved::Failed { said, .. }) => {
                let error = BlockError::new(BlockErrorKind::Io, Operation::Open);
                return Some(Err(error.caused_by(format!("UDisks2 refused: {said}"))));
            }
        };
        Some(opened.map_err(|why| {
            BlockError::new(BlockErrorKind::Permission, Operation::Open).caused_by(why)
        }))
    }

    /// Unmounts the filesystem on the device at `source`. One that is not mounted any more is as
    /// good.
    pub(super) fn unmount(&self, source: &Path, monitor: &dyn Monitor) -> Result<(), Unserved> {
        match self.ask(source, Request::Unmount, monitor) {
            Err(Unserved::Failed { name, .. }) if name == "NotMounted" => Ok(()),
            result => result.map(drop),
        }
    }

    /// Powers off the drive that the device at `path` is part of.
    pub(super) fn power_off(&self, path: &Path, monitor: &dyn Monitor) -> Result<(), Unserved> {
        self.ask(path, Request::PowerOff, monitor).map(drop)
    }

    fn ask(
        &self,
        path: &Path,
        request: Request,
        monitor: &dyn Monitor,
    ) -> Result<Option<OwnedFd>, Unserved> {
        let asked = Asked {
            path: path.to_path_buf(),
            number: device_number(path).ok_or(Unserved::NobodyToAsk)?,
        };
        let address = self.address.clone();
        let (sender, events) = channel();
        // A thread of its own, left behind where it takes too long: whatever hangs, a connection,
        // a service or a person, is waited for here, and no longer than is bearable.
        let talk = move || converse(address.as_deref(), &asked, request, &sender);
        let thread = std::thread::Builder::new().name("udisks".to_owned());
        if thread.spawn(talk).is_err() {
            return Err(Unserved::NobodyToAsk);
        }
        let mut waiting = Waiting::begin(self.patience);
        loop {
            match events.recv_timeout(TICK) {
                Ok(Event::Asked) => waiting.is_for_person = true,
                Ok(Event::Answered(answer)) => return answer.map_err(Unserved::of),
                Err(RecvTimeoutError::Disconnected) => return Err(Unserved::NobodyToAsk),
                Err(RecvTimeoutError::Timeout) => {}
            }
            waiting.go_on(monitor).map_err(Unserved::NotPermitted)?;
        }
    }
}

/// How long has been waited, and for whom.
struct Waiting {
    patience: Patience,
    started: Instant,
    is_for_person: bool,
    is_told: bool,
}

impl Waiting {
    fn begin(patience: Patience) -> Self {
        Self {
            patience,
            started: Instant::now(),
            is_for_person: false,
            is_told: false,
        }
    }

    /// Tells the monitor what the program waits for; fails where it was long enough.
    fn go_on(&mut self, monitor: &dyn Monitor) -> Result<(), NotPermitted> {
        let waited = self.started.elapsed();
        let most = match self.is_for_person {
            true => self.patience.person,
            false => self.patience.service,
        };
        if monitor.is_cancelled() {
            return Err(NotPermitted::Stopped);
        }
        if waited > most {
            let seconds = most.as_secs();
            return Err(NotPermitted::NoAnswer { seconds });
        }
        if self.is_for_person && !self.is_told && waited > self.patience.silence {
            monitor.phase(Phase::Permission, None);
            self.is_told = true;
        }
        Ok(())
    }
}

impl Unserved {
    /// The names are those of udisks/udiskserror.c.
    fn of(failure: Failure) -> Self {
        let own = failure.name.strip_prefix("org.freedesktop.UDisks2.Error.");
        match own {
            Some("NotAuthorized") => Self::NotPermitted(NotPermitted::Forbidden),
            Some("NotAuthorizedCanObtain") => Self::NotPermitted(NotPermitted::NoAgent),
            Some("NotAuthorizedDismissed") => Self::NotPermitted(NotPermitted::Declined),
            own => Self::Failed {
                name: own.unwrap_or(&failure.name).to_owned(),
                said: failure.said,
            },
        }
    }
}

impl fmt::Display for Unserved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NobodyToAsk => write!(f, "only root may, and UDisks2 is not running"),
            Self::NotPermitted(why) => write!(f, "{why}"),
            Self::Failed { said, .. } => f.write_str(said),
        }
    }
}

/// The device that was asked for, and how it is to be open.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    /// The number of its special file.
    number: u64,
    /// The kernel's sequence number of the medium in it, where it has one.
    diskseq: Option<u64>,
    purpose: Purpose,
}

/// Checks that what was handed out is the very device, open as was asked for; tells whether past
/// the page cache.
fn checked(fd: OwnedFd, wanted: Wanted) -> Result<(File, bool), NotPermitted> {
    let Wanted {
        number,
        diskseq,
        purpose,
    } = wanted;
    let file = File::from(fd);
    // What can't be looked at is not known to be it.
    let metadata = file.metadata().map_err(|_| NotPermitted::AnotherDevice)?;
    let is_it = number_of(&metadata) == Some(number)
        && (diskseq.is_none() || diskseq_of_open(&file) == diskseq);
    if !is_it {
        return Err(NotPermitted::AnotherDevice);
    }
    // Nor is it known how it is open.
    let flags = fcntl_getfl(&file).map_err(|_| NotPermitted::AnotherMode)?;
    let mode = flags & OFlags::ACCMODE;
    let is_direct = flags.contains(OFlags::DIRECT);
    match purpose {
        Purpose::Read if mode != OFlags::RDONLY => Err(NotPermitted::AnotherMode),
        Purpose::Read => {
            // Past the cache all the same where the flag was not heard of.
            let is_direct = is_direct || fcntl_setfl(&file, flags | OFlags::DIRECT).is_ok();
            if !is_direct {
                expect_sequential(&file);
            }
            Ok((file, is_direct))
        }
        // Whether it is held exclusively can't be read back. The flag for that went with the other
        // one, and both are heard or neither is.
        Purpose::Write if mode != OFlags::RDWR || !is_direct => Err(NotPermitted::AnotherMode),
        Purpose::Write => Ok((file, true)),
    }
}

/// Returns the kernel's number for this insertion of the medium that `file` has open.
#[allow(unsafe_code)]
fn diskseq_of_open(file: &File) -> Option<u64> {
    // SAFETY: the request reads one u64, as its number says.
    let getter = unsafe { Getter::<BLKGETDISKSEQ, u64>::new() };
    // SAFETY: the descriptor is open while `file` is borrowed, and the request changes nothing.
    // Before Linux 5.15 there is none.
    unsafe { ioctl(file, getter) }.ok()
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixListener;
    use std::path::{Path, PathBuf};
    use std::time::{Duration, Instant};

    use cardkeep_block::{BlockErrorKind, Monitor, Phase, Silent};
    use cardkeep_testkit::{
        FakeUdisks, Handing, Loop, Recorder, Stop, skip_unless_root, skip_unless_tools,
    };
    use tempfile::TempDir;

    use super::{PATIENCE, Patience, Udisks, Unserved};
    use crate::not_permitted::NotPermitted;
    use crate::purpose::Purpose;

    const LEN: usize = 1 << 20;
    const SHORT: Patience = Patience {
        service: Duration::from_millis(300),
        person: Duration::from_millis(600),
        silence: Duration::from_millis(100),
    };
    /// Far less than anybody is waited for, and far more than anything takes here.
    const SOON: Duration = Duration::from_secs(10);

    /// Two cards of one size, so that nothing but their numbers tells them apart.
    struct Cards {
        folder: TempDir,
        one: Loop,
        other: Loop,
    }

    impl Cards {
        /// Returns the cards; `None` where `test` can't be run here.
        fn new(test: &str) -> Option<Self> {
            if skip_unless_root(test) || skip_unless_tools(test, &["losetup", "dbus-daemon"]) {
                return None;
            }
            let folder = TempDir::new().unwrap();
            let attached = |byte: u8| {
                let file = folder.path().join(byte.to_string());
                std::fs::write(&file, vec![byte; LEN]).unwrap();
                Loop::attach(&file)
            };
            Some(Self {
                one: attached(1),
                other: attached(2),
                folder,
            })
        }

        fn one(&self) -> PathBuf {
            self.one.path().to_path_buf()
        }

        fn other(&self) -> PathBuf {
            self.other.path().to_path_buf()
        }
    }

    fn at(address: String, patience: Patience) -> Udisks {
        Udisks {
            address: Some(address),
            patience,
        }
    }

    /// Asks a UDisks2 that answers so for the first card; returns why it is not had.
    fn refused(cards: &Cards, handing: Handing, purpose: Purpose) -> Option<NotPermitted> {
        let fake = FakeUdisks::start(&cards.one(), handing);
        let udisks = at(fake.address(), PATIENCE);
        why(&udisks, &cards.one(), purpose, &Silent)
    }

    fn why(
        udisks: &Udisks,
        card: &Path,
        purpose: Purpose,
        monitor: &dyn Monitor,
    ) -> Option<NotPermitted> {
        let error = udisks.open(card, purpose, monitor).unwrap().err()?;
        assert_eq!(error.kind(), BlockErrorKind::Permission, "{error:?}");
        let cause = std::error::Error::source(&error).unwrap();
        Some(cause.downcast_ref::<NotPermitted>().unwrap().clone())
    }

    #[test]
    fn a_device_is_handed_out_as_it_was_asked_for() {
        let Some(cards) = Cards::new("a_device_is_handed_out_as_it_was_asked_for") else {
            return;
        };
        let fake = FakeUdisks::start(&cards.one(), Handing::Device(cards.one()));
        let udisks = at(fake.address(), PATIENCE);
        for purpose in [Purpose::Read, Purpose::Write] {
            let opened = udisks.open(&cards.one(), purpose, &Silent).unwrap();
            let (file, is_direct) = opened.unwrap();
            assert!(is_direct);
            assert_eq!(
                super::device_number(&cards.one()),
                super::number_of(&file.metadata().unwrap())
            );
        }
        let [direct, cloexec, excl] = [libc::O_DIRECT, libc::O_CLOEXEC, libc::O_EXCL];
        let expected = [
            format!("open r {:#x}", direct | cloexec),
            format!("open rw {:#x}", direct | cloexec | excl),
        ];
        assert_eq!(fake.requests(), expected);
    }

    #[test]
    fn another_device_is_refused() {
        let Some(cards) = Cards::new("another_device_is_refused") else {
            return;
        };
        let file = cards.folder.path().join("1");
        for purpose in [Purpose::Read, Purpose::Write] {
            for handing in [
                Handing::Device(cards.other()),
                Handing::WithoutFlags(cards.other()),
                // Neither a file nor a character device is a card, whatever is in it.
                Handing::WithoutFlags(file.clone()),
                Handing::WithoutFlags("/dev/zero".into()),
            ] {
                let found = refused(&cards, handing.clone(), purpose);
                assert_eq!(found, Some(NotPermitted::AnotherDevice), "{handing:?}");
            }
        }
    }

    #[test]
    fn another_mode_is_refused() {
        let Some(cards) = Cards::new("another_mode_is_refused") else {
            return;
        };
        let another = Some(NotPermitted::AnotherMode);
        let deaf = || Handing::WithoutFlags(cards.one());
        assert_eq!(refused(&cards, deaf(), Purpose::Write), another);
        let writing = Handing::ForWriting(cards.one());
        assert_eq!(refused(&cards, writing, Purpose::Read), another);
        // What is only slower is put right.
        let fake = FakeUdisks::start(&cards.one(), deaf());
        let opened = at(fake.address(), PATIENCE).open(&cards.one(), Purpose::Read, &Silent);
        let (mut file, is_direct) = opened.unwrap().unwrap();
        assert!(is_direct);
        let mut unaligned = [0; 100];
        assert!(file.read(&mut unaligned).is_err(), "it is not direct");
    }

    #[test]
    fn who_says_no_is_understood() {
        let Some(cards) = Cards::new("who_says_no_is_understood") else {
            return;
        };
        for (handing, expected) in [
            (Handing::Forbidden, NotPermitted::Forbidden),
            (Handing::NoAgent, NotPermitted::NoAgent),
            (Handing::Declined, NotPermitted::Declined),
        ] {
            assert_eq!(refused(&cards, handing, Purpose::Read), Some(expected));
        }
        let fake = FakeUdisks::start(&cards.one(), Handing::Busy);
        let opened = at(fake.address(), PATIENCE).open(&cards.one(), Purpose::Write, &Silent);
        let error = opened.unwrap().unwrap_err();
        assert_eq!(error.kind(), BlockErrorKind::Io);
        let said = std::error::Error::source(&error).unwrap().to_string();
        assert!(said.contains("Device or resource busy"), "{said}");
    }

    #[test]
    fn nobody_is_waited_for_without_end() {
        let Some(cards) = Cards::new("nobody_is_waited_for_without_end") else {
            return;
        };
        let fake = FakeUdisks::start(&cards.one(), Handing::Silence);
        let watcher = Recorder::new();
        let started = Instant::now();
        let one = cards.one();
        let found = why(&at(fake.address(), SHORT), &one, Purpose::Read, &watcher);
        let late = Some(NotPermitted::NoAnswer { seconds: 0 });
        assert_eq!(found, late);
        assert!(
            started.elapsed() > SHORT.person,
            "a person was not waited for"
        );
        assert!(started.elapsed() < SOON);
        assert_eq!(watcher.phases(), [Phase::Permission]);

        // A bus that takes the connection and says nothing.
        let socket = cards.folder.path().join("silent");
        let silent = UnixListener::bind(&socket).unwrap();
        let watcher = Recorder::new();
        let address = format!("unix:path={}", socket.display());
        let found = why(&at(address, SHORT), &one, Purpose::Read, &watcher);
        assert_eq!(found, late);
        assert!(started.elapsed() < SOON);
        assert!(watcher.phases().is_empty());
        drop(silent);
    }

    #[test]
    fn who_wants_to_stop_need_not_wait() {
        let Some(cards) = Cards::new("who_wants_to_stop_need_not_wait") else {
            return;
        };
        let fake = FakeUdisks::start(&cards.one(), Handing::Silence);
        let started = Instant::now();
        let watcher = Recorder::stopping(Stop::At(started + Duration::from_millis(200)));
        let one = cards.one();
        let udisks = at(fake.address(), PATIENCE);
        let found = why(&udisks, &one, Purpose::Write, &watcher);
        assert_eq!(found, Some(NotPermitted::Stopped));
        assert!(started.elapsed() < SOON);
    }

    #[test]
    fn where_there_is_nobody_to_ask_it_is_known_at_once() {
        let test = "where_there_is_nobody_to_ask_it_is_known_at_once";
        let Some(cards) = Cards::new(test) else {
            return;
        };
        let started = Instant::now();
        let missing = cards.folder.path().join("missing").display().to_string();
        let bus = FakeUdisks::bus_alone();
        let of_other = FakeUdisks::start(&cards.other(), Handing::Device(cards.other()));
        for address in [
            format!("unix:path={missing}"),
            bus.address(),
            of_other.address(),
        ] {
            let udisks = at(address, PATIENCE);
            let opened = udisks.open(&cards.one(), Purpose::Read, &Silent);
            assert!(opened.is_none(), "{opened:?}");
            let unmounted = udisks.unmount(&cards.one(), &Silent);
            assert!(matches!(unmounted, Err(Unserved::NobodyToAsk)));
        }
        assert!(started.elapsed() < SOON);
    }

    #[test]
    fn a_card_is_unmounted_and_powered_off() {
        let Some(cards) = Cards::new("a_card_is_unmounted_and_powered_off") else {
            return;
        };
        let fake = FakeUdisks::start(&cards.one(), Handing::Silence);
        let udisks = at(fake.address(), PATIENCE);
        udisks.unmount(&cards.one(), &Silent).unwrap();
        udisks.power_off(&cards.one(), &Silent).unwrap();
        assert_eq!(fake.requests(), ["unmount", "power off"]);
    }
}
