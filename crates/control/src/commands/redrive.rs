//! `ternmq queues redrive`.

use std::time::Duration;

use clap::Args;
use serde_json::{Map, Value, json};

use crate::failure::{Failure, Outcome};
use crate::field::{Field, count, find, find_str};
use crate::path::Path;
use crate::progress::{Bar, pause};
use crate::{Action, Context};

/// How often a task is asked how far it is.
const ASK_EVERY: Duration = Duration::from_millis(250);

/// Which dead letters go back, and how.
#[derive(Clone, Debug, Args)]
pub struct Redrive {
    /// The queue that holds them
    name: String,
    /// Only those that died of this: rejected, expired, maxlen or `delivery_limit`
    #[arg(long, value_name = "REASON")]
    reason: Option<String>,
    /// Only those that died in this queue
    #[arg(long, value_name = "QUEUE")]
    died_in: Option<String>,
    /// Only those that were published to this exchange
    #[arg(long, value_name = "EXCHANGE")]
    exchange: Option<String>,
    /// With this routing key, instead of to where they died; alone it names a queue
    #[arg(long, value_name = "KEY")]
    to_key: Option<String>,
    /// To this exchange
    #[arg(long, value_name = "EXCHANGE", requires = "to_key")]
    to_exchange: Option<String>,
    /// At most so many a second
    #[arg(long, value_name = "COUNT")]
    rate: Option<u64>,
    /// At most so many
    #[arg(long, value_name = "COUNT")]
    max: Option<u64>,
    /// Only say how many would go where
    #[arg(long)]
    dry_run: bool,
    /// Do not wait until it is done
    #[arg(long)]
    detach: bool,
}

const TARGETS: [Field; 2] = [
    Field::text("to", "TO"),
    Field::count("messages", "MESSAGES"),
];

impl Action for Redrive {
    fn run(&self, context: &mut Context<'_>) -> Outcome {
        let path = context
            .own_thing("queues", "queue", &self.name)
            .join("redrive");
        let answer = context.api.post(&path, &self.order())?;
        if self.dry_run {
            return show_dry(context, &answer);
        }
        let Some(id) = find(&answer, "id").as_u64() else {
            return Err(Failure::Failed("the answer names no task".to_owned()));
        };
        if self.detach {
            if context.out.is_json() {
                return context.out.json(&answer);
            }
            return context.out.line(format!("task {id} runs"));
        }
        let task = follow(context, id, answer)?;
        tell(context, &task)
    }
}

impl Redrive {
    fn order(&self) -> Value {
        let filter = set(&[
            ("reason", self.reason.as_deref()),
            ("queue", self.died_in.as_deref()),
            ("exchange", self.exchange.as_deref()),
        ]);
        let to = set(&[
            ("exchange", self.to_exchange.as_deref()),
            ("routing_key", self.to_key.as_deref()),
        ]);
        let mut order = Map::new();
        order.insert("dry_run".into(), self.dry_run.into());
        for (name, part) in [("filter", filter), ("to", to)] {
            if !part.is_empty() {
                order.insert(name.into(), part.into());
            }
        }
        for (name, number) in [("rate", self.rate), ("max", self.max)] {
            order.extend(number.map(|number| (name.to_owned(), number.into())));
        }
        order.into()
    }
}

/// The fields that have a value.
fn set(fields: &[(&str, Option<&str>)]) -> Map<String, Value> {
    let set = fields.iter().filter_map(|(name, value)| {
        let value = (*value)?;
        Some(((*name).to_owned(), Value::from(value)))
    });
    set.collect()
}

/// Watches a task until it has ended.
fn follow(context: &Context<'_>, id: u64, mut task: Value) -> Outcome<Value> {
    let path = Path::of(["x", "tasks", &id.to_string()]).called(format!("task {id}"));
    let total = find(&task, "total").as_u64().unwrap_or(0);
    let bar = Bar::things(total, "redriving", context.out.is_json());
    while find_str(&task, "state") == "running" {
        pause(ASK_EVERY);
        task = context.api.get(&path)?;
        bar.at(find(&task, "seen").as_u64().unwrap_or(0));
    }
    bar.finish();
    Ok(task)
}

fn tell(context: &mut Context<'_>, task: &Value) -> Outcome {
    let number = |name: &str| find(task, name).as_i64().unwrap_or(0);
    if context.out.is_json() {
        context.out.json(task)?;
    } else {
        context.out.line(format!(
            "moved {}, left {} alone, {} found no queue",
            count(number("moved")),
            count(number("skipped")),
            count(number("failed"))
        ))?;
    }
    match find_str(task, "state") {
        "done" => Ok(()),
        state => Err(Failure::Failed(format!(
            "the task is {state}: {}",
            find_str(task, "reason")
        ))),
    }
}

fn show_dry(context: &mut Context<'_>, answer: &Value) -> Outcome {
    if context.out.is_json() {
        return context.out.json(answer);
    }
    let number = |name: &str| count(find(answer, name).as_i64().unwrap_or(0));
    context.out.line(format!(
        "{} of {} would go back",
        number("matching"),
        number("seen")
    ))?;
    let targets = find(answer, "targets").as_object().into_iter().flatten();
    let targets: Vec<_> = targets
        .map(|(to, messages)| json!({"to": to, "messages": messages}))
        .collect();
    if targets.is_empty() {
        return Ok(());
    }
    context.out.rows(&targets, &TARGETS)
}
