//! Topology and routing against a naive model: lists, scanned from front to back.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use proptest::prelude::*;

use super::tests::{BY, Fixture, exchange_decl, queue_decl};
use super::*;
use crate::topology::{BindingDecl, BindingOptions, Destination, ExchangeKind, Removed};
use crate::value::Value;

const QUEUES: u64 = 4;
const EXCHANGES: [(&str, ExchangeKind, bool, &str); 9] = [
    ("direct", ExchangeKind::Direct, false, "topic"),
    ("fanout", ExchangeKind::Fanout, true, ""),
    ("topic", ExchangeKind::Topic, false, "headers"),
    ("topic2", ExchangeKind::Topic, true, "direct"),
    ("headers", ExchangeKind::Headers, false, "nowhere"),
    ("hash", ExchangeKind::ConsistentHash, false, "modulus"),
    ("modulus", ExchangeKind::ModulusHash, true, "fanout"),
    ("random", ExchangeKind::Random, false, "local"),
    ("local", ExchangeKind::LocalRandom, false, ""),
];
const KEYS: [&str; 16] = [
    "1", "7", "", "a", "a.b", "a/b", "a.*", "a/+", "#", "*.b", "+/b", "a.#", "a/#", "$x/a", "$x.a",
    "#.b.#",
];

#[derive(Clone, Debug)]
struct Bound {
    source: usize,
    /// A queue's number, or an exchange's plus `QUEUES`.
    destination: u64,
    key: &'static str,
    syntax: KeySyntax,
    arguments: Vec<(&'static str, i64)>,
    options: BindingOptions,
}

impl Bound {
    fn is_same(&self, other: &Self) -> bool {
        (
            self.source,
            self.destination,
            self.key,
            self.syntax,
            &self.arguments,
        ) == (
            other.source,
            other.destination,
            other.key,
            other.syntax,
            &other.arguments,
        )
    }

    fn with_declaration<R>(&self, f: impl FnOnce(&BindingDecl<'_>) -> R) -> R {
        let queue = format!("q{}", self.destination);
        let arguments: Headers = self
            .arguments
            .iter()
            .map(|(n, v)| (Box::from(*n), Value::I64(*v)))
            .collect();
        f(&BindingDecl {
            source: EXCHANGES[self.source].0,
            destination: match usize::try_from(self.destination - QUEUES.min(self.destination)) {
                Ok(exchange) if self.destination >= QUEUES => {
                    Destination::Exchange(EXCHANGES[exchange].0)
                }
                _ => Destination::Queue(&queue),
            },
            key: self.key.as_bytes(),
            syntax: self.syntax,
            arguments: &arguments,
            options: self.options.clone(),
        })
    }
}

#[derive(Clone, Debug)]
enum Step {
    Bind(Bound),
    Unbind(Bound),
    Queue(u64),
    DeleteQueue(u64),
    Exchange(usize),
    DeleteExchange(usize),
    Publish(Published),
}

#[derive(Clone, Debug)]
struct Published {
    exchange: usize,
    keys: Vec<&'static str>,
    syntax: KeySyntax,
    headers: Vec<(&'static str, i64)>,
    publisher: Option<u64>,
}

#[derive(Debug, Default)]
struct Model {
    queues: BTreeSet<u64>,
    exchanges: BTreeSet<usize>,
    bindings: Vec<Bound>,
}

impl Model {
    fn exists(&self, destination: u64) -> bool {
        match destination.checked_sub(QUEUES) {
            None => self.queues.contains(&destination),
            Some(exchange) => self.exchanges.contains(&usize::try_from(exchange).unwrap()),
        }
    }

    fn bind(&mut self, bound: &Bound) -> Option<bool> {
        let takes = match EXCHANGES[bound.source].1 {
            ExchangeKind::ConsistentHash => bound.key.parse().is_ok_and(|weight: u32| weight > 0),
            ExchangeKind::LocalRandom => bound.key.is_empty(),
            _ => true,
        };
        if !takes || !self.exchanges.contains(&bound.source) || !self.exists(bound.destination) {
            return None;
        }
        if let Some(old) = self.bindings.iter_mut().find(|b| b.is_same(bound)) {
            old.options = bound.options.clone();
            return Some(false);
        }
        self.bindings.push(bound.clone());
        Some(true)
    }

    fn remove(&mut self, gone: impl Fn(&Bound) -> bool) -> bool {
        let sources: Vec<usize> = self
            .bindings
            .iter()
            .filter(|b| gone(b))
            .map(|b| b.source)
            .collect();
        self.bindings.retain(|b| !gone(b));
        for &source in &sources {
            if EXCHANGES[source].2 && self.bindings.iter().all(|b| b.source != source) {
                self.remove_exchange(source);
            }
        }
        !sources.is_empty()
    }

