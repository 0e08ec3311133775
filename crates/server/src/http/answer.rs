//! A decision as JSON: the answer of `/v1/check`, an entry of `/v1/limits`, a line of `simulate --decisions`.
//!
//! Written by hand, not by a serialiser: instants and spans become decimals of seconds without a float in between, so
//! that they are exact to the microsecond whatever the year.

use std::fmt::Write;

use tidegate_core::{Decision, Ruling, Span, Timestamp, Wait};
use tidegate_dialect::Fields;

/// What an answer has beside the decision.
#[derive(Clone, Copy, Debug, Default)]
pub struct Beside<'a> {
    /// A line of a simulation begins with `t`, the instant it was asked.
    pub t: Option<Timestamp>,
    /// The id of the reservation that was made.
    pub reservation: Option<&'a str>,
}

/// Writes a decision and how its dialect words it.
pub fn write(decision: &Decision<'_>, fields: &Fields, beside: Beside<'_>, out: &mut String) {
    let policy = decision.demand().policy();
    out.push('{');
    if let Some(t) = beside.t {
        out.push_str("\"t\":");
        seconds(t.as_micros(), out);
        out.push(',');
    }
    out.push_str(if decision.is_admitted() { "\"allowed\":true,\"policy\":" } else { "\"allowed\":false,\"policy\":" });
    string(policy.name(), out);
    out.push_str(",\"version\":");
    number(policy.version(), out);
    out.push_str(",\"binding\":");
    match decision.binding() {
        Some(binding) => string(binding.name(), out),
        None => out.push_str("null"),
    }
    out.push_str(",\"limits\":[");
    separated(decision.rulings(), out, |ruling, out| {
        out.push('{');
        limit(&ruling, decision.at(), out);
        out.push('}');
    });
    out.push_str("],\"headers\":{");
    separated(fields.headers(), out, |(name, value), out| {
        // A header's name is a token, and its value has no control characters: neither is looked at for them.
        out.push('"');
        out.push_str(name);
        out.push_str("\":\"");
        quoted(value, out);
        out.push('"');
    });
    out.push_str("},\"status\":");
    number(fields.status.into(), out);
    if let Some(text) = fields.body() {
        out.push_str(",\"body\":");
        if fields.has_json_body() { out.push_str(text) } else { body(text, out) }
    }
    if let Some(id) = beside.reservation {
        out.push(',');
        member("reservation", id, out);
    }
    out.push('}');
}

/// Writes the members of one limit's part in a decision that was made at `at`.
pub(super) fn limit(ruling: &Ruling<'_>, at: Timestamp, out: &mut String) {
    let (rule, status) = (ruling.rule(), ruling.status);
    out.push_str("\"name\":");
    string(ruling.name(), out);
    out.push_str(",\"limit\":");
    number(rule.limit(), out);
    out.push_str(",\"remaining\":");
    number(status.remaining, out);
    out.push_str(",\"window_s\":");
    window(rule.window_at(at), out);
    out.push_str(",\"reset_at\":");
    seconds(at.plus(status.reset_after).as_micros(), out);
    out.push_str(",\"reset_after_s\":");
    seconds(status.reset_after.as_micros(), out);
    out.push_str(",\"retry_after_s\":");
    match status.retry_after {
        Wait::None => out.push_str("0.0"),
        Wait::For(span) => seconds(span.as_micros(), out),
        Wait::Release | Wait::Never => out.push_str("null"),
    }
    out.push_str(",\"mode\":");
    string(ruling.charge.limit().mode().name(), out);
    if let Some(basis) = ruling.basis.name() {
        out.push(',');
        member("basis", basis, out);
    }
}

/// Writes a member whose value is a string.
pub(super) fn member(name: &str, value: &str, out: &mut String) {
    string(name, out);
    out.push(':');
    string(value, out);
}

/// Writes items with commas between them.
pub(super) fn separated<T>(items: impl Iterator<Item = T>, out: &mut String, mut one: impl FnMut(T, &mut String)) {
    for (index, item) in items.enumerate() {
        if index > 0 {
            out.push(',');
        }
        one(item, out);
    }
}

/// Writes microseconds as seconds: a decimal point and one to six decimals.
pub fn seconds(micros: u64, out: &mut String) {
    number(micros / 1_000_000, out);
    if micros.is_multiple_of(1_000_000) {
        return out.push_str(".0");
    }
    // The leading one keeps the zeros behind the point.
    let mut fraction = micros % 1_000_000 + 1_000_000;
    while fraction.is_multiple_of(10) {
        fraction /= 10;
    }
    out.push('.');
    out.push_str(&itoa::Buffer::new().format(fraction)[1..]);
}

