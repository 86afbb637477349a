//! Digests of frames and of whole images: BLAKE3, 32 bytes.
//!
//! The digest of an image is made of those of its frames, so that frames can be hashed in any
//! order by any thread:
//!
//! ```text
//!   image digest = BLAKE3( frame 0's digest | frame 1's digest | ... )
//! ```

use std::fmt;

use serde::de::{Error as _, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The BLAKE3 digest of a frame's content, or of an image (see [`ImageDigest`]).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct FrameDigest([u8; 32]);

impl FrameDigest {
    /// Returns the digest of `content`.
    #[must_use]
    pub fn of(content: &[u8]) -> Self {
        Self(*blake3::hash(content).as_bytes())
    }

    /// Returns the digest that is these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the digest's bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    fn parse(hex: &str) -> Option<Self> {
        blake3::Hash::from_hex(hex)
            .ok() // The caller names the field that it stands in.
            .map(|hash| Self(hash.into()))
    }
}

/// Returns the digest of `len` zero bytes.
#[must_use]
pub fn zero_digest(len: u64) -> FrameDigest {
    const ZEROS: &[u8] = &[0; 64 * 1024];
    let mut hasher = blake3::Hasher::new();
    let mut rest = len;
    while rest > 0 {
        let part = rest.min(ZEROS.len() as u64);
        // OK to cast: `part` is at most the length of a slice.
        hasher.update(&ZEROS[..part as usize]);
        rest -= part;
    }
    FrameDigest(hasher.finalize().into())
}

impl fmt::Display for FrameDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl fmt::Debug for FrameDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for FrameDigest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl<'de> Deserialize<'de> for FrameDigest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Hex;
        impl Visitor<'_> for Hex {
            type Value = FrameDigest;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("64 hexadecimal digits")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<FrameDigest, E> {
                FrameDigest::parse(text)
                    .ok_or_else(|| E::invalid_value(Unexpected::Other("other text"), &self))
            }
        }
        deserializer.deserialize_str(Hex).map_err(D::Error::custom)
    }
}

/// Makes the digest of an image from the digests of its frames, given in address order.
///
/// A frame without a `Used` byte counts as that many zero bytes (see [`zero_digest`]).
#[derive(Clone, Debug, Default)]
pub struct ImageDigest(blake3::Hasher);

impl ImageDigest {
    /// Returns the digest of an image without frames, to be fed.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the next frame.
    pub fn add(&mut self, frame: &FrameDigest) {
        self.0.update(&frame.0);
    }

    /// Returns the digest of the frames added so far.
    #[must_use]
    pub fn finish(&self) -> FrameDigest {
        FrameDigest(self.0.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::{FrameDigest, ImageDigest, zero_digest};

    #[test]
    fn a_digest_is_blake3_of_the_content() {
        // BLAKE3's published test vector for the empty input.
        let empty = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";
        assert_eq!(FrameDigest::of(&[]).to_string(), empty);
        let json = format!("\"{empty}\"");
        assert_eq!(
            serde_json::from_str::<FrameDigest>(&json).unwrap(),
            FrameDigest::of(&[])
        );
        assert_eq!(serde_json::to_string(&FrameDigest::of(&[])).unwrap(), json);
        assert!(serde_json::from_str::<FrameDigest>("\"af13\"").is_err());
    }

    #[test]
    fn zero_digests_equal_those_of_zeros_at_any_len() {
        for len in [0, 1, 65_535, 65_536, 200_000] {
            assert_eq!(zero_digest(len), FrameDigest::of(&vec![0; len as usize]));
        }
    }

    #[test]
    fn an_image_digest_is_the_digest_of_the_frame_digests() {
        let (a, b) = (FrameDigest::of(b"a"), FrameDigest::of(b"b"));
        let mut image = ImageDigest::new();
        image.add(&a);
        image.add(&b);
        let joined = [*a.as_bytes(), *b.as_bytes()].concat();
        assert_eq!(image.finish(), FrameDigest::of(&joined));
    }
}
