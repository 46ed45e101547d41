//! From records back to state.
//!
//! Replay repeats facts: it routes nothing, compares no clocks and decides nothing. Applying a record twice is applying
//! it once, so a log may be replayed over a state that already holds its beginning.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use ternmq_core::access::{Object, ObjectKey, Orphan};
use ternmq_core::error::Refusal;
use ternmq_core::id::{ConnectionId, Lsn, QueueId, RouteSetId, Timestamp};
use ternmq_core::message::Message;
use ternmq_core::queue::{Incoming, Queue};
use ternmq_core::record::state::VhostPositions;
use ternmq_core::record::{
    self, BindingRecord, Formats, Record, RecordError, ReleasedRecord, TargetRecord,
};
use ternmq_core::retained::RetainedLimits;
use ternmq_core::tags::Tags;
use ternmq_core::topology::{BindingDecl, BindingOptions, Destination, QueueDecl, Removed};

use crate::broker::{Broker, Inner};
use crate::cell::QueueCell;
use crate::documents::DocumentChange;
use crate::schedule::ScheduleId;
use crate::vhost::{Space, Vhost};
use crate::work::Work;

/// Nobody in particular: declarations that are replayed belong to no connection.
const NOBODY: ConnectionId = ConnectionId(0);

/// Why a record cannot be applied.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub enum ReplayError {
    /// It cannot be read.
    #[error("record {lsn}: {error}")]
    Unreadable {
        /// Which one.
        lsn: Lsn,
        /// Why.
        error: RecordError,
    },
    /// It names a vhost that is not there.
    #[error("record {lsn} names the unknown vhost {vhost}")]
    UnknownVhost {
        /// Which one.
        lsn: Lsn,
        /// The vhost.
        vhost: Box<str>,
    },
    /// It sets something that belongs to a vhost or a user who is not there.
    #[error("record {lsn}: {orphan}")]
    Orphan {
        /// Which one.
        lsn: Lsn,
        /// What is missing.
        orphan: Orphan,
    },
    /// It contradicts what was replayed before it.
    #[error("record {lsn} contradicts the records before it: {refusal}")]
    Contradiction {
        /// Which one.
        lsn: Lsn,
        /// What the core said.
        refusal: Refusal,
    },
}

/// What replay remembers from record to record.
#[derive(Default)]
pub(crate) struct Replaying {
    /// Records before this one are in the checkpoint; only the lists of targets among them matter.
    apply_from: Lsn,
    positions: HashMap<Box<str>, VhostPositions>,
    /// How far the checkpoint has objects.
    objects: Lsn,
    route_sets: HashMap<RouteSetId, Arc<[TargetRecord]>>,
    cells: HashMap<QueueId, Arc<QueueCell>>,
    work: Work,
}

impl Replaying {
    /// Replay behind a checkpoint.
    pub(crate) fn behind(apply_from: Lsn) -> Self {
        Self {
            apply_from,
            ..Self::default()
        }
    }

    /// How far the checkpoint has a vhost.
    pub(crate) fn set_positions(&mut self, positions: VhostPositions) {
        self.positions.insert(positions.vhost.clone(), positions);
    }

    /// How far the checkpoint has objects.
    pub(crate) fn set_objects(&mut self, position: Lsn) {
        self.objects = position;
    }

    /// Whether the checkpoint has it already. It has every vhost of the moment when it looked at objects: one that it does
    /// not have was gone by then, with all that lies before.
    fn is_in(&self, vhost: &str, lsn: Lsn, position: impl FnOnce(&VhostPositions) -> Lsn) -> bool {
        lsn < self.positions.get(vhost).map_or(self.objects, position)
    }
}

impl Broker {
    /// Applies the record that lies at `lsn`. Records come in their order, before anybody connects.
    pub fn replay(
        &self,
        lsn: Lsn,
        record: &[u8],
        formats: &dyn Formats,
    ) -> Result<(), ReplayError> {
        let record = record::decode(record, formats)
            .map_err(|error| ReplayError::Unreadable { lsn, error })?;
        let mut replaying = self.0.replaying.lock();
        Replay {
            inner: &self.0,
            lsn,
            state: &mut replaying,
        }
        .apply(record)
    }

