//! Typed reading of TOML values with their places. What has the wrong shape becomes a problem, and reading goes on.

use std::ops::{Deref, Range};

use tidegate_core::{Timestamp, bounds};
use toml::Spanned;
use toml::de::{DeTable, DeValue};
use toml::value::{Datetime, Offset};

use crate::problem::{Problem, nearest};

/// Bytes of the text, from `start` up to `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Place {
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl Place {
    /// The point before a byte.
    pub(crate) fn at(start: usize) -> Place {
        Place { start, end: start }
    }
}

impl From<Range<usize>> for Place {
    fn from(range: Range<usize>) -> Place {
        Place { start: range.start, end: range.end }
    }
}

/// A string and its place in the text.
#[derive(Clone, Debug, Default)]
pub(crate) struct Text {
    value: String,
    /// The whole of it, quotes included.
    pub(crate) place: Place,
    /// Where its first character stands, if the text has it as it is, without escapes.
    verbatim_from: Option<usize>,
}

impl Text {
    /// The place of some of its bytes; the whole string if escapes hide it.
    pub(crate) fn part(&self, bytes: Range<usize>) -> Place {
        match self.verbatim_from {
            Some(from) => Place { start: from + bytes.start, end: from + bytes.end },
            None => self.place,
        }
    }

    /// The place of a slice of this very string.
    pub(crate) fn place_of(&self, slice: &str) -> Place {
        let start = slice.as_ptr().addr().wrapping_sub(self.value.as_ptr().addr());
        match start.checked_add(slice.len()) {
            Some(end) if end <= self.value.len() => self.part(start..end),
            _ => self.place,
        }
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        &self.value
    }
}

/// A value as the TOML reader gives it.
pub(crate) type Value<'i> = Spanned<DeValue<'i>>;

/// A key and its value.
#[derive(Clone, Debug)]
pub(crate) struct Field<'v, 'i> {
    pub(crate) key: Text,
    pub(crate) value: &'v Value<'i>,
}

impl Field<'_, '_> {
    /// The value's place.
    pub(crate) fn place(&self) -> Place {
        self.value.span().into()
    }
}

/// A table: its fields in the order of the text.
#[derive(Debug)]
pub(crate) struct Fields<'v, 'i> {
    /// Its header, or the whole inline table.
    pub(crate) place: Place,
    pub(crate) list: Vec<Field<'v, 'i>>,
}

impl<'v, 'i> Fields<'v, 'i> {
    /// The field of a key.
    pub(crate) fn get(&self, key: &str) -> Option<&Field<'v, 'i>> {
        self.list.iter().find(|field| &*field.key == key)
    }
}

/// What a value is, in the words of TOML.
pub(crate) fn type_of(value: &Value<'_>) -> &'static str {
    match value.get_ref() {
        DeValue::Array(items) if items.iter().any(|item| item.get_ref().is_table()) => "list of tables",
        DeValue::Array(_) => "list",
        DeValue::Datetime(_) => "date",
        other => other.type_str(),
    }
}

/// Reads values and keeps what is wrong with them.
#[derive(Debug)]
pub(crate) struct Reader<'t> {
    text: &'t str,
    pub(crate) problems: Vec<Problem>,
}

