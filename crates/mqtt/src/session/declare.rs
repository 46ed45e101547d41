//! SUBSCRIBE and UNSUBSCRIBE (§3.8 to §3.11): queues, bindings, consumers, retained messages.
//!
//! ```text
//! MQTT exchange ──filter, tag──► mqtt-subscription-CLIENTID qos1 ──► this session
//!               ──filter───────► mqtt-share-GROUP-HASH           ──► any member of the group
//! ```

use std::sync::Arc;

use ternmq_broker::LogError;
use ternmq_broker::inspect::ConsumerLabel;
use ternmq_broker::mailbox::Token;
use ternmq_core::error::Refusal;
use ternmq_core::id::{Lsn, Timestamp};
use ternmq_core::policy::{AT_MOST_ONCE_BYTES_MAX, AT_MOST_ONCE_MAX};
use ternmq_core::queue::{AckMode, ConsumerSpec, Credit, LeaseTimeout};
use ternmq_core::routing::key::KeySyntax;
use ternmq_core::tags::Tags;
use ternmq_core::topology::{BindingDecl, BindingOptions, Destination, QueueDecl};
use ternmq_core::value::{Headers, Value};

use super::documents::{self, Subject};
use super::record::session_document;
use super::source::Source;
use super::subscriptions::Subscription;
use super::window::Outgoing;
use super::{Active, Identity, PeerLimits};
use crate::codec;
use crate::config::MqttConfig;
use crate::error::{Fault, acknowledge_reason};
use crate::frame::{
    QoS, RetainHandling, Subscribe, SubscribeFilter, SubscribeOptions, Unsubscribe,
};
use crate::properties::Properties;
use crate::reason_code::ReasonCode;
use crate::sys;
use crate::topic::{self, TopicFilter};

/// Longest queue name, in bytes.
const QUEUE_NAME_BYTES_MAX: usize = 255;
/// A session's queue outlives the session by so many milliseconds, so that the session never misses it.
const EXPIRES_MARGIN_MS: u64 = 5_000;

pub(super) static NO_ARGUMENTS: Headers = Headers::new();

/// A subscription that was made, for its retained messages.
struct Granted {
    tag: u32,
    is_new: bool,
    /// At most what was asked for.
    qos: QoS,
}

