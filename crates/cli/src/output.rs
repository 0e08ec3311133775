//! What goes to stdout: text for people, JSON for programs, colour for terminals only.

use std::io::{self, IsTerminal, Write};

use comfy_table::{ContentArrangement, ContentLineStyle, LineStyle, Table, TableStyle};
use serde::Serialize;
use tidegate_core::Span;
use tidegate_policy::Problems;
use tidegate_server::http::answer;

use crate::failure::Failure;

/// Writes text to stdout.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(|error| Failure::writing("stdout", &error))
}

/// Writes a value to stdout, as JSON on one line.
pub(crate) fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string(value).map_err(|error| Failure::because("cannot write JSON", &error))?;
    print(&format!("{text}\n"))
}

/// Whether stdout is read by a person.
pub(crate) fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Colours, where a person reads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paint {
    is_on: bool,
}

impl Paint {
    pub(crate) fn new(is_on: bool) -> Paint {
        Paint { is_on }
    }

    pub(crate) fn good(self, text: &str) -> String {
        self.painted("32", text)
    }

    pub(crate) fn bad(self, text: &str) -> String {
        self.painted("31", text)
    }

    pub(crate) fn bold(self, text: &str) -> String {
        self.painted("1", text)
    }

    pub(crate) fn dim(self, text: &str) -> String {
        self.painted("2", text)
    }

    fn painted(self, code: &str, text: &str) -> String {
        if self.is_on { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

/// A line under the heads, and no others: rows are told apart by their first column.
const LINES: TableStyle = TableStyle::new()
    .header_lines(ContentLineStyle::new(' ', ' ', ' '))
    .header_separator(LineStyle::new('─', '─', '─', '─'))
    .content_lines(ContentLineStyle::new(' ', ' ', ' '));

/// An empty table without heads.
pub(crate) fn bare_table() -> Table {
    let mut table = Table::new();
    table.load_style(LINES);
    table
}

/// An empty table. On a terminal it is as wide as that; elsewhere lines are as long as they need to be.
pub(crate) fn table<const N: usize>(heads: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(LINES).set_header(heads);
    let arrangement = if is_terminal() { ContentArrangement::Dynamic } else { ContentArrangement::Disabled };
    table.set_content_arrangement(arrangement);
    table
}

/// Problems as programs read them.
pub(crate) fn problems_as_json(problems: &Problems) -> Vec<serde_json::Value> {
    let as_json = |problem: &tidegate_policy::Problem| {
        serde_json::json!({
            "code": problem.code,
            "severity": problem.severity.name(),
            "file": problems.source_name(),
            "line": problem.line,
            "column": problem.column,
            "span": [problem.span.start, problem.span.end],
            "message": problem.message,
            "label": problem.label,
            "help": problem.help,
        })
    };
    problems.iter().map(as_json).collect()
}

/// A span as people say it: `1 d`, `2 h`, `1 min`, `5 s`, `500 ms` where that is whole, else in decimals of a second.
pub(crate) fn span(span: Span) -> String {
    let micros = span.as_micros();
    let units = [(86_400_000_000, "d"), (3_600_000_000, "h"), (60_000_000, "min"), (1_000_000, "s"), (1_000, "ms")];
    for (length, name) in units {
        if micros >= length && micros.is_multiple_of(length) && (name != "ms" || micros < 1_000_000) {
            return format!("{} {name}", micros / length);
        }
    }
    if micros < 1_000_000 {
        return format!("{micros} µs");
    }
    let mut text = String::new();
    answer::seconds(micros, &mut text);
    format!("{text} s")
}

/// So many of something: `1 limit`, `2 limits`.
pub(crate) fn counted(number: u64, what: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{} {what}{ending}", grouped(number))
}

/// A number with its thousands apart: `1,000,000`.
pub(crate) fn grouped(number: impl Into<u128>) -> String {
    let digits = number.into().to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_said_in_the_largest_whole_unit() {
        let cases = [
            (0, "0 µs"),
            (1, "1 µs"),
            (1_000, "1 ms"),
            (1_500_000, "1.5 s"),
            (3_333_334, "3.333334 s"),
            (40_500, "40500 µs"),
            (5_000_000, "5 s"),
            (90_000_000, "90 s"),
            (60_000_000, "1 min"),
            (7_200_000_000, "2 h"),
            (86_400_000_000, "1 d"),
        ];
        for (micros, text) in cases {
            assert_eq!(span(Span::from_micros(micros)), text);
        }
    }

    #[test]
    fn numbers_are_grouped_by_thousands() {
        for (number, text) in [(0_u64, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
    }
}
