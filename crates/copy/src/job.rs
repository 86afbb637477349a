//! What a copy is asked to do.

use std::sync::Arc;

use cardkeep_block::{AllocationMap, ReadAt};
use cardkeep_image::{EncodeOptions, Format, FrameDigest, Manifest};

use crate::limits::Limits;

/// Whether the destination is read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verify {
    /// Every used byte, past the cache, while the copy goes on.
    ReadBack,
    /// Not at all.
    Never,
}

/// What to copy and how. It owns what it reads: where that is `'static`, any thread may.
#[derive(Clone)]
pub struct Job<'a> {
    /// The medium.
    pub source: Arc<dyn ReadAt + 'a>,
    /// Which of its bytes matter.
    pub map: Arc<AllocationMap>,
    /// The container to make.
    pub format: Format,
    /// How to make it.
    pub options: EncodeOptions,
    /// Whether to read it back.
    pub verify: Verify,
    /// The sizes of the pipeline.
    pub limits: Limits,
}

/// Makes an image's manifest out of the digests of all frames.
pub type ManifestOf<'a> = &'a dyn Fn(Vec<Option<FrameDigest>>) -> Manifest;
