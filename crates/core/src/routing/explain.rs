//! Why a message goes where it goes, and not elsewhere: the very steps of routing, written down.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::{Delays, RouteRequest, Routes, pass};
use crate::error::Refusal;
use crate::topology::index::NONE;
use crate::topology::{Binding, BindingDecl, ExchangeDecl, ExchangeKind, List, Topology};
use crate::value::Headers;

/// What a pass went through, as places in the topology.
#[derive(Debug, Default)]
pub(super) struct Trace {
    visits: Vec<Traced>,
}

#[derive(Debug)]
struct Traced {
    exchange: u32,
    /// Bindings that were followed.
    followed: Vec<u32>,
    /// Queues that the routing keys name.
    named: Vec<u32>,
    delayed_ms: Option<u64>,
    alternate: Option<u32>,
}

impl Trace {
    pub(super) fn visit(&mut self, exchange: u32) {
        self.visits.push(Traced {
            exchange,
            followed: Vec::new(),
            named: Vec::new(),
            delayed_ms: None,
            alternate: None,
        });
    }

    pub(super) fn follow(&mut self, binding: u32) {
        if let Some(visit) = self.visits.last_mut() {
            visit.followed.push(binding);
        }
    }

    pub(super) fn name(&mut self, queue: u32) {
        if let Some(visit) = self.visits.last_mut() {
            visit.named.push(queue);
        }
    }

    pub(super) fn delay(&mut self, ms: u64) {
        if let Some(visit) = self.visits.last_mut() {
            visit.delayed_ms = Some(ms);
        }
    }

    pub(super) fn hand_over(&mut self, alternate: u32) {
        if let Some(visit) = self.visits.last_mut() {
            visit.alternate = Some(alternate);
        }
    }
}

/// Why a binding is not followed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Miss {
    /// Its key is another one.
    OtherKey,
    /// Its pattern does not match.
    PatternDiffers,
    /// These of its arguments find nothing in the message's headers that matches.
    HeadersDiffer(Vec<Box<str>>),
    /// Its exchange chose another one.
    NotChosen,
    /// The destination does not want what it published itself.
    OwnMessage,
}

/// One exchange on the way.
#[derive(Clone, Debug)]
pub struct Visit<'a> {
    /// The exchange.
    pub exchange: &'a ExchangeDecl,
    /// Queues that the routing keys name: of the default exchange.
    pub named: Vec<&'a str>,
    /// Bindings that are followed.
    pub followed: Vec<BindingDecl<'a>>,
    /// Those that are not, and why.
    pub missed: Vec<(BindingDecl<'a>, Miss)>,
    /// How many more there are that are not.
    pub left_out: usize,
    /// It holds the message back for so many milliseconds, and looks at its bindings then.
    pub delayed_ms: Option<u64>,
    /// The exchange that gets what nothing here matched.
    pub alternate: Option<&'a str>,
}

impl Topology {
    /// The way of a message, exchange by exchange, in the order in which they are visited. Of each exchange's bindings
    /// that are not followed, `missed_max` are named.
    ///
    /// # Errors
    /// As [`Topology::route`].
    pub fn explain(
        &self,
        request: &RouteRequest<'_>,
        missed_max: usize,
    ) -> Result<Vec<Visit<'_>>, Refusal> {
        let mut trace = Trace::default();
        let routes = &mut Routes::default();
        pass::run(self, request, Delays::Heeded, routes, Some(&mut trace))?;
        let mut headers = None;
        let visits = trace.visits.iter();
        Ok(visits
            .map(|visit| self.tell(visit, request, &mut headers, missed_max))
            .collect())
    }

    fn tell(
        &self,
        traced: &Traced,
        request: &RouteRequest<'_>,
        headers: &mut Option<Headers>,
        missed_max: usize,
    ) -> Visit<'_> {
        let exchange = &self.exchanges[traced.exchange];
        let mut visit = Visit {
            exchange: &exchange.decl,
            named: Vec::new(),
            followed: Vec::new(),
            missed: Vec::new(),
            left_out: 0,
            delayed_ms: traced.delayed_ms,
            alternate: traced
                .alternate
                .map(|slot| &*self.exchanges[slot].decl.name),
        };
        let queues = traced.named.iter().map(|slot| &self.queues[*slot]);
        visit
            .named
            .extend(queues.map(|queue| &*queue.entry.decl.name));
        if traced.delayed_ms.is_some() {
            return visit;
        }
        let mut followed = traced.followed.clone();
        followed.sort_unstable();
        let mut slot = exchange.outgoing;
        while slot != NONE {
            let binding = &self.bindings[slot];
            if followed.binary_search(&slot).is_ok() {
                visit.followed.push(self.declaration(binding));
            } else if visit.missed.len() < missed_max {
                let miss = miss(binding, exchange.decl.kind, request, headers);
                visit.missed.push((self.declaration(binding), miss));
            } else {
                visit.left_out += 1;
            }
            slot = binding.next(List::Source);
        }
        visit
    }
}

