//! `ternmq bindings`.

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use crate::failure::{Failure, Outcome};
use crate::field::{Field, find, find_str};
use crate::options::Selection;
use crate::path::Path;
use crate::{Action, Context};

use super::{arguments, parse_argument};

const LIST: [Field; 6] = [
    Field::text("source", "SOURCE"),
    Field::text("routing_key", "KEY"),
    Field::text("destination_type", "TO"),
    Field::text("destination", "DESTINATION"),
    Field::text("vhost", "VHOST"),
    Field::text("arguments", "ARGUMENTS"),
];

/// What to do with bindings.
#[derive(Clone, Debug, Subcommand)]
pub enum Bindings {
    /// List bindings
    List {
        #[command(flatten)]
        selection: Selection,
    },
    /// Bind a queue or an exchange to an exchange
    Add(Binding),
    /// Take a binding away
    Delete(Binding),
}

/// One binding.
#[derive(Clone, Debug, Args)]
pub struct Binding {
    /// The exchange that messages come from
    source: String,
    /// The queue or exchange they go to
    destination: String,
    /// Which of the two that is
    #[arg(long, value_name = "KIND", default_value = "queue")]
    to: Destination,
    /// Routing key or pattern
    #[arg(long, value_name = "KEY", default_value = "")]
    key: String,
    /// A further argument, e.g. x-match=all; may be repeated
    #[arg(long = "argument", value_name = "KEY=VALUE", value_parser = parse_argument)]
    arguments: Vec<(String, Value)>,
}

/// What a binding leads to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Destination {
    /// A queue.
    Queue,
    /// Another exchange.
    Exchange,
}

impl Destination {
    /// As it is written in paths.
    fn letter(self) -> &'static str {
        match self {
            Self::Queue => "q",
            Self::Exchange => "e",
        }
    }
}

impl Action for Bindings {
    fn run(&self, context: &mut Context<'_>) -> Outcome {
        match self {
            Self::List { selection } => {
                let path = context.in_vhost("bindings");
                context.list(&path, &LIST, selection)
            }
            Self::Add(binding) => {
                let body = json!({
                    "routing_key": binding.key,
                    "arguments": arguments(&binding.arguments),
                });
                context
                    .api
                    .post(&binding.path(context.server.vhost()), &body)?;
                context.out.done(binding.told("bound"))
            }
            Self::Delete(binding) => binding.delete(context),
        }
    }
}

impl Binding {
    /// All bindings between the two.
    fn path(&self, vhost: &str) -> Path {
        let what = format!(
            "exchange {:?} or {:?} in vhost {vhost:?}",
            self.source, self.destination
        );
        let (to, source) = (self.to.letter(), self.source.as_str());
        Path::of(["bindings", vhost, "e", source, to, &self.destination]).called(what)
    }

    /// The server names a binding by a key that only the server makes; so it is looked up.
    fn delete(&self, context: &mut Context<'_>) -> Outcome {
        let path = self.path(context.server.vhost());
        let wanted = arguments(&self.arguments);
        let all = context.api.get(&path)?;
        let all = all.as_array().map(Vec::as_slice).unwrap_or_default();
        let found = all.iter().find(|binding| {
            let its = find(binding, "arguments");
            let same_arguments = *its == wanted || (is_empty(its) && is_empty(&wanted));
            find_str(binding, "routing_key") == self.key && same_arguments
        });
        let Some(found) = found else {
            return Err(Failure::NotFound(self.told("this binding of")));
        };
        let key = find_str(found, "properties_key");
        context.api.delete(&path.join(key))?;
        context.out.done(self.told("unbound"))
    }

    fn told(&self, verb: &str) -> String {
        let Self {
            source,
            destination,
            key,
            ..
        } = self;
        format!("{verb} {destination} to {source} with key {key:?}")
    }
}

/// RabbitMQ writes an empty table as an empty list in places.
fn is_empty(arguments: &Value) -> bool {
    match arguments {
        Value::Object(fields) => fields.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

/// The bindings of something else that is shown.
pub(super) fn show(context: &mut Context<'_>, heading: &str, bindings: Value) -> Outcome {
    if bindings.as_array().is_none_or(Vec::is_empty) {
        return Ok(());
    }
    context.out.heading(heading)?;
    context.out.list(bindings, &LIST, &Selection::default())
}
