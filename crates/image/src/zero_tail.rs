//! Zeros at the end of a file: padding that tools leave which think in blocks.

use cardkeep_block::{BlockError, ReadAt};

const STEP_BYTES: u64 = 64 * 1024;

/// Returns where the zeros that `end` ends begin; `end` where there are none.
///
/// # Errors
/// As the medium.
pub(crate) fn zeros_start(medium: &impl ReadAt, end: u64) -> Result<u64, BlockError> {
    let mut rest = end;
    while rest > 0 {
        let start = rest.saturating_sub(STEP_BYTES);
        // OK to cast: at most STEP_BYTES.
        let bytes = medium.read_vec(start, (rest - start) as usize)?;
        if let Some(last) = bytes.iter().rposition(|&byte| byte != 0) {
            return Ok(start + last as u64 + 1);
        }
        rest = start;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::zeros_start;
    use cardkeep_block::MemoryMedium;

    #[test]
    fn zeros_are_found_across_steps() {
        for (head_len, len) in [(0, 0), (0, 200_000), (1, 1), (70_000, 70_000), (5, 200_000)] {
            let mut bytes = vec![1; head_len];
            bytes.resize(len, 0);
            let medium = MemoryMedium::from_bytes(&bytes);
            let start = zeros_start(&medium, len as u64).unwrap();
            assert_eq!(start, head_len as u64, "of {len}");
        }
    }
}
