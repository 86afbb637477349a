//! Progress and trouble: a line on the terminal, JSON lines, or nothing.
//!
//! 100 % is never shown: what shows that all is done and checked is the report.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use cardkeep_ops::{Monitor, Phase, Signals, Trouble};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;

use crate::args::OutputArgs;
use crate::json;
use crate::terminal::errln;
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

impl Meter {
    /// Returns how far a phase is that goes on alone, and its total where that is known.
    fn alone(&self) -> (Done, Option<u64>) {
        let done = Done {
            copied: Some(self.done.load(Ordering::Relaxed)),
            verified: None,
        };
        let total = self.total.load(Ordering::Relaxed);
        (done, (total != u64::MAX && total > 0).then_some(total))
    }
}

enum Face {
    Line(ProgressBar),
    Json,
    Silent,
    /// No progress, and trouble as JSON.
    SilentJson,
}

/// The monitor of a command.
pub(crate) struct Progress {
    face: Face,
    /// Reading an image before anything is done with it, and testing a card's size.
    survey: Meter,
    probe: Meter,
    copy: Meter,
    /// Reading what is left of a card that fails, while copying waits.
    rescue: Meter,
    verify: Meter,
    pace: Mutex<Pace>,
    troubles: Mutex<Vec<Trouble>>,
    signals: Option<Signals>,
}

/// How far the phases are that are wanted, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Done {
    copied: Option<u64>,
    verified: Option<u64>,
}

impl Done {
    /// What has been got through first: its pace is that of the whole.
    fn leading(self) -> u64 {
        self.copied.or(self.verified).unwrap_or(0)
    }

    /// What is done for good: copied, and read back where that is wanted.
    fn settled(self) -> u64 {
        let all = [self.copied, self.verified];
        all.into_iter().flatten().min().unwrap_or(0)
    }

    /// What part of `total` is done, where copying and reading back count the same: the latter
    /// goes in steps.
    fn percent(self, total: u64) -> u64 {
        let wanted = [self.copied, self.verified];
        let parts = wanted.into_iter().flatten();
        let (sum, count) = parts.fold((0u64, 0u64), |(sum, count), part| {
            (sum.saturating_add(part), count + 1)
        });
        let whole = total.saturating_mul(count.max(1)).max(1);
        (u128::from(sum) * 100 / u128::from(whole)) as u64
    }
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
    pub(crate) fn new(output: OutputArgs, signals: Option<Signals>) -> Self {
        let face = if output.json && output.quiet {
            Face::SilentJson
        } else if output.json {
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
            survey: Meter::default(),
            probe: Meter::default(),
            copy: Meter::default(),
            rescue: Meter::default(),
            verify: Meter::default(),
            pace: Mutex::new(Pace {
                told: now,
                at: now,
                done: 0,
                speed: 0.0,
            }),
            troubles: Mutex::default(),
            signals,
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
            Phase::Survey => Some(&self.survey),
            Phase::Probe => Some(&self.probe),
            Phase::Copy => Some(&self.copy),
            Phase::Rescue => Some(&self.rescue),
            Phase::Verify => Some(&self.verify),
            _ => None,
        }
    }

    /// Says at once, and once, that the program waits for a person, who must act.
    fn tell_of_asking(&self) {
        let note =
            "note: asking the system to open the card; it may ask for a password in a window";
        match &self.face {
            Face::Line(bar) => bar.suspend(|| errln!("{note}")),
            Face::Silent => errln!("{note}"),
            Face::Json => json::print_progress(Phase::Permission, 0, None, 0.0),
            Face::SilentJson => {}
        }
    }

    fn tell(&self, phase: Phase) {
        let is_asked = self.signals.is_some_and(Signals::is_asked);
        // Whoever asked is answered; a tick may be left out.
        let pace = match is_asked {
            true => Ok(self.pace.lock().unwrap_or_else(PoisonError::into_inner)),
            false => self.pace.try_lock(),
        };
        // Another thread shows progress just now.
        let Ok(mut pace) = pace else {
            return;
        };
        let tick = if matches!(self.face, Face::Json) {
            JSON_TICK
        } else {
            TICK
        };
        if !is_asked && pace.told.elapsed() < tick {
            return;
        }
        let (done, total) = match phase {
            Phase::Survey => self.survey.alone(),
            Phase::Probe => self.probe.alone(),
            Phase::Rescue => self.rescue.alone(),
            _ => (self.done(), self.total_bytes()),
        };
        pace.update(done.leading());
        if is_asked {
            return self.answer(&line(phase, done, total, &pace), done.settled(), total);
        }
        match &self.face {
            Face::Line(bar) => draw(bar, &line(phase, done, total, &pace)),
            Face::Json => json::print_progress(phase, done.settled(), total, pace.speed),
            Face::SilentJson | Face::Silent => {}
        }
    }

