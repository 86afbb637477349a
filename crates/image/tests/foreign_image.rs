//! Images that others made, in all shapes that their tools give them.
#![expect(clippy::unwrap_used, reason = "tests fail by panic")]

mod material;

use std::io::{Cursor, ErrorKind, Read};

use cardkeep_block::{MemoryMedium, ReadAt};
use cardkeep_image::{
    Error, Format, FrameReader, load_index, scan_frames, stated_len, stream, stream_within,
};
use material::{content, filter_tool, image};

/// Returns what [`stream`] makes of `file`.
fn decode(format: Format, file: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut decoded = Vec::new();
    stream(format, Cursor::new(file.to_vec()))
        .unwrap()
        .read_to_end(&mut decoded)?;
    Ok(decoded)
}

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
fn files_cut_anywhere_are_refused() {
    let content = [vec![7; 100_000], (0..=255).cycle().take(60_000).collect()].concat();
    for format in [Format::Zstd, Format::Gzip, Format::Xz] {
        let file = match format {
            Format::Zstd => zstd::bulk::compress(&content, 3).unwrap(),
            other => image(other, &content),
        };
        check_refused(format, &[], ErrorKind::UnexpectedEof);
        for len in 1..file.len() {
            let error = decode(format, &file[..len]).unwrap_err();
            assert!(
                [ErrorKind::UnexpectedEof, ErrorKind::InvalidData].contains(&error.kind()),
                "{format:?} cut at {len}: {error}"
            );
        }
    }
}

#[test]
fn what_follows_the_last_frame_or_stream_is_refused() {
    for format in [Format::Zstd, Format::Gzip, Format::Xz] {
        for tail in [&b"x"[..], b"rubbish behind the end of the image"] {
            let mut file = image(format, &content()[..100_000]);
            file.extend(tail);
            let error = decode(format, &file).unwrap_err();
            assert!(
                error.get_ref().unwrap().is::<Error>(),
                "{format:?}: {error}"
            );
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
    for format in [Format::Raw, Format::Zstd, Format::Gzip, Format::Xz] {
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
