//! Consuming: consumers, their credit, and what they are sent.

use std::sync::Arc;

use amq_protocol::protocol::{AMQPClass, basic};
use amq_protocol::types::ShortString;
use ternmq_broker::inspect::ConsumerLabel;
use ternmq_broker::{Client, Got};
use ternmq_core::error::{ArgumentFault, Kind, Refusal};
use ternmq_core::id::Timestamp;
use ternmq_core::policy::QueueKind;
use ternmq_core::queue::{
    AckMode, Budget, ConsumerSpec, Credit, Delivery, LeaseTimeout, Outcome, SharedCredit,
};
use ternmq_core::value::{Headers, Value};

use super::consumers::{Acks, Consumer, Counters};
use super::counting::Delivered;
use super::unacked;
use super::{ConsumerSlot, Context, Session, arguments, reply_to};
use crate::codec::{self, Deliver, EncodeError, GetOk, body_payload_max};
use crate::error::{Fault, not_allowed, not_implemented};
use crate::mapping::{self, X_ACQUIRED_COUNT, X_DELIVERY_COUNT};
use ternmq_net::machine::Output;

/// Buffers that one connection's deliveries share.
#[derive(Default)]
pub(crate) struct Scratch {
    deliveries: Vec<Delivery>,
    properties: Vec<u8>,
    key: Vec<u8>,
}

impl Session {
    pub(super) fn on_qos(
        &mut self,
        qos: &basic::Qos,
        arguments: &[u8],
        cx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        // The parser passes over the size, which the specification has in front.
        let size = arguments
            .first_chunk::<4>()
            .map_or(0, |size| u32::from_be_bytes(*size));
        if size != 0 {
            return Err(not_implemented(format!("prefetch_size!=0 ({size})")));
        }
        if qos.global {
            self.share_credit(qos.prefetch_count, cx);
        } else {
            self.prefetch = qos.prefetch_count;
        }
        let ok = basic::AMQPMethod::QosOk(basic::QosOk {});
        self.reply(&AMQPClass::Basic(ok), cx);
        Ok(())
    }

    /// Limits what all consumers of the channel may hold together; 0 ends the limit.
    fn share_credit(&mut self, prefetch: u16, cx: &mut Context<'_>) {
        let limit = if prefetch == 0 {
            u32::MAX
        } else {
            prefetch.into()
        };
        if prefetch == 0 && self.shared_credit.is_none() {
            return;
        }
        let shared = self
            .shared_credit
            .get_or_insert_with(|| Arc::new(SharedCredit::new(limit)));
        shared.set_limit(limit);
        // Consumers made while there was no limit for the channel do not share it yet.
        let replies = self.reply_consumer.as_ref().map(|replies| &replies.tag);
        let sharing = |consumer: &&Consumer| Some(&consumer.tag) != replies;
        for consumer in self.consumers.iter().filter(sharing) {
            let credit = Credit::Shared {
                with: Arc::clone(shared),
                limit: consumer.prefetch,
            };
            cx.client.set_credit(&consumer.broker, credit);
        }
    }

