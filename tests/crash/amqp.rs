//! Load over AMQP: parties that work until their connection is gone, and know afterwards what they were promised.

use std::collections::VecDeque;

use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, BasicRejectOptions,
    ConfirmSelectOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::FieldTable;
use lapin::{
    Channel, Confirmation, Connection, ConnectionProperties, Consumer as Stream, ErrorKind,
    PublisherConfirm,
};
use tokio_stream::StreamExt;

use crate::Scene;
use crate::ledger::{Flag, Id, Received, Sent};
use crate::support::amqp::persistent;
use crate::support::soon;
use crate::topology::{self, BARRIER_FROM, DECLARED};

/// Publishes that may wait for their confirms.
const WINDOW: usize = 8;

/// Deliveries that a consumer may hold.
const PREFETCH: u16 = 64;

/// A consumer makes certain after so many deliveries that its acknowledgements are safe.
const BARRIER_AFTER: usize = 16;

/// Queues that are declared per life of the broker.
const DECLARED_MAX: usize = 12;

/// Marks the end of a queue.
pub const END: &[u8] = b"end";

/// What ended a party's work. A connection that is lost is what the test is about; that the broker refuses something
/// is a fault.
fn refusal(worked: lapin::Result<()>) -> Option<String> {
    let error = worked.err()?;
    matches!(error.kind(), ErrorKind::ProtocolError(_)).then(|| error.to_string())
}

async fn open(scene: &Scene) -> lapin::Result<(Connection, Channel)> {
    let properties = ConnectionProperties::default();
    let connection = soon(Connection::connect(&scene.amqp_uri, properties)).await?;
    let channel = soon(connection.create_channel()).await?;
    Ok((connection, channel))
}

async fn close(connection: &Connection) -> lapin::Result<()> {
    soon(connection.close(200, "done".into())).await
}

/// Publishes with confirms.
async fn publish(channel: &Channel, id: Id) -> lapin::Result<PublisherConfirm> {
    let (exchange, key) = topology::address(id);
    publish_to(channel, (exchange, key), &id.body()).await
}

async fn publish_to(
    channel: &Channel,
    (exchange, key): (&str, &str),
    body: &[u8],
) -> lapin::Result<PublisherConfirm> {
    let options = BasicPublishOptions {
        mandatory: true,
        ..Default::default()
    };
    soon(channel.basic_publish(exchange.into(), key.into(), options, body, persistent())).await
}

async fn confirm_select(channel: &Channel) -> lapin::Result<()> {
    soon(channel.confirm_select(ConfirmSelectOptions::default())).await
}

/// Publishes as fast as it is confirmed.
pub struct Publisher {
    pub sent: Sent,
    pub faults: Vec<String>,
}

impl Publisher {
    pub fn new(publisher: u16) -> Self {
        Self {
            sent: Sent::new(publisher),
            faults: Vec::new(),
        }
    }

    pub async fn work(&mut self, scene: &Scene) {
        self.sent.begin_life();
        let worked = match self.sent.publisher() {
            topology::TRANSACTED => self.publish_transactions(scene).await,
            _ => self.publish_all(scene).await,
        };
        self.faults.extend(refusal(worked));
    }

    async fn publish_all(&mut self, scene: &Scene) -> lapin::Result<()> {
        let (connection, channel) = open(scene).await?;
        confirm_select(&channel).await?;
        let mut waiting = VecDeque::new();
        let mut is_first = true;
        loop {
            let goes_on = !scene.is_over() && self.faults.is_empty();
            if goes_on {
                let id = self.sent.next();
                waiting.push_back((id, publish(&channel, id).await?));
            }
            if !goes_on || waiting.len() >= WINDOW {
                let Some((id, confirm)) = waiting.pop_front() else {
                    return close(&connection).await;
                };
                self.take(id, &soon(confirm).await?);
                if std::mem::take(&mut is_first) {
                    scene.begin();
                }
            }
        }
    }

    fn take(&mut self, id: Id, confirmation: &Confirmation) {
        match confirmation {
            Confirmation::Ack(None) => self.sent.confirm(id),
            other => self.faults.push(format!("{id:?} was not taken: {other:?}")),
        }
    }

