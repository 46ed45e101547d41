//! A queue as simple as can be: one list of all messages ever, searched from the front for everything.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cmp::Reverse;

use super::super::*;
use crate::message::DeathReason;
use crate::policy::Overflow;

#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum MState {
    Ready,
    Assigned(usize),
    Leased(Option<usize>),
    Gone,
}

#[derive(Clone, Debug)]
pub(super) struct MEntry {
    pub(super) lsn: u64,
    pub(super) size: u64,
    pub(super) lane: u16,
    pub(super) at_most_once: bool,
    pub(super) ttl_ms: Option<u64>,
    pub(super) enqueued_at: u64,
    pub(super) expire_at: Option<u64>,
    pub(super) attempts: u32,
    pub(super) failures: u32,
    pub(super) state: MState,
}

#[derive(Clone, Debug)]
pub(super) enum MCredit {
    Unlimited,
    Limited(u32),
    /// With its own limit.
    Shared(Arc<SharedCredit>, u32),
}

#[derive(Debug)]
pub(super) struct MConsumer {
    pub(super) mode: AckMode,
    pub(super) credit: MCredit,
    pub(super) priority: i32,
    pub(super) exclusive: bool,
    pub(super) assigned: Vec<usize>,
    /// By class.
    open: [bool; 2],
    notified: bool,
    pub(super) gone: bool,
}

/// What [`Effects`] should say, with messages and consumers by number.
#[derive(Default, Debug, PartialEq)]
pub(super) struct MEffects {
    pub(super) ready: Vec<usize>,
    pub(super) dead: Vec<(usize, DeathReason, u32)>,
    pub(super) settled: Vec<u64>,
    pub(super) returned: Vec<(u64, u32, u32)>,
    pub(super) cancelled: Vec<usize>,
    pub(super) delete: Option<DeleteReason>,
    pub(super) dropped: u64,
}

#[derive(Default)]
pub(super) struct Model {
    pub(super) settings: QueueSettings,
    pub(super) entries: Vec<MEntry>,
    pub(super) consumers: Vec<MConsumer>,
    /// Open consumers in the order they are served, by class; priorities are looked up.
    rings: [Vec<usize>; 2],
    active: Option<usize>,
    pub(super) last_used: u64,
    pub(super) closed: bool,
    pub(super) fx: MEffects,
}

impl Model {
    pub(super) fn new(settings: QueueSettings) -> Self {
        Self {
            settings,
            ..Self::default()
        }
    }

    pub(super) fn uses_credit(&self, consumer: usize, class: usize) -> bool {
        match self.consumers[consumer].mode {
            AckMode::Auto => false,
            AckMode::Manual => true,
            AckMode::ByMessage => class == 0,
        }
    }

    pub(super) fn used(&self, consumer: usize) -> u32 {
        let counts = |e: &&MEntry| match e.state {
            MState::Assigned(c) => {
                c == consumer && self.uses_credit(c, usize::from(e.at_most_once))
            }
            MState::Leased(c) => c == Some(consumer),
            _ => false,
        };
        u32::try_from(self.entries.iter().filter(counts).count()).unwrap()
    }

    fn has_room(&self, consumer: usize, class: usize) -> bool {
        let c = &self.consumers[consumer];
        let bytes: u64 = c.assigned.iter().map(|&e| self.entries[e].size).sum();
        let credit = match &c.credit {
            MCredit::Unlimited => true,
            MCredit::Limited(limit) => self.used(consumer) < *limit,
            MCredit::Shared(shared, limit) => {
                self.used(consumer) < *limit && shared.used() < shared.limit()
            }
        };
        !c.gone
            && c.assigned.len() < WINDOW_MESSAGES_MAX
            && bytes < WINDOW_BYTES_MAX
            && (credit || !self.uses_credit(consumer, class))
            && self
                .watched(consumer)
                .is_none_or(|shared| shared.used() < shared.limit())
    }

    /// The shared credit without room in which a consumer gets nothing, though it takes none of it.
    fn watched(&self, consumer: usize) -> Option<&SharedCredit> {
        let c = &self.consumers[consumer];
        match &c.credit {
            MCredit::Shared(shared, _) if c.mode == AckMode::Auto => Some(shared),
            _ => None,
        }
    }

