//! What operators set, over restarts; vhosts that go, whole or not at all.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Waker};

use ternmq_broker::admin::{
    AdminRefusal, LimitInfo, ParameterInfo, Password, PermissionInfo, PolicyInfo,
    TopicPermissionInfo, UserInfo, UserSpec, VhostInfo,
};
use ternmq_broker::mailbox::{CloseReason, Mailbox, Notice};
use ternmq_broker::{
    Broker, Changed, Client, ConnectRefusal, DocumentChange, LoginRefusal, UserConfig,
};
use ternmq_core::access::{
    ApplyTo, Permission, PolicyScope, PolicySpec, TopicPermission, UserLimit, VhostLimit, VhostSpec,
};
use ternmq_core::error::Refusal;
use ternmq_core::id::Lsn;
use ternmq_core::value::Value;
use ternmq_journal::simulated::{Fault, Random};

use crate::node::{Letter, Machine, connect, queue, request, until};

const LOOPBACK: std::net::IpAddr = std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

/// Everything that is set.
#[derive(Clone, PartialEq, Debug)]
struct Everything {
    vhosts: Vec<VhostInfo>,
    users: Vec<UserInfo>,
    permissions: Vec<PermissionInfo>,
    topic_permissions: Vec<TopicPermissionInfo>,
    policies: [Vec<PolicyInfo>; 2],
    parameters: Vec<ParameterInfo>,
    globals: Vec<(Box<str>, Box<str>)>,
    vhost_limits: Vec<LimitInfo<VhostLimit>>,
    user_limits: Vec<LimitInfo<UserLimit>>,
}

fn everything(broker: &Broker) -> Everything {
    let admin = broker.admin();
    Everything {
        vhosts: admin.vhosts(),
        users: admin.users(),
        permissions: admin.permissions(),
        topic_permissions: admin.topic_permissions(),
        policies: [PolicyScope::User, PolicyScope::Operator].map(|scope| admin.policies(scope)),
        parameters: admin.parameters(),
        globals: admin.global_parameters(),
        vhost_limits: admin.vhost_limits(),
        user_limits: admin.user_limits(),
    }
}

fn wait(broker: &Broker, lsn: Lsn) {
    let mut committed = pin!(broker.committed_when(lsn));
    let mut context = Context::from_waker(Waker::noop());
    until("a change is committed", || {
        committed.as_mut().poll(&mut context).is_ready()
    });
}

fn plain(password: &str, tags: &[&str]) -> UserSpec {
    UserSpec {
        password: Password::Plain(password.as_bytes().into()),
        tags: tags.iter().map(|tag| (*tag).into()).collect(),
    }
}

fn policy(priority: i64) -> PolicySpec {
    PolicySpec {
        pattern: "^q".into(),
        apply_to: ApplyTo::Queues,
        priority,
        definition: [("max-length".into(), Value::I64(priority))]
            .into_iter()
            .collect(),
    }
}

/// One of each.
fn set_one_of_each(broker: &Broker) -> Lsn {
    let admin = broker.admin();
    let spec = VhostSpec {
        description: "shop".into(),
        tags: vec!["production".into()],
        default_queue_type: Some("quorum".into()),
        ..VhostSpec::default()
    };
    admin.put_vhost("v", spec).unwrap();
    admin
        .put_user("ann", plain("secret", &["monitoring"]))
        .unwrap();
    let permission = Permission {
        configure: String::new().into(),
        ..Permission::everything()
    };
    admin.put_permission("v", "ann", permission).unwrap();
    let keys = TopicPermission {
        write: "^a".into(),
        read: "^b".into(),
    };
    admin
        .put_topic_permission(("v", "ann", "amq.topic"), keys)
        .unwrap();
    admin
        .put_policy(PolicyScope::User, "v", "p", policy(1))
        .unwrap();
    admin
        .put_policy(PolicyScope::Operator, "v", "p", policy(2))
        .unwrap();
    admin
        .put_parameter(("shovel", "v", "s"), "{\"a\":1}")
        .unwrap();
    admin.put_global_parameter("cluster_name", "\"c\"").unwrap();
    admin.put_vhost_limit("v", VhostLimit::Queues, 1).unwrap();
    admin
        .put_user_limit("ann", UserLimit::Channels, 7)
        .unwrap()
        .lsn
}

fn connect_ann(broker: &Broker) -> Client {
    let ann = broker.login("ann", b"secret", LOOPBACK).unwrap();
    broker.connect(&ann, "v", Mailbox::new(10)).unwrap()
}

