//! The declare verb: exchanges, queues and bindings.

use std::sync::Arc;

use ternmq_core::error::{Kind, Refusal};
use ternmq_core::id::{ConnectionId, QueueId};
use ternmq_core::policy::QueueSettings;
use ternmq_core::queue::Queue;
use ternmq_core::record;
use ternmq_core::topology::{
    BindingDecl, Destination, ExchangeDecl, QueueDecl, Removed, check_client_queue_name,
};

use crate::broker::Inner;
use crate::cell::{QueueCell, QueueHandle};
use crate::client::Client;
use crate::vhost::{Space, Vhost};
use crate::work::Work;

/// A queue as its declaration found or made it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct QueueInfo {
    /// Its name, made by the broker if none was given.
    pub name: Box<str>,
    /// Ready messages.
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
    /// Declares an exchange. Returns whether it is new.
    pub fn declare_exchange(&mut self, decl: ExchangeDecl) -> Result<bool, Refusal> {
        let durable = decl.durable.then(|| decl.clone());
        let created = self
            .vhost
            .write(|space| space.topology.declare_exchange(decl))?;
        if let (true, Some(decl)) = (created, durable) {
            self.journal(|vhost, out| record::exchange_declared(vhost, &decl, out));
        }
        Ok(created)
    }

    /// Checks that an exchange is there.
    pub fn check_exchange(&mut self, name: &str) -> Result<(), Refusal> {
        self.vhost.read(|space| space.topology.check_exchange(name))
    }

    /// Deletes an exchange and its bindings. Returns whether there was one.
    pub fn delete_exchange(&mut self, name: &str, if_unused: bool) -> Result<bool, Refusal> {
        let mut removed = Removed::default();
        let existed = self.vhost.write(|space| {
            space
                .topology
                .delete_exchange(name, if_unused, &mut removed)
        })?;
        if existed {
            self.journal(|vhost, out| record::exchange_deleted(vhost, name, out));
        }
        self.journal_removed(&removed);
        Ok(existed)
    }

    /// Declares a queue; an empty name lets the broker choose one.
    pub fn declare_queue(&mut self, mut decl: QueueDecl) -> Result<QueueInfo, Refusal> {
        let now = self.now();
        if decl.name.is_empty() {
            decl.name = format!("amq.gen-{}", self.broker.random_name()).into();
        } else if matches!(self.cell(&decl.name), Err(Refusal::NotFound { .. })) {
            // One that is there may be declared again, whatever its name.
            check_client_queue_name(&decl.name)?;
        }
        let (name, exclusive) = (decl.name.clone(), decl.exclusive.is_some());
        let (by, id) = (self.id, self.broker.next_queue_id());
        let vhost = &self.vhost;
        let (cell, created) = vhost.write(|space| {
            let declared = space.topology.declare_queue(decl, by, id)?;
            if declared.created {
                let entry = space.topology.queue(&name, by)?;
                let queue = Queue::new(entry.settings.clone(), now);
                let cell = QueueCell::new(declared.id, &entry.decl, vhost.clone(), queue);
                space.cells.insert(declared.id, Arc::new(cell));
            }
            let cell = space
                .cells
                .get(&declared.id)
                .ok_or_else(|| not_found(&name))?;
            Ok::<_, Refusal>((cell.clone(), declared.created))
        })?;
        if created {
            self.journal_queue(&cell);
            if exclusive {
                self.exclusive.push(cell.id);
            }
        }
        cell.update(&mut self.work, |queue, _| queue.touch(now));
        self.broker.follow_up(&cell, &mut self.work, now);
        Ok(info(&cell, created))
    }

    /// Checks that a queue is there and that this connection may use it.
    pub fn check_queue(&mut self, name: &str) -> Result<QueueInfo, Refusal> {
        let cell = self.cell(name)?;
        Ok(info(&cell, false))
    }

    /// Deletes a queue. Returns how many ready messages went with it.
    pub fn delete_queue(&mut self, name: &str, only: DeleteIf) -> Result<u64, Refusal> {
        let cell = self.cell(name)?;
        let counts = cell.counts();
        if only.unused && counts.consumers > 0 {
            return Err(Refusal::InUse {
                kind: Kind::Queue,
                name: name.into(),
            });
        }
        if only.empty && counts.visible() > 0 {
            return Err(Refusal::NotEmpty(name.into()));
        }
        self.exclusive.retain(|id| *id != cell.id);
        self.broker
            .delete_queue(&self.vhost, cell.id, &mut self.work);
        Ok(counts.visible())
    }

    /// Drops a queue's ready messages. Returns how many.
    pub fn purge_queue(&mut self, name: &str) -> Result<u64, Refusal> {
        let now = self.now();
        let cell = self.cell(name)?;
        let purged = cell.update(&mut self.work, |queue, effects| queue.purge(now, effects));
        self.broker.follow_up(&cell, &mut self.work, now);
        Ok(purged)
    }

    /// Binds. Returns whether the binding is new; the same binding again replaces its options.
    pub fn bind(&mut self, binding: &BindingDecl<'_>) -> Result<bool, Refusal> {
        let by = self.id;
        let (new, durable) = self.vhost.write(|space| {
            let new = space.topology.bind(binding, by)?;
            Ok::<_, Refusal>((new, space.durable(binding, by)))
        })?;
        if durable {
            self.journal(|vhost, out| record::bound(vhost, binding, out));
        }
        Ok(new)
    }

    /// Unbinds. Returns whether there was such a binding.
    pub fn unbind(&mut self, binding: &BindingDecl<'_>) -> Result<bool, Refusal> {
        let by = self.id;
        let mut removed = Removed::default();
        let (was, durable) = self.vhost.write(|space| {
            let durable = space.durable(binding, by);
            Ok::<_, Refusal>((space.topology.unbind(binding, by, &mut removed)?, durable))
        })?;
        if was && durable {
            self.journal(|vhost, out| record::unbound(vhost, binding, out));
        }
        self.journal_removed(&removed);
        Ok(was)
    }

    /// The cell of a queue that this connection may use.
    pub(crate) fn cell(&self, name: &str) -> Result<Arc<QueueCell>, Refusal> {
        self.vhost.read(|space| {
            let id = space.topology.queue(name, self.id)?.id;
            space.cells.get(&id).cloned().ok_or_else(|| not_found(name))
        })
    }

    /// Appends one record about this vhost.
    pub(crate) fn journal(&mut self, write: impl FnOnce(&str, &mut Vec<u8>)) {
        let (batch, vhost) = (&mut self.work.batch, &self.vhost);
        batch.clear();
        batch.record(|out| write(&vhost.name, out));
        self.broker.append(batch);
    }

    fn journal_queue(&mut self, cell: &QueueCell) {
        let decl = self.vhost.read(|space| {
            let entry = space.topology.queue_by_id(cell.id)?;
            (entry.decl.durable && entry.decl.exclusive.is_none()).then(|| entry.decl.clone())
        });
        if let Some(decl) = decl {
            self.journal(|vhost, out| record::queue_declared(vhost, cell.id, &decl, out));
        }
    }

    fn journal_removed(&mut self, removed: &Removed) {
        for name in &removed.exchanges {
            self.journal(|vhost, out| record::exchange_deleted(vhost, name, out));
        }
    }
}

