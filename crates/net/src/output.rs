//! What a machine writes: encoded frames in one buffer, large bodies beside it, in order.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes};

/// An output of this many unsent bytes is full: a machine stops draining deliveries into it.
pub const OUTPUT_BUDGET_BYTES: usize = 128 * 1024;

/// Bodies shorter than this are cheaper to copy than to write from their own place.
pub const SHARED_BYTES_MIN: usize = 4 * 1024;

/// Unsent bytes of one connection, in the order they go out.
///
/// ```text
/// encoded: [ sent | frame frame | frame frame ]
/// shared:                       ^ body goes in here
/// ```
#[derive(Debug, Default)]
pub struct Output {
    encoded: Vec<u8>,
    /// How much of `encoded` is sent.
    sent: usize,
    /// Unsent bodies, each with the place in `encoded` it goes in before. In order.
    shared: VecDeque<(usize, Bytes)>,
    shared_bytes: usize,
}

impl Output {
    /// Nothing to send, nothing allocated.
    pub fn new() -> Self {
        Self::default()
    }

    /// Where encoded frames are appended. What is in it already must stay as it is.
    pub fn buf(&mut self) -> &mut Vec<u8> {
        &mut self.encoded
    }

    /// Appends a body after everything written so far, without a copy if it is large
    /// (at least [`SHARED_BYTES_MIN`]).
    pub fn put_shared(&mut self, body: Bytes) {
        if body.len() < SHARED_BYTES_MIN {
            self.encoded.extend_from_slice(&body);
        } else {
            self.shared_bytes += body.len();
            self.shared.push_back((self.encoded.len(), body));
        }
    }

