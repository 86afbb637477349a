//! A stream as the far end of a backup: a pipe, another program. It can't be read back or resumed, and
//! its card must not fail: what was sent can't be called back.

use std::io::Write;
use std::path::Path;

use cardkeep_copy::{Output, copy};

use crate::backup::failure::told;
use crate::backup::sink::{BackupSink, BackupSource, Stored, Verified};
use crate::error::OpError;
use crate::image_manifest::manifest_of;

/// A stream that takes an image.
pub(crate) struct StreamSink<'a> {
    stream: &'a mut (dyn Write + Send),
}

impl<'a> StreamSink<'a> {
    /// Returns the far end that is `stream`.
    pub(crate) fn new(stream: &'a mut (dyn Write + Send)) -> Self {
        Self { stream }
    }
}

impl BackupSink for StreamSink<'_> {
    fn begin(&mut self, _: &BackupSource<'_>) -> Result<(), OpError> {
        Ok(())
    }

    fn store(&mut self, source: &BackupSource<'_>) -> Result<Stored, OpError> {
        let plan = source.plan;
        let manifest = |frames| manifest_of(plan, frames);
        let output = Output::Stream(&mut *self.stream);
        let outcome = copy(&source.job(), output, &manifest, &*source.monitor)
            .map_err(|error| told(plan, Path::new("the output"), error))?;
        Ok(Stored {
            outcome,
            verified: Verified::Impossible,
            lost: Vec::new(),
            health: None,
        })
    }

    fn finish(&mut self, _: &BackupSource<'_>, _: &Stored) -> Result<(), OpError> {
        Ok(())
    }
}
