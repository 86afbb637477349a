//! A card that is pulled out while it is written.

use std::fs;

use cardkeep_testkit::Insertion;

use crate::bench::{QUICK, on_bench};

/// A card that is written for some seconds.
const SLOWLY: Insertion = Insertion {
    write_speed: Some(2_000_000),
    ..QUICK
};

#[test]
fn a_card_pulled_while_it_is_written_is_not_called_restored() {
    on_bench(
        "a_card_pulled_while_it_is_written_is_not_called_restored",
        |bench| {
            drop(bench.cardkeep("backup /dev/mmcblk0 card.img.zst").expect(0));
            let target = bench.used_up("target.img", 128);
            let path = bench.plug("reader", &target, SLOWLY);
            let job = bench.start(&format!("restore --yes card.img.zst {path}"));
            bench.guest.unplug("reader");
            let said = bench.guest.wait(job).expect(5);
            assert!(said.stderr.contains("error"), "{}", said.stderr);
            // No kernel and no firmware finds anything to start on it.
            let head = fs::read(&target).unwrap()[..512].to_vec();
            assert_ne!(head[510..], [0x55, 0xAA]);

            let path = bench.plug("reader", &target, QUICK);
            drop(
                bench
                    .cardkeep(&format!("restore --yes card.img.zst {path}"))
                    .expect(0),
            );
            drop(
                bench
                    .cardkeep(&format!("verify card.img.zst --against {path}"))
                    .expect(0),
            );
        },
    );
}

#[test]
fn another_card_put_into_the_reader_is_not_written() {
    on_bench("another_card_put_into_the_reader_is_not_written", |bench| {
        drop(bench.cardkeep("backup /dev/mmcblk0 card.img.zst").expect(0));
        let target = bench.used_up("target.img", 128);
        let other = bench.used_up("other.img", 128);
        let before = fs::read(&other).unwrap();
        let path = bench.plug("reader", &target, SLOWLY);
        let job = bench.start(&format!("restore --yes card.img.zst {path}"));
        let said = bench.change_card("reader", &other, job).expect(5);
        assert!(said.stderr.contains("error"), "{said:?}");
        bench.guest.unplug("reader");
        let after = fs::read(&other).unwrap();
        let written = (0..before.len()).filter(|&at| after[at] != before[at]);
        let written: Vec<usize> = written.collect();
        assert!(
            written.is_empty(),
            "{:?} to {:?} of the other card were written, {} bytes",
            written.first(),
            written.last(),
            written.len()
        );
    });
}
