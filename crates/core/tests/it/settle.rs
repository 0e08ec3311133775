//! Costs that are known only afterwards: what settling leaves behind.

use proptest::prelude::*;
use tidegate_core::{Algorithm, Align, Timestamp, idle_at};

use crate::oracle::Oracle;
use crate::samples::{Gap, Need, Story, beginnings, cases, gaps, needs, rules, rules_of, steps, windowed_rules};

proptest! {
    #![proptest_config(cases(3_000))]

    /// A reservation that is settled at once leaves what a charge of the truth would have left, ever after.
    #[test]
    fn reserve_then_settle_equals_charge(
        sample in rules(), beginning in beginnings(), before in steps(10),
        reserved in 0_u64..200, actual in 0_u64..400, later in prop::collection::vec(gaps(), 4)
    ) {
        let (mut state, mut story) = (sample.fresh(), Story::begin(beginning));
        for step in before {
            story.pass(step.gap, &sample);
            let need = story.units(step.need, &sample, &state);
            let status = sample.rule.peek(&state, need, story.timestamp());
            if status.fits() {
                sample.rule.charge(&mut state, need, story.timestamp());
            }
            story.hear(status);
        }
        let (mut charged, now) = (state.clone(), story.timestamp());
        let reserved = reserved.min(sample.rule.peek(&state, 0, now).remaining);
        sample.rule.charge(&mut charged, actual, now);
        sample.rule.charge(&mut state, reserved, now);
        sample.rule.adjust(&mut state, reserved, actual, now, now);
        for gap in later {
            let at = story.timestamp();
            let need = sample.rule.peek(&charged, 0, at).remaining + 1;
            prop_assert_eq!(sample.rule.peek(&state, need, at), sample.rule.peek(&charged, need, at));
            story.hear(sample.rule.peek(&charged, need, at));
            story.pass(gap, &sample);
        }
    }

    /// Windows: settling any charge at any time leaves what the model has if it had known the truth from the start;
    /// a window that is over changes nothing.
    #[test]
    fn settling_lands_in_the_window_that_was_charged_i7(
        sample in windowed_rules(), beginning in beginnings(),
        steps in prop::collection::vec((gaps(), needs(), any::<prop::sample::Index>(), 0_u64..100), 1..40)
    ) {
        // A first charge that turns out to be nothing has opened its window all the same; the table says what happens.
        prop_assume!(sample.quota.align != Align::First);
        let mut oracle = Oracle::new(sample.algorithm, sample.quota);
        let (mut state, mut story) = (sample.fresh(), Story::begin(beginning));
        for (gap, need, which, actual) in steps {
            story.pass(gap, &sample);
            let (need, now) = (story.units(need, &sample, &state), story.timestamp());
            let status = sample.rule.peek(&state, need, now);
            prop_assert_eq!(i128::from(status.remaining), oracle.ask(need, story.now).remaining);
            prop_assert_eq!(status.retry_after, oracle.ask(need, story.now).retry_after);
            if status.fits() {
                sample.rule.charge(&mut state, need, now);
                oracle.admit(story.now, need);
            } else if !oracle.events.is_empty() {
                let event = which.get(&oracle.events).to_owned();
                let place = oracle.events.iter().position(|known| *known == event).unwrap();
                let (taken, at) = (u64::try_from(event.units).unwrap(), u64::try_from(event.at).unwrap());
                sample.rule.adjust(&mut state, taken, actual, Timestamp::from_micros(at), now);
                oracle.events[place].units = actual.into();
            }
            let (after, expected) = (sample.rule.peek(&state, 1, now), oracle.ask(1, story.now));
            prop_assert_eq!(i128::from(after.remaining), expected.remaining);
            prop_assert_eq!(i128::from(after.reset_after.as_micros()), expected.reset_after);
            prop_assert_eq!(after.retry_after, expected.retry_after);
            story.hear(status);
        }
    }

    /// I3, I7: giving back to a bucket never pays for others. However late and in whatever order it comes, what was
    /// used in the end is within the promise, and no more remains than in the model that knew from the start.
    #[test]
    fn what_a_bucket_gets_back_never_pays_for_others_i3_i7(
        sample in rules_of(Algorithm::TokenBucket), beginning in beginnings(),
        steps in prop::collection::vec((gaps(), needs(), any::<prop::sample::Index>(), 0_u64..16), 1..40)
    ) {
        let mut oracle = Oracle::new(sample.algorithm, sample.quota);
        let (mut state, mut story) = (sample.fresh(), Story::begin(beginning));
        let mut open = Vec::new();
        for (gap, need, which, part) in steps {
            story.pass(gap, &sample);
            let (need, now) = (story.units(need, &sample, &state), story.timestamp());
            let status = sample.rule.peek(&state, need, now);
            if status.fits() {
                sample.rule.charge(&mut state, need, now);
                oracle.admit(story.now, need);
                open.push(oracle.events.len() - 1);
            }
            if part < 8 && !open.is_empty() {
                let event = &mut oracle.events[open.remove(which.index(open.len()))];
                let (taken, at) = (u64::try_from(event.units).unwrap(), u64::try_from(event.at).unwrap());
                let actual = u64::try_from(u128::from(taken) * u128::from(part) / 8).unwrap();
                sample.rule.adjust(&mut state, taken, actual, Timestamp::from_micros(at), now);
                event.units = actual.into();
            }
            let remaining = sample.rule.peek(&state, 0, now).remaining;
            prop_assert!(i128::from(remaining) <= oracle.ask(0, story.now).remaining);
            story.hear(status);
        }
        oracle.check_promise();
    }

    /// What is given back whole leaves a counter that may be forgotten at once.
    #[test]
    fn what_is_given_back_whole_leaves_nothing(sample in rules(), beginning in beginnings(), takes in prop::collection::vec(needs(), 1..5)) {
        let (mut state, story) = (sample.fresh(), Story::begin(beginning));
        let mut taken = Vec::new();
        for need in takes {
            let need = story.units(need, &sample, &state);
            if sample.rule.peek(&state, need, story.timestamp()).fits() {
                sample.rule.charge(&mut state, need, story.timestamp());
                taken.push(need);
            }
        }
        for need in taken {
            sample.rule.adjust(&mut state, need, 0, story.timestamp(), story.timestamp());
        }
        prop_assert_eq!(idle_at(&state), Timestamp::from_micros(0));
    }

    /// I7: giving back never returns more than was taken.
    #[test]
    fn no_more_is_given_back_than_was_taken_i7(
        sample in rules(), beginning in beginnings(), takes in prop::collection::vec((0_u64..50, 0_u64..50), 1..10)
    ) {
        let (mut state, mut story) = (sample.fresh(), Story::begin(beginning));
        for (take, actual) in takes {
            story.pass(Gap::Part(take), &sample);
            let take = story.units(Need::Units(take), &sample, &state);
            if sample.rule.peek(&state, take, story.timestamp()).fits() {
                sample.rule.charge(&mut state, take, story.timestamp());
            }
            let before = sample.rule.peek(&state, 0, story.timestamp()).remaining;
            sample.rule.adjust(&mut state, take, actual, story.timestamp(), story.timestamp());
            let after = sample.rule.peek(&state, 0, story.timestamp()).remaining;
            prop_assert!(after <= before.saturating_add(take.saturating_sub(actual)));
        }
    }
}
