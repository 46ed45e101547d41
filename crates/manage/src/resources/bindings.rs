//! `/bindings`, and the bindings of one exchange or queue.

use axum::extract::State;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use ternmq_amqp::table as raw_table;
use ternmq_broker::inspect::{BindingEnd, BindingSnapshot};
use ternmq_core::routing::key::{self, KeySyntax};
use ternmq_core::topology::{BindingDecl, BindingOptions, Destination};

use super::{Shared, exchanges};
use crate::auth::Caller;
use crate::fault::Fault;
use crate::listing::{self, Row};
use crate::reply::{self, Answer};
use crate::request::{Names, Payload, Query};
use crate::table::{self, Table};

/// A binding as it is shown.
#[derive(Serialize)]
pub(crate) struct Shown {
    source: Box<str>,
    vhost: Box<str>,
    destination: Box<str>,
    destination_type: &'static str,
    routing_key: String,
    arguments: Table,
    properties_key: String,
}

impl Row for Shown {
    fn name(&self) -> &str {
        &self.destination
    }

    fn group(&self) -> &str {
        &self.source
    }
}

impl Shown {
    fn of(binding: BindingSnapshot) -> Self {
        let (destination_type, destination) = match binding.destination.clone() {
            BindingEnd::Queue(name) => ("queue", name),
            BindingEnd::Exchange(name) => ("exchange", name),
        };
        Self {
            routing_key: routing_key(&binding),
            properties_key: properties_key(&binding),
            source: binding.source,
            vhost: binding.vhost,
            destination,
            destination_type,
            arguments: Table(binding.arguments),
        }
    }
}

/// The key as AMQP writes it.
pub(crate) fn routing_key(binding: &BindingSnapshot) -> String {
    match binding.syntax {
        KeySyntax::Dotted => String::from_utf8_lossy(&binding.key).into_owned(),
        written @ KeySyntax::Slashed => {
            let mut dotted = Vec::new();
            key::render(&binding.key, written, KeySyntax::Dotted, &mut dotted);
            String::from_utf8_lossy(&dotted).into_owned()
        }
    }
}

/// What names a binding among all those of the same two ends: its key, and a hash of its arguments if it has any.
fn properties_key(binding: &BindingSnapshot) -> String {
    let key = quote(&routing_key(binding), IN_KEY);
    let is_dotted = binding.syntax == KeySyntax::Dotted;
    if binding.arguments.is_empty() && is_dotted {
        return if key.is_empty() { "~".to_owned() } else { key };
    }
    let mut arguments = binding.arguments.clone();
    arguments.sort_unique();
    let mut bytes = Vec::new();
    if raw_table::encode_headers(&mut bytes, &arguments).is_err() {
        bytes.clear();
    }
    if !is_dotted {
        // Two spellings of one key are two bindings.
        bytes.push(b'/');
    }
    let hash = URL_SAFE_NO_PAD.encode(fnv1a(&bytes).to_be_bytes());
    format!("{key}~{hash}")
}

/// A hash that stays the same for ever: clients keep properties keys. FNV-1a, 64 bits.
fn fnv1a(bytes: &[u8]) -> u64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(PRIME);
    bytes.iter().fold(OFFSET, step)
}

/// What is quoted in a properties key, where `~` stands before a hash.
const IN_KEY: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'.')
    .remove(b'-')
    .remove(b'_')
    .remove(b' ');
/// What is quoted in an address.
const IN_ADDRESS: &AsciiSet = &IN_KEY.remove(b'~');

/// As forms write a text: a space is a plus.
fn quote(text: &str, quoted: &'static AsciiSet) -> String {
    utf8_percent_encode(text, quoted)
        .to_string()
        .replace(' ', "+")
}

pub(crate) async fn list(State(manage): State<Shared>, caller: Caller, query: Query) -> Answer {
    let mut bindings = manage.broker.inspect().bindings(None);
    let seen = caller.seen_vhosts();
    bindings.retain(|binding| seen.contains(&*binding.vhost));
    answer(bindings, &query)
}

pub(crate) async fn list_in_vhost(
    State(manage): State<Shared>,
    caller: Caller,
    Names(vhost): Names<String>,
    query: Query,
) -> Answer {
    caller.vhost(&vhost)?;
    answer(manage.broker.inspect().bindings(Some(&vhost)), &query)
}

pub(crate) async fn list_from_exchange(
    State(manage): State<Shared>,
    caller: Caller,
    Names((vhost, name)): Names<(String, String)>,
    query: Query,
) -> Answer {
    caller.vhost(&vhost)?;
    let bindings = manage
        .broker
        .inspect()
        .bindings_from(&vhost, exchanges::named(&name));
    answer(bindings, &query)
}

pub(crate) async fn list_to_exchange(
    State(manage): State<Shared>,
    caller: Caller,
    Names((vhost, name)): Names<(String, String)>,
    query: Query,
) -> Answer {
    caller.vhost(&vhost)?;
    let destination = Destination::Exchange(exchanges::named(&name));
    answer(
        manage.broker.inspect().bindings_to(&vhost, destination),
        &query,
    )
}

pub(crate) async fn list_to_queue(
    State(manage): State<Shared>,
    caller: Caller,
    Names((vhost, name)): Names<(String, String)>,
    query: Query,
) -> Answer {
    caller.vhost(&vhost)?;
    let destination = Destination::Queue(&name);
    answer(
        manage.broker.inspect().bindings_to(&vhost, destination),
        &query,
    )
}

fn answer(bindings: Vec<BindingSnapshot>, query: &Query) -> Answer {
    listing::whole(bindings.into_iter().map(Shown::of).collect(), query)
}

