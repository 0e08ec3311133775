//! Patterns with `*`, for the maps of attribute sources. Case does not matter (ASCII).

/// A pattern: pieces that must occur in this order, with anything between.
#[derive(Debug)]
pub(crate) struct Glob {
    /// What stands before the first `*`, between two, and after the last, in small letters. One piece: no `*` at all.
    pieces: Box<[Box<str>]>,
}

impl Glob {
    /// Reads a pattern. Every text is one.
    pub(crate) fn new(pattern: &str) -> Glob {
        Glob { pieces: pattern.split('*').map(|piece| piece.to_ascii_lowercase().into()).collect() }
    }

    /// Whether it matches everything.
    pub(crate) fn is_total(&self) -> bool {
        self.pieces.len() > 1 && self.pieces.iter().all(|piece| piece.is_empty())
    }

    /// Whether it matches the whole of a text in small letters. Work grows with the text's length times the pattern's at
    /// most.
    pub(crate) fn matches(&self, text: &str) -> bool {
        let [first, middle @ .., last] = &*self.pieces else {
            return self.pieces.first().is_some_and(|only| **only == *text);
        };
        let Some(mut rest) = text.strip_prefix(&**first).and_then(|rest| rest.strip_suffix(&**last)) else {
            return false;
        };
        let Some((final_piece, others)) = middle.split_last() else { return true };
        for piece in others {
            let Some((_, after)) = rest.split_once(&**piece) else { return false };
            rest = after;
        }
        rest.contains(&**final_piece)
    }
}
