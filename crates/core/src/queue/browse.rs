//! Looking at messages without taking them. What is cold stays cold: it is named, for the shell to read.

use alloc::vec::Vec;

use super::cold::{ColdChunk, Purpose};
use super::lane::{CHUNK_SLOTS, Chunk, Lane};
use super::ready::{Entry, NEVER, State};
use super::{ColdEntry, ConsumerKey, Queue};
use crate::id::{Lsn, Timestamp};
use crate::message::Message;
use crate::tags::Tags;

/// Who has a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Holder {
    /// Nobody: it waits.
    Nobody,
    /// It is in the list of this consumer, not drained.
    Assigned(ConsumerKey),
    /// It was drained by this consumer, and is not settled.
    Consumer(ConsumerKey),
    /// Somebody got it without being a consumer, and has not settled it.
    Getter,
}

/// A message as it stands in a queue.
#[derive(Clone, Debug)]
pub struct Browsed {
    /// The message.
    pub message: Message,
    /// Its journal record; [`Lsn::NONE`] if it has none.
    pub lsn: Lsn,
    /// Tags of the bindings that led it here.
    pub tags: Tags,
    /// When it came.
    pub enqueued_at: Timestamp,
    /// When its time is over, if ever.
    pub expires_at: Option<Timestamp>,
    /// Completed takings.
    pub attempts: u32,
    /// How many of those counted as failed.
    pub failures: u32,
    /// Who has it.
    pub holder: Holder,
    /// Since when, if it was drained or got.
    pub held_since: Option<Timestamp>,
}

impl Browsed {
    fn of(entry: &Entry) -> Self {
        let taken_at = entry.enqueued_at.plus_ms(entry.waited_ms.into());
        let (holder, held_since) = match entry.state {
            State::Ready => (Holder::Nobody, None),
            State::Assigned(key) => (Holder::Assigned(key), None),
            State::Leased(ConsumerKey::NOBODY) => (Holder::Getter, Some(taken_at)),
            State::Leased(key) => (Holder::Consumer(key), Some(taken_at)),
        };
        Self {
            message: entry.message.clone(),
            lsn: entry.lsn,
            tags: entry.tags.clone(),
            enqueued_at: entry.enqueued_at,
            expires_at: Some(entry.expire_at).filter(|at| *at != NEVER),
            attempts: entry.attempts,
            failures: entry.failures,
            holder,
            held_since,
        }
    }

    /// One that was read from a cold chunk of a queue with that time to live; none if its message could not be.
    pub fn of_cold(entry: ColdEntry, queue_ttl_ms: Option<u64>) -> Option<Self> {
        Some(Self {
            expires_at: entry.deadline(queue_ttl_ms),
            message: entry.message?,
            lsn: entry.lsn,
            tags: entry.tags,
            enqueued_at: entry.enqueued_at,
            attempts: entry.attempts,
            failures: entry.failures,
            holder: Holder::Nobody,
            held_since: None,
        })
    }
}

/// Ready messages in a row.
#[derive(Clone, Debug)]
pub enum Stretch {
    /// One that is in memory.
    One(Browsed),
    /// Some of those of a cold chunk: pass over `skip` of them and take `take`.
    Cold {
        /// The chunk, to be read.
        chunk: ColdChunk,
        /// How many to pass over.
        skip: usize,
        /// How many to take.
        take: usize,
    },
}

/// How many ready messages to pass over, and how many to take.
struct Wanted {
    skip: u64,
    take: usize,
}

impl Wanted {
    /// Of so many in a row: how many are passed over, and how many are taken.
    fn of(&mut self, count: u64) -> (usize, usize) {
        let skip = self.skip.min(count);
        self.skip -= skip;
        let take = usize::try_from(count - skip).map_or(self.take, |left| left.min(self.take));
        self.take -= take;
        (usize::try_from(skip).unwrap_or(usize::MAX), take)
    }

    fn takes_one(&mut self) -> bool {
        self.of(1).1 == 1
    }
}

