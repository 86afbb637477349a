//! `verify`: an image against its own digests, and against a card.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use cardkeep_block::{Extent, Monitor, ReadAt, Silent, Trouble, path_text};
use cardkeep_copy::{Check, Checked, Difference, FrameList, check_content, check_frames, compare};
use cardkeep_device::Machine;
use cardkeep_survey::{Cut, PassingSurvey, Place, Scope, locate, survey};

use crate::completeness::{Truncated, check_whole};
use crate::content_check::{ContentCheck, or_mismatch};
use crate::counterpart::Pair;
use crate::error::{OpError, OpErrorKind};
use crate::input::{ContentRule, Input, InputAccess, Opening, Sums, SurveyedInput, Surveying};

/// Places that are looked up by name: each costs reading, and nobody reads more.
const PLACES_MAX: usize = 1000;

/// What to verify.
#[derive(Clone, Debug)]
pub struct VerifyRequest {
    /// The image.
    pub image: PathBuf,
    /// The card to compare it with.
    pub against: Option<PathBuf>,
    /// Which content is taken.
    pub content: ContentRule,
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
    let opening = Opening {
        rule: request.content,
        sums: Sums::Stated(request.sha256.as_deref()),
        device_hint: None,
    };
    let (input, check) = Input::open_image(machine, &request.image, opening, monitor)?;
    let mismatch = check.file_mismatch();
    let result = match &request.against {
        Some(card) => compare_with(machine, request, (input, check, card), monitor),
        None => verify_alone(request, (input, check), monitor),
    };
    result.map_err(|error| or_mismatch(error, mismatch))
}

/// Verifies an image that was opened.
fn verify_alone(
    request: &VerifyRequest,
    (input, mut check): (Input, ContentCheck),
    monitor: &dyn Monitor,
) -> Result<VerifyReport, OpError> {
    let image = input.path.clone();
    let mut passing = PassingSurvey::new(None, 512);
    let checked = match &input.access {
        InputAccess::Indexed { file, index, .. } if index.manifest.is_some() => {
            let file = Arc::clone(file) as Arc<dyn ReadAt>;
            check_frames(&file, index, request.cores, monitor)
        }
        _ => {
            let see = &mut |bytes: &[u8]| {
                passing.see(bytes);
                check.push(bytes);
            };
            let stream = input.stream().map(|stream| stream.content);
            stream.and_then(|stream| check_content(input.format(), stream, see, monitor))
        }
    };
    let checked = checked.map_err(|error| OpError::of_copy(&image, &image, error))?;
    let content = input.content();
    let sums = match (content, checked.check) {
        (Some(content), Check::Digests) => check.check_all(content, monitor)?,
        _ => check.finish()?,
    };
    input.tell_losses(checked.content_len, monitor);
    let cut = match content {
        Some(content) => content_cut(content, input.sector_bytes, monitor),
        None => passing_cut(&passing, monitor),
    };
    let what = (&*path_text(&image).to_string(), cut.as_ref());
    check_whole(what, request.truncated, OpErrorKind::Corrupt)?;
    Ok(VerifyReport {
        image,
        checked: Some(checked),
        against: None,
        cut,
        sums,
    })
}

/// Returns what an image lacks that can be read anywhere; tells it.
fn content_cut(content: &dyn ReadAt, sector_bytes: u32, monitor: &dyn Monitor) -> Option<Cut> {
    // Nothing else of a survey is asked for here.
    let own = survey(content, sector_bytes, Scope::UsedOnly, &Silent);
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
    (input, check, card): (Input, ContentCheck, &Path),
    monitor: &dyn Monitor,
) -> Result<VerifyReport, OpError> {
    let image = request.image.as_path();
    let content = input.random_content()?;
    let sector_bytes = input.sector_bytes;
    input.tell_losses(content.len(), monitor);
    let cut = content_cut(&content, sector_bytes, &Silent);
    let what = (&*path_text(image).to_string(), cut.as_ref());
    check_whole(what, request.truncated, OpErrorKind::Corrupt)?;
    let other = Input::open(machine, card, ContentRule::Known, monitor)?;
    let surveying = Surveying {
        scope: Scope::UsedOnly,
        rule: ContentRule::Any,
        room: None,
        sector_bytes,
    };
    let origin = SurveyedInput::new(input, surveying, check, monitor)?;
    let pair = Pair::of(&origin, &other, monitor)?;
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
        let learnt = survey(&content, sector_bytes, Scope::UsedOnly, monitor);
        locate(&content, &learnt, &extents, monitor)
    };
    let against = Against {
        card: card.to_path_buf(),
        difference,
        places,
    };
    Ok(VerifyReport {
        image: request.image.clone(),
        checked: None,
        against: Some(against),
        cut: None,
        sums: origin.sums,
    })
}
