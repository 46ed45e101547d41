//! A disk that becomes full.

use std::process::Command;

use lapin::options::{BasicAckOptions, BasicPublishOptions, QueueDeleteOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Confirmation};

use crate::support::amqp::{counts, declare, drain, get, open, persistent, publish, send};
use crate::support::mqtt::{Device, Version};
use crate::support::node::{End, Node};
use crate::support::raw::{self, Raw, long, method, short};
use crate::support::soon;

/// More than any disk has, and less than what a number in the configuration can be.
const ALL: u64 = 1 << 62;

fn config(low: u64, min: u64) -> String {
    format!("[storage]\ndisk_free_low_bytes = {low}\ndisk_free_min_bytes = {min}\n")
}

/// A node with a durable queue of one message, on a disk that is short from the next start on.
async fn on_a_disk(low: u64, min: u64) -> Node {
    let mut node = Node::start("");
    let (connection, channel) = open(node.broker()).await;
    declare(&channel, "q", FieldTable::default()).await;
    send(&channel, "q", b"before").await;
    let mut session = crate::support::mqtt::Options::new(node.broker(), Version::V5, "s")
        .persistent()
        .connect()
        .await;
    session.subscribe("a/#", 1).await;
    session.disconnect().await;
    soon(connection.close(200, "done".into())).await.unwrap();
    node.end(End::Stopped);
    node.configure(&config(low, min));
    node.start_again();
    let log = node.broker().log().join("\n");
    assert!(log.contains("room on the disk changed"), "{log}");
    node
}

/// Logs in with the capability to hear of `connection.blocked`.
fn amqp_that_hears_of_blocking(node: &mut Node) -> Raw {
    let mut raw = Raw::connect(node.broker().amqp);
    raw.send(raw::AMQP_HEADER);
    raw.expect(10, 10);
    let capabilities = [&short("connection.blocked")[..], b"t\x01"].concat();
    let properties = [&short("capabilities")[..], b"F", &long(&capabilities)].concat();
    let start_ok = [
        long(&properties),
        short("PLAIN"),
        long(b"\0guest\0guest"),
        short("en_US"),
    ];
    raw.send(&method(0, 10, 11, &start_ok.concat()));
    let tune = raw.expect(10, 30).payload;
    raw.send(&method(0, 10, 31, &tune[4..12]));
    raw.send(&method(0, 10, 40, b"\x01/\x00\x00"));
    raw.expect(10, 41);
    raw.send(&method(1, 20, 10, b"\x00"));
    raw.expect(20, 11);
    raw.send(&method(1, 85, 10, b"\x00"));
    raw.expect(85, 11);
    raw
}

