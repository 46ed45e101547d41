//! One message's way through the exchanges.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::explain::Trace;
use super::hash::Stable;
use super::key::{self, KeySyntax};
use super::topic::{Frontier, TopicMatcher, topic_levels};
use super::{Delays, RouteRequest, RouteTarget, Routes};
use crate::error::{Kind, Refusal};
use crate::message::Properties;
use crate::tags::Tags;
use crate::topology::index::NONE;
use crate::topology::{By, Chooser, End, List, Matcher, Topology, delay_ms, not_found};
use crate::value::Headers;

/// Reusable memory.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// Queue and binding places that matched, in one number so that sorting brings a queue's together.
    matched: Vec<u64>,
    /// Exchanges yet to visit.
    work: Vec<u32>,
    /// Exchanges met, a bit each.
    met: Vec<u64>,
    /// The routing key in another syntax.
    view: Vec<u8>,
    frontier: Frontier,
    tags: Vec<u32>,
}

impl Scratch {
    pub(super) fn reset(&mut self, kept: usize) {
        self.matched.clear();
        self.matched.shrink_to(kept);
        self.work.clear();
        self.met.clear();
    }

    /// Notes an exchange to visit, unless it was met before.
    fn enqueue(&mut self, exchange: u32) {
        if self.meet(exchange) {
            self.work.push(exchange);
        }
    }

    fn meet(&mut self, exchange: u32) -> bool {
        let (word, bit) = (exchange as usize / 64, 1 << (exchange % 64));
        if self.met.len() <= word {
            self.met.resize(word + 1, 0);
        }
        let is_new = self.met[word] & bit == 0;
        self.met[word] |= bit;
        is_new
    }
}

const fn pair(queue: u32, binding: u32) -> u64 {
    (queue as u64) << 32 | binding as u64
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "the two halves that `pair` joined"
)]
const fn unpair(pair: u64) -> (u32, u32) {
    ((pair >> 32) as u32, pair as u32)
}

struct Pass<'a> {
    topology: &'a Topology,
    request: &'a RouteRequest<'a>,
    delays: Delays,
    scratch: &'a mut Scratch,
    recorded: &'a mut Vec<u32>,
    delayed: &'a mut Vec<(u32, u64)>,
    headers: Option<Headers>,
    properties: Option<Properties>,
    by_chance: bool,
    /// Where the steps are written down, if anybody wants to know.
    trace: Option<&'a mut Trace>,
}

pub(super) fn run(
    topology: &Topology,
    request: &RouteRequest<'_>,
    delays: Delays,
    routes: &mut Routes,
    trace: Option<&mut Trace>,
) -> Result<(), Refusal> {
    routes.reset();
    let start = topology
        .exchange_slot(request.exchange)
        .ok_or_else(|| not_found(Kind::Exchange, request.exchange))?;
    if request.from_client && topology.exchanges[start].decl.internal {
        return Err(Refusal::InternalExchange(
            String::from_utf8_lossy(request.exchange).into(),
        ));
    }
    routes.traffic = Some(Arc::clone(&topology.exchanges[start].traffic));
    let mut pass = Pass {
        topology,
        request,
        delays,
        scratch: &mut routes.scratch,
        recorded: &mut routes.recorded,
        delayed: &mut routes.delayed,
        headers: None,
        properties: None,
        by_chance: false,
        trace,
    };
    pass.scratch.enqueue(start);
    while let Some(exchange) = pass.scratch.work.pop() {
        pass.visit(exchange);
    }
    routes.cacheable = pass.is_cacheable();
    collect(topology, routes);
    Ok(())
}

