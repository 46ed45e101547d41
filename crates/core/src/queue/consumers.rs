//! Consumers: who is next, with how much room.
//!
//! A consumer is *open* for a class of entries while its window and its credit have room. Open consumers of one
//! priority and class form a ring; the head is served and goes to the end. So a message finds its consumer, and a
//! consumer opens, closes or goes, in constant time however many there are; only distinct priorities are looked
//! through. The rings are in `rings`.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::cmp::Reverse;

use super::credit::{Credit, SharedCredit};
use super::held::{Held, LeaseTimeout};
use super::ready::Class;
use super::rings::{Link, NIL, Ring, UNLINKED, slot_of};
use crate::id::Position;

/// Messages assigned to a consumer and not drained, at most.
pub const WINDOW_MESSAGES_MAX: usize = 1024;
/// A consumer with so many assigned, undrained body bytes is assigned no more.
pub const WINDOW_BYTES_MAX: u64 = 256 * 1024;

/// A consumer of one queue. Keys of consumers that went are never valid again.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ConsumerKey {
    index: u32,
    generation: u32,
}

impl ConsumerKey {
    /// Nobody: what `get` leases to.
    pub(super) const NOBODY: Self = Self {
        index: u32::MAX,
        generation: u32::MAX,
    };

    /// Small and dense: the index of a table of the queue's consumers.
    pub fn index(self) -> usize {
        self.index as usize
    }
}

/// When a delivered message leaves the queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AckMode {
    /// When it is drained.
    Auto,
    /// When it is settled.
    Manual,
    /// As `Auto` for at-most-once messages, as `Manual` for others.
    ByMessage,
}

/// What a consumer asks for.
#[derive(Clone, Debug)]
pub struct ConsumerSpec {
    /// When messages leave the queue.
    pub mode: AckMode,
    /// How many it may hold.
    pub credit: Credit,
    /// Higher ones are served first while they have room.
    pub priority: i32,
    /// It wants to be the only one.
    pub exclusive: bool,
    /// For how long it may hold a message.
    pub lease_timeout: LeaseTimeout,
}

/// Why a queue takes no consumer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConsumeRefusal {
    /// There is an exclusive consumer; or there is one and this wants to be exclusive; or exclusive is asked of a
    /// queue with a single active consumer.
    ExclusiveUse,
    /// The queue is deleted.
    Closed,
}

/// A consumer as others may see it.
#[derive(Clone, Debug)]
pub struct ConsumerView {
    /// Which.
    pub key: ConsumerKey,
    /// When messages leave the queue.
    pub mode: AckMode,
    /// Its limit, if it has one.
    pub credit_limit: Option<u32>,
    /// Its priority.
    pub priority: i32,
    /// Whether it is the only one by its wish.
    pub exclusive: bool,
    /// Whether it is served: always, but for those that wait behind a single active consumer.
    pub active: bool,
    /// Messages assigned and not drained.
    pub assigned: u64,
    /// Messages drained and not settled.
    pub leased: u64,
}

/// Consumers of one priority.
pub(super) struct Group {
    priority: i32,
    members: u32,
    pub(super) rings: [Ring; 2],
}

pub(super) struct Consumer {
    pub(super) spec: ConsumerSpec,
    registration: u64,
    pub(super) assigned: VecDeque<Position>,
    pub(super) assigned_bytes: u64,
    /// Messages that count against credit: assigned or leased.
    used: u32,
    /// Of those, leased.
    pub(super) leased: u32,
    /// Named in the effects and not drained to the end since.
    pub(super) notified: bool,
    pub(super) held: Held,
    /// Gone, but messages it holds still count against a shared credit.
    departed: bool,
    pub(super) links: [Link; 2],
}

impl Consumer {
    pub(super) fn mode(&self) -> AckMode {
        self.spec.mode
    }

    /// Whether entries of that class count against credit.
    fn uses_credit(&self, class: Class) -> bool {
        match self.spec.mode {
            AckMode::Auto => false,
            AckMode::Manual => true,
            AckMode::ByMessage => class == Class::Kept,
        }
    }

    #[inline]
    fn has_window(&self) -> bool {
        self.assigned.len() < WINDOW_MESSAGES_MAX && self.assigned_bytes < WINDOW_BYTES_MAX
    }

    #[inline]
    fn has_credit(&self) -> bool {
        match &self.spec.credit {
            Credit::Unlimited => true,
            Credit::Limited(limit) => self.used < *limit,
            Credit::Shared { with, limit } => self.used < *limit && with.has_room(),
        }
    }

