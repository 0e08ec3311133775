//! How a counter counts: quota and algorithm make a [`Rule`]; a rule reads and writes the few words of a counter's state.
//!
//! Every algorithm keeps one convention: **word 0 of a state is the instant, in microseconds since 1970, from which the
//! state is as good as fresh**. A store forgets such a state freely, and knows no more about it. A state of zeros is
//! fresh. `now` never runs backwards inside a counter: an earlier `now` counts as the newest that its state has seen.

mod calendar;
mod ceiling;
mod concurrency;
mod fixed_window;
mod sliding_window;
mod token_bucket;
mod worst_case;

use std::fmt;

use crate::{Span, Timestamp, bounds};

pub use calendar::{Calendar, CalendarError};
pub use ceiling::{Cover, Needs};

/// An amount per window, and how much of it may be used at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Quota {
    /// Units per window; zero blocks everything.
    pub amount: u64,
    /// The window's length; of a calendar, that of its longest. Concurrency has none: its window is zero.
    pub window: Span,
    /// Most units at once of a token bucket; equal to `amount` for the other algorithms.
    pub burst: u64,
    /// Where fixed windows begin.
    pub align: Align,
}

impl Quota {
    /// `amount` units per `window`, all of them at once if need be.
    pub const fn per(amount: u64, window: Span) -> Quota {
        Quota { amount, window, burst: amount, align: Align::Clock }
    }

    /// `amount` units in each window of `calendar`.
    pub fn in_each(amount: u64, calendar: Calendar) -> Quota {
        Quota { align: Align::Calendar(calendar), ..Quota::per(amount, calendar.longest()) }
    }
}

/// Where fixed windows begin. Other algorithms know only the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Align {
    /// At multiples of their length since 1970-01-01T00:00:00 UTC.
    #[default]
    Clock,
    /// With the first charge after the last window was over.
    First,
    /// Where a calendar says.
    Calendar(Calendar),
}

/// The way a quota is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// At most the amount in each window; [`Align`] says where these begin. Up to twice the amount in a span of that
    /// length that straddles two.
    FixedWindow,
    /// At most the amount in any window whatever: the window has `cells` cells, and the oldest counts whole until it
    /// is wholly past.
    SlidingWindow {
        /// Cells of one window, 1 to [`bounds::MAX_CELLS`].
        cells: u16,
    },
    /// At most burst + rate × t in any t (GCRA): units come back one by one.
    TokenBucket,
    /// At most the amount at the same time.
    Concurrency,
}

impl Algorithm {
    /// Its name in policies and answers.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::FixedWindow => "fixed-window",
            Algorithm::SlidingWindow { .. } => "sliding-window",
            Algorithm::TokenBucket => "token-bucket",
            Algorithm::Concurrency => "concurrency",
        }
    }
}

/// How long until a cost would fit. Ordered from shortest to longest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Wait {
    /// It fits now.
    #[default]
    None,
    /// It fits after this span, if nobody else spends, and not a microsecond earlier. Never zero.
    For(Span),
    /// It fits when somebody who holds releases; nobody knows when.
    Release,
    /// It fits never: the cost is above the quota.
    Never,
}

/// One limit's answer, at one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Status {
    /// Units that fit at once; one more does not.
    pub remaining: u64,
    /// Time until the quota is whole again: of a fixed window, its end; zero for an unused bucket.
    pub reset_after: Span,
    /// How long until the cost that was asked for would fit.
    pub retry_after: Wait,
}

impl Status {
    /// Whether the cost that was asked for fits.
    pub fn fits(&self) -> bool {
        self.retry_after == Wait::None
    }

    /// The end of the window that a demand at `now` counts in; none where one would begin with it.
    pub fn window_end(&self, now: Timestamp) -> Option<Timestamp> {
        (!self.reset_after.is_zero()).then(|| now.plus(self.reset_after))
    }

    /// The same where nothing is asked for, which always fits.
    pub fn of_nothing(self) -> Status {
        Status { retry_after: Wait::None, ..self }
    }
}

/// A quota and the algorithm that counts it, checked and ready to count.
///
/// ```
/// use tidegate_core::{Algorithm, Quota, Rule, Span, Timestamp, Wait};
///
/// let rule = Rule::new(Algorithm::TokenBucket, Quota::per(4, Span::from_secs(1)))?;
/// let mut state = vec![0; rule.state_words()];
/// let now = Timestamp::from_secs(1_706_774_400);
/// rule.charge(&mut state, 4, now);
/// assert_eq!(rule.peek(&state, 1, now).retry_after, Wait::For(Span::from_micros(250_000)));
/// # Ok::<(), tidegate_core::RuleError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    quota: Quota,
    algorithm: Algorithm,
    /// Token bucket only: the interval between two units in microseconds, in lowest terms.
    interval: token_bucket::Interval,
    /// When it came into force, in microseconds since 1970, if that is known.
    since: u64,
}

