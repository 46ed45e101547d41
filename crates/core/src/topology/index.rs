//! Storage for the topology: numbered places, an index over them by hash, and lists threaded through them.

use alloc::vec::Vec;
use core::ops::{Index as At, IndexMut as AtMut};

use hashbrown::HashTable;

/// No place.
pub(crate) const NONE: u32 = u32::MAX;

/// Values at numbered places; a place that became free is taken again.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    places: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self {
            places: Vec::new(),
            free: Vec::new(),
        }
    }
}

impl<T> Slab<T> {
    pub(crate) fn insert(&mut self, value: T) -> u32 {
        if let Some(slot) = self.free.pop() {
            debug_assert!(
                self.places[slot as usize].is_none(),
                "free places are empty"
            );
            self.places[slot as usize] = Some(value);
            return slot;
        }
        let slot = u32::try_from(self.places.len()).unwrap_or(NONE);
        assert!(slot != NONE, "memory ends long before place numbers do");
        self.places.push(Some(value));
        slot
    }

    pub(crate) fn remove(&mut self, slot: u32) -> Option<T> {
        let value = self.places.get_mut(slot as usize)?.take()?;
        self.free.push(slot);
        if self.free.len() == self.places.len() {
            *self = Self::default();
        }
        Some(value)
    }

    pub(crate) fn get(&self, slot: u32) -> Option<&T> {
        self.places.get(slot as usize)?.as_ref()
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// Values with their places, from one on.
    pub(crate) fn iter_from(&self, from: u32) -> impl Iterator<Item = (u32, &T)> {
        let places = self.places.get(from as usize..).unwrap_or_default();
        (from..)
            .zip(places)
            .filter_map(|(slot, value)| Some((slot, value.as_ref()?)))
    }

    /// Values in the order of their places.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.places.iter().flatten()
    }
}

impl<T> At<u32> for Slab<T> {
    type Output = T;
    fn index(&self, slot: u32) -> &T {
        self.get(slot)
            .expect("places are referred to only while they are taken")
    }
}

impl<T> AtMut<u32> for Slab<T> {
    fn index_mut(&mut self, slot: u32) -> &mut T {
        let value = self.places.get_mut(slot as usize).and_then(Option::as_mut);
        value.expect("places are referred to only while they are taken")
    }
}

/// Finds places by a hash of what lies there. Keeps half the hash beside each place, so it grows without reading
/// the places. Its order is never visible.
#[derive(Debug, Default)]
pub(crate) struct Index(HashTable<(u32, u32)>);

impl Index {
    pub(crate) fn find(&self, hash: u64, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        let short = shorten(hash);
        self.0
            .find(spread(short), |&(h, slot)| h == short && is_it(slot))
            .map(|&(_, slot)| slot)
    }

    pub(crate) fn insert(&mut self, hash: u64, slot: u32) {
        let short = shorten(hash);
        self.0
            .insert_unique(spread(short), (short, slot), |&(h, _)| spread(h));
    }

    pub(crate) fn remove(&mut self, hash: u64, slot: u32) {
        let found = self
            .0
            .find_entry(spread(shorten(hash)), |&(_, s)| s == slot);
        debug_assert!(
            found.is_ok(),
            "what is removed was indexed under the same hash"
        );
        if let Ok(entry) = found {
            entry.remove();
        }
        // Removing leaves the table at its largest size ever.
        if self.0.capacity() > SHRINK_FROM && self.0.len() < self.0.capacity() / 8 {
            let len = self.0.len();
            self.0.shrink_to(len * 2, |&(h, _)| spread(h));
        }
    }
}

/// Smaller tables are not worth shrinking.
const SHRINK_FROM: usize = 1024;

#[allow(clippy::cast_possible_truncation, reason = "half of the hash is meant")]
const fn shorten(hash: u64) -> u32 {
    (hash ^ (hash >> 32)) as u32
}

/// Gives every bit of the half an influence on the bits that the table uses: the lowest and the highest.
const fn spread(short: u32) -> u64 {
    let wide = (short as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    wide ^ (wide >> 32)
}

/// Neighbours in one of the lists a place is part of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    pub(crate) previous: u32,
    pub(crate) next: u32,
}

impl Default for Link {
    fn default() -> Self {
        Self {
            previous: NONE,
            next: NONE,
        }
    }
}

/// A value that lists of kind `L` run through.
pub(crate) trait Linked<L: Copy> {
    fn link(&self, list: L) -> Link;
    fn link_mut(&mut self, list: L) -> &mut Link;
}

impl<T> Slab<T> {
    /// Puts `slot` in front of the list that starts at `first`.
    pub(crate) fn link<L: Copy>(&mut self, list: L, first: &mut u32, slot: u32)
    where
        T: Linked<L>,
    {
        let old = *first;
        *self[slot].link_mut(list) = Link {
            previous: NONE,
            next: old,
        };
        if old != NONE {
            self[old].link_mut(list).previous = slot;
        }
        *first = slot;
    }

    /// Takes `slot` out of the list that starts at `first`.
    pub(crate) fn unlink<L: Copy>(&mut self, list: L, first: &mut u32, slot: u32)
    where
        T: Linked<L>,
    {
        let Link { previous, next } = self[slot].link(list);
        if previous == NONE {
            debug_assert_eq!(*first, slot, "the head of a list has nothing before it");
            *first = next;
        } else {
            self[previous].link_mut(list).next = next;
        }
        if next != NONE {
            self[next].link_mut(list).previous = previous;
        }
        *self[slot].link_mut(list) = Link::default();
    }
}
