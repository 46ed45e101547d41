//! `/x/explain-route/:vhost/:exchange`

use axum::extract::State;
use serde::Serialize;
use serde_json::{Value, json};
use ternmq_amqp::{mapping, table};
use ternmq_broker::inspect::{BindingEnd, BindingSnapshot, VisitSnapshot};
use ternmq_core::message::PropertyFormat as _;
use ternmq_core::routing::key::KeySyntax;
use ternmq_core::routing::{Miss, RouteRequest};

use crate::auth::Caller;
use crate::fault::Fault;
use crate::properties;
use crate::reply::{self, Answer};
use crate::request::{Fields, Names, Payload};
use crate::resources::{Shared, bindings, exchanges};
use crate::table::TableRef;

#[derive(Serialize)]
struct Visited {
    exchange: Box<str>,
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    delayed_ms: Option<u64>,
    followed: Vec<Value>,
    missed: Vec<Value>,
    /// How many more bindings are not followed.
    left_out: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    alternate_exchange: Option<Box<str>>,
}

/// `{"routing_key": "a.b", "properties": {"headers": {...}}}`: where such a message would go. Nothing is published.
pub(crate) async fn explain(
    State(manage): State<Shared>,
    caller: Caller,
    Names((vhost, exchange)): Names<(String, String)>,
    payload: Payload,
) -> Answer {
    caller.vhost(&vhost)?;
    let fields = payload.object()?;
    let key = fields.optional_text("routing_key")?.unwrap_or_default();
    let given = match fields.get("properties") {
        Some(Value::Object(given)) => Fields(given.clone()),
        _ => Fields::default(),
    };
    let raw = properties::from_fields(&given)?;
    let incoming = mapping::to_core(&raw).map_err(|error| Fault::bad_request(error.to_string()))?;
    let extras = incoming.extras.as_deref();
    let further = extras.map(|extras| extras.cc.iter().chain(&extras.bcc));
    let further: Vec<&[u8]> = further.into_iter().flatten().map(|key| &key[..]).collect();
    let headers = || {
        incoming
            .headers
            .map(table::to_headers_lossy)
            .unwrap_or_default()
    };
    let request = RouteRequest {
        exchange: exchanges::named(&exchange).as_bytes(),
        routing_key: key.as_bytes(),
        key_syntax: KeySyntax::Dotted,
        extra_keys: &further,
        headers: &headers,
        properties: &|| mapping::FORMAT.decode(&incoming.native),
        publisher: None,
        from_client: true,
    };
    let explained = manage.broker.inspect().explain(&vhost, &request);
    let visits = explained
        .ok_or_else(Fault::not_found)?
        .map_err(|refusal| Fault::of_publish(&refusal, &vhost, caller.name()))?;
    let mut queues: Vec<&str> = visits.iter().flat_map(queues_of).collect();
    queues.sort_unstable();
    queues.dedup();
    let visited: Vec<Visited> = visits.iter().map(show).collect();
    Ok(reply::json(
        &json!({"routed": !queues.is_empty(), "queues": queues, "visited": visited}),
    ))
}

fn queues_of(visit: &VisitSnapshot) -> impl Iterator<Item = &str> {
    visit
        .followed
        .iter()
        .filter_map(|binding| match &binding.destination {
            BindingEnd::Queue(name) => Some(&**name),
            BindingEnd::Exchange(_) => None,
        })
}

fn show(visit: &VisitSnapshot) -> Visited {
    let missed = visit.missed.iter().map(|(binding, miss)| {
        let mut shown = binding_value(binding);
        shown["why_not"] = why_not(miss).into();
        shown
    });
    Visited {
        exchange: visit.exchange.clone(),
        r#type: visit.kind,
        delayed_ms: visit.delayed_ms,
        followed: visit.followed.iter().map(binding_value).collect(),
        missed: missed.collect(),
        left_out: visit.left_out,
        alternate_exchange: visit.alternate.clone(),
    }
}

fn binding_value(binding: &BindingSnapshot) -> Value {
    let kind = match &binding.destination {
        BindingEnd::Queue(_) => "queue",
        BindingEnd::Exchange(_) => "exchange",
    };
    json!({
        "destination": binding.destination.name(),
        "destination_type": kind,
        "routing_key": bindings::routing_key(binding),
        "arguments": TableRef(&binding.arguments),
    })
}

fn why_not(miss: &Miss) -> String {
    match miss {
        Miss::OtherKey => "its key is another one".to_owned(),
        Miss::PatternDiffers => "its pattern does not match the routing key".to_owned(),
        Miss::HeadersDiffer(names) => {
            format!(
                "the headers do not match its arguments: {}",
                names.join(", ")
            )
        }
        Miss::NotChosen => "the exchange chose another binding".to_owned(),
        Miss::OwnMessage => "the destination does not want what it published itself".to_owned(),
    }
}
