//! Drafts that do not fit together, and rules that cannot be counted, each with the message an operator reads.

use std::collections::BTreeMap;

use tidegate_core::{
    Algorithm, Align, ChargeList, FreezeError, LimitDraft, Policy, PolicyDraft, Quota, QuotaTree, RecordDraft, Rule,
    RuleError, Span, bounds,
};

use crate::drafts::{by, limit, minute, operation, policy};

/// One mistake.
type Spoil<'s> = &'s dyn Fn(&mut PolicyDraft);

#[test]
fn drafts_that_do_not_fit_together_say_why() {
    let unknown = |kind, name: &str| FreezeError::Unknown { kind, name: name.to_owned() };
    let duplicate = |kind, name: &str| FreezeError::Duplicate { kind, name: name.to_owned() };
    let named = "l".to_owned();
    let cases: Vec<(Spoil<'_>, FreezeError, &str)> = vec![
        (&|draft| draft.limits[0].on = list("nope"), unknown("operation", "nope"), "no operation is called `nope`"),
        (
            &|draft| draft.default_operation = "nope".to_owned(),
            unknown("operation", "nope"),
            "no operation is called `nope`",
        ),
        (
            &|draft| draft.limits[0].per = vec![pair("nope")],
            unknown("attribute", "nope"),
            "no attribute is called `nope`",
        ),
        (
            &|draft| draft.limits[0].when = vec![condition("nope")],
            unknown("attribute", "nope"),
            "no attribute is called `nope`",
        ),
        (
            &|draft| draft.limits[0].unless = vec![condition("nope")],
            unknown("attribute", "nope"),
            "no attribute is called `nope`",
        ),
        (
            &|draft| draft.limits[0].quota = by("nope", &[]),
            unknown("attribute", "nope"),
            "no attribute is called `nope`",
        ),
        (&|draft| draft.limits[0].unit = "nope".to_owned(), unknown("unit", "nope"), "no unit is called `nope`"),
        (&|draft| draft.limits[0].quota = derived("nope"), unknown("limit", "nope"), "no limit is called `nope`"),
        (
            &|draft| draft.records = record("nope", "l", minute(1)),
            unknown("attribute", "nope"),
            "no attribute is called `nope`",
        ),
        (
            &|draft| draft.records = record("app", "nope", minute(1)),
            unknown("limit", "nope"),
            "no limit is called `nope`",
        ),
        (
            &|draft| draft.attributes.push("app".to_owned()),
            duplicate("attribute", "app"),
            "two attributes are called `app`",
        ),
        (
            &|draft| draft.attributes.push("plan".to_owned()),
            duplicate("attribute", "plan"),
            "two attributes are called `plan`",
        ),
        (
            &|draft| draft.units.push("requests".to_owned()),
            duplicate("unit", "requests"),
            "two units are called `requests`",
        ),
        (
            &|draft| draft.operations.push(operation("other")),
            duplicate("operation", "other"),
            "two operations are called `other`",
        ),
        (&|draft| draft.limits.push(limit("l", minute(1))), duplicate("limit", "l"), "two limits are called `l`"),
        (
            &|draft| draft.limits[0].quota = derived("l"),
            FreezeError::DerivedFromDerived { limit: named.clone() },
            "limit `l` is derived from a limit that is itself derived",
        ),
        (
            &|draft| draft.limits[0].quota = by("plan", &[("*", derived("l"))]),
            FreezeError::DerivedInside { limit: named.clone() },
            "limit `l` can only be derived as a whole, not in one case or for one record",
        ),
        (
            &|draft| draft.records = record("app", "l", derived("l")),
            FreezeError::DerivedInside { limit: named.clone() },
            "limit `l` can only be derived as a whole, not in one case or for one record",
        ),
        (
            &|draft| draft.limits[0].quota = nested(bounds::MAX_QUOTA_DEPTH + 1),
            FreezeError::QuotaTooDeep { limit: named.clone() },
            "quota of limit `l` nests deeper than 4 choices",
        ),
        (
            &|draft| draft.limits[0].quota = minute(1 << 53),
            FreezeError::Rule { limit: named.clone(), error: RuleError::AmountTooLarge },
            "limit `l`: amounts go up to 9007199254740991",
        ),
    ];
    for (spoil, error, message) in cases {
        let mut draft = policy(vec![limit("l", minute(1))]);
        assert!(Policy::freeze(&draft).is_ok());
        spoil(&mut draft);
        let got = Policy::freeze(&draft).unwrap_err();
        assert_eq!((got.to_string().as_str(), got), (message, error));
    }
}

