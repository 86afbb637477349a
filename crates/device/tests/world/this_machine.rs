//! The machine that the tests run on, as it is: nothing about it is recorded.

use cardkeep_device::{Guard, Verdict, machine, verdict};

#[test]
fn the_disk_with_the_root_filesystem_is_never_free() {
    let machine = machine();
    let devices = machine.devices().unwrap();
    let Some(name) = machine.device_holding("/".as_ref()).unwrap() else {
        eprintln!("skipped: the root filesystem of this machine is on no disk");
        return;
    };
    let device = devices.iter().find(|device| device.name == name).unwrap();
    assert!(device.size_bytes > 0);
    let Verdict::Guarded(guards) = verdict(device) else {
        panic!("{device:?}");
    };
    let mounted_at = "/".into();
    assert!(
        guards.contains(&Guard::SystemDisk { mounted_at }),
        "{guards:?}"
    );
    let found = machine.device_of_path(&device.path).unwrap().unwrap();
    assert_eq!(
        (found.name, found.size_bytes),
        (device.name.clone(), device.size_bytes)
    );
}

#[test]
fn a_path_that_names_no_device_names_none() {
    assert_eq!(
        machine().device_of_path("/dev/null".as_ref()).unwrap(),
        None
    );
    assert!(machine().device_of_path("/no/such/path".as_ref()).is_err());
}
