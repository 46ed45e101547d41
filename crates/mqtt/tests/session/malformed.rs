//! Bad input on raw bytes: one connection ends, with the right word, and nothing else happens.

use crate::harness::{Hello, Post, World};

/// What MQTT 5 is told; MQTT 3 is only closed. The bytes are the same for both where `in_v3`.
struct Case {
    what: &'static str,
    bytes: &'static [u8],
    reason: &'static str,
    in_v3: bool,
}

const fn case(what: &'static str, bytes: &'static [u8], reason: &'static str, in_v3: bool) -> Case {
    Case {
        what,
        bytes,
        reason,
        in_v3,
    }
}

const CASES: [Case; 53] = [
    case("packet type 0", &[0x00, 0], "81", true),
    case("CONNACK", &[0x20, 2, 0, 0], "82", true),
    case("CONNACK with flags", &[0x21, 2, 0, 0], "81", true),
    case("SUBACK", &[0x90, 3, 0, 1, 0], "82", true),
    case("UNSUBACK", &[0xB0, 2, 0, 1], "82", true),
    case("PINGRESP", &[0xD0, 0], "82", true),
    case("PINGREQ with a body", &[0xC0, 1, 0], "81", true),
    case("PINGREQ with flags", &[0xC1, 0], "81", true),
    case(
        "remaining length of five bytes",
        &[0x30, 0x80, 0x80, 0x80, 0x80],
        "81",
        true,
    ),
    case(
        "remaining length not in its shortest form",
        &[0xC0, 0x80, 0],
        "81",
        false,
    ),
    case(
        "PUBLISH with QoS 3",
        &[0x36, 5, 0, 1, b't', 0, 1],
        "81",
        true,
    ),
    case(
        "PUBLISH with DUP and QoS 0",
        &[0x38, 4, 0, 1, b't', 0],
        "81",
        true,
    ),
    case(
        "PUBLISH with identifier 0",
        &[0x32, 6, 0, 1, b't', 0, 0, 0],
        "81",
        true,
    ),
    case(
        "PUBLISH with a wildcard",
        &[0x30, 4, 0, 1, b'#', 0],
        "90",
        true,
    ),
    case("PUBLISH with U+0000", &[0x30, 4, 0, 1, 0, 0], "81", true),
    case("PUBLISH with U+0001", &[0x30, 4, 0, 1, 1, 0], "81", true),
    case(
        "SUBSCRIBE with U+009F",
        &[0x82, 8, 0, 1, 0, 0, 2, 0xC2, 0x9F, 0],
        "81",
        false,
    ),
    case(
        "UNSUBSCRIBE with U+007F",
        &[0xA2, 6, 0, 1, 0, 0, 1, 0x7F],
        "81",
        false,
    ),
    case(
        "PUBLISH with a surrogate",
        &[0x30, 6, 0, 3, 0xED, 0xA0, 0x80, 0],
        "81",
        true,
    ),
    case(
        "PUBLISH with an overlong form",
        &[0x30, 5, 0, 2, 0xC0, 0x80, 0],
        "81",
        true,
    ),
    case("PUBLISH without a topic", &[0x30, 3, 0, 0, 0], "82", true),
    case(
        "PUBLISH whose topic goes beyond it",
        &[0x30, 3, 0, 9, b't'],
        "81",
        true,
    ),
    case(
        "PUBLISH cut before its identifier",
        &[0x32, 4, 0, 1, b't', 0],
        "81",
        true,
    ),
    case("PUBACK with identifier 0", &[0x40, 2, 0, 0], "81", true),
    case("PUBACK of one byte", &[0x40, 1, 0], "81", true),
    case("PUBACK with flags", &[0x41, 2, 0, 1], "81", true),
    case("PUBREL without its flags", &[0x60, 2, 0, 1], "81", true),
    case(
        "SUBSCRIBE without its flags",
        &[0x80, 7, 0, 1, 0, 0, 1, b't', 0],
        "81",
        true,
    ),
    case(
        "UNSUBSCRIBE without its flags",
        &[0xA0, 6, 0, 1, 0, 0, 1, b't'],
        "81",
        true,
    ),
    case(
        "SUBSCRIBE with identifier 0",
        &[0x82, 7, 0, 0, 0, 0, 1, b't', 0],
        "81",
        false,
    ),
    case(
        "SUBSCRIBE without a filter",
        &[0x82, 3, 0, 1, 0],
        "82",
        false,
    ),
    case(
        "SUBSCRIBE with QoS 3",
        &[0x82, 7, 0, 1, 0, 0, 1, b't', 3],
        "81",
        false,
    ),
    case(
        "SUBSCRIBE with reserved bits",
        &[0x82, 7, 0, 1, 0, 0, 1, b't', 0x40],
        "81",
        false,
    ),
    case(
        "SUBSCRIBE with retain handling 3",
        &[0x82, 7, 0, 1, 0, 0, 1, b't', 0x30],
        "81",
        false,
    ),
    case(
        "SUBSCRIBE with an empty filter",
        &[0x82, 6, 0, 1, 0, 0, 0, 0],
        "81",
        false,
    ),
    case(
        "SUBSCRIBE with identifier 0 of subscription",
        &[0x82, 9, 0, 1, 2, 0x0B, 0, 0, 1, b't', 0],
        "82",
        false,
    ),
    case(
        "SUBSCRIBE with two subscription identifiers",
        &[0x82, 11, 0, 1, 4, 0x0B, 1, 0x0B, 1, 0, 1, b't', 0],
        "82",
        false,
    ),
    case(
        "SUBSCRIBE shared with no-local",
        &[
            0x82, 16, 0, 1, 0, 0, 10, b'$', b's', b'h', b'a', b'r', b'e', b'/', b'g', b'/', b't', 4,
        ],
        "82",
        false,
    ),
    case(
        "UNSUBSCRIBE without a filter",
        &[0xA2, 3, 0, 1, 0],
        "82",
        false,
    ),
    case(
        "property length beyond the packet",
        &[0x30, 4, 0, 1, b't', 9],
        "81",
        false,
    ),
    case(
        "property cut by its length",
        &[0x30, 6, 0, 1, b't', 2, 0x02, 0],
        "81",
        false,
    ),
    case(
        "unknown property",
        &[0x30, 6, 0, 1, b't', 2, 0x7F, 0],
        "81",
        false,
    ),
    case(
        "property length of five bytes",
        &[0x30, 8, 0, 1, b't', 0x80, 0x80, 0x80, 0x80, 1],
        "81",
        false,
    ),
    case(
        "property of another packet",
        &[0x30, 7, 0, 1, b't', 3, 0x21, 0, 1],
        "81",
        false,
    ),
    case(
        "property twice",
        &[0x30, 8, 0, 1, b't', 4, 0x01, 1, 0x01, 1],
        "82",
        false,
    ),
    case(
        "payload format 2",
        &[0x30, 6, 0, 1, b't', 2, 0x01, 2],
        "82",
        false,
    ),
    case(
        "response topic with a wildcard",
        &[0x30, 8, 0, 1, b't', 4, 0x08, 0, 1, b'+'],
        "82",
        false,
    ),
    case(
        "subscription identifier from a client",
        &[0x30, 6, 0, 1, b't', 2, 0x0B, 1],
        "82",
        false,
    ),
    case(
        "topic alias 0",
        &[0x30, 7, 0, 1, b't', 3, 0x23, 0, 0],
        "94",
        false,
    ),
    case(
        "reason code of no packet",
        &[0x40, 3, 0, 1, 0x55],
        "82",
        false,
    ),
    case("DISCONNECT with flags", &[0xE1, 0], "81", true),
    case(
        "DISCONNECT with a reason of servers",
        &[0xE0, 1, 0x8B],
        "82",
        false,
    ),
    case(
        "DISCONNECT with a server reference",
        &[0xE0, 6, 0, 4, 0x1C, 0, 1, b'x'],
        "82",
        false,
    ),
];

