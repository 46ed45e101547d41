//! A body frame of which only a part has arrived.

use crate::error::{Fault, Reply};

/// What stands before a frame's payload: type, channel, size.
const FRAME_HEADER_LEN: usize = 7;
const FRAME_BODY: u8 = 3;
const FRAME_END: u8 = 0xCE;

/// What is still to come of the frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Partial {
    channel: u16,
    /// Payload bytes; the end marker comes behind them.
    remaining: usize,
}

impl Partial {
    /// Reads the header of a body frame. The codec has checked its size. Returns how long the header is.
    pub(super) fn begin(input: &[u8]) -> Option<(Self, usize)> {
        let &[FRAME_BODY, c0, c1, s0, s1, s2, s3] = input.first_chunk::<FRAME_HEADER_LEN>()? else {
            return None;
        };
        let channel = u16::from_be_bytes([c0, c1]);
        let remaining = u32::from_be_bytes([s0, s1, s2, s3]) as usize;
        Some((Self { channel, remaining }, FRAME_HEADER_LEN))
    }

    pub(super) const fn channel(&self) -> u16 {
        self.channel
    }

    /// Payload bytes to come.
    pub(super) const fn remaining(&self) -> usize {
        self.remaining
    }

    /// Takes what has arrived: payload bytes, how much of the input that is, and whether the frame is whole. The last
    /// payload byte is taken with the end marker only, so that a message is complete no sooner than its frame.
    pub(super) fn take<'a>(&mut self, input: &'a [u8]) -> Result<(&'a [u8], usize, bool), Fault> {
        if let Some(&end) = input.get(self.remaining) {
            if end != FRAME_END {
                let text = format!(
                    "type {FRAME_BODY}, all octets = <<>>: {{invalid_frame_end_marker,{end}}}"
                );
                return Err(Fault::new(Reply::FrameError, text));
            }
            return Ok((&input[..self.remaining], self.remaining + 1, true));
        }
        let taken = input.len().min(self.remaining.saturating_sub(1));
        self.remaining -= taken;
        Ok((&input[..taken], taken, false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frame_in_any_pieces_yields_its_payload_and_is_whole_at_its_end_marker() {
        let payload: Vec<u8> = (0..20).collect();
        let mut frame = vec![3, 0, 9, 0, 0, 0, 20];
        frame.extend(&payload);
        frame.push(0xCE);
        for step in 1..frame.len() {
            let (mut partial, mut at) = Partial::begin(&frame).expect("a body frame");
            assert_eq!(partial.channel(), 9);
            let (mut got, mut have, mut whole) = (Vec::new(), at, false);
            while !whole {
                have = (have + step).min(frame.len());
                let (piece, taken, done) = partial.take(&frame[at..have]).expect("sound");
                got.extend_from_slice(piece);
                at += taken;
                whole = done;
                assert_eq!(done, at == frame.len());
                assert!(done || have < frame.len());
            }
            assert_eq!(got, payload);
        }
    }

    #[test]
    fn other_frames_and_headers_that_are_cut_are_not_begun() {
        assert_eq!(Partial::begin(&[1, 0, 1, 0, 0, 0, 4, 0]), None);
        assert_eq!(Partial::begin(&[3, 0, 1, 0, 0, 0]), None);
    }

    #[test]
    fn wrong_end_marker_is_a_frame_error() {
        let mut partial = Partial {
            channel: 1,
            remaining: 1,
        };
        let fault = partial.take(&[7, 0xCD]).expect_err("no frame end");
        assert_eq!(fault.reply.code(), 501);
    }
}
