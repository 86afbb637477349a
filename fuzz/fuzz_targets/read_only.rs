//! What holds for every filesystem whose inside is not looked into.

use cardkeep_block::{Driver, Extent, MemoryMedium, ReadAt, Silent, State, WriteAt};

const LEN_MAX: u64 = 16 << 20;
/// The superblocks lie in it.
const LEN_MIN: u64 = 4096;

/// Returns a medium of the length that the first four bytes say, with the others at its beginning.
pub(crate) fn medium(input: &[u8]) -> Option<MemoryMedium> {
    let (&len, bytes) = input.split_first_chunk::<4>()?;
    let len = LEN_MIN + u64::from(u32::from_le_bytes(len)) * 512 % LEN_MAX;
    let medium = MemoryMedium::new(len);
    let head = &bytes[..bytes.len().min(len as usize)];
    medium.write_at(0, head).unwrap();
    Some(medium)
}

/// Asks the driver everything.
pub(crate) fn check(driver: &dyn Driver, medium: &MemoryMedium) {
    assert!(driver.probe(medium));
    let len = medium.len();
    let Ok(fs) = driver.open(medium) else { return };
    let stated = driver.stated_len(medium).unwrap();
    assert!(stated <= len && fs.summary().len <= len && fs.content_len() == len);
    let map = fs.allocation_map(&Silent).unwrap();
    let mut end = 0;
    for run in map.runs() {
        assert_eq!(run.extent.start(), end);
        end = run.extent.end();
    }
    assert_eq!((end, map.bytes(State::Free)), (len, 0));
    let own = map.runs_in(Extent::between(0, stated));
    assert!(own.into_iter().all(|run| run.state == State::Used));
    let asked = [
        Extent::between(0, len / 2),
        Extent::between(len / 2 + 777, len.max(len / 2 + 777)),
    ];
    for owner in fs.owners(&asked, &Silent) {
        assert!(!owner.extent.is_empty());
        assert!(asked.iter().any(|asked| asked.covers(owner.extent)));
    }
}
