//! CONNECT and CONNACK (§3.1, §3.2).

use ternmq_broker::BrokerConfig;
use ternmq_broker::inspect::Door;
use ternmq_mqtt::MqttConfig;
use ternmq_mqtt::config::PortVhost;
use ternmq_mqtt::properties::Property;

use crate::harness::{Hello, Post, V5, V31, V311, World};
use crate::log::TestLog;

fn closed_world() -> World {
    World::on(
        MqttConfig::default(),
        &BrokerConfig::default(),
        TestLog::new(),
    )
}

#[test]
fn first_packet_that_is_no_connect_closes_without_a_word() {
    let world = World::new();
    let mut device = world.dial();
    device.send(&[0xC0, 0]);
    assert!(device.is_closed());
    assert!(device.recv_bytes().is_empty());
}

#[test]
fn second_connect_is_a_protocol_error() {
    let world = World::new();
    let mut device = world.v5("a");
    device.send(&Hello::new("a").encode());
    assert_eq!(device.recv(), ["DISCONNECT 82"]);
    assert!(device.is_closed());
    let mut device = world.v3("a");
    device.send(&Hello::new("a").version(V311).encode());
    assert!(device.recv_bytes().is_empty() && device.is_closed());
}

#[test]
fn unknown_protocol_level_is_told_in_a_form_the_client_can_read() {
    let world = World::new();
    let connect = |name: &[u8], level: u8| {
        let mut body = vec![0, u8::try_from(name.len()).unwrap()];
        body.extend_from_slice(name);
        body.extend_from_slice(&[level, 2, 0, 0, 0, 1, b'a']);
        let mut packet = vec![0x10, u8::try_from(body.len()).unwrap()];
        packet.extend(body);
        packet
    };
    let answer = |bytes: &[u8]| {
        let mut device = world.dial();
        device.send(bytes);
        assert!(device.is_closed());
        device.recv_bytes()
    };
    assert_eq!(answer(&connect(b"MQTT", 6)), [0x20, 3, 0, 0x84, 0]);
    assert_eq!(answer(&connect(b"MQTT", 3)), [0x20, 2, 0, 1]);
    assert_eq!(answer(&connect(b"MQIsdp", 4)), [0x20, 2, 0, 1]);
    // MQTT 3.1 has no empty identifiers, clean session or not.
    let nameless = b"\x10\x0E\0\x06MQIsdp\x03\x02\0\x0A\0\0";
    assert_eq!(answer(nameless), [0x20, 2, 0, 2]);
    assert!(answer(&connect(b"HTTP", 4)).is_empty());
}

#[test]
fn mqtt_3_1_is_let_in_and_never_sees_session_present() {
    let world = World::new();
    let hello = Hello::new("old").version(V31).resume();
    world.connect(&hello).drop_line();
    let mut device = world.dial();
    device.version = V31;
    device.send(&hello.encode());
    assert_eq!(device.recv_bytes(), [0x20, 2, 0, 0]);
}

#[test]
fn mqtt_3_empty_client_id_needs_a_clean_session() {
    let world = World::new();
    let mut device = world.dial();
    assert_eq!(device.greet(&Hello::new("").version(V311)), ["CONNACK 00"]);
    let mut device = world.dial();
    assert_eq!(
        device.greet(&Hello::new("").version(V311).resume()),
        ["CONNACK 02"]
    );
    assert!(device.is_closed());
}

#[test]
fn mqtt_5_empty_client_id_gets_one_that_can_be_used_again() {
    let world = World::new();
    let mut device = world.dial();
    let connack = device.greet(&Hello::new("").expiry(60)).remove(0);
    let assigned = connack.split('"').nth(1).unwrap().to_owned();
    assert!(
        connack.contains("AssignedClientIdentifier") && assigned.len() == 22,
        "{connack}"
    );
    device.drop_line();
    let mut device = world.dial();
    let connack = device.greet(&Hello::new(&assigned).resume().expiry(60));
    assert_eq!(
        connack,
        ["CONNACK 00 present"],
        "and it is not assigned again"
    );
}

#[test]
fn no_connect_in_time_closes() {
    let world = World::new();
    let mut device = world.dial();
    world.pass(9_999);
    device.tick();
    assert!(!device.is_closed());
    world.pass(1);
    device.tick();
    assert!(device.is_closed() && device.recv_bytes().is_empty());
}

#[test]
fn packets_behind_the_connect_are_handled_after_success_and_dropped_after_refusal() {
    let world = closed_world();
    let mut bytes = Hello::new("a").login("guest", b"guest").encode();
    bytes.extend_from_slice(&[0xC0, 0]);
    let mut device = world.dial();
    device.send(&bytes);
    assert_eq!(device.recv(), ["CONNACK 00", "PINGRESP"]);
    let mut bytes = Hello::new("a").login("guest", b"wrong").encode();
    bytes.extend_from_slice(&[0xC0, 0]);
    let mut device = world.dial();
    device.send(&bytes);
    assert_eq!(device.recv(), ["CONNACK 86"]);
}

