//! Bytes no client would send: each costs its own connection, and nothing else.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use std::fs;
use std::net::SocketAddr;

use support::Ternmq;
use support::raw::{
    AMQP_HEADER, Frame, Raw, frame, long, method, mqtt_connect, mqtt_publish, mqtt_subscribe,
    packet, queue_declare, short, start_ok, string,
};

/// Connections that talk garbage side by side with a good client.
const GARBAGE_CONNECTIONS: usize = 200;

/// Garbage each of them sends, in bytes.
const GARBAGE_BYTES: usize = 64 * 1024;

/// What all that garbage may add to the memory of the process, in KiB.
const GARBAGE_MEMORY_KIB_MAX: u64 = 64 * 1024;

/// What one lie about a length may add to the memory of the process, in KiB.
const LIE_MEMORY_KIB_MAX: u64 = 32 * 1024;

/// The process's resident memory in KiB.
fn resident_kib(broker: &Ternmq) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", broker.pid())).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// An AMQP and an MQTT client meet, as they always do.
fn assert_serves(broker: &Ternmq) {
    let mut device = Raw::mqtt(broker.mqtt, 4, "good");
    device.send(&mqtt_subscribe(4, "is/alive", 0));
    assert_eq!(device.packet().0, 0x90);
    let mut client = Raw::amqp(broker.amqp);
    client.send(&publish("amq.topic", "is.alive", b"yes"));
    let (kind, content) = device.packet();
    assert_eq!(
        (kind, content),
        (0x30, [&string("is/alive")[..], b"yes"].concat())
    );
    client.send(&method(0, 10, 50, b"\x00\xc8\x03bye\x00\x00\x00\x00"));
    client.expect(10, 51);
    device.send(&packet(0xE0, b""));
    assert_eq!(device.rest(), b"");
}

/// Nothing was logged that a person has to look at, and no task panicked.
fn assert_calm(broker: &mut Ternmq) {
    for line in broker.log() {
        assert!(
            !line.contains("panicked") && !line.contains(" ERROR "),
            "{line}"
        );
    }
}

/// Of each of these connections there is one line in the log.
fn assert_one_line_each(broker: &mut Ternmq, peers: &[SocketAddr]) {
    for peer in peers {
        let name = format!("peer={peer} ");
        if !broker.log().iter().any(|line| line.contains(&name)) {
            broker.wait_for_log(&name);
        }
    }
    // Whatever more there was to say has been said when the next clients are served.
    assert_serves(broker);
    for peer in peers {
        let name = format!("peer={peer} ");
        let lines: Vec<_> = broker
            .log()
            .iter()
            .filter(|line| line.contains(&name))
            .collect();
        assert_eq!(lines.len(), 1, "{lines:?}");
    }
}

/// A publish of a transient message on channel 1.
fn publish(exchange: &str, key: &str, body: &[u8]) -> Vec<u8> {
    let arguments = [&[0, 0][..], &short(exchange), &short(key), &[0]].concat();
    [
        method(1, 60, 40, &arguments),
        content_header(body.len() as u64),
        frame(3, 1, body),
    ]
    .concat()
}

fn content_header(size: u64) -> Vec<u8> {
    frame(
        2,
        1,
        &[&[0, 60, 0, 0][..], &size.to_be_bytes(), &[0, 0]].concat(),
    )
}

/// Sends these bytes after the login and returns the answer: a close.
fn amqp_answer(addr: SocketAddr, bytes: &[u8]) -> Frame {
    let mut raw = Raw::amqp(addr);
    raw.send(bytes);
    let answer = raw.frame();
    if answer.method() == (10, 50) {
        raw.send(&method(0, 10, 51, b""));
        assert_eq!(raw.rest(), b"", "nothing follows the close-ok");
    }
    answer
}

