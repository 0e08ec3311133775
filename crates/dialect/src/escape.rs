//! Text that others chose (attributes, names), made harmless for the place it is written to (P12).
//!
//! In headers and JSON, writing is injective up to its bound, so that two values that differ are not made one.

use std::fmt::Write as _;

use crate::bounds;

/// Writes text into a header's value: what is not visible ASCII is percent-encoded, and so is `%`.
pub(crate) fn header(text: &str, out: &mut String) {
    percent(text, |byte| byte.is_ascii_graphic() && byte != b'%', out);
}

/// Writes text for a structured field's string, which is quoted and may have spaces.
pub(crate) fn structured(text: &str, out: &mut String) {
    percent(text, keeps_structured, out);
}

/// Whether [`structured`] would write a text as it is.
pub(crate) fn is_structured(text: &str) -> bool {
    text.len() <= bounds::MAX_INSERTED_HEADER_BYTES && text.bytes().all(keeps_structured)
}

fn keeps_structured(byte: u8) -> bool {
    byte == b' ' || (byte.is_ascii_graphic() && byte != b'%')
}

fn percent(text: &str, keeps: impl Fn(u8) -> bool, out: &mut String) {
    for byte in cut(text, bounds::MAX_INSERTED_HEADER_BYTES).bytes() {
        if keeps(byte) {
            out.push(char::from(byte));
        } else {
            write!(out, "%{byte:02X}").expect("writing to a string does not fail");
        }
    }
}

/// Writes text into a JSON string, without the quotes.
pub(crate) fn json(text: &str, out: &mut String) {
    for char in cut(text, bounds::MAX_INSERTED_BODY_BYTES).chars() {
        match char {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            // Line separators end a string literal in older JavaScript.
            '\0'..='\x1f' | '\x7f' | '\u{2028}' | '\u{2029}' => {
                write!(out, "\\u{:04x}", u32::from(char)).expect("writing to a string does not fail");
            }
            _ => out.push(char),
        }
    }
}

/// Writes text into a plain body: control characters are replaced.
pub(crate) fn plain(text: &str, out: &mut String) {
    let text = cut(text, bounds::MAX_INSERTED_BODY_BYTES);
    out.extend(text.chars().map(|char| if char.is_control() { char::REPLACEMENT_CHARACTER } else { char }));
}

/// The first `most` bytes of a text, less what would be half a character.
fn cut(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or(0)]
}
