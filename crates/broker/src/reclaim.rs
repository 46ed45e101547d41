//! Space on the disk: which segments of the journal still hold messages that somebody has.
//!
//! A segment behind the newest checkpoint is needed only for the messages in it. While a checkpoint looks at all queues it
//! counts, by segment, the records that are still referred to: exactly where a queue has them in memory or a page lies
//! within one segment, and as a possibility where a page spans several. What nobody can refer to is recycled.
//!
//! What is left is looked at more closely when it has grown by half since the last time, or when the queues have become
//! half as long: then pages are read, every record counted, and segments of which less than half is alive are copied
//! into a new file that holds nothing else. So a few old messages cost their own bytes, and a long backlog is never
//! copied.

use std::collections::BTreeSet;
use std::sync::Arc;

use ternmq_core::id::Lsn;
use ternmq_core::queue::{PartSource, decode_part};
use ternmq_core::record::state::KeptFile;
use ternmq_journal::{Failure, Index, PageStore, SegmentInfo, SegmentKind, SegmentRef};

use crate::broker::Inner;
use crate::cell::QueueCell;
use crate::mailbox::DiskRoom;
use crate::residency::{from_core, to_core};
use crate::store::Store;

/// Segments of which less than this share of the records is alive are copied, in percent.
const SPARSE_PERCENT: u64 = 50;
/// The same when the disk is short of room.
const SPARSE_PERCENT_SHORT: u64 = 80;
/// Segments copied at once, at most.
const COPIED_MAX: usize = 16;
/// Page files of which less than this share is alive are given up, in percent.
const SPARSE_PAGES_PERCENT: u8 = 30;

/// What is known about the journal's room from checkpoint to checkpoint.
#[derive(Default)]
pub(crate) struct DiskSpace {
    /// The number of the newest checkpoint.
    pub(crate) checkpoint: u64,
    /// Bytes of kept segments when they were last looked at closely.
    looked_at_bytes: u64,
    /// References to them at that time.
    looked_at_live: u64,
    /// Bytes of kept segments at the last checkpoint.
    kept_bytes: u64,
}

/// Records in the segments that are kept for messages only.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct KeptRecords {
    /// Those that are known to be needed.
    pub alive: u64,
    /// All of them.
    pub all: u64,
}

/// The segments older than a checkpoint, and what of them is alive.
pub(crate) struct Liveness {
    rows: Vec<Row>,
    /// Segments whose live records were copied elsewhere.
    replaced: BTreeSet<SegmentRef>,
}

/// What becomes of segments after an exact count.
struct Judgement {
    /// Nothing in them is alive.
    dead: BTreeSet<SegmentRef>,
    /// What is alive in them is copied.
    victims: BTreeSet<SegmentRef>,
    /// There are more victims than are copied at once.
    is_partial: bool,
}

struct Row {
    info: SegmentInfo,
    /// Records that somebody has.
    certain: u64,
    /// Whether there may be more.
    possible: bool,
}

impl Row {
    fn is_alive(&self) -> bool {
        self.certain > 0 || self.possible
    }

    fn segment(&self) -> SegmentRef {
        self.info.reference()
    }

    fn is_sparse(&self, percent: u64) -> bool {
        self.certain * 100 < self.info.records * percent
    }
}

impl Liveness {
    /// Counts records in the segments that end at or below `until`.
    pub(crate) fn new(
        segments: Vec<SegmentInfo>,
        until: Lsn,
        replaced: BTreeSet<SegmentRef>,
    ) -> Self {
        let mut rows: Vec<Row> = segments
            .into_iter()
            .filter(|info| info.end.0 <= until.0)
            .map(|info| Row {
                info,
                certain: 0,
                possible: false,
            })
            .collect();
        // Journal segments first, by their place; their ranges do not overlap.
        rows.sort_unstable_by_key(|row| (row.info.kind, row.info.first));
        Self { rows, replaced }
    }

    fn journal_rows(&self) -> usize {
        self.rows
            .partition_point(|row| row.info.kind == SegmentKind::Journal)
    }

    /// Somebody has that record.
    pub(crate) fn one(&mut self, lsn: Lsn) {
        self.range(lsn, lsn, 1);
    }

    /// Somebody has so many records between these two.
    pub(crate) fn range(&mut self, min: Lsn, max: Lsn, count: u64) {
        let (min, max) = (Index(min.0), Index(max.0));
        let journal = self.journal_rows();
        let (rows, copies) = self.rows.split_at_mut(journal);
        let first = rows.partition_point(|row| row.info.end <= min);
        // What lies in a segment that is given up lies in a copy as well, and that is the one that counts.
        let replaced = &self.replaced;
        let touched = rows[first..]
            .iter_mut()
            .take_while(|row| row.info.first <= max)
            .filter(|row| !replaced.contains(&row.segment()));
        let mut covered = false;
        for row in touched {
            if row.info.first <= min && max < row.info.end {
                row.certain += count;
                covered = true;
            } else {
                row.possible = true;
            }
        }
        if !covered {
            let touched = copies
                .iter_mut()
                .filter(|row| row.info.first <= max && min < row.info.end);
            touched.for_each(|row| row.possible = true);
        }
    }

