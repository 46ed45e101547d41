use super::shelf::Shelf;
use super::*;
use crate::record::RecordError;

fn restore(bed: &mut Bed, enqueued_at: u64, spec: &Spec, attempts: u32) {
    let incoming = bed.incoming(spec);
    bed.queue
        .restore(Timestamp(enqueued_at), incoming, attempts, 0);
}

#[test]
fn restored_queue_is_as_it_was() {
    let mut bed = Bed::new(QueueSettings {
        message_ttl_ms: Some(100),
        max_length: Some(3),
        ..with_dead_letters()
    });
    for (at, text, attempts) in [
        (0, "a", 0),
        (5, "b", 1),
        (6, "c", 0),
        (7, "d", 0),
        (8, "e", 0),
    ] {
        restore(&mut bed, at, &body(text), attempts);
    }
    assert!(bed.queue.remove_by_lsn(Lsn(3)));
    assert!(!bed.queue.remove_by_lsn(Lsn(3)));
    assert!(bed.queue.set_counters(Lsn(4), 7, 2));
    assert!(!bed.queue.set_counters(Lsn(9), 1, 1));
    assert!(bed.fx.is_empty());
    bed.at(50);
    bed.queue.finish_replay(Timestamp(50), &mut bed.fx);
    assert_eq!(bed.dead(), [("a".into(), DeathReason::MaxLength)]);
    assert_eq!(bed.queue.next_deadline(), Some(Timestamp(105)));
    let got: Vec<Delivery> = (0..3).filter_map(|_| bed.get()).collect();
    assert_eq!(bodies(&got), ["b", "d", "e"]);
    let counters: Vec<(u32, u32)> = got.iter().map(|d| (d.attempts, d.failures)).collect();
    assert_eq!(counters, [(1, 0), (7, 2), (0, 0)]);
}

#[test]
fn entry_that_is_restored_twice_is_there_once() {
    let mut bed = Bed::new(QueueSettings::default());
    restore(&mut bed, 0, &body("a"), 0);
    bed.lsn -= 1;
    restore(&mut bed, 0, &body("a"), 0);
    bed.queue.finish_replay(Timestamp(0), &mut bed.fx);
    assert_eq!(bed.rest(), ["a"]);
}

#[test]
fn everything_that_was_removed_leaves_nothing() {
    let mut bed = Bed::new(QueueSettings {
        message_ttl_ms: Some(5),
        ..QueueSettings::default()
    });
    for _ in 0..500 {
        restore(&mut bed, 0, &body("a"), 0);
    }
    for lsn in (1..=500).rev() {
        assert!(bed.queue.remove_by_lsn(Lsn(lsn)));
    }
    bed.queue.finish_replay(Timestamp(9), &mut bed.fx);
    assert_eq!(bed.queue.counts(), Counts::default());
    assert_eq!(bed.queue.next_deadline(), None);
    assert_eq!(bed.queue.resident_bytes(), 0);
}

/// A bed in replay, with its shelf, some of whose first messages are cold.
fn replayed(messages: u64, freeze_every: u64) -> (Bed, Shelf) {
    let mut bed = Bed::new(QueueSettings::default());
    let mut shelf = Shelf::default();
    for n in 1..=messages {
        let incoming = bed.incoming(&body("a"));
        let message = incoming.message.clone();
        shelf.journal.insert(incoming.lsn, message);
        bed.queue.restore(Timestamp(n), incoming, 0, 0);
        if n % freeze_every == 0 {
            bed.queue.freeze(0, Lsn(u64::MAX));
            shelf.write_all(&mut bed.queue);
        }
    }
    (bed, shelf)
}

/// Reads what changes are pending for. Returns how many chunks those were.
fn amend(bed: &mut Bed, shelf: &mut Shelf) -> usize {
    let (mut after, mut amended) = (None, 0);
    loop {
        let mut chunks = Vec::new();
        bed.queue.pending_cold(after, 2, &mut chunks);
        let Some(last) = chunks.last() else {
            return amended;
        };
        after = Some(last.key);
        for chunk in chunks {
            let entries = shelf.read(&chunk, Timestamp(0));
            assert!(bed.queue.amend_cold(chunk.key, entries, &mut bed.fx));
            amended += 1;
        }
        shelf.forget_freed(&mut bed.fx);
    }
}

