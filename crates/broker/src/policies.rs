//! Policies in force: which ones are about what, and what follows when they change.
//!
//! An object has one policy and one operator's policy at most: of those whose pattern matches its name and that are
//! about its kind the one with the highest priority, of several such the first by name. What they say together is in
//! `ternmq_core::policy`; here it is applied.
//!
//! ```text
//! Admin::put_policy ─► registry ─► Policies, compiled ─► Space::policies ─► queues and exchanges, step by step
//!                                                          ▲
//!                                     declare ─────────────┘
//! ```
//! What is declared reads the policies under the vhost's lock, so it has those that are there or is seen by the walk
//! behind them; a walk that others overtake changes nothing any more, by the version.

use std::sync::Arc;

use ternmq_core::access::{ApplyTo, PolicyScope, PolicySpec};
use ternmq_core::id::{Lsn, Timestamp};
use ternmq_core::policy::{
    ALTERNATE_EXCHANGE, QueueKind, Subject, merge_definitions, without_effect,
};
use ternmq_core::topology::Place;
use ternmq_core::value::{Headers, Value};

use crate::admin::Pattern;
use crate::broker::{Broker, Inner};
use crate::cell::QueueCell;
use crate::vhost::Vhost;
use crate::work::Work;

/// Queues or exchanges that are looked at in one step.
const STEP: usize = 256;

/// The policies of a vhost, compiled.
#[derive(Debug, Default)]
pub(crate) struct Policies {
    /// The record of the last change that is in.
    version: Lsn,
    user: Box<[Compiled]>,
    operator: Box<[Compiled]>,
}

#[derive(Debug)]
struct Compiled {
    name: Box<str>,
    pattern: Pattern,
    apply_to: ApplyTo,
    definition: Headers,
}

/// What policies say about one object.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct PolicyStatus {
    /// Name of the policy.
    pub policy: Option<Box<str>>,
    /// Name of the operator's policy.
    pub operator_policy: Option<Box<str>>,
    /// What both say together, as far as the object's kind has it.
    pub effective: Headers,
}

/// A policy as it is set: its name, and what it says.
pub(crate) type Named = (Box<str>, PolicySpec);

impl Policies {
    /// Compiles policies as of the record before `version`.
    pub(crate) fn compile(version: Lsn, user: Vec<Named>, operator: Vec<Named>) -> Self {
        Self {
            version,
            user: compile(user),
            operator: compile(operator),
        }
    }

    fn is_empty(&self) -> bool {
        self.user.is_empty() && self.operator.is_empty()
    }

    pub(crate) fn version(&self) -> Lsn {
        self.version
    }

    /// What they say about an object.
    pub(crate) fn about(&self, subject: Subject, name: &str) -> PolicyStatus {
        if self.is_empty() {
            return PolicyStatus::default();
        }
        let find = |policies: &[Compiled]| {
            let at = policies.iter().position(|p| p.is_about(subject, name));
            at.unwrap_or(usize::MAX)
        };
        let user = self.user.get(find(&self.user));
        let operator = self.operator.get(find(&self.operator));
        PolicyStatus {
            policy: user.map(|policy| policy.name.clone()),
            operator_policy: operator.map(|policy| policy.name.clone()),
            effective: merge_definitions(
                subject,
                user.map(|policy| &policy.definition),
                operator.map(|policy| &policy.definition),
            ),
        }
    }
}

impl PolicyStatus {
    /// Where an exchange's messages go that match nothing.
    pub(crate) fn alternate(&self) -> Option<&str> {
        self.effective
            .get(ALTERNATE_EXCHANGE)
            .and_then(Value::as_str)
    }
}

impl Compiled {
    fn is_about(&self, subject: Subject, name: &str) -> bool {
        let is_meant = match (self.apply_to, subject) {
            (ApplyTo::All, _)
            | (ApplyTo::Exchanges, Subject::Exchange)
            | (ApplyTo::Queues, Subject::Queue(_)) => true,
            (ApplyTo::ClassicQueues, Subject::Queue(kind)) => kind == QueueKind::Classic,
            (ApplyTo::QuorumQueues, Subject::Queue(kind)) => kind == QueueKind::Quorum,
            _ => false,
        };
        is_meant && self.pattern.matches(name)
    }
}

/// In the order in which they count. One whose pattern cannot be read is left out: it was checked when it was set.
fn compile(mut policies: Vec<Named>) -> Box<[Compiled]> {
    policies
        .sort_by(|(a, one), (b, other)| other.priority.cmp(&one.priority).then_with(|| a.cmp(b)));
    let compiled = policies.into_iter().filter_map(|(name, policy)| {
        let pattern = Pattern::parse(&policy.pattern)
            .inspect_err(|error| tracing::error!(policy = &*name, error, "policy left out"))
            .ok()?;
        Some(Compiled {
            name,
            pattern,
            apply_to: policy.apply_to,
            definition: policy.definition,
        })
    });
    compiled.collect()
}

