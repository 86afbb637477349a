//! Which sizes a filesystem can have, and that nothing is lost in any of them: without root.

use std::os::unix::fs::FileExt;

use cardkeep_block::ReadAt;
use cardkeep_resize::Declined;
use cardkeep_resize::shrink::{ShrinkPlan, Wanted};
use cardkeep_testkit::{Likeness, Random, Tool, Tree};

use crate::image::{
    Image, MIXED, assert_clean, assert_copies, dumped, is_skipped, other_overhead, restored,
};

const META: &str = "meta_bg,^resize_inode";
const SMALLEST: Wanted = Wanted::Smallest {
    margin_per_mille: 0,
};

/// All ways to lay a filesystem out that differ for us.
const LAYOUTS: [&str; 14] = [
    "-t ext4",
    "-t ext4 -O ^64bit,^huge_file -g 2048",
    "-t ext4 -b 1024 -O orphan_file,mmp",
    "-t ext4 -O ^flex_bg -g 2048 -N 512",
    "-t ext4 -O ^metadata_csum,uninit_bg -b 2048",
    "-t ext4 -I 128 -b 1024 -O ^resize_inode",
    "-t ext4 -O sparse_super2,^resize_inode -g 1024",
    "-t ext3 -b 1024 -N 2048",
    "-t ext2 -O ^sparse_super,^resize_inode -b 1024",
    "-t ext4 -O meta_bg,^resize_inode -g 1024",
    "MKE2FS_FIRST_META_BG=2 -t ext4 -b 1024 -g 512 -O meta_bg,^resize_inode",
    "-t ext4 -O bigalloc -b 1024 -g 512",
    "-t ext4 -O bigalloc -C 8192",
    "-t ext4 -O bigalloc,meta_bg,^resize_inode -b 1024 -C 4096 -g 256",
];

/// Returns the files of an image as debugfs copies them.
fn files(image: &Image, path: &std::path::Path, name: &str) -> Tree {
    let folder = image.aside(name);
    std::fs::create_dir_all(&folder).unwrap();
    let words = format!("rdump / {}", folder.display());
    Tool::new("debugfs").args(["-R", &words]).arg(path).run();
    Tree::read(&folder).unwrap()
}

#[test]
fn nothing_is_lost_in_the_smallest_size() {
    if is_skipped("nothing_is_lost_in_the_smallest_size") {
        return;
    }
    let mut copies = 0;
    for options in LAYOUTS {
        let words: Vec<&str> = options.split(' ').collect();
        let image = Image::aged(&words, 48);
        let what = options;
        assert_clean(&image.path(), what);
        let used = dumped(&image.path(), "Block count:") - dumped(&image.path(), "Free blocks:");
        let plan = image.plan(SMALLEST).unwrap();
        assert!(plan.block_count() <= used + 1, "{what}: {plan:?}");
        assert!(plan.moved_block_count() > 500, "{what}");
        let smaller = image.restore(&plan);
        assert_clean(&smaller, what);
        copies += assert_copies(&smaller, what);
        let overhead = other_overhead(&smaller);
        assert_eq!(overhead, other_overhead(&image.path()), "{what}");
        assert_eq!(dumped(&smaller, "Block count:"), plan.block_count());
        assert_eq!(dumped(&smaller, "Free blocks:"), plan.free_block_count());
        let (one, two) = (
            files(&image, &image.path(), "one"),
            files(&image, &smaller, "two"),
        );
        assert!(one.count() > 70, "{}", one.count());
        assert_eq!(
            one.differences(&two, Likeness::Contents),
            Vec::<String>::new(),
            "{what}"
        );
    }
    assert!(copies > 15, "only {copies} copies were looked at");
}

#[test]
fn every_size_between_is_possible() {
    if is_skipped("every_size_between_is_possible") {
        return;
    }
    let cases: [&[&str]; 6] = [
        &["-t", "ext4", "-b", "1024", "-g", "2048"],
        &["-t", "ext4", "-b", "1024", "-g", "1024", "-O", "^flex_bg"],
        &["-t", "ext3", "-b", "1024", "-g", "4096"],
        &MIXED,
        &["-t", "ext4", "-b", "1024", "-g", "256", "-O", META],
        &["-t", "ext4", "-b", "1024", "-g", "256", "-O", "bigalloc"],
    ];
    for (options, seed) in cases.into_iter().zip(1..) {
        let image = Image::aged(options, 40);
        let least = image.plan(SMALLEST).unwrap().block_count();
        let most = dumped(&image.path(), "Block count:");
        let per_group = dumped(&image.path(), "Blocks per group:");
        let mut random = Random::new(seed);
        let mut sizes = vec![most, most - 1, least + 40];
        sizes.extend((0..8).map(|_| least + 40 + random.below(most - least - 40)));
        for size in sizes {
            let plan = image.plan(Wanted::Blocks(size)).unwrap();
            let count = plan.block_count();
            // A group of which only a part would be left may go as a whole.
            assert!(
                count <= size && count + per_group > size,
                "{options:?} {size}"
            );
            let smaller = image.restore(&plan);
            assert_clean(&smaller, &format!("{options:?} {size}"));
            assert_copies(&smaller, &format!("{options:?} {size}"));
        }
        let declined = image.plan(Wanted::Blocks(least / 2)).unwrap_err();
        assert!(
            matches!(declined, Declined::Impossible { .. }),
            "{declined}"
        );
        let declined = image.plan(Wanted::Blocks(most + 1)).unwrap_err();
        assert!(
            matches!(declined, Declined::Impossible { .. }),
            "{declined}"
        );
    }
}

