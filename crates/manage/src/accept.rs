//! The `Accept` header (RFC 9110 §12.5.1): answers are JSON, so whoever does not take that is told before anything is done.
//!
//! As in RabbitMQ weights do not count, not even one of zero.

use axum::http::{HeaderMap, header};

use crate::fault::Fault;

/// Refuses a request to which JSON would be no answer.
pub(crate) fn check(headers: &HeaderMap) -> Result<(), Fault> {
    // Whoever wants nothing in particular takes everything.
    let (mut wants_something, mut takes_json) = (false, false);
    for value in headers.get_all(header::ACCEPT) {
        let value = value.to_str().map_err(|_| malformed())?;
        let ranges = value.split(',').map(str::trim);
        for range in ranges.filter(|range| !range.is_empty()) {
            wants_something = true;
            takes_json |= is_json(range)?;
        }
    }
    if wants_something && !takes_json {
        return Err(Fault::not_acceptable());
    }
    Ok(())
}

/// Whether JSON is in that range of media types. Some clients write `*` for all of them.
fn is_json(range: &str) -> Result<bool, Fault> {
    let media_type = range.split(';').next().unwrap_or_default().trim();
    if media_type == "*" {
        return Ok(true);
    }
    let (kind, subtype) = media_type.split_once('/').ok_or_else(malformed)?;
    let is = |word: &str, wanted: &str| word == "*" || word.eq_ignore_ascii_case(wanted);
    Ok(is(kind, "application") && is(subtype, "json"))
}

fn malformed() -> Fault {
    Fault::bad_request("the Accept header is no list of media types")
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn checked(values: &[&'static str]) -> Result<(), Fault> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::ACCEPT, HeaderValue::from_static(value));
        }
        check(&headers)
    }

    #[test]
    fn json_is_what_is_given() {
        for values in [
            &[][..],
            &[""],
            &["*/*"],
            &["application/json"],
            &["Application/JSON; charset=utf-8"],
            &["application/*"],
            &["application/json;q=0"],
            &["text/html, image/gif, *; q=.2"],
            &["text/html,,application/json;q=0.1"],
            &["text/html", "application/json"],
        ] {
            assert_eq!(checked(values), Ok(()), "{values:?}");
        }
    }

    #[test]
    fn other_types_are_not_to_be_had() {
        for value in ["text/html", "application/bert", "*/html", "text/*"] {
            assert_eq!(checked(&[value]), Err(Fault::not_acceptable()), "{value}");
        }
        assert_eq!(checked(&["nonsense"]), Err(malformed()));
    }
}
