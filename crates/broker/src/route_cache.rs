//! Where a connection's recent publishes went.

use std::sync::Arc;

use hashbrown::HashMap;
use ternmq_core::routing::RouteRequest;
use ternmq_core::routing::key::KeySyntax;

use crate::publish::Route;

/// Routes kept per connection; at one more the cache starts afresh.
pub const ROUTES_MAX: usize = 1024;

/// Queues that the kept routes lead to, altogether; the last route used is kept beside them whatever its size.
const TARGETS_MAX: usize = 64 * 1024;

/// Routes by exchange and key, all of one version of the topology. The last one is found by comparing bytes.
#[derive(Default)]
pub(crate) struct RouteCache {
    version: u64,
    last: Option<(Key, Arc<Route>)>,
    others: HashMap<Key, Arc<Route>>,
    /// Of all others.
    targets: usize,
    probe: Vec<u8>,
}

/// Syntax, length of the exchange name, exchange name and key in one allocation.
type Key = Box<[u8]>;

fn lay_out(request: &RouteRequest<'_>, out: &mut Vec<u8>) {
    out.clear();
    out.push(match request.key_syntax {
        KeySyntax::Dotted => 0,
        KeySyntax::Slashed => 1,
    });
    // The client may reach an internal exchange by a dead-letter route only, never the reverse: not part of the key,
    // because only clients have a cache.
    out.extend_from_slice(
        &u32::try_from(request.exchange.len())
            .unwrap_or(u32::MAX)
            .to_le_bytes(),
    );
    out.extend_from_slice(request.exchange);
    out.extend_from_slice(request.routing_key);
}

impl RouteCache {
    /// The route, if it is known and of that version. Requests with further keys are never cached.
    pub(crate) fn get(&mut self, request: &RouteRequest<'_>, version: u64) -> Option<&Arc<Route>> {
        if version != self.version || !request.extra_keys.is_empty() {
            return None;
        }
        lay_out(request, &mut self.probe);
        let is_last = self
            .last
            .as_ref()
            .is_some_and(|(key, _)| **key == *self.probe);
        if !is_last {
            let route = self.others.get(&*self.probe)?.clone();
            self.last = Some((self.probe.as_slice().into(), route));
        }
        self.last.as_ref().map(|(_, route)| route)
    }

    pub(crate) fn put(&mut self, request: &RouteRequest<'_>, route: Arc<Route>) {
        let targets = route.targets().len();
        if route.version() != self.version
            || self.others.len() >= ROUTES_MAX
            || self.targets + targets > TARGETS_MAX
        {
            self.version = route.version();
            self.others.clear();
            self.targets = 0;
        }
        lay_out(request, &mut self.probe);
        let key: Key = self.probe.as_slice().into();
        if targets <= TARGETS_MAX && self.others.insert(key.clone(), route.clone()).is_none() {
            self.targets += targets;
        }
        self.last = Some((key, route));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bed::{broker, client, queue, request};
    use crate::publish::Target;

    impl RouteCache {
        fn targets_held(&self) -> usize {
            let others = self.others.values().map(|route| route.targets().len());
            let last = self
                .last
                .as_ref()
                .map_or(0, |(_, route)| route.targets().len());
            others.sum::<usize>() + last
        }
    }

    /// A route of so many targets.
    fn wide(version: u64, targets: usize) -> Arc<Route> {
        let broker = broker();
        let mut client = client(&broker);
        client.declare_queue(queue("q", &[])).unwrap();
        let cell = client.cell("q").unwrap();
        let target = || Target {
            cell: cell.clone(),
            tags: ternmq_core::tags::Tags::None,
            at_most_once: false,
        };
        Arc::new(Route::new(
            version,
            std::iter::repeat_with(target).take(targets).collect(),
        ))
    }

    #[test]
    fn wide_routes_of_many_keys_do_not_pile_up() {
        let mut cache = RouteCache::default();
        let route = wide(1, TARGETS_MAX / 4);
        for n in 0..100_u32 {
            let key = n.to_le_bytes();
            cache.put(&request(b"fan", &key), route.clone());
            assert!(cache.get(&request(b"fan", &key), 1).is_some());
            assert!(cache.targets_held() <= TARGETS_MAX + route.targets().len());
        }
        let giant = wide(1, TARGETS_MAX + 1);
        cache.put(&request(b"giant", b""), giant);
        assert!(
            cache.get(&request(b"giant", b""), 1).is_some(),
            "one of any size is kept"
        );
    }

    #[test]
    fn routes_of_another_version_go_with_the_first_new_one() {
        let mut cache = RouteCache::default();
        for n in 0..100_u32 {
            cache.put(&request(b"x", &n.to_le_bytes()), wide(1, 1));
        }
        assert_eq!(cache.others.len(), 100);
        assert!(cache.get(&request(b"x", &[0; 4]), 2).is_none());
        cache.put(&request(b"x", b"new"), wide(2, 1));
        assert_eq!(cache.others.len(), 1);
        assert!(cache.get(&request(b"x", b"new"), 2).is_some());
        assert!(cache.get(&request(b"x", &[0; 4]), 2).is_none());
    }
}
