//! Rules, demands and gaps to draw from: the ordinary, the prime and the extreme.

use std::sync::OnceLock;

use proptest::prelude::*;
use proptest::test_runner::Config;
use tidegate_core::{Algorithm, Align, Calendar, Quota, Rule, Span, Timestamp, Wait};

/// The configuration of a property: `cases`, times `TIDEGATE_CASES` for a long run.
pub(crate) fn cases(cases: u32) -> Config {
    let times = std::env::var("TIDEGATE_CASES").ok().map_or(1, |times| times.parse().unwrap());
    Config {
        cases: cases * times,
        failure_persistence: None,
        max_local_rejects: u32::MAX,
        max_global_rejects: cases * times,
        max_shrink_iters: 20_000,
        ..Config::default()
    }
}

/// A rule and what it was made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) rule: Rule,
    pub(crate) algorithm: Algorithm,
    pub(crate) quota: Quota,
}

impl Sample {
    pub(crate) fn of(algorithm: Algorithm, quota: Quota) -> Option<Sample> {
        Rule::new(algorithm, quota).ok().map(|rule| Sample { rule, algorithm, quota })
    }

    pub(crate) fn fresh(&self) -> Vec<u64> {
        vec![0; self.rule.state_words()]
    }

    /// What a step of the clock may cost: the time after which this rule is whole again, one window longer.
    pub(crate) fn longest_lockout(&self) -> u64 {
        let window = self.quota.window.as_micros();
        match self.algorithm {
            Algorithm::FixedWindow => 2 * window,
            Algorithm::SlidingWindow { cells } => 2 * (window + window.div_ceil(cells.into())),
            // And an eighth: so far ahead a ceiling on disk may have been written (`counter/ceiling.rs`).
            Algorithm::TokenBucket => u64::try_from(2 * self.fill() + self.fill() / 8).unwrap_or(u64::MAX),
            Algorithm::Concurrency => 0,
        }
    }

    /// The longest wait there is: with a debt of a whole bucket beside.
    pub(crate) fn longest_wait(&self) -> u64 {
        let debt = if self.algorithm == Algorithm::TokenBucket { self.fill() } else { 0 };
        self.longest_lockout().saturating_add(u64::try_from(debt).unwrap_or(u64::MAX))
    }

    /// The time in which an empty bucket fills, in microseconds, rounded up.
    pub(crate) fn fill(&self) -> u128 {
        let whole = u128::from(self.quota.burst) * u128::from(self.quota.window.as_micros());
        whole.div_ceil(u128::from(self.quota.amount.max(1)))
    }
}

pub(crate) fn algorithms() -> impl Strategy<Value = Algorithm> {
    let cells = prop_oneof![Just(1), Just(2), Just(3), Just(10), Just(60), Just(61), 1_u16..=61];
    prop_oneof![
        Just(Algorithm::FixedWindow),
        cells.prop_map(|cells| Algorithm::SlidingWindow { cells }),
        Just(Algorithm::TokenBucket),
        Just(Algorithm::TokenBucket),
        Just(Algorithm::Concurrency),
    ]
}

/// Rules of every algorithm; of a bucket, also with bursts that differ from the amount.
pub(crate) fn rules() -> impl Strategy<Value = Sample> {
    algorithms().prop_flat_map(rules_of)
}

/// Rules that count what was used in a window.
pub(crate) fn windowed_rules() -> impl Strategy<Value = Sample> {
    prop_oneof![Just(Algorithm::FixedWindow), (1_u16..=61).prop_map(|cells| Algorithm::SlidingWindow { cells })]
        .prop_flat_map(rules_of)
}

/// Rules whose answers change as time passes.
pub(crate) fn timed_rules() -> impl Strategy<Value = Sample> {
    algorithms().prop_filter("concurrency knows no time", |of| *of != Algorithm::Concurrency).prop_flat_map(rules_of)
}