impl Active<'_> {
    /// SUBSCRIBE: subscribes, answers, and then sends retained messages.
    pub(crate) fn on_subscribe(
        &mut self,
        subscribe: &Subscribe<'_>,
        now: Timestamp,
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        self.flush(now, out);
        let version = self.live.limits.version;
        let mut reasons = Vec::with_capacity(subscribe.filters.len());
        let mut granted: Vec<(TopicFilter<'_>, SubscribeFilter<'_>, Granted)> = Vec::new();
        for requested in subscribe.filters.iter() {
            let parsed = requested.parse().ok();
            let Some(filter) = parsed.filter(|filter| self.levels_allowed(*filter)) else {
                if !version.is_v5() {
                    return Err(Fault::TopicFilter);
                }
                reasons.push(ReasonCode::TopicFilterInvalid);
                continue;
            };
            match self.subscribe(requested, filter, subscribe.subscription_id) {
                Ok(subscription) => {
                    reasons.push(subscription.qos.granted());
                    granted.push((filter, requested, subscription));
                }
                Err(refusal) => reasons.push(acknowledge_reason(&refusal)),
            }
        }
        let lsn = match self.record_subscriptions(&granted) {
            Ok(lsn) => lsn,
            Err(error) => {
                tracing::warn!(%error, client_id = &*self.identity.client_id, "subscriptions not recorded");
                for (_, requested, _) in granted.extract_if(.., |(.., granted)| granted.is_new) {
                    self.unsubscribe(requested.filter, now);
                }
                granted.clear();
                for reason in reasons.iter_mut().filter(|reason| !reason.is_error()) {
                    *reason = ReasonCode::QuotaExceeded;
                }
                Lsn::NONE
            }
        };
        let mut suback = Vec::new();
        let properties = Properties::EMPTY;
        codec::suback(
            &mut suback,
            version,
            subscribe.packet_id,
            &reasons,
            properties,
        )?;
        self.answer_when(lsn, suback, out);
        for (filter, requested, subscription) in granted {
            self.send_retained(filter, requested.options, &subscription, now);
        }
        Ok(())
    }

    /// Records what was granted. Returns what has to be committed before the client is told.
    fn record_subscriptions(
        &mut self,
        granted: &[(TopicFilter<'_>, SubscribeFilter<'_>, Granted)],
    ) -> Result<Lsn, LogError> {
        if !self.kept.is_durable() || granted.is_empty() {
            return Ok(Lsn::NONE);
        }
        let declared = self.live.client.declared();
        self.change(session_document(self.identity, self.kept, None));
        for (_, requested, _) in granted {
            if let Some(subscription) = self.kept.subscriptions.find(requested.filter) {
                let change = self.subscription_document(subscription);
                self.change(change);
            }
        }
        Ok(declared.max(self.put_documents()?))
    }

    /// Whether the filter has no more levels than configured. What has more is refused as a bad filter is.
    fn levels_allowed(&self, filter: TopicFilter<'_>) -> bool {
        let levels_max = usize::from(self.identity.node.config.topic_levels_max);
        filter.filter().split('/').nth(levels_max).is_none()
    }

    fn subscribe(
        &mut self,
        requested: SubscribeFilter<'_>,
        filter: TopicFilter<'_>,
        id: Option<u32>,
    ) -> Result<Granted, Refusal> {
        let config = &self.identity.node.config;
        let known = self.kept.subscriptions.find_mut(requested.filter);
        let known = known.map(|subscription| (subscription.tag, subscription.source));
        if known.is_none() && self.kept.subscriptions.len() >= config.subscriptions_max as usize {
            let max = config.subscriptions_max.into();
            return Err(Refusal::LimitReached {
                limit: "subscriptions_max",
                max,
            });
        }
        let tag = known.map_or_else(|| self.kept.subscriptions.new_tag(), |(tag, _)| tag);
        let mut options = requested.options;
        let source = match (filter.share_name(), filter.queue_name(), known) {
            (Some(group), _, None) => Some(self.join_share(group, filter, tag)?),
            (None, Some(queue), None) => Some(self.consume_queue(queue, tag)?),
            (Some(_), _, Some((_, source))) | (_, Some(_), Some((_, source))) => source,
            (None, None, _) => {
                self.bind_own(filter, options, tag)?;
                None
            }
        };
        if filter.queue_name().is_some() {
            // Its messages are acknowledged, no more.
            options.qos = options.qos.min(QoS::AtLeastOnce);
        }
        if let Some(subscription) = self.kept.subscriptions.find_mut(requested.filter) {
            // MQTT-3.8.4-3: the options are replaced, an identifier that is absent now is gone.
            (subscription.options, subscription.id) = (options, id);
        } else {
            self.kept.subscriptions.push(Subscription {
                tag,
                filter: requested.filter.into(),
                options,
                id,
                source,
            });
            self.identity.node.sys.subscribed(requested.filter);
        }
        Ok(Granted {
            tag,
            is_new: known.is_none(),
            qos: options.qos,
        })
    }

    /// Binds the session's own queue, which is made with its first subscription.
    fn bind_own(
        &mut self,
        filter: TopicFilter<'_>,
        options: SubscribeOptions,
        tag: u32,
    ) -> Result<(), Refusal> {
        let queue = self.own_queue()?;
        let node = &self.identity.node;
        if topic::is_of_server(filter.filter()) {
            sys::declare_exchange(&node.broker, self.live.client.vhost())?;
        }
        self.live.client.bind(&BindingDecl {
            source: exchange_of(&node.config, filter.filter()),
            destination: Destination::Queue(&queue),
            key: filter.filter().as_bytes(),
            syntax: KeySyntax::Slashed,
            arguments: &NO_ARGUMENTS,
            options: BindingOptions {
                tag: Some(tag),
                exclude_publisher: options.no_local.then_some(self.identity.publisher),
                at_most_once: options.qos == QoS::AtMostOnce,
            },
        })?;
        Ok(())
    }

    /// The name of the session's own queue, which is declared and consumed from now on.
    fn own_queue(&mut self) -> Result<Arc<str>, Refusal> {
        if self.kept.sources.is_empty() {
            // Most sessions have no other.
            self.kept.sources.reserve_exact(1);
            self.kept.sources.push(Source::default());
        }
        let own = usize::from(Source::OWN);
        if let Some(name) = &self.kept.sources[own].name {
            return Ok(Arc::clone(name));
        }
        let name = own_queue_name(self.identity);
        let created = self.declare_own(&name)?;
        let spec = consumer_spec(&self.live.limits);
        let label = consumer_label(&self.live.limits);
        let consumer =
            self.live
                .client
                .consume_as(&name, spec, Token(Source::OWN.into()), label)?;
        let source = &mut self.kept.sources[own];
        source.queue = Some(consumer.queue().clone());
        source.consumer = Some(consumer);
        source.created = created;
        source.name = Some(Arc::clone(&name));
        Ok(name)
    }

    /// Declares the session's queue. One that somebody declared before, with other properties, is used as it is.
    /// Returns whether it is new.
    fn declare_own(&mut self, name: &str) -> Result<bool, Refusal> {
        let client = &mut self.live.client;
        let mut decl = QueueDecl {
            name: name.into(),
            durable: false,
            exclusive: Some(client.id()),
            auto_delete: false,
            arguments: queue_arguments(&self.identity.node.config),
        };
        if self.kept.expiry_s > 0 {
            decl.exclusive = None;
            decl.durable = true;
            let expires_ms = i64::try_from(expires_ms(self.kept.expiry_s)).unwrap_or(i64::MAX);
            decl.arguments.push("x-expires", Value::I64(expires_ms));
        }
        let created = match client.declare_queue(decl) {
            Ok(info) => info.created,
            Err(Refusal::Inequivalent { .. }) => {
                client.check_queue(name)?;
                false
            }
            Err(refusal) => return Err(refusal),
        };
        Ok(created)
    }

    /// Lets retained messages wait to be sent, as the subscription's options say (MQTT-3.3.1-9 to -11). They take the
    /// place of those that wait since an earlier SUBSCRIBE of the same filter, so asking again and again adds nothing.
    fn send_retained(
        &mut self,
        filter: TopicFilter<'_>,
        options: SubscribeOptions,
        granted: &Granted,
        now: Timestamp,
    ) {
        let wanted = match options.retain_handling {
            RetainHandling::SendAtSubscribe => true,
            RetainHandling::SendIfNew => granted.is_new,
            RetainHandling::DoNotSend => false,
        };
        if !wanted || filter.share_name().is_some() || filter.queue_name().is_some() {
            return;
        }
        if !granted.is_new {
            self.drop_retained(granted.tag);
        }
        let max = self.identity.node.config.retained_per_subscribe_max as usize;
        let room = max.saturating_sub(self.kept.pending.len());
        if room == 0 {
            return;
        }
        let mut messages = Vec::new();
        if topic::is_of_server(filter.filter()) {
            let node = &self.identity.node;
            node.sys.retained(node, filter, now, &mut messages);
        } else {
            self.live
                .client
                .retained(filter.filter().as_bytes(), now, &mut messages);
        }
        self.live.work += messages.len();
        messages.truncate(room);
        let publisher = Some(self.identity.publisher);
        messages.retain(|message| !options.no_local || message.publisher() != publisher);
        self.kept
            .pending
            .extend(messages.into_iter().map(|message| Outgoing {
                message,
                lsn: Lsn::NONE,
                tags: Tags::One(granted.tag),
                lease: None,
                retained: true,
                redelivered: false,
            }));
    }

    /// Forgets the retained messages that wait for a subscription.
    fn drop_retained(&mut self, tag: u32) {
        let pending = &mut self.kept.pending;
        self.live.work += pending.len();
        pending.retain(|outgoing| !outgoing.retained || outgoing.tags.as_slice() != [tag]);
    }

    /// UNSUBSCRIBE.
    pub(crate) fn on_unsubscribe(
        &mut self,
        unsubscribe: &Unsubscribe<'_>,
        now: Timestamp,
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        self.flush(now, out);
        let mut reasons = Vec::with_capacity(unsubscribe.filters.len());
        for text in unsubscribe.filters.iter() {
            if TopicFilter::parse(text).is_err() {
                if !self.live.limits.version.is_v5() {
                    return Err(Fault::TopicFilter);
                }
                reasons.push(ReasonCode::TopicFilterInvalid);
                continue;
            }
            reasons.push(self.unsubscribe(text, now));
        }
        let lsn = self.record_unsubscribed(unsubscribe, &mut reasons);
        let mut unsuback = Vec::new();
        codec::unsuback(
            &mut unsuback,
            self.live.limits.version,
            unsubscribe.packet_id,
            &reasons,
            Properties::EMPTY,
        )?;
        self.answer_when(lsn, unsuback, out);
        Ok(())
    }

    /// Records what was unsubscribed. Returns what has to be committed before the client is told. What can't be recorded
    /// may be back after a restart, and the client is told that.
    fn record_unsubscribed(
        &mut self,
        unsubscribe: &Unsubscribe<'_>,
        reasons: &mut [ReasonCode],
    ) -> Lsn {
        if !self.kept.is_durable() {
            return Lsn::NONE;
        }
        for (text, reason) in unsubscribe.filters.iter().zip(&*reasons) {
            if *reason == ReasonCode::Success {
                let subject = Subject::Subscription(text);
                self.change(documents::remove(&self.identity.client_id, subject));
            }
        }
        match self.put_documents() {
            // Of one that is asked again, the removal may still be on its way.
            Ok(_) => self.kept.last_record,
            Err(error) => {
                tracing::warn!(%error, client_id = &*self.identity.client_id, "UNSUBSCRIBE not recorded");
                for reason in reasons.iter_mut().filter(|reason| !reason.is_error()) {
                    *reason = ReasonCode::UnspecifiedError;
                }
                Lsn::NONE
            }
        }
    }

    fn unsubscribe(&mut self, text: &str, now: Timestamp) -> ReasonCode {
        if !self.kept.subscriptions.contains(text) {
            return ReasonCode::NoSubscriptionExisted;
        }
        let Ok(filter) = TopicFilter::parse(text) else {
            return ReasonCode::NoSubscriptionExisted;
        };
        if filter.share_name().is_none()
            && filter.queue_name().is_none()
            && let Err(refusal) = self.unbind_own(filter)
        {
            return acknowledge_reason(&refusal);
        }
        if let Some(removed) = self.kept.subscriptions.remove(text) {
            self.identity.node.sys.unsubscribed(text);
            // MQTT-3.10.4-2 to -3: what is being delivered goes on, what only waits need not.
            self.drop_retained(removed.tag);
            if let Some(number) = removed.source {
                self.leave_share(number, text, now);
            }
        }
        ReasonCode::Success
    }

    fn unbind_own(&mut self, filter: TopicFilter<'_>) -> Result<(), Refusal> {
        let own = self.kept.sources.get(usize::from(Source::OWN));
        let Some(queue) = own.and_then(|source| source.name.clone()) else {
            return Ok(());
        };
        let binding = own_binding(self.identity, &queue, filter.filter());
        // Whoever lost the right to subscribe may still do without.
        self.live
            .client
            .on_own_account(|client| client.unbind(&binding))?;
        Ok(())
    }
}