/// What it came to is what asking for it gives: a size that was found once can be told and used
/// later.
#[test]
fn a_size_is_the_same_filesystem_however_it_was_asked_for() {
    if is_skipped("a_size_is_the_same_filesystem_however_it_was_asked_for") {
        return;
    }
    let cases: [&[&str]; 4] = [
        &["-t", "ext4", "-b", "1024", "-g", "1024", "-N", "800"],
        &["-t", "ext3", "-b", "1024"],
        &MIXED,
        &["-t", "ext4", "-b", "1024", "-O", "bigalloc"],
    ];
    for options in cases {
        let image = Image::aged(options, 40);
        for margin_per_mille in [0, 7, 60, 300] {
            let one = image.plan(Wanted::Smallest { margin_per_mille }).unwrap();
            let two = image.plan(Wanted::Blocks(one.block_count())).unwrap();
            let what = format!("{options:?} {one:?} {two:?}");
            assert_eq!(format!("{one:?}"), format!("{two:?}"), "{what}");
            assert!(one.allocation_map() == two.allocation_map(), "{what}");
            let whole = |plan: &ShrinkPlan| {
                let view = plan.view(image.medium());
                view.read_vec(0, plan.len() as usize).unwrap()
            };
            assert!(whole(&one) == whole(&two), "{what}");
        }
    }
}

/// The journal is a file like others: it moves, in pieces where it must, and is not cut.
#[test]
fn a_journal_larger_than_all_else_moves_and_keeps_its_size() {
    if is_skipped("a_journal_larger_than_all_else_moves_and_keeps_its_size") {
        return;
    }
    let cases: [&[&str]; 4] = [
        &["-t", "ext4"],
        &["-t", "ext3", "-b", "1024"],
        &["-t", "ext4", "-b", "1024", "-g", "1024", "-G", "1"],
        &["-t", "ext4", "-O", "bigalloc"],
    ];
    let mut moved = 0;
    for options in cases {
        let image = Image::aged(&[options, &["-J", "size=32"]].concat(), 100);
        let before = journal(&image.path());
        assert!(before.contains("32M"), "{before}");
        let plan = image.plan(SMALLEST).unwrap();
        let what = format!("{options:?} {plan:?}");
        assert!(plan.len() < 60 << 20, "{what}");
        let journal_blocks = (32 << 20) / u64::from(plan.block_bytes());
        moved += u32::from(plan.moved_block_count() > journal_blocks / 2);
        let smaller = image.restore(&plan);
        assert_clean(&smaller, &what);
        assert_eq!(journal(&smaller), before, "{what}");
    }
    // Elsewhere mke2fs puts it below the cut.
    assert!(moved > 1, "{moved}");
}

/// Returns a filesystem with many small gaps, and a journal behind them that has to go there.
fn with_small_gaps(options: &str) -> Image {
    let options: Vec<&str> = options.split(' ').collect();
    let image = Image::planted(&options, 100 << 10, |root| {
        std::fs::create_dir_all(root).unwrap();
        for number in 0..500 {
            std::fs::write(root.join(format!("{number}")), [1; 3000]).unwrap();
        }
    });
    let image = image.unwrap();
    let words: String = (0..250).map(|n| format!("rm /{}\n", n * 2)).collect();
    std::fs::write(image.aside("words"), words).unwrap();
    let script = image.aside("words");
    let debugfs = Tool::new("debugfs").args(["-w", "-f"]).arg(script);
    debugfs.arg(image.path()).run();
    image.mend();
    assert_clean(&image.path(), options.join(" ").as_str());
    image
}

/// A journal in many pieces needs a tree, which is no owner's.
#[test]
fn quotas_do_not_keep_a_journal_together() {
    if is_skipped("quotas_do_not_keep_a_journal_together") {
        return;
    }
    let image = with_small_gaps("-t ext4 -b 1024 -O quota,^resize_inode -J size=32");
    let used = dumped(&image.path(), "Block count:") - dumped(&image.path(), "Free blocks:");
    let plan = image.plan(SMALLEST).unwrap();
    assert!(plan.split_file_count() > 0, "{plan:?}");
    assert!(plan.block_count() <= used + 8, "{used}: {plan:?}");
    assert_clean(&image.restore(&plan), "with quotas");
}