#[test]
fn malformed_packet_ends_its_connection_with_the_right_word_and_harms_nobody() {
    let world = World::new();
    let mut bystander = world.v5("bystander");
    bystander.subscribe("#", 0);
    for Case {
        what,
        bytes,
        reason,
        in_v3,
    } in CASES
    {
        let mut device = world.v5("bad");
        device.send(bytes);
        assert_eq!(device.recv(), [format!("DISCONNECT {reason}")], "{what}");
        assert!(device.is_closed(), "{what}");
        if in_v3 {
            let mut device = world.v3("bad");
            device.send(bytes);
            assert!(
                device.recv_bytes().is_empty() && device.is_closed(),
                "{what}"
            );
        }
    }
    assert!(bystander.recv().is_empty() && !bystander.is_closed());
    assert_eq!(
        world.dial().greet(&Hello::new("bad").resume()),
        ["CONNACK 00"],
        "nothing is left of it"
    );
}

#[test]
fn mqtt_3_packets_that_only_mqtt_5_has_are_malformed() {
    let world = World::new();
    // AUTH; DISCONNECT with a body; SUBSCRIBE with options of MQTT 5; PUBACK with a reason.
    let cases: [&[u8]; 4] = [
        &[0xF0, 0],
        &[0xE0, 1, 0],
        &[0x82, 6, 0, 1, 0, 1, b't', 4],
        &[0x40, 3, 0, 1, 0],
    ];
    for bytes in cases {
        let mut device = world.v3("bad");
        device.send(bytes);
        assert!(
            device.recv_bytes().is_empty() && device.is_closed(),
            "{bytes:02x?}"
        );
    }
}

