//! A stick that is pulled out while an image is written to it.

use cardkeep_testkit::{Insertion, Tool};

use crate::bench::{QUICK, on_bench};

#[test]
fn a_stick_pulled_while_it_is_written_holds_no_bad_image() {
    on_bench(
        "a_stick_pulled_while_it_is_written_holds_no_bad_image",
        |bench| {
            for (kind, make) in [("vfat", "mkfs.vfat"), ("ext4", "mkfs.ext4")] {
                let stick = bench.used_up(&format!("{kind}.img"), 256);
                Tool::new(make).arg(&stick).run();
                let slowly = Insertion {
                    write_speed: Some(6_000_000),
                    ..QUICK
                };
                let path = bench.plug("stick", &stick, slowly);
                let mount = |path: &str| format!("mount -t {kind} {path} /mnt");
                drop(bench.guest.run(&mount(&path)).expect(0));
                let job = bench.start("backup /dev/mmcblk0 /mnt/card.img");
                bench.guest.unplug("stick");
                let said = bench.guest.wait(job);
                assert_eq!(said.code, 5, "{kind}: {said:?}");
                drop(bench.guest.run("umount -l /mnt"));

                let path = bench.plug("stick", &stick, QUICK);
                drop(bench.guest.run(&mount(&path)).expect(0));
                let left = bench.guest.run("ls /mnt").stdout;
                assert!(
                    !left.lines().any(|name| name == "card.img"),
                    "{kind}: {left}"
                );
                drop(
                    bench
                        .cardkeep("backup /dev/mmcblk0 /mnt/card.img --resume")
                        .expect(0),
                );
                drop(
                    bench
                        .guest
                        .run("cp /mnt/card.img /host/card.img && umount /mnt")
                        .expect(0),
                );
                bench.assert_whole("card.img");
                bench.guest.unplug("stick");
            }
        },
    );
}
