//! What a checkpoint says: the state of a node at one moment, as records of their own kinds between ordinary ones.
//!
//! ```text
//! 32 begun      replayed from(lsn), applied from(lsn), next queue id, flag(clean)
//! 33 vhost      name, then how far the journal's records are in: topology, retained, documents (lsn each);
//!               behind it the vhost's declarations and documents as ordinary records
//! 34 queue      queue id, snapshot (bytes, see `queue::snapshot`)
//! 35 retained   vhost topic, lsn of the record that retained it
//! 36 held       queue id, lsn, tags(list), since(time): a dead letter that waits for room in that queue
//! 38 objects    how far the journal's records of objects are in(lsn); behind it all objects as ordinary records
//! 37 ended      records in all, this one included; kept files(list of number, kind, end)
//! 39 scheduled  lsn of the record, then what that says but for the message: a message that waits for its time
//! 40 schedule   next id of scheduled messages
//! ```
//! Layout and numbers are those of [`crate::record`].

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::Bytes;

use super::read::{Formats, Reader, RecordError};
use super::{Record, ScheduledRecord, VERSION, begin, bytes, decode, flag, number, scheduling};
use crate::id::{Lsn, QueueId, Timestamp};

const BEGUN: u8 = 32;
const VHOST: u8 = 33;
const QUEUE: u8 = 34;
const RETAINED: u8 = 35;
const HELD: u8 = 36;
const ENDED: u8 = 37;
const OBJECTS: u8 = 38;
const SCHEDULED: u8 = 39;
const SCHEDULE: u8 = 40;

/// Where a checkpoint begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Begun {
    /// The journal is read from here on, for the lists of targets that later records name.
    pub replay_from: Lsn,
    /// Records from here on may be missing in the checkpoint, and are applied.
    pub apply_from: Lsn,
    /// Queues declared later have ids from here on.
    pub next_queue: QueueId,
    /// Nobody was connected and nothing was under way any more: the node had been told to stop.
    pub clean: bool,
}

/// How far the journal's records of one vhost are in the checkpoint: those below are, the others are not.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct VhostPositions {
    /// The vhost's name.
    pub vhost: Box<str>,
    /// Declarations.
    pub topology: Lsn,
    /// Retained messages.
    pub retained: Lsn,
    /// Documents.
    pub documents: Lsn,
}

/// A file of the journal that holds messages from before a checkpoint. Only the journal knows what the numbers mean.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeptFile {
    /// Its number.
    pub id: u64,
    /// Its kind.
    pub kind: u8,
    /// Its records lie before this one.
    pub end: Lsn,
}

/// A record of a checkpoint, read back.
#[derive(Clone, Debug)]
pub enum StateRecord {
    /// The first one.
    Begun(Begun),
    /// A vhost; what follows belongs to it.
    Vhost(VhostPositions),
    /// Objects follow: records of objects below this one are in.
    Objects(Lsn),
    /// A declaration, a document or an object.
    Plain(Record),
    /// A queue's messages.
    Queue(QueueId, Bytes),
    /// A retained message.
    Retained {
        /// The vhost.
        vhost: Box<str>,
        /// Its topic.
        topic: Bytes,
        /// The record that has it.
        lsn: Lsn,
    },
    /// A dead letter that waits beside a full queue.
    Held {
        /// The queue.
        queue: QueueId,
        /// The record that has the message.
        lsn: Lsn,
        /// Tags of its bindings.
        tags: Vec<u32>,
        /// Since when it waits.
        since: Timestamp,
    },
    /// A message that waits for its time.
    Scheduled {
        /// The record that has the message.
        lsn: Lsn,
        /// When and how it is to be published.
        scheduled: ScheduledRecord,
    },
    /// Messages scheduled later have ids from here on.
    Schedule(u64),
    /// The last one.
    Ended {
        /// How many there are in all.
        records: u64,
        /// Files of the journal that hold messages from before.
        kept: Vec<KeptFile>,
    },
}

/// Where a checkpoint begins.
pub fn begun(b: &Begun, out: &mut Vec<u8>) {
    begin(BEGUN, out);
    number(b.replay_from.0, out);
    number(b.apply_from.0, out);
    number(b.next_queue.0, out);
    flag(b.clean, out);
}

/// A vhost.
pub fn vhost(positions: &VhostPositions, out: &mut Vec<u8>) {
    begin(VHOST, out);
    bytes(positions.vhost.as_bytes(), out);
    for lsn in [positions.topology, positions.retained, positions.documents] {
        number(lsn.0, out);
    }
}

/// How far the journal's records of objects are in.
pub fn objects(position: Lsn, out: &mut Vec<u8>) {
    begin(OBJECTS, out);
    number(position.0, out);
}

/// A queue's messages.
pub fn queue(id: QueueId, snapshot: &[u8], out: &mut Vec<u8>) {
    begin(QUEUE, out);
    number(id.0, out);
    bytes(snapshot, out);
}

/// A retained message.
pub fn retained_at(vhost: &str, topic: &[u8], lsn: Lsn, out: &mut Vec<u8>) {
    begin(RETAINED, out);
    bytes(vhost.as_bytes(), out);
    bytes(topic, out);
    number(lsn.0, out);
}

/// A dead letter that waits beside a full queue.
pub fn held(queue: QueueId, lsn: Lsn, tags: &[u32], since: Timestamp, out: &mut Vec<u8>) {
    begin(HELD, out);
    number(queue.0, out);
    number(lsn.0, out);
    number(tags.len() as u64, out);
    for tag in tags {
        number((*tag).into(), out);
    }
    number(since.0, out);
}

