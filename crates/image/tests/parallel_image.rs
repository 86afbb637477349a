//! Images that others made with many threads: each frame can be decoded without the others.
#![expect(clippy::unwrap_used, reason = "tests fail by panic")]

mod material;

use std::thread;

use cardkeep_block::{MemoryMedium, ReadAt};
use cardkeep_image::{Format, FrameReader, load_index};
use material::{content, decode, filter_tool, image, make_archive};

/// Checks that `file` decodes to `expected` as a stream, by position, and by two threads with
/// decoders of their own, one from the first frame on and one from the last.
fn check(format: Format, file: &[u8], expected: &[u8], frames_min: usize) {
    assert_eq!(Format::detect(file), format);
    assert!(decode(format, file).unwrap() == expected);
    let medium = MemoryMedium::from_bytes(file);
    let index = load_index(&medium).unwrap().unwrap();
    let entries = index.table.entries();
    assert!(entries.len() >= frames_min, "{} frames", entries.len());
    assert_eq!(index.table.content_len(), expected.len() as u64);
    let decode_all = |is_backwards: bool| {
        let mut decoder = index.decoder().unwrap();
        for number in 0..entries.len() {
            let last = entries.len() - 1;
            let entry = entries[if is_backwards { last - number } else { number }];
            let compressed =
                medium.read_vec(entry.compressed.start(), entry.compressed.len() as usize);
            let mut content = vec![0; entry.content.len() as usize];
            decoder.decode(&compressed.unwrap(), &mut content).unwrap();
            entry.check(&content).unwrap();
            let place = entry.content.start() as usize..entry.content.end() as usize;
            assert!(content == expected[place], "frame {number}");
        }
    };
    thread::scope(|scope| {
        scope.spawn(|| decode_all(true));
        decode_all(false);
    });
    let reader = FrameReader::new(&medium, index.clone()).unwrap();
    assert!(reader.read_vec(0, expected.len()).unwrap() == expected);
}

/// It states how long its frames are, but not their content.
#[test]
fn files_of_pzstd_are_read_from_their_beginning() {
    let content = content();
    let files = [("pi.img", &content[..])];
    let arguments = ["-q", "-p", "2", "-1", "-c", "pi.img"];
    if let Some(file) = make_archive("pzstd", &arguments, &files) {
        assert!(decode(Format::Zstd, &file).unwrap() == content);
        let medium = MemoryMedium::from_bytes(&file);
        assert!(load_index(&medium).unwrap().is_none());
    }
}

#[test]
fn a_file_of_the_zstd_program_that_knew_its_length_is_one_frame() {
    let content = content();
    let files = [("pi.img", &content[..])];
    for arguments in [
        &["-q", "-c", "-T2", "pi.img"][..],
        &["-q", "-c", "-19", "pi.img"],
    ] {
        if let Some(file) = make_archive("zstd", arguments, &files) {
            check(Format::Zstd, &file, &content, 1);
        }
    }
}

#[test]
fn concatenated_zstd_files_are_frames() {
    let content = content();
    let mut file = vec![0x51, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3];
    for part in content.chunks(1_000_003) {
        file.extend(zstd::bulk::compress(part, 1).unwrap());
    }
    check(Format::Zstd, &file, &content, 10);
}

#[test]
fn a_zstd_file_with_one_frame_of_unstated_length_has_no_index() {
    let Some(unstated) = filter_tool("zstd", &["-c", "-q"], b"card") else {
        return;
    };
    let stated = zstd::bulk::compress(b"card", 1).unwrap();
    for file in [
        [&stated[..], &unstated, &stated].concat(),
        [&stated[..], &stated, &unstated].concat(),
        [&stated[..], &stated[..stated.len() - 1]].concat(),
        [&stated[..], b"rubbish"].concat(),
    ] {
        let medium = MemoryMedium::from_bytes(&file);
        assert!(load_index(&medium).unwrap().is_none());
    }
}

#[test]
fn a_zstd_frame_of_more_than_64_mib_is_read_from_its_beginning() {
    for (len, has_index) in [(64 << 20, true), ((64 << 20) + 1, false)] {
        let content = vec![0; len];
        let file = zstd::bulk::compress(&content, 1).unwrap();
        let medium = MemoryMedium::from_bytes(&file);
        assert_eq!(load_index(&medium).unwrap().is_some(), has_index, "{len}");
    }
}

#[test]
fn blocks_of_xz_and_pixz_are_found() {
    let content = content();
    for arguments in [
        &["-c", "-T0", "-1", "--block-size=1MiB"][..],
        &["-c", "-T2", "-0", "--block-size=2MiB"],
        &["-c", "-T2", "-0", "--block-list=1MiB,3MiB,0"],
    ] {
        if let Some(file) = filter_tool("xz", arguments, &content) {
            check(Format::Xz, &file, &content, 3);
        }
    }
    // Blocks are four times the dictionary of 256 KiB.
    if let Some(file) = filter_tool("pixz", &["-t", "-0", "-f", "4", "-p", "2"], &content) {
        check(Format::Xz, &file, &content, 2);
    }
}

#[test]
fn blocks_are_found_across_streams_and_their_padding() {
    let content = content();
    let (head, tail) = content.split_at(4_000_001);
    let Some(first) = filter_tool("xz", &["-c", "-0", "--block-size=1MiB"], head) else {
        return;
    };
    let nothing = image(Format::Xz, &[]);
    let file = [
        &first[..],
        &[0; 4],
        &nothing,
        &[0; 1 << 17],
        &image(Format::Xz, tail),
        &[0; 8],
    ]
    .concat();
    check(Format::Xz, &file, &content, 5);
}
