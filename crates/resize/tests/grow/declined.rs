//! What is not made larger, and why; and that damage ends in an answer.

use cardkeep_block::{MemoryMedium, ReadAt, WriteAt};
use cardkeep_ext4::Ext4;
use cardkeep_resize::Declined;
use cardkeep_resize::grow::{Grown, plan};
use cardkeep_testkit::Random;

use crate::image::{Image, MIB, is_skipped};

/// Changes bytes of the superblock, asks for a plan, and puts them back.
fn plan_with(image: &Image, offset: u64, bytes: &[u8]) -> Result<u64, Declined> {
    let medium = image.in_memory();
    medium.write_at(1024 + offset, bytes).unwrap();
    plan(&medium, 100 * MIB).map(|grown| grown.len)
}

#[test]
fn a_filesystem_that_waits_for_something_is_declined() {
    if is_skipped("a_filesystem_that_waits_for_something_is_declined") {
        return;
    }
    // Without checksums, so that each field can be changed alone.
    let image = Image::make("-t ext4 -b 4096 -O ^metadata_csum", 20 << 10);
    let incompat = image.superblock().incompat;
    assert_eq!(plan_with(&image, 0x3A, &[1]).unwrap(), 100 * MIB);
    let waiting = (incompat | 0x4).to_le_bytes();
    let unknown = (incompat | 0x4000_0000).to_le_bytes();
    let cases: [(u64, &[u8]); 4] = [
        (0x3A, &[0, 0]),
        (0x3A, &[3, 0]),
        (0x60, &waiting),
        (0x60, &unknown),
    ];
    for (offset, bytes) in cases {
        let declined = plan_with(&image, offset, bytes).unwrap_err();
        assert!(matches!(declined, Declined::Filesystem(_)), "{declined:?}");
    }
    let shared = (image.superblock().ro_compat | 0x4000).to_le_bytes();
    let declined = plan_with(&image, 0x64, &shared).unwrap_err();
    assert!(matches!(declined, Declined::Unsupported(_)), "{declined:?}");
}

/// The kernel mounts none such, and whose the blocks before it are nobody can say.
#[test]
fn a_first_meta_block_group_behind_the_end_is_declined() {
    if is_skipped("a_first_meta_block_group_behind_the_end_is_declined") {
        return;
    }
    let image = Image::make(
        "-t ext4 -b 4096 -O meta_bg,^resize_inode,^metadata_csum",
        20 << 10,
    );
    let first = |number: u32| plan_with(&image, 0x104, &number.to_le_bytes());
    assert_eq!(first(0).unwrap(), 100 * MIB);
    let declined = first(2).unwrap_err();
    assert!(matches!(declined, Declined::Unsupported(_)), "{declined:?}");
}

#[test]
fn sizes_that_can_not_be_are_declined_with_those_that_can() {
    if is_skipped("sizes_that_can_not_be_are_declined_with_those_that_can") {
        return;
    }
    let image = Image::make("-t ext4 -b 4096 -O ^64bit", 20 << 10);
    let Err(Declined::Smaller { len }) = image.plan(19 * MIB) else {
        panic!("it was made smaller");
    };
    assert_eq!(len, 20 * MIB);
    let Err(Declined::TooLarge { len_max }) = image.plan(1 << 45) else {
        panic!("it was made too large");
    };
    assert_eq!(len_max, (1 << 44) - 4096);
}

/// Where the reserve is not what it should be, its blocks may be somebody's.
#[test]
fn a_strange_reserve_is_declined() {
    if is_skipped("a_strange_reserve_is_declined") {
        return;
    }
    let image = Image::make("-t ext4 -b 4096", 20 << 10);
    assert!(plan(&image.in_memory(), 900 * MIB).is_ok());
    // Block 2 is the first reserved one; 1 holds the descriptors.
    let medium = image.in_memory();
    medium.write_at(2 * 4096, &[1]).unwrap();
    let declined = plan(&medium, 900 * MIB).unwrap_err();
    assert!(matches!(declined, Declined::Unsupported(_)), "{declined:?}");
}

/// Patches lie in order and within the new size, and with them it is a filesystem of that size.
fn assert_sound(medium: &MemoryMedium, grown: &Grown) {
    let target = MemoryMedium::new(grown.len);
    let old = medium.read_vec(0, grown.old_len as usize).unwrap();
    target.write_at(0, &old).unwrap();
    let mut end = 0;
    for patch in &grown.patches {
        assert!(patch.offset >= end);
        end = patch.extent().end();
        target.write_at(patch.offset, &patch.bytes).unwrap();
    }
    let fs = Ext4::load(&target).unwrap();
    fs.check_at_rest().unwrap();
    assert_eq!(fs.info().len, grown.len);
}

#[test]
fn damage_ends_in_an_answer() {
    if is_skipped("damage_ends_in_an_answer") {
        return;
    }
    let mut random = Random::new(11);
    for options in [
        "-t ext4 -b 1024 -O ^metadata_csum",
        "-t ext2 -b 4096",
        "-t ext3 -b 1024",
    ] {
        let medium = Image::make(options, 8 << 10).in_memory();
        let (mut planned, mut declined) = (0, 0);
        for _ in 0..500 {
            let before = medium.read_vec(0, 16_384).unwrap();
            for _ in 0..=random.below(3) {
                let within = if random.below(2) == 0 { 1024 } else { 12_288 };
                let byte = [random.below(256) as u8];
                medium.write_at(1024 + random.below(within), &byte).unwrap();
            }
            let len = 8 * MIB + random.below(1 << 33);
            match plan(&medium, len) {
                Ok(grown) => {
                    planned += 1;
                    assert_sound(&medium, &grown);
                }
                Err(_) => declined += 1,
            }
            medium.write_at(0, &before).unwrap();
        }
        assert!(
            planned > 0 && declined > 0,
            "{options}: {planned}, {declined}"
        );
    }
}
