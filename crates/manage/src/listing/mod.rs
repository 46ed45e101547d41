//! Lists: filtered by name, sorted, cut into pages, reduced to columns, in the way of RabbitMQ's query options.
//!
//! A list without options is written straight from its rows: no row becomes a tree of values first. Only whoever asks
//! for columns, or sorts by one, pays for that.

mod columns;
mod page;

use std::cell::RefCell;
use std::cmp::Ordering;

use axum::response::Response;
use serde::{Serialize, Serializer};
use serde_json::{Number, Value};

use crate::fault::Fault;
use crate::reply;
use crate::request::Query;
use columns::Columns;
use page::{NameFilter, Page};

/// A row of a list.
pub(crate) trait Row {
    /// What the option `name` looks at.
    fn name(&self) -> &str;

    /// What stands before the name in the order of a list that nobody sorts: the vhost.
    fn group(&self) -> &str {
        // The same for all: names alone count.
        &self.name()[..0]
    }
}

impl<R: Row + ?Sized> Row for &R {
    fn name(&self) -> &str {
        (**self).name()
    }

    fn group(&self) -> &str {
        (**self).group()
    }
}

/// A page of a list.
#[derive(Serialize)]
struct Paged<T> {
    filtered_count: usize,
    item_count: usize,
    items: T,
    page: usize,
    page_count: usize,
    page_size: usize,
    total_count: usize,
}

/// Answers with the rows that the query asks for.
pub(crate) fn list<R: Row + Serialize>(rows: Vec<R>, query: &Query) -> Result<Response, Fault> {
    list_with(rows, query, |row| row)
}

/// The same for a list that RabbitMQ does not cut into pages: options for pages mean nothing there.
pub(crate) fn whole<R: Row + Serialize>(rows: Vec<R>, query: &Query) -> Result<Response, Fault> {
    list(rows, &query.without_pages())
}

/// The same where a row is made whole only if it is in the answer: `complete` adds what is dear.
pub(crate) fn list_with<R: Row, C: Serialize>(
    mut rows: Vec<R>,
    query: &Query,
    mut complete: impl FnMut(R) -> C,
) -> Result<Response, Fault> {
    let page = Page::of(query)?;
    let total_count = rows.len();
    if page.is_some()
        && let Some(filter) = NameFilter::of(query)?
    {
        rows.retain(|row| filter.matches(row.name()));
    }
    let columns = Columns::of(query);
    let reversed = query.is_true("sort_reverse");
    let sort = query.get("sort").filter(|column| !column.is_empty());
    rows.sort_by(|a, b| (a.group(), a.name()).cmp(&(b.group(), b.name())));
    let Some(sort) = sort.filter(|column| *column != "name") else {
        if sort.is_some() {
            rows.sort_by(|a, b| a.name().cmp(b.name()));
        }
        if reversed {
            rows.reverse();
        }
        let items = cut(rows, page.as_ref())?;
        return Ok(answer(items, page, total_count, columns.as_ref(), complete));
    };
    let keyed = rows.into_iter().map(|row| {
        let whole = complete(row);
        (columns::value_at(&whole, sort), whole)
    });
    let mut keyed: Vec<(Value, C)> = keyed.collect();
    keyed.sort_by(|a, b| order(&a.0, &b.0));
    if reversed {
        keyed.reverse();
    }
    let items = cut(keyed, page.as_ref())?;
    let whole = |(_, whole)| whole;
    Ok(answer(items, page, total_count, columns.as_ref(), whole))
}

/// What is on the page, with how many there were before.
struct Cut<T> {
    filtered_count: usize,
    items: Vec<T>,
}

fn cut<T>(mut items: Vec<T>, page: Option<&Page>) -> Result<Cut<T>, Fault> {
    let filtered_count = items.len();
    if let Some(page) = page {
        let range = page.range(filtered_count)?;
        items.truncate(range.end);
        items.drain(..range.start);
    }
    Ok(Cut {
        filtered_count,
        items,
    })
}

fn answer<T, C: Serialize>(
    cut: Cut<T>,
    page: Option<Page>,
    total_count: usize,
    columns: Option<&Columns>,
    complete: impl FnMut(T) -> C,
) -> Response {
    let (filtered_count, item_count) = (cut.filtered_count, cut.items.len());
    let items = cut.items.into_iter().map(complete);
    match columns {
        None => write(items, item_count, filtered_count, page, total_count),
        Some(columns) => {
            let items = items.map(|item| columns.pick(&item));
            write(items, item_count, filtered_count, page, total_count)
        }
    }
}

fn write<T: Serialize>(
    items: impl Iterator<Item = T>,
    item_count: usize,
    filtered_count: usize,
    page: Option<Page>,
    total_count: usize,
) -> Response {
    let items = Items(RefCell::new(items));
    let Some(page) = page else {
        return reply::json(&items);
    };
    reply::json(&Paged {
        filtered_count,
        item_count,
        items,
        page: page.number,
        page_count: filtered_count.div_ceil(page.size),
        page_size: page.size,
        total_count,
    })
}

/// Items that come to be as they are written, so that they are never all there at once. To be written once.
struct Items<I>(RefCell<I>);

impl<T: Serialize, I: Iterator<Item = T>> Serialize for Items<I> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(&mut *self.0.borrow_mut())
    }
}

/// Answers with one object, reduced to the columns that the query asks for.
pub(crate) fn object(object: &impl Serialize, query: &Query) -> Response {
    match Columns::of(query) {
        None => reply::json(object),
        Some(columns) => reply::json(&columns.pick(object)),
    }
}

/// The order of unlike values is that of RabbitMQ: nothing, numbers, words, lists, objects.
fn order(a: &Value, b: &Value) -> Ordering {
    let rank = |value: &Value| match value {
        Value::Null => 0,
        Value::Number(_) => 1,
        Value::Bool(_) => 2,
        Value::String(_) => 3,
        Value::Array(_) => 4,
        Value::Object(_) => 5,
    };
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => order_numbers(a, b),
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::String(a), Value::String(b)) => a.cmp(b),
        _ => rank(a).cmp(&rank(b)),
    }
}

fn order_numbers(a: &Number, b: &Number) -> Ordering {
    if let (Some(a), Some(b)) = (a.as_i64(), b.as_i64()) {
        return a.cmp(&b);
    }
    let float = |n: &Number| n.as_f64().unwrap_or_default();
    float(a).total_cmp(&float(b))
}

#[cfg(test)]
mod tests;
