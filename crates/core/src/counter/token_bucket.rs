//! Token bucket as GCRA: at most burst + rate × t in any t; units come back one by one.
//!
//! The interval between two units is T = window ÷ amount, a fraction of microseconds in lowest terms. TAT, the
//! theoretical arrival time, is when all that was taken will have come back: a charge moves it to max(TAT, now) +
//! units × T. Its lead over `now`, measured in *ticks* of a microsecond ÷ denominator, is what is used: exact, however
//! long it runs, since nothing is ever rounded into the state.
//!
//! State:
//!
//! | word | holds |
//! |---|---|
//! | 0 | TAT in microseconds since 1970, rounded up |
//! | 1, low bits | the ticks by which word 0 exceeds TAT, below the denominator; none for a denominator of one |
//! | 1, high bits | the newest `now` that charged, in microseconds, modulo 2^bits |
//!
//! How the bits are shared follows from the denominator. The newest `now` is there because callers read the clock
//! before they reach the counter: of two that arrive in the wrong order, the later counts as being on time, and is not
//! refused for want of a microsecond.
//!
//! Bounds on what a clock or a settlement can do:
//!
//! - An earlier `now` counts as the newest, if it is earlier by no more than the time to fill the bucket: such a step
//!   admits nothing extra. Where the bits do not suffice for that, it counts as itself, which is only stricter.
//! - TAT is never written more than two fills ahead: one full bucket, and a debt of another. A cost that is known only
//!   afterwards and is larger still leaves that debt. So a lead above two fills, or a newest `now` more than one fill
//!   ahead, tells of a clock that stepped back far; such a state counts as fresh, and a step adds at most one burst
//!   (I10).

use super::{Quota, Rule, RuleError, Status, Wait};
use crate::{Span, Timestamp, bounds};

/// The interval between two units, in microseconds, in lowest terms; numerator zero if no unit ever comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) struct Interval {
    numerator: u64,
    denominator: u32,
    /// Bits of word 1 that hold ticks.
    tick_bits: u32,
    /// The time to fill the bucket, in microseconds.
    fill: u64,
    /// How far ahead of `now` the newest may be and still count: the time to fill the bucket; zero if it is not kept.
    horizon: u64,
}

impl Interval {
    pub(super) fn of(quota: Quota) -> Result<Interval, RuleError> {
        if quota.amount == 0 {
            return Ok(Interval::default());
        }
        let window = quota.window.as_micros();
        let divisor = greatest_common_divisor(window, quota.amount);
        let (numerator, denominator) = (window / divisor, quota.amount / divisor);
        if denominator > bounds::MAX_INTERVAL_DENOMINATOR {
            return Err(RuleError::IntervalTooFine);
        }
        let fill = u128::from(quota.burst) * u128::from(numerator) / u128::from(denominator);
        let fill = u64::try_from(fill).ok().filter(|fill| *fill <= bounds::MAX_FILL.as_micros());
        let fill = fill.ok_or(RuleError::FillTooLong)?;
        let denominator = u32::try_from(denominator).map_err(|_| RuleError::IntervalTooFine)?;
        let tick_bits = u32::BITS - (denominator - 1).leading_zeros();
        // A state lives for up to two fills after its charge. Within three, no two instants share the kept bits.
        let is_unambiguous = fill < (u64::MAX >> tick_bits) / 4;
        Ok(Interval { numerator, denominator, tick_bits, fill, horizon: if is_unambiguous { fill } else { 0 } })
    }

    /// See [`Rule::scale`].
    pub(super) fn scale(self) -> u128 {
        u128::from(self.fill) << 64 | u128::from(self.denominator)
    }

    fn ticks_of(self, units: u64) -> u128 {
        u128::from(units) * u128::from(self.numerator)
    }

    fn ticks_in(self, micros: u64) -> u128 {
        u128::from(micros) * u128::from(self.denominator)
    }

    /// Microseconds in `ticks`, rounded up; at most the end of time.
    fn micros_in(self, ticks: u128) -> u64 {
        if self.denominator == 1 {
            return u64::try_from(ticks).unwrap_or(u64::MAX);
        }
        quotient(ticks + u128::from(self.denominator - 1), u64::from(self.denominator))
    }
}

/// What is used, seen from an instant.
#[derive(Clone, Copy)]
struct Level {
    /// The later of `now` and the newest that the state has seen.
    now: u64,
    /// By how many ticks TAT is ahead of that.
    lead: u128,
}

