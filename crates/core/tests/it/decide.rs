//! The verdict and the limit that binds, from tables.

use tidegate_core::{Basis, Demand, Mode, Policy, Quota, QuotaTree, Span, Status, Statuses, Timestamp, decide};

use crate::drafts::{limit, policy};
use crate::table::{Row, read, units, wait};

#[test]
fn verdicts_and_binding_limits_i11_i37() {
    let mut limits: Vec<Row> = Vec::new();
    let mut cases = 0;
    for row in read("decide.txt") {
        match row.column(0) {
            "case" => limits.clear(),
            "=>" => {
                check(&limits, &row);
                cases += 1;
            }
            _ => limits.push(row),
        }
    }
    assert!(cases > 10);
}

fn check(limits: &[Row], expected: &Row) {
    let drafts = limits.iter().map(|row| {
        let mut draft = limit(row.column(0), QuotaTree::Fixed(Quota::per(units(row.column(2)), Span::from_secs(60))));
        draft.mode = if row.column(1) == "shadow" { Mode::Shadow } else { Mode::Enforce };
        draft
    });
    let policy = Policy::freeze(&policy(drafts.collect())).unwrap();
    let demand = Demand::on(&policy).build();
    let mut statuses = Statuses::new();
    for (index, row) in limits.iter().enumerate() {
        let (remaining, retry_after) = (units(row.column(3)), wait(row.column(4)));
        statuses.set(index, Status { remaining, reset_after: Span::ZERO, retry_after }, Basis::Counter);
    }
    let decision = decide(&demand, Timestamp::from_secs(1), |_, answer| *answer = statuses);

    let verdict = if decision.is_admitted() { "admitted" } else { "refused" };
    let binding = decision.binding().map_or("-", |ruling| ruling.name());
    let got = (verdict, binding, decision.retry_after());
    assert_eq!(got, (expected.column(1), expected.column(2), wait(expected.column(3))), "{}", expected.place);
    assert_eq!(decision.rulings().len(), limits.len());
}

#[test]
fn a_store_without_room_refuses_and_says_so() {
    let drafts = vec![limit("full", crate::drafts::minute(10)), limit("fine", crate::drafts::minute(10))];
    let policy = Policy::freeze(&policy(drafts)).unwrap();
    let demand = Demand::on(&policy).build();
    let mut statuses = Statuses::new();
    statuses.set(0, Status::store_full(Span::from_secs(1)), Basis::StoreFull);
    statuses.set(1, Status { remaining: 9, ..Status::default() }, Basis::Counter);
    let decision = decide(&demand, Timestamp::from_secs(1), |_, answer| *answer = statuses);
    assert!(!decision.is_admitted());
    let binding = decision.binding().unwrap();
    assert_eq!((binding.name(), binding.basis), ("full", Basis::StoreFull));
    assert_eq!(decision.retry_after(), tidegate_core::Wait::For(Span::from_secs(1)));
}
