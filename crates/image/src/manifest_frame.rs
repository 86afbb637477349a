//! The skippable frame that holds the manifest.
//!
//! ```text
//!   0   4  Skippable_Magic_Number 0x184D2A50 (RFC 8878, 3.1.2)
//!   4   4  Frame_Size: what follows, in bytes
//!   8   8  "cardkeep": others use skippable frames too
//!  16   n  the manifest, JSON
//!  16+n 32 BLAKE3 of the JSON, last because it is known last
//! ```
//!
//! JSON has no checksum of its own, and a flipped digit of a run's length would still parse.

use cardkeep_block::{Extent, ReadAt, le_u32};

use crate::error::{CorruptKind, UnsupportedKind};
use crate::{Error, FrameDigest, Manifest};

const MAGIC: u32 = 0x184D_2A50;
const TAG: &[u8; 8] = b"cardkeep";
const HEADER_BYTES: usize = 8;
const DIGEST_BYTES: usize = 32;
/// A card of 16 TiB has some 280 MB of digests: longer than that is none of ours, and must not
/// take memory.
const JSON_BYTES_MAX: u64 = 256 << 20;
const FRAME_BYTES_MIN: usize = HEADER_BYTES + TAG.len() + DIGEST_BYTES;

/// Returns the frame that holds `manifest`.
///
/// # Errors
/// As [`Manifest::to_json`]; [`Error::Unsupported`] where it is too long.
pub(crate) fn encode(manifest: &Manifest) -> Result<Vec<u8>, Error> {
    let json = manifest.to_json()?;
    let too_long = || Error::unsupported(UnsupportedKind::ManifestBytes(json.len() as u64));
    if json.len() as u64 > JSON_BYTES_MAX {
        return Err(too_long());
    }
    let payload = TAG.len() + json.len() + DIGEST_BYTES;
    let payload_len = u32::try_from(payload).map_err(|_| too_long())?;
    let mut frame = Vec::with_capacity(HEADER_BYTES + payload);
    frame.extend(MAGIC.to_le_bytes());
    frame.extend(payload_len.to_le_bytes());
    frame.extend(TAG);
    frame.extend(&json);
    frame.extend(FrameDigest::of(&json).as_bytes());
    Ok(frame)
}

/// Returns the manifest that the skippable frame at `extent` holds; `None` where the frame is
/// somebody else's.
///
/// # Errors
/// [`Error::Corrupt`] at the frame's offset where it is damaged; as [`Manifest::parse`].
pub(crate) fn load(medium: &impl ReadAt, extent: Extent) -> Result<Option<Manifest>, Error> {
    let min = FRAME_BYTES_MIN as u64;
    let Some(json_len) = extent.len().checked_sub(min) else {
        return Ok(None);
    };
    let head = medium.read_vec(extent.start(), HEADER_BYTES + TAG.len())?;
    let is_skippable = le_u32(&head, 0) & 0xFFFF_FFF0 == MAGIC;
    let tagged = &head[HEADER_BYTES..] == TAG;
    if json_len > JSON_BYTES_MAX {
        // Only one that claims to be ours is worth an error.
        let error = Error::unsupported(UnsupportedKind::ManifestBytes(json_len));
        return if tagged { Err(error) } else { Ok(None) };
    }
    let corrupt = |what| Err(Error::corrupt(CorruptKind::ManifestFrame(what)).at(extent.start()));
    // OK to cast: bounded by JSON_BYTES_MAX plus 32.
    let body_len = (json_len + DIGEST_BYTES as u64) as usize;
    let body = medium.read_vec(extent.start() + head.len() as u64, body_len)?;
    let (json, digest) = body.split_at(body_len - DIGEST_BYTES);
    let whole = FrameDigest::of(json).as_bytes() == digest;
    match (tagged, whole) {
        (false, false) => return Ok(None),
        (false, true) => return corrupt("its tag is wrong"),
        (true, false) => return corrupt("its digest is wrong"),
        (true, true) => {}
    }
    if !is_skippable || u64::from(le_u32(&head, 4)) + HEADER_BYTES as u64 != extent.len() {
        return corrupt("its header is wrong");
    }
    Manifest::parse(json)
        .map(Some)
        .map_err(|error| error.at(extent.start()))
}
