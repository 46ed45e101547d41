//! Checkpoints: the state of the node in a file, so that a start reads that and the journal's tail only.
//!
//! Nobody stops for a checkpoint. It begins at a record below which everything has been applied (`apply_from`), and then
//! looks at one vhost after another and one queue after another, each under its own lock for a moment. So it may hold
//! more than what was true at its beginning, never less: records from `apply_from` on are applied to it again, and that
//! changes nothing for what it has already.
//!
//! ```text
//!  replay_from            apply_from                                        end of the journal
//! ──────┼──────────────────────┼──────── vhosts, queues are looked at ───────────┼──►
//!       │ lists of targets     │                                                 │ all of it on disk, pages too:
//!       │ that later records   │ every verb that had begun before has ended      │ only now the file gets its name
//!       │ may name             │
//! ```
//! Two waits at the gate make these two places: behind the first one nobody names a list of targets that was written
//! before `replay_from`, behind the second one nobody is about to apply a record before `apply_from`. A third one, at
//! the end, makes sure that what verbs changed before a queue was looked at is in the journal behind it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use ternmq_core::id::{Lsn, QueueId};
use ternmq_core::record;
use ternmq_core::record::state::{self, Begun, VhostPositions};
use ternmq_core::topology::QueueEntry;
use ternmq_journal::{Batch, CheckpointWriter, Checkpoints, Failure, Index, LogError};

use crate::broker::{Broker, Inner};
use crate::inbox::Inbox;
use crate::reclaim::{DiskSpace, Liveness};
use crate::store::Store;
use crate::vhost::{Space, Vhost};

/// A checkpoint is not made before the journal has grown by so many times the size of the last one, so that
/// checkpoints are a small part of what is written.
const GROWTH_PER_CHECKPOINT_BYTE: u64 = 8;

/// A journal that grew by less than this is left alone when it becomes quiet.
const QUIET_BYTES_MIN: u64 = 256 * 1024;

/// When checkpoints are made.
pub(crate) struct Checkpointing {
    /// The journal's length, in bytes since the start, at which the next one is due.
    due_at: AtomicU64,
    /// How long the journal was at the last one, and when it was last looked whether anything happens.
    done_at: AtomicU64,
    seen_at: AtomicU64,
    pending: AtomicBool,
    pub(crate) wishes: Arc<Inbox<()>>,
}

impl Checkpointing {
    pub(crate) fn new(every_bytes: u64) -> Self {
        Self {
            due_at: AtomicU64::new(every_bytes),
            done_at: AtomicU64::new(0),
            seen_at: AtomicU64::new(0),
            pending: AtomicBool::new(false),
            wishes: Arc::default(),
        }
    }

    /// The journal has that many bytes now.
    pub(crate) fn look(&self, written_bytes: u64) {
        if written_bytes >= self.due_at.load(Ordering::Relaxed) {
            self.wish();
        }
    }

    /// To be called now and then: when it has become quiet after much was going on, a checkpoint gives back what room it
    /// can.
    pub(crate) fn look_for_quiet(&self, written_bytes: u64) {
        let was_quiet = self.seen_at.swap(written_bytes, Ordering::Relaxed) == written_bytes;
        let since = written_bytes.saturating_sub(self.done_at.load(Ordering::Relaxed));
        if was_quiet && since >= QUIET_BYTES_MIN {
            self.wish();
        }
    }

    /// One is made soon.
    pub(crate) fn wish(&self) {
        if !self.pending.swap(true, Ordering::AcqRel) {
            self.wishes.push(());
        }
    }
}

/// Whether this is the last one before the end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Occasion {
    /// The journal has grown, or the disk is short of room.
    Running,
    /// Nobody is connected any more.
    Stopping,
}

impl Broker {
    /// Makes a checkpoint now, on the caller's thread, and waits for it. For tests.
    #[doc(hidden)]
    pub fn checkpoint(&self) {
        if let Some(store) = &self.0.store {
            self.0.make_checkpoint(store, Occasion::Running);
        }
    }
}

impl Inner {
    /// What the checkpointer's thread does with a wish.
    pub(crate) fn make_wished_checkpoint(&self, store: &Store) {
        // The journal's growth asks for no other one while this one is made.
        let checkpointing = &store.checkpointing;
        checkpointing.due_at.store(u64::MAX, Ordering::Relaxed);
        checkpointing.pending.store(false, Ordering::Release);
        self.make_checkpoint(store, Occasion::Running);
    }

