//! What a connection's user may do: asked by every verb before it does anything.

use std::borrow::Cow;
use std::sync::Arc;

use ternmq_core::access::Right;
use ternmq_core::error::{Kind, Refusal};
use ternmq_core::routing::RouteRequest;
use ternmq_core::routing::key::{self, KeySyntax};
use ternmq_core::topology::{BindingDecl, Destination, ExchangeDecl, ExchangeKind, QueueDecl};
use ternmq_core::value::Headers;

use crate::admin::{Nothing, Rights, Scene};
use crate::client::Client;
use crate::users::User;
use crate::vhost::Space;

/// The name that permissions have for the exchange without one.
const DEFAULT_EXCHANGE: &str = "amq.default";

/// Exchanges with such names are there already, and permissions say nothing about what cannot be done with them.
const RESERVED_PREFIX: &str = "amq.";

impl Client {
    /// Says who the client is where users have several: topic permissions may name it as `{client_id}`.
    pub fn identify(&mut self, client_id: &str) {
        self.identifier = Some(client_id.into());
        self.refresh_rights();
    }

    /// Goes on as another login of the same user, whose rights may be others.
    pub fn renew_user(&mut self, user: Arc<User>) {
        debug_assert_eq!(
            user.name(),
            self.user.name(),
            "connections are counted by user"
        );
        let (from, to) = (self.user.expires_at(), user.expires_at());
        self.broker.move_expiry(self.id, from, to);
        self.user = user;
        self.refresh_rights();
    }

    /// Does something on the adapter's own account: what its protocol needs to be done whatever the user may do.
    pub fn on_own_account<R>(&mut self, f: impl FnOnce(&mut Self) -> R) -> R {
        let before = std::mem::replace(&mut self.is_trusted, true);
        let result = f(self);
        self.is_trusted = before;
        result
    }

    /// Checks a right, for what an adapter does [on its own account](Client::on_own_account).
    ///
    /// # Errors
    /// [`Refusal::AccessRefused`].
    pub fn check_right(&mut self, right: Right, kind: Kind, name: &str) -> Result<(), Refusal> {
        if self.is_trusted {
            return Ok(());
        }
        let name = match kind {
            Kind::Exchange if name.is_empty() => DEFAULT_EXCHANGE,
            Kind::Exchange | Kind::Queue => name,
        };
        if self.rights().may(right, kind, name) {
            return Ok(());
        }
        let name = name.into();
        Err(Refusal::AccessRefused { right, kind, name })
    }

    /// Checks that a routing key or pattern may be used on an exchange, which matters for topic exchanges only.
    ///
    /// # Errors
    /// [`Refusal::TopicRefused`].
    pub fn check_topic(
        &mut self,
        right: Right,
        exchange: &str,
        (key, syntax): (&[u8], KeySyntax),
    ) -> Result<(), Refusal> {
        if self.is_trusted || !self.is_topic_exchange(exchange) {
            return Ok(());
        }
        self.check_topic_key(right, exchange, (key, syntax))
    }

    fn check_topic_key(
        &mut self,
        right: Right,
        exchange: &str,
        (key, syntax): (&[u8], KeySyntax),
    ) -> Result<(), Refusal> {
        let key = dotted(key, syntax);
        if self.rights().may_on_topic(right, exchange, &key) {
            return Ok(());
        }
        Err(Refusal::TopicRefused {
            right,
            exchange: exchange.into(),
            key: key.into(),
        })
    }

    fn is_topic_exchange(&self, name: &str) -> bool {
        let kind = self
            .vhost
            .read(|space| space.topology.exchange(name).map(|x| x.kind));
        kind == Some(ExchangeKind::Topic)
    }

    /// Passive declarations need any right: what is learnt by them would be learnt by using it.
    pub(crate) fn check_any_right(&mut self, kind: Kind, name: &str) -> Result<(), Refusal> {
        // The last one is the one that is named if all are missing.
        let [configure, others @ ..] = Right::ALL;
        if others
            .into_iter()
            .any(|right| self.check_right(right, kind, name).is_ok())
        {
            return Ok(());
        }
        self.check_right(configure, kind, name)
    }

    pub(crate) fn check_declare_exchange(&mut self, decl: &ExchangeDecl) -> Result<(), Refusal> {
        let name = &*decl.name;
        if name.is_empty() {
            return Ok(());
        }
        self.check_right(Right::Configure, Kind::Exchange, name)?;
        let Some(alternate) = text(&decl.arguments, "alternate-exchange") else {
            return Ok(());
        };
        let exists = |space: &Space| space.topology.exchange(name).is_some();
        if self.vhost.read(exists) {
            return Ok(());
        }
        self.check_right(Right::Read, Kind::Exchange, name)?;
        self.check_right(Right::Write, Kind::Exchange, alternate)
    }

