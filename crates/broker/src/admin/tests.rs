use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use super::*;
use crate::bed::{START, broker, queue};
use crate::clock::ManualClock;
use crate::config::{BrokerConfig, UserConfig};
use crate::mailbox::{CloseReason, Mailbox, Notice};
use crate::users::LoginRefusal;
use crate::{Client, ConnectRefusal};
use ternmq_core::access::{HashAlgorithm, PasswordHash, Right};
use ternmq_core::error::{Kind, Refusal};
use ternmq_core::id::Timestamp;
use ternmq_journal::MemoryLog;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));

fn plain(password: &[u8]) -> UserSpec {
    UserSpec {
        password: Password::Plain(password.into()),
        tags: vec!["management".into()],
    }
}

fn on(config: &BrokerConfig) -> Broker {
    let clock = Arc::new(ManualClock::new(START));
    Broker::new(config, clock, Arc::new(MemoryLog::new()))
}

fn ann(broker: &Broker) -> Client {
    let admin = broker.admin();
    admin.put_user("ann", plain(b"secret")).unwrap();
    let everything = Permission::everything();
    admin.put_permission("/", "ann", everything).unwrap();
    let user = broker.login("ann", b"secret", ELSEWHERE).unwrap();
    broker.connect(&user, "/", Mailbox::new(10)).unwrap()
}

#[test]
fn new_node_has_an_administrator_who_comes_from_this_machine() {
    let broker = broker();
    let guest = broker.login("guest", b"guest", LOOPBACK).unwrap();
    assert!(guest.has_tag("administrator"));
    let mapped = IpAddr::V6(Ipv4Addr::LOCALHOST.to_ipv6_mapped());
    for peer in [IpAddr::V6(Ipv6Addr::LOCALHOST), mapped] {
        assert!(broker.login("guest", b"guest", peer).is_ok());
    }
    let refused = |peer, password: &[u8]| broker.login("guest", password, peer).unwrap_err();
    assert_eq!(refused(ELSEWHERE, b"guest"), LoginRefusal::LoopbackOnly);
    // Whether the password was right is not told from elsewhere.
    assert_eq!(refused(ELSEWHERE, b"x"), LoginRefusal::BadCredentials);
    let everything = Permission::everything();
    assert_eq!(broker.admin().permission("/", "guest"), Some(everything));
    assert!(broker.login_external("guest", ELSEWHERE).is_err());
    assert!(broker.login_external("guest", LOOPBACK).is_ok());
    assert!(broker.login_external("nobody", LOOPBACK).is_err());
}

#[test]
fn configuration_says_who_comes_from_this_machine_only() {
    let user = |name: &str, loopback_only| UserConfig {
        name: name.to_owned(),
        loopback_only,
        ..UserConfig::default()
    };
    let only = |users: Vec<UserConfig>, names: Option<&[&str]>| {
        let config = BrokerConfig {
            users,
            loopback_users: names.map(|n| n.iter().map(|n| (*n).to_owned()).collect()),
            ..BrokerConfig::default()
        };
        config.loopback_names()
    };
    assert_eq!(only(vec![user("guest", true)], None), ["guest".into()]);
    assert!(only(vec![user("guest", false)], None).is_empty());
    // Whoever makes a guest later has one from here only.
    assert_eq!(only(vec![user("a", false)], None), ["guest".into()]);
    let names = ["guest".into(), "a".into()];
    assert_eq!(only(vec![user("a", true)], None), names);
    assert!(only(vec![user("a", true)], Some(&[])).is_empty());
    assert_eq!(only(vec![user("a", false)], Some(&["b"])), [Box::from("b")]);
}

#[test]
fn user_without_a_password_logs_in_by_other_means() {
    let broker = broker();
    let admin = broker.admin();
    for password in [Password::None, Password::Plain(Box::default())] {
        let tags = Vec::new();
        admin.put_user("ann", UserSpec { password, tags }).unwrap();
        assert_eq!(admin.user("ann").unwrap().password, None);
        for attempt in [&b""[..], b"x"] {
            assert!(broker.login("ann", attempt, LOOPBACK).is_err());
        }
        assert!(broker.login_external("ann", ELSEWHERE).is_ok());
        assert!(broker.scram("ann").is_none());
    }
}

