//! From what a node kept to a node that goes on: the newest checkpoint, then the journal's tail.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use ternmq_core::id::{Lsn, QueueId, Timestamp};
use ternmq_core::queue::{ColdChunk, Incoming, Queue};
use ternmq_core::record::state::{Begun, KeptFile, StateRecord, decode_state};
use ternmq_core::record::{self, Record, ScheduledRecord};
use ternmq_core::tags::Tags;
use ternmq_journal::{
    Checkpoints, Index, KeptSegment, Opened, Recovered, SegmentRef, SegmentedLog,
};

use crate::admin::Seed;
use crate::apply::{Replay, Replaying};
use crate::broker::{Broker, Inner};
use crate::cell::QueueCell;
use crate::checkpoint::Occasion;
use crate::clock::Clock;
use crate::config::BrokerConfig;
use crate::loader::{read_chunk, read_messages};
use crate::residency::from_core;
use crate::schedule::ScheduleId;
use crate::store::{RecoveryError, Store, StoreParts, journal_options};
use crate::work::Work;

/// Replay tells how far it is when it has taken this long, and again as often, in milliseconds.
const PROGRESS_MS: u64 = 2_000;
/// Records between two looks at the clock.
const PROGRESS_RECORDS: u64 = 50_000;

/// Chunks of a queue that are listed at once.
const AMENDED_AT_ONCE: usize = 64;

/// A dead letter that waited: for which queue, with which tags, since when.
type Held = (QueueId, Vec<u32>, Timestamp);

/// A checkpoint, read.
#[derive(Default)]
struct Checkpoint {
    number: u64,
    begun: Option<Begun>,
    kept: Vec<KeptSegment>,
    records: Vec<StateRecord>,
}

impl Broker {
    /// A broker with the data that the storage has; a new one if it is empty.
    ///
    /// [`Broker::close`] ends it in order. Without that its threads end with the last handle, and the next start has more to
    /// read.
    pub fn open(
        config: &BrokerConfig,
        clock: Arc<dyn Clock>,
        parts: StoreParts,
    ) -> Result<Self, RecoveryError> {
        let checkpoint = read_checkpoint(&parts)?;
        let begun = checkpoint.begun;
        let mut options = journal_options(&parts.config, &parts.halt)?;
        options.replay_from = Some(Index(begun.map_or(1, |begun| begun.replay_from.0)));
        options.kept.clone_from(&checkpoint.kept);
        let Opened {
            log,
            recovered,
            cut,
        } = SegmentedLog::open(parts.storage.clone(), options)?;
        if let Some(cut) = cut {
            tracing::warn!(
                file = cut.file,
                offset = cut.offset,
                "the journal's torn tail was cut: nothing of it had been confirmed"
            );
        }
        let log = Arc::new(log);
        let store = Store::new(parts, log.clone(), checkpoint.number)?;
        let broker = Self::with_store(config, clock, log, Some(store));
        let recovery = Recovery {
            inner: &broker.0,
            config,
            begun: begun.unwrap_or_default(),
            replaying: Replaying::behind(begun.map_or(Lsn::NONE, |begun| begun.apply_from)),
        };
        let owner = Arc::downgrade(&broker.0);
        // Set once: this broker is new.
        let _ = broker.0.commits.owner.set(owner);
        broker.start_keeper()?;
        if let Err(error) = recovery.run(checkpoint.records, recovered) {
            broker.stop_threads();
            return Err(error);
        }
        broker.start_threads()?;
        broker.0.look_at_disk();
        Ok(broker)
    }

    /// Ends in order: a last checkpoint, and everything that was appended is on disk. To be called when nobody is
    /// connected any more.
    pub fn close(&self) {
        let Some(store) = &self.0.store else { return };
        self.stop_threads();
        if store.log.failure().is_none() {
            self.0.make_checkpoint(store, Occasion::Stopping);
        }
        if let Err(failure) = store.log.close() {
            tracing::error!(%failure, "the journal was not closed in order");
        }
    }
}

