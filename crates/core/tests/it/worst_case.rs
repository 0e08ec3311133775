//! N(d), the worst case of a rule: no schedule admits more in a span, and one admits as much (I1, I2, I3).

use proptest::prelude::*;
use tidegate_core::{Algorithm, Align, Quota, Span, Timestamp, Wait};

use crate::samples::{Sample, Story, beginnings, calendar, cases, steps, timed_rules};

/// What a counter admits from `at` to `at + span` if all that fits is taken whenever it fits.
fn greedy(sample: &Sample, mut state: Vec<u64>, at: u64, span: u64) -> u128 {
    let (mut now, mut sum) = (at, 0_u128);
    loop {
        let instant = Timestamp::from_micros(now);
        let remaining = sample.rule.peek(&state, 0, instant).remaining;
        sample.rule.charge(&mut state, remaining, instant);
        sum += u128::from(remaining);
        now = match sample.rule.peek(&state, 1, instant).retry_after {
            Wait::For(wait) if now + wait.as_micros() <= at + span => now + wait.as_micros(),
            _ => return sum,
        };
    }
}

/// The instants and histories that a worst span can begin with: the last of each window or cell, on a fresh counter or
/// on one that was opened by a unit as long before as possible.
fn best(sample: &Sample, span: u64) -> u128 {
    let window = sample.quota.window.as_micros();
    let ends: Vec<u64> = match (sample.algorithm, sample.quota.align) {
        (Algorithm::SlidingWindow { cells }, _) => {
            let cells = u64::from(cells);
            (1..=cells + 1).map(|cell| cell / cells * window + (cell % cells * window).div_ceil(cells)).collect()
        }
        (_, Align::Calendar(calendar)) => {
            let next = |at: &Timestamp| Some(calendar.window_at(*at).1);
            std::iter::successors(Some(calendar.window_at(Timestamp::ZERO).1), next)
                .take(14)
                .map(Timestamp::as_micros)
                .collect()
        }
        _ => vec![window],
    };
    let fresh = ends.iter().map(|end| greedy(sample, sample.fresh(), end - 1, span));
    let opened = ends.iter().filter(|_| sample.quota.align == Align::First).map(|end| {
        let mut state = sample.fresh();
        sample.rule.charge(&mut state, 1, Timestamp::from_micros(end - window));
        greedy(sample, state, end - 1, span)
    });
    fresh.chain(opened).max().unwrap_or(0)
}

#[test]
fn known_worst_cases() {
    let minute = Span::from_secs(60);
    let of = |algorithm, quota| Sample::of(algorithm, quota).unwrap().rule;
    let clock = of(Algorithm::FixedWindow, Quota::per(100, minute));
    let first = of(Algorithm::FixedWindow, Quota { align: Align::First, ..Quota::per(100, minute) });
    let sliding = of(Algorithm::SlidingWindow { cells: 10 }, Quota::per(100, minute));
    let bucket = of(Algorithm::TokenBucket, Quota { burst: 20, ..Quota::per(100, minute) });
    let day = of(Algorithm::FixedWindow, Quota::in_each(7, calendar(2)));
    for (rule, seconds, most) in [
        (clock, 0, 100),
        (clock, 1, 200),
        (clock, 60, 200),
        (clock, 61, 300),
        (clock, 3_600, 6_100),
        (first, 0, 100),
        (first, 1, 199),
        (first, 60, 200),
        (first, 61, 299),
        (sliding, 60, 100),
        (sliding, 61, 200),
        (sliding, 3_600, 5_500),
        (bucket, 0, 20),
        (bucket, 60, 120),
        (bucket, 3_600, 6_020),
        (day, 28 * 86_400, 14),
        (day, 28 * 86_400 + 1, 21), // all of February, and what is around it
    ] {
        assert_eq!(rule.worst_case(Span::from_secs(seconds)), Some(most), "{rule:?} in {seconds} s");
    }
    let open = of(Algorithm::Concurrency, Quota::per(5, Span::ZERO));
    assert_eq!(
        (open.worst_case(minute), of(Algorithm::Concurrency, Quota::per(0, Span::ZERO)).worst_case(minute)),
        (None, Some(0))
    );
}

proptest! {
    #![proptest_config(cases(2_000))]

    /// Some schedule reaches it.
    #[test]
    fn some_schedule_reaches_the_worst_case(sample in timed_rules(), part in 0_u64..6 * 1_024, more in 0_u64..4) {
        let window = u128::from(sample.quota.window.as_micros());
        let span = u64::try_from(window * u128::from(part) / 1_024).unwrap() + more;
        // A bucket that fills within two microseconds loses parts of units to the clock's steps.
        prop_assume!(sample.algorithm != Algorithm::TokenBucket || sample.quota.burst < 2 || sample.fill() > 2);
        // Buckets come back unit by unit: only so many are played.
        prop_assume!(sample.algorithm != Algorithm::TokenBucket || u128::from(sample.quota.amount) * u128::from(span) / window < 5_000);
        prop_assert_eq!(Some(best(&sample, span)), sample.rule.worst_case(Span::from_micros(span)));
    }

    /// No schedule exceeds it, in any of its spans.
    #[test]
    fn no_schedule_exceeds_the_worst_case_i1_i2_i3(sample in timed_rules(), beginning in beginnings(), steps in steps(40)) {
        let (mut state, mut story) = (sample.fresh(), Story::begin(beginning));
        let mut admitted: Vec<(u64, u64)> = Vec::new();
        for step in steps {
            story.pass(step.gap, &sample);
            let need = story.units(step.need, &sample, &state);
            let status = sample.rule.peek(&state, need, story.timestamp());
            if status.fits() {
                sample.rule.charge(&mut state, need, story.timestamp());
                admitted.push((story.now, need));
            }
            story.hear(status);
        }
        for (index, (from, _)) in admitted.iter().enumerate() {
            let mut sum = 0;
            for (to, units) in &admitted[index..] {
                sum += u128::from(*units);
                let most = sample.rule.worst_case(Span::from_micros(to - from)).unwrap();
                prop_assert!(sum <= most, "{} in {} µs, at most {}", sum, to - from, most);
            }
        }
    }
}
