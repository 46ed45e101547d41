//! `ternmq users`.

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use crate::failure::Outcome;
use crate::field::{Field, find};
use crate::options::Selection;
use crate::path::Path;
use crate::{Action, Context, secret};

use super::permissions::{PERMISSIONS, TOPIC_PERMISSIONS};
use super::{limits, refuse_existing};

const LIST: [Field; 4] = [
    Field::text("name", "NAME"),
    Field::text("tags", "TAGS"),
    Field::text("hashing_algorithm", "HASHING"),
    Field::text("limits", "LIMITS"),
];

/// What to do with users.
#[derive(Clone, Debug, Subcommand)]
pub enum Users {
    /// List users
    List {
        #[command(flatten)]
        selection: Selection,
    },
    /// Add a user. The password comes from the terminal or standard input unless an option has it
    Add {
        /// Its name
        name: String,
        #[command(flatten)]
        password: NewPassword,
        /// What it may do with the management API: administrator, monitoring, policymaker, management
        #[arg(long, value_name = "TAGS", value_delimiter = ',')]
        tags: Vec<String>,
    },
    /// Delete users, and close their connections
    Delete {
        /// Their names
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Change a password. It comes from the terminal or standard input unless an option has it
    Passwd {
        /// The user's name
        name: String,
        #[command(flatten)]
        password: NewPassword,
    },
    /// Replace a user's tags; without any, take them all away
    Tags {
        /// The user's name
        name: String,
        /// administrator, monitoring, policymaker, management, or anything of your own
        tags: Vec<String>,
    },
    /// Show what a user may do, in every virtual host
    Permissions {
        /// The user's name
        name: String,
    },
    /// List, set and clear limits on what a user may have open at once
    #[command(subcommand)]
    Limits(limits::UserLimits),
}

/// Where a user's new password comes from.
#[derive(Clone, Debug, Args)]
#[group(multiple = false)]
pub struct NewPassword {
    /// The new password; other users of this machine may see it in the list of processes
    #[arg(long = "new-password", value_name = "PASSWORD")]
    plain: Option<String>,

    /// The hash as exported with definitions: base64 of salt and SHA-256
    #[arg(long = "password-hash", value_name = "HASH")]
    hash: Option<String>,

    /// No password: the user can only log in with a certificate or a token
    #[arg(long = "no-password")]
    none: bool,
}

impl NewPassword {
    /// The fields that say it to the server.
    fn fields(&self, user: &str) -> Outcome<Map<String, Value>> {
        let mut fields = Map::new();
        if let Some(hash) = &self.hash {
            fields.insert("password_hash".into(), hash.as_str().into());
        } else if self.none {
            fields.insert("password_hash".into(), "".into());
        } else {
            let password = match &self.plain {
                Some(password) => password.clone(),
                None => secret::new_password(user)?,
            };
            fields.insert("password".into(), password.into());
        }
        Ok(fields)
    }
}

impl Action for Users {
    fn run(&self, context: &mut Context<'_>) -> Outcome {
        match self {
            Self::List { selection } => context.list(&Path::of(["users"]), &LIST, selection),
            Self::Add {
                name,
                password,
                tags,
            } => {
                refuse_existing(&context.api, &user(name))?;
                let mut fields = password.fields(name)?;
                fields.insert("tags".into(), tags.join(",").into());
                context.api.put(&user(name), &fields.into())?;
                context.out.done(format!("added user {name}"))
            }
            Self::Delete { names } => {
                for name in names {
                    context.api.delete(&user(name))?;
                    context.out.done(format!("deleted user {name}"))?;
                }
                Ok(())
            }
            Self::Passwd { name, password } => {
                let before = context.api.get(&user(name))?;
                let mut fields = password.fields(name)?;
                fields.insert("tags".into(), find(&before, "tags").clone());
                context.api.put(&user(name), &fields.into())?;
                context.out.done(format!("changed the password of {name}"))
            }
            Self::Tags { name, tags } => {
                let before = context.api.get(&user(name))?;
                // A user that is put without its hash loses its password.
                let fields = json!({
                    "password_hash": find(&before, "password_hash"),
                    "hashing_algorithm": find(&before, "hashing_algorithm"),
                    "tags": tags.join(","),
                });
                context.api.put(&user(name), &fields)?;
                context
                    .out
                    .done(format!("tags of {name}: {}", tags.join(", ")))
            }
            Self::Permissions { name } => show_permissions(context, name),
            Self::Limits(action) => action.run(context),
        }
    }
}

fn show_permissions(context: &mut Context<'_>, name: &str) -> Outcome {
    let permissions = context.api.get(&user(name).join("permissions"))?;
    let topics = context.api.get(&user(name).join("topic-permissions"))?;
    if context.out.is_json() {
        return context
            .out
            .json(&json!({"permissions": permissions, "topic_permissions": topics}));
    }
    let everything = Selection::default();
    context.out.list(permissions, &PERMISSIONS, &everything)?;
    if topics.as_array().is_some_and(|topics| !topics.is_empty()) {
        context.out.heading("Topic permissions")?;
        context.out.list(topics, &TOPIC_PERMISSIONS, &everything)?;
    }
    Ok(())
}

fn user(name: &str) -> Path {
    Path::of(["users", name]).called(format!("user {name:?}"))
}
