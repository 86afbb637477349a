//! Whose the bytes are: for naming the files that a bad sector hits.
//!
//! Walks the tree once. Everything is bounded: directories, their depth, the results, and the
//! steps along chains. A sound filesystem has each cluster in one chain, so its tree never takes
//! more steps than it has clusters; what loops or shares clusters may, and ends there.

use std::collections::HashSet;
use std::ops::ControlFlow;

use cardkeep_block::{Extent, ReadAt, Structure};

use crate::chain::{Chain, ChainBounds};
use crate::directory::{Entry, EntryKind, Place, each_entry};
use crate::geometry::FIRST_CLUSTER;
use crate::table::{Lookup, Mark};
use crate::{Error, FatFs};

/// The bounds of a walk; past them, what is left is [`OwnerKind::Unknown`].
const DIRECTORIES_MAX: usize = 8192;
const OWNERS_MAX: usize = 16_384;
const PATH_BYTES_MAX: usize = 1024;

/// A part of a medium and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Where.
    pub extent: Extent,
    /// Whose.
    pub what: OwnerKind,
}

/// What bytes of a filesystem belong to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum OwnerKind {
    /// The content of the file at this path, or the unused end of its last cluster.
    File(String),
    /// The directory at this path; `/` is the root.
    Directory(String),
    /// A part of the filesystem's frame.
    Metadata(Structure),
    /// A cluster marked bad.
    Bad,
    /// A free cluster.
    Free,
    /// A cluster in use that no file was found to own.
    Unknown,
    /// Behind the last cluster, or behind the filesystem.
    Outside,
}

impl<M: ReadAt> FatFs<M> {
    /// Returns what each part of `extents` belongs to, ordered by place. Parts that several files
    /// claim come once for each. Past a fixed number of parts, what is left comes as
    /// [`OwnerKind::Unknown`] in one piece, or not at all if it is not in the data area.
    ///
    /// Directories that can't be read or are broken are passed over: what lies below them is
    /// [`OwnerKind::Unknown`].
    ///
    /// # Errors
    /// [`Error::Io`] where no copy of the FAT can be read in a place that is needed.
    pub fn owners(&self, extents: &[Extent]) -> Result<Vec<Owner>, Error> {
        let medium = Extent::between(0, self.medium.len());
        let mut asked: Vec<_> = extents.iter().map(|e| e.intersection(medium)).collect();
        asked.retain(|extent| !extent.is_empty());
        asked.sort_unstable();
        let mut claims = Claims::new(joined(&asked));
        self.claim_frame(&mut claims);
        if claims.ask(self.geometry.data()) {
            self.claim_tree(&mut claims);
            self.claim_rest(&mut claims)?;
        }
        claims.owners.sort_by(|a, b| {
            let key = |owner: &Owner| owner.extent;
            key(a).cmp(&key(b)).then_with(|| a.what.cmp(&b.what))
        });
        Ok(claims.owners)
    }

    fn claim_frame(&self, claims: &mut Claims) {
        let geometry = &self.geometry;
        let fat = geometry.first_fat;
        let fats_end = geometry.root.start();
        let metadata = OwnerKind::Metadata;
        claims.add(
            Extent::between(0, fat.start()),
            &metadata(Structure::ReservedSectors),
        );
        claims.add(
            Extent::between(fat.start(), fats_end),
            &metadata(Structure::FileAllocationTable),
        );
        claims.add(geometry.root, &OwnerKind::Directory("/".to_owned()));
        let outside = Extent::between(geometry.data().end(), self.medium.len());
        claims.add(outside, &OwnerKind::Outside);
    }

