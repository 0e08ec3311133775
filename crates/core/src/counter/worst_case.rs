//! N(d): the most that a rule admits between two instants that are no more than d apart, whatever was asked before.
//!
//! That is more than the amount where windows meet, and what operators forget when they choose an algorithm. The numbers
//! are exact: some schedule reaches them, unless a bucket fills within two microseconds. They are about one counter, costs
//! that are known in time, and a clock that does not step back.

use super::{Algorithm, Align, Calendar, Rule};
use crate::Span;

impl Rule {
    /// The most units that one counter admits in any span of this length, both ends included; `None` where there is no
    /// bound, as for concurrency: what is released can be taken again at once.
    pub fn worst_case(&self, span: Span) -> Option<u128> {
        let (amount, window) = (u128::from(self.quota.amount), u128::from(self.quota.window.as_micros()));
        let span = span.as_micros();
        let times = match (self.algorithm, self.quota.align) {
            _ if amount == 0 || self.quota.burst == 0 => 0,
            (Algorithm::Concurrency, _) => return None,
            // What comes back beside a full bucket is lost: units of a burst of one are whole microseconds apart.
            (Algorithm::TokenBucket, _) if self.quota.burst == 1 => {
                return Some(1 + u128::from(span) / window.div_ceil(amount));
            }
            (Algorithm::TokenBucket, _) => {
                return Some(u128::from(self.quota.burst) + amount * u128::from(span) / window);
            }
            (Algorithm::SlidingWindow { cells }, _) => whole_windows(u64::from(cells), window, span.into()),
            (Algorithm::FixedWindow, Align::Clock) => 1 + u128::from(span).div_ceil(window),
            (Algorithm::FixedWindow, Align::First) => return Some(from_first(amount, window, span.into())),
            (Algorithm::FixedWindow, Align::Calendar(calendar)) => touched(calendar, span).into(),
        };
        Some(amount * times)
    }
}

/// A window must be opened with a unit before the span, so that the rest of it can be used when the span begins.
fn from_first(amount: u128, window: u128, span: u128) -> u128 {
    let opened_inside = amount * (1 + span / window);
    let opened_before = span.checked_sub(1).map_or(0, |span| amount - 1 + amount * (1 + span / window));
    opened_inside.max(opened_before)
}

/// How many windows of a calendar an interval of this length can touch: from the last instant of one on.
fn touched(calendar: Calendar, span: u64) -> u64 {
    let (starts, (last, length)) = (calendar.starts(), calendar.last());
    let Some(reach) = span.checked_sub(1) else { return 1 };
    let begun_by = |instant: u64| match instant.checked_sub(last) {
        Some(beyond) => starts.len() as u64 + beyond / length,
        None => starts.partition_point(|start| *start <= instant) as u64,
    };
    let from = |(window, end): (u64, &u64)| begun_by(end.saturating_add(reach)) - window;
    (0..).zip(&starts[1..]).map(from).max().unwrap_or(1)
}

/// How often all of a sliding window's amount can be used in an interval: first at the last instant of a cell, then
/// whenever the cell that was used before is past.
fn whole_windows(cells: u64, window: u128, span: u128) -> u128 {
    let cells = u128::from(cells);
    let start_of = |cell: u128| cell / cells * window + (cell % cells * window).div_ceil(cells);
    let shortest = |times: u128| {
        let last = |first: u128| start_of(first + (times - 1) * (cells + 1)) + 1 - start_of(first + 1);
        (0..cells).map(last).min().unwrap_or(0)
    };
    let (mut fits, mut too_many) = (1, 3 + span / window);
    while too_many - fits > 1 {
        let times = fits.midpoint(too_many);
        if shortest(times) <= span { fits = times } else { too_many = times }
    }
    fits
}
