//! The layout of parts.

use alloc::vec;

use proptest::prelude::*;

use super::shelf::OnlyNone;
use super::*;
use crate::queue::part::{Item, Scan, Writer};
use crate::record::RecordError;

fn plain(slot: u8, lsn: u64, enqueued_at: u64) -> ColdEntry {
    ColdEntry {
        slot,
        lsn: Lsn(lsn),
        tags: Tags::None,
        enqueued_at: Timestamp(enqueued_at),
        ttl_ms: None,
        attempts: 0,
        failures: 0,
        body_bytes: 16,
        message: None,
    }
}

fn packed(entries: &[ColdEntry]) -> Vec<u8> {
    let mut writer = Writer::new();
    for entry in entries {
        assert!(writer.push(&entry.item()));
    }
    writer.finish()
}

fn with_message(mut entry: ColdEntry, body: &[u8]) -> ColdEntry {
    let mut new = NewMessage::plain(b"x", b"k", body);
    new.ttl_ms = entry.ttl_ms;
    entry.lsn = Lsn::NONE;
    entry.body_bytes = u32::try_from(body.len()).unwrap();
    entry.message = Some(new.build(&mut Vec::new()));
    entry
}

fn assert_same(a: &[ColdEntry], b: &[ColdEntry]) {
    assert_eq!(a.len(), b.len());
    for (a, b) in a.iter().zip(b) {
        let fields = |e: &ColdEntry| {
            let body = e.message.as_ref().map(|message| message.body().to_vec());
            let counters = (e.attempts, e.failures);
            (
                e.slot,
                e.lsn,
                e.tags.clone(),
                e.enqueued_at,
                e.ttl_ms,
                counters,
                e.body_bytes,
                body,
            )
        };
        assert_eq!(fields(a), fields(b));
    }
}

/// The layout is a promise to the disk: if this fails, the version has to change.
#[test]
fn layout_of_parts_of_version_1_stays_as_it_is() {
    let entries = [
        plain(3, 1000, 5000),
        plain(4, 1001, 5001),
        ColdEntry {
            ttl_ms: Some(9),
            attempts: 2,
            failures: 1,
            tags: Tags::One(7),
            ..plain(6, 999, 4999)
        },
        ColdEntry {
            tags: Tags::from_vec(vec![1, 300]),
            ..plain(7, 1002, 4999)
        },
        with_message(plain(9, 0, 5000), b"b"),
    ];
    let expected = [
        &[1, 3][..],
        &[0, 0xd0, 0x0f, 16, 0x90, 0x4e],
        &[0, 2, 16, 2],
        &[1 | 4 | 8 | 16, 1, 3, 16, 3, 9, 2, 1, 7],
        &[32, 6, 16, 0, 2, 1, 0xac, 2],
        &[1 | 2, 1, 1, 2, 10, 0, 0, 0, 1, b'x', 1, b'k', 0, 1, b'b'],
    ]
    .concat();
    assert_eq!(packed(&entries), expected);
    assert_same(&decode_part(&expected, &OnlyNone).unwrap(), &entries);
}

#[test]
fn plain_entries_take_few_bytes() {
    let entries: Vec<_> = (0..32)
        .map(|n| {
            plain(
                n,
                (1 << 40) + u64::from(n) * 200,
                1_700_000_000_000 + u64::from(n),
            )
        })
        .collect();
    assert!(packed(&entries).len() <= 2 + 16 + 32 * 6);
}

