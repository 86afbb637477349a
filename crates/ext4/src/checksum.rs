//! The two checksums of ext4: CRC-16/ARC (gdt_csum) and CRC-32C (metadata_csum), both without the
//! final inversion that libraries apply (kernel doc, "Checksums").

/// Returns the CRC-32C of `data`, continued from `seed`, as the kernel's `crc32c()` does.
pub(crate) fn crc32c(seed: u32, data: &[u8]) -> u32 {
    !crc32c::crc32c_append(!seed, data)
}

/// Returns the CRC-16/ARC of `data`, continued from `seed`, as the kernel's `crc16()` does.
pub(crate) fn crc16(seed: u16, data: &[u8]) -> u16 {
    data.iter().fold(seed, |crc, &byte| {
        (0..8).fold(crc ^ u16::from(byte), |crc, _| {
            if crc & 1 == 1 {
                crc >> 1 ^ 0xA001
            } else {
                crc >> 1
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::{crc16, crc32c};

    // Check values of the catalogue of parametrised CRC algorithms (CRC-16/ARC, CRC-32/ISCSI).
    #[test]
    fn check_values_of_the_catalogue() {
        assert_eq!(crc16(0, b"123456789"), 0xBB3D);
        assert_eq!(crc32c(!0, b"123456789"), !0xE306_9283);
    }
}
