//! The least of both protocols: frames encoded once, and parsers that count.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process;
use std::time::Duration;

use anyhow::{bail, ensure};

use crate::process::Target;
use crate::scenario::{Consume, Publish, Route, Scenario};
use crate::support::raw::{Raw, frame, method, mqtt_subscribe, packet, short, string};

const TOPIC: &str = "bench/load";
const KEY: &str = "bench.load";
const MQTT_EXCHANGE: &str = "amq.topic";

/// Bytes written at once, about.
const BATCH_BYTES: usize = 64 * 1024;
/// Bytes read at once at most.
const READ_BYTES: usize = 256 * 1024;
/// A peer that is silent for so long is broken.
const SILENCE: Duration = Duration::from_secs(20);
/// Largest frame that a parser has to hold.
const FRAME_BYTES_MAX: usize = 1024 * 1024;

const FRAME_METHOD: u8 = 1;
const FRAME_HEADER: u8 = 2;
const FRAME_BODY: u8 = 3;
const DURABLE: u8 = 2;
const EXCLUSIVE: u8 = 4;

fn queue_name() -> String {
    format!("ternmq-bench-{}", process::id())
}

/// Reads and counts.
pub(crate) struct Reader {
    stream: TcpStream,
    buffer: Vec<u8>,
    filled: usize,
    /// What was counted.
    pub(crate) counts: Counts,
    parse: fn(&mut Counts, &[u8]) -> anyhow::Result<usize>,
}

/// What a parser has seen, and what it has to say to that.
#[derive(Default)]
pub(crate) struct Counts {
    /// Messages delivered.
    pub(crate) messages: u64,
    /// Own publishes that were confirmed.
    pub(crate) confirmed: u64,
    /// Bytes to answer with.
    answer: Vec<u8>,
    body_left: u64,
    tag: u64,
    unacked: u64,
    /// Acknowledge every so many; 0 for never.
    ack_every: u64,
}

impl Reader {
    fn new(stream: TcpStream, parse: fn(&mut Counts, &[u8]) -> anyhow::Result<usize>) -> Self {
        let counts = Counts::default();
        Self {
            stream,
            buffer: vec![0; READ_BYTES],
            filled: 0,
            counts,
            parse,
        }
    }

    /// Waits for bytes, counts what they say and answers it.
    pub(crate) fn turn(&mut self) -> anyhow::Result<()> {
        if self.filled == self.buffer.len() {
            ensure!(
                self.filled < FRAME_BYTES_MAX,
                "a frame of more than {FRAME_BYTES_MAX} bytes"
            );
            self.buffer.resize(self.filled * 2, 0);
        }
        let count = self.stream.read(&mut self.buffer[self.filled..])?;
        ensure!(count > 0, "the broker closed the connection");
        self.filled += count;
        let parsed = (self.parse)(&mut self.counts, &self.buffer[..self.filled])?;
        self.buffer.copy_within(parsed..self.filled, 0);
        self.filled -= parsed;
        if !self.counts.answer.is_empty() {
            self.stream.write_all(&self.counts.answer)?;
            self.counts.answer.clear();
        }
        Ok(())
    }
}

/// Writes copies of one publish, in batches.
pub(crate) struct Writer {
    stream: TcpStream,
    batch: Vec<u8>,
    /// Bytes of one publish.
    stride: usize,
    /// Where in a publish its packet identifier is, if it has one.
    packet_id_at: Option<usize>,
    packet_id: u16,
    /// Publishes in a batch.
    pub(crate) batch_messages: u64,
}

impl Writer {
    fn new(stream: TcpStream, publish: &[u8], packet_id_at: Option<usize>) -> Self {
        let copies = (BATCH_BYTES / publish.len()).max(1);
        Self {
            stream,
            batch: publish.repeat(copies),
            stride: publish.len(),
            packet_id_at,
            packet_id: 0,
            batch_messages: copies as u64,
        }
    }

    /// Publishes as many, at most a batch.
    pub(crate) fn publish(&mut self, count: u64) -> anyhow::Result<()> {
        let count = usize::try_from(count.min(self.batch_messages))?;
        let bytes = &mut self.batch[..count * self.stride];
        if let Some(at) = self.packet_id_at {
            for publish in bytes.chunks_exact_mut(self.stride) {
                // Never 0 (MQTT-2.2.1-3); the window is far smaller than the range.
                self.packet_id = self.packet_id.checked_add(1).unwrap_or(1);
                publish[at..at + 2].copy_from_slice(&self.packet_id.to_be_bytes());
            }
        }
        self.stream.write_all(bytes)?;
        Ok(())
    }
}