    fn claim_tree(&self, claims: &mut Claims) {
        let mut walk = Walk {
            pending: vec![(String::from("/"), self.geometry.root_place())],
            seen: HashSet::new(),
            steps_left: self.geometry.cluster_count,
        };
        while let Some((path, place)) = walk.pending.pop() {
            if let Place::Chain(first) = place {
                if walk.seen.len() >= DIRECTORIES_MAX || !walk.seen.insert(first) {
                    continue;
                }
                let claim = ChainClaim {
                    first,
                    clusters_max: self.geometry.directory_clusters_max(),
                    what: &OwnerKind::Directory(path.clone()),
                };
                self.claim_chain(claims, &mut walk, claim);
            }
            if walk.steps_left == 0 || claims.is_full() {
                return;
            }
            let mut visit = |entry: Entry| self.visit(claims, &mut walk, &path, entry);
            // A directory that can't be read to its end names no more files: they stay unknown.
            if each_entry(&self.medium, &self.geometry, place, &mut visit).is_err() {
                continue;
            }
        }
    }

    fn visit(
        &self,
        claims: &mut Claims,
        walk: &mut Walk,
        parent: &str,
        entry: Entry,
    ) -> ControlFlow<()> {
        let path = format!("{}/{}", parent.trim_end_matches('/'), entry.name);
        if path.len() > PATH_BYTES_MAX {
            return ControlFlow::Continue(());
        }
        match entry.kind {
            EntryKind::Label => {}
            EntryKind::Directory if walk.pending.len() < DIRECTORIES_MAX => {
                walk.pending.push((path, Place::Chain(entry.first_cluster)));
            }
            EntryKind::Directory => {}
            EntryKind::File => {
                let claim = ChainClaim {
                    first: entry.first_cluster,
                    clusters_max: entry.size.div_ceil(self.geometry.cluster_bytes),
                    what: &OwnerKind::File(path),
                };
                self.claim_chain(claims, walk, claim);
            }
        }
        if walk.steps_left == 0 || claims.is_full() {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }

    fn claim_chain(&self, claims: &mut Claims, walk: &mut Walk, claim: ChainClaim<'_>) {
        let bounds = ChainBounds {
            clusters_max: claim.clusters_max.min(walk.steps_left),
            run_bytes_max: u32::MAX,
        };
        for run in Chain::new(&self.medium, &self.geometry, claim.first, bounds) {
            // Up to where the chain breaks, the clusters are the file's.
            let Ok(run) = run else { return };
            walk.steps_left = walk.steps_left.saturating_sub(run.count);
            claims.add(self.geometry.clusters(run.first, run.count), claim.what);
        }
    }

    /// Claims what no file owns by what the FAT says of it.
    fn claim_rest(&self, claims: &mut Claims) -> Result<(), Error> {
        let mut lookup = Lookup::new(&self.medium, &self.geometry);
        let cluster_bytes = u64::from(self.geometry.cluster_bytes);
        for rest in claims.unclaimed(self.geometry.data()) {
            let mut start = rest.start();
            while start < rest.end() && !claims.is_full() {
                let index = (start - self.geometry.data_start) / cluster_bytes;
                // Inside the data area, so it is the number of a cluster.
                let first = FIRST_CLUSTER.saturating_add(index as u32);
                let what = owner_of(lookup.window(first).map_err(Error::Io)?.mark(first));
                let mut next = first + 1;
                while self.geometry.is_cluster(next)
                    && self.geometry.cluster_start(next) < rest.end()
                    && owner_of(lookup.window(next).map_err(Error::Io)?.mark(next)) == what
                {
                    next += 1;
                }
                let end = self.geometry.cluster_start(next).min(rest.end());
                claims.add(Extent::between(start, end), &what);
                start = end;
            }
            claims.add_last(Extent::between(start, rest.end()));
        }
        Ok(())
    }
}

const fn owner_of(mark: Mark) -> OwnerKind {
    match mark {
        Mark::Free => OwnerKind::Free,
        Mark::Bad => OwnerKind::Bad,
        Mark::Used => OwnerKind::Unknown,
    }
}

/// A chain and the file or directory that it belongs to.
#[derive(Debug)]
struct ChainClaim<'a> {
    /// The number of its first cluster.
    first: u32,
    clusters_max: u32,
    what: &'a OwnerKind,
}

