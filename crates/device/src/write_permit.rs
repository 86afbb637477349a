//! The permission to write to one device or file, in the places of one approved plan.
//!
//! Main type: [`WritePermit`], invariant 4 of the design made a type: nothing else opens a
//! [`crate::DeviceSink`], and nothing but the checks below makes one.

use std::path::{Path, PathBuf};

use cardkeep_block::{AllocationMap, BlockError, BlockErrorKind, Extent, Operation, Run, State};

use crate::device::Device;
use crate::file_id::{FileId, are_same_file};
use crate::file_target::FileTarget;
use crate::machine::Machine;
use crate::platform::writing;
use crate::refusal::Refusal;
use crate::verdict::{Verdict, verdict};

/// The permission to write to one device or file, in these places and no others.
///
/// It is neither copied nor made by hand: its holder went through the checks of
/// [`WritePermit::for_device`] or [`WritePermit::for_file`].
#[derive(Debug)]
pub struct WritePermit {
    path: PathBuf,
    places: AllocationMap,
    target: Target,
    /// What the device is made of.
    backing: Option<FileId>,
}

/// What the permit was given for, so that opening can tell whether it is still that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// A device.
    Device {
        /// The number of its special file; `None` where it had none, and then nothing opens.
        number: Option<u64>,
        /// The system's number for this insertion of the medium, where it counts them.
        diskseq: Option<u64>,
        /// The size in bytes.
        size_bytes: u64,
    },
    /// A regular file.
    File {
        /// Its identity, where the platform tells any.
        id: Option<FileId>,
    },
}

impl WritePermit {
    /// Returns the permission to write to `approved`, a whole device, wherever `places` says
    /// `Used`. `keep` are the files that are still needed: the image that is read. `places` has
    /// the device's length, which may leave out a last incomplete sector.
    ///
    /// The machine is read anew: what was true when the user approved need not be true now.
    ///
    /// Where a kept file lies can't always be told: on network shares, in memory, on overlays.
    /// Such a file does not stand against the permit. To be read at all it would have to lie on a
    /// mounted filesystem, and a device from which anything is mounted gets no permit; a mount
    /// that this process does not see still makes the exclusive opening fail.
    ///
    /// # Errors
    /// [`Refusal`]: where it is gone or not the same medium any more, where its verdict speaks
    /// against it (any use of it does), where something is mounted from it, where it holds or is
    /// one of `keep`, where `places` has another length, and where the machine can't be asked.
    pub fn for_device(
        machine: &dyn Machine,
        approved: &Device,
        keep: &[PathBuf],
        places: AllocationMap,
    ) -> Result<Self, Refusal> {
        let devices = machine.devices().map_err(Refusal::Machine)?;
        let fresh = devices
            .into_iter()
            .find(|found| found.name == approved.name);
        let Some(fresh) = fresh else {
            let path = approved.path.clone();
            return Err(Refusal::NotThere { path });
        };
        expect_same(approved, &fresh)?;
        expect_len(&places, fresh.size_bytes, u64::from(fresh.sector_bytes))?;
        if let Verdict::Guarded(guards) = verdict(&fresh) {
            return Err(Refusal::Guarded { guards });
        }
        for file in keep {
            expect_elsewhere(machine, &fresh, file)?;
        }
        expect_unmounted(&fresh)?;
        let target = Target::Device {
            number: writing::device_number(&fresh.path),
            diskseq: fresh.diskseq,
            size_bytes: fresh.size_bytes,
        };
        Ok(Self {
            backing: fresh.backing,
            path: fresh.path,
            places,
            target,
        })
    }

    /// Returns the permission to write to `approved`, a regular file that stands in for a card,
    /// wherever `places` says `Used`. `keep` are the files that are still needed. `places` has the
    /// file's length.
    ///
    /// The file is looked at anew: its name may lead to another one by now.
    ///
    /// # Errors
    /// [`Refusal`]: where another file has its name now, where it is one of `keep`, where `places`
    /// has another length, and as [`FileTarget::look`].
    pub fn for_file(
        approved: &FileTarget,
        keep: &[PathBuf],
        places: AllocationMap,
    ) -> Result<Self, Refusal> {
        let path = &approved.path;
        let fresh = FileTarget::look(path)?;
        if fresh.id != approved.id {
            let what = "another file has its name now".to_owned();
            return Err(Refusal::Changed { what });
        }
        expect_len(&places, fresh.len, 1)?;
        if let Some(file) = keep.iter().find(|file| are_same_file(path, file)) {
            return Err(Refusal::HoldsImage { file: file.clone() });
        }
        Ok(Self {
            path: path.clone(),
            places,
            target: Target::File { id: fresh.id },
            backing: None,
        })
    }

    /// Refuses to write what is read by another way than by name: a file or device on standard
    /// input, be it the target or what a target is made of.
    ///
    /// # Errors
    /// [`Refusal::IsRead`].
    pub fn sparing(self, read: Option<FileId>) -> Result<Self, Refusal> {
        let own = match self.target {
            Target::File { id } => id,
            Target::Device { number, .. } => number.map(|number| FileId::Device { number }),
        };
        match read.is_some() && [own, self.backing].contains(&read) {
            true => Err(Refusal::IsRead),
            false => Ok(self),
        }
    }

