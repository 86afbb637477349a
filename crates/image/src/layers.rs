//! Containers in containers: an image that is packed more than once (`.tar.gz`, a `.img.xz` in a
//! zip archive, gzip in gzip) is unpacked layer by layer on the way.
//!
//! What each layer holds is looked at before its first byte is given. Depth and memory are bounded.

use std::io::{self, Cursor, Read};

use bzip2::bufread::BzDecoder;
use flate2::bufread::GzDecoder;

use crate::checked::Checked;
use crate::decoder::{xz_decoder, zstd_decoder};
use crate::error::UnsupportedKind;
use crate::input::Input;
use crate::members::Members;
use crate::stream_error::unsupported;
use crate::tar_stream::TarStream;
use crate::zip_stream::ZipStream;
use crate::{Error, Format, StreamNotes};

/// More than anybody packs an image; a bomb may have any number.
const LAYERS_MAX: u32 = 4;

/// What decoders may take, and whom they tell.
#[derive(Clone, Debug)]
pub(crate) struct LayerOptions {
    pub(crate) memory_bytes_max: u64,
    pub(crate) notes: StreamNotes,
}

/// Returns what one container holds, whatever that is; its errors say where they are.
///
/// # Errors
/// [`Error::Io`] where memory is short.
pub(crate) fn layer(
    format: Format,
    reader: impl Read + Send + 'static,
    options: &LayerOptions,
) -> Result<Box<dyn Read + Send>, Error> {
    let input = Input::new(reader, 0);
    let seen = input.seen();
    let memory = options.memory_bytes_max;
    let notes = options.notes.clone();
    let decoder: Box<dyn Read + Send> = match format {
        Format::Raw => Box::new(input),
        Format::Zstd => Box::new(zstd_decoder(input, memory)?),
        Format::Gzip => Box::new(Members::<GzDecoder<_>, _>::new(input, notes)),
        Format::Xz => Box::new(xz_decoder(input, memory)?),
        Format::Bzip2 => Box::new(Members::<BzDecoder<_>, _>::new(input, notes)),
        Format::Zip => Box::new(ZipStream::new(input, memory)),
        Format::Tar => Box::new(TarStream::new(input, notes)),
    };
    Ok(Box::new(Checked::new(decoder, seen)))
}

/// What a container holds, unpacked until it is a container no more.
pub(crate) struct Layers {
    state: State,
    options: LayerOptions,
    depth: u32,
}

enum State {
    /// What the layer holds has not been looked at.
    Unopened(Box<dyn Read + Send>),
    Open(Box<dyn Read + Send>),
    Failed,
}

impl Layers {
    /// Returns the content of a container of this format, which `container` decodes.
    pub(crate) fn of(
        format: Format,
        container: Box<dyn Read + Send>,
        options: &LayerOptions,
    ) -> Self {
        Self::at(1, inner_options(format, options), container)
    }

    fn at(depth: u32, options: LayerOptions, content: Box<dyn Read + Send>) -> Self {
        Self {
            state: State::Unopened(content),
            options,
            depth,
        }
    }

    /// Looks at what a layer holds, and decodes that where it is a container.
    fn open(&self, mut content: Box<dyn Read + Send>) -> io::Result<Box<dyn Read + Send>> {
        let mut head = Vec::new();
        (&mut content)
            .take(Format::DETECT_BYTES as u64)
            .read_to_end(&mut head)?;
        let format = Format::detect(&head);
        let whole = Cursor::new(head).chain(content);
        if format == Format::Raw {
            return Ok(Box::new(whole));
        }
        if self.depth >= LAYERS_MAX {
            return Err(unsupported(UnsupportedKind::Layers(LAYERS_MAX)));
        }
        let inner = layer(format, whole, &self.options).map_err(io::Error::other)?;
        let options = inner_options(format, &self.options);
        Ok(Box::new(Self::at(self.depth + 1, options, inner)))
    }
}

/// What is left for the layers inside of one: these formats have windows of their own.
fn inner_options(format: Format, options: &LayerOptions) -> LayerOptions {
    let has_window = matches!(format, Format::Zstd | Format::Xz);
    let share = if has_window { 2 } else { 1 };
    LayerOptions {
        memory_bytes_max: options.memory_bytes_max / share,
        notes: options.notes.clone(),
    }
}

impl Read for Layers {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        if matches!(self.state, State::Unopened(_))
            && let State::Unopened(content) = std::mem::replace(&mut self.state, State::Failed)
        {
            self.state = State::Open(self.open(content)?);
        }
        match &mut self.state {
            State::Open(content) => content.read(buffer),
            _ => Err(io::Error::other("the image can't be read any further")),
        }
    }
}
