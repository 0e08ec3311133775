//! One counter beside the model, demand by demand: no more than promised, no less than possible, and exact numbers.

use proptest::prelude::*;
use tidegate_core::{Algorithm, Quota, Span, Status, Timestamp, Wait, idle_at};

use crate::oracle::{Answer, Oracle};
use crate::samples::{Sample, Step, Story, beginnings, cases, rules, steps, timed_rules};

proptest! {
    #![proptest_config(cases(3_000))]

    /// I1, I2, I3, I5 (never more than promised), I8 (verdicts as the model's, in both directions) and I11 (every
    /// number of every status as the model's).
    #[test]
    fn answers_are_those_of_the_model_i1_i2_i3_i5_i8_i11(
        sample in rules(), beginning in beginnings(), steps in steps(60)
    ) {
        let mut oracle = Oracle::new(sample.algorithm, sample.quota);
        run(&sample, beginning, &steps, |state, need, now| {
            let status = sample.rule.peek(state, need, Timestamp::from_micros(now));
            assert_eq!(answer(status), oracle.ask(need, now), "asked for {need} at {now}");
            if status.fits() {
                oracle.admit(now, need);
                let after = sample.rule.charge(state, need, Timestamp::from_micros(now));
                assert_eq!(answer(after), oracle.ask(0, now), "after {need} at {now}");
            }
            status
        });
        oracle.check_promise();
    }

    /// I11: bounds that hold for every status whatever, and a refusal never says that what was asked for remains.
    #[test]
    fn statuses_make_sense_i11(sample in rules(), beginning in beginnings(), steps in steps(30)) {
        run(&sample, beginning, &steps, |state, need, now| {
            let status = sample.rule.peek(state, need, Timestamp::from_micros(now));
            assert!(status.remaining <= sample.rule.limit());
            assert_eq!(status.fits(), need <= status.remaining, "{status:?}");
            assert_ne!(status.retry_after, Wait::For(Span::ZERO));
            assert_eq!(status.retry_after == Wait::Never, need > 0 && !can_ever_fit(&sample, need));
            charge_if_it_fits(&sample, state, need, now)
        });
    }

    /// What remains fits at once, and one more does not.
    #[test]
    fn remaining_fits_and_one_more_does_not(sample in rules(), beginning in beginnings(), steps in steps(30)) {
        run(&sample, beginning, &steps, |state, need, now| {
            let at = Timestamp::from_micros(now);
            let remaining = sample.rule.peek(state, need, at).remaining;
            assert!(sample.rule.peek(state, remaining, at).fits());
            assert!(!sample.rule.peek(state, remaining + 1, at).fits());
            let mut spent = state.clone();
            assert_eq!(sample.rule.charge(&mut spent, remaining, at).remaining, 0);
            charge_if_it_fits(&sample, state, need, now)
        });
    }

    /// Waiting exactly retry-after admits; a microsecond less does not.
    #[test]
    fn retry_after_suffices_and_is_not_a_microsecond_too_long(
        sample in timed_rules(), beginning in beginnings(), steps in steps(30)
    ) {
        run(&sample, beginning, &steps, |state, need, now| {
            let status = charge_if_it_fits(&sample, state, need, now);
            if let Wait::For(span) = status.retry_after {
                let then = now + span.as_micros();
                assert!(sample.rule.peek(state, need, Timestamp::from_micros(then)).fits(), "after {span:?}");
                assert!(!sample.rule.peek(state, need, Timestamp::from_micros(then - 1)).fits(), "before {span:?}");
            }
            status
        });
    }

    /// After reset-after all is whole again, and a microsecond earlier it is not.
    #[test]
    fn reset_after_is_when_all_is_whole_again(
        sample in timed_rules(), beginning in beginnings(), steps in steps(30)
    ) {
        run(&sample, beginning, &steps, |state, need, now| {
            let status = charge_if_it_fits(&sample, state, need, now);
            let after = sample.rule.peek(state, 0, Timestamp::from_micros(now));
            let then = now + after.reset_after.as_micros();
            let whole = |state: &[u64], at| sample.rule.peek(state, 0, Timestamp::from_micros(at)).remaining;
            let all = whole(&sample.fresh(), now);
            assert_eq!(whole(state, then), all);
            if after.remaining < all {
                assert_eq!(idle_at(state), Timestamp::from_micros(then));
                assert!(whole(state, then - 1) < all);
            }
            status
        });
    }

    /// T14, I51: to forget a state when it says that it is idle changes no answer, then or ever after; and it does
    /// not say so while it still refuses anything.
    #[test]
    fn forgetting_an_idle_state_changes_nothing_i51(
        sample in rules(), beginning in beginnings(), steps in steps(60)
    ) {
        let mut forgetful = sample.fresh();
        run(&sample, beginning, &steps, |state, need, now| {
            let at = Timestamp::from_micros(now);
            if idle_at(&forgetful) <= at {
                assert_eq!(sample.rule.peek(&forgetful, need, at), sample.rule.peek(&sample.fresh(), need, at));
                forgetful.fill(0);
            }
            assert_eq!(sample.rule.peek(&forgetful, need, at), sample.rule.peek(state, need, at));
            let status = charge_if_it_fits(&sample, &mut forgetful, need, now);
            assert_eq!(charge_if_it_fits(&sample, state, need, now), status);
            status
        });
    }

    /// A charge of nothing changes no answer: neither a peek nor a cost of zero leaves a trace.
    #[test]
    fn a_charge_of_nothing_changes_nothing(sample in rules(), beginning in beginnings(), steps in steps(30)) {
        run(&sample, beginning, &steps, |state, need, now| {
            let (before, at) = (state.clone(), Timestamp::from_micros(now));
            sample.rule.charge(state, 0, at);
            sample.rule.adjust(state, need, need, at, at);
            for later in [now, now + 1, now + sample.quota.window.as_micros()].map(Timestamp::from_micros) {
                assert_eq!(sample.rule.peek(state, need, later), sample.rule.peek(&before, need, later));
            }
            charge_if_it_fits(&sample, state, need, now)
        });
    }

    /// I5: with holders coming and going, never more than the limit hold, and a release makes room for exactly as much.
    #[test]
    fn holders_never_exceed_the_limit_i5(limit in 0_u64..20, moves in prop::collection::vec((any::<bool>(), 1_u64..5), 1..100)) {
        let sample = Sample::of(Algorithm::Concurrency, Quota::per(limit, Span::ZERO)).unwrap();
        let (mut state, mut held, now) = (sample.fresh(), Vec::new(), Timestamp::from_secs(1));
        for (comes, units) in moves {
            let status = sample.rule.peek(&state, units, now);
            let sum: u64 = held.iter().sum();
            prop_assert_eq!(status.remaining, limit - sum);
            if comes && status.fits() {
                sample.rule.charge(&mut state, units, now);
                held.push(units);
            } else if comes {
                prop_assert_eq!(status.retry_after, if units > limit { Wait::Never } else { Wait::Release });
            } else if let Some(units) = held.pop() {
                sample.rule.adjust(&mut state, units, 0, now, now);
            }
            prop_assert!(held.iter().sum::<u64>() <= limit);
            prop_assert_eq!(idle_at(&state) == Timestamp::from_micros(0), held.is_empty());
        }
    }

    /// I2, the price: steady demand gets at least k ÷ (k + 1) of a sliding window's limit through.
    #[test]
    fn a_sliding_window_lets_its_share_through_i2(
        cells in 1_u16..=61, limit in 1_u64..200, window in 1_000_u64..100_000_000, beginning in beginnings()
    ) {
        let algorithm = Algorithm::SlidingWindow { cells };
        let sample = Sample::of(algorithm, Quota::per(limit, Span::from_micros(window))).unwrap();
        let (mut state, mut now, mut admitted, windows) = (sample.fresh(), beginning, 0, 20);
        while now < beginning + windows * window {
            let status = sample.rule.peek(&state, 1, Timestamp::from_micros(now));
            match status.retry_after {
                Wait::None => {
                    sample.rule.charge(&mut state, status.remaining, Timestamp::from_micros(now));
                    admitted += u128::from(status.remaining);
                }
                Wait::For(span) => now += span.as_micros(),
                wait => panic!("{wait:?}"),
            }
        }
        let (cells, all) = (u128::from(cells), u128::from(limit) * u128::from(windows));
        prop_assert!(admitted * (cells + 1) >= all * cells, "{} of {}", admitted, all);
    }

    /// I4: a sliding window of one cell is a two-bucket counter that counts the last window whole instead of by its
    /// share: at each admission previous × (1 − x) + current + cost stays within the limit, and so does any window.
    #[test]
    fn two_buckets_never_exceed_their_weighted_sum_i4(
        limit in 1_u64..50, window in 1_000_u64..1_000_000, beginning in beginnings(), steps in steps(40)
    ) {
        let algorithm = Algorithm::SlidingWindow { cells: 1 };
        let sample = Sample::of(algorithm, Quota::per(limit, Span::from_micros(window))).unwrap();
        let mut admitted: Vec<(u64, u64)> = Vec::new();
        run(&sample, beginning, &steps, |state, need, now| {
            let status = charge_if_it_fits(&sample, state, need, now);
            if status.fits() {
                admitted.push((now, need));
            }
            let current = now / window;
            let used_in = |index: u64| -> u64 {
                admitted.iter().filter(|(at, _)| at / window == index).map(|(_, units)| units).sum()
            };
            let left_of_window = window - now % window;
            let previous = if current == 0 { 0 } else { used_in(current - 1) };
            let weighted = u128::from(previous) * u128::from(left_of_window) + u128::from(used_in(current)) * u128::from(window);
            assert!(weighted <= u128::from(limit) * u128::from(window), "at {now}");
            status
        });
    }
}

/// Runs a story on a fresh counter. `ask` asks, charges what fits, and says what it heard.
fn run(sample: &Sample, beginning: u64, steps: &[Step], mut ask: impl FnMut(&mut Vec<u64>, u64, u64) -> Status) {
    let mut state = sample.fresh();
    let mut story = Story::begin(beginning);
    for step in steps {
        story.pass(step.gap, sample);
        let need = story.units(step.need, sample, &state);
        story.hear(ask(&mut state, need, story.now));
    }
}

fn charge_if_it_fits(sample: &Sample, state: &mut [u64], need: u64, now: u64) -> Status {
    let status = sample.rule.peek(state, need, Timestamp::from_micros(now));
    if status.fits() {
        sample.rule.charge(state, need, Timestamp::from_micros(now));
    }
    status
}

fn can_ever_fit(sample: &Sample, need: u64) -> bool {
    need <= sample.rule.limit() && sample.quota.amount > 0
}

fn answer(status: Status) -> Answer {
    Answer {
        remaining: status.remaining.into(),
        reset_after: status.reset_after.as_micros().into(),
        retry_after: status.retry_after,
    }
}
