//! Compression on the way: `Content-Encoding: gzip` (RFC 1952).

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

/// The same parts, compressed. Some are swallowed until there is enough to write.
pub struct Gzip<I> {
    parts: I,
    encoder: Option<GzEncoder<Vec<u8>>>,
}

impl<I: Iterator<Item = Vec<u8>>> Gzip<I> {
    /// Compresses these parts one by one, as they are asked for.
    pub fn new(parts: I) -> Self {
        Self {
            parts,
            encoder: Some(GzEncoder::new(Vec::new(), Compression::fast())),
        }
    }
}

impl<I: Iterator<Item = Vec<u8>>> Iterator for Gzip<I> {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let mut encoder = self.encoder.take()?;
        for part in self.parts.by_ref() {
            // Writing to memory cannot fail.
            encoder.write_all(&part).ok()?;
            if !encoder.get_ref().is_empty() {
                let compressed = std::mem::take(encoder.get_mut());
                self.encoder = Some(encoder);
                return Some(compressed);
            }
        }
        encoder.finish().ok()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;

    use super::*;

    #[test]
    fn parts_come_out_as_they_went_in() {
        let parts = (0..100_u32).map(|n| format!("{n} ").repeat(1000).into_bytes());
        let expected: Vec<u8> = parts.clone().flatten().collect();
        let compressed: Vec<u8> = Gzip::new(parts).flatten().collect();
        assert!(compressed.len() < expected.len() / 10);
        let mut read = Vec::new();
        GzDecoder::new(&*compressed).read_to_end(&mut read).unwrap();
        assert_eq!(read, expected);
    }

    #[test]
    fn nothing_is_a_valid_stream_too() {
        let compressed: Vec<u8> = Gzip::new(std::iter::empty()).flatten().collect();
        let mut read = Vec::new();
        GzDecoder::new(&*compressed).read_to_end(&mut read).unwrap();
        assert!(read.is_empty());
    }
}