    fn remove_exchange(&mut self, exchange: usize) -> bool {
        self.bindings.retain(|b| b.source != exchange);
        let existed = self.exchanges.remove(&exchange);
        self.remove(|b| b.destination == QUEUES + exchange as u64);
        existed
    }

    /// All that may come of it: targets with the tags and the wish for at most once, in no order.
    fn routes(&self, published: &Published) -> Vec<Vec<Reached>> {
        let start = Way {
            work: Vec::from([published.exchange]),
            visited: BTreeSet::from([published.exchange]),
            hits: Vec::new(),
        };
        let (mut ways, mut routes) = (Vec::from([start]), Vec::new());
        while let Some(mut way) = ways.pop() {
            let Some(exchange) = way.work.pop() else {
                routes.push(self.reached(&way.hits));
                continue;
            };
            let choices = self.choices(exchange, published);
            ways.extend(
                choices
                    .into_iter()
                    .map(|found| self.follow(&way, exchange, found)),
            );
        }
        routes
    }

    /// The bindings that an exchange may choose: one set, or one binding of several.
    fn choices(&self, exchange: usize, published: &Published) -> Vec<Vec<&Bound>> {
        let mut bound: Vec<&Bound> = self
            .bindings
            .iter()
            .filter(|b| b.source == exchange)
            .collect();
        if EXCHANGES[exchange].1 == ExchangeKind::ConsistentHash {
            let mut seen = BTreeSet::new();
            bound.retain(|b| seen.insert(b.destination));
        }
        let is_taken = |b: &&Bound| matches(b, published);
        if bound.is_empty() || !is_one_of_many(EXCHANGES[exchange].1) {
            return Vec::from([bound.into_iter().filter(is_taken).collect()]);
        }
        let one = |b| core::iter::once(b).filter(is_taken).collect();
        bound.into_iter().map(one).collect()
    }

    fn follow<'a>(&self, way: &Way<'a>, exchange: usize, found: Vec<&'a Bound>) -> Way<'a> {
        let mut way = way.clone();
        let alternate = EXCHANGES.iter().position(|x| x.0 == EXCHANGES[exchange].3);
        let next = found
            .iter()
            .filter_map(|b| b.destination.checked_sub(QUEUES)?.try_into().ok());
        let next: Vec<usize> = if found.is_empty() {
            alternate.into_iter().collect()
        } else {
            next.collect()
        };
        for exchange in next {
            if self.exchanges.contains(&exchange) && way.visited.insert(exchange) {
                way.work.push(exchange);
            }
        }
        way.hits.extend(found);
        way
    }

    fn reached(&self, hits: &[&Bound]) -> Vec<Reached> {
        let reached = self.queues.iter().filter_map(|&queue| {
            let of: Vec<_> = hits
                .iter()
                .filter(|b| b.destination == queue)
                .map(|b| &b.options)
                .collect();
            let tags: BTreeSet<u32> = of.iter().filter_map(|o| o.tag).collect();
            (!of.is_empty()).then(|| {
                (
                    queue,
                    tags.into_iter().collect(),
                    of.iter().all(|o| o.at_most_once),
                )
            })
        });
        reached.collect()
    }
}

type Reached = (u64, Vec<u32>, bool);

/// A message on its way.
#[derive(Clone)]
struct Way<'a> {
    work: Vec<usize>,
    visited: BTreeSet<usize>,
    hits: Vec<&'a Bound>,
}

const fn is_one_of_many(kind: ExchangeKind) -> bool {
    matches!(
        kind,
        ExchangeKind::ConsistentHash
            | ExchangeKind::ModulusHash
            | ExchangeKind::Random
            | ExchangeKind::LocalRandom
    )
}

fn matches(bound: &Bound, published: &Published) -> bool {
    let excluded = bound.options.exclude_publisher.map(|p| p.0);
    if excluded.is_some() && excluded == published.publisher {
        return false;
    }
    let dotted = |key: &str, syntax| {
        if syntax == KeySyntax::Slashed {
            key.replace('/', ".")
        } else {
            key.to_string()
        }
    };
    let any_key = |f: &dyn Fn(&str) -> bool| published.keys.iter().any(|key| f(key));
    match EXCHANGES[bound.source].1 {
        ExchangeKind::Direct => {
            any_key(&|key| dotted(key, published.syntax) == dotted(bound.key, bound.syntax))
        }
        ExchangeKind::Headers => bound
            .arguments
            .iter()
            .all(|argument| published.headers.iter().find(|h| h.0 == argument.0) == Some(argument)),
        ExchangeKind::Topic => any_key(&|key| match bound.syntax {
            KeySyntax::Dotted => dotted_matches(
                &split(bound.key, "."),
                &split(&dotted(key, published.syntax), "."),
            ),
            KeySyntax::Slashed => slashed_view(key, published.syntax)
                .is_some_and(|topic| slashed_matches(bound.key, &topic)),
        }),
        _ => true,
    }
}

fn split<'a>(key: &'a str, separator: &str) -> Vec<&'a str> {
    if key.is_empty() {
        Vec::new()
    } else {
        key.split(separator).collect()
    }
}

