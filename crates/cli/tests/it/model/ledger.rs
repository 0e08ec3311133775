//! The slow, exact books: every admitted event of every counter, added up anew for each question.
//!
//! Two kinds of limit cover the five documents. A clock window sums the admitted events that lie in the window of the
//! clock that `now` is in. A leaky bucket holds its level as a whole number (units × window, in microseconds), loses
//! `quota` of it with each microsecond, and never holds more than `quota × window`. All numbers are whole.

use std::collections::HashMap;

/// How a document counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Windows of the clock, UTC.
    Clock,
    /// Units come back one by one.
    Smooth,
}

/// One limit that applies to one request: which counter, how much of it there is, how much is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Check {
    pub(crate) name: &'static str,
    pub(crate) subject: String,
    pub(crate) quota: u64,
    pub(crate) window_us: u64,
    pub(crate) shape: Shape,
    /// What has to fit.
    pub(crate) need: u64,
    /// What is charged if it does.
    pub(crate) take: u64,
}

/// How long until it fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Retry {
    Now,
    After(u64),
    Never,
}

/// What one limit says.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) name: &'static str,
    pub(crate) quota: u64,
    pub(crate) window_us: u64,
    pub(crate) remaining: u64,
    pub(crate) reset_us: u64,
    pub(crate) retry: Retry,
    pub(crate) charged: u64,
}

/// What all limits of one request say together.
#[derive(Clone, Debug)]
pub(crate) struct Ruling {
    pub(crate) at: u64,
    pub(crate) allowed: bool,
    pub(crate) lines: Vec<Line>,
    /// The line that headers are about.
    pub(crate) binding: Option<usize>,
}

impl Ruling {
    pub(crate) fn binding(&self) -> Option<&Line> {
        self.binding.map(|index| &self.lines[index])
    }

    /// The whole unix second at which the line's quota is whole again, rounded up.
    pub(crate) fn reset_second(&self, line: &Line) -> u64 {
        (self.at + line.reset_us).div_ceil(1_000_000)
    }
}

impl Line {
    /// Whole seconds to wait, rounded up, at least one; until the reset if it never fits.
    pub(crate) fn wait_seconds(&self) -> u64 {
        match self.retry {
            Retry::Now => 0,
            Retry::After(us) => us.div_ceil(1_000_000).max(1),
            Retry::Never => self.reset_us.div_ceil(1_000_000).max(1),
        }
    }
}

#[derive(Clone, Debug, Default)]
struct Book {
    /// Clock windows: admitted events, as instant and units.
    events: Vec<(u64, u64)>,
    /// Leaky bucket: the level, and when it was that.
    level: u128,
    level_at: u64,
}

/// All counters of one vendor.
#[derive(Debug, Default)]
pub(crate) struct Books(HashMap<(&'static str, String), Book>);

impl Books {
    /// Rules on a request: admitted if every check fits, and then charged to all; else charged to none.
    pub(crate) fn rule(&mut self, at: u64, checks: &[Check]) -> Ruling {
        let before: Vec<Line> = checks.iter().map(|check| self.look(at, check)).collect();
        let allowed = before.iter().all(|line| line.retry == Retry::Now);
        if !allowed {
            let binding = longest_wait(&before);
            return Ruling { at, allowed, lines: before, binding };
        }
        for check in checks {
            self.charge(at, check);
        }
        let after = |check: &Check| Line { retry: Retry::Now, charged: check.take, ..self.look(at, check) };
        let lines: Vec<Line> = checks.iter().map(after).collect();
        let binding = smallest_share(&lines);
        Ruling { at, allowed, lines, binding }
    }

    /// Replaces what the newest event of a clock window was charged.
    pub(crate) fn settle(&mut self, check: &Check, actual: u64) {
        let book = self.0.get_mut(&(check.name, check.subject.clone())).expect("a counter that was charged");
        book.events.last_mut().expect("an event that was admitted").1 = actual;
    }

    fn look(&self, at: u64, check: &Check) -> Line {
        let fresh = Book::default();
        let book = self.0.get(&(check.name, check.subject.clone())).unwrap_or(&fresh);
        let (remaining, reset_us, retry) = match check.shape {
            Shape::Clock => book.look_at_clock(at, check),
            Shape::Smooth => book.look_at_level(at, check),
        };
        let Check { name, quota, window_us, .. } = *check;
        Line { name, quota, window_us, remaining, reset_us, retry, charged: 0 }
    }

    fn charge(&mut self, at: u64, check: &Check) {
        let book = self.0.entry((check.name, check.subject.clone())).or_default();
        match check.shape {
            Shape::Clock => {
                let start = at - at % check.window_us;
                book.events.retain(|(then, _)| *then >= start);
                book.events.push((at, check.take));
            }
            Shape::Smooth => {
                book.level = book.level_now(at, check) + u128::from(check.take) * u128::from(check.window_us);
                book.level_at = at;
            }
        }
    }
}

impl Book {
    fn look_at_clock(&self, at: u64, check: &Check) -> (u64, u64, Retry) {
        let start = at - at % check.window_us;
        let used: u64 = self.events.iter().filter(|(then, _)| *then >= start).map(|(_, units)| units).sum();
        let remaining = check.quota.saturating_sub(used);
        let reset_us = start + check.window_us - at;
        let retry = match check.need {
            need if need == 0 || need <= remaining => Retry::Now,
            need if need > check.quota => Retry::Never,
            _ => Retry::After(reset_us),
        };
        (remaining, reset_us, retry)
    }

    fn look_at_level(&self, at: u64, check: &Check) -> (u64, u64, Retry) {
        let (quota, window) = (u128::from(check.quota), u128::from(check.window_us));
        let level = self.level_now(at, check);
        let brim = quota * window;
        let wanted = level + u128::from(check.need) * window;
        let retry = match check.need {
            need if need == 0 || wanted <= brim => Retry::Now,
            need if need > check.quota => Retry::Never,
            _ => Retry::After(whole((wanted - brim).div_ceil(quota))),
        };
        (whole(brim.saturating_sub(level) / window), whole(level.div_ceil(quota)), retry)
    }

    fn level_now(&self, at: u64, check: &Check) -> u128 {
        self.level.saturating_sub(u128::from(at - self.level_at) * u128::from(check.quota))
    }
}

/// Of the checks that refuse, the one that makes the caller wait longest; the first of equals.
fn longest_wait(lines: &[Line]) -> Option<usize> {
    let longest = lines.iter().map(|line| line.retry).max()?;
    lines.iter().position(|line| line.retry == longest)
}

/// The line with the smallest share left; the first of equals.
fn smallest_share(lines: &[Line]) -> Option<usize> {
    let share_below = |a: &Line, b: &Line| {
        u128::from(a.remaining) * u128::from(b.quota) < u128::from(b.remaining) * u128::from(a.quota)
    };
    let mut smallest = 0;
    for index in 1..lines.len() {
        if share_below(&lines[index], &lines[smallest]) {
            smallest = index;
        }
    }
    (!lines.is_empty()).then_some(smallest)
}

fn whole(number: u128) -> u64 {
    u64::try_from(number).expect("a number of a sane size")
}
