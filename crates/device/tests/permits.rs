//! Permits for devices: given for what was approved, refused for everything that changed or is
//! needed.

#![expect(clippy::unwrap_used, reason = "a test that can't be set up has failed")]

use std::path::{Path, PathBuf};

use cardkeep_block::{AllocationMap, BlockError, BlockErrorKind, Extent, Operation, Silent, State};
use cardkeep_device::{
    Device, DevicePartition, DeviceSink, FileId, Guard, Machine, Mount, Refusal, Transport,
    UnmountError, Use, WritePermit,
};

const LEN: u64 = 32_000_000_000;

/// A machine with one device, and one that files lie on.
#[derive(Default)]
struct OneDevice {
    device: Option<Device>,
    holding: Vec<String>,
    is_silent: bool,
}

impl Machine for OneDevice {
    fn devices(&self) -> Result<Vec<Device>, BlockError> {
        match self.is_silent {
            true => Err(BlockError::new(BlockErrorKind::Io, Operation::Open)),
            false => Ok(self.device.clone().into_iter().collect()),
        }
    }

    fn device_of_path(&self, path: &Path) -> Result<Option<Device>, BlockError> {
        let named = |device: &&Device| device.path == path;
        Ok(self.device.as_ref().filter(named).cloned())
    }

    fn device_holding(&self, _: &Path) -> Result<Option<String>, BlockError> {
        Ok(self.holding.first().cloned())
    }

    fn devices_holding(&self, _: &Path) -> Result<Vec<String>, BlockError> {
        Ok(self.holding.clone())
    }

    fn unmount(&self, device: &Device) -> Result<(), UnmountError> {
        Err(UnmountError::new(&device.path, "not asked for", "none"))
    }
}

fn card() -> Device {
    Device {
        path: "/dev/no-such-card".into(),
        name: "sdx".to_owned(),
        size_bytes: LEN,
        sector_bytes: 512,
        model: Some("STORAGE DEVICE".to_owned()),
        serial: Some("1234".to_owned()),
        card_id: Some("ab".to_owned()),
        diskseq: Some(9),
        transport: Transport::Usb,
        removable: true,
        media_present: true,
        ..Device::default()
    }
}

fn machine(device: Device) -> OneDevice {
    OneDevice {
        device: Some(device),
        ..OneDevice::default()
    }
}

/// Asks for a permit for what was approved on a machine that is what it is now.
fn ask(machine: &OneDevice, approved: &Device) -> Result<WritePermit, Refusal> {
    let places = AllocationMap::all(approved.size_bytes, State::Used);
    WritePermit::for_device(machine, approved, &["/images/pi.img".into()], places)
}

fn refused(now: Device) -> Refusal {
    ask(&machine(now), &card()).unwrap_err()
}

fn mounted_at(target: &str) -> Vec<Mount> {
    vec![Mount {
        target: target.into(),
        ..Mount::default()
    }]
}

#[test]
fn the_device_that_was_approved_gets_its_permit() {
    // Where an image lies can't be told on a network share: no reason against an unmounted card.
    let permit = ask(&machine(card()), &card()).unwrap();
    assert_eq!(permit.path(), Path::new("/dev/no-such-card"));
    assert_eq!(permit.len(), LEN);
    assert!(permit.allows(Extent::between(0, LEN)));
    let elsewhere = OneDevice {
        holding: vec!["sda".to_owned()],
        ..machine(card())
    };
    assert!(ask(&elsewhere, &card()).is_ok());
}

/// Asks for a permit on a machine whose card is no longer what was approved.
fn check_changed(words: &str, change: impl Fn(&mut Device)) {
    let mut now = card();
    change(&mut now);
    let refusal = refused(now);
    assert!(
        matches!(&refusal, Refusal::Changed { what } if what == words),
        "{refusal}"
    );
    assert!(refusal.hint().is_some());
}

#[test]
fn a_medium_that_changed_since_it_was_approved_is_refused() {
    let other = || Some("other".to_owned());
    check_changed("its serial number was 1234 and is other now", |now| {
        now.serial = other();
    });
    check_changed("its serial number was 1234 and is unknown now", |now| {
        now.serial = None;
    });
    check_changed("its card number was ab and is other now", |now| {
        now.card_id = other();
    });
    check_changed("its model was STORAGE DEVICE and is other now", |now| {
        now.model = other();
    });
    check_changed("its insertion number was 9 and is 10 now", |now| {
        now.diskseq = Some(10);
    });
    check_changed("its insertion number was 9 and is unknown now", |now| {
        now.diskseq = None;
    });
}

#[test]
fn a_device_of_another_size_or_path_is_refused() {
    let words = "its size in bytes was 32000000000 and is 31999999488 now";
    check_changed(words, |now| now.size_bytes = LEN - 512);
    let words = "its size in bytes was 32000000000 and is 32000000512 now";
    check_changed(words, |now| now.size_bytes = LEN + 512);
    let words = "its path was /dev/no-such-card and is /dev/sdy now";
    check_changed(words, |now| now.path = "/dev/sdy".into());
}

#[test]
fn a_device_that_is_gone_is_refused() {
    let refusal = ask(&OneDevice::default(), &card()).unwrap_err();
    let path = PathBuf::from("/dev/no-such-card");
    assert!(matches!(&refusal, Refusal::NotThere { path: found } if *found == path));
    let renamed = Device {
        name: "sdy".to_owned(),
        ..card()
    };
    assert!(matches!(refused(renamed), Refusal::NotThere { .. }));
}

