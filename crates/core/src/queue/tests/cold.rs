//! Messages that go cold and come back.

use super::shelf::{OnlyNone, Shelf};
use super::*;
use crate::message::Body;
use crate::policy::Overflow;
use crate::queue::lane::CHUNK_SLOTS;

const ANY: Lsn = Lsn(u64::MAX);

/// A bed with a shelf.
pub(super) struct Cellar {
    pub(super) bed: Bed,
    shelf: Shelf,
}

impl Cellar {
    pub(super) fn new(settings: QueueSettings) -> Self {
        Self {
            bed: Bed::new(settings),
            shelf: Shelf::default(),
        }
    }

    pub(super) fn put(&mut self, spec: &Spec, times: usize) {
        for _ in 0..times {
            let incoming = self.bed.incoming(spec);
            let message = incoming.message.clone();
            self.shelf.journal.insert(incoming.lsn, message);
            let now = Timestamp(self.bed.now);
            self.bed.queue.enqueue(now, incoming, &mut self.bed.fx);
        }
    }

    fn put_transient(&mut self, times: usize, bytes: usize) {
        for _ in 0..times {
            let mut incoming = self.bed.incoming(&body("t"));
            let mut new = incoming.message.to_new();
            let long = alloc::vec![b'.'; bytes];
            new.body = Body::copy_from(&long);
            let message = new.build(&mut Vec::new());
            (incoming.message, incoming.lsn) = (message, Lsn::NONE);
            self.bed
                .queue
                .enqueue(Timestamp(0), incoming, &mut self.bed.fx);
        }
    }

    /// Everything that may goes to disk.
    pub(super) fn store(&mut self) {
        self.bed.queue.freeze(0, ANY);
        self.shelf.write_all(&mut self.bed.queue);
    }

    fn load(&mut self) {
        let now = Timestamp(self.bed.now);
        self.shelf.load(&mut self.bed.queue, now, &mut self.bed.fx);
    }

    fn wanted(&mut self) -> Vec<ColdChunk> {
        let mut out = Vec::new();
        let now = Timestamp(self.bed.now);
        self.bed.queue.wanted_cold(now, 1, 1, &mut out);
        out
    }

    pub(super) fn read(&self, chunk: &ColdChunk) -> Vec<ColdEntry> {
        self.shelf.read(chunk, Timestamp(self.bed.now))
    }

    fn thaw(&mut self, key: ChunkKey, entries: Vec<ColdEntry>) -> bool {
        let now = Timestamp(self.bed.now);
        self.bed.queue.thaw(now, key, entries, &mut self.bed.fx)
    }

    fn rest(&mut self) -> u64 {
        let mut got = 0;
        loop {
            got += self.bed.rest().len() as u64;
            if !self.bed.queue.is_head_cold() {
                return got;
            }
            self.load();
        }
    }
}

#[test]
fn cold_messages_count_as_ready_and_leave_memory() {
    let mut cellar = Cellar::new(QueueSettings::default());
    cellar.put(&body("a"), 10 * CHUNK_SLOTS);
    let before = cellar.bed.queue.resident_bytes();
    let counts = cellar.bed.queue.counts();
    assert_eq!(cellar.bed.queue.freeze(0, ANY), 10 * CHUNK_SLOTS as u64);
    let packed = cellar.bed.queue.resident_bytes();
    assert!(packed < before / 10);
    cellar.shelf.write_all(&mut cellar.bed.queue);
    assert_eq!(cellar.bed.queue.resident_bytes(), 10 * COLD_CHUNK_BYTES);
    assert_eq!(cellar.bed.queue.counts(), counts);
    assert_eq!(cellar.bed.queue.lanes.resident_slots(), 0);
    assert_eq!(cellar.rest(), counts.ready);
    assert!(cellar.shelf.pages.is_empty());
    assert_eq!(cellar.bed.queue.resident_bytes(), 0);
}

/// In a build with full chunks.
#[test]
fn a_million_messages_on_disk_cost_less_than_a_megabyte() {
    let chunks = 1_000_000_usize.div_ceil(256);
    let per_chunk = size_of::<lane::Chunk>() + size_of::<crate::queue::cold::Cold>();
    assert!(chunks * per_chunk < 500_000);
    assert!(chunks * COLD_CHUNK_BYTES < 1_000_000);
    let mut cellar = Cellar::new(QueueSettings::default());
    for _ in 0..100 {
        cellar.put(&body("a"), 1000);
        cellar.store();
    }
    let chunks = 100_000 / CHUNK_SLOTS;
    assert_eq!(cellar.bed.queue.resident_bytes(), chunks * COLD_CHUNK_BYTES);
    assert_eq!(cellar.bed.queue.lanes.resident_slots(), 0);
    assert!(cellar.bed.queue.lanes.plain().resident_chunks() <= 2 * chunks);
}

