//! What an explanation says applies is what is charged, and every reason that it gives is told apart.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::select;
use tidegate_core::{
    Algorithm, Align, AttributeId, Chosen, Demand, Explained, LimitDraft, OperationDraft, Origin, Policy, PolicyDraft,
    QuotaTree, Reason, RecordDraft, Selected, Span, Timestamp, bounds,
};

use crate::drafts::{by, limit, minute, operation, policy};
use crate::samples::cases;

const DAY: Span = Span::from_secs(86_400);

/// 2024-02-01T00:00:00 UTC.
const NOW: Timestamp = Timestamp::from_secs(1_706_745_600);

const OPERATIONS: [&str; 3] = ["send", "read", "other"];
const CHOSEN_BY: [&str; 6] = ["app", "user", "plan", "operation", "class", "method"];
const VALUES: [&str; 6] = ["a", "b", "send", "read", "write", "GET"];

/// A quota, of choices that nest at most `depth` deep.
fn trees(depth: usize) -> BoxedStrategy<QuotaTree> {
    let amounts = prop_oneof![Just(0_u64), 1_u64..4, 50_u64..2_000];
    let leaf = prop_oneof![4 => amounts.prop_map(minute), 1 => Just(QuotaTree::Unlimited)].boxed();
    if depth == 0 {
        return leaf;
    }
    let default = prop_oneof![Just(None), trees(depth - 1).prop_map(|tree| Some(Box::new(tree)))].boxed();
    let cases = prop::collection::btree_map(select(&VALUES[..]).prop_map(str::to_owned), trees(depth - 1), 1..3);
    let choice = (select(&CHOSEN_BY[..]), cases, default.clone());
    let choice = choice.prop_map(|(attribute, cases, default)| QuotaTree::By {
        attribute: attribute.to_owned(),
        cases,
        default,
    });
    let steps = prop::collection::btree_map((0_u64..40).prop_map(days), trees(depth - 1), 1..3);
    let ages = (steps, default).prop_map(|(steps, default)| QuotaTree::ByAge { steps, default });
    prop_oneof![2 => leaf, 2 => choice, 1 => ages].boxed()
}

fn days(days: u64) -> Span {
    Span::from_micros(days * DAY.as_micros())
}

fn created() -> impl Strategy<Value = Option<Timestamp>> {
    let ago = (0_u64..40).prop_map(|ago| Some(Timestamp::from_micros(NOW.as_micros() - days(ago).as_micros())));
    prop_oneof![Just(None), ago]
}

fn some<T: std::fmt::Debug + Clone + 'static>(values: impl Strategy<Value = T> + 'static) -> BoxedStrategy<Option<T>> {
    let values = values.boxed();
    prop_oneof![Just(None), values.prop_map(Some)].boxed()
}

fn names(of: &'static [&'static str], most: usize) -> impl Strategy<Value = Vec<String>> {
    prop::sample::subsequence(of.to_vec(), 0..=most).prop_map(|names| names.into_iter().map(str::to_owned).collect())
}

fn conditions() -> impl Strategy<Value = Vec<(String, Vec<String>)>> {
    let one = (select(&["app", "user", "class"][..]).prop_map(str::to_owned), names(&VALUES, 4));
    prop_oneof![3 => Just(vec![]), 1 => prop::collection::vec(one, 1..3)]
}

fn limits() -> impl Strategy<Value = Vec<LimitDraft>> {
    let per =
        prop::collection::btree_map(select(&["app", "user", "plan"][..]).prop_map(str::to_owned), any::<bool>(), 0..3);
    let algorithm =
        select(vec![Algorithm::FixedWindow, Algorithm::TokenBucket, Algorithm::SlidingWindow { cells: 10 }]);
    let share = (1_u64..4, 1_u64..40, 0_usize..6);
    let one =
        (trees(2), some(names(&OPERATIONS, 3)), per, conditions(), conditions(), created(), algorithm, some(share));
    prop::collection::vec(one, 1..6).prop_map(|all| {
        let plain = all.iter().map(|(.., share)| share.is_none()).collect::<Vec<_>>();
        let limits =
            all.into_iter().enumerate().map(|(index, (quota, on, per, when, unless, exempt, algorithm, share))| {
                let derived = share.and_then(|(numerator, denominator, of)| {
                    let of = of % plain.len();
                    let derived = QuotaTree::Derived {
                        of: format!("l{of}"),
                        numerator,
                        denominator,
                        window: DAY,
                        align: Align::Clock,
                    };
                    plain[of].then_some(derived)
                });
                LimitDraft {
                    on,
                    per: per.into_iter().collect(),
                    when,
                    unless,
                    exempt_created_before: exempt,
                    algorithm,
                    ..limit(&format!("l{index}"), derived.unwrap_or(quota))
                }
            });
        limits.collect()
    })
}

