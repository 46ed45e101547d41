//! One AMQP channel: the conversation that a connection multiplexes (§2.2.4).
//!
//! ```text
//!   [no channel] ── open ──► Session ── close, or a channel error ──► [awaiting close-ok, see connection/channels.rs]
//!
//!   content:  Idle ── basic.publish ──► Header ── header with a body ──► Body ──┐
//!               ▲                          └── header without a body ───────────┤
//!               └──────────────────────────── publish.rs ◄───────────────────────┘
//! ```
//!
//! A channel's publishes and acknowledgements take effect as they come, unless it is transacted (`transaction.rs`).
//! `declare.rs` has exchanges, queues and bindings; `publish.rs` content and confirms; `deliver.rs` consumers and
//! what they are sent; `settle.rs` acknowledgements.

mod arguments;
mod consumers;
mod content;
mod counting;
mod declare;
mod deliver;
mod orphans;
mod publish;
mod queues;
mod reply_to;
mod settle;
mod transaction;
mod unacked;

use std::sync::Arc;

use amq_protocol::protocol::{AMQPClass, access, basic, channel, confirm};
use amq_protocol::types::ShortString;
use ternmq_broker::inspect::ChannelStats;
use ternmq_broker::{Broker, Client};
use ternmq_core::id::Timestamp;
use ternmq_core::queue::{Credit, Outcome, SharedCredit};
use ternmq_net::machine::Output;

pub(crate) use arguments::headers as to_headers;
pub(crate) use consumers::Slot as ConsumerSlot;
pub(crate) use content::whole_content;
pub(crate) use deliver::Scratch;
use publish::Confirming;
pub(crate) use publish::Publishes;

use crate::codec;
use crate::error::{self, Fault, Reply, from_refusal, not_implemented};
use crate::frame::Method;
use consumers::Consumers;
use content::Content;
use orphans::Orphans;
use queues::Queues;
use reply_to::ReplyConsumer;
use transaction::Transactions;
use unacked::Unacked;

/// What was agreed on for a connection, and what it is held to.
#[derive(Clone, Copy, Debug)]
#[allow(
    clippy::struct_field_names,
    reason = "all of them are limits, under their names in the specification and the configuration"
)]
pub(crate) struct Wire {
    /// Largest frame in bytes, in both directions; 0 for no limit.
    pub(crate) frame_max: u32,
    /// Largest message body in bytes.
    pub(crate) message_bytes_max: u64,
    /// Most consumers on all channels.
    pub(crate) consumers_max: usize,
    /// Most bytes an open transaction may hold.
    pub(crate) transaction_bytes_max: usize,
}

/// What a channel needs of its connection while it acts.
pub(crate) struct Context<'a> {
    pub(crate) broker: &'a Broker,
    pub(crate) client: &'a mut Client,
    pub(crate) publishes: &'a mut Publishes,
    /// Consumers on all channels.
    pub(crate) consumers: &'a mut usize,
    /// When to look for deliveries without a consumer that are held for too long ([`Session::overdue`]).
    pub(crate) overdue_at: &'a mut Option<Timestamp>,
    pub(crate) wire: Wire,
    pub(crate) now: Timestamp,
    pub(crate) out: &'a mut Output,
}

impl Context<'_> {
    fn refused(&self, refusal: &ternmq_core::error::Refusal) -> Fault {
        let scene = error::Scene {
            vhost: self.client.vhost(),
            user: self.client.user().name(),
        };
        from_refusal(refusal, scene)
    }
}

/// See the module's documentation.
pub(crate) struct Session {
    id: u16,
    content: Content,
    mode: Mode,
    last_tag: u64,
    unacked: Unacked,
    orphans: Orphans,
    queues: Queues,
    consumers: Consumers,
    /// Stands in for an empty queue name.
    last_queue: Option<Box<str>>,
    /// For consumers made from now on; 0 for no limit.
    prefetch: u16,
    /// For all consumers of the channel together.
    shared_credit: Option<Arc<SharedCredit>>,
    /// Which of them, by how many come before it, is the first to get what comes back of that.
    first_served: usize,
    /// Gets the replies to requests that this channel publishes.
    reply_consumer: Option<ReplyConsumer>,
    /// As others see it.
    stats: Arc<ChannelStats>,
}

/// What becomes of publishes, and of what the client says about deliveries.
enum Mode {
    /// They take effect, and nobody hears of it.
    Plain,
    /// Publishes are confirmed.
    Confirming(Confirming),
    /// They wait for `tx.commit`.
    Transacted(Box<Transactions>),
}

/// Whether an answer is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Answer {
    Wanted,
    NoWait,
}

impl Answer {
    const fn from_nowait(nowait: bool) -> Self {
        if nowait { Self::NoWait } else { Self::Wanted }
    }
}

impl Session {
    pub(crate) fn new(stats: Arc<ChannelStats>) -> Self {
        let id = stats.number();
        Self {
            id,
            content: Content::default(),
            mode: Mode::Plain,
            last_tag: 0,
            unacked: Unacked::default(),
            orphans: Orphans::default(),
            queues: Queues::default(),
            consumers: Consumers::new(id),
            last_queue: None,
            prefetch: 0,
            shared_credit: None,
            first_served: 0,
            reply_consumer: None,
            stats,
        }
    }