#[test]
fn garbage_in_place_of_a_protocol_header_is_answered_with_the_right_one() {
    let mut broker = Ternmq::start(&[]);
    let mut peers = Vec::new();
    for garbage in [
        &b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"[..],
        b"AMQP\x00\x00\x09\x00",
        b"AMQP\x00\x01\x00\x00",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        &[0; 64],
        &[0xff; 64],
    ] {
        let mut raw = Raw::connect(broker.amqp);
        peers.push(raw.local_addr());
        raw.send(garbage);
        assert_eq!(raw.rest(), AMQP_HEADER, "{garbage:?}");
    }
    assert_one_line_each(&mut broker, &peers);
    assert_calm(&mut broker);
}

#[test]
fn garbage_in_place_of_a_connect_closes_without_a_word() {
    let mut broker = Ternmq::start(&[]);
    let mut peers = Vec::new();
    for garbage in [
        &b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"[..],
        AMQP_HEADER,
        &[0; 64],
        &[0xff; 64],
        b"\x10\xff\xff\xff\xff\x7f",
        // CONNACK, PUBLISH, SUBSCRIBE and PINGREQ in place of the CONNECT.
        b"\x20\x02\x00\x00",
        b"\x30\x03\x00\x01a",
        b"\x82\x06\x00\x01\x00\x01a\x00",
        b"\xc0\x00",
    ] {
        let mut raw = Raw::connect(broker.mqtt);
        peers.push(raw.local_addr());
        raw.send(garbage);
        assert_eq!(raw.rest(), b"", "{garbage:?}");
    }
    assert_one_line_each(&mut broker, &peers);
    assert_calm(&mut broker);
}

#[test]
fn half_a_login_ends_with_its_time() {
    let config = "[amqp]\nhandshake_timeout_ms = 200\n[mqtt]\nconnect_timeout_ms = 200\n";
    let mut broker = Ternmq::start_with_config(config, &[]);
    let mut peers = Vec::new();
    for half in [
        &b""[..],
        b"AMQP",
        &[&AMQP_HEADER[..], b"\x01\x00\x00\x00\x00"].concat(),
    ] {
        let mut raw = Raw::connect(broker.amqp);
        peers.push(raw.local_addr());
        raw.send(half);
        // It may say connection.start before it waits in vain.
        raw.rest();
    }
    assert_one_line_each(&mut broker, &peers);
    for half in [&b""[..], b"\x10", b"\x10\x20\x00\x04MQ"] {
        let mut raw = Raw::connect(broker.mqtt);
        raw.send(half);
        assert_eq!(raw.rest(), b"", "{half:?}");
    }
    assert_serves(&broker);
    assert_calm(&mut broker);
}

#[test]
fn connections_cut_in_the_middle_of_anything_leave_nothing_behind() {
    let mut broker = Ternmq::start(&[]);
    let amqp = [
        publish("amq.topic", "a", &[1; 100]),
        queue_declare("q", b""),
    ]
    .concat();
    for length in 0..amqp.len() {
        let mut raw = Raw::amqp(broker.amqp);
        raw.send(&amqp[..length]);
        drop(raw);
    }
    let mqtt = [
        mqtt_subscribe(5, "a/b", 1),
        mqtt_publish(5, "a/b", &[1; 20]),
    ]
    .concat();
    for length in 0..mqtt.len() {
        let mut raw = Raw::mqtt(broker.mqtt, 5, "cut");
        raw.send(&mqtt[..length]);
        drop(raw);
    }
    assert_serves(&broker);
    assert_calm(&mut broker);
}

#[test]
fn frames_larger_than_agreed_are_refused_before_they_come() {
    let mut broker = Ternmq::start(&[]);
    let before = resident_kib(&broker);
    for size in [200_000_u32, 0x7fff_ffff, 0xffff_ffff] {
        for kind in [1, 2, 3, 8] {
            let head = [&[kind, 0, 1][..], &size.to_be_bytes(), &[0; 100]].concat();
            let close = amqp_answer(broker.amqp, &head);
            assert_eq!(close.close().0, 501, "{close:?}");
        }
    }
    for level in [4, 5] {
        // 268,435,455 bytes to come, of which a few do.
        for kind in [0x30, 0x82, 0xA2] {
            let mut raw = Raw::mqtt(broker.mqtt, level, "large");
            raw.send(&[&[kind, 0xff, 0xff, 0xff, 0x7f][..], &[0; 100]].concat());
            let answer = raw.rest();
            if level == 5 {
                assert_eq!(answer[..3], [0xE0, answer[1], 0x95], "packet too large");
            } else {
                assert_eq!(answer, b"");
            }
        }
    }
    assert!(resident_kib(&broker) < before + LIE_MEMORY_KIB_MAX);
    assert_serves(&broker);
    assert_calm(&mut broker);
}

