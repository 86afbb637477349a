//! From paths to devices on recorded machines.

use std::path::Path;

use cardkeep_device::{Linux, Machine};

use crate::machine::RecordedMachine;

fn recorded(name: &str) -> (RecordedMachine, Linux) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/machines")
        .join(name);
    let description = std::fs::read_to_string(folder.join("machine.txt")).unwrap();
    let machine = RecordedMachine::build(&description);
    let linux = Linux::at(machine.root());
    (machine, linux)
}

fn check_path(machine: &Linux, path: &str, expected: Option<(&str, Option<u32>)>) {
    let device = machine.device_of_path(Path::new(path)).unwrap();
    let partition = machine.partition_of_path(Path::new(path)).unwrap();
    assert_eq!(
        device.as_ref().map(|device| (&*device.name, partition)),
        expected,
        "{path}"
    );
}

#[test]
fn disks_partitions_and_links_lead_to_the_disk() {
    let (_folder, laptop) = recorded("laptop-with-cards");
    check_path(&laptop, "/dev/sda", Some(("sda", None)));
    check_path(&laptop, "/dev/sda2", Some(("sda", Some(2))));
    let link = "/dev/disk/by-id/usb-Generic_STORAGE_DEVICE_000000001532-0:0";
    check_path(&laptop, link, Some(("sda", None)));
    check_path(&laptop, &format!("{link}-part2"), Some(("sda", Some(2))));
    check_path(&laptop, "/dev/nvme0n1p3", Some(("nvme0n1", Some(3))));
    assert!(laptop.device_of_path(Path::new("/dev/sdx")).is_err());
}

#[test]
fn volumes_are_no_devices() {
    let (_folder, machine) = recorded("crypt-lvm-on-sata");
    check_path(&machine, "/dev/mapper/vg-root", None);
    check_path(&machine, "/dev/sda1", Some(("sda", Some(1))));
}

#[test]
fn names_with_a_slash_are_found() {
    let (_folder, machine) = recorded("server-oddities");
    check_path(&machine, "/dev/cciss/c0d0", Some(("cciss!c0d0", None)));
}

#[test]
fn nothing_is_unmounted_on_behalf_of_another_machine() {
    let (_folder, laptop) = recorded("laptop-with-cards");
    let device = laptop
        .device_of_path(Path::new("/dev/sda"))
        .unwrap()
        .unwrap();
    let refused = laptop.unmount(&device).unwrap_err();
    assert!(refused.to_string().contains("another machine"), "{refused}");
    let changed = cardkeep_device::Device {
        diskseq: Some(1),
        ..device
    };
    let refused = laptop.unmount(&changed).unwrap_err();
    assert!(refused.to_string().contains("changed"), "{refused}");
}

fn check_holding(name: &str, file: &str, expected: &[&str]) {
    let (_folder, machine) = recorded(name);
    assert_eq!(
        machine.devices_holding(Path::new(file)).unwrap(),
        expected,
        "{file}"
    );
    let first = machine.device_holding(Path::new(file)).unwrap();
    assert_eq!(first.as_deref(), expected.first().copied());
}

#[test]
fn a_file_is_held_by_the_disks_below_its_mount() {
    check_holding("raspberry-pi", "/home/pi/card.img", &["mmcblk0"]);
    check_holding(
        "laptop-with-cards",
        "/media/ann/my root files/x.img",
        &["sda"],
    );
    check_holding("laptop-with-cards", "/media/ann/x.img", &["nvme0n1"]);
    check_holding(
        "laptop-with-cards",
        "/snap/core20/1234/x",
        &["loop0", "nvme0n1"],
    );
    check_holding("crypt-lvm-on-sata", "/home/ann/card.img", &["sda"]);
    check_holding("md-mirror", "/srv/card.img", &["sda", "sdb"]);
    check_holding("btrfs-on-two-disks", "/home/ann/card.img", &["sda", "sdb"]);
    check_holding("read-only-root-overlay", "/home/pi/card.img", &["mmcblk0"]);
    check_holding("usb-disk-with-4k-sectors", "/tmp/card.img", &[]);
}