    /// Acts on a method that is none of the hot ones. `arguments` are its raw bytes. Everything that came before it
    /// is published and settled.
    pub(crate) fn on_method(
        &mut self,
        method: Method,
        arguments: &[u8],
        cx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        self.content.expect_method()?;
        let handled = match *method.class {
            AMQPClass::Channel(method) => self.on_channel(&method, cx),
            AMQPClass::Exchange(method) => self.on_exchange(method, cx),
            AMQPClass::Queue(method) => self.on_queue(method, cx),
            AMQPClass::Basic(method) => self.on_basic(method, arguments, cx),
            AMQPClass::Confirm(confirm::AMQPMethod::Select(select)) => {
                self.on_confirm_select(Answer::from_nowait(select.nowait), cx)
            }
            AMQPClass::Tx(method) => self.on_tx(&method, cx),
            AMQPClass::Access(access::AMQPMethod::Request(_)) => {
                let ok = access::AMQPMethod::RequestOk(access::RequestOk {});
                self.reply(&AMQPClass::Access(ok), cx);
                Ok(())
            }
            _ => Err(unimplemented_method()),
        };
        self.show_settings();
        self.show(cx.now);
        handled
    }

    fn on_channel(
        &mut self,
        method: &channel::AMQPMethod,
        cx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        match method {
            channel::AMQPMethod::Open(_) => Err(Fault::new(
                Reply::ChannelError,
                "second 'channel.open' seen",
            )),
            channel::AMQPMethod::Flow(flow) if flow.active => {
                let ok = channel::FlowOk { active: true };
                self.reply(&AMQPClass::Channel(channel::AMQPMethod::FlowOk(ok)), cx);
                Ok(())
            }
            channel::AMQPMethod::Flow(_) => Err(not_implemented("active=false")),
            _ => Err(unimplemented_method()),
        }
    }

    fn on_basic(
        &mut self,
        method: basic::AMQPMethod,
        arguments: &[u8],
        cx: &mut Context<'_>,
    ) -> Result<(), Fault> {
        use basic::AMQPMethod as Basic;
        match method {
            Basic::Qos(qos) => self.on_qos(&qos, arguments, cx),
            Basic::Consume(consume) => self.on_consume(&consume, cx),
            Basic::Cancel(cancel) => {
                self.on_cancel(&cancel, cx);
                Ok(())
            }
            Basic::Get(get) => self.on_get(&get, cx),
            Basic::Recover(recover) => self.on_recover(recover.requeue, Answer::Wanted, cx),
            Basic::RecoverAsync(recover) => self.on_recover(recover.requeue, Answer::NoWait, cx),
            _ => Err(unimplemented_method()),
        }
    }

    /// The queue meant by a name: an empty one stands for the last one declared on this channel.
    fn queue_name<'a>(&'a self, given: &'a ShortString) -> Result<&'a str, Fault> {
        match (given.as_str(), &self.last_queue) {
            ("", Some(last)) => Ok(last),
            ("", None) => Err(Fault::new(Reply::NotFound, "no previously declared queue")),
            (given, _) => Ok(given),
        }
    }

    /// The same, if clients may use it as a queue.
    fn visible_queue<'a>(
        &'a self,
        given: &'a ShortString,
        cx: &Context<'_>,
    ) -> Result<&'a str, Fault> {
        let queue = self.queue_name(given)?;
        reply_to::check_visible(queue, cx)?;
        Ok(queue)
    }

    /// Writes a method on this channel.
    fn reply(&self, class: &AMQPClass, cx: &mut Context<'_>) {
        write_method(self.id, class, cx.out);
    }

    /// Gives back everything the channel holds: consumers end, what was not acknowledged returns to its place as
    /// failed, an unfinished publish is forgotten, an open transaction rolled back. The user has one channel less.
    pub(crate) fn release(&mut self, client: &mut Client, consumers: &mut usize, now: Timestamp) {
        self.roll_back();
        // What they hold is back in its place before the consumers make way, or who comes next would get later
        // messages first. Until then they take nothing more.
        for consumer in self.consumers.iter() {
            client.set_credit(&consumer.broker, Credit::Limited(0));
        }
        self.return_all(Outcome::Return { failed: true });
        self.settle(client, now);
        for consumer in self.consumers.drain() {
            *consumers -= 1;
            client.cancel(consumer.broker);
        }
        debug_assert_eq!(self.unacked.len(), 0, "everything is settled");
        client.close_channel();
    }
}

/// Writes a method that the codec can always say: its strings come from here or from the peer's short strings.
pub(crate) fn write_method(channel: u16, class: &AMQPClass, out: &mut Output) {
    if let Err(error) = codec::method(out.buf(), channel, class) {
        tracing::error!(%error, channel, "method not written");
    }
}

/// RabbitMQ's answer to methods that a server does not take.
fn unimplemented_method() -> Fault {
    Fault::new(Reply::CommandInvalid, "unimplemented method")
}
