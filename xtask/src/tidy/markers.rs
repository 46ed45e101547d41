//! Unfinished work has an issue: `TODO(#12)` passes, a bare marker does not.

use super::Problem;
use crate::workspace::Source;

/// Marks of unfinished work. Spelt in halves, so that this file does not mark itself.
const MARKERS: [&str; 3] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
];

pub(super) fn check(source: &Source, problems: &mut Vec<Problem>) {
    for (index, line) in source.text.lines().enumerate() {
        for marker in MARKERS {
            if has_ownerless(line, marker) {
                let text = format!("{marker} without an issue; write {marker}(#number)");
                problems.push(Problem::at(&source.path, index + 1, text));
            }
        }
    }
}

/// Whether the marker stands in the line as a word of its own and no `(#number)` follows.
fn has_ownerless(line: &str, marker: &str) -> bool {
    line.match_indices(marker).any(|(start, _)| {
        let before = &line[..start];
        let after = &line[start + marker.len()..];
        !before.ends_with(is_word) && !after.starts_with(is_word) && !names_issue(after)
    })
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

fn names_issue(after: &str) -> bool {
    after
        .strip_prefix("(#")
        .and_then(|rest| rest.split_once(')'))
        .is_some_and(|(number, _)| number.parse::<u32>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_of(text: &str) -> Vec<usize> {
        let text = text.replace("MARK", MARKERS[0]);
        let mut problems = Vec::new();
        check(
            &Source {
                path: "src/a.rs".to_owned(),
                text,
            },
            &mut problems,
        );
        problems.iter().map(|problem| problem.line).collect()
    }

    #[test]
    fn a_marker_with_an_issue_number_passes() {
        assert!(lines_of("// MARK(#12): page out\n").is_empty());
    }

    #[test]
    fn a_marker_without_a_number_fails_wherever_it_stands() {
        assert_eq!(
            lines_of("// MARK: later\nlet a = 1; // MARK(me)\n# MARK(#)\n"),
            [1, 2, 3]
        );
    }

    #[test]
    fn a_longer_word_is_no_marker() {
        assert!(lines_of("const MARKS: u8 = 1; fn a_MARK_b() {}\n").is_empty());
    }

    #[test]
    fn every_marker_is_looked_for() {
        for marker in MARKERS {
            assert!(has_ownerless(&format!("// {marker}"), marker));
        }
    }
}