    pub(crate) fn check_delete_exchange(&mut self, name: &str) -> Result<(), Refusal> {
        if name.is_empty() || name.starts_with(RESERVED_PREFIX) {
            return Ok(());
        }
        self.check_right(Right::Configure, Kind::Exchange, name)
    }

    pub(crate) fn check_declare_queue(&mut self, decl: &QueueDecl) -> Result<(), Refusal> {
        let name = &*decl.name;
        self.check_right(Right::Configure, Kind::Queue, name)?;
        let Some(exchange) = text(&decl.arguments, "x-dead-letter-exchange") else {
            return Ok(());
        };
        let exists = |space: &Space| space.topology.queue(name, self.id).is_ok();
        if self.vhost.read(exists) {
            return Ok(());
        }
        // Whoever lets messages go there reads them here and writes them there.
        self.check_right(Right::Read, Kind::Queue, name)?;
        self.check_right(Right::Write, Kind::Exchange, exchange)
    }

    pub(crate) fn check_binding(&mut self, binding: &BindingDecl<'_>) -> Result<(), Refusal> {
        let (kind, name) = match binding.destination {
            Destination::Queue(name) => (Kind::Queue, name),
            Destination::Exchange(name) => (Kind::Exchange, name),
        };
        self.check_right(Right::Write, kind, name)?;
        if binding.source.is_empty() {
            return Ok(());
        }
        self.check_right(Right::Read, Kind::Exchange, binding.source)?;
        let key = (binding.key, binding.syntax);
        self.check_topic(Right::Read, binding.source, key)
    }

    /// Whether the user may publish to the exchange at all.
    pub(crate) fn check_publish(&mut self, request: &RouteRequest<'_>) -> Result<(), Refusal> {
        let exchange = String::from_utf8_lossy(request.exchange);
        self.check_right(Right::Write, Kind::Exchange, &exchange)
    }

    /// Whether the user may publish to the topic exchange with these keys.
    pub(crate) fn check_publish_keys(&mut self, request: &RouteRequest<'_>) -> Result<(), Refusal> {
        if self.is_trusted {
            return Ok(());
        }
        let exchange = String::from_utf8_lossy(request.exchange);
        let mut check =
            |key| self.check_topic_key(Right::Write, &exchange, (key, request.key_syntax));
        check(request.routing_key)?;
        request.extra_keys.iter().try_for_each(|key| check(key))
    }

    /// The user's rights as they are now.
    fn rights(&mut self) -> &dyn Rights {
        if self.broker.registry.version() != self.rights_version {
            self.refresh_rights();
        }
        &*self.rights
    }

    fn refresh_rights(&mut self) {
        // Read before: what changes meanwhile is asked for again.
        self.rights_version = self.broker.registry.version();
        let scene = Scene {
            user: self.user.name(),
            vhost: &self.vhost.name,
            client_id: self.identifier.as_deref(),
        };
        let rights = self.user.authority.rights(&scene);
        self.rights = rights.unwrap_or_else(|| Arc::new(Nothing));
    }
}

/// Channels, where a protocol has them: users may be limited in how many they have on all connections together.
impl Client {
    /// Counts a channel in.
    ///
    /// # Errors
    /// The user has as many as allowed, which is how many.
    pub fn open_channel(&mut self) -> Result<(), u64> {
        self.broker.registry.open_channel(self.user.name())?;
        self.channels += 1;
        Ok(())
    }

    /// Counts a channel out.
    pub fn close_channel(&mut self) {
        if self.channels > 0 {
            self.channels -= 1;
            self.broker.registry.close_channel(self.user.name());
        }
    }
}

fn text<'a>(arguments: &'a Headers, name: &str) -> Option<&'a str> {
    arguments.get(name).and_then(|value| value.as_str())
}

/// A key as permissions see it: with dots, and with the wildcards that go with them.
fn dotted(key: &[u8], syntax: KeySyntax) -> Cow<'_, str> {
    if syntax == KeySyntax::Dotted {
        return String::from_utf8_lossy(key);
    }
    let mut out = Vec::with_capacity(key.len());
    key::render(key, KeySyntax::Slashed, KeySyntax::Dotted, &mut out);
    for byte in &mut out {
        if *byte == b'+' {
            *byte = b'*';
        }
    }
    Cow::Owned(String::from_utf8_lossy(&out).into_owned())
}
