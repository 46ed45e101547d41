//! `ternmq policies` and `ternmq operator-policies`.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::failure::Outcome;
use crate::field::{Field, Kind};
use crate::options::Selection;
use crate::{Action, Context};

use super::parse_object;

const LIST: [Field; 6] = [
    Field::text("name", "NAME"),
    Field::text("vhost", "VHOST"),
    Field::text("pattern", "PATTERN"),
    Field::text("apply-to", "APPLIES TO"),
    Field::new("priority", "PRIORITY", Kind::Count),
    Field::text("definition", "DEFINITION"),
];

/// What to do with policies.
#[derive(Clone, Debug, Subcommand)]
pub enum Policies {
    /// List policies
    List {
        #[command(flatten)]
        selection: Selection,
    },
    /// Add or replace a policy
    Set(Policy),
    /// Delete a policy
    #[command(visible_alias = "delete")]
    Clear {
        /// Its name
        name: String,
    },
}

/// What to do with operator policies.
#[derive(Clone, Debug, Subcommand)]
pub enum OperatorPolicies {
    /// List operator policies
    List {
        #[command(flatten)]
        selection: Selection,
    },
    /// Add or replace an operator policy
    Set(Policy),
    /// Delete an operator policy
    #[command(visible_alias = "delete")]
    Clear {
        /// Its name
        name: String,
    },
}

/// A policy.
#[derive(Clone, Debug, Args)]
pub struct Policy {
    /// Its name
    name: String,
    /// Names of the queues and exchanges it is for, as a regular expression
    pattern: String,
    /// What it sets, as a JSON object such as {"max-length":1000}
    #[arg(value_parser = parse_object)]
    definition: Value,
    /// all, exchanges, queues, `classic_queues`, `quorum_queues` or streams
    #[arg(long, value_name = "WHAT", default_value = "all")]
    apply_to: String,
    /// Of the policies that match a name, the one with the highest priority applies
    #[arg(
        long,
        value_name = "NUMBER",
        default_value_t = 0,
        allow_negative_numbers = true
    )]
    priority: i64,
}

impl Action for Policies {
    fn run(&self, context: &mut Context<'_>) -> Outcome {
        match self {
            Self::List { selection } => list(context, "policies", selection),
            Self::Set(policy) => policy.put(context, "policies", "policy"),
            Self::Clear { name } => clear(context, "policies", "policy", name),
        }
    }
}

impl Action for OperatorPolicies {
    fn run(&self, context: &mut Context<'_>) -> Outcome {
        const KIND: &str = "operator-policies";
        match self {
            Self::List { selection } => list(context, KIND, selection),
            Self::Set(policy) => policy.put(context, KIND, "operator policy"),
            Self::Clear { name } => clear(context, KIND, "operator policy", name),
        }
    }
}

impl Policy {
    fn put(&self, context: &mut Context<'_>, kind: &str, label: &str) -> Outcome {
        let vhost = context.server.vhost();
        let path = context.thing(kind, label, &self.name);
        let path = path.called(format!("vhost {vhost:?}"));
        let body = json!({
            "pattern": self.pattern,
            "definition": self.definition,
            "apply-to": self.apply_to,
            "priority": self.priority,
        });
        context.api.put(&path, &body)?;
        context.out.done(format!("set {label} {}", self.name))
    }
}

fn list(context: &mut Context<'_>, kind: &str, selection: &Selection) -> Outcome {
    let path = context.in_vhost(kind);
    context.list(&path, &LIST, selection)
}

fn clear(context: &mut Context<'_>, kind: &str, label: &str, name: &str) -> Outcome {
    let path = context.thing(kind, label, name);
    context.api.delete(&path)?;
    context.out.done(format!("cleared {label} {name}"))
}
