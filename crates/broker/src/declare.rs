//! The declare verb: exchanges, queues and bindings.

use std::borrow::Cow;
use std::sync::Arc;

use ternmq_core::access::Right;
use ternmq_core::error::{Kind, Refusal};
use ternmq_core::id::{ConnectionId, Lsn, QueueId, Timestamp};
use ternmq_core::policy::{AT_MOST_ONCE_MAX, QUEUE_TYPE, QueueKind, QueueSettings, Subject};
use ternmq_core::queue::Queue;
use ternmq_core::record;
use ternmq_core::topology::{
    ExchangeDecl, QueueDecl, Removed, check_client_exchange_name, check_client_queue_name,
};
use ternmq_core::value::Value;
use ternmq_journal::{Batch, Pressure as JournalPressure};

use crate::broker::Inner;
use crate::cell::{QueueCell, QueueHandle};
use crate::client::Client;
use crate::metrics::count;
use crate::vhost::{Space, Vhost};
use crate::work::Work;

/// Messages purged in one step, at most: a queue is not locked for as long as all of it takes.
const PURGE_STEP_MAX: u64 = 4096;

/// A queue as its declaration found or made it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct QueueInfo {
    /// Its name, made by the broker if none was given.
    pub name: Box<str>,
    /// Ready messages; those on their way to a consumer are not.
    pub messages: u64,
    /// Consumers.
    pub consumers: u64,
    /// Whether this declaration made it.
    pub created: bool,
}

/// Conditions of [`Client::delete_queue`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DeleteIf {
    /// Only without consumers.
    pub unused: bool,
    /// Only without ready messages.
    pub empty: bool,
}

impl Client {
    /// Declares an exchange, as one that this client's user has declared. Returns whether it is new.
    pub fn declare_exchange(&mut self, mut decl: ExchangeDecl) -> Result<bool, Refusal> {
        self.check_declare_exchange(&decl)?;
        decl.declared_by = self.user.name().into();
        let max = self.broker.limits.exchanges_max;
        let room = self.broker.room_to_declare();
        let histories = self.broker.histories.clone();
        let is_trusted = self.is_trusted;
        self.write(|space, records| {
            if space.topology.exchange(&decl.name).is_none() {
                if !is_trusted {
                    check_client_exchange_name(&decl.name)?;
                }
                room.check(decl.durable)?;
                below(space.topology.exchange_count(), "exchanges_max", max)?;
            }
            let durable = decl.durable.then(|| decl.clone());
            let created = space.declare_exchange(decl, &histories)?;
            if let (true, Some(decl)) = (created, durable) {
                records.add(|vhost, out| record::exchange_declared(vhost, &decl, out));
            }
            Ok(created)
        })
    }

    /// Checks that an exchange is there.
    pub fn check_exchange(&mut self, name: &str) -> Result<(), Refusal> {
        if !name.is_empty() {
            self.check_any_right(Kind::Exchange, name)?;
        }
        self.vhost.read(|space| space.topology.check_exchange(name))
    }

    /// Deletes an exchange and its bindings. Returns whether there was one.
    pub fn delete_exchange(&mut self, name: &str, if_unused: bool) -> Result<bool, Refusal> {
        self.check_delete_exchange(name)?;
        self.write(|space, records| {
            let mut removed = Removed::default();
            let existed = space
                .topology
                .delete_exchange(name, if_unused, &mut removed)?;
            if existed {
                records.exchange_deleted(name);
            }
            records.removed(&removed);
            Ok(existed)
        })
    }

    /// Declares a queue; an empty name lets the broker choose one.
    pub fn declare_queue(&mut self, decl: QueueDecl) -> Result<QueueInfo, Refusal> {
        if decl.name.is_empty() {
            return self.declare_secret_queue("amq.gen-", decl);
        }
        if !self.is_trusted && matches!(self.cell(&decl.name), Err(Refusal::NotFound { .. })) {
            // One that is there may be declared again, whatever its name.
            check_client_queue_name(&decl.name)?;
        }
        self.declare(&decl)
    }

    /// Declares a queue under a name that nobody can guess; it begins with `prefix`, which may be a reserved one.
    pub fn declare_secret_queue(
        &mut self,
        prefix: &str,
        mut decl: QueueDecl,
    ) -> Result<QueueInfo, Refusal> {
        decl.name = format!("{prefix}{}", self.broker.random_name()).into();
        self.declare(&decl)
    }

