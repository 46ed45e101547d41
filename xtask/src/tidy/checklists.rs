//! Checklists name the tests that hold them: every row of a `checklist.md` names one that exists, or says after a dash
//! why not.

use std::collections::HashSet;

use super::Problem;
use crate::workspace::{Source, Workspace};

/// How files of this kind are called.
const NAME: &str = "checklist.md";

pub(super) fn check(workspace: &Workspace, problems: &mut Vec<Problem>) {
    let lists = workspace.sources.iter().filter(|s| is_checklist(&s.path));
    let functions: HashSet<&str> = workspace.rust().flat_map(functions).collect();
    for list in lists {
        check_list(list, &functions, problems);
    }
}

fn is_checklist(path: &str) -> bool {
    path.rsplit('/').next() == Some(NAME)
}

/// The names of all functions of a file.
fn functions(source: &Source) -> impl Iterator<Item = &str> {
    source.text.lines().filter_map(|line| {
        let (_, behind) = line.split_once("fn ")?;
        behind.split_once('(').map(|(name, _)| name)
    })
}

fn check_list(list: &Source, functions: &HashSet<&str>, problems: &mut Vec<Problem>) {
    for (index, line) in list.text.lines().enumerate() {
        let Some(tests) = last_cell(line) else {
            continue;
        };
        let mut problem = |text: String| problems.push(Problem::at(&list.path, index + 1, text));
        let (named, reason) = tests.split_once('–').unwrap_or((tests, ""));
        let names: Vec<_> = named.split('`').skip(1).step_by(2).collect();
        if names.is_empty() && reason.trim().is_empty() {
            problem("neither a test nor a reason".to_owned());
        }
        for name in names.iter().filter(|name| !functions.contains(**name)) {
            problem(format!("there is no test `{name}`"));
        }
    }
}

/// The last cell of a table's row; none for its head, for the line below that, and for all else.
fn last_cell(line: &str) -> Option<&str> {
    let row = line.strip_prefix('|')?.strip_suffix('|')?;
    let (_, last) = row.rsplit_once('|')?;
    let last = last.trim();
    (!matches!(last, "tests" | "---")).then_some(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems_of(list: &str) -> Vec<(usize, String)> {
        let source = |path: &str, text: &str| Source {
            path: path.to_owned(),
            text: text.to_owned(),
        };
        let workspace = Workspace {
            sources: vec![
                source("crates/a/tests/checklist.md", list),
                source("crates/b/src/tests.rs", "    fn it_is_so() {\n"),
                source("other.md", "| a | `missing` |"),
            ],
            members: Vec::new(),
        };
        let mut problems = Vec::new();
        check(&workspace, &mut problems);
        problems.into_iter().map(|p| (p.line, p.text)).collect()
    }

    #[test]
    fn rows_that_name_tests_or_reasons_pass() {
        let list = "# `words`\n\n| behaviour | tests |\n|---|---|\n| a `b` | `it_is_so` |\n| c | – on purpose |\n\
                    | d | `it_is_so` – but `otherwise` |\n";
        assert_eq!(problems_of(list), []);
    }

    #[test]
    fn tests_that_are_not_there_and_rows_without_any_are_problems() {
        let list = "| a | `it_was_so`, `it_is_so` |\n| b | |\n| c | – |\n";
        let expected = [
            (1, "there is no test `it_was_so`".to_owned()),
            (2, "neither a test nor a reason".to_owned()),
            (3, "neither a test nor a reason".to_owned()),
        ];
        assert_eq!(problems_of(list), expected);
    }
}
