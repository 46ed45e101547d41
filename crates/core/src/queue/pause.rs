//! A queue that is paused takes messages and gives none to consumers. Getting, expiry, limits and settling go on.

use super::thaw::Stalled;
use super::{Effects, Queue};
use crate::id::Timestamp;

/// Whether consumers are served.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Service {
    /// They are.
    Running,
    /// They are not.
    Paused,
}

impl Queue {
    /// Whether consumers are served.
    pub fn service(&self) -> Service {
        if self.consumers.is_paused() {
            Service::Paused
        } else {
            Service::Running
        }
    }

    /// Begins or ceases to serve consumers. When it ceases, what they were assigned and did not drain goes back to its
    /// place as if never taken; what they drained stays theirs.
    pub fn set_service(&mut self, now: Timestamp, service: Service, fx: &mut Effects) {
        if self.closed || self.service() == service {
            return;
        }
        self.consumers.set_paused(service == Service::Paused);
        if service == Service::Running {
            return self.assign(now, fx);
        }
        for view in self.consumer_list() {
            let assigned = self.consumers.take_assigned(view.key);
            self.assigned -= assigned.len() as u64;
            for position in assigned.into_iter().rev() {
                self.make_ready(now, position, fx);
            }
            self.consumers.refresh_key(view.key);
        }
        if self.stalled == Stalled::Assigning {
            // Nobody waits for what is cold any more.
            self.stalled = Stalled::No;
        }
        self.drop_overflow(fx);
    }
}
