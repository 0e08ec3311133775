//! What is wrong with a dialect's file: every problem at once, each with its place.

use std::fmt;

/// One problem of a dialect's file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DialectError {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What was expected and what was found.
    pub message: String,
}

impl fmt::Display for DialectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.message)
    }
}

/// Everything that is wrong with a dialect's file, in the order of the file. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DialectErrors {
    name: String,
    list: Vec<DialectError>,
}

impl DialectErrors {
    pub(crate) fn new(name: &str, mut list: Vec<DialectError>) -> DialectErrors {
        list.sort();
        list.dedup();
        DialectErrors { name: name.to_owned(), list }
    }

    /// The dialect's name, as it was given to the parser.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The problems, in the order of the file.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &DialectError> {
        self.list.iter()
    }
}

impl fmt::Display for DialectErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.list.iter().enumerate() {
            let line_break = if index == 0 { "" } else { "\n" };
            write!(f, "{line_break}{}:{error}", self.name)?;
        }
        Ok(())
    }
}

impl std::error::Error for DialectErrors {}

/// Bytes of the longest letter. Names whose lengths differ by more than the letters that may differ need not be compared.
const MAX_LETTER_BYTES: usize = 4;

/// The name among `known` that `found` was probably meant to be: at most two letters differ, and fewer than its own.
pub(crate) fn nearest<'k>(found: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let budget = 2.min(found.chars().count().saturating_sub(1));
    known
        .into_iter()
        .filter(|name| name.len().abs_diff(found.len()) <= MAX_LETTER_BYTES * budget)
        .map(|name| (strsim::levenshtein(found, name), name))
        .filter(|(distance, _)| *distance <= budget)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// "`did you mean …`" if there is a near name, as the end of a message.
pub(crate) fn suggestion<'k>(found: &str, known: impl IntoIterator<Item = &'k str>) -> String {
    nearest(found, known).map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
}
