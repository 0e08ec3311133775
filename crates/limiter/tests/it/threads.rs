//! Many threads at once: exactly what the limits promise, and nothing that a demand would see half done.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use tidegate_core::{Algorithm, Demand, LimitDraft, Policy, Purpose, Verdict};
use tidegate_limiter::{Clock, Limiter};

use crate::support::{by, demand, limit, limiter, policy};

/// I1, C1: 64 callers at once on a limit of 5, 200 rounds: exactly 5 each time, by every algorithm.
#[test]
fn of_64_callers_exactly_5_are_admitted() {
    for algorithm in [
        Algorithm::FixedWindow,
        Algorithm::TokenBucket,
        Algorithm::SlidingWindow { cells: 10 },
        Algorithm::SlidingWindow { cells: 60 },
        Algorithm::Concurrency,
    ] {
        let policy = policy(vec![by(algorithm, limit("l", 5, 60))]);
        let limiter = limiter(1_000);
        let rounds: Vec<String> = (0..200).map(|round| round.to_string()).collect();
        let admitted: Vec<AtomicU64> = rounds.iter().map(|_| AtomicU64::new(0)).collect();
        let start = Barrier::new(64);
        thread::scope(|scope| {
            for _ in 0..64 {
                scope.spawn(|| {
                    for (round, admitted) in rounds.iter().zip(&admitted) {
                        let demand = demand(&policy, &[("key", round)]).with_purpose(Purpose::Hold);
                        start.wait();
                        let is_admitted = limiter.check(&demand).is_admitted();
                        admitted.fetch_add(u64::from(is_admitted), Ordering::Relaxed);
                    }
                });
            }
        });
        let admitted: Vec<u64> = admitted.into_iter().map(AtomicU64::into_inner).collect();
        assert_eq!(admitted, [5; 200], "{algorithm:?}");
    }
}

/// A limit per each of these attributes.
fn per(name: &str, attributes: &[&str], amount: u64) -> LimitDraft {
    LimitDraft { per: attributes.iter().map(|name| ((*name).into(), false)).collect(), ..limit(name, amount, 3_600) }
}

/// I6, I7: charges of demands on random subsets of limits add up: what is gone from every counter is exactly what was
/// admitted through it.
#[test]
fn what_was_admitted_is_what_is_gone() {
    const KEYS: [&str; 4] = ["1", "2", "3", "4"];
    let policy = policy(vec![
        per("by-key", &["key"], 4_000),
        per("by-user", &["user"], 3_000),
        per("by-both", &["key", "user"], 1_500),
        by(Algorithm::TokenBucket, per("by-app", &["app"], 9_000)),
    ]);
    let limiter = limiter(1_000);
    let admitted: Vec<AtomicU64> = (0..125).map(|_| AtomicU64::new(0)).collect();
    // Each of the three attributes is absent (0) or has one of four values.
    let values = |which: usize| [which % 5, which / 5 % 5, which / 25];
    let ask = |which: usize| {
        let names = ["key", "user", "app"].into_iter().zip(values(which));
        let set: Vec<_> = names.filter(|(_, value)| *value > 0).map(|(name, value)| (name, KEYS[value - 1])).collect();
        demand(&policy, &set)
    };
    thread::scope(|scope| {
        for seed in 0..4_u64 {
            let (limiter, admitted, ask) = (&limiter, &admitted, &ask);
            scope.spawn(move || {
                let mut state = seed + 1;
                for _ in 0..30_000 {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    let which = usize::try_from((state >> 33) % 125).expect("a small number");
                    let is_admitted = limiter.check(&ask(which)).is_admitted();
                    admitted[which].fetch_add(u64::from(is_admitted), Ordering::Relaxed);
                }
            });
        }
    });
    let admitted: Vec<u64> = admitted.into_iter().map(AtomicU64::into_inner).collect();
    let mut gone = 0;
    for which in 0..125 {
        let asked = ask(which).with_purpose(Purpose::Peek);
        for ruling in limiter.check(&asked).rulings() {
            let counted: Vec<usize> = match ruling.name() {
                "by-key" => vec![0],
                "by-user" => vec![1],
                "by-both" => vec![0, 1],
                _ => vec![2],
            };
            let same = |other: &usize| counted.iter().all(|place| values(*other)[*place] == values(which)[*place]);
            let through: u64 = (0..125).filter(same).map(|other| admitted[other]).sum();
            assert_eq!(ruling.rule().limit() - ruling.status.remaining, through, "{} of {which}", ruling.name());
            gone += through;
        }
    }
    assert!(gone > 50_000, "{gone} charges");
}

