//! What is measured.

/// One publisher and one consumer, as fast as they go.
#[derive(Debug)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) publish: Publish,
    pub(crate) consume: Consume,
    /// Bytes of a message's body.
    pub(crate) body_bytes: usize,
}

/// How messages are published.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Publish {
    /// Over AMQP, transient and without confirms.
    Amqp(Route),
    /// Over AMQP, persistent to a durable queue, with so many unconfirmed.
    AmqpConfirmed {
        /// Unconfirmed messages at most.
        window: u64,
    },
    /// Over MQTT at QoS 0.
    MqttQos0,
    /// Over MQTT at QoS 1, with so many unacknowledged.
    MqttQos1 {
        /// Unacknowledged messages at most.
        window: u64,
    },
}

/// By which exchange an AMQP message goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Route {
    /// The default exchange, straight to the consumer's queue.
    Queue,
    /// The topic exchange that MQTT uses.
    Topic,
}

/// How messages are consumed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Consume {
    /// Over AMQP, without acknowledgements.
    AmqpAuto,
    /// Over AMQP, acknowledging every so many at once.
    AmqpAcks {
        /// Messages per acknowledgement.
        every: u64,
        /// Unacknowledged messages at most.
        prefetch: u16,
    },
    /// Over MQTT at this QoS.
    Mqtt {
        /// QoS of the subscription.
        qos: u8,
    },
}

/// Everything, in the order of the table.
pub(crate) static ALL: &[Scenario] = &[
    Scenario {
        name: "amqp transient auto-ack 16 B",
        publish: Publish::Amqp(Route::Queue),
        consume: Consume::AmqpAuto,
        body_bytes: 16,
    },
    Scenario {
        name: "amqp transient auto-ack 1 KiB",
        publish: Publish::Amqp(Route::Queue),
        consume: Consume::AmqpAuto,
        body_bytes: 1024,
    },
    Scenario {
        name: "amqp persistent confirm-1000 1 KiB",
        publish: Publish::AmqpConfirmed { window: 1000 },
        consume: Consume::AmqpAcks {
            every: 50,
            prefetch: 500,
        },
        body_bytes: 1024,
    },
    Scenario {
        name: "mqtt qos 0 64 B",
        publish: Publish::MqttQos0,
        consume: Consume::Mqtt { qos: 0 },
        body_bytes: 64,
    },
    Scenario {
        name: "mqtt qos 1 64 B",
        publish: Publish::MqttQos1 { window: 100 },
        consume: Consume::Mqtt { qos: 1 },
        body_bytes: 64,
    },
    Scenario {
        name: "mqtt to amqp 64 B",
        publish: Publish::MqttQos0,
        consume: Consume::AmqpAuto,
        body_bytes: 64,
    },
    Scenario {
        name: "amqp to mqtt 64 B",
        publish: Publish::Amqp(Route::Topic),
        consume: Consume::Mqtt { qos: 0 },
        body_bytes: 64,
    },
];

impl Scenario {
    /// Whether AMQP is spoken on either side.
    pub(crate) fn speaks_amqp(&self) -> bool {
        let publishes = matches!(
            self.publish,
            Publish::Amqp(_) | Publish::AmqpConfirmed { .. }
        );
        publishes || !matches!(self.consume, Consume::Mqtt { .. })
    }

    /// Whether MQTT is spoken on either side.
    pub(crate) fn speaks_mqtt(&self) -> bool {
        let publishes = matches!(self.publish, Publish::MqttQos0 | Publish::MqttQos1 { .. });
        publishes || matches!(self.consume, Consume::Mqtt { .. })
    }
}
