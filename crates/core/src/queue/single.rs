//! A queue that serves one consumer only, while the others wait in line.
//!
//! ```text
//! in line:   [ priority 2 ][ priority 1, active ][ priority 1 ][ priority 0 ]
//!            └ takes over when the active one goes, or, if it may preempt, when that one holds nothing
//! ```

use super::ConsumerKey;
use super::consumers::Consumers;
use super::rings::NIL;

impl Consumers {
    /// Serve one only, or all.
    pub(super) fn set_single(&mut self, single: bool) {
        self.single = single;
        self.active = NIL;
        self.elect();
    }

    /// The one to serve, if only one is: among those of highest priority who came first.
    fn foremost(&self) -> u32 {
        self.order
            .first_key_value()
            .map_or(NIL, |(_, &index)| index)
    }

    /// Chooses whom to serve, if only one is served and it is time.
    pub(super) fn elect(&mut self) {
        if self.single && (self.active == NIL || self.preempting && self.is_idle(self.active)) {
            self.active = self.foremost();
        }
    }

    /// Whether a consumer holds nothing.
    fn is_idle(&self, index: u32) -> bool {
        let cell = self.cells.get(index as usize);
        cell.and_then(|cell| cell.consumer.as_ref())
            .is_none_or(|consumer| consumer.leased == 0 && consumer.assigned.is_empty())
    }

    /// Whether one of higher priority waits until the one served holds nothing: so it gets nothing more.
    pub(super) fn is_awaited(&self) -> bool {
        self.preempting && self.active != self.foremost()
    }

    /// Whether one of higher priority replaces the only one that is served.
    pub(super) fn set_preempting(&mut self, preempting: bool) {
        self.preempting = preempting;
        self.elect();
    }

    /// The consumer that is served alone, if only one is.
    pub(super) fn single_active(&self) -> Option<ConsumerKey> {
        self.single.then(|| self.key_at(self.active)).flatten()
    }
}
