//! `ternmq exchanges`.

use std::io::{self, Read};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::failure::{Failure, Outcome};
use crate::field::{Field, Kind, duration, find, find_str, text};
use crate::options::Selection;
use crate::path::Path;
use crate::{Action, Context};

use super::{arguments, bindings, parse_argument};

const LIST: [Field; 10] = [
    Field::text("name", "NAME"),
    Field::text("vhost", "VHOST"),
    Field::text("type", "TYPE"),
    Field::new("durable", "DURABLE", Kind::Flag),
    Field::new("auto_delete", "AUTO-DELETE", Kind::Flag),
    Field::new("internal", "INTERNAL", Kind::Flag),
    Field::text("policy", "POLICY"),
    Field::new("message_stats.publish_in_details.rate", "IN", Kind::Rate),
    Field::new("message_stats.publish_out_details.rate", "OUT", Kind::Rate),
    Field::text("arguments", "ARGUMENTS"),
];

const SHOW: [Field; 10] = [
    Field::text("name", "Name"),
    Field::text("vhost", "Vhost"),
    Field::text("type", "Type"),
    Field::new("durable", "Durable", Kind::Flag),
    Field::new("auto_delete", "Auto-delete", Kind::Flag),
    Field::new("internal", "Internal", Kind::Flag),
    Field::text("policy", "Policy"),
    Field::new("message_stats.publish_in_details.rate", "In", Kind::Rate),
    Field::new("message_stats.publish_out_details.rate", "Out", Kind::Rate),
    Field::text("arguments", "Arguments"),
];

/// Most bytes of a message that is published from here.
const PAYLOAD_BYTES_MAX: u64 = 128 << 20;

/// What to do with exchanges.
#[derive(Clone, Debug, Subcommand)]
pub enum Exchanges {
    /// List exchanges
    List {
        #[command(flatten)]
        selection: Selection,
    },
    /// Show an exchange and its bindings
    Show {
        /// Its name; amq.default is the default exchange
        name: String,
    },
    /// Declare an exchange
    Declare(Exchange),
    /// Delete an exchange
    Delete {
        /// Its name
        name: String,
        /// Only if nothing is bound to it
        #[arg(long)]
        if_unused: bool,
    },
    /// Say where a message would go, and why not elsewhere. Nothing is published
    Explain(Message),
    /// Publish a message to an exchange; exit code 1 if it went nowhere
    Publish(Message),
}

/// An exchange to declare.
#[derive(Clone, Debug, Args)]
pub struct Exchange {
    /// Its name
    name: String,
    /// direct, fanout, topic, headers or one of the others that `status --json` lists
    #[arg(long = "type", value_name = "TYPE", default_value = "direct")]
    kind: String,
    /// Gone after a restart
    #[arg(long)]
    transient: bool,
    /// Gone when the last binding to it is
    #[arg(long)]
    auto_delete: bool,
    /// Clients cannot publish to it
    #[arg(long)]
    internal: bool,
    /// A further argument, e.g. alternate-exchange=unrouted; may be repeated
    #[arg(long = "argument", value_name = "KEY=VALUE", value_parser = parse_argument)]
    arguments: Vec<(String, Value)>,
}

/// A message to publish.
#[derive(Clone, Debug, Args)]
pub struct Message {
    /// The exchange; amq.default is the default exchange
    exchange: String,
    /// Its routing key
    routing_key: String,
    /// What it says; standard input if left out
    payload: Option<String>,
    /// A property, e.g. `content_type=text/plain` or `delivery_mode=2`; may be repeated
    #[arg(long = "property", value_name = "KEY=VALUE", value_parser = parse_argument)]
    properties: Vec<(String, Value)>,
    /// A header; may be repeated
    #[arg(long = "header", value_name = "KEY=VALUE", value_parser = parse_argument)]
    headers: Vec<(String, Value)>,
}

impl Action for Exchanges {
    fn run(&self, context: &mut Context<'_>) -> Outcome {
        match self {
            Self::List { selection } => {
                let path = context.in_vhost("exchanges");
                context.list(&path, &LIST, selection)
            }
            Self::Show { name } => show(context, name),
            Self::Declare(exchange) => {
                let body = json!({
                    "type": exchange.kind,
                    "durable": !exchange.transient,
                    "auto_delete": exchange.auto_delete,
                    "internal": exchange.internal,
                    "arguments": arguments(&exchange.arguments),
                });
                let path = context.thing("exchanges", "exchange", &exchange.name);
                context.api.put(&path, &body)?;
                context
                    .out
                    .done(format!("declared exchange {}", exchange.name))
            }
            Self::Delete { name, if_unused } => {
                let mut path = context.thing("exchanges", "exchange", name);
                if *if_unused {
                    path = path.query("if-unused", true);
                }
                context.api.delete(&path)?;
                context.out.done(format!("deleted exchange {name}"))
            }
            Self::Explain(message) => message.explain(context),
            Self::Publish(message) => message.publish(context),
        }
    }
}

