//! Clocks that step and jitter, and rules that change under a counter (I10, I35).

use proptest::prelude::*;
use tidegate_core::{
    Algorithm, Align, LimitDraft, OperationDraft, Policy, PolicyDraft, Quota, QuotaTree, Rule, Span, Timestamp, Wait,
};

use crate::oracle::Oracle;
use crate::samples::{Gap, Sample, Story, beginnings, cases, gaps, needs, rules_of, timed_rules, windowed_rules};

proptest! {
    #![proptest_config(cases(3_000))]

    /// I10, small steps: a `now` that is earlier than the newest charge, by up to one window or one fill, counts as
    /// the newest. Verdict and remaining are those of the model at that instant, so nothing extra is admitted; and the
    /// wait is exact on the stepped clock.
    #[test]
    fn an_earlier_now_counts_as_the_newest_i10(
        sample in timed_rules(),
        beginning in beginnings(),
        steps in prop::collection::vec((gaps(), needs(), 0_u64..1_024), 1..40),
    ) {
        prop_assume!(sample.quota.amount > 0 && remembers_newest(&sample));
        let mut oracle = Oracle::new(sample.algorithm, sample.quota);
        let (mut state, mut story, mut newest) = (sample.fresh(), Story::begin(beginning), 0_u64);
        for (gap, need, back) in steps {
            story.pass(gap, &sample);
            let back = u64::try_from(u128::from(longest_step(&sample)) * u128::from(back) / 1_024).unwrap();
            let now = story.now.saturating_sub(back).max(newest.saturating_sub(longest_step(&sample)));
            let stepped = story.at(now);
            let need = stepped.units(need, &sample, &state);
            let status = sample.rule.peek(&state, need, stepped.timestamp());
            let counts_as = now.max(newest);
            let expected = oracle.ask(need, counts_as);
            prop_assert_eq!(i128::from(status.remaining), expected.remaining, "at {}, newest {}", now, newest);
            prop_assert_eq!(status.fits(), expected.retry_after == Wait::None);
            if let Wait::For(span) = status.retry_after {
                let then = now + span.as_micros();
                prop_assert!(sample.rule.peek(&state, need, Timestamp::from_micros(then)).fits());
                prop_assert!(!sample.rule.peek(&state, need, Timestamp::from_micros(then - 1)).fits());
            }
            if status.fits() && need > 0 {
                sample.rule.charge(&mut state, need, stepped.timestamp());
                oracle.admit(counts_as, need);
                newest = counts_as;
            }
            story.hear(status);
        }
        oracle.check_promise();
    }

    /// I10, any steps: on the clock as it reads after a step, no interval admits more than promised, so a step adds at
    /// most one capacity; and nobody waits longer than one window, or one fill, more than usual.
    #[test]
    fn a_step_adds_at_most_one_capacity_and_one_window_i10(
        sample in timed_rules(),
        phases in prop::collection::vec((beginnings(), prop::collection::vec((gaps(), needs()), 1..12)), 2..6),
    ) {
        prop_assume!(sample.quota.amount > 0);
        let mut state = sample.fresh();
        for (beginning, steps) in phases {
            let mut admitted = Oracle::new(sample.algorithm, sample.quota);
            let mut story = Story::begin(beginning);
            for (gap, need) in steps {
                story.pass(gap, &sample);
                let need = story.units(need, &sample, &state);
                let status = sample.rule.peek(&state, need, story.timestamp());
                if let Wait::For(span) = status.retry_after {
                    prop_assert!(span.as_micros() <= sample.longest_lockout().saturating_add(1), "{:?}", span);
                    let then = story.timestamp().plus(span);
                    prop_assert!(sample.rule.peek(&state, need, then).fits());
                }
                if status.fits() {
                    sample.rule.charge(&mut state, need, story.timestamp());
                    admitted.admit(story.now, need);
                }
                story.hear(status);
            }
            // A window that was opened before the step may end in the middle of one that the model opens after it.
            if sample.quota.align != Align::First {
                admitted.check_promise();
            }
        }
    }

    /// I35: a limit that changes in the middle of a window leaves max(0, new − used), at once.
    #[test]
    fn a_changed_amount_leaves_new_minus_used_i35(
        sample in windowed_rules(), new in 0_u64..3_000, beginning in beginnings(),
        parts in prop::collection::vec((0_u64..200, 1_u64..16), 1..8)
    ) {
        let changed = Sample::of(sample.algorithm, Quota { amount: new, burst: new, ..sample.quota }).unwrap();
        let (mut state, mut story) = (sample.fresh(), Story::begin(beginning));
        for (gap, part) in parts {
            story.pass(Gap::Part(gap), &sample);
            let take = (sample.quota.amount / 16 * part).max(1);
            if sample.rule.peek(&state, take, story.timestamp()).fits() {
                sample.rule.charge(&mut state, take, story.timestamp());
            }
            let used = sample.quota.amount - sample.rule.peek(&state, 0, story.timestamp()).remaining;
            let status = changed.rule.peek(&state, 0, story.timestamp());
            prop_assert_eq!(status.remaining, new.saturating_sub(used));
        }
    }

    /// I1, I2, I3: two quotas of one limit that count on one scale share a counter, and each keeps its promise, however
    /// a caller alternates between them.
    #[test]
    fn quotas_that_share_a_counter_keep_their_promises_i1_i2_i3(
        sample in timed_rules(), times in 2_u64..50, beginning in beginnings(),
        steps in prop::collection::vec((gaps(), needs(), any::<bool>()), 1..60)
    ) {
        let Quota { amount, burst, align, .. } = sample.quota;
        // Of windows that begin with a charge, each model would have to see the other's charges.
        prop_assume!(align != Align::First);
        let Some((amount, burst)) = amount.checked_mul(times).zip(burst.checked_mul(times)) else { return Ok(()) };
        let larger = Sample::of(sample.algorithm, Quota { amount, burst, ..sample.quota });
        prop_assume!(larger.is_some_and(|larger| denominator(&larger) == denominator(&sample)));
        let rules = [sample, larger.unwrap()];
        let mut admitted = rules.map(|rule| Oracle::new(rule.algorithm, rule.quota));
        let (mut state, mut story) = (sample.fresh(), Story::begin(beginning));
        for (gap, need, which) in steps {
            let rule = rules[usize::from(which)];
            story.pass(gap, &rule);
            let need = story.units(need, &rule, &state);
            let status = rule.rule.peek(&state, need, story.timestamp());
            if status.fits() {
                rule.rule.charge(&mut state, need, story.timestamp());
                admitted[usize::from(which)].admit(story.now, need);
            }
            story.hear(status);
        }
        admitted.iter().for_each(Oracle::check_promise);
    }

    /// Any rule reads any other's state, of the same layout: it never gives more than its limit, and what it refuses
    /// waits no longer than the worst of its own states.
    #[test]
    fn a_changed_rule_locks_nobody_out(
        pair in timed_rules().prop_flat_map(|old| (Just(old), rules_of(old.algorithm))), beginning in beginnings(),
        parts in prop::collection::vec((gaps(), needs()), 1..8)
    ) {
        let (old, new) = pair;
        let (mut state, mut story) = (old.fresh(), Story::begin(beginning));
        for (gap, need) in parts {
            story.pass(gap, &old);
            let need = story.units(need, &old, &state);
            let status = old.rule.peek(&state, need, story.timestamp());
            if status.fits() {
                old.rule.charge(&mut state, need, story.timestamp());
            }
            story.hear(status);
            let status = new.rule.peek(&state, 1, story.timestamp());
            prop_assert!(status.remaining <= new.rule.limit());
            if let Wait::For(span) = status.retry_after {
                prop_assert!(span.as_micros() <= new.longest_wait().saturating_add(1), "{:?}", span);
                prop_assert!(new.rule.peek(&state, 1, story.timestamp().plus(span)).fits());
            }
        }
    }
}

