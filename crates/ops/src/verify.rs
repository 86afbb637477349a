//! `verify`: an image against its own digests, and against a card.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use cardkeep_block::{Extent, Monitor, ReadAt, Silent, Trouble, path_text};
use cardkeep_copy::{Check, Checked, Difference, FrameList, check_image, compare};
use cardkeep_device::{Machine, Source};
use cardkeep_survey::{Cut, PassingSurvey, Place, Scope, locate, survey};

use crate::admission::{Admitted, ContentRule, admit};
use crate::completeness::{Truncated, check_whole};
use crate::content_check::{ContentCheck, Stated, or_mismatch};
use crate::counterpart::Pair;
use crate::error::{OpError, OpErrorKind};
use crate::lost::tell_lost_bytes;
use crate::opened::{Opened, OpenedKind};

/// Places that are looked up by name: each costs reading, and nobody reads more.
const PLACES_MAX: usize = 1000;

/// What to verify.
#[derive(Clone, Debug)]
pub struct VerifyRequest {
    /// The image.
    pub image: PathBuf,
    /// The card to compare it with.
    pub against: Option<PathBuf>,
    /// What becomes of an image that ends before its partitions do.
    pub truncated: Truncated,
    /// The SHA-256 that the image file must have, in hexadecimal digits.
    pub sha256: Option<String>,
    /// How many threads may work.
    pub cores: usize,
}

/// What a comparison with a card found.
#[derive(Clone, Debug)]
pub struct Against {
    /// The card.
    pub card: PathBuf,
    /// What differs.
    pub difference: Difference,
    /// What the differing bytes belong to; of the first ones, where there are very many.
    pub places: Vec<Place>,
}

/// What was verified.
#[derive(Clone, Debug)]
pub struct VerifyReport {
    /// The image.
    pub image: PathBuf,
    /// What it holds and what it was checked against; `None` where it was compared with a card
    /// instead.
    pub checked: Option<Checked>,
    /// What the comparison with a card found, where one was wanted.
    pub against: Option<Against>,
    /// What the image lacks at its end, where it ends before its partitions do.
    pub cut: Option<Cut>,
    /// The checksums that the image file or its content was found to have, in words.
    pub sums: Vec<String>,
}

/// Verifies an image; with a card to compare with, compares what is used of the two.
///
/// # Errors
/// [`OpErrorKind::Mismatch`] where the image is not what its digests say. A card that differs is a
/// result, not an error.
pub fn verify(
    machine: &dyn Machine,
    request: &VerifyRequest,
    monitor: &dyn Monitor,
) -> Result<VerifyReport, OpError> {
    let image = request.image.clone();
    let stated = Stated::of(&image, request.sha256.as_deref())?;
    let source = Source::open(&image).map_err(|error| OpError::of_source(&image, error))?;
    let check = stated.check_file(&image, &source, monitor)?;
    let mismatch = check.file_mismatch();
    verify_opened(machine, request, (source, check), monitor)
        .map_err(|error| or_mismatch(error, mismatch))
}

/// Does the work of [`verify`] for an image that was opened.
fn verify_opened(
    machine: &dyn Machine,
    request: &VerifyRequest,
    (source, mut check): (Source, ContentCheck),
    monitor: &dyn Monitor,
) -> Result<VerifyReport, OpError> {
    let image = request.image.clone();
    let Some(card) = &request.against else {
        let source = Arc::new(source);
        if source.is_device()
            || matches!(admit(&image, &source, ContentRule::Known)?, Admitted::Raw)
        {
            check.expect_file()?;
        }
        let source: Arc<dyn ReadAt> = source;
        let mut passing = PassingSurvey::new(None, 512);
        let see = &mut |bytes: &[u8]| {
            passing.see(bytes);
            check.push(bytes);
        };
        let checked = check_image(&source, request.cores, see, monitor)
            .map_err(|error| OpError::of_copy(&image, &image, error))?;
        let opened = Opened::try_open(machine, &image, monitor)?;
        let sums = match (&opened, checked.check) {
            (Some(opened), Check::Digests) => check.check_all(&opened.content, monitor)?,
            _ => check.finish()?,
        };
        match &opened {
            Some(opened) => opened.tell_losses(monitor),
            None => tell_lost_bytes(&image, (checked.format, checked.content_len), monitor),
        }
        let cut = match &opened {
            Some(opened) => opened_cut(opened, monitor),
            None => passing_cut(&passing, monitor),
        };
        let what = (&*path_text(&image).to_string(), cut.as_ref());
        check_whole(what, request.truncated, OpErrorKind::Corrupt)?;
        return Ok(VerifyReport {
            image,
            checked: Some(checked),
            against: None,
            cut,
            sums,
        });
    };
    let (against, sums) = compare_with(machine, request, (card, check), monitor)?;
    Ok(VerifyReport {
        image,
        checked: None,
        against: Some(against),
        cut: None,
        sums,
    })
}

/// Returns what an image lacks that can be read anywhere; tells it.
fn opened_cut(opened: &Opened, monitor: &dyn Monitor) -> Option<Cut> {
    // Nothing else of a survey is asked for here.
    let own = survey(
        &opened.content,
        opened.sector_bytes,
        Scope::UsedOnly,
        &Silent,
    );
    tell(own.cut, monitor)
}

/// Returns what a stream lacks that has passed; tells it.
fn passing_cut(passing: &PassingSurvey, monitor: &dyn Monitor) -> Option<Cut> {
    tell(passing.cut(), monitor)
}

fn tell(cut: Option<Cut>, monitor: &dyn Monitor) -> Option<Cut> {
    if let Some(cut) = cut.as_ref().filter(|cut| !cut.is_harmless()) {
        monitor.trouble(Trouble::new(format!("it {cut}")));
    }
    cut
}

fn compare_with(
    machine: &dyn Machine,
    request: &VerifyRequest,
    (card, check): (&Path, ContentCheck),
    monitor: &dyn Monitor,
) -> Result<(Against, Vec<String>), OpError> {
    let image = request.image.as_path();
    let opened = Opened::open(machine, image, monitor)?;
    if !matches!(opened.kind, OpenedKind::Image { .. }) {
        check.expect_file()?;
    }
    let sums = check.check_all(&opened.content, monitor)?;
    opened.tell_losses(monitor);
    let cut = opened_cut(&opened, &Silent);
    let what = (&*path_text(image).to_string(), cut.as_ref());
    check_whole(what, request.truncated, OpErrorKind::Corrupt)?;
    let other = Opened::open(machine, card, monitor)?;
    let pair = Pair::of(image, &opened, &other, monitor)?;
    let (content, card_content) = (pair.content.as_ref(), pair.card.as_ref());
    if card_content.len() < pair.map.len() {
        let short = pair.map.len() - card_content.len();
        return Err(OpError::new(
            OpErrorKind::Mismatch,
            format!(
                "{} is {short} bytes shorter than the image's content",
                path_text(card)
            ),
        ));
    }
    let frames = FrameList::new(&pair.map);
    let digests = Some(pair.digests.as_slice());
    let difference = compare(&frames, content, digests, card_content, monitor)
        .map_err(|error| OpError::of_copy(card, image, error))?;
    let extents: Vec<Extent> = difference
        .extents
        .iter()
        .take(PLACES_MAX)
        .copied()
        .collect();
    let places = if extents.is_empty() {
        Vec::new()
    } else {
        let learnt = survey(&content, opened.sector_bytes, Scope::UsedOnly, monitor);
        locate(&content, &learnt, &extents, monitor)
    };
    let against = Against {
        card: card.to_path_buf(),
        difference,
        places,
    };
    Ok((against, sums))
}
