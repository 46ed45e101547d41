//! Values as RabbitMQ's texts show them.

use std::fmt;

use ternmq_core::value::Value;

/// Bytes of a frame that a text shows.
const SNIPPET_MAX: usize = 16;

/// The type's name in RabbitMQ's words.
pub(super) const fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Void => "void",
        Value::Bool(_) => "bool",
        Value::I8(_) => "byte",
        Value::U8(_) => "unsignedbyte",
        Value::I16(_) => "short",
        Value::U16(_) => "unsignedshort",
        Value::I32(_) => "signedint",
        Value::U32(_) => "unsignedint",
        Value::I64(_) | Value::U64(_) => "long",
        Value::F32(_) => "float",
        Value::F64(_) => "double",
        Value::Decimal { .. } => "decimal",
        Value::Timestamp(_) => "timestamp",
        Value::Text(_) => "longstr",
        Value::Binary(_) => "binary",
        Value::List(_) => "array",
        Value::Map(_) => "table",
    }
}

/// The value itself, as far as it is one word.
pub(super) fn describe(value: &Value) -> String {
    match value {
        Value::Void => "undefined".to_owned(),
        Value::Bool(v) => v.to_string(),
        Value::F32(v) => v.to_string(),
        Value::F64(v) => v.to_string(),
        Value::U64(v) | Value::Timestamp(v) => v.to_string(),
        Value::Decimal { scale, value } => format!("{{{scale},{value}}}"),
        Value::Text(v) => String::from_utf8_lossy(v).into_owned(),
        Value::Binary(v) => Binary(v).to_string(),
        Value::List(_) | Value::Map(_) => type_name(value).to_owned(),
        integer => integer.as_i64().unwrap_or_default().to_string(),
    }
}

/// Bytes in Erlang's notation: `<<1,2,3>>`. Cut where no reply text could show more.
pub(super) struct Binary<'a>(pub(super) &'a [u8]);

impl Binary<'_> {
    /// As Erlang shows a binary in a text for people: `<<"abc">>` if it is text, else its bytes.
    pub(super) fn term(&self) -> String {
        let text = std::str::from_utf8(self.0).unwrap_or_default();
        if text.is_empty() || text.contains(char::is_control) {
            return self.to_string();
        }
        let escaped = text.replace('\\', r"\\").replace('"', "\\\"");
        let encoding = if text.is_ascii() { "" } else { "/utf8" };
        format!("<<\"{escaped}\"{encoding}>>")
    }

    /// How frame errors show a payload: all of it, or how it begins.
    pub(super) fn snippet(&self) -> String {
        if self.0.len() <= SNIPPET_MAX {
            format!("all octets = {self}")
        } else {
            format!(
                "first {SNIPPET_MAX} octets = {}",
                Binary(&self.0[..SNIPPET_MAX])
            )
        }
    }
}

impl fmt::Display for Binary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<<")?;
        for (at, byte) in self.0.iter().take(super::REPLY_TEXT_MAX).enumerate() {
            let comma = if at == 0 { "" } else { "," };
            write!(f, "{comma}{byte}")?;
        }
        f.write_str(">>")
    }
}