pub(crate) fn rules_of(algorithm: Algorithm) -> impl Strategy<Value = Sample> {
    let burst = prop_oneof![3 => Just(None), 1 => (0_u64..4).prop_map(Some), 2 => amounts().prop_map(Some)];
    (amounts(), windows(), burst, aligns()).prop_filter_map(
        "a rule that exists",
        move |(amount, window, burst, align)| {
            let burst = burst.filter(|_| algorithm == Algorithm::TokenBucket).unwrap_or(amount);
            let window = if algorithm == Algorithm::Concurrency { Span::ZERO } else { window };
            match align {
                Align::Calendar(calendar) if algorithm == Algorithm::FixedWindow => {
                    return Sample::of(algorithm, Quota::in_each(amount, calendar));
                }
                Align::First if algorithm == Algorithm::FixedWindow => {
                    return Sample::of(algorithm, Quota { align, ..Quota::per(amount, window) });
                }
                _ => {}
            }
            Sample::of(algorithm, Quota { burst, ..Quota::per(amount, window) })
        },
    )
}

fn aligns() -> impl Strategy<Value = Align> {
    let calendar = (0..CALENDARS.len()).prop_map(|index| Align::Calendar(calendar(index)));
    prop_oneof![2 => Just(Align::Clock), 1 => Just(Align::First), 1 => calendar]
}

/// Calendars by the lengths of their windows, in microseconds; the last goes on for ever.
pub(crate) const CALENDARS: &[&[u64]] = &[
    &[5_000_000, 1_000_000, 7_000_000, 1_000],
    &[10_800_000_000, 86_400_000_000, 82_800_000_000, 90_000_000_000, 86_400_000_000],
    &[31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31],
];

/// One of the calendars; the third counts in days.
pub(crate) fn calendar(index: usize) -> Calendar {
    static MADE: OnceLock<Vec<Calendar>> = OnceLock::new();
    let made = MADE.get_or_init(|| (0..CALENDARS.len()).map(made_calendar).collect());
    made[index]
}

fn made_calendar(index: usize) -> Calendar {
    let starts = lengths(index).scan(0, |at, length| {
        *at += length;
        Some(Timestamp::from_micros(*at))
    });
    Calendar::leaked(&index.to_string(), std::iter::once(Timestamp::ZERO).chain(starts).collect()).unwrap()
}

/// The lengths of a calendar's windows in microseconds.
pub(crate) fn lengths(index: usize) -> impl Iterator<Item = u64> {
    CALENDARS[index].iter().map(move |length| if index == 2 { length * 86_400_000_000 } else { *length })
}

fn amounts() -> impl Strategy<Value = u64> {
    prop_oneof![
        8 => prop::sample::select(vec![1, 2, 3, 5, 7, 10, 30, 60, 99, 100, 997, 1_000, 10_000]),
        1 => Just(0),
        2 => prop::sample::select(vec![4_093, 99_991, 1_000_000_000, (1 << 32) - 5, 1 << 32, (1 << 53) - 1]),
        2 => 1_u64..2_000,
        1 => 1_u64..(1 << 53),
    ]
}

fn windows() -> impl Strategy<Value = Span> {
    let day = 86_400_000_000;
    prop_oneof![
        6 => prop::sample::select(vec![1_000, 7_000, 1_000_000, 5_000_000, 60_000_000, 3_600_000_000, day, 366 * day]),
        2 => 1_000_u64..1_000_000,
        1 => 1_000_u64..366 * day,
    ]
    .prop_map(Span::from_micros)
}

/// A beginning: at the very first instant, today, or in two thousand years.
pub(crate) fn beginnings() -> impl Strategy<Value = u64> {
    prop_oneof![
        1 => Just(0),
        1 => 0_u64..10_000_000,
        4 => 1_706_774_400_000_000_u64..1_706_774_400_000_000 + 366 * 86_400_000_000,
        1 => 63_000_000_000_000_000_u64..64_000_000_000_000_000,
    ]
}

