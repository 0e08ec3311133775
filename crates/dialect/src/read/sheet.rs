//! A dialect's TOML text being read: entries in the order written, and problems with their places.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

use crate::DialectError;
use crate::problem::suggestion;

/// The text, and what was found wrong with it so far.
pub(super) struct Sheet<'t> {
    text: &'t str,
    pub(super) errors: Vec<DialectError>,
    /// Words that templates use, and where.
    pub(super) words_used: Vec<(Box<str>, usize)>,
}

/// One key of a table and its value.
#[derive(Clone)]
pub(super) struct Entry<'v> {
    pub(super) key: &'v str,
    pub(super) value: &'v DeValue<'v>,
    /// Where the key stands.
    pub(super) at: usize,
    /// Where the value stands.
    pub(super) span: Range<usize>,
}

/// A table and where it begins.
#[derive(Clone, Copy)]
pub(super) struct Section<'v> {
    pub(super) fields: &'v DeTable<'v>,
    pub(super) at: usize,
}

impl<'t> Sheet<'t> {
    pub(super) fn new(text: &'t str) -> Sheet<'t> {
        Sheet { text, errors: Vec::new(), words_used: Vec::new() }
    }

    /// Notes a problem at a byte of the text.
    pub(super) fn error(&mut self, at: usize, message: String) {
        let before = self.text.get(..at).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |line_break| line_break + 1);
        let line = before.matches('\n').count() + 1;
        let column = before[line_start..].chars().count() + 1;
        self.errors.push(DialectError { line, column, message });
    }

    /// Notes a problem at a byte of a string's value. `span` is where the string stands with its quotes. The place is
    /// exact where the string has no escapes before it.
    pub(super) fn error_in(&mut self, value: &str, span: &Range<usize>, at: usize, message: String) {
        let written = self.text.get(span.clone()).unwrap_or_default();
        let start = written.find(value).map_or(span.start, |quotes| span.start + quotes + at);
        self.error(start, message);
    }

    /// Notes every key that is not among the known ones.
    pub(super) fn known(&mut self, fields: &DeTable<'_>, of: &str, known: &[&str]) {
        for entry in entries(fields).into_iter().filter(|entry| !known.contains(&entry.key)) {
            let near = suggestion(entry.key, known.iter().copied());
            let message = format!("unknown key `{}`: {of} has `{}`{near}", entry.key, known.join("`, `"));
            self.error(entry.at, message);
        }
    }

    /// The table under `key`, if there is one.
    pub(super) fn table<'v>(&mut self, fields: &'v DeTable<'v>, key: &str) -> Option<Section<'v>> {
        let (value, at) = find(fields, key)?;
        match value {
            DeValue::Table(fields) => Some(Section { fields, at }),
            other => {
                self.error(at, format!("expected `{key}` to be a table, found {}", other.type_str()));
                None
            }
        }
    }

    /// The tables under `key`, at most `most`.
    pub(super) fn tables<'v>(&mut self, fields: &'v DeTable<'v>, key: &str, most: usize) -> Vec<Section<'v>> {
        let Some((value, at)) = find(fields, key) else { return Vec::new() };
        let DeValue::Array(list) = value else {
            self.error(at, format!("expected tables `[[{key}]]`, found {}", value.type_str()));
            return Vec::new();
        };
        if list.len() > most {
            self.error(at, format!("{} tables `[[{key}]]`, at most {most} are allowed", list.len()));
        }
        let mut tables = Vec::new();
        for item in list.iter().take(most) {
            let at = item.span().start;
            match item.get_ref() {
                DeValue::Table(fields) => tables.push(Section { fields, at }),
                other => self.error(at, format!("expected a table `[[{key}]]`, found {}", other.type_str())),
            }
        }
        tables
    }

    /// The entries of a table, at most `most`.
    pub(super) fn bounded<'v>(
        &mut self,
        fields: &'v DeTable<'v>,
        at: usize,
        most: usize,
        what: &str,
    ) -> Vec<Entry<'v>> {
        let mut found = entries(fields);
        if found.len() > most {
            self.error(at, format!("{} {what}, at most {most} are allowed", found.len()));
            found.truncate(most);
        }
        found
    }

    /// The text under `key` and where it stands; a problem if there is none.
    pub(super) fn text(&mut self, fields: &DeTable<'_>, key: &str, at: usize) -> Option<(String, Range<usize>)> {
        if !fields.contains_key(key) {
            self.error(at, format!("expected `{key}`, a text"));
        }
        self.optional_text(fields, key)
    }

    /// The text under `key`, if there is one.
    pub(super) fn optional_text(&mut self, fields: &DeTable<'_>, key: &str) -> Option<(String, Range<usize>)> {
        let value = fields.get(key)?;
        let text = value.get_ref().as_str();
        if text.is_none() {
            let message = format!("expected `{key}` to be a text, found {}", value.get_ref().type_str());
            self.error(value.span().start, message);
        }
        Some((text?.to_owned(), value.span()))
    }

    /// The text or texts under `key`; a problem if there are none.
    pub(super) fn texts(
        &mut self,
        fields: &DeTable<'_>,
        key: &str,
        at: usize,
        expected: &str,
    ) -> Option<Vec<Box<str>>> {
        if !fields.contains_key(key) {
            self.error(at, format!("expected `{key}`: {expected}"));
        }
        self.optional_texts(fields, key, expected)
    }

    /// The text or texts under `key`, if there are any.
    pub(super) fn optional_texts(&mut self, fields: &DeTable<'_>, key: &str, expected: &str) -> Option<Vec<Box<str>>> {
        let value = fields.get(key)?;
        let texts: Option<Vec<Box<str>>> = match value.get_ref() {
            DeValue::String(text) => Some(vec![(**text).into()]),
            DeValue::Array(list) => list.iter().map(|item| item.get_ref().as_str().map(Into::into)).collect(),
            _ => None,
        };
        let texts = texts.filter(|texts| !texts.is_empty());
        if texts.is_none() {
            self.error(value.span().start, format!("expected `{key}` to be {expected}"));
        }
        texts
    }
}

/// The value under `key` and where it stands.
pub(super) fn find<'v>(fields: &'v DeTable<'v>, key: &str) -> Option<(&'v DeValue<'v>, usize)> {
    let (key, value) = fields.get_key_value(key)?;
    Some((value.get_ref(), key.span().start))
}

/// Where the value under `key` stands.
pub(super) fn value_at(fields: &DeTable<'_>, key: &str) -> Option<usize> {
    fields.get(key).map(|value| value.span().start)
}

/// The entries of a table in the order written.
fn entries<'v>(fields: &'v DeTable<'v>) -> Vec<Entry<'v>> {
    let mut entries: Vec<Entry<'v>> = fields
        .iter()
        .map(|(key, value)| Entry {
            key: key.get_ref(),
            value: value.get_ref(),
            at: key.span().start,
            span: value.span(),
        })
        .collect();
    entries.sort_by_key(|entry| entry.at);
    entries
}
