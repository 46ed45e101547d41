//! Declaring, checking and deleting exchanges.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::{
    Behaviour, Chooser, Exchange, ExchangeDecl, ExchangeKind, List, Matcher, NONE, Removed,
    Topology, not_found,
};
use crate::error::{ArgumentFault, Inequivalence, Kind, Refusal};
use crate::policy::ALTERNATE_EXCHANGE;
use crate::policy::arguments::argument_difference;
use crate::routing::topic::TopicMatcher;
use crate::value::{Headers, Value};

const RESERVED_PREFIX: &str = "amq.";

const PREDECLARED: [(&str, ExchangeKind, bool); 7] = [
    ("", ExchangeKind::Direct, false),
    ("amq.direct", ExchangeKind::Direct, false),
    ("amq.fanout", ExchangeKind::Fanout, false),
    ("amq.topic", ExchangeKind::Topic, false),
    ("amq.headers", ExchangeKind::Headers, false),
    ("amq.match", ExchangeKind::Headers, false),
    ("amq.rabbitmq.trace", ExchangeKind::Topic, true),
];

/// Whether every vhost has an exchange of that name from its beginning, the default exchange aside.
pub fn is_predeclared_exchange(name: &str) -> bool {
    !name.is_empty()
        && PREDECLARED
            .iter()
            .any(|(predeclared, ..)| *predeclared == name)
}

/// Refuses names that a client must not choose for a new exchange.
///
/// # Errors
/// [`Refusal::ReservedName`] for names that start with `amq.`.
pub fn check_client_exchange_name(name: &str) -> Result<(), Refusal> {
    if name.starts_with(RESERVED_PREFIX) {
        return Err(Refusal::ReservedName {
            kind: Kind::Exchange,
            name: name.into(),
        });
    }
    Ok(())
}

impl Topology {
    pub(super) fn predeclare(&mut self) {
        for (name, kind, internal) in PREDECLARED {
            let decl = ExchangeDecl {
                name: name.into(),
                kind,
                durable: true,
                auto_delete: false,
                internal,
                arguments: Headers::new(),
                declared_by: Box::default(),
            };
            let behaviour = Behaviour::plain(kind);
            self.insert_exchange(decl, behaviour, None, None);
        }
    }

    /// Declares an exchange. Returns whether it is new.
    ///
    /// # Errors
    /// The default exchange, an unusable alternate exchange, something to hash that is not
    /// there to be hashed, a length of history that is no number, a delayed kind that there is not; an existing exchange that differs.
    pub fn declare_exchange(&mut self, decl: ExchangeDecl) -> Result<bool, Refusal> {
        refuse_default_exchange(&decl.name)?;
        if let Some(slot) = self.exchange_slot(decl.name.as_bytes()) {
            return match difference(&self.exchanges[slot].decl, &decl) {
                None => Ok(false),
                Some(difference) => Err(Refusal::Inequivalent {
                    kind: Kind::Exchange,
                    name: decl.name,
                    difference: Box::new(difference),
                }),
            };
        }
        let alternate = alternate_exchange(&decl)?;
        let behaviour = Behaviour::of(&decl)?;
        let chooser = Chooser::of(&decl, behaviour.kind)?;
        self.insert_exchange(decl, behaviour, alternate, chooser);
        Ok(true)
    }

    /// Whether the exchange exists: a passive declaration.
    ///
    /// # Errors
    /// The default exchange, or not found.
    pub fn check_exchange(&self, name: &str) -> Result<(), Refusal> {
        refuse_default_exchange(name)?;
        match self.exchange_slot(name.as_bytes()) {
            Some(_) => Ok(()),
            None => Err(not_found(Kind::Exchange, name.as_bytes())),
        }
    }

    /// Deletes an exchange with its bindings on both sides. Returns whether there was one.
    ///
    /// # Errors
    /// The default exchange, a predeclared one, or one that has bindings as their source if `if_unused`.
    pub fn delete_exchange(
        &mut self,
        name: &str,
        if_unused: bool,
        removed: &mut Removed,
    ) -> Result<bool, Refusal> {
        refuse_default_exchange(name)?;
        if name.starts_with(RESERVED_PREFIX) {
            return Err(Refusal::SystemExchange(name.into()));
        }
        let Some(slot) = self.exchange_slot(name.as_bytes()) else {
            return Ok(false);
        };
        if if_unused && self.exchanges[slot].outgoing != NONE {
            return Err(Refusal::InUse {
                kind: Kind::Exchange,
                name: name.into(),
            });
        }
        let mut sources = Vec::new();
        self.remove_exchange(slot, &mut sources);
        self.auto_delete(sources, removed);
        Ok(true)
    }

    /// Sets where messages go that match nothing, for an exchange that is not declared with such a place; none takes that
    /// away.
    pub fn set_policy_alternate(&mut self, name: &str, alternate: Option<&str>) {
        let Some(slot) = self.exchange_slot(name.as_bytes()) else {
            return;
        };
        let exchange = &mut self.exchanges[slot];
        let is_declared = exchange.decl.arguments.get(ALTERNATE_EXCHANGE).is_some();
        if !is_declared && exchange.alternate.as_deref() != alternate {
            exchange.alternate = alternate.map(Box::from);
            self.changed();
        }
    }

