//! Ticks in 64 bits and in 128: the arithmetic of a token bucket, written once for both.

use super::{Interval, Rule};

/// Up to so many ticks of a full bucket, 64 bits suffice for all sums that it takes part in: the longest is of two full
/// buckets and an eighth, a cost of another and what rounds up to a microsecond.
pub(super) const MAX_NARROW: u64 = u64::MAX / 8;

/// A number of ticks: in 64 bits where a rule's fit, which is nearly always, else in 128. Both give the same numbers.
pub(super) trait Ticks: Copy + Ord {
    const NONE: Self;

    /// `one` × `other`; more than a bucket can hold, if it is more than can be counted.
    fn product(one: u64, other: u64) -> Self;

    fn capacity(rule: &Rule) -> Self;

    fn plus(self, other: Self) -> Self;

    /// None if there are fewer.
    fn less(self, other: Self) -> Self;

    fn eighth(self) -> Self;

    /// Whole units in it.
    fn units(self, interval: &Interval) -> u64;

    /// Microseconds in it, rounded up; at most the end of time.
    fn micros(self, interval: &Interval) -> u64;

    /// Of less ticks than there are in a microsecond.
    fn below_a_microsecond(self) -> u64;

    /// Of what a bucket can hold.
    fn of(ticks: u128) -> Self;
}

impl Ticks for u64 {
    const NONE: u64 = 0;

    #[inline]
    fn product(one: u64, other: u64) -> u64 {
        one.saturating_mul(other)
    }

    #[inline]
    fn capacity(rule: &Rule) -> u64 {
        rule.interval.narrow
    }

    #[inline]
    fn plus(self, other: u64) -> u64 {
        self.saturating_add(other)
    }

    #[inline]
    fn less(self, other: u64) -> u64 {
        self.saturating_sub(other)
    }

    #[inline]
    fn eighth(self) -> u64 {
        self / 8
    }

    /// By the reciprocal R of the numerator d, as N × R ÷ 2^64 is less than one below N ÷ d: 2^64 − R × d is at most d.
    #[inline]
    fn units(self, interval: &Interval) -> u64 {
        let product = u128::from(self) * u128::from(interval.reciprocal);
        let units = u64::try_from(product >> 64).unwrap_or(u64::MAX);
        units + u64::from(self - units * interval.numerator >= interval.numerator)
    }

    #[inline]
    fn micros(self, interval: &Interval) -> u64 {
        if interval.denominator == 1 { self } else { self.div_ceil(interval.denominator.into()) }
    }

    #[inline]
    fn below_a_microsecond(self) -> u64 {
        self
    }

    fn of(ticks: u128) -> u64 {
        u64::try_from(ticks).unwrap_or(u64::MAX)
    }
}

impl Ticks for u128 {
    const NONE: u128 = 0;

    fn product(one: u64, other: u64) -> u128 {
        u128::from(one) * u128::from(other)
    }

    fn capacity(rule: &Rule) -> u128 {
        u128::product(rule.limit(), rule.interval.numerator)
    }

    fn plus(self, other: u128) -> u128 {
        self + other
    }

    fn less(self, other: u128) -> u128 {
        self.saturating_sub(other)
    }

    fn eighth(self) -> u128 {
        self / 8
    }

    fn units(self, interval: &Interval) -> u64 {
        quotient(self, interval.numerator)
    }

    fn micros(self, interval: &Interval) -> u64 {
        quotient(self + u128::from(interval.denominator - 1), interval.denominator.into())
    }

    fn below_a_microsecond(self) -> u64 {
        u64::try_from(self).unwrap_or(0)
    }

    fn of(ticks: u128) -> u128 {
        ticks
    }
}

