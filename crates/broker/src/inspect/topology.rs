//! Exchanges and bindings.

use std::sync::Arc;

use ternmq_core::policy::Subject;
use ternmq_core::routing::key::KeySyntax;
use ternmq_core::topology::{
    BindingDecl, BindingOptions, Destination, ExchangeDecl, ExchangeKind, ExchangeTraffic, Place,
};
use ternmq_core::value::Headers;

use super::{Inspect, SCAN_STEP};
use crate::policies::PolicyStatus;
use crate::vhost::{Space, Vhost};

/// An exchange.
#[derive(Clone, Debug)]
pub struct ExchangeSnapshot {
    /// The vhost it is in.
    pub vhost: Box<str>,
    /// As it was declared; its name is empty for the default exchange.
    pub decl: ExchangeDecl,
    /// What policies say about it.
    pub policy: PolicyStatus,
    /// Messages that it holds back now, if it does that.
    pub messages_delayed: Option<u64>,
    /// Messages published to it.
    pub published: u64,
    /// Copies of them that went into queues.
    pub routed: u64,
}

impl ExchangeSnapshot {
    fn of(vhost: &Vhost, decl: &ExchangeDecl, traffic: &Arc<ExchangeTraffic>) -> Self {
        Self {
            vhost: vhost.name.clone(),
            decl: decl.clone(),
            policy: PolicyStatus::default(),
            messages_delayed: None,
            published: traffic.published(),
            routed: traffic.routed(),
        }
    }
}

/// Where a binding leads, by name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum BindingEnd {
    /// To a queue.
    Queue(Box<str>),
    /// To an exchange.
    Exchange(Box<str>),
}

impl BindingEnd {
    /// The name.
    pub fn name(&self) -> &str {
        match self {
            Self::Queue(name) | Self::Exchange(name) => name,
        }
    }

    /// As the topology names it.
    pub fn as_destination(&self) -> Destination<'_> {
        match self {
            Self::Queue(name) => Destination::Queue(name),
            Self::Exchange(name) => Destination::Exchange(name),
        }
    }
}

impl From<Destination<'_>> for BindingEnd {
    fn from(destination: Destination<'_>) -> Self {
        match destination {
            Destination::Queue(name) => Self::Queue(name.into()),
            Destination::Exchange(name) => Self::Exchange(name.into()),
        }
    }
}

/// A binding.
#[derive(Clone, PartialEq, Debug)]
pub struct BindingSnapshot {
    /// The vhost it is in.
    pub vhost: Box<str>,
    /// The exchange it starts from; empty for the default exchange.
    pub source: Box<str>,
    /// Where it leads.
    pub destination: BindingEnd,
    /// Routing key or pattern, as it was written.
    pub key: Box<[u8]>,
    /// How it was written.
    pub syntax: KeySyntax,
    /// Arguments.
    pub arguments: Headers,
    /// What it does beyond leading somewhere.
    pub options: BindingOptions,
}

impl BindingSnapshot {
    pub(super) fn of(vhost: &str, binding: &BindingDecl<'_>) -> Self {
        Self {
            vhost: vhost.into(),
            source: binding.source.into(),
            destination: binding.destination.into(),
            key: binding.key.into(),
            syntax: binding.syntax,
            arguments: binding.arguments.clone(),
            options: binding.options.clone(),
        }
    }

    /// The binding that every queue has to the default exchange.
    pub(super) fn implicit(vhost: &str, queue: &str) -> Self {
        Self {
            vhost: vhost.into(),
            source: "".into(),
            destination: BindingEnd::Queue(queue.into()),
            key: queue.as_bytes().into(),
            syntax: KeySyntax::Dotted,
            arguments: Headers::new(),
            options: BindingOptions::default(),
        }
    }

    /// As the topology is told of it.
    pub fn decl(&self) -> BindingDecl<'_> {
        BindingDecl {
            source: &self.source,
            destination: self.destination.as_destination(),
            key: &self.key,
            syntax: self.syntax,
            arguments: &self.arguments,
            options: self.options.clone(),
        }
    }
}

