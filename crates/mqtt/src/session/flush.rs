//! The end of a read: its publishes, with the documents that change with them, in one batch; then the answers, once
//! what they promise is safe.

use ternmq_broker::{LogError, Published, Settlement, Turn};
use ternmq_core::id::{Lsn, Position, Timestamp};
use ternmq_core::queue::Outcome;

use super::documents::{self, Subject};
use super::publish::{TurnRetain, forget, remember};
use super::window::Lease;
use super::{Active, Live};
use crate::codec;
use crate::error::acknowledge_reason;
use crate::frame::{PacketId, PacketType};
use crate::reason_code::ReasonCode;

/// An answer that waits for the journal.
#[derive(Debug)]
pub(crate) struct Owed {
    lsn: Lsn,
    answer: Answer,
}

#[derive(Debug)]
enum Answer {
    /// PUBACK, PUBREC, PUBREL or PUBCOMP.
    Ack(PacketType, PacketId, ReasonCode),
    /// Anything else, as it is sent.
    Packet(Box<[u8]>),
}

impl Owed {
    pub(super) fn is(&self, packet: PacketType, packet_id: PacketId) -> bool {
        matches!(self.answer, Answer::Ack(p, id, _) if (p, id) == (packet, packet_id))
    }
}

impl Active<'_> {
    /// Hands the turn to the broker, then the retained messages, then notes or writes the answers.
    pub(super) fn flush_publishes(&mut self, now: Timestamp, out: &mut Vec<u8>) {
        let Live {
            turn,
            turn_acks,
            turn_retains,
            documents,
            ..
        } = &*self.live;
        if turn.is_empty()
            && turn_acks.is_empty()
            && turn_retains.is_empty()
            && documents.is_empty()
        {
            return;
        }
        let handed = self.hand_over(now);
        self.wait_for(self.live.read_on_at);
        let mut lsn = handed.unwrap_or(Lsn::NONE);
        lsn = lsn.max(self.retain());
        if handed.is_err() {
            self.take_back();
        }
        lsn = lsn.max(self.refuse());
        let Live {
            owed, turn_acks, ..
        } = &mut *self.live;
        owed.extend(turn_acks.drain(..).map(|ack| Owed {
            lsn,
            answer: Answer::Ack(ack.packet, ack.packet_id, ack.reason),
        }));
        self.acknowledge(out);
        if self.live.owed.back().is_some_and(|owed| owed.lsn == lsn) {
            self.live.client.notify_commit(lsn);
        }
    }

    /// Publishes the turn, in one batch with the documents and what is released. Returns the record that covers it.
    fn hand_over(&mut self, now: Timestamp) -> Result<Lsn, LogError> {
        let Live {
            client,
            turn,
            documents,
            releases,
            rejected,
            read_on_at,
            ..
        } = &mut *self.live;
        rejected.clear();
        if documents.is_empty() {
            debug_assert!(releases.is_empty(), "a release changes a document");
            return Ok(noted(&client.publish(turn, now), rejected, read_on_at));
        }
        for change in documents.drain(..) {
            turn.push_document(change);
        }
        let by_source = by_source(releases);
        let sources = &self.kept.sources;
        let mut settlements = Vec::with_capacity(by_source.len());
        for (source, positions) in &by_source {
            let source = sources.get(usize::from(*source));
            if let Some(queue) = source.and_then(|source| source.queue.as_ref()) {
                settlements.push(Settlement {
                    queue,
                    positions,
                    outcome: Outcome::Ack,
                });
            }
        }
        let handed = match client.commit(turn, &settlements, now) {
            Ok(published) => Ok(noted(&published, rejected, read_on_at)),
            Err(error) => {
                tracing::warn!(%error, "journal refused publishes and documents");
                rejected.extend(0..turn.len());
                *turn = Turn::new();
                Err(error)
            }
        };
        self.kept.window.released(handed.ok());
        self.kept.last_record = self.kept.last_record.max(handed.unwrap_or(Lsn::NONE));
        handed
    }

    /// Retains what is to be retained. Returns the record that covers it.
    fn retain(&mut self) -> Lsn {
        let Live {
            client,
            turn_acks,
            turn_retains,
            rejected,
            ..
        } = &mut *self.live;
        let mut lsn = Lsn::NONE;
        for TurnRetain {
            index,
            ack,
            message,
        } in turn_retains.drain(..)
        {
            if is_rejected(rejected, index) {
                continue;
            }
            let topic = message.routing_key().to_vec();
            let kept = Some(message).filter(|message| !message.body().is_empty());
            match client.retain(&topic, kept) {
                Ok(retained) => lsn = lsn.max(retained),
                Err(refusal) => {
                    if let Some(ack) = ack.and_then(|at| turn_acks.get_mut(at)) {
                        ack.reason = acknowledge_reason(&refusal);
                    }
                }
            }
        }
        lsn
    }

    /// The batch was refused: what was to be recorded with it did not happen, and is not answered as if it had.
    fn take_back(&mut self) {
        let received = &mut self.kept.received;
        self.live.turn_acks.retain_mut(|ack| match ack.packet {
            PacketType::PubComp => {
                if ack.reason == ReasonCode::Success {
                    remember(received, ack.packet_id);
                }
                false
            }
            PacketType::PubRel => false,
            PacketType::PubRec if !ack.is_repeat && !ack.reason.is_error() => {
                ack.reason = ReasonCode::QuotaExceeded;
                true
            }
            _ => true,
        });
    }

    /// Ends the exchanges of publishes that were refused. Returns the record to wait for before that is told.
    fn refuse(&mut self) -> Lsn {
        let is_durable = self.kept.is_durable();
        let Live {
            turn_acks,
            limits,
            pubacks_owed,
            rejected,
            documents,
            ..
        } = &mut *self.live;
        let id = &self.identity.client_id;
        let received = &mut self.kept.received;
        turn_acks.retain_mut(|ack| {
            if is_rejected(rejected, ack.index) {
                ack.reason = ReasonCode::QuotaExceeded;
            }
            let is_publish = matches!(ack.packet, PacketType::PubAck | PacketType::PubRec);
            if !is_publish || !ack.reason.is_error() {
                return true;
            }
            if ack.packet == PacketType::PubRec {
                forget(received, ack.packet_id);
                if is_durable {
                    let subject = Subject::Received(ack.packet_id);
                    documents.push(documents::remove(id, subject));
                }
            }
            if !limits.version.is_v5() {
                // It can't be told: the client sends it again when it connects again.
                *pubacks_owed -= usize::from(ack.packet == PacketType::PubAck);
            }
            limits.version.is_v5()
        });
        self.put_documents().unwrap_or_else(|error| {
            tracing::warn!(%error, "packet identifiers of refused publishes stay known");
            Lsn::NONE
        })
    }

    /// Writes the answers whose publishes are safe.
    pub(crate) fn acknowledge(&mut self, out: &mut Vec<u8>) {
        let Live {
            client,
            owed,
            pubacks_owed,
            limits,
            counted,
            ..
        } = &mut *self.live;
        if owed.is_empty() {
            return;
        }
        let committed = client.committed();
        let mut confirmed = 0;
        while let Some(Owed { answer, .. }) = owed.pop_front_if(|owed| owed.lsn <= committed) {
            counted.packets_sent += 1;
            match answer {
                Answer::Ack(packet, packet_id, reason) => {
                    *pubacks_owed -= usize::from(packet == PacketType::PubAck);
                    let is_publish = matches!(packet, PacketType::PubAck | PacketType::PubRec);
                    confirmed += u64::from(is_publish && !reason.is_error());
                    codec::puback(out, limits.version, packet, packet_id, reason);
                }
                Answer::Packet(bytes) => out.extend_from_slice(&bytes),
            }
        }
        if confirmed > 0 {
            client.count_confirmed(confirmed);
        }
    }

    /// Sends a packet once `lsn` is committed, behind all answers that wait already.
    pub(super) fn answer_when(&mut self, lsn: Lsn, packet: Vec<u8>, out: &mut Vec<u8>) {
        if self.is_committed(lsn) {
            self.live.counted.packets_sent += 1;
            out.extend_from_slice(&packet);
            return;
        }
        self.live.owed.push_back(Owed {
            lsn,
            answer: Answer::Packet(packet.into()),
        });
        self.live.client.notify_commit(lsn);
    }
}

/// Takes down what a publish came to. Returns its record.
fn noted(published: &Published<'_>, rejected: &mut Vec<usize>, read_on_at: &mut Lsn) -> Lsn {
    rejected.extend_from_slice(published.rejected);
    if published.slow_down {
        *read_on_at = published.lsn;
    }
    published.lsn
}

/// Leases by the number of their source.
fn by_source(leases: &mut Vec<Lease>) -> Vec<(u16, Vec<Position>)> {
    let mut by_source: Vec<(u16, Vec<Position>)> = Vec::new();
    for lease in leases.drain(..) {
        let known = by_source
            .iter_mut()
            .find(|(source, _)| *source == lease.source);
        match known {
            Some((_, positions)) => positions.push(lease.position),
            None => by_source.push((lease.source, vec![lease.position])),
        }
    }
    by_source
}

fn is_rejected(rejected: &[usize], index: Option<usize>) -> bool {
    index.is_some_and(|at| rejected.binary_search(&at).is_ok())
}
