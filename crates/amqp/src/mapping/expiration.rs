//! The `expiration` property: milliseconds in decimal digits, refused in RabbitMQ's words.

use std::fmt;

/// Why an `expiration` is refused. The text is the detail RabbitMQ prints behind `invalid expiration '…': `.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ExpirationError {
    /// It does not begin with an integer.
    NoInteger,
    /// Below zero; the digits without sign and leading zeros.
    Negative(Box<str>),
    /// Something stands behind the integer.
    Leftover(Box<str>),
}

impl fmt::Display for ExpirationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoInteger => f.write_str("no_integer"),
            Self::Negative(digits) => write!(f, "{{value_negative,-{digits}}}"),
            Self::Leftover(rest) => {
                write!(
                    f,
                    "{{leftover_string,\"{}\"}}",
                    rest.replace('\\', "\\\\").replace('"', "\\\"")
                )
            }
        }
    }
}

impl std::error::Error for ExpirationError {}

/// Reads an `expiration` in milliseconds. A sign may stand in front; numbers beyond `u64` count as its maximum.
#[inline]
pub fn parse_expiration(text: &[u8]) -> Result<u64, ExpirationError> {
    let (negative, unsigned) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let digits_len = unsigned
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    let (digits, leftover) = unsigned.split_at(digits_len);
    if digits.is_empty() {
        return Err(ExpirationError::NoInteger);
    }
    if !leftover.is_empty() {
        return Err(ExpirationError::Leftover(
            String::from_utf8_lossy(leftover).into(),
        ));
    }
    let value = digits.iter().fold(0_u64, |value, &digit| {
        value
            .saturating_mul(10)
            .saturating_add(u64::from(digit - b'0'))
    });
    if negative && value > 0 {
        let digits = String::from_utf8_lossy(digits);
        return Err(ExpirationError::Negative(
            digits.trim_start_matches('0').into(),
        ));
    }
    Ok(value)
}
