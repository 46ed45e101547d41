use alloc::boxed::Box;
use alloc::vec::Vec;

use super::*;
use crate::id::ConnectionId;
use crate::topology::{
    BindingDecl, BindingOptions, Destination, ExchangeDecl, ExchangeKind, QueueDecl, Removed,
};
use crate::value::Value;

pub(crate) const BY: ConnectionId = ConnectionId(1);

/// A topology under test; queues are `q0`, `q1`, ... with their number as identity.
pub(crate) struct Fixture {
    pub(crate) topology: Topology,
    routes: Routes,
}

/// A request that tests vary.
pub(crate) fn request<'a>(exchange: &'a str, key: &'a str) -> RouteRequest<'a> {
    RouteRequest {
        exchange: exchange.as_bytes(),
        routing_key: key.as_bytes(),
        key_syntax: KeySyntax::Dotted,
        extra_keys: &[],
        headers: &Headers::new,
        properties: &Properties::default,
        publisher: None,
        from_client: true,
    }
}

pub(crate) fn slashed<'a>(exchange: &'a str, key: &'a str) -> RouteRequest<'a> {
    RouteRequest {
        key_syntax: KeySyntax::Slashed,
        ..request(exchange, key)
    }
}

pub(crate) fn queue_decl(name: &str) -> QueueDecl {
    QueueDecl {
        name: name.into(),
        durable: true,
        exclusive: None,
        auto_delete: false,
        arguments: Headers::new(),
    }
}

pub(crate) fn exchange_decl(name: &str, kind: ExchangeKind) -> ExchangeDecl {
    ExchangeDecl {
        name: name.into(),
        kind,
        durable: true,
        auto_delete: false,
        internal: false,
        arguments: Headers::new(),
        declared_by: Box::default(),
    }
}

pub(crate) fn binding<'a>(
    source: &'a str,
    destination: Destination<'a>,
    key: &'a str,
) -> BindingDecl<'a> {
    static NONE: Headers = Headers::new();
    BindingDecl {
        source,
        destination,
        key: key.as_bytes(),
        syntax: KeySyntax::Dotted,
        arguments: &NONE,
        options: BindingOptions::default(),
    }
}

impl Fixture {
    pub(crate) fn new(queues: u64) -> Self {
        let mut topology = Topology::new();
        for n in 0..queues {
            topology
                .declare_queue(queue_decl(&alloc::format!("q{n}")), BY, QueueId(n))
                .unwrap();
        }
        Self {
            topology,
            routes: Routes::default(),
        }
    }

    pub(crate) fn exchange(&mut self, name: &str, kind: ExchangeKind) {
        assert!(
            self.topology
                .declare_exchange(exchange_decl(name, kind))
                .unwrap()
        );
    }

    pub(crate) fn with_alternate(&mut self, name: &str, kind: ExchangeKind, alternate: &str) {
        let mut decl = exchange_decl(name, kind);
        decl.arguments
            .push("alternate-exchange", Value::text(alternate));
        assert!(self.topology.declare_exchange(decl).unwrap());
    }

    pub(crate) fn bind(&mut self, source: &str, queue: &str, key: &str) {
        self.bind_as(&binding(source, Destination::Queue(queue), key));
    }

    pub(crate) fn bind_exchange(&mut self, source: &str, destination: &str, key: &str) {
        self.bind_as(&binding(source, Destination::Exchange(destination), key));
    }

    pub(crate) fn bind_as(&mut self, binding: &BindingDecl<'_>) {
        assert!(self.topology.bind(binding, BY).unwrap());
    }

    pub(crate) fn targets(&mut self, request: &RouteRequest<'_>) -> Vec<RouteTarget> {
        self.topology.route(request, &mut self.routes).unwrap();
        self.routes.targets.clone()
    }

    pub(crate) fn route(&mut self, request: &RouteRequest<'_>) -> Vec<u64> {
        let mut queues: Vec<_> = self.targets(request).iter().map(|t| t.queue.0).collect();
        queues.sort_unstable();
        queues
    }

    pub(crate) fn cacheable(&mut self, request: &RouteRequest<'_>) -> bool {
        self.topology.route(request, &mut self.routes).unwrap();
        self.routes.cacheable
    }
}