#[test]
fn connect_in_single_bytes_works() {
    let world = World::new();
    let mut device = world.dial();
    for byte in Hello::new("a").encode() {
        device.send(&[byte]);
    }
    assert_eq!(device.recv(), ["CONNACK 00"]);
}

#[test]
fn wrong_login_is_told_in_each_versions_words() {
    let world = closed_world();
    for (version, expected) in [(V5, "CONNACK 86"), (V311, "CONNACK 04")] {
        for hello in [
            Hello::new("a").login("guest", b"wrong"),
            Hello::new("a").login("nobody", b"guest"),
            Hello::new("a").login("missing:guest", b"guest"),
            Hello::new("a"),
        ] {
            let mut device = world.dial();
            assert_eq!(device.greet(&hello.version(version)), [expected]);
            assert!(device.is_closed());
        }
    }
    assert_eq!(logins(&world), (0, 8));
    world
        .dial()
        .greet(&Hello::new("a").login("guest", b"guest"));
    assert_eq!(logins(&world), (1, 8));
}

/// Those that were let in, and those that were not.
fn logins(world: &World) -> (u64, u64) {
    let logins = world.broker.inspect().logins(Door::Mqtt);
    (logins.succeeded, logins.failed)
}

#[test]
fn password_alone_is_no_anonymous_login() {
    let world = World::new();
    assert_eq!(
        world.dial().greet(&Hello::new("a").password(b"x")),
        ["CONNACK 86"]
    );
}

#[test]
fn empty_user_name_and_password_are_anonymous_where_that_is_allowed() {
    let hello = Hello::new("a").login("", b"");
    assert_eq!(World::new().dial().greet(&hello), ["CONNACK 00"]);
    assert_eq!(closed_world().dial().greet(&hello), ["CONNACK 86"]);
}

#[test]
fn guest_from_elsewhere_is_not_authorised() {
    let world = closed_world();
    for (version, expected) in [(V5, "CONNACK 87"), (V311, "CONNACK 05")] {
        let mut device = world.dial_from("192.0.2.1:50000");
        assert_eq!(
            device.greet(&Hello::new("a").version(version).login("guest", b"guest")),
            [expected]
        );
    }
}

#[test]
fn anonymous_clients_come_from_where_their_user_may() {
    for (from_anywhere, expected) in [(false, "CONNACK 87"), (true, "CONNACK 00")] {
        let config = MqttConfig {
            anonymous: true,
            ..MqttConfig::default()
        };
        let broker = BrokerConfig {
            loopback_users: from_anywhere.then(Vec::new),
            ..BrokerConfig::default()
        };
        let world = World::on(config, &broker, TestLog::new());
        let greet = |from: &str| world.dial_from(from).greet(&Hello::new("a"));
        assert_eq!(greet("127.0.0.1:50000"), ["CONNACK 00"]);
        assert_eq!(greet("[::ffff:127.0.0.1]:50000"), ["CONNACK 00"]);
        assert_eq!(greet("192.0.2.1:50000"), [expected]);
    }
}

#[test]
fn user_name_may_name_the_vhost() {
    let vhosts = vec!["/".to_owned(), "other".to_owned()];
    let broker = BrokerConfig {
        vhosts,
        ..BrokerConfig::default()
    };
    let world = World::on(MqttConfig::default(), &broker, TestLog::new());
    let other = Hello::new("a").login("other:guest", b"guest");
    let root = Hello::new("a").login("/:guest", b"guest");
    let mut there = world.connect(&other);
    let mut here = world.connect(&root);
    assert!(
        !there.is_closed(),
        "the same client identifier in another vhost takes over nothing"
    );
    there.subscribe("t", 0);
    here.publish(&Post::new("t", "x"));
    assert!(there.recv().is_empty());
}

#[test]
fn port_may_name_the_vhost_and_the_user_name_comes_before_it() {
    let broker = BrokerConfig {
        vhosts: vec!["/".to_owned(), "port".to_owned()],
        ..BrokerConfig::default()
    };
    let config = MqttConfig {
        anonymous: true,
        port_vhosts: vec![PortVhost {
            port: 1884,
            vhost: "port".into(),
        }],
        ..MqttConfig::default()
    };
    let world = World::on(config, &broker, TestLog::new());
    let at = |port: &str, hello: &Hello<'_>| {
        let mut device = world.dial_between("127.0.0.1:50000", port);
        assert_eq!(device.greet(hello), ["CONNACK 00"]);
        device
    };
    let mut there = at("127.0.0.1:1884", &Hello::new("there"));
    there.subscribe("t", 0);
    let mut publish = |port: &str, hello: &Hello<'_>| {
        at(port, hello).publish(&Post::new("t", "x"));
        there.recv().len()
    };
    assert_eq!(publish("127.0.0.1:1884", &Hello::new("a")), 1);
    let guest = Hello::new("b").login("guest", b"guest");
    assert_eq!(publish("127.0.0.1:1884", &guest), 1);
    let root = Hello::new("c").login("/:guest", b"guest");
    assert_eq!(publish("127.0.0.1:1884", &root), 0);
    assert_eq!(publish("127.0.0.1:1883", &Hello::new("d")), 0);
    let port = Hello::new("e").login("port:guest", b"guest");
    assert_eq!(publish("127.0.0.1:1883", &port), 1);

    // As operators of RabbitMQ say it, for connections from now on.
    let admin = world.broker.admin();
    let mapping = r#"{"1885": "port", "1884": "/"}"#;
    let set = admin.put_global_parameter("mqtt_port_to_vhost_mapping", mapping);
    set.unwrap();
    assert_eq!(publish("127.0.0.1:1885", &Hello::new("f")), 1);
    assert_eq!(publish("127.0.0.1:1884", &Hello::new("g")), 0);
}

