//! Where results go: tables for people, JSON for scripts.

use std::io::{self, IsTerminal, Write};

use rustix::termios::tcgetwinsize;
use serde_json::Value;

use crate::failure::{Failure, Outcome};
use crate::field::{Field, find, text};
use crate::options::Selection;
use crate::table::{Align, Style, Table, printable};

const STDOUT: &str = "standard output";

/// Writes results.
pub(crate) struct Output<'a> {
    out: &'a mut dyn Write,
    form: Form,
    /// Columns of the terminal; none if it is none.
    width: Option<usize>,
    style: Style,
    /// What was done, and not yet told to a script.
    told: Vec<String>,
    /// Whether a script has its value.
    has_value: bool,
}

/// For whom results are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Form {
    People,
    Json,
}

impl<'a> Output<'a> {
    /// For the process's own standard output.
    pub(crate) fn stdout(out: &'a mut dyn Write, form: Form) -> Self {
        let stdout = io::stdout();
        let is_terminal = stdout.is_terminal();
        let width = is_terminal.then(|| tcgetwinsize(&stdout).ok()).flatten();
        let colours = is_terminal && std::env::var_os("NO_COLOR").is_none();
        Self {
            out,
            form,
            width: width
                .map(|size| usize::from(size.ws_col))
                .filter(|columns| *columns > 0),
            style: if colours { Style::Bold } else { Style::Plain },
            told: Vec::new(),
            has_value: false,
        }
    }

    /// For anything else.
    #[cfg(test)]
    pub(crate) fn plain(out: &'a mut dyn Write, form: Form) -> Self {
        Self {
            out,
            form,
            width: None,
            style: Style::Plain,
            told: Vec::new(),
            has_value: false,
        }
    }

    pub(crate) fn is_json(&self) -> bool {
        self.form == Form::Json
    }

    /// What was done. Scripts read it at the end, unless there is something else for them to read.
    pub(crate) fn done(&mut self, what: impl AsRef<str>) -> Outcome {
        if self.is_json() {
            self.told.push(what.as_ref().to_owned());
            return Ok(());
        }
        self.line(what)
    }

    /// The command has succeeded: a script gets one value, whatever the command was.
    pub(crate) fn finish(mut self) -> Outcome {
        if !self.is_json() || self.has_value {
            return Ok(());
        }
        let told = std::mem::take(&mut self.told);
        self.json(&serde_json::json!({ "done": told }))
    }

    /// One line.
    pub(crate) fn line(&mut self, line: impl AsRef<str>) -> Outcome {
        writeln!(self.out, "{}", printable(line.as_ref())).map_err(Failure::io(STDOUT))
    }

    /// Text as it is.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> Outcome {
        self.out.write_all(bytes).map_err(Failure::io(STDOUT))
    }

    /// A value for scripts.
    pub(crate) fn json(&mut self, value: &Value) -> Outcome {
        debug_assert!(!self.has_value, "one command, one value");
        self.has_value = true;
        let failed = Failure::io(STDOUT);
        serde_json::to_writer_pretty(&mut *self.out, value)
            .map_err(io::Error::from)
            .and_then(|()| writeln!(self.out))
            .map_err(failed)
    }

    /// A list as it was selected: a row for each item.
    pub(crate) fn list(
        &mut self,
        items: Value,
        fields: &[Field],
        selection: &Selection,
    ) -> Outcome {
        let Value::Array(mut items) = items else {
            return Err(Failure::Failed("the answer is no list".to_owned()));
        };
        select(&mut items, fields, selection);
        if self.is_json() {
            return self.json(&Value::Array(items));
        }
        if selection.columns.is_empty() {
            self.rows(&items, fields)
        } else {
            self.chosen_columns(&items, &selection.columns)
        }
    }

    /// A row for each item; columns that are empty everywhere are left out, but for the first.
    pub(crate) fn rows(&mut self, items: &[Value], fields: &[Field]) -> Outcome {
        let used = |field: &&Field| {
            field.key == fields[0].key || items.iter().any(|item| !field.of(item).is_empty())
        };
        let fields: Vec<_> = fields.iter().filter(used).collect();
        let mut table = Table::default();
        for field in &fields {
            table.column(field.title, field.kind.align());
        }
        for item in items {
            table.row(fields.iter().map(|field| field.of(item)));
        }
        self.table(&table)
    }

    fn chosen_columns(&mut self, items: &[Value], columns: &[String]) -> Outcome {
        let mut table = Table::default();
        for column in columns {
            let of_items = || items.iter().map(|item| find(item, column));
            let numbers = of_items().any(Value::is_number)
                && of_items().all(|value| value.is_number() || value.is_null());
            table.column(column, if numbers { Align::Right } else { Align::Left });
        }
        for item in items {
            table.row(columns.iter().map(|column| text(find(item, column))));
        }
        self.table(&table)
    }

    /// A table; nothing if it has no rows.
    pub(crate) fn table(&mut self, table: &Table) -> Outcome {
        if table.is_empty() {
            return Ok(());
        }
        table
            .write(self.width, self.style, self.out)
            .map_err(Failure::io(STDOUT))
    }

    /// One object: a line for each field that it has.
    pub(crate) fn object(&mut self, object: &Value, fields: &[Field]) -> Outcome {
        let lines = fields.iter().map(|field| (field.title, field.of(object)));
        let lines: Vec<_> = lines.filter(|(_, written)| !written.is_empty()).collect();
        let width = lines
            .iter()
            .map(|(title, _)| title.len())
            .max()
            .unwrap_or(0);
        for (title, written) in lines {
            self.line(format!("{title:<width$}  {written}"))?;
        }
        Ok(())
    }

    /// A heading above a part of a longer answer.
    pub(crate) fn heading(&mut self, heading: &str) -> Outcome {
        let heading = printable(heading);
        match self.style {
            Style::Plain => writeln!(self.out, "\n{heading}"),
            Style::Bold => writeln!(self.out, "\n\x1b[1m{heading}\x1b[0m"),
        }
        .map_err(Failure::io(STDOUT))
    }
}

