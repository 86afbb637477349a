//! What the system's cache holds and the disk does not, because a write failed: it looks well as long as the
//! disk stays mounted.

use std::fs;

use cardkeep_block::Extent;
use cardkeep_testkit::{Fault, Times, Tool, Unflushed, skip_unless_tools};

use crate::failing::Failing;
use crate::matrix::disk::{Disk, FILES, Journal};
use crate::matrix::outcome::assert_sound;
use crate::program::Answer;

/// Where the disk keeps what is in files, behind what a small image and a map take.
const LATER_FILES: Extent = Extent::between(16 << 20, 100 << 20);

/// The first write there fails.
const fn first_write_fails(extent: Extent) -> Fault {
    let times = Times::First(1);
    Fault::Unwritable { extent, times }
}

/// Makes a disk that has nothing to write of its own.
fn quiet_disk() -> Disk {
    let disk = Disk::new(Journal::None);
    Tool::new("sync").arg("-f").arg(disk.path()).run();
    disk
}

/// Goes on without another look at the disk, and judges what that holds in the end.
fn assert_goes_on(card: &Failing, disk: Disk, name: &str, struck: &Answer) {
    assert!(matches!(struck.code, 4 | 5), "not struck: {struck:?}");
    let image = disk.path().join(name);
    assert!(!image.exists(), "{struck:?}");
    disk.failing().heal();
    card.disk.heal();
    let again = card.back_up(&image, &["--resume"]);
    assert!(matches!(again.code, 0 | 9), "{struck:?}, then {again:?}");
    let disk = disk.put_back();
    let what = format!("{struck:?}, then {again:?}");
    assert_sound(card, &disk.path().join(name), &what);
}

/// Catches: frames of an interrupted image found right in the cache, and taken over.
#[test]
fn frames_that_never_reached_the_disk_are_not_taken_over() {
    let test = "frames_that_never_reached_the_disk_are_not_taken_over";
    let Some(card) = Failing::new(test) else {
        return;
    };
    if skip_unless_tools(test, &["mke2fs", "sync"]) {
        return;
    }
    let disk = quiet_disk();
    disk.declare(first_write_fails(FILES));
    let name = "card.img.zst";
    let struck = card.back_up(&disk.path().join(name), &[]);
    assert_goes_on(&card, disk, name, &struck);
}

/// Catches: a flush asked for again after it failed, which succeeds, and a map saved after it.
#[test]
fn a_store_that_never_reached_the_disk_is_not_called_finished() {
    let test = "a_store_that_never_reached_the_disk_is_not_called_finished";
    let Some(card) = Failing::new(test) else {
        return;
    };
    if skip_unless_tools(test, &["mke2fs", "gzip", "sync"]) {
        return;
    }
    card.disk.declare(Fault::Flaky {
        extent: card.used_place(0, 512),
        failures: 1,
    });
    let disk = quiet_disk();
    disk.declare(first_write_fails(LATER_FILES));
    let name = "card.img.gz";
    let struck = card.back_up(&disk.path().join(name), &[]);
    assert_goes_on(&card, disk, name, &struck);
}

/// Catches: a name given to an image before its content is durable. Verifying makes that durable, too: without it
/// nothing else does.
#[test]
fn an_image_that_was_not_verified_is_on_the_disk_when_it_has_its_name() {
    let test = "an_image_that_was_not_verified_is_on_the_disk_when_it_has_its_name";
    let Some(card) = Failing::new(test) else {
        return;
    };
    if skip_unless_tools(test, &["mke2fs", "gzip", "sync"]) {
        return;
    }
    let cut = |writes| Fault::PowerCutAfterWrites {
        writes,
        unflushed: Unflushed::Lost,
    };
    for name in ["card.img", "card.img.zst", "card.img.gz"] {
        let disk = Disk::new(Journal::Kept);
        // Never due itself, it takes down what is not flushed.
        disk.declare(cut(u64::MAX));
        let image = disk.path().join(name);
        let answer = card.back_up(&image, &["--verify=none"]).expect(0);
        disk.declare(cut(1));
        let other = disk.path().join("other");
        fs::write(&other, [1; 4096]).unwrap();
        fs::File::open(&other)
            .and_then(|other| other.sync_all())
            .unwrap_err();
        let disk = disk.put_back();
        assert_sound(&card, &disk.path().join(name), &format!("{answer:?}"));
    }
}
