//! Names: the short one that every entry has, and the long one that may precede it.

use cardkeep_block::le_u16;

use crate::entry_record::EntryRecord;

/// What bytes from 0x80 on mean in short names: code page 437, the default of DOS and Linux.
const HIGH_CHARACTERS: &str = "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐\
    └┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u{a0}";

/// Decodes a padded field of a name.
pub(crate) fn decode(field: &[u8]) -> String {
    let len = field
        .iter()
        .rposition(|&byte| byte != b' ')
        .map_or(0, |last| last + 1);
    field[..len].iter().map(|&byte| character(byte)).collect()
}

fn character(byte: u8) -> char {
    match byte {
        0x80.. => HIGH_CHARACTERS
            .chars()
            .nth(usize::from(byte) - 0x80)
            .unwrap_or(char::REPLACEMENT_CHARACTER),
        _ => char::from(byte),
    }
}

/// The short name of an entry: eight characters, a dot, three more. Windows NT marks base and
/// extension that are all lower case in a byte of their own (0x0c, bits 3 and 4).
pub(crate) fn short_name(entry: &EntryRecord) -> String {
    let mut field = [0; 11];
    field.copy_from_slice(&entry[..11]); // DIR_Name
    // 0xe5 would mean "deleted", so it is stored as 0x05.
    if field[0] == 0x05 {
        field[0] = 0xe5;
    }
    let case = entry[0x0c]; // DIR_NTRes
    let part = |bytes: &[u8], is_lower: bool| {
        let text = decode(bytes);
        if is_lower { text.to_lowercase() } else { text }
    };
    let mut name = part(&field[..8], case & 0x08 != 0);
    let extension = part(&field[8..], case & 0x10 != 0);
    if !extension.is_empty() {
        name.push('.');
        name.push_str(&extension);
    }
    name
}

/// Tells whether two names are the same to FAT.
pub(crate) fn is_same(one: &str, other: &str) -> bool {
    let fold = |name: &str| {
        name.chars()
            .flat_map(char::to_lowercase)
            .collect::<Vec<_>>()
    };
    fold(one) == fold(other)
}

const UNITS_PER_ENTRY: usize = 13;
const LONG_ENTRIES_MAX: u8 = 20;
const LAST_FLAG: u8 = 0x40;

/// Collects a long name: entries with 13 characters each, the last one first, right before the
/// short entry, whose checksum they carry.
#[derive(Debug, Default)]
pub(crate) struct LongName {
    units: Vec<u16>,
    /// The number of the entry read last; 1 completes the name, 0 stands for none.
    number: u8,
    checksum: u8,
}

impl LongName {
    /// Adds an entry with the attributes of a long name.
    pub(crate) fn add(&mut self, entry: &EntryRecord) {
        let order = entry[0x00]; // LDIR_Ord
        let checksum = entry[0x0d]; // LDIR_Chksum
        let number = order & !LAST_FLAG;
        let continues = number != 0 && number + 1 == self.number && checksum == self.checksum;
        if order & LAST_FLAG != 0 && (1..=LONG_ENTRIES_MAX).contains(&number) {
            self.units = vec![0; usize::from(number) * UNITS_PER_ENTRY];
        } else if !continues {
            *self = Self::default();
            return;
        }
        self.number = number;
        self.checksum = checksum;
        // LDIR_Name1, LDIR_Name2, LDIR_Name3
        let offsets = (0x01..0x0b).chain(0x0e..0x1a).chain(0x1c..0x20).step_by(2);
        let start = usize::from(number - 1) * UNITS_PER_ENTRY;
        for (unit, offset) in self.units[start..].iter_mut().zip(offsets) {
            *unit = le_u16(entry, offset);
        }
    }