    /// Ends replay: limits and deadlines apply again.
    pub fn finish_replay(&self, now: Timestamp) {
        *self.0.replaying.lock() = Replaying::default();
        self.0.restore_policies();
        let mut work = Work::default();
        for cell in self.0.all_cells() {
            cell.update(&mut work, |queue, effects| {
                queue.finish_replay(now, effects);
            });
            self.0.follow_up(&cell, &mut work, now);
        }
        self.0.restore_services();
    }
}

/// One record on its way into the state.
pub(crate) struct Replay<'a> {
    pub(crate) inner: &'a Inner,
    pub(crate) lsn: Lsn,
    pub(crate) state: &'a mut Replaying,
}

impl Replay<'_> {
    pub(crate) fn apply(&mut self, record: Record) -> Result<(), ReplayError> {
        let lsn = self.lsn;
        let of_vhost = match &record {
            Record::RouteSet(..) => None,
            _ if lsn < self.state.apply_from => return Ok(()),
            Record::ExchangeDeclared(vhost, _)
            | Record::ExchangeDeleted(vhost, _)
            | Record::QueueDeclared(vhost, ..)
            | Record::QueueDeleted(vhost, _)
            | Record::Bound(vhost, ..)
            | Record::Unbound(vhost, _) => Some(self.state.is_in(vhost, lsn, |p| p.topology)),
            Record::Retained(vhost, ..) => Some(self.state.is_in(vhost, lsn, |p| p.retained)),
            Record::Document(vhost, ..) => Some(self.state.is_in(vhost, lsn, |p| p.documents)),
            Record::ObjectPut(_) | Record::ObjectRemoved(_) => Some(lsn < self.state.objects),
            _ => None,
        };
        match of_vhost {
            Some(true) => {
                // The checkpoint may have looked at the schedule before, and at the exchanges behind it.
                if let Record::ExchangeDeleted(vhost, name) = &record {
                    self.forget_delayed(vhost, name);
                }
                Ok(())
            }
            Some(false) => self.apply_to_state(record),
            None => {
                self.apply_to_messages(record);
                Ok(())
            }
        }
    }

    /// Declarations, retained messages, documents and objects, whatever position they have.
    pub(crate) fn apply_to_state(&mut self, record: Record) -> Result<(), ReplayError> {
        match record {
            Record::ExchangeDeclared(vhost, decl) => self.write(&vhost, |space| {
                space
                    .declare_exchange(decl, &self.inner.histories)
                    .map(drop)
            }),
            Record::ExchangeDeleted(vhost, name) => {
                self.forget_delayed(&vhost, &name);
                self.write(&vhost, |space| {
                    space.exchanges_gone(std::slice::from_ref(&name));
                    space
                        .topology
                        .delete_exchange(&name, false, &mut Removed::default())
                        .map(drop)
                })
            }
            Record::QueueDeclared(vhost, id, decl) => self.queue(&vhost, id, &decl),
            Record::QueueDeleted(vhost, id) => self.delete_queue(&vhost, id),
            Record::Bound(vhost, binding, options) => self.write(&vhost, |space| {
                space
                    .topology
                    .bind(&decl(&binding, options), NOBODY)
                    .map(drop)
            }),
            Record::Unbound(vhost, binding) => self.write(&vhost, |space| {
                let decl = decl(&binding, BindingOptions::default());
                space
                    .topology
                    .unbind(&decl, NOBODY, &mut Removed::default())
                    .map(drop)
            }),
            Record::Retained(vhost, topic, message) => self.retain(&vhost, &topic, message),
            Record::Document(vhost, key, value) => {
                let (key, value) = (Box::from(&*key), value.map(|value| Box::from(&*value)));
                let vhost = self.vhost(&vhost)?;
                vhost.documents.lock().apply(DocumentChange { key, value });
                Ok(())
            }
            Record::ObjectPut(object) => self.put_object(object),
            Record::ObjectRemoved(key) => {
                self.remove_object(&key);
                Ok(())
            }
            _ => {
                debug_assert!(false, "other records are of messages");
                Ok(())
            }
        }
    }

    fn put_object(&self, object: Object) -> Result<(), ReplayError> {
        if let Object::Vhost(name, _) = &object
            && self.inner.vhost(name).is_none()
        {
            self.inner.add_vhost(name, Lsn(self.lsn.0 + 1));
        }
        let mut state = self.inner.registry.state.lock();
        let put = state.objects.put(object);
        put.map(drop).map_err(|orphan| ReplayError::Orphan {
            lsn: self.lsn,
            orphan,
        })
    }

    fn remove_object(&mut self, key: &ObjectKey) {
        self.inner.registry.state.lock().objects.remove(key);
        if let ObjectKey::Vhost(name) = key
            && let Some((_, vhost)) = self.inner.vhosts.remove(name)
        {
            let Replaying { cells, work, .. } = &mut *self.state;
            cells.retain(|_, cell| !Arc::ptr_eq(&cell.vhost, &vhost));
            self.inner.empty_vhost(&vhost, Lsn(self.lsn.0 + 1), work);
        }
    }

    /// Records of messages cannot contradict anything: what they name and is gone went by a later record.
    fn apply_to_messages(&mut self, record: Record) {
        match record {
            Record::Published(message, targets) => {
                self.enqueue(&message, &targets, message.received_at());
            }
            Record::RouteSet(id, targets) => {
                self.state.route_sets.insert(id, targets.into());
            }
            Record::PublishedBySet(message, id) => {
                let Some(targets) = self.state.route_sets.get(&id).cloned() else {
                    // Its list would have been written again before, had anybody needed it.
                    tracing::error!(lsn = %self.lsn, set = %id, "record names an unknown list of queues");
                    return;
                };
                self.enqueue(&message, &targets, message.received_at());
            }
            Record::Settled(queue, lsns) => {
                self.change(queue, |queue| {
                    for lsn in lsns {
                        queue.remove_by_lsn(lsn);
                    }
                });
            }
            Record::Returned(queue, messages) => {
                self.change(queue, |queue| {
                    for m in messages {
                        queue.set_counters(m.lsn, m.attempts, m.failures);
                    }
                });
            }
            Record::Moved {
                source,
                left,
                message,
                targets,
                at,
            } => {
                if let Some(lsn) = left {
                    self.change(source, |queue| {
                        queue.remove_by_lsn(lsn);
                    });
                }
                self.enqueue(&message, &targets, at);
            }
            Record::Started(_) => {}
            Record::Scheduled(scheduled, message) => {
                self.inner.restore_scheduled(self.lsn, scheduled, message);
            }
            Record::Released(id, released) => {
                self.inner.schedule.take(ScheduleId(id));
                if let Some(ReleasedRecord {
                    at,
                    message,
                    targets,
                }) = released
                {
                    self.enqueue(&message, &targets, at);
                }
            }
            _ => debug_assert!(false, "records of the topology are applied before"),
        }
    }

    /// What an exchange held back goes with it; what was scheduled behind this record belongs to another exchange.
    fn forget_delayed(&self, vhost: &str, exchange: &str) {
        let lsn = self.lsn;
        self.inner
            .schedule
            .take_of_exchange(vhost, exchange, |_, scheduled| scheduled.lsn < lsn);
    }

    /// What was retained stays retained, whatever the limits are now.
    pub(crate) fn retain(
        &self,
        vhost: &str,
        topic: &[u8],
        message: Option<Message>,
    ) -> Result<(), ReplayError> {
        const UNLIMITED: RetainedLimits = RetainedLimits {
            messages_max: usize::MAX,
            bytes_max: usize::MAX,
        };
        let vhost = self.vhost(vhost)?;
        let retained = &mut vhost.retained.lock().store;
        retained.set_limits(UNLIMITED);
        let result = if let Some(message) = message {
            retained.set(topic, message, self.lsn)
        } else {
            retained.clear(topic);
            Ok(())
        };
        retained.set_limits(self.inner.limits.retained);
        result.map_err(|refusal| self.contradiction(refusal))
    }

    fn queue(&self, vhost: &str, id: QueueId, decl: &QueueDecl) -> Result<(), ReplayError> {
        let owner = self.vhost(vhost)?;
        self.inner.queue_ids_begin_behind(id);
        self.write(vhost, |space| {
            let declared = space.topology.declare_queue(decl.clone(), NOBODY, id)?;
            if declared.created {
                let entry = space.topology.queue(&decl.name, NOBODY)?;
                let queue = Queue::new(entry.settings.clone(), Timestamp(0));
                let cell = QueueCell::new(id, &entry.decl, owner, queue);
                space.cells.insert(id, Arc::new(cell));
            }
            Ok(())
        })
    }

    fn delete_queue(&mut self, vhost: &str, id: QueueId) -> Result<(), ReplayError> {
        let mut cell = None;
        self.write(vhost, |space| {
            space.topology.delete_queue(id, &mut Removed::default());
            cell = space.cells.remove(&id);
            Ok(())
        })?;
        self.state.cells.remove(&id);
        if let Some(cell) = cell {
            let work = &mut self.state.work;
            cell.update(work, Queue::close);
            self.inner.collect(&cell, work);
        }
        Ok(())
    }

    /// Queues that are gone by a later record may be missing: their messages went with them.
    fn enqueue(&mut self, message: &Message, targets: &[TargetRecord], at: Timestamp) {
        let lsn = self.lsn;
        for (queue, tags) in targets {
            let incoming = Incoming {
                message: message.clone(),
                lsn,
                tags: Tags::from_vec(tags.clone()),
                at_most_once: false,
            };
            self.change(*queue, |queue| {
                queue.restore(at, incoming, 0, 0);
            });
        }
    }

    fn change(&mut self, id: QueueId, step: impl FnOnce(&mut Queue)) {
        let Replaying { cells, work, .. } = &mut *self.state;
        let cell = match cells.entry(id) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => match self.inner.find_cell(id) {
                Some(cell) => place.insert(cell),
                None => return,
            },
        };
        cell.update(work, |queue, _| step(queue));
        self.inner.collect(cell, work);
    }

    fn vhost(&self, name: &str) -> Result<Arc<Vhost>, ReplayError> {
        self.inner
            .vhost(name)
            .ok_or_else(|| ReplayError::UnknownVhost {
                lsn: self.lsn,
                vhost: name.into(),
            })
    }

    fn write(
        &self,
        vhost: &str,
        change: impl FnOnce(&mut Space) -> Result<(), Refusal>,
    ) -> Result<(), ReplayError> {
        self.vhost(vhost)?
            .write(change)
            .map_err(|refusal| self.contradiction(refusal))
    }

    fn contradiction(&self, refusal: Refusal) -> ReplayError {
        ReplayError::Contradiction {
            lsn: self.lsn,
            refusal,
        }
    }
}

fn decl(b: &BindingRecord, options: BindingOptions) -> BindingDecl<'_> {
    BindingDecl {
        source: &b.source,
        destination: if b.to_exchange {
            Destination::Exchange(&b.destination)
        } else {
            Destination::Queue(&b.destination)
        },
        key: &b.key,
        syntax: b.syntax,
        arguments: &b.arguments,
        options,
    }
}

impl Inner {
    pub(crate) fn all_vhosts(&self) -> Vec<Arc<Vhost>> {
        self.vhosts.iter().map(|v| v.clone()).collect()
    }

    pub(crate) fn all_cells(&self) -> Vec<Arc<QueueCell>> {
        self.all_vhosts()
            .iter()
            .flat_map(|v| v.read(|space| space.cells.values().cloned().collect::<Vec<_>>()))
            .collect()
    }

    pub(crate) fn find_cell(&self, id: QueueId) -> Option<Arc<QueueCell>> {
        self.all_vhosts()
            .iter()
            .find_map(|v| v.read(|space| space.cells.get(&id).cloned()))
    }

    pub(crate) fn queue_ids_begin_behind(&self, id: QueueId) {
        self.next_queue.fetch_max(id.0 + 1, Ordering::Relaxed);
    }
}