impl<'t> Reader<'t> {
    pub(crate) fn of(text: &'t str) -> Reader<'t> {
        Reader { text, problems: Vec::new() }
    }

    /// Notes a problem.
    pub(crate) fn note(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// All fields of the outermost table.
    pub(crate) fn document<'v, 'i>(&self, table: &'v Spanned<DeTable<'i>>) -> Fields<'v, 'i> {
        self.fields(Place::at(0), table.get_ref())
    }

    fn fields<'v, 'i>(&self, place: Place, table: &'v DeTable<'i>) -> Fields<'v, 'i> {
        let field = |(key, value): (&Spanned<_>, &'v Value<'i>)| Field { key: self.text_at(key), value };
        let mut list: Vec<Field<'v, 'i>> = table.iter().map(field).collect();
        list.sort_by_key(|field| field.key.place.start);
        Fields { place, list }
    }

    fn text_at(&self, value: &Spanned<std::borrow::Cow<'_, str>>) -> Text {
        self.located(value.get_ref(), value.span())
    }

    fn located(&self, value: &str, span: Range<usize>) -> Text {
        let raw = self.text.get(span.clone()).unwrap_or_default();
        let quotes =
            if raw == value { Some(0) } else { [1, 3].into_iter().find(|quotes| inside(raw, *quotes) == Some(value)) };
        let verbatim_from = quotes.map(|quotes| span.start + quotes);
        Text { value: value.to_owned(), place: span.into(), verbatim_from }
    }

    fn wrong_type(&mut self, key: &str, value: &Value<'_>, expected: &str) {
        self.note(Problem::wrong_type(value.span().into(), key, expected, type_of(value)));
    }

    /// A string, by the name of its key.
    fn text_under(&mut self, key: &str, value: &Value<'_>, expected: &str) -> Option<Text> {
        match value.get_ref() {
            DeValue::String(text) => Some(self.located(text, value.span())),
            _ => {
                self.wrong_type(key, value, expected);
                None
            }
        }
    }

    /// A string.
    pub(crate) fn text(&mut self, field: &Field<'_, '_>) -> Option<Text> {
        self.text_under(&field.key, field.value, "a string")
    }

    /// A string or a list of strings, with at least one.
    pub(crate) fn texts(&mut self, field: &Field<'_, '_>, help_if_empty: &str) -> Option<Vec<Text>> {
        let items = self.items(field, "a string or a list of strings")?;
        if items.is_empty() {
            self.note(Problem::empty(field.place(), &field.key, help_if_empty));
        }
        Some(items.into_iter().filter_map(|item| self.text_under(&field.key, item, "a string")).collect())
    }

    /// A list's items, or the one item that stands for a list of one: a string or a table.
    pub(crate) fn items<'v, 'i>(&mut self, field: &Field<'v, 'i>, expected: &str) -> Option<Vec<&'v Value<'i>>> {
        match field.value.get_ref() {
            DeValue::Array(items) => Some(items.iter().collect()),
            DeValue::String(_) => Some(vec![field.value]),
            DeValue::Table(_) if expected.contains("table") => Some(vec![field.value]),
            _ => {
                self.wrong_type(&field.key, field.value, expected);
                None
            }
        }
    }

    /// True or false.
    pub(crate) fn boolean(&mut self, field: &Field<'_, '_>) -> Option<bool> {
        let value = field.value.get_ref().as_bool();
        if value.is_none() {
            self.wrong_type(&field.key, field.value, "`true` or `false`");
        }
        value
    }

    /// A whole number from 1 to `most`.
    pub(crate) fn whole(&mut self, field: &Field<'_, '_>, most: u16) -> Option<u16> {
        let Some(integer) = field.value.get_ref().as_integer() else {
            self.wrong_type(&field.key, field.value, "a whole number");
            return None;
        };
        let number = u16::from_str_radix(integer.as_str(), integer.radix()).ok();
        let number = number.filter(|number| (1..=most).contains(number));
        if number.is_none() {
            let expected = format!("1 to {most}");
            self.note(Problem::out_of_range(field.place(), &field.key, &expected, integer.as_str()));
        }
        number
    }

    /// A whole number that can be an amount.
    pub(crate) fn amount(&mut self, field: &Field<'_, '_>) -> Option<u64> {
        let Some(integer) = field.value.get_ref().as_integer() else {
            self.wrong_type(&field.key, field.value, "a whole number");
            return None;
        };
        let number = u64::from_str_radix(integer.as_str(), integer.radix()).ok();
        let number = number.filter(|number| *number <= bounds::MAX_AMOUNT);
        if number.is_none() {
            let expected = format!("0 to {}", bounds::MAX_AMOUNT);
            self.note(Problem::out_of_range(field.place(), &field.key, &expected, integer.as_str()));
        }
        number
    }

    /// A table with keys of the operator's choice.
    pub(crate) fn table<'v, 'i>(&mut self, key: &str, value: &'v Value<'i>) -> Option<Fields<'v, 'i>> {
        match value.get_ref() {
            DeValue::Table(table) => Some(self.fields(value.span().into(), table)),
            _ => {
                self.wrong_type(key, value, "a table");
                None
            }
        }
    }

    /// A table with fixed keys; any other is a problem.
    pub(crate) fn record<'v, 'i>(
        &mut self,
        key: &str,
        value: &'v Value<'i>,
        whole: &str,
        known: &[&str],
    ) -> Option<Fields<'v, 'i>> {
        let fields = self.table(key, value)?;
        for field in fields.list.iter().filter(|field| !known.contains(&&*field.key)) {
            self.note(Problem::unknown_key(&field.key, whole, known));
        }
        Some(fields)
    }

    /// The field of a key that must be there. A misspelt one was noted as unknown, and is not also missing.
    pub(crate) fn required<'f, 'v, 'i>(
        &mut self,
        fields: &'f Fields<'v, 'i>,
        key: &str,
        whole: &str,
        example: &str,
    ) -> Option<&'f Field<'v, 'i>> {
        let field = fields.get(key);
        let is_misspelt = || fields.list.iter().any(|field| nearest(&field.key, &[key]).is_some());
        if field.is_none() && !is_misspelt() {
            self.note(Problem::missing_key(fields.place, key, whole, example));
        }
        field
    }

