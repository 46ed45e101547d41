//! Queues that are paused: they give nothing to consumers until somebody says otherwise, over restarts too.
//!
//! That a durable queue is paused is a document of its vhost, named by the queue's identity.

use std::sync::Arc;

use ternmq_core::error::{Kind, Refusal};
use ternmq_core::id::{Lsn, QueueId};
use ternmq_core::queue::Service;
use ternmq_journal::Batch;

use crate::broker::{Broker, Inner, Weight};
use crate::cell::QueueCell;
use crate::documents::DocumentChange;
use crate::publish::last_of;
use crate::vhost::Vhost;
use crate::work::Work;

/// What the keys of these documents begin with; behind it is the queue's identity.
const PREFIX: &[u8] = b"broker/paused/";

fn change(id: QueueId, service: Service) -> DocumentChange {
    let key = [PREFIX, &id.0.to_be_bytes()].concat();
    DocumentChange {
        key: key.into(),
        value: (service == Service::Paused).then(Box::default),
    }
}

fn queue_of(key: &[u8]) -> Option<QueueId> {
    let id = key.strip_prefix(PREFIX)?.try_into().ok()?;
    Some(QueueId(u64::from_be_bytes(id)))
}

impl Broker {
    /// Begins or ceases to serve the consumers of a queue. Returns the record to wait for before anybody is promised
    /// that it stays so.
    ///
    /// # Errors
    /// [`Refusal::NotFound`]; [`Refusal::DiskFull`] if it can't be recorded, and then nothing has changed.
    pub fn set_service(&self, vhost: &str, queue: &str, service: Service) -> Result<Lsn, Refusal> {
        let cell = self
            .inspect()
            .cell(vhost, queue)
            .ok_or_else(|| Refusal::NotFound {
                kind: Kind::Queue,
                name: queue.into(),
            })?;
        let inner = &self.0;
        // One at a time, so that what is recorded last is what is done last.
        let _alone = cell.loading.lock();
        let _inside = inner.gate.enter();
        let lsn = if cell.durable {
            inner.record_service(&cell.vhost, cell.id, service)?
        } else {
            Lsn::NONE
        };
        let (mut work, now) = (Work::default(), inner.clock.now());
        cell.update(&mut work, |queue, effects| {
            queue.set_service(now, service, effects);
        });
        inner.follow_up(&cell, &mut work, now);
        tracing::info!(queue, vhost, ?service, "service of a queue changed");
        Ok(lsn)
    }
}

impl Inner {
    fn record_service(
        &self,
        vhost: &Vhost,
        queue: QueueId,
        service: Service,
    ) -> Result<Lsn, Refusal> {
        let mut batch = Batch::new();
        let batch = (&mut batch, Weight::Essential);
        let first = self.append_with_documents(batch, vhost, vec![change(queue, service)]);
        first
            .map(|first| last_of(first, 1))
            .map_err(|_| Refusal::DiskFull)
    }

    /// A queue is gone, and so is what was recorded about its service.
    pub(crate) fn forget_service(&self, cell: &QueueCell) {
        if cell.durable
            && cell.look(|queue| queue.service()) == Service::Paused
            && let Err(refusal) = self.record_service(&cell.vhost, cell.id, Service::Running)
        {
            // It is found out at the next start.
            tracing::debug!(%refusal, queue = %cell.name, "a paused queue's end is not recorded");
        }
    }

    /// After a restart, when all queues are there: pauses those that were.
    pub(crate) fn restore_services(&self) {
        let (mut work, now) = (Work::default(), self.clock.now());
        for vhost in self.all_vhosts() {
            for id in paused_in(&vhost) {
                let cell: Option<Arc<QueueCell>> =
                    vhost.read(|space| space.cells.get(&id).cloned());
                let Some(cell) = cell else {
                    let forgotten = self.record_service(&vhost, id, Service::Running);
                    debug_assert!(forgotten.is_ok(), "a journal that was just opened has room");
                    continue;
                };
                cell.update(&mut work, |queue, effects| {
                    queue.set_service(now, Service::Paused, effects);
                });
                self.follow_up(&cell, &mut work, now);
            }
        }
    }
}

fn paused_in(vhost: &Vhost) -> Vec<QueueId> {
    let documents = vhost.documents.lock();
    let keys = documents.iter().map(|(key, _)| key);
    keys.filter_map(queue_of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bed::{broker, client, publish, queue, spec};
    use crate::inspect::QueueState;
    use crate::mailbox::{Notice, Token};

    #[test]
    fn consumer_of_a_paused_queue_hears_nothing_until_it_goes_on() {
        let broker = broker();
        let mut client = client(&broker);
        client.declare_queue(queue("q", &[])).unwrap();
        client.consume("q", spec(), Token(1)).unwrap();
        let set = |service| broker.set_service("/", "q", service).unwrap();
        let state = || broker.inspect().queue("/", "q").unwrap().state;
        set(Service::Paused);
        assert_eq!(state(), QueueState::Paused);
        publish(&mut client, "q", None);
        let mut notices = Vec::new();
        client.mailbox().drain(&mut notices);
        assert_eq!(notices, []);
        set(Service::Running);
        assert_eq!(state(), QueueState::Running);
        client.mailbox().drain(&mut notices);
        assert_eq!(notices, [Notice::Ready(Token(1))]);
        let nowhere = broker.set_service("/", "nowhere", Service::Paused);
        assert!(matches!(nowhere, Err(Refusal::NotFound { .. })));
    }

    #[test]
    fn what_is_recorded_of_a_durable_queue_goes_with_it() {
        let broker = broker();
        let mut client = client(&broker);
        let mut decl = queue("q", &[]);
        decl.durable = true;
        client.declare_queue(decl).unwrap();
        let lsn = broker.set_service("/", "q", Service::Paused).unwrap();
        assert!(lsn.is_some());
        assert_eq!(broker.documents("/", PREFIX).len(), 1);
        client
            .delete_queue("q", crate::DeleteIf::default())
            .unwrap();
        assert_eq!(broker.documents("/", PREFIX), []);
    }
}
