//! What leaves memory, and when.
//!
//! Queues keep what waits in memory while all messages together take less than half the budget. From there on a queue
//! that grows packs what lies behind its head; above the budget the keeper's thread goes through all queues, idle ones
//! as well. Packed entries are a few bytes each, and go into page files once a chunk of them is full. What consumers
//! have, or are about to have, stays.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};

use bytes::Bytes;
use ternmq_core::queue::{PagePlace, PartKey};
use ternmq_journal::{Index, Log as _, Place, is_out_of_room};

use crate::broker::Inner;
use crate::cell::QueueCell;
use crate::inbox::Inbox;
use crate::store::Store;
use crate::work::Work;

/// The budget, and who sees to it.
pub(crate) struct Residency {
    budget: i64,
    /// The keeper goes through the queues when more than this is resident.
    sweep_at: AtomicI64,
    sweep_pending: AtomicBool,
    /// Where the last sweep stopped.
    cursor: AtomicUsize,
    pub(crate) tasks: Arc<Inbox<Task>>,
}

/// What the keeper's thread does.
pub(crate) enum Task {
    /// Writes a part of a queue to a page file.
    Write(Arc<QueueCell>, PartKey, Bytes),
    /// Goes through the queues.
    Sweep,
}

/// How urgently a queue gives up memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Need {
    /// It grows, and others need room too.
    Growing,
    /// All together take too much.
    Short,
}

impl Residency {
    pub(crate) fn new(budget_bytes: u64) -> Self {
        let budget = i64::try_from(budget_bytes).unwrap_or(i64::MAX);
        Self {
            budget,
            sweep_at: AtomicI64::new(budget),
            sweep_pending: AtomicBool::new(false),
            cursor: AtomicUsize::new(0),
            tasks: Arc::default(),
        }
    }

    /// So much is resident now.
    pub(crate) fn look(&self, resident: i64) {
        let sweep_at = self.sweep_at.load(Ordering::Relaxed);
        if sweep_at > self.budget && resident < self.budget / 2 {
            // What could not leave when it was looked for is gone.
            self.sweep_at.store(self.budget, Ordering::Relaxed);
        } else if resident > sweep_at && !self.sweep_pending.swap(true, Ordering::AcqRel) {
            self.tasks.push(Task::Sweep);
        }
    }
}

impl Inner {
    /// A queue takes more memory than when it was last looked at.
    pub(crate) fn relieve(&self, cell: &Arc<QueueCell>, work: &mut Work) {
        let Some(store) = &self.store else {
            return cell.freeze_later(usize::MAX, usize::MAX);
        };
        if self.pressure.resident() < store.residency.budget / 2 {
            let floor = store.config.tuning.freeze_floor_bytes;
            return cell.freeze_later(2 * floor, floor);
        }
        self.freeze(store, cell, Need::Growing, work);
    }

    /// Whether what is resident now is more than the budget.
    pub(crate) fn is_short_of_memory(&self, store: &Store) -> bool {
        self.pressure.resident() > store.residency.budget
    }

    fn freeze(&self, store: &Store, cell: &Arc<QueueCell>, need: Need, work: &mut Work) {
        let tuning = &store.config.tuning;
        let committed = self.committed();
        cell.update(work, |queue, _| {
            let counts = queue.counts();
            let keep = if need == Need::Growing || counts.consumers > 0 {
                let average = (counts.ready_bytes / counts.ready.max(1)).max(1);
                // One at least: whoever gets it has just had it loaded.
                (tuning.keep_bytes / average).clamp(1, tuning.keep_messages)
            } else {
                0
            };
            queue.freeze(keep, committed);
        });
        cell.take_parts(&mut work.parts);
        cell.freeze_later(tuning.freeze_floor_bytes / 2, tuning.freeze_floor_bytes);
        for (key, bytes) in work.parts.drain(..) {
            let task = Task::Write(cell.clone(), key, bytes);
            store.residency.tasks.push(task);
        }
        work.freeze = false;
        self.collect(cell, work);
    }

    /// What the keeper's thread does with a task.
    pub(crate) fn keep(&self, store: &Store, task: Task, work: &mut Work) {
        match task {
            Task::Write(cell, key, bytes) => self.write_part(store, &cell, (key, &bytes), work),
            Task::Sweep => self.sweep(store, work),
        }
    }

    /// Goes through the queues until half the budget is enough, or nothing more can leave.
    fn sweep(&self, store: &Store, work: &mut Work) {
        let residency = &store.residency;
        let before = Index(self.next_record().0 - 1);
        self.sweep_once(store, work);
        if self.is_short_of_memory(store) && store.log.committed() < before {
            // What is not committed cannot leave. If the log has failed, it does not matter any more.
            let _ = store.log.wait_committed(before);
            self.sweep_once(store, work);
        }
        // Next time when there is a quarter more.
        let resident = self.pressure.resident();
        let next = (resident + residency.budget / 4).max(residency.budget);
        residency.sweep_at.store(next, Ordering::Relaxed);
        residency.sweep_pending.store(false, Ordering::Release);
        residency.look(self.pressure.resident());
    }

    fn sweep_once(&self, store: &Store, work: &mut Work) {
        let residency = &store.residency;
        let cells = self.all_cells();
        let start = residency.cursor.load(Ordering::Relaxed) % cells.len().max(1);
        for (seen, cell) in cells[start..].iter().chain(&cells[..start]).enumerate() {
            if self.pressure.resident() < residency.budget / 2 {
                residency.cursor.store(start + seen, Ordering::Relaxed);
                break;
            }
            if cell.resident_bytes() >= store.config.tuning.sweep_floor_bytes {
                let _inside = self.gate.enter();
                self.freeze(store, cell, Need::Short, work);
            }
        }
    }

    fn write_part(
        &self,
        store: &Store,
        cell: &Arc<QueueCell>,
        (key, bytes): (PartKey, &[u8]),
        work: &mut Work,
    ) {
        let pages = store.pages_of(cell);
        let written = pages.write(bytes);
        let _inside = self.gate.enter();
        match written {
            Ok(place) => {
                let known = cell.update(work, |queue, _| queue.part_written(key, to_core(place)));
                if !known {
                    pages.free(place);
                }
            }
            Err(failure) => {
                cell.update(work, |queue, _| queue.part_failed(key));
                if is_out_of_room(&failure.error) {
                    // It stays in memory, which publishers are held back for; the next sweep tries again.
                    tracing::warn!(%failure, queue = %cell.name, "no room for messages to leave memory");
                } else {
                    (store.halt)(&failure);
                }
            }
        }
        self.collect(cell, work);
    }

    /// Pages that a queue needs no more.
    pub(crate) fn free_pages(&self, cell: &QueueCell, places: impl IntoIterator<Item = PagePlace>) {
        let Some(store) = &self.store else { return };
        let pages = store.pages_of(cell);
        for place in places {
            pages.free(from_core(place));
        }
    }
}

pub(crate) fn to_core(place: Place) -> PagePlace {
    PagePlace {
        file: place.file,
        offset: place.offset,
        bytes: place.bytes,
    }
}

pub(crate) fn from_core(place: PagePlace) -> Place {
    Place {
        file: place.file,
        offset: place.offset,
        bytes: place.bytes,
    }
}
