//! What limits do where the store has no room for their counters: closed or open, each as it says and no other way.

use std::collections::HashMap;
use std::time::Duration;

use tidegate_core::{Algorithm, Basis, Cost, LimitDraft, OnStoreError, Purpose, QuotaTree, UnitId, Verdict, decide};
use tidegate_limiter::{Memory, MemoryOptions};

use crate::contract::Traffic;
use crate::support::{Random, START, by, demand, limit, limiter, policy};

fn open(draft: LimitDraft) -> LimitDraft {
    LimitDraft { on_store_error: OnStoreError::Open, ..draft }
}

fn per_user(draft: LimitDraft) -> LimitDraft {
    LimitDraft { per: vec![("user".into(), false)], ..draft }
}

/// I27: an open limit admits what has no room, says so, and counts none of it; what has room is counted as ever.
#[test]
fn an_open_limit_admits_uncounted() {
    let limiter = limiter(1);
    let policy = policy(vec![open(limit("l", 2, 60))]);
    let [old, new] = ["old", "new"].map(|key| demand(&policy, &[("key", key)]));
    assert!(limiter.check(&old).is_admitted());
    for _ in 0..10 {
        let decision = limiter.check(&new);
        let ruling = decision.binding().expect("a limit");
        assert_eq!((decision.verdict(), ruling.basis), (Verdict::Admitted, Basis::Open));
        assert_eq!(ruling.status.remaining, 2, "as much as a counter has that does not exist");
    }
    let bases = |asked| limiter.check(asked).rulings().map(|ruling| ruling.basis).collect::<Vec<_>>();
    assert!(limiter.check(&old).is_admitted());
    assert!(!limiter.check(&old).is_admitted(), "who has a counter is limited");
    limiter.clock().advance(Duration::from_secs(60));
    assert_eq!(bases(&new), [Basis::Counter]);
    assert_eq!(bases(&new), [Basis::Counter]);
    assert!(!limiter.check(&new).is_admitted(), "what was admitted before was not counted, and this was");
}

/// I6: a closed limit without room refuses the demand, whatever the order, and open ones beside it are not charged.
#[test]
fn one_closed_limit_refuses_all() {
    for is_closed_first in [true, false] {
        let limiter = limiter(2);
        let mut limits = vec![per_user(limit("closed", 5, 60)), open(limit("open", 5, 60))];
        if !is_closed_first {
            limits.reverse();
        }
        let policy = policy(limits);
        assert!(limiter.check(&demand(&policy, &[("user", "u")])).is_admitted());
        assert!(limiter.check(&demand(&policy, &[("key", "k")])).is_admitted());
        for user in ["v", "w"] {
            let asked = demand(&policy, &[("user", user), ("key", "k")]);
            let decision = limiter.check(&asked);
            assert_eq!(decision.verdict(), Verdict::Refused);
            assert_eq!(
                decision.binding().map(|ruling| (ruling.name(), ruling.basis)),
                Some(("closed", Basis::StoreFull))
            );
        }
        let asked = demand(&policy, &[("key", "k")]).with_purpose(Purpose::Peek);
        let left = limiter.check(&asked).rulings().next().map(|ruling| ruling.status.remaining);
        assert_eq!(left, Some(4), "the open limit was charged for what the closed one refused");
        // The other way round: what is open has no room, what is closed has.
        let asked = demand(&policy, &[("user", "u"), ("key", "new")]);
        let decision = limiter.check(&asked);
        assert!(decision.is_admitted());
        let basis = |name| decision.rulings().find(|ruling| ruling.name() == name).map(|ruling| ruling.basis);
        assert_eq!((basis("closed"), basis("open")), (Some(Basis::Counter), Some(Basis::Open)));
    }
}

/// I28: a cost that no counter would ever fit, and a quota of nothing, are refused at the cap too.
#[test]
fn no_cost_opens_a_limit() {
    let limiter = limiter(1);
    let never = LimitDraft { per: vec![("app".into(), false)], ..open(limit("never", 0, 60)) };
    let policy =
        policy(vec![open(limit("l", 2, 60)), never, by(Algorithm::Concurrency, open(per_user(limit("held", 1, 1))))]);
    assert!(limiter.check(&demand(&policy, &[("key", "old")])).is_admitted());
    let ask = |name, cost, purpose| {
        let mut builder = tidegate_core::Demand::on(&policy);
        builder.set(policy.attribute(name).expect("an attribute"), "new").expect("a short value");
        builder.set_cost(UnitId::REQUESTS, cost).expect("a small cost").set_purpose(purpose);
        limiter.check(builder.finish()).is_admitted()
    };
    for purpose in [Purpose::Once, Purpose::Hold, Purpose::Peek] {
        assert!(ask("key", 2, purpose) && !ask("key", 3, purpose), "{purpose:?}");
        assert!(!ask("app", 1, purpose) && ask("app", 0, purpose), "{purpose:?}");
        assert!(ask("user", 1, purpose) && !ask("user", 2, purpose), "{purpose:?}");
    }
}