impl Rule {
    /// The rule that counts `quota` by `algorithm`.
    ///
    /// # Errors
    ///
    /// A number is outside its bound (`bounds.rs`), or the algorithm cannot count such a quota exactly.
    pub fn new(algorithm: Algorithm, quota: Quota) -> Result<Rule, RuleError> {
        if quota.amount > bounds::MAX_AMOUNT || quota.burst > bounds::MAX_AMOUNT {
            return Err(RuleError::AmountTooLarge);
        }
        let windowed = algorithm != Algorithm::Concurrency;
        if windowed && (quota.window < bounds::MIN_WINDOW || quota.window > bounds::MAX_WINDOW) {
            return Err(RuleError::WindowOutOfBounds);
        }
        if algorithm != Algorithm::TokenBucket && quota.burst != quota.amount {
            return Err(RuleError::BurstWithoutBucket);
        }
        match quota.align {
            Align::Clock => {}
            _ if algorithm != Algorithm::FixedWindow => return Err(RuleError::AlignWithoutFixedWindow),
            Align::Calendar(calendar) if calendar.longest() != quota.window => {
                return Err(RuleError::WindowOutOfBounds);
            }
            _ => {}
        }
        let interval = match algorithm {
            Algorithm::TokenBucket => token_bucket::Interval::of(quota)?,
            Algorithm::SlidingWindow { cells } if cells == 0 || cells > bounds::MAX_CELLS => {
                return Err(RuleError::CellsOutOfBounds);
            }
            _ => token_bucket::Interval::default(),
        };
        Ok(Rule { quota, algorithm, interval, since: 0 })
    }

    /// The same rule, in force since an instant. A bucket that another rule has used before is adopted as it was then.
    pub(crate) fn since(self, instant: Timestamp) -> Rule {
        Rule { since: instant.as_micros(), ..self }
    }

    /// What is counted.
    pub fn quota(&self) -> Quota {
        self.quota
    }

    /// How it is counted.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The most units that can ever fit at once: what a status calls its limit.
    pub fn limit(&self) -> u64 {
        self.quota.burst
    }

    /// The length of the window that `now` is in: the quota's, but of a calendar, as long as it is just then.
    pub fn window_at(&self, now: Timestamp) -> Span {
        match self.quota.align {
            Align::Calendar(calendar) => {
                let (start, end) = calendar.window_at(now);
                end.since(start)
            }
            Align::Clock | Align::First => self.quota.window,
        }
    }

    /// Words of state that a counter of this rule needs.
    pub fn state_words(&self) -> usize {
        match self.algorithm {
            Algorithm::FixedWindow | Algorithm::TokenBucket | Algorithm::Concurrency => 2,
            Algorithm::SlidingWindow { cells } => sliding_window::state_words(cells),
        }
    }

    /// What a state's words stand for, beside what the algorithm says: in the upper half the time in which all that is
    /// used comes back, in the lower what fractions a bucket counts in. Rules of one limit that have it in common read
    /// each other's states exactly; to others, a state could look as if the clock had stepped.
    pub(crate) fn scale(&self) -> u128 {
        match self.algorithm {
            Algorithm::FixedWindow | Algorithm::SlidingWindow { .. } => match self.quota.align {
                Align::Clock => u128::from(self.quota.window.as_micros()) << 64,
                Align::First => u128::from(self.quota.window.as_micros()) << 64 | 1,
                Align::Calendar(calendar) => u128::from(calendar.id()) << 64 | 2,
            },
            Algorithm::TokenBucket => self.interval.scale(),
            Algorithm::Concurrency => 0,
        }
    }

    /// What a counter in `state` says at `now` to a cost of `need` units. Changes nothing.
    ///
    /// `state` has at least [`Rule::state_words`] words; words beyond are ignored. A `need` of zero always fits.
    #[inline]
    pub fn peek(&self, state: &[u64], need: u64, now: Timestamp) -> Status {
        match self.algorithm {
            Algorithm::FixedWindow => fixed_window::peek(self, state, need, now),
            Algorithm::SlidingWindow { cells } => sliding_window::peek(self, cells, state, need, now),
            Algorithm::TokenBucket => token_bucket::peek(self, state, need, now),
            Algorithm::Concurrency => concurrency::peek(self, state, need),
        }
    }

    /// Charges `take` units as of `now` and says how the counter stands then, with no wait.
    ///
    /// The caller has peeked and found that it fits; this charges whatever it is told to, also beyond the limit, as the
    /// settling of a cost that was known only afterwards must.
    #[inline]
    pub fn charge(&self, state: &mut [u64], take: u64, now: Timestamp) -> Status {
        match self.algorithm {
            Algorithm::TokenBucket => return token_bucket::charge(self, state, take, now),
            Algorithm::FixedWindow => fixed_window::charge(self, state, take, now),
            Algorithm::SlidingWindow { cells } => sliding_window::charge(self, cells, state, take, now),
            Algorithm::Concurrency => concurrency::charge(state, take),
        }
        Status { retry_after: Wait::None, ..self.peek(state, 0, now) }
    }