    /// Unsent bytes.
    pub fn len(&self) -> usize {
        self.encoded.len() - self.sent + self.shared_bytes
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the budget for deliveries is used up ([`OUTPUT_BUDGET_BYTES`]). Answers to the peer's own requests may
    /// still be written: the driver stops reading from a peer that does not take them.
    pub fn is_full(&self) -> bool {
        self.len() >= OUTPUT_BUDGET_BYTES
    }

    /// Whether everything unsent lies in one piece in [`Output::front`].
    pub fn is_contiguous(&self) -> bool {
        self.shared.is_empty()
    }

    /// The unsent bytes before the first shared body.
    pub fn front(&self) -> &[u8] {
        let end = self
            .shared
            .front()
            .map_or(self.encoded.len(), |(at, _)| *at);
        &self.encoded[self.sent..end]
    }

    /// Fills `slices` with the first `limit` unsent bytes in order, as many pieces as fit; returns how many.
    pub fn slices<'a>(&'a self, limit: usize, slices: &mut [IoSlice<'a>]) -> usize {
        let mut from = self.sent;
        let bodies = self.shared.iter().flat_map(|(at, body)| {
            let frames = &self.encoded[from..*at];
            from = *at;
            [frames, &body[..]]
        });
        let tail = &self.encoded[self.shared.back().map_or(self.sent, |(at, _)| *at)..];
        let mut left = limit;
        let mut count = 0;
        for piece in bodies.chain([tail]) {
            let piece = &piece[..piece.len().min(left)];
            if piece.is_empty() {
                continue;
            }
            let Some(slice) = slices.get_mut(count) else {
                break;
            };
            *slice = IoSlice::new(piece);
            left -= piece.len();
            count += 1;
        }
        count
    }

    /// Takes all unsent bytes, copied into one piece. For tests of machines; the driver never needs it.
    pub fn take(&mut self) -> Vec<u8> {
        let mut all = Vec::with_capacity(self.len());
        while !self.is_empty() {
            let front = self.front();
            let piece = match self.shared.front() {
                Some((_, body)) if front.is_empty() => &body[..],
                _ => front,
            };
            all.extend_from_slice(piece);
            self.advance(piece.len());
        }
        all
    }

    /// Takes note that `count` more bytes were sent.
    pub fn advance(&mut self, mut count: usize) {
        debug_assert!(count <= self.len(), "no more is sent than there is");
        while count > 0 {
            let frames = self.front().len().min(count);
            self.sent += frames;
            count -= frames;
            let Some((at, body)) = self.shared.front_mut() else {
                break;
            };
            if *at != self.sent {
                continue;
            }
            let part = body.len().min(count);
            body.advance(part);
            self.shared_bytes -= part;
            count -= part;
            if body.is_empty() {
                self.shared.pop_front();
            }
        }
        if self.is_empty() {
            self.encoded.clear();
            self.sent = 0;
        }
    }

    /// Bytes of memory this holds for itself, the shared bodies not counted.
    pub fn capacity(&self) -> usize {
        self.encoded.capacity() + self.shared.capacity() * size_of::<(usize, Bytes)>()
    }

    /// Moves the unsent bytes to the front, into an allocation of their size if the present one is much larger.
    pub fn compact(&mut self) {
        let unsent = self.encoded.len() - self.sent;
        if unsent * 4 < self.encoded.capacity() {
            self.encoded = self.encoded[self.sent..].to_vec();
        } else if self.sent > 0 {
            self.encoded.drain(..self.sent);
        }
        for (at, _) in &mut self.shared {
            *at -= self.sent;
        }
        self.sent = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: usize = SHARED_BYTES_MIN;

    fn gathered(out: &Output, pieces: usize) -> Vec<u8> {
        let mut slices = vec![IoSlice::new(&[]); pieces];
        let count = out.slices(usize::MAX, &mut slices);
        slices[..count]
            .iter()
            .flat_map(|slice| slice.iter().copied())
            .collect()
    }

    fn mixed() -> (Output, Vec<u8>) {
        let mut out = Output::new();
        let mut all = Vec::new();
        for (n, body) in [(10, BODY), (0, BODY + 1), (3, 5), (7, BODY * 2)] {
            let frame: Vec<u8> = (0..n).collect();
            out.buf().extend_from_slice(&frame);
            let body: Vec<u8> = (0..body).map(|i| u8::try_from(i % 251).unwrap()).collect();
            out.put_shared(Bytes::from(body.clone()));
            all.extend(frame);
            all.extend(body);
        }
        out.buf().extend_from_slice(b"tail");
        all.extend(b"tail");
        (out, all)
    }

    #[test]
    fn order_is_kept_between_frames_and_bodies() {
        let (out, all) = mixed();
        assert_eq!(out.len(), all.len());
        assert!(!out.is_contiguous());
        assert_eq!(gathered(&out, 64), all);
    }

    #[test]
    fn take_yields_everything_unsent_once() {
        let (mut out, all) = mixed();
        out.advance(5);
        assert_eq!(out.take(), all[5..]);
        assert!(out.is_empty());
    }

    #[test]
    fn too_few_slices_yield_a_prefix() {
        let (out, all) = mixed();
        for pieces in 2..8 {
            let part = gathered(&out, pieces);
            assert!(!part.is_empty());
            assert_eq!(part, all[..part.len()]);
        }
    }

    #[test]
    fn any_split_of_writes_sends_the_same_bytes() {
        for step in [13, 100, BODY - 1, BODY, BODY + 11, 100_000] {
            let (mut out, all) = mixed();
            let mut sent = Vec::new();
            while !out.is_empty() {
                let part = gathered(&out, 4);
                let count = part.len().min(step);
                sent.extend_from_slice(&part[..count]);
                out.advance(count);
                out.compact();
            }
            assert_eq!(sent, all);
            assert_eq!(out.len(), 0);
        }
    }

    #[test]
    fn small_bodies_are_copied_and_large_ones_are_not() {
        let mut out = Output::new();
        out.put_shared(Bytes::from(vec![1; SHARED_BYTES_MIN - 1]));
        assert!(out.is_contiguous());
        out.put_shared(Bytes::from(vec![1; SHARED_BYTES_MIN]));
        assert!(!out.is_contiguous());
    }

    #[test]
    fn full_at_the_budget_and_not_one_below() {
        let mut out = Output::new();
        out.buf().resize(OUTPUT_BUDGET_BYTES - 1, 0);
        assert!(!out.is_full());
        out.buf().push(0);
        assert!(out.is_full());
        out.advance(1);
        assert!(!out.is_full());
    }

    #[test]
    fn compaction_gives_memory_back() {
        let mut out = Output::new();
        out.buf().resize(1 << 20, 7);
        out.advance((1 << 20) - 10);
        out.compact();
        assert!(out.capacity() < 4096);
        assert_eq!(out.front(), [7; 10]);
    }
}
