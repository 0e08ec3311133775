//! A batch is decided as its demands are one by one.

use tidegate_core::{Decision, Demand, Span, Status, Timestamp};

use crate::contract::Traffic;
use crate::support::{Random, START, demand, limit, limiter, policy};

/// All that is answered.
fn answered(decision: &Decision<'_>) -> (Timestamp, bool, Option<String>, Vec<(String, Status)>) {
    let rulings = decision.rulings().map(|ruling| (ruling.name().to_owned(), ruling.status)).collect();
    let binding = decision.binding().map(|ruling| ruling.name().to_owned());
    (decision.at(), decision.is_admitted(), binding, rulings)
}

/// I8, I9: the same answers in the same order, whatever is in the batch, and however often a counter is in it.
#[test]
fn a_batch_is_decided_as_one_by_one() {
    let mut random = Traffic(Random::new(3));
    let (mut refused, mut decided) = (0, 0);
    for round in 0..100 {
        let policy = random.policy();
        // At the cap too, where counters come and go.
        let max_counters = if round % 2 == 0 { 10_000 } else { 20 };
        let [batched, single] = [(); 2].map(|()| limiter(max_counters));
        let mut now = START;
        for size in [0, 1, 2, 31, 32, 33, 64, 100] {
            now = now.plus(random.pause());
            [&batched, &single].into_iter().for_each(|limiter| limiter.clock().set(now));
            let demands: Vec<Demand<'_>> = (0..size).map(|_| random.demand(&policy)).collect();
            let mut together = Vec::new();
            batched.check_batch(&demands, |decision| together.push(answered(decision)));
            let alone: Vec<_> = demands.iter().map(|demand| answered(&single.check(demand))).collect();
            if max_counters > 20 {
                assert_eq!(together, alone, "{size} demands at {now:?}");
            }
            assert_eq!(together.len(), demands.len());
            refused += together.iter().filter(|(_, is_admitted, ..)| !is_admitted).count();
            decided += demands.len();
        }
    }
    assert!((decided / 10..decided * 9 / 10).contains(&refused), "{refused} of {decided} refused");
}

/// More counters than are looked at ahead: demands of sixteen limits each.
#[test]
fn a_batch_of_demands_on_many_limits() {
    let policy = policy((0..16).map(|number| limit(&format!("l{number}"), 40 + number, 60)).collect());
    let limiter = limiter(1_000);
    let names = ["a", "b", "c"];
    let demands: Vec<Demand<'_>> =
        (0..150).map(|number| demand(&policy, &[("key", names[number % names.len()])])).collect();
    let mut admitted = [0; 3];
    let mut heard = 0;
    limiter.check_batch(&demands, |decision| {
        admitted[heard % names.len()] += u32::from(decision.is_admitted());
        heard += 1;
    });
    assert_eq!((heard, admitted), (150, [40; 3]));
    limiter.clock().set(START.plus(Span::from_secs(60)));
    assert!(limiter.check(&demands[0]).is_admitted());
}
