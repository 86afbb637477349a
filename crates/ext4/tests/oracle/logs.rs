//! Journals that wait to be replayed, written by debugfs and replayed by e2fsck.

use std::path::PathBuf;

use cardkeep_block::{AllocationMap, Extent, MemoryMedium, ReadAt, Silent, State};
use cardkeep_ext4::{Error, Ext4};
use cardkeep_testkit::{Random, Tool};

use crate::image::{Image, is_skipped};

const BLOCK: usize = 1024;
const MAGIC: [u8; 4] = [0xC0, 0x3B, 0x39, 0x98];
/// Free blocks in all images here.
const HOMES: std::ops::RangeInclusive<usize> = 20_000..=20_006;

/// All ways to write tags: with and without 64 bits, checksums of version 2 and 3, and none.
const KINDS: [(&str, &str); 6] = [
    ("^metadata_csum,^64bit", "jo\n"),
    ("^metadata_csum,64bit", "jo\n"),
    ("^64bit", "jo -c -v 2\n"),
    ("64bit", "jo -c -v 2\n"),
    ("^64bit", "jo -c -v 3\n"),
    ("64bit", "jo -c -v 3\n"),
];

/// A filesystem with 30 000 blocks of 1 KiB and a log of three transactions.
struct Log {
    image: Image,
    /// Where the log begins, in bytes.
    start: usize,
}

impl Log {
    fn make(kind: (&str, &str)) -> Self {
        Self::with_words(
            kind,
            "jw -b 20000,20001,20002,20004 A\njc\njo\njw -b 20003,20000 -r 20001 B\njc\njo\njw -b 20005,20006 -r 20002,20006 C\njc\n",
        )
    }

    fn with_words((features, open): (&str, &str), words: &str) -> Self {
        let image = Image::make(&["-t", "ext4", "-b", "1024", "-O", features], 30);
        let mut random = Random::new(3);
        let mut words = words.to_owned();
        for name in ["A", "B", "C"] {
            let mut bytes = vec![0; 4 * BLOCK];
            random.fill(&mut bytes);
            // A block that has to be escaped.
            bytes[BLOCK..BLOCK + 4].copy_from_slice(&MAGIC);
            let path: PathBuf = image.aside(name);
            std::fs::write(&path, bytes).unwrap();
            words = words.replace(&format!(" {name}\n"), &format!(" {}\n", path.display()));
        }
        let said = image.debugfs(&format!("{open}{words}"));
        assert!(!said.contains("error"), "{said}");
        let bytes = image.bytes();
        let start = (0..bytes.len() / BLOCK)
            .map(|block| block * BLOCK)
            .find(|&at| bytes[at..].starts_with(&MAGIC) && bytes[at + 7] == 4)
            .unwrap();
        Self { image, start }
    }

    /// Returns what e2fsck makes of it.
    fn after_e2fsck(&self) -> Vec<u8> {
        let copy = self.image.aside("replayed");
        std::fs::copy(self.image.path(), &copy).unwrap();
        let (_, said) = Tool::new("e2fsck")
            .args(["-y", "-E", "journal_only"])
            .arg(&copy)
            .outcome();
        assert!(said.contains("recovering journal"), "{said}");
        std::fs::read(copy).unwrap()
    }

    /// Returns the offset of the log's block `index`, its superblock being 0.
    fn at(&self, index: usize) -> usize {
        self.start + index * BLOCK
    }
}

fn load(bytes: &[u8]) -> (MemoryMedium, Result<AllocationMap, Error>) {
    let medium = MemoryMedium::from_bytes(bytes);
    let map = Ext4::load(&medium).and_then(|fs| fs.allocation_map(&Silent));
    (medium, map)
}

fn view_of(bytes: &[u8]) -> Result<Vec<u8>, Error> {
    let medium = MemoryMedium::from_bytes(bytes);
    let fs = Ext4::load(&medium)?;
    let view = fs.replayed()?;
    let whole = view.medium().read_vec(0, bytes.len())?;
    Ok(whole)
}

/// Compares all blocks but those that any replay changes by itself: the filesystem's superblock
/// (its mark is taken away) and the journal's.
fn assert_same(log: &Log, ours: &[u8], theirs: &[u8]) {
    assert_eq!(ours.len(), theirs.len());
    for block in 0..ours.len() / BLOCK {
        let range = block * BLOCK..(block + 1) * BLOCK;
        if block != 1 && range.start != log.start {
            assert!(ours[range.clone()] == theirs[range], "block {block}");
        }
    }
}