/// I35: what a bucket had used when another quota came into force, as a share of its burst, is used of the new one; from
/// then on units come back at the new rate. Against fractions: used = units / burst − time / time to fill.
#[test]
fn a_bucket_keeps_its_used_share_i35() {
    let minute = Span::from_secs(60);
    let bucket = |amount, window, burst| Quota { burst, ..Quota::per(amount, window) };
    let quotas = [
        bucket(100, minute, 100),
        bucket(200, minute, 200),
        bucket(70, minute, 70),
        bucket(100, minute, 20),
        bucket(10, Span::from_secs(1), 20),
        bucket(20, Span::from_secs(1), 20),
        bucket(7, Span::from_secs(1), 7),
        bucket(1_000, Span::from_secs(86_400), 1_000),
        bucket(30, Span::from_secs(3_600), 60),
    ];
    let start = 1_706_774_400_123_457_u64;
    for (old, new) in quotas.into_iter().flat_map(|old| quotas.map(|new| (old, new))) {
        for (taken, to_change, since_change) in [
            (1, 0, 0),
            (old.burst / 2, 0, 0),
            (old.burst, 0, 0),
            (old.burst, 3_000_001, 0),
            (old.burst, 1_000, 999_999),
        ] {
            let policies = [old, new].map(token_bucket_policy);
            let [before, mut after] = policies;
            let (change, now) = (start + to_change, start + to_change + since_change);
            after.begin(Timestamp::from_micros(change));
            let rules = [&before, &after].map(|policy| *policy.rules().next().unwrap());
            let mut state = vec![0; 2];
            rules[0].charge(&mut state, taken, Timestamp::from_micros(start));
            let status = rules[1].peek(&state, 1, Timestamp::from_micros(now));
            let wholly_back = tidegate_core::idle_at(&state) <= Timestamp::from_micros(now);
            // All in shares of 1 / (burst × window): units count window each, a microsecond counts amount.
            let share = |quota: Quota, units: u64| u128::from(units) * u128::from(quota.window.as_micros());
            let back = |quota: Quota, micros: u64| u128::from(micros) * u128::from(quota.amount);
            let used = share(old, taken).saturating_sub(back(old, to_change));
            let used = (used * share(new, new.burst)).div_ceil(share(old, old.burst));
            let used = if wholly_back { 0 } else { used.saturating_sub(back(new, since_change)) };
            let left = (share(new, new.burst) - used) / share(new, 1);
            let found = u128::from(status.remaining);
            let slack = if tells_its_fill(old) { 0 } else { (u128::from(new.burst) / 64).max(1) };
            assert!(found <= left && left - found <= slack.max(1), "{old:?} to {new:?}: {found} left, expected {left}");
            if let Wait::For(span) = status.retry_after {
                let then = now + span.as_micros();
                assert!(rules[1].peek(&state, 1, Timestamp::from_micros(then)).fits());
                assert!(!rules[1].peek(&state, 1, Timestamp::from_micros(then - 1)).fits());
            }
        }
    }
}

