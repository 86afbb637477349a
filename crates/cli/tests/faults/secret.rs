//! What was deleted from a card stays there: not a byte of free space gets into an image, or into what is
//! kept beside it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cardkeep_block::{Extent, WriteAt};
use cardkeep_testkit::{Fault, Random, Tool, is_big_matrix, skip_unless_tools};
use rustix::process::Signal;

use crate::failing::Failing;
use crate::matrix::blow::slow_down;
use crate::matrix::outcome::unpacked;

/// What the free space is full of. Nothing else on the card holds it.
const SECRET: [u8; 16] = *b"<secret-of-mine>";
const NAMES: [&str; 4] = ["card.img.zst", "card.img", "card.img.gz", "card.img.xz"];

/// Makes a filesystem with many small holes, which are read through rather than passed over.
fn make_fragmented(file: &Path) {
    let folder = tempfile::tempdir().unwrap();
    let mut random = Random::new(0x5eed_0f0a);
    let names: Vec<String> = (0..600).map(|number| format!("file{number:03}")).collect();
    for name in &names {
        let mut bytes = vec![0; 2000 + random.below(20_000) as usize];
        random.fill(&mut bytes);
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    fs::File::create(file).unwrap().set_len(64 << 20).unwrap();
    Tool::new("mke2fs")
        .args(["-q", "-F", "-t", "ext4", "-b", "1024", "-J", "size=4", "-d"])
        .args([folder.path(), file])
        .run();
    let script: String = names
        .iter()
        .step_by(2)
        .map(|name| format!("rm {name}\n"))
        .collect();
    Tool::new("debugfs")
        .args(["-w", "-f", "-"])
        .arg(file)
        .run_with(&script);
}

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

/// Counts the holes that are as short as what is read through.
fn holes_read_through(card: &Failing) -> usize {
    let pairs = card.used.windows(2);
    let holes = pairs.map(|pair| pair[1].start() - pair[0].end());
    holes.filter(|&len| len <= 32 << 10).count()
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
    // In files, where requests reach into what is free. Where what tells the free space is lost, all is
    // copied.
    let count = card.used.len();
    let ends = [count / 2, count * 2 / 3].map(|index| {
        let end = card.used[index].end();
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
    std::thread::sleep(Duration::from_millis(60));
    running.signal(Signal::KILL);
    let killed = running.wait();
    card.disk.heal();
    assert!(
        assert_none_tells(&image, what) > 0,
        "nothing was left: {killed:?}"
    );
    if !image.exists() {
        let again = card.back_up(&image, &["--resume"]);
        // Killed between store and map, it says that it starts anew.
        let is_anew = again.code == 2 && again.stderr.contains("start over");
        let last = if is_anew {
            card.back_up(&image, &["--force"])
        } else {
            again
        };
        assert!(matches!(last.code, 0 | 9), "{last:?}");
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
    let test = "nothing_of_free_space_gets_into_an_image";
    if skip_unless_tools(test, &["mke2fs", "debugfs", "gzip", "xz"]) {
        return;
    }
    let Some(card) = Failing::made(test, make_fragmented) else {
        return;
    };
    assert!(holes_read_through(&card) > 100, "nothing to catch");
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
