//! `cardkeep sample`.

use cardkeep_ops::{
    Destination, OpError, OpErrorKind, Overwrite, PartialFile, SAMPLE_BYTES, path_text,
    write_sample,
};

use crate::args::SampleArgs;
use crate::done::Done;
use crate::terminal::outln;
use crate::units::size;

pub(crate) fn run(args: &SampleArgs) -> Result<Done, OpError> {
    let path = path_text(&args.file);
    let of_file = |error| {
        OpError::new(OpErrorKind::Environment, format!("{path} can't be created")).caused_by(error)
    };
    let file = PartialFile::create(&args.file, Overwrite::Refuse).map_err(of_file)?;
    let made = Destination::set_len(&file, SAMPLE_BYTES)
        .map_err(|error| {
            OpError::new(OpErrorKind::Environment, format!("{path} can't be created"))
                .caused_by(error)
        })
        .and_then(|()| write_sample(&file));
    if let Err(error) = made {
        // The first error is the one to tell.
        drop(file.abandon());
        return Err(error);
    }
    file.finish().map_err(|error| {
        OpError::new(OpErrorKind::Environment, format!("{path} can't be created")).caused_by(error)
    })?;
    outln!("{path}: a sample card of {}", size(SAMPLE_BYTES));
    Ok(Done::Well)
}
