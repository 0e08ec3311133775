//! Reservations: each is settled, released or expires once, in the window that it was taken from.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tidegate_core::{Algorithm, Cost, LimitDraft, Policy, Purpose, QuotaTree, Span};
use tidegate_limiter::{Clock, Limiter, ManualClock, Memory, MemoryOptions, ReservationId, ReserveError, SettleError};

use crate::support::{Random, START, by, demand, limit, limiter, policy};

const MINUTE: Span = Span::from_secs(60);

const ALGORITHMS: [Algorithm; 4] =
    [Algorithm::FixedWindow, Algorithm::SlidingWindow { cells: 6 }, Algorithm::TokenBucket, Algorithm::Concurrency];

fn left(limiter: &Limiter<ManualClock, ()>, policy: &Policy, name: &str) -> u64 {
    let peek = demand(policy, &[("key", "k")]).with_purpose(Purpose::Peek);
    let decision = limiter.check(&peek);
    decision.rulings().find(|ruling| ruling.name() == name).expect("the limit applies").status.remaining
}

/// Reserves for the key `k` at a cost of so many tokens.
fn reserve(limiter: &Limiter<ManualClock, ()>, policy: &Policy, tokens: u64) -> Option<ReservationId> {
    let mut builder = tidegate_core::Demand::on(policy);
    builder.set(policy.attribute("key").expect("an attribute"), "k").expect("a value");
    builder.set_cost(policy.unit("tokens").expect("a unit"), tokens).expect("an amount");
    let demand = builder.set_purpose(Purpose::Hold).build();
    limiter.reserve(&mut limiter.places(1).expect("room"), &demand, MINUTE).1
}

/// A limit of 100 tokens a minute, counted in some way.
fn tokens(algorithm: Algorithm) -> LimitDraft {
    LimitDraft { unit: "tokens".into(), ..by(algorithm, limit("tokens", 100, 60)) }
}

#[test]
fn every_algorithm_gives_back_what_is_released() {
    for algorithm in ALGORITHMS {
        let (limiter, policy) = (limiter(100), policy(vec![tokens(algorithm), limit("requests", 10, 60)]));
        let id = reserve(&limiter, &policy, 40).expect("it is admitted");
        assert_eq!((left(&limiter, &policy, "tokens"), left(&limiter, &policy, "requests")), (60, 9), "{algorithm:?}");
        assert_eq!(limiter.release_reservation(id), Ok(()));
        assert_eq!(
            (left(&limiter, &policy, "tokens"), left(&limiter, &policy, "requests")),
            (100, 10),
            "{algorithm:?}"
        );
        assert_eq!(limiter.release_reservation(id), Err(SettleError::Unknown));
        assert_eq!(limiter.settle_reservation(id, &[]), Err(SettleError::Unknown));
        assert_eq!(left(&limiter, &policy, "tokens"), 100, "{algorithm:?}");
        assert_eq!((limiter.store().counters(), limiter.store().leaked()), (0, 0), "{algorithm:?}");
    }
}

#[test]
fn a_settlement_replaces_the_estimate_up_or_down_and_leaves_other_units() {
    for algorithm in [Algorithm::FixedWindow, Algorithm::SlidingWindow { cells: 6 }, Algorithm::TokenBucket] {
        for (actual, remaining) in [(0, 100), (15, 85), (40, 60), (90, 10), (500, 0)] {
            let (limiter, policy) = (limiter(100), policy(vec![tokens(algorithm), limit("requests", 10, 60)]));
            let id = reserve(&limiter, &policy, 40).expect("it is admitted");
            assert_eq!(limiter.settle_reservation(id, &[("tokens", actual)]), Ok(()));
            assert_eq!(left(&limiter, &policy, "tokens"), remaining, "{algorithm:?} {actual}");
            assert_eq!(left(&limiter, &policy, "requests"), 9);
            assert_eq!(limiter.settle_reservation(id, &[("tokens", 1)]), Err(SettleError::Unknown));
        }
    }
}

#[test]
fn an_unknown_unit_settles_nothing_and_loses_nothing() {
    let (limiter, policy) = (limiter(100), policy(vec![tokens(Algorithm::FixedWindow)]));
    let id = reserve(&limiter, &policy, 40).expect("it is admitted");
    let Err(SettleError::UnknownUnit { name, known }) = limiter.settle_reservation(id, &[("token", 1)]) else {
        panic!("there is no such unit")
    };
    assert_eq!((name.as_str(), known.as_slice()), ("token", &["requests", "messages", "tokens"].map(String::from)[..]));
    assert_eq!(left(&limiter, &policy, "tokens"), 60);
    assert_eq!(limiter.settle_reservation(id, &[("tokens", 1), ("messages", 7)]), Ok(()));
    assert_eq!(left(&limiter, &policy, "tokens"), 99);
}

