//! Patterns in scopes: `*` is any number of any bytes, and what else means something is percent-encoded.

/// A pattern, taken apart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Wildcard {
    /// What stands between the asterisks; at least one part.
    parts: Vec<Vec<u8>>,
}

impl Wildcard {
    /// None if something is percent-encoded wrongly.
    pub(super) fn parse(pattern: &str) -> Option<Self> {
        let parts = pattern.split('*').map(decode);
        let parts: Vec<Vec<u8>> = parts.collect::<Option<_>>()?;
        debug_assert!(!parts.is_empty(), "a text splits into one part at least");
        Some(Self { parts })
    }

    pub(super) fn matches(&self, name: &str) -> bool {
        let name = name.as_bytes();
        let (Some(first), Some(last)) = (self.parts.first(), self.parts.last()) else {
            return false;
        };
        if self.parts.len() == 1 {
            return name == first.as_slice();
        }
        let Some(rest) = name.strip_prefix(first.as_slice()) else {
            return false;
        };
        let Some(mut rest) = rest.strip_suffix(last.as_slice()) else {
            return false;
        };
        // The earliest place is as good as any other for what has asterisks on both sides.
        for part in &self.parts[1..self.parts.len() - 1] {
            match find(rest, part) {
                Some(at) => rest = &rest[at + part.len()..],
                None => return false,
            }
        }
        true
    }
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    if part.is_empty() {
        return Some(0);
    }
    text.windows(part.len()).position(|window| window == part)
}

/// Percent-decoding as of forms: `+` is a space.
fn decode(part: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(part.len());
    let mut bytes = part.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => digit(bytes.next()?)? << 4 | digit(bytes.next()?)?,
            other => other,
        });
    }
    Some(out)
}

fn digit(byte: u8) -> Option<u8> {
    let digit = char::from(byte).to_digit(16)?;
    u8::try_from(digit).ok()
}

/// Writes a text so that it stands for itself in a pattern.
pub(super) fn escape(text: &str, out: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for char in text.chars() {
        match char {
            '*' | '%' | '/' | '+' | '{' | '}' => {
                // All of them are ASCII.
                let byte = u32::from(char) as usize;
                out.push('%');
                out.push(char::from(HEX[byte >> 4 & 15]));
                out.push(char::from(HEX[byte & 15]));
            }
            other => out.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        Wildcard::parse(pattern).is_some_and(|pattern| pattern.matches(name))
    }

    #[test]
    fn patterns_match_what_rabbitmq_documents() {
        for (pattern, yes, no) in [
            ("*", &["", "x", "foo/bar*"][..], &[][..]),
            ("foo", &["foo"], &["", "fo", "fooo", "Foo"]),
            ("foo*", &["foo", "foobar", "foo/"], &["barfoo", "fo"]),
            ("*foo", &["foo", "barfoo", "foofoo"], &["foobar"]),
            (
                "foo*bar",
                &["foobar", "foo.bar", "foobarbar"],
                &["foo", "bar", "fobar"],
            ),
            (
                "start*middle*end",
                &["startmiddleend", "start.middle.middle.end"],
                &["startend", "startmiddle"],
            ),
            (
                "*before*after*",
                &["before.after", "xbeforeafterx"],
                &["after.before"],
            ),
            ("a**b", &["ab", "axb"], &["a", "b"]),
            ("ab*ba", &["abba", "abxba"], &["aba"]),
            (
                "*str*ing*",
                &["string", "str*ing", "a stripling"],
                &["sting"],
            ),
            ("*+*+*", &["some long string"], &["some string"]),
            ("s*e*str*", &["some long string"], &["song string"]),
            ("a b", &["a b"], &["a+b", "ab"]),
            ("x * y", &["x * y", "x and y"], &["x y"]),
        ] {
            for name in yes {
                assert!(matches(pattern, name), "{pattern} is to match {name:?}");
            }
            for name in no {
                assert!(
                    !matches(pattern, name),
                    "{pattern} is not to match {name:?}"
                );
            }
        }
    }

    #[test]
    fn special_characters_are_percent_encoded() {
        assert!(matches("%2F", "/"));
        assert!(matches("%2f*", "/x"));
        assert!(matches("a%2Ab", "a*b") && !matches("a%2Ab", "axb"));
        assert!(matches("100%25", "100%"));
        assert!(matches("a+b", "a b") && !matches("a+b", "a+b"));
        assert!(matches("%C3%A4", "ä"));
        for wrong in ["%", "%2", "%zz", "a%"] {
            assert_eq!(Wildcard::parse(wrong), None);
        }
    }

    #[test]
    fn escaped_texts_stand_for_themselves() {
        for text in ["*", "a/b", "50%", "a+b", "{x}", "plain", "ä"] {
            let mut pattern = String::new();
            escape(text, &mut pattern);
            assert!(matches(&pattern, text), "{text}");
            assert!(!pattern.contains(['*', '/', '+']), "{pattern}");
        }
    }
}
