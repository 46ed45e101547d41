//! What is to be sent back, and where to.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};
use ternmq_broker::Broker;
use ternmq_core::message::Message;

use crate::fault::Fault;
use crate::request::Fields;
use crate::table::TableRef;

/// Messages that a dry run looks at, at most, and at once.
const DRY_MAX: u64 = 100_000;
const DRY_STEP: usize = 1_000;

/// See the module's documentation.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(super) vhost: Box<str>,
    pub(super) queue: Box<str>,
    filter: Filter,
    to: Option<Place>,
    /// Messages per second, at most.
    pub(super) rate: Option<u64>,
    /// Messages in all, at most.
    pub(super) max: Option<u64>,
}

/// Which messages: those to which everything applies that is set.
#[derive(Clone, Debug, Default)]
struct Filter {
    reason: Option<String>,
    queue: Option<String>,
    exchange: Option<String>,
    headers: Map<String, Value>,
}

/// Where a message goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Place {
    pub(super) exchange: Box<str>,
    pub(super) routing_key: Box<str>,
}

/// What would happen.
#[derive(Debug, Serialize)]
pub(crate) struct DryRun {
    #[serde(rename = "dry_run")]
    is_dry: bool,
    seen: u64,
    matching: u64,
    /// How many messages would go where, by queue or exchange.
    targets: BTreeMap<String, u64>,
}

impl Order {
    /// The order in a request.
    pub(crate) fn read(vhost: &str, queue: &str, fields: &Fields) -> Result<Self, Fault> {
        let positive = |name: &str| match fields.integer(name)? {
            None => Ok(None),
            Some(number) => match u64::try_from(number) {
                Ok(number) if number > 0 => Ok(Some(number)),
                _ => Err(Fault::bad_request(serde_json::json!([
                    "not_positive",
                    name
                ]))),
            },
        };
        let object = |name: &str| match fields.get(name) {
            None => Ok(None),
            Some(Value::Object(object)) => Ok(Some(Fields(object.clone()))),
            Some(_) => Err(Fault::bad_request(serde_json::json!(["not_object", name]))),
        };
        let to = object("to")?.map(|to| {
            Ok::<_, Fault>(Place {
                exchange: to.optional_text("exchange")?.unwrap_or_default().into(),
                routing_key: to.text("routing_key")?.into(),
            })
        });
        Ok(Self {
            vhost: vhost.into(),
            queue: queue.into(),
            filter: Filter::read(&object("filter")?.unwrap_or_default())?,
            to: to.transpose()?,
            rate: positive("rate")?,
            max: positive("max")?,
        })
    }

    /// Where the message goes, if it is one of those; back to where it died last, unless a place is named.
    pub(super) fn place(&self, message: &Message) -> Option<Place> {
        if !self.filter.matches(message) {
            return None;
        }
        self.to.clone().or_else(|| {
            let died_in = &message.history()?.last.queue;
            Some(Place {
                exchange: "".into(),
                routing_key: died_in.clone(),
            })
        })
    }

    /// Looks at the messages where they are, and tells what would happen.
    pub(crate) fn try_dry(&self, broker: &Broker, total: u64) -> DryRun {
        let mut dry = DryRun {
            is_dry: true,
            seen: 0,
            matching: 0,
            targets: BTreeMap::new(),
        };
        let total = total.min(DRY_MAX);
        while dry.seen < total && self.max.is_none_or(|max| dry.matching < max) {
            let inspect = broker.inspect();
            let some = inspect.browse(&self.vhost, &self.queue, dry.seen, DRY_STEP);
            let some = some.unwrap_or_default();
            if some.is_empty() {
                break;
            }
            for snapshot in some {
                dry.seen += 1;
                let Some(place) = self.place(&snapshot.message) else {
                    continue;
                };
                dry.matching += 1;
                let name = if place.exchange.is_empty() {
                    place.routing_key.into()
                } else {
                    place.exchange.into()
                };
                *dry.targets.entry(name).or_insert(0) += 1;
            }
        }
        dry
    }
}

impl Filter {
    fn read(fields: &Fields) -> Result<Self, Fault> {
        let text = |name: &str| Ok::<_, Fault>(fields.optional_text(name)?.map(str::to_owned));
        let headers = match fields.get("headers") {
            None => Map::new(),
            Some(Value::Object(headers)) => headers.clone(),
            Some(_) => {
                return Err(Fault::bad_request(serde_json::json!([
                    "not_object",
                    "headers"
                ])));
            }
        };
        Ok(Self {
            reason: text("reason")?,
            queue: text("queue")?,
            exchange: text("exchange")?,
            headers,
        })
    }

    fn matches(&self, message: &Message) -> bool {
        let last = message.history().map(|history| &history.last);
        let is = |wanted: &Option<String>, found: Option<&[u8]>| {
            wanted
                .as_ref()
                .is_none_or(|wanted| found == Some(wanted.as_bytes()))
        };
        is(&self.reason, last.map(|last| last.reason.name().as_bytes()))
            && is(&self.queue, last.map(|last| last.queue.as_bytes()))
            && is(&self.exchange, last.map(|last| &last.exchange[..]))
            && self.has_headers(message)
    }

    fn has_headers(&self, message: &Message) -> bool {
        if self.headers.is_empty() {
            return true;
        }
        let headers = message.properties().headers;
        let found = serde_json::to_value(TableRef(&headers)).unwrap_or_default();
        self.headers
            .iter()
            .all(|(name, wanted)| found.get(name) == Some(wanted))
    }
}
