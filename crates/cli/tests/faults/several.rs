//! Two cards at once, of which one fails or is slow.

use std::path::Path;
use std::time::{Duration, Instant};

use cardkeep_block::Extent;
use cardkeep_testkit::{Fault, RequestKind, Times};

use crate::original::{CARD_BYTES, MIB, Original};
use crate::program::{Running, cardkeep};
use crate::target::Target;

fn to_both<'a>(image: &'a Path, one: &'a Target, other: &'a Target) -> Vec<&'a Path> {
    let mut arguments: Vec<&Path> = ["restore", "--json", "--quiet", "--yes"]
        .map(Path::new)
        .into();
    arguments.push(image);
    for target in [one, other] {
        arguments.extend([Path::new("--to"), target.path()]);
    }
    arguments
}

#[test]
fn a_failing_card_does_not_spoil_the_other_one() {
    let test = "a_failing_card_does_not_spoil_the_other_one";
    let Some(original) = Original::new(test) else {
        return;
    };
    let place = original.used_place(30);
    let times = Times::Always;
    let faults = [
        Fault::Unwritable {
            extent: place,
            times,
        },
        Fault::FlipsOnWrite {
            offset: place.start(),
            mask: 1,
            times,
        },
        Fault::DropsWrites {
            extent: place,
            times,
        },
        Fault::Unreadable(place),
        Fault::FlushFails(times),
        Fault::WrapsAt(48 * MIB),
        Fault::WrapsAt(37 * MIB),
        Fault::HollowFrom(48 * MIB),
        Fault::EndsAt(48 * MIB),
        Fault::GoneAfter(20 * MIB),
    ];
    let gzipped = original.gzipped();
    for (index, fault) in faults.into_iter().enumerate() {
        let image = match index % 4 {
            3 => gzipped.clone(),
            _ => original.image(),
        };
        let (healthy, failing) = (Target::new(), Target::with(fault));
        let is_first = index % 2 == 0;
        let (one, other) = match is_first {
            true => (&healthy, &failing),
            false => (&failing, &healthy),
        };
        let answer = cardkeep(to_both(&image, one, other)).expect(5);
        let report = answer.json();
        let (well, ill) = if is_first { (0, 1) } else { (1, 0) };
        let results = &report["targets"];
        assert_eq!(results.as_array().unwrap().len(), 2);
        let path = |target: &Target| target.path().display().to_string();
        assert_eq!(results[well]["path"], path(&healthy));
        assert_eq!(results[well]["ok"], true, "{fault:?}");
        assert_eq!(results[well]["verified"], true);
        assert_eq!(results[ill]["path"], path(&failing));
        assert_eq!(results[ill]["ok"], false, "{fault:?}");
        assert_eq!(answer.errors().len(), 1, "{fault:?}");
        healthy.assert_restored(&original);
        let first = &failing.bytes()[..512];
        assert!(first[510..] != [0x55, 0xAA], "{fault:?} looks bootable");
    }
}

/// Waits until `target` holds its head, which is written last.
fn wait_for_head(target: &Target, original: &Original, running: &mut Running) -> Duration {
    let started = Instant::now();
    while target.bytes_at_start() != original.content[..512] {
        let is_over = running.is_done() || started.elapsed() > Duration::from_secs(60);
        assert!(!is_over, "it never came to the last write");
        std::thread::sleep(Duration::from_millis(10));
    }
    started.elapsed()
}

#[test]
fn a_slow_card_does_not_hold_up_a_fast_one() {
    let Some(original) = Original::new("a_slow_card_does_not_hold_up_a_fast_one") else {
        return;
    };
    for image in [original.image(), original.gzipped()] {
        let (fast, slow) = (Target::new(), Target::new());
        slow.disk.declare(Fault::SlowWrites {
            extent: Extent::between(0, CARD_BYTES),
            delay: Duration::from_millis(150),
        });
        let mut running = Running::start(to_both(&image, &slow, &fast));
        wait_for_head(&fast, &original, &mut running);
        let is_write = |kind: RequestKind| kind.is_write();
        let count = |target: &Target| {
            let requests = target.disk.medium().requests();
            requests.iter().filter(|own| is_write(own.kind)).count()
        };
        let done = count(&slow);
        let report = running.wait().expect(0).json();
        let all = count(&slow);
        assert!(
            done * 2 < all,
            "the slow card had made {done} of {all} writes when the fast one was done"
        );
        for (index, target) in [slow, fast].iter().enumerate() {
            assert_eq!(report["targets"][index]["verified"], true);
            target.assert_restored(&original);
        }
    }
}
