//! Loop devices as the device list shows them, and unmounting them.

use cardkeep_block::BlockErrorKind;
use cardkeep_device::{Access, Guard, Transport, Verdict, machine, verdict};

use crate::lab::{self, LoopDevice, Mounted};

#[test]
fn an_attached_image_is_listed_with_its_file_and_unmounted() {
    if !lab::is_open() || !lab::has("mkfs.ext4") {
        return;
    }
    let folder = tempfile::Builder::new()
        .prefix("card keep")
        .tempdir()
        .unwrap();
    let file = folder.path().join("card.img");
    std::fs::File::create(&file)
        .unwrap()
        .set_len(16 << 20)
        .unwrap();
    lab::run("mkfs.ext4", &["-q", file.to_str().unwrap()]);
    let attached = LoopDevice::attach(&file, &["--sector-size", "512"]);
    let find = || machine().device_of_path(&attached.path).unwrap().unwrap();

    let device = find();
    assert_eq!(device.name, attached.name());
    assert_eq!(device.transport, Transport::Loop);
    assert_eq!(device.model.as_deref(), file.to_str());
    assert_eq!((device.size_bytes, device.sector_bytes), (16 << 20, 512));
    assert_eq!(device.access, Access::Ok);
    assert_eq!((&device.notes, &device.mounts), (&vec![], &vec![]));
    assert_eq!(verdict(&device), Verdict::Free);
    let all = machine().devices().unwrap();
    assert!(all.contains(&device), "{all:?}");

    let target = folder.path().join("mount point");
    std::fs::create_dir(&target).unwrap();
    let mounted = Mounted::mount(&[attached.path.to_str().unwrap()], &target);
    let device = find();
    assert_eq!(device.mounts.len(), 1);
    assert_eq!(device.mounts[0].target, mounted.folder);
    assert_eq!(device.mounts[0].fs_type, "ext4");
    let mounted_at = mounted.folder.clone();
    let expected = Verdict::Guarded(vec![Guard::MountedElsewhere { mounted_at }]);
    assert_eq!(verdict(&device), expected);
    let file_on_it = mounted.folder.join("not/yet/there.img");
    let holding = machine().devices_holding(&file_on_it).unwrap();
    assert!(holding.contains(&attached.name()), "{holding:?}");

    machine().unmount(&device).unwrap();
    assert!(find().mounts.is_empty());
    assert_eq!(
        lab::run("findmnt", &["-rno", "TARGET"])
            .lines()
            .filter(|l| l.contains("card\\x20keep"))
            .count(),
        0
    );
}

#[test]
fn a_busy_mount_is_told_with_what_to_do() {
    if !lab::is_open() || !lab::has("mkfs.ext4") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("card.img");
    std::fs::File::create(&file)
        .unwrap()
        .set_len(16 << 20)
        .unwrap();
    lab::run("mkfs.ext4", &["-q", file.to_str().unwrap()]);
    let attached = LoopDevice::attach(&file, &[]);
    let target = folder.path().join("mnt");
    std::fs::create_dir(&target).unwrap();
    let mounted = Mounted::mount(&[attached.path.to_str().unwrap()], &target);
    let open = std::fs::File::create(mounted.folder.join("open")).unwrap();
    let device = machine().device_of_path(&attached.path).unwrap().unwrap();
    let error = machine().unmount(&device).unwrap_err();
    assert_eq!(error.target, mounted.folder);
    assert!(error.hint.contains("fuser -vm"), "{}", error.hint);
    let busy = cardkeep_device::Source::open_exclusive(&attached.path).unwrap_err();
    assert_eq!(busy.kind(), BlockErrorKind::Busy);
    drop(open);
    machine().unmount(&device).unwrap();
}