impl Space {
    /// A binding is durable if both its ends are.
    fn durable(&self, binding: &BindingDecl<'_>, by: ConnectionId) -> bool {
        let exchange = |name: &str| self.topology.exchange(name).is_some_and(|e| e.durable);
        let destination = match binding.destination {
            Destination::Exchange(name) => exchange(name),
            Destination::Queue(name) => self
                .topology
                .queue(name, by)
                .is_ok_and(|q| q.decl.durable && q.decl.exclusive.is_none()),
        };
        destination && exchange(binding.source)
    }
}

fn info(cell: &QueueCell, created: bool) -> QueueInfo {
    let counts = cell.counts();
    QueueInfo {
        name: cell.name.clone(),
        messages: counts.visible(),
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
    /// Deletes a queue for whatever reason: its bindings go, its consumers hear of it.
    pub(crate) fn delete_queue(&self, vhost: &Vhost, id: QueueId, work: &mut Work) {
        let mut removed = Removed::default();
        let cell = vhost.write(|space| {
            space.topology.delete_queue(id, &mut removed);
            space.cells.remove(&id)
        });
        let Some(cell) = cell else { return };
        work.batch.clear();
        if cell.durable {
            work.batch
                .record(|out| record::queue_deleted(&vhost.name, id, out));
        }
        for name in &removed.exchanges {
            work.batch
                .record(|out| record::exchange_deleted(&vhost.name, name, out));
        }
        self.append(&work.batch);
        cell.update(work, |queue, effects| {
            queue.close(effects);
            // The deletion's record covers every message in it.
            effects.settled.clear();
        });
        self.collect(&cell, work);
    }
}

impl Client {
    /// Changes settings of a queue that this connection works with, where the value changes while the queue lives.
    /// What is declared stays as it is.
    pub fn adjust_queue(&mut self, queue: &QueueHandle, adjust: impl FnOnce(&mut QueueSettings)) {
        let now = self.now();
        let cell = &queue.0;
        cell.update(&mut self.work, |queue, effects| {
            let mut settings = queue.settings().clone();
            adjust(&mut settings);
            queue.set_settings(settings, now, effects);
        });
        self.broker.follow_up(cell, &mut self.work, now);
    }
}
