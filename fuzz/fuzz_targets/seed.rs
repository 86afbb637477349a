//! Small filesystems that mutations start from, made by mke2fs and debugfs when fuzzing starts.

use std::fs;
use std::path::Path;
use std::process::Command;

use cardkeep_block::{BlockError, MemoryMedium, ReadAt};

/// Bytes that are not all zero come in pieces of this size: mutations hit only those.
const PIECE_BYTES: usize = 64;

/// A filesystem, and the offsets of its pieces worth mutating.
pub struct Seed {
    bytes: Vec<u8>,
    pieces: Vec<usize>,
    has_checksums: bool,
}

/// Makes a filesystem of `kib` KiB with some files; `log` are debugfs's words to fill its journal.
/// Options that hold a `=` and come first are put into mke2fs's environment.
pub fn make(options: &[&str], kib: u32, log: &str) -> Seed {
    let folder = tempfile::tempdir().unwrap();
    let (tree, image) = (folder.path().join("tree"), folder.path().join("image"));
    fs::create_dir_all(tree.join("etc/deep")).unwrap();
    fs::write(tree.join("etc/hostname"), "raspberrypi\n").unwrap();
    fs::write(tree.join("etc/deep/file"), vec![7; 40_000]).unwrap();
    std::os::unix::fs::symlink("../etc/hostname", tree.join("etc/deep/link")).unwrap();
    for number in 0..40 {
        fs::write(tree.join(format!("file {number}")), [number; 99]).unwrap();
    }
    let split = options.iter().take_while(|word| word.contains('=')).count();
    let (environment, options) = options.split_at(split);
    let made = Command::new("env")
        .args(environment)
        .args(["mke2fs", "-q", "-F", "-N", "64"])
        .args(options)
        .arg("-d")
        .arg(&tree)
        .arg(&image)
        .arg(format!("{kib}k"))
        .status()
        .unwrap();
    assert!(made.success(), "mke2fs {options:?}");
    if !log.is_empty() {
        fill_log(
            &image,
            &folder.path().join("words"),
            log,
            &folder.path().join("new"),
        );
    }
    let bytes = fs::read(&image).unwrap();
    let pieces = bytes
        .chunks(PIECE_BYTES)
        .enumerate()
        .filter(|(_, piece)| piece.iter().any(|&byte| byte != 0 && byte != 7))
        .map(|(index, _)| index * PIECE_BYTES)
        .collect();
    let has_checksums = bytes[1024 + 0x65] & 4 != 0;
    Seed {
        bytes,
        pieces,
        has_checksums,
    }
}

fn fill_log(image: &Path, words: &Path, log: &str, new: &Path) {
    fs::write(new, [0xC0, 0x3B, 0x39, 0x98].repeat(1024)).unwrap();
    fs::write(words, log.replace("NEW", new.to_str().unwrap())).unwrap();
    let done = Command::new("debugfs")
        .arg("-w")
        .arg("-f")
        .arg(words)
        .arg(image)
        .output()
        .unwrap();
    assert!(done.status.success());
}

impl Seed {
    /// Returns the filesystem with `input` laid over it: records of piece (u16), offset in it and
    /// length (a byte each), and the bytes to put there. The superblock's checksum is mended.
    pub fn mutated(&self, input: &[u8], pieces: impl Fn(usize) -> bool) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        let pieces: Vec<usize> = self.pieces.iter().copied().filter(|&p| pieces(p)).collect();
        let mut rest = input;
        while let Some((&[low, high, offset, len], tail)) = rest.split_first_chunk::<4>() {
            let piece = pieces[usize::from(u16::from_le_bytes([low, high])) % pieces.len()];
            let start = piece + usize::from(offset) % PIECE_BYTES;
            let size = usize::from(len % 16)
                .min(tail.len())
                .min(bytes.len() - start);
            bytes[start..start + size].copy_from_slice(&tail[..size]);
            rest = &tail[size..];
        }
        if self.has_checksums {
            let sum = !crc32c::crc32c(&bytes[1024..1024 + 0x3FC]);
            bytes[1024 + 0x3FC..2048].copy_from_slice(&sum.to_le_bytes());
        }
        bytes
    }
}

/// A medium that is not zeroed and copied once more for each run.
pub struct Bytes(pub Vec<u8>);

impl ReadAt for Bytes {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), BlockError> {
        let end = offset.saturating_add(buffer.len() as u64);
        if end > self.len() {
            // The error that a real medium gives.
            return MemoryMedium::new(0).read_at(offset, buffer);
        }
        buffer.copy_from_slice(&self.0[offset as usize..end as usize]);
        Ok(())
    }
}
