//! Clocks that are wrong, and go back. Nothing but names and reports depends on what time it is.

use std::fs;
use std::path::Path;
use std::time::Duration;

use cardkeep_testkit::{Fault, Random, Tool, skip_unless_tools};
use rustix::process::Signal;

use crate::failing::Failing;
use crate::matrix::blow::slow_down;
use crate::original::Original;
use crate::program::{Running, cardkeep, restore};
use crate::target::Target;

const SEED: u64 = 0x5eed_0f08;

/// Gives what was left of a backup a time.
fn date_leftovers(image: &Path, date: &str) -> usize {
    let mut count = 0;
    for ending in [".partial", ".map", ".rescue"] {
        let left = format!("{}{ending}", image.display());
        if Path::new(&left).exists() {
            Tool::new("touch").args(["-d", date]).arg(&left).run();
            count += 1;
        }
    }
    count
}

/// Catches: leftovers called too old, or newer than now, and an image whose bytes depend on the time.
#[test]
fn leftovers_of_another_time_are_gone_on_with() {
    let Some(card) = Failing::new("leftovers_of_another_time_are_gone_on_with") else {
        return;
    };
    let mut random = Random::new(SEED);
    for name in ["card.img.zst", "card.img", "card.img.gz"] {
        let undisturbed = card.path(&format!("undisturbed-{name}"));
        let medium = card.disk.medium();
        let before = medium.requests().len();
        card.back_up(&undisturbed, &[]).expect(0);
        let whole = (medium.requests().len() - before) as u64;
        let expected = fs::read(&undisturbed).unwrap();
        for date in ["1971-01-01", "2037-12-31"] {
            let image = card.path(&format!("{date}-{name}"));
            card.disk.declare(Fault::Flaky {
                extent: card.used_place(1, 512),
                failures: 1,
            });
            let gate = medium.hold_after(whole / 2 + random.below(whole / 4));
            let mut running = card.start(&image, &[]);
            assert!(
                running.signal_at(&gate, Signal::KILL),
                "it was over too soon"
            );
            running.wait();
            card.disk.heal();
            assert!(date_leftovers(&image, date) > 0, "nothing was left");
            let again = card.back_up(&image, &["--resume"]);
            assert!(matches!(again.code, 0 | 9), "{again:?}");
            assert!(fs::read(&image).unwrap() == expected, "{again:?}");
            card.assert_nothing_left(&image);
        }
    }
}

/// Returns what starts the program with a clock that says what `file` does. How long things take, it
/// tells right, as the clock for that never is set.
fn clock_of(file: &Path) -> Vec<(&'static str, String)> {
    let library = Tool::new("faketime")
        .args(["-f", "+0", "printenv", "LD_PRELOAD"])
        .run();
    vec![
        ("LD_PRELOAD", library.trim().to_owned()),
        ("FAKETIME_TIMESTAMP_FILE", file.display().to_string()),
        ("FAKETIME_NO_CACHE", "1".to_owned()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
    ]
}

/// Catches: waiting, or giving up, by the time of day.
#[test]
fn a_clock_that_goes_back_meanwhile_spoils_nothing() {
    let test = "a_clock_that_goes_back_meanwhile_spoils_nothing";
    if skip_unless_tools(test, &["faketime"]) {
        return;
    }
    let (Some(card), Some(original)) = (Failing::new(test), Original::new(test)) else {
        return;
    };
    let clock = card.path("clock");
    let variables = clock_of(&clock);
    fs::write(&clock, "+3650d\n").unwrap();
    let today = Running::start_with(
        ["backup", "--dry-run", "--json"]
            .map(Path::new)
            .into_iter()
            .chain([card.disk.path()]),
        &variables,
    );
    let planned = today.wait().expect(0).stdout;
    let year = 1970 + std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() / 31_556_952;
    assert!(
        planned.contains(&format!("{}-", year + 10)),
        "the clock is right: {planned}"
    );

    slow_down(&card);
    // A card that fails has to do with how long things take.
    card.disk.declare(Fault::Flaky {
        extent: card.used_place(0, 512),
        failures: 1,
    });
    let image = card.path("card.img.zst");
    let mut running = Running::start_with(card.words(&image, &[]), &variables);
    let mut count = 0;
    while !running.is_done() {
        std::thread::sleep(Duration::from_millis(20));
        count += 1;
        assert!(count < 5000, "it hangs");
        // Each time earlier than before.
        fs::write(&clock, format!("-{}d\n", 100 * count)).unwrap();
    }
    assert!(count > 5, "it was over too soon");
    let answer = running.wait();
    assert!(matches!(answer.code, 0 | 9), "{answer:?}");
    assert_eq!(card.judge(&image, &answer), []);

    let target = Target::new();
    fs::write(&clock, "+3650d\n").unwrap();
    let words = restore(original.image(), target.path(), &[]);
    let running = Running::start_with(words, &variables);
    std::thread::sleep(Duration::from_millis(100));
    fs::write(&clock, "-3650d\n").unwrap();
    running.wait().expect(0);
    target.assert_restored(&original);
    // The image is of the future now.
    fs::write(&clock, "-7000d\n").unwrap();
    Running::start_with(
        ["verify".into(), image] as [std::path::PathBuf; 2],
        &variables,
    )
    .wait()
    .expect(0);
    cardkeep(restore(original.image(), target.path(), &["--delta"])).expect(0);
}