impl<'a> Pass<'a> {
    /// Lets one exchange choose, and its alternate if it finds nothing.
    fn visit(&mut self, exchange: u32) {
        let topology = self.topology;
        let at = &topology.exchanges[exchange];
        self.trace(|trace| trace.visit(exchange));
        if at.behaviour.delays
            && let Some(ms) = self.delay_ms()
        {
            self.delayed.push((exchange, ms));
            self.trace(|trace| trace.delay(ms));
            return;
        }
        if at.behaviour.history.is_some() {
            self.recorded.push(exchange);
        }
        let matched = match &at.matcher {
            Matcher::Default => self.by_queue_name(),
            Matcher::Direct => self.by_key(exchange),
            Matcher::Fanout => self.all(at.outgoing, List::Source),
            Matcher::Topic(matcher) => self.by_pattern(exchange, matcher),
            Matcher::Headers => self.by_headers(at.outgoing),
            Matcher::One(chooser) => self.by_choice(chooser),
        };
        if !matched
            && let Some(name) = &at.alternate
            && let Some(alternate) = topology.exchange_slot(name.as_bytes())
        {
            self.trace(|trace| trace.hand_over(alternate));
            self.scratch.enqueue(alternate);
        }
    }

    #[inline]
    fn trace(&mut self, write: impl FnOnce(&mut Trace)) {
        if let Some(trace) = &mut self.trace {
            write(trace);
        }
    }

    fn keys(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        core::iter::once(self.request.routing_key).chain(self.request.extra_keys.iter().copied())
    }

    /// Calls `then` with the key's view in `view`.
    fn with_view<R>(
        &mut self,
        key: &[u8],
        view: KeySyntax,
        then: impl FnOnce(&mut Self, &[u8]) -> R,
    ) -> R {
        if self.request.key_syntax == view {
            return then(self, key);
        }
        let mut buffer = core::mem::take(&mut self.scratch.view);
        buffer.clear();
        key::render(key, self.request.key_syntax, view, &mut buffer);
        let result = then(self, &buffer);
        self.scratch.view = buffer;
        result
    }

    fn by_queue_name(&mut self) -> bool {
        let mut matched = false;
        for key in self.keys() {
            let queue = self.with_view(key, KeySyntax::Dotted, |pass, name| {
                pass.topology.queue_slot(name)
            });
            if let Some(queue) = queue {
                self.trace(|trace| trace.name(queue));
                self.scratch.matched.push(pair(queue, NONE));
                matched = true;
            }
        }
        matched
    }

    fn by_key(&mut self, exchange: u32) -> bool {
        let mut matched = false;
        for key in self.keys() {
            matched |= self.with_view(key, KeySyntax::Dotted, |pass, key| {
                pass.exact(exchange, KeySyntax::Dotted, key)
            });
        }
        matched
    }

    fn exact(&mut self, exchange: u32, syntax: KeySyntax, key: &[u8]) -> bool {
        let topology = self.topology;
        topology
            .bucket(exchange, syntax, key)
            .is_some_and(|bucket| self.all(topology.buckets[bucket].first, List::Bucket))
    }

    fn by_pattern(&mut self, exchange: u32, matcher: &TopicMatcher) -> bool {
        let topology = self.topology;
        let written = self.request.key_syntax;
        let mut matched = false;
        for view in [KeySyntax::Dotted, KeySyntax::Slashed] {
            let patterns = matcher.patterns(view);
            if patterns.exact == 0 && patterns.wild.is_empty() {
                continue;
            }
            for key in self.keys().filter(|key| key::has_view(key, written, view)) {
                if patterns.exact > 0 {
                    matched |=
                        self.with_view(key, view, |pass, key| pass.exact(exchange, view, key));
                }
                // In this view, patterns that start with a wildcard do not match keys that start with `$`.
                let guard = view == KeySyntax::Slashed && key.first() == Some(&b'$');
                let mut frontier = core::mem::take(&mut self.scratch.frontier);
                patterns.wild.matches(
                    topic_levels(key, written, view),
                    guard,
                    &mut frontier,
                    &mut |bucket| {
                        matched |= self.all(topology.buckets[bucket].first, List::Bucket);
                    },
                );
                self.scratch.frontier = frontier;
            }
        }
        matched
    }

    fn by_headers(&mut self, first: u32) -> bool {
        let topology = self.topology;
        if first == NONE {
            return false;
        }
        let headers = self.take_headers();
        let mut matched = false;
        let mut slot = first;
        while let Some(binding) = topology.bindings.get(slot) {
            if binding.mode().matches(binding.arguments(), &headers) {
                matched |= self.take(slot);
            }
            slot = binding.next(List::Source);
        }
        self.headers = Some(headers);
        matched
    }

