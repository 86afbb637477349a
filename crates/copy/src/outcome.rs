//! What a copy did, in numbers.

use cardkeep_image::{FrameDigest, ImageDigest, zero_digest};

use crate::frames::FrameList;

/// What a copy did. Sizes in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Used bytes that were copied.
    pub used_bytes: u64,
    /// What was read of the source, including gaps that were read through.
    pub read_bytes: u64,
    /// The size of what was written.
    pub written_bytes: u64,
    /// Whether every used byte was read back from the destination and compared.
    pub is_verified: bool,
    /// The digest of the image: of all frame digests in address order.
    pub image_digest: FrameDigest,
    /// The digest of each frame; `None` for frames without a used byte.
    pub frames: Vec<Option<FrameDigest>>,
}

/// Returns the digest of an image whose frames have these digests.
pub(crate) fn image_digest(list: &FrameList<'_>, frames: &[Option<FrameDigest>]) -> FrameDigest {
    let whole_zero = zero_digest(list.extent(0).len());
    let mut digest = ImageDigest::new();
    for (index, frame) in frames.iter().enumerate() {
        let len = list.extent(index).len();
        match frame {
            Some(frame) => digest.add(frame),
            None if len == list.extent(0).len() => digest.add(&whole_zero),
            None => digest.add(&zero_digest(len)),
        }
    }
    digest.finish()
}
