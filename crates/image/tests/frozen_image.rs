//! Images of every released format version still open.

use std::path::Path;

use cardkeep_block::{Extent, MemoryMedium, ReadAt, Run, State};
use cardkeep_image::{Format, FrameDigest, FrameReader, load_index, stated_len};

#[test]
fn version_1_opens_and_decodes_to_its_recorded_digests() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/version-1.zst");
    let medium = MemoryMedium::from_bytes(&std::fs::read(path).unwrap());
    assert_eq!(stated_len(Format::Zstd, &medium).unwrap(), Some(9 << 20));
    let index = load_index(&medium).unwrap().unwrap();
    let manifest = index.manifest.clone().unwrap();
    assert_eq!(
        manifest.image_digest().to_string(),
        "d41428e38fe330af01d1a4c9c71c71b722f578064b7aed652cd14f5da95ad3a2"
    );
    assert_eq!(manifest.tool, "cardkeep 0.1.0");
    assert_eq!(manifest.clean, Some(true));
    assert_eq!(manifest.source.hostname.as_deref(), Some("raspberrypi"));
    assert_eq!(manifest.partitions[0].label.as_deref(), Some("bootfs"));
    let runs: Vec<Run> = manifest.map.runs().collect();
    let mib = 1 << 20;
    let expected = [
        (0, 4096, State::Used),
        (4096, mib, State::Free),
        (mib, mib + 8192, State::Used),
        (mib + 8192, mib + 73_728, State::Zero),
        (mib + 73_728, 9 * mib - 4096, State::Free),
        (9 * mib - 4096, 9 * mib, State::Used),
    ];
    let expected = expected.map(|(start, end, state)| Run::new(Extent::between(start, end), state));
    assert_eq!(runs, expected);
    let content = FrameReader::new(&medium, index)
        .unwrap()
        .read_vec(0, 9 << 20)
        .unwrap();
    assert_eq!(
        FrameDigest::of(&content).to_string(),
        "58fe1b3272f1d8bf79f91e6a0e4a8e4551c68c10ff9ac951566a84a4dabc18dc"
    );
}
