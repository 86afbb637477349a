//! What all tests of whole images share: a small card, its image, and the world's tools.
#![expect(clippy::unwrap_used, reason = "tests fail by panic")]
#![allow(dead_code, unreachable_pub, reason = "each test program uses its part")]

use std::io::{Cursor, Read as _, Write as _};
use std::process::{Command, Stdio};

use cardkeep_block::{AllocationMap, MapBuilder, State};
use cardkeep_image::{
    Container, EncodeOptions, FRAME_BYTES, Format, FrameDigest, Manifest, stream,
};

/// A medium of 9 MiB: text in the first frame, nothing in the second, noise in the last.
pub fn content() -> Vec<u8> {
    let mut content = vec![0; 9 << 20];
    for (index, byte) in content[..1 << 20].iter_mut().enumerate() {
        *byte = b"cardkeep image "[index % 15];
    }
    let mut state = 1_u64;
    for byte in &mut content[8 << 20..] {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        *byte = (state >> 56) as u8;
    }
    content
}

/// The map of a medium whose zeros nobody needs, by MiB.
pub fn map(content: &[u8]) -> AllocationMap {
    let mut builder = MapBuilder::new(content.len() as u64);
    for part in content.chunks(1 << 20) {
        let is_used = part.iter().any(|&byte| byte != 0);
        let state = if is_used { State::Used } else { State::Free };
        builder.push(part.len() as u64, state);
    }
    builder.finish(State::Used)
}

pub fn manifest(content: &[u8]) -> Manifest {
    let frames = content
        .chunks(FRAME_BYTES)
        .map(|frame| {
            frame
                .iter()
                .any(|&b| b != 0)
                .then(|| FrameDigest::of(frame))
        })
        .collect();
    Manifest::new("cardkeep test", map(content), frames)
}

pub fn image(format: Format, content: &[u8]) -> Vec<u8> {
    let mut container = Container::new(format, &EncodeOptions::default()).unwrap();
    let mut encoder = container.encoder().unwrap();
    let mut file = container.prologue();
    let mut piece = Vec::new();
    for frame in content.chunks(FRAME_BYTES) {
        let info = encoder.encode(frame, &mut piece).unwrap();
        container.add(&piece, &info).unwrap();
        file.extend(&piece);
    }
    file.extend(container.epilogue(&manifest(content)).unwrap());
    file
}

/// Returns what [`stream`] makes of `file`.
pub fn decode(format: Format, file: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut decoded = Vec::new();
    stream(format, Cursor::new(file.to_vec()))
        .unwrap()
        .read_to_end(&mut decoded)?;
    Ok(decoded)
}

/// Says that the test that runs, or its part, is left out because `program` is missing.
fn skip_without(program: &str) {
    // The test runner names a thread after its test.
    let thread = std::thread::current();
    let needs = format!("{program}, which is not installed");
    cardkeep_testkit::skip(thread.name().unwrap_or("a test"), &needs);
}

pub fn run_tool(program: &str, arguments: &[&str], file: &[u8]) -> Option<(bool, Vec<u8>)> {
    if Command::new(program).arg("--version").output().is_err() {
        skip_without(program);
        return None;
    }
    let mut temporary = tempfile::NamedTempFile::new().unwrap();
    temporary.write_all(file).unwrap();
    let output = Command::new(program)
        .args(arguments)
        .arg(temporary.path())
        .output()
        .unwrap();
    Some((output.status.success(), output.stdout))
}

/// Returns what `program` makes of its standard input; `None`, visibly, where it is missing.
pub fn filter_tool(program: &str, arguments: &[&str], input: &[u8]) -> Option<Vec<u8>> {
    let child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let Ok(mut child) = child else {
        skip_without(program);
        return None;
    };
    let mut stdin = child.stdin.take().unwrap();
    let output = std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input).unwrap());
        child.wait_with_output().unwrap()
    });
    assert!(output.status.success());
    Some(output.stdout)
}

/// Returns the archive `out.zip` that `program` makes of `files`, by name, in their folder, or
/// else what it writes to its standard output; `None`, visibly, where it is missing.
pub fn make_archive(program: &str, arguments: &[&str], files: &[(&str, &[u8])]) -> Option<Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    let made = Command::new(program)
        .args(arguments)
        .current_dir(folder.path())
        .output();
    let Ok(made) = made else {
        skip_without(program);
        return None;
    };
    assert!(made.status.success(), "{program} {arguments:?}");
    let archive = folder.path().join("out.zip");
    Some(std::fs::read(archive).unwrap_or(made.stdout))
}
