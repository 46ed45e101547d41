//! The segments of an open log, shared by the committer and all who read.
//!
//! Every lock here guards memory only; files are opened and read with none held.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};

use crate::error::{Action, At as _, Failure};
use crate::log::Index;
use crate::segment::{KeptSegment, SegmentKind, SegmentRef};
use crate::sparse::Sparse;
use crate::storage::{Storage, StorageFile};
use crate::survey::Segment;
use crate::syncs::SyncCounters;

/// Files that stay open for readers.
const FILES_MAX: usize = 64;
/// Segments whose places are remembered; of the default size, 32 KiB each.
const PLACES_MAX: usize = 1024;
/// Idle buffers of readers, and how large one may be to be kept.
const BUFFERS_MAX: usize = 4;
const BUFFER_BYTES_MAX: usize = 2 * 1024 * 1024;

/// A segment, as the owner of a log sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SegmentInfo {
    /// Its number among those of its kind.
    pub id: u64,
    /// Its kind.
    pub kind: SegmentKind,
    /// Its first record, or the one that it would have.
    pub first: Index,
    /// Behind its last record.
    pub end: Index,
    /// How many records it holds.
    pub records: u64,
    /// Length of the file.
    pub bytes: u64,
    /// It is no part of the chain any more, or never was: it goes when the owner drops it.
    pub kept: bool,
}

impl SegmentInfo {
    /// What the owner keeps in its checkpoint, if it needs the segment.
    pub fn to_keep(&self) -> KeptSegment {
        KeptSegment {
            segment: self.reference(),
            end: self.end,
        }
    }

    /// Which one it is.
    pub fn reference(&self) -> SegmentRef {
        SegmentRef {
            kind: self.kind,
            id: self.id,
        }
    }
}

/// One segment.
pub(crate) struct Entry {
    pub(crate) reference: SegmentRef,
    pub(crate) name: String,
    pub(crate) signature: u32,
    pub(crate) first: u64,
    /// How many records a cold segment holds.
    cold_records: Option<u64>,
    /// Length of the file.
    pub(crate) bytes: u64,
    /// Behind the last record; grows while the segment is written.
    end: AtomicU64,
    kept: AtomicBool,
    /// The owner has dropped it, and should not see it any more.
    dropped: AtomicBool,
    /// The file was given to something else, or is about to be.
    gone: AtomicBool,
    /// Where frames lie; none until somebody looks.
    pub(crate) places: Mutex<Option<Arc<Sparse>>>,
}

impl Entry {
    pub(crate) fn new(segment: &Segment, end: u64, places: Option<Arc<Sparse>>) -> Self {
        Self {
            reference: SegmentRef {
                kind: segment.header.kind(),
                id: segment.header.id,
            },
            name: segment.name.clone(),
            signature: segment.header.signature,
            first: segment.header.link.index,
            cold_records: segment.header.cold.map(|extent| extent.records),
            bytes: segment.bytes,
            end: AtomicU64::new(end),
            kept: AtomicBool::new(segment.header.kind() == SegmentKind::Cold),
            dropped: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            places: Mutex::new(places),
        }
    }

    pub(crate) fn end(&self) -> u64 {
        self.end.load(Ordering::Acquire)
    }

    pub(crate) fn covers(&self, index: u64) -> bool {
        self.first <= index && index < self.end()
    }

    pub(crate) fn is_kept(&self) -> bool {
        self.kept.load(Ordering::Acquire)
    }

    pub(crate) fn keep(&self) {
        self.kept.store(true, Ordering::Release);
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    /// The committer wrote frames.
    pub(crate) fn grow(&self, frames: &[Written]) {
        if let Some(places) = self.places.lock().as_mut() {
            let places = Arc::make_mut(places);
            for frame in frames {
                places.note(frame.first, frame.offset, frame.bytes);
            }
        }
        if let Some(last) = frames.last() {
            self.end.store(last.index_behind, Ordering::Release);
        }
    }

    pub(crate) fn info(&self) -> SegmentInfo {
        SegmentInfo {
            id: self.reference.id,
            kind: self.reference.kind,
            first: Index(self.first),
            end: Index(self.end()),
            records: self
                .cold_records
                .unwrap_or_else(|| self.end().saturating_sub(self.first)),
            bytes: self.bytes,
            kept: self.is_kept(),
        }
    }
}

/// A frame that was written.
#[derive(Clone, Copy)]
pub(crate) struct Written {
    pub(crate) first: u64,
    pub(crate) index_behind: u64,
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
}

type OpenFile = (Arc<Entry>, Arc<dyn StorageFile>);

/// All segments.
pub(crate) struct Table {
    pub(crate) storage: Arc<dyn Storage>,
    lists: RwLock<Lists>,
    /// The owner has asked for the release of records below this.
    released: AtomicU64,
    files: Mutex<VecDeque<OpenFile>>,
    /// Segments whose places may be forgotten, those remembered longest first.
    placed: Mutex<VecDeque<Arc<Entry>>>,
    buffers: Mutex<Vec<Vec<u8>>>,
    pub(crate) syncs: SyncCounters,
}

#[derive(Default)]
struct Lists {
    /// Kept segments and the chain, in the order of their records.
    plain: Vec<Arc<Entry>>,
    cold: Vec<Arc<Entry>>,
    next_cold: u64,
}

impl Table {
    pub(crate) fn new(storage: Arc<dyn Storage>, next_cold: u64) -> Self {
        Self {
            storage,
            lists: RwLock::new(Lists {
                next_cold,
                ..Lists::default()
            }),
            released: AtomicU64::new(0),
            files: Mutex::default(),
            placed: Mutex::default(),
            buffers: Mutex::default(),
            syncs: SyncCounters::default(),
        }
    }

