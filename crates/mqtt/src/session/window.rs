//! Messages on their way to the client with QoS above 0: packet identifiers, steps of the exchange, order (§4.3, §4.4,
//! §4.6).
//!
//! ```text
//! entries: [ sent on this connection │ to be sent: kept from an earlier connection, or waiting for their record ]
//!                                    ^ sent
//!
//! QoS 1: AwaitPubAck ── PUBACK ──► gone
//! QoS 2: AwaitPubRec ── PUBREC ──► AwaitPubComp ── PUBCOMP ──► gone
//! ```
//!
//! Whatever stands in front of `sent` counts against the client's receive maximum; new messages join at the back, those
//! that are sent at once only when nothing is left to be sent before them.
//!
//! Of an exchange that was under way when the node stopped, only the packet identifier and the message's record are
//! known at first ([`Awaited`]); it joins the others when its queue gives the message out again.

use std::collections::VecDeque;
use std::num::NonZeroU16;
use std::sync::Arc;

use ternmq_core::id::{Lsn, Position};
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
    /// The message's record; none if it has none, or does not come from a queue.
    pub(crate) lsn: Lsn,
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
    pub(crate) serial: u64,
    pub(crate) step: Step,
    /// None once PUBREC is recorded: the client has it.
    pub(crate) outgoing: Option<Outgoing>,
    /// What has to be committed before the next packet of the exchange may be sent.
    pub(crate) record: Lsn,
    /// Whether the client may have its PUBLISH, by whichever connection.
    pub(crate) was_sent: bool,
}

/// The record of an exchange that is to be recorded and is not yet. No record is so late.
pub(crate) const UNRECORDED: Lsn = Lsn(u64::MAX);

impl InFlight {
    /// The packet identifier.
    pub(crate) fn packet_id(&self) -> PacketId {
        packet_id(self.serial)
    }
}

/// An exchange from before a restart whose message is still in its queue.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Awaited {
    /// The queue of a group; none for the session's own.
    pub(crate) queue: Option<Arc<str>>,
    /// The message's record.
    pub(crate) lsn: Lsn,
    /// Its place in the order of sending.
    pub(crate) serial: u64,
}

/// The packet identifier of a place in the order of sending.
pub(crate) fn packet_id(serial: u64) -> PacketId {
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
    awaited: Vec<Awaited>,
    /// The entries are not in the order of their serials: some came late from their queue.
    is_mixed: bool,
}

impl Window {
    /// Sent on this connection and not finished.
    pub(crate) fn sent(&self) -> usize {
        self.sent
    }

    /// Not finished, sent on this connection or not.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// A new connection: everything is to be sent again, in the original order.
    pub(crate) fn rewind(&mut self) {
        if self.is_mixed {
            let entries = self.entries.make_contiguous();
            entries.sort_by_key(|entry| entry.serial);
            self.is_mixed = false;
        }
        self.sent = 0;
    }

    /// The oldest that is to be sent, again or at last.
    pub(crate) fn next_resend(&self) -> Option<&InFlight> {
        self.entries.get(self.sent)
    }

    /// It was sent.
    pub(crate) fn resent(&mut self) {
        debug_assert!(
            self.sent < self.entries.len(),
            "something was left to send again"
        );
        if let Some(entry) = self.entries.get_mut(self.sent) {
            entry.was_sent = true;
        }
        self.sent += 1;
    }

    /// It can't be sent again: it is gone. Returns what it was.
    pub(crate) fn drop_resend(&mut self) -> Option<InFlight> {
        self.entries.remove(self.sent)
    }

    /// The packet identifier that [`Window::push`] gives next; `None` if all are in use.
    pub(crate) fn reserve(&mut self) -> Option<PacketId> {
        if (self.entries.len() + self.awaited.len()) as u64 >= PACKET_IDS {
            return None;
        }
        if let Some(oldest) = self.oldest() {
            // Only then identifiers can meet again (MQTT-2.2.1-3: currently unused).
            while self.next_serial - oldest >= PACKET_IDS && self.is_used(self.next_serial) {
                self.next_serial += 1;
            }
        }
        Some(packet_id(self.next_serial))
    }

    fn oldest(&self) -> Option<u64> {
        let awaited = self.awaited.iter().map(|awaited| awaited.serial);
        if self.is_mixed {
            let serials = self.entries.iter().map(|entry| entry.serial);
            return serials.chain(awaited).min();
        }
        let front = self.entries.front().map(|entry| entry.serial);
        front.into_iter().chain(awaited).min()
    }