/// What is left, with its counters.
fn finish(bed: &mut Bed, shelf: &mut Shelf) -> Vec<(u64, u32, u32)> {
    bed.queue.finish_replay(Timestamp(0), &mut bed.fx);
    let mut out = Vec::new();
    loop {
        if let Some(got) = bed.get() {
            out.push((got.lsn.0, got.attempts, got.failures));
        } else if bed.queue.is_head_cold() {
            shelf.load(&mut bed.queue, Timestamp(0), &mut bed.fx);
        } else {
            return out;
        }
    }
}

#[test]
fn journal_changes_what_went_cold_while_it_was_replayed() {
    let (mut bed, mut shelf) = replayed(200, 50);
    for lsn in [1, 2, 90, 150, 200] {
        assert!(bed.queue.remove_by_lsn(Lsn(lsn)));
    }
    assert!(bed.queue.set_counters(Lsn(3), 2, 1));
    assert!(bed.queue.set_counters(Lsn(3), 3, 2));
    assert!(!bed.queue.remove_by_lsn(Lsn(201)));
    // One that is known is not restored, removed or not.
    bed.lsn = 89;
    restore(&mut bed, 0, &body("a"), 0);
    assert_eq!(amend(&mut bed, &mut shelf), 4);
    assert_eq!(amend(&mut bed, &mut shelf), 0);
    assert_eq!(bed.queue.counts().ready, 195);
    let left = finish(&mut bed, &mut shelf);
    let gone = [1, 2, 90, 150, 200];
    let lsns: Vec<u64> = left.iter().map(|e| e.0).collect();
    let expected: Vec<u64> = (1..=200).filter(|lsn| !gone.contains(lsn)).collect();
    assert_eq!(lsns, expected);
    assert_eq!(left[0], (3, 3, 2));
    assert!(left[1..].iter().all(|e| (e.1, e.2) == (0, 0)));
    assert_eq!(bed.fx.unreadable, 0);
}

#[test]
fn chunk_whose_entries_were_all_removed_is_gone() {
    let (mut bed, mut shelf) = replayed(64, 32);
    for lsn in 1..=32 {
        assert!(bed.queue.remove_by_lsn(Lsn(lsn)));
    }
    assert_eq!(amend(&mut bed, &mut shelf), 1);
    assert_eq!(shelf.pages.len(), 1);
    assert_eq!(bed.queue.counts().ready, 32);
    assert_eq!(finish(&mut bed, &mut shelf)[0].0, 33);
}

/// A snapshot taken after the place from which the journal is replayed.
#[test]
fn snapshot_and_the_records_behind_it_make_the_queue() {
    let (mut bed, mut shelf) = replayed(100, 30);
    bed.queue.finish_replay(Timestamp(0), &mut bed.fx);
    let mut bytes = Vec::new();
    bed.queue.snapshot(&mut bytes);
    bed.queue = Queue::restore_snapshot(QueueSettings::default(), &bytes, Timestamp(0)).unwrap();
    assert_eq!(bed.queue.counts().ready, 100);
    // Records from 90 on are replayed.
    let mut chunks = Vec::new();
    bed.queue.chunks_reaching(Lsn(90), &mut chunks);
    assert_eq!(chunks.len(), 2);
    for chunk in chunks {
        assert_eq!(chunk.purpose, Purpose::Note);
        let entries = shelf.read(&chunk, Timestamp(0));
        bed.queue.note_cold(entries.iter().map(|entry| entry.lsn));
    }
    bed.lsn = 89;
    for _ in 90..=110 {
        let incoming = bed.incoming(&body("a"));
        shelf.journal.insert(incoming.lsn, incoming.message.clone());
        bed.queue.restore(Timestamp(9), incoming, 0, 0);
    }
    for lsn in [5, 95, 105] {
        assert!(bed.queue.remove_by_lsn(Lsn(lsn)));
    }
    assert!(bed.queue.set_counters(Lsn(96), 1, 0));
    assert!(bed.queue.set_counters(Lsn(106), 1, 1));
    amend(&mut bed, &mut shelf);
    // It goes on with what is amended but not read.
    assert_eq!(bed.queue.counts().ready, 107);
    let left = finish(&mut bed, &mut shelf);
    let lsns: Vec<u64> = left.iter().map(|e| e.0).collect();
    let expected = (1..=110).filter(|lsn| ![5, 95, 105].contains(lsn));
    assert_eq!(lsns, expected.collect::<Vec<u64>>());
    assert!(left.contains(&(96, 1, 0)) && left.contains(&(106, 1, 1)));
}