    /// Returns the path of the device or file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the length in bytes of what may be written, written or not.
    #[must_use]
    #[expect(
        clippy::len_without_is_empty,
        reason = "an empty medium is as good as any other"
    )]
    pub const fn len(&self) -> u64 {
        self.places.len()
    }

    /// Returns the places: `Used` may be written, all else may not.
    #[must_use]
    pub const fn places(&self) -> &AllocationMap {
        &self.places
    }

    /// Tells whether every byte of `extent` may be written. Of an empty one there is none that
    /// may not.
    #[must_use]
    pub fn allows(&self, extent: Extent) -> bool {
        extent.is_empty() || self.first_forbidden(extent).is_none()
    }

    /// Checks that every byte of `extent` may be written.
    ///
    /// # Errors
    /// [`BlockErrorKind::OutOfBounds`] past the end, [`BlockErrorKind::OutsidePermit`] where a
    /// byte may not be written.
    pub(crate) fn check(&self, extent: Extent) -> Result<(), BlockError> {
        let error = |kind| BlockError::new(kind, Operation::Write).at(extent);
        if extent.end() > self.len() {
            return Err(error(BlockErrorKind::OutOfBounds));
        }
        match self.first_forbidden(extent) {
            None => Ok(()),
            Some(forbidden) => Err(error(BlockErrorKind::OutsidePermit)
                .caused_by(format!("no permission for {forbidden}"))),
        }
    }

    /// Returns what the permit was given for.
    pub(crate) const fn target(&self) -> Target {
        self.target
    }

    fn first_forbidden(&self, extent: Extent) -> Option<Extent> {
        let mut runs = self.places.runs_in(extent);
        let forbidden = runs.find(|run: &Run| run.state != State::Used);
        let behind = || Extent::between(extent.start().max(self.len()), extent.end());
        let found = forbidden.map_or_else(behind, |run| run.extent);
        (!found.is_empty()).then_some(found)
    }
}

/// Refuses a device that is not the same insertion of the same medium.
fn expect_same(approved: &Device, fresh: &Device) -> Result<(), Refusal> {
    for ((fact, before), (_, now)) in identity(approved).into_iter().zip(identity(fresh)) {
        if before != now {
            let word = |value: Option<String>| value.unwrap_or_else(|| "unknown".to_owned());
            let (before, now) = (word(before), word(now));
            let what = format!("its {fact} was {before} and is {now} now");
            return Err(Refusal::Changed { what });
        }
    }
    Ok(())
}

/// Returns what tells one medium in one slot from another.
fn identity(device: &Device) -> [(&'static str, Option<String>); 6] {
    [
        ("path", Some(device.path.display().to_string())),
        ("size in bytes", Some(device.size_bytes.to_string())),
        ("serial number", device.serial.clone()),
        ("card number", device.card_id.clone()),
        ("model", device.model.clone()),
        (
            "insertion number",
            device.diskseq.map(|number| number.to_string()),
        ),
    ]
}

/// Refuses places of another length than the `len_bytes` of the medium, but for a last
/// incomplete sector, which no medium serves.
fn expect_len(places: &AllocationMap, len_bytes: u64, sector_bytes: u64) -> Result<(), Refusal> {
    let left_out = len_bytes.checked_sub(places.len());
    if left_out.is_some_and(|bytes| bytes < sector_bytes.max(1)) {
        return Ok(());
    }
    let planned = places.len();
    Err(Refusal::Changed {
        what: format!("the plan is for {planned} bytes, but it has {len_bytes}"),
    })
}

fn expect_unmounted(device: &Device) -> Result<(), Refusal> {
    let of_partitions = device.partitions.iter().flat_map(|part| &part.mounts);
    match device.mounts.iter().chain(of_partitions).next() {
        None => Ok(()),
        Some(mount) => Err(Refusal::Mounted {
            at: mount.target.clone(),
        }),
    }
}

/// Refuses a device that a needed file lies on, or that is that "file", or that is made of it.
fn expect_elsewhere(machine: &dyn Machine, device: &Device, file: &Path) -> Result<(), Refusal> {
    let holders = machine.devices_holding(file).map_err(Refusal::Machine)?;
    let named = match machine.device_of_path(file) {
        Ok(named) => named,
        // What is not there can't be overwritten.
        Err(error) if error.kind() == BlockErrorKind::Gone => None,
        Err(error) => return Err(Refusal::Machine(error)),
    };
    let is_made_of_it = device.backing.is_some() && device.backing == FileId::of_path(file);
    let is_here = holders.contains(&device.name)
        || named.is_some_and(|named| named.name == device.name)
        || is_made_of_it;
    match is_here {
        false => Ok(()),
        true => Err(Refusal::HoldsImage {
            file: file.to_path_buf(),
        }),
    }
}
