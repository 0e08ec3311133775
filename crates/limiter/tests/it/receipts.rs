//! Costs known only afterwards, and what is held until work ends.

use std::time::Duration;

use tidegate_core::{Algorithm, Cost, LimitDraft, Policy, Purpose, Span, UnitId};
use tidegate_limiter::{Limiter, ManualClock};

use crate::support::{START, by, demand, limit, limiter, policy};

/// 1,000 tokens a minute, known afterwards, and a request limit beside it.
fn chat() -> (Policy, UnitId) {
    let tokens = LimitDraft { unit: "tokens".into(), cost: Cost::Settled, ..limit("tokens", 1_000, 60) };
    let policy = policy(vec![limit("requests", 100, 60), tokens]);
    let unit = policy.unit("tokens").expect("a unit");
    (policy, unit)
}

fn left(limiter: &Limiter<ManualClock, ()>, policy: &Policy, name: &str) -> u64 {
    let peek = demand(policy, &[("key", "k")]).with_purpose(Purpose::Peek);
    let decision = limiter.check(&peek);
    let ruling = decision.rulings().find(|ruling| ruling.name() == name);
    ruling.expect("the limit applies").status.remaining
}

#[test]
fn a_settled_cost_creates_the_counter_that_the_admission_did_not() {
    let (limiter, (policy, tokens)) = (limiter(100), chat());
    let demand = demand(&policy, &[("key", "k")]);
    let decision = limiter.check(&demand);
    assert_eq!(limiter.store().counters(), 1, "the counter of requests alone");
    let receipt = limiter.receipt(&decision);
    assert!(!receipt.is_empty());
    limiter.settle(receipt, &[(tokens, 700)]);
    assert_eq!(limiter.store().counters(), 2);
    assert_eq!(left(&limiter, &policy, "tokens"), 300);
    assert_eq!(left(&limiter, &policy, "requests"), 99);
}

/// Admitted while one unit remains; more than the limit may come out, and then nothing is left.
#[test]
fn a_settled_cost_may_exceed_the_limit_once() {
    let (limiter, (policy, tokens)) = (limiter(100), chat());
    let demand = demand(&policy, &[("key", "k")]);
    limiter.settle(limiter.receipt(&limiter.check(&demand)), &[(tokens, 999)]);
    assert_eq!(left(&limiter, &policy, "tokens"), 1);
    let last = limiter.check(&demand);
    assert!(last.is_admitted());
    limiter.settle(limiter.receipt(&last), &[(tokens, 5_000)]);
    assert_eq!(left(&limiter, &policy, "tokens"), 0);
    assert!(!limiter.check(&demand).is_admitted());
    limiter.clock().advance(Duration::from_secs(60));
    assert_eq!(left(&limiter, &policy, "tokens"), 1_000);
}

/// C4: what was charged in one window is settled there, or nowhere.
#[test]
fn a_late_settlement_changes_no_later_window() {
    let (limiter, (policy, tokens)) = (limiter(100), chat());
    let demand = demand(&policy, &[("key", "k")]);
    let receipt = limiter.receipt(&limiter.check(&demand));
    limiter.clock().advance(Duration::from_secs(60));
    limiter.settle(receipt, &[(tokens, 700)]);
    assert_eq!(left(&limiter, &policy, "tokens"), 1_000);
    limiter.settle(limiter.receipt(&limiter.check(&demand)), &[(tokens, 100)]);
    assert_eq!(left(&limiter, &policy, "tokens"), 900);
}

/// C4: a demand that read the clock just before a window, and was counted in it because others were there already, is
/// settled in that window.
#[test]
fn what_counted_in_the_next_window_is_settled_there() {
    for algorithm in [Algorithm::FixedWindow, Algorithm::SlidingWindow { cells: 10 }] {
        let limiter = limiter(100);
        let policy = policy(vec![by(algorithm, limit("l", 100, 60))]);
        let key = policy.attribute("key").expect("an attribute");
        let demand = |cost| {
            let mut builder = tidegate_core::Demand::on(&policy);
            builder.set(key, "k").expect("short").set_cost(UnitId::REQUESTS, cost).expect("small").build()
        };
        limiter.clock().set(START.plus(Span::from_secs(60)));
        assert!(limiter.check(&demand(1)).is_admitted());
        limiter.clock().set(START.plus(Span::from_micros(59_999_999)));
        let receipts = [10, 20].map(|cost| {
            let demand = demand(cost);
            limiter.receipt(&limiter.check(&demand))
        });
        limiter.clock().set(START.plus(Span::from_secs(61)));
        for (receipt, actual) in receipts.into_iter().zip([4, 25]) {
            limiter.settle(receipt, &[(UnitId::REQUESTS, actual)]);
        }
        assert_eq!(left(&limiter, &policy, "l"), 100 - 1 - 4 - 25, "{algorithm:?}");
    }
}

