//! Images in tar archives, and images that are packed more than once.
#![expect(clippy::unwrap_used, reason = "tests fail by panic")]

mod material;

use std::fs::File;
use std::io::{Cursor, Read};
use std::os::unix::fs::FileExt;
use std::process::Command;

use cardkeep_image::{Error, Format, StreamNotes, stream, stream_layer, stream_noting};
use material::{content, decode, filter_tool, image, make_archive};

/// A card of 6 MiB: text, nothing, noise.
fn card() -> Vec<u8> {
    let content = content();
    [
        &content[..1 << 20],
        &[0; 4 << 20],
        &content[8 << 20..9 << 20],
    ]
    .concat()
}

fn tar(options: &[&str], files: &[(&str, &[u8])]) -> Option<Vec<u8>> {
    let names = files.iter().map(|(name, _)| *name);
    let words: Vec<&str> = options.iter().copied().chain(["-cf", "-"]).collect();
    make_archive(
        "tar",
        &words.into_iter().chain(names).collect::<Vec<_>>(),
        files,
    )
}

/// Returns an archive of a file `pi.img` that has holes where `content` has blocks of zeros.
fn sparse_tar(options: &[&str], content: &[u8]) -> Option<Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    let file = File::create(folder.path().join("pi.img")).unwrap();
    file.set_len(content.len() as u64).unwrap();
    for (index, block) in content.chunks(4096).enumerate() {
        if block.iter().any(|&byte| byte != 0) {
            file.write_all_at(block, index as u64 * 4096).unwrap();
        }
    }
    let mut command = Command::new("tar");
    command
        .args(options)
        .args(["--sparse", "-cf", "-", "pi.img"]);
    match command.current_dir(folder.path()).output() {
        Ok(made) => Some(made.stdout),
        Err(_) => {
            cardkeep_testkit::skip("sparse members of tar archives", "tar");
            None
        }
    }
}

fn refusal(file: &[u8]) -> String {
    let error = decode(Format::Tar, file).unwrap_err();
    let inner = error.get_ref().unwrap().downcast_ref::<Error>().unwrap();
    assert!(matches!(inner, Error::Unsupported(_)), "{inner}");
    inner.to_string()
}

#[test]
fn the_image_in_a_tar_archive_is_its_content_in_every_dialect() {
    let card = card();
    let long = format!("{}/pi.img", "folder-with-a-long-name".repeat(8));
    for (options, name) in [
        (&["--format=gnu"][..], "pi.img"),
        (&["--format=ustar"], "pi.img"),
        (&["--format=v7"], "pi.img"),
        (&["--format=pax"], "pi.img"),
        (&["--format=gnu"], &long),
        (&["--format=pax"], &long),
    ] {
        let files = [
            ("notes.txt", &b"notes"[..]),
            (name, &card[..]),
            ("z.sha256", b"sum"),
        ];
        let Some(file) = tar(options, &files) else {
            return;
        };
        assert_eq!(Format::detect(&file), Format::Tar, "{options:?}");
        assert!(decode(Format::Tar, &file).unwrap() == card, "{options:?}");
        // A cut one is never whole, wherever it is cut within the image.
        let cut = &file[..file.len() * 2 / 3 / 512 * 512];
        decode(Format::Tar, cut).unwrap_err();
    }
}

#[test]
fn many_holes_of_a_sparse_member_are_zeros() {
    let noise = content()[8 << 20..].to_vec();
    let mut card = vec![0; 4 << 20];
    for hole in (0..card.len()).step_by(40 * 1024) {
        card[hole..hole + 4096].copy_from_slice(&noise[hole / 10..hole / 10 + 4096]);
    }
    for options in [
        &["--format=gnu"][..],
        &["--format=pax", "--sparse-version=0.0"],
        &["--format=pax", "--sparse-version=0.1"],
        &["--format=pax", "--sparse-version=1.0"],
    ] {
        let Some(file) = sparse_tar(options, &card) else {
            return;
        };
        assert!(file.len() < card.len() / 2, "it is sparse");
        assert!(decode(Format::Tar, &file).unwrap() == card, "{options:?}");
        let cut = &file[..file.len() / 2 / 512 * 512];
        decode(Format::Tar, cut).unwrap_err();
    }
}

#[test]
fn archives_that_hold_no_image_or_several_say_so() {
    let card = card();
    let big = &card[..2 << 20];
    for (files, expected) in [
        (
            &[("notes.txt", &b"notes"[..])][..],
            "the tar archive holds no image",
        ),
        (
            &[("a.img", big), ("b.img", big)],
            "the tar archive holds more than one image: a.img, b.img",
        ),
        (
            &[
                ("etc/hostname", &b"pi"[..]),
                ("usr/share/big", big),
                ("kernel8.img", big),
            ],
            "the tar archive holds the files of a root filesystem, but no image",
        ),
        (
            &[("bootcode.bin", &b"code"[..]), ("os/root.tar", big)],
            "the tar archive holds files for a card's FAT filesystem, but no image",
        ),
    ] {
        if let Some(file) = tar(&[], files) {
            assert_eq!(refusal(&file), expected);
        }
    }
    let options = ["--format=pax", "--sparse-version=1.0"];
    if let Some(mut file) = sparse_tar(&options, &card) {
        let major = b"GNU.sparse.major=1";
        let at = file.windows(major.len()).position(|part| part == major);
        file[at.unwrap() + major.len() - 1] = b'2';
        let expected = "pi.img in the tar archive is a sparse file of an unknown kind \
                        (GNU.sparse version 2.0)";
        assert_eq!(refusal(&file), expected);
    }
}

