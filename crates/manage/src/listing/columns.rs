//! Columns: `name,message_stats.publish_details.rate` keeps those fields of an object and nothing else.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::request::Query;

/// The columns that are asked for, as paths.
pub(super) struct Columns(Vec<Vec<String>>);

impl Columns {
    pub(super) fn of(query: &Query) -> Option<Self> {
        let columns = query.get("columns").filter(|columns| !columns.is_empty())?;
        let path = |column: &str| column.split('.').map(str::to_owned).collect();
        Some(Self(columns.split(',').map(path).collect()))
    }

    /// What of the object is in the columns.
    pub(super) fn pick(&self, object: &impl Serialize) -> Value {
        let whole = serde_json::to_value(object).unwrap_or_default();
        let mut picked = Map::new();
        for path in &self.0 {
            copy(&whole, path, &mut picked);
        }
        Value::Object(picked)
    }
}

fn copy(from: &Value, path: &[String], to: &mut Map<String, Value>) {
    let Some((name, rest)) = path.split_first() else {
        return;
    };
    // What RabbitMQ keeps as one piece has dots in its own names: an argument, a header.
    let found = from.get(name).map(|value| (name.clone(), value, rest));
    let Some((name, value, rest)) = found else {
        return;
    };
    if rest.is_empty() {
        to.insert(name, value.clone());
        return;
    }
    let inner = to.entry(name).or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(inner) = inner {
        copy(value, rest, inner);
    }
}

/// The value at a dotted path, null if there is none.
pub(super) fn value_at(object: &impl Serialize, column: &str) -> Value {
    let mut value = serde_json::to_value(object).unwrap_or_default();
    for name in column.split('.') {
        value = match value {
            Value::Object(mut fields) => fields.remove(name).unwrap_or_default(),
            _ => Value::Null,
        };
    }
    value
}
