//! The other paths that servers may take a path for. A tail lets through what no other route does (`//`, `%2F`, `\`,
//! `;x`, characters that belong encoded), and a server that mends it may see a more specific route than the tail's.
//!
//! Dot segments are not among the readings: no tail has them, in any encoding and between any of the separators here.

use std::borrow::Cow;

use super::path::{MAX_SEGMENTS, next_byte};

/// What a server makes of a path.
#[derive(Clone, Copy, Debug)]
struct Reading {
    /// Whether `%2F`, `%5C` and `%3B` are what they stand for.
    decodes: bool,
    /// Whether `\` is a slash.
    has_backslashes: bool,
    parameters: Parameters,
    /// Whether several slashes are one.
    merges: bool,
}

/// What becomes of `;x` in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Parameters {
    Kept,
    /// Cut off up to the next slash as it was sent.
    CutAsSent,
    /// Cut off up to the next slash of the reading, from `%3B` on too.
    CutDecoded,
}

/// Every reading of a raw path without its first slash, as decoded segments: two of most paths, 24 of those that have
/// all the separators. None has more than one segment beyond those of the longest route.
pub(super) fn readings(path: &str) -> impl Iterator<Item = Vec<String>> {
    let has_encoded = |pairs: &[&[u8; 2]]| {
        let is_pair =
            |found: &[u8]| pairs.iter().any(|pair| found[0] == b'%' && found[1..].eq_ignore_ascii_case(*pair));
        path.as_bytes().windows(3).any(is_pair)
    };
    let decodes: &[bool] = if has_encoded(&[b"2f", b"5c", b"3b"]) { &[false, true] } else { &[false] };
    let backslashes: &[bool] = if path.contains('\\') || has_encoded(&[b"5c"]) { &[false, true] } else { &[false] };
    let parameters: &[Parameters] = if path.contains(';') || has_encoded(&[b"3b"]) {
        &[Parameters::Kept, Parameters::CutAsSent, Parameters::CutDecoded]
    } else {
        &[Parameters::Kept]
    };
    decodes.iter().flat_map(move |&decodes| {
        backslashes.iter().flat_map(move |&has_backslashes| {
            parameters.iter().flat_map(move |&parameters| {
                let reading = |merges| Reading { decodes, has_backslashes, parameters, merges };
                [true, false].map(|merges| reading(merges).segments(path))
            })
        })
    })
}

impl Reading {
    fn segments(self, path: &str) -> Vec<String> {
        let mut path = Cow::Borrowed(path);
        if self.parameters == Parameters::CutAsSent {
            path = Cow::Owned(self.without_parameters(&path));
        }
        if self.decodes {
            path = Cow::Owned(with_separators(&path));
        }
        if self.parameters == Parameters::CutDecoded {
            path = Cow::Owned(self.without_parameters(&path));
        }
        let path = path.strip_suffix(|at| self.is_slash(at)).unwrap_or(&path);
        let segments = path.split(|at| self.is_slash(at)).filter(|segment| !self.merges || !segment.is_empty());
        segments.take(MAX_SEGMENTS + 1).map(decoded).collect()
    }

    fn is_slash(self, at: char) -> bool {
        at == '/' || at == '\\' && self.has_backslashes
    }

    fn without_parameters(self, path: &str) -> String {
        let mut kept = String::with_capacity(path.len());
        let mut is_cut = false;
        for (at, char) in path.char_indices() {
            let is_encoded = || path.as_bytes()[at..].get(..3).is_some_and(|three| three.eq_ignore_ascii_case(b"%3b"));
            is_cut = match char {
                ';' => true,
                '%' if self.parameters == Parameters::CutDecoded && is_encoded() => true,
                char if self.is_slash(char) => false,
                _ => is_cut,
            };
            if !is_cut {
                kept.push(char);
            }
        }
        kept
    }
}

/// The path with the separators decoded that are encoded.
fn with_separators(path: &str) -> String {
    let pairs = ["%2F", "%2f", "%5C", "%5c", "%3B", "%3b"];
    let plain = ["/", "/", "\\", "\\", ";", ";"];
    pairs.iter().zip(plain).fold(path.to_owned(), |path, (pair, plain)| path.replace(pair, plain))
}

/// A segment with every whole `%XX` decoded; what is no UTF-8 then is no route's text either.
fn decoded(segment: &str) -> String {
    let mut decoded = Vec::with_capacity(segment.len());
    let mut bytes = segment.as_bytes();
    while let Some((byte, rest)) = next_byte(bytes) {
        decoded.push(byte);
        bytes = rest;
    }
    String::from_utf8_lossy(&decoded).into_owned()
}
