//! What a page store knows of its files: what is alive in each, which are open, which are not on disk yet.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Place;
use super::format::room_of;
use crate::error::Failure;
use crate::storage::StorageFile;

/// A file that is open.
pub(super) type Handle = Arc<dyn StorageFile>;

/// Whether pages are still added to a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stage {
    Growing,
    Sealed,
}

struct PageFile {
    stage: Stage,
    bytes: u64,
    live_bytes: u64,
    live_pages: u64,
}

/// The files of a store. Memory work only.
pub(super) struct Files {
    known: BTreeMap<u32, PageFile>,
    /// Open for reading; the one used last comes last.
    open: Vec<(u32, Handle)>,
    open_max: usize,
    /// Files with writes that no sync has covered, and whether there are such names.
    unsynced: Unsynced,
    failed: Option<Failure>,
}

/// What the next sync has to do.
#[derive(Default)]
pub(super) struct Unsynced {
    pub(super) files: BTreeMap<u32, Handle>,
    pub(super) names: bool,
}

impl Files {
    pub(super) fn new(open_max: usize) -> Self {
        Self {
            known: BTreeMap::new(),
            open: Vec::new(),
            open_max: open_max.max(1),
            unsynced: Unsynced::default(),
            failed: None,
        }
    }

    pub(super) fn add(&mut self, number: u32, stage: Stage, bytes: u64) {
        let file = PageFile {
            stage,
            bytes,
            live_bytes: 0,
            live_pages: 0,
        };
        self.known.insert(number, file);
    }

    /// A file is there no more.
    pub(super) fn forget(&mut self, number: u32) {
        self.known.remove(&number);
        self.unsynced.files.remove(&number);
        self.open.retain(|(of, _)| *of != number);
    }

    pub(super) fn highest(&self) -> Option<u32> {
        self.known.last_key_value().map(|(number, _)| *number)
    }

    pub(super) fn numbers(&self) -> BTreeSet<u32> {
        self.known.keys().copied().collect()
    }

    /// None of a file that is not there.
    pub(super) fn byte_len(&self, number: u32) -> Option<u64> {
        self.known.get(&number).map(|file| file.bytes)
    }

    pub(super) fn seal(&mut self, number: u32) {
        if let Some(file) = self.known.get_mut(&number) {
            file.stage = Stage::Sealed;
        }
    }

    /// A file has that length now.
    pub(super) fn grew(&mut self, number: u32, bytes: u64) {
        if let Some(file) = self.known.get_mut(&number) {
            file.bytes = bytes;
        }
    }

    /// One page more is alive.
    pub(super) fn count(&mut self, place: Place) {
        if let Some(file) = self.known.get_mut(&place.file) {
            file.live_pages += 1;
            file.live_bytes += room_of(place.bytes);
        }
    }

    /// One page less is alive.
    pub(super) fn free(&mut self, place: Place) {
        if let Some(file) = self.known.get_mut(&place.file) {
            debug_assert!(
                file.live_pages > 0 && file.live_bytes >= room_of(place.bytes),
                "a page is freed as often as it was counted"
            );
            file.live_pages = file.live_pages.saturating_sub(1);
            file.live_bytes = file.live_bytes.saturating_sub(room_of(place.bytes));
        }
    }

    /// Sealed files in which nothing is alive. The one with the highest number stays, to remember that number.
    pub(super) fn dead(&self, needed: &BTreeSet<u32>) -> Vec<u32> {
        let highest = self.highest();
        let is_dead = |(number, file): &(&u32, &PageFile)| {
            file.stage == Stage::Sealed
                && file.live_pages == 0
                && highest != Some(**number)
                && !needed.contains(number)
        };
        let dead = self.known.iter().filter(is_dead);
        dead.map(|(number, _)| *number).collect()
    }

    pub(super) fn sparse(&self, percent: u8) -> Vec<u32> {
        let is_sparse = |(_, file): &(&u32, &PageFile)| {
            file.stage == Stage::Sealed
                && file.live_pages > 0
                && u128::from(file.live_bytes) * 100 < u128::from(file.bytes) * u128::from(percent)
        };
        let sparse = self.known.iter().filter(is_sparse);
        sparse.map(|(number, _)| *number).collect()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.known.values().map(|file| file.bytes).sum()
    }

    pub(super) fn live_bytes(&self) -> u64 {
        self.known.values().map(|file| file.live_bytes).sum()
    }

    /// The handle of a file that is open for reading.
    pub(super) fn opened(&mut self, number: u32) -> Option<Handle> {
        let at = self.open.iter().rposition(|(of, _)| *of == number)?;
        let used = self.open.remove(at);
        let handle = used.1.clone();
        self.open.push(used);
        Some(handle)
    }

    /// Keeps a handle for the next read. Of a file that went meanwhile none is kept, so that its room becomes free.
    pub(super) fn keep_open(&mut self, number: u32, handle: Handle) {
        if !self.known.contains_key(&number) || self.open.iter().any(|(of, _)| *of == number) {
            return;
        }
        if self.open.len() >= self.open_max {
            self.open.remove(0);
        }
        self.open.push((number, handle));
    }

    pub(super) fn made_name(&mut self) {
        self.unsynced.names = true;
    }

    pub(super) fn wrote(&mut self, number: u32, handle: &Handle) {
        self.unsynced
            .files
            .entry(number)
            .or_insert_with(|| handle.clone());
    }

    pub(super) fn unsynced_files(&self) -> usize {
        self.unsynced.files.len()
    }

    pub(super) fn take_unsynced(&mut self) -> Unsynced {
        std::mem::take(&mut self.unsynced)
    }

    /// The failure of a sync is remembered for ever.
    pub(super) fn fail(&mut self, failure: Failure) {
        self.failed.get_or_insert(failure);
    }

    pub(super) fn check(&self) -> Result<(), Failure> {
        self.failed.clone().map_or(Ok(()), Err)
    }
}
