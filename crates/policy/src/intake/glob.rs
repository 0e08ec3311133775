//! Patterns with `*`, for the maps of attribute sources. Case does not matter (ASCII).

/// A pattern: pieces that must occur in this order, with anything between.
#[derive(Debug)]
pub(crate) struct Glob {
    /// What stands before the first `*`, between two, and after the last. One piece: no `*` at all.
    pieces: Box<[Box<[u8]>]>,
}

impl Glob {
    /// Reads a pattern. Every text is one.
    pub(crate) fn new(pattern: &str) -> Glob {
        let pieces = pattern.split('*').map(|piece| piece.to_ascii_lowercase().into_bytes().into());
        Glob { pieces: pieces.collect() }
    }

    /// Whether it matches everything.
    pub(crate) fn is_total(&self) -> bool {
        self.pieces.len() > 1 && self.pieces.iter().all(|piece| piece.is_empty())
    }

    /// Whether it matches the whole text. Work is at most the text's length times the pattern's.
    pub(crate) fn matches(&self, text: &str) -> bool {
        let text = text.as_bytes();
        let [first, middle @ .., last] = &*self.pieces else {
            return self.pieces.first().is_some_and(|only| text.eq_ignore_ascii_case(only));
        };
        if text.len() < first.len() + last.len() {
            return false;
        }
        let (start, rest) = text.split_at(first.len());
        let (mut rest, end) = rest.split_at(rest.len() - last.len());
        if !start.eq_ignore_ascii_case(first) || !end.eq_ignore_ascii_case(last) {
            return false;
        }
        for piece in middle.iter().filter(|piece| !piece.is_empty()) {
            let Some(at) = rest.windows(piece.len()).position(|window| window.eq_ignore_ascii_case(piece)) else {
                return false;
            };
            rest = &rest[at + piece.len()..];
        }
        true
    }
}