/// Writes a whole number. An answer has a dozen of them, and each would cost ten times as much by `write!`.
fn number(number: u64, out: &mut String) {
    out.push_str(itoa::Buffer::new().format(number));
}

/// Writes a JSON string.
pub fn string(text: &str, out: &mut String) {
    out.push('"');
    // Looks at every byte, as that can be done to many at a time, and most texts have nothing to be escaped.
    let is_plain = |byte: u8| (byte >= 0x20) & (byte != b'"') & (byte != b'\\');
    if text.bytes().fold(true, |all, byte| all & is_plain(byte)) {
        out.push_str(text);
    } else {
        escaped(text, out);
    }
    out.push('"');
}

/// Writes text without control characters for a JSON string.
fn quoted(text: &str, out: &mut String) {
    let mut rest = text;
    while let Some(length) = memchr::memchr2(b'"', b'\\', rest.as_bytes()) {
        let (plain, from) = rest.split_at(length);
        out.push_str(plain);
        out.push_str(if from.starts_with('"') { "\\\"" } else { "\\\\" });
        rest = &from[1..];
    }
    out.push_str(rest);
}

fn escaped(text: &str, out: &mut String) {
    for char in text.chars() {
        match char {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\0'..' ' => {
                let _ = write!(out, "\\u{:04x}", u32::from(char));
            }
            char => out.push(char),
        }
    }
}

/// The window in seconds, a whole number where it is one; `null` for what is not counted in windows.
fn window(window: Span, out: &mut String) {
    let micros = window.as_micros();
    if micros == 0 {
        out.push_str("null");
    } else if micros.is_multiple_of(1_000_000) {
        number(micros / 1_000_000, out);
    } else {
        seconds(micros, out);
    }
}

/// The dialect's body: JSON as it stands if it is JSON, a string otherwise. On one line, as a line of a file must be.
fn body(text: &str, out: &mut String) {
    let is_line = !text.bytes().any(|byte| matches!(byte, b'\n' | b'\r'));
    match serde_json::from_str::<serde_json::Value>(text) {
        Ok(_) if is_line => out.push_str(text),
        Ok(value) => {
            let _ = write!(out, "{value}");
        }
        Err(_) => string(text, out),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut String)) -> String {
        let mut out = String::new();
        write(&mut out);
        out
    }

    #[test]
    fn seconds_are_exact_to_the_microsecond() {
        let cases = [
            (0, "0.0"),
            (1, "0.000001"),
            (12_500_000, "12.5"),
            (1_706_774_460_000_000, "1706774460.0"),
            (1_706_774_400_100_000, "1706774400.1"),
            (1_706_774_400_123_456, "1706774400.123456"),
            // No double has this value.
            (253_402_300_799_000_001, "253402300799.000001"),
        ];
        for (micros, text) in cases {
            assert_eq!(written(|out| seconds(micros, out)), text);
        }
    }

    #[test]
    fn numbers_are_written_as_the_library_writes_them() {
        let powers = (0..20).map(|power| 10_u64.pow(power));
        let around = powers.flat_map(|power| [power - 1, power, power + 1, power.saturating_mul(7)]);
        for micros in around.chain([u64::MAX - 1, u64::MAX]) {
            assert_eq!(written(|out| number(micros, out)), micros.to_string());
            let decimals = format!("{:06}", micros % 1_000_000);
            let kept = decimals.trim_end_matches('0').len().max(1);
            let expected = format!("{}.{}", micros / 1_000_000, &decimals[..kept]);
            assert_eq!(written(|out| seconds(micros, out)), expected, "{micros}");
        }
    }

    #[test]
    fn windows_are_whole_where_they_can_be() {
        let cases = [(0, "null"), (60_000_000, "60"), (1_000, "0.001"), (1_500_000, "1.5")];
        for (micros, text) in cases {
            assert_eq!(written(|out| window(Span::from_micros(micros), out)), text);
        }
    }

    #[test]
    fn strings_are_read_back_as_they_were() {
        for text in ["", "plain", "\"\\\n\r\t\u{0}\u{1f}\u{7f}", "grüße 🌊", "a\"b\"c", "\"", "\\", "\u{1f}", "\u{7f}"]
        {
            let json = written(|out| string(text, out));
            assert_eq!(serde_json::from_str::<String>(&json).expect(&json), text);
        }
    }

    #[test]
    fn bodies_stay_on_their_line() {
        let cases = [
            ("{\"a\":1}", "{\"a\":1}"),
            ("{ \"a\": 1 }", "{ \"a\": 1 }"),
            ("{\n\"a\":1}", "{\"a\":1}"),
            ("slow down\n", "\"slow down\\n\""),
        ];
        for (text, json) in cases {
            assert_eq!(written(|out| body(text, out)), json);
        }
    }
}
