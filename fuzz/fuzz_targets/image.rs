//! Image files from strangers.
//!
//! Invariant: whatever the bytes, reading an image ends, in bounded memory, without a panic, with
//! content or an error; and what one way of reading calls content, the others don't contradict.
//!
//! The first byte chooses the format that is read as a stream, or that the rest is a manifest and
//! not a file.
#![no_main]

use std::io::{Cursor, Read};

use cardkeep_block::{MemoryMedium, ReadAt};
use cardkeep_image::{
    ForeignKind, Format, FrameReader, Manifest, StreamNotes, detect_foreign, load_foreign,
    load_index, load_zip_member, scan_frames, scan_pieces, stated_len, stream_layer, stream_within,
};
use libfuzzer_sys::fuzz_target;

/// Content read from each way at the most: a kilobyte of file may hold gigabytes.
const CONTENT_BYTES_MAX: u64 = 1 << 20;

/// Pieces that are gone on with tile the content, and lie in the file one behind another.
fn scan(medium: &MemoryMedium) {
    for format in [Format::Zstd, Format::Xz] {
        let Ok(pieces) = scan_pieces(medium, format, 1000) else {
            continue;
        };
        let (mut end, mut content_end) = (0, 0);
        for piece in pieces {
            let entry = piece.entry;
            assert!(end <= entry.compressed.start() && content_end == entry.content.start());
            (end, content_end) = (entry.compressed.end(), entry.content.end());
            assert!(end <= medium.len());
        }
    }
}

fn read_frames(medium: &MemoryMedium) {
    let Ok(Some(index)) = load_index(medium) else {
        return;
    };
    let entries = index.table.entries().to_vec();
    let mut content_end = 0;
    for entry in &entries {
        assert_eq!(entry.content.start(), content_end);
        assert!(entry.compressed.end() <= medium.len());
        content_end = entry.content.end();
    }
    assert_eq!(index.table.content_len(), content_end);
    let Ok(reader) = FrameReader::new(medium, index) else {
        return;
    };
    for entry in entries.iter().take(4) {
        if entry.content.len() <= CONTENT_BYTES_MAX {
            // Damage is an answer.
            drop(reader.read_vec(entry.content.start(), entry.content.len() as usize));
        }
    }
}

/// Returns the image in a zip archive as its directory has it, where it has one.
fn read_member(medium: &MemoryMedium, file: &[u8]) -> Option<Vec<u8>> {
    let member = load_zip_member(medium).ok()??;
    assert!(member.compressed.end() <= medium.len());
    let data = file[member.compressed.start() as usize..].to_vec();
    let mut content = Vec::new();
    let reader = member
        .stream(Cursor::new(data), &StreamNotes::default())
        .ok()?;
    let read = reader.take(CONTENT_BYTES_MAX).read_to_end(&mut content);
    read.is_ok().then_some(content)
}

/// The digest behind a manifest keeps a fuzzer out: this is the way round it.
fn read_manifest(json: &[u8]) {
    let Ok(manifest) = Manifest::parse(json) else {
        return;
    };
    if let Ok(json) = manifest.to_json() {
        assert_eq!(Manifest::parse(&json).ok(), Some(manifest));
    }
}

/// A whole container that states its length holds just that, unless its seek table lies.
fn check_layer(format: Format, reader: Box<dyn Read + Send>, stated: Option<u64>) {
    let mut content = Vec::new();
    let read = reader.take(CONTENT_BYTES_MAX).read_to_end(&mut content);
    if read.is_ok()
        && (content.len() as u64) < CONTENT_BYTES_MAX
        && let Some(len) = stated
    {
        assert!(format == Format::Zstd || format == Format::Zip || len == content.len() as u64);
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((&choice, file)) = data.split_first() else {
        return;
    };
    if choice & 0x80 != 0 {
        return read_manifest(file);
    }
    let medium = MemoryMedium::from_bytes(file);
    read_frames(&medium);
    scan(&medium);
    if let Ok(scan) = scan_frames(&medium) {
        assert!(scan.content_end <= scan.end && scan.end <= medium.len());
    }
    if let Ok(kind) = load_foreign(&medium) {
        // What the beginning tells, the end doesn't change.
        let head = &file[..file.len().min(ForeignKind::DETECT_BYTES)];
        assert!(detect_foreign(head).is_none_or(|head| kind == Some(head)));
    }
    let format = match choice % 7 {
        0 => Format::Zstd,
        1 => Format::Gzip,
        2 => Format::Xz,
        3 => Format::Bzip2,
        4 => Format::Zip,
        5 => Format::Tar,
        _ => Format::detect(file),
    };
    let member = read_member(&medium, file);
    let stated = stated_len(format, &medium);
    if let Ok(reader) = stream_layer(format, Cursor::new(file.to_vec()), 1 << 20) {
        check_layer(format, reader, stated.ok().flatten());
    }
    let Ok(reader) = stream_within(format, Cursor::new(file.to_vec()), 1 << 20) else {
        return;
    };
    let mut content = Vec::new();
    let read = reader.take(CONTENT_BYTES_MAX).read_to_end(&mut content);
    if format == Format::Zip && read.is_ok() {
        assert_ne!(member.as_ref().map(|m| m == &content), Some(false));
    }
});
