//! The deliver verb: consuming, draining what was assigned, and getting one message.

use ternmq_core::access::Right;
use ternmq_core::error::{Kind, Refusal};
use ternmq_core::id::Timestamp;
use ternmq_core::policy::QueueKind;
use ternmq_core::queue::{
    Budget, ConsumerKey, ConsumerSpec, Credit, Delivery, Effects, LeaseTimeout, Queue,
};

use crate::cell::{NewSubscriber, QueueHandle};
use crate::client::Client;
use crate::inspect::ConsumerLabel;
use crate::mailbox::Token;
use crate::metrics::{Outgoing, drained, growth};

/// A consumer of this connection. Give it back to [`Client::cancel`].
#[derive(Debug)]
pub struct Consumer {
    queue: QueueHandle,
    key: ConsumerKey,
}

impl Consumer {
    /// The queue it consumes, to settle its deliveries.
    pub fn queue(&self) -> &QueueHandle {
        &self.queue
    }
}

/// One message taken by [`Client::get`].
#[derive(Debug)]
pub struct Got {
    /// The message and its lease.
    pub delivery: Delivery,
    /// To settle it.
    pub queue: QueueHandle,
    /// Ready messages that are left.
    pub ready: u64,
    /// For how long it may be held, in milliseconds; none for ever. Whoever got it measures: it has no consumer.
    pub timeout_ms: Option<u64>,
}

impl Client {
    /// Begins to consume. [`crate::mailbox::Notice::Ready`] with `token` says when to [`Client::drain`].
    ///
    /// # Errors
    /// [`Refusal::AccessRefused`], [`Refusal::NotFound`], [`Refusal::Locked`], [`Refusal::ExclusiveUse`].
    pub fn consume(
        &mut self,
        queue: &str,
        spec: ConsumerSpec,
        token: Token,
    ) -> Result<Consumer, Refusal> {
        self.consume_as(queue, spec, token, ConsumerLabel::default())
    }

    /// The same, with what those who look at consumers see.
    ///
    /// # Errors
    /// As [`Client::consume`].
    pub fn consume_as(
        &mut self,
        queue: &str,
        spec: ConsumerSpec,
        token: Token,
        label: ConsumerLabel,
    ) -> Result<Consumer, Refusal> {
        self.check_right(Right::Read, Kind::Queue, queue)?;
        let _inside = self.broker.gate.enter();
        let now = self.now();
        let cell = self.cell(queue)?;
        let new = NewSubscriber {
            mailbox: self.mailbox.clone(),
            token,
            connection: self.id,
            label,
        };
        let key = cell.subscribe(self.work.get(), now, spec, new)?;
        self.broker.follow_up(&cell, self.work.get(), now);
        Ok(Consumer {
            queue: QueueHandle(cell),
            key,
        })
    }

    /// The queue of that name, if this connection may work with it.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::Locked`].
    pub fn queue(&self, name: &str) -> Result<QueueHandle, Refusal> {
        Ok(QueueHandle(self.cell(name)?))
    }

    /// Ends a consumer. What it was assigned and did not drain goes back untouched; what it drained and did not
    /// settle stays leased.
    pub fn cancel(&mut self, consumer: Consumer) {
        let _inside = self.broker.gate.enter();
        let now = self.now();
        let Consumer {
            queue: QueueHandle(cell),
            key,
        } = consumer;
        cell.unsubscribe(self.work.get(), now, key);
        self.broker.follow_up(&cell, self.work.get(), now);
    }

    /// Takes assigned messages, within the budget. Returns whether more are waiting: come back without a notice.
    pub fn drain(
        &mut self,
        consumer: &Consumer,
        budget: Budget,
        out: &mut Vec<Delivery>,
        now: Timestamp,
    ) -> bool {
        let _inside = self.broker.gate.enter();
        let cell = &consumer.queue.0;
        let (more, counts) = cell.update(self.work.get(), |queue, effects| {
            let before = drained(queue.counters());
            let more = queue.drain(now, consumer.key, budget, out, effects);
            (more, growth(before, drained(queue.counters())))
        });
        self.count_drained(cell.kind, counts);
        self.broker.follow_up(cell, self.work.get(), now);
        more
    }

