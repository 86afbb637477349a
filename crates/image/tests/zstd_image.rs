//! Zstd images: written, read back, and shown to zstd.

mod material;

use cardkeep_block::{MemoryMedium, ReadAt};
use cardkeep_image::{Format, FrameReader, load_index};
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
