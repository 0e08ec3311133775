//! Where the time of one of Tidegate's own decisions goes, step by step.
//!
//! `parts` prints nanoseconds. `parts STEP LIMITS VERDICTS COUNT` takes one step so often and prints nothing: the
//! difference between two counts under `valgrind --tool=callgrind` is its instructions, which no neighbour disturbs.

use std::hint::black_box;
use std::time::Instant;

use subjects::{Verdicts, policy};
use tidegate_core::{ChargeList, Demand, DemandBuilder, Policy, Slate, Statuses, Timestamp, decide_on};
use tidegate_limiter::{Clock, Limiter, ManualClock, Memory, MemoryOptions, SystemClock};

fn measure(name: &str, mut step: impl FnMut()) {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [only, .., count] = &arguments[..] {
        if only == name {
            (0..count.parse().expect("a number")).for_each(|_: u32| step());
        }
        return;
    }
    // Short enough to be over before the processor is given to somebody else.
    const STEPS: u32 = 2_000;
    let mut best = f64::MAX;
    for _ in 0..1_000 {
        let began = Instant::now();
        (0..STEPS).for_each(|_| step());
        best = best.min(began.elapsed().as_nanos() as f64 / f64::from(STEPS));
    }
    println!("{name:<40} {best:6.1} ns");
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [_, limits, verdicts, _] = &arguments[..] {
        let verdicts = if verdicts == "admitted" { Verdicts::Admitted } else { Verdicts::Refused };
        // A clock that stands: how many instructions the machine's takes depends on how quick the machine is.
        let clock = ManualClock::at(Timestamp::from_secs(1_706_745_600));
        return parts(&policy(limits.parse().expect("a number"), verdicts), &clock);
    }
    for limits in [1, 3] {
        for verdicts in [Verdicts::Admitted, Verdicts::Refused] {
            println!("{limits} limits, {verdicts:?}, one key, best of 1,000");
            parts(&policy(limits, verdicts), &SystemClock::new());
        }
    }
}

fn parts(policy: &Policy, clock: &impl Clock) {
    let limiter = Limiter::new(Memory::new(MemoryOptions::default()), clock, ());
    let [user, tenant] = ["user", "tenant"].map(|name| policy.attribute(name).expect("an attribute"));
    let fill = |demand: &mut DemandBuilder<'_>| {
        demand.set(user, black_box("user:0000000000001")).expect("a short name");
        demand.set(tenant, black_box("tent:0000000000001")).expect("a short name");
    };
    let mut built = Demand::on(policy);
    fill(&mut built);
    let demand = built.build();
    let now = clock.now();
    let (mut list, mut statuses, mut slate) = (ChargeList::new(), Statuses::new(), Slate::new());
    let charges = list.resolve(&demand, now);
    limiter.store().charge(charges, &mut statuses, now);
    let ruled = statuses;
    measure("clock", || _ = black_box(clock.now()));
    measure("demand", || {
        let mut demand = Demand::on(black_box(policy));
        fill(&mut demand);
        black_box(demand.finish());
    });
    measure("resolve", || _ = black_box(ChargeList::new().resolve(black_box(&demand), now)));
    measure("store", || limiter.store().charge(black_box(charges), black_box(&mut statuses), now));
    measure("rule", || _ = black_box(decide_on(&mut slate, black_box(&demand), now, |_, said| *said = ruled)));
    measure("check", || _ = black_box(limiter.check(black_box(&demand))));
    measure("check on a slate", || _ = black_box(limiter.check_on(&mut slate, black_box(&demand))));
    measure("demand and check", || {
        let mut demand = Demand::on(black_box(policy));
        fill(&mut demand);
        black_box(limiter.check_on(&mut slate, demand.finish()).is_admitted());
    });
}
