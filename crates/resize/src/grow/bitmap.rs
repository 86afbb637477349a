//! Bits of bitmaps. Behind the end of a bitmap there are none.

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
    use super::{Bit, put_bits};

    #[test]
    fn bits_stay_within_the_bitmap() {
        let mut bitmap = [0; 3];
        put_bits(&mut bitmap, 3, 40, Bit::Used);
        put_bits(&mut bitmap, 9, 11, Bit::Free);
        assert_eq!(bitmap, [0xF8, 0xF9, 0xFF]);
    }
}
