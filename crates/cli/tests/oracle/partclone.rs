//! partclone as a second opinion on which bytes an ext filesystem uses.

use std::path::Path;

use cardkeep_block::Extent;
use cardkeep_testkit::Tool;

/// Returns the bytes of the filesystem on `device` that partclone would copy; `None` for bigalloc,
/// where it gives up ("bitmap error at 0 group", partclone 0.3.23).
pub(crate) fn used_extents(device: &Path, map: &Path) -> Option<Vec<Extent>> {
    if Tool::new("dumpe2fs")
        .arg("-h")
        .arg(device)
        .run()
        .contains("bigalloc")
    {
        return None;
    }
    Tool::new("partclone.extfs")
        .args(["-D", "-q", "-L", "/dev/null", "-s"])
        .args([device, Path::new("-o"), map])
        .run();
    let text = std::fs::read_to_string(map).expect("partclone's map");
    let number = |word: &str| u64::from_str_radix(word.trim_start_matches("0x"), 16).ok();
    let lines = text.lines().filter(|line| line.ends_with('+'));
    let extents = lines.filter_map(|line| {
        let mut words = line.split_whitespace();
        Extent::new(number(words.next()?)?, number(words.next()?)?)
    });
    Some(extents.collect())
}

/// Returns where the journal's blocks and the inode tables lie, by e2fsprogs.
pub(crate) fn zeroable_extents(device: &Path) -> Vec<Extent> {
    let said = Tool::new("dumpe2fs").arg(device).run();
    let block_bytes = field(&said, "Block size:").expect("a block size");
    let mut extents = blocks_after(&said, "Inode table at ", block_bytes);
    extents.extend(journal_extents(device, block_bytes));
    extents
}

/// Returns where the blocks of the journal's content lie, by e2fsprogs; none without a journal.
pub(crate) fn journal_extents(device: &Path, block_bytes: u64) -> Vec<Extent> {
    let said = Tool::new("debugfs")
        .args(["-R", "stat <8>"])
        .arg(device)
        .run();
    let words = said.split(['\n', ' ', ',']);
    let extents = words.filter_map(|word| {
        // `(0-11):523-534` is content, `(IND):535` and `(ETB0):535` are not.
        let (index, place) = word.strip_prefix('(')?.rsplit_once("):")?;
        index
            .starts_with(|c: char| c.is_ascii_digit())
            .then(|| range(place, block_bytes))?
    });
    extents.collect()
}

/// Returns the inode tables of the groups whose descriptors call them zeroed, by e2fsprogs.
pub(crate) fn zeroed_inode_tables(device: &Path) -> Vec<Extent> {
    let said = Tool::new("dumpe2fs").arg(device).run();
    let block_bytes = field(&said, "Block size:").expect("a block size");
    let groups = said.split("\nGroup ").skip(1);
    let zeroed = groups.filter(|group| group.contains("ITABLE_ZEROED"));
    zeroed
        .flat_map(|group| blocks_after(group, "Inode table at ", block_bytes))
        .collect()
}

/// Returns the number behind a title of `dumpe2fs -h`.
pub(crate) fn field(said: &str, title: &str) -> Option<u64> {
    let line = said.lines().find(|line| line.starts_with(title))?;
    line[title.len()..].trim().parse().ok()
}

fn blocks_after(said: &str, title: &str, block_bytes: u64) -> Vec<Extent> {
    let lines = said
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix(title));
    let places = lines.filter_map(|rest| rest.split(' ').next());
    places
        .filter_map(|place| range(place, block_bytes))
        .collect()
}

/// Parses `12-34` or `12`, in blocks.
fn range(place: &str, block_bytes: u64) -> Option<Extent> {
    let (first, last) = place.split_once('-').unwrap_or((place, place));
    let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    Some(Extent::between(
        first * block_bytes,
        (last + 1) * block_bytes,
    ))
}

/// Returns the parts of `wanted` that no extent of `covers` covers.
pub(crate) fn uncovered(wanted: &[Extent], covers: &[Extent]) -> Vec<Extent> {
    let mut covers = covers.to_vec();
    covers.sort_unstable();
    let mut missing = Vec::new();
    for extent in wanted {
        let mut start = extent.start();
        let after = covers
            .partition_point(|cover| cover.start() <= start)
            .saturating_sub(1);
        // Covers may overlap: look a little further back than the nearest.
        for cover in &covers[after.saturating_sub(8)..] {
            if cover.start() >= extent.end() {
                break;
            }
            if cover.end() > start {
                if cover.start() > start {
                    missing.push(Extent::between(start, cover.start()));
                }
                start = start.max(cover.end());
            }
        }
        if start < extent.end() {
            missing.push(Extent::between(start, extent.end()));
        }
    }
    missing
}

#[test]
fn uncovered_parts_are_found() {
    let e = Extent::between;
    let missing = uncovered(
        &[e(0, 10), e(20, 30)],
        &[e(25, 27), e(2, 4), e(3, 12), e(20, 21)],
    );
    assert_eq!(missing, [e(0, 2), e(21, 25), e(27, 30)]);
}