    /// Somebody has that record: counts it if it lies in a journal segment. Returns which.
    fn in_journal(&mut self, lsn: Lsn) -> Option<SegmentRef> {
        let journal = self.journal_rows();
        let rows = &mut self.rows[..journal];
        let at = rows.partition_point(|row| row.info.end.0 <= lsn.0);
        let row = rows.get_mut(at).filter(|row| row.info.first.0 <= lsn.0)?;
        row.certain += 1;
        Some(row.segment())
    }

    /// After an exact count: segments without anything alive, and those to copy. Copies are judged together, by how many
    /// records in them are alive.
    fn judge(&self, copies: u64, percent: u64) -> Judgement {
        let (journal, cold) = self.rows.split_at(self.journal_rows());
        let (mut dead, mut sparse) = (BTreeSet::new(), Vec::new());
        for row in journal {
            if row.certain == 0 {
                dead.insert(row.segment());
            } else if row.is_sparse(percent) {
                sparse.push(row);
            }
        }
        sparse.sort_unstable_by_key(|row| row.certain * 1000 / row.info.records.max(1));
        let is_partial = sparse.len() > COPIED_MAX;
        let mut victims: BTreeSet<SegmentRef> = sparse
            .into_iter()
            .take(COPIED_MAX)
            .map(Row::segment)
            .collect();
        let in_copies: u64 = cold.iter().map(|row| row.info.records).sum();
        let all_copies = cold.iter().map(Row::segment);
        if copies == 0 {
            dead.extend(all_copies);
        } else if copies * 100 < in_copies * percent {
            victims.extend(all_copies);
        }
        Judgement {
            dead,
            victims,
            is_partial,
        }
    }

    /// Segments that are needed for messages, for the checkpoint.
    pub(crate) fn kept(&self) -> Vec<KeptFile> {
        let kept = self.rows.iter().filter(|row| self.is_kept(row));
        kept.map(|row| KeptFile {
            id: row.info.id,
            kind: row.info.kind.number(),
            end: Lsn(row.info.end.0),
        })
        .collect()
    }

    fn is_kept(&self, row: &Row) -> bool {
        row.is_alive() && !self.replaced.contains(&row.segment())
    }

    /// Segments that nobody needs once the checkpoint is there.
    pub(crate) fn dead(&self) -> Vec<SegmentRef> {
        let dead = self.rows.iter().filter(|row| !self.is_kept(row));
        dead.map(Row::segment).collect()
    }
}

impl DiskSpace {
    /// After a start from that checkpoint.
    pub(crate) fn behind(checkpoint: u64) -> Self {
        Self {
            checkpoint,
            ..Self::default()
        }
    }

    /// What a checkpoint found.
    pub(crate) fn seen(&mut self, live: &Liveness) -> KeptRecords {
        let kept = || live.rows.iter().filter(|row| live.is_kept(row));
        self.kept_bytes = kept().map(|row| row.info.bytes).sum();
        KeptRecords {
            alive: kept().map(|row| row.certain).sum(),
            all: kept().map(|row| row.info.records).sum(),
        }
    }

    /// Whether it is time to look closely. `live` is how many messages wait altogether.
    fn is_due(&self, live: u64, is_short: bool, floor_bytes: u64) -> bool {
        if self.kept_bytes < floor_bytes {
            return is_short && self.kept_bytes > 0;
        }
        is_short
            || self.kept_bytes / 3 >= self.looked_at_bytes / 2
            || live <= self.looked_at_live / 2
    }
}

impl Inner {
    /// Looks closely if it is time to, and copies what is alive in sparse segments. Returns the segments that can go with
    /// the next checkpoint.
    pub(crate) fn copy_sparse_segments(
        &self,
        store: &Store,
        space: &mut DiskSpace,
    ) -> Result<BTreeSet<SegmentRef>, Failure> {
        let held = |cell: Arc<QueueCell>| {
            let counts = cell.counts();
            counts.visible() + counts.leased
        };
        let waiting = self.all_cells().into_iter().map(held).sum();
        let is_short = self.pressure.disk() != DiskRoom::Enough;
        if !space.is_due(waiting, is_short, store.config.tuning.kept_floor_bytes) {
            return Ok(BTreeSet::new());
        }
        let segments = store.log.segments();
        let chain = segments.iter().filter(|info| !info.kept);
        let chain_from = chain.map(|info| info.first.0).min().unwrap_or(u64::MAX);
        let kept = segments.into_iter().filter(|info| info.kept).collect();
        let mut live = Liveness::new(kept, Lsn(u64::MAX), BTreeSet::new());
        let mut copies = 0;
        let is_whole = self.for_each_live(store, &mut |lsn| {
            if lsn.0 < chain_from && live.in_journal(lsn).is_none() {
                copies += 1;
            }
        });
        if !is_whole {
            return Ok(BTreeSet::new());
        }
        let percent = if is_short {
            SPARSE_PERCENT_SHORT
        } else {
            SPARSE_PERCENT
        };
        let Judgement {
            dead: mut replaced,
            victims,
            is_partial,
        } = live.judge(copies, percent);
        if !victims.is_empty() {
            replaced.extend(self.copy_live(store, &mut live, (&victims, chain_from))?);
        }
        let stays = |row: &&Row| !replaced.contains(&row.segment());
        let staying = live.rows.iter().filter(stays);
        space.looked_at_bytes = if is_partial {
            // The rest comes next time.
            0
        } else {
            staying.map(|row| row.info.bytes).sum()
        };
        space.looked_at_live = waiting;
        Ok(replaced)
    }

