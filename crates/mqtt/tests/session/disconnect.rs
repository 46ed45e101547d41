//! DISCONNECT (§3.14) and the end of a connection.

use ternmq_broker::mailbox::CloseReason;
use ternmq_mqtt::reason_code::ReasonCode;

use crate::harness::{Hello, Post, V311, World};

#[test]
fn disconnect_without_a_body_is_normal_in_every_version() {
    let world = World::new();
    world.v5("a").disconnect();
    world.v3("a").disconnect();
    let mut device = world.v5("a");
    device.disconnect_with(ReasonCode::NORMAL_DISCONNECTION, &[]);
    assert!(device.is_closed());
}

#[test]
fn nothing_is_answered_and_nothing_read_after_it() {
    let world = World::new();
    let mut subscriber = world.v5("s");
    subscriber.subscribe("t", 0);
    let mut device = world.v5("a");
    let mut bytes = Post::new("t", "before").encode(device.version);
    bytes.extend_from_slice(&[0xE0, 0]);
    bytes.extend(Post::new("t", "after").encode(device.version));
    device.send(&bytes);
    assert!(device.recv_bytes().is_empty() && device.is_closed());
    assert_eq!(subscriber.recv(), ["PUBLISH t=before q0"]);
}

#[test]
fn bad_packet_is_answered_once_and_nothing_is_read_behind_it() {
    let world = World::new();
    let mut subscriber = world.v5("s");
    subscriber.subscribe("t", 0);
    let mut device = world.v5("a");
    let mut bytes = Post::new("t", "before").encode(device.version);
    bytes.extend_from_slice(&[0x00, 0, 0x00, 0]);
    bytes.extend(Post::new("t", "after").encode(device.version));
    device.send(&bytes);
    assert_eq!(device.recv(), ["DISCONNECT 81"]);
    assert!(device.is_closed());
    assert_eq!(subscriber.recv(), ["PUBLISH t=before q0"]);
}

#[test]
fn shutdown_is_told_and_sessions_are_kept() {
    let world = World::new();
    let hello = Hello::new("a").expiry(60);
    let mut device = world.connect(&hello);
    device.shut_down();
    assert_eq!(device.recv(), ["DISCONNECT 8B"]);
    assert!(device.is_closed());
    assert_eq!(world.dial().greet(&hello.resume()), ["CONNACK 00 present"]);
    let mut old = world.connect(&Hello::new("b").version(V311));
    old.shut_down();
    assert!(old.recv_bytes().is_empty() && old.is_closed());
    let mut silent = world.dial();
    silent.shut_down();
    assert!(silent.recv_bytes().is_empty() && silent.is_closed());
}

#[test]
fn administrative_close_is_told() {
    let world = World::new();
    let mut device = world.v5("a");
    world
        .broker
        .close_all(&CloseReason::Administrative("maintenance".into()));
    assert_eq!(device.recv(), ["DISCONNECT 98"]);
    assert!(device.is_closed());
}