    fn close_for(&mut self, consumer: usize, class: usize) {
        self.rings[class].retain(|&c| c != consumer);
        self.consumers[consumer].open[class] = false;
    }

    fn refresh(&mut self, consumer: usize) {
        for class in 0..2 {
            if !self.has_room(consumer, class) {
                self.close_for(consumer, class);
            } else if !core::mem::replace(&mut self.consumers[consumer].open[class], true) {
                self.rings[class].push(consumer);
            }
        }
    }

    pub(super) fn present(&self) -> Vec<usize> {
        let mut present: Vec<_> = (0..self.consumers.len())
            .filter(|&c| !self.consumers[c].gone)
            .collect();
        present.sort_by_key(|&c| Reverse(self.consumers[c].priority));
        present
    }

    fn elect(&mut self) {
        if !self.settings.single_active_consumer {
            self.active = None;
        } else if self.active.is_none_or(|c| self.consumers[c].gone) {
            self.active = self.present().first().copied();
        }
    }

    fn pick(&mut self, class: usize) -> Option<usize> {
        loop {
            let mut ring = self.rings[class].clone();
            if self.settings.single_active_consumer {
                ring.retain(|&c| Some(c) == self.active);
            }
            ring.sort_by_key(|&c| Reverse(self.consumers[c].priority));
            let first = *ring.first()?;
            if self.uses_credit(first, class)
                && let MCredit::Shared(shared, _) = &self.consumers[first].credit
                && !shared.try_take()
            {
                self.close_for(first, class);
                continue;
            }
            if self
                .watched(first)
                .is_some_and(|shared| shared.used() >= shared.limit())
            {
                self.close_for(first, class);
                continue;
            }
            return Some(first);
        }
    }

    fn hand(&mut self, entry: usize, consumer: usize, class: usize) {
        self.entries[entry].state = MState::Assigned(consumer);
        self.consumers[consumer].assigned.push(entry);
        if !core::mem::replace(&mut self.consumers[consumer].notified, true) {
            self.fx.ready.push(consumer);
        }
        for class in 0..2 {
            if !self.has_room(consumer, class) {
                self.close_for(consumer, class);
            }
        }
        if self.consumers[consumer].open[class] {
            self.rings[class].retain(|&c| c != consumer);
            self.rings[class].push(consumer);
        }
    }

    fn leave(&mut self, entry: usize) {
        let e = &mut self.entries[entry];
        e.state = MState::Gone;
        if e.lsn > 0 {
            self.fx.settled.push(e.lsn);
        }
    }

    fn die(&mut self, entry: usize, reason: DeathReason) {
        let e = &mut self.entries[entry];
        if self.settings.dead_letter.is_some() {
            e.state = MState::Gone;
            self.fx.dead.push((entry, reason, e.attempts));
        } else {
            self.fx.dropped += 1;
            self.leave(entry);
        }
    }

    /// All ready entries of a class: highest lane first, then oldest.
    pub(super) fn ready(&self, class: Option<usize>) -> Vec<usize> {
        let wanted = |e: &MEntry| {
            e.state == MState::Ready && class.is_none_or(|c| c == usize::from(e.at_most_once))
        };
        let mut ready: Vec<_> = (0..self.entries.len())
            .filter(|&e| wanted(&self.entries[e]))
            .collect();
        ready.sort_by_key(|&e| Reverse(self.entries[e].lane));
        ready
    }

    fn over(&self, entry: usize, now: u64) -> bool {
        self.entries[entry].expire_at.is_some_and(|at| at <= now)
    }

    fn first_unexpired(&mut self, now: u64, class: usize) -> Option<usize> {
        loop {
            let first = *self.ready(Some(class)).first()?;
            if !self.over(first, now) {
                return Some(first);
            }
            self.die(first, DeathReason::Expired);
        }
    }

    pub(super) fn assign(&mut self, now: u64) {
        for class in 0..2 {
            while !self.rings[class].is_empty() {
                let Some(entry) = self.first_unexpired(now, class) else {
                    break;
                };
                let Some(consumer) = self.pick(class) else {
                    break;
                };
                self.hand(entry, consumer, class);
            }
        }
    }

    fn ready_bytes(&self, class: Option<usize>) -> u64 {
        self.ready(class)
            .iter()
            .map(|&e| self.entries[e].size)
            .sum()
    }

