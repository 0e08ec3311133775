//! A slow, honest model of one counter: the list of what was admitted, and exact arithmetic on it.
//!
//! It shares no code and no formula with the engine. Windows sum over the list. A bucket is a vessel that leaks: its
//! level, in units × window, is replayed from the first event, so that every number is whole.

use tidegate_core::{Algorithm, Align, Quota, Wait};

use crate::samples::lengths;

#[derive(Clone, Debug)]
pub(crate) struct Oracle {
    algorithm: Algorithm,
    amount: i128,
    window: i128,
    burst: i128,
    begins: Begins,
    pub(crate) events: Vec<Event>,
}

/// Where fixed windows begin.
#[derive(Clone, Debug)]
enum Begins {
    Clock,
    First,
    /// After each of these lengths; the last is that of all later windows.
    After(Vec<i128>),
}

/// Units that were taken at an instant, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) at: i128,
    pub(crate) units: i128,
    /// It was refused: as much is charged as is left.
    pub(crate) is_refused: bool,
}

/// What the model says; spans in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) remaining: i128,
    pub(crate) reset_after: i128,
    pub(crate) retry_after: Wait,
}

impl Oracle {
    pub(crate) fn new(algorithm: Algorithm, quota: Quota) -> Oracle {
        Oracle {
            algorithm,
            amount: quota.amount.into(),
            window: quota.window.as_micros().into(),
            burst: quota.burst.into(),
            begins: match quota.align {
                Align::Clock => Begins::Clock,
                Align::First => Begins::First,
                Align::Calendar(calendar) => {
                    Begins::After(lengths(calendar.name().parse().unwrap()).map(i128::from).collect())
                }
            },
            events: Vec::new(),
        }
    }

    /// Records what was admitted; `at` must not be before the last event.
    pub(crate) fn admit(&mut self, at: u64, units: u64) {
        let at = i128::from(at);
        assert!(self.events.last().is_none_or(|last| last.at <= at), "the model's time never runs backwards");
        self.events.push(Event { at, units: units.into(), is_refused: false });
    }

    /// Records an attempt that was refused and counts all the same.
    pub(crate) fn refuse(&mut self, at: u64, units: u64) {
        let (at, units) = (i128::from(at), i128::from(units));
        let units = match self.algorithm {
            Algorithm::TokenBucket => units,
            _ => units.min(self.remaining(at)),
        };
        self.events.push(Event { at, units, is_refused: true });
    }

    pub(crate) fn ask(&self, need: u64, now: u64) -> Answer {
        let (need, now) = (i128::from(need), i128::from(now));
        Answer {
            remaining: self.remaining(now),
            reset_after: self.reset_after(now),
            retry_after: self.retry_after(need, now),
        }
    }

    pub(crate) fn remaining(&self, now: i128) -> i128 {
        match self.algorithm {
            Algorithm::TokenBucket if self.amount == 0 => 0,
            Algorithm::TokenBucket => (self.burst * self.window - self.level(now)).max(0) / self.window,
            _ => (self.amount - self.used(now)).max(0),
        }
    }

    fn retry_after(&self, need: i128, now: i128) -> Wait {
        if need == 0 || need <= self.remaining(now) {
            return Wait::None;
        }
        if need > self.burst || self.amount == 0 {
            return Wait::Never;
        }
        let at = match self.algorithm {
            Algorithm::Concurrency => return Wait::Release,
            Algorithm::FixedWindow => self.window_end(now),
            Algorithm::SlidingWindow { .. } => {
                let cell = self.cell(now);
                let starts = (cell + 1..).map(|cell| self.cell_start(cell));
                starts.into_iter().find(|start| need <= self.remaining(*start)).unwrap()
            }
            Algorithm::TokenBucket => {
                let excess = self.level(now) + (need - self.burst) * self.window;
                now + ceiling(excess, self.amount)
            }
        };
        Wait::For(tidegate_core::Span::from_micros(u64::try_from(at - now).unwrap()))
    }

    fn reset_after(&self, now: i128) -> i128 {
        match self.algorithm {
            Algorithm::Concurrency => 0,
            Algorithm::FixedWindow if self.is_unopened(now) => 0,
            Algorithm::FixedWindow => self.window_end(now) - now,
            Algorithm::SlidingWindow { .. } => {
                let last = self.events.iter().rev().find(|event| event.units > 0 && self.counts(event, now));
                last.map_or(0, |last| self.cell_start(self.cell(last.at) + self.cells() + 1) - now)
            }
            Algorithm::TokenBucket if self.amount == 0 => 0,
            Algorithm::TokenBucket => ceiling(self.level(now), self.amount),
        }
    }

