//! The limiter: one clock reading, one event, peeks, the numbers of a decision.

use std::cell::{Cell, RefCell};

use tidegate_core::{Algorithm, Decision, LimitDraft, Purpose, Quota, QuotaTree, Span, Timestamp, Wait};
use tidegate_limiter::{Clock, Limiter, Memory, MemoryOptions, Observer};

use crate::support::{START, by, demand, limit, limiter, policy};

/// Counts how often it is read, and never gives the same instant twice.
#[derive(Default)]
struct CountingClock(Cell<u64>);

impl Clock for CountingClock {
    fn now(&self) -> Timestamp {
        self.0.set(self.0.get() + 1);
        START.plus(Span::from_micros(self.0.get()))
    }
}

#[derive(Default)]
struct Events(RefCell<Vec<(bool, Purpose)>>);

impl Observer for Events {
    fn decided(&self, decision: &Decision<'_>) {
        self.0.borrow_mut().push((decision.is_admitted(), decision.demand().purpose()));
    }
}

#[test]
fn reads_the_clock_once_and_reports_one_event_per_demand() {
    let memory = Memory::new(MemoryOptions::default());
    let limiter = Limiter::new(memory, CountingClock::default(), Events::default());
    let policy = policy(vec![limit("a", 2, 60), limit("b", 1, 60)]);
    let demand = demand(&policy, &[("key", "k")]);
    let peek = demand.with_purpose(Purpose::Peek);
    for (question, times_read) in [(&demand, 1), (&demand, 2), (&peek, 3)] {
        let decision = limiter.check(question);
        assert_eq!(limiter.clock().0.get(), times_read);
        assert_eq!(decision.at(), START.plus(Span::from_micros(times_read)));
    }
    let expected = [(true, Purpose::Once), (false, Purpose::Once), (false, Purpose::Peek)];
    assert_eq!(limiter.observer().0.borrow()[..], expected);
}

/// I11: what a refusal says holds: waiting that long admits, a microsecond less does not; peeking changes nothing.
#[test]
fn retry_after_suffices_and_is_not_a_microsecond_too_long() {
    for algorithm in [
        Algorithm::FixedWindow,
        Algorithm::TokenBucket,
        Algorithm::SlidingWindow { cells: 10 },
        Algorithm::SlidingWindow { cells: 61 },
    ] {
        let limiter = limiter(100);
        let policy = policy(vec![by(algorithm, limit("l", 7, 60))]);
        let demand = demand(&policy, &[("key", "k")]);
        let peek = demand.with_purpose(Purpose::Peek);
        let mut now = START.plus(Span::from_micros(1_234_567));
        for _ in 0..40 {
            limiter.clock().set(now);
            let before = limiter.check(&peek).rulings().next().expect("a limit").status;
            let decision = limiter.check(&demand);
            if let Wait::For(wait) = decision.retry_after() {
                assert_eq!(before.remaining, 0, "{algorithm:?}");
                limiter.clock().set(now.plus(Span::from_micros(wait.as_micros() - 1)));
                assert!(!limiter.check(&peek).is_admitted(), "{algorithm:?}: a microsecond too long");
                now = now.plus(wait);
                limiter.clock().set(now);
                assert!(limiter.check(&demand).is_admitted(), "{algorithm:?}: too short");
            }
        }
        assert!(now > START.plus(Span::from_secs(60)), "{algorithm:?} never refused");
    }
}

#[test]
fn a_demand_without_limits_is_admitted_by_nothing() {
    let limiter = limiter(100);
    let policy = policy(Vec::new());
    let asked = demand(&policy, &[]);
    let decision = limiter.check(&asked);
    assert!(decision.is_admitted() && decision.binding().is_none() && decision.rulings().len() == 0);
    assert_eq!(limiter.store().counters(), 0);
}

/// Sixteen limits, the most that one demand can meet, decide as one.
#[test]
fn a_demand_meets_as_many_limits_as_are_allowed() {
    let limiter = limiter(100);
    let limits = (0..16).map(|number| limit(&format!("l{number}"), 3 + number, 60)).collect();
    let policy = policy(limits);
    let demand = demand(&policy, &[("key", "k")]);
    let admitted = (0..10).filter(|_| limiter.check(&demand).is_admitted()).count();
    assert_eq!(admitted, 3);
    let left: Vec<u64> = limiter.check(&demand).rulings().map(|ruling| ruling.status.remaining).collect();
    assert_eq!(left, (0..16).collect::<Vec<u64>>());
}

/// I1, I2, I3: whoever chooses between two quotas of one limit, by a method or a plan, cannot undo with one what was
/// charged by the other, however different their windows are.
#[test]
fn quotas_of_one_limit_do_not_reset_each_other() {
    let (slow, quick) = (Quota::per(5, Span::from_secs(3_600)), Quota::per(100, Span::from_secs(1)));
    let short = Quota { burst: 1, ..Quota::per(5, Span::from_secs(3_600)) };
    for (algorithm, quotas) in [
        (Algorithm::FixedWindow, [slow, quick]),
        (Algorithm::SlidingWindow { cells: 10 }, [slow, quick]),
        (Algorithm::TokenBucket, [slow, quick]),
        (Algorithm::TokenBucket, [slow, short]),
    ] {
        let cases = ["slow", "other"].map(String::from).into_iter().zip(quotas.map(QuotaTree::Fixed)).collect();
        let quota = QuotaTree::By { attribute: "app".into(), cases, default: None };
        let policy = policy(vec![LimitDraft { algorithm, quota, ..limit("l", 1, 1) }]);
        let [slow, other] = ["slow", "other"].map(|app| demand(&policy, &[("key", "k"), ("app", app)]));
        let limiter = limiter(100);
        let mut admitted = 0;
        for _ in 0..100 {
            admitted += u32::from(limiter.check(&slow).is_admitted());
            limiter.check(&other);
            limiter.clock().advance(std::time::Duration::from_millis(50));
        }
        assert_eq!(admitted, 5, "of five an hour by {algorithm:?} beside {:?}", quotas[1]);
    }
}