#[test]
fn too_many_connections_are_told_as_quota() {
    let broker = BrokerConfig {
        connections_max: 1,
        ..BrokerConfig::default()
    };
    let config = MqttConfig {
        anonymous: true,
        ..MqttConfig::default()
    };
    let world = World::on(config, &broker, TestLog::new());
    let _first = world.v5("a");
    assert_eq!(world.dial().greet(&Hello::new("b")), ["CONNACK 97"]);
    assert_eq!(
        world.dial().greet(&Hello::new("b").version(V311)),
        ["CONNACK 05"]
    );
}

#[test]
fn session_expiry_beyond_the_limit_is_cut_and_told() {
    let world = World::new();
    let connack = world.dial().greet(&Hello::new("a").expiry(u32::MAX));
    assert_eq!(connack, ["CONNACK 00 SessionExpiryInterval(86400)"]);
    assert_eq!(
        world.dial().greet(&Hello::new("b").expiry(86_400)),
        ["CONNACK 00"]
    );
}

#[test]
fn limits_that_differ_from_the_defaults_are_announced() {
    let config = MqttConfig {
        receive_max: 20,
        packet_bytes_max: 2000,
        topic_alias_max: 0,
        keep_alive_s_max: 30,
        ..MqttConfig::default()
    };
    let world = World::with(config);
    let connack = world.dial().greet(&Hello::new("a").keep_alive(60));
    let expected = "CONNACK 00 ReceiveMaximum(20) MaximumPacketSize(2000) ServerKeepAlive(30)";
    assert_eq!(connack, [expected]);
    let mut device = world.dial();
    assert_eq!(
        device.greet(&Hello::new("b").version(V311).keep_alive(60)),
        ["CONNACK 00"]
    );
}

#[test]
fn client_that_takes_no_packet_of_the_connacks_size_is_closed_without_one() {
    let world = World::new();
    let mut device = world.dial();
    device.send(
        &Hello::new("a")
            .with(Property::MaximumPacketSize(4))
            .encode(),
    );
    assert!(device.recv_bytes().is_empty() && device.is_closed());
}

#[test]
fn large_connect_is_refused_before_login() {
    let world = World::new();
    let payload = "x".repeat(65_535);
    let mut device = world.dial();
    assert_eq!(
        device.greet(&Hello::new("a").will("w", &payload)),
        ["CONNACK 95"]
    );
    assert!(device.is_closed());
    let hello = Hello::new("a").version(V311).will("w", &payload);
    let mut device = world.dial();
    device.send(&hello.encode());
    assert!(device.is_closed() && device.recv_bytes().is_empty());
    // The version is waited for, and no more.
    let bytes = Hello::new("a").will("w", &payload).encode();
    let mut device = world.dial();
    device.send(&bytes[..12]);
    assert!(!device.is_closed());
    device.send(&bytes[12..14]);
    assert_eq!(device.recv(), ["CONNACK 95"]);
    assert!(device.is_closed());
}

#[test]
fn password_is_any_bytes() {
    let user = ternmq_broker::UserConfig {
        password: "p\0w".to_owned(),
        ..Default::default()
    };
    let broker = BrokerConfig {
        users: vec![user],
        ..BrokerConfig::default()
    };
    let world = World::on(MqttConfig::default(), &broker, TestLog::new());
    assert_eq!(
        world.dial().greet(&Hello::new("a").login("guest", b"p\0w")),
        ["CONNACK 00"]
    );
    assert_eq!(
        world
            .dial()
            .greet(&Hello::new("a").login("guest", b"\xff\0")),
        ["CONNACK 86"]
    );
    assert_eq!(
        world.dial().greet(&Hello::new("a").login("guest", b"")),
        ["CONNACK 86"]
    );
}

#[test]
fn long_client_id_has_a_session_of_its_own() {
    let world = World::new();
    let id = "i".repeat(5000);
    let mut device = world.connect(&Hello::new(&id).expiry(60));
    assert_eq!(device.subscribe("t", 1), ["SUBACK 1 [01]"]);
    device.drop_line();
    world.v5("b").publish(&Post::new("t", "x").qos1(1));
    let mut device = world.connect(&Hello::new(&id).resume().expiry(60));
    assert_eq!(device.recv(), ["PUBLISH t=x q1 id1"]);
}