/// I7: of what was not counted, nothing is given back, released or settled, though there be room by then.
#[test]
fn what_was_not_counted_is_not_settled() {
    let limiter = limiter(1);
    let tokens = LimitDraft { unit: "tokens".into(), cost: Cost::Settled, ..open(limit("tokens", 100, 60)) };
    let held = by(Algorithm::Concurrency, open(limit("held", 5, 1)));
    let policy = policy(vec![open(limit("l", 9, 60)), tokens, held]);
    let unit = policy.unit("tokens").expect("a unit");
    assert!(limiter.check(&demand(&policy, &[("key", "old")])).is_admitted());
    let new = demand(&policy, &[("key", "new")]).with_purpose(Purpose::Hold);
    let mut places = limiter.places(1).expect("room for a reservation");
    let (decision, id) = limiter.reserve(&mut places, &new, tidegate_core::Span::from_secs(3_600));
    assert!(decision.rulings().all(|ruling| ruling.basis == Basis::Open), "{decision:?}");
    let receipt = limiter.receipt(&decision);
    assert!(receipt.is_empty());
    limiter.clock().advance(Duration::from_secs(60));
    // Now there is room, and another counter's worth is charged to the same name.
    assert!(limiter.check(&demand(&policy, &[("key", "new")])).is_admitted());
    limiter.settle(receipt, &[(unit, 50)]);
    limiter.release_reservation(id.expect("a reservation")).expect("an open reservation");
    let asked = demand(&policy, &[("key", "new")]).with_purpose(Purpose::Peek);
    let left: Vec<u64> = limiter.check(&asked).rulings().map(|ruling| ruling.status.remaining).collect();
    assert_eq!(left, [8, 100, 5]);
    assert_eq!((limiter.store().unsettled(), limiter.store().leaked()), (0, 0));
}

/// I6, I27, I28: in stores that are full nearly always, random demands on random policies. Only limits that say so are
/// open, only closed ones refuse for want of room, and a plain map that is told which had no room, and never forgets
/// anything, says the same of all the others: so what was charged is exactly what was admitted or counts as refused.
#[test]
fn nothing_but_the_limits_own_word_opens_it() {
    let mut random = Traffic(Random::new(7));
    let (mut opened, mut refused, mut both) = (0, 0, 0);
    for _ in 0..900 {
        let policy = random.policy();
        // A map of counters knows no markers.
        if policy.limits().iter().any(|limit| limit.distinct().is_some()) {
            continue;
        }
        let store = Memory::new(MemoryOptions { max_counters: 1 + usize::try_from(random.0.below(4)).expect("few") });
        let mut states: HashMap<(String, Vec<Option<String>>), [u64; 64]> = HashMap::new();
        let mut now = START;
        for _ in 0..300 {
            now = now.plus(random.pause());
            let asked = random.demand(&policy);
            let decision = decide(&asked, now, |charges, statuses| store.charge(charges, statuses, now));
            let names: Vec<_> = decision
                .rulings()
                .map(|ruling| {
                    let values = ruling.charge.key().values().map(|value| value.map(String::from)).collect();
                    (ruling.name().to_owned(), values)
                })
                .collect();
            let mut expected = Verdict::Admitted;
            let mut before = Vec::new();
            for (ruling, name) in decision.rulings().zip(&names) {
                let charge = ruling.charge;
                let state = states.get(name).copied().unwrap_or([0; 64]);
                let peeked = charge.rule().peek(&state, charge.need(), now);
                before.push(peeked.fits());
                match ruling.basis {
                    Basis::Open => assert_eq!(charge.limit().on_store_error(), OnStoreError::Open),
                    Basis::StoreFull => assert_eq!(charge.limit().on_store_error(), OnStoreError::Closed),
                    Basis::Counter | Basis::Seen => {}
                }
                let fits = peeked.fits() && ruling.basis != Basis::StoreFull;
                if ruling.is_enforced() && !fits {
                    expected = Verdict::Refused;
                }
            }
            assert_eq!(decision.verdict(), expected, "{decision:?}");
            let has = |basis| decision.rulings().any(|ruling| ruling.basis == basis);
            opened += u32::from(has(Basis::Open) && decision.is_admitted());
            refused += u32::from(has(Basis::StoreFull) && !decision.is_admitted());
            both += u32::from(has(Basis::Open) && has(Basis::StoreFull));
            for ((ruling, name), fitted) in decision.rulings().zip(names).zip(before) {
                let charge = ruling.charge;
                if ruling.basis != Basis::Counter {
                    continue;
                }
                let state = states.entry(name).or_insert([0; 64]);
                let status = if charge.take() == 0 {
                    charge.rule().peek(state, charge.need(), now)
                } else if decision.is_admitted() && fitted {
                    charge.rule().charge(state, charge.take(), now)
                } else if charge.limit().counts_refused() {
                    charge.rule().charge_left(state, charge.take(), now)
                } else {
                    charge.rule().peek(state, charge.need(), now)
                };
                assert_eq!(ruling.status, status, "{} in {decision:?}", ruling.name());
            }
        }
    }
    assert!(opened > 5_000 && refused > 5_000 && both > 200, "{opened} opened, {refused} refused, {both} both");
}

/// A quota's tree says nothing of stores: the draft of a limit without the key is closed.
#[test]
fn limits_are_closed_unless_they_say_otherwise() {
    assert_eq!(LimitDraft::default().on_store_error, OnStoreError::Closed);
    assert_eq!(LimitDraft::default().quota, QuotaTree::Unlimited);
}
