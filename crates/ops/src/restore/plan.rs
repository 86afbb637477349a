//! What a restore will do: to be shown before it is done.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use cardkeep_block::{BlockErrorKind, Monitor, path_text};
use cardkeep_copy::WriteMode;
use cardkeep_device::{FileId, Machine, StandardInput, are_same_file};
use cardkeep_survey::{Cut, Scope};

use crate::backup::Unmount;
use crate::completeness::{Truncated, check_whole};
use crate::content_check::{ContentCheck, or_mismatch};
use crate::error::{OpError, OpErrorKind};
use crate::input::{
    ContentRule, Input, InputKind, Opening, PipeSource, Room, Sums, SurveyedInput, Surveying,
};
use crate::precheck::check_mounts;
use crate::restore::expansion::Expand;
use crate::restore::fit::{Fit, Fitting};
use crate::restore::target::{Looked, TargetPlan, contents, look, refused};

/// What cards are restored from.
pub enum RestoreFrom {
    /// An image file.
    Image(PathBuf),
    /// A pipe, compressed or not.
    Pipe {
        /// What comes out of it.
        pipe: Box<dyn Read + Send>,
        /// What it is, where it is none: a file or device that was redirected.
        input: StandardInput,
    },
    /// Another card.
    Card(PathBuf),
}

/// What is wanted.
pub struct RestoreRequest {
    /// What cards are restored from.
    pub from: RestoreFrom,
    /// The cards, or files in their place.
    pub targets: Vec<PathBuf>,
    /// The serial number that the card must have.
    pub expected_serial: Option<String>,
    /// How much of the original is wanted.
    pub scope: Scope,
    /// What of it is written.
    pub mode: WriteMode,
    /// Whether all is read back.
    pub verify: bool,
    /// Whether cards are asked first whether they are as large as they say.
    pub probe: bool,
    /// Whether cards are ejected in the end.
    pub eject: bool,
    /// Whether the last filesystem grows with the card.
    pub expand: Expand,
    /// Which content may be written.
    pub content: ContentRule,
    /// What becomes of an original that ends before its partitions do.
    pub truncated: Truncated,
    /// The SHA-256 that the image file must have, in hexadecimal digits.
    pub sha256: Option<String>,
    /// How many threads may decode.
    pub cores: usize,
}

/// What will be done.
pub struct RestorePlan {
    /// What cards are restored from.
    pub origin: SurveyedInput,
    /// The cards.
    pub targets: Vec<TargetPlan>,
    /// What of the original is written.
    pub mode: WriteMode,
    /// Whether all is read back.
    pub verify: bool,
    /// Whether cards are asked first whether they are as large as they say.
    pub probe: bool,
    /// Whether cards are ejected in the end.
    pub eject: bool,
    /// How much of the original is wanted.
    pub scope: Scope,
    /// What becomes of a pipe that ends before its partitions do.
    pub(crate) truncated: Truncated,
    /// What a pipe turned out to lack.
    pub(crate) cut_on_the_way: OnceLock<Cut>,
    pub(crate) cores: usize,
}

impl RestorePlan {
    /// Returns what the user should know of the original, in words.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let of_stream = self.origin.input.stream_notes.all();
        let own = self.origin.sums.iter().chain(&self.origin.notes);
        own.cloned().chain(of_stream).collect()
    }
}

