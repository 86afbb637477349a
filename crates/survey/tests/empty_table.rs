//! A partition table that lists nothing proves nothing.

use cardkeep_block::{MemoryMedium, State, WriteAt};
use cardkeep_survey::{Scope, survey};
use cardkeep_testkit::Recorder;

const SECTORS: u64 = 64 * 2048;

/// CRC-32 as the UEFI specification wants it (section 5.3.2).
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            if crc & 1 == 1 {
                crc >> 1 ^ 0xEDB8_8320
            } else {
                crc >> 1
            }
        })
    })
}

/// A GPT header at `own`, whose 128 empty entries begin at `entries`.
fn header(own: u64, other: u64, entries: u64) -> Vec<u8> {
    let mut bytes = vec![0; 512];
    let mut put = |offset: usize, field: &[u8]| {
        bytes[offset..offset + field.len()].copy_from_slice(field);
    };
    put(0, b"EFI PART");
    put(8, &0x1_0000u32.to_le_bytes());
    put(12, &92u32.to_le_bytes());
    put(24, &own.to_le_bytes());
    put(32, &other.to_le_bytes());
    put(40, &34u64.to_le_bytes());
    put(48, &(SECTORS - 34).to_le_bytes());
    put(56, &[7; 16]);
    put(72, &entries.to_le_bytes());
    put(80, &128u32.to_le_bytes());
    put(84, &128u32.to_le_bytes());
    put(88, &crc32(&[0; 128 * 128]).to_le_bytes());
    let crc = crc32(&bytes[..92]);
    bytes[16..20].copy_from_slice(&crc.to_le_bytes());
    bytes
}

#[test]
fn a_gpt_without_partitions_leaves_nothing_out() {
    let card = MemoryMedium::new(SECTORS * 512);
    let mut mbr = [0; 512];
    mbr[446 + 4] = 0xEE;
    mbr[446 + 8] = 1;
    mbr[446 + 12..446 + 16].copy_from_slice(&(SECTORS as u32 - 1).to_le_bytes());
    mbr[510..].copy_from_slice(&[0x55, 0xAA]);
    card.write_at(0, &mbr).unwrap();
    card.write_at(512, &header(1, SECTORS - 1, 2)).unwrap();
    let backup = header(SECTORS - 1, 1, SECTORS - 33);
    card.write_at((SECTORS - 1) * 512, &backup).unwrap();
    let heard = Recorder::new();
    let survey = survey(&card, 512, Scope::UsedOnly, &heard);
    assert_eq!(survey.map.bytes(State::Used), SECTORS * 512);
    let heard = heard.troubles();
    assert_eq!(heard.len(), 1, "{heard:?}");
    assert!(
        heard[0].message.contains("lists no partitions"),
        "{heard:?}"
    );
}
