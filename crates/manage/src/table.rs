//! AMQP tables as JSON and back: arguments, headers, properties of clients.
//!
//! JSON has one kind of number and one of text, so the way back is not exact: whole numbers become 64 bits wide,
//! others doubles, and texts long strings, as in RabbitMQ.

use bytes::Bytes;
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use serde_json::Value as Json;
use ternmq_core::value::{Headers, Value};

use crate::fault::Fault;

/// A table that is written as a JSON object. Of several entries of one name the first counts.
#[derive(Clone, Debug)]
pub(crate) struct Table(pub(crate) Headers);

impl Serialize for Table {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        TableRef(&self.0).serialize(serializer)
    }
}

/// The same, borrowed.
pub(crate) struct TableRef<'a>(pub(crate) &'a Headers);

impl Serialize for TableRef<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut entries: Vec<(&str, &Value)> = self.0.iter().collect();
        entries.sort_by_key(|(name, _)| *name);
        entries.dedup_by_key(|(name, _)| *name);
        let mut map = serializer.serialize_map(Some(entries.len()))?;
        for (name, value) in entries {
            map.serialize_entry(name, &ValueRef(value))?;
        }
        map.end()
    }
}

struct ValueRef<'a>(&'a Value);

impl Serialize for ValueRef<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Void => serializer.serialize_unit(),
            Value::Bool(v) => serializer.serialize_bool(*v),
            Value::F32(v) => serializer.serialize_f64(f64::from(*v)),
            Value::F64(v) => serializer.serialize_f64(*v),
            Value::Decimal { scale, value } => {
                serializer.serialize_f64(f64::from(*value) / 10_f64.powi(i32::from(*scale)))
            }
            Value::Timestamp(v) | Value::U64(v) => serializer.serialize_u64(*v),
            Value::Text(v) | Value::Binary(v) => {
                serializer.serialize_str(&String::from_utf8_lossy(v))
            }
            Value::List(values) => {
                let mut list = serializer.serialize_seq(Some(values.len()))?;
                for value in values {
                    list.serialize_element(&ValueRef(value))?;
                }
                list.end()
            }
            Value::Map(headers) => TableRef(headers).serialize(serializer),
            integer => serializer.serialize_i64(integer.as_i64().unwrap_or_default()),
        }
    }
}

/// A table from a JSON object. An empty list stands for an empty object, as old clients write it.
pub(crate) fn from_json(json: Option<&Json>) -> Result<Headers, Fault> {
    match json {
        None => Ok(Headers::new()),
        Some(Json::Array(list)) if list.is_empty() => Ok(Headers::new()),
        Some(Json::Object(fields)) => fields
            .iter()
            .map(|(name, value)| Ok((name.as_str().into(), value_from_json(value)?)))
            .collect(),
        Some(other) => Err(Fault::bad_request(serde_json::json!(["not_object", other]))),
    }
}

fn value_from_json(json: &Json) -> Result<Value, Fault> {
    Ok(match json {
        Json::Null => return Err(Fault::bad_request("null_not_allowed")),
        Json::Bool(v) => Value::Bool(*v),
        Json::Number(v) => match v.as_i64() {
            Some(v) => Value::I64(v),
            None => Value::F64(v.as_f64().unwrap_or_default()),
        },
        Json::String(v) => Value::Text(Bytes::copy_from_slice(v.as_bytes())),
        Json::Array(values) => Value::List(
            values
                .iter()
                .map(value_from_json)
                .collect::<Result<_, _>>()?,
        ),
        Json::Object(_) => Value::Map(from_json(Some(json))?),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn table_comes_back_as_it_was_written() {
        let json = json!({"x-max-length": 10, "ok": true, "rate": 1.5, "name": "é", "list": [1, "a"], "map": {"k": -1}});
        let headers = from_json(Some(&json)).unwrap();
        assert_eq!(headers.get("x-max-length"), Some(&Value::I64(10)));
        assert_eq!(serde_json::to_value(Table(headers)).unwrap(), json);
    }

    #[test]
    fn types_that_json_does_not_have_are_shown_as_those_it_has() {
        let headers: Headers = [
            ("void", Value::Void),
            ("byte", Value::I8(-3)),
            (
                "decimal",
                Value::Decimal {
                    scale: 2,
                    value: 225,
                },
            ),
            ("time", Value::Timestamp(5)),
            ("bytes", Value::Binary(Bytes::from_static(b"ab\xff"))),
        ]
        .into_iter()
        .map(|(name, value)| (name.into(), value))
        .collect();
        let json =
            json!({"void": null, "byte": -3, "decimal": 2.25, "time": 5, "bytes": "ab\u{fffd}"});
        assert_eq!(serde_json::to_value(Table(headers)).unwrap(), json);
    }

    #[test]
    fn first_of_two_entries_of_one_name_counts() {
        let mut headers = Headers::new();
        headers.push("a", Value::I64(1));
        headers.push("a", Value::I64(2));
        assert_eq!(
            serde_json::to_value(Table(headers)).unwrap(),
            json!({"a": 1})
        );
    }

    #[test]
    fn null_and_what_is_no_object_are_refused() {
        assert!(from_json(None).unwrap().is_empty());
        assert!(from_json(Some(&json!([]))).unwrap().is_empty());
        let reason = |json: &Json| from_json(Some(json)).unwrap_err().reason();
        assert_eq!(reason(&json!({"a": null})), "null_not_allowed");
        assert_eq!(reason(&json!("x")), "[\"not_object\",\"x\"]");
    }
}