fn policies() -> impl Strategy<Value = PolicyDraft> {
    limits().prop_flat_map(|limits| {
        let overridable: Vec<String> = limits.iter().map(|limit| limit.name.clone()).collect();
        let overrides = prop::collection::btree_map(select(overridable), trees(1), 0..3);
        let record = (some(select(&["a", "b"][..])), created(), overrides)
            .prop_map(|(plan, created, limits)| RecordDraft { plan: plan.map(str::to_owned), created, limits });
        let of = prop::collection::btree_map(select(&["a", "b"][..]).prop_map(str::to_owned), record, 0..3);
        let records = prop::collection::btree_map(select(&["app", "user"][..]).prop_map(str::to_owned), of, 0..3);
        records.prop_map(move |records| PolicyDraft {
            operations: vec![
                OperationDraft { class: Some("write".to_owned()), method: None, ..operation("send") },
                OperationDraft { class: None, method: Some("GET".to_owned()), ..operation("read") },
                operation("other"),
            ],
            default_plan: Some("b".to_owned()),
            records,
            ..policy(limits.clone())
        })
    })
}

type Asked = (Option<&'static str>, Vec<(&'static str, &'static str)>);

fn demands() -> impl Strategy<Value = Vec<Asked>> {
    let values = prop::collection::hash_map(select(&["app", "user", "plan", "method"][..]), select(&VALUES[..]), 0..4);
    let one = (some(select(&OPERATIONS[..])), values.prop_map(|values| values.into_iter().collect()));
    prop::collection::vec(one, 1..8)
}

proptest! {
    #![proptest_config(cases(2_000))]

    /// The limits that an explanation says apply are those that are charged, by the same rules, on the same counters; and
    /// a limit that does not apply has a reason.
    #[test]
    fn what_is_said_to_apply_is_what_is_charged(draft in policies(), demands in demands()) {
        let policy = Policy::freeze(&draft).unwrap();
        for (operation, values) in demands {
            let mut demand = Demand::on(&policy);
            if let Some(operation) = operation {
                demand.set(AttributeId::OPERATION, operation).unwrap();
            }
            for (name, value) in values {
                demand.set(policy.attribute(name).unwrap(), value).unwrap();
            }
            let demand = demand.build();
            let mut list = tidegate_core::ChargeList::new();
            let charged = list.resolve(&demand, NOW);
            let charged: Vec<_> = charged.iter().map(|charge| {
                (charge.limit().name(), *charge.rule(), charge.key().values().collect::<Vec<_>>())
            }).collect();
            let explained = policy.explain(&demand, NOW);
            prop_assert_eq!(explained.len(), policy.limits().len());
            let said: Vec<_> = explained.iter().filter(|explained| explained.applies()).map(|explained| {
                let values = explained.counter.iter().map(|(_, value)| *value).collect::<Vec<_>>();
                (explained.limit.name(), *explained.rule().unwrap(), values)
            }).collect();
            prop_assert_eq!(said, charged);
            for explained in &explained {
                prop_assert_eq!(explained.rule().is_some(), explained.applies());
                let is_elsewhere = matches!(explained.reasons[..], [Reason::OtherOperation { .. }]);
                prop_assert_eq!(explained.origin.is_none(), is_elsewhere);
                explained.origin.iter().try_for_each(leads_to_its_rule)?;
            }
        }
    }
}

/// The last choice is the only one that may lead to nothing, and what is derived is derived of something.
fn leads_to_its_rule(origin: &Origin<'_>) -> Result<(), TestCaseError> {
    let leads_on = |chosen: &Chosen<'_>| match chosen {
        Chosen::Value { case, .. } => *case != Selected::Nothing,
        Chosen::Age { step, .. } => *step != Selected::Nothing,
    };
    let ends = origin.choices.iter().position(|chosen| !leads_on(chosen));
    prop_assert!(ends.is_none_or(|index| index + 1 == origin.choices.len()));
    if let Some((_, base)) = &origin.derived {
        prop_assert_eq!(base.rule.is_some(), origin.rule.is_some());
        leads_to_its_rule(base)?;
    } else {
        prop_assert_eq!(origin.rule.is_none(), origin.is_unlimited || ends.is_some());
    }
    Ok(())
}