#[test]
fn password_is_kept_while_tags_change() {
    let broker = broker();
    let admin = broker.admin();
    assert!(admin.put_user("ann", plain(b"secret")).unwrap().created);
    let known = admin.user("ann").unwrap();
    let scram = broker.scram("ann");
    let spec = UserSpec {
        password: Password::Keep,
        tags: vec!["monitoring".into()],
    };
    assert!(!admin.put_user("ann", spec).unwrap().created);
    assert_eq!(admin.user("ann").unwrap().password, known.password);
    assert!(broker.scram("ann") == scram && scram.is_some());
    let user = broker.login("ann", b"secret", LOOPBACK).unwrap();
    assert_eq!(user.tags(), &["monitoring".into()]);
}

#[test]
fn hash_that_was_made_elsewhere_lets_in() {
    let broker = broker();
    let admin = broker.admin();
    for algorithm in [
        HashAlgorithm::Sha256,
        HashAlgorithm::Sha512,
        HashAlgorithm::Md5,
    ] {
        let spec = UserSpec {
            password: Password::Hash(hash_password(algorithm, b"secret")),
            tags: Vec::new(),
        };
        admin.put_user("ann", spec).unwrap();
        assert!(broker.login("ann", b"secret", LOOPBACK).is_ok());
        assert!(broker.login("ann", b"other", LOOPBACK).is_err());
        // Nobody knows the password, so there is nothing to prove it by.
        assert!(broker.scram("ann").is_none());
    }
    let empty = PasswordHash {
        algorithm: HashAlgorithm::Sha256,
        bytes: Box::default(),
    };
    let spec = UserSpec {
        password: Password::Hash(empty),
        tags: Vec::new(),
    };
    admin.put_user("ann", spec).unwrap();
    assert!(broker.login("ann", b"", LOOPBACK).is_err());
}

#[test]
fn what_cannot_be_is_refused_and_changes_nothing() {
    let broker = broker();
    let admin = broker.admin();
    let long = "n".repeat(NAME_BYTES_MAX + 1);
    let is_invalid =
        |result: Result<Changed, AdminRefusal>| matches!(result, Err(AdminRefusal::Invalid(_)));
    for name in ["", &long] {
        assert!(is_invalid(admin.put_vhost(name, VhostSpec::default())));
        assert!(is_invalid(admin.put_user(name, plain(b"x"))));
        assert!(is_invalid(admin.put_global_parameter(name, "1")));
        let policy = PolicySpec::default();
        assert!(is_invalid(admin.put_policy(
            PolicyScope::User,
            "/",
            name,
            policy
        )));
    }
    let fits = "n".repeat(NAME_BYTES_MAX);
    assert!(admin.put_vhost(&fits, VhostSpec::default()).is_ok());
    let spec = UserSpec {
        tags: vec!["t".into(); TAGS_MAX + 1],
        ..plain(b"x")
    };
    assert!(is_invalid(admin.put_user("ann", spec)));
    let password = "p".repeat(PASSWORD_BYTES_MAX + 1);
    assert!(is_invalid(
        admin.put_user("ann", plain(password.as_bytes()))
    ));
    assert!(
        admin
            .put_user("ann", plain(&password.as_bytes()[1..]))
            .is_ok()
    );
    let text = "x".repeat(TEXT_BYTES_MAX + 1);
    assert!(is_invalid(admin.put_global_parameter("p", &text)));
    assert!(admin.put_global_parameter("p", &text[1..]).is_ok());
    let broken = Permission {
        read: "(".into(),
        ..Permission::everything()
    };
    let before = admin.permission("/", "guest");
    assert!(is_invalid(admin.put_permission("/", "guest", broken)));
    assert_eq!(admin.permission("/", "guest"), before);

    let everything = Permission::everything();
    assert_eq!(
        admin.put_permission("nowhere", "guest", everything.clone()),
        Err(AdminRefusal::NoSuchVhost)
    );
    assert_eq!(
        admin.put_permission("/", "nobody", everything),
        Err(AdminRefusal::NoSuchUser)
    );
    assert_eq!(admin.delete_user("nobody"), Err(AdminRefusal::NotFound));
    assert_eq!(
        admin.delete_permission("nowhere", "guest"),
        Err(AdminRefusal::NoSuchVhost)
    );
    assert_eq!(
        admin.delete_topic_permission("/", "guest", None),
        Err(AdminRefusal::NotFound)
    );
}