/// A cost that is known only afterwards can be reserved too.
#[test]
fn a_cost_of_nothing_yet_is_settled_by_its_truth() {
    let late = LimitDraft { cost: Cost::Settled, ..tokens(Algorithm::FixedWindow) };
    let (limiter, policy) = (limiter(100), policy(vec![late]));
    let demand = demand(&policy, &[("key", "k")]).with_purpose(Purpose::Hold);
    let id = limiter.reserve(&mut limiter.places(1).expect("room"), &demand, MINUTE).1.expect("it is admitted");
    assert_eq!(left(&limiter, &policy, "tokens"), 100);
    assert_eq!(limiter.settle_reservation(id, &[("tokens", 30)]), Ok(()));
    assert_eq!(left(&limiter, &policy, "tokens"), 70);
}

/// I5: exactly at its expiry what a reservation holds is free for the next demand, and it is unknown. What was counted stays.
#[test]
fn expiry_is_exact_i5() {
    let open = by(Algorithm::Concurrency, limit("open", 1, 1));
    let (limiter, policy) = (limiter(100), policy(vec![open, tokens(Algorithm::FixedWindow)]));
    let first = reserve(&limiter, &policy, 40).expect("it is admitted");
    limiter.clock().set(START.plus(Span::from_micros(MINUTE.as_micros() - 1)));
    assert_eq!(reserve(&limiter, &policy, 0), None, "it is held to the last microsecond");
    assert_eq!((left(&limiter, &policy, "tokens"), limiter.open_reservations()), (60, 1));
    limiter.clock().set(START.plus(MINUTE));
    let second = reserve(&limiter, &policy, 0).expect("it is free");
    assert_eq!(limiter.settle_reservation(first, &[]), Err(SettleError::Unknown));
    assert_eq!(left(&limiter, &policy, "open"), 0, "the second one's stays");
    assert_eq!(limiter.open_reservations(), 1);
    limiter.clock().advance(Duration::from_secs(61));
    assert_eq!(limiter.release_reservation(second), Err(SettleError::Unknown), "touching releases it as well");
    assert_eq!((left(&limiter, &policy, "open"), limiter.open_reservations()), (1, 0));
    assert_eq!(limiter.store().leaked(), 0);
}

/// Of what only counts, expired reservations leave as others come, so that their number is bounded by those that live.
#[test]
fn the_bound_holds_and_expired_ones_make_room() {
    let policy = policy(vec![tokens(Algorithm::FixedWindow)]);
    let store = Memory::new(MemoryOptions { max_counters: 10 });
    let limiter = Limiter::new(store, ManualClock::at(START), ()).with_max_reservations(3);
    let ids: Vec<_> = (0..3).map(|_| reserve(&limiter, &policy, 1).expect("room")).collect();
    assert_eq!(limiter.places(1).err(), Some(ReserveError::Full { most: 3 }));
    assert_eq!(left(&limiter, &policy, "tokens"), 97, "nothing was charged");
    limiter.release_reservation(ids[0]).expect("it is open");
    let places = limiter.places(1).expect("one left");
    assert!(limiter.places(1).is_err(), "it is promised");
    drop(places);
    assert!(limiter.places(2).is_err() && limiter.places(1).is_ok(), "what is not used is given back");
    limiter.clock().set(START.plus(MINUTE));
    assert!(limiter.places(3).is_ok(), "the expired ones have left");
}

/// A refusal takes no place, and one admitted without limits has a reservation all the same.
#[test]
fn refusals_reserve_nothing() {
    let store = Memory::new(MemoryOptions { max_counters: 10 });
    let limiter = Limiter::new(store, ManualClock::at(START), ()).with_max_reservations(1);
    let strict = policy(vec![tokens(Algorithm::FixedWindow)]);
    assert_eq!(reserve(&limiter, &strict, 101), None);
    let free = policy(vec![]);
    let id = reserve(&limiter, &free, 5).expect("nothing refuses");
    assert_eq!(limiter.settle_reservation(id, &[("tokens", 3)]), Ok(()));
}

