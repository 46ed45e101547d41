//! Tables for people: columns aligned, cut to the width of the terminal.

use std::io::{self, Write};

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Between two columns.
const GAP: &str = "  ";

/// A column is never cut to less than this.
const COLUMN_WIDTH_MIN: usize = 8;

/// Columns with titles, and rows.
#[derive(Debug, Default)]
pub(crate) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
}

#[derive(Debug)]
struct Column {
    title: String,
    align: Align,
    /// Of the widest cell.
    width: usize,
}

/// Where a cell's text stands in its column.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Align {
    /// Texts.
    Left,
    /// Numbers. They are never cut.
    Right,
}

/// How a title looks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Style {
    Plain,
    /// Bold, where a terminal shows it.
    Bold,
}

impl Table {
    /// A further column; all come before the first row.
    pub(crate) fn column(&mut self, title: &str, align: Align) {
        debug_assert!(self.rows.is_empty(), "columns come first");
        let title = printable(title);
        self.columns.push(Column {
            align,
            width: title.width(),
            title,
        });
    }

    /// A further row, with a cell for each column.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let cells: Vec<_> = cells.into_iter().map(|cell| printable(&cell)).collect();
        debug_assert_eq!(cells.len(), self.columns.len(), "a cell for each column");
        for (column, cell) in self.columns.iter_mut().zip(&cells) {
            column.width = column.width.max(cell.width());
        }
        self.rows.push(cells);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Writes titles and rows. With a width, texts are cut so that lines fit as far as possible.
    pub(crate) fn write(
        &self,
        width: Option<usize>,
        style: Style,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let widths = self.fit(width);
        let titles: Vec<_> = self
            .columns
            .iter()
            .map(|column| column.title.as_str())
            .collect();
        let line = self.line(&titles, &widths);
        match style {
            Style::Plain => writeln!(out, "{line}")?,
            Style::Bold => writeln!(out, "\x1b[1m{line}\x1b[0m")?,
        }
        for row in &self.rows {
            let cells: Vec<_> = row.iter().map(String::as_str).collect();
            writeln!(out, "{}", self.line(&cells, &widths))?;
        }
        Ok(())
    }

    /// The columns' widths: the widest texts lose first.
    fn fit(&self, width: Option<usize>) -> Vec<usize> {
        let mut widths: Vec<_> = self.columns.iter().map(|column| column.width).collect();
        let Some(width) = width else {
            return widths;
        };
        let gaps = GAP.len() * widths.len().saturating_sub(1);
        let mut over = (widths.iter().sum::<usize>() + gaps).saturating_sub(width);
        while over > 0 {
            let texts = self.columns.iter().zip(&mut widths);
            let widest = texts
                .filter(|(column, width)| column.align == Align::Left && **width > COLUMN_WIDTH_MIN)
                .map(|(_, width)| width)
                .max_by_key(|width| **width);
            let Some(widest) = widest else { break };
            *widest -= 1;
            over -= 1;
        }
        widths
    }

    fn line(&self, cells: &[&str], widths: &[usize]) -> String {
        let mut line = String::new();
        for (at, (cell, column)) in cells.iter().zip(&self.columns).enumerate() {
            if at > 0 {
                line.push_str(GAP);
            }
            let width = widths[at];
            let cell = cut(cell, width);
            let room = " ".repeat(width.saturating_sub(cell.width()));
            match column.align {
                Align::Left => {
                    line.push_str(&cell);
                    line.push_str(&room);
                }
                Align::Right => {
                    line.push_str(&room);
                    line.push_str(&cell);
                }
            }
        }
        line.truncate(line.trim_end().len());
        line
    }
}

/// A text in so many columns, with an ellipsis where something is missing.
pub(crate) fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut kept = String::new();
    let mut taken = 1;
    for symbol in text.chars() {
        taken += symbol.width().unwrap_or(0);
        if taken > width {
            break;
        }
        kept.push(symbol);
    }
    kept.push('…');
    kept
}

/// A text without anything that a terminal would obey, and without what nobody sees: names are chosen by clients, not by
/// the operator who reads them.
pub(crate) fn printable(text: &str) -> String {
    if !text.chars().any(is_unprintable) {
        return text.to_owned();
    }
    let mut safe = String::with_capacity(text.len() + 8);
    for symbol in text.chars() {
        if is_unprintable(symbol) {
            safe.extend(symbol.escape_default());
        } else {
            safe.push(symbol);
        }
    }
    safe
}

/// Controls, what turns the direction of the text around it (Unicode's annex 9), separators of lines, and spaces without
/// width.
fn is_unprintable(symbol: char) -> bool {
    let is_directing = matches!(
        symbol,
        '\u{61C}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}'
    );
    let is_invisible = matches!(
        symbol,
        '\u{200B}' | '\u{2028}' | '\u{2029}' | '\u{2060}' | '\u{FEFF}'
    );
    symbol.is_control() || is_directing || is_invisible
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(table: &Table, width: Option<usize>) -> String {
        let mut out = Vec::new();
        table.write(width, Style::Plain, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn queues() -> Table {
        let mut table = Table::default();
        table.column("NAME", Align::Left);
        table.column("STATE", Align::Left);
        table.column("READY", Align::Right);
        table.row(["orders".to_owned(), "running".to_owned(), "12".to_owned()]);
        table.row([
            "a queue with a long name".to_owned(),
            "idle".to_owned(),
            "1,234,567".to_owned(),
        ]);
        table
    }

    #[test]
    fn numbers_are_aligned_to_the_right() {
        let expected = "\
NAME                      STATE        READY
orders                    running         12
a queue with a long name  idle     1,234,567
";
        assert_eq!(written(&queues(), None), expected);
    }

    #[test]
    fn texts_are_cut_to_fit_and_numbers_are_not() {
        let expected = "\
NAME         STATE        READY
orders       running         12
a queue wi…  idle     1,234,567
";
        assert_eq!(written(&queues(), Some(31)), expected);
        let narrow = written(&queues(), Some(5));
        assert!(narrow.contains("1,234,567"), "{narrow}");
    }

    #[test]
    fn wide_symbols_count_twice() {
        assert_eq!(cut("注文注文", 5), "注文…");
        assert_eq!(cut("abc", 3), "abc");
    }

    #[test]
    fn names_cannot_command_the_terminal() {
        assert_eq!(printable("a\x1b[2Jb\n"), "a\\u{1b}[2Jb\\n");
        assert_eq!(printable("\u{202E}ab\u{200B}"), "\\u{202e}ab\\u{200b}");
        assert_eq!(
            printable("注文 é \u{1F469}\u{200D}\u{1F680}"),
            "注文 é \u{1F469}\u{200D}\u{1F680}"
        );
    }
}
