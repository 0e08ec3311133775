//! Fixed windows, aligned to 1970-01-01T00:00:00 UTC: at most the limit in each.
//!
//! State:
//!
//! | word | holds |
//! |---|---|
//! | 0 | end of the window that was charged, in microseconds since 1970; zero if nothing is used |
//! | 1 | units used in it; more than the limit after a settlement, or after the limit was lowered |
//!
//! A `now` before the window of the state counts as inside it: a clock that steps back by up to one window admits
//! nothing extra and refuses for at most a window longer. An end more than two windows ahead of `now` tells of a clock
//! that stepped back further. Such a state counts as fresh, since a refusal writes nothing and would otherwise repeat
//! until that far end. So a step adds at most one limit (I10).

use super::{Rule, Status, Wait};
use crate::{Span, Timestamp};

/// A window in use, or the one that a charge would open.
#[derive(Clone, Copy)]
struct Window {
    end: u64,
    used: u64,
}

pub(super) fn peek(rule: &Rule, state: &[u64], need: u64, now: Timestamp) -> Status {
    let limit = rule.limit();
    let window = Window::at(rule, state, now);
    let until_end = Span::from_micros(window.end.saturating_sub(now.as_micros()));
    let remaining = limit.saturating_sub(window.used);
    let retry_after = if need <= remaining {
        Wait::None
    } else if need > limit {
        Wait::Never
    } else {
        Wait::For(until_end)
    };
    Status { remaining, reset_after: until_end, retry_after }
}

pub(super) fn charge(rule: &Rule, state: &mut [u64], take: u64, now: Timestamp) {
    if take == 0 {
        return;
    }
    let window = Window::at(rule, state, now);
    Window { used: window.used.saturating_add(take), ..window }.write(state);
}

pub(super) fn adjust(rule: &Rule, state: &mut [u64], taken: u64, actual: u64, taken_at: Timestamp, now: Timestamp) {
    let window = Window::at(rule, state, now);
    let start = window.end.saturating_sub(rule.quota.window.as_micros());
    if !(start..window.end).contains(&taken_at.as_micros()) {
        return;
    }
    let used = if actual >= taken {
        window.used.saturating_add(actual - taken)
    } else {
        window.used.saturating_sub(taken - actual)
    };
    Window { used, ..window }.write(state);
}

impl Window {
    fn at(rule: &Rule, state: &[u64], now: Timestamp) -> Window {
        let ahead = state[0].saturating_sub(now.as_micros());
        if ahead == 0 || ahead > 2 * rule.quota.window.as_micros() {
            return Window { end: end_of_window(rule, now), used: 0 };
        }
        Window { end: state[0], used: state[1] }
    }

    fn write(self, state: &mut [u64]) {
        state[0] = if self.used == 0 { 0 } else { self.end };
        state[1] = self.used;
    }
}

/// The end of the aligned window that `now` is in.
fn end_of_window(rule: &Rule, now: Timestamp) -> u64 {
    let length = rule.quota.window.as_micros();
    let now = now.as_micros();
    (now - now % length).saturating_add(length)
}
