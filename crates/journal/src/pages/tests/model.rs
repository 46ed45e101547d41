//! Random lives of a page store on a disk that forgets, against a table of pages.
//!
//! `TERNMQ_JOURNAL_SEED=n` runs one seed, `TERNMQ_JOURNAL_SEEDS=n` as many.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::STORE;
use crate::error::ReadFlaw;
use crate::pages::{PageOptions, PageStore, Place};
use crate::simulated::{Fault, Operation, Random, SimulatedStorage};
use crate::storage::is_out_of_room;

const SEEDS: u64 = 2_000;

#[test]
fn what_was_synced_and_is_needed_survives_and_nothing_else_is_taken_for_it() {
    let number = |name| std::env::var(name).ok().and_then(|v| v.parse::<u64>().ok());
    let seeds = match number("TERNMQ_JOURNAL_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("TERNMQ_JOURNAL_SEEDS").unwrap_or(SEEDS),
    };
    let mut seen = Seen::default();
    let runs = seeds.end - seeds.start;
    for seed in seeds {
        let at = PrintSeed(seed);
        Run::new(seed, &mut seen).run();
        std::mem::forget(at);
    }
    if runs >= SEEDS {
        seen.everything_happened();
    }
}

/// Says which seed it was when a run panics.
struct PrintSeed(u64);

impl Drop for PrintSeed {
    fn drop(&mut self) {
        eprintln!("run again with TERNMQ_JOURNAL_SEED={}", self.0);
    }
}

/// What the runs came across: a model test in which nothing happens proves nothing.
#[derive(Default, Debug)]
struct Seen {
    power_cuts: u64,
    kills: u64,
    checkpoints: u64,
    retired: u64,
    full: u64,
    failed: u64,
    lost: u64,
    survived_unsynced: u64,
}

impl Seen {
    fn everything_happened(&self) {
        for count in [
            self.power_cuts,
            self.kills,
            self.checkpoints,
            self.retired,
            self.full,
            self.failed,
            self.lost,
            self.survived_unsynced,
        ] {
            assert!(count >= 100, "{self:?}");
        }
    }
}

#[derive(Clone)]
struct Page {
    contents: Vec<u8>,
    alive: bool,
    synced: bool,
}

struct Run<'a> {
    random: Random,
    disk: SimulatedStorage,
    options: PageOptions,
    /// Every page whose place may still be asked for.
    pages: BTreeMap<Place, Page>,
    /// What the newest checkpoint refers to.
    checkpoint: Vec<Place>,
    /// A sync has failed: the next one may not be asked for.
    broken: bool,
    seen: &'a mut Seen,
}

impl<'a> Run<'a> {
    fn new(seed: u64, seen: &'a mut Seen) -> Self {
        let mut random = Random(seed);
        let options = PageOptions {
            file_bytes: 1024 << random.below(3),
            open_files_max: 1 + random.below(4),
        };
        Self {
            disk: SimulatedStorage::new(random.number()),
            random,
            options,
            pages: BTreeMap::new(),
            checkpoint: Vec::new(),
            broken: false,
            seen,
        }
    }

    fn run(&mut self) {
        for _ in 0..2 + self.random.below(5) {
            let store = self.open();
            for _ in 0..self.random.below(60) {
                self.step(&store);
                if self.disk.has_stopped() {
                    break;
                }
            }
            drop(store);
            if self.disk.has_stopped() || self.random.one_in(2) {
                self.seen.power_cuts += 1;
                self.disk.crash(self.random.number());
            } else {
                self.seen.kills += 1;
                self.disk.heal();
            }
        }
        self.open();
    }

    fn needed(&self) -> BTreeSet<u32> {
        self.checkpoint.iter().map(|place| place.file).collect()
    }

    /// Begins a new life, and asks for every page of the lives before.
    fn open(&mut self) -> PageStore {
        self.broken = false;
        let storage = Arc::new(self.disk.clone());
        let needed = self.needed();
        let late = self.random.one_in(2);
        let store = if late {
            PageStore::open_all(storage, STORE, self.options)
        } else {
            PageStore::open(storage, STORE, self.options, Some(&needed))
        }
        .unwrap();
        for &place in &self.checkpoint {
            store.restore(place);
        }
        let of_checkpoint: BTreeSet<Place> = self.checkpoint.iter().copied().collect();
        for (&place, page) in &self.pages {
            let survived = check(&store, place, page, of_checkpoint.contains(&place));
            if !page.synced {
                let count = if survived {
                    &mut self.seen.survived_unsynced
                } else {
                    &mut self.seen.lost
                };
                *count += 1;
            }
        }
        if late {
            store.retire(&needed).unwrap();
        }
        // Nobody knows of the others any more.
        self.pages.retain(|place, _| of_checkpoint.contains(place));
        for page in self.pages.values_mut() {
            page.alive = true;
            page.synced = true;
        }
        store
    }

