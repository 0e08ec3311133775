//! Sliding window of k cells: at most the limit in any window, for the price of the oldest cell, which counts whole
//! until it is wholly past. So at least k ÷ (k + 1) of the limit gets through when demand is steady.
//!
//! Cell i holds the instants t with floor(t × k ÷ window) = i. The k + 1 cells up to that of `now` cover the window that
//! ends now, whatever its place in the cell.
//!
//! State:
//!
//! | word | holds |
//! |---|---|
//! | 0 | when the newest used cell is past, in microseconds since 1970; zero if nothing is used |
//! | 1 | index i of the newest used cell |
//! | 2 … k + 2 | units used in cells i − k to i; that of cell j is in word 2 + j mod (k + 1) |
//!
//! A `now` before the newest used cell counts as inside it: a clock that steps back by up to one window admits nothing
//! extra. Further back, the state counts as fresh, so a step adds at most one limit (I10). So does a state whose words 0
//! and 1 do not fit together: no rule of this window and so many cells wrote it.

use super::{Rule, Status, Wait};
use crate::{Span, Timestamp};

pub(super) fn state_words(cells: u16) -> usize {
    usize::from(cells) + 3
}

/// The word that holds the units of the newest used cell.
pub(super) fn newest_word(cells: u16, state: &[u64]) -> usize {
    usize::try_from(state[1] % (u64::from(cells) + 1)).map_or(2, |place| 2 + place)
}

/// Where the cells of a rule lie.
#[derive(Clone, Copy)]
struct Grid {
    window: u64,
    cells: u64,
}

pub(super) fn peek(rule: &Rule, cells: u16, state: &[u64], need: u64, now: Timestamp) -> Status {
    let grid = Grid::of(rule, cells);
    let limit = rule.limit();
    let Some(last) = grid.last(state, now) else {
        let retry_after = if need > limit { Wait::Never } else { Wait::None };
        return Status { remaining: limit, reset_after: Span::ZERO, retry_after };
    };
    let used = grid.used(state, last);
    let remaining = u64::try_from(used).map_or(0, |used| limit.saturating_sub(used));
    let retry_after = if need <= remaining {
        Wait::None
    } else if need > limit {
        Wait::Never
    } else {
        Wait::For(grid.fits_at(state, last, used, limit - need).since(now))
    };
    Status { remaining, reset_after: Timestamp::from_micros(state[0]).since(now), retry_after }
}

pub(super) fn charge(rule: &Rule, cells: u16, state: &mut [u64], take: u64, now: Timestamp) {
    if take == 0 {
        return;
    }
    let grid = Grid::of(rule, cells);
    let last = grid.begin(state, now);
    grid.advance(state, last);
    let cell = grid.word_of(last);
    state[cell] = state[cell].saturating_add(take);
}

pub(super) fn adjust(
    rule: &Rule,
    cells: u16,
    state: &mut [u64],
    taken: u64,
    actual: u64,
    taken_at: Timestamp,
    now: Timestamp,
) {
    let grid = Grid::of(rule, cells);
    let charged = grid.cell_at(taken_at.as_micros());
    let last = grid.last(state, now).unwrap_or(grid.cell_at(now.as_micros()));
    if taken == actual || charged.abs_diff(last) > grid.cells {
        return;
    }
    grid.begin(state, now);
    if actual > taken {
        grid.advance(state, charged);
        let cell = grid.word_of(charged);
        state[cell] = state[cell].saturating_add(actual - taken);
    } else if grid.holds(state, charged) {
        let cell = grid.word_of(charged);
        state[cell] = state[cell].saturating_sub(taken - actual);
    }
    grid.retreat(state);
}

/// The beginning of the newest used cell of a state that is fresh from `end` on: where that cell is past.
pub(super) fn start_of_newest(rule: &Rule, cells: u16, end: Timestamp) -> Timestamp {
    let grid = Grid::of(rule, cells);
    Timestamp::from_micros(grid.start_of(grid.cell_at(end.as_micros()).saturating_sub(grid.cells + 1)))
}

impl Grid {
    fn of(rule: &Rule, cells: u16) -> Grid {
        Grid { window: rule.quota.window.as_micros(), cells: u64::from(cells) }
    }

