//! `ternmq health`.

use clap::Args;
use serde_json::{Value, json};

use crate::failure::{Failure, Outcome};
use crate::field::{Field, find_str};
use crate::path::Path;
use crate::{Action, Context};

/// Checks that need no argument, by their paths below `/health/checks/`. RabbitMQ 3 has not all of them.
const CHECKS: [&str; 9] = [
    "alarms",
    "local-alarms",
    "virtual-hosts",
    "node-is-quorum-critical",
    "is-in-service",
    "below-node-connection-limit",
    "ready-to-serve-clients",
    "reached-target-cluster-size",
    "metadata-store/initialized",
];

const ROWS: [Field; 3] = [
    Field::text("check", "CHECK"),
    Field::text("status", "STATUS"),
    Field::text("reason", "REASON"),
];

/// Which further checks to ask.
#[derive(Clone, Debug, Args)]
pub struct Health {
    /// Something has to listen on this port; may be repeated
    #[arg(long, value_name = "PORT")]
    port: Vec<u16>,

    /// This protocol has to be spoken, such as amqp, mqtt or https; may be repeated
    #[arg(long, value_name = "PROTOCOL")]
    protocol: Vec<String>,

    /// No certificate may expire within so many days
    #[arg(long, value_name = "DAYS")]
    certificates: Option<u32>,
}

impl Action for Health {
    fn run(&self, context: &mut Context<'_>) -> Outcome {
        let mut results = Vec::new();
        for check in self.checks() {
            results.push(ask(context, &check)?);
        }
        let failed = |result: &&Value| find_str(result, "status") == "failed";
        let failures = results.iter().filter(failed).count();
        let all = results.len();
        if context.out.is_json() {
            context.out.json(&Value::Array(results))?;
        } else {
            context.out.rows(&results, &ROWS)?;
        }
        if failures == 0 {
            return Ok(());
        }
        Err(Failure::Unhealthy(format!(
            "{failures} of {all} checks failed"
        )))
    }
}

impl Health {
    fn checks(&self) -> Vec<String> {
        let mut checks: Vec<_> = CHECKS.iter().map(ToString::to_string).collect();
        checks.extend(self.port.iter().map(|port| format!("port-listener/{port}")));
        let protocols = self.protocol.iter();
        checks.extend(protocols.map(|name| format!("protocol-listener/{name}")));
        let days = self.certificates.iter();
        checks.extend(days.map(|days| format!("certificate-expiration/{days}/days")));
        checks
    }
}

/// `ok`, `failed` or `unknown`: a server need not have every check.
fn ask(context: &Context<'_>, check: &str) -> Outcome<Value> {
    let path = check
        .split('/')
        .fold(Path::of(["health", "checks"]), |path, segment| {
            path.join(segment)
        });
    let (status, answer) = context.api.probe(&path)?;
    let (status, reason) = match status {
        200..=299 => ("ok", String::new()),
        404 | 405 => ("unknown", "the server has no such check".to_owned()),
        _ => ("failed", find_str(&answer, "reason").to_owned()),
    };
    Ok(json!({"check": check, "status": status, "reason": reason, "answer": answer}))
}
