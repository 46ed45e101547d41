//! Every adapter has the same files, so who knows one knows them all.

use super::Problem;
use super::graph::Row;
use crate::workspace::Workspace;

/// The kind in the crate table that marks an adapter.
const KIND: &str = "adapter";

/// Below `src`, without the ending: each is `name.rs`, or `name/mod.rs` where it was split.
const MODULES: [&str; 8] = [
    "frame",
    "codec",
    "connection",
    "session",
    "mapping",
    "error",
    "config",
    "listener",
];

/// Below `src/session`: the four verbs.
const VERBS: [&str; 4] = ["declare", "publish", "deliver", "settle"];

/// More files are welcome where needed; fewer are not.
pub(super) fn check(rows: &[Row], workspace: &Workspace, problems: &mut Vec<Problem>) {
    for row in rows.iter().filter(|row| row.kind == KIND) {
        let directory = format!("{}/src", row.path);
        if workspace.source(&format!("{directory}/lib.rs")).is_none() {
            problems.push(Problem::of_file(&directory, "an adapter has lib.rs"));
        }
        let modules = MODULES.iter().map(|&module| module.to_owned());
        let verbs = VERBS.iter().map(|verb| format!("session/{verb}"));
        for module in modules.chain(verbs) {
            let file = format!("{directory}/{module}.rs");
            let split = format!("{directory}/{module}/mod.rs");
            // A session is always a directory: its verbs lie in it.
            let found = (module != "session" && workspace.source(&file).is_some())
                || workspace.source(&split).is_some();
            if !found {
                let name = if module == "session" {
                    "session/mod"
                } else {
                    module.as_str()
                };
                problems.push(Problem::of_file(
                    &directory,
                    format!("an adapter has {name}.rs"),
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::graph;
    use crate::workspace::Source;

    const FILES: [&str; 13] = [
        "lib.rs",
        "frame.rs",
        "codec.rs",
        "connection.rs",
        "session/mod.rs",
        "session/declare.rs",
        "session/publish.rs",
        "session/deliver.rs",
        "session/settle.rs",
        "mapping.rs",
        "error.rs",
        "config.rs",
        "listener.rs",
    ];

    fn problems_with(files: &[&str]) -> Vec<String> {
        let mut workspace = Workspace::default();
        workspace.sources.push(Source {
            path: "ARCHITECTURE.md".to_owned(),
            text: "| crate | path | kind | may depend on |\n|---|---|---|---|\n\
                   | `ternmq-core` | `crates/core` | core | nothing |\n\
                   | `ternmq-mqtt` | `crates/mqtt` | adapter | nothing |\n"
                .to_owned(),
        });
        for file in files {
            let path = format!("crates/mqtt/src/{file}");
            workspace.sources.push(Source {
                path,
                text: String::new(),
            });
        }
        let rows = graph::table(&workspace).unwrap();
        let mut problems = Vec::new();
        check(&rows, &workspace, &mut problems);
        problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_complete_adapter_passes_also_with_more_files_and_a_split_codec() {
        assert!(problems_with(&FILES).is_empty());
        let mut files = FILES.to_vec();
        files.retain(|&file| file != "codec.rs");
        files.extend(["codec/mod.rs", "codec/decode.rs", "registry.rs"]);
        assert!(problems_with(&files).is_empty());
    }

    #[test]
    fn each_missing_file_is_named() {
        for missing in FILES {
            let files: Vec<_> = FILES.into_iter().filter(|&file| file != missing).collect();
            let expected = format!("crates/mqtt/src: an adapter has {missing}");
            assert_eq!(problems_with(&files), [expected]);
        }
    }
}
