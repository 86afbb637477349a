//! Cards that somebody else uses.

use std::time::Duration;

use cardkeep_block::Extent;
use cardkeep_testkit::{Fault, Mount};
use rustix::process::Signal;

use crate::original::{CARD_BYTES, EXT, MIB, Original};
use crate::program::{Running, cardkeep, restore};
use crate::target::Target;

#[test]
fn a_second_restore_onto_a_card_is_refused_and_does_no_harm() {
    let test = "a_second_restore_onto_a_card_is_refused_and_does_no_harm";
    let Some(original) = Original::new(test) else {
        return;
    };
    let target = Target::with(Fault::SlowWrites {
        extent: Extent::between(0, CARD_BYTES),
        delay: Duration::from_millis(150),
    });
    let arguments = restore(original.image(), target.path(), &[]);
    let mut first = Running::start(&arguments);
    while target.disk.medium().bytes_written() < 4 * MIB {
        assert!(!first.is_done(), "it was over too soon");
        std::thread::sleep(Duration::from_millis(5));
    }
    // Held, it has the card for as long as the second one takes to find that out.
    assert!(first.signal(Signal::STOP), "it was over too soon");
    let second = cardkeep(&arguments);
    first.signal(Signal::CONT);
    second.expect(4).says(&["is in use"]);
    first.wait().expect(0);
    target.assert_restored(&original);
}

#[test]
fn a_card_in_use_is_refused() {
    let Some(original) = Original::new("a_card_in_use_is_refused") else {
        return;
    };
    // A filesystem without a partition table around it, as on a USB stick.
    let mut bytes = vec![0; CARD_BYTES as usize];
    let ext = &original.content[EXT.start() as usize..EXT.end() as usize];
    bytes[..ext.len()].copy_from_slice(ext);
    let target = Target::holding(&bytes);
    let mount = Mount::new(target.path(), "ro,noload").unwrap();
    let before = target.bytes();
    for options in [&[][..], &["--no-probe"], &["--resume"], &["--delta"]] {
        let answer = cardkeep(restore(original.image(), target.path(), options));
        answer.expect(3).says(&["mounted"]);
    }
    assert!(target.bytes() == before, "a mounted card was written");
    drop(mount);
    cardkeep(restore(original.image(), target.path(), &[])).expect(0);
    original.assert_complete(&target.file());
}