    pub(super) fn has_room(&self, class: Class) -> bool {
        let has_credit = if self.uses_credit(class) {
            self.has_credit()
        } else {
            self.watched().is_none_or(SharedCredit::has_room)
        };
        self.has_window() && !self.departed && has_credit
    }

    /// A shared credit of which it takes nothing, and without room for others gets nothing.
    fn watched(&self) -> Option<&SharedCredit> {
        match &self.spec.credit {
            Credit::Shared { with, .. } if self.spec.mode == AckMode::Auto => Some(with),
            _ => None,
        }
    }

    fn give_back_credit(&mut self, messages: u32) {
        debug_assert!(messages <= self.used, "credit given back was taken");
        self.used = self.used.saturating_sub(messages);
        if let Credit::Shared { with, .. } = &self.spec.credit {
            with.give_back(messages);
        }
    }
}

pub(super) struct Cell {
    generation: u32,
    pub(super) consumer: Option<Consumer>,
}

/// All consumers of a queue.
pub(super) struct Consumers {
    pub(super) cells: Vec<Cell>,
    free: Vec<u32>,
    /// By priority, highest first; only those with members.
    pub(super) groups: Vec<Group>,
    /// Those who did not depart: highest priority first, then in order of arrival.
    pub(super) order: BTreeMap<(Reverse<i32>, u64), u32>,
    /// How many are open, by class.
    pub(super) open: [u32; 2],
    registrations: u64,
    exclusive: bool,
    /// Serve one only.
    pub(super) single: bool,
    /// One of higher priority replaces the one served, once that one holds nothing.
    pub(super) preempting: bool,
    /// Serve none.
    paused: bool,
    pub(super) active: u32,
}

