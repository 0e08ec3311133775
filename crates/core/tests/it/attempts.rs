//! Refused attempts that count: what they take, and what becomes of who keeps asking.

use proptest::prelude::*;
use tidegate_core::{Algorithm, Status, Timestamp, Wait};

use crate::oracle::Oracle;
use crate::samples::{Story, beginnings, cases, rules_of, steps, timed_rules};

proptest! {
    #![proptest_config(cases(3_000))]

    /// I1, I2, I3, I8, I11: attempts that do not fit, or that somebody else refuses, take what is left and no more, and
    /// every number afterwards is the model's. No window's use exceeds its amount, no bucket falls below empty.
    #[test]
    fn a_refused_attempt_takes_what_is_left_i1_i2_i3_i8_i11(
        sample in timed_rules(), beginning in beginnings(), steps in steps(60), others in prop::bits::u64::ANY
    ) {
        let mut oracle = Oracle::new(sample.algorithm, sample.quota);
        let (mut state, mut story) = (sample.fresh(), Story::begin(beginning));
        for (index, step) in steps.iter().enumerate() {
            story.pass(step.gap, &sample);
            let (need, at) = (story.units(step.need, &sample, &state), story.timestamp());
            let before = sample.rule.peek(&state, need, at);
            prop_assert_eq!(numbers(before), model(&oracle, need, story.now));
            let is_refused_by_another = others >> (index % 64) & 1 == 1;
            let after = if before.fits() && !is_refused_by_another {
                oracle.admit(story.now, need);
                sample.rule.charge(&mut state, need, at)
            } else {
                oracle.refuse(story.now, need);
                let kept = state.clone();
                let after = sample.rule.charge_left(&mut state, need, at);
                prop_assert_eq!(after.remaining, before.remaining - before.remaining.min(need));
                prop_assert!(sample.rule.has_left(before) || state == kept, "nothing was left, and it was changed");
                prop_assert_eq!(numbers(after), model(&oracle, need, story.now));
                after
            };
            story.hear(after);
        }
        oracle.check_promise();
    }

    /// Who keeps asking an empty bucket more often than a unit comes back is never admitted again; who stays away as long
    /// as the last refusal said is.
    #[test]
    fn who_hammers_a_bucket_is_refused_until_he_stops(
        sample in rules_of(Algorithm::TokenBucket), beginning in beginnings(), need in 1_u64..5,
        gaps in prop::collection::vec(0_u64..1_000_000, 1..50)
    ) {
        prop_assume!(sample.quota.amount > 0 && sample.rule.limit() >= need);
        let (mut state, mut now) = (sample.fresh(), beginning);
        sample.rule.charge(&mut state, sample.rule.limit(), Timestamp::from_micros(now));
        let interval = sample.quota.window.as_micros() / sample.quota.amount;
        let mut last = Wait::None;
        for gap in gaps {
            now += if interval == 0 { 0 } else { gap % interval };
            let at = Timestamp::from_micros(now);
            prop_assert!(!sample.rule.peek(&state, need, at).fits());
            last = sample.rule.charge_left(&mut state, need, at).retry_after;
        }
        let Wait::For(span) = last else { panic!("a wait, not {last:?}") };
        prop_assert!(sample.rule.peek(&state, need, Timestamp::from_micros(now).plus(span)).fits());
    }
}

fn numbers(status: Status) -> (i128, i128, Wait) {
    (status.remaining.into(), status.reset_after.as_micros().into(), status.retry_after)
}

fn model(oracle: &Oracle, need: u64, now: u64) -> (i128, i128, Wait) {
    let answer = oracle.ask(need, now);
    (answer.remaining, answer.reset_after, answer.retry_after)
}
