//! Zstd images: written, read back, and shown to zstd and zeekstd.

mod material;

use std::io::Cursor;

use cardkeep_block::{MemoryMedium, ReadAt};
use cardkeep_image::{
    Container, EncodeOptions, FRAME_BYTES, Format, FrameReader, load_index, scan_frames, stated_len,
};
use material::{content, image, manifest, run_tool};

#[test]
fn what_is_written_is_read_back_with_its_manifest() {
    let content = content();
    let medium = MemoryMedium::from_bytes(&image(Format::Zstd, &content));
    let index = load_index(&medium).unwrap().unwrap();
    assert_eq!(index.manifest, Some(manifest(&content)));
    let reader = FrameReader::new(&medium, index).unwrap();
    assert_eq!(reader.read_vec(0, content.len()).unwrap(), content);
    let across = 4_194_300..8_388_700;
    assert_eq!(
        reader.read_vec(across.start as u64, across.len()).unwrap(),
        content[across]
    );
    assert!(reader.read_vec(9 << 20, 1).is_err());
}

#[test]
fn zstd_decodes_and_lists_the_image() {
    let content = content();
    let file = image(Format::Zstd, &content);
    if let Some((fine, decoded)) = run_tool("zstd", &["-dc"], &file) {
        assert!(fine);
        assert!(decoded == content);
    }
    if let Some((fine, listing)) = run_tool("zstd", &["-lv"], &file) {
        assert!(fine);
        let listing = String::from_utf8(listing).unwrap();
        assert!(listing.contains("Zstandard Frames: 3"), "{listing}");
        assert!(listing.contains("Skippable Frames: 2"), "{listing}");
        assert!(listing.contains("(9437184 B)"), "{listing}");
    }
}

#[test]
fn another_reader_of_the_seekable_format_finds_the_same_frames() {
    let content = content();
    let file = image(Format::Zstd, &content);
    let medium = MemoryMedium::from_bytes(&file);
    let own = load_index(&medium).unwrap().unwrap().table;
    let mut theirs = zeekstd::Decoder::new(zeekstd::BytesWrapper::new(&file)).unwrap();
    let table = theirs.seek_table().clone();
    // The manifest's frame is one of theirs.
    assert_eq!(table.num_frames(), 4);
    assert_eq!(table.size_decomp(), content.len() as u64);
    for (entry, index) in own.entries().iter().zip(0..) {
        assert_eq!(
            table.frame_start_comp(index).unwrap(),
            entry.compressed.start()
        );
        assert_eq!(table.frame_end_comp(index).unwrap(), entry.compressed.end());
        assert_eq!(table.frame_end_decomp(index).unwrap(), entry.content.end());
    }
    let mut decoded = Vec::new();
    std::io::copy(&mut theirs, &mut decoded).unwrap();
    assert!(decoded == content);
}

#[test]
fn tables_of_another_writer_are_read() {
    let content = content();
    let mut file = Vec::new();
    let mut writer = zeekstd::Encoder::new(&mut file).unwrap();
    std::io::copy(&mut &content[..], &mut writer).unwrap();
    writer.finish().unwrap();
    let medium = MemoryMedium::from_bytes(&file);
    let index = load_index(&medium).unwrap().unwrap();
    assert_eq!(index.manifest, None);
    let reader = FrameReader::new(&medium, index).unwrap();
    assert!(reader.read_vec(0, content.len()).unwrap() == content);
}