    /// A date or a date and time, in UTC unless it says otherwise; as TOML has it or as a string.
    pub(crate) fn instant(&mut self, field: &Field<'_, '_>) -> Option<Timestamp> {
        let (date, written) = match field.value.get_ref() {
            DeValue::Datetime(date) => (Some(*date), date.to_string()),
            DeValue::String(text) => (text.parse().ok(), text.clone().into_owned()),
            _ => {
                self.wrong_type(&field.key, field.value, "a date");
                return None;
            }
        };
        match date.ok_or("expected year, month and day, as `2020-05-28`").and_then(timestamp) {
            Ok(instant) => Some(instant),
            Err(label) => {
                self.note(Problem::bad_date(field.place(), &written, label));
                None
            }
        }
    }
}

fn inside(raw: &str, quotes: usize) -> Option<&str> {
    raw.get(quotes..raw.len().checked_sub(quotes)?)
}

/// The instant that a date and time mean; without a time midnight, without an offset UTC.
fn timestamp(date: Datetime) -> Result<Timestamp, &'static str> {
    let day = date.date.ok_or("a time without a date")?;
    let days = days_since_1970(i64::from(day.year), i64::from(day.month), i64::from(day.day));
    let (seconds, nanos) = date.time.map_or((0, 0), |time| {
        let minutes = i64::from(time.hour) * 60 + i64::from(time.minute);
        (minutes * 60 + i64::from(time.second.unwrap_or(0)), time.nanosecond.unwrap_or(0))
    });
    let offset = match date.offset {
        Some(Offset::Custom { minutes }) => i64::from(minutes) * 60,
        Some(Offset::Z) | None => 0,
    };
    let seconds = u64::try_from(days * 86_400 + seconds - offset).map_err(|_| "before 1970")?;
    Ok(Timestamp::from_micros(seconds * 1_000_000 + u64::from(nanos / 1_000)))
}

/// Days from 1970-01-01 to a day of the Gregorian calendar.
///
/// The year begins in March here, so that the leap day is its last: 153 days in any five months, then whole years of
/// 365 days with their leap days.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leap_days + (month * 153 + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::{Datetime, timestamp};

    #[test]
    fn dates_are_instants() {
        for (written, seconds) in [
            ("1970-01-01", Ok(0)),
            ("2000-02-29", Ok(951_782_400)),
            ("2000-03-01", Ok(951_868_800)),
            ("2020-05-28", Ok(1_590_624_000)),
            ("2020-05-28T01:00:00", Ok(1_590_627_600)),
            ("2020-05-28T01:00:00+01:00", Ok(1_590_624_000)),
            ("9999-12-31T23:59:59Z", Ok(253_402_300_799)),
            ("1969-12-31", Err("before 1970")),
            ("1970-01-01T00:00:00+00:01", Err("before 1970")),
            ("01:00:00", Err("a time without a date")),
        ] {
            let date: Datetime = written.parse().expect("a date of TOML");
            assert_eq!(
                timestamp(date).map(|instant| instant.as_micros()),
                seconds.map(|s: u64| s * 1_000_000),
                "{written}"
            );
        }
    }
}
