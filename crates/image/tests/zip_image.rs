//! Images in zip archives that others made, read from the beginning and by the directory.
#![expect(clippy::unwrap_used, reason = "tests fail by panic")]

mod material;

use std::io::{self, Cursor, Read};

use cardkeep_block::MemoryMedium;
use cardkeep_image::{Error, Format, StreamNotes, ZipMember, load_zip_member, stated_len, stream};
use material::{content, make_archive};

/// A card of 4 MiB: text, nothing, noise.
fn card() -> Vec<u8> {
    let content = content();
    [
        &content[..1 << 20],
        &content[3 << 20..5 << 20],
        &content[8 << 20..],
    ]
    .concat()
}

fn decode(file: &[u8]) -> io::Result<Vec<u8>> {
    let mut decoded = Vec::new();
    stream(Format::Zip, Cursor::new(file.to_vec()))
        .unwrap()
        .read_to_end(&mut decoded)?;
    Ok(decoded)
}

fn load(file: &[u8]) -> Result<ZipMember, Error> {
    load_zip_member(&MemoryMedium::from_bytes(file)).map(Option::unwrap)
}

fn decode_member(file: &[u8], member: &ZipMember) -> io::Result<Vec<u8>> {
    let data = file[member.compressed.start() as usize..member.compressed.end() as usize].to_vec();
    let mut decoded = Vec::new();
    member
        .stream(Cursor::new(data), &StreamNotes::default())
        .unwrap()
        .read_to_end(&mut decoded)?;
    Ok(decoded)
}

/// Checks that both ways find `expected` in `file`.
fn check(file: &[u8], name: &str, expected: &[u8]) {
    assert_eq!(Format::detect(file), Format::Zip);
    let member = load(file).unwrap();
    assert_eq!(member.name, name);
    assert_eq!(member.content_len, Some(expected.len() as u64));
    let medium = MemoryMedium::from_bytes(file);
    let stated = stated_len(Format::Zip, &medium).unwrap();
    assert_eq!(stated, Some(expected.len() as u64));
    assert!(decode_member(file, &member).unwrap() == expected);
    assert!(decode(file).unwrap() == expected);
}

fn inner(error: &io::Error) -> &Error {
    error.get_ref().unwrap().downcast_ref().unwrap()
}

#[test]
fn archives_of_the_zip_program_are_read() {
    let card = card();
    let files = [("pi.img", &card[..]), ("notes.txt", b"notes")];
    for arguments in [
        &["-q", "out.zip", "pi.img"][..],
        &["-q", "-0", "out.zip", "pi.img"],
        &["-q", "-9", "out.zip", "notes.txt", "pi.img"],
        &["-q", "-fz", "out.zip", "pi.img", "notes.txt"],
        &["-q", "-Z", "bzip2", "out.zip", "pi.img"],
        // To a pipe: sizes come behind the data.
        &["-q", "-", "notes.txt", "pi.img"],
        &["-q", "-fd", "out.zip", "pi.img", "notes.txt"],
    ] {
        if let Some(file) = make_archive("zip", arguments, &files) {
            check(&file, "pi.img", &card);
        }
    }
}

#[test]
fn archives_of_7z_are_read_in_the_methods_there_are() {
    let card = card();
    let files = [("pi.img", &card[..]), ("a/notes.txt", b"notes")];
    for method in ["Copy", "Deflate", "Deflate64", "BZip2", "xz"] {
        let method = format!("-mm={method}");
        let arguments = ["a", "-tzip", "-bd", &method, "out.zip", "a", "pi.img"];
        if let Some(file) = make_archive("7z", &arguments, &files) {
            check(&file, "pi.img", &card);
        }
    }
    let arguments = ["a", "-tzip", "-bd", "-mm=LZMA", "out.zip", "pi.img"];
    if let Some(file) = make_archive("7z", &arguments, &files) {
        let error = decode(&file).unwrap_err();
        assert!(matches!(inner(&error), Error::Unsupported(_)), "{error}");
        assert!(error.to_string().contains("pi.img"), "{error}");
    }
}

#[test]
fn archives_of_bsdtar_are_read() {
    let card = card();
    let files = [("folder/pi.img", &card[..]), ("folder/notes.txt", b"notes")];
    for arguments in [
        &["-c", "--format", "zip", "-f", "out.zip", "folder"][..],
        &["-c", "--format", "zip", "-f", "-", "folder"],
        &[
            "-c",
            "--format",
            "zip",
            "--options",
            "zip:compression=store",
            "-f",
            "-",
            "folder",
        ],
        &[
            "-c",
            "--format",
            "zip",
            "--options",
            "zip:zip64",
            "-f",
            "-",
            "folder",
        ],
    ] {
        if let Some(file) = make_archive("bsdtar", arguments, &files) {
            check(&file, "folder/pi.img", &card);
        }
    }
}

#[test]
fn encrypted_images_are_refused_by_name() {
    let card = card();
    let files = [("pi.img", &card[..])];
    for (program, arguments) in [
        ("zip", &["-q", "-P", "secret", "out.zip", "pi.img"][..]),
        (
            "7z",
            &[
                "a",
                "-tzip",
                "-bd",
                "-psecret",
                "-mem=AES256",
                "out.zip",
                "pi.img",
            ],
        ),
    ] {
        if let Some(file) = make_archive(program, arguments, &files) {
            let error = decode(&file).unwrap_err();
            assert_eq!(error.to_string(), "pi.img in the zip archive is encrypted");
            let member = load(&file).unwrap();
            let error = member.stream(io::empty(), &StreamNotes::default());
            let error = error.err().unwrap();
            assert_eq!(error.to_string(), "pi.img in the zip archive is encrypted");
        }
    }
}