/// Filters by the first field, orders and limits.
fn select(items: &mut Vec<Value>, fields: &[Field], selection: &Selection) {
    if let Some(wanted) = &selection.filter {
        items.retain(|item| text(find(item, fields[0].key)).contains(wanted.as_str()));
    }
    if let Some(sort) = &selection.sort {
        items.sort_by(|one, other| order(find(one, sort), find(other, sort)));
    }
    if selection.reverse {
        items.reverse();
    }
    if let Some(limit) = selection.limit {
        items.truncate(limit);
    }
}

/// Numbers come first, the greatest of them before the others; then texts; what is missing comes last.
fn order(one: &Value, other: &Value) -> std::cmp::Ordering {
    match (one.as_f64(), other.as_f64()) {
        (Some(one), Some(other)) => other.total_cmp(&one),
        (Some(_), None) => std::cmp::Ordering::Less,
        (None, Some(_)) => std::cmp::Ordering::Greater,
        (None, None) => {
            let missing = one.is_null().cmp(&other.is_null());
            missing.then_with(|| text(one).cmp(&text(other)))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const FIELDS: [Field; 3] = [
        Field::text("name", "NAME"),
        Field::count("messages", "MESSAGES"),
        Field::text("policy", "POLICY"),
    ];

    fn listed(selection: &Selection, form: Form) -> String {
        let mut out = Vec::new();
        let items = json!([
            {"name": "a", "messages": 5}, {"name": "b", "messages": 1000}, {"name": "ab"},
        ]);
        let mut output = Output::plain(&mut out, form);
        output.list(items, &FIELDS, selection).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn columns_without_values_are_left_out() {
        let expected = "NAME  MESSAGES\na            5\nb        1,000\nab\n";
        assert_eq!(listed(&Selection::default(), Form::People), expected);
    }

    #[test]
    fn lists_are_filtered_ordered_and_limited() {
        let selection = Selection {
            sort: Some("messages".into()),
            ..Selection::default()
        };
        let expected = "NAME  MESSAGES\nb        1,000\na            5\nab\n";
        assert_eq!(listed(&selection, Form::People), expected);
        let selection = Selection {
            filter: Some("a".into()),
            reverse: true,
            limit: Some(1),
            columns: vec!["name".into()],
            ..Selection::default()
        };
        assert_eq!(listed(&selection, Form::People), "name\nab\n");
    }

    #[test]
    fn json_has_the_same_items() {
        let selection = Selection {
            filter: Some("b".into()),
            ..Selection::default()
        };
        let list: Value = serde_json::from_str(&listed(&selection, Form::Json)).unwrap();
        assert_eq!(
            list,
            json!([{"name": "b", "messages": 1000}, {"name": "ab"}])
        );
    }
}
