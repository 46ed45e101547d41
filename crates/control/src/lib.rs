//! The command line of operators: subcommands of `ternmq` that talk to the management HTTP API.
//!
//! It does not know the broker: everything goes through the API, so it works over the network, with TLS, and, but for
//! what TernMQ has beyond it under `/api/x/`, with RabbitMQ too.
//!
//! Where to start: [`Command`] is what can be asked for, [`run`] does it. `client.rs` is the one place that sends
//! requests, `field.rs` and `table.rs` are how answers look, [`Failure`] has the exit codes, and `commands/` has one
//! file for each kind of object.

mod client;
mod commands;
mod failure;
mod field;
mod options;
mod output;
mod pages;
mod path;
mod progress;
mod screen;
mod secret;
mod table;

use std::io::{self, BufWriter, Write};

use clap::Subcommand;

pub use crate::failure::{Failure, Outcome};
pub use crate::pages::{Completions, Pages};
pub use crate::progress::Bar;

use crate::client::Api;
use crate::commands::{
    bindings, channels, connections, consumers, definitions, delayed, exchanges, health,
    permissions, policies, queues, retained, sessions, status, top, users, vhosts,
};
use crate::options::Server;
use crate::output::{Form, Output};

/// What can be asked of a running broker.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Show what runs, and how it is
    Status(Of<status::Status>),
    /// Watch rates, the busiest queues and the busiest connections
    Top(Of<top::Top>),
    /// Ask every health check; exit code 1 if one fails
    Health(Of<health::Health>),
    /// List, declare, look into, pause and delete queues
    Queues(With<queues::Queues>),
    /// List, declare and delete exchanges, and publish to them
    Exchanges(With<exchanges::Exchanges>),
    /// List, add and delete bindings
    Bindings(With<bindings::Bindings>),
    /// List and close connections
    Connections(With<connections::Connections>),
    /// List channels
    Channels(With<channels::Channels>),
    /// List consumers
    Consumers(With<consumers::Consumers>),
    /// List and end MQTT sessions, and list shared groups
    Sessions(With<sessions::Sessions>),
    /// List and forget retained MQTT messages
    Retained(With<retained::Retained>),
    /// List and cancel delayed messages
    Delayed(With<delayed::Delayed>),
    /// List, add, change and delete users
    Users(With<users::Users>),
    /// List, add and delete virtual hosts, and limit them
    Vhosts(With<vhosts::Vhosts>),
    /// List, set and clear what users may do in a virtual host
    Permissions(With<permissions::Permissions>),
    /// List, set and clear the routing keys that users may use
    TopicPermissions(With<permissions::TopicPermissions>),
    /// List, set and clear policies
    Policies(With<policies::Policies>),
    /// List, set and clear policies that limit what users may set
    OperatorPolicies(With<policies::OperatorPolicies>),
    /// Export and import users, virtual hosts, permissions, policies, exchanges, queues and bindings
    Definitions(With<definitions::Definitions>),
}

/// A command with its own arguments, and a server.
#[derive(Clone, Debug, clap::Args)]
pub struct Of<T: clap::Args> {
    #[command(flatten)]
    action: T,
    #[command(flatten)]
    server: Server,
}

/// A command with subcommands, and a server.
#[derive(Clone, Debug, clap::Args)]
pub struct With<T: Subcommand> {
    #[command(subcommand)]
    action: T,
    #[command(flatten)]
    server: Server,
}

/// What a command works with.
struct Context<'a> {
    server: &'a Server,
    api: Api,
    out: Output<'a>,
}

/// A command's own part.
trait Action {
    fn run(&self, context: &mut Context<'_>) -> Outcome;
}

impl Command {
    fn parts(&self) -> (&dyn Action, &Server) {
        match self {
            Self::Status(of) => (&of.action, &of.server),
            Self::Top(of) => (&of.action, &of.server),
            Self::Health(of) => (&of.action, &of.server),
            Self::Queues(with) => (&with.action, &with.server),
            Self::Exchanges(with) => (&with.action, &with.server),
            Self::Bindings(with) => (&with.action, &with.server),
            Self::Connections(with) => (&with.action, &with.server),
            Self::Channels(with) => (&with.action, &with.server),
            Self::Consumers(with) => (&with.action, &with.server),
            Self::Sessions(with) => (&with.action, &with.server),
            Self::Retained(with) => (&with.action, &with.server),
            Self::Delayed(with) => (&with.action, &with.server),
            Self::Users(with) => (&with.action, &with.server),
            Self::Vhosts(with) => (&with.action, &with.server),
            Self::Permissions(with) => (&with.action, &with.server),
            Self::TopicPermissions(with) => (&with.action, &with.server),
            Self::Policies(with) => (&with.action, &with.server),
            Self::OperatorPolicies(with) => (&with.action, &with.server),
            Self::Definitions(with) => (&with.action, &with.server),
        }
    }
}

/// Does what was asked for, and writes what came of it to standard output.
pub fn run(command: &Command) -> Outcome {
    let mut out = BufWriter::new(io::stdout().lock());
    let ended = perform(command, |form| Output::stdout(&mut out, form));
    let flushed = out.flush().map_err(Failure::io("standard output"));
    match ended.and(flushed) {
        // `ternmq queues list | head` is no failure.
        Err(failure) if failure.is_closed_pipe() => Ok(()),
        ended => ended,
    }
}

fn perform<'a>(command: &'a Command, output: impl FnOnce(Form) -> Output<'a>) -> Outcome {
    let (action, server) = command.parts();
    let form = if server.json {
        Form::Json
    } else {
        Form::People
    };
    let api = Api::new(server, &secret::login(server)?)?;
    let mut context = Context {
        server,
        api,
        out: output(form),
    };
    action.run(&mut context)?;
    context.out.finish()
}

#[cfg(test)]
mod tests;