#[test]
fn two_images_are_refused_and_named() {
    let card = card();
    let files = [("a.img", &card[..]), ("b.iso", &card[..1 << 20])];
    for arguments in [
        &["-q", "-0", "out.zip", "a.img", "b.iso"][..],
        &["-q", "-", "a.img", "b.iso"],
    ] {
        let Some(file) = make_archive("zip", arguments, &files) else {
            return;
        };
        for error in [
            load(&file).unwrap_err().to_string(),
            decode(&file).unwrap_err().to_string(),
        ] {
            assert_eq!(
                error,
                "the zip archive holds more than one image: a.img, b.iso"
            );
        }
    }
}

#[test]
fn a_large_member_before_the_image_is_known_by_the_directory_alone() {
    let card = card();
    let files = [("big", &card[..2 << 20]), ("pi.img", &card[..])];
    if let Some(file) = make_archive("zip", &["-q", "out.zip", "big", "pi.img"], &files) {
        let member = load(&file).unwrap();
        assert_eq!(member.name, "pi.img");
        assert!(decode_member(&file, &member).unwrap() == card);
        let error = decode(&file).unwrap_err().to_string();
        assert_eq!(
            error,
            "the zip archive holds more than one image: big, pi.img"
        );
    }
}

#[test]
fn an_archive_without_an_image_is_refused() {
    let files = [("notes.txt", &b"notes"[..])];
    if let Some(file) = make_archive("zip", &["-q", "out.zip", "notes.txt"], &files) {
        for error in [
            load(&file).unwrap_err().to_string(),
            decode(&file).unwrap_err().to_string(),
        ] {
            assert_eq!(error, "the zip archive holds no image");
        }
    }
    let mut empty = b"PK\x05\x06".to_vec();
    empty.resize(22, 0);
    let error = decode(&empty).unwrap_err().to_string();
    assert_eq!(error, "the zip archive holds no image");
    let error = load(&empty).unwrap_err().to_string();
    assert_eq!(error, "the zip archive holds no image");
}

#[test]
fn an_image_that_is_compressed_once_more_is_unpacked_twice() {
    let card = card();
    for (format, extension) in [(Format::Xz, "img.xz"), (Format::Zstd, "img.zst")] {
        let inner = material::image(format, &card);
        let name = format!("pi.{extension}");
        let files = [(name.as_str(), &inner[..])];
        let Some(file) = make_archive("zip", &["-q", "-", &name], &files) else {
            return;
        };
        assert!(decode(&file).unwrap() == card);
        let member = load(&file).unwrap();
        assert!(decode_member(&file, &member).unwrap() == card);
    }
}

/// An archive of one member, by hand: no tool at hand makes these.
fn archive_of(method: u16, data: &[u8], content: &[u8]) -> Vec<u8> {
    let fields = [
        &[0, 0][..],
        &method.to_le_bytes(),
        &[0; 4],
        &crc32fast::hash(content).to_le_bytes(),
        &(data.len() as u32).to_le_bytes(),
        &(content.len() as u32).to_le_bytes(),
        &[6, 0, 0, 0],
    ]
    .concat();
    let local = [b"PK\x03\x04\x3f\0", &fields[..], b"pi.img", data].concat();
    let central = [b"PK\x01\x02\x3f\0\x3f\0", &fields[..], &[0; 14], b"pi.img"].concat();
    let end = [
        &b"PK\x05\x06\0\0\0\0\x01\0\x01\0"[..],
        &(central.len() as u32).to_le_bytes(),
        &(local.len() as u32).to_le_bytes(),
        &[0, 0],
    ];
    [&local[..], &central, &end.concat()].concat()
}

#[test]
fn members_in_zstd_are_read_within_their_bounds() {
    let card = card();
    let mut compressor = zstd::bulk::Compressor::new(1).unwrap();
    compressor.long_distance_matching(true).unwrap();
    compressor.window_log(27).unwrap();
    compressor.include_contentsize(false).unwrap();
    let data = compressor.compress(&card).unwrap();
    for method in [93, 20] {
        check(&archive_of(method, &data, &card), "pi.img", &card);
    }
    let followed = [&data[..], b"rubbish"].concat();
    for (data, content) in [
        (&data[..data.len() - 1], &card[..]),
        (&followed, &card),
        (&data, &card[..card.len() - 1]),
        (&data, &[&card[..], &[0]].concat()),
    ] {
        let file = archive_of(93, data, content);
        let error = decode(&file).unwrap_err();
        assert!(matches!(inner(&error), Error::Corrupt(_)), "{error}");
        let error = decode_member(&file, &load(&file).unwrap()).unwrap_err();
        assert!(matches!(inner(&error), Error::Corrupt(_)), "{error}");
    }
}

#[test]
fn a_flipped_bit_in_a_stored_image_is_found_both_ways() {
    let card = card();
    let mut file = archive_of(0, &card, &card);
    check(&file, "pi.img", &card);
    file[2_000_000] ^= 1;
    let error = decode(&file).unwrap_err();
    assert!(matches!(inner(&error), Error::Corrupt(_)), "{error}");
    let error = decode_member(&file, &load(&file).unwrap()).unwrap_err();
    assert!(matches!(inner(&error), Error::Corrupt(_)), "{error}");
}