#[test]
fn default_exchange_routes_to_the_queue_the_key_names() {
    let mut f = Fixture::new(2);
    assert_eq!(f.route(&request("", "q1")), [1]);
    assert_eq!(f.route(&request("", "nope")), [0; 0]);
    f.topology
        .declare_queue(queue_decl("a.b"), BY, QueueId(9))
        .unwrap();
    assert_eq!(f.route(&slashed("", "a/b")), [9]);
    assert_eq!(f.route(&request("", "a/b")), [0; 0]);
    let with_cc = RouteRequest {
        extra_keys: &[b"q0", b"q1"],
        ..request("", "q1")
    };
    assert_eq!(f.route(&with_cc), [0, 1]);
}

#[test]
fn direct_exchange_routes_by_equal_key() {
    let mut f = Fixture::new(3);
    f.bind("amq.direct", "q0", "k");
    f.bind("amq.direct", "q1", "k");
    f.bind("amq.direct", "q2", "other");
    assert_eq!(f.route(&request("amq.direct", "k")), [0, 1]);
    assert_eq!(f.route(&request("amq.direct", "#")), [0; 0]);
}

#[test]
fn direct_exchange_uses_slashed_keys_in_their_dotted_view() {
    let mut f = Fixture::new(3);
    let slashed_binding = BindingDecl {
        syntax: KeySyntax::Slashed,
        ..binding("amq.direct", Destination::Queue("q0"), "a/b")
    };
    f.bind_as(&slashed_binding);
    f.bind("amq.direct", "q1", "a.b");
    f.bind("amq.direct", "q2", "a/b");
    assert_eq!(f.route(&slashed("amq.direct", "a/b")), [0, 1]);
    assert_eq!(f.route(&request("amq.direct", "a.b")), [0, 1]);
    assert_eq!(f.route(&request("amq.direct", "a/b")), [2]);
    // The two spellings stay two bindings, each as it was written.
    f.bind("amq.direct", "q0", "a.b");
    assert!(
        f.topology
            .unbind(&slashed_binding, BY, &mut Removed::default())
            .unwrap()
    );
    assert_eq!(f.route(&request("amq.direct", "a.b")), [0, 1]);
    let spellings: Vec<_> = f
        .topology
        .bindings()
        .map(|b| (b.key.to_vec(), b.syntax))
        .collect();
    assert!(
        spellings
            .iter()
            .all(|(_, syntax)| *syntax == KeySyntax::Dotted),
        "{spellings:?}"
    );
}

#[test]
fn fanout_exchange_routes_to_every_binding_once_per_queue() {
    let mut f = Fixture::new(2);
    f.bind("amq.fanout", "q0", "");
    f.bind("amq.fanout", "q0", "again");
    f.bind("amq.fanout", "q1", "");
    assert_eq!(f.route(&request("amq.fanout", "whatever")), [0, 1]);
}

#[test]
fn topic_exchange_matches_each_pattern_with_the_view_of_its_syntax() {
    let mut f = Fixture::new(4);
    f.bind("amq.topic", "q0", "a.*");
    f.bind("amq.topic", "q1", "a.b");
    for (queue, filter) in [("q2", "a/+"), ("q3", "a/b")] {
        f.bind_as(&BindingDecl {
            syntax: KeySyntax::Slashed,
            ..binding("amq.topic", Destination::Queue(queue), filter)
        });
    }
    assert_eq!(f.route(&request("amq.topic", "a.b")), [0, 1, 2, 3]);
    assert_eq!(f.route(&slashed("amq.topic", "a/b")), [0, 1, 2, 3]);
    assert_eq!(f.route(&slashed("amq.topic", "a.b")), [0, 1]);
    assert_eq!(f.route(&request("amq.topic", "a/b")), [2, 3]);
    assert_eq!(f.route(&slashed("amq.topic", "a/x.y")), [2]);
    assert_eq!(
        f.route(&request("amq.topic", "a.+")),
        [0],
        "no slashed view"
    );
}

#[test]
fn queue_bound_twice_by_matching_patterns_gets_one_copy() {
    let mut f = Fixture::new(1);
    for pattern in ["a.*", "*.b", "#", "a.b"] {
        f.bind("amq.topic", "q0", pattern);
    }
    assert_eq!(f.route(&request("amq.topic", "a.b")), [0]);
}

