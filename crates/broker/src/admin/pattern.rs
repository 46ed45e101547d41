//! Patterns of names: regular expressions as RabbitMQ's users write them.

use std::fmt;

use fancy_regex::{Regex, RegexBuilder};

/// Steps that a match may go back; beyond it the name counts as one that does not match.
const BACKTRACK_MAX: usize = 100_000;

/// Longest pattern, in bytes.
pub(crate) const PATTERN_BYTES_MAX: usize = 4096;

/// A pattern, compiled. It matches a name if it is found anywhere in it.
#[derive(Clone)]
pub(crate) enum Pattern {
    /// Every name.
    Everything,
    /// The empty name only: so an empty pattern is read.
    Nothing,
    /// Whatever the expression says.
    Expression(Box<Regex>),
}

impl Pattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(crate) fn parse(pattern: &str) -> Result<Self, String> {
        match pattern {
            ".*" | "^.*$" | "^.*" | ".*$" => return Ok(Self::Everything),
            "" | "^$" => return Ok(Self::Nothing),
            _ => {}
        }
        if pattern.len() > PATTERN_BYTES_MAX {
            return Err(format!("longer than {PATTERN_BYTES_MAX} bytes"));
        }
        RegexBuilder::new(pattern)
            .backtrack_limit(BACKTRACK_MAX)
            .build()
            .map(|regex| Self::Expression(Box::new(regex)))
            .map_err(|error| error.to_string())
    }

    /// Whether it is found in the name. One that takes too long to tell is not.
    pub(crate) fn matches(&self, name: &str) -> bool {
        match self {
            Self::Everything => true,
            Self::Nothing => name.is_empty(),
            Self::Expression(regex) => regex.is_match(name).unwrap_or(false),
        }
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Everything => ".*",
            Self::Nothing => "^$",
            Self::Expression(regex) => regex.as_str(),
        })
    }
}

/// The text as a pattern that matches just it.
pub(crate) fn escape(text: &str) -> String {
    fancy_regex::escape(text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        Pattern::parse(pattern).unwrap().matches(name)
    }

    #[test]
    fn pattern_is_found_anywhere_unless_it_is_anchored() {
        assert!(matches("q", "my-queue"));
        assert!(!matches("^q", "my-queue"));
        assert!(matches("^my-.*", "my-queue"));
        assert!(!matches("^my$", "my-queue"));
    }

    #[test]
    fn empty_pattern_matches_no_name() {
        for pattern in ["", "^$"] {
            assert!(!matches(pattern, "q"));
            assert!(matches(pattern, ""));
        }
        for pattern in [".*", "^.*$", "^.*", ".*$"] {
            assert!(matches(pattern, "q") && matches(pattern, ""));
        }
    }

    #[test]
    fn look_around_is_understood() {
        assert!(!matches("^(?!amq\\.).*", "amq.topic"));
        assert!(matches("^(?!amq\\.).*", "orders"));
    }

    #[test]
    fn what_is_no_expression_is_refused() {
        for pattern in ["(", "[a", "*"] {
            assert!(Pattern::parse(pattern).is_err(), "{pattern}");
        }
        assert!(Pattern::parse(&"a".repeat(PATTERN_BYTES_MAX)).is_ok());
        assert!(Pattern::parse(&"a".repeat(PATTERN_BYTES_MAX + 1)).is_err());
    }

    #[test]
    fn match_that_takes_for_ever_is_no_match() {
        let name = "a".repeat(40);
        assert!(!matches("^(?=a)(a|a)*(?<=b)$", &name));
    }

    #[test]
    fn escaped_text_matches_itself_only() {
        let pattern = format!("^{}$", escape("a.b*"));
        assert!(matches(&pattern, "a.b*"));
        assert!(!matches(&pattern, "axbb"));
    }
}
