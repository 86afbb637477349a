//! Images of all formats cut off, followed by rubbish, and with flipped bits: an error, or the
//! right content; never wrong content that looks right.
#![expect(clippy::unwrap_used, reason = "tests fail by panic")]

mod material;

use std::io::{self, ErrorKind};

use cardkeep_image::{Error, Format};
use material::{decode, filter_tool, image, make_archive};

/// Text, nothing and noise, small enough to be decoded some thousand times.
fn content() -> Vec<u8> {
    let whole = material::content();
    [
        &whole[..30_000],
        &whole[2 << 20..][..60_000],
        &whole[8 << 20..][..5_000],
    ]
    .concat()
}

/// Programs that compress their standard input.
const FILTERS: &[(Format, &str)] = &[
    (Format::Zstd, "zstd"),
    (Format::Gzip, "gzip"),
    (Format::Gzip, "pigz"),
    (Format::Xz, "xz"),
    (Format::Xz, "pixz"),
    (Format::Bzip2, "bzip2"),
    (Format::Bzip2, "lbzip2"),
];

/// Programs that make archives.
const ARCHIVERS: &[(&str, &[&str])] = &[
    ("zip", &["-q", "out.zip", "pi.img", "notes.txt"]),
    ("zip", &["-q", "-", "notes.txt", "pi.img"]),
    (
        "7z",
        &[
            "a",
            "-tzip",
            "-bd",
            "-mm=Deflate64",
            "out.zip",
            "notes.txt",
            "pi.img",
        ],
    ),
    (
        "7z",
        &[
            "a",
            "-tzip",
            "-bd",
            "-mm=BZip2",
            "out.zip",
            "notes.txt",
            "pi.img",
        ],
    ),
    (
        "7z",
        &[
            "a",
            "-tzip",
            "-bd",
            "-mm=Copy",
            "out.zip",
            "notes.txt",
            "pi.img",
        ],
    ),
];

/// Returns images of `content` in all formats whose makers are at hand, and who they are.
fn images(content: &[u8]) -> Vec<(Format, &'static str, Vec<u8>)> {
    let mut images = vec![
        (
            Format::Zstd,
            "zstd's library",
            zstd::bulk::compress(content, 3).unwrap(),
        ),
        (Format::Gzip, "cardkeep", image(Format::Gzip, content)),
        (Format::Xz, "cardkeep", image(Format::Xz, content)),
    ];
    for (format, program) in FILTERS {
        let arguments: &[&str] = if *program == "pixz" { &["-t"] } else { &["-c"] };
        let file = filter_tool(program, arguments, content);
        images.extend(file.map(|file| (*format, *program, file)));
    }
    for (program, arguments) in ARCHIVERS {
        let files = [("pi.img", content), ("notes.txt", &b"notes"[..])];
        let file = make_archive(program, arguments, &files);
        images.extend(file.map(|file| (Format::Zip, *program, file)));
    }
    images
}

/// Returns the image's own error that `error` is, and fails where it is another's.
fn own(error: &io::Error) -> &Error {
    let kinds = [ErrorKind::InvalidData, ErrorKind::UnexpectedEof];
    assert!(kinds.contains(&error.kind()), "{error:?}");
    error.get_ref().unwrap().downcast_ref().unwrap()
}

#[test]
fn files_cut_anywhere_are_refused() {
    let content = content();
    for (format, program, file) in images(&content) {
        assert!(decode(format, &file).unwrap() == content, "{program}");
        // The records of containers lie at the edges.
        let sampled = (64..file.len().saturating_sub(300)).step_by(101);
        let edges = (0..64).chain(file.len() - 300..file.len());
        for len in edges.chain(sampled) {
            let error = decode(format, &file[..len]).unwrap_err();
            assert!(
                matches!(own(&error), Error::Corrupt(_)),
                "{format:?} of {program} cut at {len}: {error}"
            );
        }
    }
}

#[test]
fn what_follows_the_end_is_refused_at_its_place() {
    let content = content();
    for (format, program, file) in images(&content) {
        for tail in [
            &b"x"[..],
            b"rubbish behind the end of the image",
            b"\0\0\0\0\0x",
        ] {
            let followed = [&file[..], tail].concat();
            let error = match decode(format, &followed) {
                // Behind a single piece of these, it is left out with a note.
                Ok(decoded) if matches!(format, Format::Gzip | Format::Bzip2) => {
                    assert!(decoded == content, "{program}");
                    continue;
                }
                decoded => decoded.unwrap_err(),
            };
            let Error::Corrupt(corrupt) = own(&error) else {
                panic!("{format:?} of {program}: {error}");
            };
            let place = file.len() as u64..=followed.len() as u64;
            assert!(
                place.contains(&corrupt.offset().unwrap()),
                "{program}: {error}"
            );
        }
    }
}

#[test]
fn zeros_behind_the_end_are_padding_where_tools_leave_them() {
    let content = content();
    for (format, program, file) in images(&content) {
        let padded = [&file[..], &[0; 10_240]].concat();
        let decoded = decode(format, &padded);
        match format {
            Format::Gzip | Format::Xz | Format::Zip | Format::Bzip2 => {
                assert!(decoded.unwrap() == content, "{program}");
            }
            _ => assert!(matches!(own(&decoded.unwrap_err()), Error::Corrupt(_))),
        }
    }
}

#[test]
fn a_flipped_bit_never_changes_the_content_unnoticed() {
    let content = content();
    for (format, program, file) in images(&content) {
        // The library writes no checksum unless it is asked to.
        if program == "zstd's library" {
            continue;
        }
        for position in 0..file.len() {
            if position > 100 && position + 300 < file.len() && position % 101 != 0 {
                continue;
            }
            let mut damaged = file.clone();
            damaged[position] ^= 1 << (position % 8);
            match decode(format, &damaged) {
                Ok(decoded) => assert!(decoded == content, "{program}: {position}"),
                Err(error) => drop(own(&error)),
            }
        }
    }
}
