//! Whole zstd images: written, read back, and shown to the world's tools.
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "tests fail by panic, and say what they skip"
)]

use std::io::Write as _;
use std::process::Command;

use cardkeep_block::{AllocationMap, MapBuilder, MemoryMedium, ReadAt, State};
use cardkeep_image::{
    Container, EncodeOptions, FRAME_BYTES, Format, FrameDigest, FrameReader, Manifest, load_index,
};

/// A medium of 9 MiB: text in the first frame, nothing in the second, noise in the last.
fn content() -> Vec<u8> {
    let mut content = vec![0; 9 << 20];
    for (index, byte) in content[..1 << 20].iter_mut().enumerate() {
        *byte = b"cardkeep image "[index % 15];
    }
    let mut state = 1_u64;
    for byte in &mut content[8 << 20..] {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        *byte = (state >> 56) as u8;
    }
    content
}

fn map() -> AllocationMap {
    let mut builder = MapBuilder::new(9 << 20);
    builder.push(1 << 20, State::Used);
    builder.push(7 << 20, State::Free);
    builder.finish(State::Used)
}

fn manifest(content: &[u8]) -> Manifest {
    let frames = content
        .chunks(FRAME_BYTES)
        .map(|frame| {
            frame
                .iter()
                .any(|&b| b != 0)
                .then(|| FrameDigest::of(frame))
        })
        .collect();
    Manifest::new("cardkeep test", map(), frames)
}

fn image(format: Format, content: &[u8]) -> Vec<u8> {
    let mut container = Container::new(format, &EncodeOptions::default()).unwrap();
    let mut encoder = container.encoder().unwrap();
    let mut file = container.prologue();
    let mut piece = Vec::new();
    for frame in content.chunks(FRAME_BYTES) {
        let info = encoder.encode(frame, &mut piece).unwrap();
        container.add(&piece, &info).unwrap();
        file.extend(&piece);
    }
    file.extend(container.epilogue(&manifest(content)).unwrap());
    file
}

fn run(program: &str, arguments: &[&str], file: &[u8]) -> Option<(bool, Vec<u8>)> {
    if Command::new(program).arg("--version").output().is_err() {
        eprintln!("skipped: {program} is not installed");
        return None;
    }
    let mut temporary = tempfile::NamedTempFile::new().unwrap();
    temporary.write_all(file).unwrap();
    let output = Command::new(program)
        .args(arguments)
        .arg(temporary.path())
        .output()
        .unwrap();
    Some((output.status.success(), output.stdout))
}

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
    if let Some((fine, decoded)) = run("zstd", &["-dc"], &file) {
        assert!(fine);
        assert!(decoded == content);
    }
    if let Some((fine, listing)) = run("zstd", &["-lv"], &file) {
        assert!(fine);
        let listing = String::from_utf8(listing).unwrap();
        assert!(listing.contains("Zstandard Frames: 3"), "{listing}");
        assert!(listing.contains("Skippable Frames: 2"), "{listing}");
        assert!(listing.contains("(9437184 B)"), "{listing}");
    }
}