    pub(super) fn on_consume(
        &mut self,
        consume: &basic::Consume,
        cx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        let mut queue = self.visible_queue(&consume.queue, cx)?.to_owned();
        let tag = self.consumer_tag(consume, cx)?;
        self.check_shared_limit(&queue, cx)?;
        let priority = priority(&queue, &arguments::headers(&consume.arguments), cx)?;
        if queue == reply_to::NAME {
            queue = self.open_reply_queue(consume.no_ack, &tag, cx)?;
        }
        let acks = if consume.no_ack {
            Acks::Automatic
        } else {
            Acks::Wanted
        };
        let spec = ConsumerSpec {
            mode: match acks {
                Acks::Automatic => AckMode::Auto,
                Acks::Wanted => AckMode::Manual,
            },
            credit: self.credit(&queue, acks),
            priority,
            exclusive: consume.exclusive,
            lease_timeout: lease_timeout(&queue, consume, cx)?,
        };
        let token = self.consumers.next_token();
        let label = self.label(&tag, consume);
        let consumed = if reply_to::is_hidden(&queue) {
            cx.client
                .on_own_account(|client| client.consume_as(&queue, spec, token, label))
        } else {
            cx.client.consume_as(&queue, spec, token, label)
        };
        let broker = consumed.map_err(|refusal| cx.refused(&refusal))?;
        *cx.consumers += 1;
        let number = self.queues.hold(broker.queue());
        let counters = Counters::of(broker.queue());
        let tag_bytes = tag.as_bytes().into();
        self.consumers.insert(Consumer {
            broker,
            tag: tag_bytes,
            queue: number,
            acks,
            prefetch: own_limit(self.prefetch),
            counters,
        });
        if !consume.nowait
            && let Ok(consumer_tag) = ShortString::try_new(tag)
        {
            let ok = basic::AMQPMethod::ConsumeOk(basic::ConsumeOk { consumer_tag });
            self.reply(&AMQPClass::Basic(ok), cx);
        }
        Ok(())
    }

    /// The tag of a new consumer, if there may be one more of that tag.
    fn consumer_tag(&self, consume: &basic::Consume, cx: &Context<'_>) -> Result<String, Fault> {
        let tag = match consume.consumer_tag.as_str() {
            "" => format!("amq.ctag-{}", cx.broker.random_name()),
            given => given.to_owned(),
        };
        if self.consumers.has_tag(tag.as_bytes()) {
            return Err(not_allowed(format!(
                "attempt to reuse consumer tag '{tag}'"
            )));
        }
        if *cx.consumers >= cx.wire.consumers_max {
            let max = cx.wire.consumers_max;
            return Err(not_allowed(format!(
                "reached maximum ({max}) of consumers per connection"
            )));
        }
        Ok(tag)
    }

    /// Quorum queues have no consumers on channels whose consumers share a limit: RabbitMQ's cannot have them.
    fn check_shared_limit(&self, queue: &str, cx: &Context<'_>) -> Result<(), Fault> {
        let is_limited = |shared: &Arc<SharedCredit>| shared.limit() != u32::MAX;
        if !self.shared_credit.as_ref().is_some_and(is_limited) || queue == reply_to::NAME {
            return Ok(());
        }
        let found = cx.client.queue(queue);
        match found.map_err(|refusal| cx.refused(&refusal))?.kind() {
            QueueKind::Classic => Ok(()),
            QueueKind::Quorum => {
                let vhost = cx.client.vhost();
                let text =
                    format!("queue '{queue}' in vhost '{vhost}' does not support global qos");
                Err(not_implemented(text))
            }
        }
    }

    /// What others see of a consumer.
    fn label(&self, tag: &str, consume: &basic::Consume) -> ConsumerLabel {
        let arguments = arguments::headers(&consume.arguments);
        ConsumerLabel {
            tag: tag.to_owned().into(),
            channel: self.id,
            prefetch: self.prefetch.into(),
            arguments: (!arguments.is_empty()).then(|| Box::new(arguments)),
        }
    }

    fn credit(&self, queue: &str, acks: Acks) -> Credit {
        let limit = own_limit(self.prefetch);
        match &self.shared_credit {
            _ if reply_to::is_hidden(queue) => Credit::Unlimited,
            Some(shared) if shared.limit() != u32::MAX => Credit::Shared {
                with: Arc::clone(shared),
                limit,
            },
            _ if acks == Acks::Automatic || limit == u32::MAX => Credit::Unlimited,
            _ => Credit::Limited(limit),
        }
    }

    pub(super) fn on_cancel(&mut self, cancel: &basic::Cancel, cx: &mut Context<'_>) {
        if let Some(consumer) = self
            .consumers
            .remove_tag(cancel.consumer_tag.as_str().as_bytes())
        {
            self.watch_held(&consumer, cx);
            self.end_consumer(consumer, cx);
        }
        if !cancel.nowait {
            let ok = basic::CancelOk {
                consumer_tag: cancel.consumer_tag.clone(),
            };
            self.reply(&AMQPClass::Basic(basic::AMQPMethod::CancelOk(ok)), cx);
        }
    }

