//! The bound of the memory store, and what happens at it.

use std::thread;
use std::time::Duration;

use tidegate_core::{Algorithm, Basis, Cost, LimitDraft, Mode, Purpose, Span, Wait};

use crate::support::{START, by, demand, limit, limiter, policy};

/// Names of counters that nobody has used yet.
fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("key-{number}")).collect()
}

/// A table takes as many counters as it was made for: no demand is refused for want of room below the cap, whatever
/// the size of the table and of the states.
#[test]
fn fills_to_its_cap() {
    for cap in (1..300).step_by(7).chain([1_000, 30_000]) {
        for algorithm in [Algorithm::FixedWindow, Algorithm::SlidingWindow { cells: 10 }] {
            let limiter = limiter(cap);
            let policy = policy(vec![by(algorithm, limit("l", 5, 60))]);
            let names = names(cap + 10);
            for (name, number) in names.iter().zip(0..) {
                let asked = demand(&policy, &[("key", name)]);
                let decision = limiter.check(&asked);
                assert_eq!(decision.is_admitted(), number < cap, "counter {number} of {cap}, {algorithm:?}");
            }
            assert_eq!(limiter.store().counters(), cap);
            for name in &names[..cap] {
                let asked = demand(&policy, &[("key", name)]);
                let decision = limiter.check(&asked);
                let left = decision.rulings().next().map(|ruling| ruling.status.remaining);
                assert_eq!(left, Some(3), "a counter was forgotten (I51)");
            }
        }
    }
}

/// I51, M2: a flood of new names does not free a used counter.
#[test]
fn a_flood_forgets_no_counter() {
    let limiter = limiter(1_000);
    let policy = policy(vec![limit("l", 2, 60)]);
    let names = names(11_000);
    let (victims, flood) = names.split_at(1_000);
    let mut admitted = vec![0; victims.len()];
    let mut ask_victims = || {
        for (victim, admitted) in victims.iter().zip(&mut admitted) {
            *admitted += u32::from(limiter.check(&demand(&policy, &[("key", victim)])).is_admitted());
        }
    };
    ask_victims();
    for name in flood {
        let asked = demand(&policy, &[("key", name)]);
        let decision = limiter.check(&asked);
        let ruling = decision.binding().expect("a limit");
        assert!(!decision.is_admitted());
        assert_eq!((ruling.basis, ruling.status.remaining), (Basis::StoreFull, 0));
        let Wait::For(wait) = decision.retry_after() else { panic!("a wait") };
        assert!(wait >= Span::from_micros(1_000) && wait <= Span::from_secs(1), "{wait:?}");
    }
    ask_victims();
    ask_victims();
    assert_eq!(admitted, vec![2; 1_000], "each victim has its two, no more, no less");
    assert_eq!(limiter.store().counters(), 1_000);
}

/// I49: with threads that create as fast as they can, the bound holds and nobody's count is lost.
#[test]
fn the_cap_holds_with_many_threads() {
    let limiter = limiter(5_000);
    let policy = policy(vec![limit("l", 10, 60), LimitDraft { per: Vec::new(), ..limit("all", 1_000_000, 60) }]);
    let names = names(20_000);
    let admitted: usize = thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|quarter| {
                let (limiter, policy, names) = (&limiter, &policy, &names);
                scope.spawn(move || {
                    let mine = names.iter().skip(quarter).step_by(2);
                    mine.filter(|name| limiter.check(&demand(policy, &[("key", name)])).is_admitted()).count()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("a thread that ran to its end")).sum()
    });
    assert_eq!(limiter.store().counters(), 5_000);
    let asked = demand(&policy, &[]).with_purpose(Purpose::Peek);
    let decision = limiter.check(&asked);
    let all = decision.rulings().next().expect("the limit of all");
    assert_eq!(1_000_000 - all.status.remaining, admitted as u64, "what was refused for want of room charged nothing");
    let charged: u64 = names
        .iter()
        .map(|name| {
            let asked = demand(&policy, &[("key", name)]).with_purpose(Purpose::Peek);
            10 - limiter.check(&asked).rulings().next().expect("a limit").status.remaining
        })
        .sum();
    assert_eq!(charged, admitted as u64);
}

/// What is idle makes room: a table can be filled again and again, window after window, and the count follows.
#[test]
fn idle_counters_make_room() {
    let limiter = limiter(1_000);
    let policy = policy(vec![limit("l", 2, 1)]);
    let names = names(1_000);
    for window in 0..20 {
        limiter.clock().set(START.plus(Span::from_secs(window)));
        let admitted = (0..1_000).filter(|number| {
            let name = format!("{window}-{}", names[*number]);
            limiter.check(&demand(&policy, &[("key", &name)])).is_admitted()
        });
        assert!(admitted.count() > 990, "window {window}");
        assert!(limiter.store().counters() <= 1_000);
    }
}

