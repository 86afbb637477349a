//! Cards and readers that are pulled out while a card is read.

use std::time::Duration;

use crate::bench::{QUICK, SLOW, on_bench};

#[test]
fn a_backup_of_a_pulled_reader_is_gone_on_with() {
    on_bench("a_backup_of_a_pulled_reader_is_gone_on_with", |bench| {
        let card = bench.sample("card.img");
        let path = bench.plug("reader", &card, SLOW);
        let job = bench.start(&format!("backup {path} card.img.zst --wait-for-card 0"));
        bench.guest.unplug("reader");
        let said = bench.guest.wait(job).expect(5);
        assert!(said.stderr.contains("--resume"), "{}", said.stderr);
        assert!(!bench.shared("card.img.zst").exists());

        let path = bench.plug("reader", &card, QUICK);
        drop(
            bench
                .cardkeep(&format!("backup {path} card.img.zst --resume"))
                .expect(0),
        );
        bench.assert_whole("card.img.zst");
    });
}

#[test]
fn a_reader_that_comes_back_is_read_on() {
    on_bench("a_reader_that_comes_back_is_read_on", |bench| {
        let card = bench.sample("card.img");
        let path = bench.plug("reader", &card, SLOW);
        let job = bench.start(&format!("backup {path} card.img --wait-for-card 120"));
        bench.guest.unplug("reader");
        let other = bench.used_up("other.img", 128);
        bench.plug("reader", &other, QUICK);
        std::thread::sleep(Duration::from_secs(2));
        assert!(!bench.guest.has_ended(job), "another card will not do");
        bench.guest.unplug("reader");
        bench.guest.plug("reader", &card, QUICK);
        let said = bench.guest.wait(job);
        assert!(matches!(said.code, 0 | 9), "{said:?}");
        assert!(said.stderr.contains("is back"), "{}", said.stderr);
        bench.assert_whole("card.img");
    });
}

#[test]
fn a_card_taken_out_of_its_reader_and_put_back_is_read_on() {
    on_bench(
        "a_card_taken_out_of_its_reader_and_put_back_is_read_on",
        |bench| {
            let card = bench.sample("card.img");
            let path = bench.plug("reader", &card, SLOW);
            let words = format!("backup {path} card.img --shrink --wait-for-card 120");
            let job = bench.start(&words);
            bench.guest.take_out("reader");
            std::thread::sleep(Duration::from_secs(2));
            bench.guest.put_in("reader", &card, QUICK);
            let said = bench.guest.wait(job);
            assert!(matches!(said.code, 0 | 9), "{said:?}");
            assert!(said.stderr.contains("is back"), "{}", said.stderr);

            // As it is undisturbed.
            let words = format!("backup {} sound.img --shrink", bench.path_of("reader"));
            drop(bench.cardkeep(&words).expect(0));
            let images = ["card.img", "sound.img"].map(|name| bench.shared(name));
            let [image, sound] = images.map(|path| std::fs::read(path).unwrap());
            assert!(image == sound, "the image differs");
        },
    );
}

#[test]
fn another_card_put_into_the_reader_never_gets_into_the_image() {
    on_bench(
        "another_card_put_into_the_reader_never_gets_into_the_image",
        |bench| {
            let card = bench.sample("card.img");
            let other = bench.used_up("other.img", 128);
            let path = bench.plug("reader", &card, SLOW);
            let job = bench.start(&format!("backup {path} card.img --wait-for-card 20"));
            let said = bench.change_card("reader", &other, job).expect(5);
            assert!(said.stderr.contains("disappeared"), "{said:?}");
            assert!(!bench.shared("card.img").exists());
            let refused = bench.cardkeep(&format!("backup {path} card.img --resume"));
            drop(refused.expect(3));

            bench.guest.take_out("reader");
            bench.guest.put_in("reader", &card, QUICK);
            let path = bench.path_of("reader");
            let words = format!("backup {path} card.img --resume");
            drop(bench.cardkeep(&words).expect(0));
            bench.assert_whole("card.img");
        },
    );
}

#[test]
fn a_card_taken_out_of_a_slot_and_put_back_is_read_on() {
    on_bench(
        "a_card_taken_out_of_a_slot_and_put_back_is_read_on",
        |bench| {
            let card = bench.sample("card.img");
            bench.guest.take_out("slot");
            let is_empty = "while [ -b /dev/mmcblk0 ]; do sleep 0.2; done";
            drop(bench.guest.run(is_empty).expect(0));
            bench.guest.put_in("slot", &card, SLOW);
            let is_there = "until [ -b /dev/mmcblk0p2 ]; do sleep 0.2; done";
            drop(bench.guest.run(is_there).expect(0));
            let job = bench.start("backup /dev/mmcblk0 card.img.zst --wait-for-card 120");
            bench.guest.take_out("slot");
            std::thread::sleep(Duration::from_secs(2));
            bench.guest.put_in("slot", &card, QUICK);
            let said = bench.guest.wait(job);
            assert!(matches!(said.code, 0 | 9), "{said:?}");
            bench.assert_whole("card.img.zst");
        },
    );
}