    /// Charges as much of `take` units as is left as of `now`, and says how the counter then answers such a cost: what an
    /// attempt that is refused costs a limit that counts refused attempts.
    ///
    /// Of a token bucket, the fraction of a unit that has come back is left too: it is emptied, and never below empty.
    pub fn charge_left(&self, state: &mut [u64], take: u64, now: Timestamp) -> Status {
        match self.algorithm {
            Algorithm::TokenBucket => token_bucket::charge_left(self, state, take, now),
            _ => {
                let left = self.peek(state, 0, now).remaining;
                self.charge(state, take.min(left), now);
            }
        }
        self.peek(state, take, now)
    }

    /// Whether [`Rule::charge_left`] can take anything from a counter that says `status`.
    #[inline]
    pub fn has_left(&self, status: Status) -> bool {
        let may_have_a_fraction = self.algorithm == Algorithm::TokenBucket && !status.reset_after.is_zero();
        status.remaining > 0 || may_have_a_fraction
    }

    /// [`Rule::peek`] and, where `need` fits and `take` is not zero, [`Rule::charge`], read once: what the counter says
    /// to `need` if it was not charged, and how it stands then if it was.
    #[inline(always)]
    pub fn spend(&self, state: &mut [u64], need: u64, take: u64, now: Timestamp) -> Status {
        match self.algorithm {
            Algorithm::TokenBucket if take > 0 => token_bucket::spend(self, state, need, take, now),
            _ => self.peek_and_charge(state, need, take, now),
        }
    }

    fn peek_and_charge(&self, state: &mut [u64], need: u64, take: u64, now: Timestamp) -> Status {
        let status = self.peek(state, need, now);
        if status.fits() && take > 0 { self.charge(state, take, now) } else { status }
    }

    /// The instant that a demand at `at` counted as where the counter said `status`: `at`, or the beginning of a window or
    /// cell that somebody had opened whose clock reading was a little later. A charge is to be adjusted as of then.
    pub fn counted_as(&self, status: Status, at: Timestamp) -> Timestamp {
        let end = at.plus(status.reset_after);
        match self.algorithm {
            _ if status.reset_after.is_zero() => at,
            Algorithm::FixedWindow => at.max(fixed_window::start_of_window(self, end)),
            Algorithm::SlidingWindow { cells } => at.max(sliding_window::start_of_newest(self, cells, end)),
            Algorithm::TokenBucket | Algorithm::Concurrency => at,
        }
    }

    /// Replaces a charge of `taken` units made at `taken_at` by the `actual` units, known at `now`.
    ///
    /// The difference lands in the window that was charged; if that window is over, nothing changes. More than the
    /// limit may come out: then nothing is left until enough of it has passed. Never gives back more than `taken`.
    ///
    /// A bucket has no windows. It owes more as of `now`, at most one burst below empty; it gets back only what cannot
    /// have come back by itself since `taken_at`, so that it never pays for the charges of others.
    pub fn adjust(&self, state: &mut [u64], taken: u64, actual: u64, taken_at: Timestamp, now: Timestamp) {
        match self.algorithm {
            Algorithm::FixedWindow => fixed_window::adjust(self, state, taken, actual, taken_at, now),
            Algorithm::SlidingWindow { cells } => {
                sliding_window::adjust(self, cells, state, taken, actual, taken_at, now);
            }
            Algorithm::TokenBucket => token_bucket::adjust(self, state, taken, actual, taken_at, now),
            Algorithm::Concurrency => concurrency::adjust(state, taken, actual),
        }
    }
}

/// The instant from which a state, of any algorithm, is as good as fresh.
pub fn idle_at(state: &[u64]) -> Timestamp {
    Timestamp::from_micros(state[0])
}

/// Why a quota cannot be counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RuleError {
    /// Amount or burst is above [`bounds::MAX_AMOUNT`].
    AmountTooLarge,
    /// The window is shorter than [`bounds::MIN_WINDOW`] or longer than [`bounds::MAX_WINDOW`].
    WindowOutOfBounds,
    /// A burst was given to an algorithm that has none.
    BurstWithoutBucket,
    /// Windows that do not begin by the clock, of an algorithm that has no others.
    AlignWithoutFixedWindow,
    /// A sliding window has no cell or more than [`bounds::MAX_CELLS`].
    CellsOutOfBounds,
    /// The interval of a token bucket needs a fraction finer than [`bounds::MAX_INTERVAL_DENOMINATOR`].
    IntervalTooFine,
    /// An empty token bucket takes longer than [`bounds::MAX_FILL`] to fill.
    FillTooLong,
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RuleError::AmountTooLarge => write!(f, "amounts go up to {}", bounds::MAX_AMOUNT),
            RuleError::WindowOutOfBounds => write!(f, "windows go from 1 ms to 366 days"),
            RuleError::BurstWithoutBucket => write!(f, "only a token bucket has a burst"),
            RuleError::AlignWithoutFixedWindow => write!(f, "only fixed windows begin otherwise than by the clock"),
            RuleError::CellsOutOfBounds => write!(f, "a sliding window has 1 to {} cells", bounds::MAX_CELLS),
            RuleError::IntervalTooFine => {
                write!(f, "the interval between two units has no exact fraction; choose a rounder amount")
            }
            RuleError::FillTooLong => write!(f, "the burst takes longer than 10,000 years to come back"),
        }
    }
}

impl std::error::Error for RuleError {}
