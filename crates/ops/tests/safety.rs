//! What a backup refuses before it reads a byte, on machines made up for it.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on fails by panicking"
)]

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cardkeep_block::{BlockError, MemoryMedium, ReadAt, Silent};
use cardkeep_copy::{RetryPolicy, Verify};
use cardkeep_device::{Device, Machine, Mount, Overwrite, Transport, UnmountError};
use cardkeep_ops::{
    BackupRequest, Choice, Estimate, OpError, OpErrorKind, Resume, SAMPLE_BYTES, SecondReading,
    Target, Truncated, Unmount, choose, plan, write_sample,
};
use cardkeep_survey::Scope;
use tempfile::TempDir;

/// A machine with these devices; the first one is what any path names.
#[derive(Default)]
struct Machinery {
    devices: Vec<Device>,
    holds_image: Option<String>,
    unmounted: AtomicUsize,
}

impl Machine for Machinery {
    fn devices(&self) -> Result<Vec<Device>, BlockError> {
        Ok(self.devices.clone())
    }
    fn device_of_path(&self, _: &Path) -> Result<Option<Device>, BlockError> {
        Ok(self.devices.first().cloned())
    }
    fn device_holding(&self, _: &Path) -> Result<Option<String>, BlockError> {
        Ok(self.holds_image.clone())
    }
    fn unmount(&self, _: &Device) -> Result<(), UnmountError> {
        self.unmounted.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

fn card(name: &str) -> Device {
    Device {
        path: PathBuf::from(format!("/dev/{name}")),
        name: name.to_owned(),
        size_bytes: SAMPLE_BYTES,
        sector_bytes: 512,
        transport: Transport::Usb,
        removable: true,
        media_present: true,
        ..Device::default()
    }
}

fn mounted(target: &str, read_only: bool) -> Device {
    let target = PathBuf::from(target);
    let mount = Mount {
        source: "/dev/sdx1".into(),
        target,
        fs_type: "ext4".into(),
        read_only,
    };
    Device {
        mounts: vec![mount],
        ..card("sdx")
    }
}

fn desk() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let medium = MemoryMedium::new(SAMPLE_BYTES);
    write_sample(&medium).unwrap();
    std::fs::write(
        folder.path().join("card"),
        medium.read_vec(0, SAMPLE_BYTES as usize).unwrap(),
    )
    .unwrap();
    folder
}

fn try_plan(machine: &Machinery, unmount: Unmount) -> Result<(), OpError> {
    let folder = desk();
    let request = BackupRequest {
        content: cardkeep_ops::ContentRule::Known,
        truncated: Truncated::Refuse,
        card: folder.path().join("card"),
        target: Target::File(folder.path().join("out.img.zst")),
        format: None,
        level: None,
        scope: Scope::UsedOnly,
        overwrite: Overwrite::Refuse,
        unmount,
        shrink: None,
        policy: RetryPolicy::default(),
        resume: Resume::No,
        patience: Duration::ZERO,
        verify: Verify::ReadBack,
        second_reading: SecondReading::No,
        estimate: Estimate::None,
        date: "2026-11-22".into(),
        tool: "test".into(),
        cores: 1,
    };
    plan(machine, request, &Silent).map(|_| ())
}

fn refusal(machine: &Machinery, unmount: Unmount) -> String {
    let error = try_plan(machine, unmount).unwrap_err();
    assert_eq!(error.kind, OpErrorKind::Refused, "{error}");
    let hints: Vec<String> = error.hints.into_iter().map(|hint| hint.0).collect();
    format!("{}\n{}", error.message, hints.join("\n"))
}

#[test]
fn a_card_mounted_read_write_is_refused_and_unmounting_is_offered() {
    let machine = Machinery {
        devices: vec![mounted("/media/ann/rootfs", false)],
        ..Machinery::default()
    };
    let text = refusal(&machine, Unmount::No);
    assert!(
        text.contains("/media/ann/rootfs") && text.contains("--unmount"),
        "{text}"
    );
    assert_eq!(machine.unmounted.load(Ordering::Relaxed), 0);
    try_plan(&machine, Unmount::Yes).unwrap();
    assert_eq!(machine.unmounted.load(Ordering::Relaxed), 1);
}

#[test]
fn a_card_mounted_read_only_can_be_read() {
    let machine = Machinery {
        devices: vec![mounted("/media/ann/rootfs", true)],
        ..Machinery::default()
    };
    try_plan(&machine, Unmount::No).unwrap();
    assert_eq!(machine.unmounted.load(Ordering::Relaxed), 0);
}

#[test]
fn a_system_disk_is_refused_and_never_unmounted() {
    for target in ["/", "/boot/firmware", "/home"] {
        let machine = Machinery {
            devices: vec![mounted(target, false)],
            ..Machinery::default()
        };
        let text = refusal(&machine, Unmount::Yes);
        assert!(text.contains("this system runs from it"), "{text}");
        assert!(!text.contains("--unmount"), "{text}");
        assert_eq!(machine.unmounted.load(Ordering::Relaxed), 0);
    }
}

#[test]
fn an_image_on_the_card_that_is_read_is_refused() {
    let machine = Machinery {
        devices: vec![card("sdx")],
        holds_image: Some("sdx".into()),
        ..Machinery::default()
    };
    assert!(refusal(&machine, Unmount::No).contains("would lie on the card"));
    try_plan(
        &Machinery {
            holds_image: Some("sda".into()),
            ..machine
        },
        Unmount::No,
    )
    .unwrap();
}

#[test]
fn the_card_is_chosen_only_when_there_is_just_one() {
    let system = Device {
        removable: false,
        transport: Transport::Nvme,
        ..mounted("/", false)
    };
    let empty = Device {
        media_present: false,
        size_bytes: 0,
        ..card("sdy")
    };
    let attached = Device {
        transport: Transport::Loop,
        ..card("loop0")
    };
    let others = [system, empty, attached];
    let choice = |cards: &[Device]| {
        let devices = [&others[..], cards].concat();
        choose(&Machinery {
            devices,
            ..Machinery::default()
        })
    };
    assert_eq!(choice(&[]).unwrap_err().kind, OpErrorKind::Usage);
    let mounted_card = mounted("/media/ann/bootfs", false);
    let Choice::Only(only) = choice(&[mounted_card]).unwrap() else {
        panic!("not the only one")
    };
    assert_eq!(only.device.name, "sdx");
    let Choice::Several(cards) = choice(&[card("sda"), card("sdb")]).unwrap() else {
        panic!("chose one of two")
    };
    assert_eq!(cards.len(), 2);
}