#[test]
fn first_messages_and_those_not_on_disk_yet_stay() {
    let mut cellar = Cellar::new(QueueSettings::default());
    cellar.put(&body("a"), 100);
    assert_eq!(cellar.bed.queue.freeze(100, ANY), 0);
    assert_eq!(cellar.bed.queue.freeze(70, ANY), 30);
    // What stays before cold ones of the same chunk stays.
    assert_eq!(cellar.bed.queue.freeze(10, Lsn(40)), 30);
    assert_eq!(cellar.bed.queue.freeze(10, Lsn(64)), 24);
    assert_eq!(cellar.bed.rest().len(), 10);
    assert!(cellar.bed.queue.is_head_cold());
    assert_eq!(cellar.rest(), 90);
}

#[test]
fn leased_and_returned_messages_never_go_cold() {
    let mut cellar = Cellar::new(QueueSettings::default());
    cellar.put(&body("a"), 20);
    let got: Vec<Delivery> = (0..5).filter_map(|_| cellar.bed.get()).collect();
    cellar
        .bed
        .settle(&got[1..2], Outcome::Return { failed: false });
    assert_eq!(cellar.bed.queue.freeze(0, ANY), 15);
    assert_eq!(cellar.bed.settle(&got[2..], Outcome::Ack), 3);
    assert_eq!(cellar.bed.rest().len(), 1);
    assert!(cellar.bed.queue.is_head_cold());
    assert_eq!(
        cellar
            .bed
            .settle(&got[..1], Outcome::Return { failed: false }),
        1
    );
    assert_eq!(cellar.rest(), 16);
    assert_eq!(cellar.bed.queue.counts(), Counts::default());
}

#[test]
fn at_most_once_messages_stay_and_wait_behind_cold_ones() {
    let mut cellar = Cellar::new(QueueSettings::default());
    cellar.put(&body("a"), 3);
    cellar.put(
        &Spec {
            at_most_once: true,
            ..body("b")
        },
        2,
    );
    assert_eq!(cellar.bed.queue.freeze(0, ANY), 3);
    let key = cellar.bed.consume(AckMode::ByMessage, Credit::Unlimited);
    assert!(cellar.bed.fx.wants_cold && cellar.bed.fx.ready.is_empty());
    cellar.load();
    assert_eq!(cellar.bed.drained(key), ["a", "a", "a", "b", "b"]);
}

#[test]
fn message_that_arrives_while_cold_ones_are_read_waits_behind_them() {
    let mut cellar = Cellar::new(QueueSettings {
        max_priority: Some(1),
        ..QueueSettings::default()
    });
    cellar.put(&body("first"), 1);
    cellar.bed.queue.freeze(0, ANY);
    let key = cellar.bed.consume(AckMode::Manual, Credit::Unlimited);
    cellar.put(&body("second"), 1);
    assert!(cellar.bed.drained(key).is_empty());
    let urgent = Spec {
        priority: Some(1),
        ..body("urgent")
    };
    cellar.put(&urgent, 1);
    assert_eq!(cellar.bed.drained(key), ["urgent"]);
    cellar.load();
    assert_eq!(cellar.bed.drained(key), ["first", "second"]);
}

#[test]
fn cold_messages_of_a_higher_priority_are_not_passed() {
    let mut cellar = Cellar::new(QueueSettings {
        max_priority: Some(1),
        ..QueueSettings::default()
    });
    let urgent = Spec {
        priority: Some(1),
        ..body("urgent")
    };
    cellar.put(&urgent, 1);
    cellar.bed.queue.freeze(0, ANY);
    cellar.put(&body("other"), 1);
    assert!(cellar.bed.get().is_none());
    assert!(cellar.bed.queue.is_head_cold() && cellar.bed.fx.wants_cold);
    cellar.load();
    assert_eq!(cellar.bed.rest(), ["urgent", "other"]);
}