/// What is left to do of a walk.
#[derive(Debug)]
struct Walk {
    pending: Vec<(String, Place)>,
    /// The first clusters of directories, so that none is walked twice.
    seen: HashSet<u32>,
    steps_left: u32,
}

/// The extents asked for and the owners found.
#[derive(Debug)]
struct Claims {
    asked: Vec<Extent>,
    owners: Vec<Owner>,
}

impl Claims {
    fn new(asked: Vec<Extent>) -> Self {
        Self {
            asked,
            owners: Vec::new(),
        }
    }

    fn is_full(&self) -> bool {
        self.owners.len() >= OWNERS_MAX
    }

    /// Tells whether a part of `extent` was asked for.
    fn ask(&self, extent: Extent) -> bool {
        self.asked_in(extent).next().is_some()
    }

    fn asked_in(&self, extent: Extent) -> impl Iterator<Item = Extent> + '_ {
        let first = self.asked.partition_point(|a| a.end() <= extent.start());
        self.asked[first..]
            .iter()
            .take_while(move |a| a.start() < extent.end())
            .map(move |a| a.intersection(extent))
            .filter(|part| !part.is_empty())
    }

    /// Adds what was asked for of an owner's extent, while there is room.
    fn add(&mut self, extent: Extent, what: &OwnerKind) {
        let room = OWNERS_MAX.saturating_sub(self.owners.len());
        let new: Vec<_> = self
            .asked_in(extent)
            .take(room)
            .map(|extent| Owner {
                extent,
                what: what.clone(),
            })
            .collect();
        self.owners.extend(new);
    }

    /// Adds a rest for which there was no more room to look closely.
    fn add_last(&mut self, extent: Extent) {
        if !extent.is_empty() {
            self.owners.push(Owner {
                extent,
                what: OwnerKind::Unknown,
            });
        }
    }

    /// What was asked for within `window` and has no owner yet, ordered.
    fn unclaimed(&self, window: Extent) -> Vec<Extent> {
        let claimed = self.owners.iter().map(|owner| owner.extent);
        let mut claimed: Vec<_> = claimed.collect();
        claimed.sort_unstable();
        let claimed = joined(&claimed);
        let mut rest = Vec::new();
        for asked in self.asked_in(window) {
            let mut start = asked.start();
            let first = claimed.partition_point(|c| c.end() <= start);
            for taken in claimed[first..]
                .iter()
                .take_while(|c| c.start() < asked.end())
            {
                rest.push(Extent::between(start, taken.start()));
                start = start.max(taken.end());
            }
            rest.push(Extent::between(start, asked.end()));
        }
        rest.retain(|extent| !extent.is_empty());
        rest
    }
}

