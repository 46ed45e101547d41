//! The declare verb: bindings, and the histories that come with them.

use std::sync::Arc;

use ternmq_core::error::Refusal;
use ternmq_core::id::ConnectionId;
use ternmq_core::message::Message;
use ternmq_core::record;
use ternmq_core::routing::RouteRequest;
use ternmq_core::tags::Tags;
use ternmq_core::topology::{BindingDecl, Destination, Removed};

use crate::client::Client;
use crate::declare::below;
use crate::publish::{Route, Target, Turn, further_keys};
use crate::vhost::Space;

/// Messages of a history published in one turn, at most.
const HISTORY_STEP_MAX: usize = 1024;

impl Client {
    /// Binds. Returns whether the binding is new; the same binding again replaces its options. If it is new and its source
    /// keeps a history, the destination gets that.
    pub fn bind(&mut self, binding: &BindingDecl<'_>) -> Result<bool, Refusal> {
        self.check_binding(binding)?;
        let (is_new, kept) = self.bind_only(binding)?;
        if !kept.is_empty() {
            self.hand_history(binding, kept)?;
        }
        Ok(is_new)
    }

    /// Binds. Returns whether the binding is new, and the history that is due to its destination then: whoever publishes
    /// on the new binding comes behind it.
    fn bind_only(&mut self, binding: &BindingDecl<'_>) -> Result<(bool, Vec<Message>), Refusal> {
        let (by, max) = (self.id, self.broker.limits.bindings_max);
        let room = self.broker.room_to_declare();
        self.write(|space, records| {
            let full = below(space.topology.binding_count(), "bindings_max", max);
            let full = full.and_then(|()| room.check(space.is_durable(binding, by)));
            if full.is_err() && !space.topology.is_bound(binding)? {
                full?;
            }
            let new = space.topology.bind(binding, by)?;
            if space.is_durable(binding, by) {
                records.add(|vhost, out| record::bound(vhost, binding, out));
            }
            let history = space.history(binding.source).filter(|_| new);
            Ok((new, history.map_or_else(Vec::new, |h| h.messages())))
        })
    }

    /// Publishes a history to what was bound, in order.
    fn hand_history(
        &mut self,
        binding: &BindingDecl<'_>,
        kept: Vec<Message>,
    ) -> Result<(), Refusal> {
        let _inside = self.broker.gate.enter();
        let now = self.now();
        let mut turn = Turn::new();
        let mut kept = kept.into_iter().peekable();
        let to_queue = self.vhost.read(|space| space.route_of(binding, self.id));
        while kept.peek().is_some() {
            for message in kept.by_ref().take(HISTORY_STEP_MAX) {
                let route = match &to_queue {
                    Some(route) => route.clone(),
                    None => self.route_behind(binding, &message)?,
                };
                if !route.is_empty() {
                    turn.push(message, route);
                }
            }
            let to = (self.work.get(), &mut self.rejected);
            let lsn = self.broker.publish(&mut turn, None, to, now);
            // Whoever is told of the binding finds them there.
            self.declared = self.declared.max(lsn);
        }
        Ok(())
    }

    /// Where a message goes from the exchange that was bound.
    fn route_behind(
        &mut self,
        binding: &BindingDecl<'_>,
        message: &Message,
    ) -> Result<Arc<Route>, Refusal> {
        let Destination::Exchange(exchange) = binding.destination else {
            return Ok(Arc::default());
        };
        let extra_keys = further_keys(message);
        let request = RouteRequest {
            exchange: exchange.as_bytes(),
            routing_key: message.routing_key(),
            key_syntax: message.key_syntax(),
            extra_keys: &extra_keys,
            headers: &|| message.properties().headers,
            properties: &|| message.properties(),
            publisher: message.publisher(),
            from_client: false,
        };
        let routes = &mut self.work.get().routes;
        let (vhost, clock) = (&self.vhost, &self.broker.clock);
        vhost.read(|space| {
            space.topology.route(&request, routes)?;
            let route = space.resolve(routes);
            Ok(Arc::new(space.delay(route, routes, vhost, clock)))
        })
    }

    /// Unbinds. Returns whether there was such a binding.
    pub fn unbind(&mut self, binding: &BindingDecl<'_>) -> Result<bool, Refusal> {
        self.check_binding(binding)?;
        let by = self.id;
        self.write(|space, records| {
            let durable = space.is_durable(binding, by);
            let mut removed = Removed::default();
            let was = space.topology.unbind(binding, by, &mut removed)?;
            if was && durable {
                records.add(|vhost, out| record::unbound(vhost, binding, out));
            }
            records.removed(&removed);
            Ok(was)
        })
    }
}

impl Space {
    /// A route to the queue that a binding leads to, if it does lead to one, as it asks for.
    fn route_of(&self, binding: &BindingDecl<'_>, by: ConnectionId) -> Option<Arc<Route>> {
        let Destination::Queue(name) = binding.destination else {
            return None;
        };
        let id = self.topology.queue(name, by).ok()?.id;
        let target = Target {
            cell: self.cells.get(&id)?.clone(),
            tags: binding.options.tag.map_or(Tags::None, Tags::One),
            at_most_once: binding.options.at_most_once,
        };
        Some(Arc::new(Route::new(
            self.topology.version(),
            Box::new([target]),
        )))
    }

    /// Whether a binding of nobody in particular is durable: one from or to what only its owner sees is not.
    pub(crate) fn is_durable_binding(&self, binding: &BindingDecl<'_>) -> bool {
        self.is_durable(binding, ConnectionId(0))
    }

    /// A binding is durable if both its ends are.
    fn is_durable(&self, binding: &BindingDecl<'_>, by: ConnectionId) -> bool {
        let exchange = |name: &str| self.topology.exchange(name).is_some_and(|e| e.durable);
        let destination = match binding.destination {
            Destination::Exchange(name) => exchange(name),
            Destination::Queue(name) => self
                .topology
                .queue(name, by)
                .is_ok_and(|q| q.decl.durable && q.decl.exclusive.is_none()),
        };
        destination && exchange(binding.source)
    }
}
