//! QoS 2 messages of groups that were at a member when the node stopped (MQTT-4.8.2-4, -5).
//!
//! After a restart they lie in the group's queue like any other, and whichever member consumes first gets them. Here
//! it is known whose they are: who comes upon one leaves it here, and its session takes it up.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use ternmq_broker::QueueHandle;
use ternmq_broker::mailbox::{Mailbox, Notice};
use ternmq_core::id::Lsn;

use crate::session::window::Outgoing;

/// See the module's documentation.
#[derive(Default)]
pub(crate) struct Reserved {
    by_record: Mutex<HashMap<(Arc<str>, Lsn), Place>>,
    /// How many there are: after those of a restart are through, nobody takes the lock.
    count: AtomicUsize,
}

/// Of one message.
struct Place {
    /// None once its session has ended.
    owner: Option<Box<str>>,
    /// Where its session is told that it was found.
    mailbox: Option<Arc<Mailbox>>,
    found: Option<Found>,
}

/// A message that came out of its queue.
pub(crate) struct Found {
    pub(crate) queue: QueueHandle,
    /// With the lease of whoever found it.
    pub(crate) outgoing: Outgoing,
}

/// Whose a message is.
pub(crate) enum Claim {
    /// A message like any other.
    Nobodys(Outgoing),
    /// It was on its way to this very session.
    Own(Outgoing),
    /// Another session's; it lies here now.
    Kept,
    /// Its session is no more.
    Ended,
}

impl Reserved {
    pub(crate) fn is_empty(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }

    /// The message with that record is on its way to `owner`.
    pub(crate) fn reserve(&self, queue: Arc<str>, lsn: Lsn, owner: &str) {
        let place = Place {
            owner: Some(owner.into()),
            mailbox: None,
            found: None,
        };
        if self.by_record.lock().insert((queue, lsn), place).is_none() {
            self.count.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// `by` came upon a message.
    pub(crate) fn claim(&self, queue: &Arc<str>, found: Found, by: &str) -> Claim {
        let key = (Arc::clone(queue), found.outgoing.lsn);
        let mut by_record = self.by_record.lock();
        let Some(place) = by_record.get_mut(&key) else {
            return Claim::Nobodys(found.outgoing);
        };
        let claim = match place.owner.as_deref() {
            Some(owner) if owner != by => {
                place.found = Some(found);
                let mailbox = place.mailbox.take();
                drop(by_record);
                if let Some(mailbox) = mailbox {
                    // Any notice makes it look.
                    mailbox.push(Notice::Committed);
                }
                return Claim::Kept;
            }
            Some(_) => Claim::Own(found.outgoing),
            None => Claim::Ended,
        };
        by_record.remove(&key);
        self.count.fetch_sub(1, Ordering::AcqRel);
        claim
    }

    /// Takes what was found for a session; of the rest, `mailbox` gets a notice.
    pub(crate) fn collect(&self, owner: &str, mailbox: &Arc<Mailbox>) -> Vec<(Arc<str>, Found)> {
        let mut taken = Vec::new();
        self.by_record.lock().retain(|(queue, _), place| {
            if place.owner.as_deref() != Some(owner) {
                return true;
            }
            let Some(found) = place.found.take() else {
                place.mailbox = Some(Arc::clone(mailbox));
                return true;
            };
            taken.push((Arc::clone(queue), found));
            false
        });
        self.count.fetch_sub(taken.len(), Ordering::AcqRel);
        taken
    }

    /// A session ends. Returns what was found for it; what comes later reaches nobody.
    pub(crate) fn abandon(&self, owner: &str) -> Vec<Found> {
        let mut found = Vec::new();
        self.by_record.lock().retain(|_, place| {
            if place.owner.as_deref() != Some(owner) {
                return true;
            }
            place.owner = None;
            match place.found.take() {
                Some(message) => {
                    found.push(message);
                    false
                }
                None => true,
            }
        });
        self.count.fetch_sub(found.len(), Ordering::AcqRel);
        found
    }
}
