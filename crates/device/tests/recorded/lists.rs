//! The device list of each recorded machine, compared as a whole.

use std::path::Path;

use cardkeep_device::{Linux, Machine};

use crate::machine::RecordedMachine;
use crate::report::report;

fn check(name: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/machines")
        .join(name);
    let description = std::fs::read_to_string(folder.join("machine.txt")).unwrap();
    let machine = RecordedMachine::build(&description);
    let found = report(&Linux::at(machine.root()).devices().unwrap());
    let expected = folder.join("expected.txt");
    if std::env::var_os("CARDKEEP_ACCEPT").is_some() {
        std::fs::write(&expected, &found).unwrap();
    }
    assert_eq!(
        found,
        std::fs::read_to_string(expected).unwrap(),
        "{name}:\n{found}"
    );
}

macro_rules! machines {
    ($($name:ident),* $(,)?) => {$(
        #[test]
        fn $name() {
            check(&stringify!($name).replace('_', "-"));
        }
    )*};
}

machines![
    btrfs_on_two_disks,
    crypt_lvm_on_sata,
    emmc_with_boot_areas,
    empty_reader_slots,
    garbled_mount_table,
    hidden_root_overlay,
    laptop_with_cards,
    md_mirror,
    no_mount_table,
    no_udev,
    odd_numbers,
    raspberry_pi,
    read_only_root_overlay,
    server_oddities,
    two_sticks_on_a_hub,
    usb_disk_with_4k_sectors,
    zram_spilling_to_the_card,
];

#[test]
fn every_recorded_machine_is_tested() {
    let source = include_str!("lists.rs");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/machines");
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap().replace('-', "_");
        let is_listed = source.contains(&format!("    {name},\n"));
        assert!(
            is_listed || !entry.path().is_dir(),
            "{name} is not in the list"
        );
    }
}