/// The count of counters follows the truth without anybody sweeping: long after a crowd has gone, a few new ones a
/// window have cleared its slots.
#[test]
fn the_count_follows_the_truth() {
    let limiter = limiter(10_000);
    let policy = policy(vec![limit("l", 2, 1)]);
    let names = names(10_000);
    names.iter().for_each(|name| assert!(limiter.check(&demand(&policy, &[("key", name)])).is_admitted()));
    assert_eq!(limiter.store().counters(), 10_000);
    // 2,500 buckets were all looked at after 1,250 new counters.
    for number in 0..1_250 {
        limiter.clock().advance(Duration::from_secs(1));
        let name = format!("new-{number}");
        limiter.check(&demand(&policy, &[("key", &name)]));
    }
    assert!(limiter.store().counters() < 2_000, "{} counters", limiter.store().counters());
    // Where none is new, those that come back do it too, more slowly.
    for _ in 0..10_000 {
        limiter.clock().advance(Duration::from_micros(1_000_001));
        for name in &names[..10] {
            limiter.check(&demand(&policy, &[("key", name)]));
        }
    }
    assert!(limiter.store().counters() < 20, "{} counters", limiter.store().counters());
}

/// I37: at the cap, too, a shadow limit refuses nothing; an enforced limit beside it is charged.
#[test]
fn a_shadow_limit_without_room_refuses_nothing() {
    let limiter = limiter(1);
    let shadow = LimitDraft { mode: Mode::Shadow, per: vec![("user".into(), false)], ..limit("shadow", 5, 60) };
    let policy = policy(vec![shadow, limit("enforced", 5, 60)]);
    let asked = demand(&policy, &[("key", "k"), ("user", "u")]);
    assert!(limiter.check(&demand(&policy, &[("key", "k")])).is_admitted());
    let decision = limiter.check(&asked);
    let bases: Vec<_> = decision.rulings().map(|ruling| (ruling.basis, ruling.status.remaining)).collect();
    assert!(decision.is_admitted());
    assert_eq!(bases, [(Basis::StoreFull, 0), (Basis::Counter, 3)]);
    assert_eq!(decision.binding().map(|ruling| ruling.name()), Some("enforced"));
}

/// The memory that is documented is the memory that is taken.
#[test]
fn takes_the_bytes_that_are_documented() {
    let limiter = limiter(1_000_000);
    let per_counter = |bytes: usize| bytes.div_ceil(1_000_000);
    assert_eq!(per_counter(limiter.store().bytes() - 128), 32);
    for (cells, most) in [(13, 32 + 183), (61, 32 + 183 + 680)] {
        let policy = policy(vec![by(Algorithm::SlidingWindow { cells }, limit("l", 5, 60))]);
        limiter.check(&demand(&policy, &[("key", "k")]));
        assert_eq!(per_counter(limiter.store().bytes() - 384), most);
    }
}

/// A limit whose cost is known only afterwards refuses for want of room like any other: what it admitted then could
/// never be settled, and at the cap new names would use as much as they like.
#[test]
fn a_cost_that_could_not_be_settled_is_refused() {
    let limiter = limiter(1);
    let tokens = LimitDraft { unit: "tokens".into(), cost: Cost::Settled, ..limit("tokens", 10, 60) };
    let policy = policy(vec![tokens]);
    let unit = policy.unit("tokens").expect("a unit");
    let [old, new] = ["old", "new"].map(|key| demand(&policy, &[("key", key)]));
    limiter.settle(limiter.receipt(&limiter.check(&old)), &[(unit, 4)]);
    assert!(limiter.check(&old).is_admitted(), "its counter is there");
    let refused = limiter.check(&new);
    let basis = refused.binding().map(|ruling| ruling.basis);
    assert_eq!((refused.is_admitted(), basis), (false, Some(Basis::StoreFull)));
    assert_eq!(refused.retry_after(), Wait::For(Span::from_secs(1)));
    limiter.clock().advance(Duration::from_secs(60));
    limiter.settle(limiter.receipt(&limiter.check(&new)), &[(unit, 10)]);
    assert!(!limiter.check(&new).is_admitted());
    assert_eq!((limiter.store().counters(), limiter.store().unsettled()), (1, 0));
}