#[test]
fn everything_that_is_set_is_there_after_every_kind_of_start() {
    let machine = Machine::new(400);
    let broker = machine.open();
    wait(&broker, set_one_of_each(&broker));
    let set = everything(&broker);
    let scram = broker.scram("ann").unwrap();
    // From the journal, from a checkpoint, and from both.
    machine.cut(&broker, 1);
    let broker = machine.open();
    assert_eq!(everything(&broker), set);
    broker.close();
    let broker = machine.open();
    assert_eq!(everything(&broker), set);
    broker.checkpoint();
    let changed = broker.admin().put_user("bob", plain("x", &[])).unwrap();
    wait(&broker, changed.lsn);
    let set = everything(&broker);
    machine.cut(&broker, 2);
    let broker = machine.open();
    assert_eq!(everything(&broker), set);
    assert!(broker.scram("ann").unwrap() == scram);

    let mut client = connect_ann(&broker);
    assert_eq!(client.user().tags(), &["monitoring".into()]);
    assert!(matches!(
        client.declare_queue(queue("q", true, &[])),
        Err(Refusal::AccessRefused { .. })
    ));
    let guest = broker.system_user();
    let mut admin = broker.connect(&guest, "v", Mailbox::new(10)).unwrap();
    admin.declare_queue(queue("q", true, &[])).unwrap();
    let refused = admin.declare_queue(queue("r", true, &[]));
    assert!(matches!(refused, Err(Refusal::QueueLimit { max: 1, .. })));
    assert_eq!(
        broker.login("ann", b"other", LOOPBACK).unwrap_err(),
        LoginRefusal::BadCredentials
    );
    drop((client, admin));
    broker.close();
}

#[test]
fn configuration_counts_on_the_first_start_only() {
    let mut machine = Machine::new(401);
    machine.config.vhosts = vec!["/".to_owned(), "old".to_owned()];
    let broker = machine.open();
    assert_eq!(broker.admin().vhosts().len(), 2);
    let guest = broker.admin().user("guest").unwrap();
    assert_eq!(guest.tags, ["administrator".into()]);
    let changed = broker.admin().delete_vhost("old").unwrap();
    wait(&broker, changed.lsn);
    let set = everything(&broker);
    machine.cut(&broker, 1);

    machine.config.vhosts.push("new".to_owned());
    machine.config.users = vec![UserConfig {
        name: "new".to_owned(),
        ..UserConfig::default()
    }];
    for _ in 0..2 {
        let broker = machine.open();
        assert_eq!(everything(&broker), set);
        let guest = broker.login("guest", b"guest", LOOPBACK).unwrap();
        for vhost in ["old", "new"] {
            let refused = broker.connect(&guest, vhost, Mailbox::new(10));
            assert_eq!(refused.err(), Some(ConnectRefusal::NoSuchVhost));
        }
        broker.close();
    }
}

/// A queue with messages, a binding, a retained message and a document.
fn fill(broker: &Broker, vhost: &str, messages: u64) -> Lsn {
    let user = broker.system_user();
    let mut client = broker.connect(&user, vhost, Mailbox::new(10)).unwrap();
    client.declare_queue(queue("q", true, &[])).unwrap();
    let mut turn = ternmq_broker::Turn::new();
    for id in 0..messages {
        let letter = Letter {
            id,
            bytes: 100,
            durable: true,
            priority: None,
        };
        let route = client.route(&request("", "q")).unwrap();
        turn.push(letter.build("", "q", broker.now()), route);
    }
    client.publish(&mut turn, broker.now());
    let letter = Letter {
        id: 1,
        bytes: 10,
        durable: true,
        priority: None,
    };
    let kept = letter.build("amq.topic", "a/b", broker.now());
    client.retain(b"a/b", Some(kept)).unwrap();
    let document = DocumentChange {
        key: b"key".as_slice().into(),
        value: Some(b"value".as_slice().into()),
    };
    client.put_documents(vec![document]).unwrap()
}

/// Messages, retained messages and documents of a vhost; none if there is no such vhost.
fn contents(broker: &Broker, vhost: &str) -> Option<(Option<u64>, usize, usize)> {
    let user = broker.system_user();
    let mut client = broker.connect(&user, vhost, Mailbox::new(10)).ok()?;
    let messages = client.check_queue("q").ok().map(|info| info.messages);
    let mut retained = Vec::new();
    client.retained(b"#", broker.now(), &mut retained);
    Some((messages, retained.len(), broker.documents(vhost, b"").len()))
}