/// A reservation is settled where it was taken, whatever has become of its policy: by the names of its units then.
#[test]
fn reservations_outlive_their_policy() {
    let limiter = limiter(100);
    let tokens = tokens(Algorithm::FixedWindow);
    let before = policy(vec![tokens.clone()]);
    let id = reserve(&limiter, &before, 40).expect("it is admitted");
    drop(before);
    let raised = LimitDraft { quota: QuotaTree::Fixed(tidegate_core::Quota::per(200, MINUTE)), ..tokens };
    let after = policy(vec![raised]);
    assert_eq!(left(&limiter, &after, "tokens"), 160);
    limiter.settle_reservation(id, &[("tokens", 10)]).expect("it is open");
    assert_eq!(left(&limiter, &after, "tokens"), 190);
}

/// A receipt that is dropped with something held is counted.
#[test]
fn leaks_are_counted() {
    let (limiter, policy) = (limiter(100), policy(vec![by(Algorithm::Concurrency, limit("open", 3, 1))]));
    let demand = demand(&policy, &[("key", "k")]).with_purpose(Purpose::Hold);
    drop(limiter.receipt(&limiter.check(&demand)));
    assert_eq!(limiter.store().leaked(), 1);
    limiter.release(limiter.receipt(&limiter.check(&demand)));
    limiter.settle(limiter.receipt(&limiter.check(&demand)), &[]);
    assert_eq!(limiter.store().leaked(), 1);
}

/// What was reserved and is counted, as an exact model has it.
#[derive(Clone, Copy, Debug)]
struct Taken {
    at: u64,
    amount: u64,
}

/// The model of one way of counting: what counts at an instant is the sum of charges that are young enough.
fn used(algorithm: Algorithm, taken: &[Taken], now: u64) -> u64 {
    let window = MINUTE.as_micros();
    let counts = |one: &&Taken| match algorithm {
        Algorithm::FixedWindow => one.at / window == now / window,
        // Cells of ten seconds: the window that ends now has six and a part of the seventh, which counts whole.
        Algorithm::SlidingWindow { .. } => now / (window / 6) - one.at / (window / 6) <= 6,
        _ => true,
    };
    taken.iter().filter(counts).map(|one| one.amount).sum()
}

/// I7, I13: in every window, what is counted is what was admitted, less what was given back and more what settlements added;
/// what is held is what neither was settled or released nor has expired. Nothing else ever counts.
#[test]
fn charges_are_what_was_admitted_less_what_was_given_back_i7_i13() {
    for (seed, algorithm) in (0..60).flat_map(|seed| ALGORITHMS.map(|algorithm| (seed, algorithm))) {
        if algorithm == Algorithm::TokenBucket {
            continue; // It has no windows; core holds it to exact fractions.
        }
        let mut random = Random::new(seed);
        let (limiter, policy) = (limiter(100), policy(vec![tokens(algorithm)]));
        let mut counted: Vec<Taken> = Vec::new();
        let mut open: HashMap<ReservationId, (usize, u64)> = HashMap::new();
        let mut closed: Vec<ReservationId> = Vec::new();
        let is_held = algorithm == Algorithm::Concurrency;
        for _ in 0..200 {
            limiter.clock().advance(Duration::from_micros(random.one_of(&[0, 1, 999_999, 7_000_000, 31_000_000])));
            let now = limiter.clock().now().as_micros();
            // What has expired is held no more, and cannot be settled.
            open.retain(|id, (index, expires_at)| {
                let lives = *expires_at > now;
                if !lives {
                    closed.push(*id);
                    counted[*index].amount *= u64::from(!is_held);
                }
                lives
            });
            let ids: Vec<ReservationId> = open.keys().copied().collect();
            match random.below(4) {
                0 | 1 => {
                    let amount = random.one_of(&[0, 1, 7, 30, 60]);
                    let fits = amount <= 100_u64.saturating_sub(used(algorithm, &counted, now));
                    let id = reserve(&limiter, &policy, amount);
                    assert_eq!(id.is_some(), fits, "seed {seed} {algorithm:?}");
                    if let Some(id) = id {
                        open.insert(id, (counted.len(), now + MINUTE.as_micros()));
                        counted.push(Taken { at: now, amount });
                    }
                }
                2 if !ids.is_empty() => {
                    let id = random.one_of(&ids);
                    let actual = random.one_of(&[0, 3, 30, 150]);
                    assert_eq!(limiter.settle_reservation(id, &[("tokens", actual)]), Ok(()), "seed {seed}");
                    let (index, _) = open.remove(&id).expect("it is open");
                    // An amount lands in the window that was charged, or nowhere, which the model's sum leaves out.
                    counted[index].amount = if is_held { 0 } else { actual };
                    closed.push(id);
                }
                3 if !ids.is_empty() => {
                    let id = random.one_of(&ids);
                    assert_eq!(limiter.release_reservation(id), Ok(()), "seed {seed}");
                    let (index, _) = open.remove(&id).expect("it is open");
                    counted[index].amount = 0;
                    closed.push(id);
                }
                _ => {}
            }
            if let Some(id) = closed.last() {
                assert_eq!(limiter.release_reservation(*id), Err(SettleError::Unknown), "seed {seed}");
            }
            let remaining = 100_u64.saturating_sub(used(algorithm, &counted, now));
            assert_eq!(left(&limiter, &policy, "tokens"), remaining, "seed {seed} {algorithm:?}");
            assert_eq!(limiter.open_reservations(), open.len(), "seed {seed} {algorithm:?}");
        }
        assert_eq!((limiter.store().leaked(), limiter.store().unsettled()), (0, 0));
    }
}

