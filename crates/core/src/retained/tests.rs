use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::message::NewMessage;

const NOW: Timestamp = Timestamp(1_000);

fn message(topic: &str, body: &str, ttl_ms: Option<u64>) -> Message {
    let new = NewMessage {
        key_syntax: KeySyntax::Slashed,
        ttl_ms,
        received_at: NOW,
        ..NewMessage::plain(b"amq.topic", topic.as_bytes(), body.as_bytes())
    };
    new.build(&mut Vec::new())
}

fn store(topics: &[&str]) -> RetainedStore {
    let mut store = RetainedStore::new(RetainedLimits::default());
    for topic in topics {
        store
            .set(topic.as_bytes(), message(topic, topic, None), Lsn(1))
            .unwrap();
    }
    store
}

fn matching(store: &RetainedStore, filter: &str, now: Timestamp) -> Vec<String> {
    let mut found = Vec::new();
    store.for_each_matching(filter.as_bytes(), now, |topic, message| {
        assert_eq!(
            topic,
            message.routing_key(),
            "the message of that very topic"
        );
        found.push(String::from_utf8(topic.to_vec()).unwrap());
    });
    found.sort();
    found
}

fn body(store: &RetainedStore, topic: &str) -> Option<String> {
    store
        .get(topic.as_bytes(), NOW)
        .map(|m| String::from_utf8_lossy(m.body()).into_owned())
}

#[test]
fn the_last_message_of_a_topic_is_kept_until_it_is_cleared() {
    let mut store = store(&["a/b"]);
    store
        .set(b"a/b", message("a/b", "second", None), Lsn(1))
        .unwrap();
    let mut found = Vec::new();
    store.matching(b"a/+", NOW, &mut found);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].body(), b"second");
    assert_eq!(body(&store, "a/b").as_deref(), Some("second"));
    assert_eq!(store.len(), 1);
    assert_eq!(store.clear(b"a/b").unwrap().body(), b"second");
    assert!(store.clear(b"a/b").is_none());
    assert!(store.clear(b"never").is_none());
    assert!(store.is_empty());
}

#[test]
fn filters_match_topics_as_subscriptions_do() {
    let store = store(&["a", "a/b", "a/b/c", "/", "/a", "b/b", "$SYS/x", "$SYS"]);
    let find = |filter| matching(&store, filter, NOW);
    assert_eq!(find("a/b"), ["a/b"]);
    assert_eq!(find("a/#"), ["a", "a/b", "a/b/c"]);
    assert_eq!(find("+/b"), ["a/b", "b/b"]);
    assert_eq!(find("+"), ["a"]);
    assert_eq!(find("+/+"), ["/", "/a", "a/b", "b/b"]);
    assert_eq!(find("/+"), ["/", "/a"]);
    assert_eq!(find("+/b/#"), ["a/b", "a/b/c", "b/b"]);
    assert_eq!(find("#"), ["/", "/a", "a", "a/b", "a/b/c", "b/b"]);
    assert_eq!(find("$SYS/#"), ["$SYS", "$SYS/x"]);
    assert_eq!(
        find("+/x"),
        [""; 0],
        "wildcards at the first level pass over `$`"
    );
    assert_eq!(find("a/b/+/+"), [""; 0]);
}

#[test]
fn everything_is_visited_for_a_checkpoint() {
    let mut store = store(&["a/b", "$SYS/x", ""]);
    store
        .set(b"old", message("old", "", Some(0)), Lsn(1))
        .unwrap();
    let mut all = Vec::new();
    store.for_each(|topic, _, _| all.push(String::from_utf8_lossy(topic).into_owned()));
    all.sort();
    assert_eq!(all, ["", "$SYS/x", "a/b", "old"]);
}