    fn declare(&mut self, decl: &QueueDecl) -> Result<QueueInfo, Refusal> {
        self.check_declare_queue(decl)?;
        let _inside = self.broker.gate.enter();
        let now = self.now();
        let decl = self.of_default_kind(decl);
        loop {
            let (cell, created) = self.find_or_make_queue(&decl, now)?;
            self.broker.metrics.churn.declared(created);
            let is_closed = cell.update(self.work.get(), |queue, _| {
                queue.touch(now);
                queue.is_closed()
            });
            self.broker.follow_up(&cell, self.work.get(), now);
            if !is_closed {
                return Ok(info(&cell, created));
            }
            // It was about to go: this one comes after it.
            self.broker
                .delete_queue(&self.vhost, cell.id, self.work.get());
        }
    }

    /// The declaration with the kind that the vhost gives queues that do not say theirs, if such a queue can be of that
    /// kind. Queues of sessions are what their protocol makes them.
    fn of_default_kind<'a>(&self, decl: &'a QueueDecl) -> Cow<'a, QueueDecl> {
        let says = |name| decl.arguments.get(name).is_some();
        if says(QUEUE_TYPE) || says(AT_MOST_ONCE_MAX) {
            return Cow::Borrowed(decl);
        }
        let kind = self.broker.default_queue_kind(&self.vhost.name);
        let fits = match kind {
            None => false,
            Some(QueueKind::Classic) => true,
            Some(QueueKind::Quorum) => {
                decl.durable && decl.exclusive.is_none() && !decl.auto_delete
            }
        };
        let Some(kind) = kind.filter(|_| fits) else {
            return Cow::Borrowed(decl);
        };
        let mut decl = decl.clone();
        decl.arguments.push(QUEUE_TYPE, Value::text(kind.name()));
        Cow::Owned(decl)
    }

    fn find_or_make_queue(
        &mut self,
        decl: &QueueDecl,
        now: Timestamp,
    ) -> Result<(Arc<QueueCell>, bool), Refusal> {
        let (by, id) = (self.id, self.broker.next_queue_id());
        let (owner, max) = (self.vhost.clone(), self.broker.limits.queues_max);
        let decl = decl.clone();
        let room = self.broker.room_to_declare();
        // Matched before anything is locked for it.
        let policies = self.vhost.read(|space| {
            let is_new = space.topology.queue_named(&decl.name).is_none();
            is_new.then(|| space.policies.clone())
        });
        let kind = QueueKind::asked(&decl.arguments);
        let matched = policies.map(|policies| {
            let status = policies.about(Subject::Queue(kind), &decl.name);
            (policies, status)
        });
        self.write(|space, records| {
            let is_new = matches!(
                space.topology.queue(&decl.name, by),
                Err(Refusal::NotFound { .. })
            );
            if is_new {
                room.check(decl.durable && decl.exclusive.is_none())?;
                below(space.topology.queue_count(), "queues_max", max)?;
                owner.check_queue_limit(space.topology.queue_count(), &decl.name)?;
            }
            let declared = space.declare_queue((decl, by, id), now, &owner, records)?;
            if let (cell, true) = &declared {
                match matched.filter(|(policies, _)| Arc::ptr_eq(policies, &space.policies)) {
                    Some((policies, status)) => cell.adopt_status(policies.version(), status),
                    None => cell.adopt_policies(&space.policies),
                }
            }
            Ok(declared)
        })
    }

    /// Checks that a queue is there and that this connection may use it. Counts as use of the queue.
    pub fn check_queue(&mut self, name: &str) -> Result<QueueInfo, Refusal> {
        self.check_any_right(Kind::Queue, name)?;
        let _inside = self.broker.gate.enter();
        let now = self.now();
        let cell = self.cell(name)?;
        cell.update(self.work.get(), |queue, _| queue.touch(now));
        self.broker.follow_up(&cell, self.work.get(), now);
        Ok(info(&cell, false))
    }

    /// Deletes a queue. Returns how many ready messages went with it.
    pub fn delete_queue(&mut self, name: &str, only: DeleteIf) -> Result<u64, Refusal> {
        self.check_right(Right::Configure, Kind::Queue, name)?;
        let _inside = self.broker.gate.enter();
        let cell = self.cell(name)?;
        // The conditions are checked in the step that closes it: nobody comes in between.
        let messages = cell.update(self.work.get(), |queue, effects| {
            let counts = queue.counts();
            if only.unused && counts.consumers > 0 {
                return Err(Refusal::InUse {
                    kind: Kind::Queue,
                    name: name.into(),
                });
            }
            if only.empty && counts.ready > 0 {
                return Err(Refusal::NotEmpty(name.into()));
            }
            queue.close(effects);
            Ok(counts.ready)
        });
        self.broker.collect(&cell, self.work.get());
        let messages = messages?;
        self.broker
            .delete_queue(&self.vhost, cell.id, self.work.get());
        // Whoever deleted it.
        self.declared = self.vhost.read(Space::last_record);
        Ok(messages)
    }

    /// Drops a queue's ready messages. Returns how many.
    pub fn purge_queue(&mut self, name: &str) -> Result<u64, Refusal> {
        self.check_right(Right::Read, Kind::Queue, name)?;
        let now = self.now();
        let cell = self.cell(name)?;
        // What comes in meanwhile may stay: then somebody who publishes as fast cannot keep this going.
        let (mut left, mut purged) = (cell.counts().ready, 0);
        while left > 0 {
            let (resident, gone) = self.purge_resident(&cell, left, now);
            purged += resident;
            left -= gone.min(left);
            if gone == 0 {
                // What is next is not in memory, or nothing is left. Behind it there may be more that is.
                let before = cell.counts().ready;
                purged += self.broker.purge_cold(&cell, left, self.work.get());
                let gone = before.saturating_sub(cell.counts().ready);
                if gone == 0 {
                    break;
                }
                left -= gone.min(left);
            }
        }
        Ok(purged)
    }

    /// A step of a purge. Returns how many messages were purged, and how many went for whatever reason.
    fn purge_resident(&mut self, cell: &Arc<QueueCell>, left: u64, now: Timestamp) -> (u64, u64) {
        let _inside = self.broker.gate.enter();
        let step = left.min(PURGE_STEP_MAX);
        let purged = cell.update(self.work.get(), |queue, effects| {
            let before = queue.counts().ready;
            let purged = queue.purge(now, step, effects);
            (purged, before - queue.counts().ready)
        });
        self.broker.follow_up(cell, self.work.get(), now);
        purged
    }

    /// The cell of a queue that this connection may use.
    pub(crate) fn cell(&self, name: &str) -> Result<Arc<QueueCell>, Refusal> {
        self.vhost.read(|space| {
            let id = space.topology.queue(name, self.id)?.id;
            space.cells.get(&id).cloned().ok_or_else(|| not_found(name))
        })
    }

    /// Changes the topology and appends the change's records while it is still locked: whoever sees the change writes
    /// records behind them.
    pub(crate) fn write<R>(
        &mut self,
        change: impl FnOnce(&mut Space, &mut Records<'_>) -> Result<R, Refusal>,
    ) -> Result<R, Refusal> {
        let Self {
            vhost,
            work,
            broker,
            declared,
            ..
        } = self;
        let work = work.get();
        let _inside = broker.gate.enter();
        vhost
            .write(|space| {
                if space.sealed {
                    return Err(Refusal::VhostDeleted);
                }
                let mut records = Records::of(&vhost.name, &mut work.batch);
                let result = change(space, &mut records)?;
                let gone = std::mem::take(&mut records.exchanges);
                space.append(records.batch, broker);
                space.exchanges_gone(&gone);
                *declared = space.last_record();
                Ok((result, gone, broker.schedule.next_id()))
            })
            .map(|(result, gone, before)| {
                broker.forget_delayed(&vhost.name, &gone, before);
                result
            })
    }
}

