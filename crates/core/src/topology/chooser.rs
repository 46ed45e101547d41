//! Exchanges that choose one of their bindings: by a hash or by chance.

use alloc::boxed::Box;
use core::sync::atomic::{AtomicU64, Ordering};

use super::identity::Identity;
use super::{BindingDecl, Destination, End, ExchangeDecl, ExchangeKind, Topology};
use crate::error::{ArgumentFault, BindingFault, Kind, Refusal};
use crate::message::Properties;
use crate::policy::QueueKind;
use crate::routing::choice::{Choice, Shared};
use crate::routing::hash::{Stable, mix};
use crate::value::{Headers, Value};

const HASH_HEADER: &str = "hash-header";
const HASH_PROPERTY: &str = "hash-property";

/// The largest weight of a binding to a consistent-hash exchange.
pub const WEIGHT_MAX: u32 = 10_000;

/// One of an exchange's bindings at a time.
#[derive(Debug)]
pub(crate) struct Chooser {
    pub(crate) by: By,
    pub(crate) choice: Choice,
    /// Choices made by chance. A counter, so that the sequence of choices follows from what was declared.
    draws: AtomicU64,
}

/// What a choice follows from.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum By {
    /// The routing key; in proportion to weights.
    Key,
    /// The header of that name, likewise.
    Header(Box<str>),
    /// A property, likewise.
    Property(HashProperty),
    /// All routing keys; every binding alike.
    Modulus,
    /// Nothing; every binding alike.
    Chance,
}

/// A property that a message can be hashed by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum HashProperty {
    MessageId,
    CorrelationId,
    Timestamp,
}

impl HashProperty {
    fn parse(name: &str) -> Option<Self> {
        match name {
            "message_id" => Some(Self::MessageId),
            "correlation_id" => Some(Self::CorrelationId),
            "timestamp" => Some(Self::Timestamp),
            _ => None,
        }
    }

    /// The hash of what the message has there; messages that have nothing there hash alike.
    pub(crate) fn hash(self, properties: &Properties) -> u64 {
        let hash = Stable::default();
        let text = match self {
            Self::MessageId => &properties.message_id,
            Self::CorrelationId => &properties.correlation_id,
            Self::Timestamp => {
                let at = properties.timestamp;
                return at.map_or(hash, |at| hash.number(at)).finish();
            }
        };
        text.as_ref().map_or(hash, |text| hash.bytes(text)).finish()
    }
}

impl Chooser {
    /// The chooser of a declared exchange that behaves as that kind, if that has one.
    pub(super) fn of(
        decl: &ExchangeDecl,
        kind: ExchangeKind,
    ) -> Result<Option<Box<Self>>, Refusal> {
        let (by, shared) = match kind {
            ExchangeKind::ConsistentHash => (by_arguments(decl)?, Shared::First),
            ExchangeKind::ModulusHash => (By::Modulus, Shared::All),
            ExchangeKind::Random | ExchangeKind::LocalRandom => (By::Chance, Shared::All),
            ExchangeKind::Direct
            | ExchangeKind::Fanout
            | ExchangeKind::Topic
            | ExchangeKind::Headers
            | ExchangeKind::RecentHistory
            | ExchangeKind::Delayed => return Ok(None),
        };
        let seed = Stable::default().bytes(decl.name.as_bytes()).finish();
        Ok(Some(Box::new(Self {
            by,
            choice: Choice::new(shared),
            draws: AtomicU64::new(seed),
        })))
    }

    /// A binding by chance, every one alike.
    pub(crate) fn by_chance(&self) -> Option<u32> {
        self.modulo(mix(self.draws.fetch_add(1, Ordering::Relaxed)))
    }

    /// The binding for a hash, every one alike.
    pub(crate) fn modulo(&self, hash: u64) -> Option<u32> {
        let bindings = self.choice.weight();
        self.choice.by_number(hash.checked_rem(bindings)?)
    }
}