#[test]
fn vhost_goes_whole_or_not_at_all() {
    for seed in 0..42 {
        let machine = Machine::new(500 + seed);
        let broker = machine.open();
        let admin = broker.admin();
        admin.put_vhost("v", VhostSpec::default()).unwrap();
        admin
            .put_permission("v", "guest", Permission::everything())
            .unwrap();
        wait(&broker, fill(&broker, "v", 50));
        if seed % 2 == 0 {
            broker.checkpoint();
        }
        // The cut comes while it is written, before or behind that, or once it is committed.
        let is_awaited = seed % 3 == 0;
        if seed % 3 == 1 {
            machine.storage.fail(None, 0, Fault::PowerCut);
        }
        let deleted = broker.admin().delete_vhost("v").unwrap();
        assert_eq!(contents(&broker, "v"), None);
        if is_awaited {
            wait(&broker, deleted.lsn);
        }
        machine.cut(&broker, seed);
        let broker = machine.open();
        let permitted = broker.admin().permission("v", "guest").is_some();
        match contents(&broker, "v") {
            None => assert!(!permitted),
            Some(whole) => {
                assert!(!is_awaited, "seed {seed}");
                assert_eq!(whole, (Some(50), 1, 1), "seed {seed}");
                assert!(permitted);
            }
        }
        assert!(machine.halts.lock().is_empty());
        broker.close();
    }
}

#[test]
fn vhost_that_is_made_again_has_nothing_of_the_one_before() {
    for checkpoint in [false, true] {
        let machine = Machine::new(600);
        let broker = machine.open();
        broker.admin().put_vhost("v", VhostSpec::default()).unwrap();
        fill(&broker, "v", 30);
        if checkpoint {
            broker.checkpoint();
        }
        broker.admin().delete_vhost("v").unwrap();
        broker.admin().put_vhost("v", VhostSpec::default()).unwrap();
        assert_eq!(contents(&broker, "v"), Some((None, 0, 0)));
        wait(&broker, fill(&broker, "v", 3));
        if checkpoint {
            broker.checkpoint();
        }
        machine.cut(&broker, 1);
        let broker = machine.open();
        assert_eq!(contents(&broker, "v"), Some((Some(3), 1, 1)));
        broker.close();
    }
}

#[test]
fn protected_vhost_stays() {
    let machine = Machine::new(601);
    let broker = machine.open();
    let spec = VhostSpec {
        protected: true,
        ..VhostSpec::default()
    };
    broker.admin().put_vhost("v", spec).unwrap();
    assert_eq!(
        broker.admin().delete_vhost("v"),
        Err(AdminRefusal::Protected)
    );
    fill(&broker, "v", 1);
    broker.admin().put_vhost("v", VhostSpec::default()).unwrap();
    broker.admin().delete_vhost("v").unwrap();
    assert_eq!(
        broker.admin().delete_vhost("v"),
        Err(AdminRefusal::NotFound)
    );
    broker.close();
}

#[test]
fn who_works_in_a_vhost_that_goes_can_change_nothing_any_more() {
    let machine = Machine::new(602);
    let broker = machine.open();
    broker.admin().put_vhost("v", VhostSpec::default()).unwrap();
    let user = broker.system_user();
    let mut client = broker.connect(&user, "v", Mailbox::new(10)).unwrap();
    client.declare_queue(queue("q", true, &[])).unwrap();
    let lsn = broker.admin().delete_vhost("v").unwrap().lsn;
    let mut notices = Vec::new();
    client.mailbox().drain(&mut notices);
    let reason = CloseReason::Administrative("vhost 'v' is deleted".into());
    assert_eq!(notices, [Notice::Close(reason)]);
    let refused = client.declare_queue(queue("r", true, &[]));
    assert_eq!(refused.unwrap_err(), Refusal::VhostDeleted);
    let letter = Letter {
        id: 1,
        bytes: 10,
        durable: true,
        priority: None,
    };
    let kept = letter.build("amq.topic", "a", broker.now());
    assert_eq!(
        client.retain(b"a", Some(kept)).unwrap_err(),
        Refusal::VhostDeleted
    );
    let document = DocumentChange {
        key: b"key".as_slice().into(),
        value: None,
    };
    assert!(client.put_documents(vec![document]).is_err());
    wait(&broker, lsn);
    // Nothing came behind the record that would keep the node from starting.
    client.close();
    machine.cut(&broker, 1);
    let broker = machine.open();
    assert_eq!(contents(&broker, "v"), None);
    broker.close();
}

