//! The protocol of buckets, in every order that two or three threads can run it (I6, I8, C1).
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p tidegate-limiter --test loom --release`. Under this flag a table has two
//! buckets of two slots and fixed seeds, so that a few counters fill it and the checker can try everything with up to
//! three switches of threads where they are not forced.
#![cfg(loom)]

use std::sync::atomic::{AtomicUsize, Ordering};

use loom::model::Builder;
use loom::sync::Arc;
use loom::thread;
use tidegate_core::{
    Basis, ChargeList, Demand, LimitDraft, OperationDraft, Policy, PolicyDraft, Purpose, Quota, QuotaTree, Span,
    Status, Statuses, Timestamp,
};
use tidegate_limiter::{Limiter, ManualClock, Memory, MemoryOptions};

const START: Timestamp = Timestamp::from_secs(1_706_745_600);

type Subject = Arc<Limiter<ManualClock, ()>>;

/// Limits of `amounts` per second, called `a`, `b`, …, each per the attribute of its own name.
fn policy(amounts: &[u64]) -> &'static Policy {
    policy_of(amounts, None)
}

fn policy_of(amounts: &[u64], distinct: Option<(String, bool)>) -> &'static Policy {
    let names = ["a", "b", "c"];
    let limit = |(amount, name): (&u64, &&str)| LimitDraft {
        name: (*name).into(),
        per: vec![((*name).into(), false)],
        distinct: distinct.clone(),
        quota: QuotaTree::Fixed(Quota::per(*amount, Span::from_secs(1))),
        ..LimitDraft::default()
    };
    let draft = PolicyDraft {
        name: "test".into(),
        attributes: names.map(String::from).into(),
        operations: vec![OperationDraft { name: "other".into(), ..OperationDraft::default() }],
        default_operation: "other".into(),
        limits: amounts.iter().zip(&names).map(limit).collect(),
        ..PolicyDraft::default()
    };
    Box::leak(Box::new(Policy::freeze(&draft).expect("a policy that freezes")))
}

/// Of five distinct values of `b` per second, per `a`.
fn distinct_policy() -> &'static Policy {
    policy_of(&[5], Some(("b".to_owned(), false)))
}

fn demand(policy: &'static Policy, attributes: &[(&str, &'static str)]) -> Demand<'static> {
    let mut builder = Demand::on(policy);
    for (name, value) in attributes {
        builder.set(policy.attribute(name).expect("an attribute"), value).expect("a short value");
    }
    builder.build()
}

fn is_admitted(limiter: &Subject, asked: &Demand<'static>) -> bool {
    limiter.check(asked).is_admitted()
}

/// The status of a demand's only limit.
fn charge_at(limiter: &Subject, asked: &Demand<'static>, now: Timestamp) -> Status {
    let mut statuses = Statuses::new();
    limiter.store().charge(ChargeList::new().resolve(asked, now), &mut statuses, now);
    statuses.status(0)
}

/// What is left of each limit, as a peek sees it.
fn left(limiter: &Subject, asked: &Demand<'static>) -> Vec<u64> {
    let peek = asked.with_purpose(Purpose::Peek);
    let decision = limiter.check(&peek);
    decision.rulings().map(|ruling| ruling.status.remaining).collect()
}

/// The names of `count` counters of limit `limit` that may stand in these two buckets.
fn in_buckets(limit: &'static str, buckets: [usize; 2], count: usize) -> Vec<&'static str> {
    const NAMES: [&str; 26] = [
        "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r", "s", "t", "u", "v",
        "w", "x", "y", "z",
    ];
    let policy = policy(&[1, 1, 1]);
    let chosen = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let found = chosen.clone();
    loom::model(move || {
        let memory = Memory::new(MemoryOptions { max_counters: 4 });
        let is_there = |name: &&&'static str| {
            let asked = demand(policy, &[(limit, name)]);
            memory.buckets(&ChargeList::new().resolve(&asked, Timestamp::ZERO).charge(0)) == buckets
        };
        *found.lock().expect("one thread") = NAMES.iter().filter(is_there).copied().take(count).collect();
    });
    let names = chosen.lock().expect("one thread").clone();
    assert_eq!(names.len(), count, "names of {limit} in {buckets:?}");
    names
}

/// Tries every order of what `run` does with a limiter on an empty store of four slots, and says in how many it was run.
///
/// The checker remembers only the latest reader of a word. So whoever only reads has to be the spawned thread: it runs
/// second, and finds in each word the write before which it might have read.
fn in_every_order(switches: usize, run: impl Fn(Subject) + Send + Sync + 'static) -> usize {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(switches);
    builder.max_branches = 10_000;
    let runs = std::sync::Arc::new(AtomicUsize::new(0));
    let counted = runs.clone();
    builder.check(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        let memory = Memory::new(MemoryOptions { max_counters: 4 });
        run(Arc::new(Limiter::new(memory, ManualClock::at(START), ())));
    });
    runs.load(Ordering::Relaxed)
}

/// In another thread.
fn also<T: 'static>(limiter: &Subject, run: impl FnOnce(&Subject) -> T + 'static) -> thread::JoinHandle<T> {
    let limiter = limiter.clone();
    thread::spawn(move || run(&limiter))
}

fn end<T>(thread: thread::JoinHandle<T>) -> T {
    thread.join().expect("a thread that ran to its end")
}

/// C1: two demands on a limit of one: exactly one is admitted, and there is one counter.
#[test]
fn one_of_two_new_ones_is_admitted() {
    let policy = policy(&[1]);
    let runs = in_every_order(3, move |limiter| {
        let asked = demand(policy, &[("a", "k")]);
        let other = also(&limiter, move |limiter| is_admitted(limiter, &asked));
        assert!(is_admitted(&limiter, &asked) ^ end(other));
        assert_eq!(limiter.store().counters(), 1);
        assert_eq!(left(&limiter, &asked), [0]);
    });
    assert!(runs > 300, "{runs} runs");
}

/// I1: three demands on what is left of a counter that exists.
#[test]
fn two_of_three_are_admitted() {
    let policy = policy(&[3]);
    let runs = in_every_order(1, move |limiter| {
        let asked = demand(policy, &[("a", "k")]);
        assert!(is_admitted(&limiter, &asked));
        let others = [(); 2].map(|()| also(&limiter, move |limiter| is_admitted(limiter, &asked)));
        let mine = is_admitted(&limiter, &asked);
        let admitted = others.map(end).into_iter().chain([mine]);
        assert_eq!(admitted.filter(|admitted| *admitted).count(), 2);
    });
    assert!(runs > 1_000, "{runs} runs");
}

/// I6: two demands that need the same two counters, in two buckets: no deadlock, and both are charged alike.
#[test]
fn two_limits_are_charged_together() {
    let policy = policy(&[1, 2]);
    let runs = in_every_order(2, move |limiter| {
        let both = demand(policy, &[("a", "k"), ("b", "k")]);
        let second = demand(policy, &[("b", "k")]);
        let other = also(&limiter, move |limiter| is_admitted(limiter, &both));
        assert!(is_admitted(&limiter, &both) ^ end(other));
        assert!(is_admitted(&limiter, &second), "the refused one left a trace");
        assert!(!is_admitted(&limiter, &second));
    });
    assert!(runs > 1_000, "{runs} runs");
}

/// I6: two demands whose limits have their counters in the two buckets in opposite order do not wait for each other for
/// ever.
#[test]
fn opposite_orders_do_not_wait_for_each_other() {
    let policy = policy(&[9, 9]);
    let [low_a, high_a] = [0, 1].map(|bucket| in_buckets("a", [bucket; 2], 1)[0]);
    let [low_b, high_b] = [0, 1].map(|bucket| in_buckets("b", [bucket; 2], 1)[0]);
    let runs = in_every_order(2, move |limiter| {
        let one = demand(policy, &[("a", low_a), ("b", high_b)]);
        let other = demand(policy, &[("a", high_a), ("b", low_b)]);
        let spawned = also(&limiter, move |limiter| is_admitted(limiter, &other));
        assert!(is_admitted(&limiter, &one));
        assert!(end(spawned));
        assert_eq!((left(&limiter, &one), left(&limiter, &other)), (vec![8, 8], vec![8, 8]));
    });
    assert!(runs > 100, "{runs} runs");
}

/// I6, I11: who only looks sees both limits charged, or neither.
#[test]
fn a_reader_sees_both_or_neither() {
    let policy = policy(&[5, 5]);
    let runs = in_every_order(3, move |limiter| {
        let both = demand(policy, &[("a", "k"), ("b", "k")]);
        assert!(is_admitted(&limiter, &both));
        let reader = also(&limiter, move |limiter| left(limiter, &both));
        assert!(is_admitted(&limiter, &both));
        let seen = end(reader);
        assert!(seen == [4, 4] || seen == [3, 3], "{seen:?}");
    });
    assert!(runs > 100, "{runs} runs");
}

/// I8: a demand that one limit refuses is never seen on the other.
#[test]
fn a_refused_demand_is_never_seen() {
    let policy = policy(&[1, 0]);
    let runs = in_every_order(3, move |limiter| {
        let refused = demand(policy, &[("a", "k"), ("b", "k")]);
        let other = also(&limiter, move |limiter| is_admitted(limiter, &refused));
        assert!(is_admitted(&limiter, &demand(policy, &[("a", "k")])), "a phantom refusal");
        assert!(!end(other));
    });
    assert!(runs > 100, "{runs} runs");
}

/// I8, I50: one is refused by loads alone while another is charged: whoever refuses has seen the limit used up.
#[test]
fn a_refusal_by_loads_is_true() {
    let policy = policy(&[2, 9]);
    let runs = in_every_order(3, move |limiter| {
        let both = demand(policy, &[("a", "k"), ("b", "k")]);
        assert!(is_admitted(&limiter, &both));
        let reader = also(&limiter, move |limiter| {
            let decision = limiter.check(&both);
            let left: Vec<u64> = decision.rulings().map(|ruling| ruling.status.remaining).collect();
            (decision.is_admitted(), left)
        });
        let mine = is_admitted(&limiter, &both);
        match end(reader) {
            (true, left) => assert!(!mine && left == [0, 7], "{left:?}"),
            (false, left) => assert!(mine && left == [0, 7], "{left:?}"),
        }
    });
    assert!(runs > 100, "{runs} runs");
}

/// I51: while a new counter pushes another to its other bucket, that one is found wherever it is, by who looks and by
/// who charges it.
#[test]
fn a_counter_that_moves_is_found() {
    let policy = policy(&[5]);
    let (moves, stay) = (in_buckets("a", [0, 1], 1)[0], in_buckets("a", [0, 0], 2));
    let [stays, pushes] = [stay[0], stay[1]].map(|name| demand(policy, &[("a", name)]));
    let moves = demand(policy, &[("a", moves)]);
    for (is_charged, least) in [(false, 100), (true, 300)] {
        let runs = in_every_order(2, move |limiter| {
            assert!(is_admitted(&limiter, &moves) && is_admitted(&limiter, &stays));
            let other = also(&limiter, move |limiter| match is_charged {
                true => assert!(is_admitted(limiter, &moves)),
                false => assert_eq!(left(limiter, &moves), [4]),
            });
            assert!(is_admitted(&limiter, &pushes));
            end(other);
            let all = [moves, stays, pushes].map(|asked| left(&limiter, &asked)[0]);
            assert_eq!(all, [if is_charged { 3 } else { 4 }, 4, 4]);
            assert_eq!(limiter.store().counters(), 3);
        });
        assert!(runs > least, "{runs} runs");
    }
}

/// A new counter that goes to its second bucket, as the first is full, and another whose first that is, both keep what
/// they were charged.
#[test]
fn two_new_counters_share_a_bucket() {
    let policy = policy(&[5]);
    let full = in_buckets("a", [0, 0], 2).into_iter().map(move |name| demand(policy, &[("a", name)]));
    let full: Vec<_> = full.collect();
    let [second, first] = [in_buckets("a", [0, 1], 1)[0], in_buckets("a", [1, 1], 1)[0]];
    let [second, first] = [second, first].map(|name| demand(policy, &[("a", name)]));
    let runs = in_every_order(2, move |limiter| {
        full.iter().for_each(|asked| assert!(is_admitted(&limiter, asked)));
        let other = also(&limiter, move |limiter| is_admitted(limiter, &second));
        assert!(is_admitted(&limiter, &first) && end(other));
        assert_eq!((left(&limiter, &first), left(&limiter, &second)), (vec![4], vec![4]));
        assert_eq!(limiter.store().counters(), 4);
    });
    assert!(runs > 100, "{runs} runs");
}

/// I10: one thread forgets an idle counter for a new one, another comes with an older instant to the idle one: the
/// window that was used up is not open to it again.
#[test]
fn a_late_demand_on_a_forgotten_counter_counts_as_the_newest() {
    let policy = policy(&[1]);
    let runs = in_every_order(3, move |limiter| {
        let (idle, new) = (demand(policy, &[("a", "idle")]), demand(policy, &[("a", "new")]));
        assert!(is_admitted(&limiter, &idle));
        let later = START.plus(Span::from_secs(1));
        let late = START.plus(Span::from_micros(999_999));
        let other = also(&limiter, move |limiter| charge_at(limiter, &idle, late));
        assert!(charge_at(&limiter, &new, later).fits());
        // Refused in the first window, or charged to the second.
        let status = end(other);
        let ends = late.plus(status.reset_after);
        let second = later.plus(Span::from_secs(1));
        assert!(!status.fits() && ends == later || status.fits() && ends == second, "{status:?}");
    });
    assert!(runs > 100, "{runs} runs");
}

/// I1, I8: two threads bring the same new value: one of them counts it. Whoever looks meanwhile sees it counted and marked,
/// or neither.
#[test]
fn a_distinct_value_is_counted_once() {
    let policy = distinct_policy();
    let asked = demand(policy, &[("a", "k"), ("b", "v")]);
    let seen = move |limiter: &Subject| {
        let peek = asked.with_purpose(Purpose::Peek);
        let decision = limiter.check(&peek);
        let ruling = decision.binding().expect("a limit");
        (ruling.status.remaining, ruling.basis)
    };
    for is_brought_twice in [false, true] {
        let runs = in_every_order(2, move |limiter| {
            let other = also(&limiter, move |limiter| match is_brought_twice {
                true => assert!(is_admitted(limiter, &asked)),
                false => {
                    let looked = seen(limiter);
                    assert!(looked == (5, Basis::Counter) || looked == (4, Basis::Seen), "{looked:?}");
                }
            });
            assert!(is_admitted(&limiter, &asked));
            end(other);
            assert_eq!((seen(&limiter), limiter.store().counters()), ((4, Basis::Seen), 2));
        });
        assert!(runs > 20, "{runs} runs");
    }
}

/// Two threads bring a value each to counters of their own, whose markers may stand in one bucket.
#[test]
fn markers_of_two_counters_share_a_bucket() {
    let policy = distinct_policy();
    let of = |key: &'static str, value: &'static str| demand(policy, &[("a", key), ("b", value)]);
    let [one, other] = [of("k", "v"), of("l", "v")];
    let runs = in_every_order(1, move |limiter| {
        let brought = also(&limiter, move |limiter| is_admitted(limiter, &other));
        let both = [is_admitted(&limiter, &one), end(brought)];
        // Four slots are just enough; where each took a place that the other needed, one is refused and leaves nothing.
        let counted = both.iter().filter(|is_admitted| **is_admitted).count();
        assert_eq!(limiter.store().counters(), 2 * counted);
        for (asked, is_admitted) in [one, other].iter().zip(both) {
            assert_eq!(left(&limiter, asked), [if is_admitted { 4 } else { 5 }]);
        }
        assert!(counted > 0);
    });
    assert!(runs > 20, "{runs} runs");
}

/// I6, I7 (`quick.rs`): counters that exist, in two buckets. One demand finds the second of its buckets changed after it has
/// locked the first, and gives that back unchanged: no charge is lost, and none is made twice.
#[test]
fn a_demand_that_locks_one_of_two_buckets_gives_it_back() {
    let policy = policy(&[9, 9]);
    let (low, high) = (in_buckets("a", [0; 2], 1)[0], in_buckets("b", [1; 2], 1)[0]);
    let runs = in_every_order(3, move |limiter| {
        let both = demand(policy, &[("a", low), ("b", high)]);
        let second = demand(policy, &[("b", high)]);
        assert!(is_admitted(&limiter, &both));
        let other = also(&limiter, move |limiter| is_admitted(limiter, &second));
        assert!(is_admitted(&limiter, &both));
        assert!(end(other));
        assert_eq!(left(&limiter, &both), [7, 6]);
    });
    assert!(runs > 100, "{runs} runs");
}

/// I6, I8 (`quick.rs`): of counters that exist one refuses. What the others would have become is computed and thrown away,
/// and who charges them meanwhile finds them as they were.
#[test]
fn what_a_refused_demand_would_have_charged_is_thrown_away() {
    let policy = policy(&[3, 1]);
    let runs = in_every_order(3, move |limiter| {
        let (both, first) = (demand(policy, &[("a", "k"), ("b", "k")]), demand(policy, &[("a", "k")]));
        assert!(is_admitted(&limiter, &both));
        let other = also(&limiter, move |limiter| {
            let decision = limiter.check(&both);
            assert!(!decision.is_admitted());
            decision.rulings().map(|ruling| ruling.status.remaining).collect::<Vec<u64>>()
        });
        assert!(is_admitted(&limiter, &first));
        let seen = end(other);
        assert!(seen == [2, 0] || seen == [1, 0], "{seen:?}");
        assert_eq!(left(&limiter, &both), [1, 0]);
    });
    assert!(runs > 100, "{runs} runs");
}

/// The verdicts of a batch, in its order.
fn verdicts(limiter: &Subject, demands: &[Demand<'static>]) -> Vec<bool> {
    let mut admitted = Vec::new();
    limiter.check_batch(demands, |decision| admitted.push(decision.is_admitted()));
    admitted
}

/// I1, I8, I9 (`check_batch`): a batch on a counter that is new, on one that exists and on both, while somebody else charges
/// these: each limit admits what it has and no more, the batch's own demands in their order.
#[test]
fn a_batch_is_charged_among_others() {
    let policy = policy(&[2, 3]);
    let runs = in_every_order(1, move |limiter| {
        let (new, known) = (demand(policy, &[("a", "k")]), demand(policy, &[("b", "k")]));
        let both = demand(policy, &[("a", "k"), ("b", "k")]);
        assert!(is_admitted(&limiter, &known));
        let other = also(&limiter, move |limiter| is_admitted(limiter, &both));
        let mine = verdicts(&limiter, &[new, known, new]);
        let theirs = end(other);
        // Of `a` two are admitted, whoever comes first; of `b` both that ask, unless `a` refuses the other's.
        let of_new = [mine[0], mine[2], theirs];
        assert_eq!(of_new.iter().filter(|admitted| **admitted).count(), 2, "{mine:?} {theirs}");
        assert!(mine[0] && mine[1], "{mine:?} {theirs}");
        assert_eq!(left(&limiter, &both), [0, if theirs { 0 } else { 1 }]);
    });
    assert!(runs > 100, "{runs} runs");
}

/// I51 (`check_batch`): a counter that was sought ahead moves to its other bucket before it is decided, and is found there.
#[test]
fn a_counter_that_moves_is_found_by_a_batch() {
    let policy = policy(&[5]);
    let (moves, stay) = (in_buckets("a", [0, 1], 1)[0], in_buckets("a", [0, 0], 2));
    let [stays, pushes] = [stay[0], stay[1]].map(|name| demand(policy, &[("a", name)]));
    let moves = demand(policy, &[("a", moves)]);
    let runs = in_every_order(2, move |limiter| {
        assert!(is_admitted(&limiter, &moves) && is_admitted(&limiter, &stays));
        let other = also(&limiter, move |limiter| is_admitted(limiter, &pushes));
        assert_eq!(verdicts(&limiter, &[stays, moves]), [true; 2]);
        assert!(end(other));
        assert_eq!([moves, stays, pushes].map(|asked| left(&limiter, &asked)[0]), [3, 3, 4]);
        assert_eq!(limiter.store().counters(), 3);
    });
    assert!(runs > 100, "{runs} runs");
}
