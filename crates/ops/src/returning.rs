//! A card that vanishes while it is read and comes back: a reader that was reset, a loose plug.
//!
//! Whoever reads waits until the same card is there again, under whatever name, and goes on. It is the
//! same one where size and identity are, and where it holds what it held in the places that any use
//! of it changes.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use cardkeep_block::{BlockError, BlockErrorKind, Extent, Monitor, ReadAt, Trouble};
use cardkeep_device::{Device, Machine, Source};

use crate::fingerprint::fingerprint;

/// How often it is looked for.
const PAUSE: Duration = Duration::from_millis(250);

/// A card that may vanish and come back.
pub(crate) struct Returning<'a> {
    machine: &'a dyn Machine,
    device: &'a Device,
    current: Mutex<Arc<dyn ReadAt>>,
    len: u64,
    alignment: usize,
    telling: Vec<Extent>,
    mark: Option<String>,
    patience: Duration,
    monitor: &'a dyn Monitor,
}

impl<'a> Returning<'a> {
    /// Returns the card `device`, opened as `content`, which is waited for as long as `patience`
    /// says. `telling` are the places that any use of it changes.
    pub(crate) fn new(
        (machine, device): (&'a dyn Machine, &'a Device),
        content: Arc<dyn ReadAt>,
        (telling, patience): (Vec<Extent>, Duration),
        monitor: &'a dyn Monitor,
    ) -> Self {
        Self {
            machine,
            device,
            len: content.len(),
            alignment: content.alignment(),
            mark: fingerprint(&content, &telling),
            current: Mutex::new(content),
            telling,
            patience,
            monitor,
        }
    }

    fn current(&self) -> Arc<dyn ReadAt> {
        Arc::clone(&self.current.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits for the card that was `gone`; answers whether it is there again.
    fn come_back(&self, gone: &Arc<dyn ReadAt>) -> bool {
        // Whoever comes later waits here, and finds it back.
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if !Arc::ptr_eq(&current, gone) {
            return true;
        }
        if self.patience.is_zero() {
            return false;
        }
        let path = self.device.path.display();
        let seconds = self.patience.as_secs();
        let message = format!("{path} vanished; it is waited for, {seconds} s at the most");
        self.monitor.trouble(Trouble::new(message));
        let until = Instant::now() + self.patience;
        while Instant::now() < until && !self.monitor.is_cancelled() {
            if let Some(found) = self.found() {
                let message = format!("{path} is back, and is read on");
                self.monitor.trouble(Trouble::new(message));
                *current = found;
                return true;
            }
            std::thread::sleep(PAUSE);
        }
        false
    }

    /// Returns the card where it is there.
    fn found(&self) -> Option<Arc<dyn ReadAt>> {
        // A list that can't be had now may be had later.
        let devices = self.machine.devices().ok()?;
        let mut same = devices.iter().filter(|device| is_same(device, self.device));
        same.find_map(|device| {
            let source: Arc<dyn ReadAt> = Arc::new(Source::open(&device.path).ok()?);
            let is_it = source.len() == self.len
                && self.mark.is_some()
                && fingerprint(&source, &self.telling) == self.mark;
            is_it.then_some(source)
        })
    }
}

/// Tells whether two devices may be one card, by what they say of themselves.
fn is_same(one: &Device, other: &Device) -> bool {
    one.size_bytes == other.size_bytes
        && one.card_id == other.card_id
        && one.serial == other.serial
        && one.model == other.model
}

impl ReadAt for Returning<'_> {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), BlockError> {
        loop {
            let current = self.current();
            match current.read_at(offset, buffer) {
                Err(error) if error.kind() == BlockErrorKind::Gone => {
                    if !self.come_back(&current) {
                        return Err(error);
                    }
                }
                result => return result,
            }
        }
    }

    fn alignment(&self) -> usize {
        self.alignment
    }
}