    async fn publish_transactions(&mut self, scene: &Scene) -> lapin::Result<()> {
        let (connection, channel) = open(scene).await?;
        soon(channel.tx_select()).await?;
        let mut is_first = true;
        while !scene.is_over() {
            let part = [(); 3].map(|()| self.sent.next());
            for id in part {
                publish(&channel, id).await?;
            }
            soon(channel.tx_commit()).await?;
            for id in part {
                self.sent.confirm(id);
            }
            if std::mem::take(&mut is_first) {
                scene.begin();
            }
        }
        close(&connection).await
    }
}

/// Consumes one queue.
pub struct Consumer {
    pub received: Received,
    /// Publishes that are confirmed after the acknowledgements before them.
    pub barriers: Sent,
}

/// When a consumer has done its work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Until {
    Over,
    End,
}

impl Consumer {
    pub fn new(index: u16, queue: &str) -> Self {
        Self {
            received: Received::new(queue),
            barriers: Sent::new(BARRIER_FROM + index),
        }
    }

    fn is_transacted(&self) -> bool {
        self.received.queue().starts_with("tx-")
    }

    pub async fn work(&mut self, scene: &Scene) {
        self.received.begin_life();
        self.barriers.begin_life();
        let worked = self.consume(scene, Until::Over).await;
        self.note(worked);
    }

    fn note(&mut self, worked: lapin::Result<()>) {
        if let Some(refusal) = refusal(worked) {
            self.received.fault(refusal);
        }
    }

    /// Empties the queue, up to a message that is published for that.
    pub async fn drain(&mut self, scene: &Scene) {
        self.received.begin_life();
        let marked = self.mark_end(scene).await;
        self.note(marked);
        let drained = self.consume(scene, Until::End).await;
        if let Err(error) = drained {
            self.received.fault(error.to_string());
        }
    }

    async fn mark_end(&self, scene: &Scene) -> lapin::Result<()> {
        let (connection, channel) = open(scene).await?;
        confirm_select(&channel).await?;
        let end = publish_to(&channel, ("", self.received.queue()), END).await?;
        soon(end).await?;
        close(&connection).await
    }

    async fn consume(&mut self, scene: &Scene, until: Until) -> lapin::Result<()> {
        let (connection, channel) = open(scene).await?;
        let mut stream = self.start(&channel).await?;
        let mut over = scene.over();
        loop {
            let next = tokio::select! {
                biased;
                delivery = stream.next() => delivery,
                _ = over.wait_for(|over| *over && until == Until::Over) => None,
            };
            let Some(delivery) = next.transpose()? else {
                // Of a lost connection a consumer may hear by the end of its stream.
                break;
            };
            let is_end = delivery.data == END;
            self.settle(&delivery).await?;
            if is_end || self.received.unsafe_len() >= BARRIER_AFTER {
                self.make_safe(&channel).await?;
            }
            if is_end {
                break;
            }
        }
        close(&connection).await
    }

    async fn start(&self, channel: &Channel) -> lapin::Result<Stream> {
        if self.is_transacted() {
            soon(channel.tx_select()).await?;
        } else {
            confirm_select(channel).await?;
        }
        soon(channel.basic_qos(PREFETCH, BasicQosOptions::default())).await?;
        let queue = self.received.queue();
        let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
        soon(channel.basic_consume(queue.into(), "".into(), options, arguments)).await
    }

    /// Notes a delivery, then acknowledges or rejects it.
    async fn settle(&mut self, delivery: &Delivery) -> lapin::Result<()> {
        let id = match &delivery.data[..] {
            END => None,
            body => self.received.deliver(body, Flag::of(delivery.redelivered)),
        };
        let rejects = self.received.queue() == "reject" && id.is_some_and(topology::is_to_reject);
        if rejects {
            let options = BasicRejectOptions { requeue: false };
            soon(delivery.reject(options)).await?;
        } else {
            soon(delivery.ack(BasicAckOptions::default())).await?;
        }
        if let Some(id) = id {
            self.received.settle(id);
        }
        Ok(())
    }

    async fn make_safe(&mut self, channel: &Channel) -> lapin::Result<()> {
        if self.is_transacted() {
            soon(channel.tx_commit()).await?;
        } else {
            let id = self.barriers.next();
            let confirm = publish(channel, id).await?;
            soon(confirm).await?;
            self.barriers.confirm(id);
        }
        self.received.make_safe();
        Ok(())
    }
}

