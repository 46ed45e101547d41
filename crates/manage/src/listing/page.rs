//! Pages, and the filter by name that goes with them.

use std::ops::Range;

use crate::fault::Fault;
use crate::request::Query;

const SIZE_DEFAULT: usize = 100;
const SIZE_MAX: usize = 500;
/// Steps that a pattern may take on one name before it counts as not matching.
const BACKTRACK_MAX: usize = 100_000;

/// A page that is asked for.
pub(super) struct Page {
    pub(super) number: usize,
    pub(super) size: usize,
}

impl Page {
    /// The page, if the query asks for pages at all.
    pub(super) fn of(query: &Query) -> Result<Option<Self>, Fault> {
        let Some(page) = query.get("page") else {
            return Ok(None);
        };
        let parse = |text: &str| {
            let invalid = || Fault::bad_request("Pagination parameters are invalid");
            text.parse::<i64>().map_err(|_| invalid())
        };
        let number = parse(page)?;
        let size = query.get("page_size").map(parse).transpose()?;
        let invalid = || {
            let size = size.map_or_else(|| "undefined".to_owned(), |size| size.to_string());
            let text =
                format!("Invalid pagination parameters: page number {number}, page size {size}");
            Fault::bad("invalid_pagination_parameters", text)
        };
        let valid = |number: i64, max: usize| {
            usize::try_from(number)
                .ok()
                .filter(|n| (1..=max).contains(n))
        };
        let page = Self {
            number: valid(number, usize::MAX).ok_or_else(invalid)?,
            size: match size {
                None => SIZE_DEFAULT,
                Some(size) => valid(size, SIZE_MAX).ok_or_else(invalid)?,
            },
        };
        Ok(Some(page))
    }

    /// Which of so many items are on it. The first page of nothing is empty; any other page must have something on it.
    pub(super) fn range(&self, count: usize) -> Result<Range<usize>, Fault> {
        let start = (self.number - 1).saturating_mul(self.size);
        if start >= count && self.number > 1 {
            return Err(Fault::bad(
                "page_out_of_range",
                format!(
                    "Page out of range, page: {} page size: {}, len: {count}",
                    self.number, self.size
                ),
            ));
        }
        Ok(start..start.saturating_add(self.size).min(count))
    }
}

/// The option `name`.
pub(super) enum NameFilter {
    /// Names that contain this, whatever their case.
    Part(String),
    /// Names that match this.
    Pattern(fancy_regex::Regex),
}

impl NameFilter {
    pub(super) fn of(query: &Query) -> Result<Option<Self>, Fault> {
        let Some(name) = query.get("name").filter(|name| !name.is_empty()) else {
            return Ok(None);
        };
        if !query.is_true("use_regex") {
            return Ok(Some(Self::Part(name.to_lowercase())));
        }
        let pattern = fancy_regex::RegexBuilder::new(name)
            .case_insensitive(true)
            .backtrack_limit(BACKTRACK_MAX)
            .build()
            .map_err(|_| Fault::bad_request("Pagination parameters are invalid"))?;
        Ok(Some(Self::Pattern(pattern)))
    }

    pub(super) fn matches(&self, name: &str) -> bool {
        match self {
            Self::Part(part) => name.to_lowercase().contains(part),
            Self::Pattern(pattern) => pattern.is_match(name).unwrap_or(false),
        }
    }
}
