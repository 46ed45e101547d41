//! Neutral properties → MQTT 5 properties, by RabbitMQ's rules. What has no form in MQTT is dropped: message id,
//! type, application, user, timestamp, encoding, reply queue; tables, lists and binary values among the headers.

use std::borrow::Cow;

use ternmq_core::message::Properties as CoreProperties;
use ternmq_core::routing::key::{KeySyntax, has_view, render};
use ternmq_core::value::Value;

use crate::mapping::history;
use crate::properties::{Property, PropertyBuf};
use crate::topic;

/// Header of a reply topic, in dotted form.
const REPLY_TO_TOPIC: &str = "x-reply-to-topic";
/// Header of a correlation that is no short string.
const CORRELATION_ID: &str = "x-correlation-id";

/// Appends what MQTT can say. With `died`, headers named as the history is are left out: the broker's own come.
pub(super) fn properties(core: &CoreProperties, died: bool, out: &mut PropertyBuf) {
    // Values longer than a field can hold are dropped like those without a form.
    let mut push = |property: Property<'_>| out.push(property).is_ok();
    if core.body_is_text {
        push(Property::PayloadFormatIndicator(true));
    }
    if let Some(content_type) = core.content_type.as_deref().and_then(mqtt_text) {
        push(Property::ContentType(content_type));
    }
    let reply_topic = reply_topic(core);
    if let Some(topic) = reply_topic.as_deref() {
        push(Property::ResponseTopic(topic));
    }
    let correlation = core.correlation_id.as_deref();
    let correlation_header = core
        .headers
        .get(CORRELATION_ID)
        .and_then(|value| match value {
            Value::Text(bytes) | Value::Binary(bytes) if correlation.is_none() => Some(bytes),
            _ => None,
        });
    if let Some(correlation) = correlation.or(correlation_header.map(|bytes| &**bytes)) {
        push(Property::CorrelationData(correlation));
    }
    for (name, value) in core.headers.iter() {
        let taken = name == REPLY_TO_TOPIC && matches!(value, Value::Text(_))
            || name == CORRELATION_ID && correlation_header.is_some()
            || died && history::NAMES.contains(&name);
        if taken || name.contains('\0') {
            continue;
        }
        if let Some(text) = scalar_text(value) {
            push(Property::UserProperty(name, &text));
        }
    }
}

/// Text that MQTT can carry: UTF-8 without U+0000.
fn mqtt_text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes)
        .ok()
        .filter(|text| !text.contains('\0'))
}

/// The reply topic in its form with slashes, if it has one.
fn reply_topic(core: &CoreProperties) -> Option<String> {
    let (written, key) = match &core.reply_topic {
        Some((written, key)) => (*written, key),
        None => match core.headers.get(REPLY_TO_TOPIC)? {
            Value::Text(key) => (KeySyntax::Dotted, key),
            _ => return None,
        },
    };
    if !has_view(key, written, KeySyntax::Slashed) {
        return None;
    }
    let mut slashed = Vec::with_capacity(key.len());
    render(key, written, KeySyntax::Slashed, &mut slashed);
    String::from_utf8(slashed)
        .ok()
        .filter(|name| topic::validate_name(name).is_ok())
}

/// A scalar header as text; `None` for what has no such form.
fn scalar_text(value: &Value) -> Option<Cow<'_, str>> {
    Some(match value {
        Value::Void => Cow::Borrowed(""),
        Value::Bool(v) => Cow::Borrowed(if *v { "true" } else { "false" }),
        Value::I8(v) => v.to_string().into(),
        Value::U8(v) => v.to_string().into(),
        Value::I16(v) => v.to_string().into(),
        Value::U16(v) => v.to_string().into(),
        Value::I32(v) => v.to_string().into(),
        Value::U32(v) => v.to_string().into(),
        Value::I64(v) => v.to_string().into(),
        Value::U64(v) | Value::Timestamp(v) => v.to_string().into(),
        Value::F32(v) => v.to_string().into(),
        Value::F64(v) => v.to_string().into(),
        Value::Decimal { scale, value } => decimal_text(*scale, *value).into(),
        Value::Text(bytes) => Cow::Borrowed(mqtt_text(bytes)?),
        Value::Binary(_) | Value::List(_) | Value::Map(_) => return None,
    })
}

/// `value` with its last `scale` digits behind the point.
fn decimal_text(scale: u8, value: i32) -> String {
    let scale = usize::from(scale);
    if scale == 0 {
        return value.to_string();
    }
    let sign = if value < 0 { "-" } else { "" };
    let digits = format!("{:0>width$}", value.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    format!("{sign}{whole}.{fraction}")
}