/// Whether the time to fill has three digits.
fn tells_its_fill(quota: Quota) -> bool {
    let mut micros = quota.burst * quota.window.as_micros() / quota.amount;
    while micros.is_multiple_of(10) {
        micros /= 10;
    }
    micros < 1_000
}

fn token_bucket_policy(quota: Quota) -> Policy {
    let limit = LimitDraft {
        name: "l".into(),
        quota: QuotaTree::Fixed(quota),
        algorithm: Algorithm::TokenBucket,
        ..LimitDraft::default()
    };
    let operations = vec![OperationDraft { name: "other".into(), class: None, method: None }];
    let draft =
        PolicyDraft { name: "p".into(), operations, default_operation: "other".into(), ..PolicyDraft::default() };
    Policy::freeze(&PolicyDraft { limits: vec![limit], ..draft }).unwrap()
}

/// I10: a thousand callers who read the clock in one order and arrive in another all get their place.
#[test]
fn callers_in_the_wrong_order_all_fit_i8() {
    for algorithm in [Algorithm::FixedWindow, Algorithm::SlidingWindow { cells: 10 }, Algorithm::TokenBucket] {
        let rule = Rule::new(algorithm, Quota::per(1_000, Span::from_secs(3_600))).unwrap();
        let mut state = vec![0; rule.state_words()];
        for caller in 0..1_000 {
            let now = Timestamp::from_micros(1_706_774_400_500_000 - caller);
            assert!(rule.peek(&state, 1, now).fits(), "caller {caller} of {algorithm:?}");
            rule.charge(&mut state, 1, now);
        }
        let last = Timestamp::from_micros(1_706_774_400_500_000 + 1);
        assert!(!rule.peek(&state, 1, last).fits());
    }
}

/// How far back a clock may step and still cost nothing.
fn longest_step(sample: &Sample) -> u64 {
    match sample.algorithm {
        Algorithm::TokenBucket => {
            let whole = u128::from(sample.quota.burst) * u128::from(sample.quota.window.as_micros());
            u64::try_from(whole / u128::from(sample.quota.amount)).unwrap()
        }
        _ => sample.quota.window.as_micros(),
    }
}

/// Whether a bucket's state has room for the newest `now`: three fills in the bits that mark and fraction leave.
fn remembers_newest(sample: &Sample) -> bool {
    sample.algorithm != Algorithm::TokenBucket || u128::from(denominator(sample)) * 8 * sample.fill() < 1 << 38
}

/// Of the microseconds between two units, in lowest terms; windows have none.
fn denominator(sample: &Sample) -> u64 {
    let Quota { amount, window, .. } = sample.quota;
    if sample.algorithm == Algorithm::TokenBucket { amount / divisor(amount, window.as_micros()) } else { 1 }
}

fn divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { divisor(b, a % b) }
}
