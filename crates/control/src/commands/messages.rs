//! Messages of a queue, for people to look at.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use crate::failure::Outcome;
use crate::field::{Field, Kind, find, find_str, text};
use crate::{Action, Context};

/// `ternmq queues get`.
#[derive(Clone, Debug, Args)]
pub struct Get {
    /// The queue's name
    name: String,
    /// At most so many messages
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    count: u32,
    /// What becomes of them
    #[arg(long, value_name = "HOW", default_value = "requeue")]
    then: Then,
    /// Show at most so many bytes of each
    #[arg(long, value_name = "BYTES", default_value_t = 50_000)]
    truncate: u32,
    /// Write payloads only, one after the other, as they are
    #[arg(long)]
    raw: bool,
}

/// `ternmq queues peek`.
#[derive(Clone, Debug, Args)]
pub struct Peek {
    /// The queue's name
    name: String,
    /// At most so many messages
    #[arg(long, value_name = "COUNT", default_value_t = 10)]
    count: u32,
    /// Pass over so many first
    #[arg(
        long,
        value_name = "COUNT",
        default_value_t = 0,
        conflicts_with = "in_flight"
    )]
    from: u64,
    /// Those that somebody has and did not settle, with who has them
    #[arg(long)]
    in_flight: bool,
    /// Show at most so many bytes of each
    #[arg(long, value_name = "BYTES", default_value_t = 50_000)]
    truncate: u32,
    /// Write payloads only, one after the other, as they are
    #[arg(long)]
    raw: bool,
}

impl Action for Peek {
    fn run(&self, context: &mut Context<'_>) -> Outcome {
        let path = context.own_thing("queues", "queue", &self.name);
        let path = if self.in_flight {
            path.join("in-flight")
        } else {
            path.join("messages").query("from", self.from)
        };
        let path = path
            .query("count", self.count)
            .query("truncate", self.truncate);
        let messages = context.api.get(&path)?;
        show(context, &messages, self.raw)
    }
}

/// What becomes of messages that were got.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Then {
    /// They go back, marked as redelivered.
    Requeue,
    /// They are gone.
    Ack,
    /// They are dead-lettered where the queue has a dead-letter exchange, else gone.
    Reject,
}

impl Then {
    fn mode(self) -> &'static str {
        match self {
            Self::Requeue => "ack_requeue_true",
            Self::Ack => "ack_requeue_false",
            Self::Reject => "reject_requeue_false",
        }
    }
}

const HEAD: [Field; 15] = [
    Field::text("exchange", "exchange"),
    Field::text("routing_key", "key"),
    Field::new("payload_bytes", "size", Kind::Bytes),
    Field::new("redelivered", "redelivered", Kind::Flag),
    Field::count("message_count", "behind it"),
    Field::text("topic", "topic"),
    Field::text("received_at", "came"),
    Field::text("enqueued_at", "came"),
    Field::text("expires_at", "expires"),
    Field::count("attempts", "attempts"),
    Field::count("failures", "failures"),
    Field::text("held_by.connection", "held by"),
    Field::text("held_by.channel", "channel"),
    Field::text("held_by.consumer_tag", "consumer"),
    Field::new("held_ms", "held for", Kind::Duration),
];

impl Action for Get {
    fn run(&self, context: &mut Context<'_>) -> Outcome {
        let path = context.thing("queues", "queue", &self.name).join("get");
        let body = json!({
            "count": self.count,
            "ackmode": self.then.mode(),
            "encoding": "auto",
            "truncate": self.truncate,
        });
        let messages = context.api.post(&path, &body)?;
        show(context, &messages, self.raw)
    }
}

/// Writes messages one after the other.
pub(super) fn show(context: &mut Context<'_>, messages: &Value, raw: bool) -> Outcome {
    if context.out.is_json() {
        return context.out.json(messages);
    }
    let messages = messages.as_array().map(Vec::as_slice).unwrap_or_default();
    for (number, message) in (1..).zip(messages) {
        if raw {
            context.out.raw(&payload(message))?;
        } else {
            show_one(context, number, message)?;
        }
    }
    if messages.is_empty() && !raw {
        context.out.line("no messages")?;
    }
    Ok(())
}

fn show_one(context: &mut Context<'_>, number: usize, message: &Value) -> Outcome {
    context.out.heading(&format!("Message {number}"))?;
    context.out.object(message, &HEAD)?;
    if let Value::Object(properties) = find(message, "properties") {
        for (name, value) in properties.iter().filter(|(name, _)| *name != "headers") {
            context.out.line(format!("{name}: {}", text(value)))?;
        }
        let headers = properties.get("headers").and_then(Value::as_object);
        for (name, value) in headers.into_iter().flatten() {
            context
                .out
                .line(format!("header {name}: {}", text(value)))?;
        }
    }
    match std::str::from_utf8(&payload(message)) {
        Ok(payload) => {
            for line in payload.lines() {
                context.out.line(format!("  {line}"))?;
            }
            Ok(())
        }
        Err(_) => context.out.line("  (binary; --raw writes it)"),
    }
}

/// The payload's bytes, however JSON carries them.
fn payload(message: &Value) -> Vec<u8> {
    let text = find_str(message, "payload");
    if find_str(message, "payload_encoding") == "base64" {
        // What is no base64 after all is shown as it is.
        return STANDARD.decode(text).unwrap_or_else(|_| text.into());
    }
    text.into()
}