#[test]
fn chunk_is_wanted_once_until_that_fails() {
    let mut cellar = Cellar::new(QueueSettings::default());
    cellar.put(&body("a"), 5 * CHUNK_SLOTS);
    cellar.store();
    assert!(cellar.wanted().is_empty());
    assert!(cellar.bed.get().is_none());
    let first = cellar.wanted();
    assert_eq!(first.len(), 1);
    assert_eq!(first[0].purpose, Purpose::Thaw);
    assert_eq!(first[0].lsns, Some((Lsn(1), Lsn(CHUNK_SLOTS as u64))));
    assert!(cellar.wanted().is_empty());
    cellar.bed.queue.thaw_failed(first[0].key);
    let again = cellar.wanted();
    assert_eq!(again[0].key, first[0].key);
    let entries = cellar.read(&again[0]);
    assert!(cellar.thaw(again[0].key, entries));
    assert_eq!(cellar.bed.fx.freed.len(), 1);
    assert_eq!(cellar.bed.rest().len(), CHUNK_SLOTS);
}

#[test]
fn more_is_read_before_consumers_run_out() {
    let mut cellar = Cellar::new(QueueSettings::default());
    cellar.put(&body("a"), 10 * CHUNK_SLOTS);
    cellar.bed.queue.freeze(4 * CHUNK_SLOTS as u64, ANY);
    let key = cellar.bed.consume(AckMode::Manual, Credit::Limited(1));
    assert!(!cellar.bed.fx.wants_cold);
    let mut taken = 0;
    while !cellar.bed.fx.wants_cold {
        let out = cellar.bed.drain(key);
        taken += out.len();
        cellar.bed.settle(&out, Outcome::Ack);
    }
    assert!(taken > CHUNK_SLOTS && taken < 3 * CHUNK_SLOTS);
    assert!(!cellar.bed.queue.is_head_cold());
    assert_eq!(cellar.wanted().len(), 1);
}

#[test]
fn what_was_read_of_a_chunk_that_changed_is_refused_and_wanted_again() {
    let mut cellar = Cellar::new(QueueSettings::default());
    cellar.put(&body("a"), 5);
    cellar.bed.queue.freeze(0, ANY);
    assert!(cellar.bed.get().is_none());
    let chunk = cellar.wanted().remove(0);
    let entries = cellar.read(&chunk);
    cellar.bed.queue.thaw_failed(chunk.key);
    cellar.put(&body("b"), 5);
    assert_eq!(cellar.bed.queue.freeze(0, ANY), 5);
    assert!(!cellar.thaw(chunk.key, entries));
    assert_eq!(cellar.bed.queue.counts().ready, 10);
    assert_eq!(cellar.rest(), 10);
}

#[test]
fn message_that_cannot_be_read_is_lost_and_counted() {
    let mut cellar = Cellar::new(QueueSettings::default());
    cellar.put(&body("a"), 5);
    cellar.bed.queue.freeze(0, ANY);
    assert!(cellar.bed.get().is_none());
    let chunk = cellar.wanted().remove(0);
    let mut entries = cellar.read(&chunk);
    entries[2].message = None;
    entries.remove(4);
    assert!(cellar.thaw(chunk.key, entries));
    assert_eq!(cellar.bed.fx.unreadable, 2);
    assert!(cellar.bed.settled().is_empty());
    assert_eq!(cellar.bed.queue.counts().ready, 3);
    assert_eq!(cellar.bed.rest().len(), 3);
}

#[test]
fn page_of_a_chunk_that_is_gone_is_garbage() {
    let mut cellar = Cellar::new(QueueSettings::default());
    cellar.put(&body("a"), CHUNK_SLOTS);
    cellar.bed.queue.freeze(0, ANY);
    let mut parts = Vec::new();
    cellar.bed.queue.take_parts(&mut parts);
    let (key, bytes) = parts.remove(0);
    assert_eq!(cellar.rest(), CHUNK_SLOTS as u64);
    let place = cellar.shelf.place(bytes);
    assert!(!cellar.bed.queue.part_written(key, place));
    assert!(cellar.bed.fx.freed.is_empty());
}