/// Looks at the original and at all cards, and says what will be done. Nothing is written.
///
/// # Errors
/// [`OpErrorKind::Refused`] where a card must not be written or is too small; errors of opening
/// and reading the original.
pub fn plan(
    machine: &dyn Machine,
    request: RestoreRequest,
    monitor: &dyn Monitor,
) -> Result<RestorePlan, OpError> {
    // ORDER: the cards first. That one must not be written is known at once, and reading an image
    // may take minutes.
    let looked = look_at_all(machine, &request)?;
    let wanted = Wanted {
        scope: request.scope,
        content: request.content,
        sha256: request.sha256.as_deref(),
    };
    let origin = open_origin(machine, request.from, &wanted, &looked, monitor)?;
    check_whole(
        (&origin.name(), origin.cut.as_ref()),
        request.truncated,
        OpErrorKind::Refused,
    )?;
    if origin.input.device().is_none() {
        origin.input.tell_losses(origin.map.len(), monitor);
    }
    let mut targets: Vec<TargetPlan> = Vec::new();
    for card in looked {
        let wanted = (request.expand, request.mode);
        let fit = fit(&origin, (&card, wanted), &targets, monitor)?;
        let contents = contents(&card, monitor);
        targets.push(TargetPlan {
            path: card.path,
            device: card.device,
            file: card.file,
            len: card.len,
            sector_bytes: card.sector_bytes,
            contents,
            fit,
        });
    }
    Ok(RestorePlan {
        origin,
        targets,
        mode: request.mode,
        verify: request.verify,
        probe: request.probe,
        eject: request.eject,
        scope: request.scope,
        truncated: request.truncated,
        cut_on_the_way: OnceLock::new(),
        cores: request.cores,
    })
}

/// How an original is read.
struct Wanted<'a> {
    scope: Scope,
    content: ContentRule,
    /// The SHA-256 that the user gave.
    sha256: Option<&'a str>,
}

/// Opens what is restored, which must not lie on what is written.
fn open_origin(
    machine: &dyn Machine,
    from: RestoreFrom,
    wanted: &Wanted<'_>,
    looked: &[Looked],
    monitor: &dyn Monitor,
) -> Result<SurveyedInput, OpError> {
    let room = room_of(looked);
    let surveying = Surveying {
        scope: wanted.scope,
        rule: wanted.content,
        room: Some(&room),
        sector_bytes: looked.first().map_or(512, |card| card.sector_bytes),
    };
    let (input, check) = match from {
        RestoreFrom::Image(path) => {
            check_image_place(machine, &path, looked)?;
            let opening = Opening {
                rule: wanted.content,
                sums: Sums::Stated(wanted.sha256),
                device_hint: Some("`cardkeep clone CARD CARD` copies a card to another one"),
            };
            Input::open_image(machine, &path, opening, monitor)?
        }
        RestoreFrom::Card(path) => {
            check_image_place(machine, &path, looked)?;
            (open_card(machine, &path, monitor)?, ContentCheck::none())
        }
        RestoreFrom::Pipe { pipe, input } => {
            check_input(machine, &input, looked)?;
            let pipe = PipeSource::standard(pipe, input);
            let input = Input::from_pipe(pipe, wanted.content, wanted.sha256)?;
            (input, ContentCheck::none())
        }
    };
    let mismatch = check.file_mismatch();
    SurveyedInput::new(input, surveying, check, monitor)
        .map_err(|error| or_mismatch(error, mismatch))
}

/// Opens a card that is cloned.
fn open_card(machine: &dyn Machine, path: &Path, monitor: &dyn Monitor) -> Result<Input, OpError> {
    let input = Input::open_held(machine, path, monitor)?;
    if let InputKind::Image { .. } = input.kind {
        let message = format!("{} is a compressed image, not a card", path_text(path));
        return Err(OpError::new(OpErrorKind::Usage, message)
            .hint("`cardkeep restore IMAGE CARD` writes it to a card"));
    }
    if let Some(device) = input.device() {
        check_mounts(machine, device, Unmount::No)?;
    }
    Ok(input)
}

/// Returns the shortest card.
fn room_of(looked: &[Looked]) -> Room {
    let shortest = looked.iter().min_by_key(|card| card.len);
    Room {
        card: shortest.map_or_else(PathBuf::new, |card| card.path.clone()),
        len: shortest.map_or(0, |card| card.len),
    }
}

