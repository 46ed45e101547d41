//! Matching a message's headers against a binding's arguments.

use crate::value::{Headers, Value};

/// How many of a binding's arguments a message has to match, and which count.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum MatchMode {
    /// All; names that start with `x-` do not count.
    #[default]
    All,
    /// Any; names that start with `x-` do not count.
    Any,
    /// All; every name but `x-match` counts.
    AllWithX,
    /// Any; every name but `x-match` counts.
    AnyWithX,
}

impl MatchMode {
    pub(crate) const ARGUMENT: &'static str = "x-match";

    /// The mode a binding's arguments ask for, or the value that names none.
    pub(crate) fn of(arguments: &Headers) -> Result<Self, Value> {
        let Some(value) = arguments.get(Self::ARGUMENT) else {
            return Ok(Self::default());
        };
        match value.as_str() {
            Some("all") => Ok(Self::All),
            Some("any") => Ok(Self::Any),
            Some("all-with-x") => Ok(Self::AllWithX),
            Some("any-with-x") => Ok(Self::AnyWithX),
            _ => Err(value.clone()),
        }
    }

    fn counts(self, name: &str) -> bool {
        match self {
            Self::All | Self::Any => !name.starts_with("x-"),
            Self::AllWithX | Self::AnyWithX => name != Self::ARGUMENT,
        }
    }

    /// The names of arguments that count and find nothing that matches; the headers are sorted.
    pub(crate) fn unmet<'a>(
        self,
        arguments: &'a Headers,
        headers: &'a Headers,
    ) -> impl Iterator<Item = &'a str> {
        let counting = arguments.iter().filter(move |(name, _)| self.counts(name));
        let unmet = counting.filter(|argument| !holds(*argument, headers));
        unmet.map(|(name, _)| name)
    }

    /// Whether a message with these headers matches a binding with these arguments. Without arguments that count,
    /// "all" matches everything and "any" nothing. The headers are sorted: a publisher may send very many, and there
    /// may be very many arguments.
    pub(crate) fn matches(self, arguments: &Headers, headers: &Headers) -> bool {
        let mut counting = arguments.iter().filter(|(name, _)| self.counts(name));
        match self {
            Self::All | Self::AllWithX => counting.all(|argument| holds(argument, headers)),
            Self::Any | Self::AnyWithX => counting.any(|argument| holds(argument, headers)),
        }
    }
}

/// Whether the headers, which are sorted, have what an argument wants.
fn holds((name, wanted): (&str, &Value), headers: &Headers) -> bool {
    headers
        .get_sorted(name)
        .is_some_and(|value| *wanted == Value::Void || same(wanted, value))
}

/// Equal values: integers and floating-point numbers by value, whatever their width.
#[allow(
    clippy::float_cmp,
    reason = "a header matches if it is the very number the binding names"
)]
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::F32(x), Value::F64(y)) | (Value::F64(y), Value::F32(x)) => f64::from(*x) == *y,
        _ => a == b || a.as_i64().is_some_and(|x| b.as_i64() == Some(x)),
    }
}

#[cfg(test)]
mod tests {
    use alloc::boxed::Box;

    use super::*;

    fn headers(pairs: &[(&str, Value)]) -> Headers {
        pairs
            .iter()
            .map(|(n, v)| (Box::from(*n), v.clone()))
            .collect()
    }

    fn sorted(pairs: &[(&str, Value)]) -> Headers {
        let mut headers = headers(pairs);
        headers.sort_unique();
        headers
    }

    fn matches(mode: &str, arguments: &[(&str, Value)], message: &[(&str, Value)]) -> bool {
        let mut arguments = headers(arguments);
        arguments.push("x-match", Value::text(mode));
        MatchMode::of(&arguments)
            .unwrap()
            .matches(&arguments, &sorted(message))
    }

    #[test]
    fn all_wants_every_argument_and_any_wants_one() {
        let (a, b) = (("a", Value::I32(1)), ("b", Value::text("t")));
        let both = [a.clone(), b.clone()];
        assert!(matches("all", &both, &both));
        assert!(!matches("all", &both, core::slice::from_ref(&a)));
        assert!(matches("any", &both, &[b]));
        assert!(!matches(
            "any",
            &both,
            &[("a", Value::I32(2)), ("c", Value::I32(1))]
        ));
    }

    #[test]
    fn of_headers_with_one_name_the_first_counts() {
        let message = [
            ("b", Value::Void),
            ("a", Value::I32(1)),
            ("a", Value::I32(2)),
        ];
        assert!(matches("all", &[("a", Value::I32(1))], &message));
        assert!(!matches("all", &[("a", Value::I32(2))], &message));
    }

    #[test]
    fn match_mode_left_out_means_all() {
        assert_eq!(MatchMode::of(&Headers::new()), Ok(MatchMode::All));
    }

    #[test]
    fn without_arguments_all_matches_everything_and_any_nothing() {
        for (mode, expected) in [
            ("all", true),
            ("any", false),
            ("all-with-x", true),
            ("any-with-x", false),
        ] {
            assert_eq!(
                matches(mode, &[], &[("a", Value::Void)]),
                expected,
                "{mode}"
            );
            assert_eq!(matches(mode, &[], &[]), expected, "{mode}");
        }
    }

    #[test]
    fn names_with_an_x_count_only_in_the_modes_that_say_so() {
        let x = [("x-a", Value::I32(1))];
        assert!(matches("all", &x, &[]));
        assert!(!matches("all-with-x", &x, &[]));
        assert!(matches("all-with-x", &x, &x));
        assert!(!matches("any", &x, &x));
        assert!(matches("any-with-x", &x, &x));
    }

    #[test]
    fn void_tests_presence_only() {
        assert!(matches(
            "all",
            &[("a", Value::Void)],
            &[("a", Value::text("anything"))]
        ));
        assert!(!matches(
            "all",
            &[("a", Value::Void)],
            &[("b", Value::Void)]
        ));
        assert!(!matches(
            "all",
            &[("a", Value::I32(1))],
            &[("a", Value::Void)]
        ));
    }

    #[test]
    fn numbers_match_by_value_and_never_across_kinds() {
        assert!(matches(
            "all",
            &[("a", Value::I32(7))],
            &[("a", Value::U8(7))]
        ));
        assert!(matches(
            "all",
            &[("a", Value::F32(0.5))],
            &[("a", Value::F64(0.5))]
        ));
        assert!(!matches(
            "all",
            &[("a", Value::I32(1))],
            &[("a", Value::text("1"))]
        ));
        assert!(!matches(
            "all",
            &[("a", Value::I32(1))],
            &[("a", Value::F64(1.0))]
        ));
        assert!(!matches(
            "all",
            &[("a", Value::I32(1))],
            &[("a", Value::Bool(true))]
        ));
    }

    #[test]
    fn unknown_match_mode_is_named() {
        for value in [Value::text("bad"), Value::I32(1), Value::text("ALL")] {
            let arguments = headers(&[("x-match", value.clone())]);
            assert_eq!(MatchMode::of(&arguments), Err(value));
        }
    }
}
