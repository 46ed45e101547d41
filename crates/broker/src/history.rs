//! Recent histories: the last messages that went through an exchange, for what is bound to it later.
//!
//! They are in memory only, whatever the exchange and the messages are, and begin anew with the process.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use ternmq_core::message::Message;
use ternmq_core::topology::HISTORY_NO_STORE;
use ternmq_core::value::Value;

/// Bytes of messages that one exchange keeps, at most: the oldest go.
const BYTES_MAX: usize = 16 << 20;
/// Bytes that all exchanges of a node keep. Beyond it an exchange keeps what is new by giving up what it has.
const NODE_BYTES_MAX: usize = 128 << 20;

/// What the histories of a node take together, in bytes.
#[derive(Default)]
pub(crate) struct Budget(AtomicUsize);

/// One exchange's last messages.
pub(crate) struct History {
    messages_max: usize,
    budget: Arc<Budget>,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// The oldest first.
    messages: VecDeque<Message>,
    bytes: usize,
}

impl History {
    pub(crate) fn new(messages_max: u64, budget: Arc<Budget>) -> Self {
        Self {
            messages_max: usize::try_from(messages_max).unwrap_or(usize::MAX),
            budget,
            kept: Mutex::default(),
        }
    }

    /// Keeps the message, unless it says that it is not to be kept.
    pub(crate) fn record(&self, message: &Message) {
        let headers = message.properties().headers;
        if headers.get(HISTORY_NO_STORE).and_then(Value::as_bool) == Some(true) {
            return;
        }
        let bytes = message.resident_bytes();
        let mut kept = self.kept.lock();
        kept.messages.push_back(message.clone());
        kept.bytes += bytes;
        let mut node = self.budget.0.fetch_add(bytes, Ordering::Relaxed) + bytes;
        while kept.messages.len() > self.messages_max
            || kept.bytes > BYTES_MAX
            || node > NODE_BYTES_MAX
        {
            let Some(oldest) = kept.messages.pop_front() else {
                break;
            };
            let bytes = oldest.resident_bytes();
            kept.bytes -= bytes;
            node = self.budget.0.fetch_sub(bytes, Ordering::Relaxed) - bytes;
        }
    }

    /// What is kept, the oldest first.
    pub(crate) fn messages(&self) -> Vec<Message> {
        self.kept.lock().messages.iter().cloned().collect()
    }
}

impl Drop for History {
    fn drop(&mut self) {
        let bytes = self.kept.get_mut().bytes;
        self.budget.0.fetch_sub(bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use ternmq_core::message::NewMessage;

    use super::*;

    fn message(body: &[u8]) -> Message {
        NewMessage::plain(b"x", b"", body).build(&mut Vec::new())
    }

    fn bodies(history: &History) -> Vec<Vec<u8>> {
        let messages = history.messages();
        messages.iter().map(|m| m.body().to_vec()).collect()
    }

    #[test]
    fn history_keeps_the_last_messages_in_order() {
        let history = History::new(2, Arc::default());
        for body in [b"1", b"2", b"3"] {
            history.record(&message(body));
        }
        assert_eq!(bodies(&history), [b"2", b"3"]);
    }

    #[test]
    fn history_is_bounded_in_bytes_and_gives_them_back() {
        let budget = Arc::new(Budget::default());
        let (first, second) = (
            History::new(u64::MAX, budget.clone()),
            History::new(u64::MAX, budget.clone()),
        );
        let large = message(&vec![0; BYTES_MAX / 2]);
        for _ in 0..3 {
            first.record(&large);
        }
        assert_eq!(first.messages().len(), 1);
        assert_eq!(
            budget.0.load(Ordering::Relaxed),
            large.resident_bytes(),
            "what went is not counted"
        );
        second.record(&message(&vec![0; BYTES_MAX + 1]));
        assert!(second.messages().is_empty(), "too large for any history");
        drop(first);
        assert_eq!(budget.0.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn all_histories_of_a_node_share_a_budget() {
        let budget = Arc::new(Budget(AtomicUsize::new(NODE_BYTES_MAX)));
        let history = History::new(10, budget.clone());
        history.record(&message(b"no room"));
        assert!(history.messages().is_empty());
        budget.0.store(0, Ordering::Relaxed);
        history.record(&message(b"room"));
        assert_eq!(bodies(&history), [b"room"]);
    }
}
