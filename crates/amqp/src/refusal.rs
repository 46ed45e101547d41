//! Refusals in AMQP's codes and RabbitMQ's words, for those who have no channel to close: the management API.

use ternmq_core::error::Refusal;

use crate::error::{Reply, Scene, from_refusal};

/// No such queue or exchange.
pub const NOT_FOUND: u16 = Reply::NotFound.code();
/// The user may not do this, or nobody may.
pub const ACCESS_REFUSED: u16 = Reply::AccessRefused.code();

/// What a client would read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Explained {
    /// The reply code (§1.2).
    pub code: u16,
    /// The code's name.
    pub name: &'static str,
    /// What was refused, and why.
    pub text: String,
}

impl Explained {
    /// The whole reply text: name and explanation.
    pub fn reply_text(&self) -> String {
        format!("{} - {}", self.name, self.text)
    }
}

/// Explains a refusal to a user of a vhost.
pub fn explain(refusal: &Refusal, vhost: &str, user: &str) -> Explained {
    let fault = from_refusal(refusal, Scene { vhost, user });
    Explained {
        code: fault.reply.code(),
        name: fault.reply.name(),
        text: fault.into_text(),
    }
}
