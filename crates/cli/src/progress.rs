//! Progress and trouble: a line on the terminal, JSON lines, or nothing.
//!
//! 100 % is never shown: what shows that all is done and checked is the report.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use cardkeep_block::{Monitor, Phase, Trouble};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;

use crate::args::OutputArgs;
use crate::json;
use crate::units::{duration, size};

/// How often progress is told.
const TICK: Duration = Duration::from_millis(100);
const JSON_TICK: Duration = Duration::from_millis(500);
/// Speed and time left are those of about this span: long enough to be calm.
const SMOOTH_SECONDS: f64 = 4.0;

/// One phase's numbers.
#[derive(Debug, Default)]
struct Meter {
    done: AtomicU64,
    /// `u64::MAX` stands for "not known".
    total: AtomicU64,
}

enum Face {
    Line(ProgressBar),
    Json,
    Silent,
}

/// The monitor of a command.
pub(crate) struct Progress {
    face: Face,
    copy: Meter,
    verify: Meter,
    pace: Mutex<Pace>,
    troubles: Mutex<Vec<Trouble>>,
    interrupted: Option<&'static AtomicBool>,
}

/// Smoothed speed.
struct Pace {
    told: Instant,
    at: Instant,
    done: u64,
    speed: f64,
}

impl Progress {
    /// Returns a monitor that talks as `output` says.
    pub(crate) fn new(output: OutputArgs, interrupted: Option<&'static AtomicBool>) -> Self {
        let face = if output.json && !output.quiet {
            Face::Json
        } else if output.quiet || !std::io::stderr().is_terminal() {
            Face::Silent
        } else {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            Face::Line(bar)
        };
        let now = Instant::now();
        Self {
            face,
            copy: Meter::default(),
            verify: Meter::default(),
            pace: Mutex::new(Pace {
                told: now,
                at: now,
                done: 0,
                speed: 0.0,
            }),
            troubles: Mutex::default(),
            interrupted,
        }
    }

