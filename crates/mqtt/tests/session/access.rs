//! Permissions: who may publish, subscribe and consume what.

use ternmq_broker::{BrokerConfig, UserConfig};
use ternmq_core::access::{Permission, TopicPermission};
use ternmq_core::topology::QueueDecl;
use ternmq_core::value::Headers;
use ternmq_mqtt::MqttConfig;
use ternmq_mqtt::frame::ProtocolVersion;

use crate::harness::{Device, Hello, Post, V5, V311, World, options};
use crate::log::TestLog;

/// A world in which `ann` may do what is allowed by default.
fn world(config: MqttConfig) -> World {
    let user = |name: &str| UserConfig {
        name: name.into(),
        password: "p".into(),
        ..UserConfig::default()
    };
    let broker = BrokerConfig {
        users: vec![user("guest"), user("ann")],
        ..BrokerConfig::default()
    };
    World::on(config, &broker, TestLog::new())
}

fn permit(world: &World, configure: &str, write: &str, read: &str) {
    let permission = Permission {
        configure: configure.into(),
        write: write.into(),
        read: read.into(),
    };
    let admin = world.broker.admin();
    admin.put_permission("/", "ann", permission).unwrap();
}

fn permit_topics(world: &World, write: &str, read: &str) {
    let permission = TopicPermission {
        write: write.into(),
        read: read.into(),
    };
    let admin = world.broker.admin();
    let of = ("/", "ann", "amq.topic");
    admin.put_topic_permission(of, permission).unwrap();
}

fn hello(id: &str, version: ProtocolVersion) -> Hello<'_> {
    Hello::new(id).version(version).login("ann", b"p")
}

fn ann(world: &World, version: ProtocolVersion) -> Device {
    world.connect(&hello("a", version))
}

fn guest(world: &World) -> Device {
    world.connect(&Hello::new("g").login("guest", b"p"))
}

#[test]
fn publishing_where_it_is_not_allowed_ends_the_connection() {
    let world = world(MqttConfig::default());
    permit(&world, ".*", "^mqtt-", ".*");
    for post in [
        Post::new("t", "x"),
        Post::new("t", "x").qos1(1),
        Post::new("t", "x").qos2(1),
        Post::new("$delayed/1/t", "x").qos1(1),
    ] {
        let mut device = ann(&world, V5);
        device.publish(&post);
        assert_eq!(device.recv(), ["DISCONNECT 87"]);
        let mut device = ann(&world, V311);
        device.publish(&post);
        assert!(device.is_closed() && device.recv_bytes().is_empty());
    }
}

#[test]
fn as_configured_mqtt_5_is_told_in_the_acknowledgement() {
    let world = world(MqttConfig {
        disconnect_on_unauthorized: false,
        ..MqttConfig::default()
    });
    permit(&world, ".*", "^mqtt-", ".*");
    let mut watcher = guest(&world);
    watcher.subscribe("#", 0);
    let mut device = ann(&world, V5);
    device.publish(&Post::new("t", "x").qos1(1));
    device.publish(&Post::new("t", "x").qos2(2));
    device.publish(&Post::new("t", "x").retain());
    assert_eq!(device.recv(), ["PUBACK 1 87", "PUBREC 2 87"]);
    let mut device = ann(&world, V311);
    device.publish(&Post::new("t", "x").qos1(1));
    assert!(device.is_closed() && device.recv_bytes().is_empty());
    assert!(watcher.recv().is_empty());
    assert_eq!(
        watcher.subscribe("t", 0),
        ["SUBACK 1 [00]"],
        "nor is it retained"
    );
}

#[test]
fn subscribing_where_it_is_not_allowed_is_told_filter_by_filter() {
    let world = world(MqttConfig::default());
    permit_topics(&world, ".*", r"^open\.");
    let filters = [
        ("open/a", options(1)),
        ("secret/a", options(1)),
        ("#", options(0)),
    ];
    let mut device = ann(&world, V5);
    assert_eq!(
        device.subscribe_with(&filters, None),
        ["SUBACK 1 [01, 87, 87]"]
    );
    assert!(!device.is_closed());
    let mut device = ann(&world, V311);
    assert_eq!(
        device.subscribe_with(&filters, None),
        ["SUBACK 1 [01, 80, 80]"]
    );
    assert!(!device.is_closed());
    guest(&world).publish(&Post::new("secret/a", "x").retain());
    assert_eq!(device.subscribe("secret/a", 0), ["SUBACK 1 [80]"]);
}

#[test]
fn subscribing_needs_all_rights_on_the_sessions_queue_and_reading_the_exchange() {
    let world = world(MqttConfig::default());
    let own = "^mqtt-subscription-a";
    for (configure, write, read, code) in [
        (own, own, "^(amq.topic$|mqtt-subscription-a)", "01"),
        ("^$", own, ".*", "87"),
        (own, "^$", ".*", "87"),
        (own, own, own, "87"),
        (own, own, "^amq.topic$", "87"),
    ] {
        permit(&world, configure, write, read);
        let mut device = ann(&world, V5);
        let expected = format!("SUBACK 1 [{code}]");
        assert_eq!(
            device.subscribe("t", 1),
            [expected],
            "{configure} {write} {read}"
        );
        device.drop_line();
    }
}