fn look_at_all(machine: &dyn Machine, request: &RestoreRequest) -> Result<Vec<Looked>, OpError> {
    let serial = request.expected_serial.as_deref();
    let mut looked: Vec<Looked> = Vec::new();
    for path in &request.targets {
        let card = look(machine, path, serial)?;
        if looked.iter().any(|other| is_same(other, &card)) {
            let message = format!("{} is named twice", path_text(path));
            return Err(OpError::new(OpErrorKind::Usage, message));
        }
        looked.push(card);
    }
    if looked.is_empty() {
        return Err(OpError::new(OpErrorKind::Usage, "no card is named"));
    }
    Ok(looked)
}

fn is_same(one: &Looked, other: &Looked) -> bool {
    match (&one.device, &other.device) {
        (Some(one), Some(other)) => one.name == other.name,
        _ => are_same_file(&one.path, &other.path),
    }
}

/// What is redirected to standard input is read as any image is, and must not lie on what is written
/// either.
fn check_input(
    machine: &dyn Machine,
    input: &StandardInput,
    looked: &[Looked],
) -> Result<(), OpError> {
    let same = |card: &&Looked| input.id.is_some() && FileId::of_path(&card.path) == input.id;
    if let Some(card) = looked.iter().find(same) {
        return Err(refused(&card.path, "it is being read"));
    }
    match &input.path {
        Some(path) => check_image_place(machine, path, looked),
        None => Ok(()),
    }
}

/// What is read must not lie on what is written.
fn check_image_place(
    machine: &dyn Machine,
    image: &Path,
    looked: &[Looked],
) -> Result<(), OpError> {
    let unknown = |error| {
        let message = format!("the disk that holds {} can't be found", path_text(image));
        OpError::new(OpErrorKind::Refused, message).caused_by(error)
    };
    for card in looked {
        if are_same_file(image, &card.path) {
            return Err(refused(&card.path, "it is being read"));
        }
        let Some(device) = &card.device else {
            continue;
        };
        let own = match machine.device_of_path(image) {
            Ok(own) => own,
            // What is not there can't be overwritten, and is told where it is opened.
            Err(error) if error.kind() == BlockErrorKind::Gone => return Ok(()),
            Err(error) => return Err(unknown(error)),
        };
        let is_made_of_it = device.backing.is_some() && device.backing == FileId::of_path(image);
        if is_made_of_it || own.is_some_and(|own| own.name == device.name) {
            return Err(refused(&card.path, "it is being read"));
        }
        let holders = machine.devices_holding(image).map_err(unknown)?;
        if holders.contains(&device.name) {
            let why = format!("{} lies on it", path_text(image));
            return Err(refused(&card.path, &why));
        }
    }
    Ok(())
}

/// Returns how `origin` lies on a card. Cards that hold the same share one decoding.
fn fit(
    origin: &SurveyedInput,
    (card, (expand, mode)): (&Looked, (Expand, WriteMode)),
    others: &[TargetPlan],
    monitor: &dyn Monitor,
) -> Result<Arc<Fit>, OpError> {
    if card.len == 0 {
        return Err(refused(
            &card.path,
            "it is empty, or no card is in the reader",
        ));
    }
    let has_table = origin.table.is_some();
    if has_table && card.device.is_some() && card.sector_bytes != origin.input.sector_bytes {
        let why = format!(
            "the partition table counts in sectors of {} bytes, the card in sectors of {}: no \
             system would find its partitions",
            origin.input.sector_bytes, card.sector_bytes
        );
        return Err(refused(&card.path, &why));
    }
    if let Some(other) = others.iter().find(|other| other.len == card.len) {
        return Ok(Arc::clone(&other.fit));
    }
    let fit = Fit::new(Fitting {
        origin,
        len: card.len,
        expand,
        monitor,
    })?;
    let fit = match mode {
        WriteMode::Differing | WriteMode::Resumed if origin.len.is_some() => fit.covering(card.len),
        _ => fit,
    };
    let same = others.iter().find(|other| other.fit.is_same(&fit));
    Ok(same.map_or_else(|| Arc::new(fit), |other| Arc::clone(&other.fit)))
}
