//! `$queue/NAME`: consuming a queue that is there without the subscription.

use ternmq_broker::{Client, Turn};
use ternmq_core::message::NewMessage;
use ternmq_core::routing::RouteRequest;
use ternmq_core::routing::key::KeySyntax;
use ternmq_core::topology::QueueDecl;
use ternmq_core::value::{Headers, Value};
use ternmq_mqtt::frame::PacketType::PubAck;
use ternmq_mqtt::reason_code::ReasonCode;

use crate::harness::{Hello, Post, V311, World};

fn declare(client: &mut Client, name: &str, dead_letter_to: Option<&str>) {
    let mut arguments = Headers::new();
    if let Some(queue) = dead_letter_to {
        arguments.push("x-dead-letter-exchange", Value::text(""));
        arguments.push("x-dead-letter-routing-key", Value::text(queue));
    }
    client
        .declare_queue(QueueDecl {
            name: name.into(),
            durable: true,
            exclusive: None,
            auto_delete: false,
            arguments,
        })
        .unwrap();
}

/// Publishes to a queue as AMQP does, transient unless it says otherwise.
fn send(world: &World, client: &mut Client, queue: &str, body: &str) {
    let request = RouteRequest {
        exchange: b"",
        routing_key: queue.as_bytes(),
        key_syntax: KeySyntax::Dotted,
        extra_keys: &[],
        headers: &Headers::new,
        properties: &ternmq_core::message::Properties::default,
        publisher: None,
        from_client: true,
    };
    let now = ternmq_broker::clock::Clock::now(&*world.clock);
    let route = client.route(&request).unwrap();
    let mut message = NewMessage::plain(b"", queue.as_bytes(), body.as_bytes());
    message.received_at = now;
    let mut turn = Turn::new();
    turn.push(message.build(&mut Vec::new()), route);
    client.publish(&mut turn, now);
}

/// Bodies of a queue, in order.
fn drain(client: &mut Client, queue: &str) -> Vec<String> {
    std::iter::from_fn(|| client.get(queue, true).unwrap())
        .map(|got| String::from_utf8_lossy(got.delivery.message.body()).into_owned())
        .collect()
}

#[test]
fn queue_is_consumed_and_puback_acknowledges() {
    let world = World::new();
    let mut amqp = world.native();
    declare(&mut amqp, "work", None);
    send(&world, &mut amqp, "work", "1");
    let mut device = world.v5("a");
    let received = device.subscribe("$queue/work", 1);
    assert_eq!(
        received,
        [
            "SUBACK 1 [01]",
            "PUBLISH $queue/work=1 q1 id1 x-routing-key:work"
        ]
    );
    send(&world, &mut amqp, "work", "2");
    assert_eq!(device.recv().len(), 1);
    device.puback(1);
    device.drop_line();
    assert_eq!(
        drain(&mut amqp, "work"),
        ["2"],
        "what is not acknowledged is released"
    );
}

#[test]
fn qos_is_1_at_most_and_with_0_messages_are_gone_when_sent() {
    let world = World::new();
    let mut amqp = world.native();
    declare(&mut amqp, "work", None);
    let mut device = world.v3("a");
    assert_eq!(device.subscribe("$queue/work", 2), ["SUBACK 1 [01]"]);
    send(&world, &mut amqp, "work", "1");
    assert_eq!(device.recv(), ["PUBLISH $queue/work=1 q1 id1"]);
    device.puback(1);
    assert_eq!(device.subscribe("$queue/work", 0), ["SUBACK 1 [00]"]);
    send(&world, &mut amqp, "work", "2");
    assert_eq!(device.recv(), ["PUBLISH $queue/work=2 q0"]);
    device.drop_line();
    assert!(drain(&mut amqp, "work").is_empty());
}