#[test]
fn acknowledgements_of_every_length_are_valid() {
    let world = World::new();
    let mut device = world.v5("a");
    for bytes in [
        &[0x40, 2, 0, 1][..],
        &[0x40, 3, 0, 1, 0],
        &[0x40, 4, 0, 1, 0, 0],
    ] {
        device.send(bytes);
    }
    // An empty user property.
    device.send(&[0x40, 9, 0, 1, 0, 5, 0x26, 0, 0, 0, 0]);
    assert!(device.recv().is_empty() && !device.is_closed());
}

/// CONNECT with parts replaced: flags, then everything behind the keep alive.
fn connect(level: u8, flags: u8, rest: &[u8]) -> Vec<u8> {
    let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', level, flags, 0, 0];
    body.extend_from_slice(rest);
    let mut packet = vec![0x10, u8::try_from(body.len()).unwrap()];
    packet.extend(body);
    packet
}

#[test]
fn malformed_connect_is_refused_with_a_connack_where_the_version_has_one() {
    let world = World::new();
    let cases: [(&str, Vec<u8>, &[u8]); 12] = [
        (
            "flags bit 0",
            connect(5, 3, &[0, 0, 1, b'a']),
            &[0x20, 3, 0, 0x81, 0],
        ),
        ("flags bit 0 in MQTT 3", connect(4, 3, &[0, 1, b'a']), &[]),
        (
            "will QoS without a will",
            connect(5, 0x0A, &[0, 0, 1, b'a']),
            &[0x20, 3, 0, 0x81, 0],
        ),
        (
            "will QoS 3",
            connect(5, 0x1E, &[0, 0, 1, b'a', 0, 0, 1, b'w', 0, 0]),
            &[0x20, 3, 0, 0x81, 0],
        ),
        (
            "will missing",
            connect(5, 6, &[0, 0, 1, b'a']),
            &[0x20, 3, 0, 0x81, 0],
        ),
        (
            "will topic with a wildcard",
            connect(5, 6, &[0, 0, 1, b'a', 0, 0, 1, b'#', 0, 0]),
            &[0x20, 3, 0, 0x90, 0],
        ),
        (
            "user name missing",
            connect(5, 0x82, &[0, 0, 1, b'a']),
            &[0x20, 3, 0, 0x81, 0],
        ),
        (
            "password without user in MQTT 3",
            connect(4, 0x42, &[0, 1, b'a', 0, 0]),
            &[],
        ),
        (
            "bytes behind the last field",
            connect(5, 2, &[0, 0, 1, b'a', 0]),
            &[0x20, 3, 0, 0x81, 0],
        ),
        (
            "client id with U+0000",
            connect(5, 2, &[0, 0, 1, 0]),
            &[0x20, 3, 0, 0x81, 0],
        ),
        (
            "receive maximum 0",
            connect(5, 2, &[3, 0x21, 0, 0, 0, 1, b'a']),
            &[0x20, 3, 0, 0x82, 0],
        ),
        (
            "session expiry twice",
            connect(5, 2, &[10, 0x11, 0, 0, 0, 1, 0x11, 0, 0, 0, 1, 0, 1, b'a']),
            &[0x20, 3, 0, 0x82, 0],
        ),
    ];
    for (what, bytes, answer) in cases {
        let mut device = world.dial();
        device.send(&bytes);
        assert_eq!(device.recv_bytes(), answer, "{what}");
        assert!(device.is_closed(), "{what}");
    }
}

#[test]
fn no_bytes_make_it_panic() {
    let world = World::new();
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for round in 0..2000 {
        let mut device = if round % 2 == 0 {
            world.v5("x")
        } else {
            world.v3("x")
        };
        let valid = Post::new("topic/level", "payload")
            .qos1(1)
            .encode(device.version);
        let mut bytes = [
            valid,
            vec![0x82, 8, 0, 1, 0, 0, 2, b't', b'/', 1],
            vec![0xC0, 0],
        ]
        .concat();
        for _ in 0..=random() % 4 {
            let at = usize::try_from(random()).unwrap_or(0) % bytes.len();
            bytes[at] = random().to_le_bytes()[0];
        }
        let cut = usize::try_from(random()).unwrap_or(0) % bytes.len();
        device.send(&bytes[..cut]);
        device.send(&bytes[cut..]);
        device.recv_bytes();
        device.drop_line();
    }
    assert!(!world.v5("y").is_closed());
}
