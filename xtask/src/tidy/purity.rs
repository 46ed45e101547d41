//! The core is pure: it is built without std and knows no protocol.

use super::Problem;
use super::graph::Row;
use crate::workspace::{Source, Workspace};

/// The kind in the crate table that marks the core.
const KIND: &str = "core";

/// Names that only an adapter may use. Documentation may, to say where an idea comes from.
/// A product is no protocol: the core has its peers' names for predeclared exchanges and the like.
const PROTOCOLS: [&str; 4] = ["amqp", "mqtt", "sqs", "kafka"];

pub(super) fn check(rows: &[Row], workspace: &Workspace, problems: &mut Vec<Problem>) {
    for row in rows.iter().filter(|row| row.kind == KIND) {
        let root = format!("{}/src/lib.rs", row.path);
        if !workspace
            .source(&root)
            .is_some_and(|lib| has_line(lib, "#![no_std]"))
        {
            problems.push(Problem::of_file(
                &root,
                "the core states #![no_std], without conditions",
            ));
        }
        let directory = format!("{}/src/", row.path);
        for source in workspace.rust() {
            if source.path.starts_with(&directory) && !source.is_test() {
                check_source(source, problems);
            }
        }
    }
}

fn has_line(source: &Source, wanted: &str) -> bool {
    source.text.lines().any(|line| line.trim() == wanted)
}

fn check_source(source: &Source, problems: &mut Vec<Problem>) {
    for (index, line) in product_lines(&source.text) {
        let lower = line.to_ascii_lowercase();
        for protocol in PROTOCOLS {
            if lower.contains(protocol) {
                let text = format!("the core mentions {protocol} outside a doc comment");
                problems.push(Problem::at(&source.path, index + 1, text));
            }
        }
        if line.trim() == "extern crate std;" {
            problems.push(Problem::at(
                &source.path,
                index + 1,
                "the core brings std back",
            ));
        }
    }
}

/// Lines with their index, without doc comments and without a test module at the end of the file.
fn product_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines: Vec<&str> = text.lines().collect();
    let end = lines
        .windows(2)
        .position(|pair| {
            pair[0] == "#[cfg(test)]" && pair[1].starts_with("mod ") && pair[1].ends_with('{')
        })
        .unwrap_or(lines.len());
    lines.into_iter().enumerate().take(end).filter(|(_, line)| {
        let line = line.trim_start();
        !line.starts_with("///") && !line.starts_with("//!")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::graph;

    fn problems_of(files: &[(&str, &str)]) -> Vec<String> {
        let mut workspace = Workspace::default();
        workspace.sources.push(Source {
            path: "ARCHITECTURE.md".to_owned(),
            text: "| crate | path | kind | may depend on |\n|---|---|---|---|\n\
                   | `ternmq-core` | `crates/core` | core | nothing |\n"
                .to_owned(),
        });
        for &(path, text) in files {
            workspace.sources.push(Source {
                path: path.to_owned(),
                text: text.to_owned(),
            });
        }
        let rows = graph::table(&workspace).unwrap();
        let mut problems = Vec::new();
        check(&rows, &workspace, &mut problems);
        problems.iter().map(ToString::to_string).collect()
    }

    const LIB: (&str, &str) = (
        "crates/core/src/lib.rs",
        "//! Knows neither AMQP nor MQTT.\n\n#![no_std]\n",
    );

    #[test]
    fn doc_comments_tests_and_other_crates_may_name_protocols() {
        let problems = problems_of(&[
            LIB,
            ("crates/core/src/queue/tests.rs", "fn mqtt() {}\n"),
            (
                "crates/core/src/a.rs",
                "/// Kafka has these.\nfn a() {}\n\n#[cfg(test)]\nmod tests {\n    // amqp\n}\n",
            ),
            ("crates/mqtt/src/lib.rs", "fn mqtt() {}\n"),
        ]);
        assert!(problems.is_empty(), "{problems:?}");
    }

    #[test]
    fn code_and_plain_comments_may_not() {
        let problems = problems_of(&[
            LIB,
            (
                "crates/core/src/a.rs",
                "fn a() {}\n// as Kafka does\nfn from_amqp() {}\n",
            ),
        ]);
        assert_eq!(
            problems,
            [
                "crates/core/src/a.rs:2: the core mentions kafka outside a doc comment",
                "crates/core/src/a.rs:3: the core mentions amqp outside a doc comment",
            ]
        );
    }

    #[test]
    fn a_test_module_in_its_own_file_does_not_hide_what_follows() {
        let text = "#[cfg(test)]\nmod tests;\nfn mqtt() {}\n";
        assert_eq!(problems_of(&[LIB, ("crates/core/src/a.rs", text)]).len(), 1);
    }

    #[test]
    fn no_std_is_required_without_conditions_and_not_undone() {
        let conditional = "#![cfg_attr(not(test), no_std)]\n";
        assert_eq!(
            problems_of(&[("crates/core/src/lib.rs", conditional)]).len(),
            1
        );
        assert_eq!(problems_of(&[]).len(), 1);
        let undone = "#![no_std]\nextern crate std;\n";
        assert_eq!(problems_of(&[("crates/core/src/lib.rs", undone)]).len(), 1);
    }
}