/// Each bound is reached, and what is one above it is refused.
#[test]
fn bounds_are_reached_and_not_passed() {
    let many = |count: usize, name: &str| (0..count).map(|index| format!("{name}{index}")).collect::<Vec<_>>();
    let too_many = |kind, most| Some(FreezeError::TooMany { kind, most });
    let try_with = |change: &dyn Fn(&mut PolicyDraft)| {
        let mut draft = policy(Vec::new());
        change(&mut draft);
        Policy::freeze(&draft).err()
    };

    let attributes = |count: usize| try_with(&|draft| draft.attributes = many(count - 4, "a"));
    assert_eq!(attributes(bounds::MAX_ATTRIBUTES), None);
    assert_eq!(attributes(bounds::MAX_ATTRIBUTES + 1), too_many("attributes", bounds::MAX_ATTRIBUTES));

    let units = |count: usize| try_with(&|draft| draft.units = many(count - 1, "u"));
    assert_eq!(units(bounds::MAX_UNITS), None);
    assert_eq!(units(bounds::MAX_UNITS + 1), too_many("units", bounds::MAX_UNITS));

    let operations = |count: usize| {
        let extra: Vec<_> = many(count - 1, "o").iter().map(|name| operation(name)).collect();
        try_with(&|draft| draft.operations.extend(extra.clone()))
    };
    assert_eq!(operations(bounds::MAX_OPERATIONS), None);
    assert_eq!(operations(bounds::MAX_OPERATIONS + 1), too_many("operations", bounds::MAX_OPERATIONS));

    let limits_on = |count: usize, on: Option<Vec<String>>| {
        let limits: Vec<_> =
            many(count, "l").iter().map(|name| LimitDraft { on: on.clone(), ..limit(name, minute(1)) }).collect();
        try_with(&|draft| draft.limits = limits.clone())
    };
    assert_eq!(limits_on(bounds::MAX_CHARGES, None), None);
    assert_eq!(limits_on(bounds::MAX_CHARGES + 1, None), too_many("limits on one operation", bounds::MAX_CHARGES));
    assert_eq!(limits_on(bounds::MAX_LIMITS, Some(Vec::new())), None);
    assert_eq!(limits_on(bounds::MAX_LIMITS + 1, Some(Vec::new())), too_many("limits", bounds::MAX_LIMITS));

    assert_eq!(try_with(&|draft| draft.limits = vec![limit("l", nested(bounds::MAX_QUOTA_DEPTH))]), None);
}

#[test]
fn rules_that_cannot_be_counted_say_why() {
    let (second, day) = (Span::from_secs(1), Span::from_secs(86_400));
    let cases = [
        (Algorithm::FixedWindow, Quota::per(1 << 53, second), RuleError::AmountTooLarge),
        (Algorithm::TokenBucket, Quota { burst: 1 << 53, ..Quota::per(1, second) }, RuleError::AmountTooLarge),
        (Algorithm::FixedWindow, Quota::per(1, Span::from_micros(999)), RuleError::WindowOutOfBounds),
        (Algorithm::TokenBucket, Quota::per(1, Span::ZERO), RuleError::WindowOutOfBounds),
        (
            Algorithm::SlidingWindow { cells: 2 },
            Quota::per(1, Span::from_micros(366 * 86_400_000_000 + 1)),
            RuleError::WindowOutOfBounds,
        ),
        (Algorithm::FixedWindow, Quota { burst: 2, ..Quota::per(1, second) }, RuleError::BurstWithoutBucket),
        (Algorithm::Concurrency, Quota { burst: 2, ..Quota::per(1, Span::ZERO) }, RuleError::BurstWithoutBucket),
        (Algorithm::SlidingWindow { cells: 0 }, Quota::per(1, second), RuleError::CellsOutOfBounds),
        (Algorithm::SlidingWindow { cells: bounds::MAX_CELLS + 1 }, Quota::per(1, second), RuleError::CellsOutOfBounds),
        (Algorithm::TokenBucket, Quota::per((1 << 53) - 1, day), RuleError::IntervalTooFine),
        (Algorithm::TokenBucket, Quota { burst: 3_660_001, ..Quota::per(1, day) }, RuleError::FillTooLong),
    ];
    for (algorithm, quota, error) in cases {
        assert_eq!(Rule::new(algorithm, quota), Err(error), "{algorithm:?} {quota:?}");
        assert!(!error.to_string().is_empty());
    }
    let accepted = [
        (Algorithm::FixedWindow, Quota::per((1 << 53) - 1, bounds::MIN_WINDOW)),
        (Algorithm::FixedWindow, Quota::per(0, bounds::MAX_WINDOW)),
        (Algorithm::SlidingWindow { cells: bounds::MAX_CELLS }, Quota::per(1, second)),
        (Algorithm::TokenBucket, Quota::per(u64::from(u32::MAX), second)),
        (Algorithm::TokenBucket, Quota { burst: 3_660_000, ..Quota::per(1, day) }),
        (Algorithm::TokenBucket, Quota::per(0, second)),
        (Algorithm::Concurrency, Quota::per(1, Span::ZERO)),
    ];
    for (algorithm, quota) in accepted {
        let rule = Rule::new(algorithm, quota).unwrap();
        assert_eq!((rule.algorithm(), rule.quota(), rule.limit()), (algorithm, quota, quota.burst));
    }
}

