//! Cards that somebody else uses.

use cardkeep_testkit::Mount;
use rustix::process::Signal;

use crate::original::{CARD_BYTES, EXT, Original};
use crate::program::{Running, cardkeep, restore};
use crate::target::Target;

#[test]
fn a_second_restore_onto_a_card_is_refused_and_does_no_harm() {
    let test = "a_second_restore_onto_a_card_is_refused_and_does_no_harm";
    let Some(original) = Original::new(test) else {
        return;
    };
    let target = Target::new();
    let gate = target.disk.medium().hold_after(40);
    let arguments = restore(original.image(), target.path(), &[]);
    let mut first = Running::start(&arguments);
    assert!(gate.wait(|| first.is_done()), "it was over too soon");
    // Held, it has the card for as long as the second one takes to find that out.
    assert!(first.signal(Signal::STOP), "it was over too soon");
    gate.open();
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
