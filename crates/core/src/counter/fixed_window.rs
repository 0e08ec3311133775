//! Fixed windows: at most the limit in each. They begin by the clock (aligned to 1970-01-01T00:00:00 UTC), by a calendar,
//! or with the first charge.
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

use super::{Align, Rule, Status, Wait};
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
    // A window that begins with its first charge has no end before that.
    let is_open = window.used > 0 || rule.quota.align != Align::First;
    Status { remaining, reset_after: if is_open { until_end } else { Span::ZERO }, retry_after }
}

pub(super) fn charge(rule: &Rule, state: &mut [u64], take: u64, now: Timestamp) {
    if take == 0 {
        return;
    }
    let window = Window::at(rule, state, now);
    Window { used: window.used.saturating_add(take), ..window }.write(state);
}

/// A charge of nothing opens no window, so that a debt from then may be the first of its own, or meet one that was
/// opened since: it lands there while its own would not be over. Its own begins no earlier than the one before was over,
/// or what was charged there could be given back here.
pub(super) fn adjust(rule: &Rule, state: &mut [u64], taken: u64, actual: u64, taken_at: Timestamp, now: Timestamp) {
    let over = Timestamp::from_micros(state[0]).min(now);
    let opened_at = if rule.quota.align == Align::First { taken_at.max(over) } else { now };
    let window = Window::open(rule, state, now).unwrap_or_else(|| Window::fresh(rule, opened_at));
    let is_running = window.end > now.as_micros();
    let is_charged = is_running && window.start(rule) <= taken_at && taken_at.as_micros() < window.end;
    let is_late = rule.quota.align == Align::First && actual > taken && taken_at.plus(rule.quota.window) > now;
    if !is_charged && !is_late {
        return;
    }
    let used = if actual >= taken {
        window.used.saturating_add(actual - taken)
    } else {
        window.used.saturating_sub(taken - actual)
    };
    Window { used, ..window }.write(state);
}

/// The beginning of the window that ends then.
pub(super) fn start_of_window(rule: &Rule, end: Timestamp) -> Timestamp {
    Window { end: end.as_micros(), used: 0 }.start(rule)
}

impl Window {
    fn at(rule: &Rule, state: &[u64], now: Timestamp) -> Window {
        Window::open(rule, state, now).unwrap_or_else(|| Window::fresh(rule, now))
    }

    /// The window that the state is in, unless that is over.
    fn open(rule: &Rule, state: &[u64], now: Timestamp) -> Option<Window> {
        let ahead = state[0].saturating_sub(now.as_micros());
        let is_open = ahead > 0 && ahead <= 2 * rule.quota.window.as_micros();
        is_open.then_some(Window { end: state[0], used: state[1] })
    }

    /// The window that a charge at `now` opens.
    fn fresh(rule: &Rule, now: Timestamp) -> Window {
        let length = rule.quota.window.as_micros();
        let start = now.as_micros();
        let end = match rule.quota.align {
            Align::Clock => (start - start % length).saturating_add(length),
            Align::First => start.saturating_add(length),
            Align::Calendar(calendar) => calendar.window_at(now).1.as_micros(),
        };
        Window { end, used: 0 }
    }

    fn start(self, rule: &Rule) -> Timestamp {
        match rule.quota.align {
            Align::Calendar(calendar) => calendar.window_at(Timestamp::from_micros(self.end - 1)).0,
            Align::Clock | Align::First => {
                Timestamp::from_micros(self.end.saturating_sub(rule.quota.window.as_micros()))
            }
        }
    }

    fn write(self, state: &mut [u64]) {
        state[0] = if self.used == 0 { 0 } else { self.end };
        state[1] = self.used;
    }
}
