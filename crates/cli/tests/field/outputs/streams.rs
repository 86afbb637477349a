//! Output that is full or gone: telling gives up, the work goes on, and the exit code says it.

use std::fs::{File, OpenOptions};
use std::io::{PipeWriter, pipe};
use std::process::Stdio;

use cardkeep_testkit::Answer;

use super::{assert_restored, desk};

fn full() -> File {
    OpenOptions::new().write(true).open("/dev/full").unwrap()
}

/// Returns a pipe that nobody reads any more.
fn gone() -> PipeWriter {
    pipe().unwrap().1
}

#[test]
fn a_restore_goes_on_when_nobody_can_be_told_and_the_exit_code_says_it() {
    let desk = desk();
    let streams: [fn() -> Stdio; 2] = [|| full().into(), || gone().into()];
    for (index, stream) in streams.into_iter().enumerate() {
        for options in [&["--yes"][..], &["--yes", "--json"]] {
            for (stdout, stderr) in [(true, false), (false, true), (true, true)] {
                desk.sh("truncate -s 0 card.img; truncate -s $(stat -c %s s.img) card.img");
                let mut command = desk.command(&["restore", "s.img.zst", "card.img"]);
                command
                    .args(options)
                    .stdout(Stdio::null())
                    .stderr(Stdio::null());
                if stdout {
                    command.stdout(stream());
                }
                if stderr {
                    command.stderr(stream());
                }
                let code = command.status().unwrap().code();
                // JSON that has no trouble to tell leaves standard error alone but for progress.
                let is_untold = stdout || options.len() == 1;
                let expected = if is_untold { Some(9) } else { code };
                assert_eq!(code, expected, "{index} {options:?} {stdout} {stderr}");
                assert!(matches!(code, Some(0 | 9)), "{code:?}");
                assert_restored(&desk);
            }
        }
    }
}

#[test]
fn a_backup_is_made_when_nobody_can_be_told() {
    let desk = desk();
    let mut command = desk.command(&["backup", "s.img", "new.img.zst"]);
    let status = command.stdout(full()).stderr(full()).status().unwrap();
    assert_eq!(status.code(), Some(9));
    desk.expect(0, &["verify", "new.img.zst", "--against", "s.img"]);
}

#[test]
fn what_only_tells_fails_when_it_can_not_tell() {
    let desk = desk();
    for arguments in [&["info", "s.img"][..], &["completions", "bash"], &["help"]] {
        let mut command = desk.command(arguments);
        let answer: Answer = command.stdout(full()).output().unwrap().into();
        answer.expect(4).says(&["standard output can't be written"]);
    }
    // Who closes the pipe has seen what they wanted.
    let mut command = desk.command(&["info", "s.img"]);
    let output = command.stdout(gone()).output().unwrap();
    assert_eq!((output.status.code(), output.stderr.len()), (Some(4), 0));
}

#[test]
fn an_error_keeps_its_exit_code_when_it_can_not_be_told() {
    let desk = desk();
    let mut command = desk.command(&["info", "nowhere.img"]);
    let status = command.stderr(full()).status().unwrap();
    assert_eq!(status.code(), Some(2));
}
