//! MQTT beside other protocols: dotted keys, headers, durability (semantics of the shared core).

use ternmq_core::message::{FormatId, Properties as CoreProperties, PropertyFormat};
use ternmq_core::queue::Outcome;
use ternmq_core::routing::key::KeySyntax;
use ternmq_core::topology::{BindingDecl, BindingOptions, Destination, QueueDecl};
use ternmq_core::value::{Headers, Value};
use ternmq_mqtt::properties::Property;

use crate::harness::{Hello, Post, World};

/// Properties of some other protocol.
struct Other;

impl PropertyFormat for Other {
    fn id(&self) -> FormatId {
        FormatId(200)
    }
    fn decode(&self, _native: &[u8]) -> CoreProperties {
        let mut headers = Headers::new();
        headers.push("n", Value::I32(-5));
        headers.push("x-reply-to-topic", Value::text("re.ply"));
        CoreProperties {
            content_type: Some("text".into()),
            headers,
            ..CoreProperties::default()
        }
    }
}

fn queue(name: &str, arguments: Headers) -> QueueDecl {
    QueueDecl {
        name: name.into(),
        durable: true,
        exclusive: None,
        auto_delete: false,
        arguments,
    }
}

fn binding<'a>(queue: &'a str, key: &'a str, arguments: &'a Headers) -> BindingDecl<'a> {
    BindingDecl {
        source: "amq.topic",
        destination: Destination::Queue(queue),
        key: key.as_bytes(),
        syntax: KeySyntax::Dotted,
        arguments,
        options: BindingOptions::default(),
    }
}

#[test]
fn dotted_publish_reaches_mqtt_with_slashes_and_its_properties() {
    let world = World::new();
    let mut device = world.v5("s");
    device.subscribe("a/+", 2);
    world.publish_dotted("a.b", b"durable", |parts| {
        parts.durable = true;
        parts.format = &Other;
        parts.ttl_ms = Some(2500);
    });
    world.publish_dotted("a.c", b"transient", |_| {});
    world.publish_dotted("a.+", b"no topic", |_| {});
    let expected =
        "PUBLISH a/b=durable q1 id1 expiry3 ContentType(\"text\") ResponseTopic(\"re/ply\") n:-5";
    assert_eq!(device.recv(), [expected, "PUBLISH a/c=transient q0"]);
}

#[test]
fn mqtt_publish_reaches_a_dotted_queue_with_headers() {
    let world = World::new();
    let mut native = world.native();
    let no_arguments = Headers::new();
    native.declare_queue(queue("q", Headers::new())).unwrap();
    native.bind(&binding("q", "a.*.c", &no_arguments)).unwrap();
    let mut device = world.v5("a");
    device.publish(&Post::new("a/b/c", "1").with(Property::UserProperty("k", "v")));
    device.publish(&Post::new("a.b.c", "2").qos1(1));
    assert_eq!(device.recv(), ["PUBACK 1"]);
    let first = native.get("q", true).unwrap().unwrap().delivery.message;
    assert_eq!((first.body(), first.durable()), (&b"1"[..], false));
    assert_eq!(first.properties().headers.get("k"), Some(&Value::text("v")));
    let second = native.get("q", true).unwrap().unwrap().delivery.message;
    assert_eq!((second.body(), second.durable()), (&b"2"[..], true));
}

#[test]
fn message_returned_by_another_consumer_comes_with_dup() {
    let world = World::new();
    let hello = Hello::new("s").expiry(60);
    let mut device = world.connect(&hello);
    device.subscribe("t", 1);
    device.drop_line();
    world.v5("p").publish(&Post::new("t", "x").qos1(1));
    let mut native = world.native();
    let got = native
        .get("mqtt-subscription-sqos1", false)
        .unwrap()
        .unwrap();
    let now = world.broker.now();
    native.settle(
        &got.queue,
        &[got.delivery.position],
        Outcome::Return { failed: true },
        now,
    );
    assert_eq!(
        world.connect(&hello.resume()).recv(),
        ["PUBLISH t=x q1 id1 dup"]
    );
}

#[test]
fn message_that_expires_in_a_sessions_queue_dead_letters_with_its_history() {
    let world = World::new();
    let mut native = world.native();
    native.declare_queue(queue("dead", Headers::new())).unwrap();
    let mut arguments = Headers::new();
    arguments.push("x-dead-letter-exchange", Value::text("amq.topic"));
    arguments.push("x-dead-letter-routing-key", Value::text("dead.letters"));
    native
        .declare_queue(queue("mqtt-subscription-sqos1", arguments))
        .unwrap();
    let hello = Hello::new("s").expiry(600);
    let mut device = world.connect(&hello);
    device.subscribe("t", 1);
    device.drop_line();
    let mut reader = world.v5("reader");
    reader.subscribe("dead/#", 1);
    world.v5("p").publish(
        &Post::new("t", "x")
            .qos1(1)
            .with(Property::MessageExpiryInterval(5)),
    );
    world.pass(5_000);
    let dead = reader.recv();
    assert_eq!(dead.len(), 1);
    assert!(
        dead[0].starts_with("PUBLISH dead/letters=x q1 id1"),
        "{dead:?}"
    );
    assert!(dead[0].contains("x-first-death-reason:expired"), "{dead:?}");
    assert!(
        dead[0].contains("x-first-death-queue:mqtt-subscription-sqos1"),
        "{dead:?}"
    );
}