fn sample() -> PolicyDraft {
    let tenth = QuotaTree::Derived {
        of: "plans".to_owned(),
        numerator: 1,
        denominator: 10,
        window: Span::from_secs(1),
        align: Align::Clock,
    };
    let ages = QuotaTree::ByAge { steps: BTreeMap::from([(days(7), minute(70))]), default: Some(Box::new(minute(7))) };
    let per = |name: &str| vec![(name.to_owned(), false)];
    let when = |attribute: &str, value: &str| vec![(attribute.to_owned(), vec![value.to_owned()])];
    let old = Timestamp::from_secs(1_590_624_000);
    let record = |created| RecordDraft {
        created: Some(created),
        limits: BTreeMap::from([("plans".to_owned(), minute(600))]),
        ..RecordDraft::default()
    };
    let apps = BTreeMap::from([
        ("elder".to_owned(), record(Timestamp::from_secs(1_577_836_800))),
        ("young".to_owned(), record(Timestamp::from_micros(NOW.as_micros() - days(8).as_micros()))),
    ]);
    PolicyDraft {
        operations: vec![OperationDraft { class: Some("write".to_owned()), ..operation("send") }, operation("other")],
        records: BTreeMap::from([("app".to_owned(), apps)]),
        default_plan: Some("free".to_owned()),
        ..policy(vec![
            LimitDraft { on: Some(vec!["send".to_owned()]), ..limit("on-send", minute(1)) },
            limit("plans", by("plan", &[("*", minute(10)), ("max", QuotaTree::Unlimited)])),
            limit("tenth", tenth),
            LimitDraft { per: per("user"), ..limit("per-user", minute(3)) },
            LimitDraft { when: when("platform", "ios"), ..limit("on-ios", minute(4)) },
            LimitDraft { unless: when("platform", "web"), ..limit("not-web", minute(5)) },
            LimitDraft { exempt_created_before: Some(old), ..limit("new-apps", minute(6)) },
            limit("warm-up", ages),
            limit("writes", by("class", &[("write", minute(8))])),
        ])
    }
}

/// Each reason, and each origin, from one policy.
#[test]
fn each_reason_is_told() {
    let policy = Policy::freeze(&sample()).unwrap();
    let rows = [
        (
            "other",
            "",
            [
                "on-send: on send",
                "plans: by plan=free default -> 10",
                "tenth: of plans (by plan=free default -> 10) -> 1",
                "per-user: no user; -> 3",
                "on-ios: platform=-; -> 4",
                "not-web: -> 5",
                "new-apps: -> 6",
                "warm-up: by age default -> 7",
                "writes: no case; by class=- nothing",
            ],
        ),
        (
            "send",
            "app=young platform=web plan=max user=u",
            [
                "on-send: -> 1",
                "plans: record app=young -> 600",
                "tenth: of plans (record app=young -> 600) -> 60",
                "per-user: -> 3",
                "on-ios: platform=web; -> 4",
                "not-web: platform=web; -> 5",
                "new-apps: -> 6",
                "warm-up: by age 8d of app=young from 7d -> 70",
                "writes: by class=write case -> 8",
            ],
        ),
        (
            "send",
            "app=elder platform=ios",
            [
                "on-send: -> 1",
                "plans: record app=elder -> 600",
                "tenth: of plans (record app=elder -> 600) -> 60",
                "per-user: no user; -> 3",
                "on-ios: -> 4",
                "not-web: -> 5",
                "new-apps: exempt by app=elder; -> 6",
                "warm-up: by age 1492d of app=elder from 7d -> 70",
                "writes: by class=write case -> 8",
            ],
        ),
        (
            "other",
            "plan=max app=nobody",
            [
                "on-send: on send",
                "plans: unlimited; by plan=max case unlimited",
                "tenth: unlimited; of plans (by plan=max case unlimited) unlimited",
                "per-user: no user; -> 3",
                "on-ios: platform=-; -> 4",
                "not-web: -> 5",
                "new-apps: -> 6",
                "warm-up: by age default -> 7",
                "writes: no case; by class=- nothing",
            ],
        ),
    ];
    for (operation, values, expected) in rows {
        let mut demand = Demand::on(&policy);
        demand.set(AttributeId::OPERATION, operation).unwrap();
        for pair in values.split_whitespace() {
            let (name, value) = pair.split_once('=').unwrap();
            demand.set(policy.attribute(name).unwrap(), value).unwrap();
        }
        let demand = demand.build();
        let told: Vec<String> = policy.explain(&demand, NOW).iter().map(|one| written(&policy, one)).collect();
        assert_eq!(told, expected, "{operation} {values}");
    }
}

