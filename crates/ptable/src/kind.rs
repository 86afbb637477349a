//! What a partition is said to be for.

use crate::Guid;

/// The type that a partition's entry states. It is a claim: content decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The type byte of an MBR or EBR entry.
    Mbr(u8),
    /// The type GUID of a GPT entry.
    Gpt(Guid),
}

/// Type bytes met on cards, from the list of util-linux's `sfdisk --list-types`.
const MBR_KINDS: &[(u8, &str)] = &[
    (0x00, "empty"),
    (0x01, "FAT12"),
    (0x04, "FAT16 below 32 MB"),
    (0x05, "extended"),
    (0x06, "FAT16"),
    (0x07, "NTFS or exFAT"),
    (0x0b, "FAT32"),
    (0x0c, "FAT32 (LBA)"),
    (0x0e, "FAT16 (LBA)"),
    (0x0f, "extended (LBA)"),
    (0x82, "Linux swap"),
    (0x83, "Linux"),
    (0x85, "Linux extended"),
    (0x8e, "Linux LVM"),
    (0xa5, "FreeBSD"),
    (0xa9, "NetBSD"),
    (0xaf, "HFS or HFS+"),
    (0xda, "data without a filesystem"),
    (0xea, "Linux extended boot"),
    (0xee, "protective GPT"),
    (0xef, "EFI system"),
    (0xfd, "Linux RAID"),
];

/// Type GUIDs met on cards: UEFI specification 2.10 table 5-7, the Discoverable Partitions
/// Specification, and the list of util-linux's `sfdisk --label gpt --list-types`.
const GPT_KINDS: &[(Guid, &str)] = &[
    (
        Guid::from_u128(0xC12A7328_F81F_11D2_BA4B_00A0C93EC93B),
        "EFI system",
    ),
    (
        Guid::from_u128(0xEBD0A0A2_B9E5_4433_87C0_68B6B72699C7),
        "basic data",
    ),
    (
        Guid::from_u128(0xE3C9E316_0B5C_4DB8_817D_F92DF00215AE),
        "Microsoft reserved",
    ),
    (
        Guid::from_u128(0x21686148_6449_6E6F_744E_656564454649),
        "BIOS boot",
    ),
    (
        Guid::from_u128(0x0FC63DAF_8483_4772_8E79_3D69D8477DE4),
        "Linux",
    ),
    (
        Guid::from_u128(0x0657FD6D_A4AB_43C4_84E5_0933C84B4F4F),
        "Linux swap",
    ),
    (
        Guid::from_u128(0xE6D6D379_F507_44C2_A23C_238F2A3DF928),
        "Linux LVM",
    ),
    (
        Guid::from_u128(0xA19D880F_05FC_4D3B_A006_743F0F84911E),
        "Linux RAID",
    ),
    (
        Guid::from_u128(0xBC13C2FF_59E6_4262_A352_B275FD6F7172),
        "Linux extended boot",
    ),
    (
        Guid::from_u128(0x933AC7E1_2EB4_4F13_B844_0E14E2AEF915),
        "Linux home",
    ),
    (
        Guid::from_u128(0x69DAD710_2CE4_4E3C_B16C_21A1D49ABED3),
        "Linux root (ARM)",
    ),
    (
        Guid::from_u128(0xB921B045_1DF0_41C3_AF44_4C6F280D3FAE),
        "Linux root (ARM64)",
    ),
    (
        Guid::from_u128(0x4F68BCE3_E8CD_4DB1_96E7_FBCAF984B709),
        "Linux root (x86-64)",
    ),
    (
        Guid::from_u128(0x48465300_0000_11AA_AA11_00306543ECAC),
        "HFS+",
    ),
    (
        Guid::from_u128(0x7C3457EF_0000_11AA_AA11_00306543ECAC),
        "APFS",
    ),
];

impl Kind {
    /// Returns what the type is called, in words for the user; "unknown" for rare ones.
    #[must_use]
    pub fn description(&self) -> &'static str {
        let found = match self {
            Self::Mbr(byte) => MBR_KINDS.iter().find(|kind| kind.0 == *byte).map(|k| k.1),
            Self::Gpt(guid) => GPT_KINDS.iter().find(|kind| kind.0 == *guid).map(|k| k.1),
        };
        found.unwrap_or("unknown")
    }
}

/// The type as util-linux prints it: `0c`, or the GUID in lower case.
impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Mbr(byte) => write!(f, "{byte:02x}"),
            Self::Gpt(guid) => guid.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{GPT_KINDS, Kind, MBR_KINDS};
    use crate::Guid;

    #[test]
    fn usual_kinds_have_names_and_others_are_unknown() {
        let linux = Guid::from_u128(0x0FC63DAF_8483_4772_8E79_3D69D8477DE4);
        assert_eq!(Kind::Gpt(linux).description(), "Linux");
        assert_eq!(Kind::Mbr(0x0c).description(), "FAT32 (LBA)");
        assert_eq!(Kind::Mbr(0x77).description(), "unknown");
        assert_eq!(Kind::Mbr(0x0c).to_string(), "0c");
    }

    #[test]
    fn no_kind_is_listed_twice() {
        for (i, a) in MBR_KINDS.iter().enumerate() {
            assert!(MBR_KINDS[..i].iter().all(|b| b.0 != a.0), "{a:?}");
        }
        for (i, a) in GPT_KINDS.iter().enumerate() {
            assert!(GPT_KINDS[..i].iter().all(|b| b.0 != a.0), "{a:?}");
        }
    }
}
