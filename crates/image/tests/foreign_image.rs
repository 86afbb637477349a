//! Images that others made, in all shapes that their tools give them.
#![expect(clippy::unwrap_used, reason = "tests fail by panic")]

mod material;

use std::io::{Cursor, ErrorKind, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cardkeep_block::{MemoryMedium, ReadAt};
use cardkeep_image::{
    Error, Format, FrameReader, load_index, scan_frames, stated_len, stream, stream_within,
};
use material::{content, decode, filter_tool, image};

fn stated(format: Format, file: &[u8]) -> Option<u64> {
    stated_len(format, &MemoryMedium::from_bytes(file)).unwrap()
}

/// Checks that `file` decodes to `expected` and states `len`.
fn check(format: Format, file: &[u8], expected: &[u8], len: Option<usize>) {
    assert_eq!(Format::detect(file), format);
    assert!(decode(format, file).unwrap() == expected);
    assert_eq!(stated(format, file), len.map(|len| len as u64));
}

/// Checks that `file` is refused as damaged or cut off.
fn check_refused(format: Format, file: &[u8], kind: ErrorKind) {
    let error = decode(format, file).unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    let inner = error.get_ref().unwrap().downcast_ref::<Error>();
    let Some(Error::Corrupt(corrupt)) = inner else {
        panic!("{error:?}");
    };
    assert!(corrupt.offset().unwrap() <= file.len() as u64);
}

#[test]
fn own_images_decode_from_their_beginning() {
    let content = content();
    let len = content.len();
    check(
        Format::Zstd,
        &image(Format::Zstd, &content),
        &content,
        Some(len),
    );
    check(
        Format::Xz,
        &image(Format::Xz, &content),
        &content,
        Some(len),
    );
    check(Format::Gzip, &image(Format::Gzip, &content), &content, None);
    assert_eq!(decode(Format::Raw, &content).unwrap(), content);
    assert!(decode(Format::Raw, &[]).unwrap().is_empty());
}

#[test]
fn zstd_files_of_the_zstd_program_decode() {
    let content = content();
    for arguments in [
        &["-c", "-T2"][..],
        &["-c", "-1", "--no-check"],
        &["-c", "-9", "-q"],
        &["-c", "-19", "--long=26"],
        &["-c", "-T0", "-3", "--rsyncable"],
    ] {
        // From a pipe, the program can't know the length.
        let Some(file) = filter_tool("zstd", arguments, &content[..5 << 20]) else {
            return;
        };
        check(Format::Zstd, &file, &content[..5 << 20], None);
        assert!(
            load_index(&MemoryMedium::from_bytes(&file))
                .unwrap()
                .is_none()
        );
    }
}

#[test]
fn zstd_frames_are_joined_across_skippable_ones() {
    let content = content();
    let (head, tail) = content.split_at(5_000_001);
    let skippable = [0x55, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 9, 9, 9, 9];
    let mut file = skippable.to_vec();
    file.extend(zstd::bulk::compress(head, 3).unwrap());
    file.extend(skippable);
    file.extend(zstd::bulk::compress(&[], 3).unwrap());
    file.extend(zstd::bulk::compress(tail, 3).unwrap());
    check(Format::Zstd, &file, &content, Some(content.len()));
    let scan = scan_frames(&MemoryMedium::from_bytes(&file)).unwrap();
    assert_eq!(scan.table.entries().len(), 2);
    assert_eq!(scan.end, file.len() as u64);
}

#[test]
fn gzip_members_are_joined_and_zeros_behind_them_ignored() {
    let content = content();
    let (head, tail) = content.split_at(3_000_003);
    let members = [head, &[], tail].map(|part| image(Format::Gzip, part));
    let mut file = members.concat();
    check(Format::Gzip, &file, &content, None);
    file.resize(file.len() + 300_000, 0);
    check(Format::Gzip, &file, &content, None);
    file.push(1);
    check_refused(Format::Gzip, &file, ErrorKind::InvalidData);
    for program in ["gzip", "pigz"] {
        if let Some(file) = filter_tool(program, &["-c"], &content) {
            check(Format::Gzip, &file, &content, None);
        }
    }
}

#[test]
fn xz_streams_are_joined_across_padding_and_blocks_read_apart() {
    let content = content();
    let (head, tail) = content.split_at(4_000_001);
    let mut file = image(Format::Xz, head);
    file.extend([0; 8]);
    file.extend(image(Format::Xz, tail));
    file.extend([0; 4]);
    check(Format::Xz, &file, &content, Some(content.len()));
    let medium = MemoryMedium::from_bytes(&file);
    let index = load_index(&medium).unwrap().unwrap();
    let reader = FrameReader::new(&medium, index).unwrap();
    assert!(reader.read_vec(0, content.len()).unwrap() == content);
    file.push(0);
    check_refused(Format::Xz, &file, ErrorKind::InvalidData);
}

#[test]
fn xz_files_of_the_xz_program_are_read_by_blocks() {
    let content = content();
    for arguments in [
        &["-c", "-T2", "-1", "--block-size=1MiB"][..],
        &["-c", "-T1", "-2", "--check=crc32"],
        &["-c", "-T1", "-0", "--check=none", "--block-size=3000000"],
        &[
            "-c",
            "-T1",
            "-1",
            "--check=sha256",
            "--x86",
            "--lzma2=preset=1",
        ],
    ] {
        let Some(file) = filter_tool("xz", arguments, &content) else {
            return;
        };
        check(Format::Xz, &file, &content, Some(content.len()));
        let medium = MemoryMedium::from_bytes(&file);
        let reader = FrameReader::new(&medium, load_index(&medium).unwrap().unwrap()).unwrap();
        assert!(
            reader.read_vec(0, content.len()).unwrap() == content,
            "{arguments:?}"
        );
    }
}

#[test]
fn bzip2_files_of_one_and_many_streams_decode() {
    let content = content();
    for (program, arguments) in [
        ("bzip2", &["-c"][..]),
        ("bzip2", &["-c", "-1"]),
        ("lbzip2", &["-c", "-n2"]),
        ("pbzip2", &["-c", "-p2", "-b3"]),
    ] {
        if let Some(file) = filter_tool(program, arguments, &content) {
            check(Format::Bzip2, &file, &content, None);
            let twice = [&file[..], &file].concat();
            let decoded = decode(Format::Bzip2, &twice).unwrap();
            assert!(decoded == [&content[..], &content].concat(), "{program}");
        }
    }
}

#[test]
fn a_failed_decoder_goes_on_failing() {
    let file = image(Format::Gzip, &content());
    let mut reader = stream(Format::Gzip, Cursor::new(file[..file.len() / 2].to_vec())).unwrap();
    let mut decoded = Vec::new();
    assert!(reader.read_to_end(&mut decoded).is_err());
    assert!(reader.read(&mut [0; 10]).is_err());
}

#[test]
fn the_readers_own_errors_are_not_blamed_on_the_image() {
    struct Unplugged;
    impl Read for Unplugged {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("unplugged"))
        }
    }
    for format in [
        Format::Raw,
        Format::Zstd,
        Format::Gzip,
        Format::Xz,
        Format::Bzip2,
        Format::Zip,
    ] {
        let file = Cursor::new(image_or_raw(format)).chain(Unplugged);
        let error = stream(format, file)
            .unwrap()
            .read_to_end(&mut Vec::new())
            .unwrap_err();
        assert_eq!(error.to_string(), "unplugged", "{format:?}");
    }
}

