//! The text format: <https://prometheus.io/docs/instrumenting/exposition_formats/>.
//!
//! ```text
//! # TYPE name counter
//! # HELP name What it is.
//! name{label="value",other="value"} 42
//! ```

use std::fmt::{self, Write};

/// What a family's numbers do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// They only grow.
    Counter,
    /// They go up and down.
    Gauge,
    /// They are 1: the labels say it.
    Untyped,
    /// They are counts of buckets, a count and a sum.
    Histogram,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Untyped => "untyped",
            Self::Histogram => "histogram",
        }
    }
}

/// A sample's value.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Number {
    /// Exact.
    Whole(u64),
    /// For seconds and shares.
    Float(f64),
}

impl From<u64> for Number {
    fn from(number: u64) -> Self {
        Self::Whole(number)
    }
}

impl From<bool> for Number {
    fn from(flag: bool) -> Self {
        Self::Whole(flag.into())
    }
}

impl From<f64> for Number {
    fn from(number: f64) -> Self {
        Self::Float(number)
    }
}

impl Number {
    /// Microseconds as seconds.
    #[expect(
        clippy::cast_precision_loss,
        reason = "microseconds are exact for centuries"
    )]
    pub(crate) fn micros(us: u64) -> Self {
        Self::Float(us as f64 / 1_000_000.0)
    }

    /// Milliseconds as seconds.
    #[expect(
        clippy::cast_precision_loss,
        reason = "microseconds are exact for centuries"
    )]
    pub(crate) fn seconds(ms: u64) -> Self {
        Self::Float(ms as f64 / 1000.0)
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(number) => number.fmt(f),
            Self::Float(number) => number.fmt(f),
        }
    }
}

/// Labels of one sample, as they are written.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Labels(String);

impl Labels {
    /// No labels, in the same memory.
    pub(crate) fn clear(&mut self) -> &mut Self {
        self.0.clear();
        self
    }

    /// One more.
    pub(crate) fn add(&mut self, name: &str, value: &str) -> &mut Self {
        if !self.0.is_empty() {
            self.0.push(',');
        }
        self.0.push_str(name);
        self.0.push_str("=\"");
        for symbol in value.chars() {
            match symbol {
                '\\' => self.0.push_str("\\\\"),
                '"' => self.0.push_str("\\\""),
                '\n' => self.0.push_str("\\n"),
                _ => self.0.push(symbol),
            }
        }
        self.0.push('"');
        self
    }
}

/// A part of an answer.
#[derive(Debug, Default)]
pub(crate) struct Page {
    text: String,
    /// The name of the family that samples belong to now.
    name: String,
}

impl Page {
    /// Begins a family: all of its samples follow, and nothing else.
    pub(crate) fn family(&mut self, prefix: &str, name: &str, kind: Kind, help: &str) {
        self.name.clear();
        self.name.push_str(prefix);
        self.name.push_str(name);
        let Self { text, name } = self;
        // Writing to a string cannot fail.
        let _ = writeln!(text, "# TYPE {name} {}", kind.name());
        let _ = writeln!(text, "# HELP {name} {help}");
    }

    /// A sample of the family.
    pub(crate) fn sample(&mut self, labels: &Labels, value: impl Into<Number>) {
        self.suffixed("", labels, value);
    }

    /// A sample of a histogram's family.
    pub(crate) fn suffixed(&mut self, suffix: &str, labels: &Labels, value: impl Into<Number>) {
        self.text.push_str(&self.name);
        self.text.push_str(suffix);
        if !labels.0.is_empty() {
            self.text.push('{');
            self.text.push_str(&labels.0);
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {}", value.into());
    }

    /// A family with one sample that has no labels.
    pub(crate) fn single(
        &mut self,
        (prefix, name): (&str, &str),
        kind: Kind,
        help: &str,
        value: impl Into<Number>,
    ) {
        self.family(prefix, name, kind, help);
        self.sample(&Labels::default(), value);
    }

    pub(crate) fn len(&self) -> usize {
        self.text.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// What was written; the family goes on.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.text).into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_values_are_escaped() {
        let mut labels = Labels::default();
        labels.add("queue", "a\"b\\c\nd").add("vhost", "/");
        let mut page = Page::default();
        page.family("x_", "y", Kind::Gauge, "Why.");
        page.sample(&labels, 7);
        let expected =
            "# TYPE x_y gauge\n# HELP x_y Why.\nx_y{queue=\"a\\\"b\\\\c\\nd\",vhost=\"/\"} 7\n";
        assert_eq!(page.take(), expected.as_bytes());
    }

    #[test]
    fn numbers_are_written_in_full() {
        assert_eq!(Number::from(u64::MAX).to_string(), "18446744073709551615");
        assert_eq!(Number::seconds(1500).to_string(), "1.5");
        assert_eq!(Number::from(true).to_string(), "1");
    }
}