#[test]
fn user_who_is_deleted_and_made_again_has_nothing() {
    let broker = broker();
    let mut client = ann(&broker);
    client.declare_queue(queue("q", &[])).unwrap();
    let admin = broker.admin();
    admin.delete_user("ann").unwrap();
    assert!(
        client.check_queue("q").is_err(),
        "it may do nothing any more"
    );
    admin.put_user("ann", plain(b"secret")).unwrap();
    assert!(client.check_queue("q").is_err());
    assert_eq!(admin.permission("/", "ann"), None);
    let user = broker.login("ann", b"secret", ELSEWHERE).unwrap();
    let refused = broker.connect(&user, "/", Mailbox::new(10));
    assert_eq!(refused.err(), Some(ConnectRefusal::NotAllowed));
}

#[test]
fn own_account_may_do_what_the_user_may_not() {
    let broker = broker();
    let mut client = ann(&broker);
    let nothing = Permission::default();
    broker.admin().put_permission("/", "ann", nothing).unwrap();
    let declare = |client: &mut Client| client.declare_queue(queue("q", &[])).map(drop);
    let refused = declare(&mut client);
    assert!(matches!(refused, Err(Refusal::AccessRefused { .. })));
    assert_eq!(client.on_own_account(declare), Ok(()));
    let request = crate::bed::request(b"", b"q");
    assert!(
        client
            .on_own_account(|client| client.route(&request))
            .is_ok()
    );
    // What was found out that way is not remembered.
    assert!(client.route(&request).is_err());
}

#[test]
fn topic_permission_may_name_the_client_and_names_are_no_patterns() {
    let broker = broker();
    let mut client = ann(&broker);
    let keys = TopicPermission {
        write: "^{client_id}\\.{username}$".into(),
        read: ".*".into(),
    };
    let admin = broker.admin();
    admin
        .put_topic_permission(("/", "ann", "amq.topic"), keys)
        .unwrap();
    let route = |client: &mut Client, key: &[u8]| {
        let request = crate::bed::request(b"amq.topic", key);
        client.route(&request).map(drop)
    };
    assert!(route(&mut client, b"a.ann").is_err());
    client.identify("a");
    assert!(route(&mut client, b"a.ann").is_ok());
    assert!(route(&mut client, b"b.ann").is_err());
    client.identify(".*");
    assert!(route(&mut client, b"b.ann").is_err());
    assert!(route(&mut client, b".*.ann").is_ok());
}

#[test]
fn slashed_topics_are_checked_as_they_look_with_dots() {
    use ternmq_core::routing::key::KeySyntax::Slashed;
    let broker = broker();
    let mut client = ann(&broker);
    let keys = TopicPermission {
        write: String::new().into(),
        read: "^sensors\\.\\*\\.#$".into(),
    };
    let admin = broker.admin();
    admin
        .put_topic_permission(("/", "ann", "amq.topic"), keys)
        .unwrap();
    let mut read = |key: &[u8]| client.check_topic(Right::Read, "amq.topic", (key, Slashed));
    assert_eq!(read(b"sensors/+/#"), Ok(()));
    let refused = Refusal::TopicRefused {
        right: Right::Read,
        exchange: "amq.topic".into(),
        key: "alarms.*".into(),
    };
    assert_eq!(read(b"alarms/+"), Err(refused));
}