    /// Units that count at `now`, of all algorithms but the bucket.
    fn used(&self, now: i128) -> i128 {
        self.events.iter().filter(|event| self.counts(event, now)).map(|event| event.units).sum()
    }

    fn counts(&self, event: &Event, now: i128) -> bool {
        match self.algorithm {
            Algorithm::FixedWindow => self.window_start(event.at) == self.window_start(now),
            Algorithm::SlidingWindow { .. } => self.cell(event.at) >= self.cell(now) - self.cells(),
            Algorithm::TokenBucket | Algorithm::Concurrency => true,
        }
    }

    fn window_start(&self, at: i128) -> i128 {
        self.window_around(at).0
    }

    fn window_end(&self, at: i128) -> i128 {
        self.window_around(at).1
    }

    /// The window that an instant is in: its first, and the first after it.
    fn window_around(&self, at: i128) -> (i128, i128) {
        match &self.begins {
            Begins::Clock => {
                let start = at.div_euclid(self.window) * self.window;
                (start, start + self.window)
            }
            Begins::First => {
                let start = self.opened(at).unwrap_or(at);
                (start, start + self.window)
            }
            Begins::After(lengths) => {
                let mut start = 0;
                for length in lengths {
                    if at < start + length {
                        return (start, start + length);
                    }
                    start += length;
                }
                let length = lengths.last().unwrap();
                let start = start + (at - start).div_euclid(*length) * length;
                (start, start + length)
            }
        }
    }

    /// The first charge of the window that an instant is in: windows begin with a charge after the one before is over.
    fn opened(&self, at: i128) -> Option<i128> {
        let mut opened: Option<i128> = None;
        for event in self.events.iter().filter(|event| event.units > 0 && event.at <= at) {
            if opened.is_none_or(|opened| opened + self.window <= event.at) {
                opened = Some(event.at);
            }
        }
        opened.filter(|opened| at < opened + self.window)
    }

    fn is_unopened(&self, at: i128) -> bool {
        matches!(self.begins, Begins::First) && self.opened(at).is_none()
    }

    fn cells(&self) -> i128 {
        let Algorithm::SlidingWindow { cells } = self.algorithm else {
            unreachable!("only sliding windows have cells")
        };
        cells.into()
    }

    fn cell(&self, at: i128) -> i128 {
        (at * self.cells()).div_euclid(self.window)
    }

    fn cell_start(&self, cell: i128) -> i128 {
        ceiling(cell * self.window, self.cells())
    }

    /// The bucket's level at `now`, in units × window: each microsecond `amount` of it leaks away.
    pub(crate) fn level(&self, now: i128) -> i128 {
        let mut level = 0;
        let mut seen = 0;
        for event in &self.events {
            level = (level - (event.at - seen) * self.amount).max(0);
            let full = level + event.units * self.window;
            level = if event.is_refused { full.min(self.burst * self.window).max(level) } else { full };
            seen = event.at;
        }
        (level - (now - seen) * self.amount).max(0)
    }

    /// I1, I2, I3, I5: over what was admitted, no interval holds more than the algorithm promises.
    pub(crate) fn check_promise(&self) {
        for (index, first) in self.events.iter().enumerate() {
            let mut sum = 0;
            for event in self.events[index..].iter().filter(|event| !event.is_refused) {
                sum += event.units;
                let most = match self.algorithm {
                    Algorithm::FixedWindow if self.window_start(first.at) != self.window_start(event.at) => break,
                    Algorithm::SlidingWindow { .. } if event.at - first.at >= self.window => break,
                    Algorithm::TokenBucket => self.burst + (event.at - first.at) * self.amount / self.window,
                    _ => self.amount,
                };
                assert!(sum <= most, "{sum} units in [{}, {}], at most {most} are promised", first.at, event.at);
            }
        }
    }
}

fn ceiling(dividend: i128, divisor: i128) -> i128 {
    dividend.div_euclid(divisor) + i128::from(dividend.rem_euclid(divisor) != 0)
}
