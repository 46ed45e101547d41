//! The layout of documents, byte by byte.

use proptest::prelude::*;

use super::*;
use crate::frame::{QoS, RetainHandling};

fn id(id: u16) -> PacketId {
    NonZeroU16::new(id).unwrap()
}

fn session() -> SessionDocument {
    SessionDocument {
        expiry_s: 0x0102_0304,
        expires_at: Some(Timestamp(0x0506)),
        publisher: PublisherId(0x8000_0000_0000_0007),
        next_tag: 9,
        own_queue: Some(("q1".into(), true)),
        user: None,
    }
}

fn subscription() -> SubscriptionDocument {
    SubscriptionDocument {
        tag: 3,
        options: SubscribeOptions {
            qos: QoS::ExactlyOnce,
            no_local: true,
            retain_as_published: false,
            retain_handling: RetainHandling::SendIfNew,
        },
        id: Some(268_435_455),
        share_queue: Some("s".into()),
    }
}

fn outgoing() -> OutgoingDocument {
    OutgoingDocument {
        step: OutgoingStep::Sent,
        serial: 65_536,
        lsn: Lsn(258),
        queue: None,
    }
}

#[test]
fn keys_have_the_layout_of_version_1() {
    let subjects: [(Subject<'_>, &[u8]); 5] = [
        (Subject::Session, b"mqtt\0\0\x02id\x01"),
        (Subject::Subscription("a/#"), b"mqtt\0\0\x02id\x02a/#"),
        (Subject::Received(id(258)), b"mqtt\0\0\x02id\x03\x01\x02"),
        (Subject::Outgoing(id(65_535)), b"mqtt\0\0\x02id\x04\xFF\xFF"),
        (Subject::ScheduledWill, b"mqtt\0\0\x02id\x05"),
    ];
    for (subject, golden) in subjects {
        assert_eq!(&*key("id", subject), golden);
        assert_eq!(read_key(golden), Some(("id", subject)));
    }
}

#[test]
fn values_have_the_layout_of_version_1() {
    let golden =
        b"\x01\x01\x02\x03\x04\0\0\0\0\0\0\x05\x06\x80\0\0\0\0\0\0\x07\0\0\0\x09\x01\x02q1";
    assert_eq!(session().encode(), golden);
    let connected = SessionDocument {
        expires_at: None,
        own_queue: None,
        ..session()
    };
    let golden = b"\x01\x01\x02\x03\x04\0\0\0\0\0\0\0\0\x80\0\0\0\0\0\0\x07\0\0\0\x09\0\0";
    assert_eq!(connected.encode(), golden);
    let known = SessionDocument {
        user: Some("ann".into()),
        ..connected.clone()
    };
    let golden = b"\x01\x01\x02\x03\x04\0\0\0\0\0\0\0\0\x80\0\0\0\0\0\0\x07\0\0\0\x09\0\0\x03ann";
    assert_eq!(known.encode(), golden);
    assert_eq!(SessionDocument::decode(golden), Some(known));
    assert_eq!(
        subscription().encode(),
        b"\x01\0\0\0\x03\x16\x0F\xFF\xFF\xFF\x01s"
    );
    assert_eq!(received(), b"\x01");
    let will = ScheduleId(0x0102);
    assert_eq!(scheduled_will(will), b"\x01\0\0\0\0\0\0\x01\x02");
    assert_eq!(read_scheduled_will(&scheduled_will(will)), Some(will));
    let golden = b"\x01\x01\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\x01\x02\0";
    assert_eq!(outgoing().encode(), golden);
    let released = OutgoingDocument {
        step: OutgoingStep::Released,
        lsn: Lsn::NONE,
        queue: Some("g".into()),
        ..outgoing()
    };
    let golden = b"\x01\x02\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\x01g";
    assert_eq!(released.encode(), golden);
    assert_eq!(
        SessionDocument::decode(&session().encode()),
        Some(session())
    );
    assert_eq!(
        SessionDocument::decode(&connected.encode()),
        Some(connected)
    );
    let again = SubscriptionDocument::decode(&subscription().encode());
    assert_eq!(again, Some(subscription()));
    assert_eq!(OutgoingDocument::decode(&released.encode()), Some(released));
}

#[test]
fn client_identifiers_that_begin_alike_have_keys_apart() {
    let prefix = session_prefix("a");
    assert!(key("a", Subject::Session).starts_with(&prefix));
    for other in ["", "a\u{1}", "ab", "b"] {
        assert!(!key(other, Subject::Session).starts_with(&prefix));
    }
}

#[test]
fn what_is_cut_short_or_goes_on_is_no_document() {
    let (session, subscription, outgoing) = (
        session().encode(),
        subscription().encode(),
        outgoing().encode(),
    );
    let readable = |value: &[u8]| {
        [
            SessionDocument::decode(value).is_some(),
            SubscriptionDocument::decode(value).is_some(),
            OutgoingDocument::decode(value).is_some(),
        ]
        .contains(&true)
    };
    for value in [session, subscription, outgoing] {
        assert!(readable(&value));
        assert!(!readable(&value[..value.len() - 1]));
        assert!(!readable(&[&value[..], b"\0"].concat()));
        let mut later = value;
        later[0] = 2;
        assert!(!readable(&later));
    }
    for bad in [
        &b"mqtt"[..],
        b"mqtt\0\0\x02i",
        b"mqtt\0\0\0\x03\0\0",
        b"mqtt\0\0\0\x06",
    ] {
        assert_eq!(read_key(bad), None);
    }
}

proptest! {
    #[test]
    fn whatever_is_read_is_a_document_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let prefixed = [PREFIX, &bytes].concat();
        if let Some((client_id, subject)) = read_key(&prefixed) {
            prop_assert_eq!(&*key(client_id, subject), &prefixed[..]);
        }
        let versioned = [&[VERSION], &bytes[..]].concat();
        if let Some(document) = SessionDocument::decode(&versioned) {
            prop_assert_eq!(SessionDocument::decode(&document.encode()), Some(document));
        }
        if let Some(document) = SubscriptionDocument::decode(&versioned) {
            prop_assert_eq!(document.encode(), versioned.clone());
        }
        if let Some(document) = OutgoingDocument::decode(&versioned) {
            prop_assert_eq!(document.encode(), versioned);
        }
    }
}