    /// A consumer is about to go: what it holds has the time it had, counted from now.
    fn watch_held(&mut self, consumer: &Consumer, cx: &mut Context<'_>) {
        let tags = (0, self.last_tag);
        if consumer.acks == Acks::Wanted && self.unacked.holds(consumer.queue, tags) {
            let timeout_ms = cx.client.lease_timeout_ms(&consumer.broker);
            self.watch(consumer.queue, tags, timeout_ms, cx);
        }
    }

    /// Deliveries have no consumer whose queue would measure for how long they are held.
    fn watch(
        &mut self,
        queue: u32,
        tags: (u64, u64),
        timeout_ms: Option<u64>,
        cx: &mut Context<'_>,
    ) {
        if let Some(timeout_ms) = timeout_ms {
            let due = self.orphans.watch(queue, tags, cx.now, timeout_ms);
            *cx.overdue_at = Some(cx.overdue_at.map_or(due, |at| at.min(due)));
        }
    }

    /// The timeout, in milliseconds, of a delivery without a consumer that is held for too long; and when to look
    /// again.
    pub(crate) fn overdue(&mut self, now: Timestamp) -> (Option<u64>, Option<Timestamp>) {
        let overdue = self.orphans.overdue(now, &self.unacked);
        (overdue, self.orphans.next_due())
    }

    fn end_consumer(&mut self, consumer: Consumer, cx: &mut Context<'_>) {
        *cx.consumers -= 1;
        self.reply_consumer
            .take_if(|replies| replies.tag == consumer.tag);
        cx.client.cancel(consumer.broker);
        self.queues.release(consumer.queue);
        // What it was assigned and had not got yet gave its share of the credit back.
        if self.shared_credit.is_some() {
            for other in self.consumers.iter() {
                cx.client.replenish(&other.broker);
            }
        }
    }

    /// The queue of a consumer is gone. `notify` says whether the client understands `basic.cancel` from a server.
    pub(crate) fn on_cancelled(&mut self, slot: ConsumerSlot, notify: bool, cx: &mut Context<'_>) {
        let Some(consumer) = self.consumers.remove(slot) else {
            return;
        };
        let tag = String::from_utf8_lossy(&consumer.tag).into_owned();
        self.end_consumer(consumer, cx);
        if notify && let Ok(consumer_tag) = ShortString::try_new(tag) {
            let cancel = basic::Cancel {
                consumer_tag,
                nowait: true,
            };
            self.reply(&AMQPClass::Basic(basic::AMQPMethod::Cancel(cancel)), cx);
        }
    }

    /// For how long a consumer may hold a delivery, if it has it that long.
    pub(crate) fn lease_timeout_ms(&self, slot: ConsumerSlot, client: &Client) -> Option<u64> {
        client.lease_timeout_ms(&self.consumers.get(slot)?.broker)
    }

    pub(super) fn on_get(&mut self, get: &basic::Get, cx: &mut Context<'_>) -> Result<(), Fault> {
        let queue = self.visible_queue(&get.queue, cx)?;
        let got = cx
            .client
            .get(queue, get.no_ack)
            .map_err(|refusal| cx.refused(&refusal))?;
        if let Some(got) = got {
            self.put_got(&got, cx);
        } else {
            self.count_got(None);
            let empty = basic::AMQPMethod::GetEmpty(basic::GetEmpty {});
            self.reply(&AMQPClass::Basic(empty), cx);
        }
        Ok(())
    }

