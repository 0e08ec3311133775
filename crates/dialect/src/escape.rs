//! Text that others chose (attributes, names), made harmless for the place it is written to (P12).
//!
//! In headers and JSON, writing is injective up to its bound, so that two values that differ are not made one.

use std::fmt::Write as _;

use crate::bounds;

/// Writes text into a header's value: what is not visible ASCII is percent-encoded, and so is `%`.
pub(crate) fn header(text: &str, out: &mut String) {
    let keeps = |byte: u8| byte.is_ascii_graphic() & (byte != b'%');
    let text = cut(text, bounds::MAX_INSERTED_HEADER_BYTES);
    if all(text, keeps) {
        return out.push_str(text);
    }
    for byte in text.bytes() {
        if keeps(byte) { out.push(char::from(byte)) } else { percent(byte, out) }
    }
}

/// Writes text as a structured field's string, in quotes. It may have spaces; what else is not visible ASCII is
/// percent-encoded, and so is `%`.
pub(crate) fn structured(text: &str, out: &mut String) {
    let keeps = |byte: u8| (byte.is_ascii_graphic() | (byte == b' ')) & (byte != b'%');
    let text = cut(text, bounds::MAX_INSERTED_HEADER_BYTES);
    out.push('"');
    if all(text, |byte| keeps(byte) & (byte != b'"') & (byte != b'\\')) {
        out.push_str(text);
    } else {
        for byte in text.bytes() {
            match byte {
                b'"' => out.push_str("\\\""),
                b'\\' => out.push_str("\\\\"),
                _ if keeps(byte) => out.push(char::from(byte)),
                _ => percent(byte, out),
            }
        }
    }
    out.push('"');
}

fn percent(byte: u8, out: &mut String) {
    write!(out, "%{byte:02X}").expect("writing to a string does not fail");
}

/// Whether all bytes are such. Looks at every one, as that can be done to many at a time; most are as they should be.
fn all(text: &str, is_such: impl Fn(u8) -> bool) -> bool {
    text.bytes().fold(true, |all, byte| all & is_such(byte))
}

/// Writes text into a JSON string, without the quotes.
pub(crate) fn json(text: &str, out: &mut String) {
    let text = cut(text, bounds::MAX_INSERTED_BODY_BYTES);
    if all(text, |byte| matches!(byte, b' '..=b'~') & (byte != b'"') & (byte != b'\\')) {
        return out.push_str(text);
    }
    for char in text.chars() {
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
    &text[..text.floor_char_boundary(most)]
}
