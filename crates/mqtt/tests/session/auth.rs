//! Enhanced authentication (§4.12).

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use ternmq_broker::{BrokerConfig, UserConfig};
use ternmq_mqtt::MqttConfig;
use ternmq_mqtt::properties::Property;
use ternmq_mqtt::reason_code::ReasonCode::{ContinueAuthentication, ReAuthenticate};

use crate::harness::{Device, Hello, Post, World};
use crate::log::TestLog;

const METHOD: &str = "SCRAM-SHA-256";

fn world() -> World {
    let user = |name: &str, password: &str| UserConfig {
        name: name.into(),
        password: password.into(),
        ..UserConfig::default()
    };
    let broker = BrokerConfig {
        vhosts: vec!["/".into(), "other".into()],
        users: vec![user("guest", "guest"), user("ann", "secret")],
        ..BrokerConfig::default()
    };
    World::on(MqttConfig::default(), &broker, TestLog::new())
}

/// What a client says first.
fn first(user: &str) -> String {
    format!("n,,n={user},r=fyko+d2lbbFgONRv9qkxdawL")
}

fn hello<'a>(id: &'a str, first: &str) -> Hello<'a> {
    Hello::new(id)
        .with(Property::AuthenticationMethod(METHOD))
        .with(Property::AuthenticationData(first.as_bytes()))
}

/// The data of the one packet that came, which begins with these words.
fn data(received: &[String], words: &str) -> String {
    let [packet] = received else {
        panic!("one packet: {received:?}");
    };
    let rest = packet
        .strip_prefix(words)
        .unwrap_or_else(|| panic!("{packet}"));
    rest.trim_start_matches(" [")
        .trim_end_matches(']')
        .to_owned()
}

fn challenge(received: &[String]) -> String {
    data(received, "AUTH 18 SCRAM-SHA-256")
}

fn hmac(key: &[u8], text: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text);
    mac.finalize().into_bytes().into()
}

fn decode(text: &str) -> Vec<u8> {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD
        .decode(text)
        .unwrap()
}