#[test]
fn rights_of_another_authority_are_asked_for_as_well() {
    #[derive(Debug)]
    struct Reader;
    impl Rights for Reader {
        fn may(&self, right: Right, _: Kind, _: &str) -> bool {
            right == Right::Read
        }
        fn may_on_topic(&self, _: Right, _: &str, _: &str) -> bool {
            true
        }
    }
    impl Authority for Reader {
        fn rights(&self, scene: &Scene<'_>) -> Option<Arc<dyn Rights>> {
            (scene.vhost == "/").then(|| Arc::new(Self) as Arc<dyn Rights>)
        }
        fn renew(self: Arc<Self>, _: &User, _: &[u8], _: Timestamp) -> Result<User, LoginRefusal> {
            Err(LoginRefusal::BadCredentials)
        }
    }
    let broker = broker();
    let user = Arc::new(User::new("token", &[], Arc::new(Reader)));
    broker.admin().put_vhost("v", VhostSpec::default()).unwrap();
    let refused = broker.connect(&user, "v", Mailbox::new(10));
    assert_eq!(refused.err(), Some(ConnectRefusal::NotAllowed));
    let mut client = broker.connect(&user, "/", Mailbox::new(10)).unwrap();
    assert!(client.check_exchange("amq.topic").is_ok());
    let refused = client.declare_queue(queue("q", &[]));
    assert!(matches!(refused, Err(Refusal::AccessRefused { .. })));
}

#[test]
fn change_without_a_store_is_committed_at_once() {
    let broker = broker();
    let changed = broker.admin().put_user("ann", plain(b"x")).unwrap();
    let mut committed = std::pin::pin!(broker.committed_when(changed.lsn));
    let waker = std::task::Waker::noop();
    let mut context = std::task::Context::from_waker(waker);
    assert!(committed.as_mut().poll(&mut context).is_ready());
}

#[test]
fn without_users_in_the_configuration_nobody_logs_in() {
    let broker = on(&BrokerConfig {
        users: Vec::new(),
        ..BrokerConfig::default()
    });
    assert!(broker.login("guest", b"guest", LOOPBACK).is_err());
    let refused = broker.connect(&broker.default_user(), "/", Mailbox::new(10));
    assert_eq!(refused.err(), Some(ConnectRefusal::NotAllowed));
}

/// Lets in who has its own name as password, with a tag, until then.
#[derive(Debug)]
struct Elsewhere {
    until: Timestamp,
}

impl Backend for Elsewhere {
    fn login(&self, attempt: &Attempt<'_>, _: Timestamp) -> Result<User, LoginRefusal> {
        if attempt.password != Some(attempt.user.as_bytes()) {
            return Err(LoginRefusal::BadCredentials);
        }
        let authority = Arc::new(Lasting);
        Ok(User::new(attempt.user, &["far".into()], authority).until(self.until))
    }
}

/// May do everything; a secret that is a number is when the login ends then.
#[derive(Debug)]
struct Lasting;

impl Authority for Lasting {
    fn rights(&self, _: &Scene<'_>) -> Option<Arc<dyn Rights>> {
        Some(Arc::new(Everything))
    }

    fn renew(
        self: Arc<Self>,
        user: &User,
        secret: &[u8],
        _: Timestamp,
    ) -> Result<User, LoginRefusal> {
        let text = std::str::from_utf8(secret).ok();
        let until = text.and_then(|text| text.parse().ok());
        let until = until.ok_or(LoginRefusal::BadCredentials)?;
        Ok(user.clone().until(START.plus_ms(until)))
    }
}

fn elsewhere() -> Place {
    Place::External(Arc::new(Elsewhere {
        until: START.plus_ms(1_000),
    }))
}

fn step(authn: Place, authz: Option<Place>) -> LoginStep {
    LoginStep { authn, authz }
}

