//! The sums.

use tidegate_core::{Span, Timestamp};
use tidegate_limiter::MemoryOptions;
use tidegate_sim::{Outcome, Report, World, bounds};

use crate::{lowered, read};

fn report(text: &str) -> Report {
    let lowered = lowered();
    let world = World::new(&lowered.policy, &lowered.intake, MemoryOptions::default());
    let mut report = Report::default();
    read(text, |entry| {
        let entry = entry.unwrap_or_else(|error| panic!("{error}"));
        world.ask(&entry, |outcome| match outcome {
            Outcome::Decided(decision) => report.add(entry.line, decision),
            Outcome::BadRequest { .. } => report.bad_requests += 1,
        });
    });
    report
}

#[test]
fn verdicts_limits_and_waits_are_summed() {
    let line = |t: &str, app: &str| format!("{{\"t\":{t},\"attributes\":{{\"app\":\"{app}\"}}}}\n");
    let mut text: String = ["0", "1", "2", "3.5", "9"].map(|t| line(t, "a1")).concat();
    text.push_str(&line("9", "a2"));
    text.push_str("{\"t\":9,\"attributes\":{\"app\":\"a2\"},\"cost\":{\"requests\":4}}\n");
    let report = report(&text);
    assert_eq!((report.demands, report.admitted, report.refused, report.never), (7, 4, 3, 1));
    assert_eq!(report.between, Some((Timestamp::default(), Timestamp::from_secs(9))));
    let longest = report.longest_wait.as_ref().expect("somebody waits");
    assert_eq!((longest.wait, longest.limit.as_str(), longest.line), (Span::from_micros(6_500_000), "calls", 4));
    let [calls] = report.limits() else { panic!("{:?}", report.limits()) };
    assert_eq!((calls.demands, calls.did_not_fit, calls.refused, calls.enforced), (7, 3, 3, true));
    let busiest: Vec<(Option<&str>, u64, u64)> =
        report.busiest(9).iter().map(|key| (key.values[0].1.as_deref(), key.demands, key.did_not_fit)).collect();
    assert_eq!(busiest, [(Some("a1"), 5, 2), (Some("a2"), 2, 1)]);
}

/// More keys than are counted: the busy ones are found all the same, and a count is too high by no more than it says.
#[test]
fn the_busiest_keys_are_found_in_bounded_memory() {
    let keys = bounds::COUNTED_KEYS * 2;
    let mut text = String::new();
    for round in 0..3 {
        for key in 0..keys {
            text.push_str(&format!("{{\"t\":1,\"attributes\":{{\"app\":\"rare-{round}-{key}\"}}}}\n"));
            if key % 40 == 0 {
                text.push_str("{\"t\":1,\"attributes\":{\"app\":\"busy\"}}\n");
            }
        }
    }
    let report = report(&text);
    let busy = keys.div_ceil(40) as u64 * 3;
    let first = report.busiest(1)[0];
    assert_eq!(first.values[0].1.as_deref(), Some("busy"));
    assert!(first.demands >= busy && first.demands - first.too_many_by <= busy, "{first:?}, truly {busy}");
    assert_eq!(report.busiest(usize::MAX).len(), bounds::COUNTED_KEYS);
}

#[test]
fn a_trace_of_nothing_is_summed_to_nothing() {
    let report = report("");
    assert_eq!((report.demands, report.between, report.busiest(3).len()), (0, None, 0));
}
