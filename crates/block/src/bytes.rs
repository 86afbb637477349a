//! Reading integers at fixed offsets of on-disk records.
//!
//! Every function answers 0 past the end of the record: records are cut to their fixed size by
//! the caller before decoding, so a short one is the caller's error, never a panic.

macro_rules! read_integer {
    ($name:ident, $type:ty, $from:ident, $order:literal) => {
        #[doc = concat!("Returns the ", $order, "-endian `", stringify!($type), "` at `offset`, or 0 past the end.")]
        #[must_use]
        pub fn $name(bytes: &[u8], offset: usize) -> $type {
            let end = offset.saturating_add(size_of::<$type>());
            bytes
                .get(offset..end)
                .and_then(|field| field.try_into().ok())
                .map_or(0, <$type>::$from)
        }
    };
}

read_integer!(le_u16, u16, from_le_bytes, "little");
read_integer!(le_u32, u32, from_le_bytes, "little");
read_integer!(le_u64, u64, from_le_bytes, "little");
read_integer!(be_u16, u16, from_be_bytes, "big");
read_integer!(be_u32, u32, from_be_bytes, "big");
read_integer!(be_u64, u64, from_be_bytes, "big");

#[cfg(test)]
mod tests {
    use super::{be_u32, le_u16, le_u32, le_u64};

    #[test]
    fn integers_are_read_in_their_order() {
        let bytes = [0x12, 0x34, 0x56, 0x78];
        assert_eq!(le_u32(&bytes, 0), 0x7856_3412);
        assert_eq!(be_u32(&bytes, 0), 0x1234_5678);
        assert_eq!(le_u16(&bytes, 2), 0x7856);
    }

    #[test]
    fn past_the_end_reads_as_zero() {
        assert_eq!(le_u32(&[1, 2, 3], 0), 0);
        assert_eq!(le_u64(&[], usize::MAX), 0);
    }
}
