//! What exchanges do beside choosing: keep the last messages, and hold messages back until their time has come.

use alloc::boxed::Box;

use super::{ExchangeDecl, ExchangeKind};
use crate::error::{ArgumentFault, Kind, Refusal};
use crate::value::{Headers, Value};

/// Messages that an `x-recent-history` exchange keeps if it is not told how many.
pub const HISTORY_LENGTH: u64 = 20;
/// The header of a message that no history keeps, if it is true.
pub const HISTORY_NO_STORE: &str = "x-recent-history-no-store";
/// The header that says for how many milliseconds an `x-delayed-message` exchange holds a message back.
pub const X_DELAY: &str = "x-delay";
/// The longest delay, ten years, in milliseconds. Messages with a longer one are not delayed.
pub const DELAY_MAX_MS: u64 = 10 * 365 * 86_400_000;

const LENGTH_ARGUMENT: &str = "x-recent-history-length";
const DELAYED_KIND_ARGUMENT: &str = "x-delayed-type";

/// What a declared exchange does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Behaviour {
    /// How it chooses among its bindings: never [`ExchangeKind::RecentHistory`] nor [`ExchangeKind::Delayed`].
    pub kind: ExchangeKind,
    /// How many messages it keeps for destinations that are bound later, if it does.
    pub history: Option<u64>,
    /// Whether it holds messages back that ask for it.
    pub delays: bool,
}

impl Behaviour {
    pub(super) const fn plain(kind: ExchangeKind) -> Self {
        Self {
            kind,
            history: None,
            delays: false,
        }
    }

    /// What a declaration asks for.
    ///
    /// # Errors
    /// A length of history that is no positive integer; a delayed exchange without a kind that can be delayed.
    pub(super) fn of(decl: &ExchangeDecl) -> Result<Self, Refusal> {
        let (kind, delays) = match decl.kind {
            ExchangeKind::Delayed => (delayed_kind(decl)?, true),
            kind => (kind, false),
        };
        let (kind, history) = match kind {
            ExchangeKind::RecentHistory => (ExchangeKind::Fanout, Some(history_length(decl)?)),
            kind => (kind, None),
        };
        Ok(Self {
            kind,
            history,
            delays,
        })
    }
}

fn history_length(decl: &ExchangeDecl) -> Result<u64, Refusal> {
    let Some(value) = decl.arguments.get(LENGTH_ARGUMENT) else {
        return Ok(HISTORY_LENGTH);
    };
    value
        .as_i64()
        .and_then(|length| u64::try_from(length).ok())
        .filter(|length| *length > 0)
        .ok_or_else(|| {
            let fault = ArgumentFault::NotAHistoryLength(value.clone());
            invalid(decl, LENGTH_ARGUMENT, fault)
        })
}

fn delayed_kind(decl: &ExchangeDecl) -> Result<ExchangeKind, Refusal> {
    let name = decl
        .arguments
        .get(DELAYED_KIND_ARGUMENT)
        .and_then(Value::as_str)
        .ok_or_else(|| invalid(decl, DELAYED_KIND_ARGUMENT, ArgumentFault::NoDelayedKind))?;
    ExchangeKind::parse(name)
        .filter(|kind| *kind != ExchangeKind::Delayed)
        .ok_or_else(|| {
            let fault = ArgumentFault::UnknownExchangeKind(name.into());
            invalid(decl, DELAYED_KIND_ARGUMENT, fault)
        })
}

fn invalid(decl: &ExchangeDecl, arg: &str, fault: ArgumentFault) -> Refusal {
    Refusal::InvalidArgument {
        kind: Kind::Exchange,
        name: decl.name.clone(),
        arg: arg.into(),
        fault: Box::new(fault),
    }
}

/// For how long a message asks to be held back, in milliseconds; none if it is to be routed now. Like the plugin of
/// other brokers this takes texts of digits and fractions as well.
pub(crate) fn delay_ms(headers: &Headers) -> Option<u64> {
    let delay = u64::try_from(number(headers.get(X_DELAY)?)?).ok()?;
    (1..=DELAY_MAX_MS).contains(&delay).then_some(delay)
}

fn number(delay: &Value) -> Option<i64> {
    match delay {
        Value::F32(v) => whole(f64::from(*v)),
        Value::F64(v) => whole(*v),
        text @ Value::Text(_) => text.as_str()?.parse().ok(),
        value => value.as_i64(),
    }
}

/// The integer towards zero, if it is one that a delay can be.
fn whole(value: f64) -> Option<i64> {
    const BOUND: f64 = 9_007_199_254_740_992.0;
    if !(-BOUND..=BOUND).contains(&value) {
        return None;
    }
    #[allow(
        clippy::cast_possible_truncation,
        reason = "within 2^53, and cut towards zero on purpose"
    )]
    Some(value as i64)
}

/// The value that tells of a delay that is over: what was asked for, negated.
pub fn delay_over(delay: &Value) -> Value {
    let negated = number(delay).map_or(0, i64::saturating_neg);
    i32::try_from(negated).map_or(Value::I64(negated), Value::I32)
}