fn miss(
    binding: &Binding,
    kind: ExchangeKind,
    request: &RouteRequest<'_>,
    headers: &mut Option<Headers>,
) -> Miss {
    let publisher = binding.options.exclude_publisher;
    if publisher.is_some() && publisher == request.publisher {
        return Miss::OwnMessage;
    }
    match kind {
        ExchangeKind::Topic => Miss::PatternDiffers,
        ExchangeKind::Headers => {
            let headers = headers.get_or_insert_with(|| {
                let mut headers = (request.headers)();
                headers.sort_unique();
                headers
            });
            let unmet = binding.mode().unmet(binding.arguments(), headers);
            Miss::HeadersDiffer(unmet.map(Box::from).collect())
        }
        ExchangeKind::ConsistentHash
        | ExchangeKind::ModulusHash
        | ExchangeKind::Random
        | ExchangeKind::LocalRandom => Miss::NotChosen,
        _ => Miss::OtherKey,
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::id::PublisherId;
    use crate::routing::tests::{Fixture, binding, request};
    use crate::topology::{BindingOptions, Destination};
    use crate::value::Value;

    fn name<'a>(binding: &BindingDecl<'a>) -> &'a str {
        match binding.destination {
            Destination::Queue(name) | Destination::Exchange(name) => name,
        }
    }

    /// Of a visit: the exchange, what is followed, what is not and why.
    type Told<'a> = (&'a str, Vec<&'a str>, Vec<(&'a str, Miss)>);

    fn told<'a>(visit: &Visit<'a>) -> Told<'a> {
        let followed = visit.followed.iter().map(name);
        let missed = visit.missed.iter();
        (
            &visit.exchange.name,
            followed.chain(visit.named.iter().copied()).collect(),
            missed
                .map(|(binding, miss)| (name(binding), miss.clone()))
                .collect(),
        )
    }

    #[test]
    fn way_through_exchanges_is_told_step_by_step() {
        let mut f = Fixture::new(3);
        f.exchange("t", ExchangeKind::Topic);
        f.exchange("d", ExchangeKind::Direct);
        f.bind("t", "q0", "a.*");
        f.bind("t", "q1", "b.#");
        f.bind_exchange("t", "d", "#");
        f.bind("d", "q2", "a.b");
        f.bind("d", "q1", "other");
        let visits = f.topology.explain(&request("t", "a.b"), 10).unwrap();
        assert_eq!(visits.len(), 2);
        assert_eq!(
            told(&visits[0]),
            ("t", vec!["d", "q0"], vec![("q1", Miss::PatternDiffers)])
        );
        assert_eq!(
            told(&visits[1]),
            ("d", vec!["q2"], vec![("q1", Miss::OtherKey)])
        );
        let visits = f.topology.explain(&request("", "q1"), 10).unwrap();
        assert_eq!(told(&visits[0]), ("", vec!["q1"], vec![]));
        assert!(f.topology.explain(&request("nowhere", "q1"), 10).is_err());
    }

    #[test]
    fn what_matches_nothing_is_handed_to_the_alternate_exchange() {
        let mut f = Fixture::new(1);
        f.exchange("alt", ExchangeKind::Fanout);
        f.with_alternate("d", ExchangeKind::Direct, "alt");
        f.bind("d", "q0", "k");
        let visits = f.topology.explain(&request("d", "k"), 10).unwrap();
        assert_eq!((visits.len(), visits[0].alternate), (1, None));
        let visits = f.topology.explain(&request("d", "other"), 0).unwrap();
        assert_eq!(visits[0].alternate, Some("alt"));
        assert_eq!((visits[0].missed.len(), visits[0].left_out), (0, 1));
        assert_eq!(told(&visits[1]), ("alt", vec![], vec![]));
    }

    #[test]
    fn headers_that_differ_are_named() {
        let mut f = Fixture::new(2);
        f.exchange("h", ExchangeKind::Headers);
        let mut wanted = Headers::new();
        wanted.push("a", Value::I32(1));
        wanted.push("b", Value::I32(2));
        f.bind_as(&BindingDecl {
            arguments: &wanted,
            ..binding("h", Destination::Queue("q0"), "")
        });
        let headers = || [("a".into(), Value::I32(1))].into_iter().collect();
        let request = RouteRequest {
            headers: &headers,
            ..request("h", "")
        };
        let visits = f.topology.explain(&request, 10).unwrap();
        let miss = Miss::HeadersDiffer(vec!["b".into()]);
        assert_eq!(told(&visits[0]), ("h", vec![], vec![("q0", miss)]));
    }

    #[test]
    fn own_messages_and_what_was_not_chosen_are_told_as_such() {
        let mut f = Fixture::new(2);
        f.exchange("f", ExchangeKind::Fanout);
        f.bind_as(&BindingDecl {
            options: BindingOptions {
                exclude_publisher: Some(PublisherId(7)),
                ..BindingOptions::default()
            },
            ..binding("f", Destination::Queue("q0"), "")
        });
        let request_of_7 = RouteRequest {
            publisher: Some(PublisherId(7)),
            ..request("f", "")
        };
        let visits = f.topology.explain(&request_of_7, 10).unwrap();
        assert_eq!(
            told(&visits[0]),
            ("f", vec![], vec![("q0", Miss::OwnMessage)])
        );
        f.exchange("c", ExchangeKind::ConsistentHash);
        f.bind("c", "q0", "1");
        f.bind("c", "q1", "1");
        let visits = f.topology.explain(&request("c", "k"), 10).unwrap();
        assert_eq!(visits[0].followed.len(), 1);
        assert_eq!(visits[0].missed.len(), 1);
        assert_eq!(visits[0].missed[0].1, Miss::NotChosen);
    }
}