    /// Makes a checkpoint and gives back the space that it makes free.
    pub(crate) fn make_checkpoint(&self, store: &Store, occasion: Occasion) {
        let mut space = store.space.lock();
        let written = store.log.written_bytes();
        let checkpointing = &store.checkpointing;
        checkpointing.done_at.store(written, Ordering::Relaxed);
        match self.try_checkpoint(store, &mut space, occasion) {
            Ok(bytes) => {
                let step = store
                    .config
                    .checkpoint_bytes
                    .max(bytes.saturating_mul(GROWTH_PER_CHECKPOINT_BYTE));
                store
                    .checkpointing
                    .due_at
                    .store(written.saturating_add(step), Ordering::Relaxed);
            }
            Err(failure) if ternmq_journal::is_out_of_room(&failure.error) => {
                tracing::warn!(%failure, "no room for a checkpoint");
                let next = written.saturating_add(store.config.checkpoint_bytes / 4);
                store.checkpointing.due_at.store(next, Ordering::Relaxed);
            }
            Err(failure) => (store.halt)(&failure),
        }
    }
}

/// A checkpoint that is being written.
struct Writing<'a> {
    file: CheckpointWriter,
    records: u64,
    record: Vec<u8>,
    snapshot: Vec<u8>,
    live: &'a mut Liveness,
    /// Page files that it refers to.
    page_files: BTreeSet<u32>,
}

impl Writing<'_> {
    fn push(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Result<(), Failure> {
        self.record.clear();
        write(&mut self.record);
        self.records += 1;
        self.file.push(&self.record)
    }

    fn push_all(&mut self, batch: &Batch) -> Result<(), Failure> {
        for record in batch.iter() {
            self.records += 1;
            self.file.push(record)?;
        }
        Ok(())
    }
}

impl Inner {
    /// Returns the checkpoint's length in bytes.
    fn try_checkpoint(
        &self,
        store: &Store,
        space: &mut DiskSpace,
        occasion: Occasion,
    ) -> Result<u64, Failure> {
        // Both take room before they give some. A checkpoint gives room back without them.
        if_room(self.move_sparse_pages(store))?;
        let copied = if_room(self.copy_sparse_segments(store, space))?.unwrap_or_default();
        let begun = self.begin_checkpoint(occasion);
        // Where a record lies is known only when it was written: until then its segment seems to end before it, or is
        // not there at all.
        if wait_durable(store, begun.replay_from).is_err() {
            return Ok(0);
        }
        let mut live = Liveness::new(store.log.segments(), begun.replay_from, copied);
        let number = space.checkpoint + 1;
        let mut writing = Writing {
            file: CheckpointWriter::create(store.storage.clone(), store.id, number)?,
            records: 0,
            record: Vec::new(),
            snapshot: Vec::new(),
            live: &mut live,
            page_files: BTreeSet::new(),
        };
        writing.push(|out| state::begun(&begun, out))?;
        // Before the queues: a letter that goes into its queue meanwhile is seen twice, never not at all.
        self.write_held(&mut writing)?;
        self.write_schedule(&mut writing)?;
        for vhost in self.write_objects(&mut writing)? {
            write_vhost(&vhost, &mut writing)?;
        }
        for cell in self.all_cells() {
            if cell.durable {
                cell.write_snapshot(&mut writing)?;
            }
        }
        let kept = writing.live.kept();
        let records = writing.records + 1;
        writing.push(|out| state::ended(records, &kept, out))?;
        let Writing {
            file, page_files, ..
        } = writing;
        store.pages.sync()?;
        self.gate.pass();
        if wait_durable(store, self.next_record()).is_err() {
            return Ok(0);
        }
        let bytes = file.finish()?;
        space.checkpoint = number;
        store.log.release(Index(begun.replay_from.0));
        store.log.drop_segments(&live.dead());
        store.pages.retire(&page_files)?;
        store.spill.retire(&BTreeSet::new())?;
        Checkpoints::delete_older(store.storage.as_ref(), number)?;
        *store.kept.lock() = space.seen(&live);
        tracing::debug!(number, bytes, records, kept = kept.len(), "checkpoint");
        Ok(bytes)
    }

    fn begin_checkpoint(&self, occasion: Occasion) -> Begun {
        let replay_from = self.next_record();
        self.route_sets.begin_epoch();
        self.gate.pass();
        let apply_from = self.next_record();
        self.gate.pass();
        Begun {
            replay_from,
            apply_from,
            next_queue: QueueId(self.next_queue.load(Ordering::Relaxed)),
            clean: occasion == Occasion::Stopping,
        }
    }

    /// Writes everything that is set, and returns the vhosts of that moment: one that is deleted meanwhile is written all the
    /// same, as what it was, and its deletion is replayed.
    fn write_objects(&self, writing: &mut Writing<'_>) -> Result<Vec<Arc<Vhost>>, Failure> {
        let mut batch = Batch::new();
        let vhosts = {
            let state = self.registry.state.lock();
            batch.record(|out| state::objects(state.position, out));
            state
                .objects
                .for_each(|object| batch.record(|out| record::object_put(&object, out)));
            self.all_vhosts()
        };
        writing.push_all(&batch)?;
        Ok(vhosts)
    }