/// A message that waits for its time, which the record at `lsn` has.
pub fn scheduled(lsn: Lsn, s: &ScheduledRecord, out: &mut Vec<u8>) {
    begin(SCHEDULED, out);
    number(lsn.0, out);
    scheduling(s, out);
}

/// Messages scheduled later have ids from `next_id` on.
pub fn schedule(next_id: u64, out: &mut Vec<u8>) {
    begin(SCHEDULE, out);
    number(next_id, out);
}

/// The end; `records` counts all, this one included.
pub fn ended(records: u64, kept: &[KeptFile], out: &mut Vec<u8>) {
    begin(ENDED, out);
    number(records, out);
    number(kept.len() as u64, out);
    for file in kept {
        number(file.id, out);
        out.push(file.kind);
        number(file.end.0, out);
    }
}

/// Reads one record of a checkpoint.
pub fn decode_state(input: &[u8], formats: &dyn Formats) -> Result<StateRecord, RecordError> {
    let mut r = Reader(input);
    let version = r.byte()?;
    if version != VERSION {
        return Err(RecordError::UnknownVersion(version));
    }
    let record = match r.byte()? {
        BEGUN => StateRecord::Begun(Begun {
            replay_from: Lsn(r.number()?),
            apply_from: Lsn(r.number()?),
            next_queue: QueueId(r.number()?),
            clean: r.flag()?,
        }),
        VHOST => StateRecord::Vhost(VhostPositions {
            vhost: r.text()?,
            topology: Lsn(r.number()?),
            retained: Lsn(r.number()?),
            documents: Lsn(r.number()?),
        }),
        OBJECTS => StateRecord::Objects(Lsn(r.number()?)),
        QUEUE => StateRecord::Queue(QueueId(r.number()?), r.owned()?),
        RETAINED => StateRecord::Retained {
            vhost: r.text()?,
            topic: r.owned()?,
            lsn: Lsn(r.number()?),
        },
        HELD => StateRecord::Held {
            queue: QueueId(r.number()?),
            lsn: Lsn(r.number()?),
            tags: r.list(Reader::number_u32)?,
            since: Timestamp(r.number()?),
        },
        SCHEDULED => StateRecord::Scheduled {
            lsn: Lsn(r.number()?),
            scheduled: r.scheduled()?,
        },
        SCHEDULE => StateRecord::Schedule(r.number()?),
        ENDED => StateRecord::Ended {
            records: r.number()?,
            kept: r.list(|r| {
                Ok(KeptFile {
                    id: r.number()?,
                    kind: r.byte()?,
                    end: Lsn(r.number()?),
                })
            })?,
        },
        _ => return decode(input, formats).map(StateRecord::Plain),
    };
    if r.is_empty() {
        Ok(record)
    } else {
        Err(RecordError::Malformed)
    }
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::message::{FormatId, PropertyFormat};

    struct None_;

    impl Formats for None_ {
        fn format(&self, _: FormatId) -> Option<&'static dyn PropertyFormat> {
            None
        }
    }

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> StateRecord {
        let mut out = Vec::new();
        write(&mut out);
        for cut in 0..out.len() {
            assert!(decode_state(&out[..cut], &None_).is_err());
        }
        decode_state(&out, &None_).unwrap_or_else(|e| unreachable!("{e}"))
    }

    #[test]
    fn records_of_a_checkpoint_come_back_the_same() {
        let b = Begun {
            replay_from: Lsn(100),
            apply_from: Lsn(300),
            next_queue: QueueId(7),
            clean: true,
        };
        assert!(matches!(written(|out| begun(&b, out)), StateRecord::Begun(back) if back == b));
        let v = VhostPositions {
            vhost: "/".into(),
            topology: Lsn(1),
            retained: Lsn(1 << 40),
            documents: Lsn(0),
        };
        assert!(matches!(written(|out| vhost(&v, out)), StateRecord::Vhost(back) if back == v));
        let back = written(|out| objects(Lsn(12), out));
        assert!(matches!(back, StateRecord::Objects(Lsn(12))));
        let back = written(|out| queue(QueueId(3), b"snapshot", out));
        assert!(matches!(back, StateRecord::Queue(QueueId(3), bytes) if bytes == b"snapshot"[..]));
        let back = written(|out| retained_at("/", b"a/b", Lsn(9), out));
        assert!(
            matches!(back, StateRecord::Retained { topic, lsn: Lsn(9), .. } if topic == b"a/b"[..])
        );
        let back = written(|out| held(QueueId(3), Lsn(9), &[4, 5], Timestamp(6), out));
        assert!(
            matches!(back, StateRecord::Held { tags, since: Timestamp(6), .. } if tags == [4, 5])
        );
        let s = ScheduledRecord {
            id: 300,
            vhost: "/".into(),
            at: Timestamp(1 << 40),
            via: Some("later".into()),
            retain: true,
        };
        let back = written(|out| scheduled(Lsn(9), &s, out));
        assert!(
            matches!(back, StateRecord::Scheduled { lsn: Lsn(9), scheduled } if scheduled == s)
        );
        let back = written(|out| schedule(301, out));
        assert!(matches!(back, StateRecord::Schedule(301)));
        let files = [(1, 1), (300, 2)].map(|(id, kind)| KeptFile {
            id,
            kind,
            end: Lsn(id * 1000),
        });
        let back = written(|out| ended(300, &files, out));
        assert!(matches!(back, StateRecord::Ended { records: 300, kept } if kept == files));
    }
}