    /// The index of the cell that an instant is in. Neither product nor sum can overflow: a window is at most 2^45 µs
    /// and at least 1,000, and there are at most 61 cells.
    fn cell_at(self, micros: u64) -> u64 {
        micros / self.window * self.cells + micros % self.window * self.cells / self.window
    }

    /// The first instant of a cell; at most the end of time.
    fn start_of(self, cell: u64) -> u64 {
        let part = (cell % self.cells * self.window).div_ceil(self.cells);
        (cell / self.cells).saturating_mul(self.window).saturating_add(part)
    }

    /// The instant at which a cell is past: it then lies before every window to come.
    fn end_of(self, cell: u64) -> u64 {
        self.start_of(cell.saturating_add(self.cells + 1))
    }

    /// The word that holds a cell's units.
    fn word_of(self, cell: u64) -> usize {
        usize::try_from(cell % (self.cells + 1)).map_or(2, |place| 2 + place)
    }

    fn ring(self) -> std::ops::Range<usize> {
        2..usize::try_from(self.cells).map_or(2, |cells| cells + 3)
    }

    /// The newest cell of the window that ends now: that of `now`, or the newest used one if that is later. None if
    /// nothing is used.
    fn last(self, state: &[u64], now: Timestamp) -> Option<u64> {
        let (now, expiry, newest) = (now.as_micros(), state[0], state[1]);
        if expiry <= now || expiry != self.end_of(newest) {
            return None;
        }
        let cell = self.cell_at(now);
        let is_near = newest.saturating_sub(cell) <= self.cells;
        is_near.then_some(newest.max(cell))
    }

    /// Whether the state has a word for this cell.
    fn holds(self, state: &[u64], cell: u64) -> bool {
        cell <= state[1] && state[1] - cell <= self.cells
    }

    /// Units in the cells that count when `last` is the newest; wide enough for any words.
    fn used(self, state: &[u64], last: u64) -> u128 {
        let all: u128 = state[self.ring()].iter().map(|units| u128::from(*units)).sum();
        let oldest = state[1].saturating_sub(self.cells);
        let past = self.from(oldest).take_while(|(cell, _)| cell + self.cells < last);
        all - past.map(|(_, word)| u128::from(state[word])).sum::<u128>()
    }

    /// The earliest instant at which no more than `most` of the `used` units still count. `last` is the newest cell.
    fn fits_at(self, state: &[u64], last: u64, used: u128, most: u64) -> Timestamp {
        let mut left = used;
        let counted = self.from(last.saturating_sub(self.cells)).take_while(|(cell, _)| *cell < state[1]);
        for (cell, word) in counted {
            left -= u128::from(state[word]);
            if left <= u128::from(most) {
                return Timestamp::from_micros(self.end_of(cell));
            }
        }
        Timestamp::from_micros(state[0])
    }

    /// All cells that a state can hold, from this one on, each with its word.
    fn from(self, cell: u64) -> impl Iterator<Item = (u64, usize)> {
        let (ring, first) = (self.ring(), self.word_of(cell));
        (cell..).zip((first..ring.end).chain(ring.start..first))
    }

    /// Clears the state if nothing is used, and says which cell `now` counts as.
    fn begin(self, state: &mut [u64], now: Timestamp) -> u64 {
        self.last(state, now).unwrap_or_else(|| {
            let cell = self.cell_at(now.as_micros());
            state[self.ring()].fill(0);
            (state[0], state[1]) = (0, cell);
            cell
        })
    }

    /// Makes `cell` the newest used one, unless a newer one is used; clears the words it takes over.
    fn advance(self, state: &mut [u64], cell: u64) {
        let newest = state[1];
        let steps = cell.saturating_sub(newest).min(self.cells + 1);
        for step in 0..steps {
            state[self.word_of(cell - step)] = 0;
        }
        state[1] = newest.max(cell);
        state[0] = self.end_of(state[1]);
    }

    /// Makes the newest cell that is still used the newest, where that changed.
    fn retreat(self, state: &mut [u64]) {
        let oldest = state[1].saturating_sub(self.cells);
        let used = (oldest..=state[1]).rev().find(|cell| state[self.word_of(*cell)] > 0);
        (state[0], state[1]) = used.map_or((0, 0), |cell| (self.end_of(cell), cell));
    }
}
