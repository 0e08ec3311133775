//! Limits that count distinct values: exactly the values of each window, each once, whatever else is asked.

use std::collections::{BTreeSet, HashMap};
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use tidegate_core::{Align, Basis, Demand, LimitDraft, Mode, Purpose, Quota, QuotaTree, Span, UnitId, Wait};
use tidegate_limiter::{Limiter, ManualClock};

use crate::support::{Random, START, demand, limit, limiter, policy};

/// So many distinct `user`s in each window, per `key`.
fn users(name: &str, amount: u64, secs: u64) -> LimitDraft {
    LimitDraft { distinct: Some(("user".into(), false)), ..limit(name, amount, secs) }
}

fn remaining(limiter: &Limiter<ManualClock, ()>, asked: &Demand<'_>) -> Vec<u64> {
    let peek = asked.with_purpose(Purpose::Peek);
    let decision = limiter.check(&peek);
    decision.rulings().map(|ruling| ruling.status.remaining).collect()
}

#[test]
fn a_value_is_counted_once_in_a_window_and_admitted_when_none_remains() {
    let policy = policy(vec![users("l", 2, 60)]);
    let limiter = limiter(100);
    let ask = |user: &'static str| demand(&policy, &[("key", "k"), ("user", user)]);
    for (user, is_admitted, remaining, basis) in [
        ("a", true, 1, Basis::Counter),
        ("a", true, 1, Basis::Seen),
        ("b", true, 0, Basis::Counter),
        ("a", true, 0, Basis::Seen),
        ("c", false, 0, Basis::Counter),
        ("b", true, 0, Basis::Seen),
        ("c", false, 0, Basis::Counter),
    ] {
        let asked = ask(user);
        let decision = limiter.check(&asked);
        let ruling = decision.binding().expect("a limit applies");
        assert_eq!((decision.is_admitted(), ruling.status.remaining, ruling.basis), (is_admitted, remaining, basis));
        let wait = if is_admitted { Wait::None } else { Wait::For(Span::from_secs(60)) };
        assert_eq!((decision.retry_after(), ruling.status.reset_after), (wait, Span::from_secs(60)), "{user}");
    }
    // A counter and two markers; what was refused left nothing.
    assert_eq!(limiter.store().counters(), 3);
    // I11: not a microsecond before the end of the window.
    limiter.clock().advance(Duration::from_micros(59_999_999));
    assert!(!limiter.check(&ask("c")).is_admitted());
    limiter.clock().advance(Duration::from_micros(1));
    assert!(limiter.check(&ask("c")).is_admitted());
    assert_eq!(remaining(&limiter, &ask("a")), [1]);
}

/// A demand without the attribute is not counted; where the attribute is optional, those that lack it are one value.
#[test]
fn a_missing_value_is_none_or_one() {
    let optional = LimitDraft { distinct: Some(("user".into(), true)), ..limit("optional", 2, 60) };
    let policy = policy(vec![users("required", 2, 60), optional]);
    let limiter = limiter(100);
    let ask = |user: &[(&'static str, &'static str)]| demand(&policy, &[&[("key", "k")], user].concat());
    for _ in 0..3 {
        let asked = ask(&[]);
        let decision = limiter.check(&asked);
        assert_eq!(decision.rulings().map(|ruling| ruling.name()).collect::<Vec<_>>(), ["optional"]);
        assert!(decision.is_admitted());
    }
    assert!(limiter.check(&ask(&[("user", "")])).is_admitted());
    assert_eq!(remaining(&limiter, &ask(&[("user", "a")])), [1, 0]);
}

/// What a demand costs otherwise makes no difference, not even nothing.
#[test]
fn costs_are_of_requests_not_of_values() {
    let policy = policy(vec![users("l", 2, 60), limit("requests", 10, 60)]);
    let limiter = limiter(100);
    for (user, cost, expected) in [("a", 4, [1, 6]), ("a", 4, [1, 2]), ("b", 0, [0, 2]), ("a", 2, [0, 0])] {
        let mut builder = Demand::on(&policy);
        for (name, value) in [("key", "k"), ("user", user)] {
            builder.set(policy.attribute(name).expect("an attribute"), value).expect("a value");
        }
        let asked = builder.set_cost(UnitId::REQUESTS, cost).expect("a small cost").build();
        let decision = limiter.check(&asked);
        let left: Vec<u64> = decision.rulings().map(|ruling| ruling.status.remaining).collect();
        assert_eq!((decision.is_admitted(), left), (true, expected.to_vec()), "{user}, {cost}");
    }
}

