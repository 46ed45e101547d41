//! The rules of the code base, one module each.

mod adapters;
mod checklists;
mod graph;
mod markers;
mod purity;
mod size;

use std::fmt;

use crate::workspace::Workspace;

/// A broken rule and where it is broken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    path: String,
    /// Counted from 1; 0 when the whole file or directory is meant.
    line: usize,
    text: String,
}

impl Problem {
    fn at(path: &str, line: usize, text: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            line,
            text: text.into(),
        }
    }

    fn of_file(path: &str, text: impl Into<String>) -> Self {
        Self::at(path, 0, text)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(formatter, "{}: {}", self.path, self.text),
            line => write!(formatter, "{}:{line}: {}", self.path, self.text),
        }
    }
}

/// Holds every rule against the workspace.
pub(crate) fn check(workspace: &Workspace) -> Vec<Problem> {
    let mut problems = Vec::new();
    for source in workspace.rust() {
        size::check(source, &mut problems);
    }
    for source in &workspace.sources {
        markers::check(source, &mut problems);
    }
    checklists::check(workspace, &mut problems);
    match graph::table(workspace) {
        Ok(rows) => {
            graph::check(&rows, &workspace.members, &mut problems);
            adapters::check(&rows, workspace, &mut problems);
            purity::check(&rows, workspace, &mut problems);
        }
        Err(problem) => problems.push(problem),
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_names_its_line_only_when_it_has_one() {
        assert_eq!(
            Problem::at("a.rs", 3, "too long").to_string(),
            "a.rs:3: too long"
        );
        assert_eq!(
            Problem::of_file("a.rs", "too long").to_string(),
            "a.rs: too long"
        );
    }

    #[test]
    fn a_workspace_without_a_crate_table_is_a_problem() {
        let problems = check(&Workspace::default());
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].path, "ARCHITECTURE.md");
    }
}