/// Whether the journal has room for what can do without.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum RoomToDeclare {
    Enough,
    /// What is left is for what settles and deletes.
    None,
}

impl RoomToDeclare {
    /// To be called before anything changes that has a record.
    pub(crate) fn check(self, has_record: bool) -> Result<(), Refusal> {
        if has_record && self == Self::None {
            return Err(Refusal::DiskFull);
        }
        Ok(())
    }
}

/// Records about one vhost that are to be appended together.
pub(crate) struct Records<'a> {
    vhost: &'a str,
    batch: &'a mut Batch,
    /// Exchanges that are deleted.
    exchanges: Vec<Box<str>>,
}

impl<'a> Records<'a> {
    fn of(vhost: &'a str, batch: &'a mut Batch) -> Self {
        batch.clear();
        Self {
            vhost,
            batch,
            exchanges: Vec::new(),
        }
    }

    pub(crate) fn add(&mut self, write: impl FnOnce(&str, &mut Vec<u8>)) {
        self.batch.record(|out| write(self.vhost, out));
    }

    pub(crate) fn removed(&mut self, removed: &Removed) {
        for name in &removed.exchanges {
            self.exchange_deleted(name);
        }
    }

    fn exchange_deleted(&mut self, name: &str) {
        self.add(|vhost, out| record::exchange_deleted(vhost, name, out));
        self.exchanges.push(name.into());
    }
}