/// I6: a demand that another limit refuses counts no value, and a value that is refused charges no other limit.
#[test]
fn a_refused_demand_counts_no_value() {
    let policy = policy(vec![users("values", 1, 60), LimitDraft { per: vec![], ..limit("requests", 1, 10) }]);
    let limiter = limiter(100);
    let ask = |user: &'static str| demand(&policy, &[("key", user), ("user", user)]);
    assert!(limiter.check(&ask("a")).is_admitted());
    assert!(!limiter.check(&ask("b")).is_admitted());
    assert_eq!((remaining(&limiter, &ask("b")), limiter.store().counters()), (vec![1, 0], 3));
    limiter.clock().advance(Duration::from_secs(10));
    let other = demand(&policy, &[("key", "a"), ("user", "other")]);
    assert!(!limiter.check(&other).is_admitted());
    assert_eq!(remaining(&limiter, &other), [0, 1]);
}

/// A counted value stays counted: what was reserved and given back may have let others in since.
#[test]
fn reservations_that_are_given_back_leave_their_value_counted() {
    let policy = policy(vec![users("values", 1, 60), limit("requests", 5, 60)]);
    let limiter = limiter(100);
    let asked = demand(&policy, &[("key", "k"), ("user", "a")]).with_purpose(Purpose::Hold);
    for settle in [false, true] {
        let mut places = limiter.places(1).expect("room");
        let (decision, id) = limiter.reserve(&mut places, &asked, Span::from_secs(9));
        assert!(decision.is_admitted());
        let id = id.expect("a reservation");
        if settle {
            limiter.settle_reservation(id, &[("requests", 0)]).expect("it is open");
        } else {
            limiter.release_reservation(id).expect("it is open");
        }
        assert_eq!(remaining(&limiter, &asked)[0], 0);
    }
    assert!(limiter.check(&asked).is_admitted());
    assert!(!limiter.check(&demand(&policy, &[("key", "k"), ("user", "b")])).is_admitted());
}

/// I49, I51: a marker takes a place like a counter; where there is none, its limit says so, and nothing is charged.
#[test]
fn markers_are_bounded_by_the_cap_and_kept_while_their_window_runs() {
    const CAP: usize = 50;
    let policy = policy(vec![users("values", 1_000, 60)]);
    let limiter = limiter(CAP);
    let names: Vec<String> = (0..200).map(|number| number.to_string()).collect();
    let ask = |name: &'static str, user: &str| {
        let asked = Demand::on(&policy)
            .set(policy.attribute("key").expect("an attribute"), name)
            .and_then(|builder| builder.set(policy.attribute("user").expect("an attribute"), user))
            .expect("short values")
            .build();
        let decision = limiter.check(&asked);
        let ruling = decision.binding().expect("a limit applies");
        (decision.is_admitted(), ruling.basis, ruling.status.remaining)
    };
    let mut counted = Vec::new();
    for name in &names {
        match ask("k", name) {
            (true, Basis::Counter, _) => counted.push(name),
            (false, Basis::StoreFull, 0) => {}
            other => panic!("{name}: {other:?}"),
        }
    }
    assert_eq!((counted.len(), limiter.store().counters()), (CAP - 1, CAP));
    let left = 1_000 - u64::try_from(counted.len()).expect("a small number");
    for name in &counted {
        assert_eq!(ask("k", name), (true, Basis::Seen, left));
    }
    // The window is over: all of them make room, and are swept when others come.
    limiter.clock().advance(Duration::from_secs(60));
    for (name, index) in names[..CAP - 1].iter().zip(1..) {
        assert_eq!(ask("k", name), (true, Basis::Counter, 1_000 - index));
    }
    assert_eq!(limiter.store().counters(), CAP);
}

/// I10: a clock that is set back by more than two windows makes counter and markers anew together.
#[test]
fn a_clock_that_is_set_back_counts_anew() {
    let policy = policy(vec![users("l", 2, 60)]);
    let limiter = limiter(100);
    let ask = |user: &'static str| {
        let asked = demand(&policy, &[("key", "k"), ("user", user)]);
        let decision = limiter.check(&asked);
        (decision.is_admitted(), decision.binding().expect("a limit").basis)
    };
    limiter.clock().advance(Duration::from_secs(3_600));
    assert_eq!([ask("a"), ask("b"), ask("c")].map(|(is_admitted, _)| is_admitted), [true, true, false]);
    limiter.clock().set(START);
    assert_eq!([ask("a"), ask("a"), ask("c")], [(true, Basis::Counter), (true, Basis::Seen), (true, Basis::Counter)]);
    assert_eq!(ask("b"), (false, Basis::Counter));
}

// ---------------------------------------------------------------------------------------------------------------------

