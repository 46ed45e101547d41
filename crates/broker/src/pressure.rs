//! The memory that messages hold, the room on the disk, and when publishers have to pause.
//!
//! Threads account their changes and cross the marks in any order. Whoever changes the account looks at it again after
//! it has changed the flag, and whoever tells a connection looks at the flag again after it has told: so the last word
//! is right, whoever has it.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, Ordering};

use crate::mailbox::{DiskRoom, Mailbox, Notice};

/// Bytes that queues hold, against a high mark.
pub(crate) struct Pressure {
    resident: AtomicI64,
    /// Publishers pause above this.
    high: i64,
    /// They go on at this, 90 % of the high mark.
    low: i64,
    blocked: AtomicBool,
    /// [`DiskRoom`] as a number.
    disk: AtomicU8,
}

impl Pressure {
    pub(crate) fn new(high_bytes: u64) -> Self {
        let high = i64::try_from(high_bytes).unwrap_or(i64::MAX);
        Self {
            resident: AtomicI64::new(0),
            high,
            low: high - high / 10,
            blocked: AtomicBool::new(false),
            disk: AtomicU8::new(0),
        }
    }

    pub(crate) fn is_blocked(&self) -> bool {
        self.blocked.load(Ordering::SeqCst)
    }

    pub(crate) fn resident(&self) -> i64 {
        self.resident.load(Ordering::SeqCst)
    }

    /// Accounts a change. Returns whether everybody has to be told how they stand.
    pub(crate) fn add(&self, delta: i64) -> bool {
        let mut resident = self.resident.fetch_add(delta, Ordering::SeqCst) + delta;
        let mut changed = false;
        loop {
            let blocked = self.is_blocked();
            let wanted = if blocked {
                resident > self.low
            } else {
                resident > self.high
            };
            if wanted == blocked {
                return changed;
            }
            changed |= self
                .blocked
                .compare_exchange(blocked, wanted, Ordering::SeqCst, Ordering::SeqCst)
                .is_ok();
            // Others may have accounted for more in between, and seen the flag as it was.
            resident = self.resident();
        }
    }

    /// How much room the disk has.
    pub(crate) fn disk(&self) -> DiskRoom {
        match self.disk.load(Ordering::SeqCst) {
            0 => DiskRoom::Enough,
            1 => DiskRoom::Low,
            _ => DiskRoom::Full,
        }
    }

    /// Sets that. Returns whether everybody has to be told.
    pub(crate) fn set_disk(&self, room: DiskRoom) -> bool {
        let number = match room {
            DiskRoom::Enough => 0,
            DiskRoom::Low => 1,
            DiskRoom::Full => 2,
        };
        self.disk.swap(number, Ordering::SeqCst) != number
    }

    /// Tells a connection how much room the disk has now.
    pub(crate) fn tell_disk(&self, mailbox: &Mailbox) {
        loop {
            let disk = self.disk();
            mailbox.push(Notice::Disk(disk));
            if self.disk() == disk {
                return;
            }
        }
    }

    /// Tells a connection whether publishers pause for the memory now.
    pub(crate) fn tell_memory(&self, mailbox: &Mailbox) {
        loop {
            let blocked = self.is_blocked();
            mailbox.push(if blocked {
                Notice::Blocked
            } else {
                Notice::Unblocked
            });
            if self.is_blocked() == blocked {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    /// One thread crosses the high mark while another goes back below the low one.
    #[test]
    fn crossing_both_marks_at_once_leaves_nobody_blocked() {
        const ROUNDS: usize = 20_000;
        let pressure = Pressure::new(100);
        let arrived = AtomicUsize::new(0);
        // Waking a thread would take longer than what is looked for.
        let meet = |times: usize| {
            arrived.fetch_add(1, Ordering::SeqCst);
            while arrived.load(Ordering::SeqCst) < 2 * times {
                std::thread::yield_now();
            }
        };
        let turns = |delta: i64| {
            for round in 0..ROUNDS {
                meet(2 * round + 1);
                pressure.add(delta);
                meet(2 * round + 2);
                assert!(!pressure.is_blocked(), "nothing is held any more");
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(|| turns(101));
            scope.spawn(|| turns(-101));
        });
    }

    #[test]
    fn publishers_pause_above_the_high_mark_and_go_on_at_the_low_one() {
        let pressure = Pressure::new(1_000);
        assert!(!pressure.add(1_000) && !pressure.is_blocked());
        assert!(pressure.add(1) && pressure.is_blocked());
        assert!(!pressure.add(-100) && pressure.is_blocked());
        assert!(pressure.add(-1) && !pressure.is_blocked());
    }

    #[test]
    fn even_the_smallest_mark_lets_publishers_go_on_when_nothing_is_held() {
        for high in 0..20 {
            let pressure = Pressure::new(high);
            assert!(pressure.add(100) && pressure.add(-100), "{high}");
            assert!(!pressure.is_blocked(), "{high}");
        }
    }
}