#[test]
fn expired_message_is_not_found_and_goes_when_asked() {
    let mut store = store(&["stays"]);
    store
        .set(b"a/x", message("a/x", "", Some(10)), Lsn(1))
        .unwrap();
    store
        .set(b"a/y", message("a/y", "", Some(30)), Lsn(1))
        .unwrap();
    assert_eq!(store.next_expiry(), Some(NOW.plus_ms(10)));
    assert_eq!(
        matching(&store, "#", NOW.plus_ms(9)),
        ["a/x", "a/y", "stays"]
    );
    assert_eq!(matching(&store, "#", NOW.plus_ms(10)), ["a/y", "stays"]);
    assert!(store.get(b"a/x", NOW.plus_ms(10)).is_none());
    assert_eq!(store.expire(NOW.plus_ms(9)), 0);
    assert_eq!(store.expire(NOW.plus_ms(10)), 1);
    assert_eq!(
        (store.len(), store.next_expiry()),
        (2, Some(NOW.plus_ms(30)))
    );
    // An overwritten message's deadline is gone with it.
    store
        .set(b"a/y", message("a/y", "new", None), Lsn(1))
        .unwrap();
    assert_eq!(store.expire(NOW.plus_ms(1_000)), 0);
    assert_eq!(store.next_expiry(), None);
}

#[test]
fn new_topics_are_refused_at_the_count_limit_and_overwriting_is_not() {
    let mut store = store(&["a", "b"]);
    store.set_limits(RetainedLimits {
        messages_max: 3,
        ..RetainedLimits::default()
    });
    assert!(
        store
            .set(b"c/d/e", message("c/d/e", "", None), Lsn(1))
            .is_ok()
    );
    let refused = store.set(b"f", message("f", "", None), Lsn(1)).unwrap_err();
    assert_eq!(
        refused,
        Refusal::LimitReached {
            limit: "retained_messages_max",
            max: 3
        }
    );
    assert!(
        store
            .set(b"a", message("a", "longer than before", None), Lsn(1))
            .is_ok()
    );
    // A level on the way to a topic is not a topic.
    assert!(store.set(b"c/d", message("c/d", "", None), Lsn(1)).is_err());
    store.clear(b"b").unwrap();
    assert!(store.set(b"f", message("f", "", None), Lsn(1)).is_ok());
}

#[test]
fn what_has_expired_makes_room_for_a_new_topic() {
    let mut store = store(&[]);
    store.set_limits(RetainedLimits {
        messages_max: 1,
        ..RetainedLimits::default()
    });
    store
        .set(b"old", message("old", "", Some(0)), Lsn(1))
        .unwrap();
    store.set(b"new", message("new", "", None), Lsn(1)).unwrap();
    assert_eq!(matching(&store, "#", NOW), ["new"]);
    assert!(
        store
            .set(b"newer", message("newer", "", None), Lsn(1))
            .is_err()
    );
}

#[test]
fn new_topics_and_larger_messages_are_refused_at_the_byte_limit() {
    let mut store = store(&["a"]);
    let one = store.bytes();
    store.set_limits(RetainedLimits {
        bytes_max: 2 * one,
        ..RetainedLimits::default()
    });
    assert!(store.set(b"b", message("b", "b", None), Lsn(1)).is_ok());
    assert_eq!(store.bytes(), 2 * one);
    let refused = store
        .set(b"c", message("c", "c", None), Lsn(1))
        .unwrap_err();
    assert!(matches!(
        refused,
        Refusal::LimitReached {
            limit: "retained_bytes_max",
            ..
        }
    ));
    assert!(store.set(b"a", message("a", "xy", None), Lsn(1)).is_err());
    assert_eq!(
        body(&store, "a").as_deref(),
        Some("a"),
        "the last one stays"
    );
    assert!(store.set(b"a", message("a", "y", None), Lsn(1)).is_ok());
    store.set_limits(RetainedLimits {
        bytes_max: one,
        ..RetainedLimits::default()
    });
    assert!(store.set(b"a", message("a", "z", None), Lsn(1)).is_ok());
    store.clear(b"a").unwrap();
    store.clear(b"b").unwrap();
    assert_eq!(store.bytes(), 0);
}

#[test]
fn expired_messages_are_forgotten_in_parts_and_make_room_all_the_same() {
    let mut store = store(&[]);
    for n in 0..=RETAINED_EXPIRE_MAX {
        let topic = n.to_string();
        store
            .set(topic.as_bytes(), message(&topic, "", Some(0)), Lsn(1))
            .unwrap();
    }
    assert_eq!(store.expire(NOW), RETAINED_EXPIRE_MAX);
    assert_eq!(store.next_expiry(), Some(NOW));
    store.set_limits(RetainedLimits {
        messages_max: 1,
        ..RetainedLimits::default()
    });
    store.set(b"new", message("new", "", None), Lsn(1)).unwrap();
    assert_eq!(store.len(), 1);
}

