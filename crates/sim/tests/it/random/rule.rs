//! How one limit counts, as the model has it: every charge is kept, and added up anew for each question.

use super::calendar;
use super::description::{Algorithm, Amount, Begins, Length, Limit};
use super::model::Wait;

/// A quota as it is counted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rule {
    algorithm: Algorithm,
    amount: u64,
    /// The most that ever fits at once.
    pub(super) burst: u64,
    windows: Windows,
}

/// How long windows are and where they begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Windows {
    /// In microseconds, from 1970 on.
    Clock(u64),
    First(u64),
    Days(&'static str),
    Months(&'static str),
}

/// What tells counters apart that are of one limit and the same values: quotas of different windows count apart, and so
/// do buckets unless they fill in the same time and count in the same fractions of a microsecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Scale {
    InFlight,
    Windows(Windows),
    Bucket { fill: i128, fraction: i128 },
}

const DAY: u64 = 86_400_000_000;

impl Rule {
    pub(super) fn of(limit: &Limit, file_zone: Option<&'static str>, amount: Amount) -> Rule {
        let (is_fixed, zone) = (limit.algorithm == Algorithm::Fixed, file_zone.unwrap_or("UTC"));
        let windows = match (amount.window, limit.begins) {
            (Length::Month, Begins::In(zone)) => Windows::Months(zone),
            (Length::Month, _) => Windows::Months(zone),
            (Length::Span(length), Begins::First) => Windows::First(length),
            (Length::Span(DAY), Begins::In(zone)) if zone != "UTC" => Windows::Days(zone),
            (Length::Span(DAY), Begins::Clock) if is_fixed && zone != "UTC" => Windows::Days(zone),
            (Length::Span(length), _) => Windows::Clock(length),
        };
        let burst = amount.burst.unwrap_or(amount.amount);
        Rule { algorithm: limit.algorithm, amount: amount.amount, burst, windows }
    }

    pub(super) fn scale(&self) -> Scale {
        let (interval, fraction) = self.interval();
        match self.algorithm {
            Algorithm::Concurrency => Scale::InFlight,
            Algorithm::Fixed | Algorithm::Sliding { .. } => Scale::Windows(self.windows),
            Algorithm::Bucket if self.amount == 0 => Scale::Bucket { fill: 0, fraction: 0 },
            Algorithm::Bucket => Scale::Bucket { fill: i128::from(self.burst) * interval / fraction, fraction },
        }
    }

    /// The length of the window that `now` is in.
    pub(super) fn window_at(&self, now: u64) -> u64 {
        match self.windows {
            Windows::Clock(length) | Windows::First(length) => length,
            Windows::Days(_) | Windows::Months(_) => {
                let (start, end) = self.fixed_window(now.into());
                whole(end - start)
            }
        }
    }

    /// The window by clock or calendar that an instant is in.
    fn fixed_window(&self, at: i128) -> (i128, i128) {
        let calendar = |zone, is_month| {
            let (start, end) = calendar::window_at(zone, is_month, whole(at));
            (start.into(), end.into())
        };
        match self.windows {
            Windows::Clock(length) => (at - at % i128::from(length), at - at % i128::from(length) + i128::from(length)),
            Windows::Days(zone) => calendar(zone, false),
            Windows::Months(zone) => calendar(zone, true),
            Windows::First(_) => panic!("such a window is not known from an instant"),
        }
    }

    /// Of windows that are all as long.
    fn length(&self) -> i128 {
        match self.windows {
            Windows::Clock(length) | Windows::First(length) => length.into(),
            Windows::Days(_) | Windows::Months(_) => panic!("windows of a calendar differ in length"),
        }
    }

    /// The time in which a unit comes back, as ticks, and how many ticks are a microsecond.
    fn interval(&self) -> (i128, i128) {
        if self.amount == 0 || self.algorithm != Algorithm::Bucket {
            return (0, 1);
        }
        let (mut divisor, mut rest) = (self.length(), i128::from(self.amount));
        while rest > 0 {
            (divisor, rest) = (rest, divisor % rest);
        }
        (self.length() / divisor, i128::from(self.amount) / divisor)
    }

    fn cell(&self, at: i128) -> i128 {
        at * self.cells() / self.length()
    }

    /// The first instant of a cell.
    fn start_of(&self, cell: i128) -> i128 {
        ceiling(cell * self.length(), self.cells())
    }

    fn cells(&self) -> i128 {
        let Algorithm::Sliding { cells } = self.algorithm else { panic!("only sliding windows have cells") };
        cells.into()
    }
}

