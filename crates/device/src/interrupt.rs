//! The wish of the user to stop, as a flag that long work looks at.

use std::io;
use std::sync::atomic::AtomicBool;

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// The exit status after a second Ctrl-C: 128 + SIGINT, as shells report it.
#[cfg(unix)]
const EXIT_AFTER_SECOND_INTERRUPT: i32 = 130;

/// Makes SIGINT, SIGTERM and SIGHUP set the flag that it returns, instead of ending the program.
/// A SIGINT that finds the flag set ends the program at once. Call it once.
///
/// # Errors
/// What the system said.
#[cfg(unix)]
pub fn install_interrupt_handler() -> io::Result<&'static AtomicBool> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    use signal_hook::flag;
    // ORDER: the way out is registered first, so that the first SIGINT finds the flag still clear.
    flag::register_conditional_shutdown(SIGINT, EXIT_AFTER_SECOND_INTERRUPT, &INTERRUPTED)?;
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        flag::register(signal, &INTERRUPTED)?;
    }
    Ok(&INTERRUPTED)
}

/// Returns a flag that nobody sets: on this platform Ctrl-C ends the program, and a partial file
/// stays.
///
/// # Errors
/// None here.
#[cfg(not(unix))]
pub fn install_interrupt_handler() -> io::Result<&'static AtomicBool> {
    Ok(&INTERRUPTED)
}
