//! What a message becomes when it dies in a queue with a dead-letter target.
//!
//! The queue decides that a message dies ([`crate::queue::Dead`]); here it gets its history, exchange and keys. Then
//! it is routed like any other, except that [`closes_cycle`] takes out targets it would circle through for ever.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::id::Timestamp;
use crate::message::{Death, DeathPlace, DeathReason, Extras, History, Message};
use crate::policy::DeadLetterTarget;
use crate::routing::key::KeySyntax;

/// The message as it is published to the dead-letter exchange: with this death in its history, without its time to
/// live, with the target's exchange and routing key, or its own keys, hidden ones included, if the target has none.
///
/// `scratch` is cleared and used to lay out the bytes.
pub fn dead_letter(
    message: &Message,
    reason: DeathReason,
    queue: &str,
    target: &DeadLetterTarget,
    now: Timestamp,
    scratch: &mut Vec<u8>,
) -> Message {
    let mut new = message.to_new();
    let mut extras = new.extras.take().unwrap_or_default();
    extras.history = Some(record(message, extras.history.take(), reason, queue, now));
    new.ttl_ms = None;
    new.exchange = target.exchange.as_bytes();
    if let Some(key) = &target.routing_key {
        new.routing_key = key.as_bytes();
        new.key_syntax = KeySyntax::Dotted;
        extras.cc.clear();
        extras.bcc.clear();
        extras.hide_cc = true;
    }
    new.extras = Some(extras);
    new.build(scratch)
}

/// The history with one more death, the most recent first.
fn record(
    message: &Message,
    history: Option<History>,
    reason: DeathReason,
    queue: &str,
    now: Timestamp,
) -> History {
    let exchange = Bytes::copy_from_slice(message.exchange());
    let place = DeathPlace {
        reason,
        queue: Box::from(queue),
        exchange: exchange.clone(),
    };
    let Some(mut history) = history else {
        let death = new_death(message, exchange, reason, queue, now);
        return History {
            deaths: vec![death],
            first: place.clone(),
            last: place,
        };
    };
    let known = history
        .deaths
        .iter()
        .position(|death| death.reason == reason && &*death.queue == queue);
    if let Some(at) = known {
        let death = &mut history.deaths[at];
        death.count = death.count.saturating_add(1);
        death.last_time = now;
        history.deaths[..=at].rotate_right(1);
    } else {
        history
            .deaths
            .insert(0, new_death(message, exchange, reason, queue, now));
    }
    history.last = place;
    history
}

fn new_death(
    message: &Message,
    exchange: Bytes,
    reason: DeathReason,
    queue: &str,
    now: Timestamp,
) -> Death {
    let visible: &[Bytes] = message.extras().map_or(&[], |extras: &Extras| &extras.cc);
    let mut routing_keys = Vec::with_capacity(1 + visible.len());
    routing_keys.push(Bytes::copy_from_slice(message.routing_key()));
    routing_keys.extend_from_slice(visible);
    Death {
        reason,
        queue: Box::from(queue),
        exchange,
        routing_keys,
        key_syntax: message.key_syntax(),
        count: 1,
        first_time: now,
        last_time: now,
        original_ttl_ms: message.ttl_ms(),
    }
}

/// Whether a message that died just now, for `reason`, would come to `target_queue` in a fully automatic cycle: it
/// died there before, and nobody rejected it since. `history` includes the present death.
pub fn closes_cycle(history: &History, target_queue: &str, reason: DeathReason) -> bool {
    if reason == DeathReason::Rejected {
        return false;
    }
    for death in &history.deaths {
        if death.reason == DeathReason::Rejected {
            return false;
        }
        if &*death.queue == target_queue {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests;