/// The largest share that a derived quota can be, and the smallest: at least one unit of any, none of none.
#[test]
fn derived_quotas_round_down_but_not_to_nothing() {
    for (amount, numerator, denominator, share) in
        [(1_000, 1, 30, 33), (29, 1, 30, 1), (30, 1, 30, 1), (0, 1, 30, 0), (10, 3, 2, 15), (10, 0, 1, 1)]
    {
        let quota = QuotaTree::Derived {
            of: "l".to_owned(),
            numerator,
            denominator,
            window: Span::from_secs(1),
            align: Align::Clock,
        };
        let policy = Policy::freeze(&policy(vec![limit("l", minute(amount)), limit("part", quota)])).unwrap();
        let demand = tidegate_core::Demand::on(&policy).build();
        assert_eq!(
            ChargeList::new().resolve(&demand, tidegate_core::Timestamp::ZERO).charge(1).rule().quota(),
            Quota::per(share, Span::from_secs(1)),
            "{numerator}/{denominator} of {amount}"
        );
    }
}

fn derived(of: &str) -> QuotaTree {
    QuotaTree::Derived {
        of: of.to_owned(),
        numerator: 1,
        denominator: 30,
        window: Span::from_secs(1),
        align: Align::Clock,
    }
}

fn nested(depth: usize) -> QuotaTree {
    (0..depth).fold(minute(1), |inner, _| by("plan", &[("*", inner)]))
}

fn record(attribute: &str, limit: &str, quota: QuotaTree) -> BTreeMap<String, BTreeMap<String, RecordDraft>> {
    let record = RecordDraft { limits: BTreeMap::from([(limit.to_owned(), quota)]), ..RecordDraft::default() };
    BTreeMap::from([(attribute.to_owned(), BTreeMap::from([("value".to_owned(), record)]))])
}

fn list(name: &str) -> Option<Vec<String>> {
    Some(vec![name.to_owned()])
}

fn pair(name: &str) -> (String, bool) {
    (name.to_owned(), false)
}

fn condition(attribute: &str) -> (String, Vec<String>) {
    (attribute.to_owned(), vec!["value".to_owned()])
}

/// Must-hold f, in its part here: operations share the quotas that no choice of theirs tells apart, and records are walked
/// once, so that freezing grows with what is written and not with operations times records.
#[test]
fn many_operations_and_records_freeze_quickly() {
    use std::collections::BTreeMap;
    use tidegate_core::{OperationDraft, RecordDraft, Timestamp};

    let plans = || (0..50).map(|plan| (format!("plan-{plan}"), minute(plan + 1))).collect();
    let by = |attribute: &str| QuotaTree::By {
        attribute: attribute.to_owned(),
        cases: plans(),
        default: Some(Box::new(minute(1_000))),
    };
    let mut limits =
        vec![limit("by-plan", by("plan")), limit("by-class", by("class")), limit("part", derived("by-plan"))];
    limits.extend((0..997).map(|number| {
        let mut limit = limit(&format!("l{number}"), by("plan"));
        limit.on = Some((0..100).map(|operation| format!("op-{}", (number * 10 + operation) % 10_000)).collect());
        limit
    }));
    let mut draft = policy(limits);
    draft.operations.extend((0..10_000).map(|number| OperationDraft {
        name: format!("op-{number}"),
        class: Some(format!("plan-{}", number % 3)),
        ..OperationDraft::default()
    }));
    let own = |number: u64| BTreeMap::from([("by-plan".to_owned(), minute(number % 500))]);
    let records =
        (0..10_000).map(|number| (number.to_string(), RecordDraft { limits: own(number), ..RecordDraft::default() }));
    draft.records.insert("app".to_owned(), records.collect());

    let policy = Policy::freeze(&draft).unwrap();
    let quotas = |operation: &str| {
        let mut demand = tidegate_core::Demand::on(&policy);
        demand.set(tidegate_core::AttributeId::OPERATION, operation).unwrap();
        demand.set(policy.attribute("app").unwrap(), "7").unwrap();
        let demand = demand.build();
        let mut list = ChargeList::new();
        let charges = list.resolve(&demand, Timestamp::ZERO);
        charges.iter().take(3).map(|charge| charge.rule().quota().amount).collect::<Vec<_>>()
    };
    assert_eq!((quotas("op-0"), quotas("op-4")), (vec![7, 1, 1], vec![7, 2, 1]));
}