    fn is_over_limit(&self, more: u64, more_bytes: u64) -> bool {
        self.settings
            .max_length
            .is_some_and(|max| self.ready(None).len() as u64 + more > max)
            || self
                .settings
                .max_length_bytes
                .is_some_and(|max| self.ready_bytes(None) + more_bytes > max)
    }

    fn drop_overflow(&mut self) {
        while self.settings.overflow == Overflow::DropHead && self.is_over_limit(0, 0) {
            let mut ready = self.ready(None);
            ready.sort_by_key(|&e| (!self.entries[e].at_most_once, self.entries[e].lane, e));
            self.die(ready[0], DeathReason::MaxLength);
        }
    }

    fn deadline(&self, enqueued_at: u64, ttl_ms: Option<u64>) -> Option<u64> {
        ttl_ms
            .into_iter()
            .chain(self.settings.message_ttl_ms)
            .min()
            .map(|ttl| enqueued_at + ttl)
    }

    pub(super) fn enqueue(
        &mut self,
        now: u64,
        mut entry: MEntry,
        priority: Option<u8>,
    ) -> Admission {
        let class = usize::from(entry.at_most_once);
        let number = self.entries.len();
        entry.enqueued_at = now;
        entry.expire_at = self.deadline(now, entry.ttl_ms);
        entry.lane = match self.settings.max_priority {
            _ if entry.at_most_once => 256,
            None => 0,
            Some(max) => priority
                .unwrap_or(self.settings.default_priority)
                .min(max)
                .into(),
        };
        let (lsn, size, at_most_once) = (entry.lsn, entry.size, entry.at_most_once);
        entry.state = MState::Gone;
        self.entries.push(entry);
        if let Some(consumer) = self.pick(class) {
            self.hand(number, consumer, class);
            return Admission::Accepted;
        }
        let rule = self.settings.at_most_once;
        let keeps = !at_most_once
            || (rule.keep_without_consumer || !self.present().is_empty())
                && self.ready(Some(1)).len() < rule.messages_max as usize
                && self.ready_bytes(Some(1)) < rule.bytes_max;
        if self.closed || !keeps {
            self.fx.dropped += 1;
            self.fx.settled.extend((lsn > 0).then_some(lsn));
            return Admission::Dropped;
        }
        if self.over(number, now) {
            self.die(number, DeathReason::Expired);
            return Admission::Dropped;
        }
        if self.settings.overflow != Overflow::DropHead && self.is_over_limit(1, size) {
            if self.settings.overflow == Overflow::RejectPublishDeadLetter
                && self.settings.dead_letter.is_some()
            {
                self.fx.dead.push((number, DeathReason::MaxLength, 0));
            } else {
                self.fx.settled.extend((lsn > 0).then_some(lsn));
            }
            return Admission::Rejected;
        }
        self.entries[number].state = MState::Ready;
        self.drop_overflow();
        if self.entries[number].state == MState::Gone {
            Admission::Dropped
        } else {
            Admission::Accepted
        }
    }

    pub(super) fn add_consumer(
        &mut self,
        now: u64,
        mode: AckMode,
        credit: MCredit,
        priority: i32,
        exclusive: bool,
    ) -> Result<usize, ConsumeRefusal> {
        let present = self.present();
        if self.closed {
            return Err(ConsumeRefusal::Closed);
        }
        if present.iter().any(|&c| self.consumers[c].exclusive)
            || exclusive && (self.settings.single_active_consumer || !present.is_empty())
        {
            return Err(ConsumeRefusal::ExclusiveUse);
        }
        let number = self.consumers.len();
        self.consumers.push(MConsumer {
            mode,
            credit,
            priority,
            exclusive,
            assigned: Vec::new(),
            open: [false; 2],
            notified: false,
            gone: false,
        });
        self.elect();
        self.refresh(number);
        self.assign(now);
        Ok(number)
    }

    fn give_back(&self, consumer: usize, messages: u32) {
        if let MCredit::Shared(shared, _) = &self.consumers[consumer].credit {
            shared.give_back(messages);
        }
    }

    fn make_ready(&mut self, now: u64, entry: usize) {
        if self.over(entry, now) {
            self.die(entry, DeathReason::Expired);
        } else {
            self.entries[entry].state = MState::Ready;
        }
    }

