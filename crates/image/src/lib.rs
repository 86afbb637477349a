//! Image containers: how a medium's content lies in one portable file.
//!
//! Writing: a [`Container`] hands out [`FrameEncoder`]s, which turn frames of content into pieces
//! independently of each other, and keeps the books of the pieces in address order. Reading:
//! [`load_index`] finds the frames and the [`Manifest`] of an image from its end,
//! [`FrameDecoder`] and [`FrameReader`] decode single frames. [`stream`] decodes any image from its
//! beginning, and [`scan_pieces`] finds what is left of one that was cut off.
//!
//! Like every format crate this one opens no files, spawns no threads and reads no clock.

mod archive_choice;
mod bmap;
mod checked;
mod container;
mod decoder;
mod digest;
mod error;
mod foreign;
mod foreign_kind;
mod foreign_text;
mod format;
mod frame_decoder;
mod frame_encoder;
mod frame_reader;
mod frame_scan;
mod frame_table;
mod gzip_encoder;
mod header_check;
mod index;
mod input;
mod layers;
mod manifest;
mod manifest_frame;
mod mapfile;
mod members;
mod piece_scan;
mod run_list;
mod seek_table;
mod stated_len;
mod stream;
mod stream_error;
mod stream_notes;
mod tar_header;
mod tar_sparse;
mod tar_stream;
mod trailing;
mod xz_encoder;
mod xz_layout;
mod zero_tail;
mod zip_directory;
mod zip_layout;
mod zip_member;
mod zip_stream;
mod zstd_encoder;
mod zstd_frame;

pub use bmap::{BMAP_BYTES_MAX, Bmap, BmapCheck, BmapFault, BmapRange};
pub use container::{Container, EncodeOptions};
pub use digest::{FrameDigest, ImageDigest, zero_digest};
pub use error::{Corrupt, Error, Unsupported};
pub use foreign::{detect_foreign, load_foreign};
pub use foreign_kind::ForeignKind;
pub use format::Format;
pub use frame_decoder::FrameDecoder;
pub use frame_encoder::{FRAME_BYTES, FrameEncoder, PieceInfo};
pub use frame_reader::FrameReader;
pub use frame_scan::{FrameScan, scan_frames};
pub use frame_table::{FrameEntry, FrameTable};
pub use index::{Index, load_index};
pub use manifest::{INDEXED_BYTES_MAX, LOST_MAX, Manifest, PartitionEntry, SourceIdentity};
pub use mapfile::{Mapfile, RescuePhase};
pub use piece_scan::{ScannedPiece, scan_pieces};
pub use stated_len::stated_len;
pub use stream::{stream, stream_layer, stream_noting, stream_within};
pub use stream_notes::StreamNotes;
pub use zip_directory::{ZipMember, load_zip_member};
