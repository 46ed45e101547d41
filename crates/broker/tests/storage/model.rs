//! What must be where: certainly, perhaps, or not at all.

use std::collections::{BTreeMap, BTreeSet};

use crate::noise::Event;

/// What can happen to a queue's messages beside what clients do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// Nothing.
    Plain,
    /// Any of them may be dropped.
    Bounded,
}

/// A message in a queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Entry {
    pub(crate) certain: bool,
    pub(crate) durable: bool,
    pub(crate) priority: u8,
}

/// A queue, or two of which one takes the other's dead letters.
#[derive(Debug)]
pub(crate) struct Shelf {
    pub(crate) kind: Kind,
    pub(crate) durable: bool,
    /// None: perhaps.
    pub(crate) exists: Option<bool>,
    pub(crate) entries: BTreeMap<u64, Entry>,
}

#[derive(Debug)]
enum Change {
    Published(String, u64),
    Settled(String, u64, Entry),
}

/// Something under a name that has one value at a time.
#[derive(Default, Debug)]
struct Cell {
    /// With the records that are enough for them; the last one stands.
    values: Vec<(Option<u64>, Option<Vec<u8>>)>,
}

#[derive(Default, Debug)]
pub(crate) struct Model {
    pub(crate) shelves: BTreeMap<String, Shelf>,
    /// With the record that is enough for it to be safe; none until one is known.
    pending: Vec<(Option<u64>, Change)>,
    cells: BTreeMap<String, Cell>,
    pub(crate) leased: BTreeSet<u64>,
}

impl Model {
    pub(crate) fn add(&mut self, name: &str, kind: Kind, durable: bool) {
        let shelf = Shelf {
            kind,
            durable,
            exists: Some(true),
            entries: BTreeMap::new(),
        };
        self.shelves.insert(name.to_owned(), shelf);
    }

    pub(crate) fn published(&mut self, name: &str, id: u64, durable: bool, priority: u8) {
        let shelf = self.shelves.get_mut(name).unwrap();
        let entry = Entry {
            certain: shelf.kind == Kind::Plain,
            durable: durable && shelf.durable,
            priority,
        };
        shelf.entries.insert(id, entry);
        let change = Change::Published(name.to_owned(), id);
        self.pending.push((None, change));
    }

    pub(crate) fn settled(&mut self, name: &str, id: u64) {
        let entry = self.shelves.get_mut(name).unwrap().entries.remove(&id);
        self.leased.remove(&id);
        if let Some(entry) = entry {
            let change = Change::Settled(name.to_owned(), id, entry);
            self.pending.push((None, change));
        }
    }

    /// What somebody else did at the same time.
    pub(crate) fn noise(&mut self, name: &str, events: Vec<Event>) {
        // Each change is safe with the next publish at the latest.
        let mut bound = None;
        let mut changes = Vec::new();
        for event in events.into_iter().rev() {
            if let Event::Published(_, lsn) = event {
                bound = Some(lsn);
            }
            changes.push((bound, event));
        }
        for (bound, event) in changes.into_iter().rev() {
            match event {
                Event::Published(id, _) => self.published(name, id, true, 0),
                Event::Acked(id) => {
                    let there = self.shelves[name].entries.contains_key(&id);
                    assert!(there, "{name}: {id} was delivered, and should not be there");
                    self.settled(name, id);
                }
            }
            self.pending.last_mut().unwrap().0 = bound;
        }
    }

    pub(crate) fn put(&mut self, key: &str, value: Option<Vec<u8>>) {
        let cell = self.cells.entry(key.to_owned()).or_default();
        if cell.values.is_empty() {
            cell.values.push((Some(0), None));
        }
        cell.values.push((None, value));
    }

    /// Everything so far is safe when that record is.
    pub(crate) fn bound(&mut self, lsn: u64) {
        for (bound, _) in &mut self.pending {
            bound.get_or_insert(lsn);
        }
        for cell in self.cells.values_mut() {
            for (bound, _) in &mut cell.values {
                bound.get_or_insert(lsn);
            }
        }
    }