    /// For how long the message is to be held back.
    fn delay_ms(&mut self) -> Option<u64> {
        if self.delays == Delays::Over {
            return None;
        }
        let headers = self.take_headers();
        let ms = delay_ms(&headers);
        self.headers = Some(headers);
        ms
    }

    /// The message's headers, sorted. Put them back when done.
    fn take_headers(&mut self) -> Headers {
        self.headers.take().unwrap_or_else(|| {
            let mut headers = (self.request.headers)();
            headers.sort_unique();
            headers
        })
    }

    fn by_choice(&mut self, chooser: &Chooser) -> bool {
        let choice = &chooser.choice;
        // What the message says does not count where nothing is bound.
        if choice.weight() == 0 {
            return false;
        }
        let chosen = match &chooser.by {
            By::Key => choice.by_weight(self.hash_keys(1)),
            By::Header(name) => {
                let headers = self.take_headers();
                let hash = Stable::default();
                let hash = headers.get_sorted(name).map_or(hash, |v| hash.value(v));
                self.headers = Some(headers);
                choice.by_weight(hash.finish())
            }
            By::Property(property) => {
                let properties = self
                    .properties
                    .get_or_insert_with(|| (self.request.properties)());
                choice.by_weight(property.hash(properties))
            }
            By::Modulus => chooser.modulo(self.hash_keys(usize::MAX)),
            By::Chance => {
                self.by_chance = true;
                chooser.by_chance()
            }
        };
        chosen.is_some_and(|binding| self.take(binding))
    }

    /// A hash of the first routing keys, whatever their syntax.
    fn hash_keys(&mut self, count: usize) -> u64 {
        let mut hash = Stable::default();
        for key in self.keys().take(count) {
            hash = self.with_view(key, KeySyntax::Dotted, |_, key| hash.bytes(key));
        }
        hash.finish()
    }

    /// Whether exchange and key say it all.
    fn is_cacheable(&self) -> bool {
        self.headers.is_none()
            && self.properties.is_none()
            && !self.by_chance
            && self.request.extra_keys.is_empty()
    }

    /// Takes every binding of a list.
    fn all(&mut self, first: u32, list: List) -> bool {
        let mut matched = false;
        let mut slot = first;
        while let Some(binding) = self.topology.bindings.get(slot) {
            matched |= self.take(slot);
            slot = binding.next(list);
        }
        matched
    }

    /// Follows a binding whose key or arguments match. Returns whether it does match, its options considered.
    fn take(&mut self, slot: u32) -> bool {
        let binding = &self.topology.bindings[slot];
        if binding.options.exclude_publisher.is_some()
            && binding.options.exclude_publisher == self.request.publisher
        {
            return false;
        }
        self.trace(|trace| trace.follow(slot));
        match binding.end {
            End::Queue(queue) => self.scratch.matched.push(pair(queue, slot)),
            End::Exchange(exchange) => self.scratch.enqueue(exchange),
        }
        true
    }
}

/// Makes one target of all that matched for a queue.
fn collect(topology: &Topology, routes: &mut Routes) {
    let Scratch { matched, tags, .. } = &mut routes.scratch;
    if matched.len() > 1 {
        matched.sort_unstable();
        matched.dedup();
    }
    routes.targets.reserve(matched.len());
    for of_queue in matched.chunk_by(|a, b| unpair(*a).0 == unpair(*b).0) {
        let mut at_most_once = true;
        for &matched in of_queue {
            // Matched by name in the default exchange: no binding, no options.
            let options = topology
                .bindings
                .get(unpair(matched).1)
                .map(|binding| &binding.options);
            at_most_once &= options.is_some_and(|options| options.at_most_once);
            tags.extend(options.and_then(|options| options.tag));
        }
        routes.targets.push(RouteTarget {
            queue: topology.queues[unpair(of_queue[0]).0].entry.id,
            tags: match tags[..] {
                [] => Tags::None,
                [tag] => Tags::One(tag),
                _ => Tags::from_vec(tags.clone()),
            },
            at_most_once,
        });
        tags.clear();
    }
}
