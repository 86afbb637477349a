//! Random layouts, each of one seed: made smaller, restored larger, and compared partition by partition.
//! `CARDKEEP_SEEDS=FROM..TO` runs other seeds than the usual ones.

use std::fmt::Write;
use std::fs;

use cardkeep_testkit::{Loop, Mount, skip_unless_root};

use super::card::{
    Known, MIB, blank, fill, format_ext, format_fat, format_root, format_swap, len_of, part,
    partition, parts,
};
use crate::desk::Desk;

const SEEDS: std::ops::Range<u64> = 0..3;

/// A small generator of numbers (Knuth's MMIX), enough to choose by.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = self.0.wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Filling {
    Root,
    Fat,
    Ext,
    Swap,
    Bytes,
}

/// Makes a card, and returns what its partitions hold, by number.
fn make(desk: &Desk, dice: &mut Dice) -> Vec<(u32, Filling)> {
    let count = 1 + dice.below(6);
    let root = dice.below(count);
    let is_gpt = dice.below(2) == 0;
    let primaries = if count > 4 { 1 + dice.below(3) } else { count };
    let unit = [2048, 8192, 63][dice.below(3) as usize];
    let mut start = unit.max(2048);
    let mut layout = format!("label: {}\n", if is_gpt { "gpt" } else { "dos" });
    let mut logical = String::new();
    let mut fillings = Vec::new();
    let container_start = std::cell::Cell::new(0);
    for index in 0..count {
        let others = [Filling::Fat, Filling::Ext, Filling::Swap, Filling::Bytes];
        let filling = match index == root {
            true => Filling::Root,
            false => others[dice.below(4) as usize],
        };
        let mib = if index == root {
            40 + dice.below(30)
        } else {
            4 + dice.below(9)
        };
        let size = mib * 2048 - dice.below(2) * 8;
        let is_logical = !is_gpt && index >= primaries;
        if is_logical && container_start.get() == 0 {
            container_start.set(start);
        }
        // A logical one has its record in front of it.
        let first = if is_logical { start + 2048 } else { start };
        let (number, lines) = match is_logical {
            true => (5 + (index - primaries) as u32, &mut logical),
            false => (1 + index as u32, &mut layout),
        };
        let kind = match (is_gpt, filling) {
            (true, _) => "0FC63DAF-8483-4772-8E79-3D69D8477DE4",
            (false, Filling::Fat) => "c",
            (false, Filling::Swap) => "82",
            (false, Filling::Bytes) => "da",
            (false, _) => "83",
        };
        writeln!(lines, "{number}: start={first}, size={size}, type={kind}").unwrap();
        fillings.push((number, filling));
        start = (first + size).next_multiple_of(unit) + dice.below(2) * 4096;
    }
    if container_start.get() > 0 {
        let (first, number) = (container_start.get(), primaries + 1);
        let size = start - first + dice.below(3) * 2048;
        writeln!(layout, "{number}: start={first}, size={size}, type=5").unwrap();
    }
    let mib = start / 2048 + 4 + dice.below(9);
    partition(desk, "card.img", mib, &format!("{layout}{logical}"));
    desk.sh(
        "mkdir -p files/deep; for i in 1 2 3; do head -c 90000 /dev/urandom >files/deep/$i; done",
    );
    for &(number, filling) in &fillings {
        match filling {
            Filling::Root => format_root(desk, "card.img", number, "-L root"),
            Filling::Fat => format_fat(desk, "card.img", number, ""),
            Filling::Ext => format_ext(desk, "card.img", number, "files", ""),
            Filling::Swap => format_swap(desk, "card.img", number),
            Filling::Bytes => fill(desk, "card.img", number),
        }
    }
    fillings
}

fn check(seed: u64) {
    let desk = Desk::new();
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let fillings = make(&desk, &mut dice);
    let root = fillings
        .iter()
        .find(|(_, filling)| *filling == Filling::Root);
    let bytes = fillings
        .iter()
        .filter(|(_, filling)| *filling == Filling::Bytes);
    let whole: Vec<u32> = bytes.map(|(number, _)| *number).collect();
    let known = Known {
        desk: &desk,
        name: "card.img",
        resized: root.unwrap().0,
        whole: &whole,
    };
    let before = fs::read(desk.path("card.img")).unwrap();
    let old_root = part(&desk, "card.img", known.resized);
    // What fails is told with its seed.
    std::io::Write::write_fmt(
        &mut std::io::stderr(),
        format_args!("seed {seed}: {fillings:?}\n"),
    )
    .unwrap();
    desk.expect(0, &["backup", "card.img", "small.img", "--shrink"]);
    let small = known.judge("small.img");
    assert!(small.len < old_root.len, "{small:?}");
    let least = len_of(&desk, "small.img");
    // The smaller one grows again, the original onto another card.
    let larger = least + MIB * (8 + dice.below(60)) + 512 * dice.below(4000);
    let between = least + dice.below(before.len() as u64 - least + 20 * MIB);
    for (from, len) in [("small.img", larger), ("card.img", between / 512 * 512)] {
        blank(&desk, "card", len);
        desk.expect(0, &["restore", from, "card", "--yes"]);
        let place = known.judge("card");
        desk.expect(0, &["verify", from, "--against", "card"]);
        assert!(place.len > small.len || len < larger, "{place:?} of {len}");
    }
    assert!(
        before == fs::read(desk.path("card.img")).unwrap(),
        "the source was written to"
    );
}

#[test]
fn random_layouts_lose_nothing_when_they_get_smaller_and_larger() {
    let seeds = match std::env::var("CARDKEEP_SEEDS") {
        Ok(range) => {
            let (from, to) = range.split_once("..").expect("FROM..TO");
            from.parse().unwrap()..to.parse().unwrap()
        }
        Err(_) => SEEDS,
    };
    for seed in seeds {
        check(seed);
    }
}

/// The kernel mounts what moved and what was resized.
#[test]
fn the_kernel_mounts_every_filesystem_where_it_moved_to() {
    if skip_unless_root("the_kernel_mounts_every_filesystem_where_it_moved_to") {
        return;
    }
    let desk = Desk::new();
    let layout = "label: dos\nlabel-id: 0x5a3b0003\nstart=2048, size=163840, type=83\n\
                  start=165888, size=40960, type=82\nstart=206848, size=20480, type=83";
    partition(&desk, "card.img", 115, layout);
    format_root(&desk, "card.img", 1, "-L root");
    format_swap(&desk, "card.img", 2);
    desk.sh("mkdir -p files; head -c 90000 /dev/urandom >files/one");
    format_ext(&desk, "card.img", 3, "files", "");
    desk.expect(0, &["backup", "card.img", "small.img", "--shrink"]);
    blank(&desk, "card", 150 * MIB);
    desk.expect(0, &["restore", "small.img", "card", "--yes"]);
    let mounted = |name: &str| -> Vec<usize> {
        // Not every kernel knows FAT.
        let places = parts(&desk, name).into_iter();
        let places = places.filter(|part| part.kind == "83");
        let counts = places.map(|part| {
            let place = cardkeep_block::Extent::between(part.start, part.start + part.len);
            let device = Loop::attach_extent(&desk.path(name), place);
            let mount = Mount::new(device.path(), "ro").unwrap();
            fs::read_dir(mount.path()).unwrap().count()
        });
        counts.collect()
    };
    assert_eq!(mounted("card.img"), [3, 2]);
    assert_eq!(mounted("small.img"), [3, 2]);
    assert_eq!(mounted("card"), [3, 2]);
}