    /// For how long a consumer may hold a message, in milliseconds; none for ever.
    pub fn lease_timeout_ms(&self, consumer: &Consumer) -> Option<u64> {
        let cell = &consumer.queue.0;
        cell.look(|queue| queue.lease_timeout_ms(consumer.key))
    }

    /// What consumers whose queue says nothing about it are given: see [`BrokerConfig::consumer_timeout_ms`].
    ///
    /// [`BrokerConfig::consumer_timeout_ms`]: crate::BrokerConfig::consumer_timeout_ms
    pub fn consumer_timeout_ms(&self) -> u64 {
        self.broker.limits.consumer_timeout_ms
    }

    /// Changes a consumer's credit; what it holds stays counted.
    pub fn set_credit(&mut self, consumer: &Consumer, credit: Credit) {
        let _inside = self.broker.gate.enter();
        let now = self.now();
        let cell = &consumer.queue.0;
        cell.update(self.work.get(), |queue, effects| {
            queue.set_credit(now, consumer.key, credit, effects);
        });
        self.broker.follow_up(cell, self.work.get(), now);
    }

    /// Tells a consumer's queue that its shared credit came back.
    pub fn replenish(&mut self, consumer: &Consumer) {
        let _inside = self.broker.gate.enter();
        let now = self.now();
        let cell = &consumer.queue.0;
        cell.update(self.work.get(), |queue, effects| {
            queue.replenish(now, consumer.key, effects);
        });
        self.broker.follow_up(cell, self.work.get(), now);
    }

    /// Takes one message, if there is a ready one.
    ///
    /// # Errors
    /// [`Refusal::AccessRefused`], [`Refusal::NotFound`], [`Refusal::Locked`]; [`Refusal::SingleActiveConsumer`] from a
    /// quorum queue.
    pub fn get(&mut self, queue: &str, auto_ack: bool) -> Result<Option<Got>, Refusal> {
        self.check_right(Right::Read, Kind::Queue, queue)?;
        let _inside = self.broker.gate.enter();
        let now = self.now();
        let cell = self.cell(queue)?;
        let otherwise = LeaseTimeout::OfQueue(self.consumer_timeout_ms());
        let take = |queue: &mut Queue, effects: &mut Effects| {
            let got = queue.get(now, auto_ack, effects);
            got.map(|got| (got, queue.timeout_ms(otherwise)))
        };
        let (got, is_closed) = loop {
            let work = self.work.get();
            let (mut got, is_closed, is_cold) = cell.update(work, |queue, effects| {
                let settings = queue.settings();
                if settings.kind == QueueKind::Quorum && settings.single_active_consumer {
                    return Err(Refusal::SingleActiveConsumer(cell.name.clone()));
                }
                let got = take(queue, effects);
                Ok((got, queue.is_closed(), queue.is_head_cold()))
            })?;
            self.broker.follow_up(&cell, work, now);
            if got.is_some() || !is_cold {
                break (got, is_closed);
            }
            let has_loaded = self.broker.load_head(&cell, work, |queue, effects| {
                got = got.take().or_else(|| take(queue, effects));
            });
            // Without a message the queue has changed meanwhile, which another look settles.
            if got.is_some() || !has_loaded {
                break (got, is_closed);
            }
        };
        if is_closed {
            return Err(cell.not_found());
        }
        let (what, redelivered) = match &got {
            None => (Outgoing::GotEmpty, false),
            Some(((delivery, _), _)) if auto_ack => (Outgoing::GotAuto, delivery.redelivered),
            Some(((delivery, _), _)) => (Outgoing::GotManual, delivery.redelivered),
        };
        self.count_got(cell.kind, what, redelivered);
        Ok(got.map(|((delivery, ready), timeout_ms)| Got {
            delivery,
            queue: QueueHandle(cell),
            ready,
            timeout_ms,
        }))
    }
}
