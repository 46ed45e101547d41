//! Messages that come back into memory: pages are read, then the journal, then a queue goes on where it had to stop.
//!
//! Nobody holds a queue's lock while the disk is read. Whoever loads a queue holds its `loading` lock meanwhile, so that
//! a `get` that finds the head not there waits for the loader, if that is at it, or loads it itself.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use ternmq_core::id::{Lsn, Timestamp};
use ternmq_core::message::Message;
use ternmq_core::queue::{ColdChunk, ColdEntry, Effects, PartSource, Purpose, Queue, decode_part};
use ternmq_core::record;
use ternmq_journal::Index;

use crate::broker::Inner;
use crate::cell::QueueCell;
use crate::residency::from_core;
use crate::store::Store;
use crate::work::Work;

/// One look at a queue loads so many messages, and so many bytes of them, at most; at least one chunk.
const LOAD_MESSAGES_MAX: usize = 2048;
const LOAD_BYTES_MAX: u64 = 1 << 20;

impl Inner {
    /// A queue needs something that is not in memory.
    pub(crate) fn want_cold(&self, cell: &Arc<QueueCell>) {
        let Some(store) = &self.store else { return };
        if !cell.is_awaited.swap(true, Ordering::AcqRel) {
            store.loads.push(cell.clone());
        }
    }

    /// What the loader's thread does with a queue.
    pub(crate) fn load_wanted(&self, store: &Store, cell: &Arc<QueueCell>, work: &mut Work) {
        // Before the look: what is wanted behind it comes into the inbox anew.
        cell.is_awaited.store(false, Ordering::Release);
        self.load(store, cell, work, |_, _| {});
    }

    /// Has a queue's head loaded, for somebody who can't wait for a notice. `step` is done with the queue under the lock
    /// under which the head came back: where memory is short it may leave again as soon as that is released, and whoever
    /// asked for it then might do so for ever. False if there is nothing to load from.
    pub(crate) fn load_head(
        &self,
        cell: &Arc<QueueCell>,
        work: &mut Work,
        step: impl FnMut(&mut Queue, &mut Effects),
    ) -> bool {
        let Some(store) = &self.store else {
            return false;
        };
        // Behind the loader, if that is at it; then nothing may be left to load.
        self.load(store, cell, work, step);
        true
    }

    /// Loads what a queue wants; `step` is done before and after each chunk.
    fn load(
        &self,
        store: &Store,
        cell: &Arc<QueueCell>,
        work: &mut Work,
        mut step: impl FnMut(&mut Queue, &mut Effects),
    ) {
        let _loading = cell.loading.lock();
        let now = self.clock.now();
        // What is read ahead where memory is short leaves before it is needed.
        let (messages_max, bytes_max) = if self.is_short_of_memory(store) {
            (0, 0)
        } else {
            (LOAD_MESSAGES_MAX, LOAD_BYTES_MAX)
        };
        let mut wanted = Vec::new();
        cell.update(work, |queue, effects| {
            step(queue, effects);
            queue.wanted_cold(now, messages_max, bytes_max, &mut wanted);
        });
        self.follow_up(cell, work, now);
        for chunk in &wanted {
            let entries = read_chunk(store, cell, chunk, now);
            let _inside = self.gate.enter();
            cell.update(work, |queue, effects| {
                match chunk.purpose {
                    Purpose::Expire => queue.expire_cold(now, chunk.key, entries, effects),
                    _ => queue.thaw(now, chunk.key, entries, effects),
                };
                step(queue, effects);
            });
            self.follow_up(cell, work, now);
        }
    }

    /// Purges what is not in memory, chunk by chunk. Returns how many messages that were.
    pub(crate) fn purge_cold(
        &self,
        cell: &Arc<QueueCell>,
        messages_max: u64,
        work: &mut Work,
    ) -> u64 {
        let Some(store) = &self.store else { return 0 };
        let _loading = cell.loading.lock();
        let (mut purged, mut wanted) = (0, Vec::new());
        while purged < messages_max {
            let now = self.clock.now();
            cell.look(|queue| queue.wanted_for_purge(1, &mut wanted));
            let Some(chunk) = wanted.pop() else { break };
            let entries = read_chunk(store, cell, &chunk, now);
            let _inside = self.gate.enter();
            purged += cell.update(work, |queue, effects| {
                queue.purge_cold(now, chunk.key, entries, effects)
            });
            self.follow_up(cell, work, now);
        }
        purged
    }
}

/// The entries of a chunk, with the messages that are needed. What cannot be read is missing: an entry that has no
/// message then, or all entries of a damaged page.
pub(crate) fn read_chunk(
    store: &Store,
    cell: &QueueCell,
    chunk: &ColdChunk,
    now: Timestamp,
) -> Vec<ColdEntry> {
    let mut entries = Vec::with_capacity(chunk.entries as usize);
    let mut page = Vec::new();
    for part in &chunk.parts {
        let decoded = match part {
            PartSource::Memory(bytes) => decode_part(bytes, store.formats.as_ref()),
            PartSource::Disk(place) => {
                match store.pages_of(cell).read(from_core(*place), &mut page) {
                    Ok(Ok(())) => decode_part(&page, store.formats.as_ref()),
                    Ok(Err(flaw)) => {
                        tracing::error!(%flaw, ?place, queue = %cell.name, vhost = %cell.vhost.name, "damaged page: its messages cannot be delivered");
                        continue;
                    }
                    Err(failure) => {
                        (store.halt)(&failure);
                        continue;
                    }
                }
            }
        };
        match decoded {
            Ok(decoded) => entries.extend(decoded),
            Err(error) => {
                tracing::error!(%error, queue = %cell.name, vhost = %cell.vhost.name, "unreadable page: its messages cannot be delivered");
            }
        }
    }
    let mut wanted: Vec<(Lsn, usize)> = (0..)
        .zip(&entries)
        .filter(|(_, entry)| chunk.needs_message(entry, now))
        .map(|(at, entry)| (entry.lsn, at))
        .collect();
    wanted.sort_unstable();
    read_messages(store, &wanted, |at, message| {
        if let Some(entry) = entries.get_mut(at) {
            entry.message = Some(message);
        }
    });
    entries
}

/// Reads messages by their records, ascending; what goes with each is handed back. One that is damaged is logged
/// and passed over.
pub(crate) fn read_messages<T: Copy>(
    store: &Store,
    wanted: &[(Lsn, T)],
    mut found: impl FnMut(T, Message),
) {
    let indexes: Vec<Index> = wanted.iter().map(|(lsn, _)| Index(lsn.0)).collect();
    let mut of = wanted.iter();
    let read = store.reader.read(&indexes, &mut |index, record| {
        let Some(&(_, with)) = of.next() else { return };
        let message = match record {
            Ok(record) => record::message_of(record, store.formats.as_ref())
                .map_err(|error| error.to_string()),
            Err(flaw) => Err(flaw.to_string()),
        };
        match message {
            Ok(message) => found(with, message),
            Err(error) => {
                tracing::error!(
                    lsn = index.0,
                    error,
                    "a message cannot be read, and is not delivered"
                );
            }
        }
    });
    if let Err(failure) = read {
        (store.halt)(&failure);
    }
}
