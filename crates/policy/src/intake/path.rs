//! The one canonicaliser of request targets: every spelling of a path has one canonical form or is refused, and the
//! canonical form is what is matched and what is forwarded (I46).
//!
//! Segment by segment: `%XX` of an unreserved character (letters, digits, `-._~`) is decoded, any other `%XX` is
//! written in capitals. Refused are what two readers could take for different paths: empty and dot segments, encoded
//! slashes and backslashes, `\`, `;` in either form, control characters in either form, anything that is not a whole
//! `%XX`, what decodes to no UTF-8 (overlong forms are none), characters that a path may not hold, and a fragment. One
//! final slash is dropped.
//!
//! A tail (`{x...}`) is kept byte for byte, as a URL inside a path has slashes, `//` and `%2F` of its own. In it only
//! dot segments and control characters are refused, in any encoding: a server that resolves them would leave the route.
//! What else a server may mend in it must not lead to another route: see `loose.rs`.

use std::borrow::Cow;

use http::Method;

use super::bad_request::BadRequest;

/// Longest request target in bytes, query included: what common servers take as a request line is 8 KiB; queries that
/// hold JSON are longer now and then.
pub(crate) const MAX_TARGET_BYTES: usize = 16 * 1024;

/// Most segments of a path outside a tail. Real APIs stay below 12; matching recurses once a segment.
pub(crate) const MAX_SEGMENTS: usize = 64;

/// Segments that are made room for at once.
const USUAL_SEGMENTS: usize = 12;

/// A request target split up: its canonical segments as far as they are good, and the raw rest.
#[derive(Debug)]
pub struct Target<'t> {
    /// The raw path, without its first slash.
    path: &'t str,
    /// The raw query, without its question mark.
    pub(crate) query: Option<&'t str>,
    /// The canonical path so far: `/a/b`, without a final slash.
    pub(crate) canonical: String,
    /// The segments up to the first bad one.
    pub(crate) segments: Vec<Segment>,
    /// The decoded texts of segments where they are not the canonical ones.
    decoded: Vec<(usize, String)>,
    /// Why the path is refused unless a tail begins before the bad segment.
    pub(crate) flaw: Option<BadRequest>,
}

/// Whether fixed text tells capitals from small letters. Only ASCII is folded: beyond it servers do not agree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Case {
    #[default]
    Matters,
    Ignored,
}

impl Case {
    pub(crate) fn of(ignore_case: bool) -> Case {
        if ignore_case { Case::Ignored } else { Case::Matters }
    }

    /// The text that all texts share that are the same.
    pub(crate) fn folded(self, text: &str) -> Cow<'_, str> {
        match self {
            Case::Ignored if text.bytes().any(|byte| byte.is_ascii_uppercase()) => {
                Cow::Owned(text.to_ascii_lowercase())
            }
            Case::Ignored | Case::Matters => Cow::Borrowed(text),
        }
    }

    pub(crate) fn is_same(self, text: &str, other: &str) -> bool {
        match self {
            Case::Matters => text == other,
            Case::Ignored => text.eq_ignore_ascii_case(other),
        }
    }
}

/// One canonical segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment {
    /// Where it starts in the raw path.
    raw_start: usize,
    /// Where it starts in the canonical path.
    pub(crate) start: usize,
    /// Where it ends in the canonical path.
    pub(crate) end: usize,
}

