//! The file allocation table: an entry for each cluster, saying which one follows.
//!
//! ```text
//!   FAT12    byte 3n      3n+1      3n+2          free 000, bad ff7, end ff8..fff
//!            AAAAAAAA  BBBBAAAA  BBBBBBBB         two entries A, B in three bytes
//!   FAT16    little-endian                        free 0000, bad fff7, end fff8..
//!   FAT32    little-endian, 28 bits               free 0, bad ffffff7, end ffffff8..
//! ```
//!
//! Read in windows that are a multiple of three bytes, so that no entry is cut. A FAT can have a
//! gigabyte: it is never held whole.

use cardkeep_block::{BlockError, Extent, ReadAt, le_u16, le_u32};

use crate::geometry::Geometry;
use crate::kind::FatKind;

/// For reading a FAT from one end to the other: four copies at once stay below 1 MiB.
pub(crate) const SCAN_BYTES: u32 = 192 * 1024;
/// For looking up single entries.
const LOOKUP_BYTES: u32 = 12 * 1024;

/// Which window of which FAT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WindowPlace {
    /// The FAT, from 0.
    pub(crate) fat: u8,
    /// The window, from 0.
    pub(crate) index: u32,
    /// The length of every window but the last.
    pub(crate) window_bytes: u32,
}

/// What an entry says of its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    Free,
    Bad,
    Used,
}

/// What an entry says of the chain that its cluster belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    Next(u32),
    End,
    /// Free, bad, reserved, or no cluster: the value.
    Broken(u32),
}

/// Some entries of one FAT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    kind: FatKind,
    first: u32,
    end: u32,
    bytes: Vec<u8>,
}

impl Window {
    /// The numbers of the entries, cut to those that count.
    pub(crate) const fn entries(&self) -> std::ops::Range<u32> {
        self.first..self.end
    }

    const fn contains(&self, number: u32) -> bool {
        self.first <= number && number < self.end
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The entry's value; 0 outside the window.
    pub(crate) fn value(&self, number: u32) -> u32 {
        let index = number.saturating_sub(self.first) as usize;
        match self.kind {
            FatKind::Fat12 => {
                let pair = u32::from(le_u16(&self.bytes, index + index / 2));
                if index.is_multiple_of(2) {
                    pair & 0xfff
                } else {
                    pair >> 4
                }
            }
            FatKind::Fat16 => le_u16(&self.bytes, index * 2).into(),
            FatKind::Fat32 => le_u32(&self.bytes, index * 4) & 0x0fff_ffff,
        }
    }

    pub(crate) fn mark(&self, number: u32) -> Mark {
        match self.value(number) {
            0 => Mark::Free,
            value if value == bad(self.kind) => Mark::Bad,
            _ => Mark::Used,
        }
    }
}

const fn bad(kind: FatKind) -> u32 {
    match kind {
        FatKind::Fat12 => 0xff7,
        FatKind::Fat16 => 0xfff7,
        FatKind::Fat32 => 0x0fff_fff7,
    }
}

impl Geometry {
    /// The number of windows of `window_bytes` (a multiple of 12) that hold all entries.
    pub(crate) const fn window_count(&self, window_bytes: u32) -> u32 {
        self.entry_count()
            .div_ceil(self.window_entries(window_bytes))
    }

    const fn window_entries(&self, window_bytes: u32) -> u32 {
        match self.kind {
            FatKind::Fat12 => window_bytes / 3 * 2,
            FatKind::Fat16 => window_bytes / 2,
            FatKind::Fat32 => window_bytes / 4,
        }
    }

    /// The numbers of the entries in window number `index`.
    pub(crate) fn window_range(&self, index: u32, window_bytes: u32) -> std::ops::Range<u32> {
        let count = self.window_entries(window_bytes);
        let first = index.saturating_mul(count);
        first..first.saturating_add(count).min(self.entry_count())
    }

    /// Where a window lies.
    pub(crate) fn window_extent(&self, place: WindowPlace) -> Extent {
        let entries = u64::from(self.entry_count());
        let needed = match self.kind {
            FatKind::Fat12 => (entries * 3).div_ceil(2),
            FatKind::Fat16 => entries * 2,
            FatKind::Fat32 => entries * 4,
        };
        let fat_start = self.first_fat.start() + u64::from(place.fat) * self.first_fat.len();
        let window_bytes = u64::from(place.window_bytes);
        let within = u64::from(place.index) * window_bytes;
        let end = needed.min(within + window_bytes);
        Extent::between(fat_start + within, fat_start + end)
    }

    pub(crate) fn read_window(
        &self,
        medium: &impl ReadAt,
        place: WindowPlace,
    ) -> Result<Window, BlockError> {
        let extent = self.window_extent(place);
        let entries = self.window_range(place.index, place.window_bytes);
        Ok(Window {
            kind: self.kind,
            first: entries.start,
            end: entries.end,
            // window_bytes bounds the length.
            bytes: medium.read_vec(extent.start(), extent.len() as usize)?,
        })
    }

    /// Reads a window of the first FAT, or of the next one that can be read there.
    pub(crate) fn read_any_copy(
        &self,
        medium: &impl ReadAt,
        index: u32,
        window_bytes: u32,
    ) -> Result<Window, BlockError> {
        let read = |fat| {
            let place = WindowPlace {
                fat,
                index,
                window_bytes,
            };
            self.read_window(medium, place)
        };
        read(self.only_fat.unwrap_or(0)).or_else(|error| {
            // Where only one FAT is kept, the others are old.
            let others = match self.only_fat {
                Some(_) => 0..0,
                None => 1..self.fat_count,
            };
            // Where no copy can be read, the error of the first one is told.
            others
                .into_iter()
                .find_map(|fat| read(fat).ok())
                .ok_or(error)
        })
    }
}

/// Looks up entries of the FAT that counts, keeping the window read last.
#[derive(Debug)]
pub(crate) struct Lookup<'a, M> {
    medium: &'a M,
    geometry: &'a Geometry,
    window: Option<Window>,
}

impl<'a, M: ReadAt> Lookup<'a, M> {
    pub(crate) const fn new(medium: &'a M, geometry: &'a Geometry) -> Self {
        Self {
            medium,
            geometry,
            window: None,
        }
    }

    /// Returns the window that holds an entry; the number must be below `entry_count`.
    pub(crate) fn window(&mut self, number: u32) -> Result<&Window, BlockError> {
        let kept = self.window.take().filter(|window| window.contains(number));
        let window = match kept {
            Some(window) => window,
            None => {
                let index = number / self.geometry.window_entries(LOOKUP_BYTES);
                self.geometry
                    .read_any_copy(self.medium, index, LOOKUP_BYTES)?
            }
        };
        Ok(self.window.insert(window))
    }

    /// Returns what follows a cluster.
    pub(crate) fn link(&mut self, cluster: u32) -> Result<Link, BlockError> {
        let value = self.window(cluster)?.value(cluster);
        Ok(match value {
            next if self.geometry.is_cluster(next) => Link::Next(next),
            end if end > bad(self.geometry.kind) => Link::End,
            other => Link::Broken(other),
        })
    }
}