#[test]
fn bodies_that_lie_about_their_size_take_no_memory() {
    let mut broker = Ternmq::start(&[]);
    let before = resident_kib(&broker);
    let publish = method(1, 60, 40, b"\x00\x00\x00\x01q\x00");
    let mut open = Vec::new();
    for size in [1 << 20, 8 << 20, 16 << 20] {
        for _ in 0..20 {
            let mut raw = Raw::amqp(broker.amqp);
            raw.send(
                &[
                    &publish[..],
                    &content_header(size),
                    &frame(3, 1, b"first of many"),
                ]
                .concat(),
            );
            open.push(raw);
        }
    }
    let close = amqp_answer(
        broker.amqp,
        &[&publish[..], &content_header(u64::MAX)].concat(),
    );
    assert_eq!((close.channel, close.method()), (1, (20, 40)));
    assert_eq!(close.close().0, 406, "{close:?}");
    // More body than announced.
    let bodies = [&publish[..], &content_header(3), &frame(3, 1, b"four")].concat();
    let close = amqp_answer(broker.amqp, &bodies);
    assert!([501, 505].contains(&close.close().0), "{close:?}");
    assert_serves(&broker);
    assert!(resident_kib(&broker) < before + LIE_MEMORY_KIB_MAX);
    assert_calm(&mut broker);
}

#[test]
fn tables_nested_without_end_are_refused() {
    let mut broker = Ternmq::start(&[]);
    let mut table = Vec::new();
    // As deep as a frame allows: each level is a key, a type and a length.
    for _ in 0..10_000 {
        table = [&b"\x01kF"[..], &long(&table)].concat();
    }
    let mut array = Vec::new();
    for _ in 0..10_000 {
        array = [&b"A"[..], &long(&array)].concat();
    }
    let array = [&b"\x01k"[..], &array].concat();
    for arguments in [&table, &array] {
        let close = amqp_answer(broker.amqp, &queue_declare("q", arguments));
        assert_eq!(close.method(), (10, 50));
        assert!([501, 502].contains(&close.close().0), "{close:?}");
        let mut raw = Raw::connect(broker.amqp);
        raw.send(AMQP_HEADER);
        raw.expect(10, 10);
        let login = [long(arguments), start_ok()[4..].to_vec()].concat();
        raw.send(&method(0, 10, 11, &login));
        // Before the login is through, silence is as good as a word.
        raw.rest();
    }
    assert_serves(&broker);
    assert_calm(&mut broker);
}

#[test]
fn lengths_that_point_beyond_their_frame_are_refused() {
    let mut broker = Ternmq::start(&[]);
    for arguments in [
        // A table, a key, a text, an array and a nested table, each longer than what follows.
        &b"\xff\xff\xff\xff"[..],
        b"\x00\x00\x00\x05\xffkS\x00\x00",
        b"\x00\x00\x00\x08\x01kS\xff\xff\xff\xff\x00",
        b"\x00\x00\x00\x08\x01kA\xff\xff\xff\xff\x00",
        b"\x00\x00\x00\x08\x01kF\x7f\xff\xff\xff\x00",
        // A type nobody knows.
        b"\x00\x00\x00\x03\x01k?",
        // Nothing at all.
        b"",
    ] {
        let declare = [&b"\x00\x00\x01q\x00"[..], arguments].concat();
        let close = amqp_answer(broker.amqp, &method(1, 50, 10, &declare));
        assert_eq!(close.method(), (10, 50), "{arguments:?}");
        assert!([501, 502].contains(&close.close().0), "{close:?}");
    }
    assert_serves(&broker);
    assert_calm(&mut broker);
}

