//! Routing keys in two spellings.
//!
//! A key is a list of levels. It is *dotted* (`a.b.c`) or *slashed* (`a/b/c`), as its publisher wrote it, and each
//! has a view of the other: every separator of either kind parts levels there. A pattern matches the view in its
//! own syntax, so slashed patterns see slashed keys exactly (dots in levels included), dotted patterns see dotted
//! keys exactly, and across the two, `.` and `/` are one.

use alloc::vec::Vec;

/// How a routing key or a binding pattern is written.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum KeySyntax {
    /// `a.b.c`, wildcards `*` and `#` anywhere.
    Dotted,
    /// `a/b/c`, wildcards `+` and, last, `#`; wildcards at the first level pass over keys that start with `$`.
    Slashed,
}

impl KeySyntax {
    const fn separator(self) -> u8 {
        match self {
            Self::Dotted => b'.',
            Self::Slashed => b'/',
        }
    }
}

/// Whether the key has a view in that syntax. Dotted keys that hold `+`, `#` or NUL, or are empty, have no slashed
/// view; every slashed key has a dotted one.
pub fn has_view(key: &[u8], written: KeySyntax, view: KeySyntax) -> bool {
    match (written, view) {
        (KeySyntax::Dotted, KeySyntax::Slashed) => {
            !key.is_empty() && !key.iter().any(|b| matches!(b, b'+' | b'#' | 0))
        }
        _ => true,
    }
}

/// The levels of the key's view in that syntax. An empty key has one empty level.
pub fn levels(
    key: &[u8],
    written: KeySyntax,
    view: KeySyntax,
) -> impl Iterator<Item = &[u8]> + Clone {
    let (a, b) = (written.separator(), view.separator());
    key.split(move |&byte| byte == a || byte == b)
}

/// Appends the key's view in that syntax. Whether there is one says [`has_view`].
pub fn render(key: &[u8], written: KeySyntax, view: KeySyntax, out: &mut Vec<u8>) {
    let (from, to) = (written.separator(), view.separator());
    let start = out.len();
    out.extend_from_slice(key);
    if from != to {
        for byte in &mut out[start..] {
            if *byte == from {
                *byte = to;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(key: &str, written: KeySyntax, view: KeySyntax) -> Vec<&str> {
        levels(key.as_bytes(), written, view)
            .map(|l| core::str::from_utf8(l).unwrap_or("?"))
            .collect()
    }

    #[test]
    fn each_syntax_sees_its_own_keys_exactly_and_the_others_with_both_separators() {
        use KeySyntax::{Dotted, Slashed};
        assert_eq!(view("a/b.c", Slashed, Slashed), ["a", "b.c"]);
        assert_eq!(view("a/b.c", Slashed, Dotted), ["a", "b", "c"]);
        assert_eq!(view("a/b.c", Dotted, Dotted), ["a/b", "c"]);
        assert_eq!(view("a/b.c", Dotted, Slashed), ["a", "b", "c"]);
        assert_eq!(view("/a/", Slashed, Dotted), ["", "a", ""]);
    }

    #[test]
    fn dotted_key_with_a_slashed_wildcard_has_no_slashed_view() {
        for key in ["", "a.+", "#", "a\0b"] {
            assert!(!has_view(
                key.as_bytes(),
                KeySyntax::Dotted,
                KeySyntax::Slashed
            ));
            assert!(has_view(
                key.as_bytes(),
                KeySyntax::Dotted,
                KeySyntax::Dotted
            ));
        }
        assert!(has_view(b"a.*", KeySyntax::Dotted, KeySyntax::Slashed));
    }

    #[test]
    fn rendering_swaps_the_separator_only() {
        let mut out = Vec::new();
        render(b"a/b.c", KeySyntax::Slashed, KeySyntax::Dotted, &mut out);
        assert_eq!(out, b"a.b.c");
    }
}
