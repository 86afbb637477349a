//! A device list as text: every field, so that nothing can change unseen.

use std::fmt::Write;

use cardkeep_device::{Access, Device, DevicePartition, Mount, Verdict, verdict};

pub(crate) fn report(devices: &[Device]) -> String {
    devices
        .iter()
        .map(device_text)
        .collect::<Vec<_>>()
        .join("\n")
}

fn device_text(device: &Device) -> String {
    let mut text = String::new();
    let mut line = |line: String| writeln!(text, "{line}").unwrap();
    let flag = |is: bool, word: &str| {
        if is {
            format!(" {word}")
        } else {
            String::new()
        }
    };
    line(format!(
        "{} {}: {} bytes, sectors {}/{}, {}{}{}{}",
        device.name,
        device.path.display(),
        device.size_bytes,
        device.sector_bytes,
        device.physical_sector_bytes,
        device.transport,
        flag(device.removable, "removable"),
        flag(device.read_only, "read-only"),
        flag(!device.media_present, "empty"),
    ));
    let known = [
        ("vendor", device.vendor.clone()),
        ("model", device.model.clone()),
        ("serial", device.serial.clone()),
        ("card id", device.card_id.clone()),
        ("diskseq", device.diskseq.map(|number| number.to_string())),
        (
            "usb mbps",
            device.usb_speed_mbps.map(|speed| speed.to_string()),
        ),
    ];
    for (name, value) in known {
        if let Some(value) = value {
            line(format!("  {name}: {value}"));
        }
    }
    if let Access::Denied { hint } = &device.access {
        line(format!("  no access: {hint}"));
    }
    device
        .partitions
        .iter()
        .for_each(|part| line(partition_text(part)));
    device
        .mounts
        .iter()
        .for_each(|mount| line(mount_text(mount)));
    device
        .uses
        .iter()
        .for_each(|holder| line(format!("  use: {holder}")));
    device
        .notes
        .iter()
        .for_each(|note| line(format!("  note: {note}")));
    match verdict(device) {
        Verdict::Free => line("  => free".to_owned()),
        Verdict::Guarded(guards) => guards
            .iter()
            .for_each(|guard| line(format!("  => {guard}"))),
    }
    text
}

fn partition_text(part: &DevicePartition) -> String {
    let targets: Vec<_> = part
        .mounts
        .iter()
        .map(|m| m.target.display().to_string())
        .collect();
    let (path, extent) = (part.path.display(), part.extent);
    format!("  partition {} {path}: {extent} {targets:?}", part.number)
}

fn mount_text(mount: &Mount) -> String {
    let target = mount.target.display();
    let mode = if mount.read_only { "ro" } else { "rw" };
    format!(
        "  mount: {} at {target} ({}, {mode})",
        mount.source, mount.fs_type
    )
}