#[test]
fn topic_of_very_many_levels_needs_no_deep_stack() {
    let deep = "/".repeat(65_000);
    let mut store = store(&[&deep]);
    assert_eq!(matching(&store, "#", NOW), [&*deep]);
    assert_eq!(matching(&store, &deep, NOW), [&*deep]);
    assert!(store.clear(deep.as_bytes()).is_some());
    assert_eq!(store.nodes.len(), 1);
}

fn matches(filter: &str, topic: &str) -> bool {
    let (filter, topic): (Vec<&str>, Vec<&str>) =
        (filter.split('/').collect(), topic.split('/').collect());
    if topic[0].starts_with('$') && matches!(filter[0], "+" | "#") {
        return false;
    }
    let open = filter.last() == Some(&"#");
    let fixed = &filter[..filter.len() - usize::from(open)];
    let enough = if open {
        topic.len() >= fixed.len()
    } else {
        topic.len() == fixed.len()
    };
    enough && fixed.iter().zip(&topic).all(|(f, t)| *f == "+" || f == t)
}

fn topic() -> impl Strategy<Value = String> {
    let level = prop_oneof![Just("a"), Just("b"), Just(""), Just("$c")];
    prop::collection::vec(level, 1..5).prop_map(|levels| levels.join("/"))
}

fn filter() -> impl Strategy<Value = String> {
    let level = prop_oneof![
        Just("a"),
        Just("b"),
        Just(""),
        Just("$c"),
        Just("+"),
        Just("+")
    ];
    (prop::collection::vec(level, 0..5), any::<bool>()).prop_map(|(mut levels, open)| {
        if open || levels.is_empty() {
            levels.push("#");
        }
        levels.join("/")
    })
}

proptest! {
    #[test]
    fn store_agrees_with_a_map_that_is_scanned(
        steps in prop::collection::vec((topic(), prop::option::weighted(0.7, prop::option::of(0..4u64))), 1..60),
        filters in prop::collection::vec(filter(), 1..8),
        later in 0..5u64,
    ) {
        let mut store = RetainedStore::new(RetainedLimits::default());
        let mut model: BTreeMap<String, (String, Option<u64>)> = BTreeMap::new();
        for (n, (topic, set)) in steps.into_iter().enumerate() {
            let text = format!("{n}");
            if let Some(ttl) = set {
                store.set(topic.as_bytes(), message(&topic, &text, ttl), Lsn(1)).unwrap();
                model.insert(topic, (text, ttl));
            } else {
                let old = store.clear(topic.as_bytes());
                prop_assert_eq!(old.is_some(), model.remove(&topic).is_some());
            }
        }
        let now = NOW.plus_ms(later);
        let live = |ttl: &Option<u64>| ttl.is_none_or(|ttl| ttl > later);
        for pass in ["before expiry", "after expiry"] {
            prop_assert_eq!(store.len(), model.len());
            for filter in &filters {
                let wanted: Vec<_> = model
                    .iter()
                    .filter(|(topic, (_, ttl))| live(ttl) && matches(filter, topic))
                    .map(|(topic, (text, _))| (topic.clone(), text.clone()))
                    .collect();
                let mut found = Vec::new();
                store.for_each_matching(filter.as_bytes(), now, |topic, message| {
                    let text = |bytes: &[u8]| core::str::from_utf8(bytes).unwrap().to_string();
                    found.push((text(topic), text(message.body())));
                });
                found.sort();
                prop_assert_eq!(found, wanted, "{} {}", filter, pass);
            }
            let expired = model.values().filter(|(_, ttl)| !live(ttl)).count();
            prop_assert_eq!(store.expire(now), expired);
            model.retain(|_, (_, ttl)| live(ttl));
        }
        for topic in model.keys() {
            prop_assert!(store.clear(topic.as_bytes()).is_some());
        }
        prop_assert_eq!((store.len(), store.bytes(), store.nodes.len()), (0, 0, 1));
    }
}
