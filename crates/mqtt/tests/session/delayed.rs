//! `$delayed/SECONDS/TOPIC`: publishing later.

use crate::harness::{Hello, Post, V311, World};

fn publish_and_wait(world: &World, post: &Post<'_>) -> (Vec<String>, Vec<String>) {
    let mut subscriber = world.v5("s");
    subscriber.subscribe("t/#", 2);
    let mut publisher = world.v5("p");
    publisher.publish(post);
    let answer = publisher.recv();
    publisher.drop_line();
    world.pass(4_999);
    assert!(subscriber.recv().is_empty());
    world.pass(1);
    (answer, subscriber.recv())
}

#[test]
fn message_is_published_when_its_time_has_come() {
    let world = World::new();
    let (answer, received) = publish_and_wait(&world, &Post::new("$delayed/5/t/a", "x").qos1(1));
    assert_eq!(answer, ["PUBACK 1"]);
    assert_eq!(received, ["PUBLISH t/a=x q1 id1"]);
    let (answer, received) = publish_and_wait(&world, &Post::new("$delayed/5/t/a", "x"));
    assert!(answer.is_empty());
    assert_eq!(received, ["PUBLISH t/a=x q0"]);
    let (answer, received) = publish_and_wait(&world, &Post::new("$delayed/5/t/a", "x").qos2(1));
    assert_eq!(answer, ["PUBREC 1"]);
    assert_eq!(received, ["PUBLISH t/a=x q2 id1"]);
}

#[test]
fn who_subscribes_until_then_gets_it() {
    let world = World::new();
    world
        .v5("p")
        .publish(&Post::new("$delayed/5/t", "x").qos1(1));
    let mut subscriber = world.v5("s");
    subscriber.subscribe("t", 0);
    subscriber.subscribe("$delayed/#", 0);
    world.pass(5_000);
    assert_eq!(subscriber.recv(), ["PUBLISH t=x q0"]);
}

#[test]
fn retained_message_is_retained_from_then_on() {
    let world = World::new();
    world
        .v5("p")
        .publish(&Post::new("$delayed/5/t", "x").qos1(1).retain());
    assert_eq!(world.v5("s").subscribe("t", 0), ["SUBACK 1 [00]"]);
    world.pass(5_000);
    assert_eq!(
        world.v5("s").subscribe("t", 0),
        ["SUBACK 1 [00]", "PUBLISH t=x q0 retain"]
    );
}

#[test]
fn message_that_was_acknowledged_survives_a_restart() {
    let world = World::new();
    let hello = Hello::new("s").expiry(60);
    world.connect(&hello).subscribe("t", 1);
    let mut publisher = world.v5("p");
    publisher.publish(&Post::new("$delayed/5/t", "x").qos1(1));
    assert_eq!(publisher.recv(), ["PUBACK 1"]);
    let world = world.crash();
    let mut subscriber = world.connect(&hello.resume());
    assert!(subscriber.recv().is_empty());
    world.pass(5_000);
    assert_eq!(subscriber.recv(), ["PUBLISH t=x q1 id1"]);
}

#[test]
fn delay_that_is_none_is_no_topic() {
    let world = World::new();
    let mut watcher = world.v5("w");
    watcher.subscribe("#", 0);
    for topic in [
        "$delayed/x/t",
        "$delayed/-1/t",
        "$delayed//t",
        "$delayed/5",
        "$delayed/5/",
        "$delayed/315360001/t",
        "$delayed/99999999999999999999/t",
        "$delayed/5/$SYS/broker/version",
    ] {
        let mut device = world.v5("p");
        device.publish(&Post::new(topic, "x").qos1(1));
        assert_eq!(device.recv(), ["PUBACK 1 90"], "{topic}");
        let mut device = world.connect(&Hello::new("p").version(V311));
        device.publish(&Post::new(topic, "x").qos1(1));
        assert_eq!(device.recv(), ["PUBACK 1"], "MQTT 3 has no word for it");
    }
    world.pass(10_000);
    assert!(watcher.recv().is_empty());
}
