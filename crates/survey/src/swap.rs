//! Swap areas: a header page, then nothing that outlives a reboot (mkswap(8); the kernel's
//! `union swap_header`).

use cardkeep_block::{
    AllocationMap, Behind, Driver, DriverError, Extent, Filesystem, FsSummary, MapBuilder, Monitor,
    Owner, ReadAt, State, le_u32,
};

/// The header fills one page of the machine that made it; a Raspberry Pi 5 has pages of 16 KiB.
const PAGE_SIZES: [u64; 4] = [4096, 16384, 65536, 8192];
const SIGNATURE_BYTES: u64 = 10;

/// A swap area.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Swap {
    page_bytes: u64,
    last_page: u64,
    is_hibernated: bool,
    pub(crate) label: Option<String>,
    pub(crate) uuid: String,
}

impl Swap {
    /// Looks for a swap header.
    pub(crate) fn probe(medium: &dyn ReadAt) -> Option<Self> {
        PAGE_SIZES
            .into_iter()
            .find_map(|page_bytes| Self::probe_page(medium, page_bytes))
    }

    fn probe_page(medium: &dyn ReadAt, page_bytes: u64) -> Option<Self> {
        let signature = medium
            .read_vec(page_bytes - SIGNATURE_BYTES, SIGNATURE_BYTES as usize)
            .ok()?;
        // What suspend-to-disk writes over the signature, by its several implementations.
        let hibernated: [&[u8]; 4] = [b"S1SUSPEND", b"S2SUSPEND", b"ULSUSPEND", b"LINHIB0001"];
        let is_hibernated = hibernated.iter().any(|mark| signature.starts_with(mark));
        if signature != b"SWAPSPACE2" && !is_hibernated {
            return None;
        }
        let header = medium.read_vec(1024, 44).ok()?;
        let label: String = String::from_utf8_lossy(&header[28..44])
            .trim_end_matches('\0')
            .to_owned();
        let hex: String = header[12..28]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let uuid = [
            &hex[..8],
            &hex[8..12],
            &hex[12..16],
            &hex[16..20],
            &hex[20..],
        ]
        .join("-");
        let last_page = u64::from(le_u32(&header, 4));
        let label = Some(label).filter(|label| !label.is_empty());
        Some(Self {
            page_bytes,
            last_page,
            is_hibernated,
            label,
            uuid,
        })
    }

    /// Returns the map: the header is used, the pages are free unless a hibernated system lies
    /// there, and what lies behind the last page was never swap's.
    pub(crate) fn map(&self, len: u64) -> AllocationMap {
        if self.is_hibernated {
            return AllocationMap::all(len, State::Used);
        }
        let mut builder = MapBuilder::new(len);
        builder.push(self.page_bytes, State::Used);
        builder.push_to(self.end(), State::Free);
        builder.finish(State::Used)
    }

    /// Returns where the last page ends, in bytes.
    pub(crate) fn end(&self) -> u64 {
        self.last_page
            .saturating_add(1)
            .saturating_mul(self.page_bytes)
    }

    /// Tells whether a suspended system lies in it.
    pub(crate) const fn is_hibernated(&self) -> bool {
        self.is_hibernated
    }
}

/// The driver of swap areas.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SwapDriver;

impl Driver for SwapDriver {
    fn name(&self) -> &'static str {
        "swap"
    }

    fn probe(&self, medium: &dyn ReadAt) -> bool {
        Swap::probe(medium).is_some()
    }

    fn stated_len(&self, medium: &dyn ReadAt) -> Option<u64> {
        Swap::probe(medium).map(|swap| swap.end())
    }

    fn whole_len(&self, _: &dyn ReadAt) -> Option<u64> {
        // The kernel uses as many of its pages as there are (swapon in mm/swapfile.c).
        None
    }

    fn open<'m>(&self, medium: &'m dyn ReadAt) -> Result<Box<dyn Filesystem + 'm>, DriverError> {
        let swap = Swap::probe(medium).ok_or("there is no swap header")?;
        Ok(Box::new(SwapArea { medium, swap }))
    }
}

/// A swap area on its medium.
struct SwapArea<'m> {
    medium: &'m dyn ReadAt,
    swap: Swap,
}

impl Filesystem for SwapArea<'_> {
    fn medium(&self) -> &dyn ReadAt {
        self.medium
    }

    fn summary(&self) -> FsSummary {
        let len = self.medium.len();
        FsSummary {
            name: "swap".to_owned(),
            label: self.swap.label.clone(),
            uuid: Some(self.swap.uuid.clone()),
            is_clean: !self.swap.is_hibernated(),
            is_hibernated: self.swap.is_hibernated(),
            block_bytes: 4096,
            len,
            free_bytes: self.swap.map(len).bytes(State::Free),
            behind: Behind::Nothing,
            ..FsSummary::default()
        }
    }

    fn allocation_map(&self, _: &dyn Monitor) -> Result<AllocationMap, DriverError> {
        Ok(self.swap.map(self.medium.len()))
    }

    fn content_len(&self) -> u64 {
        match self.swap.is_hibernated() {
            true => self.medium.len(),
            false => self.swap.end(),
        }
    }

    fn owners(&self, _: &[Extent], _: &dyn Monitor) -> Vec<Owner> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::Swap;
    use cardkeep_block::{MemoryMedium, State, WriteAt};

    fn medium(page: u64, signature: &[u8; 10]) -> MemoryMedium {
        let medium = MemoryMedium::new(1 << 20);
        medium.write_at(page - 10, signature).unwrap();
        medium.write_at(1024, &1u32.to_le_bytes()).unwrap();
        medium.write_at(1028, &9u32.to_le_bytes()).unwrap();
        medium
    }

    #[test]
    fn only_the_header_page_and_what_lies_behind_swap_are_used() {
        for page in [4096, 16384, 65536] {
            let swap = Swap::probe(&medium(page, b"SWAPSPACE2")).unwrap();
            let map = swap.map(1 << 20);
            let free: Vec<_> = map.extents(State::Free).collect();
            assert_eq!(free.len(), 1);
            assert_eq!((free[0].start(), free[0].end()), (page, page * 10));
        }
    }

    #[test]
    fn a_hibernated_system_is_all_used() {
        let swap = Swap::probe(&medium(4096, b"S1SUSPEND\0")).unwrap();
        assert_eq!(swap.map(1 << 20).bytes(State::Free), 0);
        assert_eq!(Swap::probe(&medium(4096, b"SWAP-SPACE")), None);
    }
}
