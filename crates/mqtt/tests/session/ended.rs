//! Sessions that an operator ends.

use ternmq_core::id::Lsn;

use crate::harness::*;

fn end(world: &World, client_id: &str) -> Option<Lsn> {
    world.acceptor.end_session("/", client_id, "a test")
}

#[test]
fn session_without_a_client_ends_with_what_waits_for_it_and_does_not_come_back() {
    let world = World::new();
    let hello = Hello::new("s").expiry(60);
    let mut device = world.connect(&hello);
    device.subscribe("t", 1);
    device.disconnect();
    let mut publisher = world.v5("p");
    publisher.publish(&Post::new("t", "x").qos1(1));
    assert!(end(&world, "s").is_some());
    assert_eq!(world.acceptor.session("/", "s").map(|s| s.client_id), None);
    assert_eq!(end(&world, "s"), None);
    let queues = world.broker.inspect().queues(None);
    assert!(queues.is_empty(), "{queues:?}");
    let world = world.crash();
    let mut again = world.dial();
    assert_eq!(again.greet(&hello.resume()), ["CONNACK 00"]);
    assert!(again.recv().is_empty());
}

#[test]
fn connected_client_is_told_to_go_and_its_will_is_published() {
    for version in [V5, V311] {
        let world = World::new();
        let mut other = world.v5("other");
        other.subscribe("gone", 0);
        let hello = Hello::new("s").version(version).will("gone", "s");
        let mut device = world.connect(&hello);
        device.subscribe("t", 1);
        assert!(end(&world, "s").is_some());
        let told = device.recv();
        assert_eq!(told.is_empty(), version == V311);
        assert!(
            told.iter().all(|packet| packet == "DISCONNECT 98"),
            "{told:?}"
        );
        assert!(device.is_closed());
        assert_eq!(other.recv(), ["PUBLISH gone=s q0"]);
        let mut again = world.dial();
        let connack = again.greet(&Hello::new("s").version(version).resume());
        assert_eq!(connack, ["CONNACK 00"]);
        assert_eq!(end(&world, "nobody"), None);
    }
}