/// Says which keys of a definition are kept and do nothing.
pub(crate) fn warn_without_effect(name: &str, definition: &Headers) {
    for key in without_effect(definition) {
        tracing::warn!(policy = name, key, "policy key without effect here");
    }
}

impl Inner {
    /// Policies of a vhost changed: puts them in force, for all that is there and all that comes.
    pub(crate) fn apply_policies(&self, vhost: &str) {
        let Some(vhost) = self.vhost(vhost) else {
            return;
        };
        if !self.install_policies(&vhost) {
            return;
        }
        let (mut work, now) = (Work::default(), self.clock.now());
        self.apply_to_queues(&vhost, &mut work, now);
        apply_to_exchanges(&vhost);
    }

    /// Puts the policies that are set in force for what is declared from now on. Returns whether there were none that are
    /// newer.
    fn install_policies(&self, vhost: &Vhost) -> bool {
        let (version, user, operator) = {
            let state = self.registry.state.lock();
            let named = |scope| -> Vec<Named> {
                let of = state.objects.vhost(&vhost.name).into_iter();
                of.flat_map(|of| of.policies(scope))
                    .map(|(name, policy)| (name.into(), policy.clone()))
                    .collect()
            };
            let (user, operator) = (named(PolicyScope::User), named(PolicyScope::Operator));
            (state.position, user, operator)
        };
        let policies = Arc::new(Policies::compile(version, user, operator));
        vhost.write(|space| {
            let is_newer = space.policies.version <= policies.version;
            if is_newer {
                space.policies = policies;
            }
            is_newer
        })
    }

    fn apply_to_queues(&self, vhost: &Vhost, work: &mut Work, now: Timestamp) {
        let mut next = Some(Place::default());
        let mut cells = Vec::new();
        while let Some(from) = next {
            let policies = vhost.read(|space| {
                next = space.topology.scan_queues(from, STEP, |entry| {
                    cells.extend(space.cells.get(&entry.id).cloned());
                });
                space.policies.clone()
            });
            for cell in cells.drain(..) {
                cell.apply_policies(&policies, work, now);
                self.follow_up(&cell, work, now);
            }
        }
    }

    /// At the end of replay: what was recovered has the settings that policies give it before its limits apply again.
    pub(crate) fn restore_policies(&self) {
        for vhost in self.all_vhosts() {
            self.install_policies(&vhost);
            apply_to_exchanges(&vhost);
            let (policies, cells) = vhost.read(|space| {
                let cells: Vec<Arc<QueueCell>> = space.cells.values().cloned().collect();
                (space.policies.clone(), cells)
            });
            if !policies.is_empty() {
                for cell in &cells {
                    cell.adopt_policies(&policies);
                }
            }
        }
    }
}

fn apply_to_exchanges(vhost: &Vhost) {
    let mut next = Some(Place::default());
    let mut names: Vec<Box<str>> = Vec::new();
    while let Some(from) = next {
        let policies = vhost.read(|space| {
            next = space.topology.scan_exchanges(from, STEP, |decl, _| {
                names.push(decl.name.clone());
            });
            space.policies.clone()
        });
        let alternates: Vec<_> = names
            .drain(..)
            .map(|name| (policies.about(Subject::Exchange, &name), name))
            .collect();
        vhost.write(|space| {
            if !Arc::ptr_eq(&space.policies, &policies) {
                // Whoever changed them looks at all of these again.
                return;
            }
            for (status, name) in &alternates {
                space
                    .topology
                    .set_policy_alternate(name, status.alternate());
            }
        });
    }
}

impl Broker {
    /// What policies say about a queue.
    pub fn queue_policy(&self, vhost: &str, queue: &str) -> Option<PolicyStatus> {
        let cell = self.0.vhost(vhost)?.read(|space| {
            let id = space.topology.queue_named(queue)?.id;
            space.cells.get(&id).cloned()
        })?;
        Some(cell.policy_status())
    }

    /// What policies say about an exchange.
    pub fn exchange_policy(&self, vhost: &str, exchange: &str) -> Option<PolicyStatus> {
        let policies = self.0.vhost(vhost)?.read(|space| {
            space.topology.exchange(exchange)?;
            Some(space.policies.clone())
        })?;
        Some(policies.about(Subject::Exchange, exchange))
    }
}