    /// Ends the line and returns what went wrong on the way.
    pub(crate) fn finish(&self) -> Vec<Trouble> {
        if let Face::Line(bar) = &self.face {
            bar.finish_and_clear();
        }
        self.troubles
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn meter(&self, phase: Phase) -> Option<&Meter> {
        match phase {
            Phase::Copy => Some(&self.copy),
            Phase::Verify => Some(&self.verify),
            _ => None,
        }
    }

    fn tell(&self, phase: Phase) {
        let Ok(mut pace) = self.pace.try_lock() else {
            return;
        };
        let tick = if matches!(self.face, Face::Json) {
            JSON_TICK
        } else {
            TICK
        };
        if pace.told.elapsed() < tick {
            return;
        }
        let copied = self.copy.done.load(Ordering::Relaxed);
        let verified = self.verify.done.load(Ordering::Relaxed);
        let copies = self.copy.total.load(Ordering::Relaxed) > 0;
        // While both go on, the one that counts for the user is the one that is behind.
        let leading = if copies { copied } else { verified };
        pace.update(leading);
        let done = self.done_bytes(copied, verified);
        let total = self.total_bytes();
        match &self.face {
            Face::Line(bar) => draw(bar, phase, done, total, &pace, copies),
            Face::Json => json::print_progress(phase, done, total, pace.speed),
            Face::Silent => {}
        }
    }

    /// What is done for good: copied, and read back where that is wanted.
    fn done_bytes(&self, copied: u64, verified: u64) -> u64 {
        match (
            self.copy.total.load(Ordering::Relaxed) > 0,
            self.verify.total.load(Ordering::Relaxed) > 0,
        ) {
            (true, true) => copied.min(verified),
            (true, false) => copied,
            _ => verified,
        }
    }

    fn total_bytes(&self) -> Option<u64> {
        let total = self
            .copy
            .total
            .load(Ordering::Relaxed)
            .max(self.verify.total.load(Ordering::Relaxed));
        (total != u64::MAX && total > 0).then_some(total)
    }
}

impl Pace {
    fn update(&mut self, done: u64) {
        let now = Instant::now();
        let seconds = (now - self.at).as_secs_f64();
        if seconds > 0.0 {
            let latest = done.saturating_sub(self.done) as f64 / seconds;
            let weight = (seconds / SMOOTH_SECONDS).min(1.0);
            self.speed = if self.speed == 0.0 {
                latest
            } else {
                self.speed + weight * (latest - self.speed)
            };
        }
        (self.told, self.at, self.done) = (now, now, done);
    }
}

fn draw(bar: &ProgressBar, phase: Phase, done: u64, total: Option<u64>, pace: &Pace, copies: bool) {
    let word = match (phase, copies) {
        (Phase::Survey, _) => "Looking",
        (_, true) => "Copying",
        _ => "Verifying",
    };
    let speed = format!("{}/s", size(pace.speed as u64));
    let Some(total) = total else {
        bar.set_style(style("{spinner} {msg}"));
        bar.set_message(format!("{word}  {}  {speed}", size(done)));
        bar.tick();
        return;
    };
    let percent = (done.saturating_mul(100) / total.max(1)).min(99);
    let left = if pace.speed > 0.0 {
        let left = total.saturating_sub(pace.done) as f64 / pace.speed;
        format!("  {} left", duration(left))
    } else {
        String::new()
    };
    bar.set_style(style("{prefix} [{bar:30}] {msg}").progress_chars("=> "));
    bar.set_length(total);
    bar.set_prefix(format!("{word} {percent:>2} %"));
    bar.set_message(format!("{} of {}  {speed}{left}", size(done), size(total)));
    bar.set_position(done);
}

fn style(template: &str) -> ProgressStyle {
    // OK to fall back: the templates are constants of this file, and a test draws them all.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

impl Monitor for Progress {
    fn phase(&self, phase: Phase, total_bytes: Option<u64>) {
        if let Some(meter) = self.meter(phase) {
            meter
                .total
                .store(total_bytes.unwrap_or(u64::MAX), Ordering::Relaxed);
        }
        self.tell(phase);
    }

    fn advance(&self, phase: Phase, bytes: u64) {
        if let Some(meter) = self.meter(phase) {
            meter.done.fetch_add(bytes, Ordering::Relaxed);
        }
        self.tell(phase);
    }

    fn trouble(&self, trouble: Trouble) {
        match &self.face {
            Face::Json => json::print_trouble(&trouble),
            Face::Line(bar) => bar.suspend(|| anstream::eprintln!("note: {}", trouble.message)),
            Face::Silent => anstream::eprintln!("note: {}", trouble.message),
        }
        self.troubles
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(trouble);
    }

    fn is_cancelled(&self) -> bool {
        self.interrupted
            .is_some_and(|flag| flag.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::{Progress, style};
    use crate::args::OutputArgs;
    use cardkeep_block::{Monitor, Phase};
    use indicatif::ProgressStyle;

    #[test]
    fn the_templates_are_sound() {
        for template in ["{spinner} {msg}", "{prefix} [{bar:30}] {msg}"] {
            assert!(ProgressStyle::with_template(template).is_ok());
            drop(style(template));
        }
    }

    #[test]
    fn done_is_what_is_copied_and_verified() {
        let progress = Progress::new(
            OutputArgs {
                json: false,
                quiet: true,
            },
            None,
        );
        progress.phase(Phase::Copy, Some(100));
        progress.advance(Phase::Copy, 80);
        assert_eq!(progress.done_bytes(80, 0), 80);
        progress.phase(Phase::Verify, Some(100));
        progress.advance(Phase::Verify, 30);
        assert_eq!(progress.done_bytes(80, 30), 30);
        assert_eq!(progress.total_bytes(), Some(100));
    }
}
