//! A PUBLISH too large to wait for in the input: its payload is put together as it arrives.

use std::num::NonZeroU16;

use bytes::Bytes;

use crate::frame::{PacketId, Publish, QoS};
use crate::properties::Properties;

/// Not more than this is set aside for a payload before it arrives, in bytes.
const RESERVE_BYTES_MAX: usize = 256 * 1024;

/// The head of a PUBLISH, and as much of its payload as there is.
pub(super) struct Assembly {
    head: Head,
    payload: Vec<u8>,
    payload_len: usize,
}

/// A PUBLISH without its payload, in memory of its own.
pub(super) struct Head {
    dup: bool,
    qos: QoS,
    retain: bool,
    topic: Box<str>,
    packet_id: Option<PacketId>,
    topic_alias: Option<NonZeroU16>,
    message_expiry_s: Option<u32>,
    properties: Box<[u8]>,
}

impl Head {
    pub(super) fn as_frame(&self) -> Publish<'_> {
        Publish {
            dup: self.dup,
            qos: self.qos,
            retain: self.retain,
            topic: &self.topic,
            packet_id: self.packet_id,
            topic_alias: self.topic_alias,
            message_expiry_s: self.message_expiry_s,
            properties: Properties::from_validated(&self.properties),
            payload: &[],
        }
    }
}

impl Assembly {
    pub(super) fn new(head: &Publish<'_>, payload_len: usize) -> Self {
        let head = Head {
            dup: head.dup,
            qos: head.qos,
            retain: head.retain,
            topic: head.topic.into(),
            packet_id: head.packet_id,
            topic_alias: head.topic_alias,
            message_expiry_s: head.message_expiry_s,
            properties: head.properties.as_bytes().into(),
        };
        let payload = Vec::with_capacity(payload_len.min(RESERVE_BYTES_MAX));
        Self {
            head,
            payload,
            payload_len,
        }
    }

    /// Takes as much of the payload as there is. Returns how many bytes.
    pub(super) fn take(&mut self, input: &[u8]) -> usize {
        let missing = self.payload_len - self.payload.len();
        let len = input.len().min(missing);
        let room = self.payload.capacity() - self.payload.len();
        if len > room {
            // Doubled, but never beyond what is announced.
            self.payload
                .reserve_exact(missing.min(self.payload.len().max(len)));
        }
        self.payload.extend_from_slice(&input[..len]);
        len
    }

    pub(super) fn is_complete(&self) -> bool {
        self.payload.len() == self.payload_len
    }

    pub(super) fn finish(self) -> (Head, Bytes) {
        (self.head, Bytes::from(self.payload))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payload_is_put_together_from_any_pieces_and_never_takes_more_memory_than_announced() {
        let len = 3 * RESERVE_BYTES_MAX + 17;
        let all: Vec<u8> = (0..=250).cycle().take(len).collect();
        let head = Publish {
            dup: false,
            qos: QoS::AtMostOnce,
            retain: false,
            topic: "a",
            packet_id: None,
            topic_alias: None,
            message_expiry_s: None,
            properties: Properties::EMPTY,
            payload: &[],
        };
        let mut assembly = Assembly::new(&head, len);
        let mut rest = &all[..];
        while !assembly.is_complete() {
            let used = assembly.take(&rest[..rest.len().min(70_001)]);
            rest = &rest[used..];
        }
        assert_eq!(assembly.take(b"next packet"), 0);
        assert_eq!(assembly.payload.capacity(), len);
        let (head, payload) = assembly.finish();
        assert_eq!(head.as_frame().topic, "a");
        assert_eq!(payload, all);
    }
}
