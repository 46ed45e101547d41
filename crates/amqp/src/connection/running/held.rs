//! Answers to declarations and to `tx.commit`, held back until the journal is safe.
//!
//! An answer promises that what was declared survives. So it leaves when the record is committed, and until then nothing
//! more is read but further declarations, whose answers wait behind it. That keeps all answers of the connection in
//! their order, and declarations that come together wait for the disk together. Deliveries, confirms and heartbeats
//! go on.
//!
//! A commit keeps its own channel waiting, and channel 0, which may end them all: what they send next is read when it is
//! answered, with whatever is behind it. Other channels go on until then, so that their commits share the disk's work.

use ternmq_core::id::Lsn;
use ternmq_net::machine::Output;

use super::Running;
use crate::frame::{CLASS_EXCHANGE, CLASS_QUEUE, FRAME_OVERHEAD};

/// Frame types of methods and of heartbeats (§4.2.3).
const FRAME_METHOD: u8 = 1;
const FRAME_HEARTBEAT: u8 = 8;

/// Whether channels wait for their commits.
#[derive(Clone, Copy, Default)]
pub(super) struct Committing {
    /// Some may.
    any: bool,
    /// The frame that comes next waits for one of them, and all reading with it.
    stalls: bool,
}

impl Committing {
    /// Whether nothing is to be read until a commit is answered.
    pub(super) const fn stalls(self) -> bool {
        self.stalls
    }

    /// Commits were answered, as far as that can be; `any` says whether some are left.
    pub(super) const fn set_any(&mut self, any: bool) {
        self.any = any;
    }
}

/// See the module's documentation. It holds no more than the answers to one read.
#[derive(Default)]
pub(super) struct Held {
    answers: Vec<u8>,
    /// The record whose commit was asked for.
    asked: Lsn,
}

impl Held {
    pub(super) fn is_empty(&self) -> bool {
        self.answers.is_empty()
    }
}

/// Whether a frame is a method about exchanges or queues. Of a frame that is cut too short to tell it is not.
fn declares(input: &[u8]) -> bool {
    // The class id is the first thing in a method's payload.
    let class = input
        .get(FRAME_OVERHEAD - 1..)
        .and_then(<[u8]>::first_chunk);
    input.first() == Some(&FRAME_METHOD)
        && class.is_some_and(|class| is_declaring(u16::from_be_bytes(*class)))
}

/// Whether methods of this class are about exchanges or queues.
pub(super) const fn is_declaring(class_id: u16) -> bool {
    matches!(class_id, CLASS_EXCHANGE | CLASS_QUEUE)
}

impl Running {
    /// Whether the frame that comes next has to wait for answers that are held back.
    #[inline]
    pub(super) fn has_to_wait(&mut self, input: &[u8]) -> bool {
        !self.held.is_empty() && !declares(input)
            || self.committing.any && self.follows_commit(input)
    }

    /// The same for commits.
    #[cold]
    fn follows_commit(&mut self, input: &[u8]) -> bool {
        // The rest of a body frame is of a channel that had its turn already, and too little input tells nothing yet.
        let (None, Some(&[kind, c0, c1])) = (&self.partial, input.first_chunk()) else {
            return false;
        };
        self.committing.stalls = match u16::from_be_bytes([c0, c1]) {
            0 => kind != FRAME_HEARTBEAT,
            channel => {
                let session = self.channels.open_session(channel);
                session.is_some_and(|session| session.awaits_commit())
            }
        };
        self.committing.stalls
    }

    /// A declaration was answered from that place in the output on: holds the answer back if it comes too early.
    pub(super) fn hold_uncommitted(&mut self, from: usize, out: &mut Output) {
        let client = &self.shared.client;
        if !self.held.is_empty() || client.committed() < client.declared() {
            self.held.answers.extend(out.buf().drain(from..));
        }
    }

    /// The journal got on: what waited for a commit is looked at again.
    pub(in crate::connection) fn unstall(&mut self) {
        self.committing.stalls = false;
    }

    /// Something was answered from that place in the output on: it goes behind what is held back.
    pub(super) fn hold_behind(&mut self, from: usize, out: &mut Output) {
        if !self.held.is_empty() {
            self.held.answers.extend(out.buf().drain(from..));
        }
    }

    /// Asks to be told when what is held back may leave.
    pub(super) fn await_commit(&mut self) {
        let client = &mut self.shared.client;
        let declared = client.declared();
        if !self.held.is_empty() && self.held.asked != declared {
            self.held.asked = declared;
            client.notify_commit(declared);
        }
    }

    /// Writes what was held back, if the journal's watermark allows it.
    pub(in crate::connection) fn answer_declarations(&mut self, out: &mut Output) {
        let client = &self.shared.client;
        if !self.held.is_empty() && client.declared() <= client.committed() {
            out.buf().append(&mut self.held.answers);
            self.held = Held::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_about_exchanges_and_queues_are_told_from_all_else() {
        let frame = |kind: u8, class: u8| [kind, 0, 1, 0, 0, 0, 4, 0, class, 0, 10, 0xCE];
        assert!(declares(&frame(1, 40)) && declares(&frame(1, 50)));
        for (kind, class) in [
            (1, 60),
            (1, 20),
            (1, 10),
            (1, 90),
            (2, 50),
            (3, 40),
            (8, 50),
        ] {
            assert!(!declares(&frame(kind, class)), "{kind} {class}");
        }
        let whole = frame(1, 50);
        for len in 0..9 {
            assert!(!declares(&whole[..len]), "{len}");
        }
    }
}