/// The ends in a path: `/bindings/:vhost/e/:source/q/:destination`.
pub(crate) struct Ends {
    vhost: String,
    source: String,
    destination: BindingEnd,
}

impl Ends {
    fn new(vhost: String, source: &str, kind: &str, destination: &str) -> Result<Self, Fault> {
        let destination = match kind {
            "q" => BindingEnd::Queue(destination.into()),
            "e" => BindingEnd::Exchange(exchanges::named(destination).into()),
            _ => return Err(Fault::not_found()),
        };
        Ok(Self {
            vhost,
            source: exchanges::named(source).to_owned(),
            destination,
        })
    }

    fn bindings(&self, manage: &Shared) -> Vec<BindingSnapshot> {
        let destination = self.destination.as_destination();
        manage
            .broker
            .inspect()
            .bindings_between(&self.vhost, &self.source, destination)
    }

    fn find(&self, manage: &Shared, key: &str) -> Result<BindingSnapshot, Fault> {
        let mut bindings = self.bindings(manage).into_iter();
        let found = bindings.find(|binding| properties_key(binding) == key);
        found.ok_or_else(Fault::not_found)
    }
}

pub(crate) async fn list_between(
    State(manage): State<Shared>,
    caller: Caller,
    Names((vhost, source, kind, destination)): Names<(String, String, String, String)>,
    query: Query,
) -> Answer {
    caller.vhost(&vhost)?;
    let ends = Ends::new(vhost, &source, &kind, &destination)?;
    answer(ends.bindings(&manage), &query)
}

pub(crate) async fn post(
    State(manage): State<Shared>,
    caller: Caller,
    Names((vhost, source, kind, destination)): Names<(String, String, String, String)>,
    payload: Payload,
) -> Answer {
    let fields = payload.object()?;
    let ends = Ends::new(vhost, &source, &kind, &destination)?;
    let arguments = table::from_json(fields.get("arguments"))?;
    let key = fields.optional_text("routing_key")?.unwrap_or_default();
    let binding = BindingSnapshot {
        vhost: ends.vhost.as_str().into(),
        source: ends.source.as_str().into(),
        destination: ends.destination.clone(),
        key: key.as_bytes().into(),
        syntax: KeySyntax::Dotted,
        arguments,
        options: BindingOptions::default(),
    };
    let mut client = caller.client(&ends.vhost, Fault::not_found())?;
    let decl: BindingDecl<'_> = binding.decl();
    client
        .bind(&decl)
        .map_err(|refusal| Fault::of_refusal(&refusal, &ends.vhost, caller.name()))?;
    let lsn = client.declared();
    drop(client);
    manage.durable(lsn).await;
    let place = format!(
        "{}/{}",
        quote(&destination, IN_ADDRESS),
        quote(&properties_key(&binding), IN_ADDRESS)
    );
    Ok(reply::created_at(&place))
}

type Five = (String, String, String, String, String);

pub(crate) async fn get(
    State(manage): State<Shared>,
    caller: Caller,
    Names((vhost, source, kind, destination, key)): Names<Five>,
    query: Query,
) -> Answer {
    caller.vhost(&vhost)?;
    let ends = Ends::new(vhost, &source, &kind, &destination)?;
    let binding = ends.find(&manage, &key)?;
    Ok(listing::object(&Shown::of(binding), &query))
}

pub(crate) async fn delete(
    State(manage): State<Shared>,
    caller: Caller,
    Names((vhost, source, kind, destination, key)): Names<Five>,
) -> Answer {
    caller.vhost(&vhost)?;
    let ends = Ends::new(vhost, &source, &kind, &destination)?;
    let binding = ends.find(&manage, &key)?;
    let mut client = caller.client(&ends.vhost, Fault::not_found())?;
    client
        .unbind(&binding.decl())
        .map_err(|refusal| Fault::of_refusal(&refusal, &ends.vhost, caller.name()))?;
    let lsn = client.declared();
    drop(client);
    manage.durable(lsn).await;
    Ok(reply::done())
}

#[cfg(test)]
mod tests {
    use ternmq_core::value::{Headers, Value};

    use super::*;

    fn binding(key: &str, arguments: &[(&str, i64)]) -> BindingSnapshot {
        let argument = |(name, value): &(&str, i64)| ((*name).into(), Value::I64(*value));
        BindingSnapshot {
            vhost: "/".into(),
            source: "x".into(),
            destination: BindingEnd::Queue("q".into()),
            key: key.as_bytes().into(),
            syntax: KeySyntax::Dotted,
            arguments: arguments.iter().map(argument).collect::<Headers>(),
            options: BindingOptions::default(),
        }
    }

    #[test]
    fn properties_key_is_the_quoted_key_and_a_hash_of_the_arguments() {
        assert_eq!(properties_key(&binding("", &[])), "~");
        assert_eq!(properties_key(&binding("a.b", &[])), "a.b");
        assert_eq!(
            properties_key(&binding("a b/c~d é", &[])),
            "a+b%2Fc%7Ed+%C3%A9"
        );
        assert_eq!(properties_key(&binding("", &[("x", 1)])), "~9eg_wAMPYSM");
        let one = properties_key(&binding("a", &[("x", 1), ("y", 2)]));
        assert_eq!(
            one,
            properties_key(&binding("a", &[("y", 2), ("x", 1)])),
            "order does not count"
        );
        assert_ne!(one, properties_key(&binding("a", &[("x", 2), ("y", 1)])));
    }

    #[test]
    fn two_spellings_of_a_key_are_two_bindings() {
        let mut slashed = binding("a/b", &[]);
        slashed.syntax = KeySyntax::Slashed;
        assert_eq!(routing_key(&slashed), "a.b");
        assert_ne!(
            properties_key(&slashed),
            properties_key(&binding("a.b", &[]))
        );
    }
}