/// Each block of a new tree takes a cluster, and the file pays for all of it.
#[test]
fn a_tree_that_grows_takes_clusters() {
    if is_skipped("a_tree_that_grows_takes_clusters") {
        return;
    }
    let image = with_small_gaps("-t ext4 -O bigalloc -b 1024 -C 4096 -J size=32");
    let plan = image.plan(SMALLEST).unwrap();
    let smaller = image.restore(&plan);
    assert_clean(&smaller, "with a tree");
    let journal = Tool::new("debugfs").args(["-R", "stat <8>"]);
    let said = journal.arg(&smaller).run();
    assert!(said.contains("(ETB0)"), "{plan:?}: {said}");
}

/// A tree that was sparse is dense afterwards; e2fsck counts what it has left.
#[test]
fn a_tree_that_gets_smaller_gives_its_clusters_back() {
    if is_skipped("a_tree_that_gets_smaller_gives_its_clusters_back") {
        return;
    }
    let options = "-t ext4 -O bigalloc,^has_journal -b 1024 -C 4096";
    let options: Vec<&str> = options.split(' ').collect();
    let image = Image::planted(&options, 60 << 10, |root| {
        std::fs::create_dir_all(root).unwrap();
        std::fs::write(root.join("ballast"), vec![1; 2 << 20]).unwrap();
        let file = std::fs::File::create(root.join("sparse")).unwrap();
        for island in 0..600 {
            file.write_all_at(&[7; 1024], island * 16_384).unwrap();
        }
        file.write_all_at(&vec![8; 8 << 20], 600 * 16_384).unwrap();
    });
    let image = image.unwrap();
    let mut words = "rm ballast\n".to_owned();
    for first in (0..600).step_by(60) {
        words += &format!(
            "punch sparse {} {}\n",
            first * 16 + 8,
            first * 16 + 59 * 16 + 8
        );
    }
    std::fs::write(image.aside("words"), words).unwrap();
    let script = image.aside("words");
    let debugfs = Tool::new("debugfs").args(["-w", "-f"]).arg(script);
    debugfs.arg(image.path()).run();
    assert_clean(&image.path(), "as made");
    let tree_blocks = |path: &std::path::Path| {
        let said = Tool::new("debugfs").args(["-R", "stat sparse"]).arg(path);
        said.run().matches("(ETB").count()
    };
    assert!(tree_blocks(&image.path()) > 5);
    let plan = image.plan(SMALLEST).unwrap();
    let smaller = image.restore(&plan);
    assert_clean(&smaller, &format!("{plan:?}"));
    assert!(tree_blocks(&smaller) < 3, "{plan:?}");
}

/// Returns what dumpe2fs says of the journal.
fn journal(path: &std::path::Path) -> String {
    let said = Tool::new("dumpe2fs").arg("-h").arg(path).run();
    let lines = said
        .lines()
        .filter(|line| line.starts_with("Journal") || line.contains("journal"));
    lines.filter(|line| !line.contains("backup")).collect()
}

#[test]
fn any_part_of_the_view_reads_like_the_whole() {
    if is_skipped("any_part_of_the_view_reads_like_the_whole") {
        return;
    }
    let image = Image::aged(&["-t", "ext4", "-b", "1024", "-g", "2048"], 40);
    let plan = image.plan(SMALLEST).unwrap();
    let view = plan.view(image.medium());
    let whole = view.read_vec(0, plan.len() as usize).unwrap();
    let mut random = Random::new(11);
    for _ in 0..400 {
        let offset = random.below(plan.len());
        let len = random.below((plan.len() - offset).min(9000) + 1);
        let part = view.read_vec(offset, len as usize).unwrap();
        assert!(part == whole[offset as usize..(offset + len) as usize]);
    }
    assert!(view.read_vec(plan.len() - 1, 2).is_err());
    // The map calls nothing free that the whole needs: e2fsck reads the restored one.
    std::fs::write(image.aside("whole"), &whole).unwrap();
    assert_clean(&image.aside("whole"), "read as a whole");
    assert_ne!(restored(&view, plan.allocation_map()), whole);
}

#[test]
fn what_is_not_handled_is_declined_by_name() {
    if is_skipped("what_is_not_handled_is_declined_by_name") {
        return;
    }
    let cases: [(&[&str], &str); 4] = [
        (&["-O", "bigalloc"], ""),
        (&["-O", META], ""),
        (&["-E", "test_fs", "-O", "^has_journal"], ""),
        (&["-O", "quota"], ""),
    ];
    for (options, name) in cases {
        let image = Image::blank(&[&["-t", "ext4"], options].concat(), 40);
        match image.plan(SMALLEST) {
            Err(declined) => {
                assert!(!name.is_empty(), "{options:?}: {declined}");
                assert!(declined.to_string().contains(name), "{declined}");
            }
            Ok(plan) => {
                assert!(name.is_empty(), "{options:?}");
                assert_clean(&image.restore(&plan), &format!("{options:?}"));
            }
        }
    }
}