impl Inspect<'_> {
    /// The exchanges of one vhost, or of all; of each vhost the predeclared ones first.
    pub fn exchanges(self, vhost: Option<&str>) -> Vec<ExchangeSnapshot> {
        let mut all = Vec::new();
        for vhost in self.vhosts(vhost) {
            let first = all.len();
            in_steps(&vhost, |space, from| {
                space
                    .topology
                    .scan_exchanges(from, SCAN_STEP, |decl, traffic| {
                        all.push(ExchangeSnapshot::of(&vhost, decl, traffic));
                    })
            });
            self.complete(&vhost, &mut all[first..]);
        }
        all
    }

    /// Adds what is known elsewhere than in the topology.
    fn complete(self, vhost: &Vhost, exchanges: &mut [ExchangeSnapshot]) {
        let policies = vhost.read(|space| space.policies.clone());
        for exchange in exchanges {
            exchange.policy = policies.about(Subject::Exchange, &exchange.decl.name);
            let delays = exchange.decl.kind == ExchangeKind::Delayed;
            exchange.messages_delayed =
                delays.then(|| self.0.schedule.held_by(&vhost.name, &exchange.decl.name));
        }
    }

    /// One exchange.
    pub fn exchange(self, vhost: &str, name: &str) -> Option<ExchangeSnapshot> {
        let vhost = self.0.vhost(vhost)?;
        let mut exchange = vhost.read(|space| {
            let decl = space.topology.exchange(name)?;
            let traffic = space.topology.exchange_traffic(name)?;
            Some(ExchangeSnapshot::of(&vhost, decl, traffic))
        })?;
        self.complete(&vhost, std::slice::from_mut(&mut exchange));
        Some(exchange)
    }

    /// The bindings of one vhost, or of all: of each vhost first those of queues to the default exchange.
    pub fn bindings(self, vhost: Option<&str>) -> Vec<BindingSnapshot> {
        let mut all = Vec::new();
        for vhost in self.vhosts(vhost) {
            all.extend(implicit_bindings(&vhost));
            in_steps(&vhost, |space, from| {
                space.topology.scan_bindings(from, SCAN_STEP, |binding| {
                    all.push(BindingSnapshot::of(&vhost.name, &binding));
                })
            });
        }
        all
    }

    /// The bindings that start from an exchange.
    pub fn bindings_from(self, vhost: &str, exchange: &str) -> Vec<BindingSnapshot> {
        let Some(vhost) = self.0.vhost(vhost) else {
            return Vec::new();
        };
        if exchange.is_empty() {
            return implicit_bindings(&vhost);
        }
        vhost.read(|space| {
            let bindings = space.topology.bindings_from(exchange);
            bindings
                .map(|binding| BindingSnapshot::of(&vhost.name, &binding))
                .collect()
        })
    }

    /// The bindings that lead to a queue, its own to the default exchange first, or to an exchange.
    pub fn bindings_to(self, vhost: &str, destination: Destination<'_>) -> Vec<BindingSnapshot> {
        let Some(vhost) = self.0.vhost(vhost) else {
            return Vec::new();
        };
        vhost.read(|space| {
            let implicit = match destination {
                Destination::Queue(name) => space
                    .topology
                    .queue_named(name)
                    .map(|entry| BindingSnapshot::implicit(&vhost.name, &entry.decl.name)),
                Destination::Exchange(_) => None,
            };
            let bindings = space.topology.bindings_to(destination);
            implicit
                .into_iter()
                .chain(bindings.map(|binding| BindingSnapshot::of(&vhost.name, &binding)))
                .collect()
        })
    }

    /// The bindings between two ends, whatever their keys and arguments.
    pub fn bindings_between(
        self,
        vhost: &str,
        source: &str,
        destination: Destination<'_>,
    ) -> Vec<BindingSnapshot> {
        let mut bindings = self.bindings_to(vhost, destination);
        bindings.retain(|binding| *binding.source == *source);
        bindings
    }
}

fn implicit_bindings(vhost: &Vhost) -> Vec<BindingSnapshot> {
    let mut all = Vec::new();
    in_steps(vhost, |space, from| {
        space.topology.scan_queues(from, SCAN_STEP, |entry| {
            all.push(BindingSnapshot::implicit(&vhost.name, &entry.decl.name));
        })
    });
    all
}

/// Looks at a vhost again and again, until there is nowhere to go on. It is let go between two looks.
fn in_steps(vhost: &Vhost, mut step: impl FnMut(&Space, Place) -> Option<Place>) {
    let mut next = Some(Place::default());
    while let Some(from) = next {
        next = vhost.read(|space| step(space, from));
    }
}