    pub(super) fn remove_consumer(&mut self, now: u64, consumer: usize) {
        if self.consumers[consumer].gone {
            return;
        }
        let assigned = core::mem::take(&mut self.consumers[consumer].assigned);
        for &entry in assigned.iter().rev() {
            if self.uses_credit(consumer, usize::from(self.entries[entry].at_most_once)) {
                self.give_back(consumer, 1);
            }
        }
        self.consumers[consumer].gone = true;
        self.refresh(consumer);
        self.elect();
        for &entry in assigned.iter().rev() {
            self.make_ready(now, entry);
        }
        self.assign(now);
        self.drop_overflow();
        if self.present().is_empty() {
            self.last_used = now;
            if self.settings.auto_delete {
                self.fx.delete = Some(DeleteReason::Unused);
            }
        }
    }

    pub(super) fn set_credit(&mut self, now: u64, consumer: usize, credit: MCredit) {
        if !self.consumers[consumer].gone {
            let used = self.used(consumer);
            if let MCredit::Shared(shared, _) = &credit {
                for _ in 0..used {
                    let limit = shared.limit();
                    shared.set_limit(u32::MAX);
                    assert!(shared.try_take());
                    shared.set_limit(limit);
                }
            }
            self.give_back(consumer, used);
            self.consumers[consumer].credit = credit;
            self.refresh(consumer);
        }
        self.assign(now);
    }

    pub(super) fn replenish(&mut self, now: u64, consumer: usize) {
        if !self.consumers[consumer].gone {
            self.refresh(consumer);
        }
        self.assign(now);
    }

    /// Numbers of what is drained, and whether there is more.
    pub(super) fn drain(
        &mut self,
        now: u64,
        consumer: usize,
        budget: Budget,
    ) -> (Vec<usize>, bool) {
        if self.consumers[consumer].gone {
            return (Vec::new(), false);
        }
        let (mut drained, mut bytes) = (Vec::new(), 0);
        while drained.len() < budget.messages
            && (drained.is_empty() || bytes < budget.bytes as u64)
            && !self.consumers[consumer].assigned.is_empty()
        {
            let entry = self.consumers[consumer].assigned.remove(0);
            bytes += self.entries[entry].size;
            drained.push(entry);
            if self.uses_credit(consumer, usize::from(self.entries[entry].at_most_once)) {
                self.entries[entry].state = MState::Leased(Some(consumer));
            } else {
                self.leave(entry);
            }
        }
        self.refresh(consumer);
        self.assign(now);
        let more = !self.consumers[consumer].assigned.is_empty();
        self.consumers[consumer].notified = more;
        (drained, more)
    }

    pub(super) fn get(&mut self, now: u64, auto_ack: bool) -> Option<usize> {
        if self.closed {
            return None;
        }
        self.last_used = now;
        let entry = self
            .first_unexpired(now, 0)
            .or_else(|| self.first_unexpired(now, 1))?;
        if auto_ack {
            self.leave(entry);
        } else {
            self.entries[entry].state = MState::Leased(None);
        }
        Some(entry)
    }

    pub(super) fn settle(&mut self, now: u64, entries: &[usize], outcome: Outcome) -> usize {
        let mut ended: Vec<Option<usize>> = Vec::new();
        // Credit goes back per run of messages that one consumer held.
        let mut run = 0;
        for &entry in entries {
            let MState::Leased(holder) = self.entries[entry].state else {
                continue;
            };
            if ended.last().is_some_and(|last| *last != holder) {
                self.release(ended[ended.len() - 1], run);
                run = 0;
            }
            ended.push(holder);
            run += 1;
            self.end_lease(now, entry, outcome);
        }
        if let Some(last) = ended.last() {
            self.release(*last, run);
            self.assign(now);
            if matches!(outcome, Outcome::Return { .. } | Outcome::Untouched) {
                self.drop_overflow();
            }
        }
        ended.len()
    }

    fn release(&mut self, holder: Option<usize>, messages: u32) {
        if let Some(holder) = holder {
            self.give_back(holder, messages);
            self.refresh(holder);
        }
    }

