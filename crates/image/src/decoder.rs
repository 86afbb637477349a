//! Decoders of zstd and xz that keep to a bound on memory.

use std::io::BufRead;

use liblzma::bufread::XzDecoder;
use liblzma::stream::Stream;

use crate::Error;

/// What a decoder may take: a window of 2^27 bytes, zstd's own limit, and the 65 MiB that xz's
/// highest preset needs.
pub(crate) const MEMORY_BYTES_MAX: u64 = 128 << 20;

/// Returns a decoder of zstd frames that refuses windows of more than `memory_bytes_max`.
///
/// # Errors
/// [`Error::Io`] where memory is short.
pub(crate) fn zstd_decoder<R: BufRead>(
    input: R,
    memory_bytes_max: u64,
) -> Result<zstd::Decoder<'static, R>, Error> {
    let mut decoder = zstd::Decoder::with_buffer(input).map_err(Error::codec)?;
    // zstd knows windows of 2^10 to 2^31 bytes.
    let window_log = memory_bytes_max.max(1).ilog2().clamp(10, 31);
    decoder.window_log_max(window_log).map_err(Error::codec)?;
    Ok(decoder)
}

/// Returns a decoder of xz streams that takes no more than `memory_bytes_max`.
///
/// # Errors
/// [`Error::Io`] where memory is short.
pub(crate) fn xz_decoder<R: BufRead>(
    input: R,
    memory_bytes_max: u64,
) -> Result<XzDecoder<R>, Error> {
    let stream = Stream::new_stream_decoder(memory_bytes_max, liblzma::stream::CONCATENATED)
        .map_err(|error| Error::codec(error.into()))?;
    Ok(XzDecoder::new_stream(input, stream))
}
