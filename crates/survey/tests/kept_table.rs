//! A survey keeps the partition table, and says how far it is the medium's own.

use cardkeep_block::{MemoryMedium, Silent, WriteAt};
use cardkeep_ptable::Scheme;
use cardkeep_survey::{PassingSurvey, Scope, Survey, TableState, survey};

const LEN: u64 = 4 << 20;

/// A card with one partition of `sectors` sectors from sector 2048 on, of this type.
fn card(kind: u8, sectors: u32) -> MemoryMedium {
    let mut record = [0; 512];
    record[446 + 4] = kind;
    record[446 + 8..446 + 12].copy_from_slice(&2048u32.to_le_bytes());
    record[446 + 12..446 + 16].copy_from_slice(&sectors.to_le_bytes());
    record[510..].copy_from_slice(b"\x55\xaa");
    let medium = MemoryMedium::new(LEN);
    medium.write_at(0, &record).expect("it lies on the medium");
    medium
}

fn learnt(medium: &MemoryMedium) -> Survey {
    survey(medium, 512, Scope::UsedOnly, &Silent)
}

#[test]
fn a_table_that_agrees_with_the_medium_is_whole() {
    let survey = learnt(&card(0x83, 1024));
    let table = survey.whole_table().expect("it is whole");
    assert_eq!(table.scheme, Scheme::Mbr);
    assert_eq!(table.partitions.len(), 1);
    assert_eq!(survey.complete_table(), Some(table));
}

#[test]
fn a_table_that_reaches_past_the_end_is_complete_unless_records_lie_there() {
    let survey = learnt(&card(0x83, 1 << 20));
    assert_eq!(survey.table_state, TableState::Cut);
    assert!(survey.whole_table().is_none());
    assert!(survey.complete_table().is_some());
    // Records of logical partitions may be anywhere in an extended one.
    let beyond = card(0x05, 1 << 20);
    let record = [0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 2, 0, 0, 16, 0, 0];
    beyond.write_at((1 << 20) + 462, &record).expect("it fits");
    beyond
        .write_at((1 << 20) + 510, b"\x55\xaa")
        .expect("it fits");
    let survey = learnt(&beyond);
    assert_eq!(survey.table_state, TableState::Incomplete);
    assert!(survey.table.is_some() && survey.complete_table().is_none());
}

#[test]
fn a_table_that_passed_by_is_good_for_showing_only() {
    let medium = card(0x83, 1024);
    let mut passing = PassingSurvey::new(Some(LEN), 512);
    let bytes = cardkeep_block::ReadAt::read_vec(&medium, 0, LEN as usize);
    passing.see(&bytes.expect("memory can be read"));
    let survey = passing.survey();
    assert_eq!(survey.table_state, TableState::Shown);
    assert!(survey.table.is_some() && survey.complete_table().is_none());
}
