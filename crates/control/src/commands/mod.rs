//! One file for each kind of object.

pub(crate) mod bindings;
pub(crate) mod channels;
pub(crate) mod connections;
pub(crate) mod consumers;
pub(crate) mod definitions;
pub(crate) mod delayed;
pub(crate) mod exchanges;
pub(crate) mod health;
pub(crate) mod limits;
mod messages;
pub(crate) mod permissions;
pub(crate) mod policies;
pub(crate) mod queues;
mod redrive;
pub(crate) mod retained;
pub(crate) mod sessions;
pub(crate) mod status;
pub(crate) mod top;
pub(crate) mod users;
pub(crate) mod vhosts;

use serde_json::{Map, Value};

use crate::failure::{Failure, Outcome};
use crate::field::Field;
use crate::options::Selection;
use crate::path::Path;
use crate::{Api, Context};

impl Context<'_> {
    /// Reads a list and shows it.
    fn list(&mut self, path: &Path, fields: &[Field], selection: &Selection) -> Outcome {
        let items = self.api.get(path)?;
        self.out.list(items, fields, selection)
    }

    /// The path of a list that exists for all virtual hosts and for each of them.
    fn in_vhost(&self, kind: &str) -> Path {
        let path = Path::of([kind]).called(format!("the list of {kind}"));
        match &self.server.vhost {
            Some(vhost) => path.join(vhost).called(format!("vhost {vhost:?}")),
            None => path,
        }
    }

    /// The same below `/api/x/`, which RabbitMQ does not have.
    fn own_thing(&self, kind: &str, label: &str, name: &str) -> Path {
        let vhost = self.server.vhost();
        Path::of(["x", kind, vhost, name]).called(format!("{label} {name:?} in vhost {vhost:?}"))
    }

    /// A thing in the virtual host that is meant.
    fn thing(&self, kind: &str, label: &str, name: &str) -> Path {
        let vhost = self.server.vhost();
        Path::of([kind, vhost, name]).called(format!("{label} {name:?} in vhost {vhost:?}"))
    }
}

/// `key=value` of a command line: the value is JSON if it reads as such, else a text.
pub(crate) fn parse_argument(text: &str) -> Result<(String, Value), String> {
    let Some((key, value)) = text.split_once('=') else {
        return Err("has to be KEY=VALUE".to_owned());
    };
    let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
    Ok((key.to_owned(), value))
}

/// A JSON object of a command line.
pub(crate) fn parse_object(text: &str) -> Result<Value, String> {
    match serde_json::from_str(text) {
        Ok(Value::Object(object)) => Ok(Value::Object(object)),
        Ok(_) => Err("has to be a JSON object such as {\"max-length\":1000}".to_owned()),
        Err(error) => Err(format!("is no JSON: {error}")),
    }
}

fn arguments(pairs: &[(String, Value)]) -> Value {
    Value::Object(pairs.iter().cloned().collect::<Map<_, _>>())
}

/// Refuses to create what is there already, where creating it would change it without a word.
fn refuse_existing(api: &Api, path: &Path) -> Outcome {
    match api.get(path) {
        Ok(_) => Err(Failure::Refused(format!("{} exists already", path.what()))),
        Err(Failure::NotFound(_)) => Ok(()),
        Err(failure) => Err(failure),
    }
}