    fn put_got(&mut self, got: &Got, cx: &mut Context<'_>) {
        let Got {
            delivery,
            queue,
            ready,
            timeout_ms,
        } = got;
        let delivery_tag = self.last_tag + 1;
        let (mut properties, mut key) = (Vec::new(), Vec::new());
        let message = &delivery.message;
        let get_ok = GetOk {
            delivery_tag,
            redelivered: is_redelivered(delivery),
            exchange: message.exchange(),
            routing_key: mapping::routing_key(message, &mut key),
            message_count: u32::try_from(*ready).unwrap_or(u32::MAX),
        };
        let start = cx.out.buf().len();
        let written = codec::get_ok(cx.out.buf(), self.id, &get_ok).and_then(|()| {
            let target = (self.id, cx.wire.frame_max);
            put_content(
                cx.out,
                target,
                (delivery, Counters::of(queue)),
                &mut properties,
            )
        });
        let number = self.queues.hold(queue);
        if let Err(error) = written {
            cx.out.buf().truncate(start);
            self.undeliverable(delivery, number, error);
            let empty = basic::AMQPMethod::GetEmpty(basic::GetEmpty {});
            self.reply(&AMQPClass::Basic(empty), cx);
        } else {
            self.last_tag = delivery_tag;
            self.count_got(Some(delivery));
            self.delivered(delivery, number);
            if !delivery.settled {
                let tags = (delivery_tag, delivery_tag);
                self.watch(number, tags, *timeout_ms, cx);
            }
        }
        if delivery.settled {
            self.queues.release(number);
        }
    }

    /// Sends a consumer what waits for it, within the budget. Returns whether more waits.
    pub(crate) fn deliver(
        &mut self,
        slot: ConsumerSlot,
        budget: Budget,
        scratch: &mut Scratch,
        cx: &mut Context<'_>,
    ) -> bool {
        let Some(consumer) = self.consumers.get(slot) else {
            return false;
        };
        let Scratch {
            deliveries,
            properties,
            key,
        } = scratch;
        let more = cx
            .client
            .drain(&consumer.broker, budget, deliveries, cx.now);
        let (number, counters) = (consumer.queue, consumer.counters);
        let mut delivered = Delivered::default();
        for delivery in deliveries.drain(..) {
            let Some(consumer) = self.consumers.get(slot) else {
                break;
            };
            let message = &delivery.message;
            let deliver = Deliver {
                consumer_tag: &consumer.tag,
                delivery_tag: self.last_tag + 1,
                redelivered: is_redelivered(&delivery),
                exchange: message.exchange(),
                routing_key: mapping::routing_key(message, key),
            };
            let start = cx.out.buf().len();
            let written = codec::deliver(cx.out.buf(), self.id, &deliver).and_then(|()| {
                let target = (self.id, cx.wire.frame_max);
                put_content(cx.out, target, (&delivery, counters), properties)
            });
            if !delivery.settled {
                self.queues.hold_number(number);
            }
            if let Err(error) = written {
                cx.out.buf().truncate(start);
                self.undeliverable(&delivery, number, error);
            } else {
                self.last_tag += 1;
                delivered.add(&delivery);
                self.delivered(&delivery, number);
            }
        }
        self.count_consumed(delivered);
        self.show(cx.now);
        more
    }

    #[inline]
    fn delivered(&mut self, delivery: &Delivery, queue: u32) {
        if !delivery.settled {
            self.unacked.push(
                self.last_tag,
                unacked::Delivered {
                    queue,
                    position: delivery.position,
                },
            );
        }
    }

    /// A message that AMQP has no words for, such as one with a routing key of more than 255 bytes: it dies, as if
    /// the consumer had refused it.
    #[cold]
    fn undeliverable(&mut self, delivery: &Delivery, queue: u32, error: EncodeError) {
        tracing::debug!(%error, channel = self.id, "message cannot be delivered over AMQP");
        if !delivery.settled {
            self.queues
                .settle(queue, delivery.position, Outcome::Reject { failed: false });
        }
    }
}

/// Whether the message may have been delivered before, to whomever.
#[inline]
fn is_redelivered(delivery: &Delivery) -> bool {
    delivery.redelivered
}