    /// The queue is gone, or perhaps.
    pub(crate) fn deleted(&mut self, name: &str, certain: bool) {
        let shelf = self.shelves.get_mut(name).unwrap();
        if certain {
            shelf.exists = Some(false);
            shelf.entries.clear();
            let is_other = |change: &Change| match change {
                Change::Published(of, _) | Change::Settled(of, ..) => of != name,
            };
            self.pending.retain(|(_, change)| is_other(change));
        } else {
            shelf.exists = None;
            let entries = shelf.entries.values_mut();
            entries.for_each(|entry| entry.certain = false);
        }
    }

    /// A start, after all records up to that one were safe; all there were after an end in order.
    pub(crate) fn restarted(&mut self, committed: u64) {
        self.leased.clear();
        for (bound, change) in std::mem::take(&mut self.pending) {
            if bound.is_some_and(|bound| bound <= committed) {
                continue;
            }
            match change {
                Change::Published(name, id) => {
                    let entries = &mut self.shelves.get_mut(&name).unwrap().entries;
                    if let Some(entry) = entries.get_mut(&id) {
                        entry.certain = false;
                    }
                }
                Change::Settled(name, id, mut entry) => {
                    entry.certain = false;
                    let entries = &mut self.shelves.get_mut(&name).unwrap().entries;
                    entries.insert(id, entry);
                }
            }
        }
        for shelf in self.shelves.values_mut() {
            if !shelf.durable {
                shelf.exists = Some(false);
            }
            shelf.entries.retain(|_, entry| entry.durable);
        }
        for cell in self.cells.values_mut() {
            let safe = |(bound, _): &(Option<u64>, _)| bound.is_some_and(|b| b <= committed);
            let first = cell.values.iter().rposition(safe).unwrap();
            cell.values.drain(..first);
        }
    }

    /// What was found under all names that begin like that.
    pub(crate) fn check_cells(&mut self, prefix: &str, found: &BTreeMap<String, Vec<u8>>) {
        for key in found.keys() {
            assert!(self.cells.contains_key(key), "{key} was never put");
        }
        let cells = self.cells.iter_mut();
        for (key, cell) in cells.filter(|(key, _)| key.starts_with(prefix)) {
            let found = found.get(key).cloned();
            let known = cell.values.iter().any(|(_, value)| *value == found);
            assert!(known, "{key} is {found:?}, not of {:?}", cell.values);
            cell.values = vec![(Some(0), found)];
        }
    }

    /// What was found on a shelf, in the order in which it was found.
    pub(crate) fn check(&mut self, name: &str, found: &[u64], in_order: bool) {
        let shelf = self.shelves.get_mut(name).unwrap();
        let mut seen = BTreeSet::new();
        let mut last = (255, 0);
        for id in found {
            assert!(seen.insert(*id), "{name}: {id} is there twice");
            let entry = shelf.entries.get_mut(id);
            assert!(
                entry.is_some(),
                "{name}: {id} was settled, or never published there"
            );
            let entry = entry.unwrap();
            entry.certain |= shelf.kind == Kind::Plain;
            let at = (entry.priority, *id);
            let follows = at.0 < last.0 || at.0 == last.0 && at.1 > last.1;
            assert!(!in_order || follows, "{name}: {at:?} came after {last:?}");
            last = at;
        }
        let leased = &self.leased;
        let missing = |(id, entry): &(&u64, &Entry)| {
            entry.certain && !seen.contains(id) && !leased.contains(id)
        };
        let missing: Vec<_> = shelf.entries.iter().filter(missing).collect();
        assert!(missing.is_empty(), "{name}: {missing:?} are missing");
        if shelf.kind == Kind::Plain {
            shelf
                .entries
                .retain(|id, _| seen.contains(id) || leased.contains(id));
        }
    }
}