pub(super) fn peek(rule: &Rule, state: &[u64], need: u64, now: Timestamp) -> Status {
    let interval = rule.interval;
    if interval.numerator == 0 {
        let retry_after = if need == 0 { Wait::None } else { Wait::Never };
        return Status { remaining: 0, reset_after: Span::ZERO, retry_after };
    }
    let level = Level::at(rule, state, now);
    let capacity = interval.ticks_of(rule.limit());
    let room = capacity.saturating_sub(level.lead);
    let has_room_for_one = room >= u128::from(interval.numerator);
    let remaining = if has_room_for_one { quotient(room, interval.numerator) } else { 0 };
    let cost = interval.ticks_of(need);
    let retry_after = match need {
        0 => Wait::None,
        need if need > rule.limit() => Wait::Never,
        _ if cost <= room => Wait::None,
        _ => {
            let late = level.now - now.as_micros();
            let missing = interval.micros_in(level.lead + cost - capacity);
            Wait::For(Span::from_micros(missing.saturating_add(late)))
        }
    };
    let reset_after = if level.lead == 0 { Span::ZERO } else { Timestamp::from_micros(state[0]).since(now) };
    Status { remaining, reset_after, retry_after }
}

pub(super) fn charge(rule: &Rule, state: &mut [u64], take: u64, now: Timestamp) {
    if take == 0 || rule.interval.numerator == 0 {
        return;
    }
    let level = Level::at(rule, state, now);
    Level { lead: level.lead + rule.interval.ticks_of(take), ..level }.write(rule, state);
}

/// A debt is charged as of `now`. What is given back is what of the charge cannot have come back by itself since
/// `taken_at`: never so much that it would pay for the charges of others.
pub(super) fn adjust(rule: &Rule, state: &mut [u64], taken: u64, actual: u64, taken_at: Timestamp, now: Timestamp) {
    if actual >= taken {
        return charge(rule, state, actual - taken, now);
    }
    let level = Level::at(rule, state, now);
    let back = rule.interval.ticks_in(level.now.saturating_sub(taken_at.as_micros()));
    let left = rule.interval.ticks_of(taken).saturating_sub(back);
    let given = rule.interval.ticks_of(taken - actual).min(left);
    if level.lead > 0 && given > 0 {
        Level { lead: level.lead.saturating_sub(given), ..level }.write(rule, state);
    }
}

impl Level {
    fn at(rule: &Rule, state: &[u64], now: Timestamp) -> Level {
        let (interval, now) = (rule.interval, now.as_micros());
        let fresh = Level { now, lead: 0 };
        if state[0] <= now {
            return fresh;
        }
        let most = 2 * interval.ticks_of(rule.limit());
        let counts_as = match newest(interval, state, now) {
            Some(newest) if newest - now > interval.horizon => return fresh,
            Some(newest) => newest,
            None => now,
        };
        let ticks = interval.ticks_in(state[0] - counts_as);
        let excess = Some(state[1] & low_bits(interval.tick_bits)).filter(|ticks| *ticks < interval.denominator.into());
        let lead = ticks.saturating_sub(u128::from(excess.unwrap_or(0)));
        if lead > most { fresh } else { Level { now: counts_as, lead } }
    }

    fn write(self, rule: &Rule, state: &mut [u64]) {
        let interval = rule.interval;
        let lead = self.lead.min(2 * interval.ticks_of(rule.limit()));
        if lead == 0 {
            state[..2].fill(0);
            return;
        }
        let micros = interval.micros_in(lead);
        let excess = u64::try_from(interval.ticks_in(micros) - lead).unwrap_or(0);
        state[0] = self.now.saturating_add(micros);
        // With 64 bits for the ticks nothing would be left for the instant; there are at most 32.
        state[1] = self.now << interval.tick_bits | excess;
    }
}

/// The newest `now` that the state has seen, if it is after `now`. None also if the word cannot mean that.
fn newest(interval: Interval, state: &[u64], now: u64) -> Option<u64> {
    if interval.horizon == 0 {
        return None;
    }
    let kept = state[1] & !low_bits(interval.tick_bits);
    // Two's complement makes the difference right modulo 2^bits, whichever of the two has wrapped.
    let ahead = kept.wrapping_sub(now << interval.tick_bits).cast_signed() >> interval.tick_bits;
    let ahead = u64::try_from(ahead).ok().filter(|ahead| *ahead > 0)?;
    let newest = now.checked_add(ahead)?;
    let lead = state[0].checked_sub(newest)?;
    (lead / 2 <= interval.horizon + 1).then_some(newest)
}

fn low_bits(bits: u32) -> u64 {
    (1 << bits) - 1
}

/// `ticks` ÷ `by`, rounded down; at most the end of time. Avoids the slow division of 128 bits where 64 do.
fn quotient(ticks: u128, by: u64) -> u64 {
    match u64::try_from(ticks) {
        Ok(ticks) => ticks / by,
        Err(_) => u64::try_from(ticks / u128::from(by)).unwrap_or(u64::MAX),
    }
}

fn greatest_common_divisor(mut a: u64, mut b: u64) -> u64 {
    while b > 0 {
        (a, b) = (b, a % b);
    }
    a
}