/// Writes header and body. Nothing but the buffer's end is touched if it fails.
#[inline]
fn put_content(
    out: &mut Output,
    (channel, frame_max): (u16, u32),
    (delivery, counters): (&Delivery, Counters),
    scratch: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    let message = &delivery.message;
    let properties = if counters == Counters::Hidden || delivery.attempts == 0 {
        mapping::from_core(message, &[], scratch)?
    } else {
        with_counters(delivery, scratch)?
    };
    let body = message.body();
    codec::header(out.buf(), channel, body.len() as u64, properties)?;
    let Some(shared) = message.shared_body() else {
        codec::body(out.buf(), channel, body, frame_max);
        return Ok(());
    };
    let payload_max = body_payload_max(frame_max);
    let mut from = 0;
    while from < shared.len() {
        let to = shared.len().min(from + payload_max);
        // A frame's payload has 16 MiB at most.
        let len = u32::try_from(to - from).unwrap_or(u32::MAX);
        codec::body_frame_start(out.buf(), channel, len);
        out.put_shared(shared.slice(from..to));
        codec::body_frame_end(out.buf());
        from = to;
    }
    Ok(())
}

/// The properties with what the broker counted: how often the message was taken, and how often that failed.
#[cold]
fn with_counters<'a>(
    delivery: &'a Delivery,
    scratch: &'a mut Vec<u8>,
) -> Result<&'a [u8], EncodeError> {
    let acquired = (X_ACQUIRED_COUNT, Value::I64(delivery.attempts.into()));
    let failed = (X_DELIVERY_COUNT, Value::I64(delivery.failures.into()));
    let annotations = [acquired, failed];
    // A message that never failed has no count of failures.
    let shown = if delivery.failures == 0 { 1 } else { 2 };
    mapping::from_core(&delivery.message, &annotations[..shown], scratch)
}

/// What a prefetch count lets one consumer hold: 0 is no limit.
const fn own_limit(prefetch: u16) -> u32 {
    match prefetch {
        0 => u32::MAX,
        prefetch => prefetch as u32,
    }
}

/// For how long the consumer may hold a delivery: `x-consumer-timeout`, if it is there.
fn lease_timeout(
    queue: &str,
    consume: &basic::Consume,
    cx: &Context<'_>,
) -> Result<LeaseTimeout, Fault> {
    const ARGUMENT: &str = "x-consumer-timeout";
    let arguments = arguments::headers(&consume.arguments);
    let Some(value) = arguments.get(ARGUMENT) else {
        return Ok(LeaseTimeout::OfQueue(cx.client.consumer_timeout_ms()));
    };
    let fault = match value.as_i64() {
        None => ArgumentFault::NotAnInteger(value.clone()),
        Some(ms) => match u64::try_from(ms) {
            Ok(ms) => return Ok(LeaseTimeout::Own(ms)),
            Err(_) => ArgumentFault::Negative(ms),
        },
    };
    Err(cx.refused(&Refusal::InvalidArgument {
        kind: Kind::Queue,
        name: queue.into(),
        arg: ARGUMENT.into(),
        fault: Box::new(fault),
    }))
}

/// `x-priority`, if it is there. That the queue is not is said before what is wrong with it.
fn priority(queue: &str, arguments: &Headers, cx: &Context<'_>) -> Result<i32, Fault> {
    let Some(value) = arguments.get("x-priority") else {
        return Ok(0);
    };
    let Some(priority) = value.as_i64() else {
        let refusal = Refusal::InvalidArgument {
            kind: Kind::Queue,
            name: queue.into(),
            arg: "x-priority".into(),
            fault: Box::new(ArgumentFault::NotAnInteger(value.clone())),
        };
        let first = cx.client.queue(queue).err().unwrap_or(refusal);
        return Err(cx.refused(&first));
    };
    let clamped = priority.clamp(i32::MIN.into(), i32::MAX.into());
    Ok(i32::try_from(clamped).unwrap_or_default())
}
