//! Writing integers at fixed offsets of on-disk records, and bits of bitmaps. Past the end of a
//! record nothing is written: fields that a short record has no room for are not there.

/// Writes a little-endian `u16` at `offset`.
pub(super) fn put_u16(record: &mut [u8], offset: usize, value: u16) {
    put(record, offset, &value.to_le_bytes());
}

/// Writes a little-endian `u32` at `offset`.
pub(super) fn put_u32(record: &mut [u8], offset: usize, value: u32) {
    put(record, offset, &value.to_le_bytes());
}

fn put(record: &mut [u8], offset: usize, bytes: &[u8]) {
    let end = offset.saturating_add(bytes.len());
    if let Some(field) = record.get_mut(offset..end) {
        field.copy_from_slice(bytes);
    }
}

/// Makes the bits from `start` up to `end` what `bit` says.
pub(super) fn put_bits(bitmap: &mut [u8], start: u64, end: u64, bit: Bit) {
    for index in start..end {
        let Some(byte) = bitmap.get_mut((index / 8) as usize) else {
            return;
        };
        let mask = 1 << (index % 8);
        match bit {
            Bit::Used => *byte |= mask,
            Bit::Free => *byte &= !mask,
        }
    }
}

/// What a bit of a bitmap says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bit {
    /// 1.
    Used,
    /// 0.
    Free,
}

#[cfg(test)]
mod tests {
    use super::{Bit, put_bits, put_u16, put_u32};

    #[test]
    fn fields_and_bits_stay_within_the_record() {
        let mut record = [0; 5];
        put_u32(&mut record, 2, !0);
        put_u16(&mut record, usize::MAX, !0);
        assert_eq!(record, [0; 5]);
        put_u16(&mut record, 1, 0x1234);
        assert_eq!(record, [0, 0x34, 0x12, 0, 0]);
        let mut bitmap = [0; 3];
        put_bits(&mut bitmap, 3, 40, Bit::Used);
        put_bits(&mut bitmap, 9, 11, Bit::Free);
        assert_eq!(bitmap, [0xF8, 0xF9, 0xFF]);
    }
}
