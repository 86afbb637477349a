//! What is wrong with a partition table that can be used all the same.

use std::fmt;

use crate::flaw::HeaderFlaw;

/// Something wrong with a table that puts no partition in doubt. `Display` says what and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage(pub(crate) DamageKind);

impl Damage {
    /// Tells whether it comes of nothing but the medium's length: the backup of a GPT was cut off, or
    /// no longer lies at the end. The table can be believed as it is, and fitting it to a medium puts
    /// the backup in its place.
    #[must_use]
    pub const fn is_of_length(&self) -> bool {
        matches!(
            self.0,
            DamageKind::BackupBroken(HeaderFlaw::Absent { .. })
                | DamageKind::BackupNotAtEnd { .. }
                | DamageKind::MadeForLonger { .. }
        )
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DamageKind {
    PrimaryBroken(HeaderFlaw),
    BackupBroken(HeaderFlaw),
    BackupNotAtEnd { lba: u64, last_lba: u64 },
    CopiesDiffer,
    MadeForLonger { last_usable_lba: u64, last_lba: u64 },
    StaleGpt,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            DamageKind::PrimaryBroken(flaw) => write!(
                f,
                "the primary GPT {flaw}; the backup copy was used instead"
            ),
            DamageKind::BackupBroken(flaw) => write!(f, "the backup GPT {flaw}"),
            DamageKind::BackupNotAtEnd { lba, last_lba } => write!(
                f,
                "the backup GPT lies at sector {lba} instead of the medium's last, {last_lba}"
            ),
            DamageKind::CopiesDiffer => {
                f.write_str("the two copies of the GPT differ; the primary one was used")
            }
            DamageKind::MadeForLonger {
                last_usable_lba,
                last_lba,
            } => write!(
                f,
                "the GPT was made for a longer medium: it counts sector {last_usable_lba} as \
                 usable, but sector {last_lba} is the last"
            ),
            DamageKind::StaleGpt => {
                f.write_str("a GPT lies behind the MBR, which does not announce it: ignored")
            }
        }
    }
}