/// I8: where more is asked than there is, all of it is given: exactly the capacity, with limits that cross.
#[test]
fn nothing_is_refused_while_there_is_some_left() {
    const USERS: [&str; 5] = ["1", "2", "3", "4", "5"];
    for round in 0..20 {
        // Five users may have 300 each; the app 1,000 in all.
        let policy = policy(vec![per("user", &["user"], 300), per("app", &["app"], 1_000)]);
        let limiter = limiter(100);
        let admitted = AtomicU64::new(0);
        thread::scope(|scope| {
            for first in 0..8 {
                let (limiter, policy, admitted) = (&limiter, &policy, &admitted);
                scope.spawn(move || {
                    for turn in first..first + 400 {
                        let demand = demand(policy, &[("user", USERS[turn % 5]), ("app", "a")]);
                        let is_admitted = limiter.check(&demand).is_admitted();
                        admitted.fetch_add(u64::from(is_admitted), Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(admitted.into_inner(), 1_000, "round {round}");
    }
}

/// I6, I8: a demand that is refused by one limit is never seen on another, not for a moment.
#[test]
fn a_refused_demand_leaves_no_trace_while_it_is_decided() {
    let policy = policy(vec![per("a", &["key"], 1), per("b", &["user"], 0)]);
    let rounds: Vec<String> = (0..20_000).map(|round| round.to_string()).collect();
    let limiter = limiter(100_000);
    let done = AtomicBool::new(false);
    let current = AtomicU64::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let round = usize::try_from(current.load(Ordering::Relaxed)).expect("a small number");
                let both = demand(&policy, &[("key", &rounds[round]), ("user", "u")]);
                assert!(!limiter.check(&both).is_admitted());
            }
        });
        for (round, number) in rounds.iter().zip(0..) {
            current.store(number, Ordering::Relaxed);
            let alone = demand(&policy, &[("key", round)]);
            assert!(limiter.check(&alone).is_admitted(), "a phantom refusal in round {round}");
        }
        done.store(true, Ordering::Relaxed);
    });
}

/// I6, I11: whoever looks at limits that are always charged together always sees them alike, found or not yet there,
/// while new counters push them from bucket to bucket.
#[test]
fn charges_are_seen_together_or_not_at_all() {
    let limits: Vec<LimitDraft> = (0..3)
        .map(|number| per(&format!("l{number}"), &["key"], 1_000_000))
        .chain([per("new", &["user"], 5)])
        .collect();
    let policy = policy(limits);
    let limiter = limiter(2_000);
    let names: Vec<String> = (0..1_850).map(|number| number.to_string()).collect();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let writers: Vec<_> = (0..2)
            .map(|half| {
                let (limiter, policy, names) = (&limiter, &policy, &names);
                scope.spawn(move || {
                    for (number, name) in names.iter().enumerate().skip(half).step_by(2) {
                        let key = &names[number % 40];
                        let asked = demand(policy, &[("key", key), ("user", name)]);
                        assert_eq!(limiter.check(&asked).verdict(), Verdict::Admitted);
                        for _ in 0..20 {
                            assert_eq!(limiter.check(&demand(policy, &[("key", key)])).verdict(), Verdict::Admitted);
                        }
                    }
                })
            })
            .collect();
        scope.spawn(|| {
            let mut seen = 0_u64;
            while !done.load(Ordering::Relaxed) {
                for key in &names[..40] {
                    let asked = demand(&policy, &[("key", key)]).with_purpose(Purpose::Peek);
                    let decision = limiter.check(&asked);
                    let left: Vec<u64> = decision.rulings().map(|ruling| ruling.status.remaining).collect();
                    assert!(left.iter().all(|remaining| *remaining == left[0]), "{left:?}");
                    seen += 1_000_000 - left[0];
                }
            }
            assert!(seen > 0);
        });
        writers.into_iter().for_each(|writer| writer.join().expect("a writer that saw what it should"));
        done.store(true, Ordering::Relaxed);
    });
    let total: u64 = names[..40].iter().map(|key| charged(&limiter, &demand(&policy, &[("key", key)]))).sum();
    assert_eq!(total, 1_850 * 21);
}

fn charged(limiter: &Limiter<impl Clock, ()>, asked: &Demand<'_>) -> u64 {
    let peek = asked.with_purpose(Purpose::Peek);
    let decision = limiter.check(&peek);
    let ruling = decision.rulings().next().expect("a limit");
    ruling.rule().limit() - ruling.status.remaining
}