#[test]
fn those_who_know_users_are_asked_in_their_order() {
    let broker = broker();
    broker.ask_for_users(vec![step(elsewhere(), None), step(Place::Internal, None)]);
    let user = broker.login("guest", b"guest", LOOPBACK).unwrap();
    assert!(user.has_tag("far"), "the first who lets it in");
    broker.admin().put_user("ann", plain(b"secret")).unwrap();
    let user = broker.login("ann", b"secret", ELSEWHERE).unwrap();
    assert!(user.has_tag("management"));
    let user = broker.login("bob", b"bob", ELSEWHERE).unwrap();
    assert!(user.has_tag("far"));
    let refused = |name, password: &[u8], peer| broker.login(name, password, peer).unwrap_err();
    assert_eq!(
        refused("bob", b"x", ELSEWHERE),
        LoginRefusal::BadCredentials
    );
    let loopback = refused("guest", b"guest", ELSEWHERE);
    assert_eq!(loopback, LoginRefusal::LoopbackOnly, "whoever lets it in");
    assert!(broker.login_external("ann", LOOPBACK).is_ok());
}

/// Lets in whomever something else vouches for.
#[derive(Debug)]
struct Trusting;

impl Backend for Trusting {
    fn login(&self, attempt: &Attempt<'_>, _: Timestamp) -> Result<User, LoginRefusal> {
        let is_vouched_for = attempt.password.is_none();
        let user = || User::new(attempt.user, &["far".into()], Arc::new(Lasting));
        is_vouched_for
            .then(user)
            .ok_or(LoginRefusal::BadCredentials)
    }
}

#[test]
fn proof_of_a_password_of_this_broker_says_nothing_to_others() {
    let trusting = || Place::External(Arc::new(Trusting));
    let broker = broker();
    broker.admin().put_user("ann", plain(b"secret")).unwrap();
    broker.ask_for_users(vec![step(trusting(), None), step(Place::Internal, None)]);
    let certified = broker.login_external("ann", LOOPBACK).unwrap();
    assert!(certified.has_tag("far"));
    let proved = |name| broker.log_in(&Attempt::proved(name, LOOPBACK));
    assert!(!proved("ann").unwrap().has_tag("far"));
    assert_eq!(proved("bob").err(), Some(LoginRefusal::BadCredentials));
}

#[test]
fn only_those_are_asked_who_are_named() {
    let broker = broker();
    broker.admin().put_user("ann", plain(b"secret")).unwrap();
    broker.ask_for_users(vec![step(elsewhere(), None)]);
    assert!(broker.login("ann", b"secret", LOOPBACK).is_err());
    assert!(broker.login_external("ann", LOOPBACK).is_err());
    assert_eq!(broker.scram("ann"), None);
}

#[test]
fn one_may_say_who_it_is_and_another_what_it_may_do() {
    let broker = broker();
    broker.admin().put_user("ann", plain(b"secret")).unwrap();
    broker.ask_for_users(vec![step(elsewhere(), Some(Place::Internal))]);
    let user = broker.login("ann", b"ann", LOOPBACK).unwrap();
    assert!(user.has_tag("far") && user.has_tag("management"));
    assert_eq!(user.expires_at(), Some(START.plus_ms(1_000)));
    let refused = broker.connect(&user, "/", Mailbox::new(1));
    assert_eq!(refused.err(), Some(ConnectRefusal::NotAllowed));
    assert!(broker.login("ann", b"secret", LOOPBACK).is_err());
    assert!(
        broker.login("bob", b"bob", LOOPBACK).is_err(),
        "not known here"
    );
}

#[test]
fn new_secret_has_to_please_both_who_it_is_and_what_it_may_do() {
    for (authn, authz) in [
        (elsewhere(), Place::Internal),
        (Place::Internal, elsewhere()),
    ] {
        let broker = broker();
        broker.admin().put_user("ann", plain(b"ann")).unwrap();
        broker.ask_for_users(vec![step(authn, Some(authz))]);
        let user = broker.login("ann", b"ann", LOOPBACK).unwrap();
        let refused = broker.renew(&user, b"nothing that lets anybody in", LOOPBACK);
        assert_eq!(refused.err(), Some(LoginRefusal::BadCredentials));
        let mut user = user;
        for until in [5_000, 9_000] {
            let secret = until.to_string();
            user = broker.renew(&user, secret.as_bytes(), LOOPBACK).unwrap();
            assert_eq!(user.expires_at(), Some(START.plus_ms(until)));
            assert!(user.has_tag("management"));
        }
        broker.admin().delete_user("ann").unwrap();
        assert!(broker.renew(&user, b"9000", LOOPBACK).is_err());
    }
}