fn dotted_matches(pattern: &[&str], words: &[&str]) -> bool {
    match (pattern.split_first(), words.split_first()) {
        (None, None) => true,
        (Some((&"#", rest)), None) => dotted_matches(rest, words),
        (Some((&"#", rest)), Some((_, tail))) => {
            dotted_matches(rest, words) || dotted_matches(pattern, tail)
        }
        (Some((word, rest)), Some((level, tail))) => {
            (*word == "*" || word == level) && dotted_matches(rest, tail)
        }
        _ => false,
    }
}

fn slashed_view(key: &str, syntax: KeySyntax) -> Option<String> {
    match syntax {
        KeySyntax::Slashed => Some(key.to_string()),
        KeySyntax::Dotted if key.is_empty() || key.contains(['+', '#', '\0']) => None,
        KeySyntax::Dotted => Some(key.replace('.', "/")),
    }
}

fn slashed_matches(filter: &str, topic: &str) -> bool {
    if topic.starts_with('$') && (filter.starts_with('+') || filter == "#") {
        return false;
    }
    let (mut filter, topic) = (split(filter, "/"), split(topic, "/"));
    let open = filter.last() == Some(&"#");
    if open {
        filter.pop();
    }
    let enough = if open {
        topic.len() >= filter.len()
    } else {
        topic.len() == filter.len()
    };
    enough && filter.iter().zip(&topic).all(|(f, t)| *f == "+" || f == t)
}

fn syntax() -> impl Strategy<Value = KeySyntax> {
    prop_oneof![Just(KeySyntax::Dotted), Just(KeySyntax::Slashed)]
}

fn header_values() -> impl Strategy<Value = Vec<(&'static str, i64)>> {
    prop::collection::btree_set(prop_oneof![Just("h"), Just("i")], 0..3).prop_flat_map(|names| {
        names
            .into_iter()
            .map(|name| (Just(name), 0..2i64))
            .collect::<Vec<_>>()
    })
}

fn bound() -> impl Strategy<Value = Bound> {
    let options = (
        prop::option::of(0..3u32),
        prop::option::weighted(0.2, 0..2u64),
        any::<bool>(),
    );
    let key = prop::sample::select(&KEYS[..]);
    (
        0..EXCHANGES.len(),
        0..QUEUES + EXCHANGES.len() as u64,
        key,
        syntax(),
        header_values(),
        options,
    )
        .prop_map(
            |(source, destination, key, syntax, arguments, (tag, excluded, at_most_once))| Bound {
                source,
                destination,
                key,
                syntax,
                arguments,
                options: BindingOptions {
                    tag,
                    exclude_publisher: excluded.map(PublisherId),
                    at_most_once,
                },
            },
        )
}

fn step() -> impl Strategy<Value = Step> {
    let published = (
        0..EXCHANGES.len(),
        prop::collection::vec(prop::sample::select(&KEYS[..]), 1..4),
        syntax(),
        header_values(),
        prop::option::of(0..2u64),
    )
        .prop_map(|(exchange, keys, syntax, headers, publisher)| Published {
            exchange,
            keys,
            syntax,
            headers,
            publisher,
        });
    prop_oneof![
        12 => bound().prop_map(Step::Bind),
        3 => bound().prop_map(Step::Unbind),
        1 => (0..QUEUES).prop_map(Step::Queue),
        1 => (0..QUEUES).prop_map(Step::DeleteQueue),
        1 => (0..EXCHANGES.len()).prop_map(Step::Exchange),
        1 => (0..EXCHANGES.len()).prop_map(Step::DeleteExchange),
        8 => published.prop_map(Step::Publish),
    ]
}

struct Run {
    model: Model,
    fixture: Fixture,
    /// Identity of each queue, a new one each time it is declared.
    ids: Vec<QueueId>,
    next: u64,
}

impl Run {
    fn new() -> Self {
        let ids = (0..QUEUES).map(QueueId).collect();
        let mut run = Self {
            model: Model::default(),
            fixture: Fixture::new(0),
            ids,
            next: 1,
        };
        (0..QUEUES).for_each(|queue| run.queue(queue));
        (0..EXCHANGES.len()).for_each(|exchange| run.exchange(exchange));
        run
    }