/// I1, I6, I8, I37: random demands on random limits of both kinds, aligned both ways, get what sets of values would give.
#[test]
fn values_are_counted_as_sets_would_count_them() {
    let mut random = Random::new(7);
    let (mut seen, mut refused) = (0, 0);
    for _ in 0..300 {
        let drafts: Vec<LimitDraft> = (0..=random.below(4)).map(|number| drawn(&mut random, number)).collect();
        let policy = policy(drafts.clone());
        let (limiter, mut model, mut now) = (limiter(10_000), Model::default(), START);
        for _ in 0..400 {
            now = now.plus(Span::from_micros(match random.below(30) {
                0 => 1_000_000 * random.below(9),
                1..10 => random.below(700_000),
                _ => 0,
            }));
            limiter.clock().set(now);
            let mut values: Vec<(&str, &str)> = Vec::new();
            for name in ["key", "user", "app"] {
                if random.below(6) > 0 {
                    values.push((name, random.one_of(&["a", "b", "c", "d", "e", "f"])));
                }
            }
            let purpose = random.one_of(&[Purpose::Once, Purpose::Once, Purpose::Hold, Purpose::Peek]);
            let asked = demand(&policy, &values).with_purpose(purpose);
            let decision = limiter.check(&asked);
            let wanted = model.ask(&drafts, &values, purpose == Purpose::Peek, now.as_micros());
            let decided: Vec<Line> = decision
                .rulings()
                .map(|ruling| Line {
                    name: ruling.name().to_owned(),
                    is_seen: ruling.basis == Basis::Seen,
                    remaining: ruling.status.remaining,
                    reset_after: ruling.status.reset_after.as_micros(),
                    waits: (!ruling.status.fits()).then_some(ruling.status.retry_after),
                })
                .collect();
            assert_eq!((decision.is_admitted(), decided), wanted, "{values:?} at {now:?}: {drafts:#?}");
            seen += wanted.1.iter().filter(|line| line.is_seen && line.remaining == 0).count();
            refused += usize::from(!wanted.0);
        }
    }
    assert!(seen > 5_000 && refused > 10_000, "{seen} seen where none remained, {refused} refused: too few to matter");
}

fn drawn(random: &mut Random, number: u64) -> LimitDraft {
    let attributes = ["key", "user", "app"];
    let of = random.one_of(&attributes);
    let per = attributes.into_iter().filter(|name| *name != of && random.below(2) == 0);
    let per = per.map(str::to_owned).collect::<Vec<_>>();
    let per = per.into_iter().map(|name| (name, random.below(3) == 0)).collect();
    let align = random.one_of(&[Align::Clock, Align::First]);
    let quota = Quota { align, ..Quota::per(random.below(7), Span::from_secs(1 + random.below(5))) };
    LimitDraft {
        per,
        distinct: (random.below(4) > 0).then(|| (of.to_owned(), random.below(3) == 0)),
        mode: random.one_of(&[Mode::Enforce, Mode::Enforce, Mode::Shadow]),
        quota: QuotaTree::Fixed(quota),
        ..limit(&format!("l{number}"), 0, 1)
    }
}

/// What one limit says.
#[derive(Debug, PartialEq)]
struct Line {
    name: String,
    is_seen: bool,
    remaining: u64,
    reset_after: u64,
    waits: Option<Wait>,
}

/// By limit and what it counts by: when a window began, and what was counted in it, one after the other.
#[derive(Default)]
struct Model {
    windows: HashMap<(usize, Vec<Option<String>>), Open>,
}

#[derive(Clone, Default)]
struct Open {
    begun: u64,
    requests: u64,
    values: BTreeSet<Option<String>>,
}

impl Model {
    fn ask(&mut self, drafts: &[LimitDraft], values: &[(&str, &str)], is_peek: bool, now: u64) -> (bool, Vec<Line>) {
        let value = |name: &str| values.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        let has = |(name, is_optional): &(String, bool)| *is_optional || value(name).is_some();
        let meets = |draft: &LimitDraft| draft.per.iter().chain(&draft.distinct).all(has);
        let met: Vec<(usize, &LimitDraft)> = drafts.iter().enumerate().filter(|(_, draft)| meets(draft)).collect();
        let counter = |(index, draft): (usize, &LimitDraft)| {
            (index, draft.per.iter().map(|(name, _)| value(name)).collect::<Vec<_>>())
        };
        let counted = |draft: &LimitDraft| draft.distinct.as_ref().map(|(name, _)| value(name));
        let before: Vec<Line> =
            met.iter().map(|it| line(it.1, &self.open(&counter(*it), it.1, now), counted(it.1), now)).collect();
        let is_admitted = met.iter().zip(&before).all(|(it, line)| it.1.mode == Mode::Shadow || line.waits.is_none());
        if !is_admitted || is_peek {
            return (is_admitted, before);
        }
        let mut after = Vec::new();
        for (it, line_before) in met.into_iter().zip(before) {
            if line_before.waits.is_some() || line_before.is_seen {
                after.push(line_before);
                continue;
            }
            let mut open = self.open(&counter(it), it.1, now);
            match counted(it.1) {
                Some(value) => _ = open.values.insert(value),
                None => open.requests += 1,
            }
            after.push(Line { waits: None, ..line(it.1, &open, None, now) });
            self.windows.insert(counter(it), open);
        }
        (true, after)
    }

