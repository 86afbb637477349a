//! Reading files and loop devices: every offset and length gives the bytes that are there.

use std::os::unix::fs::FileExt;
use std::path::Path;

use cardkeep_block::{AlignedBuffer, BlockErrorKind, ReadAt};
use cardkeep_device::{NotAMedium, Source};

use crate::lab::{self, LoopDevice};

/// Bytes in which no two sectors are alike.
fn pattern(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as u8
    };
    (0..len).map(|_| next()).collect()
}

/// Reads in every cut that matters and compares all bytes, also those around the request.
fn check_cuts(source: &Source, expected: &[u8]) {
    let len = expected.len();
    assert_eq!(source.len(), len as u64);
    let edges = [0, 1, 511, 512, 513, 4095, 4096, 4097, 9000, 2 << 20];
    for start in edges
        .into_iter()
        .chain([len - 513, len - 512, len - 1, len])
    {
        for size in edges
            .into_iter()
            .filter(|size| start + size <= len)
            .chain([len - start])
        {
            for shift in [0, 1, 512] {
                let mut buffer = AlignedBuffer::new(shift + size + 1);
                buffer.fill(0xee);
                source
                    .read_at(start as u64, &mut buffer[shift..shift + size])
                    .unwrap();
                assert!(
                    buffer[shift..shift + size] == expected[start..start + size],
                    "{start}+{size}"
                );
                assert!(buffer[..shift].iter().all(|&byte| byte == 0xee));
                assert_eq!(
                    buffer[shift + size],
                    0xee,
                    "{start}+{size} wrote behind its buffer"
                );
            }
        }
    }
    let past = source.read_at(len as u64 - 1, &mut [0; 2]).unwrap_err();
    assert_eq!(past.kind(), BlockErrorKind::OutOfBounds);
}

#[test]
fn a_file_of_odd_size_is_read_at_every_cut() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("odd.img");
    let bytes = pattern((3 << 20) + 777);
    std::fs::write(&path, &bytes).unwrap();
    let source = Source::open(&path).unwrap();
    assert!(!source.is_device());
    assert_eq!((source.alignment(), source.diskseq()), (1, None));
    check_cuts(&source, &bytes);
    let link = folder.path().join("link.img");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    check_cuts(&Source::open_uncached(&link).unwrap(), &bytes);
}

#[test]
fn loop_devices_are_read_past_the_cache_at_every_cut() {
    if !lab::is_open() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("card.img");
    let bytes = pattern(4 << 20);
    std::fs::write(&path, &bytes).unwrap();
    for sector_bytes in [512, 4096] {
        let device = LoopDevice::attach(&path, &["--sector-size", &sector_bytes.to_string()]);
        let source = Source::open(&device.path).unwrap();
        assert!(source.is_device());
        assert_eq!(source.sector_bytes(), sector_bytes);
        assert_eq!(source.alignment(), sector_bytes as usize);
        assert!(source.diskseq().is_some());
        check_cuts(&source, &bytes);
        check_past_the_cache(&device.path, &path);
    }
}

/// What changes below the device is seen by the next read, which a page cache would hide. The
/// device is held open by a reader that filled the cache.
fn check_past_the_cache(device: &Path, file: &Path) {
    let holder = std::fs::File::open(device).unwrap();
    holder.read_at(&mut [0; 4096], 8192).unwrap();
    let source = Source::open(device).unwrap();
    let below = std::fs::OpenOptions::new().write(true).open(file).unwrap();
    let mut first = [0; 4096];
    below.write_at(&[0xaa; 4096], 8192).unwrap();
    source.read_at(8192, &mut first).unwrap();
    below
        .write_at(&pattern(16 << 10)[8192..12288], 8192)
        .unwrap();
    assert_eq!(first, [0xaa; 4096]);
}

#[test]
fn a_device_ends_with_its_last_whole_sector() {
    if !lab::is_open() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("card.img");
    // The kernel cuts a loop device to 512 bytes, not to its sectors of 4096.
    let bytes = pattern((4 << 20) + 3 * 512);
    std::fs::write(&path, &bytes).unwrap();
    let device = LoopDevice::attach(&path, &["--sector-size", "4096"]);
    let source = Source::open(&device.path).unwrap();
    check_cuts(&source, &bytes[..4 << 20]);
}

#[test]
fn a_held_device_is_opened_shared_but_not_exclusively() {
    if !lab::is_open() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("card.img");
    std::fs::write(&path, pattern(1 << 20)).unwrap();
    let device = LoopDevice::attach(&path, &[]);
    let held = Source::open_exclusive(&device.path).unwrap();
    let refused = Source::open_exclusive(&device.path).unwrap_err();
    assert_eq!(refused.kind(), BlockErrorKind::Busy);
    assert_eq!(Source::open(&device.path).unwrap().len(), held.len());
}

#[test]
fn what_is_no_medium_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    let socket = folder.path().join("socket");
    let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    lab::run("mkfifo", &[pipe.to_str().unwrap()]);
    let cases: [(&Path, &str); 4] = [
        (folder.path(), "a folder"),
        (&pipe, "a pipe"),
        (&socket, "a socket"),
        (Path::new("/dev/null"), "a character device"),
    ];
    for (path, expected) in cases {
        let error = Source::open(path).unwrap_err();
        let source = std::error::Error::source(&error).unwrap();
        let named = source.downcast_ref::<NotAMedium>().unwrap();
        assert_eq!((&*named.path, named.what), (path, expected));
    }
    drop(listener);
    let missing = Source::open(&folder.path().join("missing")).unwrap_err();
    assert_eq!(missing.kind(), BlockErrorKind::Gone);
}

#[test]
fn a_file_that_shrank_is_a_short_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shrinking.img");
    std::fs::write(&path, pattern(10_000)).unwrap();
    let source = Source::open(&path).unwrap();
    std::fs::write(&path, pattern(5_000)).unwrap();
    let error = source.read_at(4_000, &mut [0; 3_000]).unwrap_err();
    assert_eq!(error.kind(), BlockErrorKind::ShortRead);
    let extent = error.extent().unwrap();
    assert_eq!((extent.start(), extent.end()), (5_000, 7_000));
}