impl Space {
    /// Appends the records of a change that was made.
    fn append(&mut self, batch: &Batch, broker: &Inner) {
        if self.sealed {
            // The record that deletes the vhost stands for what goes with it.
            return;
        }
        let first = broker.append(batch);
        if first.is_some() {
            self.position = Lsn(first.0 + batch.len() as u64);
        } else if !batch.is_empty() {
            // The journal has failed or ended: this will never be committed, and nobody may be told it was.
            self.position = Lsn(u64::MAX);
        }
    }

    /// The record of the last change.
    fn last_record(&self) -> Lsn {
        Lsn(self.position.0.saturating_sub(1))
    }

    fn declare_queue(
        &mut self,
        (decl, by, id): (QueueDecl, ConnectionId, QueueId),
        now: Timestamp,
        owner: &Arc<Vhost>,
        records: &mut Records<'_>,
    ) -> Result<(Arc<QueueCell>, bool), Refusal> {
        let name = decl.name.clone();
        let declared = self.topology.declare_queue(decl, by, id)?;
        if declared.created {
            let entry = self.topology.queue(&name, by)?;
            let queue = Queue::new(entry.settings.clone(), now);
            let cell = QueueCell::new(id, &entry.decl, owner.clone(), queue);
            if cell.durable {
                records.add(|vhost, out| record::queue_declared(vhost, id, &entry.decl, out));
            }
            self.cells.insert(id, Arc::new(cell));
        }
        let cell = self.cells.get(&declared.id).cloned();
        Ok((cell.ok_or_else(|| not_found(&name))?, declared.created))
    }
}

/// One more is allowed only below the limit.
pub(crate) fn below(count: usize, limit: &'static str, max: usize) -> Result<(), Refusal> {
    if count < max {
        return Ok(());
    }
    Err(Refusal::LimitReached {
        limit,
        max: max as u64,
    })
}

fn info(cell: &QueueCell, created: bool) -> QueueInfo {
    let counts = cell.counts();
    QueueInfo {
        name: cell.name.clone(),
        messages: counts.ready,
        consumers: counts.consumers,
        created,
    }
}

fn not_found(name: &str) -> Refusal {
    Refusal::NotFound {
        kind: Kind::Queue,
        name: name.into(),
    }
}

impl Inner {
    /// The kind of queues that are declared in a vhost and do not say theirs.
    fn default_queue_kind(&self, vhost: &str) -> Option<QueueKind> {
        let state = self.registry.state.lock();
        let spec = state.objects.vhost(vhost)?.spec();
        QueueKind::parse(spec.default_queue_type.as_deref()?)
    }

    pub(crate) fn room_to_declare(&self) -> RoomToDeclare {
        if self.log.pressure() == JournalPressure::NoRoom {
            RoomToDeclare::None
        } else {
            RoomToDeclare::Enough
        }
    }

    /// Deletes a queue for whatever reason: its bindings go, its consumers hear of it.
    pub(crate) fn delete_queue(&self, vhost: &Vhost, id: QueueId, work: &mut Work) {
        let removed = vhost.write(|space| {
            let mut removed = Removed::default();
            space.topology.delete_queue(id, &mut removed);
            let cell = space.cells.remove(&id)?;
            let mut records = Records::of(&vhost.name, &mut work.batch);
            if cell.durable {
                records.add(|vhost, out| record::queue_deleted(vhost, id, out));
            }
            records.removed(&removed);
            let gone = std::mem::take(&mut records.exchanges);
            space.append(records.batch, self);
            space.exchanges_gone(&gone);
            Some((cell, gone, self.schedule.next_id()))
        });
        let Some((cell, gone, before)) = removed else {
            return;
        };
        count(&self.metrics.churn.queues_deleted);
        self.forget_delayed(&vhost.name, &gone, before);
        self.forget_service(&cell);
        cell.update(work, Queue::close);
        self.collect(&cell, work);
    }
}

impl Client {
    /// Changes settings of a queue that this connection works with, where the value changes while the queue lives.
    /// What is declared stays as it is.
    pub fn adjust_queue(&mut self, queue: &QueueHandle, adjust: impl FnOnce(&mut QueueSettings)) {
        let _inside = self.broker.gate.enter();
        let now = self.now();
        let cell = &queue.0;
        cell.adjust(self.work.get(), now, adjust);
        self.broker.follow_up(cell, self.work.get(), now);
    }
}