/// What a consistent-hash exchange hashes.
fn by_arguments(decl: &ExchangeDecl) -> Result<By, Refusal> {
    let refuse = |arg: &str, fault| Refusal::InvalidArgument {
        kind: Kind::Exchange,
        name: decl.name.clone(),
        arg: arg.into(),
        fault: Box::new(fault),
    };
    let text = |arg| match decl.arguments.get(arg) {
        None => Ok(None),
        Some(value) => value
            .as_str()
            .map(Some)
            .ok_or_else(|| refuse(arg, ArgumentFault::NotAName(Value::clone(value)))),
    };
    match (text(HASH_HEADER)?, text(HASH_PROPERTY)?) {
        (None, None) => Ok(By::Key),
        (Some(header), None) => Ok(By::Header(header.into())),
        (None, Some(property)) => {
            HashProperty::parse(property)
                .map(By::Property)
                .ok_or_else(|| {
                    refuse(
                        HASH_PROPERTY,
                        ArgumentFault::UnsupportedProperty(property.into()),
                    )
                })
        }
        (Some(_), Some(_)) => Err(refuse(
            HASH_HEADER,
            ArgumentFault::ExclusiveWith(HASH_PROPERTY),
        )),
    }
}

/// The weight that a binding key spells: decimal digits, perhaps with a sign.
fn weight(key: &[u8]) -> Result<u32, BindingFault> {
    let (negative, digits) = match key {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] | digits => (false, digits),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(BindingFault::WeightNotAnInteger(key.into()));
    }
    let weight = digits.iter().fold(0_u32, |weight, digit| {
        weight
            .saturating_mul(10)
            .saturating_add(u32::from(digit - b'0'))
    });
    match weight {
        0 => Err(BindingFault::WeightNotPositive),
        _ if negative => Err(BindingFault::WeightNotPositive),
        1..=WEIGHT_MAX => Ok(weight),
        _ => Err(BindingFault::WeightTooLarge(WEIGHT_MAX)),
    }
}

impl Topology {
    /// Refuses bindings that the exchange could not choose.
    pub(super) fn check_choice(
        &self,
        source: u32,
        end: End,
        binding: &BindingDecl<'_>,
    ) -> Result<(), Refusal> {
        let fault = match self.exchanges[source].behaviour.kind {
            ExchangeKind::ConsistentHash => weight(binding.key).err(),
            ExchangeKind::LocalRandom if !binding.key.is_empty() => {
                Some(BindingFault::KeyNotEmpty(binding.key.into()))
            }
            ExchangeKind::LocalRandom => match end {
                End::Queue(queue) => match self.queues[queue].entry.settings.kind {
                    QueueKind::Classic => None,
                    kind @ QueueKind::Quorum => Some(BindingFault::QueueKind(kind)),
                },
                End::Exchange(_) => None,
            },
            _ => None,
        };
        fault.map_or(Ok(()), |fault| Err(Refusal::InvalidBinding(fault)))
    }

    /// Lets the exchange choose a binding from now on.
    pub(super) fn choose(&mut self, slot: u32, identity: &Identity<'_>) {
        let hash = self.choice_hash(identity);
        let Some(chooser) = self.exchanges[identity.source].chooser() else {
            return;
        };
        let weight = match chooser.by {
            // The key was checked when the binding was made.
            By::Key | By::Header(_) | By::Property(_) => weight(&identity.key).unwrap_or(1),
            By::Modulus | By::Chance => 1,
        };
        chooser.choice.insert(hash, slot, weight);
    }

    /// The reverse of [`Topology::choose`].
    pub(super) fn choose_no_more(&mut self, slot: u32) {
        let identity = self.identity_of(slot);
        let (source, hash) = (identity.source, self.choice_hash(&identity));
        if let Some(chooser) = self.exchanges[source].chooser() {
            chooser.choice.remove(hash, slot);
        }
    }

    /// What is one to a chooser: a destination if it weighs them, else a binding.
    fn choice_hash(&self, identity: &Identity<'_>) -> u64 {
        let (is_exchange, name) = match self.name_of(identity.end) {
            Destination::Queue(name) => (0, name),
            Destination::Exchange(name) => (1, name),
        };
        let hash = Stable::default().number(is_exchange).bytes(name.as_bytes());
        if self.exchanges[identity.source].behaviour.kind == ExchangeKind::ConsistentHash {
            return hash.finish();
        }
        let hash = hash.bytes(identity.slashed.unwrap_or(&identity.key));
        with_headers(hash, &identity.arguments).finish()
    }
}

fn with_headers(hash: Stable, headers: &Headers) -> Stable {
    headers.iter().fold(hash, |hash, (name, value)| {
        hash.bytes(name.as_bytes()).value(value)
    })
}