#[test]
fn snapshot_holds_what_consumers_have_and_no_transient_message() {
    let mut bed = Bed::new(QueueSettings {
        max_priority: Some(3),
        ..with_dead_letters()
    });
    let mut shelf = Shelf::default();
    let key = bed.consume(AckMode::Manual, Credit::Limited(4));
    for n in 0..300_u64 {
        let mut incoming = bed.incoming(&Spec {
            priority: Some(u8::try_from(n % 3).unwrap()),
            ..body("a")
        });
        shelf.journal.insert(incoming.lsn, incoming.message.clone());
        if n % 5 == 4 {
            incoming.lsn = Lsn::NONE;
        }
        bed.queue.enqueue(Timestamp(n), incoming, &mut bed.fx);
        if n == 200 {
            bed.queue.freeze(1, Lsn(u64::MAX));
            shelf.write_all(&mut bed.queue);
        }
    }
    bed.queue.freeze(60, Lsn(u64::MAX));
    let out = bed.drain(key);
    bed.settle(&out[..1], Outcome::Return { failed: true });
    let mut bytes = Vec::new();
    bed.queue.snapshot(&mut bytes);
    let settings = bed.queue.settings().clone();
    bed.queue = Queue::restore_snapshot(settings, &bytes, Timestamp(0)).unwrap();
    bed.queue.mark_recovered();
    assert_eq!(bed.queue.counts().ready, 240);
    assert_eq!(bed.queue.counts().ready_bytes, 240);
    bed.queue.finish_replay(Timestamp(0), &mut bed.fx);
    let mut got = Vec::new();
    loop {
        if let Some(delivery) = bed.get() {
            got.push(delivery);
        } else if bed.queue.is_head_cold() {
            shelf.load(&mut bed.queue, Timestamp(0), &mut bed.fx);
        } else {
            break;
        }
    }
    assert!(got.iter().all(|d| d.redelivered && d.lsn.is_some()));
    let lsns: Vec<u64> = got.iter().map(|d| d.lsn.0).collect();
    let mut expected: Vec<u64> = (1..=300).filter(|lsn| lsn % 5 != 0).collect();
    expected.sort_by_key(|lsn| (core::cmp::Reverse((lsn - 1) % 3), *lsn));
    assert_eq!(lsns, expected);
    assert_eq!(bed.fx.unreadable, 0);
    bed.put(&body("new"));
    assert!(!bed.get().unwrap().redelivered);
}

#[test]
fn stragglers_are_in_the_snapshot() {
    let mut bed = Bed::new(QueueSettings::default());
    let mut shelf = Shelf::default();
    let mut leased = Vec::new();
    for n in 0..5000 {
        let incoming = bed.incoming(&body("a"));
        shelf.journal.insert(incoming.lsn, incoming.message.clone());
        bed.queue.enqueue(Timestamp(0), incoming, &mut bed.fx);
        let got = bed.get().unwrap();
        if n % 700 == 3 {
            leased.push(got.lsn.0);
        } else {
            bed.settle(&[got], Outcome::Ack);
        }
    }
    assert!(bed.queue.lanes.plain().strays() > 0);
    let mut bytes = Vec::new();
    bed.queue.snapshot(&mut bytes);
    bed.queue = Queue::restore_snapshot(QueueSettings::default(), &bytes, Timestamp(0)).unwrap();
    let left = finish(&mut bed, &mut shelf);
    assert_eq!(left.iter().map(|e| e.0).collect::<Vec<_>>(), leased);
}

