//! Single files, found by path.

use std::ops::ControlFlow;

use cardkeep_block::ReadAt;

use crate::chain::{Chain, ChainBounds};
use crate::directory::{Entry, EntryKind, Place, each_entry};
use crate::error::CorruptKind;
use crate::name::is_same;
use crate::{Error, FatFs};

/// How much of a file is read at once.
const PIECE_BYTES: u32 = 256 * 1024;

impl<M: ReadAt> FatFs<M> {
    /// Returns the content of the file at `path`, cut after `max_bytes`; `None` where there is
    /// none or the path leads to a directory.
    ///
    /// Names are separated by `/` and compared without regard to case, long and short ones.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where a chain on the way, or the file's own, is broken.
    pub fn read_file(&self, path: &str, max_bytes: usize) -> Result<Option<Vec<u8>>, Error> {
        let mut names = path.split('/').filter(|name| !name.is_empty()).peekable();
        let mut place = self.geometry.root_place();
        while let Some(name) = names.next() {
            let Some(entry) = self.find(place, name)? else {
                return Ok(None);
            };
            match (entry.kind, names.peek()) {
                (EntryKind::Directory, Some(_)) => place = Place::Chain(entry.first_cluster),
                (EntryKind::File, None) => return self.read_content(&entry, max_bytes).map(Some),
                _ => return Ok(None),
            }
        }
        Ok(None)
    }

    fn find(&self, place: Place, name: &str) -> Result<Option<Entry>, Error> {
        let mut found = None;
        let mut compare = |entry: Entry| {
            let is_named = is_same(&entry.name, name) || is_same(&entry.short_name, name);
            if is_named && entry.kind != EntryKind::Label {
                found = Some(entry);
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        };
        each_entry(&self.medium, &self.geometry, place, &mut compare)?;
        Ok(found)
    }

    fn read_content(&self, entry: &Entry, max_bytes: usize) -> Result<Vec<u8>, Error> {
        let size = u64::from(entry.size).min(max_bytes as u64);
        let mut content = Vec::new();
        if size == 0 {
            return Ok(content);
        }
        let clusters = size.div_ceil(self.geometry.cluster_bytes.into());
        // A file has at most 2^32 bytes, so the clusters fit.
        let clusters_max = u32::try_from(clusters).unwrap_or(u32::MAX);
        let bounds = ChainBounds {
            clusters_max,
            run_bytes_max: PIECE_BYTES,
        };
        for run in Chain::new(&self.medium, &self.geometry, entry.first_cluster, bounds) {
            let run = run?;
            let extent = self.geometry.clusters(run.first, run.count);
            let len = extent.len().min(size - content.len() as u64);
            let piece = self.medium.read_vec(extent.start(), len as usize);
            content.extend(piece.map_err(Error::Io)?);
        }
        if (content.len() as u64) < size {
            return Err(CorruptKind::ShortChain {
                bytes: entry.size.into(),
                clusters: (content.len() as u64) / u64::from(self.geometry.cluster_bytes),
            }
            .into());
        }
        Ok(content)
    }
}

#[cfg(test)]
mod tests {
    use cardkeep_block::Extent;

    use crate::error::{Corrupt, CorruptKind};
    use crate::kind::FatKind;
    use crate::test_writer::Writer;
    use crate::{Error, FatFs};

    fn corrupt(writer: &Writer, path: &str) -> CorruptKind {
        let fs = FatFs::load(&writer.medium).unwrap();
        match fs.read_file(path, 1 << 20) {
            Err(Error::Corrupt(Corrupt(kind))) => kind,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_file_in_pieces_is_read_in_the_order_of_its_chain() {
        let writer = Writer::new(FatKind::Fat12, 100);
        writer.entry(writer.root_start(), b"CONFIG  TXT", 0x20, 50, 1100);
        writer.chain(&[50, 51, 7]);
        for (cluster, byte) in [(50, 1), (51, 2), (7, 3)] {
            writer.put(writer.cluster_start(cluster), &[byte; 512]);
        }
        let fs = FatFs::load(&writer.medium).unwrap();
        let content = fs.read_file("config.txt", 1 << 20).unwrap().unwrap();
        let expected = [vec![1; 512], vec![2; 512], vec![3; 76]].concat();
        assert_eq!(content, expected);
        assert_eq!(fs.read_file("config.txt", 0).unwrap(), Some(vec![]));
        assert_eq!(fs.read_file("CONFIG.TXT", 512).unwrap().unwrap(), [1; 512]);
    }

    #[test]
    fn the_second_fat_serves_where_the_first_cannot_be_read() {
        let writer = Writer::new(FatKind::Fat32, 70_000);
        writer.entry(writer.root_start(), b"A          ", 0x20, 50, 1024);
        writer.chain(&[50, 60]);
        let bad = |fat| Extent::new(writer.fat_start(fat), 512).unwrap();
        let fs = FatFs::load(writer.with_bad(bad(0))).unwrap();
        assert_eq!(fs.read_file("a", 1 << 20).unwrap(), Some(vec![0; 1024]));
        assert!(!fs.info().dirty);
        // The second one is old where only the first is kept.
        writer.put(0x028, &[0x80]);
        let fs = FatFs::load(writer.with_bad(bad(0))).unwrap();
        assert!(matches!(fs.read_file("a", 1 << 20), Err(Error::Io(_))));
        assert!(fs.info().dirty);
    }

    #[test]
    fn a_broken_chain_is_told() {
        let writer = Writer::new(FatKind::Fat16, 5000);
        writer.entry(writer.root_start(), b"A          ", 0x20, 50, 1100);
        writer.chain(&[50, 51]);
        let short = CorruptKind::ShortChain {
            clusters: 2,
            bytes: 1100,
        };
        assert_eq!(corrupt(&writer, "a"), short);
        for next in [0, 1, 5002, 0xfff7] {
            writer.set_all(51, next);
            assert_eq!(corrupt(&writer, "a"), CorruptKind::BrokenChain { next });
        }
    }

    #[test]
    fn loops_end() {
        let writer = Writer::new(FatKind::Fat16, 5000);
        let root = writer.root_start();
        writer.entry(root, b"A          ", 0x20, 50, u32::MAX);
        writer.set_all(50, 50);
        writer.entry(root + 32, b"D          ", 0x10, 60, 0);
        writer.set_all(60, 60);
        // A full directory, so that no empty record ends it.
        for index in 0..16 {
            let offset = writer.cluster_start(60) + index * 32;
            writer.entry(offset, b"SUB        ", 0x10, 60, 0);
        }
        let fs = FatFs::load(&writer.medium).unwrap();
        assert_eq!(fs.read_file("d/missing", 10).unwrap(), None);
        assert_eq!(fs.read_file("d/sub/sub/sub/missing", 10).unwrap(), None);
        let content = fs.read_file("a", 100_000).unwrap().unwrap();
        assert_eq!(content.len(), 100_000);
    }
}
