//! Messages on their way to the client with QoS above 0: packet identifiers, steps of the exchange, order (§4.3, §4.4,
//! §4.6).
//!
//! ```text
//! entries: [ sent on this connection, oldest first | kept from an earlier connection, to be sent again ]
//!                                                  ^ sent
//!
//! QoS 1: AwaitPubAck ── PUBACK ──► gone
//! QoS 2: AwaitPubRec ── PUBREC ──► AwaitPubComp ── PUBCOMP ──► gone
//! ```
//!
//! Whatever stands in front of `sent` counts against the client's receive maximum; new messages join at the back, once
//! nothing is left to be sent again.

use std::collections::VecDeque;
use std::num::NonZeroU16;

use ternmq_core::id::Position;
use ternmq_core::message::Message;
use ternmq_core::tags::Tags;

use crate::frame::PacketId;

/// Packet identifiers there are: 1 to 65,535.
const PACKET_IDS: u64 = u16::MAX as u64;

/// What the client has to answer next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(
    clippy::enum_variant_names,
    reason = "the names are the specification's"
)]
pub(crate) enum Step {
    AwaitPubAck,
    AwaitPubRec,
    AwaitPubComp,
}

/// Which lease stands behind a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Lease {
    /// Number of the session's source it was leased from.
    pub(crate) source: u16,
    /// Where in that source's queue.
    pub(crate) position: Position,
}

/// A message as it goes to the client.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing {
    pub(crate) message: Message,
    /// Which subscriptions matched.
    pub(crate) tags: Tags,
    /// None for retained messages sent for a SUBSCRIBE.
    pub(crate) lease: Option<Lease>,
    /// Whether it is such a retained message.
    pub(crate) retained: bool,
    /// Whether somebody was given it before.
    pub(crate) redelivered: bool,
}

impl Outgoing {
    /// Whether it left its queue for good when it was taken, so that it can be sent only once.
    pub(crate) fn is_at_most_once(&self) -> bool {
        self.lease.is_none() && !self.retained
    }
}

/// A message with a packet identifier.
#[derive(Clone, Debug)]
pub(crate) struct InFlight {
    serial: u64,
    pub(crate) step: Step,
    /// None once PUBREC came: the client has it.
    pub(crate) outgoing: Option<Outgoing>,
}

impl InFlight {
    /// The packet identifier.
    pub(crate) fn packet_id(&self) -> PacketId {
        packet_id(self.serial)
    }
}

fn packet_id(serial: u64) -> PacketId {
    // Below 65,535, so that one more is in range.
    let below = u16::try_from(serial % PACKET_IDS).unwrap_or(0);
    NonZeroU16::MIN.saturating_add(below)
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct Window {
    entries: VecDeque<InFlight>,
    /// How many from the front were sent on this connection.
    sent: usize,
    next_serial: u64,
}

impl Window {
    /// Sent on this connection and not finished.
    pub(crate) fn sent(&self) -> usize {
        self.sent
    }

    /// Not finished, sent on this connection or not.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// A new connection: everything is to be sent again.
    pub(crate) fn rewind(&mut self) {
        self.sent = 0;
    }

    /// The oldest that is to be sent again.
    pub(crate) fn next_resend(&self) -> Option<&InFlight> {
        self.entries.get(self.sent)
    }

    /// It was sent again.
    pub(crate) fn resent(&mut self) {
        debug_assert!(
            self.sent < self.entries.len(),
            "something was left to send again"
        );
        self.sent += 1;
    }

    /// It can't be sent again: it is gone. Returns what it was.
    pub(crate) fn drop_resend(&mut self) -> Option<InFlight> {
        self.entries.remove(self.sent)
    }

    /// The packet identifier that [`Window::push`] gives next; `None` if all are in use.
    pub(crate) fn reserve(&mut self) -> Option<PacketId> {
        if self.entries.len() as u64 >= PACKET_IDS {
            return None;
        }
        if let Some(oldest) = self.entries.front() {
            // Only then identifiers can meet again (MQTT-2.2.1-3: currently unused).
            while self.next_serial - oldest.serial >= PACKET_IDS
                && self.find(packet_id(self.next_serial)).is_some()
            {
                self.next_serial += 1;
            }
        }
        Some(packet_id(self.next_serial))
    }

    /// A new message was sent with the identifier from [`Window::reserve`].
    pub(crate) fn push(&mut self, step: Step, outgoing: Outgoing) {
        debug_assert_eq!(
            self.sent,
            self.entries.len(),
            "new messages follow those sent again"
        );
        self.entries.push_back(InFlight {
            serial: self.next_serial,
            step,
            outgoing: Some(outgoing),
        });
        self.next_serial += 1;
        self.sent += 1;
    }

    fn find(&self, id: PacketId) -> Option<usize> {
        self.entries
            .iter()
            .position(|entry| entry.packet_id() == id)
    }

    /// The message with that identifier.
    pub(crate) fn get_mut(&mut self, id: PacketId) -> Option<&mut InFlight> {
        self.entries
            .iter_mut()
            .find(|entry| entry.packet_id() == id)
    }

    /// The exchange of that identifier is over.
    pub(crate) fn remove(&mut self, id: PacketId) -> Option<InFlight> {
        let at = self.find(id)?;
        self.sent -= usize::from(at < self.sent);
        let removed = self.entries.remove(at);
        if self.entries.is_empty() && self.entries.capacity() > KEEP_MAX {
            self.entries = VecDeque::new();
        }
        removed
    }

    /// Removes those that `keep` says no to.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&mut InFlight) -> bool) {
        let (mut at, mut sent) = (0, self.sent);
        let sent_before = self.sent;
        self.entries.retain_mut(|entry| {
            let kept = keep(entry);
            sent -= usize::from(!kept && at < sent_before);
            at += 1;
            kept
        });
        self.sent = sent;
    }

    /// All, oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &InFlight> {
        self.entries.iter()
    }
}