/// A plain subscription's binding, without its options.
pub(super) fn own_binding<'a>(
    identity: &'a Identity,
    queue: &'a str,
    filter: &'a str,
) -> BindingDecl<'a> {
    BindingDecl {
        source: exchange_of(&identity.node.config, filter),
        destination: Destination::Queue(queue),
        key: filter.as_bytes(),
        syntax: KeySyntax::Slashed,
        arguments: &NO_ARGUMENTS,
        options: BindingOptions::default(),
    }
}

/// The exchange that brings what matches a filter.
pub(super) fn exchange_of<'a>(config: &'a MqttConfig, filter: &str) -> &'a str {
    if topic::is_of_server(filter) {
        sys::EXCHANGE
    } else {
        &config.exchange
    }
}

/// What all queues of sessions have: QoS 0 messages are kept for connected clients only, and not too many of them;
/// and of all messages as many as configured.
pub(super) fn queue_arguments(config: &MqttConfig) -> Headers {
    let mut arguments = Headers::new();
    arguments.push(AT_MOST_ONCE_MAX, Value::I64(config.qos0_backlog_max.into()));
    let number = |number: u64| Value::I64(i64::try_from(number).unwrap_or(i64::MAX));
    arguments.push(
        AT_MOST_ONCE_BYTES_MAX,
        number(config.qos0_backlog_bytes_max),
    );
    if config.session_backlog_max > 0 {
        arguments.push("x-max-length", number(config.session_backlog_max.into()));
    }
    if let Some(max) = config.session_backlog_bytes_max {
        arguments.push("x-max-length-bytes", number(max));
    }
    if let Some(exchange) = &config.dead_letter_exchange {
        arguments.push("x-dead-letter-exchange", Value::text(exchange));
    }
    arguments
}