    fn end_lease(&mut self, now: u64, entry: usize, outcome: Outcome) {
        if let Outcome::Return { failed } | Outcome::Reject { failed } = outcome {
            self.entries[entry].attempts += 1;
            self.entries[entry].failures += u32::from(failed);
        }
        let MEntry {
            lsn,
            attempts,
            failures,
            ..
        } = self.entries[entry];
        match outcome {
            Outcome::Ack => self.leave(entry),
            Outcome::Reject { .. } => self.die(entry, DeathReason::Rejected),
            Outcome::Untouched => self.make_ready(now, entry),
            Outcome::Return { .. }
                if self
                    .settings
                    .delivery_limit
                    .is_some_and(|max| failures > max) =>
            {
                self.die(entry, DeathReason::DeliveryLimit);
            }
            Outcome::Return { .. } => {
                self.fx
                    .returned
                    .extend((lsn > 0).then_some((lsn, attempts, failures)));
                self.make_ready(now, entry);
            }
        }
    }

    pub(super) fn purge(&mut self, now: u64) -> u64 {
        let mut ready = self.ready(None);
        ready.sort_by_key(|&e| (!self.entries[e].at_most_once, self.entries[e].lane, e));
        let mut purged = 0;
        for entry in ready {
            if self.over(entry, now) {
                self.die(entry, DeathReason::Expired);
            } else {
                self.leave(entry);
                purged += 1;
            }
        }
        purged
    }

    fn unused_deadline(&self) -> Option<u64> {
        self.settings
            .expires_ms
            .filter(|_| self.present().is_empty())
            .map(|ms| self.last_used + ms)
    }

    /// The earliest moment at which something must happen.
    pub(super) fn next_deadline(&self) -> Option<u64> {
        let messages = self
            .ready(None)
            .into_iter()
            .filter_map(|e| self.entries[e].expire_at)
            .min();
        messages
            .into_iter()
            .chain(self.unused_deadline())
            .min()
            .filter(|_| !self.closed)
    }

    pub(super) fn expire(&mut self, now: u64) {
        if self.closed {
            return;
        }
        let mut due: Vec<_> = self
            .ready(None)
            .into_iter()
            .filter(|&e| self.over(e, now))
            .collect();
        due.sort_by_key(|&e| (self.entries[e].expire_at, self.entries[e].lane, e));
        for entry in due {
            self.die(entry, DeathReason::Expired);
        }
        if self.unused_deadline().is_some_and(|at| at <= now) {
            self.fx.delete = Some(DeleteReason::Expired);
        }
    }

    pub(super) fn set_settings(&mut self, now: u64, settings: QueueSettings) {
        let old = core::mem::replace(&mut self.settings, settings);
        if self.closed {
            return;
        }
        for e in 0..self.entries.len() {
            let MEntry {
                enqueued_at,
                ttl_ms,
                ..
            } = self.entries[e];
            self.entries[e].expire_at = self.deadline(enqueued_at, ttl_ms);
        }
        self.drop_overflow();
        if old.single_active_consumer != self.settings.single_active_consumer {
            self.active = None;
            self.elect();
            self.assign(now);
        }
    }

    /// What has a record and is not at-most-once is there again, and waits; consumers are not.
    pub(super) fn restart(&mut self, now: u64) {
        let fx = core::mem::take(&mut self.fx);
        let lost = |e: &MEntry| e.state == MState::Gone || e.lsn == 0 || e.at_most_once;
        let states: Vec<_> = self
            .entries
            .iter()
            .map(|e| if lost(e) { MState::Gone } else { MState::Ready })
            .collect();
        let closed = self.closed;
        self.close();
        self.closed = closed;
        for (entry, state) in self.entries.iter_mut().zip(states) {
            entry.state = state;
        }
        self.fx = fx;
        self.active = None;
        self.last_used = now;
        self.drop_overflow();
    }

    pub(super) fn close(&mut self) {
        self.closed = true;
        self.fx.cancelled = self.present();
        for consumer in 0..self.consumers.len() {
            self.give_back(consumer, self.used(consumer));
        }
        for entry in &mut self.entries {
            entry.state = MState::Gone;
        }
        for consumer in &mut self.consumers {
            consumer.gone = true;
            consumer.assigned.clear();
        }
        self.rings = Default::default();
    }
}
