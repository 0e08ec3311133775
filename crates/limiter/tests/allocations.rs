//! A decision allocates nothing, admitted or refused. In a binary of its own, because of the allocator that counts.

use allocation_counter::measure;
use tidegate_core::{Algorithm, Demand, LimitDraft, OperationDraft, Policy, PolicyDraft, Quota, QuotaTree, Span};
use tidegate_limiter::{Limiter, Memory, MemoryOptions, SystemClock};

fn policy(limits: usize, algorithm: Algorithm) -> Policy {
    let limit = |number: usize| LimitDraft {
        name: format!("l{number}"),
        per: vec![("key".into(), false)],
        quota: QuotaTree::Fixed(Quota::per(500, Span::from_secs(3_600))),
        algorithm,
        ..LimitDraft::default()
    };
    let draft = PolicyDraft {
        name: "test".into(),
        attributes: vec!["key".into()],
        operations: vec![OperationDraft { name: "other".into(), ..OperationDraft::default() }],
        default_operation: "other".into(),
        limits: (0..limits).map(limit).collect(),
        ..PolicyDraft::default()
    };
    Policy::freeze(&draft).expect("a policy that freezes")
}

#[test]
fn a_decision_allocates_nothing() {
    for algorithm in [Algorithm::FixedWindow, Algorithm::TokenBucket, Algorithm::SlidingWindow { cells: 61 }] {
        for limits in [1, 3, 16] {
            // Room enough that 32 counters never crowd two buckets: how a small table fills is tested elsewhere.
            let limiter = Limiter::new(Memory::new(MemoryOptions { max_counters: 5_000 }), SystemClock::new(), ());
            let policy = policy(limits, algorithm);
            let key = policy.attribute("key").expect("an attribute");
            let check = |value: &str| {
                let mut builder = Demand::on(&policy);
                let demand = builder.set(key, value).expect("a short value").build();
                limiter.check(&demand).is_admitted()
            };
            check("sets up the table of this size of states");
            let mut admitted = 0;
            let counted = measure(|| admitted = (0..1_000).filter(|_| check("k")).count());
            assert!(
                (1..1_000).contains(&admitted),
                "both admissions and refusals: {admitted}, {limits} limits by {algorithm:?}"
            );
            assert_eq!(counted.count_total, 0, "{limits} limits by {algorithm:?}");
        }
    }
}

/// A batch of any size allocates nothing either.
#[test]
fn a_batch_allocates_nothing() {
    let limiter = Limiter::new(Memory::new(MemoryOptions { max_counters: 1_000 }), SystemClock::new(), ());
    let policy = policy(3, Algorithm::TokenBucket);
    let key = policy.attribute("key").expect("an attribute");
    let names: Vec<String> = (0..500).map(|number| (number % 50).to_string()).collect();
    let demand = |name| Demand::on(&policy).set(key, name).expect("a short value").build();
    let demands: Vec<Demand<'_>> = names.iter().map(|name| demand(name.as_str())).collect();
    let mut admitted = 0;
    let counted = measure(|| limiter.check_batch(&demands, |decision| admitted += u32::from(decision.is_admitted())));
    assert_eq!((admitted, counted.count_total), (500, 0));
}

/// Creating counters, moving them and refusing for want of room allocate nothing either.
#[test]
fn new_counters_allocate_nothing() {
    let limiter = Limiter::new(Memory::new(MemoryOptions { max_counters: 1_000 }), SystemClock::new(), ());
    let policy = policy(1, Algorithm::FixedWindow);
    let key = policy.attribute("key").expect("an attribute");
    let names: Vec<String> = (0..2_000).map(|number| number.to_string()).collect();
    let mut admitted = 0;
    let counted = measure(|| {
        for name in &names {
            let mut builder = Demand::on(&policy);
            let demand = builder.set(key, name).expect("a short value").build();
            admitted += u32::from(limiter.check(&demand).is_admitted());
        }
    });
    assert_eq!((admitted, counted.count_total), (1_000, 0));
}
