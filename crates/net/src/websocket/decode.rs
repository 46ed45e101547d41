//! Frames from a client into payload, in place and without memory of its own: the payload of a frame is never longer
//! than the frame.
//!
//! ```text
//!  0               1               2 .. 10          .. 14
//! +-+---+-------+-+-------------+----------------+-----------+--------------+
//! |F|RSV| opcode|M| length      | 0, 2, 8 bytes  | mask key  | payload      |
//! +-+---+-------+-+-------------+----------------+-----------+--------------+
//! ```

/// Payload of a control frame, at most (RFC 6455 §5.5).
const CONTROL_BYTES_MAX: usize = 125;

/// A frame's longest head: two bytes, a length of eight, a mask key of four.
const HEAD_BYTES_MAX: usize = 14;

/// Reads frames.
#[derive(Debug)]
pub struct Decoder {
    state: State,
    /// A binary message has begun and not ended.
    in_message: bool,
    frame_bytes_max: u64,
}

#[derive(Debug)]
enum State {
    /// So much of a head has come.
    Head {
        bytes: [u8; HEAD_BYTES_MAX],
        len: usize,
    },
    /// So many bytes of a data frame's payload are to come.
    Payload { left: u64, mask: Mask },
    /// Of a control frame's payload this has come.
    Control {
        kind: Control,
        bytes_left: usize,
        mask: Mask,
        bytes: Vec<u8>,
    },
    /// Nothing that comes means anything any more.
    Over,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Control {
    Ping,
    Pong,
    Close,
}

/// What some bytes came to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Decoded {
    /// So many bytes of payload stand at the front of the buffer now.
    pub payload_bytes: usize,
    /// The payload of the last ping, which is to be sent back.
    pub ping: Option<Vec<u8>>,
    /// The stream ends after the payload.
    pub end: Option<End>,
}

/// Why nothing more comes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// The client closed; it is answered with this code, if it gave one.
    Closed(Option<u16>),
    /// The client broke a rule.
    Violated(Violation),
}

/// A rule that a client broke.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// §5.2: no extension was agreed on.
    #[error("a reserved bit is set")]
    ReservedBit,
    /// §5.2
    #[error("an unknown kind of frame")]
    Opcode,
    /// §5.1
    #[error("a frame is not masked")]
    NotMasked,
    /// MQTT 5.0 §6 [MQTT-6.0.0-1]
    #[error("a text frame")]
    Text,
    /// §5.4
    #[error("fragments out of order")]
    Fragments,
    /// §5.5
    #[error("a control frame that is fragmented or too long")]
    Control,
    /// §5.2, or the listener's limit.
    #[error("a frame that is too long")]
    TooLong,
    /// §5.5.1, §7.4
    #[error("a close frame that says nothing valid")]
    Close,
    /// §8.1
    #[error("a close frame whose reason is no UTF-8")]
    CloseText,
}

impl Violation {
    /// The code of the close frame that says so (RFC 6455 §7.4.1).
    pub fn close_code(self) -> u16 {
        match self {
            Self::Text => 1003,
            Self::CloseText => 1007,
            Self::TooLong => 1009,
            _ => 1002,
        }
    }
}

/// A mask key, turned so that it begins with the next byte's.
#[derive(Clone, Copy, Debug)]
struct Mask([u8; 4]);

impl Mask {
    /// Unmasks bytes that lie at `from` to `to`, so that they begin at `to`.
    fn apply(&mut self, raw: &mut [u8], from: usize, to: usize, count: usize) {
        debug_assert!(to <= from, "payload only moves forward");
        raw.copy_within(from..from + count, to);
        let payload = &mut raw[to..to + count];
        let mut words = payload.chunks_exact_mut(8);
        let [a, b, c, d] = self.0;
        let key = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
        for word in &mut words {
            if let Ok(bytes) = <[u8; 8]>::try_from(&*word) {
                word.copy_from_slice(&(u64::from_ne_bytes(bytes) ^ key).to_ne_bytes());
            }
        }
        for (byte, key) in words.into_remainder().iter_mut().zip(self.0.iter().cycle()) {
            *byte ^= key;
        }
        self.0.rotate_left(count % 4);
    }
}

/// A frame's head.
struct Head {
    is_final: bool,
    opcode: u8,
    length: u64,
    mask: Mask,
}

impl Decoder {
    /// A decoder at the beginning of a stream, which refuses frames with more payload than this.
    pub fn new(frame_bytes_max: u64) -> Self {
        Self {
            state: State::next_head(),
            in_message: false,
            frame_bytes_max,
        }
    }

    /// Decodes all of `raw`, the bytes that come next in the stream, and leaves their payload at its front.
    pub fn decode(&mut self, raw: &mut [u8]) -> Decoded {
        let mut decoded = Decoded::default();
        let mut at = 0;
        while at < raw.len() && decoded.end.is_none() {
            match self.step(raw, at, &mut decoded) {
                Ok(taken) => at += taken,
                Err(violation) => decoded.end = Some(End::Violated(violation)),
            }
        }
        if decoded.end.is_some() {
            self.state = State::Over;
        }
        debug_assert!(decoded.payload_bytes <= raw.len());
        decoded
    }

