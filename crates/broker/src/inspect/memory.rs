//! Memory that is accounted for.

use ternmq_core::policy::QueueKind;

use super::{Inspect, queues};

/// About how much memory messages take, and the queues that they are in, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct MemorySnapshot {
    /// Queues of each kind, by [`QueueKind::index`], without the bodies of their messages.
    pub queues: [u64; QueueKind::COUNT],
    /// Bodies that queues have in memory. Those of a message in several queues count in each.
    pub bodies: u64,
    /// Retained messages.
    pub retained: u64,
    /// Messages that wait for their time.
    pub scheduled: u64,
}

impl MemorySnapshot {
    /// All messages, wherever they are.
    pub const fn messages(&self) -> u64 {
        self.bodies + self.retained + self.scheduled
    }

    /// All of it.
    pub fn all(&self) -> u64 {
        self.queues.iter().sum::<u64>() + self.messages()
    }
}

impl Inspect<'_> {
    /// What is accounted for. Every queue is looked at.
    pub fn memory(self) -> MemorySnapshot {
        let mut memory = MemorySnapshot {
            scheduled: self.0.schedule.bytes(),
            ..MemorySnapshot::default()
        };
        for vhost in self.0.all_vhosts() {
            memory.retained += vhost.retained.lock().store.bytes() as u64;
            for cell in queues::cells_of(&vhost) {
                let (kind, held) = cell.look(|queue| (queue.settings().kind, queue.holdings()));
                memory.bodies += held.resident_bytes;
                memory.queues[kind.index()] +=
                    held.memory_bytes.saturating_sub(held.resident_bytes);
            }
        }
        memory
    }
}