/// Connects the consumer, which must be there before the publisher.
pub(crate) fn open_consumer(scenario: &Scenario, target: &Target) -> anyhow::Result<Reader> {
    match scenario.consume {
        Consume::Mqtt { qos } => {
            let mut raw = Raw::mqtt(target.mqtt, 4, "bench-consumer");
            raw.send(&mqtt_subscribe(4, TOPIC, qos));
            let (kind, suback) = raw.packet();
            ensure!(kind == 0x90 && suback[2] == qos, "SUBACK {suback:?}");
            Ok(Reader::new(ready(raw)?, count_mqtt))
        }
        Consume::AmqpAuto => open_amqp_consumer(scenario, target.amqp, 0, 0),
        Consume::AmqpAcks { every, prefetch } => {
            open_amqp_consumer(scenario, target.amqp, every, prefetch)
        }
    }
}

/// Declares the queue, to be kept.
pub(crate) fn declare_queue(target: &Target) {
    declare(&mut Raw::amqp(target.amqp), DURABLE);
}

fn declare(raw: &mut Raw, flags: u8) {
    let queue = short(&queue_name());
    let arguments = [&[0, 0], &queue[..], &[flags, 0, 0, 0, 0]].concat();
    raw.send(&method(1, 50, 10, &arguments));
    raw.expect(50, 11);
}

fn open_amqp_consumer(
    scenario: &Scenario,
    addr: SocketAddr,
    ack_every: u64,
    prefetch: u16,
) -> anyhow::Result<Reader> {
    let mut raw = Raw::amqp(addr);
    let queue = short(&queue_name());
    let durable = matches!(scenario.publish, Publish::AmqpConfirmed { .. });
    // What goes with its connection is not kept on disk, durable or not.
    let flags = if durable { DURABLE } else { EXCLUSIVE };
    declare(&mut raw, flags);
    if matches!(
        scenario.publish,
        Publish::MqttQos0 | Publish::MqttQos1 { .. }
    ) {
        let (exchange, key) = (short(MQTT_EXCHANGE), short(KEY));
        let arguments = [&[0, 0], &queue[..], &exchange, &key, &[0, 0, 0, 0, 0]].concat();
        raw.send(&method(1, 50, 20, &arguments));
        raw.expect(50, 21);
    }
    if prefetch > 0 {
        let arguments = [&[0; 4][..], &prefetch.to_be_bytes(), &[0]].concat();
        raw.send(&method(1, 60, 10, &arguments));
        raw.expect(60, 11);
    }
    let no_ack = if ack_every == 0 { 2 } else { 0 };
    let arguments = [&[0, 0], &queue[..], &short("c"), &[no_ack, 0, 0, 0, 0]].concat();
    raw.send(&method(1, 60, 20, &arguments));
    raw.expect(60, 21);
    let mut reader = Reader::new(ready(raw)?, count_amqp);
    reader.counts.ack_every = ack_every;
    Ok(reader)
}

/// Connects the publisher. The reader counts its confirms.
pub(crate) fn open_publisher(
    scenario: &Scenario,
    target: &Target,
) -> anyhow::Result<(Writer, Reader)> {
    let body = vec![b'x'; scenario.body_bytes];
    let (stream, publish, packet_id_at, parse): (_, _, _, fn(&mut _, &_) -> _) =
        match scenario.publish {
            Publish::Amqp(route) => {
                let (exchange, key) = match route {
                    Route::Queue => ("", queue_name()),
                    Route::Topic => (MQTT_EXCHANGE, KEY.to_owned()),
                };
                let publish = amqp_publish(exchange, &key, 1, &body);
                (ready(Raw::amqp(target.amqp))?, publish, None, count_amqp)
            }
            Publish::AmqpConfirmed { .. } => {
                let mut raw = Raw::amqp(target.amqp);
                raw.send(&method(1, 85, 10, &[0]));
                raw.expect(85, 11);
                (
                    ready(raw)?,
                    amqp_publish("", &queue_name(), 2, &body),
                    None,
                    count_amqp,
                )
            }
            Publish::MqttQos0 => {
                let raw = Raw::mqtt(target.mqtt, 4, "bench-publisher");
                let publish = packet(0x30, &[&string(TOPIC)[..], &body].concat());
                (ready(raw)?, publish, None, count_mqtt)
            }
            Publish::MqttQos1 { .. } => {
                let raw = Raw::mqtt(target.mqtt, 4, "bench-publisher");
                let publish = packet(0x32, &[&string(TOPIC)[..], &[0, 0], &body].concat());
                let packet_id_at = publish.len() - body.len() - 2;
                (ready(raw)?, publish, Some(packet_id_at), count_mqtt)
            }
        };
    let reader = Reader::new(stream.try_clone()?, parse);
    Ok((Writer::new(stream, &publish, packet_id_at), reader))
}