/// A charge that may change.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    pub(super) units: u64,
    pub(super) at: u64,
    event: usize,
}

/// All that was ever charged to one counter.
#[derive(Clone, Debug, Default)]
pub(super) struct Book {
    events: Vec<Event>,
    /// When the last window began that began with a charge.
    opened: Option<i128>,
}

#[derive(Clone, Copy, Debug)]
struct Event {
    at: i128,
    /// Units; of a bucket ticks, and negative where it got them back.
    amount: i128,
    /// Of a bucket: the deepest that it can be in debt, in ticks.
    deepest: i128,
    /// Where the window began that a charge opened or met.
    window: Option<i128>,
    /// A refused attempt, which takes no more of a bucket than is left in it.
    is_refused: bool,
}

impl Book {
    pub(super) fn charge(&mut self, rule: &Rule, units: u64, at: u64) -> Taken {
        let now = i128::from(at);
        if let (Windows::First(_), 1..) = (rule.windows, units)
            && self.open_window(rule, now).is_none()
        {
            self.opened = Some(now);
        }
        let (interval, _) = rule.interval();
        let amount = i128::from(units) * if rule.algorithm == Algorithm::Bucket { interval } else { 1 };
        let deepest = 2 * i128::from(rule.burst) * interval;
        self.events.push(Event { at: now, amount, deepest, window: self.opened, is_refused: false });
        Taken { units, at, event: self.events.len() - 1 }
    }

    /// Charges an attempt that was refused: its units, or what is left if that is less.
    pub(super) fn refuse(&mut self, rule: &Rule, units: u64, at: u64) {
        if rule.algorithm != Algorithm::Bucket {
            let left = whole(self.remaining(rule, at.into()));
            self.charge(rule, units.min(left), at);
            return;
        }
        // What is left of a bucket may be part of a unit.
        let (interval, _) = rule.interval();
        let (amount, deepest) = (i128::from(units) * interval, i128::from(rule.burst) * interval);
        self.events.push(Event { at: at.into(), amount, deepest, window: None, is_refused: true });
    }

    /// Units that were taken turn out to be `actual`.
    pub(super) fn settle(&mut self, rule: &Rule, taken: Taken, actual: u64, now: u64) {
        match (rule.algorithm, rule.windows) {
            (Algorithm::Concurrency, _) => {}
            (Algorithm::Bucket, _) => self.correct(rule, taken, actual.into(), now.into()),
            (_, Windows::First(_)) => self.settle_late(rule, taken, actual, now.into()),
            _ => self.events[taken.event].amount = actual.into(),
        }
    }

    pub(super) fn release(&mut self, taken: Taken) {
        self.events[taken.event].amount = 0;
    }

    /// A bucket owes more as of now. Of what was too much, that is given back which cannot have come back by itself.
    fn correct(&mut self, rule: &Rule, taken: Taken, actual: i128, now: i128) {
        let (interval, rate) = rule.interval();
        let (units, at) = (i128::from(taken.units), i128::from(taken.at));
        let still_out = (units * interval - (now - at) * rate).max(0);
        let amount = ((actual - units) * interval).max(-still_out);
        self.events.push(Event {
            at: now,
            amount,
            deepest: 2 * i128::from(rule.burst) * interval,
            window: None,
            is_refused: false,
        });
    }

    /// In the window that was charged, while that is open. What is owed beyond it counts in the one that is open, as long
    /// as one that began with its demand would not be over; or begins one, with its demand or with the end of the last.
    fn settle_late(&mut self, rule: &Rule, taken: Taken, actual: u64, now: i128) {
        let at = i128::from(taken.at);
        let open = self.open_window(rule, now);
        let event = &mut self.events[taken.event];
        if open.is_some() && event.window == open && at >= open.unwrap_or(at) {
            event.amount = actual.into();
        } else if actual > taken.units && at + rule.length() > now {
            let over = self.opened.filter(|opened| self.used_since(*opened) > 0).map(|opened| opened + rule.length());
            let window = open.unwrap_or(at.max(over.unwrap_or(at)));
            self.opened = Some(window);
            self.events.push(Event {
                at: now,
                amount: (actual - taken.units).into(),
                deepest: 0,
                window: Some(window),
                is_refused: false,
            });
        }
    }

    /// Where the window began that is open, of those that begin with a charge: it is over with its time, or when all was
    /// given back.
    fn open_window(&self, rule: &Rule, now: i128) -> Option<i128> {
        let opened = self.opened.filter(|opened| opened + rule.length() > now)?;
        (self.used_since(opened) > 0).then_some(opened)
    }

