//! A message's properties as JSON and back: those of class basic, under RabbitMQ's names.

use serde_json::{Map, Value as Json, json};
use ternmq_amqp::mapping;
use ternmq_amqp::properties::Properties;
use ternmq_amqp::table;
use ternmq_core::message::Message;

use crate::fault::Fault;
use crate::request::Fields;
use crate::table::{Table, from_json};

/// The properties of a message to deliver, those with a value.
pub(crate) fn to_json(message: &Message) -> Json {
    let mut scratch = Vec::new();
    // What cannot be said in class basic is left out: there is no channel that could be told.
    let raw = mapping::from_core(message, &[], &mut scratch).unwrap_or_default();
    let properties = Properties::parse_lossy(raw);
    let mut fields = Map::new();
    let mut put = |name: &str, value: Json| {
        fields.insert(name.to_owned(), value);
    };
    let text = |bytes: &[u8]| Json::String(String::from_utf8_lossy(bytes).into_owned());
    let texts = [
        ("content_type", properties.content_type),
        ("content_encoding", properties.content_encoding),
        ("correlation_id", properties.correlation_id),
        ("reply_to", properties.reply_to),
        ("expiration", properties.expiration),
        ("message_id", properties.message_id),
        ("type", properties.type_),
        ("user_id", properties.user_id),
        ("app_id", properties.app_id),
        ("cluster_id", properties.cluster_id),
    ];
    for (name, value) in texts {
        if let Some(value) = value {
            put(name, text(value));
        }
    }
    if let Some(mode) = properties.delivery_mode {
        put("delivery_mode", mode.into());
    }
    if let Some(priority) = properties.priority {
        put("priority", priority.into());
    }
    if let Some(timestamp) = properties.timestamp {
        put("timestamp", timestamp.into());
    }
    if let Some(headers) = properties.headers {
        let headers = Table(table::to_headers_lossy(headers));
        put("headers", serde_json::to_value(headers).unwrap_or_default());
    }
    Json::Object(fields)
}

/// Raw properties of class basic from JSON. Fields of other names are ignored, as RabbitMQ does.
pub(crate) fn from_fields(fields: &Fields) -> Result<Vec<u8>, Fault> {
    let text = |name: &'static str| match fields.get(name) {
        None => Ok(None),
        Some(Json::String(text)) => Ok(Some(text.as_bytes())),
        Some(_) => Err(Fault::bad_request(json!(["not_string", name]))),
    };
    let integer = |name: &'static str| match fields.get(name) {
        None => Ok(None),
        Some(value) => value
            .as_u64()
            .map(Some)
            .ok_or_else(|| Fault::bad_request(json!(["not_int", name]))),
    };
    let octet = |name: &'static str| {
        let value = integer(name)?.map(u8::try_from).transpose();
        value.map_err(|_| Fault::bad_request(json!(["not_int", name])))
    };
    let mut headers = Vec::new();
    if let Some(json) = fields.get("headers") {
        let unsayable = |_| Fault::bad_request(json!(["not_table", "headers"]));
        table::encode_headers(&mut headers, &from_json(Some(json))?).map_err(unsayable)?;
    }
    let properties = Properties {
        content_type: text("content_type")?,
        content_encoding: text("content_encoding")?,
        headers: fields.get("headers").map(|_| headers.as_slice()),
        delivery_mode: octet("delivery_mode")?,
        priority: octet("priority")?,
        correlation_id: text("correlation_id")?,
        reply_to: text("reply_to")?,
        expiration: text("expiration")?,
        message_id: text("message_id")?,
        timestamp: integer("timestamp")?,
        type_: text("type")?,
        user_id: text("user_id")?,
        app_id: text("app_id")?,
        cluster_id: text("cluster_id")?,
    };
    let mut raw = Vec::new();
    let too_long = |error: ternmq_amqp::codec::EncodeError| Fault::bad_request(error.to_string());
    properties.encode(&mut raw).map_err(too_long)?;
    Ok(raw)
}

#[cfg(test)]
mod tests {
    use ternmq_core::message::NewMessage;

    use super::*;

    fn fields(json: Json) -> Fields {
        let Json::Object(fields) = json else {
            panic!("no object");
        };
        Fields(fields)
    }

    #[test]
    fn every_property_comes_back() {
        let all = json!({
            "content_type": "text/plain", "content_encoding": "gzip", "headers": {"h": "v", "n": 1},
            "delivery_mode": 2, "priority": 3, "correlation_id": "c", "reply_to": "r", "expiration": "60000",
            "message_id": "m", "timestamp": 123, "type": "t", "user_id": "guest", "app_id": "a", "cluster_id": "x",
        });
        let raw = from_fields(&fields(all.clone())).unwrap();
        let mut new = NewMessage::plain(b"", b"q", b"body");
        new.format = &mapping::FORMAT;
        new.native = &raw;
        assert_eq!(to_json(&new.build(&mut Vec::new())), all);
    }

    #[test]
    fn properties_of_the_wrong_type_are_named() {
        let reason = |json| from_fields(&fields(json)).unwrap_err().reason();
        assert_eq!(
            reason(json!({"delivery_mode": "2"})),
            "[\"not_int\",\"delivery_mode\"]"
        );
        assert_eq!(
            reason(json!({"priority": 256})),
            "[\"not_int\",\"priority\"]"
        );
        assert_eq!(reason(json!({"type": 1})), "[\"not_string\",\"type\"]");
        assert_eq!(reason(json!({"headers": {"a": null}})), "null_not_allowed");
        assert!(from_fields(&fields(json!({"unknown": 1}))).is_ok());
    }

    #[test]
    fn property_that_is_too_long_for_a_short_string_is_refused() {
        let long = "x".repeat(256);
        assert!(from_fields(&fields(json!({"message_id": long}))).is_err());
        assert!(from_fields(&fields(json!({"message_id": &long[1..]}))).is_ok());
    }
}
