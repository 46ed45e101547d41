//! `/exchanges`

use axum::extract::State;
use serde::Serialize;
use ternmq_broker::inspect::ExchangeSnapshot;
use ternmq_core::topology::{ExchangeDecl, ExchangeKind};

use super::{Empty, Shared};
use crate::Manage;
use crate::auth::Caller;
use crate::fault::Fault;
use crate::listing::{self, Row};
use crate::rates::{ExchangeNumbers, Measures, Numbers as _, Past, Ranges, exchange_numbers};
use crate::reply::{self, Answer};
use crate::request::{Names, Payload, Query, declared_name};
use crate::table::{self, Table};

/// What paths call the default exchange.
pub(crate) const DEFAULT: &str = "amq.default";

/// The exchange that a path means.
pub(crate) fn named(name: &str) -> &str {
    if name == DEFAULT { "" } else { name }
}

impl Row for ExchangeSnapshot {
    fn name(&self) -> &str {
        &self.decl.name
    }

    fn group(&self) -> &str {
        &self.vhost
    }
}

/// Who declares what no user has declared.
const BROKER: &str = "rmq-internal";

/// An exchange as it is shown.
#[derive(Serialize)]
struct Shown {
    name: Box<str>,
    vhost: Box<str>,
    r#type: &'static str,
    durable: bool,
    auto_delete: bool,
    internal: bool,
    arguments: Table,
    policy: Option<Box<str>>,
    user_who_performed_action: Box<str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    messages_delayed: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_stats: Option<Measures>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    detail: Option<Detail>,
}

/// Rates by channel and by queue, which nobody counts.
#[derive(Serialize)]
struct Detail {
    incoming: [Empty; 0],
    outgoing: [Empty; 0],
}

fn show(exchange: ExchangeSnapshot, past: &Past, ranges: Ranges) -> Shown {
    let numbers = exchange_numbers(&exchange);
    let key = (exchange.vhost, exchange.decl.name);
    let history = past.exchanges.get(&key);
    let (vhost, name) = key;
    Shown {
        policy: exchange.policy.policy,
        messages_delayed: exchange.messages_delayed,
        name,
        vhost,
        r#type: exchange.decl.kind.name(),
        durable: exchange.decl.durable,
        auto_delete: exchange.decl.auto_delete,
        internal: exchange.decl.internal,
        arguments: Table(exchange.decl.arguments),
        user_who_performed_action: match exchange.decl.declared_by {
            nobody if nobody.is_empty() => BROKER.into(),
            user => user,
        },
        message_stats: ExchangeNumbers::measures(&numbers, history, ranges.messages).unless_zero(),
        detail: None,
    }
}

pub(crate) async fn list(State(manage): State<Shared>, caller: Caller, query: Query) -> Answer {
    let mut exchanges = manage.broker.inspect().exchanges(None);
    let seen = caller.seen_vhosts();
    exchanges.retain(|exchange| seen.contains(&exchange.vhost));
    answer(&manage, exchanges, &query)
}

pub(crate) async fn list_in_vhost(
    State(manage): State<Shared>,
    caller: Caller,
    Names(vhost): Names<String>,
    query: Query,
) -> Answer {
    caller.vhost(&vhost)?;
    answer(
        &manage,
        manage.broker.inspect().exchanges(Some(&vhost)),
        &query,
    )
}

fn answer(manage: &Manage, exchanges: Vec<ExchangeSnapshot>, query: &Query) -> Answer {
    let past = manage.sampler.past();
    let ranges = past.ranges(query);
    listing::list_with(exchanges, query, |exchange| show(exchange, &past, ranges))
}

pub(crate) async fn get(
    State(manage): State<Shared>,
    caller: Caller,
    Names((vhost, name)): Names<(String, String)>,
    query: Query,
) -> Answer {
    caller.vhost(&vhost)?;
    let exchange = manage.broker.inspect().exchange(&vhost, named(&name));
    let exchange = exchange.ok_or_else(Fault::not_found)?;
    let past = manage.sampler.past();
    let shown = show(exchange, &past, past.ranges(&query));
    let shown = Shown {
        detail: Some(Detail {
            incoming: [],
            outgoing: [],
        }),
        ..shown
    };
    Ok(listing::object(&shown, &query))
}

pub(crate) async fn put(
    State(manage): State<Shared>,
    caller: Caller,
    Names((vhost, name)): Names<(String, String)>,
    payload: Payload,
) -> Answer {
    let fields = payload.object()?;
    let name = declared_name("exchange", &name)?;
    let mut client = caller.client(&vhost, Fault::no_vhost())?;
    let refused = |refusal| Fault::of_refusal(&refusal, &vhost, caller.name());
    let kind = fields.optional_text("type")?.unwrap_or("direct");
    let kind = ExchangeKind::parse(kind)
        .ok_or_else(|| Fault::bad_request(format!("unknown exchange type '{kind}'")))?;
    let decl = ExchangeDecl {
        name: named(&name).into(),
        kind,
        durable: fields.flag("durable")?,
        auto_delete: fields.flag("auto_delete")?,
        internal: fields.flag("internal")?,
        arguments: table::from_json(fields.get("arguments"))?,
        declared_by: Box::default(),
    };
    let created = client.declare_exchange(decl).map_err(refused)?;
    manage.durable(client.declared()).await;
    Ok(reply::put(created))
}

pub(crate) async fn delete(
    State(manage): State<Shared>,
    caller: Caller,
    Names((vhost, name)): Names<(String, String)>,
    query: Query,
) -> Answer {
    caller.vhost(&vhost)?;
    let found = manage.broker.inspect().exchange(&vhost, named(&name));
    found.ok_or_else(Fault::not_found)?;
    let mut client = caller.client(&vhost, Fault::not_found())?;
    let existed = client
        .delete_exchange(named(&name), query.is_true("if-unused"))
        .map_err(|refusal| Fault::of_refusal(&refusal, &vhost, caller.name()))?;
    if !existed {
        return Err(Fault::not_found());
    }
    manage.durable(client.declared()).await;
    Ok(reply::done())
}