    fn used_since(&self, opened: i128) -> i128 {
        self.events.iter().filter(|event| event.window == Some(opened)).map(|event| event.amount).sum()
    }

    pub(super) fn remaining(&self, rule: &Rule, now: i128) -> i128 {
        let burst = i128::from(rule.burst);
        match rule.algorithm {
            Algorithm::Bucket if rule.amount == 0 => 0,
            Algorithm::Bucket => {
                let (interval, rate) = rule.interval();
                (burst * interval - self.level(rate, now)).max(0) / interval
            }
            _ => (burst - self.used(rule, now)).max(0),
        }
    }

    pub(super) fn retry_after(&self, rule: &Rule, need: i128, now: i128) -> Wait {
        if need <= self.remaining(rule, now) {
            return Wait::None;
        }
        if need > rule.burst.into() || rule.amount == 0 {
            return Wait::Never;
        }
        let wait = match rule.algorithm {
            Algorithm::Concurrency => return Wait::Release,
            Algorithm::Fixed => self.end_of_window(rule, now).expect("a window in which something is used") - now,
            Algorithm::Sliding { .. } => {
                // Nothing changes but when a cell begins.
                let cell = rule.cell(now);
                let starts = (cell + 1..=cell + rule.cells() + 1).map(|cell| rule.start_of(cell));
                starts.into_iter().find(|start| need <= self.remaining(rule, *start)).expect("an unused window") - now
            }
            Algorithm::Bucket => {
                let (interval, rate) = rule.interval();
                ceiling(self.level(rate, now) + (need - i128::from(rule.burst)) * interval, rate)
            }
        };
        Wait::For(whole(wait))
    }

    pub(super) fn reset_after(&self, rule: &Rule, now: i128) -> i128 {
        match rule.algorithm {
            Algorithm::Concurrency => 0,
            Algorithm::Fixed => self.end_of_window(rule, now).map_or(0, |end| end - now),
            Algorithm::Sliding { .. } => {
                let last = self.events.iter().rev().find(|event| event.amount > 0 && is_recent(rule, event, now));
                last.map_or(0, |last| rule.start_of(rule.cell(last.at) + rule.cells() + 1) - now)
            }
            Algorithm::Bucket if rule.amount == 0 => 0,
            Algorithm::Bucket => {
                let (_, rate) = rule.interval();
                ceiling(self.level(rate, now), rate)
            }
        }
    }

    /// Of a fixed window; none where one begins only with the next charge.
    fn end_of_window(&self, rule: &Rule, now: i128) -> Option<i128> {
        match rule.windows {
            Windows::First(_) => self.open_window(rule, now).map(|start| start + rule.length()),
            _ => Some(rule.fixed_window(now).1),
        }
    }

    /// Units that count, of all algorithms but the bucket.
    fn used(&self, rule: &Rule, now: i128) -> i128 {
        let all = self.events.iter();
        match (rule.algorithm, rule.windows) {
            (Algorithm::Bucket | Algorithm::Concurrency, _) => all.map(|event| event.amount).sum(),
            (Algorithm::Sliding { .. }, _) => {
                all.filter(|event| is_recent(rule, event, now)).map(|event| event.amount).sum()
            }
            (Algorithm::Fixed, Windows::First(_)) => {
                self.open_window(rule, now).map_or(0, |opened| self.used_since(opened))
            }
            (Algorithm::Fixed, _) => {
                let (start, end) = rule.fixed_window(now);
                all.filter(|event| (start..end).contains(&event.at)).map(|event| event.amount).sum()
            }
        }
    }

    /// What is in the vessel at `now`, in ticks: `rate` of them leak away with each microsecond. A debt is at most a second
    /// bucket.
    fn level(&self, rate: i128, now: i128) -> i128 {
        let (mut level, mut seen) = (0, 0);
        for event in &self.events {
            level = (level - (event.at - seen) * rate).max(0);
            let after = (level + event.amount).clamp(0, event.deepest);
            level = if event.is_refused { after.max(level) } else { after };
            seen = event.at;
        }
        (level - (now - seen) * rate).max(0)
    }
}

/// Whether a sliding window still counts it.
fn is_recent(rule: &Rule, event: &Event, now: i128) -> bool {
    rule.cell(event.at) + rule.cells() >= rule.cell(now)
}

fn ceiling(of: i128, by: i128) -> i128 {
    (of + by - 1).div_euclid(by)
}

pub(super) fn whole(number: i128) -> u64 {
    u64::try_from(number).expect("a number that is neither negative nor huge")
}