#[test]
fn replay_is_what_e2fsck_makes_of_it() {
    if is_skipped("replay_is_what_e2fsck_makes_of_it") {
        return;
    }
    for kind in KINDS {
        let log = Log::make(kind);
        let before = log.image.bytes();
        let after = log.after_e2fsck();
        let view = view_of(&before).unwrap();
        assert_same(&log, &view, &after);
        let changed: Vec<usize> = HOMES
            .filter(|home| view[home * BLOCK..][..BLOCK] != before[home * BLOCK..][..BLOCK])
            .collect();
        // 20001 and 20002 are revoked later, 20006 by its own transaction.
        assert_eq!(changed, [20_000, 20_003, 20_004, 20_005], "{kind:?}");
        let (_, map) = load(&before);
        let map = map.unwrap();
        let log_extent = Extent::new(log.start as u64, 1024 * BLOCK as u64).unwrap();
        assert!(
            map.runs_in(log_extent).all(|run| run.state == State::Used),
            "{kind:?}"
        );
        assert!(map.bytes(State::Free) > 10 << 20 && map.bytes(State::Zero) == 0);
    }
}

/// The second transaction brings a bitmap in which more is used, the journal alone knows.
/// Recovered, nothing waits any more: e2fsck finds nothing to do, and files are where they were.
#[test]
fn a_recovered_filesystem_is_at_rest() {
    if is_skipped("a_recovered_filesystem_is_at_rest") {
        return;
    }
    for kind in KINDS {
        let log = Log::make(kind);
        let theirs = log.after_e2fsck();
        let medium = MemoryMedium::from_bytes(&log.image.bytes());
        let fs = Ext4::load(&medium).unwrap();
        assert!(fs.check_at_rest().is_err(), "{kind:?}");
        let recovered = fs.recovered().unwrap();
        let at_rest = Ext4::load(&recovered).unwrap();
        at_rest.check_at_rest().unwrap();
        let bytes = recovered.read_vec(0, recovered.len() as usize).unwrap();
        std::fs::write(log.image.path(), &bytes).unwrap();
        let (code, said) = Tool::new("e2fsck")
            .arg("-fn")
            .arg(log.image.path())
            .outcome();
        assert_eq!(code, Some(0), "{kind:?}: {said}");
        assert_same(&log, &bytes, &theirs);
        let again = at_rest.recovered().unwrap();
        assert!(bytes == again.read_vec(0, bytes.len()).unwrap(), "{kind:?}");
    }
}

#[test]
fn blocks_that_only_one_side_of_the_log_uses_are_kept() {
    if is_skipped("blocks_that_only_one_side_of_the_log_uses_are_kept") {
        return;
    }
    let image = Image::make(
        &[
            "-t",
            "ext4",
            "-b",
            "1024",
            "-O",
            "^metadata_csum,^uninit_bg",
        ],
        30,
    );
    let old = image.bytes();
    image.debugfs("setb 20000 40\n");
    let new = image.bytes();
    std::fs::write(image.path(), &old).unwrap();
    // What debugfs changed of the bitmaps and descriptors goes through the log instead.
    let changed: Vec<usize> = (2..old.len() / BLOCK)
        .filter(|block| old[block * BLOCK..][..BLOCK] != new[block * BLOCK..][..BLOCK])
        .collect();
    assert!(!changed.is_empty());
    let content: Vec<u8> = changed
        .iter()
        .flat_map(|b| new[b * BLOCK..][..BLOCK].to_vec())
        .collect();
    let path = image.aside("new");
    std::fs::write(&path, content).unwrap();
    let list: Vec<String> = changed.iter().map(usize::to_string).collect();
    image.debugfs(&format!(
        "jo\njw -b {} {}\njc\n",
        list.join(","),
        path.display()
    ));
    let extent = Extent::new(20_000 << 10, 40 << 10).unwrap();
    let state = |bytes: &[u8]| {
        let map = load(bytes).1.unwrap();
        map.runs_in(extent).map(|run| run.state).collect::<Vec<_>>()
    };
    assert_eq!(state(&old), [State::Free]);
    assert_eq!(state(&image.bytes()), [State::Used]);
    // And the other way round: used before, free after.
    std::fs::write(image.path(), &new).unwrap();
    let content: Vec<u8> = changed
        .iter()
        .flat_map(|b| old[b * BLOCK..][..BLOCK].to_vec())
        .collect();
    std::fs::write(&path, content).unwrap();
    image.debugfs(&format!(
        "jo\njw -b {} {}\njc\n",
        list.join(","),
        path.display()
    ));
    assert_eq!(state(&new), [State::Used]);
    assert_eq!(state(&image.bytes()), [State::Used]);
}

