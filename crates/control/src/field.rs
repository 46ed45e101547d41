//! What is shown of an object of the API: where it is found, what it is called, how it looks.

use std::fmt::Write;

use serde_json::Value;

use crate::table::Align;

/// How a value is written for people.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// As it is. Lists are joined, objects are JSON.
    Text,
    /// A number of things, with a separator every three digits.
    Count,
    /// A number of bytes, in the unit that fits.
    Bytes,
    /// So many in a second.
    Rate,
    /// A share of 1, as a percentage.
    Share,
    /// `yes` or nothing.
    Flag,
    /// Milliseconds since 1970, as a date.
    Moment,
    /// A number of milliseconds, in the units that fit.
    Duration,
}

impl Kind {
    /// Where it stands in a column.
    pub(crate) fn align(self) -> Align {
        match self {
            Self::Text | Self::Flag | Self::Moment => Align::Left,
            _ => Align::Right,
        }
    }

    /// Writes a value; what is missing is empty.
    pub(crate) fn write(self, value: &Value) -> String {
        match (self, value) {
            (_, Value::Null) => String::new(),
            (Self::Flag, Value::Bool(flag)) => if *flag { "yes" } else { "" }.to_owned(),
            (Self::Text | Self::Flag, _) => text(value),
            _ => match value.as_f64() {
                Some(number) => self.write_number(number, value),
                None => text(value),
            },
        }
    }

    fn write_number(self, number: f64, value: &Value) -> String {
        match self {
            Self::Bytes => bytes(number),
            Self::Rate => rate(number),
            Self::Share => format!("{:.0}%", number * 100.0),
            Self::Moment => value.as_u64().map_or_else(|| text(value), moment),
            Self::Duration => value.as_u64().map_or_else(|| text(value), duration),
            Self::Count => value.as_i64().map_or_else(|| text(value), count),
            Self::Text | Self::Flag => text(value),
        }
    }
}

/// One column of a list, or one line of what is shown of a single object.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field {
    /// Where it is: names of nested objects with dots between them.
    pub(crate) key: &'static str,
    /// What it is called.
    pub(crate) title: &'static str,
    pub(crate) kind: Kind,
}

impl Field {
    pub(crate) const fn text(key: &'static str, title: &'static str) -> Self {
        Self::new(key, title, Kind::Text)
    }

    pub(crate) const fn count(key: &'static str, title: &'static str) -> Self {
        Self::new(key, title, Kind::Count)
    }

    pub(crate) const fn new(key: &'static str, title: &'static str, kind: Kind) -> Self {
        Self { key, title, kind }
    }

    pub(crate) fn of(&self, object: &Value) -> String {
        self.kind.write(find(object, self.key))
    }
}

/// The value at a path with dots; null if there is none. A key that has dots itself is found too.
pub(crate) fn find<'a>(object: &'a Value, path: &str) -> &'a Value {
    if let Some(found) = object.get(path) {
        return found;
    }
    let Some((first, rest)) = path.split_once('.') else {
        return &Value::Null;
    };
    object
        .get(first)
        .map_or(&Value::Null, |inner| find(inner, rest))
}

/// The text at a path; empty if there is none.
pub(crate) fn find_str<'a>(object: &'a Value, path: &str) -> &'a str {
    find(object, path).as_str().unwrap_or_default()
}

/// A value in one line.
pub(crate) fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => number.to_string(),
        Value::Array(items) if items.iter().all(is_scalar) => {
            items.iter().map(text).collect::<Vec<_>>().join(", ")
        }
        Value::Object(fields) if fields.is_empty() => String::new(),
        Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

fn is_scalar(value: &Value) -> bool {
    !value.is_array() && !value.is_object()
}

