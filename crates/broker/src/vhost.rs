//! A virtual host: one namespace of exchanges, queues and retained messages.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hashbrown::HashMap;
use parking_lot::{Mutex, RwLock};
use ternmq_core::error::Refusal;
use ternmq_core::id::{Lsn, QueueId};
use ternmq_core::retained::RetainedStore;
use ternmq_core::routing::{RouteTarget, Routes};
use ternmq_core::topology::{ExchangeDecl, Topology};

use crate::cell::QueueCell;
use crate::clock::Clock;
use crate::documents::Documents;
use crate::history::{Budget, History};
use crate::publish::{Route, Target};
use crate::schedule::{Later, Retain};

/// One namespace. Its topology is read on a route cache miss and written by declarations.
pub(crate) struct Vhost {
    pub(crate) name: Box<str>,
    /// Same as the topology's version, readable without its lock: a cached route of another version is stale.
    version: AtomicU64,
    space: RwLock<Space>,
    pub(crate) retained: Mutex<Retained>,
    pub(crate) documents: Mutex<Documents>,
}

/// The retained messages, and how far the journal's records of them are in.
pub(crate) struct Retained {
    pub(crate) store: RetainedStore,
    /// Records of retained messages below this one are in.
    pub(crate) position: Lsn,
}

/// What is declared, and the cells of the declared queues.
pub(crate) struct Space {
    pub(crate) topology: Topology,
    pub(crate) cells: HashMap<QueueId, Arc<QueueCell>>,
    /// Of the exchanges that have one.
    histories: HashMap<Box<str>, Arc<History>>,
    /// Records of the topology below this one are in.
    pub(crate) position: Lsn,
}

impl Vhost {
    pub(crate) fn new(name: &str, retained: RetainedStore) -> Self {
        let topology = Topology::new();
        Self {
            name: name.into(),
            version: AtomicU64::new(topology.version()),
            space: RwLock::new(Space {
                topology,
                cells: HashMap::new(),
                histories: HashMap::new(),
                position: Lsn::NONE,
            }),
            retained: Mutex::new(Retained {
                store: retained,
                position: Lsn::NONE,
            }),
            documents: Mutex::default(),
        }
    }

    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    pub(crate) fn read<R>(&self, f: impl FnOnce(&Space) -> R) -> R {
        f(&self.space.read())
    }

    pub(crate) fn write<R>(&self, f: impl FnOnce(&mut Space) -> R) -> R {
        let mut space = self.space.write();
        let result = f(&mut space);
        self.version
            .store(space.topology.version(), Ordering::Release);
        result
    }
}

impl Space {
    /// See [`Topology::declare_exchange`].
    pub(crate) fn declare_exchange(
        &mut self,
        decl: ExchangeDecl,
        budget: &Arc<Budget>,
    ) -> Result<bool, Refusal> {
        let name = decl.name.clone();
        let created = self.topology.declare_exchange(decl)?;
        let behaviour = self.topology.behaviour(&name).filter(|_| created);
        if let Some(length) = behaviour.and_then(|behaviour| behaviour.history) {
            let history = Arc::new(History::new(length, budget.clone()));
            self.histories.insert(name, history);
        }
        Ok(created)
    }

    /// Exchanges are gone.
    pub(crate) fn exchanges_gone(&mut self, names: &[Box<str>]) {
        for name in names {
            self.histories.remove(name);
        }
    }

    /// What an exchange keeps for destinations that are bound later.
    pub(crate) fn history(&self, exchange: &str) -> Option<&Arc<History>> {
        self.histories.get(exchange)
    }

    /// The route to the cells behind the targets; targets whose queue just went are left out. What holds messages back
    /// is left out as well: see [`Self::delay`].
    pub(crate) fn resolve(&self, routes: &Routes) -> Route {
        let target = |t: &RouteTarget| {
            let cell = self.cells.get(&t.queue)?.clone();
            Some(Target {
                cell,
                tags: t.tags.clone(),
                at_most_once: t.at_most_once,
            })
        };
        let route = Route::new(
            self.topology.version(),
            routes.targets.iter().filter_map(target).collect(),
        );
        if self.histories.is_empty() {
            return route;
        }
        let recorded = self.topology.recorded_by(routes);
        route.with_histories(
            recorded
                .filter_map(|name| self.history(name).cloned())
                .collect(),
        )
    }

    /// The route with what holds its messages back.
    pub(crate) fn delay(
        &self,
        route: Route,
        routes: &Routes,
        owner: &Arc<Vhost>,
        clock: &Arc<dyn Clock>,
    ) -> Route {
        let delayed = self.topology.delayed_by(routes);
        if delayed.len() == 0 {
            return route;
        }
        let now = clock.now();
        let later = delayed.map(|(exchange, ms)| {
            Arc::new(Later {
                at: now.plus_ms(ms),
                vhost: owner.clone(),
                via: Some(exchange.name.clone()),
                retain: Retain::No,
                durable: exchange.durable,
            })
        });
        route.with_delays(later.collect())
    }
}
