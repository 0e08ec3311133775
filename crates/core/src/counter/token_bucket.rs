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
//! | 1, bits 0 to 23 | the mark of the rule that wrote it: its fill to three digits, its tick bits, its denominator modulo 16 |
//! | 1, the next bits | the ticks by which word 0 exceeds TAT, below the denominator; none for a denominator of one |
//! | 1, high bits | the newest `now` that charged, in microseconds, modulo 2^bits |
//!
//! How the bits above the mark are shared follows from the denominator. The newest `now` is there because callers read
//! the clock before they reach the counter: of two that arrive in the wrong order, the later counts as being on time,
//! and is not refused for want of a microsecond.
//!
//! **When the rule changes** (a reload, another plan), the mark tells that another one wrote the state. What it had used,
//! as a share of its burst, is used of the new one: the share when the new rule came into force or, if that is later,
//! when the state was last written. From then on units come back at the new rule's rate. Fractions are dropped in favour
//! of the limit: less than a microsecond, and 1/100 of the share where the fill has more than three digits.
//!
//! Bounds on what a clock or a settlement can do:
//!
//! - An earlier `now` counts as the newest, if it is earlier by no more than the time to fill the bucket: such a step
//!   admits nothing extra. Where the bits do not suffice for that, it counts as itself, which is only stricter.
//! - TAT is never written more than two fills ahead: one full bucket, and a debt of another. A cost that is known only
//!   afterwards and is larger still leaves that debt. Written down it may be an eighth of a fill more (`ceiling.rs`). So
//!   a lead above that, or a newest `now` more than one fill ahead, tells of a clock that stepped back far; such a state
//!   counts as fresh, and a step adds at most one burst (I10).

mod ticks;

use super::{Quota, Rule, RuleError, Status, Wait};
use crate::{Span, Timestamp, bounds};
use ticks::{MAX_NARROW, Ticks, quotient};

/// The interval between two units, in microseconds, in lowest terms; numerator zero if no unit ever comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) struct Interval {
    numerator: u64,
    denominator: u32,
    /// Bits of word 1 that hold ticks.
    tick_bits: u32,
    /// The time to fill the bucket, in microseconds, rounded down.
    fill: u64,
    /// What the low bits of word 1 are in a state that this rule wrote.
    mark: u64,
    /// How far ahead of `now` the newest may be and still count: the time to fill the bucket; zero if it is not kept.
    horizon: u64,
    /// The ticks of a full bucket if these are at most [`MAX_NARROW`]; else zero.
    narrow: u64,
    /// 2^64 − 1 ÷ numerator, rounded down: dividing by it is multiplying by this.
    reciprocal: u64,
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
        let horizon = if is_unambiguous(fill, MARK_BITS + tick_bits) { fill } else { 0 };
        let mark = mark(fill, tick_bits, denominator);
        let ticks = u64::try_from(u128::from(quota.burst) * u128::from(numerator));
        let narrow = ticks.ok().filter(|ticks| *ticks <= MAX_NARROW).unwrap_or(0);
        let reciprocal = u64::MAX / numerator;
        Ok(Interval { numerator, denominator, tick_bits, fill, mark, horizon, narrow, reciprocal })
    }

    /// The time in which an empty bucket fills.
    pub(super) fn fill(self) -> Span {
        Span::from_micros(self.fill)
    }

    /// Units that come back in so many microseconds, rounded up.
    pub(super) fn units_in(self, micros: u64) -> u64 {
        let ticks = u128::product(micros, self.denominator.into()) + u128::from(self.numerator.saturating_sub(1));
        quotient(ticks, self.numerator.max(1))
    }

    /// See [`Rule::scale`].
    pub(super) fn scale(self) -> u128 {
        u128::from(self.fill) << 64 | u128::from(self.denominator)
    }

    /// Bits of word 1 below the newest `now`.
    #[inline]
    fn shift(&self) -> u32 {
        MARK_BITS + self.tick_bits
    }
}