    /// The window that a demand at `now` counts in.
    fn open(&self, counter: &(usize, Vec<Option<String>>), draft: &LimitDraft, now: u64) -> Open {
        let QuotaTree::Fixed(quota) = &draft.quota else { panic!("a fixed quota") };
        let length = quota.window.as_micros();
        let begun = if quota.align == Align::First { now } else { now - now % length };
        let fresh = Open { begun, ..Open::default() };
        self.windows.get(counter).filter(|open| now < open.begun + length).cloned().unwrap_or(fresh)
    }
}

fn line(draft: &LimitDraft, open: &Open, value: Option<Option<String>>, now: u64) -> Line {
    let QuotaTree::Fixed(quota) = &draft.quota else { panic!("a fixed quota") };
    let used = open.requests + open.values.len() as u64;
    let until_end = open.begun + quota.window.as_micros() - now;
    let is_seen = value.is_some_and(|value| open.values.contains(&value));
    let is_full = used >= quota.amount && !is_seen;
    Line {
        name: draft.name.clone(),
        is_seen,
        remaining: quota.amount - used,
        reset_after: if quota.align == Align::First && used == 0 { 0 } else { until_end },
        waits: is_full.then(|| if quota.amount == 0 { Wait::Never } else { Wait::For(Span::from_micros(until_end)) }),
    }
}

// ---------------------------------------------------------------------------------------------------------------------

/// I1, I8: eight threads bring the same new values at once, to four counters whose markers stand between each other's:
/// every value is counted exactly once, and exactly as many are admitted as each quota has.
#[test]
fn of_threads_that_bring_the_same_values_each_value_counts_once() {
    const KEYS: [&str; 4] = ["a", "b", "c", "d"];
    const VALUES: usize = 150;
    const QUOTA: usize = 100;
    let names: Vec<String> = (0..VALUES).map(|number| number.to_string()).collect();
    for round in 0..20 {
        let policy = policy(vec![users("values", QUOTA as u64, 3_600)]);
        let (limiter, start, reached) = (limiter(600), Barrier::new(8), AtomicUsize::new(0));
        let ask = |turn: usize| demand(&policy, &[("key", KEYS[turn % 4]), ("user", &names[turn / 4 % VALUES])]);
        let bring = || {
            let (mut admitted, mut turn) = (BTreeSet::new(), 0);
            start.wait();
            while turn < 3 * 4 * VALUES {
                // Close behind whoever is ahead, so that all come with the same new value.
                turn = (turn + 1).max(reached.load(Ordering::Relaxed));
                reached.fetch_max(turn, Ordering::Relaxed);
                let which = turn % (4 * VALUES);
                if limiter.check(&ask(which)).is_admitted() {
                    admitted.insert(which);
                } else {
                    assert!(!admitted.contains(&which), "a counted value was refused");
                }
            }
            admitted
        };
        let admitted: Vec<BTreeSet<usize>> = thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(bring)).collect();
            threads.into_iter().map(|thread| thread.join().expect("a thread that ends")).collect()
        });
        let all: BTreeSet<usize> = admitted.into_iter().flatten().collect();
        for key in 0..4 {
            assert_eq!(all.iter().filter(|which| **which % 4 == key).count(), QUOTA, "round {round}, key {key}");
            assert_eq!(remaining(&limiter, &ask(key)), [0], "round {round}, key {key}");
        }
        let seen = all.iter().filter(|which| limiter.check(&ask(**which)).is_admitted()).count();
        assert_eq!((seen, limiter.store().counters()), (4 * QUOTA, 4 * QUOTA + 4), "round {round}");
    }
}

/// In batches, demands are decided as one after the other: a value that an earlier one brought is known to the next.
#[test]
fn a_batch_knows_what_its_earlier_demands_brought() {
    let policy = policy(vec![users("values", 3, 60), limit("requests", 100, 60)]);
    let limiter = limiter(100);
    let demands: Vec<Demand<'_>> =
        ["a", "b", "a", "c", "d", "b", "d"].map(|user| demand(&policy, &[("key", "k"), ("user", user)])).into();
    let mut told = Vec::new();
    limiter.check_batch(&demands, |decision| {
        let values = decision.rulings().next().expect("a limit");
        told.push((decision.is_admitted(), values.status.remaining));
    });
    let expected = [(true, 2), (true, 1), (true, 1), (true, 0), (false, 0), (true, 0), (false, 0)];
    assert_eq!(told, expected);
}
