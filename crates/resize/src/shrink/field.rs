//! Writing integers at fixed offsets of on-disk records: the counterpart of the ground's `le_u16`
//! and its like. Nothing is written past the end.

/// Writes a little-endian `u16`.
pub(crate) fn put_u16(bytes: &mut [u8], offset: usize, value: u16) {
    if let Some(field) = bytes.get_mut(offset..offset.saturating_add(2)) {
        field.copy_from_slice(&value.to_le_bytes());
    }
}

/// Writes a little-endian `u32`.
pub(crate) fn put_u32(bytes: &mut [u8], offset: usize, value: u32) {
    if let Some(field) = bytes.get_mut(offset..offset.saturating_add(4)) {
        field.copy_from_slice(&value.to_le_bytes());
    }
}