/// A persistent message through the default exchange.
fn publish_bytes(queue: &str, body: &[u8]) -> Vec<u8> {
    let publish = [&[0, 0][..], &short(""), &short(queue), &[0]].concat();
    let mut header = vec![0, 60, 0, 0];
    header.extend_from_slice(&u64::try_from(body.len()).unwrap().to_be_bytes());
    header.extend_from_slice(&[0x10, 0, 2]);
    [
        method(1, 60, 40, &publish),
        raw::frame(2, 1, &header),
        raw::frame(3, 1, body),
    ]
    .concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn low_on_disk_is_told_and_publishing_goes_on() {
    let mut node = on_a_disk(ALL, 0).await;
    let mut raw = amqp_that_hears_of_blocking(&mut node);
    raw.send(&publish_bytes("q", b"first"));
    let blocked = raw.expect(10, 60);
    assert_eq!(blocked.payload[4..], short("low on disk"));
    raw.expect(60, 80);
    raw.send(&publish_bytes("q", b"second"));
    raw.expect(60, 80);
    // lapin, once it is told, says nothing more on that connection.
    let (_blocked, channel) = open(node.broker()).await;
    send(&channel, "q", b"third").await;
    let mut device = Device::connect(node.broker(), Version::V5, "d").await;
    assert_eq!(device.publish("a/b", 1, b"taken").await, 0);
    let (_connection, channel) = open(node.broker()).await;
    let bodies: [&[u8]; 4] = [b"before", b"first", b"second", b"third"];
    assert_eq!(drain(&channel, "q").await, bodies);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_durable_messages_and_takes_everything_else() {
    let mut node = on_a_disk(ALL, ALL).await;
    let (_blocked, channel) = open(node.broker()).await;
    let refused = publish(&channel, "", "q", b"refused", persistent()).await;
    assert_eq!(refused, Confirmation::Nack(None));
    let (_blocked_too, channel) = open(node.broker()).await;
    let transient = publish(&channel, "", "q", b"transient", BasicProperties::default()).await;
    assert_eq!(transient, Confirmation::Ack(None));
    // What makes room goes on; lapin, once it is told, says nothing more on that connection.
    let (connection, channel) = open(node.broker()).await;
    let message = get(&channel, "q").await.unwrap();
    assert_eq!(message.data, b"before");
    soon(message.ack(BasicAckOptions::default())).await.unwrap();
    assert_eq!(drain(&channel, "q").await, [b"transient"]);
    let delete = channel.queue_delete("q".into(), QueueDeleteOptions::default());
    soon(delete).await.unwrap();
    soon(connection.close(200, "done".into())).await.unwrap();
    // And the end of it is kept.
    node.end(End::Killed);
    node.configure("");
    node.start_again();
    let (_connection, channel) = open(node.broker()).await;
    declare(&channel, "q", FieldTable::default()).await;
    assert_eq!(counts(&channel, "q").await.0, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_told_to_devices_as_far_as_their_protocol_can() {
    let mut node = on_a_disk(ALL, ALL).await;
    let mut five = Device::connect(node.broker(), Version::V5, "five").await;
    assert_eq!(five.publish("a/b", 1, b"refused").await, 0x97);
    assert_eq!(five.publish("nobody/there", 1, b"nobody").await, 0x10);
    // MQTT 3.1.1 has no word for it: the publisher is not told that it was taken.
    let mut three = Raw::mqtt(node.broker().mqtt, 4, "three");
    let publish = [&raw::string("a/b")[..], &[0, 7], b"withheld"].concat();
    three.send(&raw::packet(0x32, &publish));
    three.send(&raw::packet(0xC0, &[]));
    assert_eq!(
        three.packet().0,
        0xD0,
        "the ping is answered, the publish is not"
    );
    let mut session = crate::support::mqtt::Options::new(node.broker(), Version::V5, "s")
        .persistent()
        .connect()
        .await;
    assert!(session.session_present);
    five.publish("a/b", 0, b"transient").await;
    assert_eq!(session.next().await.payload, b"transient");
}

/// A small file system that vanishes with this value. None where that is not allowed.
struct Tmpfs(tempfile::TempDir);

impl Tmpfs {
    fn mount(options: &str) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", options, "ternmq-test"]);
        let mounted = mount.arg(directory.path()).output();
        mounted
            .is_ok_and(|output| output.status.success())
            .then_some(Self(directory))
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // Lazily: the broker may have its files open still.
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).output();
    }
}

/// Publishes until it is refused or the broker is gone. Returns how many were confirmed.
async fn publish_until_refused(node: &mut Node) -> usize {
    let (_connection, channel) = open(node.broker()).await;
    declare(&channel, "q", FieldTable::default()).await;
    let mut body = vec![1; 100_000];
    for number in 0_u32.. {
        body[..4].copy_from_slice(&number.to_be_bytes());
        let sent = soon(channel.basic_publish(
            "".into(),
            "q".into(),
            BasicPublishOptions::default(),
            &body,
            persistent(),
        ));
        let Ok(confirm) = sent.await else {
            return number as usize;
        };
        if !soon(confirm).await.is_ok_and(|confirm| confirm.is_ack()) {
            return number as usize;
        }
    }
    unreachable!("64 MiB hold less than that")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_is_really_full_loses_nothing_that_was_confirmed() {
    for min in [8 << 20, 0] {
        let Some(disk) = Tmpfs::mount("size=64m") else {
            eprintln!("skipped: a tmpfs cannot be mounted here");
            return;
        };
        let settings = format!("{}segment_bytes = 4194304\n", config(min, min));
        let data = disk.0.path().join("data");
        let mut node = Node::start_in(tempfile::tempdir().unwrap(), data, &settings);
        let confirmed = publish_until_refused(&mut node).await;
        assert!(confirmed > 200, "{confirmed} of 64 MiB");
        // What is left of the process, if it did not end by itself with the code that says so.
        let status = node.end_or_ended();
        if let Some(code) = status.code() {
            assert_eq!(code, 74, "nothing else ends it");
        }
        let remount = Command::new("mount")
            .args(["-o", "remount,size=128m"])
            .arg(disk.0.path())
            .status();
        assert!(remount.unwrap().success());
        node.start_again();
        let (connection, channel) = open(node.broker()).await;
        let left = drain(&channel, "q").await;
        let numbers = left
            .iter()
            .map(|body| u32::from_be_bytes(body[..4].try_into().unwrap()));
        let numbers: Vec<_> = numbers.map(|number| number as usize).collect();
        let expected: Vec<_> = (0..numbers.len()).collect();
        assert_eq!(numbers, expected, "in order");
        assert!(
            numbers.len() >= confirmed,
            "{} of {confirmed} confirmed",
            numbers.len()
        );
        // And it goes on.
        let channel = crate::support::amqp::channel(&connection).await;
        // The room is looked at now and then.
        let goes_on = async {
            while !publish(&channel, "", "q", b"after", persistent())
                .await
                .is_ack()
            {}
        };
        soon(goes_on).await;
        drop(node);
    }
}