    fn write_held(&self, writing: &mut Writing<'_>) -> Result<(), Failure> {
        let mut batch = Batch::new();
        self.hold.for_each(|queue, letter| {
            let incoming = &letter.incoming;
            if incoming.lsn.is_some() {
                writing.live.one(incoming.lsn);
                let tags = incoming.tags.as_slice();
                batch.record(|out| state::held(queue, incoming.lsn, tags, letter.since, out));
            }
        });
        writing.push_all(&batch)
    }

    fn write_schedule(&self, writing: &mut Writing<'_>) -> Result<(), Failure> {
        let mut batch = Batch::new();
        self.schedule.for_each_durable(|id, scheduled| {
            writing.live.one(scheduled.lsn);
            let record = scheduled.later.record(id);
            batch.record(|out| state::scheduled(scheduled.lsn, &record, out));
        });
        writing.push_all(&batch)?;
        writing.push(|out| state::schedule(self.schedule.next_id().0, out))
    }

    /// Where the next record will be.
    pub(crate) fn next_record(&self) -> Lsn {
        Lsn(self.log.next_index().0)
    }
}

/// None if there is no room for it.
fn if_room<T>(result: Result<T, Failure>) -> Result<Option<T>, Failure> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(failure) if ternmq_journal::is_out_of_room(&failure.error) => {
            tracing::warn!(%failure, "no room to move what is left of sparse files");
            Ok(None)
        }
        Err(failure) => Err(failure),
    }
}

/// Waits until every record before `next` is on the disk, whatever a commit means. An error if the log has failed or was
/// closed, which it said itself: then there is no checkpoint.
fn wait_durable(store: &Store, next: Lsn) -> Result<(), LogError> {
    store.log.wait_durable(Index(next.0 - 1))
}

/// What a vhost has declared, retains, and keeps for adapters.
fn write_vhost(vhost: &Vhost, writing: &mut Writing<'_>) -> Result<(), Failure> {
    let mut positions = VhostPositions {
        vhost: vhost.name.clone(),
        ..VhostPositions::default()
    };
    let mut batch = Batch::new();
    vhost.read(|space| {
        positions.topology = space.position;
        write_topology(&vhost.name, space, &mut batch);
    });
    {
        let documents = vhost.documents.lock();
        positions.documents = documents.position;
        for (key, value) in documents.iter() {
            batch.record(|out| record::document(&vhost.name, key, Some(value), out));
        }
    }
    {
        let retained = vhost.retained.lock();
        positions.retained = retained.position;
        retained.store.for_each(|topic, _, lsn| {
            writing.live.one(lsn);
            batch.record(|out| state::retained_at(&vhost.name, topic, lsn, out));
        });
    }
    writing.push(|out| state::vhost(&positions, out))?;
    writing.push_all(&batch)
}

/// The durable declarations, in an order in which they can be made again.
fn write_topology(vhost: &str, space: &Space, batch: &mut Batch) {
    let topology = &space.topology;
    // Those that every vhost has cannot be declared, and need not be.
    let is_predeclared = |name: &str| name.is_empty() || name.starts_with("amq.");
    let exchanges = topology.exchanges();
    for exchange in exchanges.filter(|e| e.durable && !is_predeclared(&e.name)) {
        batch.record(|out| record::exchange_declared(vhost, exchange, out));
    }
    let is_durable = |entry: &&QueueEntry| entry.decl.durable && entry.decl.exclusive.is_none();
    for entry in topology.queues().filter(is_durable) {
        batch.record(|out| record::queue_declared(vhost, entry.id, &entry.decl, out));
    }
    for binding in topology.bindings() {
        if space.is_durable_binding(&binding) {
            batch.record(|out| record::bound(vhost, &binding, out));
        }
    }
}

impl crate::cell::QueueCell {
    /// The queue's messages as they are now.
    fn write_snapshot(self: &Arc<Self>, writing: &mut Writing<'_>) -> Result<(), Failure> {
        let mut snapshot = std::mem::take(&mut writing.snapshot);
        snapshot.clear();
        let is_empty = self.look(|queue| {
            queue.snapshot(&mut snapshot);
            let live = std::cell::RefCell::new(&mut *writing.live);
            queue.each_lsn(
                |lsn| live.borrow_mut().one(lsn),
                |min, max, count| live.borrow_mut().range(min, max, count),
            );
            queue.cold_parts(|_, place, _, _| {
                writing.page_files.insert(place.file);
            });
            let counts = queue.counts();
            counts.visible() + counts.leased == 0
        });
        if !is_empty {
            writing.push(|out| state::queue(self.id, &snapshot, out))?;
        }
        writing.snapshot = snapshot;
        Ok(())
    }
}
