//! Rings of open consumers: one per priority and class, as links between the consumers' cells.

use super::consumers::Consumers;
use super::ready::Class;

pub(super) const NIL: u32 = u32::MAX;
pub(super) const CLASSES: [Class; 2] = [Class::Kept, Class::AtMostOnce];

pub(super) const fn slot_of(class: Class) -> usize {
    match class {
        Class::Kept => 0,
        Class::AtMostOnce => 1,
    }
}

#[derive(Clone, Copy)]
pub(super) struct Link {
    previous: u32,
    pub(super) next: u32,
    pub(super) open: bool,
}

pub(super) const UNLINKED: Link = Link {
    previous: NIL,
    next: NIL,
    open: false,
};

#[derive(Clone, Copy)]
pub(super) struct Ring {
    pub(super) head: u32,
    tail: u32,
}

impl Ring {
    pub(super) const EMPTY: Self = Self {
        head: NIL,
        tail: NIL,
    };
}

impl Consumers {
    /// Opens or closes a consumer by the room it has. Who calls this assigns what waits afterwards.
    pub(super) fn refresh(&mut self, index: u32) {
        let Some(consumer) = &self.cells[index as usize].consumer else {
            return;
        };
        for class in CLASSES {
            let was_open = consumer.links[slot_of(class)].open;
            let open = consumer.has_room(class);
            if open != was_open {
                return self.refresh_changed(index);
            }
        }
    }

    /// Closes a consumer for the classes it has no room for.
    pub(super) fn close_if_full(&mut self, index: u32) {
        for class in CLASSES {
            let Some(consumer) = &self.cells[index as usize].consumer else {
                return;
            };
            if !consumer.has_room(class) {
                self.unlink(index, class);
            }
        }
    }

    fn refresh_changed(&mut self, index: u32) {
        for class in CLASSES {
            let Some(consumer) = &self.cells[index as usize].consumer else {
                return;
            };
            match (
                consumer.links[slot_of(class)].open,
                consumer.has_room(class),
            ) {
                (false, true) => self.link(index, class),
                (true, false) => self.unlink(index, class),
                _ => {}
            }
        }
    }

    fn link_mut(&mut self, index: u32, class: Class) -> Option<&mut Link> {
        let consumer = self.cells.get_mut(index as usize)?.consumer.as_mut()?;
        Some(&mut consumer.links[slot_of(class)])
    }

    fn ring_mut(&mut self, index: u32, class: Class) -> Option<&mut Ring> {
        let priority = self
            .cells
            .get(index as usize)?
            .consumer
            .as_ref()?
            .spec
            .priority;
        let group = if self.groups.len() == 1 {
            0
        } else {
            self.find_group(priority).ok()?
        };
        Some(&mut self.groups.get_mut(group)?.rings[slot_of(class)])
    }

    /// Puts a consumer at the end of its ring.
    fn link(&mut self, index: u32, class: Class) {
        let Some(ring) = self.ring_mut(index, class) else {
            return;
        };
        let previous = core::mem::replace(&mut ring.tail, index);
        if previous == NIL {
            ring.head = index;
        } else if let Some(link) = self.link_mut(previous, class) {
            link.next = index;
        }
        if let Some(link) = self.link_mut(index, class) {
            *link = Link {
                previous,
                next: NIL,
                open: true,
            };
        }
        self.open[slot_of(class)] += 1;
    }

    /// Closes a consumer.
    pub(super) fn unlink(&mut self, index: u32, class: Class) {
        let Some(link) = self.link_mut(index, class) else {
            return;
        };
        let Link {
            previous,
            next,
            open,
        } = core::mem::replace(link, UNLINKED);
        if !open {
            return;
        }
        if let Some(before) = self.link_mut(previous, class) {
            before.next = next;
        }
        if let Some(after) = self.link_mut(next, class) {
            after.previous = previous;
        }
        if let Some(ring) = self.ring_mut(index, class) {
            if previous == NIL {
                ring.head = next;
            }
            if next == NIL {
                ring.tail = previous;
            }
        }
        self.open[slot_of(class)] -= 1;
    }

    /// Sends the consumer that was served to the end of its ring.
    pub(super) fn rotate(&mut self, index: u32, class: Class) {
        let Some(link) = self.link_mut(index, class) else {
            return;
        };
        if link.next != NIL {
            self.unlink(index, class);
            self.link(index, class);
        }
    }
}