/// Declares queues and exchanges, binds and unbinds them.
#[derive(Default)]
pub struct Declarer {
    count: usize,
    made: Vec<Made>,
    pub faults: Vec<String>,
}

/// A queue and an exchange of one name, as far as the broker has said that they are there.
#[derive(Debug)]
struct Made {
    name: String,
    queue: bool,
    exchange: bool,
    /// To [`DECLARED`]; unknown while the last method about it was not answered.
    bound: Option<bool>,
    /// To the exchange of the same name.
    own: bool,
}

impl Declarer {
    pub async fn work(&mut self, scene: &Scene) {
        let worked = self.declare_all(scene).await;
        self.faults.extend(refusal(worked));
    }

    async fn declare_all(&mut self, scene: &Scene) -> lapin::Result<()> {
        let (connection, channel) = open(scene).await?;
        for _ in 0..DECLARED_MAX {
            if scene.is_over() {
                break;
            }
            self.declare_one(&channel).await?;
        }
        close(&connection).await
    }

    async fn declare_one(&mut self, channel: &Channel) -> lapin::Result<()> {
        self.count += 1;
        let name = format!("made-{}", self.count);
        self.made.push(Made {
            name: name.clone(),
            queue: false,
            exchange: false,
            bound: None,
            own: false,
        });
        let made = self.made.last_mut().expect("one was pushed");
        let options = QueueDeclareOptions {
            durable: true,
            ..Default::default()
        };
        let arguments = FieldTable::default();
        soon(channel.queue_declare(name.as_str().into(), options, arguments)).await?;
        made.queue = true;
        topology::bind_by_name(channel, &name, DECLARED).await?;
        made.bound = Some(true);
        topology::declare_exchange(channel, &name, lapin::ExchangeKind::Direct).await?;
        made.exchange = true;
        topology::bind_by_name(channel, &name, &name).await?;
        made.own = true;
        if self.count.is_multiple_of(3) {
            made.bound = None;
            let (queue, exchange) = (name.as_str().into(), DECLARED.into());
            let key = name.as_str().into();
            soon(channel.queue_unbind(queue, exchange, key, FieldTable::default())).await?;
            made.bound = Some(false);
        }
        Ok(())
    }

    /// Looks whether everything is as the broker said, by publishing to it.
    pub async fn check(&mut self, scene: &Scene) {
        let (_connection, channel) = open(scene).await.unwrap();
        confirm_select(&channel).await.unwrap();
        for made in &self.made {
            let Made {
                name,
                queue,
                exchange,
                bound,
                own,
            } = made;
            if let Some(bound) = bound
                && *bound != is_routed(&channel, (DECLARED, name)).await.unwrap()
            {
                self.faults.push(format!("{made:?}: the binding is not so"));
            }
            if *queue && !is_routed(&channel, ("", name)).await.unwrap() {
                self.faults.push(format!("{made:?}: the queue is gone"));
            }
            // Publishing to an exchange that is gone would close the channel: everything else is checked first.
            if *exchange {
                match is_routed(&channel, (name, name)).await {
                    Ok(routed) if routed || !own => {}
                    other => {
                        self.faults.push(format!("{made:?}: {other:?}"));
                        return;
                    }
                }
            }
            let delete = QueueDeleteOptions::default();
            soon(channel.queue_delete(name.as_str().into(), delete))
                .await
                .unwrap();
        }
    }

    pub fn declared(&self) -> usize {
        self.made.iter().filter(|made| made.queue).count()
    }
}

async fn is_routed(channel: &Channel, to: (&str, &str)) -> lapin::Result<bool> {
    let confirm = publish_to(channel, to, b"is it there?").await?;
    Ok(soon(confirm).await? == Confirmation::Ack(None))
}

/// Waits until nothing passes through any more.
pub async fn settle_hops(scene: &Scene) {
    let (_connection, channel) = open(scene).await.unwrap();
    for hop in topology::HOPS {
        let is_empty = async { while crate::support::amqp::counts(&channel, hop).await.0 > 0 {} };
        soon(is_empty).await;
    }
}