    fn queue(&mut self, queue: u64) {
        let id = QueueId(self.next);
        self.next += 1;
        let declared = self
            .fixture
            .topology
            .declare_queue(queue_decl(&format!("q{queue}")), BY, id)
            .unwrap();
        assert_eq!(declared.created, self.model.queues.insert(queue));
        self.ids[usize::try_from(queue).unwrap()] = declared.id;
    }

    fn exchange(&mut self, exchange: usize) {
        let (name, kind, auto_delete, alternate) = EXCHANGES[exchange];
        let mut decl = exchange_decl(name, kind);
        decl.auto_delete = auto_delete;
        if !alternate.is_empty() {
            decl.arguments
                .push("alternate-exchange", Value::text(alternate));
        }
        let created = self.fixture.topology.declare_exchange(decl).unwrap();
        assert_eq!(created, self.model.exchanges.insert(exchange));
    }

    fn step(&mut self, step: &Step) {
        let topology = &mut self.fixture.topology;
        let mut removed = Removed::default();
        match step {
            Step::Bind(bound) => {
                let bound_now = bound.with_declaration(|decl| topology.bind(decl, BY));
                assert_eq!(bound_now.ok(), self.model.bind(bound));
            }
            Step::Unbind(bound) => {
                let unbound = bound
                    .with_declaration(|decl| topology.unbind(decl, BY, &mut removed))
                    .unwrap();
                assert_eq!(unbound, self.model.remove(|b| b.is_same(bound)));
            }
            Step::Queue(queue) => self.queue(*queue),
            Step::DeleteQueue(queue) => {
                let existed = self.model.queues.remove(queue);
                self.model.remove(|b| b.destination == *queue);
                let id = self.ids[usize::try_from(*queue).unwrap()];
                assert_eq!(topology.delete_queue(id, &mut removed), existed);
            }
            Step::Exchange(exchange) => self.exchange(*exchange),
            Step::DeleteExchange(exchange) => {
                let existed = topology
                    .delete_exchange(EXCHANGES[*exchange].0, false, &mut removed)
                    .unwrap();
                assert_eq!(existed, self.model.remove_exchange(*exchange));
            }
            Step::Publish(published) => self.publish(published),
        }
        self.compare();
    }

    fn publish(&mut self, published: &Published) {
        if !self.model.exchanges.contains(&published.exchange) {
            return;
        }
        let extra: Vec<&[u8]> = published.keys[1..]
            .iter()
            .map(|key| key.as_bytes())
            .collect();
        let request = RouteRequest {
            exchange: EXCHANGES[published.exchange].0.as_bytes(),
            routing_key: published.keys[0].as_bytes(),
            key_syntax: published.syntax,
            extra_keys: &extra,
            properties: &Properties::default,
            headers: &|| {
                published
                    .headers
                    .iter()
                    .map(|(n, v)| (Box::from(*n), Value::I64(*v)))
                    .collect()
            },
            publisher: published.publisher.map(PublisherId),
            from_client: true,
        };
        let mut routed: Vec<_> = self
            .fixture
            .targets(&request)
            .into_iter()
            .map(|t| {
                let queue = self.ids.iter().position(|id| *id == t.queue).unwrap();
                (queue as u64, t.tags.as_slice().to_vec(), t.at_most_once)
            })
            .collect();
        routed.sort();
        let possible = self.model.routes(published);
        assert!(
            possible.contains(&routed),
            "{routed:?} is none of {possible:?}"
        );
    }

    fn compare(&self) {
        let topology = &self.fixture.topology;
        assert_eq!(topology.queue_count(), self.model.queues.len());
        assert_eq!(topology.binding_count(), self.model.bindings.len());
        for (n, (name, ..)) in EXCHANGES.iter().enumerate() {
            assert_eq!(
                topology.exchange(name).is_some(),
                self.model.exchanges.contains(&n),
                "{name}"
            );
            let outgoing = self.model.bindings.iter().filter(|b| b.source == n).count();
            assert_eq!(topology.bindings_from(name).count(), outgoing, "{name}");
        }
        for queue in 0..QUEUES {
            let incoming = self
                .model
                .bindings
                .iter()
                .filter(|b| b.destination == queue)
                .count();
            let name = format!("q{queue}");
            assert_eq!(
                topology.bindings_to(Destination::Queue(&name)).count(),
                incoming,
                "{name}"
            );
        }
    }
}

proptest! {
    #[test]
    fn topology_and_routes_agree_with_the_naive_model(steps in prop::collection::vec(step(), 1..60)) {
        let mut run = Run::new();
        for step in &steps {
            run.step(step);
        }
    }
}