impl<'t> Target<'t> {
    /// Reads the target of a request.
    ///
    /// # Errors
    ///
    /// It is refused whatever the routes are, or the method is not written in capitals.
    pub fn of(method: &Method, target: &'t str) -> Result<Target<'t>, BadRequest> {
        if method.as_str().bytes().any(|byte| byte.is_ascii_lowercase()) {
            return Err(BadRequest::at("method", format!("expected capitals, found `{method}`")));
        }
        Target::read(target)
    }

    /// Whether its first segments are these, decoded.
    pub(crate) fn begins_with(&self, segments: &[Box<str>], case: Case) -> bool {
        let is_long_enough = self.segments.len() >= segments.len();
        is_long_enough && segments.iter().enumerate().all(|(index, segment)| case.is_same(self.text(index), segment))
    }

    /// Why the path is refused unless some route has a tail before what is wrong with it.
    pub fn flaw(&self) -> Option<&BadRequest> {
        self.flaw.as_ref()
    }

    /// Splits an origin-form target, `/path?query`.
    ///
    /// # Errors
    ///
    /// It is refused whatever the routes are.
    pub(crate) fn read(target: &'t str) -> Result<Target<'t>, BadRequest> {
        if target.len() > MAX_TARGET_BYTES {
            return Err(BadRequest::at("path", format!("expected at most {MAX_TARGET_BYTES} bytes with the query")));
        }
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (target, None),
        };
        refuse_unprintable("path", path)?;
        refuse_unprintable("query", query.unwrap_or_default())?;
        let Some(path) = path.strip_prefix('/') else {
            return Err(BadRequest::at("path", "expected a path that starts with `/`"));
        };
        let mut read = Target {
            path,
            query,
            canonical: String::with_capacity(target.len() + 1),
            segments: Vec::with_capacity(USUAL_SEGMENTS),
            decoded: Vec::new(),
            flaw: None,
        };
        read.flaw = read.read_segments().err();
        Ok(read)
    }

    fn read_segments(&mut self) -> Result<(), BadRequest> {
        let path = self.path;
        let mut raw_start = 0;
        for raw in path.split('/') {
            let is_last = raw_start + raw.len() == path.len();
            if is_last && raw.is_empty() {
                break;
            }
            if self.segments.len() == MAX_SEGMENTS {
                return Err(BadRequest::at("path", format!("expected at most {MAX_SEGMENTS} segments")));
            }
            let start = self.canonical.len() + 1;
            self.canonical.push('/');
            match canonical_segment(raw, &mut self.canonical) {
                Ok(decoded) => {
                    let end = self.canonical.len();
                    self.decoded.extend(decoded.map(|text| (self.segments.len(), text)));
                    self.segments.push(Segment { raw_start, start, end });
                }
                Err(message) => {
                    self.canonical.truncate(start - 1);
                    return Err(BadRequest::at("path", message));
                }
            }
            raw_start += raw.len() + 1;
        }
        Ok(())
    }

    /// The raw path, without its first slash.
    pub(crate) fn raw(&self) -> &'t str {
        self.path
    }

    /// The raw text from segment `index` on, which may be one past the good ones; nothing if the path ends before.
    pub(crate) fn tail(&self, index: usize) -> &'t str {
        let start = match self.segments.get(index) {
            Some(segment) => segment.raw_start,
            None => self.end_of_good(),
        };
        self.path.get(start..).unwrap_or_default()
    }

    /// Where the raw text after the last good segment and its slash starts.
    fn end_of_good(&self) -> usize {
        let Some(last) = self.segments.last() else { return 0 };
        let rest = &self.path[last.raw_start..];
        rest.find('/').map_or(self.path.len(), |slash| last.raw_start + slash + 1)
    }

    /// The decoded text of segment `index`.
    pub(crate) fn text(&self, index: usize) -> &str {
        let segment = self.segments[index];
        let decoded = self.decoded.iter().find(|(decoded, _)| *decoded == index);
        decoded.map_or(&self.canonical[segment.start..segment.end], |(_, text)| text)
    }

    /// The canonical target: the good segments up to `upto`, then `tail` as it stands, then the query as it came.
    ///
    /// Also where the tail starts and where the path ends.
    pub(crate) fn forwarded(mut self, upto: usize, tail: &str) -> (String, usize, usize) {
        let end = upto.checked_sub(1).map_or(0, |last| self.segments[last].end);
        self.canonical.truncate(end);
        if !tail.is_empty() || end == 0 {
            self.canonical.push('/');
        }
        let tail_start = self.canonical.len();
        self.canonical.push_str(tail);
        let path_end = self.canonical.len();
        if let Some(query) = self.query {
            self.canonical.push('?');
            self.canonical.push_str(query);
        }
        (self.canonical, tail_start, path_end)
    }
}

/// Refuses a tail that leads out of its route or holds control characters.
pub(crate) fn check_tail(tail: &str) -> Result<(), BadRequest> {
    let mut segment: Vec<u8> = Vec::new();
    let mut bytes = tail.as_bytes();
    while let Some((byte, rest)) = next_byte(bytes) {
        bytes = rest;
        if byte.is_ascii_control() {
            return Err(BadRequest::at("path", format!("control character %{byte:02X}")));
        }
        if matches!(byte, b'/' | b'\\' | b';') {
            refuse_dots(&segment)?;
            segment.clear();
        } else if segment.len() < 3 {
            segment.push(byte);
        }
    }
    refuse_dots(&segment)
}

fn refuse_dots(segment: &[u8]) -> Result<(), BadRequest> {
    match segment {
        b"." | b".." => Err(BadRequest::at("path", "a segment `.` or `..`")),
        _ => Ok(()),
    }
}

/// The next byte, decoded if it is a whole `%XX`.
pub(crate) fn next_byte(bytes: &[u8]) -> Option<(u8, &[u8])> {
    match bytes {
        [b'%', high, low, rest @ ..] => match decode_pair(*high, *low) {
            Some(byte) => Some((byte, rest)),
            None => Some((b'%', &bytes[1..])),
        },
        [byte, rest @ ..] => Some((*byte, rest)),
        [] => None,
    }
}