/// `ticks` ÷ `by`, rounded down; at most the end of time. Avoids the slow division of 128 bits where 64 do.
pub(super) fn quotient(ticks: u128, by: u64) -> u64 {
    match u64::try_from(ticks) {
        Ok(ticks) => ticks / by,
        Err(_) => u64::try_from(ticks / u128::from(by)).unwrap_or(u64::MAX),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{charge, peek, spend};
    use super::*;
    use crate::{Algorithm, Quota, Span, Timestamp, Wait, bounds};

    /// Rules of all sizes, those whose ticks just fit among them.
    fn narrow_rules() -> impl Strategy<Value = Rule> {
        let amounts = prop_oneof![1_u64..1_000, 1..=bounds::MAX_AMOUNT, (0_u32..53).prop_map(|bit| 1 << bit)];
        let windows = bounds::MIN_WINDOW.as_micros()..=bounds::MAX_WINDOW.as_micros();
        let windows = prop_oneof![Just(1_000), Just(60_000_000), Just(86_400_000_000), windows];
        let bursts = prop_oneof![1_u64..1_000, 1..=bounds::MAX_AMOUNT, Just(u64::MAX)];
        let rule = |(amount, window, burst): (u64, u64, u64)| {
            let quota = |burst| Quota { burst, ..Quota::per(amount, Span::from_micros(window)) };
            // The largest burst stands for the largest that fits.
            let interval = Interval::of(quota(1)).ok()?;
            let fits = (MAX_NARROW / interval.numerator).min(bounds::MAX_AMOUNT);
            let rule = Rule::new(Algorithm::TokenBucket, quota(burst.min(fits))).ok()?;
            (rule.interval.narrow > 0).then_some(rule)
        };
        (amounts, windows, bursts).prop_filter_map("a rule that cannot be counted, or not in 64 bits", rule)
    }

    fn words() -> impl Strategy<Value = u64> {
        prop_oneof![
            Just(0),
            any::<u64>(),
            1_706_745_600_000_000_u64..1_706_749_200_000_000,
            (0_u32..64).prop_map(|bit| 1 << bit)
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        /// In 64 bits the same is said and written as in 128, of whatever state and cost.
        #[test]
        fn both_widths_count_alike(
            rule in narrow_rules(),
            state in [words(), words()],
            is_marked in any::<bool>(),
            steps in prop::collection::vec((words(), words(), any::<bool>()), 1..6),
        ) {
            let wide = Rule { interval: Interval { narrow: 0, ..rule.interval }, ..rule };
            let mark = rule.interval.mark;
            let mut state = if is_marked { [state[0], (state[1] >> 24) << 24 | mark] } else { state };
            let mut now = 1_706_745_600_000_000_u64;
            for (units, pause, is_near) in steps {
                now = if is_near { now.saturating_add(pause % rule.interval.fill.max(1)) } else { pause };
                let (at, units) = (Timestamp::from_micros(now), units % rule.limit().saturating_mul(2).saturating_add(2));
                prop_assert_eq!(peek(&rule, &state, units, at), peek(&wide, &state, units, at));
                let (mut other, mut spent) = (state, state);
                let says = peek(&rule, &state, units, at);
                let charged = charge(&rule, &mut state, units, at);
                prop_assert_eq!(charged, charge(&wide, &mut other, units, at));
                prop_assert_eq!(state, other);
                if units > 0 {
                    let before = spent;
                    let status = spend(&rule, &mut spent, units, units, at);
                    prop_assert_eq!(status, if says.retry_after == Wait::None { charged } else { says });
                    prop_assert_eq!(spent, if says.retry_after == Wait::None { state } else { before });
                }
            }
        }

        /// Dividing by the reciprocal is dividing.
        #[test]
        fn whole_units_are_exact(rule in narrow_rules(), ticks in any::<u64>(), around in 0_u64..3) {
            let interval = rule.interval;
            let multiple = (ticks % (MAX_NARROW / interval.numerator + 1)) * interval.numerator;
            for ticks in [ticks, multiple.saturating_add(around).saturating_sub(1)] {
                prop_assert_eq!(ticks.units(&interval), ticks / interval.numerator);
            }
        }
    }
}
