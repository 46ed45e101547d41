use alloc::string::String;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::message::{FormatId, PropertyFormat};
use crate::record::{Formats, Record, RecordError, decode, object_put, object_removed};
use crate::value::Value;

struct NoForms;

impl Formats for NoForms {
    fn format(&self, _: FormatId) -> Option<&'static dyn PropertyFormat> {
        None
    }
}

fn name() -> impl Strategy<Value = Box<str>> {
    // Few of them, so that objects meet.
    (0..4_u8).prop_map(|n| alloc::format!("n{n}").into())
}

fn text() -> impl Strategy<Value = Box<str>> {
    ".{0,12}".prop_map(String::into_boxed_str)
}

fn user() -> impl Strategy<Value = UserEntry> {
    let hash = proptest::option::of(proptest::collection::vec(any::<u8>(), 36));
    let scram = proptest::option::of((any::<[u8; 32]>(), any::<[u8; 32]>(), any::<u32>()));
    (hash, scram, proptest::collection::vec(text(), 0..3)).prop_map(|(hash, scram, tags)| {
        UserEntry {
            password: hash.map(|bytes| PasswordHash {
                algorithm: HashAlgorithm::Sha256,
                bytes: bytes.into(),
            }),
            scram: scram.map(|(stored_key, server_key, iterations)| ScramVerifier {
                salt: stored_key[..16].into(),
                iterations,
                stored_key,
                server_key,
            }),
            tags,
        }
    })
}

fn vhost() -> impl Strategy<Value = VhostSpec> {
    let queue_type = proptest::option::of(text());
    (text(), queue_type, any::<bool>(), any::<bool>()).prop_map(
        |(description, default_queue_type, tracing, protected)| VhostSpec {
            tags: Vec::from([description.clone()]),
            description,
            default_queue_type,
            tracing,
            protected,
        },
    )
}

fn policy() -> impl Strategy<Value = PolicySpec> {
    (text(), 0..6_usize, any::<i64>(), any::<i64>()).prop_map(|(pattern, to, priority, max)| {
        PolicySpec {
            pattern,
            apply_to: ApplyTo::ALL[to],
            priority,
            definition: [("max-length".into(), Value::I64(max))]
                .into_iter()
                .collect(),
        }
    })
}

fn scope() -> impl Strategy<Value = PolicyScope> {
    prop_oneof![Just(PolicyScope::User), Just(PolicyScope::Operator)]
}

fn object() -> impl Strategy<Value = Object> {
    prop_oneof![
        (name(), vhost()).prop_map(|(name, spec)| Object::Vhost(name, spec)),
        (name(), user()).prop_map(|(name, entry)| Object::User(name, entry)),
        (name(), name(), text()).prop_map(|(vhost, user, read)| Object::Permission {
            vhost,
            user,
            permission: Permission {
                read,
                ..Permission::everything()
            },
        }),
        (name(), name(), name(), text()).prop_map(|(vhost, user, exchange, write)| {
            Object::TopicPermission {
                vhost,
                user,
                exchange,
                permission: TopicPermission {
                    write,
                    read: ".*".into(),
                },
            }
        }),
        (scope(), name(), name(), policy()).prop_map(|(scope, vhost, name, policy)| {
            Object::Policy {
                scope,
                vhost,
                name,
                policy,
            }
        }),
        (name(), name(), name(), text()).prop_map(|(vhost, component, name, value)| {
            Object::Parameter {
                vhost,
                component,
                name,
                value,
            }
        }),
        (name(), text()).prop_map(|(name, value)| Object::GlobalParameter(name, value)),
        (name(), 0..2_usize, any::<u64>()).prop_map(|(vhost, at, max)| Object::VhostLimit(
            vhost,
            VhostLimit::ALL[at],
            max
        )),
        (name(), 0..2_usize, any::<u64>()).prop_map(|(user, at, max)| Object::UserLimit(
            user,
            UserLimit::ALL[at],
            max
        )),
    ]
}

#[derive(Clone, Debug)]
enum Step {
    Put(Object),
    Remove(ObjectKey),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => object().prop_map(Step::Put),
        1 => object().prop_map(|object| Step::Remove(object.key())),
    ]
}

/// What belongs to what, as plainly as it can be said.
fn belongs(object: &Object, owner: &ObjectKey) -> bool {
    let (vhost, user) = match object {
        Object::Vhost(name, _) => (Some(name), None),
        Object::User(name, _) | Object::UserLimit(name, ..) => (None, Some(name)),
        Object::Permission { vhost, user, .. } | Object::TopicPermission { vhost, user, .. } => {
            (Some(vhost), Some(user))
        }
        Object::Policy { vhost, .. }
        | Object::Parameter { vhost, .. }
        | Object::VhostLimit(vhost, ..) => (Some(vhost), None),
        Object::GlobalParameter(..) => (None, None),
    };
    match owner {
        ObjectKey::Vhost(name) => vhost == Some(name),
        ObjectKey::User(name) => user == Some(name),
        key => object.key() == *key,
    }
}

fn all(objects: &Objects) -> Vec<Object> {
    let mut all = Vec::new();
    objects.for_each(|object| all.push(object));
    all
}