impl Queue {
    /// Looks at up to `count` ready messages, in the order in which they would be delivered, from the `from`th on. Time
    /// is spent on those that are taken, and little on whole chunks that are passed over.
    pub fn browse_ready(&self, from: u64, count: usize, out: &mut Vec<Stretch>) {
        let mut wanted = Wanted {
            skip: from,
            take: count,
        };
        for (priority, lane) in self.lanes.kept().rev() {
            self.browse_lane((priority, lane), &mut wanted, out);
        }
        if let Some(lane) = self.lanes.at_most_once() {
            self.browse_lane((0, lane), &mut wanted, out);
        }
    }

    fn browse_lane(
        &self,
        (priority, lane): (u8, &Lane),
        wanted: &mut Wanted,
        out: &mut Vec<Stretch>,
    ) {
        let returned = lane.returned.iter().filter_map(|at| lane.entry(*at));
        for entry in returned {
            if wanted.takes_one() {
                out.push(Stretch::One(Browsed::of(entry)));
            }
        }
        let start = lane.cursor.max(lane.base);
        let Some((first, mut slot)) = lane.locate(start) else {
            return;
        };
        for (index, chunk) in lane.chunks.iter().enumerate().skip(first) {
            if wanted.take == 0 {
                return;
            }
            let cold_live = chunk.cold.as_ref().map_or(0, |cold| u64::from(cold.live));
            let all = u64::from(chunk.live) + cold_live;
            if slot == 0 && all <= wanted.skip {
                wanted.skip -= all;
                continue;
            }
            let sequence = lane.base + (index * CHUNK_SLOTS) as u64;
            let cold = |purpose| {
                let cold = chunk.cold.as_deref()?;
                Some(self.chunk_to_read((priority, sequence), cold, purpose))
            };
            browse_chunk(chunk, core::mem::take(&mut slot), cold, wanted, out);
        }
    }

    /// Looks at up to `count` messages that consumers or getters have, oldest first within a priority.
    pub fn browse_in_flight(&self, count: usize, out: &mut Vec<Browsed>) {
        let lanes = self.lanes.kept().map(|(_, lane)| lane).rev();
        let lanes = lanes.chain(self.lanes.at_most_once());
        let entries = lanes.flat_map(Lane::before_cursor);
        let taken = entries.filter(|entry| entry.state != State::Ready);
        out.extend(taken.take(count).map(Browsed::of));
    }
}

fn browse_chunk(
    chunk: &Chunk,
    from: usize,
    cold: impl FnOnce(Purpose) -> Option<ColdChunk>,
    wanted: &mut Wanted,
    out: &mut Vec<Stretch>,
) {
    let cold_from = chunk.cold.as_ref().map(|cold| usize::from(cold.from));
    let split = cold_from.unwrap_or(CHUNK_SLOTS);
    let resident = |slots: core::ops::Range<usize>, wanted: &mut Wanted, out: &mut Vec<Stretch>| {
        for slot in slots {
            if let Some(Some(entry)) = chunk.slot(slot)
                && wanted.takes_one()
            {
                out.push(Stretch::One(Browsed::of(entry)));
            }
        }
    };
    resident(from..split, wanted, out);
    if let Some(described) = &chunk.cold {
        let (skip, take) = wanted.of(described.live.into());
        if take > 0
            && let Some(chunk) = cold(Purpose::Browse)
        {
            out.push(Stretch::Cold { chunk, skip, take });
        }
    }
    resident(split.max(from)..chunk.filled(), wanted, out);
}

impl Lane {
    /// Entries before the cursor: those that are taken, and those that came back.
    fn before_cursor(&self) -> impl Iterator<Item = &Entry> {
        let strays = self.strays.values();
        let slots = usize::try_from(self.cursor.saturating_sub(self.base)).unwrap_or(usize::MAX);
        let chunks = self.chunks.iter().take(slots.div_ceil(CHUNK_SLOTS));
        let entries = chunks.flat_map(|chunk| chunk.slots.iter().flatten());
        strays.chain(entries)
    }
}