    /// Tells somebody who asked how far it is.
    fn answer(&self, line: &Line, settled_bytes: u64, total: Option<u64>) {
        match &self.face {
            Face::Json | Face::SilentJson => {
                json::print_progress(line.phase, settled_bytes, total, line.speed);
            }
            Face::Line(bar) => bar.suspend(|| errln!("{line}")),
            Face::Silent => errln!("{line}"),
        }
    }

    fn done(&self) -> Done {
        let bytes = |meter: &Meter| {
            let is_wanted = meter.total.load(Ordering::Relaxed) > 0;
            is_wanted.then(|| meter.done.load(Ordering::Relaxed))
        };
        Done {
            copied: bytes(&self.copy),
            verified: bytes(&self.verify),
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

/// How far a phase is, in words.
struct Line {
    phase: Phase,
    word: &'static str,
    /// Not known where the total isn't; never 100.
    percent: Option<u64>,
    text: String,
    /// In bytes a second.
    speed: f64,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.percent {
            Some(percent) => write!(f, "{} {percent} %  {}", self.word, self.text),
            None => write!(f, "{}  {}", self.word, self.text),
        }
    }
}

fn line(phase: Phase, done: Done, total: Option<u64>, pace: &Pace) -> Line {
    let word = match (phase, done.copied) {
        (Phase::Survey, _) => "Looking",
        (Phase::Probe, _) => "Testing",
        (Phase::Rescue, _) => "Rescuing",
        (_, Some(_)) => "Copying",
        _ => "Verifying",
    };
    let (leading, speed) = (size(done.leading()), size(pace.speed as u64));
    let text = match total {
        None => format!("{leading}  {speed}/s"),
        Some(total) => {
            let left = total.saturating_sub(done.leading()) as f64 / pace.speed;
            let left = match pace.speed > 0.0 {
                true => format!("  {} left", duration(left)),
                false => String::new(),
            };
            format!("{leading} of {}  {speed}/s{left}", size(total))
        }
    };
    Line {
        phase,
        word,
        percent: total.map(|total| done.percent(total).min(99)),
        text,
        speed: pace.speed,
    }
}

fn draw(bar: &ProgressBar, line: &Line) {
    let Some(percent) = line.percent else {
        bar.set_style(style("{spinner} {msg}"));
        bar.set_message(line.to_string());
        bar.tick();
        return;
    };
    bar.set_style(style("{prefix} [{bar:30}] {msg}").progress_chars("=> "));
    bar.set_length(100);
    bar.set_prefix(format!("{} {percent:>2} %", line.word));
    bar.set_message(line.text.clone());
    bar.set_position(percent);
}

fn style(template: &str) -> ProgressStyle {
    // OK to fall back: the templates are constants of this file, and a test draws them all.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

impl Monitor for Progress {
    fn phase(&self, phase: Phase, total_bytes: Option<u64>) {
        if phase == Phase::Permission {
            return self.tell_of_asking();
        }
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
            Face::Json | Face::SilentJson => json::print_trouble(&trouble),
            Face::Line(bar) => bar.suspend(|| errln!("note: {}", trouble.message)),
            Face::Silent => errln!("note: {}", trouble.message),
        }
        self.troubles
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(trouble);
    }

    fn is_cancelled(&self) -> bool {
        self.signals.is_some_and(Signals::is_interrupted)
    }
}

#[cfg(test)]
mod tests {
    use super::{Progress, style};
    use crate::args::OutputArgs;
    use cardkeep_ops::{Monitor, Phase};
    use indicatif::ProgressStyle;

    #[test]
    fn the_templates_are_sound() {
        for template in ["{spinner} {msg}", "{prefix} [{bar:30}] {msg}"] {
            assert!(ProgressStyle::with_template(template).is_ok());
            drop(style(template));
        }
    }

    #[test]
    fn nothing_is_done_for_good_before_it_is_verified() {
        let progress = Progress::new(
            OutputArgs {
                json: false,
                quiet: true,
            },
            None,
        );
        progress.phase(Phase::Copy, Some(100));
        progress.advance(Phase::Copy, 80);
        assert_eq!(
            (progress.done().settled(), progress.done().percent(100)),
            (80, 80)
        );
        progress.phase(Phase::Verify, Some(100));
        progress.advance(Phase::Verify, 30);
        assert_eq!(
            (progress.done().settled(), progress.done().percent(100)),
            (30, 55)
        );
        assert_eq!(
            (progress.done().leading(), progress.total_bytes()),
            (80, Some(100))
        );
        progress.advance(Phase::Copy, 20);
        assert!(progress.done().percent(100) < 100);
    }
}
