//! Where a connection's recent publishes went.

use std::sync::Arc;

use hashbrown::HashMap;
use ternmq_core::routing::RouteRequest;
use ternmq_core::routing::key::KeySyntax;

use crate::publish::Route;

/// Routes kept per connection; at one more the cache starts afresh.
pub const ROUTES_MAX: usize = 1024;

/// Routes by exchange and key, valid for one version of the topology. The last one is found by comparing bytes.
#[derive(Default)]
pub(crate) struct RouteCache {
    last: Option<(Key, Arc<Route>)>,
    others: HashMap<Key, Arc<Route>>,
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
        if !request.extra_keys.is_empty() {
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
        self.last
            .as_ref()
            .map(|(_, route)| route)
            .filter(|route| route.version() == version)
    }

    pub(crate) fn put(&mut self, request: &RouteRequest<'_>, route: Arc<Route>) {
        if self.others.len() >= ROUTES_MAX {
            self.others.clear();
        }
        lay_out(request, &mut self.probe);
        let key: Key = self.probe.as_slice().into();
        self.others.insert(key.clone(), route.clone());
        self.last = Some((key, route));
    }
}