fn read_checkpoint(parts: &StoreParts) -> Result<Checkpoint, RecoveryError> {
    let mut checkpoint = Checkpoint::default();
    let Some(mut file) = Checkpoints::newest(parts.storage.as_ref(), None)? else {
        return Ok(checkpoint);
    };
    checkpoint.number = file.number();
    let mut count = 0;
    while let Some(record) = file.next_record()? {
        count += 1;
        let record = decode_state(record, parts.formats.as_ref()).map_err(|error| {
            RecoveryError::Checkpoint {
                number: checkpoint.number,
                error,
            }
        })?;
        match record {
            StateRecord::Begun(begun) => checkpoint.begun = Some(begun),
            StateRecord::Ended { records, kept } if records == count => {
                checkpoint.kept = kept.iter().filter_map(kept_segment).collect();
            }
            record => checkpoint.records.push(record),
        }
    }
    Ok(checkpoint)
}

fn kept_segment(file: &KeptFile) -> Option<KeptSegment> {
    Some(KeptSegment {
        segment: SegmentRef::from_numbers(file.id, file.kind)?,
        end: Index(file.end.0),
    })
}

struct Recovery<'a> {
    inner: &'a Arc<Inner>,
    config: &'a BrokerConfig,
    begun: Begun,
    replaying: Replaying,
}