#[test]
fn a_machine_that_does_not_answer_gives_no_permit() {
    let silent = OneDevice {
        is_silent: true,
        ..machine(card())
    };
    assert!(matches!(ask(&silent, &card()), Err(Refusal::Machine(_))));
}

/// Asks for a permit on a machine where exactly one guard speaks against the card now.
fn check_guarded(guard: Guard, change: impl Fn(&mut Device)) {
    let mut now = card();
    change(&mut now);
    let refusal = refused(now);
    assert!(
        matches!(&refusal, Refusal::Guarded { guards } if *guards == [guard]),
        "{refusal}"
    );
}

#[test]
fn a_device_that_the_system_uses_now_is_refused() {
    let mounted_at = PathBuf::from("/");
    check_guarded(Guard::SystemDisk { mounted_at }, |now| {
        now.mounts = self::mounted_at("/");
    });
    let mounted_at = PathBuf::from("/data");
    check_guarded(Guard::MountedElsewhere { mounted_at }, |now| {
        now.mounts = self::mounted_at("/data");
    });
    let path = PathBuf::from("/dev/sdx2");
    check_guarded(Guard::SwapInUse { path: path.clone() }, |now| {
        now.uses = vec![Use::Swap { path: path.clone() }];
    });
    let name = "vg".to_owned();
    let lvm = Use::Lvm { name };
    check_guarded(Guard::MemberOf(lvm.clone()), |now| {
        now.uses = vec![lvm.clone()];
    });
    let why = "the mount table is unreadable".to_owned();
    check_guarded(Guard::Unknown { why: why.clone() }, |now| {
        now.uses = vec![Use::Unknown { why: why.clone() }];
    });
}

#[test]
fn a_device_that_is_no_card_to_write_is_refused() {
    let transport = Transport::Sata;
    check_guarded(Guard::Fixed { transport }, |now| {
        now.removable = false;
        now.transport = transport;
    });
    check_guarded(Guard::ReadOnly, |now| now.read_only = true);
    check_guarded(Guard::NoMedia, |now| now.media_present = false);
}

#[test]
fn a_card_that_is_still_mounted_is_refused() {
    let whole = Device {
        mounts: mounted_at("/media/ann/boot"),
        ..card()
    };
    let partition = DevicePartition {
        mounts: mounted_at("/media/ann/boot"),
        ..DevicePartition::default()
    };
    let part = Device {
        partitions: vec![partition],
        ..card()
    };
    for now in [whole, part] {
        let refusal = refused(now);
        assert!(matches!(&refusal, Refusal::Mounted { at } if at == "/media/ann/boot"));
    }
}

#[test]
fn the_device_that_holds_the_image_is_refused() {
    let holding = OneDevice {
        holding: vec!["sda".to_owned(), "sdx".to_owned()],
        ..machine(card())
    };
    let refusal = ask(&holding, &card()).unwrap_err();
    assert!(matches!(&refusal, Refusal::HoldsImage { file } if file == "/images/pi.img"));
}

#[test]
fn a_card_is_not_restored_from_itself() {
    let places = AllocationMap::all(LEN, State::Used);
    let keep = ["/dev/no-such-card".into()];
    let permit = WritePermit::for_device(&machine(card()), &card(), &keep, places);
    assert!(matches!(permit, Err(Refusal::HoldsImage { .. })));
}

#[test]
fn a_loop_device_made_of_the_image_is_refused() {
    let image = tempfile::NamedTempFile::new().unwrap();
    let made_of = |path: &Path| Device {
        transport: Transport::Loop,
        // The name that the system has for it says nothing: it may have been renamed.
        model: Some("/images/pi.img".to_owned()),
        backing: FileId::of_path(path),
        ..card()
    };
    let other = tempfile::NamedTempFile::new().unwrap();
    let keep = [image.path().to_path_buf()];
    for (backing, is_refused) in [(image.path(), true), (other.path(), false)] {
        let device = made_of(backing);
        let places = AllocationMap::all(LEN, State::Used);
        let permit = WritePermit::for_device(&machine(device.clone()), &device, &keep, places);
        assert_eq!(
            matches!(permit, Err(Refusal::HoldsImage { .. })),
            is_refused
        );
        assert_eq!(permit.is_err(), is_refused);
    }
}

#[test]
fn a_plan_for_another_length_is_refused() {
    let ask = |len| {
        let places = AllocationMap::all(len, State::Used);
        WritePermit::for_device(&machine(card()), &card(), &[], places)
    };
    for len in [LEN + 1, LEN - 512, 0] {
        assert!(matches!(ask(len), Err(Refusal::Changed { .. })), "{len}");
    }
    // A last incomplete sector is served by no medium.
    assert_eq!(ask(LEN - 511).unwrap().len(), LEN - 511);
}

#[test]
fn a_permit_for_a_device_opens_no_file_in_its_place() {
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(8192).unwrap();
    let device = Device {
        path: file.path().to_path_buf(),
        size_bytes: 8192,
        ..card()
    };
    let permit = ask(&machine(device.clone()), &device).unwrap();
    assert!(DeviceSink::open(permit, &Silent).is_err());
}

#[test]
fn a_machine_that_can_not_eject_says_so() {
    let error = machine(card()).eject(&card()).unwrap_err();
    let words = "cannot eject /dev/no-such-card: that is not supported on this platform";
    assert_eq!(error.to_string(), words);
}
