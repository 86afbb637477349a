//! What comes through pipes, and addresses in place of files.

use std::fs;

use super::{check_refused, check_restored, desk, restore};

/// `ssh -t HOST cat IMAGE`: a terminal writes CR LF for each LF.
#[test]
fn line_ends_that_a_terminal_changed_are_told() {
    let desk = desk();
    desk.sh("gzip -1 -k card.img; zstd -q -1 card.img; xz -0 -k card.img");
    for ending in ["gz", "zst", "xz"] {
        let image = fs::read(desk.path(&format!("card.img.{ending}"))).unwrap();
        let sent = image.iter().flat_map(|&byte| match byte {
            b'\n' => vec![b'\r', b'\n'],
            byte => vec![byte],
        });
        fs::write(desk.path("sent"), sent.collect::<Vec<u8>>()).unwrap();
        check_refused(&desk, "sent", 7, "LF became CR LF");
    }
}

/// `cardkeep restore <(...)` and a named pipe are streams as `-` is.
#[test]
fn a_pipe_with_a_name_is_a_stream() {
    let desk = desk();
    let program = env!("CARGO_BIN_EXE_cardkeep");
    desk.sh(&format!(
        "gzip -1 -k card.img
'{program}' restore <(cat card.img.gz) target --yes --quiet --everything
cmp -n $(stat -c %s card.img) card.img target
mkfifo pipe; cat card.img > pipe &
'{program}' restore pipe target --yes --quiet --everything; wait
cmp -n $(stat -c %s card.img) card.img target"
    ));
    let said = restore_of_page(&desk, program);
    assert!(said.contains("a web page"), "{said}");
    let answer = desk.run(&["backup", "pipe", "new.img.zst"]);
    assert_ne!(answer.code, 0);
    assert!(answer.stderr.contains("a pipe"), "{}", answer.stderr);
}

fn restore_of_page(desk: &crate::desk::Desk, program: &str) -> String {
    desk.sh(&format!(
        "'{program}' restore <(printf '<html>404</html>') target --yes 2>&1 || true"
    ))
}

#[test]
fn an_address_is_told_to_be_downloaded_first() {
    let desk = desk();
    let address = "https://example.org/pi.img.xz";
    for words in [
        &["restore", address, "target", "--yes"][..],
        &["info", address],
        &["verify", address],
        &["shrink", address],
    ] {
        let said = desk.expect(2, words).stderr;
        assert!(said.contains("is an address"), "{words:?}: {said}");
        assert!(said.contains(&format!("curl -L {address}")), "{said}");
    }
}

/// The last word of a download that failed in the middle of a pipe.
#[test]
fn nothing_from_a_pipe_costs_nothing() {
    let desk = desk();
    fs::write(desk.path("nothing"), "").unwrap();
    let answer = restore(&desk, "nothing", true, &[]);
    assert_eq!(answer.code, 2, "{}", answer.stderr);
    check_restored(&desk, "card.img", true);
}
