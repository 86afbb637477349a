//! What was deleted from a card stays there: not a byte of free space gets into an image, or into what is
//! kept beside it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cardkeep_block::{Extent, WriteAt};
use cardkeep_testkit::{Fault, Tool, is_big_matrix};
use rustix::process::Signal;

use crate::failing::Failing;
use crate::matrix::blow::slow_down;
use crate::matrix::outcome::unpacked;

/// What the free space is full of. Nothing on the sample card holds it twice in a row.
const SECRET: [u8; 16] = *b"<secret-of-mine>";
const NAMES: [&str; 4] = ["card.img.zst", "card.img", "card.img.gz", "card.img.xz"];

/// Fills all that is free of the card.
fn hide_secret(card: &Failing) {
    let inner = card.disk.medium().inner();
    let mut end = 0;
    let len = card.sound.len() as u64;
    let last = Extent::between(len, len);
    for extent in card.used.iter().chain([&last]) {
        let size = (extent.start() - end) as usize;
        let bytes: Vec<u8> = SECRET.iter().copied().cycle().take(size).collect();
        inner.write_at(end, &bytes).unwrap();
        end = extent.end();
    }
}

fn assert_kept(bytes: &[u8], what: &str) {
    let half = &SECRET[..8];
    let found = bytes.windows(half.len()).position(|part| part == half);
    assert_eq!(found, None, "the secret is in {what}");
}

/// Returns what another program reads of an image, or as much as is there of an unfinished one.
fn inside(file: &Path) -> Vec<u8> {
    let name = file.to_string_lossy().into_owned();
    let tool = match name.trim_end_matches(".partial") {
        name if name.ends_with(".zst") => "zstd",
        name if name.ends_with(".gz") => "gzip",
        name if name.ends_with(".xz") => "xz",
        _ => return fs::read(file).unwrap(),
    };
    let out = file.with_extension("inside");
    let script = format!("{tool} -dc <\"$1\" >\"$2\" 2>/dev/null || true");
    Tool::new("sh")
        .args(["-c", &script, "sh"])
        .args([file, &out])
        .run();
    fs::read(out).unwrap()
}

/// Looks at all that is there of an image: itself, what is unfinished, the store and the map.
fn assert_none_tells(image: &Path, what: &str) -> usize {
    let mut count = 0;
    for ending in ["", ".partial", ".rescue", ".map"] {
        let file = PathBuf::from(format!("{}{ending}", image.display()));
        if file.exists() {
            count += 1;
            let what = format!("{}, {what}", file.display());
            assert_kept(&fs::read(&file).unwrap(), &what);
            assert_kept(&inside(&file), &what);
        }
    }
    count
}

/// How the card fails: not at all; for a moment, so that a store is kept; for good.
fn faults(card: &Failing) -> [Vec<Fault>; 3] {
    let flaky = (0..3).map(|index| Fault::Flaky {
        extent: card.used_place(index, 512),
        failures: 2,
    });
    // At the ends of what is used, where requests reach into what is free. Only of files: where what
    // tells the free space is lost, all is copied.
    let ends = [card.used[0], card.used[2]].map(|extent| {
        let end = extent.end() / 512 * 512;
        Fault::Unreadable(Extent::between(end - 512, end))
    });
    [Vec::new(), flaky.collect(), ends.into()]
}

fn check(card: &Failing, name: &str, faults: &[Fault], what: &str) {
    let fail = || faults.iter().for_each(|&fault| card.disk.declare(fault));
    let image = card.path(&format!("{what}-{name}"));
    fail();
    let answer = card.back_up(&image, &["--retries=1"]);
    assert!(matches!(answer.code, 0 | 9), "{answer:?}");
    assert!(assert_none_tells(&image, what) > 0);
    card.disk.heal();

    // Killed in the middle, and gone on with.
    let image = card.path(&format!("{what}-killed-{name}"));
    slow_down(card);
    fail();
    let partial = format!("{}.partial", image.display());
    let mut running = card.start(&image, &["--retries=1"]);
    while !Path::new(&partial).exists() && !running.is_done() {
        std::thread::sleep(Duration::from_millis(1));
    }
    std::thread::sleep(Duration::from_millis(120));
    running.signal(Signal::KILL);
    running.wait();
    card.disk.heal();
    assert!(assert_none_tells(&image, what) > 0, "nothing was left");
    if !image.exists() {
        let again = card.back_up(&image, &["--resume"]);
        assert!(matches!(again.code, 0 | 9), "{again:?}");
    }
    assert_none_tells(&image, what);
    assert!(unpacked_len(&image) >= card.sound.len(), "{what}");
}

fn unpacked_len(image: &Path) -> usize {
    match image.extension() {
        Some(ending) if ending == "xz" => inside(image).len(),
        _ => unpacked(image).len(),
    }
}

/// Catches: gaps that were read through, the rest of reused buffers, and what failed reads left in them.
#[test]
fn nothing_of_free_space_gets_into_an_image() {
    let Some(card) = Failing::new("nothing_of_free_space_gets_into_an_image") else {
        return;
    };
    hide_secret(&card);
    let kinds = ["sound", "flaky", "bad"];
    for (number, name) in NAMES.into_iter().enumerate() {
        for (index, (faults, what)) in faults(&card).iter().zip(kinds).enumerate() {
            if is_big_matrix() && number < 2 || index == (number + 2) % kinds.len() {
                check(&card, name, faults, what);
            }
        }
    }
}
