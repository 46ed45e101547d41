//! What others see of MQTT connections.

use ternmq_broker::inspect::{ConnectionSnapshot, ConnectionState, Protocol};

use crate::harness::*;

fn only(world: &World) -> ConnectionSnapshot {
    let all = world.broker.inspect().connections(None);
    assert_eq!(all.len(), 1);
    all.into_iter().next().unwrap()
}

#[test]
fn connection_says_who_the_client_is_and_what_it_was_granted() {
    let world = World::new();
    let hello = Hello::new("dev")
        .expiry(60)
        .keep_alive(30)
        .will("w", "gone");
    let mut device = world.connect(&hello);
    let seen = only(&world);
    assert_eq!(seen.info.protocol.text(), "MQTT 5-0");
    assert_eq!(&*seen.name, "127.0.0.1:50000 -> 127.0.0.1:1883");
    assert_eq!((seen.info.timeout_s, seen.channels), (30, 0));
    assert_eq!(seen.state, ConnectionState::Running);
    let mqtt = seen.info.mqtt.as_deref().unwrap();
    assert_eq!((&*mqtt.client_id, mqtt.session_expiry_s), ("dev", 60));
    assert!(mqtt.clean_start && mqtt.has_will);
    assert_eq!(seen.subscriptions, 0);
    device.subscribe("a/#", 1);
    device.subscribe("b", 0);
    assert_eq!(only(&world).subscriptions, 2);
    device.unsubscribe("b");
    assert_eq!(only(&world).subscriptions, 1);
    let consumers = world.broker.inspect().consumers(None);
    assert_eq!(consumers.len(), 1);
    assert_eq!(&*consumers[0].label.tag, "mqtt");
    assert_eq!(consumers[0].connection, seen.id);
    device.disconnect();
    assert!(world.broker.inspect().connections(None).is_empty());
    let again = world.connect(&Hello::new("dev").resume().expiry(60));
    assert_eq!(only(&world).subscriptions, 1, "the session's");
    again.vanish();
    let churn = world.broker.inspect().churn();
    assert_eq!((churn.connections_opened, churn.connections_closed), (2, 2));
}

#[test]
fn messages_are_counted_by_the_version_that_is_spoken() {
    let world = World::new();
    let mut subscriber = world.v5("sub");
    subscriber.subscribe("t", 1);
    let mut publisher = world.v3("pub");
    publisher.publish(&Post::new("t", "1").qos1(1));
    publisher.publish(&Post::new("t", "2"));
    publisher.publish(&Post::new("nowhere", "3").qos1(2));
    publisher.recv();
    subscriber.recv();
    subscriber.puback(1);
    let totals = |protocol| world.broker.inspect().protocol_totals(protocol);
    let came = totals(Protocol::Mqtt311);
    assert_eq!((came.received, came.received_confirm), (3, 1));
    assert_eq!((came.routed, came.confirmed), (2, 2));
    assert_eq!(came.unroutable_dropped, 1);
    let went = totals(Protocol::Mqtt50);
    assert_eq!(went.received, 0);
    let kind = went.kinds[0];
    assert_eq!((kind.consumed_manual, kind.consumed_auto), (1, 1));
    assert_eq!(kind.acknowledged, 1);
    let all = world.broker.inspect().connections(None);
    let published: Vec<_> = all.iter().map(|c| (c.published, c.delivered)).collect();
    assert_eq!(published, [(0, 2), (3, 0)]);
}