#[test]
fn topic_permissions_may_name_client_and_user() {
    let world = world(MqttConfig::default());
    permit_topics(&world, r"^{username}\.{client_id}$", r"^{client_id}\.");
    let mut device = ann(&world, V5);
    assert_eq!(device.subscribe("a/x", 0), ["SUBACK 1 [00]"]);
    assert_eq!(device.subscribe("b/x", 0), ["SUBACK 1 [87]"]);
    device.publish(&Post::new("ann/a", "x").qos1(1));
    assert_eq!(device.recv(), ["PUBACK 1 10"]);
    device.publish(&Post::new("ann/b", "x").qos1(2));
    assert_eq!(device.recv(), ["DISCONNECT 87"]);
}

#[test]
fn right_that_is_withdrawn_is_missed_by_the_next_publish() {
    let world = world(MqttConfig::default());
    let mut device = ann(&world, V5);
    device.publish(&Post::new("t", "x").qos1(1));
    assert_eq!(device.recv(), ["PUBACK 1 10"]);
    permit_topics(&world, "^other$", ".*");
    device.publish(&Post::new("t", "x").qos1(2));
    assert_eq!(device.recv(), ["DISCONNECT 87"]);
}

#[test]
fn will_needs_the_right_to_publish_when_it_is_published() {
    let world = world(MqttConfig::default());
    let mut watcher = guest(&world);
    watcher.subscribe("w", 0);
    let device = world.connect(&hello("a", V5).will("w", "gone"));
    permit_topics(&world, "^other$", ".*");
    device.drop_line();
    assert!(watcher.recv().is_empty());
    let device = world.connect(&hello("a", V5).will("other", "gone"));
    watcher.subscribe("other", 0);
    device.drop_line();
    assert_eq!(watcher.recv(), ["PUBLISH other=gone q0"]);
}

#[test]
fn who_lost_the_right_to_subscribe_may_unsubscribe_and_end_the_session() {
    let world = world(MqttConfig::default());
    let kept = hello("a", V5).expiry(60);
    let mut device = world.connect(&kept);
    assert_eq!(device.subscribe("t", 1), ["SUBACK 1 [01]"]);
    permit(&world, "^$", "^$", "^$");
    assert_eq!(device.unsubscribe("t"), ["UNSUBACK 2 [00]"]);
    device.drop_line();
    world.connect(&hello("a", V5));
    assert!(
        world
            .native()
            .check_queue("mqtt-subscription-aqos1")
            .is_err()
    );
}

#[test]
fn session_of_another_user_is_for_those_who_may_use_its_queue() {
    let of_guest = Hello::new("g").login("guest", b"p").expiry(60).resume();
    let queue = "^mqtt-subscription-gqos1$";
    for filter in ["t", "$share/x/t"] {
        let world = world(MqttConfig::default());
        let mut owner = world.connect(&of_guest);
        assert_eq!(owner.subscribe(filter, 1), ["SUBACK 1 [01]"]);
        permit(&world, "^other$", ".*", "^other$");
        let refused = || {
            for (version, code) in [(V5, "CONNACK 87"), (V311, "CONNACK 05")] {
                for hello in [hello("g", version), hello("g", version).resume()] {
                    assert_eq!(world.dial().greet(&hello), [code], "{filter}");
                }
            }
        };
        refused();
        assert!(!owner.is_closed(), "nor has it to go");
        owner.drop_line();
        refused();
        guest_publishes(&world);
        let mut owner = world.dial();
        let expected = ["CONNACK 00 present", "PUBLISH t=x q1 id1"];
        assert_eq!(owner.greet(&of_guest), expected);
        owner.drop_line();

        permit(&world, "^$", "^$", queue);
        assert_eq!(world.dial().greet(&hello("g", V5)), ["CONNACK 87"]);
        permit(&world, queue, "^$", "^$");
        let resumes = hello("g", V5).resume();
        assert_eq!(world.dial().greet(&resumes), ["CONNACK 87"]);
        assert_eq!(world.dial().greet(&hello("g", V5)), ["CONNACK 00"]);
    }
}

#[test]
fn who_may_read_the_queue_of_a_session_goes_on_with_it() {
    let world = world(MqttConfig::default());
    let of_guest = Hello::new("g").login("guest", b"p").expiry(60);
    let mut owner = world.connect(&of_guest);
    owner.subscribe("t", 1);
    owner.drop_line();
    guest_publishes(&world);
    permit(&world, "^$", "^$", "^mqtt-subscription-gqos1$");
    let greeting = world.dial().greet(&hello("g", V5).resume());
    assert_eq!(greeting, ["CONNACK 00 present", "PUBLISH t=x q1 id1"]);
}

fn guest_publishes(world: &World) {
    let mut publisher = world.connect(&Hello::new("p").login("guest", b"p"));
    publisher.publish(&Post::new("t", "x").qos1(1));
}

#[test]
fn server_topics_and_queues_are_read_where_that_is_allowed() {
    let world = world(MqttConfig::default());
    let decl = QueueDecl {
        name: "work".into(),
        durable: true,
        exclusive: None,
        auto_delete: false,
        arguments: Headers::new(),
    };
    world.native().declare_queue(decl).unwrap();
    permit(&world, "^mqtt-", ".*", "^(amq.topic$|mqtt-subscription-a)");
    let mut device = ann(&world, V5);
    assert_eq!(device.subscribe("$SYS/#", 0), ["SUBACK 1 [87]"]);
    assert_eq!(device.subscribe("$queue/work", 1), ["SUBACK 1 [87]"]);
    permit(
        &world,
        "^mqtt-",
        ".*",
        "^(mqtt.sys$|work$|mqtt-subscription-a)",
    );
    assert!(device.subscribe("$SYS/#", 0).len() > 1);
    assert_eq!(device.subscribe("$queue/work", 1), ["SUBACK 1 [01]"]);
}