/// I5, I7: settlements, releases, expiries and decisions race over the same reservations. Each is won once and gives back
/// once: what is given back twice would be missing from what one reservation holds all the while.
#[test]
fn races_are_won_once_i5_i7() {
    const THREADS: u64 = 4;
    const KEPT: u64 = 500_000;
    let policy =
        policy(vec![LimitDraft { unit: "tokens".into(), ..by(Algorithm::Concurrency, limit("tokens", 1_000_000, 1)) }]);
    let store = Memory::new(MemoryOptions { max_counters: 10 });
    let limiter = Limiter::new(store, ManualClock::at(START), ());
    let hold = |tokens: u64, micros: u64| {
        let mut builder = tidegate_core::Demand::on(&policy);
        builder.set(policy.attribute("key").expect("an attribute"), "k").expect("a value");
        builder.set_cost(policy.unit("tokens").expect("a unit"), tokens).expect("an amount");
        let demand = builder.set_purpose(Purpose::Hold).build();
        limiter.reserve(&mut limiter.places(1).expect("room"), &demand, Span::from_micros(micros)).1.expect("it fits")
    };
    let kept = hold(KEPT, 3_600_000_000);
    let shared: Mutex<Vec<ReservationId>> = Mutex::new(Vec::new());
    let (won, made) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (limiter, policy, hold, shared, won, made) = (&limiter, &policy, &hold, &shared, &won, &made);
            scope.spawn(move || {
                let mut random = Random::new(thread);
                for _ in 0..20_000 {
                    let ids: Vec<ReservationId> = shared.lock().expect("no panic").clone();
                    match random.below(4) {
                        0 => {
                            let id = hold(3, 50);
                            made.fetch_add(1, Ordering::Relaxed);
                            let mut shared = shared.lock().expect("no panic");
                            shared.push(id);
                            let surplus = shared.len().saturating_sub(8);
                            shared.drain(..surplus);
                        }
                        1 if !ids.is_empty() => {
                            let done = limiter.settle_reservation(random.one_of(&ids), &[]);
                            won.fetch_add(u64::from(done.is_ok()), Ordering::Relaxed);
                        }
                        2 if !ids.is_empty() => {
                            let done = limiter.release_reservation(random.one_of(&ids));
                            won.fetch_add(u64::from(done.is_ok()), Ordering::Relaxed);
                        }
                        3 => limiter.clock().advance(Duration::from_micros(random.below(20))),
                        _ => assert!(left(limiter, policy, "tokens") <= 1_000_000 - KEPT, "what is kept is held"),
                    }
                }
            });
        }
    });
    let (won, made) = (won.load(Ordering::Relaxed), made.load(Ordering::Relaxed));
    assert!(won > 1_000 && made - won > 1_000, "{won} of {made} were settled or released, and the others expired");
    limiter.clock().advance(Duration::from_micros(50));
    assert_eq!((left(&limiter, &policy, "tokens"), limiter.open_reservations()), (1_000_000 - KEPT, 1));
    limiter.release_reservation(kept).expect("it is open");
    assert_eq!((limiter.store().counters(), limiter.store().leaked()), (0, 0));
}