#[test]
fn connection_is_closed_when_its_login_ends() {
    let broker = broker();
    broker.ask_for_users(vec![step(elsewhere(), None)]);
    let user = broker.login("bob", b"bob", LOOPBACK).unwrap();
    let connect = || {
        let mailbox = Mailbox::new(1);
        let client = broker.connect(&user, "/", mailbox.clone()).unwrap();
        (client, mailbox)
    };
    let (_first, first) = connect();
    let (mut second, renewed) = connect();
    let (third, _) = connect();
    drop(third);
    assert_eq!(broker.next_deadline(), Some(START.plus_ms(1_000)));
    assert!(broker.renew(&user, b"x", LOOPBACK).is_err());
    second.renew_user(broker.renew(&user, b"5000", LOOPBACK).unwrap());
    broker.tick(START.plus_ms(999));
    assert!(!first.has_notices());
    broker.tick(START.plus_ms(1_000));
    let mut notices = Vec::new();
    first.drain(&mut notices);
    assert_eq!(notices, [Notice::Close(CloseReason::CredentialExpired)]);
    assert!(!renewed.has_notices());
    assert_eq!(broker.next_deadline(), Some(START.plus_ms(5_000)));
    drop(second);
    assert_eq!(broker.next_deadline(), None);
}

#[test]
fn limits_of_a_vhost_are_set_in_one_batch() {
    let log = Arc::new(MemoryLog::new());
    let clock = Arc::new(ManualClock::new(START));
    let broker = Broker::new(&BrokerConfig::default(), clock, log);
    let admin = broker.admin();
    let limits = || {
        let all = admin.vhost_limits().into_iter();
        all.flat_map(|info| info.limits).collect::<Vec<_>>()
    };
    let first = [(VhostLimit::Connections, 5), (VhostLimit::Queues, 1)];
    let changed = admin.set_vhost_limits("/", &first).unwrap();
    assert!(changed.created);
    assert_eq!(limits(), first);
    let mut client = ann(&broker);
    client.declare_queue(queue("one", &[])).unwrap();
    assert!(client.declare_queue(queue("two", &[])).is_err());
    // Lifts one and changes the other: two records, the last of which is named.
    let second = [(VhostLimit::Connections, 7)];
    let before = admin.put_global_parameter("mark", "1").unwrap().lsn;
    let changed = admin.set_vhost_limits("/", &second).unwrap();
    assert_eq!((changed.created, changed.lsn), (false, Lsn(before.0 + 2)));
    assert_eq!(limits(), second);
    client.declare_queue(queue("two", &[])).unwrap();
    assert!(admin.set_vhost_limits("/", &[]).is_ok());
    assert_eq!(admin.set_vhost_limits("/", &[]).unwrap().lsn, Lsn::NONE);
    assert!(limits().is_empty());
    assert_eq!(
        admin.set_vhost_limits("nope", &first),
        Err(AdminRefusal::NoSuchVhost)
    );
}

#[test]
fn topic_permissions_of_a_user_go_together() {
    let broker = broker();
    let admin = broker.admin();
    let _ann = ann(&broker);
    let keys = TopicPermission {
        write: "a".into(),
        read: "b".into(),
    };
    for exchange in ["x", "y"] {
        admin
            .put_topic_permission(("/", "ann", exchange), keys.clone())
            .unwrap();
    }
    let before = admin.put_global_parameter("mark", "1").unwrap().lsn;
    let gone = admin.delete_topic_permission("/", "ann", None).unwrap();
    assert_eq!(gone.lsn, Lsn(before.0 + 2));
    assert!(admin.topic_permissions().is_empty());
    for (vhost, refusal) in [
        ("/", AdminRefusal::NotFound),
        ("nope", AdminRefusal::NoSuchVhost),
    ] {
        assert_eq!(
            admin.delete_topic_permission(vhost, "ann", None),
            Err(refusal)
        );
    }
}
