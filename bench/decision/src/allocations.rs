//! Heap allocations of one decision, counted by the allocator of this binary. One line of JSON a case.

use subjects::{Case, Names, SUBJECTS, Verdicts, subject};

fn main() {
    const DECISIONS: u64 = 1_000;
    for limits in [1, 3] {
        for verdicts in [Verdicts::Admitted, Verdicts::Refused] {
            let case = Case { limits, users: 100, verdicts };
            for name in SUBJECTS {
                let (subject, mut names) = (subject(name, case), Names::new());
                (0..case.users).for_each(|user| _ = subject.ask(&mut names, user));
                let counted = allocation_counter::measure(|| {
                    for decision in 0..DECISIONS {
                        std::hint::black_box(subject.ask(&mut names, decision % case.users));
                    }
                });
                let each = counted.count_total as f64 / DECISIONS as f64;
                println!(
                    r#"{{"subject":"{name}","limits":{limits},"verdicts":"{verdicts:?}","allocations":{each:.1}}}"#
                );
            }
        }
    }
}