/// The layout is a promise to the disk: if this fails, the version has to change.
#[test]
fn layout_of_snapshots_of_version_1_stays_as_it_is() {
    let empty = |bytes: &[u8]| {
        Queue::restore_snapshot(QueueSettings::default(), bytes, Timestamp(0)).map(|q| q.counts())
    };
    let mut bed = Bed::new(QueueSettings {
        max_priority: Some(1),
        ..QueueSettings::default()
    });
    let mut bytes = Vec::new();
    bed.queue.snapshot(&mut bytes);
    assert_eq!(bytes, [1, 0]);
    assert_eq!(empty(&bytes), Ok(Counts::default()));
    let mut shelf = Shelf::default();
    let short = Spec {
        ttl_ms: Some(5),
        ..body("abc")
    };
    for _ in 0..lane::CHUNK_SLOTS {
        bed.put(&short);
    }
    bed.queue.freeze(0, Lsn(u64::MAX));
    shelf.write_all(&mut bed.queue);
    let page = shelf.pages.pop_first().unwrap().1.len();
    let page = u8::try_from(page % 128).unwrap() | 0x80;
    bed.put(&Spec {
        priority: Some(1),
        ..body("x")
    });
    bytes.clear();
    bed.queue.snapshot(&mut bytes);
    let expected = [
        // Lane 0: 32 entries of 3 bytes, lsns 1 to 32, first deadline 5, first entered at 0.
        &[1, 1, 0, 32, 96, 1, 31, 1, 5, 0, 0][..],
        // One part, on disk in file 7 at 0.
        &[1, 0, 7, 0, page, 1, 0],
        // Lane 1: one entry of 1 byte, lsn 33; one part here.
        &[1, 1, 1, 1, 33, 0, 0, 0, 0, 1, 1, 6, 1, 0, 0, 66, 1, 0, 0],
        &[0],
    ]
    .concat();
    assert_eq!(bytes, expected);
    assert_eq!(empty(&bytes).map(|counts| counts.ready), Ok(33));
}

#[test]
fn damaged_snapshots_are_refused() {
    let restore = |bytes: &[u8]| {
        Queue::restore_snapshot(QueueSettings::default(), bytes, Timestamp(0))
            .map(|_| ())
            .unwrap_err()
    };
    let sound = [
        1, 1, 0, 1, 1, 33, 0, 0, 0, 0, 1, 1, 6, 1, 0, 0, 66, 1, 0, 0, 0,
    ];
    assert!(Queue::restore_snapshot(QueueSettings::default(), &sound, Timestamp(0)).is_ok());
    assert_eq!(restore(&[2, 0]), RecordError::UnknownVersion(2));
    for (at, value) in [
        // Entries that are not there, or too many; other bytes than counted.
        (3, 2),
        (3, 33),
        (4, 2),
        // No record.
        (5, 0),
        // No part; a part of another kind, of another version.
        (10, 0),
        (11, 2),
        (13, 2),
        // A lane without end.
        (19, 1),
    ] {
        let mut bytes = sound;
        bytes[at] = value;
        let error = restore(&bytes);
        let expected = if at == 13 {
            RecordError::UnknownVersion(2)
        } else {
            RecordError::Malformed
        };
        assert_eq!(error, expected, "{at}");
    }
    for end in 0..sound.len() {
        assert_eq!(restore(&sound[..end]), RecordError::Malformed);
    }
    assert_eq!(restore(&[1, 1, 0, 0, 0]), RecordError::Malformed);
    assert_eq!(restore(&[1, 0, 0]), RecordError::Malformed);
}