#[test]
fn frames_out_of_turn_get_the_protocols_own_error() {
    let mut broker = Ternmq::start(&[]);
    let get = method(7, 60, 70, b"\x00\x00\x01q\x00");
    let publish_only = method(1, 60, 40, b"\x00\x00\x00\x01q\x00");
    let bad_end = [&method(1, 20, 10, b"\x00")[..12], &[0]].concat();
    for (bytes, codes, what) in [
        (get, &[504][..], "a method on a channel that is not open"),
        (content_header(1), &[505], "a header without a method"),
        (frame(3, 1, b"x"), &[505], "a body without a header"),
        (
            [&publish_only[..], &method(1, 20, 10, b"\x00")].concat(),
            &[505, 504],
            "no content",
        ),
        (method(1, 20, 10, b"\x00"), &[504], "a channel opened twice"),
        (
            method(1, 99, 99, b""),
            &[540, 503, 501, 502],
            "an unknown class",
        ),
        (
            method(1, 50, 99, b""),
            &[540, 503, 501, 502],
            "an unknown method",
        ),
        (frame(9, 1, b""), &[501], "an unknown kind of frame"),
        (bad_end, &[501], "a frame with another end"),
        (
            method(0, 50, 10, b""),
            &[503, 504, 501, 502],
            "a method of queues on channel 0",
        ),
    ] {
        let close = amqp_answer(broker.amqp, &bytes);
        assert_eq!((close.channel, close.method()), (0, (10, 50)), "{what}");
        assert!(codes.contains(&close.close().0), "{what}: {close:?}");
    }
    assert_serves(&broker);
    assert_calm(&mut broker);
}

#[test]
fn mqtt_packets_out_of_turn_end_their_connection_with_a_reason() {
    let mut broker = Ternmq::start(&[]);
    for (bytes, what) in [
        (mqtt_connect(5, "again"), "a second CONNECT"),
        (packet(0x20, &[0, 0, 0]), "a CONNACK"),
        (packet(0x00, &[]), "packet type 0"),
        (packet(0x36, &[0, 1, b'a', 0, 1, 0]), "QoS 3"),
        (
            packet(0x30, &[&string("a/#")[..], &[0]].concat()),
            "a wildcard in a topic name",
        ),
        (
            packet(0x30, &[0, 9, b'a']),
            "a topic longer than the packet",
        ),
        (
            packet(0x30, &[0, 2, 0xc3, 0x28, 0]),
            "a topic that is not UTF-8",
        ),
        (packet(0x32, &[0, 1, b'a', 0, 0, 0]), "packet identifier 0"),
        (packet(0x82, &[0, 1, 0]), "a SUBSCRIBE to nothing"),
        (
            packet(0x80, &[0, 1, 0, 0, 1, b'a', 0]),
            "a SUBSCRIBE with other flags",
        ),
        (
            packet(0x30, &[0, 1, b'a', 0xff, 0xff, 0xff, 0x7f]),
            "more properties than packet",
        ),
        (
            packet(0x30, &[0, 1, b'a', 2, 0x7f, 0]),
            "an unknown property",
        ),
        (vec![0xC0, 0x01, 0x00], "a PINGREQ with content"),
    ] {
        for level in [4, 5] {
            if level == 4 && what.contains("propert") {
                continue;
            }
            let mut raw = Raw::mqtt(broker.mqtt, level, "odd");
            raw.send(&bytes);
            let answer = raw.rest();
            if level == 4 {
                assert_eq!(answer, b"", "{what} in 3.1.1");
            } else {
                assert_eq!(answer[0], 0xE0, "{what}: {answer:?}");
                assert!(answer[2] >= 0x80, "{what}: {answer:?}");
            }
        }
    }
    assert_serves(&broker);
    assert_calm(&mut broker);
}

