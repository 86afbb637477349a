//! The one place where text leaves the program.
//!
//! What is printed holds names from cards, images, devices and the command line. A line is therefore
//! quoted as a whole, but for its own end and the style of its head: text from outside is shown, never
//! obeyed. And a stream that can't be written ends the telling, never the work: the loss is remembered,
//! and the exit code says it.

use std::fmt::{self, Display};
use std::io::{self, ErrorKind, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anstream::AutoStream;
use anstyle::Style;
use serde_json::Value;

use crate::quote::{json_text, quoted};

/// Where a line goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Out,
    Err,
}

/// What became of a stream.
struct Fate {
    is_lost: AtomicBool,
    error: Mutex<Option<io::Error>>,
}

impl Fate {
    const fn new() -> Self {
        Self {
            is_lost: AtomicBool::new(false),
            error: Mutex::new(None),
        }
    }
}

static OUT: Fate = Fate::new();
static ERR: Fate = Fate::new();

/// How long to wait for a stream that another program made non-blocking.
const FULL_MAX: Duration = Duration::from_secs(5);
const FULL_PAUSE: Duration = Duration::from_millis(5);

/// Prints a line to standard output: `outln!("{} of {}", a, b)`, or with a head in a style of its own:
/// `outln!([style, head] " {rest}")`.
macro_rules! outln {
    ($($arg:tt)*) => { $crate::terminal::line!(Out, $($arg)*) };
}

/// Prints a line to standard error, as `outln!` does to standard output.
macro_rules! errln {
    ($($arg:tt)*) => { $crate::terminal::line!(Err, $($arg)*) };
}

macro_rules! line {
    ($stream:ident, [$style:expr, $head:expr] $($arg:tt)*) => {
        $crate::terminal::print(
            $crate::terminal::Stream::$stream,
            Some(($style, &$head)),
            format_args!($($arg)*),
        )
    };
    ($stream:ident, $($arg:tt)*) => {
        $crate::terminal::print($crate::terminal::Stream::$stream, None, format_args!($($arg)*))
    };
}

pub(crate) use {errln, line, outln};

/// Prints a line; see [`outln!`].
pub(crate) fn print(stream: Stream, head: Option<(Style, &dyn Display)>, text: fmt::Arguments<'_>) {
    let mut line = String::new();
    if let Some((style, head)) = head {
        let head = quoted(&head.to_string()).into_owned();
        line.push_str(&format!("{style}{head}{style:#}"));
    }
    line.push_str(&quoted(&text.to_string()));
    line.push('\n');
    write_styled(stream, &line);
}

/// Prints a question, without the end of a line.
pub(crate) fn ask(text: fmt::Arguments<'_>) {
    write_styled(Stream::Err, &quoted(&text.to_string()));
}

/// Prints a value as a line of JSON, in which what a terminal might obey is escaped.
pub(crate) fn print_json(stream: Stream, value: &Value) {
    let mut line = json_text(&value.to_string());
    line.push('\n');
    write(stream, line.as_bytes());
}

/// Prints text with styles and line ends of its own, which holds nothing from outside that is not
/// quoted already.
pub(crate) fn write_styled(stream: Stream, text: &str) {
    let choice = match stream {
        Stream::Out => AutoStream::choice(&io::stdout()),
        Stream::Err => AutoStream::choice(&io::stderr()),
    };
    let mut styled = AutoStream::new(Vec::new(), choice);
    // Writing to memory can't fail.
    styled.write_all(text.as_bytes()).unwrap_or_default();
    write(stream, &styled.into_inner());
}

fn write(stream: Stream, bytes: &[u8]) {
    let (fate, result) = match stream {
        Stream::Out if !OUT.is_lost.load(Ordering::Relaxed) => {
            (&OUT, write_whole(&mut io::stdout().lock(), bytes))
        }
        Stream::Err if !ERR.is_lost.load(Ordering::Relaxed) => {
            (&ERR, write_whole(&mut io::stderr().lock(), bytes))
        }
        _ => return,
    };
    if let Err(error) = result {
        fate.is_lost.store(true, Ordering::Relaxed);
        // That something was lost is kept above in any case.
        if let Ok(mut first) = fate.error.lock() {
            *first = Some(error);
        }
    }
}

/// Writes all of `bytes`, also to a stream that another program made non-blocking.
fn write_whole(stream: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    let began = Instant::now();
    let mut rest = bytes;
    loop {
        let step = if rest.is_empty() {
            stream.flush().map(|()| None)
        } else {
            stream.write(rest).map(Some)
        };
        match step {
            Ok(None) => return Ok(()),
            Ok(Some(0)) => return Err(ErrorKind::WriteZero.into()),
            Ok(Some(written)) => rest = &rest[written..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock && began.elapsed() < FULL_MAX => {
                std::thread::sleep(FULL_PAUSE);
            }
            Err(error) => return Err(error),
        }
    }
}

/// Tells whether something could not be told, and says so where that is possible. A reader that closed
/// the pipe has seen what it wanted.
pub(crate) fn is_something_lost() -> bool {
    // Without the error itself it is still told that something was lost.
    let error = OUT.error.lock().ok().and_then(|mut error| error.take());
    if let Some(error) = error
        && error.kind() != ErrorKind::BrokenPipe
    {
        errln!("error: standard output can't be written: {error}");
    }
    [&OUT, &ERR]
        .iter()
        .any(|fate| fate.is_lost.load(Ordering::Relaxed))
}

#[cfg(test)]
mod tests {
    use super::write_whole;
    use std::io::{self, ErrorKind, Write};

    /// Takes a byte at a time, and is full each second time.
    struct Narrow(Vec<u8>, bool);

    impl Write for Narrow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.1 = !self.1;
            if self.1 {
                return Err(ErrorKind::WouldBlock.into());
            }
            self.0.extend(bytes.first());
            Ok(1)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_stream_that_is_full_for_a_moment_gets_all_bytes() {
        let mut narrow = Narrow(Vec::new(), false);
        write_whole(&mut narrow, b"Done").unwrap();
        assert_eq!(narrow.0, b"Done");
    }
}
