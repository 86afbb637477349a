//! Pipes with a name, `<(...)` and `-` are taken by every verb that reads images, and what a verb takes of
//! a file it takes of a pipe.

use std::fs;
use std::process::Command;

use super::desk;
use crate::desk::Desk;
use cardkeep_testkit::Answer;

/// A file whose bytes come out of a pipe.
struct Pipe<'a> {
    name: &'a str,
    is_named: bool,
}

/// Runs the program with `-` for what comes out of a pipe: standard input, or a pipe with a name.
fn piped(desk: &Desk, pipe: &Pipe<'_>, words: &[&str]) -> Answer {
    let Pipe { name, is_named } = *pipe;
    let program = env!("CARGO_BIN_EXE_cardkeep");
    let words: Vec<String> = words
        .iter()
        .map(|&word| match word {
            "-" if is_named => format!("<(cat {name})"),
            word => format!("'{word}'"),
        })
        .collect();
    let writer = if is_named { ":" } else { "cat" };
    let script = format!(
        "cd \"$1\"; {writer} {name} | '{program}' {}",
        words.join(" ")
    );
    let mut command = Command::new("bash");
    command.args(["-c", &script, "bash"]).arg(desk.folder());
    command.output().unwrap().into()
}

#[test]
fn every_verb_that_reads_images_takes_them_from_pipes() {
    let desk = desk();
    desk.sh("gzip -1 -k card.img; xz -0 -k card.img; tar -czf card.tar.gz card.img");
    desk.expect(
        0,
        &[
            "backup",
            "card.img",
            "own.img.zst",
            "--everything",
            "--quiet",
        ],
    );
    let names = [
        "card.img",
        "card.img.gz",
        "card.img.xz",
        "card.tar.gz",
        "own.img.zst",
    ];
    for (name, is_named) in names
        .into_iter()
        .flat_map(|name| [(name, false), (name, true)])
    {
        let answer = piped(&desk, &Pipe { name, is_named }, &["verify", "-"]);
        assert_eq!(answer.code, 0, "{name}: {}", answer.stderr);
        let answer = piped(&desk, &Pipe { name, is_named }, &["info", "-"]);
        assert_eq!(answer.code, 0, "{name}: {}", answer.stderr);
        let said = answer.stdout;
        assert!(
            said.contains("ext4") && said.contains("all of it was read"),
            "{said}"
        );
        // How much came through is not how much is stored anywhere.
        assert!(!said.contains("stored in"), "{said}");
        let words = ["shrink", "-", "small.img", "--quiet"];
        let answer = piped(&desk, &Pipe { name, is_named }, &words);
        assert_eq!(answer.code, 0, "{name}: {}", answer.stderr);
        desk.sh(
            "e2fsck -fn 'small.img?offset=9437184'; rm small.img; test ! -e *.unpacked.partial",
        );
    }
}

#[test]
fn a_checksum_is_compared_with_what_verify_reads_from_a_pipe() {
    let desk = desk();
    desk.sh("gzip -1 -k card.img; xz -0 -k card.img");
    let sum = desk.sh("sha256sum card.img.gz | cut -c1-64 | tr -d '\\n'");
    for is_named in [false, true] {
        let words = ["verify", "-", "--sha256", &sum];
        assert_eq!(
            piped(
                &desk,
                &Pipe {
                    name: "card.img.gz",
                    is_named
                },
                &words
            )
            .code,
            0
        );
        assert_eq!(
            piped(
                &desk,
                &Pipe {
                    name: "card.img.xz",
                    is_named
                },
                &words
            )
            .code,
            6
        );
    }
}

#[test]
fn what_a_pipe_can_not_do_is_told() {
    let desk = desk();
    for is_named in [false, true] {
        let answer = piped(
            &desk,
            &Pipe {
                name: "card.img",
                is_named,
            },
            &["shrink", "-"],
        );
        assert_eq!(answer.code, 2, "{}", answer.stderr);
        assert!(answer.stderr.contains("has no name"), "{}", answer.stderr);
        let words = ["verify", "-", "--against", "target"];
        let answer = piped(
            &desk,
            &Pipe {
                name: "card.img",
                is_named,
            },
            &words,
        );
        assert_eq!(answer.code, 2, "{}", answer.stderr);
        let said = "can only be read in order";
        assert!(answer.stderr.contains(said), "{}", answer.stderr);
    }
}

/// A pipe is cut where its writer dies, and damaged as a file is.
#[test]
fn a_pipe_that_breaks_off_is_no_whole_image() {
    let desk = desk();
    desk.sh(
        "gzip -1 -k card.img; head -c 1M card.img.gz > cut.img.gz; head -c 12M card.img > cut.img
: > empty; echo '<html>' > page.img",
    );
    for is_named in [false, true] {
        for (verb, name, code) in [
            ("verify", "cut.img.gz", 7),
            ("verify", "cut.img", 7),
            ("verify", "empty", 2),
            ("verify", "page.img", 7),
            ("info", "cut.img.gz", 7),
            ("info", "page.img", 7),
        ] {
            let answer = piped(&desk, &Pipe { name, is_named }, &[verb, "-"]);
            assert_eq!(answer.code, code, "{verb} {name}: {}", answer.stderr);
        }
        for name in ["cut.img.gz", "cut.img", "page.img"] {
            let answer = piped(
                &desk,
                &Pipe { name, is_named },
                &["shrink", "-", "small.img"],
            );
            assert!([3, 7].contains(&answer.code), "{name}: {}", answer.stderr);
            assert!(!desk.path("small.img").exists());
        }
    }
}

/// A disk whose first bytes look like something else: what a restore takes, the others take.
#[test]
fn content_that_looks_like_another_kind_is_taken_where_the_user_says_so() {
    let desk = desk();
    desk.sh("printf 'ANDROID!' | dd of=card.img conv=notrunc status=none; gzip -1 -k card.img");
    for name in ["card.img", "card.img.gz"] {
        for words in [
            &["verify", name][..],
            &["info", name],
            &["shrink", name, "small.img", "--quiet"],
            &["restore", name, "target", "--dry-run"],
        ] {
            let said = desk.expect(7, words).stderr;
            assert!(said.contains("an Android boot image"), "{words:?}: {said}");
            desk.expect(0, &[words, &["--allow-unknown-content"]].concat());
        }
        fs::remove_file(desk.path("small.img")).unwrap();
        for is_named in [false, true] {
            let words = ["verify", "-"];
            assert_eq!(piped(&desk, &Pipe { name, is_named }, &words).code, 7);
            let words = ["verify", "-", "--allow-unknown-content"];
            let answer = piped(&desk, &Pipe { name, is_named }, &words);
            assert_eq!(answer.code, 0, "{}", answer.stderr);
        }
    }
}