/// `1,234,567`.
pub(crate) fn count(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut grouped = String::with_capacity(digits.len() * 4 / 3 + 1);
    if number < 0 {
        grouped.push('-');
    }
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// `0 B`, `1.5 KiB`, `20 MiB`.
pub(crate) fn bytes(number: f64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if number.abs() < 1024.0 {
        return format!("{number:.0} B");
    }
    let mut scaled = number;
    let mut unit = "B";
    for next in UNITS {
        scaled /= 1024.0;
        unit = next;
        if scaled.abs() < 1024.0 {
            break;
        }
    }
    if scaled.abs() < 10.0 {
        format!("{scaled:.1} {unit}")
    } else {
        format!("{scaled:.0} {unit}")
    }
}

/// `0`, `0.4/s`, `1,200/s`.
pub(crate) fn rate(number: f64) -> String {
    if number == 0.0 {
        return "0".to_owned();
    }
    if number.abs() < 10.0 {
        return format!("{number:.1}/s");
    }
    let whole = format!("{number:.0}");
    match whole.parse() {
        Ok(whole) => format!("{}/s", count(whole)),
        Err(_) => format!("{whole}/s"),
    }
}

/// `3 d 4 h`, `12 s`, `340 ms`: the two greatest units.
pub(crate) fn duration(ms: u64) -> String {
    const UNITS: [(&str, u64); 4] = [("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)];
    if ms < 1000 {
        return format!("{ms} ms");
    }
    let seconds = ms / 1000;
    let Some(at) = UNITS.iter().position(|(_, unit)| seconds >= *unit) else {
        return format!("{seconds} s");
    };
    let (name, unit) = UNITS[at];
    let mut written = format!("{} {name}", seconds / unit);
    if let Some((next, smaller)) = UNITS.get(at + 1) {
        let rest = seconds % unit / smaller;
        if rest > 0 {
            // Writing to a string cannot fail.
            let _ = write!(written, " {rest} {next}");
        }
    }
    written
}

/// `2026-01-31 08:15:00Z`, from milliseconds since 1970.
pub(crate) fn moment(ms: u64) -> String {
    let seconds = ms / 1000;
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}Z")
}

/// Year, month and day of a number of days since 1970-01-01, in the Gregorian calendar. Counts from a first of March,
/// so that the day that leap years have more is the last one, in eras of 400 years, after which all repeats.
fn civil(days: u64) -> (u64, u64, u64) {
    const ERA_DAYS: u64 = 146_097;
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / ERA_DAYS, shifted % ERA_DAYS);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1000), "1,000");
        assert_eq!(count(-1_234_567), "-1,234,567");
        assert_eq!(bytes(0.0), "0 B");
        assert_eq!(bytes(1023.0), "1023 B");
        assert_eq!(bytes(1536.0), "1.5 KiB");
        assert_eq!(bytes(20.0 * 1024.0 * 1024.0), "20 MiB");
        assert_eq!(rate(0.0), "0");
        assert_eq!(rate(0.4), "0.4/s");
        assert_eq!(rate(1234.4), "1,234/s");
    }

    #[test]
    fn durations_have_two_units_at_most() {
        assert_eq!(duration(340), "340 ms");
        assert_eq!(duration(12_999), "12 s");
        assert_eq!(duration(60_000), "1 min");
        assert_eq!(duration(273_600_000), "3 d 4 h");
    }

    #[test]
    fn moments_follow_the_calendar() {
        assert_eq!(moment(0), "1970-01-01 00:00:00Z");
        assert_eq!(moment(951_782_400_000), "2000-02-29 00:00:00Z");
        assert_eq!(moment(1_735_689_599_999), "2024-12-31 23:59:59Z");
        assert_eq!(moment(4_107_542_400_000), "2100-03-01 00:00:00Z");
    }

    #[test]
    fn fields_are_found_through_objects() {
        let object = json!({"a": {"b": {"c": 3}}, "d.e": true, "list": ["x", "y"]});
        assert_eq!(find(&object, "a.b.c"), 3);
        assert_eq!(find(&object, "d.e"), true);
        assert_eq!(find(&object, "a.x.c"), &Value::Null);
        assert_eq!(Field::text("list", "LIST").of(&object), "x, y");
        assert_eq!(Field::new("d.e", "D", Kind::Flag).of(&object), "yes");
        assert_eq!(Field::count("none", "NONE").of(&object), "");
    }
}