/// One step of a story: time passes, then somebody asks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    pub(crate) gap: Gap,
    pub(crate) need: Need,
}

/// How much time passes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Gap {
    Micros(u64),
    /// So many 1024ths of the window.
    Part(u64),
    /// So many intervals between two units.
    Intervals(u64),
    /// Until the last refusal said, and so much longer or shorter.
    Retry(i64),
    /// Until the last status said that all is whole again, and so much longer or shorter.
    Reset(i64),
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Need {
    Units(u64),
    /// What remains, and so much more.
    Remaining(u64),
    /// The limit, and so much more.
    Limit(u64),
    /// So many 16ths of the limit.
    Part(u64),
}

pub(crate) fn steps(most: usize) -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec((gaps(), needs()).prop_map(|(gap, need)| Step { gap, need }), 1..=most)
}

pub(crate) fn gaps() -> impl Strategy<Value = Gap> {
    prop_oneof![
        4 => Just(Gap::Micros(0)),
        2 => (1_u64..4).prop_map(Gap::Micros),
        4 => (0_u64..2_500).prop_map(Gap::Part),
        2 => (0_u64..200).prop_map(Gap::Part),
        2 => (0_u64..4).prop_map(Gap::Intervals),
        3 => (-1_i64..=1).prop_map(Gap::Retry),
        1 => (-1_i64..=1).prop_map(Gap::Reset),
    ]
}

pub(crate) fn needs() -> impl Strategy<Value = Need> {
    prop_oneof![
        5 => Just(Need::Units(1)),
        1 => Just(Need::Units(0)),
        2 => (2_u64..20).prop_map(Need::Units),
        3 => (0_u64..2).prop_map(Need::Remaining),
        1 => (0_u64..2).prop_map(Need::Limit),
        3 => (1_u64..16).prop_map(Need::Part),
        1 => (0_u64..(1 << 53)).prop_map(Need::Units),
    ]
}

/// Where a story is, and what it was told last.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Story {
    pub(crate) now: u64,
    retry_after: u64,
    reset_after: u64,
}

impl Story {
    pub(crate) fn begin(now: u64) -> Story {
        Story { now, retry_after: 0, reset_after: 0 }
    }

    /// The same story, on a clock that reads `now`.
    pub(crate) fn at(&self, now: u64) -> Story {
        Story { now, ..*self }
    }

    pub(crate) fn timestamp(&self) -> Timestamp {
        Timestamp::from_micros(self.now)
    }

    pub(crate) fn pass(&mut self, gap: Gap, sample: &Sample) {
        let window = sample.quota.window.as_micros();
        self.now += match gap {
            Gap::Micros(micros) => micros,
            Gap::Part(part) => u64::try_from(u128::from(window) * u128::from(part) / 1024).unwrap(),
            Gap::Intervals(units) => window * units / sample.quota.amount.max(1),
            Gap::Retry(more) => self.retry_after.saturating_add_signed(more),
            Gap::Reset(more) => self.reset_after.saturating_add_signed(more),
        };
    }

    /// What is asked for; at most 2^53 − 1, which is the most that a demand can say.
    pub(crate) fn units(&self, need: Need, sample: &Sample, state: &[u64]) -> u64 {
        let limit = sample.rule.limit();
        let units = match need {
            Need::Units(units) => units,
            Need::Remaining(more) => sample.rule.peek(state, 0, self.timestamp()).remaining + more,
            Need::Limit(more) => limit + more,
            Need::Part(part) => limit / 16 * part + limit % 16 * part / 16,
        };
        units.min((1 << 53) - 1)
    }

    pub(crate) fn hear(&mut self, status: tidegate_core::Status) {
        // Centuries are for the tables: a story that waits for one overflows the model before the engine.
        let soon = |span: Span| span.as_micros().min(400 * 366 * 86_400_000_000);
        self.reset_after = soon(status.reset_after);
        self.retry_after = if let Wait::For(span) = status.retry_after { soon(span) } else { 0 };
    }
}