#[test]
fn a_transaction_without_its_commit_does_not_count() {
    if is_skipped("a_transaction_without_its_commit_does_not_count") {
        return;
    }
    for kind in KINDS {
        let log = Log::make(kind);
        // Blocks 1..=5 and its commit 6 are the first transaction; 7 begins the second, whose
        // commit is the first commit block behind.
        let mut bytes = log.image.bytes();
        let commit =
            (7..30).find(|&i| bytes[log.at(i)..].starts_with(&MAGIC) && bytes[log.at(i) + 7] == 2);
        let at = log.at(commit.unwrap());
        bytes[at..at + BLOCK].fill(0);
        std::fs::write(log.image.path(), &bytes).unwrap();
        let view = view_of(&bytes).unwrap();
        assert_same(&log, &view, &log.after_e2fsck());
        let is_new = |home: usize| view[home * BLOCK..][..BLOCK] != bytes[home * BLOCK..][..BLOCK];
        assert!(
            is_new(20_001) && is_new(20_002) && !is_new(20_003),
            "{kind:?}"
        );
    }
}

#[test]
fn any_wrong_checksum_in_the_log_proves_nothing() {
    if is_skipped("any_wrong_checksum_in_the_log_proves_nothing") {
        return;
    }
    for kind in KINDS.into_iter().skip(2) {
        let log = Log::make(kind);
        let good = log.image.bytes();
        assert!(load(&good).1.is_ok());
        let revoke =
            (7..30).find(|&i| good[log.at(i)..].starts_with(&MAGIC) && good[log.at(i) + 7] == 5);
        // Superblock, descriptor, data, commit, revoke.
        let places = [
            log.at(0) + 0x58,
            log.at(1) + 900,
            log.at(3) + 700,
            log.at(6) + 0x34,
            log.at(revoke.unwrap()) + 900,
        ];
        for place in places {
            let mut bytes = good.clone();
            bytes[place] ^= 1;
            assert!(
                matches!(load(&bytes).1, Err(Error::Corrupt(_))),
                "{kind:?} {place}"
            );
        }
    }
}

#[test]
fn what_the_log_says_of_itself_is_doubted() {
    if is_skipped("what_the_log_says_of_itself_is_doubted") {
        return;
    }
    let log = Log::make(KINDS[1]);
    let good = log.image.bytes();
    let cases: [(&str, usize, u8); 7] = [
        ("an error number", log.at(0) + 0x23, 5),
        ("the old checksum", log.at(0) + 0x27, 1),
        ("an unknown feature", log.at(0) + 0x28, 0x80),
        ("fast commits", log.at(0) + 0x2B, 0x23),
        (
            "fast commits of the filesystem",
            1024 + 0x5D,
            good[1024 + 0x5D] | 4,
        ),
        ("a home outside", log.at(1) + 12, 0x7F),
        ("no wish to replay", 1024 + 0x60, good[1024 + 0x60] & !4),
    ];
    for (name, place, value) in cases {
        let mut bytes = good.clone();
        bytes[place] = value;
        assert!(load(&bytes).1.is_err(), "{name}");
    }
    // A home within the log itself.
    let mut bytes = good.clone();
    let own = (log.start / BLOCK + 3) as u32;
    bytes[log.at(1) + 12..log.at(1) + 16].copy_from_slice(&own.to_be_bytes());
    assert!(load(&bytes).1.is_err());
    assert!(load(&good).1.is_ok());
}

/// A log that begins near the ring's end goes on at its beginning.
#[test]
fn the_log_wraps_around() {
    if is_skipped("the_log_wraps_around") {
        return;
    }
    let log = Log::make(KINDS[0]);
    let good = log.image.bytes();
    let total =
        u32::from_be_bytes(good[log.at(0) + 0x10..log.at(0) + 0x14].try_into().unwrap()) as usize;
    let used = 20;
    // Turn the ring by all but three blocks.
    let mut bytes = good.clone();
    for index in 1..total {
        bytes[log.at(index)..log.at(index) + BLOCK].fill(0);
    }
    let turned = |index: usize| (index - 1 + total - 1 - 3) % (total - 1) + 1;
    for index in 1..=used {
        let from = log.at(index);
        bytes[log.at(turned(index))..][..BLOCK].copy_from_slice(&good[from..from + BLOCK]);
    }
    bytes[log.at(0) + 0x1C..log.at(0) + 0x20].copy_from_slice(&(turned(1) as u32).to_be_bytes());
    std::fs::write(log.image.path(), &bytes).unwrap();
    let view = view_of(&bytes).unwrap();
    assert_same(&log, &view, &log.after_e2fsck());
    assert!(view[20_000 * BLOCK..][..BLOCK] != bytes[20_000 * BLOCK..][..BLOCK]);
}