/// I5, C6: holders come and go on many threads; never more than the limit at once, none lost.
#[test]
fn no_more_hold_at_once_than_may() {
    let policy: Policy = policy(vec![by(Algorithm::Concurrency, limit("open", 3, 1))]);
    let limiter = limiter(100);
    let holders = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..5_000 {
                    let asked = demand(&policy, &[("key", "k")]).with_purpose(Purpose::Hold);
                    let decision = limiter.check(&asked);
                    if decision.is_admitted() {
                        assert!(holders.fetch_add(1, Ordering::SeqCst) < 3);
                        thread::yield_now();
                        holders.fetch_sub(1, Ordering::SeqCst);
                        limiter.release(limiter.receipt(&decision));
                    }
                }
            });
        }
    });
    assert_eq!(charged(&limiter, &demand(&policy, &[("key", "k")])), 0);
    assert_eq!(limiter.store().counters(), 0);
}

/// I1, I6, I7: attempts on many threads that are refused, by this limit or another, are charged to those that count them to
/// the unit: with those that are admitted, every cost is there once, until nothing is left; and then no more.
#[test]
fn refused_attempts_add_up() {
    const ATTEMPTS: u64 = 10_000;
    for algorithm in [
        Algorithm::FixedWindow,
        Algorithm::TokenBucket,
        Algorithm::SlidingWindow { cells: 10 },
        Algorithm::SlidingWindow { cells: 60 },
    ] {
        let counting = |draft: LimitDraft| LimitDraft { count_refused: true, ..by(algorithm, draft) };
        let policy = policy(vec![
            per("gate", &["key"], 700),
            counting(per("wide", &["user"], 1_000_000)),
            counting(per("narrow", &["user", "key"], 1_500)),
            per("beside", &["user"], 1_000_000),
        ]);
        let limiter = limiter(1_000);
        let keys = ["1", "2", "3"];
        let (charged, admitted) = (AtomicU64::new(0), AtomicU64::new(0));
        let start = Barrier::new(4);
        thread::scope(|scope| {
            for thread in 0..4_u64 {
                let (limiter, policy, start, charged, admitted) = (&limiter, &policy, &start, &charged, &admitted);
                scope.spawn(move || {
                    start.wait();
                    for attempt in 0..ATTEMPTS {
                        let cost = 1 + (attempt + thread) % 3;
                        let key = keys[usize::try_from(attempt % 3).expect("a small number")];
                        let mut builder = Demand::on(policy);
                        for (name, value) in [("key", key), ("user", "u")] {
                            builder.set(policy.attribute(name).expect("an attribute"), value).expect("a short value");
                        }
                        builder.set_cost(tidegate_core::UnitId::REQUESTS, cost).expect("a small cost");
                        let is_admitted = limiter.check(builder.finish()).is_admitted();
                        charged.fetch_add(cost, Ordering::Relaxed);
                        admitted.fetch_add(if is_admitted { cost } else { 0 }, Ordering::Relaxed);
                    }
                });
            }
        });
        let used = |name: &str| -> u64 {
            let used_of = |key: &&str| {
                let asked = demand(&policy, &[("key", key), ("user", "u")]).with_purpose(Purpose::Peek);
                let decision = limiter.check(&asked);
                let ruling = decision.rulings().find(|ruling| ruling.name() == name).expect("a limit");
                ruling.rule().limit() - ruling.status.remaining
            };
            keys.iter().map(used_of).sum()
        };
        // All keys have one counter of these two, and one each of the others.
        assert_eq!(used("wide"), 3 * charged.into_inner(), "{algorithm:?}");
        assert_eq!(used("beside"), 3 * admitted.load(Ordering::Relaxed), "{algorithm:?}");
        assert_eq!(used("narrow"), 3 * 1_500, "{algorithm:?}");
        assert_eq!(used("gate"), admitted.into_inner(), "{algorithm:?}");
    }
}

/// I9: what is left after an admission numbers it. Eight threads at once get numbers that are distinct and without a
/// gap, and a thread that was answered before another asked has the earlier number.
#[test]
fn admissions_are_numbered_without_gap_and_in_the_order_of_their_replies() {
    const EACH: u64 = 5_000;
    let total = 8 * EACH;
    let policy = policy(vec![limit("l", total, 3_600)]);
    let limiter = limiter(100);
    // The latest number that anybody has been given: whoever reads it before asking must get a later one.
    let latest = AtomicU64::new(0);
    let start = Barrier::new(8);
    let number = |demand: &Demand<'_>| {
        let decision = limiter.check(demand);
        total - decision.binding().expect("a limit applies").status.remaining
    };
    let mut numbers: Vec<u64> = thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    let demand = demand(&policy, &[("key", "k")]);
                    start.wait();
                    let ask = |_| {
                        let before = latest.load(Ordering::SeqCst);
                        let number = number(&demand);
                        assert!(number > before, "{number} was asked for after {before} was answered");
                        latest.fetch_max(number, Ordering::SeqCst);
                        number
                    };
                    (0..EACH).map(ask).collect::<Vec<u64>>()
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("a thread that ends")).collect()
    });
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(1..=total));
}
