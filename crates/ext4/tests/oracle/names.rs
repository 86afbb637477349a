//! Files and owners, against what debugfs says.

use cardkeep_block::{Extent, Silent};
use cardkeep_ext4::{Ext4, OwnerKind};

use crate::image::{Image, is_skipped};

const KINDS: [&[&str]; 5] = [
    &["-t", "ext4", "-b", "1024"],
    &["-t", "ext2", "-b", "1024"],
    &["-t", "ext3", "-b", "4096"],
    &["-t", "ext4", "-O", "inline_data"],
    &["-t", "ext4", "-b", "1024", "-C", "4096", "-O", "bigalloc"],
];

#[test]
fn files_are_read_as_they_were_put_there() {
    if is_skipped("files_are_read_as_they_were_put_there") {
        return;
    }
    for options in KINDS {
        let image = Image::make(options, 30);
        let fs = Ext4::load(image.medium()).unwrap();
        for name in [
            "etc/hostname",
            "etc/deep/holey",
            "etc/deep/deeper/entry 299",
            "etc/deep/file 0",
            "etc/deep/file 5",
        ] {
            let expected = std::fs::read(image.tree().join(name)).unwrap();
            let got = fs.read_file(name, 2_000_000).unwrap();
            // Inline data that goes on in an attribute is not read.
            assert!(got == Some(expected), "{options:?} {name}");
        }
        let hostname = Some(b"raspberrypi\n".to_vec());
        for way in [
            "/etc/deep/link",
            "long link",
            "/etc/../etc/./hostname",
            "../etc/hostname",
        ] {
            assert_eq!(
                fs.read_file(way, 100).unwrap(),
                hostname,
                "{options:?} {way}"
            );
        }
        for nothing in ["/etc", "/nothing", "/etc/hostname/x", ""] {
            assert_eq!(fs.read_file(nothing, 100).unwrap(), None, "{nothing}");
        }
        assert_eq!(fs.read_file("/etc/hostname", 11).unwrap(), None);
    }
}

/// Asks debugfs for the inode of each block (icheck) and for its paths (ncheck).
#[test]
fn owners_are_those_that_debugfs_names() {
    if is_skipped("owners_are_those_that_debugfs_names") {
        return;
    }
    for options in KINDS {
        let image = Image::make(options, 30);
        let dump = image.dump();
        let size = dump.block_bytes;
        let blocks: Vec<u64> = (1..dump.block_count).step_by(37).collect();
        let extents: Vec<Extent> = blocks
            .iter()
            .map(|b| Extent::new(b * size, size).unwrap())
            .collect();
        let fs = Ext4::load(image.medium()).unwrap();
        let owners = fs.owners(&extents, &Silent).unwrap();
        let list: Vec<String> = blocks.iter().map(u64::to_string).collect();
        let said = image.debugfs(&format!("icheck {}\n", list.join(" ")));
        let mut named = 0;
        for line in said.lines() {
            let mut words = line.split('\t');
            let (Some(block), Some(inode)) = (words.next(), words.next()) else {
                continue;
            };
            let (Ok(block), Ok(inode)) = (block.parse::<u64>(), inode.parse::<u32>()) else {
                continue;
            };
            let extent = Extent::new(block * size, size).unwrap();
            let paths: Vec<&OwnerKind> = owners
                .iter()
                .filter(|o| o.extent == extent)
                .map(|o| &o.kind)
                .collect();
            if inode < 11 {
                assert!(
                    !paths.is_empty(),
                    "{options:?}: block {block} of inode {inode}"
                );
                continue;
            }
            let said = image.debugfs(&format!("ncheck {inode}\n"));
            let line = said
                .lines()
                .find(|line| line.starts_with(&format!("{inode}\t")));
            let path = line.unwrap().split('\t').nth(1).unwrap();
            let expected = OwnerKind::Path(format!("/{}", path.trim_matches('/')));
            assert_eq!(paths, [&expected], "{options:?}: block {block}");
            named += 1;
        }
        assert!(named > 5, "{options:?}: {named} {said}");
        // What debugfs calls nobody's is metadata or nobody's here too.
        for line in said
            .lines()
            .filter(|line| line.contains("<block not found>"))
        {
            let block: u64 = line.split('\t').next().unwrap().parse().unwrap();
            let extent = Extent::new(block * size, size).unwrap();
            let owner = owners.iter().find(|o| o.extent == extent);
            assert!(
                owner.is_none_or(|o| matches!(o.kind, OwnerKind::Metadata(_))),
                "{owner:?}"
            );
        }
    }
}