    fn step(&mut self, store: &PageStore) {
        match self.random.below(20) {
            0..=8 => self.write(store),
            9..=11 => self.free(store),
            12..=14 => self.read(store),
            15 => self.sync(store),
            16 | 17 => self.make_checkpoint(store),
            18 => self.retire(store),
            _ => self.plan_fault(),
        }
        let live = self.pages.values().filter(|page| page.alive);
        let live = live.map(|page| (32 + page.contents.len()).next_multiple_of(8) as u64);
        assert_eq!(store.live_bytes(), live.sum::<u64>());
    }

    fn write(&mut self, store: &PageStore) {
        // Pages of few lengths, so that a place is likely to fit another page too.
        let bytes = [0, 100, 300, 301, 1500][self.random.below(5)];
        let contents: Vec<u8> = (0..bytes)
            .map(|_| self.random.number().to_le_bytes()[0])
            .collect();
        match store.write(&contents) {
            Ok(place) => {
                let page = Page {
                    contents,
                    alive: true,
                    synced: false,
                };
                let taken = self.pages.insert(place, page);
                assert!(taken.is_none(), "{place:?} was handed out twice");
            }
            Err(failure) if is_out_of_room(&failure.error) => {
                self.seen.full += 1;
                self.disk.heal();
            }
            Err(_) => self.seen.failed += 1,
        }
    }

    fn any_alive(&mut self) -> Option<Place> {
        let alive = self.pages.iter().filter(|(_, page)| page.alive);
        let alive: Vec<Place> = alive.map(|(place, _)| *place).collect();
        alive.get(self.random.below(alive.len())).copied()
    }

    fn free(&mut self, store: &PageStore) {
        for _ in 0..self.random.below(6) {
            let Some(place) = self.any_alive() else {
                return;
            };
            store.free(place);
            self.pages.get_mut(&place).unwrap().alive = false;
        }
    }

    fn read(&mut self, store: &PageStore) {
        self.disk.heal();
        for (&place, page) in &self.pages {
            check(store, place, page, page.alive);
        }
    }

    fn sync(&mut self, store: &PageStore) {
        if store.sync().is_ok() {
            assert!(!self.broken, "a failed sync was forgotten");
            self.pages.values_mut().for_each(|page| page.synced = true);
        } else {
            self.seen.failed += 1;
            self.broken = true;
        }
    }

    /// All that is alive is noted, synced, and then needed.
    fn make_checkpoint(&mut self, store: &PageStore) {
        let alive = self.pages.iter().filter(|(_, page)| page.alive);
        let noted: Vec<Place> = alive.map(|(place, _)| *place).collect();
        self.sync(store);
        if !self.broken && !self.disk.has_stopped() {
            self.seen.checkpoints += 1;
            self.checkpoint = noted;
        }
    }

    fn retire(&mut self, store: &PageStore) {
        let before = store.bytes_on_disk();
        let _ = store.retire(&self.needed());
        self.seen.retired += u64::from(store.bytes_on_disk() < before);
        if self.disk.has_stopped() {
            return;
        }
        self.read(store);
    }

    fn plan_fault(&mut self) {
        let fault =
            [Fault::Error, Fault::Full, Fault::Short, Fault::PowerCut][self.random.below(4)];
        let operation = [Operation::Write, Operation::Sync, Operation::Allocate];
        let operation = match fault {
            Fault::Full => [Operation::Write, Operation::Allocate][self.random.below(2)],
            Fault::Short => Operation::Write,
            _ => operation[self.random.below(3)],
        };
        self.disk
            .fail(Some(operation), self.random.below(6) as u64, fault);
    }
}

/// Reads a page: it is what was written or, unless it is needed, a flaw. Returns whether it is there.
fn check(store: &PageStore, place: Place, page: &Page, is_needed: bool) -> bool {
    let mut out = Vec::new();
    match store.read(place, &mut out).unwrap() {
        Ok(()) => {
            assert!(out == page.contents, "{place:?} is another page");
            true
        }
        Err(flaw) => {
            assert!(!is_needed, "{place:?}: {flaw}");
            if let ReadFlaw::Damaged { offset, .. } = flaw {
                assert!(offset == place.offset || offset == 0);
            }
            false
        }
    }
}
