//! Checking whole images, of any program.

use std::io::Read;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use cardkeep_block::{Monitor, Phase, ReadAt};
use cardkeep_image::{FRAME_BYTES, Format, FrameDigest, ImageDigest, Index, Manifest, zero_digest};

use crate::error::CopyError;
use crate::piece::{PieceWindow, ZeroPiece};
use crate::sequential::read_content;

/// Takes a frame's index and content.
pub(crate) type VisitFrame<'a> = &'a mut dyn FnMut(usize, &[u8]) -> Result<(), CopyError>;

/// Reads the content of a whole image, frame by frame.
pub(crate) fn check_stream(
    mut stream: Box<dyn Read + Send>,
    monitor: &dyn Monitor,
    visit: VisitFrame<'_>,
) -> Result<u64, CopyError> {
    let mut content = vec![0; FRAME_BYTES];
    let mut total = 0;
    for index in 0.. {
        if monitor.is_cancelled() {
            return Err(CopyError::Interrupted);
        }
        let len = read_content(&mut *stream, &mut content)?;
        if len == 0 {
            break;
        }
        visit(index, &content[..len])?;
        total += len as u64;
    }
    Ok(total)
}

/// What an image was checked against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// Every frame, against the digests in the manifest.
    Digests,
    /// The container's own checksums only: it has no manifest.
    Checksums,
    /// Nothing: a raw image holds no checksum. It could be read.
    Readable,
}

/// An image that holds what it should.
#[derive(Clone, Debug)]
pub struct Checked {
    /// Its container.
    pub format: Format,
    /// The size of the medium in it, in bytes.
    pub content_len: u64,
    /// The digest of its content.
    pub image_digest: FrameDigest,
    /// What it says about itself.
    pub manifest: Option<Manifest>,
    /// What it was checked against.
    pub check: Check,
}

/// Checks the content of an image by the checksums of its container, or finds that it can be read. Lets `see`
/// see it in order.
///
/// # Errors
/// [`CopyError::Image`] where it can't be decoded, [`CopyError::Source`] where it can't be read.
pub fn check_content(
    format: Format,
    content: Box<dyn Read + Send>,
    see: &mut dyn FnMut(&[u8]),
    monitor: &dyn Monitor,
) -> Result<Checked, CopyError> {
    monitor.phase(Phase::Verify, None);
    let mut digest = ImageDigest::new();
    let content_len = check_stream(content, monitor, &mut |_, content| {
        digest.add(&FrameDigest::of(content));
        see(content);
        monitor.advance(Phase::Verify, content.len() as u64);
        Ok(())
    })?;
    let check = if format == Format::Raw {
        Check::Readable
    } else {
        Check::Checksums
    };
    Ok(Checked {
        format,
        content_len,
        image_digest: digest.finish(),
        manifest: None,
        check,
    })
}

/// Checks the frames of an image in parallel, by the digests in its manifest.
///
/// # Errors
/// [`CopyError::Mismatch`] with the place; [`CopyError::Internal`] for an index without a manifest.
pub fn check_frames(
    image: &Arc<dyn ReadAt>,
    index: &Index,
    workers: usize,
    monitor: &dyn Monitor,
) -> Result<Checked, CopyError> {
    let Some(manifest) = index.manifest.clone() else {
        return Err(CopyError::Internal("an image without digests"));
    };
    monitor.phase(Phase::Verify, Some(index.table.content_len()));
    let next = AtomicUsize::new(0);
    let failure: Mutex<Option<CopyError>> = Mutex::new(None);
    let fail = |error| {
        failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert(error);
        next.store(usize::MAX / 2, Ordering::Relaxed);
    };
    let check = IndexedCheck {
        image: &**image,
        index,
        manifest: &manifest,
        next: &next,
        monitor,
    };
    std::thread::scope(|scope| {
        // One more than can decode at once: somebody waits for the disk meanwhile.
        for _ in 0..=workers.max(1) {
            scope.spawn(|| {
                if let Err(error) = check.run() {
                    fail(error);
                }
            });
        }
    });
    if let Some(error) = failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(error);
    }
    Ok(Checked {
        format: Format::Zstd,
        content_len: index.table.content_len(),
        image_digest: manifest.image_digest(),
        manifest: Some(manifest),
        check: Check::Digests,
    })
}

struct IndexedCheck<'a> {
    image: &'a dyn ReadAt,
    index: &'a Index,
    manifest: &'a Manifest,
    next: &'a AtomicUsize,
    monitor: &'a dyn Monitor,
}

impl IndexedCheck<'_> {
    fn run(&self) -> Result<(), CopyError> {
        let mut decoder = self.index.decoder()?;
        let (mut content, mut pieces) = (Vec::new(), PieceWindow::new());
        let mut zero_piece = ZeroPiece::default();
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(entry) = self.index.table.entries().get(number) else {
                return Ok(());
            };
            if self.monitor.is_cancelled() {
                return Err(CopyError::Interrupted);
            }
            // Frames of an image with a manifest are no longer than its bound, checked on load.
            content.resize(entry.content.len() as usize, 0);
            let bytes = pieces.load(self.image, entry.compressed, u64::MAX)?;
            let extent = entry.content;
            let digest = self.manifest.frames.get(number).copied().flatten();
            if digest.is_none() && zero_piece.holds_zeros(bytes, &mut content, &mut decoder) {
                self.monitor.advance(Phase::Verify, extent.len());
                continue;
            }
            let expected = digest.unwrap_or_else(|| zero_digest(extent.len()));
            // What can't be decoded is told as a mismatch without a digest.
            let decoded = decoder.decode(bytes, &mut content).is_ok();
            let found = decoded.then(|| FrameDigest::of(&content));
            if found != Some(expected) {
                return Err(CopyError::Mismatch {
                    extent,
                    expected,
                    found,
                });
            }
            self.monitor.advance(Phase::Verify, extent.len());
        }
    }
}