    /// Copies what is alive in these segments. Returns those that are not needed any more; one with damage is.
    fn copy_live(
        &self,
        store: &Store,
        live: &mut Liveness,
        (victims, chain_from): (&BTreeSet<SegmentRef>, u64),
    ) -> Result<Vec<SegmentRef>, Failure> {
        let with_copies = victims.iter().any(|v| v.kind == SegmentKind::Cold);
        let mut alive = Vec::new();
        let is_whole = self.for_each_live(store, &mut |lsn| {
            let is_victims = match live.in_journal(lsn) {
                Some(segment) => victims.contains(&segment),
                None => with_copies && lsn.0 < chain_from,
            };
            if is_victims {
                alive.push(Index(lsn.0));
            }
        });
        if !is_whole {
            return Ok(Vec::new());
        }
        alive.sort_unstable();
        alive.dedup();
        let victims: Vec<SegmentRef> = victims.iter().copied().collect();
        let copied = store.log.copy_live(&victims, &mut alive.into_iter())?;
        tracing::debug!(
            segments = victims.len(),
            records = copied.records,
            damaged = copied.damaged,
            "sparse segments copied"
        );
        let unharmed = victims.into_iter().filter(|v| !copied.keep.contains(v));
        Ok(unharmed.collect())
    }

    /// Every record that somebody has throughout, in no order, and maybe others and some more than once. False if
    /// something could not be read: then nothing can be said about what is missing.
    fn for_each_live(&self, store: &Store, found: &mut dyn FnMut(Lsn)) -> bool {
        // Before the queues, see `Inner::try_checkpoint`.
        self.hold.for_each(|_, letter| {
            if letter.incoming.lsn.is_some() {
                found(letter.incoming.lsn);
            }
        });
        self.schedule
            .for_each_durable(|_, scheduled| found(scheduled.lsn));
        for vhost in self.all_vhosts() {
            let retained = vhost.retained.lock();
            retained.store.for_each(|_, _, lsn| found(lsn));
        }
        let mut page = Vec::new();
        for cell in self.all_cells().into_iter().filter(|cell| cell.durable) {
            let mut chunks = Vec::new();
            cell.look(|queue| {
                queue.each_lsn(&mut *found, |_, _, _| ());
                queue.chunks_reaching(Lsn::NONE, &mut chunks);
            });
            for part in chunks.iter().flat_map(|chunk| &chunk.parts) {
                // Pages that were thawed meanwhile are still there: only this thread deletes page files.
                let entries = match part {
                    PartSource::Memory(bytes) => decode_part(bytes, store.formats.as_ref()),
                    PartSource::Disk(place) => {
                        match store.pages.read(from_core(*place), &mut page) {
                            Ok(Ok(())) => decode_part(&page, store.formats.as_ref()),
                            _ => return false,
                        }
                    }
                };
                let Ok(entries) = entries else { return false };
                let lsns = entries.iter().map(|entry| entry.lsn);
                lsns.filter(|lsn| lsn.is_some()).for_each(&mut *found);
            }
        }
        true
    }

    /// Moves the pages of page files that hold little else than gaps, so that the files can go.
    pub(crate) fn move_sparse_pages(&self, store: &Store) -> Result<(), Failure> {
        self.move_pages(store, &store.pages)?;
        self.move_pages(store, &store.spill)
    }

    fn move_pages(&self, store: &Store, pages: &PageStore) -> Result<(), Failure> {
        let sparse = pages.sparse(SPARSE_PAGES_PERCENT);
        let sparse: BTreeSet<u32> = sparse.into_iter().collect();
        if sparse.is_empty() {
            return Ok(());
        }
        let is_there = |cell: &Arc<QueueCell>| std::ptr::eq(store.pages_of(cell), pages);
        let mut page = Vec::new();
        for cell in self.all_cells().into_iter().filter(is_there) {
            // Whoever loads the queue reads pages where they were: those stay until the end of this checkpoint.
            let _loading = cell.loading.lock();
            let mut moving = Vec::new();
            cell.look(|queue| {
                queue.cold_parts(|chunk, place, _, _| {
                    if sparse.contains(&place.file) {
                        moving.push((chunk, place));
                    }
                });
            });
            for (chunk, from) in moving {
                if pages.read(from_core(from), &mut page)?.is_err() {
                    // Whoever needs it finds out and says so; it stays where it is.
                    continue;
                }
                let to = pages.write(&page)?;
                let moved = cell.look(|queue| queue.part_moved(chunk, from, to_core(to)));
                pages.free(if moved { from_core(from) } else { to });
            }
        }
        Ok(())
    }
}