/// Joins ordered extents that touch or overlap.
fn joined(ordered: &[Extent]) -> Vec<Extent> {
    let mut result: Vec<Extent> = Vec::with_capacity(ordered.len());
    for &extent in ordered {
        match result.last_mut() {
            Some(last) if extent.start() <= last.end() => {
                *last = Extent::between(last.start(), last.end().max(extent.end()));
            }
            _ => result.push(extent),
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use cardkeep_block::{Extent, ReadAt, Structure};

    use super::{OWNERS_MAX, Owner, OwnerKind};
    use crate::FatFs;
    use crate::kind::FatKind;
    use crate::test_writer::{SECTOR, Writer};

    /// First cluster, number of clusters, owner.
    fn owners(writer: &Writer, clusters: std::ops::Range<u64>) -> Vec<(u64, u64, OwnerKind)> {
        let start = writer.cluster_start(clusters.start);
        let asked = Extent::between(start, writer.cluster_start(clusters.end));
        let fs = FatFs::load(&writer.medium).unwrap();
        let found = fs.owners(&[asked]).unwrap();
        let number = |owner: Owner| {
            let index = (owner.extent.start() - start) / SECTOR;
            let count = owner.extent.len() / SECTOR;
            (clusters.start + index, count, owner.what)
        };
        found.into_iter().map(number).collect()
    }

    fn file(path: &str) -> OwnerKind {
        OwnerKind::File(path.to_owned())
    }

    #[test]
    fn the_frame_has_names() {
        let writer = Writer::new(FatKind::Fat16, 5000);
        let fs = FatFs::load(&writer.medium).unwrap();
        let root = writer.root_start();
        let len = writer.medium.len();
        let fats = writer.fat_start(0);
        let asked = [
            Extent::between(len - 700, len),
            Extent::between(100, root + 100),
        ];
        let owner = |start, end, what| Owner {
            extent: Extent::between(start, end),
            what,
        };
        let expected = [
            owner(100, fats, OwnerKind::Metadata(Structure::ReservedSectors)),
            owner(
                fats,
                root,
                OwnerKind::Metadata(Structure::FileAllocationTable),
            ),
            owner(root, root + 100, OwnerKind::Directory("/".to_owned())),
            owner(len - 700, len - 512, OwnerKind::Free),
            owner(len - 512, len, OwnerKind::Outside),
        ];
        assert_eq!(fs.owners(&asked).unwrap(), expected);
    }

    #[test]
    fn shared_lost_bad_and_free_clusters_are_told() {
        let writer = Writer::new(FatKind::Fat16, 5000);
        let root = writer.root_start();
        writer.entry(root, b"A          ", 0x20, 10, 1000);
        writer.entry(root + 32, b"B          ", 0x20, 12, 1000);
        writer.chain(&[10, 11]);
        writer.chain(&[12, 11]);
        writer.set_all(13, 0xffff);
        writer.set_all(14, 0xfff7);
        let expected = [
            (10, 2, file("/A")),
            (11, 1, file("/B")),
            (12, 1, file("/B")),
            (13, 1, OwnerKind::Unknown),
            (14, 1, OwnerKind::Bad),
            (15, 5, OwnerKind::Free),
        ];
        assert_eq!(owners(&writer, 10..20), expected);
    }

    #[test]
    fn a_directory_that_contains_itself_ends() {
        let writer = Writer::new(FatKind::Fat32, 70_000);
        let root = writer.root_start();
        writer.entry(root, b"LOOP       ", 0x10, 2, 0);
        writer.entry(root + 32, b"D          ", 0x10, 9, 0);
        writer.chain(&[9, 3]);
        for index in 0..32 {
            let cluster = if index < 16 { 9 } else { 3 };
            let offset = writer.cluster_start(cluster) + index % 16 * 32;
            writer.entry(offset, b"SUB        ", 0x10, 9, 0);
        }
        let directory = |path: &str| OwnerKind::Directory(path.to_owned());
        assert_eq!(
            owners(&writer, 2..10),
            [
                (2, 1, directory("/")),
                (3, 1, directory("/D")),
                (4, 5, OwnerKind::Free),
                (9, 1, directory("/D"))
            ]
        );
    }

    #[test]
    fn files_that_loop_leave_the_rest_unknown() {
        let writer = Writer::new(FatKind::Fat12, 40);
        let root = writer.root_start();
        writer.entry(root, b"LOOP       ", 0x20, 10, u32::MAX);
        writer.set_all(10, 10);
        writer.entry(root + 32, b"B          ", 0x20, 12, 100);
        writer.chain(&[12]);
        let found = owners(&writer, 10..13);
        assert!(found.contains(&(10, 1, file("/LOOP"))));
        assert_eq!(found.last(), Some(&(12, 1, OwnerKind::Unknown)));
    }

    #[test]
    fn results_are_bounded() {
        let writer = Writer::new(FatKind::Fat32, 70_000);
        for cluster in (4..70_000).step_by(2) {
            writer.set(0, cluster, 0x0fff_ffff);
        }
        let asked = Extent::between(0, writer.medium.len());
        let fs = FatFs::load(&writer.medium).unwrap();
        let found = fs.owners(&[asked]).unwrap();
        assert!(found.len() <= OWNERS_MAX + 1, "{}", found.len());
        assert_eq!(
            found.iter().map(|o| o.extent.len()).sum::<u64>(),
            asked.len()
        );
    }
}
