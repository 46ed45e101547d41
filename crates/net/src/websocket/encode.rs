//! Frames to a client. They are not masked (RFC 6455 §5.1).

/// Payload of one frame at most: what clients take that limit frames, and a head of four bytes at most.
pub(super) const FRAME_BYTES_MAX: usize = 0xffff;

/// The opcode of a binary message.
pub(super) const BINARY: u8 = 0x2;
/// The opcode of a close frame.
pub(super) const CLOSE: u8 = 0x8;
/// The opcode of a pong.
pub(super) const PONG: u8 = 0xa;

/// The head of a frame, as far as it is not sent.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Head {
    bytes: [u8; 4],
    from: u8,
    to: u8,
}

impl Head {
    /// The head of a message that is one frame of at most [`FRAME_BYTES_MAX`] bytes.
    pub(super) fn new(opcode: u8, payload_bytes: usize) -> Self {
        debug_assert!(payload_bytes <= FRAME_BYTES_MAX);
        let first = 0x80 | opcode;
        let [high, low] = u16::try_from(payload_bytes)
            .unwrap_or(u16::MAX)
            .to_be_bytes();
        if high == 0 && low < 126 {
            Self {
                bytes: [first, low, 0, 0],
                from: 0,
                to: 2,
            }
        } else {
            Self {
                bytes: [first, 126, high, low],
                from: 0,
                to: 4,
            }
        }
    }

    /// What is to be sent.
    pub(super) fn unsent(&self) -> &[u8] {
        &self.bytes[usize::from(self.from)..usize::from(self.to)]
    }

    /// Takes note that `count` bytes were written, and returns how many of them came after the head.
    pub(super) fn advance(&mut self, count: usize) -> usize {
        let of_head = self.unsent().len().min(count);
        self.from += u8::try_from(of_head).unwrap_or_default();
        count - of_head
    }
}

/// A whole control frame.
pub(super) fn control(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = Head::new(opcode, payload.len()).unsent().to_vec();
    frame.extend_from_slice(payload);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_have_the_shortest_length() {
        for (payload, expected) in [
            (0, vec![0x82, 0]),
            (125, vec![0x82, 125]),
            (126, vec![0x82, 126, 0, 126]),
            (0xffff, vec![0x82, 126, 0xff, 0xff]),
        ] {
            assert_eq!(Head::new(BINARY, payload).unsent(), expected);
        }
    }

    #[test]
    fn bytes_after_the_head_are_payload() {
        let mut head = Head::new(BINARY, 300);
        assert_eq!(head.advance(3), 0);
        assert_eq!(head.unsent(), [44]);
        assert_eq!(head.advance(5), 4);
        assert!(head.unsent().is_empty());
    }
}