fn show(context: &mut Context<'_>, name: &str) -> Outcome {
    let path = context.thing("exchanges", "exchange", name);
    let exchange = context.api.get(&path)?;
    let read = |side: &str| -> Outcome<Value> {
        context.api.get(&path.clone().join("bindings").join(side))
    };
    let (into, from) = (read("destination")?, read("source")?);
    if context.out.is_json() {
        return context.out.json(&json!({
            "exchange": exchange, "bindings_to": into, "bindings_from": from,
        }));
    }
    context.out.object(&exchange, &SHOW)?;
    bindings::show(context, "Bound to", into)?;
    bindings::show(context, "Bindings", from)
}

const FOLLOWED: [Field; 4] = [
    Field::text("destination_type", "TO"),
    Field::text("destination", "DESTINATION"),
    Field::text("routing_key", "KEY"),
    Field::text("arguments", "ARGUMENTS"),
];

const MISSED: [Field; 4] = [
    Field::text("destination_type", "NOT TO"),
    Field::text("destination", "DESTINATION"),
    Field::text("routing_key", "KEY"),
    Field::text("why_not", "WHY NOT"),
];

impl Message {
    fn properties(&self) -> Value {
        let mut properties = arguments(&self.properties);
        if !self.headers.is_empty() {
            properties["headers"] = arguments(&self.headers);
        }
        properties
    }

    fn explain(&self, context: &mut Context<'_>) -> Outcome {
        let path = context.own_thing("explain-route", "exchange", &self.exchange);
        let body = json!({"routing_key": self.routing_key, "properties": self.properties()});
        let answer = context.api.post(&path, &body)?;
        if context.out.is_json() {
            return context.out.json(&answer);
        }
        let queues = text(find(&answer, "queues"));
        let queues = if queues.is_empty() {
            "nowhere"
        } else {
            &queues
        };
        context.out.line(format!("goes to: {queues}"))?;
        let visited = find(&answer, "visited").as_array();
        for visit in visited.into_iter().flatten() {
            let (name, kind) = (find_str(visit, "exchange"), find_str(visit, "type"));
            context
                .out
                .heading(&format!("Exchange {name:?} ({kind})"))?;
            if let Some(ms) = find(visit, "delayed_ms").as_u64() {
                context
                    .out
                    .line(format!("waits here for {}", duration(ms)))?;
            }
            for (bindings, fields) in [("followed", &FOLLOWED), ("missed", &MISSED)] {
                let bindings = find(visit, bindings).as_array();
                let bindings = bindings.map(Vec::as_slice).unwrap_or_default();
                context.out.rows(bindings, fields)?;
            }
            let left_out = find(visit, "left_out").as_u64().unwrap_or(0);
            if left_out > 0 {
                context
                    .out
                    .line(format!("and {left_out} more that do not match"))?;
            }
        }
        Ok(())
    }

    fn publish(&self, context: &mut Context<'_>) -> Outcome {
        let payload = match &self.payload {
            Some(payload) => payload.clone().into_bytes(),
            None => read_payload()?,
        };
        let (payload, encoding) = match String::from_utf8(payload) {
            Ok(text) => (text, "string"),
            Err(bytes) => (STANDARD.encode(bytes.as_bytes()), "base64"),
        };
        let path = context.thing("exchanges", "exchange", &self.exchange);
        let answer = context.api.post(
            &Path::join(path, "publish"),
            &json!({
                "properties": self.properties(),
                "routing_key": self.routing_key,
                "payload": payload,
                "payload_encoding": encoding,
            }),
        )?;
        if context.out.is_json() {
            context.out.json(&answer)?;
        }
        if find(&answer, "routed") == true {
            return context.out.done("published");
        }
        Err(Failure::Failed(format!(
            "no queue takes {:?} of exchange {:?}",
            self.routing_key, self.exchange
        )))
    }
}

fn read_payload() -> Outcome<Vec<u8>> {
    let mut payload = Vec::new();
    let mut limited = io::stdin().lock().take(PAYLOAD_BYTES_MAX + 1);
    limited
        .read_to_end(&mut payload)
        .map_err(Failure::io("standard input"))?;
    if payload.len() as u64 > PAYLOAD_BYTES_MAX {
        return Err(Failure::Usage(format!(
            "more than {PAYLOAD_BYTES_MAX} bytes on standard input"
        )));
    }
    Ok(payload)
}
