//! Cards that are smaller than they say.

use cardkeep_testkit::{Fault, is_big_matrix};

use crate::original::{CARD_BYTES, MIB, Original};
use crate::program::{cardkeep, restore};
use crate::target::Target;

/// Real sizes in MiB that a probe finds out: address lines that are missing leave such.
const USUAL: [u64; 2] = [48, 64];
const USUAL_MORE: [u64; 4] = [16, 24, 32, 6];
/// Real sizes in MiB that only show when all is read back.
const ODD: [u64; 2] = [37, 61];
const ODD_MORE: [u64; 4] = [19, 41, 53, 89];

fn sizes(few: [u64; 2], more: [u64; 4]) -> Vec<u64> {
    let more = more.into_iter().filter(|_| is_big_matrix());
    few.into_iter().chain(more).collect()
}

/// Makes a fake card on which every sector is another one. Past its real end there is nothing to
/// be found: its file holds zeros there.
fn fake(fault: Fault, real_bytes: u64) -> Target {
    let mut bytes = vec![0; CARD_BYTES as usize];
    for (index, sector) in bytes[..real_bytes as usize].chunks_mut(512).enumerate() {
        sector[..8].copy_from_slice(&(index as u64 + 1).to_le_bytes());
    }
    let target = Target::holding(&bytes);
    target.disk.declare(fault);
    target
}

/// Asserts that a card is found out before the long write, and has all that it had.
fn check_probed(original: &Original, fault: Fault, real_mib: u64, words: &[&str]) {
    let target = fake(fault, real_mib * MIB);
    let before = target.bytes();
    let arguments = restore(original.image(), target.path(), &["--json"]);
    let answer = cardkeep(arguments).expect(5).says(words);
    let errors = answer.errors();
    assert!(errors[0]["hints"].to_string().contains("was put back"));
    assert_eq!(answer.json()["targets"][0]["ok"], false);
    let written = target.disk.medium().bytes_written();
    assert!(written < 3 * MIB, "{written} bytes were written");
    let after = target.bytes();
    let is_back = after == before;
    assert!(is_back, "a card of {real_mib} MiB lost what it held");
}

/// Asserts that a card is found out when it is read back, and does not look bootable.
fn check_verified(original: &Original, fault: Fault, real_mib: u64, words: &[&str]) {
    let target = fake(fault, real_mib * MIB);
    let arguments = restore(original.image(), target.path(), &["--no-probe"]);
    cardkeep(arguments).expect(5).says(words);
    target.assert_not_bootable();
}

#[test]
fn a_card_that_wraps_is_found_out_in_seconds() {
    let Some(original) = Original::new("a_card_that_wraps_is_found_out_in_seconds") else {
        return;
    };
    for mib in sizes(USUAL, USUAL_MORE) {
        let size = format!("at most {} MB", (mib * MIB).div_ceil(1_000_000));
        let words = ["can't be trusted", "smaller than it says", &size];
        check_probed(&original, Fault::WrapsAt(mib * MIB), mib, &words);
    }
}

#[test]
fn a_card_that_swallows_is_found_out_in_seconds() {
    let Some(original) = Original::new("a_card_that_swallows_is_found_out_in_seconds") else {
        return;
    };
    let words = ["can't be trusted", "smaller than it says", "loses the rest"];
    for mib in sizes(USUAL, USUAL_MORE)
        .into_iter()
        .chain(sizes(ODD, ODD_MORE))
    {
        check_probed(&original, Fault::HollowFrom(mib * MIB), mib, &words);
    }
}

#[test]
fn a_card_that_wraps_does_not_pass_when_it_is_read_back() {
    let test = "a_card_that_wraps_does_not_pass_when_it_is_read_back";
    let Some(original) = Original::new(test) else {
        return;
    };
    for mib in sizes(USUAL, USUAL_MORE)
        .into_iter()
        .chain(sizes(ODD, ODD_MORE))
    {
        let words = [
            "does not keep what is written to it",
            "smaller than it says",
        ];
        check_verified(&original, Fault::WrapsAt(mib * MIB), mib, &words);
    }
}

#[test]
fn a_card_that_swallows_does_not_pass_when_it_is_read_back() {
    let test = "a_card_that_swallows_does_not_pass_when_it_is_read_back";
    let Some(original) = Original::new(test) else {
        return;
    };
    for mib in sizes(USUAL, USUAL_MORE)
        .into_iter()
        .chain(sizes(ODD, ODD_MORE))
    {
        let words = [
            "does not keep what is written to it",
            "reads zeros where data was written",
        ];
        check_verified(&original, Fault::HollowFrom(mib * MIB), mib, &words);
    }
}