#[test]
fn part_that_could_not_be_written_is_given_out_again() {
    let mut cellar = Cellar::new(QueueSettings::default());
    cellar.put(&body("a"), CHUNK_SLOTS);
    cellar.bed.queue.freeze(0, ANY);
    let (mut parts, mut again) = (Vec::new(), Vec::new());
    cellar.bed.queue.take_parts(&mut parts);
    cellar.bed.queue.take_parts(&mut again);
    assert!(again.is_empty());
    cellar.bed.queue.part_failed(parts[0].0);
    cellar.bed.queue.take_parts(&mut again);
    assert_eq!(parts[0].1, again[0].1);
    assert!(
        !cellar
            .bed
            .queue
            .part_written(parts[0].0, cellar.shelf.place(again[0].1.clone()))
    );
}

#[test]
fn large_transient_messages_are_packed_whole_in_several_parts() {
    let mut cellar = Cellar::new(QueueSettings::default());
    cellar.put_transient(10, PART_BYTES / 2);
    cellar.bed.queue.freeze(0, ANY);
    let mut parts = Vec::new();
    // The chunk still fills, but full parts may go.
    cellar.bed.queue.take_parts(&mut parts);
    assert_eq!(parts.len(), 5);
    assert!(parts.iter().all(|(_, part)| part.len() < 2 * PART_BYTES));
    for (key, bytes) in parts {
        cellar.shelf.write(&mut cellar.bed.queue, key, bytes);
    }
    assert_eq!(cellar.bed.queue.resident_bytes(), COLD_CHUNK_BYTES);
    assert_eq!(cellar.rest(), 10);
}

#[test]
fn page_that_was_moved_is_found_at_its_new_place() {
    let mut cellar = Cellar::new(QueueSettings::default());
    cellar.put(&body("a"), CHUNK_SLOTS);
    cellar.store();
    let mut known = Vec::new();
    cellar
        .bed
        .queue
        .cold_parts(|key, place, min, max| known.push((key, place, min, max)));
    let (key, from, min, max) = known[0];
    assert_eq!((min, max), (Lsn(1), Lsn(CHUNK_SLOTS as u64)));
    let bytes = cellar.shelf.pages.remove(&from).unwrap();
    let to = cellar.shelf.place(bytes);
    assert!(cellar.bed.queue.part_moved(key, from, to));
    assert!(!cellar.bed.queue.part_moved(key, from, to));
    assert_eq!(cellar.rest(), CHUNK_SLOTS as u64);
}

#[test]
fn cold_messages_expire_where_they_are() {
    let mut cellar = Cellar::new(with_dead_letters());
    cellar.put(&body("lasting"), 4 * CHUNK_SLOTS);
    let short = Spec {
        ttl_ms: Some(10),
        ..body("short")
    };
    cellar.put(&short, 2);
    cellar.put(&body("lasting"), CHUNK_SLOTS - 2);
    cellar.store();
    assert_eq!(cellar.bed.queue.next_deadline(), Some(Timestamp(10)));
    cellar.bed.at(10).expire();
    assert!(cellar.bed.fx.wants_cold);
    let chunk = cellar.wanted().remove(0);
    assert_eq!(cellar.bed.queue.next_deadline(), None);
    assert_eq!(chunk.purpose, Purpose::Expire);
    let entries = cellar.read(&chunk);
    let with_message = entries.iter().filter(|entry| entry.message.is_some());
    assert_eq!(with_message.count(), 2);
    let now = Timestamp(10);
    let bed = &mut cellar.bed;
    assert!(bed.queue.expire_cold(now, chunk.key, entries, &mut bed.fx));
    let dead = ("short".into(), DeathReason::Expired);
    assert_eq!(bed.dead(), [dead.clone(), dead]);
    assert_eq!(bed.fx.freed.len(), 1);
    assert_eq!(bed.queue.next_deadline(), None);
    assert_eq!(cellar.rest(), 5 * CHUNK_SLOTS as u64 - 2);
}

#[test]
fn another_time_to_live_holds_for_cold_messages() {
    let mut cellar = Cellar::new(QueueSettings::default());
    cellar.put(&body("a"), 3);
    cellar.bed.queue.freeze(0, ANY);
    assert_eq!(cellar.bed.queue.next_deadline(), None);
    let ttl = |ms| QueueSettings {
        message_ttl_ms: ms,
        ..QueueSettings::default()
    };
    cellar.bed.at(5).configure(ttl(Some(20)));
    assert_eq!(cellar.bed.queue.next_deadline(), Some(Timestamp(20)));
    cellar.bed.configure(ttl(None));
    assert_eq!(cellar.bed.queue.next_deadline(), None);
    cellar.bed.configure(ttl(Some(7)));
    cellar.bed.at(7).expire();
    cellar.load();
    cellar.bed.expire();
    assert_eq!(cellar.bed.fx.dropped, 3);
    assert_eq!(cellar.bed.queue.counts(), Counts::default());
}