#[test]
fn further_keys_match_like_the_first_and_make_the_route_not_cacheable() {
    let mut f = Fixture::new(3);
    f.bind("amq.topic", "q0", "a.*");
    f.bind("amq.topic", "q1", "b");
    f.bind("amq.topic", "q2", "c");
    let with_cc = RouteRequest {
        extra_keys: &[b"b", b"a.y"],
        ..request("amq.topic", "a.x")
    };
    assert_eq!(f.route(&with_cc), [0, 1]);
    assert!(!f.cacheable(&with_cc));
    assert!(f.cacheable(&request("amq.topic", "a.x")));
}

#[test]
fn headers_exchange_reads_the_headers_once_and_only_then() {
    let mut f = Fixture::new(2);
    let calls = core::cell::Cell::new(0);
    let headers = || {
        calls.set(calls.get() + 1);
        Headers::from_iter([(Box::from("kind"), Value::text("order"))])
    };
    let with_headers = RouteRequest {
        headers: &headers,
        ..request("amq.headers", "")
    };
    assert_eq!(f.route(&with_headers), [0; 0]);
    assert_eq!(calls.get(), 0, "nothing is bound");
    let order = Headers::from_iter([(Box::from("kind"), Value::text("order"))]);
    let bill = Headers::from_iter([(Box::from("kind"), Value::text("bill"))]);
    f.bind_as(&BindingDecl {
        arguments: &order,
        ..binding("amq.headers", Destination::Queue("q0"), "")
    });
    f.bind_as(&BindingDecl {
        arguments: &bill,
        ..binding("amq.headers", Destination::Queue("q1"), "")
    });
    f.bind_exchange("amq.headers", "amq.match", "");
    f.bind_as(&BindingDecl {
        arguments: &order,
        ..binding("amq.match", Destination::Queue("q1"), "")
    });
    assert_eq!(f.route(&with_headers), [0, 1]);
    assert_eq!(calls.get(), 1);
    assert!(!f.cacheable(&with_headers));
    assert!(f.cacheable(&RouteRequest {
        headers: &headers,
        ..request("amq.direct", "")
    }));
}

#[test]
fn tags_of_all_matching_bindings_are_united() {
    let mut f = Fixture::new(2);
    let tagged = |queue, key, tag, at_most_once| BindingDecl {
        options: BindingOptions {
            tag,
            exclude_publisher: None,
            at_most_once,
        },
        ..binding("amq.topic", Destination::Queue(queue), key)
    };
    f.bind_as(&tagged("q0", "a", Some(5), true));
    f.bind_as(&tagged("q0", "*", Some(2), false));
    f.bind_as(&tagged("q0", "#", Some(5), true));
    f.bind_as(&tagged("q1", "*", Some(7), true));
    f.bind_as(&tagged("q1", "#", None, true));
    let targets = f.targets(&request("amq.topic", "a"));
    assert_eq!(
        targets,
        [
            RouteTarget {
                queue: QueueId(0),
                tags: Tags::from_vec([2, 5].into()),
                at_most_once: false
            },
            RouteTarget {
                queue: QueueId(1),
                tags: Tags::One(7),
                at_most_once: true
            },
        ]
    );
}

#[test]
fn binding_does_not_match_the_publisher_it_excludes() {
    let mut f = Fixture::new(1);
    f.with_alternate("x", ExchangeKind::Fanout, "amq.fanout");
    f.topology
        .declare_queue(queue_decl("rest"), BY, QueueId(9))
        .unwrap();
    f.bind("amq.fanout", "rest", "");
    let options = BindingOptions {
        exclude_publisher: Some(PublisherId(4)),
        ..BindingOptions::default()
    };
    f.bind_as(&BindingDecl {
        options,
        ..binding("x", Destination::Queue("q0"), "")
    });
    let from = |publisher| RouteRequest {
        publisher,
        ..request("x", "")
    };
    assert_eq!(f.route(&from(None)), [0]);
    assert_eq!(f.route(&from(Some(PublisherId(3)))), [0]);
    assert_eq!(
        f.route(&from(Some(PublisherId(4)))),
        [9],
        "unmatched, so the alternate has it"
    );
}