/// An empty window of more entries than this gives its memory back.
const KEEP_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use ternmq_core::message::NewMessage;

    use super::*;

    fn outgoing() -> Outgoing {
        Outgoing {
            message: NewMessage::plain(b"amq.topic", b"a/b", b"").build(&mut Vec::new()),
            tags: Tags::None,
            lease: None,
            retained: false,
            redelivered: false,
        }
    }

    fn send(window: &mut Window) -> u16 {
        let id = window.reserve().unwrap();
        window.push(Step::AwaitPubAck, outgoing());
        id.get()
    }

    fn id(id: u16) -> PacketId {
        NonZeroU16::new(id).unwrap()
    }

    #[test]
    fn identifiers_wrap_after_65535_and_skip_those_in_use() {
        let mut window = Window::default();
        assert_eq!(send(&mut window), 1);
        assert_eq!(send(&mut window), 2);
        for expected in 3..=u16::MAX {
            assert_eq!(send(&mut window), expected);
            window.remove(id(expected)).unwrap();
        }
        window.remove(id(2)).unwrap();
        assert_eq!(send(&mut window), 2, "1 is still in use");
        assert_eq!(send(&mut window), 3);
    }

    #[test]
    fn full_window_has_no_identifier_left() {
        let mut window = Window::default();
        for _ in 0..u16::MAX {
            send(&mut window);
        }
        assert_eq!(window.reserve(), None);
        window.retain(|entry| entry.packet_id() != id(7));
        assert_eq!(send(&mut window), 7);
    }

    #[test]
    fn after_a_rewind_everything_is_sent_again_in_order_before_anything_new() {
        let mut window = Window::default();
        for _ in 0..3 {
            send(&mut window);
        }
        window.rewind();
        assert_eq!((window.sent(), window.len()), (0, 3));
        assert_eq!(window.next_resend().unwrap().packet_id(), id(1));
        window.resent();
        assert_eq!(window.next_resend().unwrap().packet_id(), id(2));
        // An acknowledgement of what was not sent again yet.
        window.remove(id(3)).unwrap();
        assert_eq!(window.sent(), 1);
        window.remove(id(1)).unwrap();
        assert_eq!((window.sent(), window.len()), (0, 1));
        window.resent();
        assert!(window.next_resend().is_none());
        assert_eq!(send(&mut window), 4);
    }

    #[test]
    fn removing_by_condition_keeps_count_of_what_was_sent() {
        let mut window = Window::default();
        for _ in 0..4 {
            send(&mut window);
        }
        window.rewind();
        window.resent();
        window.resent();
        window.retain(|entry| entry.packet_id().get() % 2 == 0);
        assert_eq!((window.sent(), window.len()), (1, 2));
        assert_eq!(window.next_resend().unwrap().packet_id(), id(4));
    }
}