fn ready(raw: Raw) -> anyhow::Result<TcpStream> {
    let stream = raw.into_stream();
    stream.set_read_timeout(Some(SILENCE))?;
    stream.set_write_timeout(Some(SILENCE))?;
    Ok(stream)
}

/// Frames of a publish that says nothing but its delivery mode.
pub(crate) fn amqp_publish(exchange: &str, key: &str, delivery_mode: u8, body: &[u8]) -> Vec<u8> {
    let arguments = [&[0, 0][..], &short(exchange), &short(key), &[0]].concat();
    let size = (body.len() as u64).to_be_bytes();
    // Of all properties only the delivery mode.
    let header = [&[0, 60, 0, 0][..], &size, &[0x10, 0, delivery_mode]].concat();
    let frames = [
        method(1, 60, 40, &arguments),
        frame(FRAME_HEADER, 1, &header),
        frame(FRAME_BODY, 1, body),
    ];
    frames.concat()
}

/// Counts AMQP frames; returns how many bytes of whole frames there were.
fn count_amqp(counts: &mut Counts, bytes: &[u8]) -> anyhow::Result<usize> {
    let mut at = 0;
    while let Some(head) = bytes.get(at..at + 7) {
        let size = u32::from_be_bytes([head[3], head[4], head[5], head[6]]) as usize;
        let Some(payload) = bytes.get(at + 7..at + 7 + size) else {
            break;
        };
        if bytes.len() < at + size + 8 {
            break;
        }
        match head[0] {
            FRAME_METHOD => count_method(counts, payload)?,
            FRAME_HEADER => {
                counts.body_left = u64_at(payload, 4);
                if counts.body_left == 0 {
                    on_amqp_message(counts);
                }
            }
            FRAME_BODY => {
                counts.body_left -= size as u64;
                if counts.body_left == 0 {
                    on_amqp_message(counts);
                }
            }
            _ => {}
        }
        at += size + 8;
    }
    Ok(at)
}

fn count_method(counts: &mut Counts, payload: &[u8]) -> anyhow::Result<()> {
    match [payload[1], payload[3]] {
        // basic.deliver
        [60, 60] => counts.tag = u64_at(payload, 5 + usize::from(payload[4])),
        // basic.ack
        [60, 80] => {
            let multiple = payload[12] & 1 == 1;
            let up_to = u64_at(payload, 4).max(counts.confirmed);
            counts.confirmed = if multiple {
                up_to
            } else {
                counts.confirmed + 1
            };
        }
        [60, 120] => bail!("the broker refused a publish"),
        [10, 50] | [20, 40] => {
            let text = &payload[7..7 + usize::from(payload[6])];
            bail!("the broker closed: {}", String::from_utf8_lossy(text));
        }
        _ => {}
    }
    Ok(())
}

fn on_amqp_message(counts: &mut Counts) {
    counts.messages += 1;
    if counts.ack_every == 0 {
        return;
    }
    counts.unacked += 1;
    if counts.unacked >= counts.ack_every {
        counts.unacked = 0;
        let arguments = [&counts.tag.to_be_bytes()[..], &[1]].concat();
        counts
            .answer
            .extend_from_slice(&method(1, 60, 80, &arguments));
    }
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    u64::from_be_bytes(number)
}

/// Counts MQTT packets; returns how many bytes of whole packets there were.
fn count_mqtt(counts: &mut Counts, bytes: &[u8]) -> anyhow::Result<usize> {
    let mut at = 0;
    while let Some((content_at, end)) = mqtt_bounds(bytes, at) {
        let content = &bytes[content_at..end];
        match bytes[at] >> 4 {
            3 => {
                counts.messages += 1;
                if bytes[at] & 0x06 != 0 {
                    let id_at = 2 + usize::from(u16::from_be_bytes([content[0], content[1]]));
                    counts
                        .answer
                        .extend_from_slice(&[0x40, 2, content[id_at], content[id_at + 1]]);
                }
            }
            4 => counts.confirmed += 1,
            kind => bail!("a packet of type {kind}"),
        }
        at = end;
    }
    Ok(at)
}

/// Where the content of the packet at `at` begins and ends, if all of it is there.
fn mqtt_bounds(bytes: &[u8], at: usize) -> Option<(usize, usize)> {
    let mut length = 0;
    for (index, shift) in [0, 7, 14, 21].into_iter().enumerate() {
        let byte = *bytes.get(at + 1 + index)?;
        length |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            let content_at = at + 2 + index;
            let end = content_at + length;
            return (end <= bytes.len()).then_some((content_at, end));
        }
    }
    None
}