#[test]
fn exchange_that_does_not_exist_is_not_found() {
    let f = Fixture::new(0);
    let refusal = f
        .topology
        .route(&request("nope", ""), &mut Routes::default())
        .unwrap_err();
    assert_eq!(
        refusal,
        Refusal::NotFound {
            kind: crate::error::Kind::Exchange,
            name: "nope".into()
        }
    );
}

#[test]
fn internal_exchange_takes_messages_from_bindings_and_the_broker_but_not_from_clients() {
    let mut f = Fixture::new(1);
    f.bind("amq.rabbitmq.trace", "q0", "#");
    f.bind_exchange("amq.fanout", "amq.rabbitmq.trace", "");
    let direct = request("amq.rabbitmq.trace", "k");
    let refusal = f
        .topology
        .route(&direct, &mut Routes::default())
        .unwrap_err();
    assert_eq!(
        refusal,
        Refusal::InternalExchange("amq.rabbitmq.trace".into())
    );
    assert_eq!(
        f.route(&RouteRequest {
            from_client: false,
            ..direct
        }),
        [0]
    );
    assert_eq!(f.route(&request("amq.fanout", "k")), [0]);
}

#[test]
fn cycle_of_exchange_bindings_routes_once_through_each() {
    let mut f = Fixture::new(3);
    for name in ["a", "b", "c"] {
        f.exchange(name, ExchangeKind::Fanout);
    }
    for (queue, (source, destination)) in
        [("q0", ("a", "b")), ("q1", ("b", "c")), ("q2", ("c", "a"))]
    {
        f.bind_exchange(source, destination, "");
        f.bind(source, queue, "");
    }
    f.bind_exchange("a", "a", "");
    for start in ["a", "b", "c"] {
        assert_eq!(f.route(&request(start, "")), [0, 1, 2]);
    }
}

#[test]
fn alternate_exchange_takes_what_matches_nothing_and_only_that() {
    let mut f = Fixture::new(3);
    f.with_alternate("x", ExchangeKind::Direct, "second");
    f.with_alternate("second", ExchangeKind::Direct, "amq.fanout");
    f.bind("x", "q0", "zero");
    f.bind("second", "q1", "one");
    f.bind("amq.fanout", "q2", "");
    assert_eq!(f.route(&request("x", "zero")), [0]);
    assert_eq!(f.route(&request("x", "one")), [1]);
    assert_eq!(f.route(&request("x", "two")), [2]);
}

#[test]
fn alternate_of_an_exchange_in_the_middle_counts_too() {
    let mut f = Fixture::new(2);
    f.with_alternate("inner", ExchangeKind::Direct, "amq.fanout");
    f.bind_exchange("amq.topic", "inner", "#");
    f.bind("inner", "q0", "k");
    f.bind("amq.fanout", "q1", "");
    assert_eq!(f.route(&request("amq.topic", "k")), [0]);
    assert_eq!(f.route(&request("amq.topic", "x")), [1]);
}

#[test]
fn missing_alternate_drops_and_alternates_in_a_circle_end() {
    let mut f = Fixture::new(1);
    f.with_alternate("lonely", ExchangeKind::Direct, "nowhere");
    f.with_alternate("a", ExchangeKind::Direct, "b");
    f.with_alternate("b", ExchangeKind::Direct, "a");
    f.with_alternate("self", ExchangeKind::Direct, "self");
    for exchange in ["lonely", "a", "b", "self"] {
        assert_eq!(f.route(&request(exchange, "k")), [0; 0], "{exchange}");
    }
    f.bind("a", "q0", "k");
    assert_eq!(f.route(&request("b", "k")), [0]);
}

#[test]
fn default_exchange_may_be_an_alternate() {
    let mut f = Fixture::new(1);
    f.with_alternate("x", ExchangeKind::Fanout, "");
    assert_eq!(f.route(&request("x", "q0")), [0]);
}

#[test]
fn routes_are_overwritten_by_the_next_message() {
    let mut f = Fixture::new(2);
    assert_eq!(f.route(&request("", "q0")), [0]);
    assert_eq!(f.route(&request("", "q1")), [1]);
    assert!(
        f.topology
            .route(&request("nope", ""), &mut f.routes)
            .is_err()
    );
    assert!(f.routes.targets.is_empty());
}