    fn is_used(&self, serial: u64) -> bool {
        let id = packet_id(serial);
        let is_awaited = |awaited: &Awaited| packet_id(awaited.serial) == id;
        self.find(id).is_some() || self.awaited.iter().any(is_awaited)
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
            record: Lsn::NONE,
            was_sent: true,
        });
        self.next_serial += 1;
        self.sent += 1;
    }

    /// A new message has the identifier from [`Window::reserve`], and is sent when its turn comes; with QoS 2 only once
    /// that is recorded.
    pub(crate) fn line_up(&mut self, step: Step, outgoing: Outgoing) {
        let record = match step {
            Step::AwaitPubAck => Lsn::NONE,
            Step::AwaitPubRec | Step::AwaitPubComp => UNRECORDED,
        };
        self.entries.push_back(InFlight {
            serial: self.next_serial,
            step,
            outgoing: Some(outgoing),
            record,
            was_sent: false,
        });
        self.next_serial += 1;
    }

    /// Those that are not recorded yet.
    pub(crate) fn unrecorded(&self) -> impl Iterator<Item = &InFlight> {
        let unsent = self.entries.range(self.sent..);
        unsent.filter(|entry| entry.record == UNRECORDED)
    }

    /// Those are recorded now.
    pub(crate) fn recorded(&mut self, lsn: Lsn) {
        for entry in self.entries.range_mut(self.sent..) {
            if entry.record == UNRECORDED {
                entry.record = lsn;
            }
        }
    }

    /// Those whose PUBREC came are released: that is recorded, or failed to be and then did not happen.
    pub(crate) fn released(&mut self, recorded: Option<Lsn>) {
        let answered =
            |entry: &&mut InFlight| entry.step == Step::AwaitPubComp && entry.outgoing.is_some();
        for entry in self.entries.iter_mut().filter(answered) {
            match recorded {
                Some(lsn) => (entry.record, entry.outgoing) = (lsn, None),
                None => entry.step = Step::AwaitPubRec,
            }
        }
    }

    /// Takes out those that the client never saw, oldest first.
    pub(crate) fn take_unseen(&mut self) -> Vec<InFlight> {
        let mut unseen = Vec::new();
        self.retain(|entry| {
            if !entry.was_sent {
                unseen.push(entry.clone());
            }
            entry.was_sent
        });
        unseen
    }

    /// After a restart: an exchange that was under way. One without a message is told as released: whether the client
    /// has it or not, it will not come again.
    pub(crate) fn restore(&mut self, serial: u64, awaited: Option<Awaited>) {
        self.next_serial = self.next_serial.max(serial.saturating_add(1));
        match awaited {
            Some(awaited) => self.awaited.push(awaited),
            None => self.insert(serial, None),
        }
    }

    /// Whether the message of that exchange is still in its queue.
    pub(crate) fn awaits(&self, id: PacketId) -> bool {
        let is_it = |awaited: &Awaited| packet_id(awaited.serial) == id;
        self.awaited.iter().any(is_it)
    }

    /// Whether messages of earlier exchanges are still in their queues.
    pub(crate) fn is_awaiting(&self) -> bool {
        !self.awaited.is_empty()
    }

    /// The exchange that the message with that record belongs to, if it is an awaited one. It is no longer then.
    pub(crate) fn arrive(&mut self, queue: Option<&str>, lsn: Lsn) -> Option<u64> {
        let is_it = |awaited: &Awaited| awaited.lsn == lsn && awaited.queue.as_deref() == queue;
        let at = self.awaited.iter().position(is_it)?;
        Some(self.awaited.swap_remove(at).serial)
    }

    /// What the session's own queue did not give out, it no longer has: those exchanges are released.
    pub(crate) fn give_up_own(&mut self) {
        let gone = |awaited: &mut Awaited| awaited.queue.is_none();
        let gone: Vec<Awaited> = self.awaited.extract_if(.., gone).collect();
        for awaited in gone {
            self.insert(awaited.serial, None);
        }
    }

    /// An earlier exchange goes on: it is to be sent again, before what is newer.
    pub(crate) fn insert(&mut self, serial: u64, outgoing: Option<Outgoing>) {
        let newer = |entry: &InFlight| entry.serial > serial;
        let unsent = self.entries.range(self.sent..).position(newer);
        let at = unsent.map_or(self.entries.len(), |at| self.sent + at);
        self.is_mixed |= self.entries.range(..at).any(newer);
        let step = match outgoing {
            Some(_) => Step::AwaitPubRec,
            None => Step::AwaitPubComp,
        };
        let entry = InFlight {
            serial,
            step,
            outgoing,
            record: Lsn::NONE,
            was_sent: true,
        };
        self.entries.insert(at, entry);
    }

    fn find(&self, id: PacketId) -> Option<usize> {
        self.entries
            .iter()
            .position(|entry| entry.packet_id() == id)
    }

    /// The message with that identifier, to look at.
    pub(crate) fn get(&self, id: PacketId) -> Option<&InFlight> {
        self.entries.get(self.find(id)?)
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
        if self.entries.is_empty() {
            self.is_mixed = false;
            if self.entries.capacity() > KEEP_MAX {
                self.entries = VecDeque::new();
            }
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
            lsn: Lsn::NONE,
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

    fn serials(window: &Window) -> Vec<u64> {
        window.iter().map(|entry| entry.serial).collect()
    }

    #[test]
    fn what_waits_for_its_record_follows_what_was_sent_and_is_taken_back_unseen() {
        let mut window = Window::default();
        send(&mut window);
        for _ in 0..2 {
            window.reserve().unwrap();
            window.line_up(Step::AwaitPubRec, outgoing());
        }
        assert_eq!((window.sent(), window.len()), (1, 3));
        assert_eq!(window.unrecorded().count(), 2);
        window.recorded(Lsn(7));
        assert_eq!(window.unrecorded().count(), 0);
        assert_eq!(window.next_resend().unwrap().record, Lsn(7));
        window.resent();
        let unseen = window.take_unseen();
        assert_eq!(unseen.len(), 1);
        assert_eq!((unseen[0].serial, window.sent(), window.len()), (2, 2, 2));
    }

    #[test]
    fn exchange_that_is_awaited_keeps_its_identifier_and_comes_before_what_is_newer() {
        let mut window = Window::default();
        let own = |lsn, serial| Awaited {
            queue: None,
            lsn: Lsn(lsn),
            serial,
        };
        window.restore(3, Some(own(30, 3)));
        window.restore(4, None);
        window.restore(5, Some(own(50, 5)));
        window.restore(6, Some(own(60, 6)));
        assert!(window.is_awaiting());
        assert_eq!(window.next_resend().unwrap().step, Step::AwaitPubComp);
        window.resent();
        assert_eq!(send(&mut window), 8);
        window.reserve().unwrap();
        window.line_up(Step::AwaitPubRec, outgoing());
        assert_eq!(window.arrive(Some("g"), Lsn(50)), None);
        assert_eq!(window.arrive(None, Lsn(50)), Some(5));
        assert_eq!(window.arrive(None, Lsn(50)), None);
        window.insert(5, Some(outgoing()));
        assert_eq!(window.arrive(None, Lsn(30)), Some(3));
        window.insert(3, Some(outgoing()));
        assert_eq!(serials(&window), [4, 7, 3, 5, 8]);
        assert_eq!(window.sent(), 2);
        window.give_up_own();
        assert!(!window.is_awaiting());
        window.rewind();
        assert_eq!(serials(&window), [3, 4, 5, 6, 7, 8]);
    }

    #[test]
    fn identifiers_of_awaited_exchanges_are_not_given_again() {
        let mut window = Window::default();
        let awaited = Awaited {
            queue: None,
            lsn: Lsn(1),
            serial: 0,
        };
        window.restore(0, Some(awaited));
        for expected in 2..=u16::MAX {
            assert_eq!(send(&mut window), expected);
            window.remove(id(expected)).unwrap();
        }
        assert_eq!(send(&mut window), 2, "1 is still in use");
    }

    #[test]
    fn release_that_is_not_recorded_did_not_happen() {
        let mut window = Window::default();
        for _ in 0..2 {
            window.reserve().unwrap();
            window.push(Step::AwaitPubRec, outgoing());
        }
        window.get_mut(id(1)).unwrap().step = Step::AwaitPubComp;
        window.released(None);
        assert_eq!(window.get_mut(id(1)).unwrap().step, Step::AwaitPubRec);
        window.get_mut(id(2)).unwrap().step = Step::AwaitPubComp;
        window.released(Some(Lsn(9)));
        let entry = window.get_mut(id(2)).unwrap();
        assert_eq!((entry.record, entry.outgoing.is_none()), (Lsn(9), true));
        assert_eq!(window.get_mut(id(1)).unwrap().step, Step::AwaitPubRec);
    }
}