/// Whether the bits above `shift` of an instant tell which one it is. A state lives for up to two fills after its charge;
/// within three, no two instants share these bits.
fn is_unambiguous(fill: u64, shift: u32) -> bool {
    fill < (u64::MAX >> shift) / 4
}

/// Bits of a mark: four and ten of the fill, six of the tick bits, four of the denominator.
const MARK_BITS: u32 = 24;

/// The largest number of a fill in a mark; what it is multiplied with is a power of ten.
const MAX_MARK_DIGITS: u64 = (1 << 10) - 1;

fn mark(fill: u64, tick_bits: u32, denominator: u32) -> u64 {
    let (mut digits, mut tens) = (fill, 0);
    while digits > MAX_MARK_DIGITS {
        (digits, tens) = (digits / 10, tens + 1);
    }
    tens << 20 | digits << 10 | u64::from(tick_bits) << 4 | u64::from(denominator % 16)
}

/// The fill that a mark tells, rounded down, in microseconds; never zero.
fn fill_of(mark: u64) -> u64 {
    let tens = u32::try_from(mark >> 20 & 15).unwrap_or(0);
    ((mark >> 10 & MAX_MARK_DIGITS) * 10_u64.pow(tens)).max(1)
}

/// The mark of the rule that wrote a state, and the time in which its bucket fills, rounded down, in microseconds.
pub(super) fn mark_of(state: &[u64]) -> (u64, u64) {
    let mark = state[1] & low_bits(MARK_BITS);
    (mark, fill_of(mark))
}

/// What is used, seen from an instant.
#[derive(Clone, Copy)]
struct Level<T> {
    /// The later of `now` and the newest that the state has seen.
    now: u64,
    /// By how many ticks TAT is ahead of that.
    lead: T,
    /// When the state is fresh, at the latest, whatever its lead says.
    ends: u64,
}

#[inline]
pub(super) fn peek(rule: &Rule, state: &[u64], need: u64, now: Timestamp) -> Status {
    if rule.interval.narrow > 0 {
        return Level::<u64>::at(rule, state, now).status(rule, need, now);
    }
    peek_wide(rule, state, need, now)
}

#[cold]
fn peek_wide(rule: &Rule, state: &[u64], need: u64, now: Timestamp) -> Status {
    if rule.interval.numerator == 0 {
        let retry_after = if need == 0 { Wait::None } else { Wait::Never };
        return Status { remaining: 0, reset_after: Span::ZERO, retry_after };
    }
    Level::<u128>::at(rule, state, now).status(rule, need, now)
}

#[cold]
fn peek_again(rule: &Rule, state: &[u64], now: Timestamp) -> Status {
    peek(rule, state, 0, now)
}

/// Says how the bucket stands after the charge, with no wait.
pub(super) fn charge(rule: &Rule, state: &mut [u64], take: u64, now: Timestamp) -> Status {
    if take == 0 || rule.interval.numerator == 0 {
        return peek(rule, state, 0, now);
    }
    if rule.interval.narrow > 0 {
        Level::<u64>::at(rule, state, now).charge(rule, state, take, now)
    } else {
        Level::<u128>::at(rule, state, now).charge(rule, state, take, now)
    }
}

/// Charges `take`, at least one, if `need` fits, and says how the bucket stands then; else what it says to `need`.
#[inline(always)]
pub(super) fn spend(rule: &Rule, state: &mut [u64], need: u64, take: u64, now: Timestamp) -> Status {
    if rule.interval.narrow == 0 {
        return spend_wide(rule, state, need, take, now);
    }
    let level = Level::<u64>::at(rule, state, now);
    if level.fits(rule, need) { level.charge(rule, state, take, now) } else { level.status(rule, need, now) }
}

#[cold]
fn spend_wide(rule: &Rule, state: &mut [u64], need: u64, take: u64, now: Timestamp) -> Status {
    let status = peek(rule, state, need, now);
    if status.fits() { charge(rule, state, take, now) } else { status }
}

