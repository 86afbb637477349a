//! Decodes the image of any program from its beginning.

use std::io::Read;

use crate::decoder::MEMORY_BYTES_MAX;
use crate::layers::{LayerOptions, Layers, layer};
use crate::{Error, Format, StreamNotes};

/// Returns the content of an image that `reader` gives from its beginning, in at most 128 MiB of
/// memory; see [`stream_within`].
///
/// # Errors
/// As [`stream_within`].
pub fn stream(
    format: Format,
    reader: impl Read + Send + 'static,
) -> Result<Box<dyn Read + Send>, Error> {
    stream_within(format, reader, MEMORY_BYTES_MAX)
}

/// Does the work of [`stream`], and tells `notes` what is worth telling of the image.
///
/// # Errors
/// As [`stream_within`].
pub fn stream_noting(
    format: Format,
    reader: impl Read + Send + 'static,
    notes: &StreamNotes,
) -> Result<Box<dyn Read + Send>, Error> {
    let options = LayerOptions {
        memory_bytes_max: MEMORY_BYTES_MAX,
        notes: notes.clone(),
    };
    layers(format, reader, &options)
}

/// Returns the content of an image that `reader` gives from its beginning: any number of zstd
/// frames, skippable ones among them; of gzip members; of xz streams with their padding; of bzip2
/// streams; or the image in a zip or tar archive. What is a container again is unpacked, too.
///
/// Reading fails where the image is cut off, and where anything else follows it, at the
/// offset where it begins: xz and zstd fail there too, while gzip and bzip2 warn of "trailing
/// garbage" and ignore it, and with it the rest of a file whose middle is damaged. Behind those
/// two, zeros may follow, and up to 64 KiB behind a single piece. It goes on
/// failing then. An error of kind `InvalidData` or `UnexpectedEof` is the image's own and wraps
/// an [`Error`]; others are the reader's.
///
/// In an archive, the image is the only member that is named like one, or else the only one of
/// a MiB or more that is not known by its name to be something else. From the beginning, the first
/// such member is taken, and a second one is an error only when it comes: where a zip archive can
/// be read by position, [`crate::load_zip_member`] knows better.
///
/// At most 128 KiB are read of `reader` before the decoder takes them, so that a count of what is
/// read shows how far the work is; the decoder itself holds up to a compressed block (128 KiB of
/// zstd, 900 KB of bzip2, 64 KiB of xz) before it gives content.
///
/// # Errors
/// [`Error::Io`] where memory is short.
pub fn stream_within(
    format: Format,
    reader: impl Read + Send + 'static,
    memory_bytes_max: u64,
) -> Result<Box<dyn Read + Send>, Error> {
    let options = LayerOptions {
        memory_bytes_max,
        notes: StreamNotes::default(),
    };
    layers(format, reader, &options)
}

/// Returns what the container that `reader` gives holds, as it is: for an image that was just
/// made, of a card that may hold anything. Otherwise as [`stream_within`].
///
/// # Errors
/// As [`stream_within`].
pub fn stream_layer(
    format: Format,
    reader: impl Read + Send + 'static,
    memory_bytes_max: u64,
) -> Result<Box<dyn Read + Send>, Error> {
    let options = LayerOptions {
        memory_bytes_max,
        notes: StreamNotes::default(),
    };
    layer(format, reader, &options)
}

fn layers(
    format: Format,
    reader: impl Read + Send + 'static,
    options: &LayerOptions,
) -> Result<Box<dyn Read + Send>, Error> {
    let container = layer(format, reader, options)?;
    if format == Format::Raw {
        return Ok(container);
    }
    Ok(Box::new(Layers::of(format, container, options)))
}
