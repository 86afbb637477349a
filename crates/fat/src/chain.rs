//! Chains: the clusters of a file or directory, in the order of its content.

use cardkeep_block::ReadAt;

use crate::Error;
use crate::error::CorruptKind;
use crate::geometry::Geometry;
use crate::table::{Link, Lookup};

/// Neighbouring clusters that follow each other in a chain too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClusterRun {
    pub(crate) first: u32,
    pub(crate) count: u32,
}

/// How far a walk along a chain may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChainBounds {
    pub(crate) clusters_max: u32,
    /// The longest run in bytes; a run has at least one cluster all the same.
    pub(crate) run_bytes_max: u32,
}

/// Walks along a chain, in runs. A bound on the clusters ends it, so loops do no harm.
#[derive(Debug)]
pub(crate) struct Chain<'a, M> {
    lookup: Lookup<'a, M>,
    geometry: &'a Geometry,
    next: Option<u32>,
    clusters_left: u32,
    run_max: u32,
}

impl<'a, M: ReadAt> Chain<'a, M> {
    /// Walks from cluster number `first`, within `bounds`.
    pub(crate) fn new(
        medium: &'a M,
        geometry: &'a Geometry,
        first: u32,
        bounds: ChainBounds,
    ) -> Self {
        Self {
            lookup: Lookup::new(medium, geometry),
            geometry,
            next: Some(first),
            clusters_left: bounds.clusters_max,
            run_max: (bounds.run_bytes_max / geometry.cluster_bytes).max(1),
        }
    }

    fn run_from(&mut self, first: u32) -> Result<ClusterRun, Error> {
        let mut run = ClusterRun { first, count: 1 };
        loop {
            let cluster = first + (run.count - 1);
            self.clusters_left -= 1;
            let next = match self.lookup.link(cluster).map_err(Error::Io)? {
                Link::End => None,
                Link::Next(next) => Some(next),
                // Told at the next step: this cluster still belongs to the chain.
                Link::Broken(next) => {
                    self.next = Some(next);
                    return Ok(run);
                }
            };
            self.next = next;
            let grows = next == Some(cluster + 1) && run.count < self.run_max;
            if !grows || self.clusters_left == 0 {
                return Ok(run);
            }
            run.count += 1;
        }
    }
}

impl<M: ReadAt> Iterator for Chain<'_, M> {
    type Item = Result<ClusterRun, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.clusters_left == 0 {
            return None;
        }
        let first = self.next.take()?;
        if !self.geometry.is_cluster(first) {
            return Some(Err(CorruptKind::BrokenChain { next: first }.into()));
        }
        Some(self.run_from(first))
    }
}
