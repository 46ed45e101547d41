//! What the core reads back from a disk: records, checkpoints, packed parts of queues and their snapshots. Whatever the
//! bytes are, the answer is a value or an error, and memory stays in proportion.
//!
//! The first byte chooses what the rest is taken for. What was read is written again where that is possible: it must be
//! read back as the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ternmq_core::id::Timestamp;
use ternmq_core::message::{FormatId, NoProperties, PropertyFormat};
use ternmq_core::policy::QueueSettings;
use ternmq_core::queue::{Queue, decode_part};
use ternmq_core::record::state::decode_state;
use ternmq_core::record::{Formats, Record, decode, message_of, object_put, object_removed};
use ternmq_core::topology::QueueDecl;

struct Forms;

impl Formats for Forms {
    fn format(&self, id: FormatId) -> Option<&'static dyn PropertyFormat> {
        (id.0 < 3).then_some(&NoProperties)
    }
}

fn settings() -> QueueSettings {
    let decl = QueueDecl {
        name: "q".into(),
        durable: true,
        exclusive: None,
        auto_delete: false,
        arguments: [].into_iter().collect(),
    };
    QueueSettings::from_decl(&decl).expect("a queue without arguments can be declared")
}

/// Objects that operators set are written as they were read.
fn write_again(record: &Record) {
    let written = |record: &Record| {
        let mut out = Vec::new();
        match record {
            Record::ObjectPut(object) => object_put(object, &mut out),
            Record::ObjectRemoved(key) => object_removed(key, &mut out),
            _ => return None,
        }
        Some(out)
    };
    let Some(once) = written(record) else { return };
    let read = decode(&once, &Forms).expect("own bytes");
    assert_eq!(written(&read), Some(once));
}

fuzz_target!(|input: &[u8]| {
    let Some((kind, bytes)) = input.split_first() else {
        return;
    };
    match kind % 4 {
        0 => {
            if let Ok(record) = decode(bytes, &Forms) {
                write_again(&record);
            }
            let _ = message_of(bytes, &Forms);
        }
        1 => {
            let _ = decode_state(bytes, &Forms);
        }
        2 => {
            if let Ok(entries) = decode_part(bytes, &Forms) {
                assert!(entries.len() <= bytes.len());
            }
        }
        _ => {
            let now = Timestamp(1_000);
            let Ok(queue) = Queue::restore_snapshot(settings(), bytes, now) else {
                return;
            };
            let mut again = Vec::new();
            queue.snapshot(&mut again);
            let same = Queue::restore_snapshot(settings(), &again, now).expect("own bytes");
            assert_eq!(same.counts(), queue.counts());
        }
    }
});
