//! Arrows between crates never point up or sideways: the manifests say what the table in `ARCHITECTURE.md` allows.

use super::Problem;
use crate::workspace::{Member, Workspace};

/// The page with the table.
const PAGE: &str = "ARCHITECTURE.md";

/// The table's header cells, in order.
const HEADER: [&str; 4] = ["crate", "path", "kind", "may depend on"];

/// What crate names begin with and the table's last column leaves out.
const PREFIX: &str = "ternmq-";

/// What a crate may depend on within the workspace.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Allowed {
    All,
    These(Vec<String>),
}

/// One crate in the table.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) path: String,
    pub(super) kind: String,
    pub(super) allowed: Allowed,
    line: usize,
}

/// Reads the table.
pub(super) fn table(workspace: &Workspace) -> Result<Vec<Row>, Problem> {
    let Some(page) = workspace.source(PAGE) else {
        return Err(Problem::of_file(PAGE, "missing; it holds the crate table"));
    };
    let mut lines = page
        .text
        .lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line));
    if !lines.any(|(_, line)| cells(line) == HEADER) {
        let text = format!("no table with the columns {}", HEADER.join(", "));
        return Err(Problem::of_file(PAGE, text));
    }
    let rows = lines
        .skip(1)
        .take_while(|(_, line)| line.trim_start().starts_with('|'))
        .map(|(number, line)| row(number, line))
        .collect::<Result<Vec<_>, _>>()?;
    if rows.is_empty() {
        return Err(Problem::of_file(PAGE, "the crate table is empty"));
    }
    Ok(rows)
}

fn row(line_number: usize, line: &str) -> Result<Row, Problem> {
    let [name, path, kind, allowed] = cells(line)[..] else {
        return Err(Problem::at(
            PAGE,
            line_number,
            "a row of the crate table has four cells",
        ));
    };
    let allowed = match allowed {
        "all" => Allowed::All,
        "nothing" => Allowed::These(Vec::new()),
        names => Allowed::These(
            names
                .split(',')
                .map(|name| full_name(name.trim()))
                .collect(),
        ),
    };
    Ok(Row {
        name: name.to_owned(),
        path: path.to_owned(),
        kind: kind.to_owned(),
        allowed,
        line: line_number,
    })
}

/// The cells of a table line without the marks around names, empty for any other line.
fn cells(line: &str) -> Vec<&str> {
    let line = line.trim();
    let Some(inner) = line
        .strip_prefix('|')
        .and_then(|line| line.strip_suffix('|'))
    else {
        return Vec::new();
    };
    inner
        .split('|')
        .map(|cell| cell.trim().trim_matches('`'))
        .collect()
}

fn full_name(name: &str) -> String {
    let name = name.trim_matches('`');
    if name.starts_with(PREFIX) {
        name.to_owned()
    } else {
        format!("{PREFIX}{name}")
    }
}

/// Compares table and manifests in both directions.
pub(super) fn check(rows: &[Row], members: &[Member], problems: &mut Vec<Problem>) {
    for member in members {
        let manifest = manifest_of(member);
        let Some(row) = rows.iter().find(|row| row.name == member.name) else {
            let text = format!("crate {} has no row in {PAGE}", member.name);
            problems.push(Problem::of_file(&manifest, text));
            continue;
        };
        if row.path != member.path {
            let text = format!("crate {} lies in {}", member.name, member.path);
            problems.push(Problem::at(PAGE, row.line, text));
        }
        for dependency in &member.depends_on {
            let allowed = match &row.allowed {
                Allowed::All => true,
                Allowed::These(names) => names.contains(dependency),
            };
            if !allowed {
                let text = format!(
                    "{} must not depend on {dependency} (see {PAGE})",
                    member.name
                );
                problems.push(Problem::of_file(&manifest, text));
            }
        }
    }
    for row in rows {
        if !members.iter().any(|member| member.name == row.name) {
            problems.push(Problem::at(
                PAGE,
                row.line,
                format!("there is no crate {}", row.name),
            ));
        }
        check_names(row, rows, problems);
    }
}