    fn insert_exchange(
        &mut self,
        decl: ExchangeDecl,
        behaviour: Behaviour,
        alternate: Option<Box<str>>,
        chooser: Option<Box<Chooser>>,
    ) {
        let hash = self.hash(decl.name.as_bytes());
        let matcher = match (behaviour.kind, chooser) {
            _ if decl.name.is_empty() => Matcher::Default,
            (_, Some(chooser)) => Matcher::One(chooser),
            (ExchangeKind::Fanout, None) => Matcher::Fanout,
            (ExchangeKind::Topic, None) => Matcher::Topic(Box::default()),
            (ExchangeKind::Headers, None) => Matcher::Headers,
            (_, None) => Matcher::Direct,
        };
        let exchange = Exchange {
            decl,
            behaviour,
            matcher,
            alternate,
            traffic: Arc::default(),
            outgoing: NONE,
            incoming: NONE,
        };
        let slot = self.exchanges.insert(exchange);
        self.exchange_names.insert(hash, slot);
        self.changed();
    }

    /// Removes an exchange and its bindings; adds the sources of those that led to it.
    fn remove_exchange(&mut self, slot: u32, sources: &mut Vec<u32>) -> Option<Box<str>> {
        while self.exchanges[slot].outgoing != NONE {
            self.remove_binding(self.exchanges[slot].outgoing);
        }
        while self.exchanges[slot].incoming != NONE {
            sources.push(self.remove_binding(self.exchanges[slot].incoming));
        }
        let exchange = self.exchanges.remove(slot)?;
        self.exchange_names
            .remove(self.hash(exchange.decl.name.as_bytes()), slot);
        self.changed();
        Some(exchange.decl.name)
    }

    /// Deletes those of `sources`, which have just lost bindings, that go with their last one; and so on.
    pub(super) fn auto_delete(&mut self, mut sources: Vec<u32>, removed: &mut Removed) {
        while let Some(slot) = sources.pop() {
            let unused = |x: &Exchange| x.decl.auto_delete && x.outgoing == NONE;
            if self.exchanges.get(slot).is_some_and(unused) {
                removed
                    .exchanges
                    .extend(self.remove_exchange(slot, &mut sources));
            }
        }
    }

    pub(super) fn exchange_list(&mut self, slot: u32, list: List) -> &mut u32 {
        let exchange = &mut self.exchanges[slot];
        if list == List::Source {
            &mut exchange.outgoing
        } else {
            &mut exchange.incoming
        }
    }

    pub(super) fn topic_matcher(&mut self, slot: u32) -> Option<&mut TopicMatcher> {
        match &mut self.exchanges[slot].matcher {
            Matcher::Topic(matcher) => Some(matcher),
            _ => None,
        }
    }
}

impl Exchange {
    pub(super) fn chooser(&mut self) -> Option<&mut Chooser> {
        match &mut self.matcher {
            Matcher::One(chooser) => Some(chooser),
            _ => None,
        }
    }
}

pub(super) fn refuse_default_exchange(name: &str) -> Result<(), Refusal> {
    if name.is_empty() {
        Err(Refusal::DefaultExchange)
    } else {
        Ok(())
    }
}

fn alternate_exchange(decl: &ExchangeDecl) -> Result<Option<Box<str>>, Refusal> {
    match decl.arguments.get(ALTERNATE_EXCHANGE) {
        None => Ok(None),
        Some(value) => match value.as_str() {
            Some(name) => Ok(Some(name.into())),
            None => Err(Refusal::InvalidArgument {
                kind: Kind::Exchange,
                name: decl.name.clone(),
                arg: ALTERNATE_EXCHANGE.into(),
                fault: Box::new(ArgumentFault::NotAName(value.clone())),
            }),
        },
    }
}

/// The first difference, in RabbitMQ's order.
fn difference(current: &ExchangeDecl, received: &ExchangeDecl) -> Option<Inequivalence> {
    let flag = |arg: &str, current: bool, received: bool| {
        (current != received).then(|| Inequivalence {
            arg: arg.into(),
            received: Some(Value::Bool(received)),
            current: Some(Value::Bool(current)),
        })
    };
    let kind = (current.kind != received.kind).then(|| Inequivalence {
        arg: "type".into(),
        received: Some(Value::text(received.kind.name())),
        current: Some(Value::text(current.kind.name())),
    });
    kind.or_else(|| flag("durable", current.durable, received.durable))
        .or_else(|| flag("auto_delete", current.auto_delete, received.auto_delete))
        .or_else(|| flag("internal", current.internal, received.internal))
        .or_else(|| {
            argument_difference(ALTERNATE_EXCHANGE, &current.arguments, &received.arguments)
        })
}