/// A cost that the demand named may be replaced by the truth; never more comes back than was taken (I7).
#[test]
fn an_estimate_is_replaced_by_the_truth() {
    let (limiter, (policy, tokens)) = (limiter(100), chat());
    let key = policy.attribute("key").expect("an attribute");
    let mut builder = tidegate_core::Demand::on(&policy);
    let demand = builder.set(key, "k").expect("short").set_cost(tokens, 400).expect("small").build();
    let receipt = limiter.receipt(&limiter.check(&demand));
    assert_eq!(left(&limiter, &policy, "tokens"), 600);
    limiter.settle(receipt, &[(tokens, 150)]);
    assert_eq!(left(&limiter, &policy, "tokens"), 850);
    let other = limiter.receipt(&limiter.check(&demand));
    limiter.settle(other, &[]);
    assert_eq!(left(&limiter, &policy, "tokens"), 450, "what is not named stays as charged");
}

/// I5, C6: never more holders than the limit, and what is released is free at once.
#[test]
fn concurrency_is_held_until_it_is_released() {
    let limiter = limiter(100);
    let policy = policy(vec![by(Algorithm::Concurrency, limit("open", 3, 1)), limit("requests", 100, 60)]);
    let demand = demand(&policy, &[("key", "k")]).with_purpose(Purpose::Hold);
    let mut held: Vec<_> = (0..3).map(|_| limiter.receipt(&limiter.check(&demand))).collect();
    assert!(held.iter().all(|receipt| !receipt.is_empty()));
    limiter.clock().advance(Duration::from_secs(1_000_000));
    let refused = limiter.check(&demand);
    assert!(!refused.is_admitted() && limiter.receipt(&refused).is_empty(), "time alone releases nothing");
    limiter.release(held.pop().expect("a receipt"));
    assert_eq!(left(&limiter, &policy, "open"), 1);
    assert!(limiter.check(&demand).is_admitted());
    held.into_iter().for_each(|receipt| limiter.release(receipt));
    assert_eq!(left(&limiter, &policy, "open"), 2);
}

/// A counter that nobody holds any more leaves the store at once.
#[test]
fn a_released_counter_is_forgotten() {
    let limiter = limiter(100);
    let policy = policy(vec![by(Algorithm::Concurrency, limit("open", 3, 1))]);
    let demand = demand(&policy, &[("key", "k")]).with_purpose(Purpose::Hold);
    let receipts: Vec<_> = (0..2).map(|_| limiter.receipt(&limiter.check(&demand))).collect();
    assert_eq!(limiter.store().counters(), 1);
    receipts.into_iter().for_each(|receipt| limiter.release(receipt));
    assert_eq!(limiter.store().counters(), 0);
}

#[test]
fn a_settlement_ends_what_is_held() {
    let limiter = limiter(100);
    let tokens = LimitDraft { unit: "tokens".into(), cost: Cost::Settled, ..limit("tokens", 10, 60) };
    let policy = policy(vec![by(Algorithm::Concurrency, limit("open", 1, 1)), tokens]);
    let unit = policy.unit("tokens").expect("a unit");
    let demand = demand(&policy, &[("key", "k")]).with_purpose(Purpose::Hold);
    let receipt = limiter.receipt(&limiter.check(&demand));
    limiter.settle(receipt, &[(unit, 4)]);
    assert_eq!((left(&limiter, &policy, "open"), left(&limiter, &policy, "tokens")), (1, 6));
}

/// Nothing is left to do for plain requests, peeks, questions, and shadow limits that were not charged.
#[test]
fn most_receipts_are_empty() {
    let limiter = limiter(100);
    let (policy, _) = chat();
    let peek = demand(&policy, &[("key", "k")]).with_purpose(Purpose::Peek);
    assert!(limiter.receipt(&limiter.check(&peek)).is_empty());
    let plain = crate::support::policy(vec![limit("l", 5, 60), by(Algorithm::Concurrency, limit("open", 3, 1))]);
    assert!(limiter.receipt(&limiter.check(&demand(&plain, &[("key", "k")]))).is_empty());
    let shadow = LimitDraft { mode: tidegate_core::Mode::Shadow, ..by(Algorithm::Concurrency, limit("open", 0, 1)) };
    let shadow = crate::support::policy(vec![shadow]);
    let demand = demand(&shadow, &[("key", "k")]).with_purpose(Purpose::Hold);
    assert!(limiter.receipt(&limiter.check(&demand)).is_empty());
}

/// A settlement that finds no room is counted, not hidden.
#[test]
fn a_settlement_without_room_is_counted() {
    let limiter = limiter(1);
    let (policy, tokens) = chat();
    let only_tokens = LimitDraft { unit: "tokens".into(), cost: Cost::Settled, ..limit("tokens", 1_000, 60) };
    let only_tokens = crate::support::policy(vec![only_tokens]);
    let asked = demand(&only_tokens, &[("key", "k")]);
    let receipt = limiter.receipt(&limiter.check(&asked));
    assert!(limiter.check(&demand(&policy, &[("key", "other")])).is_admitted());
    limiter.settle(receipt, &[(tokens, 5)]);
    assert_eq!(limiter.store().unsettled(), 1);
}
