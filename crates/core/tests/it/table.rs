//! How the tables in `tests/data` are written: `#` begins a comment, columns are separated by two blanks or more,
//! instants and spans are sums like `1s+250us`.

use std::path::Path;

use tidegate_core::{Algorithm, Align, Calendar, Quota, Span, Timestamp, Wait};

/// One line that says something.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// Where it is, for a failure's message.
    pub(crate) place: String,
    pub(crate) columns: Vec<String>,
}

impl Row {
    pub(crate) fn column(&self, index: usize) -> &str {
        self.columns.get(index).unwrap_or_else(|| panic!("{}: column {} is missing", self.place, index + 1))
    }
}

/// All rows of a table, in order.
pub(crate) fn read(name: &str) -> Vec<Row> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut rows = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let said = line.split('#').next().unwrap_or_default();
        let columns: Vec<String> =
            said.split("  ").map(str::trim).filter(|column| !column.is_empty()).map(str::to_owned).collect();
        if !columns.is_empty() {
            rows.push(Row { place: format!("{name}:{number}: {}", said.trim()), columns });
        }
    }
    assert!(!rows.is_empty(), "{name} says nothing");
    rows
}

/// `1s+250us`, `-` for none.
pub(crate) fn span(text: &str) -> Span {
    if text == "-" {
        return Span::ZERO;
    }
    Span::from_micros(text.split('+').map(micros).sum())
}

/// A span since 1970.
pub(crate) fn instant(text: &str) -> Timestamp {
    Timestamp::from_micros(0).plus(span(text))
}

/// `-`, a span, `release` or `never`.
pub(crate) fn wait(text: &str) -> Wait {
    match text {
        "-" => Wait::None,
        "release" => Wait::Release,
        "never" => Wait::Never,
        _ => Wait::For(span(text)),
    }
}

/// `3`, `2^53-1`.
pub(crate) fn units(text: &str) -> u64 {
    let (power, less) = text.split_once('-').unwrap_or((text, "0"));
    let power = match power.split_once('^') {
        Some((base, exponent)) => base.parse::<u64>().unwrap().pow(exponent.parse().unwrap()),
        None => power.parse().unwrap_or_else(|_| panic!("{text:?} is no number of units")),
    };
    power - less.parse::<u64>().unwrap()
}

/// `4 per 1s, token bucket, burst 8`, `3, concurrency`, `4 per 1s, fixed window, from the first` or
/// `4, fixed window, windows of 23h 25h`.
pub(crate) fn rule(text: &str) -> (Algorithm, Quota) {
    let mut parts = text.split(", ");
    let quota = parts.next().unwrap();
    let (amount, window) = quota.split_once(" per ").unwrap_or((quota, "-"));
    let mut quota = Quota::per(units(amount), span(window));
    let mut words = parts.next().unwrap().split(' ');
    let algorithm = match words.next().unwrap() {
        "fixed" => Algorithm::FixedWindow,
        "sliding" => Algorithm::SlidingWindow { cells: words.nth(1).unwrap().parse().unwrap() },
        "token" => Algorithm::TokenBucket,
        "concurrency" => Algorithm::Concurrency,
        other => panic!("{other:?} is no algorithm"),
    };
    match parts.next() {
        None => {}
        Some("from the first") => quota.align = Align::First,
        Some(calendar) if calendar.starts_with("windows of") => quota = Quota::in_each(quota.amount, windows(calendar)),
        Some(burst) => quota.burst = units(burst.strip_prefix("burst ").unwrap()),
    }
    (algorithm, quota)
}

/// `windows of 23h 25h 24h`, one after the other from 1970 on.
fn windows(text: &str) -> Calendar {
    let mut starts = vec![Timestamp::ZERO];
    for length in text.strip_prefix("windows of ").unwrap().split(' ') {
        starts.push(starts.last().unwrap().plus(span(length)));
    }
    Calendar::leaked(text, starts).unwrap()
}

fn micros(text: &str) -> u64 {
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or_else(|| panic!("{text:?} has no unit"));
    let (number, unit) = text.split_at(digits);
    let unit = match unit {
        "us" => 1,
        "ms" => 1_000,
        "s" => 1_000_000,
        "min" => 60_000_000,
        "h" => 3_600_000_000,
        "d" => 86_400_000_000,
        _ => panic!("{text:?} has no unit of time"),
    };
    number.parse::<u64>().unwrap_or_else(|_| panic!("{text:?} is no span")) * unit
}
