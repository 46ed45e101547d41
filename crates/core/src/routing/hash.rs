//! Hashes that say the same in every process: what they decide outlives a restart.

use core::f64::consts::LN_2;

use crate::value::Value;

/// Mixes every bit of a number into every other (the finalizer of `SplitMix64`).
pub(crate) const fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(GOLDEN);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Two to the power of 64, divided by the golden ratio: multiples of it are far apart.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// One of several numbers that follow from another one.
pub(crate) const fn child(number: u64, which: u64) -> u64 {
    mix(number ^ which.wrapping_add(1).wrapping_mul(GOLDEN))
}

/// A hash under way; take it with [`Stable::finish`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Stable(u64);

impl Stable {
    /// Adds bytes and where they end.
    pub(crate) fn bytes(mut self, bytes: &[u8]) -> Self {
        let mut chunks = bytes.chunks_exact(8);
        for chunk in &mut chunks {
            self = self.number(word(chunk));
        }
        self.number(word(chunks.remainder()))
            .number(bytes.len() as u64)
    }

    /// Adds a number.
    pub(crate) const fn number(self, number: u64) -> Self {
        Self(mix(self.0 ^ number))
    }

    /// Adds a value. Integers count by what they are and not by their width, text and bytes alike, a list by its
    /// first item.
    pub(crate) fn value(self, value: &Value) -> Self {
        let mut value = value;
        while let Value::List(items) = value {
            match items.first() {
                Some(first) => value = first,
                None => return self.number(LIST),
            }
        }
        match value {
            Value::Text(bytes) | Value::Binary(bytes) => self.bytes(bytes),
            Value::Bool(v) => self.number(BOOL).number(u64::from(*v)),
            Value::F32(v) => self.number(FLOAT).number(f64::from(*v).to_bits()),
            Value::F64(v) => self.number(FLOAT).number(v.to_bits()),
            Value::Decimal { scale, value } => self
                .number(DECIMAL)
                .number(u64::from(*scale))
                .number(i64::from(*value).cast_unsigned()),
            Value::Timestamp(v) => self.number(TIMESTAMP).number(*v),
            Value::Map(headers) => headers.iter().fold(self.number(MAP), |hash, (name, _)| {
                hash.bytes(name.as_bytes())
            }),
            Value::Void | Value::List(_) => self,
            Value::U64(v) => self.number(INTEGER).number(*v),
            integer => self
                .number(INTEGER)
                .number(integer.as_i64().unwrap_or_default().cast_unsigned()),
        }
    }

    pub(crate) const fn finish(self) -> u64 {
        mix(self.0)
    }
}

// What stands before the numbers of a kind of value.
const BOOL: u64 = 1;
const FLOAT: u64 = 2;
const DECIMAL: u64 = 3;
const TIMESTAMP: u64 = 4;
const INTEGER: u64 = 5;
const MAP: u64 = 6;
const LIST: u64 = 7;

/// Up to eight bytes, the first one lowest.
fn word(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .rev()
        .fold(0, |word, &byte| (word << 8) | u64::from(byte))
}

/// An exponentially distributed number, made of a uniformly distributed one: the negative logarithm of its share of
/// 2^64. By additions, multiplications and divisions only, which give the same everywhere; exact to about 1e-9, and
/// in relation to itself where it is small.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exponential {
    /// The share is `(1 - missing) / 2^halvings`, with `missing` above 0 and at most a half.
    halvings: u32,
    missing: f64,
}

impl Exponential {
    #[allow(
        clippy::cast_precision_loss,
        reason = "numbers below 2^53 are exact in a float"
    )]
    pub(crate) fn of(uniform: u64) -> Self {
        const UNIT: u64 = 1 << 53;
        let uniform = uniform | 1;
        let halvings = uniform.leading_zeros();
        Self {
            halvings,
            missing: (UNIT - ((uniform << halvings) >> 11)) as f64 / UNIT as f64,
        }
    }

    /// What it is at least; much cheaper than what it is.
    pub(crate) fn floor(self) -> f64 {
        f64::from(self.halvings) * LN_2 + self.missing
    }

    pub(crate) fn value(self) -> f64 {
        let t = self.missing / (2.0 - self.missing);
        let square = t * t;
        let series = SERIES.iter().fold(0.0, |sum, term| sum * square + term);
        f64::from(self.halvings) * LN_2 + 2.0 * t * series
    }
}

/// Of the inverse hyperbolic tangent, the highest power first.
const SERIES: [f64; 8] = [
    1.0 / 15.0,
    1.0 / 13.0,
    1.0 / 11.0,
    1.0 / 9.0,
    1.0 / 7.0,
    1.0 / 5.0,
    1.0 / 3.0,
    1.0,
];

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::value::Headers;

    fn of(value: &Value) -> u64 {
        Stable::default().value(value).finish()
    }

    #[test]
    fn hashes_never_change() {
        let bytes = |bytes: &[u8]| Stable::default().bytes(bytes).finish();
        assert_eq!(
            [
                bytes(b""),
                bytes(b"a"),
                bytes(b"order.4711.created"),
                of(&Value::I32(-7)),
                mix(0),
            ],
            [
                2_558_736_989_570_252_433,
                18_165_405_750_582_463_353,
                12_529_720_314_405_834_314,
                9_986_168_392_640_034_069,
                16_294_208_416_658_607_535,
            ]
        );
    }

    #[test]
    fn bytes_hash_by_content_and_length() {
        let texts: [&[u8]; 7] = [b"", b"\0", b"\0\0", b"a", b"ab", b"abcdefgh", b"abcdefgh\0"];
        let mut hashes: Vec<u64> = texts
            .iter()
            .map(|text| Stable::default().bytes(text).finish())
            .collect();
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), texts.len());
    }

    #[test]
    fn values_hash_by_what_they_mean() {
        assert_eq!(of(&Value::U8(7)), of(&Value::I64(7)));
        assert_eq!(of(&Value::U64(7)), of(&Value::I64(7)));
        assert_ne!(of(&Value::I64(7)), of(&Value::text("7")));
        assert_ne!(of(&Value::I64(1)), of(&Value::Bool(true)));
        assert_eq!(of(&Value::F32(0.5)), of(&Value::F64(0.5)));
        let list = |items| of(&Value::List(items));
        assert_eq!(
            list(alloc::vec![Value::text("a"), Value::I8(1)]),
            of(&Value::text("a"))
        );
        assert_ne!(list(Vec::new()), of(&Value::Void));
        assert_ne!(of(&Value::Map(Headers::new())), of(&Value::Void));
    }

    #[test]
    fn exponential_numbers_are_logarithms() {
        let max = u64::MAX;
        for (uniform, expected) in [
            (max, 1.0 / 9_007_199_254_740_992.0),
            (1 << 63, LN_2),
            (max / 10, core::f64::consts::LN_10),
            (max / 10 * 9, 0.105_360_515_657_826_3),
            (max / 1000 * 999, 0.001_000_500_333_583_533),
            (0, 64.0 * LN_2),
        ] {
            let found = Exponential::of(uniform);
            let (floor, value) = (found.floor(), found.value());
            assert!((value / expected - 1.0).abs() < 1e-8, "{uniform}: {value}");
            assert!(floor <= value, "{uniform}: {floor} of {value}");
        }
    }
}
