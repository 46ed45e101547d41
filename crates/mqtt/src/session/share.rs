//! Membership in groups of shared subscriptions (§4.8.2), and consuming a queue that is there already.
//!
//! A group is a queue bound once; its members are competing consumers of it, and so may be any other client. A
//! subscription of `$queue/NAME` is the same without the binding: whoever made the queue says what comes into it. Both
//! deliver what they consume, and settle what the client answers: PUBACK is an acknowledgement, PUBACK with an error a
//! rejection, and what is unanswered when the client goes is returned.

use std::sync::Arc;

use ternmq_broker::mailbox::Token;
use ternmq_broker::{Client, Consumer};
use ternmq_core::error::Refusal;
use ternmq_core::id::Timestamp;
use ternmq_core::queue::Outcome;
use ternmq_core::routing::key::KeySyntax;
use ternmq_core::topology::{BindingDecl, BindingOptions, Destination, QueueDecl};
use ternmq_core::value::Value;

use super::Active;
use super::attach::delete_share;
use super::declare::{
    NO_ARGUMENTS, consumer_label, consumer_spec, exchange_of, expires_ms, queue_arguments,
};
use super::source::Source;
use super::window::Outgoing;
use crate::config::MqttConfig;
use crate::sys;
use crate::topic::{self, TopicFilter};

impl Active<'_> {
    /// Becomes a member of a shared subscription's group. Returns the number of the new source.
    pub(super) fn join_share(
        &mut self,
        group: &str,
        filter: TopicFilter<'_>,
        tag: u32,
    ) -> Result<u16, Refusal> {
        let number = self.new_source_number()?;
        let identity = self.identity;
        let spec = consumer_spec(&self.live.limits);
        let label = consumer_label(&self.live.limits);
        let client = &mut self.live.client;
        let (consumer, name) = identity
            .sessions
            .join_share(group, filter.filter(), |queue| {
                declare_group(client, queue, &identity.node.config)?;
                if topic::is_of_server(filter.filter()) {
                    sys::declare_exchange(&identity.node.broker, client.vhost())?;
                }
                client.bind(&BindingDecl {
                    source: exchange_of(&identity.node.config, filter.filter()),
                    destination: Destination::Queue(queue),
                    key: filter.filter().as_bytes(),
                    syntax: KeySyntax::Slashed,
                    arguments: &NO_ARGUMENTS,
                    options: BindingOptions::default(),
                })?;
                client.consume_as(queue, spec, Token(number.into()), label)
            })?;
        self.put_source(number, consumer, name, tag);
        Ok(number)
    }

    /// Consumes a queue that is there already. Returns the number of the new source.
    pub(super) fn consume_queue(&mut self, name: &str, tag: u32) -> Result<u16, Refusal> {
        let number = self.new_source_number()?;
        let spec = consumer_spec(&self.live.limits);
        let label = consumer_label(&self.live.limits);
        let client = &mut self.live.client;
        let consumer = client.consume_as(name, spec, Token(number.into()), label)?;
        self.put_source(number, consumer, name.into(), tag);
        Ok(number)
    }

    fn new_source_number(&mut self) -> Result<u16, Refusal> {
        if self.kept.sources.is_empty() {
            self.kept.sources.push(Source::default());
        }
        let too_many = |_| Refusal::LimitReached {
            limit: "shared subscriptions",
            max: u16::MAX.into(),
        };
        u16::try_from(self.free_source()).map_err(too_many)
    }

    fn put_source(&mut self, number: u16, consumer: Consumer, name: Arc<str>, tag: u32) {
        let source = Source {
            queue: Some(consumer.queue().clone()),
            name: Some(name),
            consumer: Some(consumer),
            share: Some(tag),
            ..Source::default()
        };
        match self.kept.sources.get_mut(usize::from(number)) {
            Some(place) => *place = source,
            None => self.kept.sources.push(source),
        }
    }

    /// A source that nothing refers to any more, or one behind the last.
    pub(super) fn free_source(&self) -> usize {
        let sources = &self.kept.sources;
        let is_free = |number: usize| {
            let source = &sources[number];
            let leased = |outgoing: &Outgoing| {
                outgoing
                    .lease
                    .is_some_and(|lease| usize::from(lease.source) == number)
            };
            source.share.is_none()
                && source.done.is_empty()
                && !self
                    .kept
                    .window
                    .iter()
                    .filter_map(|entry| entry.outgoing.as_ref())
                    .any(leased)
                && !self.kept.pending.iter().any(leased)
        };
        (1..sources.len())
            .find(|number| is_free(*number))
            .unwrap_or(sources.len())
    }

    /// Stops consuming a queue, of a group or not. What the client has of it stays leased to it, what only waits to be
    /// sent goes back.
    pub(super) fn leave_share(&mut self, number: u16, text: &str, now: Timestamp) {
        for outgoing in std::mem::take(&mut self.kept.pending) {
            if outgoing.lease.is_some_and(|lease| lease.source == number) {
                self.settle_now(outgoing.lease, Outcome::Untouched, now);
            } else {
                self.kept.pending.push_back(outgoing);
            }
        }
        let Some(source) = self.kept.sources.get_mut(usize::from(number)) else {
            return;
        };
        source.share = None;
        source.ready = false;
        let client = &mut self.live.client;
        if let Some(consumer) = source.consumer.take() {
            client.cancel(consumer);
        }
        self.identity
            .sessions
            .leave_share(text, |queue| delete_share(client, queue));
    }
}

/// Declares a group's queue, which is durable whoever its first member is: others may join that outlive the process.
/// One that nobody consumes, offline sessions included, goes by itself, so that none is left over after a crash. One
/// that is there with other properties is used as it is.
fn declare_group(client: &mut Client, queue: &str, config: &MqttConfig) -> Result<(), Refusal> {
    let mut arguments = queue_arguments(config);
    let expires_ms = i64::try_from(expires_ms(config.session_expiry_s_max)).unwrap_or(i64::MAX);
    arguments.push("x-expires", Value::I64(expires_ms));
    let declared = client.declare_queue(QueueDecl {
        name: queue.into(),
        durable: true,
        exclusive: None,
        auto_delete: false,
        arguments,
    });
    match declared {
        Ok(_) => Ok(()),
        Err(Refusal::Inequivalent { .. }) => client.check_queue(queue).map(drop),
        Err(refusal) => Err(refusal),
    }
}