fn image_or_raw(format: Format) -> Vec<u8> {
    let content = vec![1; 100_000];
    match format {
        Format::Raw => content,
        Format::Bzip2 => b"BZh91AY&SY".to_vec(),
        Format::Zip => b"PK\x03\x04".to_vec(),
        other => {
            let mut file = image(other, &content);
            file.truncate(40);
            file
        }
    }
}

#[test]
fn windows_larger_than_allowed_are_refused_as_unsupported() {
    let content = content();
    let zstd = filter_tool("zstd", &["-c", "--long=27", "-1"], &content);
    let xz = filter_tool("xz", &["-c", "-9"], &content);
    for (format, file) in [(Format::Zstd, zstd), (Format::Xz, xz)] {
        let Some(file) = file else { continue };
        check(
            format,
            &file,
            &content,
            stated(format, &file).map(|len| len as usize),
        );
        let mut narrow = stream_within(format, Cursor::new(file), 16 << 20).unwrap();
        let error = narrow.read_to_end(&mut Vec::new()).unwrap_err();
        let inner = error.get_ref().unwrap().downcast_ref::<Error>();
        assert!(matches!(inner, Some(Error::Unsupported(_))), "{error}");
    }
}

#[test]
fn little_is_read_ahead_of_what_is_decoded() {
    /// Counts what is read of it, as callers do who show progress.
    struct Counted(Cursor<Vec<u8>>, Arc<AtomicU64>);
    impl Read for Counted {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let len = self.0.read(buffer)?;
            self.1.fetch_add(len as u64, Ordering::Relaxed);
            Ok(len)
        }
    }
    // Noise: as long compressed as it is itself.
    let noise = content()[8 << 20..].repeat(2);
    let bzip2 = filter_tool("bzip2", &["-c"], &noise);
    for (format, file) in [
        (Format::Raw, Some(noise.clone())),
        (
            Format::Zstd,
            Some(zstd::bulk::compress(&noise[..1 << 20], 1).unwrap()),
        ),
        (Format::Gzip, Some(image(Format::Gzip, &noise))),
        (Format::Xz, Some(image(Format::Xz, &noise))),
        (Format::Bzip2, bzip2),
    ] {
        let Some(file) = file else { continue };
        let taken = Arc::new(AtomicU64::new(0));
        let counted = Counted(Cursor::new(file), Arc::clone(&taken));
        let mut reader = stream(format, counted).unwrap();
        let mut decoded_len = 0;
        let mut buffer = [0; 4096];
        loop {
            let len = reader.read(&mut buffer).unwrap();
            if len == 0 {
                break;
            }
            decoded_len += len as u64;
            let ahead = taken.load(Ordering::Relaxed).saturating_sub(decoded_len);
            let block_bytes = if format == Format::Bzip2 { 1000 } else { 128 };
            assert!(ahead <= (128 + block_bytes) * 1024, "{format:?}: {ahead}");
        }
    }
}