    /// Takes some of the bytes from `at` on, at least one, and returns how many.
    fn step(
        &mut self,
        raw: &mut [u8],
        at: usize,
        decoded: &mut Decoded,
    ) -> Result<usize, Violation> {
        match &mut self.state {
            State::Head { bytes, len } => {
                let wanted = head_bytes(&bytes[..*len]);
                let count = (wanted - *len).min(raw.len() - at);
                bytes[*len..*len + count].copy_from_slice(&raw[at..at + count]);
                *len += count;
                if *len >= 2 && *len == head_bytes(&bytes[..*len]) {
                    let head = read_head(&bytes[..*len])?;
                    self.begin(&head, decoded)?;
                }
                Ok(count)
            }
            State::Payload { left, mask } => {
                let count = usize::try_from(*left)
                    .unwrap_or(usize::MAX)
                    .min(raw.len() - at);
                mask.apply(raw, at, decoded.payload_bytes, count);
                decoded.payload_bytes += count;
                *left -= count as u64;
                if *left == 0 {
                    self.state = State::next_head();
                }
                Ok(count)
            }
            State::Control {
                bytes_left,
                mask,
                bytes,
                ..
            } => {
                let count = (*bytes_left).min(raw.len() - at);
                mask.apply(raw, at, at, count);
                bytes.extend_from_slice(&raw[at..at + count]);
                *bytes_left -= count;
                if *bytes_left == 0 {
                    self.end_control(decoded)?;
                }
                Ok(count)
            }
            State::Over => Ok(raw.len() - at),
        }
    }

    fn begin(&mut self, head: &Head, decoded: &mut Decoded) -> Result<(), Violation> {
        let kind = match (head.opcode, self.in_message) {
            (0x0, true) | (0x2, false) => {
                self.in_message = !head.is_final;
                return self.begin_payload(head);
            }
            (0x0 | 0x2, _) => return Err(Violation::Fragments),
            (0x1, _) => return Err(Violation::Text),
            (0x8, _) => Control::Close,
            (0x9, _) => Control::Ping,
            (0xa, _) => Control::Pong,
            _ => return Err(Violation::Opcode),
        };
        let length = usize::try_from(head.length).unwrap_or(usize::MAX);
        if !head.is_final || length > CONTROL_BYTES_MAX {
            return Err(Violation::Control);
        }
        self.state = State::Control {
            kind,
            bytes_left: length,
            mask: head.mask,
            bytes: Vec::with_capacity(length),
        };
        if length == 0 {
            self.end_control(decoded)
        } else {
            Ok(())
        }
    }

    fn begin_payload(&mut self, head: &Head) -> Result<(), Violation> {
        if head.length > self.frame_bytes_max {
            return Err(Violation::TooLong);
        }
        self.state = if head.length == 0 {
            State::next_head()
        } else {
            State::Payload {
                left: head.length,
                mask: head.mask,
            }
        };
        Ok(())
    }

    fn end_control(&mut self, decoded: &mut Decoded) -> Result<(), Violation> {
        let ended = std::mem::replace(&mut self.state, State::next_head());
        if let State::Control { kind, bytes, .. } = ended {
            match kind {
                Control::Ping => decoded.ping = Some(bytes),
                // Nobody was asked.
                Control::Pong => {}
                Control::Close => decoded.end = Some(End::Closed(read_close(&bytes)?)),
            }
        }
        Ok(())
    }
}

impl State {
    fn next_head() -> Self {
        Self::Head {
            bytes: [0; HEAD_BYTES_MAX],
            len: 0,
        }
    }
}

/// How long a head is that begins like this, as far as its beginning says.
fn head_bytes(begun: &[u8]) -> usize {
    let Some(second) = begun.get(1) else { return 2 };
    let mask = if second & 0x80 == 0 { 0 } else { 4 };
    let length = match second & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    2 + length + mask
}

/// Reads a whole head.
fn read_head(bytes: &[u8]) -> Result<Head, Violation> {
    let (first, second) = (bytes[0], bytes[1]);
    if first & 0x70 != 0 {
        return Err(Violation::ReservedBit);
    }
    if second & 0x80 == 0 {
        return Err(Violation::NotMasked);
    }
    let (length, key) = bytes[2..].split_at(bytes.len() - 2 - 4);
    let extended = length
        .iter()
        .fold(0, |all, byte| all << 8 | u64::from(*byte));
    let length = match second & 0x7f {
        126 | 127 => extended,
        short => u64::from(short),
    };
    if length >> 63 != 0 {
        return Err(Violation::TooLong);
    }
    let mask = Mask([key[0], key[1], key[2], key[3]]);
    Ok(Head {
        is_final: first & 0x80 != 0,
        opcode: first & 0x0f,
        length,
        mask,
    })
}

/// The code that a close frame gives, if it gives one.
fn read_close(payload: &[u8]) -> Result<Option<u16>, Violation> {
    let Some((code, reason)) = payload.split_first_chunk::<2>() else {
        return if payload.is_empty() {
            Ok(None)
        } else {
            Err(Violation::Close)
        };
    };
    let code = u16::from_be_bytes(*code);
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(Violation::Close);
    }
    match std::str::from_utf8(reason) {
        Ok(_) => Ok(Some(code)),
        Err(_) => Err(Violation::CloseText),
    }
}

#[cfg(test)]
mod tests;