    /// Returns the name if it is complete and belongs to this short entry; forgets it anyway.
    pub(crate) fn take(&mut self, short: &EntryRecord) -> Option<String> {
        let Self {
            units,
            number,
            checksum,
        } = std::mem::take(self);
        if number != 1 || checksum != short_checksum(&short[..11]) {
            return None;
        }
        let units = units.into_iter().take_while(|&unit| unit != 0);
        let name = char::decode_utf16(units)
            .map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER))
            .collect::<String>();
        (!name.is_empty()).then_some(name)
    }
}

/// `ChkSum` of fatgen103.
fn short_checksum(name: &[u8]) -> u8 {
    name.iter()
        .fold(0, |sum: u8, &byte| sum.rotate_right(1).wrapping_add(byte))
}

#[cfg(test)]
mod tests {
    use super::{LongName, is_same, short_checksum, short_name};
    use crate::entry_record::{ENTRY_BYTES, EntryRecord};

    fn short(name: &[u8; 11], case: u8) -> EntryRecord {
        let mut entry = [0; ENTRY_BYTES];
        entry[..11].copy_from_slice(name);
        entry[0x0c] = case;
        entry
    }

    #[test]
    fn short_names_are_decoded() {
        assert_eq!(short_name(&short(b"CONFIG  TXT", 0)), "CONFIG.TXT");
        assert_eq!(short_name(&short(b"CONFIG  TXT", 0x18)), "config.txt");
        assert_eq!(short_name(&short(b"CONFIG  TXT", 0x08)), "config.TXT");
        assert_eq!(short_name(&short(b"OVERLAYS   ", 0)), "OVERLAYS");
        assert_eq!(short_name(&short(b"A B     C  ", 0)), "A B.C");
        assert_eq!(short_name(&short(b"\x05GR\x99\xe1E  TXT", 0)), "σGRÖßE.TXT");
    }

    #[test]
    fn names_are_compared_without_case() {
        assert!(is_same("Größe.TXT", "gRÖße.txt"));
        assert!(!is_same("a", "ab"));
    }

    /// The entries of a long name, the last part first.
    fn long(name: &str, checksum: u8) -> Vec<EntryRecord> {
        let mut units: Vec<u16> = name.encode_utf16().collect();
        units.push(0);
        let parts: Vec<_> = units.chunks(13).collect();
        let count = parts.len();
        let entry = |(index, part): (usize, &&[u16])| {
            let mut entry = [0xff; ENTRY_BYTES];
            entry[0] = index as u8 + 1 + if index + 1 == count { 0x40 } else { 0 };
            entry[0x0b] = 0x0f;
            entry[0x0d] = checksum;
            let offsets = [1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30];
            for (&unit, offset) in part.iter().zip(offsets) {
                entry[offset..offset + 2].copy_from_slice(&unit.to_le_bytes());
            }
            entry
        };
        parts.iter().enumerate().map(entry).rev().collect()
    }

    #[test]
    fn long_names_are_put_together() {
        let short = short(b"ALONGN~1TXT", 0);
        let sum = short_checksum(&short[..11]);
        for name in [
            "a",
            "thirteen char",
            "a name of three entries, Grüße 🙂.txt",
        ] {
            let mut collected = LongName::default();
            for entry in long(name, sum) {
                collected.add(&entry);
            }
            assert_eq!(collected.take(&short).as_deref(), Some(name));
            assert_eq!(collected.take(&short), None, "a name serves once");
        }
    }

    #[test]
    fn a_long_name_that_is_not_this_files_is_ignored() {
        let short = short(b"ALONGN~1TXT", 0);
        let sum = short_checksum(&short[..11]);
        let check = |entries: &[EntryRecord]| {
            let mut collected = LongName::default();
            entries.iter().for_each(|entry| collected.add(entry));
            assert_eq!(collected.take(&short), None);
        };
        let whole = long("a name of more than two entries", sum);
        check(&long("a name of more than two entries", sum ^ 1));
        check(&whole[1..]);
        check(&whole[..2]);
        check(&[whole[0], whole[2]]);
        check(&[whole[0], whole[1], whole[1]]);
        let mut none = whole[0];
        none[0] = 0x40;
        check(&[none]);
    }
}