#[test]
fn puback_with_an_error_rejects_and_that_dead_letters() {
    let world = World::new();
    let mut amqp = world.native();
    declare(&mut amqp, "dead", None);
    declare(&mut amqp, "work", Some("dead"));
    let mut device = world.v5("a");
    device.subscribe("$queue/work", 1);
    for body in ["1", "2"] {
        send(&world, &mut amqp, "work", body);
    }
    assert_eq!(device.recv().len(), 2);
    device.ack_with(PubAck, 1, ReasonCode::UnspecifiedError);
    device.ack_with(PubAck, 2, ReasonCode::NoMatchingSubscribers);
    device.drop_line();
    assert!(drain(&mut amqp, "work").is_empty());
    assert_eq!(drain(&mut amqp, "dead"), ["1"]);
}

#[test]
fn unsubscribing_releases_what_was_not_sent_and_disconnecting_the_rest() {
    let world = World::with(ternmq_mqtt::MqttConfig {
        in_flight_max: 2,
        ..Default::default()
    });
    let mut amqp = world.native();
    declare(&mut amqp, "work", None);
    let mut device = world.v5("a");
    device.subscribe("$queue/work", 1);
    for body in ["1", "2", "3", "4"] {
        send(&world, &mut amqp, "work", body);
    }
    assert_eq!(device.recv().len(), 2);
    assert_eq!(device.unsubscribe("$queue/work"), ["UNSUBACK 2 [00]"]);
    assert_eq!(drain(&mut amqp, "work"), ["3", "4"]);
    device.puback(1);
    assert!(device.recv().is_empty());
    device.drop_line();
    assert_eq!(drain(&mut amqp, "work"), ["2"]);
}

#[test]
fn consumers_of_both_protocols_share_a_queue() {
    let world = World::new();
    let mut amqp = world.native();
    declare(&mut amqp, "work", None);
    let (mut a, mut b) = (world.v5("a"), world.connect(&Hello::new("b").version(V311)));
    a.subscribe("$queue/work", 1);
    b.subscribe("$queue/work", 1);
    for n in 0..10 {
        send(&world, &mut amqp, "work", &n.to_string());
    }
    let (a, b) = (a.recv().len(), b.recv().len());
    assert!(a > 0 && b > 0 && a + b == 10, "{a} {b}");
}

#[test]
fn queue_that_is_not_there_and_a_filter_that_names_none_are_refused() {
    let world = World::new();
    let mut device = world.v5("a");
    assert_eq!(device.subscribe("$queue/none", 1), ["SUBACK 1 [83]"]);
    for filter in ["$queue/", "$queue/+", "$queue/a/#"] {
        assert_eq!(device.subscribe(filter, 1), ["SUBACK 1 [8F]"], "{filter}");
    }
    let mut device = world.v3("b");
    assert_eq!(device.subscribe("$queue/none", 1), ["SUBACK 1 [80]"]);
    assert!(!device.is_closed());
}

#[test]
fn session_that_is_kept_goes_on_consuming_also_after_a_restart() {
    let world = World::new();
    let hello = Hello::new("a").expiry(60);
    let mut amqp = world.native();
    declare(&mut amqp, "work", None);
    let mut device = world.connect(&hello);
    device.subscribe("$queue/work", 1);
    device.drop_line();
    send(&world, &mut amqp, "work", "1");
    let mut device = world.connect(&hello.clone().resume());
    assert_eq!(
        device.recv(),
        ["PUBLISH $queue/work=1 q1 id1 x-routing-key:work"]
    );
    device.puback(1);
    let world = world.crash();
    let mut device = world.connect(&hello.resume());
    send(&world, &mut world.native(), "work", "2");
    let received = device.recv();
    assert!(
        received[0].starts_with("PUBLISH $queue/work=2 q1"),
        "{received:?}"
    );
    assert_eq!(device.unsubscribe("$queue/work"), ["UNSUBACK 2 [00]"]);
    device.drop_line();
    assert_eq!(drain(&mut world.native(), "work"), ["2"]);
}

#[test]
fn publishing_to_it_is_publishing_to_a_topic_like_any() {
    let world = World::new();
    let mut amqp = world.native();
    declare(&mut amqp, "work", None);
    let mut device = world.v5("a");
    device.publish(&Post::new("$queue/work", "x").qos1(1));
    assert_eq!(device.recv(), ["PUBACK 1 10"]);
    assert!(drain(&mut amqp, "work").is_empty());
}