impl Consumers {
    pub(super) fn new(single: bool) -> Self {
        Self {
            cells: Vec::new(),
            free: Vec::new(),
            groups: Vec::new(),
            order: BTreeMap::new(),
            open: [0; 2],
            registrations: 0,
            exclusive: false,
            single,
            preempting: false,
            paused: false,
            active: NIL,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    pub(super) fn is_paused(&self) -> bool {
        self.paused
    }

    /// Serve none, or those who have room.
    pub(super) fn set_paused(&mut self, paused: bool) {
        self.paused = paused;
    }

    pub(super) fn add(&mut self, spec: ConsumerSpec) -> Result<ConsumerKey, ConsumeRefusal> {
        if self.exclusive || spec.exclusive && (self.single || !self.is_empty()) {
            return Err(ConsumeRefusal::ExclusiveUse);
        }
        self.exclusive = spec.exclusive;
        let priority = spec.priority;
        let registration = self.registrations;
        self.registrations += 1;
        let consumer = Consumer {
            spec,
            registration,
            assigned: VecDeque::new(),
            assigned_bytes: 0,
            used: 0,
            leased: 0,
            notified: false,
            held: Held::default(),
            departed: false,
            links: [UNLINKED; 2],
        };
        let index = self.free.pop().unwrap_or_else(|| {
            if self.cells.is_empty() {
                // Most queues have one consumer: as a session has.
                self.cells.reserve_exact(1);
                self.groups.reserve_exact(1);
            }
            self.cells.push(Cell {
                generation: 0,
                consumer: None,
            });
            u32::try_from(self.cells.len() - 1).expect("memory holds fewer than 2^32 consumers")
        });
        let cell = &mut self.cells[index as usize];
        cell.consumer = Some(consumer);
        let key = ConsumerKey {
            index,
            generation: cell.generation,
        };
        self.order.insert((Reverse(priority), registration), index);
        match self.find_group(priority) {
            Ok(at) => self.groups[at].members += 1,
            Err(at) => {
                let rings = [Ring::EMPTY; 2];
                self.groups.insert(
                    at,
                    Group {
                        priority,
                        members: 1,
                        rings,
                    },
                );
            }
        }
        self.elect();
        self.refresh(index);
        Ok(key)
    }

    /// Takes a consumer out. Its assigned messages must have been given back before.
    pub(super) fn remove(&mut self, key: ConsumerKey) {
        let Some(consumer) = self.get_mut(key) else {
            return;
        };
        debug_assert!(consumer.assigned.is_empty());
        consumer.departed = true;
        let (priority, registration) = (consumer.spec.priority, consumer.registration);
        // An exclusive consumer is alone.
        self.exclusive = false;
        self.refresh(key.index);
        self.order.remove(&(Reverse(priority), registration));
        if let Ok(at) = self.find_group(priority) {
            self.groups[at].members -= 1;
            if self.groups[at].members == 0 {
                self.groups.remove(at);
            }
        }
        if self.active == key.index {
            self.active = NIL;
            self.elect();
        }
        self.bury(key.index);
    }

    /// Frees the cell of a departed consumer that nothing depends on any more.
    fn bury(&mut self, index: u32) {
        let cell = &mut self.cells[index as usize];
        let Some(consumer) = &cell.consumer else {
            return;
        };
        let counted_elsewhere =
            consumer.used > 0 && matches!(consumer.spec.credit, Credit::Shared { .. });
        if consumer.departed && !counted_elsewhere {
            cell.consumer = None;
            cell.generation = cell.generation.wrapping_add(1);
            self.free.push(index);
        }
    }

    pub(super) fn find_group(&self, priority: i32) -> Result<usize, usize> {
        self.groups
            .binary_search_by(|group| priority.cmp(&group.priority))
    }

    fn holder_mut(&mut self, key: ConsumerKey) -> Option<&mut Consumer> {
        let cell = self.cells.get_mut(key.index())?;
        if cell.generation == key.generation {
            cell.consumer.as_mut()
        } else {
            None
        }
    }

    /// The consumer, unless it went.
    pub(super) fn get(&self, key: ConsumerKey) -> Option<&Consumer> {
        let cell = self.cells.get(key.index())?;
        let consumer = cell.consumer.as_ref()?;
        (cell.generation == key.generation && !consumer.departed).then_some(consumer)
    }

    /// The consumer, unless it went.
    pub(super) fn get_mut(&mut self, key: ConsumerKey) -> Option<&mut Consumer> {
        self.holder_mut(key).filter(|consumer| !consumer.departed)
    }

    /// Those who did not depart, in no order.
    pub(super) fn holders_mut(&mut self) -> impl Iterator<Item = (ConsumerKey, &mut Consumer)> {
        (0..).zip(&mut self.cells).filter_map(|(index, cell)| {
            let generation = cell.generation;
            let consumer = cell.consumer.as_mut().filter(|c| !c.departed)?;
            Some((ConsumerKey { index, generation }, consumer))
        })
    }

    /// Keys in order: highest priority first, then in order of arrival.
    pub(super) fn keys(&self) -> impl Iterator<Item = ConsumerKey> {
        self.order.values().map(|&index| ConsumerKey {
            index,
            generation: self.cells[index as usize].generation,
        })
    }

    pub(super) fn views(&self) -> impl Iterator<Item = ConsumerView> {
        self.keys().filter_map(|key| {
            let consumer = self.cells[key.index()].consumer.as_ref()?;
            Some(ConsumerView {
                key,
                mode: consumer.spec.mode,
                credit_limit: match &consumer.spec.credit {
                    Credit::Unlimited => None,
                    Credit::Limited(limit) => Some(*limit),
                    Credit::Shared { with, limit } => Some(with.limit().min(*limit)),
                },
                priority: consumer.spec.priority,
                exclusive: consumer.spec.exclusive,
                active: !self.single || self.active == key.index,
                assigned: consumer.assigned.len() as u64,
                leased: consumer.leased.into(),
            })
        })
    }

    /// Messages there is memory for in consumers' lists.
    #[cfg(test)]
    pub(super) fn assigned_capacity(&self) -> usize {
        let consumers = self.cells.iter().filter_map(|cell| cell.consumer.as_ref());
        consumers.map(|c| c.assigned.capacity()).sum()
    }

    /// The consumer that is alone by its own wish.
    pub(super) fn exclusive(&self) -> Option<ConsumerKey> {
        self.exclusive.then(|| self.keys().next()).flatten()
    }

    pub(super) fn key_at(&self, index: u32) -> Option<ConsumerKey> {
        let cell = self.cells.get(index as usize)?;
        let generation = cell.generation;
        cell.consumer
            .as_ref()
            .map(|_| ConsumerKey { index, generation })
    }

    /// Whether somebody may have room for an entry of that class.
    pub(super) fn has_open(&self, class: Class) -> bool {
        self.open[slot_of(class)] > 0 && !self.paused
    }

    /// Whether [`Self::pick`] would find somebody now; closes those whose shared credit is used up elsewhere.
    #[cold]
    pub(super) fn could_pick(&mut self, class: Class) -> bool {
        let Some(key) = self.pick(class) else {
            return false;
        };
        if let Some(consumer) = self.get_mut(key)
            && consumer.uses_credit(class)
        {
            consumer.give_back_credit(1);
        }
        true
    }

    /// Chooses who gets an entry of that class, and takes its credit for it: [`Self::hand`] must follow.
    pub(super) fn pick(&mut self, class: Class) -> Option<ConsumerKey> {
        let at = slot_of(class);
        if self.open[at] == 0 || self.paused {
            return None;
        }
        if self.single {
            if self.is_awaited() {
                return None;
            }
            let index = self.active;
            let open = self.cells.get(index as usize)?.consumer.as_ref()?.links[at].open;
            return if open {
                self.take_credit(index, class)
            } else {
                None
            };
        }
        let mut group = 0;
        while let Some(ring) = self.groups.get(group).map(|group| group.rings[at]) {
            if ring.head == NIL {
                group += 1;
            } else if let Some(key) = self.take_credit(ring.head, class) {
                return Some(key);
            }
        }
        None
    }

    /// Takes credit for one message; closes the consumer if a shared credit turns out to be used up elsewhere.
    fn take_credit(&mut self, index: u32, class: Class) -> Option<ConsumerKey> {
        let cell = self.cells.get_mut(index as usize)?;
        let consumer = cell.consumer.as_mut()?;
        if consumer.uses_credit(class) {
            if let Credit::Shared { with, .. } = &consumer.spec.credit
                && !with.try_take()
            {
                self.unlink(index, class);
                return None;
            }
            consumer.used += 1;
        } else if consumer.watched().is_some_and(|with| !with.has_room()) {
            self.unlink(index, class);
            return None;
        }
        Some(ConsumerKey {
            index,
            generation: cell.generation,
        })
    }

    /// Gives the picked consumer its entry. Returns whether it is to be notified.
    pub(super) fn hand(
        &mut self,
        key: ConsumerKey,
        class: Class,
        position: Position,
        body_bytes: u32,
    ) -> bool {
        let Some(consumer) = self.get_mut(key) else {
            return false;
        };
        consumer.assigned.push_back(position);
        consumer.assigned_bytes += u64::from(body_bytes);
        let notify = !core::mem::replace(&mut consumer.notified, true);
        let others_wait = consumer.links[slot_of(class)].next != NIL;
        // It may close but never open here, though shared credit may have come back: whoever opens a consumer must
        // assign it what waits.
        if !(consumer.has_window() && consumer.has_credit()) {
            self.close_if_full(key.index);
        }
        if others_wait {
            self.rotate(key.index, class);
        }
        notify
    }

    /// Turns an assigned message into a leased one.
    pub(super) fn lease(consumer: &mut Consumer) {
        consumer.leased += 1;
    }

    /// Gives back the credit of leased messages that were settled.
    pub(super) fn release(&mut self, key: ConsumerKey, messages: u32) {
        let Some(consumer) = self.holder_mut(key) else {
            return;
        };
        debug_assert!(messages <= consumer.leased);
        consumer.leased = consumer.leased.saturating_sub(messages);
        consumer.give_back_credit(messages);
        if consumer.departed {
            self.bury(key.index);
        } else {
            self.refresh(key.index);
            self.elect();
        }
    }

    /// Takes back all assigned messages, with their credit, from a consumer that is about to be removed.
    pub(super) fn take_assigned(&mut self, key: ConsumerKey) -> VecDeque<Position> {
        let Some(consumer) = self.get_mut(key) else {
            return VecDeque::new();
        };
        let assigned = core::mem::take(&mut consumer.assigned);
        consumer.assigned_bytes = 0;
        // What is used and not leased is assigned.
        let credit = consumer.used - consumer.leased;
        consumer.give_back_credit(credit);
        assigned
    }

    /// Changes a consumer's credit; what it uses moves along.
    pub(super) fn set_credit(&mut self, key: ConsumerKey, credit: Credit) {
        let Some(consumer) = self.get_mut(key) else {
            return;
        };
        let used = consumer.used;
        if let Credit::Shared { with, .. } = &credit {
            with.take_all(used);
        }
        if let Credit::Shared { with, .. } = core::mem::replace(&mut consumer.spec.credit, credit) {
            with.give_back(used);
        }
        self.refresh(key.index);
    }

    /// Looks again whether a consumer has room.
    pub(super) fn refresh_key(&mut self, key: ConsumerKey) {
        if self.get_mut(key).is_some() {
            self.refresh(key.index);
            self.elect();
        }
    }

    /// Ends all consumers and gives back what they hold of shared credits.
    pub(super) fn close(&mut self) {
        for cell in &mut self.cells {
            if let Some(consumer) = &mut cell.consumer {
                let used = consumer.used;
                consumer.give_back_credit(used);
            }
        }
        *self = Self {
            paused: self.paused,
            preempting: self.preempting,
            ..Self::new(false)
        };
    }
}
