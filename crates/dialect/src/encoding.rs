//! How counts and times are written.

use tidegate_core::{Span, Timestamp};

/// How a time is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimeEncoding {
    /// Whole seconds from now, rounded up: `45`.
    Seconds,
    /// Seconds from now with as many of six decimals as it takes: `0.069787`.
    DecimalSeconds,
    /// Whole milliseconds from now, rounded up.
    Milliseconds,
    /// Whole seconds since 1970, rounded up: `1706774460`.
    UnixSeconds,
    /// Whole milliseconds since 1970, rounded up.
    UnixMilliseconds,
}

/// Every encoding of a time by its name.
pub(crate) const TIME_ENCODINGS: [(&str, TimeEncoding); 5] = [
    ("seconds", TimeEncoding::Seconds),
    ("decimal-seconds", TimeEncoding::DecimalSeconds),
    ("milliseconds", TimeEncoding::Milliseconds),
    ("unix-seconds", TimeEncoding::UnixSeconds),
    ("unix-milliseconds", TimeEncoding::UnixMilliseconds),
];

impl TimeEncoding {
    pub(crate) fn named(name: &str) -> Option<TimeEncoding> {
        TIME_ENCODINGS.iter().find(|(known, _)| *known == name).map(|(_, encoding)| *encoding)
    }

    pub(crate) fn is_instant(self) -> bool {
        matches!(self, TimeEncoding::UnixSeconds | TimeEncoding::UnixMilliseconds)
    }

    /// The number that stands for `span` from `now`. Rounded up: what is written is never earlier than what was meant.
    pub(crate) fn number(self, span: Span, now: Timestamp) -> Number {
        let until = now.plus(span).as_micros();
        match self {
            TimeEncoding::Seconds => Number::Whole(span.as_secs_ceil()),
            TimeEncoding::DecimalSeconds => Number::Millionths(span.as_micros()),
            TimeEncoding::Milliseconds => Number::Whole(span.as_micros().div_ceil(1_000)),
            TimeEncoding::UnixSeconds => Number::Whole(until.div_ceil(1_000_000)),
            TimeEncoding::UnixMilliseconds => Number::Whole(until.div_ceil(1_000)),
        }
    }
}

/// A number as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Number {
    /// A whole number.
    Whole(u64),
    /// A number of millionths, written as a decimal without trailing zeros.
    Millionths(u64),
}

impl Number {
    pub(crate) fn write(self, out: &mut String) {
        match self {
            Number::Whole(number) => whole(number, out),
            Number::Millionths(number) => {
                whole(number / 1_000_000, out);
                fraction(number % 1_000_000, 6, out);
            }
        }
    }
}

/// Writes a whole number.
pub(crate) fn whole(number: u64, out: &mut String) {
    out.push_str(itoa::Buffer::new().format(number));
}

/// Writes a point and a fraction of so many digits, without zeros at its end; nothing of zero.
pub(crate) fn fraction(parts: u64, mut digits: u32, out: &mut String) {
    if parts == 0 {
        return;
    }
    let mut parts = parts;
    while parts.is_multiple_of(10) {
        parts /= 10;
        digits -= 1;
    }
    out.push('.');
    // The leading one keeps the zeros behind the point.
    out.push_str(&itoa::Buffer::new().format(parts + 10_u64.pow(digits))[1..]);
}