/// How a session consumes.
pub(super) fn consumer_spec(limits: &PeerLimits) -> ConsumerSpec {
    let credit = Credit::Limited(u32::try_from(limits.quota).unwrap_or(u32::MAX));
    ConsumerSpec {
        mode: AckMode::ByMessage,
        credit,
        priority: 0,
        exclusive: false,
        lease_timeout: LeaseTimeout::Never,
    }
}

/// What others see of the consumer of a session: it has no tag of its own.
pub(super) fn consumer_label(limits: &PeerLimits) -> ConsumerLabel {
    ConsumerLabel {
        tag: "mqtt".into(),
        prefetch: u32::try_from(limits.quota).unwrap_or(u32::MAX),
        ..ConsumerLabel::default()
    }
}

/// Milliseconds without use after which the queue of such a session goes.
pub(super) fn expires_ms(expiry_s: u32) -> u64 {
    u64::from(expiry_s) * 1000 + EXPIRES_MARGIN_MS
}

/// `mqtt-subscription-CLIENTIDqos1`, as RabbitMQ has it; for a client identifier that does not fit, a name of its own.
pub(super) fn own_queue_name(identity: &Identity) -> Arc<str> {
    let name = format!("mqtt-subscription-{}qos1", identity.client_id);
    if name.len() <= QUEUE_NAME_BYTES_MAX {
        name.into()
    } else {
        format!(
            "mqtt-subscription-{}qos1",
            identity.node.broker.random_name()
        )
        .into()
    }
}
