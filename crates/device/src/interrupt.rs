//! What the user says by signals: stop, or tell how far it is.
//!
//! Main type: [`Signals`].

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);
static IS_ASKED: AtomicBool = AtomicBool::new(false);

/// The exit status after a second Ctrl-C: 128 + SIGINT, as shells report it.
#[cfg(unix)]
const EXIT_AFTER_SECOND_INTERRUPT: i32 = 130;

/// Those by which a user, a terminal or the system ends a program.
#[cfg(unix)]
const ENDING: &[i32] = &[
    libc::SIGINT,
    libc::SIGTERM,
    libc::SIGHUP,
    libc::SIGQUIT,
    libc::SIGXCPU,
    #[cfg(target_os = "linux")]
    libc::SIGPWR,
];

/// Those that would end a program half way that doesn't expect them, and mean nothing here. What would
/// be too long for `ulimit -f` is an error of that write.
#[cfg(unix)]
const UNHEEDED: &[i32] = &[
    libc::SIGUSR2,
    libc::SIGALRM,
    libc::SIGVTALRM,
    libc::SIGPROF,
    libc::SIGXFSZ,
    libc::SIGIO,
    #[cfg(target_os = "linux")]
    libc::SIGSTKFLT,
];

/// What signals have said so far.
#[derive(Clone, Copy, Debug)]
pub struct Signals(());

impl Signals {
    /// Makes signals that would end the program (SIGINT, SIGTERM, SIGHUP, SIGQUIT and the like) say that it is to
    /// stop, and SIGUSR1 (and SIGINFO, where there is one) ask how far it is, as with dd(1). Others that
    /// nobody sends on purpose do nothing. A SIGINT after the first ends the program at once. What was
    /// ignored when the program was started stays so: that is what nohup(1) and disown are for. Call it
    /// once.
    ///
    /// # Errors
    /// What the system said.
    #[cfg(unix)]
    pub fn catch() -> io::Result<Self> {
        use signal_hook::consts::{SIGINT, SIGUSR1};
        use signal_hook::flag;
        use std::sync::Arc;
        if !is_ignored(SIGINT) {
            // ORDER: the way out is registered first, so that the first SIGINT finds the flag clear.
            let status = EXIT_AFTER_SECOND_INTERRUPT;
            flag::register_conditional_shutdown(SIGINT, status, &INTERRUPTED)?;
        }
        for &signal in ENDING {
            if !is_ignored(signal) {
                flag::register(signal, &INTERRUPTED)?;
            }
        }
        flag::register(SIGUSR1, &IS_ASKED)?;
        #[cfg(target_os = "macos")]
        flag::register(libc::SIGINFO, &IS_ASKED)?;
        let ignored = Arc::new(AtomicBool::new(false));
        for &signal in UNHEEDED {
            flag::register(signal, Arc::clone(&ignored))?;
        }
        Ok(Self(()))
    }

    /// Returns what nobody sends: on this platform Ctrl-C ends the program, and a partial file stays.
    ///
    /// # Errors
    /// None here.
    #[cfg(not(unix))]
    pub fn catch() -> io::Result<Self> {
        Ok(Self(()))
    }

    /// Tells whether the program is to stop.
    #[must_use]
    pub fn is_interrupted(self) -> bool {
        INTERRUPTED.load(Ordering::Relaxed)
    }

    /// Tells whether somebody asked how far it is since this was called last.
    #[must_use]
    pub fn is_asked(self) -> bool {
        // Mostly nobody has: a look costs less than an exchange.
        IS_ASKED.load(Ordering::Relaxed) && IS_ASKED.swap(false, Ordering::Relaxed)
    }
}

/// Tells whether a signal was ignored when the program was started.
#[cfg(unix)]
#[allow(unsafe_code)]
fn is_ignored(signal: libc::c_int) -> bool {
    // SAFETY: the type is plain data, of which all zeros are a valid value.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: without a new action the call only fills the old one, which outlives it.
    let asked = unsafe { libc::sigaction(signal, std::ptr::null(), &raw mut action) };
    asked == 0 && action.sa_sigaction == libc::SIG_IGN
}
