//! A card that disappears while it is read, and returns: a reader that was reset, a loose plug.
//!
//! Readers wait until the same card is there again, under any name, and continue. It is the
//! same one where size and identity are, and where it holds what it held in the places that any use
//! of it changes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cardkeep_block::{BlockError, BlockErrorKind, Extent, Monitor, ReadAt, Trouble, path_text};
use cardkeep_copy::Attendant;
use cardkeep_device::{Device, Machine, NotPermitted, Source};

use crate::error::not_permitted;
use crate::fingerprint::fingerprint;

/// How often it is looked for.
const PAUSE: Duration = Duration::from_millis(250);

/// What a card is read from. It may come back in another reader, and all who hold this read on.
pub(crate) struct Slot {
    current: Mutex<Arc<dyn ReadAt>>,
    len: u64,
    alignment: usize,
}

impl Slot {
    /// Returns the slot in which `card` is now.
    pub(crate) fn new(card: Arc<dyn ReadAt>) -> Self {
        Self {
            len: card.len(),
            alignment: card.alignment(),
            current: Mutex::new(card),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Arc<dyn ReadAt>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn current(&self) -> Arc<dyn ReadAt> {
        Arc::clone(&self.lock())
    }
}

impl ReadAt for Slot {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), BlockError> {
        self.current().read_at(offset, buffer)
    }

    fn alignment(&self) -> usize {
        self.alignment
    }
}

/// A card that may vanish and come back, and what is read of it.
pub(crate) struct Absentee {
    /// The device that it was when it was opened.
    pub(crate) device: Device,
    /// What it is read from.
    pub(crate) slot: Arc<Slot>,
    /// What is read of it.
    pub(crate) content: Arc<dyn ReadAt>,
    /// The places that any use of it changes.
    pub(crate) telling: Vec<Extent>,
    /// How long to wait.
    pub(crate) patience: Duration,
}

/// What is read of a card that may vanish and come back. It owns all that it needs, so that any thread
/// may read it.
pub(crate) struct Returning {
    machine: Arc<dyn Machine>,
    card: Absentee,
    mark: Option<String>,
    return_count: AtomicU64,
    monitor: Arc<dyn Monitor>,
}

impl Returning {
    /// Returns the content of a card; reads wait for it if it disappears.
    pub(crate) fn new(
        machine: Arc<dyn Machine>,
        card: Absentee,
        monitor: Arc<dyn Monitor>,
    ) -> Self {
        Self {
            machine,
            mark: fingerprint(&*card.slot, &card.telling),
            card,
            return_count: AtomicU64::new(0),
            monitor,
        }
    }

    /// Waits for the card that was `gone`; answers whether it is there again.
    fn wait_for(&self, gone: &Arc<dyn ReadAt>) -> bool {
        // Whoever comes later waits here, and finds it back.
        let mut current = self.card.slot.lock();
        if !Arc::ptr_eq(&current, gone) {
            return true;
        }
        if self.card.patience.is_zero() {
            return false;
        }
        let path = path_text(&self.card.device.path);
        let seconds = self.card.patience.as_secs();
        let message = format!("{path} disappeared; waiting up to {seconds} s");
        self.monitor.trouble(Trouble::new(message));
        let until = Instant::now() + self.card.patience;
        while Instant::now() < until && !self.monitor.is_cancelled() {
            match self.found() {
                Ok(Some(found)) => {
                    let message = format!("{path} is back; continuing");
                    self.monitor.trouble(Trouble::new(message));
                    *current = found;
                    self.return_count.fetch_add(1, Ordering::Relaxed);
                    return true;
                }
                Ok(None) => std::thread::sleep(PAUSE),
                Err(why) => {
                    let message = format!("{path} may be back, but can't be read: {why}");
                    self.monitor.trouble(Trouble::new(message));
                    return false;
                }
            }
        }
        false
    }

    /// Returns the card where it is there.
    ///
    /// # Errors
    /// Where it was asked for in vain. Nobody is asked the same four times a second.
    fn found(&self) -> Result<Option<Arc<dyn ReadAt>>, NotPermitted> {
        // A list that can't be had now may be had later.
        let devices = self.machine.devices().unwrap_or_default();
        for device in devices
            .iter()
            .filter(|found| is_same(found, &self.card.device))
        {
            let source = match Source::open_asking(&device.path, &*self.monitor) {
                Ok(source) => source,
                Err(error) => match not_permitted(&error) {
                    Some(why) => return Err(why.clone()),
                    None => continue,
                },
            };
            // Whoever writes it has it still.
            if source.hold_still().is_err() {
                continue;
            }
            let source: Arc<dyn ReadAt> = Arc::new(source);
            let is_it = source.len() == self.card.slot.len
                && self.mark.is_some()
                && fingerprint(&source, &self.card.telling) == self.mark;
            if is_it {
                return Ok(Some(source));
            }
        }
        Ok(None)
    }
}

/// Tells whether two devices may be one card, by what they say of themselves. Their sizes are compared
/// once they are open: what is said of a reader before that may still be that it is empty.
fn is_same(one: &Device, other: &Device) -> bool {
    one.card_id == other.card_id && one.serial == other.serial && one.model == other.model
}

impl ReadAt for Returning {
    fn len(&self) -> u64 {
        self.card.content.len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), BlockError> {
        loop {
            let current = self.card.slot.current();
            match self.card.content.read_at(offset, buffer) {
                Err(error) if error.kind() == BlockErrorKind::Gone => {
                    if !self.wait_for(&current) {
                        return Err(error);
                    }
                }
                result => return result,
            }
        }
    }

    fn alignment(&self) -> usize {
        self.card.content.alignment()
    }
}

impl Attendant for Returning {
    fn come_back(&self) -> bool {
        self.wait_for(&self.card.slot.current())
    }

    fn return_count(&self) -> u64 {
        self.return_count.load(Ordering::Relaxed)
    }
}