#[test]
fn overflow_drops_cold_messages_first_when_they_are_back() {
    let mut cellar = Cellar::new(QueueSettings {
        max_length: Some(5),
        ..QueueSettings::default()
    });
    cellar.put(&body("a"), 5);
    cellar.bed.queue.freeze(0, ANY);
    cellar.put(&body("b"), 2);
    assert_eq!(cellar.bed.queue.counts().ready, 7);
    assert!(cellar.bed.fx.wants_cold);
    cellar.load();
    assert_eq!(cellar.bed.settled(), [1, 2]);
    assert_eq!(cellar.bed.rest(), ["a", "a", "a", "b", "b"]);
}

#[test]
fn cold_messages_make_a_queue_full() {
    let mut cellar = Cellar::new(QueueSettings {
        max_length: Some(5),
        overflow: Overflow::RejectPublish,
        ..QueueSettings::default()
    });
    cellar.put(&body("a"), 5);
    cellar.bed.queue.freeze(0, ANY);
    assert_eq!(cellar.bed.put(&body("b")), Admission::Rejected);
}

#[test]
fn purge_takes_what_is_cold_and_what_is_behind_it() {
    let mut cellar = Cellar::new(QueueSettings::default());
    cellar.put(&body("a"), 3 * CHUNK_SLOTS);
    cellar.store();
    cellar.put(&body("b"), 3);
    assert_eq!(
        cellar.bed.queue.purge(Timestamp(0), 9, &mut cellar.bed.fx),
        0
    );
    let bed = &mut cellar.bed;
    let purged = cellar
        .shelf
        .purge(&mut bed.queue, Timestamp(0), &mut bed.fx);
    assert_eq!(purged, 3 * CHUNK_SLOTS as u64 + 3);
    assert_eq!(bed.fx.settled.len() as u64, purged);
    assert!(cellar.shelf.pages.is_empty());
    assert_eq!(bed.queue.counts(), Counts::default());
}

#[test]
fn closed_queue_tells_its_pages() {
    let mut cellar = Cellar::new(QueueSettings::default());
    cellar.put(&body("a"), 3 * CHUNK_SLOTS + 1);
    cellar.store();
    cellar.bed.queue.close(&mut cellar.bed.fx);
    assert_eq!(cellar.bed.fx.remains.pages().count(), 3);
    assert_eq!(cellar.bed.queue.resident_bytes(), 0);
    assert!(!cellar.bed.queue.is_head_cold());
    assert_eq!(cellar.bed.queue.freeze(0, ANY), 0);
}

#[test]
fn entries_are_as_they_were_when_they_come_back() {
    let mut cellar = Cellar::new(QueueSettings::default());
    cellar.put(&body("a"), 2);
    let got = cellar.bed.get().unwrap();
    let position = got.position;
    cellar.bed.settle(&[got], Outcome::Return { failed: true });
    cellar.bed.queue.freeze(0, ANY);
    assert!(cellar.bed.get().is_none());
    cellar.load();
    let got = cellar.bed.get().unwrap();
    assert_eq!((got.position, got.lsn), (position, Lsn(1)));
    assert_eq!((got.attempts, got.failures, got.redelivered), (1, 1, true));
    assert!(!cellar.bed.get().unwrap().redelivered);
}

#[test]
fn forms_that_nobody_knows_are_named() {
    struct Nothing;
    impl crate::record::Formats for Nothing {
        fn format(
            &self,
            _: crate::message::FormatId,
        ) -> Option<&'static dyn crate::message::PropertyFormat> {
            None
        }
    }
    let mut cellar = Cellar::new(QueueSettings::default());
    cellar.put_transient(1, 1);
    cellar.bed.queue.freeze(0, ANY);
    let mut chunks = Vec::new();
    cellar.bed.queue.wanted_for_purge(1, &mut chunks);
    let PartSource::Memory(bytes) = &chunks[0].parts[0] else {
        unreachable!("nothing was written")
    };
    assert!(decode_part(bytes, &Nothing).is_err());
    assert_eq!(decode_part(bytes, &OnlyNone).unwrap().len(), 1);
}