/// A misspelt name in the last column would allow nothing and hide that.
fn check_names(row: &Row, rows: &[Row], problems: &mut Vec<Problem>) {
    let Allowed::These(names) = &row.allowed else {
        return;
    };
    for name in names {
        if !rows.iter().any(|other| &other.name == name) {
            let text = format!("{} may depend on {name}, which has no row", row.name);
            problems.push(Problem::at(PAGE, row.line, text));
        }
    }
}

fn manifest_of(member: &Member) -> String {
    match member.path.as_str() {
        "." => "Cargo.toml".to_owned(),
        path => format!("{path}/Cargo.toml"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Source;

    const TABLE: &str = "# Architecture\n\n\
        | crate | path | kind | may depend on |\n\
        |---|---|---|---|\n\
        | `ternmq-core` | `crates/core` | core | nothing |\n\
        | `ternmq-net` | `crates/net` | sockets | core |\n\
        | `ternmq` | `.` | binary | all |\n\n\
        | another | table |\n";

    fn page(text: &str) -> Workspace {
        let source = Source {
            path: PAGE.to_owned(),
            text: text.to_owned(),
        };
        Workspace {
            sources: vec![source],
            members: Vec::new(),
        }
    }

    fn member(name: &str, path: &str, depends_on: &[&str]) -> Member {
        Member {
            name: name.to_owned(),
            path: path.to_owned(),
            depends_on: depends_on.iter().map(|&name| name.to_owned()).collect(),
        }
    }

    fn good() -> Vec<Member> {
        vec![
            member("ternmq-core", "crates/core", &[]),
            member("ternmq-net", "crates/net", &["ternmq-core"]),
            member("ternmq", ".", &["ternmq-core", "ternmq-net"]),
        ]
    }

    fn problems_of(table_text: &str, members: &[Member]) -> Vec<String> {
        let rows = table(&page(table_text)).unwrap();
        let mut problems = Vec::new();
        check(&rows, members, &mut problems);
        problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_table_ends_at_the_first_line_that_is_no_row() {
        let rows = table(&page(TABLE)).unwrap();
        assert_eq!(rows.len(), 3);
        assert_eq!(
            rows[1].allowed,
            Allowed::These(vec!["ternmq-core".to_owned()])
        );
        assert_eq!(rows[2].allowed, Allowed::All);
    }

    #[test]
    fn crates_that_keep_to_the_table_pass() {
        assert!(problems_of(TABLE, &good()).is_empty());
    }

    #[test]
    fn an_arrow_that_points_up_is_named() {
        let mut members = good();
        members[0].depends_on.push("ternmq-net".to_owned());
        let expected = "crates/core/Cargo.toml: ternmq-core must not depend on ternmq-net \
                        (see ARCHITECTURE.md)";
        assert_eq!(problems_of(TABLE, &members), [expected]);
    }

    #[test]
    fn a_crate_without_a_row_and_a_row_without_a_crate_are_named() {
        let mut members = good();
        members[1].name = "ternmq-other".to_owned();
        let problems = problems_of(TABLE, &members);
        assert!(
            problems[0].contains("ternmq-other has no row"),
            "{problems:?}"
        );
        assert!(
            problems[1].contains("there is no crate ternmq-net"),
            "{problems:?}"
        );
    }

    #[test]
    fn a_crate_in_another_place_is_named() {
        let mut members = good();
        members[0].path = "core".to_owned();
        assert_eq!(
            problems_of(TABLE, &members),
            ["ARCHITECTURE.md:5: crate ternmq-core lies in core"]
        );
    }

    #[test]
    fn a_misspelt_dependency_in_the_table_is_named() {
        let text = TABLE.replace("sockets | core |", "sockets | core, jornal |");
        let problems = problems_of(&text, &good());
        assert_eq!(problems.len(), 1);
        assert!(
            problems[0].contains("ternmq-jornal, which has no row"),
            "{problems:?}"
        );
    }

    #[test]
    fn a_page_without_the_table_or_with_a_broken_row_is_refused() {
        assert!(table(&page("# Architecture\n")).is_err());
        assert!(
            table(&page(
                "| crate | path | kind | may depend on |\n|---|---|---|---|\n"
            ))
            .is_err()
        );
        assert!(table(&page(&TABLE.replace("| sockets ", ""))).is_err());
    }
}