#[test]
fn an_image_that_is_packed_several_times_is_unpacked_as_often() {
    let card = card();
    let Some(tar) = tar(&[], &[("pi.img", &card)]) else {
        return;
    };
    let gzip = |content: &[u8]| filter_tool("gzip", &["-c", "-1"], content).unwrap();
    for (format, file) in [
        (Format::Gzip, gzip(&gzip(&card))),
        (Format::Gzip, gzip(&tar)),
        (Format::Xz, image(Format::Xz, &tar)),
        (Format::Zstd, image(Format::Zstd, &image(Format::Xz, &card))),
        (Format::Gzip, gzip(&gzip(&gzip(&gzip(&card))))),
    ] {
        let notes = StreamNotes::default();
        let mut decoded = Vec::new();
        stream_noting(format, Cursor::new(file.clone()), &notes)
            .unwrap()
            .read_to_end(&mut decoded)
            .unwrap();
        assert!(decoded == card, "{format:?}");
        // Whoever made it gets back what he put in.
        let mut layer = Vec::new();
        stream_layer(format, Cursor::new(file), 128 << 20)
            .unwrap()
            .read_to_end(&mut layer)
            .unwrap();
        assert!(layer != card, "{format:?}");
    }
    let deep = gzip(&gzip(&gzip(&gzip(&gzip(&card)))));
    let error = decode(Format::Gzip, &deep).unwrap_err().to_string();
    assert_eq!(error, "the image is packed more than 4 times");
}

#[test]
fn damage_in_an_outer_container_is_noticed_whatever_the_inner_one_says() {
    let card = card();
    let Some(tar) = tar(&[], &[("pi.img", &card)]) else {
        return;
    };
    let mut file = filter_tool("gzip", &["-c", "-1"], &tar).unwrap();
    // The checksum behind all that the image needs.
    let crc = file.len() - 8;
    file[crc] ^= 1;
    decode(Format::Gzip, &file).unwrap_err();
}

#[test]
fn metadata_behind_a_whole_gzip_or_bzip2_image_is_left_out_with_a_note() {
    let card = card();
    for (format, program) in [(Format::Gzip, "gzip"), (Format::Bzip2, "bzip2")] {
        let Some(whole) = filter_tool(program, &["-c", "-1"], &card) else {
            continue;
        };
        let metadata = b"\0\0\0\0{ \"metadata_version\": \"1.1\" }\nFWx0\x12\x34\0\0";
        let file = [&whole[..], metadata].concat();
        let notes = StreamNotes::default();
        let mut decoded = Vec::new();
        stream_noting(format, Cursor::new(file), &notes)
            .unwrap()
            .read_to_end(&mut decoded)
            .unwrap();
        assert!(decoded == card);
        assert!(
            notes.all()[0].contains("behind the compressed image"),
            "{notes:?}"
        );
        // Behind several pieces it may be the rest of a damaged one.
        let file = [&whole[..], &whole, metadata].concat();
        decode(format, &file).unwrap_err();
    }
}

#[test]
fn a_dictionary_and_a_long_window_are_told_as_that() {
    let content = content();
    let samples = tempfile::tempdir().unwrap();
    let dictionary = samples.path().join("dictionary");
    let noise = &content[8 << 20..];
    for (index, part) in noise.chunks(700).take(300).enumerate() {
        std::fs::write(samples.path().join(index.to_string()), part).unwrap();
    }
    let trained = Command::new("zstd")
        .args(["-q", "--train", "--maxdict=20000", "-r"])
        .arg(samples.path())
        .arg("-o")
        .arg(&dictionary)
        .status();
    if !trained.is_ok_and(|status| status.success()) {
        return cardkeep_testkit::skip("a_dictionary_and_a_long_window", "zstd");
    }
    let name = dictionary.to_str().unwrap();
    for (arguments, expected) in [
        (&["-c", "-q", "-1", "-D", name][..], "with a dictionary"),
        (
            &["-c", "-q", "-1", "--long=31"],
            "a window of more than 128 MiB",
        ),
    ] {
        let Some(file) = filter_tool("zstd", arguments, &content) else {
            return;
        };
        let mut reader = stream(Format::Zstd, Cursor::new(file)).unwrap();
        let error = reader.read(&mut [0; 1]).unwrap_err();
        let inner = error.get_ref().unwrap().downcast_ref::<Error>().unwrap();
        assert!(inner.to_string().contains(expected), "{inner}");
        let Error::Unsupported(unsupported) = inner else {
            panic!("{inner} is called damage");
        };
        assert!(unsupported.advice().unwrap().contains("zstd -d"));
    }
}
