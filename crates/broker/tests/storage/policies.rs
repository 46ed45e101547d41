//! Policies over restarts, for queues that are not in memory.

use ternmq_broker::{Broker, Client};
use ternmq_core::access::{PolicyScope, PolicySpec};
use ternmq_core::value::Value;

use crate::node::{Machine, connect, queue, until};
use crate::space::{backlog, publish, take_all};

/// Sets a policy for `q`: so many messages, and what is dropped goes to `dead`. Waits until that is recorded.
fn limit(broker: &Broker, client: &Client, length: i64) {
    let definition = [
        ("max-length", Value::I64(length)),
        ("dead-letter-exchange", Value::text("")),
        ("dead-letter-routing-key", Value::text("dead")),
    ];
    let policy = PolicySpec {
        pattern: "^q$".into(),
        definition: definition.into_iter().map(|(n, v)| (n.into(), v)).collect(),
        ..PolicySpec::default()
    };
    let put = broker
        .admin()
        .put_policy(PolicyScope::User, "/", "p", policy);
    let lsn = put.unwrap().lsn;
    until("it is recorded", || client.committed() >= lsn);
}

fn ready(client: &mut Client, name: &str) -> u64 {
    client.check_queue(name).unwrap().messages
}

#[test]
fn policy_is_in_force_when_a_start_applies_limits_again() {
    for cut in [true, false] {
        let machine = Machine::new(41);
        let (broker, mut client) = backlog(&machine, "q", 1_000);
        client.declare_queue(queue("dead", true, &[])).unwrap();
        limit(&broker, &client, 900);
        until("cold messages are dropped too", || {
            ready(&mut client, "dead") == 100
        });
        broker.checkpoint();
        // In the journal's tail only.
        limit(&broker, &client, 800);
        drop(client);
        if cut {
            machine.cut(&broker, 5);
        } else {
            broker.close();
        }
        drop(broker);
        let broker = machine.open();
        let mut client = connect(&broker);
        let status = broker.queue_policy("/", "q").unwrap();
        assert_eq!(status.policy.as_deref(), Some("p"));
        until("what is over the limit is dropped", || {
            ready(&mut client, "q") == 800
        });
        until("it is dead", || ready(&mut client, "dead") == 200);
        assert!(publish(&mut client, "q", 1_000..1_001, true).is_empty());
        until("the oldest one makes room", || {
            ready(&mut client, "dead") == 201
        });
        let admin = broker.admin();
        admin.delete_policy(PolicyScope::User, "/", "p").unwrap();
        publish(&mut client, "q", 1_001..1_002, true);
        assert_eq!(ready(&mut client, "q"), 801);
        assert_eq!(take_all(&mut client, "dead"), (0..201).collect::<Vec<_>>());
        drop(client);
        broker.close();
        assert!(machine.halts.lock().is_empty());
    }
}