/// All that is left, to the tick, but no more than the cost.
pub(super) fn charge_left(rule: &Rule, state: &mut [u64], take: u64, now: Timestamp) {
    let level = Level::<u128>::at(rule, state, now);
    let room = u128::capacity(rule).saturating_sub(level.lead);
    let taken = u128::product(take, rule.interval.numerator).min(room);
    if taken > 0 {
        Level { lead: level.lead + taken, ..level }.write(rule, state);
    }
}

/// A debt is charged as of `now`. What is given back is what of the charge cannot have come back by itself since
/// `taken_at`: never so much that it would pay for the charges of others.
pub(super) fn adjust(rule: &Rule, state: &mut [u64], taken: u64, actual: u64, taken_at: Timestamp, now: Timestamp) {
    if actual >= taken {
        charge(rule, state, actual - taken, now);
        return;
    }
    let ticks_of = |units| u128::product(units, rule.interval.numerator);
    let level = Level::<u128>::at(rule, state, now);
    let back = u128::product(level.now.saturating_sub(taken_at.as_micros()), rule.interval.denominator.into());
    let left = ticks_of(taken).saturating_sub(back);
    let given = ticks_of(taken - actual).min(left);
    if level.lead > 0 && given > 0 {
        Level { lead: level.lead.saturating_sub(given), ..level }.write(rule, state);
    }
}

impl<T: Ticks> Level<T> {
    #[inline(always)]
    fn at(rule: &Rule, state: &[u64], now: Timestamp) -> Level<T> {
        let (interval, now) = (&rule.interval, now.as_micros());
        let fresh = Level { now, lead: T::NONE, ends: now };
        if state[0] <= now {
            return fresh;
        }
        if state[1] & low_bits(MARK_BITS) != interval.mark {
            return Level::adopted(rule, state, now);
        }
        let counts_as = match newest(interval, state, now) {
            Some(newest) if newest - now > interval.horizon => return fresh,
            Some(newest) => newest,
            None => now,
        };
        let ticks = T::product(state[0] - counts_as, interval.denominator.into());
        let excess = state[1] >> MARK_BITS & low_bits(interval.tick_bits);
        let excess = if excess < interval.denominator.into() { excess } else { 0 };
        let lead = ticks.less(T::product(excess, 1));
        let capacity = T::capacity(rule);
        let most = capacity.plus(capacity).plus(capacity.eighth());
        if lead > most { fresh } else { Level { now: counts_as, lead, ends: state[0] } }
    }

    /// What a state that another rule wrote means to this one; the state is not idle yet.
    #[cold]
    fn adopted(rule: &Rule, state: &[u64], now: u64) -> Level<T> {
        let (interval, ends) = (&rule.interval, state[0]);
        let fresh = Level { now, lead: T::NONE, ends: now };
        // Three digits of a fill are less than a hundredth short.
        let fill = fill_of(state[1]);
        let longest = fill.saturating_add(fill / 64).saturating_add(1);
        let shift = MARK_BITS + u32::try_from(state[1] >> 4 & 31).unwrap_or(0);
        let (anchor, counts_as) = if is_unambiguous(longest, shift) {
            // TAT is never before the newest: the latest instant up to there that the kept bits can mean.
            let newest = ends.saturating_sub(ends.wrapping_sub(state[1] >> shift) << shift >> shift);
            if newest.saturating_sub(now) > longest.min(interval.fill) {
                return fresh;
            }
            (newest.max(rule.since.min(now)), newest.max(now))
        } else {
            let earliest = ends.saturating_sub(longest.saturating_mul(2));
            (earliest.max(rule.since).min(now), now)
        };
        let owed = ends.saturating_sub(anchor);
        if owed / 2 > longest {
            return fresh;
        }
        let capacity = u128::capacity(rule);
        let used = scaled(capacity, owed, fill).min(2 * capacity);
        let back = u128::product(counts_as.saturating_sub(anchor), interval.denominator.into());
        Level { now: counts_as, lead: T::of(used.saturating_sub(back)), ends }
    }

    /// Whether a cost of `need` units fits.
    #[inline(always)]
    fn fits(self, rule: &Rule, need: u64) -> bool {
        let room = T::capacity(rule).less(self.lead);
        need <= rule.limit() && T::product(need, rule.interval.numerator) <= room
    }