proptest! {
    #[test]
    fn objects_are_as_a_plain_list_of_them(steps in proptest::collection::vec(step(), 0..60)) {
        let mut objects = Objects::default();
        let mut model: Vec<Object> = Vec::new();
        for step in steps {
            match step {
                Step::Put(object) => {
                    let key = object.key();
                    let missing = objects.check_owner(&key).is_err();
                    let was_there = model.iter().any(|o| o.key() == key);
                    prop_assert_eq!(objects.contains(&key), was_there);
                    let put = objects.put(object.clone());
                    if missing {
                        prop_assert!(put.is_err() && !was_there);
                        continue;
                    }
                    prop_assert_eq!(put, Ok(!was_there));
                    model.retain(|o| o.key() != key);
                    model.push(object);
                }
                Step::Remove(key) => {
                    let was_there = model.iter().any(|o| o.key() == key);
                    prop_assert_eq!(objects.remove(&key), was_there);
                    model.retain(|o| !belongs(o, &key));
                }
            }
            prop_assert_eq!(objects.len(), model.len());
            prop_assert_eq!(objects.is_empty(), model.is_empty());
        }
        let found = all(&objects);
        prop_assert_eq!(found.len(), model.len());
        prop_assert!(model.iter().all(|o| found.contains(o)));
        // In the order in which they are written down they can be put again.
        let mut again = Objects::default();
        for object in found {
            prop_assert_eq!(again.put(object), Ok(true));
        }
        prop_assert_eq!(again, objects);
    }

    #[test]
    fn records_of_objects_come_back_the_same(object in object()) {
        let mut out = Vec::new();
        object_put(&object, &mut out);
        for cut in 0..out.len() {
            prop_assert!(decode(&out[..cut], &NoForms).is_err());
        }
        let Ok(Record::ObjectPut(back)) = decode(&out, &NoForms) else { unreachable!() };
        prop_assert_eq!(&back, &object);
        out.clear();
        object_removed(&object.key(), &mut out);
        let Ok(Record::ObjectRemoved(back)) = decode(&out, &NoForms) else { unreachable!() };
        prop_assert_eq!(back, object.key());
    }

    #[test]
    fn damaged_records_of_objects_never_panic(
        object in object(),
        flips in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..4),
    ) {
        let mut out = Vec::new();
        object_put(&object, &mut out);
        for (at, byte) in flips {
            let at = at % out.len();
            out[at] = byte;
        }
        let _ = decode(&out, &NoForms);
    }
}

/// The layout is a promise to the disk: if this fails, the version has to change.
#[test]
fn layout_of_objects_stays_as_it_is() {
    let written = |object: &Object| {
        let mut out = Vec::new();
        object_put(object, &mut out);
        out
    };
    let spec = VhostSpec {
        description: "d".into(),
        tags: Vec::from(["t".into()]),
        default_queue_type: Some("quorum".into()),
        tracing: false,
        protected: true,
    };
    assert_eq!(
        written(&Object::Vhost("v".into(), spec)),
        b"\x01\x10\x01\x01v\x01d\x01\x01t\x01\x06quorum\x00\x01"
    );
    let entry = UserEntry {
        password: Some(PasswordHash {
            algorithm: HashAlgorithm::Md5,
            bytes: Box::from(*b"salthash"),
        }),
        scram: None,
        tags: Vec::from(["administrator".into()]),
    };
    assert_eq!(
        written(&Object::User("u".into(), entry)),
        b"\x01\x10\x02\x01u\x01\x03\x08salthash\x00\x01\x0dadministrator"
    );
    let policy = PolicySpec {
        pattern: "^q".into(),
        apply_to: ApplyTo::Queues,
        priority: -2,
        definition: [("max-length".into(), Value::I64(5))].into_iter().collect(),
    };
    let policy = Object::Policy {
        scope: PolicyScope::Operator,
        vhost: "v".into(),
        name: "p".into(),
        policy,
    };
    assert_eq!(
        written(&policy),
        b"\x01\x10\x05\x01v\x01p\x01\x02^q\x06queues\xfe\xff\xff\xff\xff\xff\xff\xff\
          \x01\x0amax-length\x08\x05\x00\x00\x00\x00\x00\x00\x00"
    );
    assert_eq!(
        written(&Object::UserLimit("u".into(), UserLimit::Channels, 300)),
        b"\x01\x10\x09\x01u\x01\xac\x02"
    );
    let mut out = Vec::new();
    object_removed(
        &ObjectKey::VhostLimit("v".into(), VhostLimit::Queues),
        &mut out,
    );
    assert_eq!(out, b"\x01\x11\x08\x01v\x01");
}

#[test]
fn unknown_classes_are_refused() {
    for record in [
        &[1, 16, 10, 1, b'v'][..],
        &[1, 17, 0],
        &[1, 17, 8, 1, b'v', 2],
    ] {
        assert_eq!(
            decode(record, &NoForms).map(drop),
            Err(RecordError::Malformed)
        );
    }
}

#[test]
fn secrets_are_not_in_debug_output() {
    let entry = UserEntry {
        password: Some(PasswordHash {
            algorithm: HashAlgorithm::Sha256,
            bytes: Box::from([77; 36]),
        }),
        scram: Some(ScramVerifier {
            salt: Box::from([77; 16]),
            iterations: 4096,
            stored_key: [77; 32],
            server_key: [77; 32],
        }),
        tags: Vec::new(),
    };
    let shown = alloc::format!("{entry:?}");
    assert!(shown.contains("Sha256") && !shown.contains("77"), "{shown}");
}