fn written(policy: &Policy, explained: &Explained<'_>) -> String {
    let name = |attribute| policy.attribute_name(attribute);
    let reasons = explained.reasons.iter().map(|reason| match reason {
        Reason::OtherOperation { on } => {
            format!(" on {}", on.iter().map(|on| policy.operation(*on).name()).collect::<Vec<_>>().join(" "))
        }
        Reason::Missing(attribute) => format!(" no {};", name(*attribute)),
        Reason::Condition { attribute, found, .. } => format!(" {}={};", name(*attribute), found.unwrap_or("-")),
        Reason::Exempt { by, .. } => format!(" exempt by {}={};", name(by.attribute), by.value),
        Reason::Unlimited => " unlimited;".to_owned(),
        Reason::NoCase => " no case;".to_owned(),
    });
    let reasons: String = reasons.collect();
    let origin = explained.origin.as_ref().map(|origin| format!(" {}", path(policy, origin))).unwrap_or_default();
    format!("{}:{reasons}{origin}", explained.limit.name())
}

fn path(policy: &Policy, origin: &Origin<'_>) -> String {
    let name = |attribute| policy.attribute_name(attribute);
    let mut steps = Vec::new();
    steps.extend(origin.record.map(|by| format!("record {}={}", name(by.attribute), by.value)));
    for chosen in &origin.choices {
        steps.push(match chosen {
            Chosen::Value { attribute, found, case } => {
                let case = match case {
                    Selected::Case(()) => "case",
                    Selected::Default => "default",
                    Selected::Nothing => "nothing",
                };
                format!("by {}={} {case}", name(*attribute), found.unwrap_or("-"))
            }
            Chosen::Age { of, step } => {
                let of = of.map(|(by, age)| {
                    let age = age.as_micros() / DAY.as_micros();
                    format!(" {age}d of {}={}", name(by.attribute), by.value)
                });
                let step = match step {
                    Selected::Case(from) => format!("from {}d", from.as_micros() / DAY.as_micros()),
                    Selected::Default => "default".to_owned(),
                    Selected::Nothing => "nothing".to_owned(),
                };
                format!("by age{} {step}", of.unwrap_or_default())
            }
        });
    }
    if let Some((of, base)) = &origin.derived {
        steps.push(format!("of {} ({})", policy.limits()[of.index()].name(), path(policy, base)));
    }
    steps.extend(origin.rule.map(|rule| format!("-> {}", rule.quota().amount)));
    steps.extend(origin.is_unlimited.then(|| "unlimited".to_owned()));
    steps.join(" ")
}

/// A quota of the greatest depth is followed to its end.
#[test]
fn the_deepest_quota_is_told_whole() {
    let deep = (0..bounds::MAX_QUOTA_DEPTH).fold(minute(1), |tree, _| by("class", &[("*", tree)]));
    let policy = Policy::freeze(&policy(vec![limit("deep", deep)])).unwrap();
    let demand = Demand::on(&policy).build();
    let explained = policy.explain(&demand, NOW);
    assert_eq!(explained[0].origin.as_ref().unwrap().choices.len(), bounds::MAX_QUOTA_DEPTH);
    assert_eq!(explained[0].rule().unwrap().limit(), 1);
}