    /// What a demand at `now` is told of this level; the rule lets units come back.
    #[inline(always)]
    fn status(self, rule: &Rule, need: u64, now: Timestamp) -> Status {
        let interval = &rule.interval;
        let capacity = T::capacity(rule);
        let room = capacity.less(self.lead);
        let has_room_for_one = room >= T::product(interval.numerator, 1);
        let remaining = if has_room_for_one { room.units(interval) } else { 0 };
        let retry_after = match need {
            0 => Wait::None,
            need if need > rule.limit() => Wait::Never,
            need => match T::product(need, interval.numerator) {
                cost if cost <= room => Wait::None,
                cost => {
                    let late = self.now - now.as_micros();
                    let missing = self.lead.plus(cost).less(capacity).micros(interval).saturating_add(late);
                    Wait::For(Span::from_micros(missing.min(self.ends - now.as_micros())))
                }
            },
        };
        let reset_after = match self.lead > T::NONE {
            false => Span::ZERO,
            true => {
                let ends = self.now.saturating_add(self.lead.micros(interval)).min(self.ends);
                Timestamp::from_micros(ends).since(now)
            }
        };
        Status { remaining, reset_after, retry_after }
    }

    /// Takes units, at least one, and says how the bucket stands then.
    #[inline(always)]
    fn charge(self, rule: &Rule, state: &mut [u64], take: u64, now: Timestamp) -> Status {
        let lead = self.lead.plus(T::product(take, rule.interval.numerator));
        let charged = Level { lead, ..self }.write(rule, state);
        // One that counted as later than it came may not be read so again, where another rule's state was taken over.
        if charged.now == now.as_micros() { charged.status(rule, 0, now) } else { peek_again(rule, state, now) }
    }

    /// Writes it, and says what the state then is: no debt is more than one fill.
    #[inline(always)]
    fn write(self, rule: &Rule, state: &mut [u64]) -> Level<T> {
        let interval = &rule.interval;
        let capacity = T::capacity(rule);
        let lead = self.lead.min(capacity.plus(capacity));
        if lead == T::NONE {
            state[..2].fill(0);
            return Level { lead, ends: self.now, ..self };
        }
        let micros = lead.micros(interval);
        let excess = T::product(micros, interval.denominator.into()).less(lead).below_a_microsecond();
        state[0] = self.now.saturating_add(micros);
        state[1] = self.now << interval.shift() | excess << MARK_BITS | interval.mark;
        Level { lead, ends: state[0], ..self }
    }
}

/// The newest `now` that the state has seen, if it is after `now`. None also if the word cannot mean that.
#[inline(always)]
fn newest(interval: &Interval, state: &[u64], now: u64) -> Option<u64> {
    if interval.horizon == 0 {
        return None;
    }
    let kept = state[1] & !low_bits(interval.shift());
    // Two's complement makes the difference right modulo 2^bits, whichever of the two has wrapped.
    let ahead = kept.wrapping_sub(now << interval.shift()).cast_signed() >> interval.shift();
    let ahead = u64::try_from(ahead).ok().filter(|ahead| *ahead > 0)?;
    let newest = now.checked_add(ahead)?;
    let lead = state[0].checked_sub(newest)?;
    (lead / 2 <= interval.horizon + 1).then_some(newest)
}

fn low_bits(bits: u32) -> u64 {
    (1 << bits) - 1
}

/// `amount` × `times` ÷ `by`, rounded up. Where the product is too large, `by` loses bits in favour of more.
fn scaled(amount: u128, times: u64, by: u64) -> u128 {
    let (times, mut by, mut amount) = (u128::from(times), u128::from(by), amount);
    loop {
        match amount.checked_mul(times) {
            Some(product) => return product.div_ceil(by.max(1)),
            None => (amount, by) = (amount.div_ceil(2), by / 2),
        }
    }
}

fn greatest_common_divisor(mut a: u64, mut b: u64) -> u64 {
    while b > 0 {
        (a, b) = (b, a % b);
    }
    a
}
