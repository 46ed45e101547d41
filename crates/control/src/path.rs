//! Paths of the management API, whatever characters the names in them have.

use std::fmt::{self, Write};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::failure::{Failure, Outcome};

/// How the virtual host begins in what a thing is called.
const VHOST: &str = "vhost \"";

/// Everything but RFC 3986's unreserved characters is encoded, so a name is always one segment.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// A path below `/api`, and what people call the thing that lives there.
#[derive(Clone, Debug)]
pub(crate) struct Path {
    text: String,
    what: String,
    has_query: bool,
}

impl Path {
    /// The path of these segments; each is encoded.
    pub(crate) fn of<const N: usize>(segments: [&str; N]) -> Self {
        let mut text = String::from("/api");
        for segment in segments {
            text.push('/');
            text.extend(utf8_percent_encode(segment, SEGMENT));
        }
        Self {
            what: segments.last().copied().unwrap_or("api").to_owned(),
            text,
            has_query: false,
        }
    }

    /// What it is called when the server has none.
    pub(crate) fn called(mut self, what: impl fmt::Display) -> Self {
        self.what = what.to_string();
        self
    }

    /// One more segment.
    pub(crate) fn join(mut self, segment: &str) -> Self {
        debug_assert!(!self.has_query, "segments come before the query");
        self.text.push('/');
        self.text.extend(utf8_percent_encode(segment, SEGMENT));
        self
    }

    /// A parameter behind the question mark.
    pub(crate) fn query(mut self, key: &str, value: impl fmt::Display) -> Self {
        let value = value.to_string();
        let value = utf8_percent_encode(&value, SEGMENT);
        let mark = if self.has_query { '&' } else { '?' };
        // Writing to a string cannot fail.
        let _ = write!(self.text, "{mark}{key}={value}");
        self.has_query = true;
        self
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    pub(crate) fn what(&self) -> &str {
        &self.what
    }

    /// What the virtual host is called in which the thing would be.
    pub(crate) fn vhost(&self) -> String {
        // Within names, quotes have a backslash before them.
        let at = self.what.rfind(VHOST);
        at.map_or_else(
            || format!("the vhost of {}", self.what),
            |at| self.what[at..].to_owned(),
        )
    }

    /// Refuses a path with a name that is empty: it would be another path.
    pub(crate) fn check(&self) -> Outcome {
        let path = self.text.split('?').next().unwrap_or_default();
        if path.split('/').skip(1).any(str::is_empty) {
            return Err(Failure::Usage(format!(
                "a name is empty: {} is nothing to ask for",
                self.what
            )));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_one_segment() {
        let path = Path::of(["queues", "/", "a/b?c=d&e#f %"]);
        assert_eq!(path.as_str(), "/api/queues/%2F/a%2Fb%3Fc%3Dd%26e%23f%20%25");
        assert_eq!(Path::of(["queues", "ü"]).as_str(), "/api/queues/%C3%BC");
    }

    #[test]
    fn name_that_is_empty_is_no_path() {
        for segments in [["queues", "", "q"], ["queues", "/", ""]] {
            let checked = Path::of(segments).query("a", 1).check();
            assert!(matches!(checked, Err(Failure::Usage(_))));
        }
        assert!(Path::of(["queues"]).query("name", "//").check().is_ok());
    }

    #[test]
    fn vhost_is_what_a_thing_is_said_to_be_in() {
        let path =
            Path::of(["queues"]).called(format!("queue {:?} in vhost {:?}", "vhost \"x", "a"));
        assert_eq!(path.vhost(), "vhost \"a\"");
        assert_eq!(Path::of(["users"]).vhost(), "the vhost of users");
    }

    #[test]
    fn query_values_are_encoded_too() {
        let path = Path::of(["queues"])
            .query("columns", "a,b")
            .query("page", 1);
        assert_eq!(path.as_str(), "/api/queues?columns=a%2Cb&page=1");
    }
}
