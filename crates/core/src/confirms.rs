//! Confirms owed to a publisher.
//!
//! Every publish on a channel has a sequence number; it is answered when its record is committed, or refused at
//! once. Answers leave in publish order, as cumulative acks between refusals, so that an ack never speaks for a
//! message that is still owed or was refused without the refusal having gone out before it.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::id::Lsn;

/// An answer to a publisher.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Confirm {
    /// Taken.
    Ack {
        /// This sequence number, and with `multiple` all before it that had no answer yet.
        up_to: u64,
        /// Whether it speaks for more than one.
        multiple: bool,
    },
    /// Refused.
    Nack {
        /// This one alone.
        sequence: u64,
    },
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// Ack when this is committed.
    Commit(Lsn),
    Nack,
}

/// Publishes in a row with the same answer.
struct Run {
    last: u64,
    messages: u64,
    answer: Answer,
}

/// The answers that one channel is owed.
#[derive(Default)]
pub struct Confirms {
    runs: VecDeque<Run>,
    messages: u64,
}

impl Confirms {
    /// Nothing owed.
    pub const fn new() -> Self {
        Self {
            runs: VecDeque::new(),
            messages: 0,
        }
    }

    /// Owes an ack for the next publish once `lsn` is committed; [`Lsn::NONE`] needs nothing but its turn. Sequence
    /// numbers rise from call to call.
    pub fn owe(&mut self, sequence: u64, lsn: Lsn) {
        self.push(sequence, Answer::Commit(lsn));
    }

    /// Owes a refusal for the next publish.
    pub fn reject(&mut self, sequence: u64) {
        self.push(sequence, Answer::Nack);
    }

    fn push(&mut self, sequence: u64, answer: Answer) {
        self.messages += 1;
        if let Some(back) = self.runs.back_mut() {
            debug_assert!(back.last < sequence, "tickets come in publish order");
            // What needs no commit waits for its turn only: it can join any owed run.
            let joins = answer == back.answer || answer == Answer::Commit(Lsn::NONE);
            if joins && back.answer != Answer::Nack {
                back.last = sequence;
                back.messages += 1;
                return;
            }
        }
        self.runs.push_back(Run {
            last: sequence,
            messages: 1,
            answer,
        });
    }

    /// Appends the answers that are due now that everything up to `committed` is.
    pub fn poll(&mut self, committed: Lsn, out: &mut Vec<Confirm>) {
        let mut due: Option<(u64, bool)> = None;
        while let Some(run) = self.runs.front() {
            match run.answer {
                Answer::Commit(lsn) if lsn > committed => break,
                Answer::Commit(_) => due = Some((run.last, due.is_some() || run.messages > 1)),
                Answer::Nack => {
                    let sequence = run.last;
                    out.extend(
                        due.take()
                            .map(|(up_to, multiple)| Confirm::Ack { up_to, multiple }),
                    );
                    out.push(Confirm::Nack { sequence });
                }
            }
            self.messages -= run.messages;
            self.runs.pop_front();
        }
        out.extend(due.map(|(up_to, multiple)| Confirm::Ack { up_to, multiple }));
    }

    /// How many publishes wait for their answer.
    pub fn owed(&self) -> u64 {
        self.messages
    }

    /// Whether nothing is owed.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }
}

#[cfg(test)]
mod tests;
