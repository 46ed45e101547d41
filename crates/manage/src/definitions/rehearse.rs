//! Whether what a document declares would be accepted: it is declared where nobody uses it.

use std::collections::{HashMap, HashSet};

use ternmq_amqp::refusal;
use ternmq_broker::inspect::{BindingEnd, BindingSnapshot, Inspect, QueueSnapshot};
use ternmq_core::access::VhostLimit;
use ternmq_core::error::Refusal;
use ternmq_core::id::{ConnectionId, QueueId};
use ternmq_core::topology::{ExchangeDecl, QueueDecl, Topology};
use ternmq_core::value::Value as Argument;

use super::Plan;
use crate::Manage;
use crate::request::declared_name;

/// Longest routing key of a binding in bytes: AMQP 0.9.1 knows no longer ones.
const KEY_BYTES_MAX: usize = 255;

/// The type of queues that RabbitMQ has and TernMQ does not.
const STREAM: &str = "stream";

/// Who declares: nobody who is connected.
const NOBODY: ConnectionId = ConnectionId(0);

/// Declares and binds everything in the plan, and says what is refused.
pub(super) fn rehearse(manage: &Manage, plan: &Plan, problems: &mut Vec<String>) {
    let mut stages = Stages {
        inspect: manage.broker.inspect(),
        by_vhost: HashMap::new(),
        queues: 0,
    };
    let exchanges = plan.exchanges.iter();
    problems
        .extend(exchanges.filter_map(|(vhost, decl)| stages.declare_exchange(vhost, decl).err()));
    let queues = plan.queues.iter();
    problems.extend(queues.filter_map(|(vhost, decl)| stages.declare_queue(vhost, decl).err()));
    let bindings = plan.bindings.iter();
    problems.extend(bindings.filter_map(|binding| stages.bind(binding).err()));
    check_queue_limits(manage, plan, problems);
}

/// A topology for each vhost, with what is there already as far as it is needed.
struct Stages<'a> {
    inspect: Inspect<'a>,
    by_vhost: HashMap<Box<str>, Topology>,
    queues: u64,
}

impl Stages<'_> {
    fn declare_exchange(&mut self, vhost: &str, decl: &ExchangeDecl) -> Result<(), String> {
        check_name("exchange", &decl.name, vhost)?;
        if self.has_exchange(vhost, &decl.name) {
            return Ok(());
        }
        let declared = self.of(vhost).declare_exchange(decl.clone());
        declared.map(drop).map_err(|refusal| words(&refusal, vhost))
    }

    fn declare_queue(&mut self, vhost: &str, decl: &QueueDecl) -> Result<(), String> {
        check_name("queue", &decl.name, vhost)?;
        if self.has_queue(vhost, &decl.name) {
            return Ok(());
        }
        if is_stream(decl) {
            return Err(format!(
                "queue '{}' in vhost '{vhost}' is a stream, and there are none here: leave it out, with its bindings",
                decl.name
            ));
        }
        // Documents have queues that the broker named, too.
        let declared = self.put_queue(vhost, decl.clone());
        declared.map_err(|refusal| words(&refusal, vhost))
    }

    fn bind(&mut self, binding: &BindingSnapshot) -> Result<(), String> {
        let vhost = &*binding.vhost;
        let subject = |problem: String| {
            let (source, end) = (&binding.source, binding.destination.name());
            format!("binding of '{source}' and '{end}' in vhost '{vhost}': {problem}")
        };
        if binding.key.len() > KEY_BYTES_MAX {
            let bytes = binding.key.len();
            return Err(subject(format!(
                "the routing key should be at most {KEY_BYTES_MAX} bytes long, actually was {bytes}"
            )));
        }
        self.has_exchange(vhost, &binding.source);
        match &binding.destination {
            BindingEnd::Queue(name) => self.has_queue(vhost, name),
            BindingEnd::Exchange(name) => self.has_exchange(vhost, name),
        };
        let bound = self.of(vhost).bind(&binding.decl(), NOBODY);
        bound.map(drop).map_err(|refusal| match refusal {
            Refusal::NotFound { .. } => words(&refusal, vhost),
            refusal => subject(words(&refusal, vhost)),
        })
    }

    fn of(&mut self, vhost: &str) -> &mut Topology {
        self.by_vhost.entry(vhost.into()).or_default()
    }

    /// Whether there is one; then it is on the stage too.
    fn has_exchange(&mut self, vhost: &str, name: &str) -> bool {
        if self.of(vhost).exchange(name).is_some() {
            return true;
        }
        let found = self.inspect.exchange(vhost, name);
        found.is_some_and(|found| self.of(vhost).declare_exchange(found.decl).is_ok())
    }

    fn has_queue(&mut self, vhost: &str, name: &str) -> bool {
        if self.of(vhost).queue(name, NOBODY).is_ok() {
            return true;
        }
        let found = self.inspect.queue(vhost, name);
        found.is_some_and(|found| self.put_queue(vhost, found.decl().clone()).is_ok())
    }

    fn put_queue(&mut self, vhost: &str, decl: QueueDecl) -> Result<(), Refusal> {
        self.queues += 1;
        let (by, id) = (decl.exclusive.unwrap_or(NOBODY), QueueId(self.queues));
        self.of(vhost).declare_queue(decl, by, id).map(drop)
    }
}

/// A vhost has no more queues than its limit says, which may come with the document.
fn check_queue_limits(manage: &Manage, plan: &Plan, problems: &mut Vec<String>) {
    let mut limits: HashMap<Box<str>, u64> = HashMap::new();
    let now = manage.broker.admin().vhost_limits().into_iter();
    for info in now.chain(plan.vhost_limits.iter().cloned()) {
        let mut of_vhost = info.limits.into_iter();
        match of_vhost.find(|(limit, _)| *limit == VhostLimit::Queues) {
            Some((_, max)) => limits.insert(info.name, max),
            None => limits.remove(&info.name),
        };
    }
    for (vhost, max) in limits {
        let there = manage.broker.inspect().queues(Some(&vhost));
        let mut names: HashSet<&str> = there.iter().map(QueueSnapshot::name).collect();
        let before = names.len();
        let planned = plan.queues.iter().filter(|(name, _)| *name == vhost);
        names.extend(planned.map(|(_, decl)| &*decl.name));
        if names.len() > before && names.len() as u64 > max {
            problems.push(format!(
                "vhost '{vhost}' would have {} queues, and may have {max}",
                names.len()
            ));
        }
    }
}

fn is_stream(decl: &QueueDecl) -> bool {
    let kind = decl.arguments.get("x-queue-type");
    kind.is_some_and(|kind| *kind == Argument::text(STREAM))
}

fn check_name(kind: &str, name: &str, vhost: &str) -> Result<(), String> {
    match declared_name(kind, name) {
        Ok(name) if name.is_empty() => Err(format!("{kind} without a name in vhost '{vhost}'")),
        Ok(_) => Ok(()),
        Err(fault) => {
            let reason = fault.reason();
            Err(format!(
                "{kind} '{name}' in vhost '{vhost}': {}",
                reason.trim_end()
            ))
        }
    }
}

/// Those of declarations name what they are about.
fn words(refusal: &Refusal, vhost: &str) -> String {
    refusal::explain(refusal, vhost, "").text
}
