//! Images with one bit flipped or cut short, at each place of each part.
#![expect(clippy::unwrap_used, reason = "tests fail by panic")]

mod material;

use cardkeep_block::{Extent, MemoryMedium, ReadAt};
use cardkeep_image::{Error, Format, FrameDigest, FrameReader, load_index, zero_digest};
use material::{image, manifest};

/// A medium of three frames whose image is short enough to try every byte of it.
fn content() -> Vec<u8> {
    let mut content = vec![0; 9 << 20];
    content[..4].copy_from_slice(b"head");
    content[9_437_000..9_437_004].copy_from_slice(b"tail");
    content
}

/// What became of an image.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// The index is there, and all frames decode to the digests in the manifest.
    Whole,
    /// It can still be read as a plain zstd file without an index or a manifest.
    Plain,
    /// Something is wrong at this offset of the file.
    Damaged(u64),
    /// It says that it is of a kind this program doesn't know.
    Unsupported,
}

fn outcome(file: &[u8]) -> Outcome {
    match read_all(file) {
        Ok(outcome) => outcome,
        Err(Error::Corrupt(corrupt)) => Outcome::Damaged(corrupt.offset().unwrap()),
        Err(Error::Unsupported(_)) => Outcome::Unsupported,
        Err(error) => panic!("{error}"),
    }
}

fn read_all(file: &[u8]) -> Result<Outcome, Error> {
    let medium = MemoryMedium::from_bytes(file);
    let Some(index) = load_index(&medium)? else {
        return Ok(Outcome::Plain);
    };
    let mut decoder = index.decoder()?;
    for (number, entry) in index.table.entries().iter().enumerate() {
        let compressed =
            medium.read_vec(entry.compressed.start(), entry.compressed.len() as usize)?;
        let mut content = vec![0; entry.content.len() as usize];
        decoder
            .decode(&compressed, &mut content)
            .map_err(|error| error.at(entry.compressed.start()))?;
        entry.check(&content)?;
        if let Some(manifest) = &index.manifest {
            let zeros = zero_digest(entry.content.len());
            let digest = manifest.frames[number].unwrap_or(zeros);
            assert_eq!(FrameDigest::of(&content), digest);
        }
    }
    Ok(match index.manifest {
        Some(_) => Outcome::Whole,
        None => Outcome::Plain,
    })
}

/// The parts of an image: its three frames, the manifest's frame, the seek table.
fn parts(file: &[u8]) -> Vec<Extent> {
    let index = load_index(&MemoryMedium::from_bytes(file))
        .unwrap()
        .unwrap();
    let mut parts: Vec<Extent> = index.table.entries().iter().map(|e| e.compressed).collect();
    let table_len = 8 + 4 * 12 + 9;
    let table = Extent::between(file.len() as u64 - table_len, file.len() as u64);
    parts.push(Extent::between(parts[2].end(), table.start()));
    parts.push(table);
    parts
}

#[test]
fn a_flipped_bit_anywhere_is_found_at_the_part_that_holds_it() {
    let file = image(Format::Zstd, &content());
    assert_eq!(outcome(&file), Outcome::Whole);
    let parts = parts(&file);
    let footer = file.len() - 9;
    for position in 0..file.len() {
        let mut damaged = file.clone();
        damaged[position] ^= 1 << (position % 8);
        let outcome = outcome(&damaged);
        let part = parts
            .iter()
            .position(|part| part.contains(position as u64))
            .unwrap();
        let expected = match part {
            // Four bytes tell that it is zstd at all.
            0 if position < 4 => outcome == Outcome::Plain,
            // The frame header has a bit that means nothing and a window that may be wider than
            // it need be (RFC 8878, 3.1.1.1.1 and 3.1.1.1.2): the content stays what it was.
            0..=2 if (4..6).contains(&(position as u64 - parts[part].start())) => {
                [Outcome::Whole, Outcome::Damaged(parts[part].start())].contains(&outcome)
            }
            0..=3 => outcome == Outcome::Damaged(parts[part].start()),
            // The last four bytes tell that there is a table at all; what its descriptor says
            // of the future is ignored where the seekable format wants it ignored.
            _ if position >= file.len() - 4 => outcome == Outcome::Plain,
            // The manifest's frame has no content for its checksum to speak of.
            _ if (footer - 4..footer).contains(&position) => outcome == Outcome::Whole,
            _ if position == footer + 4 && position % 8 < 2 => outcome == Outcome::Whole,
            _ => matches!(outcome, Outcome::Damaged(_) | Outcome::Unsupported),
        };
        assert!(expected, "byte {position} in part {part}: {outcome:?}");
    }
}

#[test]
fn an_image_cut_anywhere_has_no_index() {
    let file = image(Format::Zstd, &content());
    for len in 0..file.len() {
        assert_eq!(outcome(&file[..len]), Outcome::Plain, "{len}");
    }
}

#[test]
fn xz_images_with_a_flipped_bit_are_damaged() {
    let file = image(Format::Xz, &content()[..100_000]);
    for position in 6..file.len() {
        let mut damaged = file.clone();
        damaged[position] ^= 1 << (position % 8);
        let outcome = outcome(&damaged);
        assert!(
            matches!(outcome, Outcome::Damaged(_)),
            "byte {position}: {outcome:?}"
        );
    }
}

#[test]
fn a_damaged_frame_spoils_only_its_own_content() {
    let content = content();
    let mut file = image(Format::Zstd, &content);
    let second = parts(&file)[1];
    file[second.start() as usize + 12] ^= 0x10;
    let medium = MemoryMedium::from_bytes(&file);
    let reader = FrameReader::new(&medium, load_index(&medium).unwrap().unwrap()).unwrap();
    assert_eq!(reader.index().manifest, Some(manifest(&content)));
    let error = reader.read_vec((4 << 20) - 10, 20).unwrap_err();
    assert_eq!(error.extent(), Extent::new(4 << 20, 10));
    assert_eq!(reader.read_vec(0, 4).unwrap(), b"head");
    assert_eq!(reader.read_vec(9_437_000, 4).unwrap(), b"tail");
}
