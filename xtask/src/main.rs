//! `cargo xtask`: what a developer runs by hand and CI runs always.
//!
//! This room only sorts out the arguments; each task has a file of its own name.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a door: it talks to the developer"
)]

mod bench;
mod demo;
mod lab;
mod project;
mod test;
mod tidy;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask demo
       cargo xtask test --all
       cargo xtask lab [--make]
       cargo xtask tidy [--accept]
       cargo xtask bench --card FILE --work DIR [--speed 20,45,90,0] [--peers NAME,...]
                         [--program FILE]
       cargo xtask bench restore --card FILE --work DIR [--speed 10,20,45,0] [--peers NAME,...]
                         [--target DIR] [--program FILE]
       cargo xtask bench shrink --card FILE --work DIR [--speed 45] [--peers NAME,...]
                         [--program FILE]
       cargo xtask bench rescue --card FILE --work DIR [--speed 20] [--peers NAME,...]
                         [--program FILE]
       cargo xtask bench scale --card FILE --work DIR [--sizes 8,64,512] [--program FILE]
       cargo xtask bench growth --work DIR [--sizes 256,2000] [--program FILE]

  demo            build cardkeep, make a sample card, back it up, restore it onto a file that
                  stands in for a card, and verify both
  test --all      run the tests of both tiers: what `cargo test --workspace` runs, with whole matrices,
                  more moments of each fault, and the virtual machine; as root, to run all of them
  lab             make a virtual machine with card readers and an SD slot, and run the tests in
                  it of the static program; --make only makes it, and prints its folder; on
                  Debian's amd64, with the packages that lab/README.md names
  tidy            check the house rules; --accept stores the hashes of the modules
                  that docs/format describes, once the text is right again
  bench           measure cardkeep and its peers on a card of each speed in MB/s (0 is full
                  speed); needs root, loop devices and the blkio cgroup
  bench restore   measure how fast images are put back onto a card that writes at each speed
                  and reads at three times it; the target card lies in --target
  bench shrink    measure the way from a card to a small verified image, and the disk it takes;
                  needs room for the whole card in --work, and parted
  bench rescue    measure how much of a card with bad and slow places is read, and how soon;
                  needs /dev/fuse too
  bench scale     measure cardkeep on ever larger cards with the same content
  bench growth    measure how long a filesystem of 32 MiB takes to fill sparse files of each size in
                  GB, beside resize2fs; needs no root";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["demo"] => demo::run(&project::root()),
        ["test", "--all"] => test::run_all(&project::root()),
        ["lab"] => lab::run(&project::root()),
        ["lab", "--make"] => lab::make(&project::root()).map(|made| println!("{}", made.display())),
        ["tidy"] => tidy::run(&project::root()),
        ["tidy", "--accept"] => tidy::accept(&project::root()),
        ["bench", "scale", options @ ..] => {
            bench::Options::parse(options).and_then(|options| bench::run_scale(&options))
        }
        ["bench", "growth", options @ ..] => {
            bench::Options::without_card(options).and_then(|options| bench::run_growth(&options))
        }
        ["bench", "restore", options @ ..] => {
            bench::Options::parse(options).and_then(|options| bench::run_restore(&options))
        }
        ["bench", "shrink", options @ ..] => {
            bench::Options::parse(options).and_then(|options| bench::run_shrink(&options))
        }
        ["bench", "rescue", options @ ..] => {
            bench::Options::parse(options).and_then(|options| bench::run_rescue(&options))
        }
        ["bench", options @ ..] => {
            bench::Options::parse(options).and_then(|options| bench::run(&options))
        }
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}