    /// Adds a segment: of the chain, the newest.
    pub(crate) fn add(&self, entry: Arc<Entry>) {
        let mut lists = self.lists.write();
        match entry.reference.kind {
            SegmentKind::Journal => lists.plain.push(entry),
            SegmentKind::Cold => lists.cold.push(entry),
        }
    }

    pub(crate) fn next_cold_id(&self) -> u64 {
        let mut lists = self.lists.write();
        lists.next_cold += 1;
        lists.next_cold - 1
    }

    pub(crate) fn infos(&self) -> Vec<SegmentInfo> {
        let lists = self.lists.read();
        let all = lists.plain.iter().chain(&lists.cold);
        all.filter(|entry| !entry.dropped.load(Ordering::Acquire))
            .map(|entry| entry.info())
            .collect()
    }

    /// The owner releases records below an index.
    pub(crate) fn note_release(&self, index: u64) {
        self.released.fetch_max(index, Ordering::AcqRel);
    }

    /// The owner drops segments: those of them that are not part of the chain, or will not be when the release that was
    /// asked for is done. They are hidden from it at once, so that no later checkpoint counts on them.
    pub(crate) fn note_drop(&self, dropped: &[SegmentRef]) -> Vec<SegmentRef> {
        let released = self.released.load(Ordering::Acquire);
        let lists = self.lists.read();
        // The last segment stays in the chain.
        let sealed = lists.plain.len().saturating_sub(1);
        let all = lists.plain[..sealed].iter().chain(&lists.cold);
        let may_go = all
            .filter(|entry| dropped.contains(&entry.reference))
            .filter(|entry| entry.is_kept() || entry.end() <= released)
            .filter(|entry| !entry.dropped.swap(true, Ordering::AcqRel));
        may_go.map(|entry| entry.reference).collect()
    }

    /// Segments in which a record may lie: where it was appended, then where it was copied to.
    pub(crate) fn candidates(&self, index: u64) -> Vec<Arc<Entry>> {
        let lists = self.lists.read();
        let behind = lists.plain.partition_point(|entry| entry.first <= index);
        let plain = behind.checked_sub(1).map(|at| &lists.plain[at]);
        plain
            .into_iter()
            .chain(&lists.cold)
            .filter(|entry| entry.covers(index))
            .cloned()
            .collect()
    }

    /// Takes a segment out, if it is not part of the chain. Readers that come across it look again.
    pub(crate) fn take(&self, reference: SegmentRef) -> Option<Arc<Entry>> {
        let taken = {
            let mut lists = self.lists.write();
            let list = match reference.kind {
                SegmentKind::Journal => &mut lists.plain,
                SegmentKind::Cold => &mut lists.cold,
            };
            let wanted = |entry: &Arc<Entry>| entry.reference == reference && entry.is_kept();
            let at = list.iter().position(wanted)?;
            list.remove(at)
        };
        taken.gone.store(true, Ordering::Release);
        self.close(&taken);
        self.placed
            .lock()
            .retain(|entry| !Arc::ptr_eq(entry, &taken));
        Some(taken)
    }

    /// The segment's file. It stays open for the next who reads it.
    pub(crate) fn file(&self, entry: &Arc<Entry>) -> Result<Arc<dyn StorageFile>, Failure> {
        {
            let mut files = self.files.lock();
            let at = files.iter().position(|(of, _)| Arc::ptr_eq(of, entry));
            if let Some(found) = at.and_then(|at| files.remove(at)) {
                let file = found.1.clone();
                files.push_back(found);
                return Ok(file);
            }
        }
        let file = self.storage.open(&entry.name);
        let file: Arc<dyn StorageFile> = Arc::from(file.at(Action::Open, &entry.name)?);
        let oldest = {
            let mut files = self.files.lock();
            files.push_back((entry.clone(), file.clone()));
            (files.len() > FILES_MAX).then(|| files.pop_front())
        };
        drop(oldest);
        if entry.is_gone() {
            // It went meanwhile; an open file would hold its room on the disk.
            self.close(entry);
        }
        Ok(file)
    }

    fn close(&self, entry: &Arc<Entry>) {
        let closed = {
            let mut files = self.files.lock();
            let at = files.iter().position(|(of, _)| Arc::ptr_eq(of, entry));
            at.and_then(|at| files.remove(at))
        };
        drop(closed);
    }

    /// Remembers where the frames of a segment lie that is not written any more.
    pub(crate) fn place(&self, entry: &Arc<Entry>, places: Arc<Sparse>) {
        let before = entry.places.lock().replace(places);
        if before.is_none() {
            self.may_forget(entry);
        }
    }

    /// Counts a segment among those that are not written any more and whose places are remembered; forgets another's if
    /// there are too many.
    pub(crate) fn may_forget(&self, entry: &Arc<Entry>) {
        let forgotten = {
            let mut placed = self.placed.lock();
            placed.push_back(entry.clone());
            (placed.len() > PLACES_MAX).then(|| placed.pop_front())
        };
        if let Some(entry) = forgotten.flatten() {
            *entry.places.lock() = None;
        }
    }

    pub(crate) fn take_buffer(&self) -> Vec<u8> {
        self.buffers.lock().pop().unwrap_or_default()
    }

    pub(crate) fn give_buffer(&self, buffer: Vec<u8>) {
        let mut buffers = self.buffers.lock();
        if buffer.capacity() <= BUFFER_BYTES_MAX && buffers.len() < BUFFERS_MAX {
            buffers.push(buffer);
        }
    }
}