/// Appends the canonical form of a segment and returns its decoded text if that is different.
fn canonical_segment(raw: &str, canonical: &mut String) -> Result<Option<String>, String> {
    let start = canonical.len();
    if raw.bytes().all(|byte| IS_PATH_BYTE[usize::from(byte)]) {
        canonical.push_str(raw);
    } else {
        decode_unreserved(raw, canonical)?;
    }
    let segment = &canonical[start..];
    if segment.is_empty() {
        return Err("an empty segment (`//`)".to_owned());
    }
    if segment == "." || segment == ".." {
        return Err("a segment `.` or `..`".to_owned());
    }
    if !segment.contains('%') {
        return Ok(None);
    }
    match percent_decode(segment, Plus::IsPlus) {
        Some(decoded) => Ok(Some(decoded)),
        None => Err(format!("`{segment}` decodes to no UTF-8")),
    }
}

fn decode_unreserved(raw: &str, canonical: &mut String) -> Result<(), String> {
    let mut bytes = raw.as_bytes();
    loop {
        match bytes {
            [] => return Ok(()),
            [b'%', high, low, rest @ ..] => {
                let byte = decode_pair(*high, *low).ok_or_else(bad_escape)?;
                if byte.is_ascii_control() || matches!(byte, b'/' | b'\\' | b';') {
                    return Err(format!("`%{byte:02X}`, which servers read differently"));
                }
                if is_unreserved(byte) {
                    canonical.push(char::from(byte));
                } else {
                    canonical.push('%');
                    canonical.push(char::from(high.to_ascii_uppercase()));
                    canonical.push(char::from(low.to_ascii_uppercase()));
                }
                bytes = rest;
            }
            [b'%', ..] => return Err(bad_escape()),
            [byte, rest @ ..] => {
                if !IS_PATH_BYTE[usize::from(*byte)] {
                    return Err(unexpected(*byte));
                }
                canonical.push(char::from(*byte));
                bytes = rest;
            }
        }
    }
}

fn bad_escape() -> String {
    "`%` without two hexadecimal digits".to_owned()
}

fn unexpected(byte: u8) -> String {
    if matches!(byte, b'\\' | b';') {
        format!("`{}`, which servers read differently", char::from(byte))
    } else if byte.is_ascii_graphic() {
        format!("unexpected `{}`; it is written %{byte:02X} if it is meant", char::from(byte))
    } else {
        format!("unexpected byte {byte:#04x}; it is written %{byte:02X} if it is meant")
    }
}

/// Whether `+` in a text to decode is a space, as in queries, or itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plus {
    IsPlus,
    IsSpace,
}

/// Decodes every `%XX`; `None` if one is not whole or the result is no UTF-8.
pub(crate) fn percent_decode(text: &str, plus: Plus) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.as_bytes();
    loop {
        match bytes {
            [] => return String::from_utf8(decoded).ok(),
            [b'%', high, low, rest @ ..] => {
                decoded.push(decode_pair(*high, *low)?);
                bytes = rest;
            }
            [b'%', ..] => return None,
            [b'+', rest @ ..] if plus == Plus::IsSpace => {
                decoded.push(b' ');
                bytes = rest;
            }
            [byte, rest @ ..] => {
                decoded.push(*byte);
                bytes = rest;
            }
        }
    }
}

/// Refuses what no request target may hold anywhere: control characters, spaces, a fragment.
fn refuse_unprintable(place: &'static str, text: &str) -> Result<(), BadRequest> {
    match text.bytes().find(|byte| IS_UNPRINTABLE[usize::from(*byte)]) {
        None => Ok(()),
        Some(b'#') => Err(BadRequest::at(place, "a fragment (`#`), which is not sent to servers")),
        Some(byte) => Err(BadRequest::at(place, unexpected(byte))),
    }
}

fn decode_pair(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(high)? << 4 | digit(low)?)
}

/// For each byte, whether a segment may hold it as it is: unreserved characters, and the delimiters that RFC 3986 lets a
/// segment hold, but for `;`.
const IS_PATH_BYTE: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128u8 {
        let is_delimiter =
            matches!(byte, b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b'=' | b':' | b'@');
        table[byte as usize] = is_unreserved(byte) || is_delimiter;
        byte += 1;
    }
    table
};

/// For each byte, whether no request target may hold it.
const IS_UNPRINTABLE: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128u8 {
        table[byte as usize] = byte.is_ascii_control() || matches!(byte, b' ' | b'#');
        byte += 1;
    }
    table
};

const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}
