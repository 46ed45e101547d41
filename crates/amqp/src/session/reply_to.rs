//! Direct reply-to: answers to requests without a queue of one's own (an extension of RabbitMQ).
//!
//! ```text
//! requester: basic.consume amq.rabbitmq.reply-to             ► a queue amq.rabbitmq.reply-to.<token> for this channel
//!            basic.publish reply_to=amq.rabbitmq.reply-to    ► goes out with reply_to=amq.rabbitmq.reply-to.<token>
//! responder: basic.publish to "" with that key               ► the default exchange routes it there
//! ```
//! The queue behind the token is exclusive, transient and deletes itself with its consumer; nobody can guess the token.
//! Clients do not see it as a queue: they can publish to it and ask whether it is there.

use ternmq_broker::QueueInfo;
use ternmq_core::error::{Kind, Refusal};
use ternmq_core::message::Properties;
use ternmq_core::routing::RouteRequest;
use ternmq_core::routing::key::KeySyntax;
use ternmq_core::topology::QueueDecl;
use ternmq_core::value::Headers;

use super::{Context, Session};
use crate::error::{Fault, from_mapping_error, precondition_failed};
use crate::mapping::Incoming;

/// Stands for the replies to this channel, in `basic.consume` and in `reply_to`.
pub(super) const NAME: &str = "amq.rabbitmq.reply-to";

/// What names of the queues behind it begin with.
const PREFIX: &str = "amq.rabbitmq.reply-to.";

/// The consumer of a channel's replies.
pub(super) struct ReplyConsumer {
    /// Where the replies go.
    queue: Box<str>,
    pub(super) tag: Box<[u8]>,
}

/// Whether a queue is one that clients do not see.
pub(super) fn is_hidden(queue: &str) -> bool {
    queue.starts_with(PREFIX)
}

/// Refuses what clients do not see.
pub(super) fn check_visible(queue: &str, cx: &Context<'_>) -> Result<(), Fault> {
    if is_hidden(queue) {
        return Err(cx.refused(&not_found(queue)));
    }
    Ok(())
}

/// Declares one of these names, passively or not: whether somebody waits there for replies. None if it is another
/// name.
pub(super) fn declare(name: &str, cx: &mut Context<'_>) -> Option<Result<QueueInfo, Refusal>> {
    let rest = name.strip_prefix(NAME)?;
    // The short name stands for whatever channel asks, so it is always there.
    let is_there = rest.is_empty() || is_hidden(name) && is_consumed(name, cx);
    if !is_there {
        return Some(Err(not_found(name)));
    }
    Some(Ok(QueueInfo {
        name: name.into(),
        messages: 0,
        consumers: 1,
        created: false,
    }))
}

/// Such a queue is there as long as its consumer.
fn is_consumed(name: &str, cx: &mut Context<'_>) -> bool {
    let request = RouteRequest {
        exchange: b"",
        routing_key: name.as_bytes(),
        key_syntax: KeySyntax::Dotted,
        extra_keys: &[],
        headers: &Headers::new,
        properties: &Properties::default,
        publisher: None,
        from_client: true,
    };
    let route = cx.client.on_own_account(|client| client.route(&request));
    route.is_ok_and(|route| !route.is_unroutable())
}

fn not_found(name: &str) -> Refusal {
    Refusal::NotFound {
        kind: Kind::Queue,
        name: name.into(),
    }
}

impl Session {
    /// Makes the queue that a consumer of [`NAME`] gets its replies from. Returns its name.
    pub(super) fn open_reply_queue(
        &mut self,
        no_ack: bool,
        tag: &str,
        cx: &mut Context<'_>,
    ) -> Result<String, Fault> {
        if !no_ack {
            return Err(precondition_failed("reply consumer cannot acknowledge"));
        }
        if self.reply_consumer.is_some() {
            return Err(precondition_failed("reply consumer already set"));
        }
        let decl = QueueDecl {
            name: "".into(),
            durable: false,
            exclusive: Some(cx.client.id()),
            auto_delete: true,
            arguments: Headers::new(),
        };
        // Whoever may ask may be answered: permissions know nothing of such a queue.
        let declared = cx
            .client
            .on_own_account(|client| client.declare_secret_queue(PREFIX, decl));
        let queue = declared.map_err(|refusal| cx.refused(&refusal))?.name;
        self.reply_consumer = Some(ReplyConsumer {
            queue: queue.clone(),
            tag: tag.as_bytes().into(),
        });
        Ok(queue.into_string())
    }

    /// A request was published: its replies are to come here.
    #[cold]
    pub(super) fn address_replies(&self, incoming: &mut Incoming<'_>) -> Result<(), Fault> {
        let Some(consumer) = &self.reply_consumer else {
            return Err(precondition_failed("fast reply consumer does not exist"));
        };
        incoming
            .set_reply_to(&consumer.queue)
            .map_err(|error| from_mapping_error(&error))
    }
}