#[test]
fn the_same_content_gives_the_same_bytes_whoever_encodes_it() {
    let content = content();
    for format in [Format::Zstd, Format::Gzip, Format::Xz] {
        let container = Container::new(format, &EncodeOptions::default()).unwrap();
        let (mut first, mut second) = (container.encoder().unwrap(), container.encoder().unwrap());
        let frames: Vec<&[u8]> = content.chunks(FRAME_BYTES).collect();
        let mut piece = Vec::new();
        // One encoder goes forwards, the other backwards.
        let forwards: Vec<_> = frames
            .iter()
            .map(|frame| (first.encode(frame, &mut piece).unwrap(), piece.clone()))
            .collect();
        for (index, frame) in frames.iter().enumerate().rev() {
            let info = second.encode(frame, &mut piece).unwrap();
            assert!(
                (info, piece.clone()) == forwards[index],
                "{format:?} {index}"
            );
        }
        assert!(container.zero_piece(FRAME_BYTES).unwrap().1 == forwards[1].0);
        assert!(container.zero_piece(FRAME_BYTES).unwrap().0 == forwards[1].1);
        assert_eq!(image(format, &content), image(format, &content));
    }
}

#[test]
fn all_levels_are_read_back_and_others_refused() {
    let content = &content()[8 << 20..];
    for (format, levels, beyond) in [
        (Format::Zstd, &[-5, 1, 19][..], 23),
        (Format::Gzip, &[0, 1, 9], 10),
        (Format::Xz, &[0, 1, 3, 6, 9], 10),
    ] {
        for &level in levels {
            let mut options = EncodeOptions::default();
            options.level = Some(level);
            let mut container = Container::new(format, &options).unwrap();
            let mut file = container.prologue();
            let mut piece = Vec::new();
            let info = container
                .encoder()
                .unwrap()
                .encode(content, &mut piece)
                .unwrap();
            container.add(&piece, &info).unwrap();
            file.extend(&piece);
            file.extend(container.epilogue(&manifest(content)).unwrap());
            let mut decoded = Vec::new();
            let mut reader = cardkeep_image::stream(format, Cursor::new(file)).unwrap();
            std::io::copy(&mut reader, &mut decoded).unwrap();
            assert!(decoded == content, "{format:?} {level}");
        }
        let mut options = EncodeOptions::default();
        options.level = Some(beyond);
        assert!(Container::new(format, &options).is_err());
    }
    assert!(Container::new(Format::Raw, &EncodeOptions::default()).is_err());
}

#[test]
fn a_medium_without_bytes_makes_an_image_in_each_format() {
    for (format, program) in [
        (Format::Zstd, "zstd"),
        (Format::Gzip, "gzip"),
        (Format::Xz, "xz"),
    ] {
        let file = image(format, &[]);
        if let Some((fine, decoded)) = run_tool(program, &["-dc"], &file) {
            assert!(fine && decoded.is_empty(), "{program}");
        }
    }
    let file = image(Format::Zstd, &[]);
    let medium = MemoryMedium::from_bytes(&file);
    let index = load_index(&medium).unwrap().unwrap();
    assert_eq!(index.manifest, Some(manifest(&[])));
    assert_eq!(FrameReader::new(&medium, index).unwrap().len(), 0);
}

#[test]
fn a_cut_off_backup_keeps_its_whole_frames() {
    let content = content();
    let file = image(Format::Zstd, &content);
    let entries = load_index(&MemoryMedium::from_bytes(&file))
        .unwrap()
        .unwrap()
        .table;
    let entries = entries.entries();
    for (cut, whole) in [
        (entries[0].compressed.end() - 1, 0),
        (entries[0].compressed.end(), 1),
        (entries[2].compressed.start() + 5000, 2),
        (entries[2].compressed.end() + 10, 3),
        (file.len() as u64, 3),
    ] {
        let medium = MemoryMedium::from_bytes(&file[..cut as usize]);
        let scan = scan_frames(&medium).unwrap();
        assert_eq!(scan.table.entries(), &entries[..whole], "{cut}");
        let end = entries[..whole]
            .last()
            .map_or(0, |entry| entry.compressed.end());
        assert_eq!(scan.content_end, end);
        let stated = stated_len(Format::Zstd, &medium).unwrap();
        let is_whole = whole > 0 && (cut == end || cut == file.len() as u64);
        assert_eq!(
            stated,
            is_whole.then_some(scan.table.content_len()),
            "{cut}"
        );
    }
}