#[test]
fn server_keeps_serving_and_stays_small_while_hundreds_talk_garbage() {
    let mut broker = Ternmq::start(&[]);
    assert_serves(&broker);
    let before = resident_kib(&broker);
    let mut subscriber = Raw::mqtt(broker.mqtt, 4, "subscriber");
    subscriber.send(&mqtt_subscribe(4, "work", 0));
    assert_eq!(subscriber.packet().0, 0x90);
    let mut publisher = Raw::amqp(broker.amqp);
    let mut noise = Noise(0x2545_f491_4f6c_dd1d);
    let mut held = Vec::new();
    for number in 0..GARBAGE_CONNECTIONS {
        let mut garbage = vec![0; GARBAGE_BYTES];
        noise.fill(&mut garbage);
        // Half of them log in first and hold on to what they have begun.
        let mut raw = match number % 4 {
            0 => Raw::connect(broker.amqp),
            1 => Raw::connect(broker.mqtt),
            2 => Raw::amqp(broker.amqp),
            _ => Raw::mqtt(broker.mqtt, 5, &format!("noisy-{number}")),
        };
        if number % 8 >= 4 {
            // A header of a frame or packet that never comes to its end.
            let head: &[u8] = if number % 2 == 0 {
                b"\x03\x00\x01\x00\x01\xff\x00"
            } else {
                b"\x30\xff\xff\x7f\x00\x01a"
            };
            raw.try_send(head);
        }
        raw.try_send(&garbage);
        held.push(raw);
        publisher.send(&publish("amq.topic", "work", &number.to_be_bytes()));
        let (kind, content) = subscriber.packet();
        assert_eq!(kind, 0x30);
        assert_eq!(content[6..], number.to_be_bytes());
    }
    let during = resident_kib(&broker);
    assert!(
        during < before + GARBAGE_MEMORY_KIB_MAX,
        "{before} KiB became {during} KiB"
    );
    for raw in &mut held {
        raw.finish();
        raw.rest();
    }
    drop(held);
    assert_serves(&broker);
    let after = resident_kib(&broker);
    assert!(
        after < before + GARBAGE_MEMORY_KIB_MAX,
        "{before} KiB became {after} KiB"
    );
    assert_calm(&mut broker);
}

/// A subscriber that does not read costs a bounded backlog, and nobody else anything.
#[test]
fn peer_that_does_not_read_is_bounded() {
    let mut broker = Ternmq::start_with_config("[mqtt]\nqos0_backlog_max = 100\n", &[]);
    let mut deaf = Raw::mqtt(broker.mqtt, 4, "deaf");
    deaf.send(&mqtt_subscribe(4, "flood", 0));
    assert_eq!(deaf.packet().0, 0x90);
    let mut publisher = Raw::mqtt(broker.mqtt, 4, "publisher");
    let before = resident_kib(&broker);
    let payload = vec![7; 64 * 1024];
    let flood = mqtt_publish(4, "flood", &payload);
    // 128 MiB, of which nobody reads a byte.
    for _ in 0..2048 {
        publisher.send(&flood);
    }
    publisher.send(&packet(0xC0, b""));
    assert_eq!(publisher.packet().0, 0xD0, "the publisher is answered");
    let after = resident_kib(&broker);
    assert!(
        after < before + GARBAGE_MEMORY_KIB_MAX,
        "{before} KiB became {after} KiB"
    );
    assert_serves(&broker);
    assert_calm(&mut broker);
}

/// What a client said before it left is heard, however soon it connects again: its former connection is read by another
/// task than the new one.
#[test]
fn client_that_leaves_and_comes_back_at_once_loses_nothing() {
    const TIMES: u8 = 200;
    let mut broker = Ternmq::start(&[]);
    let mut watcher = Raw::mqtt(broker.mqtt, 4, "watcher");
    watcher.send(&mqtt_subscribe(4, "said", 0));
    assert_eq!(watcher.packet().0, 0x90);
    for time in 0..TIMES {
        let mut hasty = Raw::mqtt(broker.mqtt, 4, "hasty");
        let goodbye = packet(0xE0, b"");
        hasty.send(&[mqtt_publish(4, "said", &[time]), goodbye].concat());
    }
    for time in 0..TIMES {
        let (kind, content) = watcher.packet();
        assert_eq!((kind, content.last()), (0x30, Some(&time)));
    }
    assert_serves(&broker);
    assert_calm(&mut broker);
}

/// xorshift64: the same noise on every run.
struct Noise(u64);

impl Noise {
    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            *byte = self.0.to_le_bytes()[3];
        }
    }
}
