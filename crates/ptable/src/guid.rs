//! Globally unique identifiers as GPT stores them.

use std::fmt;

/// A GUID in the byte order of the medium: the first three fields are little-endian
/// (UEFI specification 2.10, appendix A).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Guid([u8; 16]);

impl Guid {
    /// The GUID of zeros: as a type it marks an entry that is not in use.
    pub const ZERO: Self = Self([0; 16]);

    /// Returns the GUID of the 16 bytes as stored.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Returns the GUID written as 128 bits in reading order: `0xC12A7328_F81F_11D2_…`.
    #[must_use]
    pub const fn from_u128(value: u128) -> Self {
        let b = value.to_be_bytes();
        Self([
            b[3], b[2], b[1], b[0], b[5], b[4], b[7], b[6], b[8], b[9], b[10], b[11], b[12], b[13],
            b[14], b[15],
        ])
    }

    /// Returns the bytes as stored.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0
    }
}

/// Lower case with dashes, as udev writes `PARTUUID`.
impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, index) in [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15]
            .into_iter()
            .enumerate()
        {
            if matches!(position, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{:02x}", self.0[index])?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Guid;

    #[test]
    fn the_first_three_fields_are_little_endian() {
        // The EFI system partition type as UEFI 2.10 table 5-7 prints it and as disks hold it.
        let stored = [
            0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e,
            0xc9, 0x3b,
        ];
        let guid = Guid::from_bytes(stored);
        assert_eq!(guid.to_string(), "c12a7328-f81f-11d2-ba4b-00a0c93ec93b");
        assert_eq!(
            Guid::from_u128(0xC12A7328_F81F_11D2_BA4B_00A0C93EC93B),
            guid
        );
        assert_eq!(guid.to_bytes(), stored);
    }
}