#[test]
fn damaged_parts_are_refused() {
    let refused = |bytes: &[u8]| decode_part(bytes, &OnlyNone).unwrap_err();
    assert_eq!(refused(&[2, 0, 0, 2, 0, 0]), RecordError::UnknownVersion(2));
    for bytes in [
        &[][..],
        &[1],
        // No entry.
        &[1, 0],
        // Flags that mean nothing, or not together.
        &[1, 0, 64, 2, 0, 0],
        &[1, 0, 16 | 32, 2, 0, 0],
        // The first one passes over slots; another one over none.
        &[1, 0, 1, 1, 2, 0, 0],
        &[1, 0, 0, 2, 0, 0, 1, 0, 2, 0, 0],
        // A slot behind the last.
        &[1, 32, 0, 2, 0, 0],
        &[1, 31, 0, 2, 0, 0, 0, 2, 0, 0],
        // Lsn 0.
        &[1, 0, 0, 0, 0, 0],
        // One tag as a list; a list longer than the part.
        &[1, 0, 32, 2, 0, 0, 1, 5],
        &[1, 0, 32, 2, 0, 0, 0xff, 0xff, 0xff, 0x7f, 5],
        // A body longer than a body can be.
        &[1, 0, 0, 2, 0xff, 0xff, 0xff, 0xff, 0x7f, 0],
        // A message that is cut, one of another length, one with more behind it.
        &[1, 0, 2, 1, 0, 9, 0, 0, 0, 0],
        &[1, 0, 2, 2, 0, 8, 0, 0, 0, 0, 0, 0, 1, b'b'],
        &[1, 0, 2, 1, 0, 9, 0, 0, 0, 0, 0, 0, 1, b'b', 0],
    ] {
        assert_eq!(refused(bytes), RecordError::Malformed, "{bytes:?}");
    }
    let other = [1, 0, 2, 1, 0, 8, 0, 9, 0, 0, 0, 0, 1, b'b'];
    assert_eq!(refused(&other), RecordError::UnknownFormat(9));
}

fn entry() -> impl Strategy<Value = ColdEntry> {
    let numbers = (1u64.., any::<u64>(), any::<u32>());
    let tags = prop::collection::vec(any::<u32>(), 0..4).prop_map(Tags::from_vec);
    let rest = (any::<Option<u64>>(), any::<(bool, u32, u32)>(), tags);
    let inline = prop::option::weighted(0.2, prop::collection::vec(any::<u8>(), 0..30));
    (numbers, rest, inline).prop_map(|((lsn, enqueued_at, body_bytes), rest, inline)| {
        let (ttl_ms, (counters, attempts, failures), tags) = rest;
        let entry = ColdEntry {
            ttl_ms,
            attempts: if counters { attempts } else { 0 },
            failures: if counters { failures } else { 0 },
            tags,
            body_bytes,
            ..plain(0, lsn, enqueued_at)
        };
        match inline {
            Some(body) => with_message(entry, &body),
            None => entry,
        }
    })
}

fn entries() -> impl Strategy<Value = Vec<ColdEntry>> {
    let slots = prop::sample::subsequence((0..32).collect::<Vec<u8>>(), 1..32);
    (slots, prop::collection::vec(entry(), 32)).prop_map(|(slots, mut entries)| {
        entries.truncate(slots.len());
        for (slot, entry) in slots.into_iter().zip(&mut entries) {
            entry.slot = slot;
        }
        entries
    })
}

proptest! {
    #[test]
    fn entries_come_back_the_same_however_they_were_packed(entries in entries(), split in any::<prop::sample::Index>()) {
        let bytes = packed(&entries);
        assert_same(&decode_part(&bytes, &OnlyNone).unwrap(), &entries);
        let (head, tail) = entries.split_at(split.index(entries.len()));
        if !head.is_empty() {
            let mut writer = Writer::resume(packed(head)).unwrap_or_else(|_| unreachable!());
            for entry in tail {
                prop_assert!(writer.push(&entry.item()));
            }
            prop_assert_eq!(writer.finish(), bytes);
        }
    }

    #[test]
    fn damaged_parts_never_panic(
        entries in entries(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = packed(&entries);
        for (at, value) in flips {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        bytes.truncate(cut.index(bytes.len() + 1));
        let _ = decode_part(&bytes, &OnlyNone);
    }

    #[test]
    fn arbitrary_bytes_are_no_reason_to_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode_part(&bytes, &OnlyNone);
        let restore = |bytes: &[u8]| Queue::restore_snapshot(QueueSettings::default(), bytes, Timestamp(0));
        let _ = restore(&bytes);
        if let [first, ..] = &mut bytes[..] {
            *first = 1;
            let _ = decode_part(&bytes, &OnlyNone);
            let _ = restore(&bytes);
        }
    }
}

#[test]
fn entry_without_record_and_message_is_not_packed() {
    let mut writer = Writer::new();
    let entry = ColdEntry {
        lsn: Lsn::NONE,
        ..plain(0, 1, 1)
    };
    assert!(!writer.push(&Item { ..entry.item() }));
    assert!(writer.finish().is_empty());
    assert!(Scan::new(&[]).is_err());
}
