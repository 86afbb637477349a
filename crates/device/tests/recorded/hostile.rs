//! Whatever sysfs, /proc and udev say: no panic, and no disk that vanishes or is taken for free
//! because of it.

use std::path::Path;

use cardkeep_device::{Linux, Machine, Verdict, verdict};
use proptest::prelude::{any, prop, proptest};
use proptest::strategy::{Just, Strategy};
use proptest::test_runner::Config;

use crate::machine::RecordedMachine;

/// The card that the running system lives on, with room for nonsense.
const MACHINE: &str = "\
block devices/platform/mmc_host/mmc0/mmc0:aaaa/block/mmcblk0
dev = 179:0
size = 62333952
block devices/platform/mmc_host/mmc0/mmc0:aaaa/block/mmcblk0/mmcblk0p2
dev = 179:2
partition = 2
start = 1064960
size = 61268992
block devices/virtual/block/loop0
dev = 7:0
size = 8
loop/backing_file = /swap
block devices/virtual/block/dm-0
dev = 254:0
holder dm-0
text proc/swaps
| Filename
text proc/self/mountinfo
| 21 1 179:2 / / rw - ext4 /dev/root rw
";

const DISK: &str = "sys/devices/platform/mmc_host/mmc0/mmc0:aaaa/block/mmcblk0";

/// Files that may say anything without making the disk unknown or its mount unseen.
const FILES: [&str; 16] = [
    "size",
    "removable",
    "ro",
    "diskseq",
    "hidden/x",
    "queue/logical_block_size",
    "queue/physical_block_size",
    "device/type",
    "device/cid",
    "device/serial",
    "device/vpd_pg80",
    "mmcblk0p2/start",
    "mmcblk0p2/size",
    "mmcblk0p2/partition",
    "mmcblk0p2/ro",
    "dev",
];

fn nonsense() -> impl Strategy<Value = Vec<u8>> {
    let numbers = [
        "0",
        "-1",
        "18446744073709551615",
        "99999999999999999999",
        "1e9",
        " 7 \n",
    ];
    let known = prop::sample::select(numbers.to_vec());
    let known = known.prop_map(|text| text.as_bytes().to_vec());
    proptest::prop_oneof![
        known,
        prop::collection::vec(any::<u8>(), 0..40),
        Just(vec![b'9'; 10_000]),
    ]
}

proptest! {
    #![proptest_config(Config::with_cases(48))]

    #[test]
    fn the_running_card_stays_listed_and_guarded(
        says in prop::collection::vec((0..FILES.len(), nonsense()), 1..12),
        swaps in nonsense(),
        udev in nonsense(),
        mounts in nonsense(),
    ) {
        let machine = RecordedMachine::build(MACHINE);
        let write = |path: &Path, bytes: &[u8]| {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        };
        for (index, bytes) in says {
            write(&machine.root().join(DISK).join(FILES[index]), &bytes);
        }
        write(&machine.root().join("proc/swaps"), &[b"x\n", &*swaps].concat());
        write(&machine.root().join("run/udev/data/b179:0"), &[b"E:", &*udev].concat());
        let table = machine.root().join("proc/self/mountinfo");
        let before = std::fs::read(&table).unwrap();
        write(&table, &[before, mounts].concat());
        let devices = Linux::at(machine.root()).devices().unwrap();
        let card = devices.iter().find(|device| device.name == "mmcblk0").unwrap();
        assert!(matches!(verdict(card), Verdict::Guarded(_)), "{card:?}");
        assert!(card.partitions.len() == 1, "{card:?}");
    }
}