#[test]
fn checkpoints_meet_vhosts_that_come_and_go() {
    for seed in 0..6 {
        let machine = Machine::new(700 + seed);
        let broker = machine.open();
        let stop = AtomicBool::new(false);
        let last = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    broker.checkpoint();
                }
            });
            let mut last = Lsn::NONE;
            for round in 0..30_u64 {
                let name = ["a", "b"][usize::from(round % 2 == 0)];
                broker
                    .admin()
                    .put_vhost(name, VhostSpec::default())
                    .unwrap();
                fill(&broker, name, round);
                last = broker.admin().delete_vhost(name).unwrap().lsn;
            }
            stop.store(true, Ordering::Relaxed);
            last
        });
        wait(&broker, last);
        machine.cut(&broker, seed);
        let broker = machine.open();
        assert_eq!(broker.admin().vhosts().len(), 1, "seed {seed}");
        assert!(machine.halts.lock().is_empty());
        drop(connect(&broker));
        broker.close();
    }
}

/// One random change. Those that are refused change nothing.
fn change(broker: &Broker, random: &mut Random) -> Result<Changed, AdminRefusal> {
    let admin = broker.admin();
    let vhost = ["/", "a", "b"][random.below(3)];
    let user = ["guest", "ann", "bob"][random.below(3)];
    let number = random.below(100) as u64;
    let pattern = format!("^{number}");
    match random.below(16) {
        0 => admin.put_vhost(vhost, VhostSpec::default()),
        1 if vhost != "/" => admin.delete_vhost(vhost),
        2 => {
            let password = Password::Hash(ternmq_broker::admin::hash_password(
                ternmq_core::access::HashAlgorithm::Sha256,
                b"x",
            ));
            let tags = vec![pattern.into()];
            admin.put_user(user, UserSpec { password, tags })
        }
        3 => admin.delete_user(user),
        4 | 5 => {
            let permission = Permission {
                write: pattern.into(),
                ..Permission::everything()
            };
            admin.put_permission(vhost, user, permission)
        }
        6 => admin.delete_permission(vhost, user),
        7 => {
            let keys = TopicPermission {
                write: pattern.into(),
                read: ".*".into(),
            };
            admin.put_topic_permission((vhost, user, "amq.topic"), keys)
        }
        8 => admin.delete_topic_permission(vhost, user, None),
        9 => admin.put_policy(PolicyScope::User, vhost, user, policy(3)),
        10 => admin.delete_policy(PolicyScope::User, vhost, user),
        11 => admin.put_parameter(("c", vhost, user), &number.to_string()),
        12 => admin.put_global_parameter(user, &number.to_string()),
        13 => admin.put_vhost_limit(vhost, VhostLimit::Connections, number),
        14 => admin.put_user_limit(user, UserLimit::Channels, number),
        _ => admin.delete_global_parameter(user),
    }
}

#[test]
fn random_changes_are_there_up_to_a_place_behind_the_last_one_that_was_waited_for() {
    for seed in 0..12 {
        let mut random = Random(800 + seed);
        let machine = Machine::new(800 + seed);
        let mut broker = machine.open();
        let begun = broker
            .admin()
            .put_global_parameter("begun", "true")
            .unwrap();
        wait(&broker, begun.lsn);
        // States that may be found after a cut, the first one surely reached.
        let mut states = vec![everything(&broker)];
        for _ in 0..150 {
            match random.below(30) {
                0 => broker.checkpoint(),
                1 => {
                    broker.close();
                    broker = machine.open();
                    let last = states.pop().unwrap();
                    assert_eq!(everything(&broker), last, "seed {seed}");
                    states = vec![last];
                }
                2 => {
                    machine.cut(&broker, seed);
                    broker = machine.open();
                    let found = everything(&broker);
                    assert!(states.contains(&found), "seed {seed}");
                    states = vec![found];
                }
                _ => {
                    let Ok(changed) = change(&broker, &mut random) else {
                        assert_eq!(states.last(), Some(&everything(&broker)));
                        continue;
                    };
                    states.push(everything(&broker));
                    if random.below(4) == 0 {
                        wait(&broker, changed.lsn);
                        states.drain(..states.len() - 1);
                    }
                }
            }
        }
        broker.close();
    }
}