impl Recovery<'_> {
    fn run(mut self, state: Vec<StateRecord>, recovered: Recovered) -> Result<(), RecoveryError> {
        let started = self.inner.clock.now();
        self.inner.next_queue.fetch_max(
            self.begun.next_queue.0,
            std::sync::atomic::Ordering::Relaxed,
        );
        // Before there were objects, the configuration alone said which vhosts there are.
        for name in &self.config.vhosts {
            self.inner.add_vhost(name, Lsn::NONE);
        }
        self.apply_checkpoint(state)?;
        let from_checkpoint = self.inner.clock.now();
        let end = Lsn(recovered.last().0 + 1);
        let replayed = self.replay_tail(recovered)?;
        self.amend()?;
        self.inner.restore_policies();
        let is_new = end == Lsn(1);
        let was_clean = is_new || self.begun.clean && replayed == 0;
        let now = self.inner.clock.now();
        let mut messages = 0;
        for cell in self.inner.all_cells() {
            let mut work = Work::default();
            messages += cell.update(&mut work, |queue, effects| {
                queue.finish_replay(now, effects);
                if !was_clean {
                    queue.mark_recovered();
                }
                queue.counts().ready
            });
            self.inner.follow_up(&cell, &mut work, now);
        }
        self.inner.route_sets.begin_behind(end);
        for vhost in self.inner.all_vhosts() {
            vhost.write(|space| space.position = end);
            vhost.retained.lock().position = end;
            vhost.documents.lock().position = end;
        }
        self.settle_objects(end);
        self.inner.append_one(|out| record::started(now, out));
        self.inner.restore_services();
        if is_new {
            return Ok(());
        }
        tracing::info!(
            messages,
            queues = self.inner.all_cells().len(),
            records = replayed,
            clean = was_clean,
            checkpoint_ms = from_checkpoint.since(started),
            ms = self.inner.clock.now().since(started),
            "data read"
        );
        Ok(())
    }

    /// What the node has set from now on: what was recorded, or what the configuration begins with.
    fn settle_objects(&self, end: Lsn) {
        let is_blank = {
            let mut state = self.inner.registry.state.lock();
            state.position = end;
            state.objects.is_empty()
        };
        if is_blank {
            self.inner.seed(self.config, Seed::Recorded);
            return;
        }
        for vhost in self.inner.all_vhosts() {
            let is_known = {
                let state = self.inner.registry.state.lock();
                state.objects.vhost(&vhost.name).is_some()
            };
            if is_known {
                self.inner.limit_vhost(&vhost.name);
            } else {
                self.inner.vhosts.remove(&vhost.name);
            }
        }
    }

    fn store(&self) -> Result<&Store, RecoveryError> {
        self.inner.store.as_ref().ok_or(RecoveryError::NoStore)
    }

    /// Declarations first, then messages, then what has to be read from the journal.
    fn apply_checkpoint(&mut self, state: Vec<StateRecord>) -> Result<(), RecoveryError> {
        let (mut retained, mut held, mut scheduled) = (Vec::new(), Vec::new(), Vec::new());
        let mut page_files = BTreeSet::new();
        for record in state {
            match record {
                StateRecord::Begun(_) | StateRecord::Ended { .. } => {}
                StateRecord::Objects(position) => self.replaying.set_objects(position),
                StateRecord::Vhost(positions) => self.replaying.set_positions(positions),
                StateRecord::Plain(record) => self.declare(record)?,
                StateRecord::Queue(id, snapshot) => {
                    self.restore_queue(id, &snapshot, &mut page_files)?;
                }
                StateRecord::Retained { vhost, topic, lsn } => retained.push((lsn, (vhost, topic))),
                StateRecord::Held {
                    queue,
                    lsn,
                    tags,
                    since,
                } => held.push((lsn, (queue, tags, since))),
                StateRecord::Scheduled { lsn, scheduled: s } => scheduled.push((lsn, s)),
                StateRecord::Schedule(next) => {
                    self.inner.schedule.ids_begin_at(ScheduleId(next));
                }
            }
        }
        let store = self.store()?;
        // Pages that were written behind the checkpoint belong to nobody.
        store.pages.retire(&page_files)?;
        self.restore_retained(retained)?;
        self.restore_held(held)?;
        self.restore_scheduled(scheduled)?;
        self.note_cold(self.begun.apply_from, &self.inner.all_cells())
    }

    fn declare(&mut self, record: Record) -> Result<(), RecoveryError> {
        Replay {
            inner: self.inner,
            lsn: Lsn::NONE,
            state: &mut self.replaying,
        }
        .apply_to_state(record)?;
        Ok(())
    }

    fn restore_queue(
        &mut self,
        id: QueueId,
        snapshot: &Bytes,
        page_files: &mut BTreeSet<u32>,
    ) -> Result<(), RecoveryError> {
        // One that was declared behind the declarations of this checkpoint has all its messages in the tail.
        let Some(cell) = self.inner.find_cell(id) else {
            return Ok(());
        };
        let store = self.store()?;
        let now = self.inner.clock.now();
        let mut work = Work::default();
        cell.update(&mut work, |queue, _| {
            let settings = queue.settings().clone();
            *queue = Queue::restore_snapshot(settings, snapshot, now)
                .map_err(|error| RecoveryError::Snapshot { queue: id, error })?;
            queue.cold_parts(|_, place, _, _| {
                store.pages.restore(from_core(place));
                page_files.insert(place.file);
            });
            Ok::<_, RecoveryError>(())
        })?;
        self.inner.collect(&cell, &mut work);
        Ok(())
    }

    fn restore_retained(
        &mut self,
        mut retained: Vec<(Lsn, (Box<str>, Bytes))>,
    ) -> Result<(), RecoveryError> {
        retained.sort_unstable_by_key(|(lsn, _)| *lsn);
        let wanted: Vec<(Lsn, usize)> = retained.iter().map(|(lsn, _)| *lsn).zip(0..).collect();
        let mut failed = Ok(());
        let (inner, state) = (self.inner, &mut self.replaying);
        read_messages(
            self.inner.store.as_ref().ok_or(RecoveryError::NoStore)?,
            &wanted,
            |at, message| {
                let (lsn, (vhost, topic)) = &retained[at];
                let replay = Replay {
                    inner,
                    lsn: *lsn,
                    state: &mut *state,
                };
                if let Err(error) = replay.retain(vhost, topic, Some(message)) {
                    failed = Err(error.into());
                }
            },
        );
        failed
    }

    /// Messages that waited for their time go on doing so; those of a vhost that is gone are gone.
    fn restore_scheduled(
        &self,
        mut scheduled: Vec<(Lsn, ScheduledRecord)>,
    ) -> Result<(), RecoveryError> {
        scheduled.sort_by_key(|(lsn, _)| *lsn);
        let wanted: Vec<(Lsn, usize)> = scheduled.iter().map(|(lsn, _)| *lsn).zip(0..).collect();
        read_messages(self.store()?, &wanted, |at, message| {
            let (lsn, record) = &scheduled[at];
            self.inner.restore_scheduled(*lsn, record.clone(), message);
        });
        Ok(())
    }

    /// Dead letters that waited beside a queue are in it from now on, over its limit.
    fn restore_held(&mut self, mut held: Vec<(Lsn, Held)>) -> Result<(), RecoveryError> {
        held.sort_by_key(|(lsn, _)| *lsn);
        let mut first_of = BTreeMap::new();
        for (lsn, (queue, ..)) in &held {
            first_of.entry(*queue).or_insert(*lsn);
        }
        for (queue, lsn) in first_of {
            if let Some(cell) = self.inner.find_cell(queue) {
                self.note_cold(lsn, &[cell])?;
            }
        }
        let wanted: Vec<(Lsn, usize)> = held.iter().map(|(lsn, _)| *lsn).zip(0..).collect();
        let mut work = Work::default();
        read_messages(self.store()?, &wanted, |at, message| {
            let (lsn, (queue, tags, since)) = &held[at];
            let Some(cell) = self.inner.find_cell(*queue) else {
                return;
            };
            let incoming = Incoming {
                message,
                lsn: *lsn,
                tags: Tags::from_vec(tags.clone()),
                at_most_once: false,
            };
            cell.update(&mut work, |queue, _| queue.restore(*since, incoming, 0, 0));
            self.inner.collect(&cell, &mut work);
        });
        Ok(())
    }

    /// Tells queues which records from `from` on they have already, so that replay does not add them again.
    fn note_cold(&self, from: Lsn, cells: &[Arc<QueueCell>]) -> Result<(), RecoveryError> {
        let store = self.store()?;
        let (now, mut chunks) = (self.inner.clock.now(), Vec::new());
        for cell in cells {
            cell.look(|queue| queue.chunks_reaching(from, &mut chunks));
            for chunk in chunks.drain(..) {
                let entries = read_chunk(store, cell, &chunk, now);
                let lsns = entries.iter().map(|entry| entry.lsn);
                cell.look(|queue| queue.note_cold(lsns.filter(|lsn| *lsn >= from)));
            }
        }
        Ok(())
    }

    /// Returns how many records there were.
    fn replay_tail(&mut self, mut recovered: Recovered) -> Result<u64, RecoveryError> {
        let (inner, begun) = (self.inner, self.begun);
        let formats = self.store()?.formats.clone();
        let mut told = inner.clock.now();
        let mut count = 0_u64;
        let last = recovered.last();
        while let Some((index, record)) = recovered.next_record()? {
            let lsn = Lsn(index.0);
            let record = record::decode(record, formats.as_ref())
                .map_err(|error| crate::apply::ReplayError::Unreadable { lsn, error })?;
            count += u64::from(lsn >= begun.apply_from);
            Replay {
                inner,
                lsn,
                state: &mut self.replaying,
            }
            .apply(record)?;
            if count.is_multiple_of(PROGRESS_RECORDS)
                && inner.clock.now().since(told) >= PROGRESS_MS
            {
                told = inner.clock.now();
                tracing::info!(record = index.0, last = last.0, "reading the journal");
            }
        }
        Ok(count)
    }

    /// Carries out what the tail said about entries that are not in memory.
    fn amend(&self) -> Result<(), RecoveryError> {
        let store = self.store()?;
        let (now, mut work, mut chunks) = (
            self.inner.clock.now(),
            Work::default(),
            Vec::<ColdChunk>::new(),
        );
        for cell in self.inner.all_cells() {
            let mut after = None;
            loop {
                cell.look(|queue| queue.pending_cold(after, AMENDED_AT_ONCE, &mut chunks));
                if chunks.is_empty() {
                    break;
                }
                for chunk in chunks.drain(..) {
                    let entries = read_chunk(store, &cell, &chunk, now);
                    let was_there = cell.update(&mut work, |queue, effects| {
                        queue.amend_cold(chunk.key, entries, effects)
                    });
                    self.inner.collect(&cell, &mut work);
                    if !was_there {
                        // The keeper's thread has packed more into it meanwhile: it is looked at once more.
                        break;
                    }
                    after = Some(chunk.key);
                }
            }
        }
        Ok(())
    }
}