fn encode(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// What a client says last, and what the server then has to say (RFC 5802 §3).
fn last(user: &str, password: &str, server_first: &str) -> (String, String) {
    let part = |key: &str| {
        let found = server_first
            .split(',')
            .find_map(|part| part.strip_prefix(key));
        found.unwrap_or_else(|| panic!("{key} in {server_first}"))
    };
    let mut salt = decode(part("s="));
    salt.extend_from_slice(&1_u32.to_be_bytes());
    let mut u = hmac(password.as_bytes(), &salt);
    let mut salted = u;
    for _ in 1..part("i=").parse::<u32>().unwrap() {
        u = hmac(password.as_bytes(), &u);
        salted.iter_mut().zip(u).for_each(|(all, one)| *all ^= one);
    }
    let bare = &first(user)[3..];
    let without_proof = format!("c=biws,r={}", part("r="));
    let said = format!("{bare},{server_first},{without_proof}");
    let mut proof = hmac(&salted, b"Client Key");
    let signature = hmac(&Sha256::digest(proof), said.as_bytes());
    proof
        .iter_mut()
        .zip(signature)
        .for_each(|(key, one)| *key ^= one);
    let server = hmac(&hmac(&salted, b"Server Key"), said.as_bytes());
    (
        format!("{without_proof},p={}", encode(&proof)),
        format!("v={}", encode(&server)),
    )
}

/// Lets a client in, which is answered as it has to be.
fn logged_in(world: &World, id: &str, user: &str, password: &str) -> Device {
    let mut device = world.dial();
    let asked = challenge(&device.greet(&hello(id, &first(user))));
    let (proof, expected) = last(user, password, &asked);
    device.auth(ContinueAuthentication, METHOD, &proof);
    let answer = data(&device.recv(), "CONNACK 00 SCRAM-SHA-256");
    assert_eq!(
        answer, expected,
        "the server proves that it knows the password, too"
    );
    device
}

fn again(device: &mut Device, user: &str, password: &str) -> Vec<String> {
    device.auth(ReAuthenticate, METHOD, &first(user));
    let asked = challenge(&device.recv());
    let (proof, expected) = last(user, password, &asked);
    device.auth(ContinueAuthentication, METHOD, &proof);
    let received = device.recv();
    received
        .into_iter()
        .map(|packet| packet.replace(&expected, "PROOF"))
        .collect()
}

#[test]
fn who_proves_to_know_the_password_is_let_in() {
    let world = world();
    let mut device = logged_in(&world, "a", "ann", "secret");
    assert_eq!(device.subscribe("t", 0), ["SUBACK 1 [00]"]);
    device.publish(&Post::new("t", "x"));
    assert_eq!(device.recv(), ["PUBLISH t=x q0"]);
}

#[test]
fn who_does_not_is_refused_and_so_is_who_does_not_exist() {
    let world = world();
    for (user, password) in [
        ("ann", "guest"),
        ("nobody", "secret"),
        ("missing:ann", "secret"),
    ] {
        let mut device = world.dial();
        let asked = challenge(&device.greet(&hello("a", &first(user))));
        let (proof, _) = last(user, password, &asked);
        device.auth(ContinueAuthentication, METHOD, &proof);
        assert_eq!(device.recv(), ["CONNACK 86"], "{user}");
        assert!(device.is_closed());
    }
}

#[test]
fn who_does_not_exist_is_asked_with_the_same_salt_each_time() {
    let world = world();
    let salt = |user: &str| {
        let asked = challenge(&world.dial().greet(&hello("a", &first(user))));
        asked.split(',').nth(1).unwrap().to_owned()
    };
    assert_eq!(salt("nobody"), salt("nobody"));
    assert_ne!(salt("nobody"), salt("nobody else"));
    assert_eq!(salt("ann"), salt("ann"));
}

#[test]
fn client_without_data_is_asked_for_it() {
    let world = world();
    let mut device = world.dial();
    let hello = Hello::new("a").with(Property::AuthenticationMethod(METHOD));
    assert_eq!(device.greet(&hello), ["AUTH 18 SCRAM-SHA-256"]);
    device.auth(ContinueAuthentication, METHOD, &first("ann"));
    let (proof, expected) = last("ann", "secret", &challenge(&device.recv()));
    device.auth(ContinueAuthentication, METHOD, &proof);
    assert_eq!(data(&device.recv(), "CONNACK 00 SCRAM-SHA-256"), expected);
}

#[test]
fn user_name_of_the_exchange_may_name_the_vhost() {
    let world = world();
    let mut there = logged_in(&world, "a", "other:ann", "secret");
    there.subscribe("t", 0);
    world
        .connect(&Hello::new("b").login("ann", b"secret"))
        .publish(&Post::new("t", "x"));
    assert!(there.recv().is_empty());
    world
        .connect(&Hello::new("c").login("other:ann", b"secret"))
        .publish(&Post::new("t", "x"));
    assert_eq!(there.recv(), ["PUBLISH t=x q0"]);
}

#[test]
fn other_methods_are_refused() {
    let world = world();
    let mut device = world.dial();
    let hello = Hello::new("a").with(Property::AuthenticationMethod("SCRAM-SHA-1"));
    assert_eq!(device.greet(&hello), ["CONNACK 8C"]);
    assert!(device.is_closed());
}

#[test]
fn malformed_data_is_not_authorised() {
    let world = world();
    for text in ["x", "p=tls-unique,,n=ann,r=abc", "n,,n=,r=abc"] {
        let mut device = world.dial();
        assert_eq!(device.greet(&hello("a", text)), ["CONNACK 87"], "{text}");
        assert!(device.is_closed());
    }
    let mut device = world.dial();
    device.greet(&hello("a", &first("ann")));
    device.auth(ContinueAuthentication, METHOD, "c=biws");
    assert_eq!(device.recv(), ["CONNACK 87"]);
}

#[test]
fn before_connack_nothing_but_auth_and_disconnect_may_come() {
    let world = world();
    let begun = || {
        let mut device = world.dial();
        challenge(&device.greet(&hello("a", &first("ann"))));
        device
    };
    let mut device = begun();
    device.send(&[0xC0, 0]);
    assert_eq!(device.recv(), ["CONNACK 82"]);
    assert!(device.is_closed());
    let mut device = begun();
    device.send(&[0xE0, 0]);
    assert!(device.is_closed() && device.recv_bytes().is_empty());
    let mut device = begun();
    device.auth(ContinueAuthentication, "SCRAM-SHA-1", "x");
    assert_eq!(device.recv(), ["CONNACK 82"], "MQTT-4.12.0-5");
    let mut device = begun();
    device.auth(ReAuthenticate, METHOD, &first("ann"));
    assert_eq!(device.recv(), ["CONNACK 82"]);
    let mut device = begun();
    // Flags of an AUTH are 0.
    device.send(&[0xF1, 0]);
    assert_eq!(device.recv(), ["CONNACK 81"]);
    let mut device = begun();
    world.pass(10_000);
    device.tick();
    assert!(device.is_closed());
}

#[test]
fn packets_of_an_exchange_may_come_in_single_bytes() {
    let world = world();
    let mut device = world.dial();
    for byte in hello("a", &first("ann")).encode() {
        device.send(&[byte]);
    }
    let (proof, _) = last("ann", "secret", &challenge(&device.recv()));
    let method = METHOD.as_bytes();
    let mut properties = vec![0x15, 0, 13];
    properties.extend_from_slice(method);
    properties.extend_from_slice(&[0x16, 0, u8::try_from(proof.len()).unwrap()]);
    properties.extend_from_slice(proof.as_bytes());
    let len = u8::try_from(properties.len()).unwrap();
    assert!(len < 0x7E);
    let mut packet = vec![0xF0, len + 2, 0x18, len];
    packet.extend(properties);
    for byte in packet {
        device.send(&[byte]);
    }
    assert!(device.recv()[0].starts_with("CONNACK 00"));
}

#[test]
fn client_that_takes_no_packet_of_that_size_is_closed() {
    let world = world();
    let mut device = world.dial();
    let hello = hello("a", &first("ann")).with(Property::MaximumPacketSize(20));
    assert!(device.greet(&hello).is_empty());
    assert!(device.is_closed());
}

#[test]
fn session_is_taken_over_only_by_who_proves_to_be_its_user() {
    let world = world();
    let mut standing = logged_in(&world, "a", "ann", "secret");
    let mut device = world.dial();
    let asked = challenge(&device.greet(&hello("a", &first("ann"))));
    let (proof, _) = last("ann", "wrong", &asked);
    device.auth(ContinueAuthentication, METHOD, &proof);
    assert_eq!(device.recv(), ["CONNACK 86"]);
    assert!(!standing.is_closed());
    let mut device = world.dial();
    let asked = challenge(&device.greet(&hello("a", &first("ann"))));
    let (proof, _) = last("ann", "secret", &asked);
    device.auth(ContinueAuthentication, METHOD, &proof);
    device.let_others_go();
    assert!(device.recv()[0].starts_with("CONNACK 00"));
    assert_eq!(standing.recv(), ["DISCONNECT 8E"]);
}

#[test]
fn client_may_authenticate_again_while_other_traffic_goes_on() {
    let world = world();
    let mut device = logged_in(&world, "a", "ann", "secret");
    device.subscribe("t", 0);
    for _ in 0..2 {
        device.auth(ReAuthenticate, METHOD, &first("ann"));
        let asked = challenge(&device.recv());
        device.publish(&Post::new("t", "x"));
        assert_eq!(device.recv(), ["PUBLISH t=x q0"]);
        let (proof, expected) = last("ann", "secret", &asked);
        device.auth(ContinueAuthentication, METHOD, &proof);
        assert_eq!(data(&device.recv(), "AUTH 00 SCRAM-SHA-256"), expected);
    }
    assert!(!device.is_closed());
}

#[test]
fn authenticating_again_fails_with_another_user_password_or_method() {
    let world = world();
    let mut device = logged_in(&world, "a", "ann", "secret");
    assert_eq!(again(&mut device, "ann", "wrong"), ["DISCONNECT 87"]);
    assert!(device.is_closed());
    let mut device = logged_in(&world, "a", "ann", "secret");
    assert_eq!(again(&mut device, "guest", "guest"), ["DISCONNECT 87"]);
    let mut device = logged_in(&world, "a", "ann", "secret");
    assert_eq!(again(&mut device, "other:ann", "secret"), ["DISCONNECT 87"]);
    let mut device = logged_in(&world, "a", "ann", "secret");
    device.auth(ReAuthenticate, "SCRAM-SHA-1", &first("ann"));
    assert_eq!(device.recv(), ["DISCONNECT 82"], "MQTT-4.12.1-1");
}

#[test]
fn auth_out_of_turn_is_a_protocol_error() {
    let world = world();
    let mut device = logged_in(&world, "a", "ann", "secret");
    device.auth(ContinueAuthentication, METHOD, "c=biws");
    assert_eq!(device.recv(), ["DISCONNECT 82"]);
    let mut device = logged_in(&world, "a", "ann", "secret");
    device.auth(ReAuthenticate, METHOD, &first("ann"));
    challenge(&device.recv());
    device.auth(ReAuthenticate, METHOD, &first("ann"));
    assert_eq!(device.recv(), ["DISCONNECT 82"]);
    // MQTT-4.12.0-6, MQTT-4.12.0-7: without a method in CONNECT.
    let mut device = world.connect(&Hello::new("b").login("ann", b"secret"));
    device.auth(ReAuthenticate, METHOD, &first("ann"));
    assert_eq!(device.recv(), ["DISCONNECT 82"]);
    let mut device = world.connect(&Hello::new("b").login("ann", b"secret"));
    // Neither method nor reason.
    device.send(&[0xF0, 0]);
    assert_eq!(device.recv(), ["DISCONNECT 82"]);
}
