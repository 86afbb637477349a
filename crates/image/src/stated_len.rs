//! How long the content of an image is, as far as the container says it.

use cardkeep_block::ReadAt;

use crate::index::load_index_of;
use crate::{Error, Format, load_zip_member, scan_frames, xz_layout};

/// Returns the length of what the container holds in bytes, where the container states it honestly: from the
/// seek table or all frame headers of zstd, from the indexes of xz, from the directory of zip.
/// `None` where it can't be
/// known without decoding; gzip's ISIZE is the length modulo 4 GiB of the last member only, and
/// never trusted.
///
/// # Errors
/// As [`crate::load_index`] and [`load_zip_member`].
pub fn stated_len(format: Format, medium: &impl ReadAt) -> Result<Option<u64>, Error> {
    match format {
        Format::Raw => Ok(Some(medium.len())),
        Format::Zstd => {
            if let Some(index) = load_index_of(format, medium)? {
                return Ok(Some(index.table.content_len()));
            }
            let scan = scan_frames(medium)?;
            let whole = scan.end == medium.len() && scan.end > 0;
            Ok(whole.then(|| scan.table.content_len()))
        }
        Format::Xz => {
            let streams = xz_layout::load_streams(medium)?.unwrap_or_default();
            let mut records = streams.iter().flat_map(|stream| &stream.records);
            let len = records.try_fold(0_u64, |sum, record| sum.checked_add(record.uncompressed));
            Ok(len.filter(|_| !streams.is_empty()))
        }
        Format::Zip => Ok(load_zip_member(medium)?.and_then(|member| member.content_len)),
        Format::Gzip | Format::Bzip2 | Format::Tar => Ok(None),
    }
}
