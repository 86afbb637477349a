//! A packed, read-only root in a partition of a card: what is used, and how much of the card it takes.

#![expect(
    clippy::unwrap_used,
    reason = "a test that can't go on fails by panicking"
)]

use cardkeep_block::{AllocationMap, Extent, MemoryMedium, ReadAt, Silent, State, WriteAt};
use cardkeep_survey::{PassingSurvey, Scope, Survey, survey};

const MIB: u64 = 1 << 20;
const START: u64 = MIB;
const LEN: u64 = 8 * MIB;
/// What the superblock states.
const BYTES_USED: u64 = 300_000;

/// A superblock of a squashfs of `bytes_used` bytes.
fn superblock(bytes_used: u64) -> Vec<u8> {
    let mut bytes = vec![0; 96];
    let mut put = |offset: usize, field: &[u8]| {
        bytes[offset..offset + field.len()].copy_from_slice(field);
    };
    put(0x00, b"hsqs");
    put(0x04, &[1]);
    put(0x0C, &131_072u32.to_le_bytes());
    put(0x14, &[1]);
    put(0x16, &[17]);
    put(0x1A, &[1]);
    put(0x1C, &[4]);
    put(0x28, &bytes_used.to_le_bytes());
    for (offset, start) in [(0x40, 1000u64), (0x48, 1100), (0x30, 1200)] {
        put(offset, &start.to_le_bytes());
    }
    put(0x38, &[0xFF; 8]);
    put(0x58, &[0xFF; 8]);
    bytes
}

/// A card of 9 MiB whose second MiB and all behind it are a partition with a squashfs.
fn card(bytes_used: u64) -> MemoryMedium {
    let mut record = [0; 512];
    record[446 + 4] = 0x83;
    record[446 + 8..446 + 12].copy_from_slice(&((START / 512) as u32).to_le_bytes());
    record[446 + 12..446 + 16].copy_from_slice(&((LEN / 512) as u32).to_le_bytes());
    record[510..].copy_from_slice(b"\x55\xaa");
    let medium = MemoryMedium::new(START + LEN);
    medium.write_at(0, &record).unwrap();
    medium.write_at(START, &superblock(bytes_used)).unwrap();
    medium
}

fn learnt(medium: &dyn ReadAt) -> Survey {
    survey(medium, 512, Scope::UsedOnly, &Silent)
}

fn passed(medium: &dyn ReadAt) -> PassingSurvey {
    let mut passing = PassingSurvey::new(Some(medium.len()), 512);
    for offset in (0..medium.len()).step_by(MIB as usize) {
        let count = MIB.min(medium.len() - offset) as usize;
        passing.see(&medium.read_vec(offset, count).unwrap());
    }
    passing
}

fn state_at(map: &AllocationMap, offset: u64) -> State {
    map.run_at(offset).unwrap().state
}

#[test]
fn what_an_appliance_keeps_behind_its_squashfs_is_used_and_needed() {
    let medium = card(BYTES_USED);
    let overlay = START + BYTES_USED.next_multiple_of(64 << 10);
    medium.write_at(overlay + 1080, b"\x53\xef").unwrap();
    let survey = learnt(&medium);
    let root = &survey.partitions[0];
    assert_eq!(root.content.name(), "squashfs");
    let summary = root.content.filesystem().unwrap();
    assert_eq!(summary.len, BYTES_USED.next_multiple_of(4096));
    assert_eq!((root.free_bytes, root.content.needed_len(LEN)), (0, LEN));
    assert_eq!(state_at(&survey.map, overlay - 1), State::Zero);
    assert_eq!(state_at(&survey.map, overlay), State::Used);
    assert_eq!(state_at(&survey.map, START + LEN - 1), State::Used);
    // In passing nothing behind it can be looked at.
    let passing = passed(&medium);
    let runs = passing.runs(Extent::between(START, START + LEN));
    assert!(runs.iter().all(|run| run.state == State::Used), "{runs:?}");
    assert_eq!(passing.needed_len(), START + LEN);
}

#[test]
fn an_image_that_ends_in_the_overlay_lacks_used_bytes() {
    let medium = card(BYTES_USED);
    medium.write_at(START + MIB, b"overlay").unwrap();
    let bytes = medium.read_vec(0, (START + 2 * MIB) as usize).unwrap();
    let cut = learnt(&MemoryMedium::from_bytes(&bytes)).cut.unwrap();
    assert_eq!(cut.missing_bytes, LEN - 2 * MIB);
    assert_eq!(cut.content_end, START + LEN);
}

#[test]
fn a_superblock_that_states_more_than_its_partition_proves_nothing() {
    for bytes_used in [LEN + 1, 1 << 40, u64::MAX] {
        let survey = learnt(&card(bytes_used));
        assert_eq!(survey.partitions[0].used_bytes, LEN, "{bytes_used}");
        let passing = passed(&card(bytes_used));
        let runs = passing.runs(Extent::between(START, START + LEN));
        assert!(runs.iter().all(|run| run.state == State::Used));
    }
    // One that fills its partition is believed.
    let survey = learnt(&card(LEN));
    assert_eq!(survey.partitions[0].content.name(), "squashfs");
}

#[test]
fn a_squashfs_alone_needs_no_padding_but_all_its_bytes() {
    let alone = |len: u64| {
        let medium = MemoryMedium::new(len);
        medium.write_at(0, &superblock(BYTES_USED)).unwrap();
        learnt(&medium)
    };
    for len in [BYTES_USED, BYTES_USED.next_multiple_of(4096)] {
        assert_eq!(alone(len).cut, None, "{len}");
    }
    let cut = alone(BYTES_USED - 1000).cut.unwrap();
    assert_eq!((cut.number, cut.missing_bytes), (0, 1000));
}
