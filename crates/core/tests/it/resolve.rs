//! Which limits a demand meets, by which rule, on which counter: from tables; and that keys are injective (I45).

use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;
use tidegate_core::{
    Algorithm, Align, AttributeId, Charge, ChargeList, Demand, DemandError, LimitDraft, OperationDraft, Policy,
    PolicyDraft, Quota, QuotaTree, RecordDraft, Span, Timestamp, UnitId, bounds,
};

use crate::drafts::{by, limit, minute, operation, policy};
use crate::samples::cases;
use crate::table::read;

/// 2020-05-28T00:00:00 UTC.
const EXEMPT_BEFORE: u64 = 1_590_624_000;

#[test]
fn demands_meet_their_limits() {
    let policy = Policy::freeze(&sample()).unwrap();
    for row in read("resolve.txt") {
        let mut demand = Demand::on(&policy);
        if row.column(0) != "-" {
            demand.set(AttributeId::OPERATION, row.column(0)).unwrap();
        }
        for pair in row.column(1).split(' ').filter(|pair| *pair != "-") {
            let (name, value) = pair.split_once('=').unwrap();
            demand.set(policy.attribute(name).unwrap(), value).unwrap();
        }
        let demand = demand.build();
        let got: Vec<String> =
            ChargeList::new().resolve(&demand, Timestamp::ZERO).iter().map(|charge| written(&charge)).collect();
        let expected: Vec<&str> = row.columns[2..].iter().map(String::as_str).filter(|column| *column != "-").collect();
        assert_eq!(got, expected, "{}", row.place);
    }
}

/// `limit amount/window [values]`
fn written(charge: &Charge<'_>) -> String {
    let values: Vec<&str> = charge.key().values().map(|value| value.unwrap_or("?")).collect();
    let Quota { amount, window, .. } = charge.rule().quota();
    format!("{} {amount}/{}s [{}]", charge.limit().name(), window.as_secs_ceil(), values.join(", "))
}

/// The policy that `resolve.txt` describes.
fn sample() -> PolicyDraft {
    let per = |names: &[&str]| {
        names.iter().map(|name| (name.trim_end_matches('?').to_owned(), name.ends_with('?'))).collect()
    };
    let on = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
    let plans = by("plan", &[("*", minute(10)), ("pro", minute(100)), ("max", QuotaTree::Unlimited)]);
    let thirtieth = QuotaTree::Derived {
        of: "app-minute".to_owned(),
        numerator: 1,
        denominator: 30,
        window: Span::from_secs(1),
        align: Align::Clock,
    };
    let upload = QuotaTree::Fixed(Quota { burst: 4, ..Quota::per(2, Span::from_secs(10)) });
    let limits = vec![
        LimitDraft { on: on(&["send", "read"]), per: per(&["app", "operation"]), ..limit("app-minute", plans) },
        LimitDraft { on: on(&["send", "read"]), per: per(&["app", "operation"]), ..limit("app-second", thirtieth) },
        LimitDraft {
            per: per(&["app", "user?"]),
            unless: vec![("platform".to_owned(), vec!["server".to_owned()])],
            ..limit("user-minute", by("class", &[("*", minute(5)), ("k1", minute(7))]))
        },
        LimitDraft {
            on: on(&["upload"]),
            per: per(&["user"]),
            algorithm: Algorithm::TokenBucket,
            ..limit("upload", by("method", &[("PUT", upload)]))
        },
        LimitDraft {
            per: per(&["app"]),
            when: vec![("platform".to_owned(), vec!["ios".to_owned(), "android".to_owned()])],
            exempt_created_before: Some(Timestamp::from_secs(EXEMPT_BEFORE)),
            ..limit("legacy", QuotaTree::Fixed(Quota::per(3, Span::from_secs(86_400))))
        },
    ];
    PolicyDraft {
        operations: vec![
            operation("other"),
            OperationDraft { class: Some("k1".to_owned()), ..operation("send") },
            operation("read"),
            OperationDraft { method: Some("PUT".to_owned()), ..operation("upload") },
        ],
        default_plan: Some("free".to_owned()),
        records: records(),
        ..policy(limits)
    }
}

fn records() -> BTreeMap<String, BTreeMap<String, RecordDraft>> {
    let on_plan = |plan: &str| RecordDraft { plan: Some(plan.to_owned()), ..RecordDraft::default() };
    let created = |secs| RecordDraft { created: Some(Timestamp::from_secs(secs)), ..RecordDraft::default() };
    let with =
        |quota| RecordDraft { limits: BTreeMap::from([("app-minute".to_owned(), quota)]), ..RecordDraft::default() };
    let mixed = by("platform", &[("*", minute(120)), ("ios", minute(60))]);
    let apps = [
        ("vip", on_plan("pro")),
        ("big", with(minute(600))),
        ("free", with(QuotaTree::Unlimited)),
        ("zero", with(minute(0))),
        ("mixed", with(mixed)),
        ("old", created(EXEMPT_BEFORE - 1)),
        ("edge", created(EXEMPT_BEFORE)),
        ("new", created(1_706_774_400)),
    ];
    let users = [("elder", created(EXEMPT_BEFORE - 1)), ("rich", on_plan("max"))];
    let named = |(name, record): (&str, RecordDraft)| (name.to_owned(), record);
    BTreeMap::from([
        ("user".to_owned(), users.into_iter().map(named).collect()),
        ("app".to_owned(), apps.into_iter().map(named).collect()),
    ])
}

/// What a demand may say, and what it may not.
#[test]
fn demands_are_checked_as_they_are_filled_in() {
    let policy = Policy::freeze(&sample()).unwrap();
    let (app, long) = (policy.attribute("app").unwrap(), "a".repeat(bounds::MAX_ATTRIBUTE_BYTES + 1));
    let mut demand = Demand::on(&policy);
    assert!(demand.set(app, &long[1..]).is_ok());
    let too_long = DemandError::ValueTooLong { attribute: app, bytes: long.len() };
    assert_eq!(demand.set(app, &long).err(), Some(too_long));
    assert_eq!(demand.set(AttributeId::OPERATION, "nothing").err(), Some(DemandError::UnknownOperation));
    assert_eq!(demand.set(AttributeId::CLASS, "k1").err(), Some(DemandError::ClassIsDerived));
    assert!(demand.set_cost(UnitId::REQUESTS, bounds::MAX_AMOUNT).is_ok());
    let amount = bounds::MAX_AMOUNT + 1;
    let too_large = DemandError::CostTooLarge { unit: UnitId::REQUESTS, amount };
    assert_eq!(demand.set_cost(UnitId::REQUESTS, amount).err(), Some(too_large));

    demand.set(AttributeId::OPERATION, "send").unwrap();
    assert_eq!(demand.value(AttributeId::OPERATION), Some("send"));
    let built = demand.build();
    assert_eq!(
        ["operation", "class", "method", "plan"].map(|name| built.value(name)),
        [Some("send"), Some("k1"), None, Some("free")]
    );
    demand.clear(AttributeId::OPERATION).clear(app);
    let built = demand.build();
    assert_eq!(["operation", "class", "app"].map(|name| built.value(name)), [Some("other"), None, None]);
}

/// I45: keys share their bytes exactly if they have the same limit and values, whatever the values contain.
#[test]
fn keys_do_not_run_together_i45() {
    let lists: [[Option<&str>; 2]; 10] = [
        [Some("a"), Some("b")],
        [Some("ab"), Some("")],
        [Some(""), Some("ab")],
        [Some("a"), None],
        [Some("a"), Some("")],
        [Some("a\u{1}"), Some("b")],
        [Some("a\0\0\0\u{1}"), Some("b")],
        [Some("a"), Some("\u{1}\0\0\0b")],
        [Some("ÿÿÿÿ"), None],
        [Some("ÿÿ"), Some("ÿÿ")],
    ];
    let mut seen = HashMap::new();
    for values in lists {
        for limit in [0, 1] {
            let other = seen.insert(bytes_of(values, limit), (values, limit));
            assert_eq!(other, None, "same bytes as {values:?} of limit {limit}");
        }
    }
}

proptest! {
    #![proptest_config(cases(2_000))]

    /// I45: the same, of any values.
    #[test]
    fn key_bytes_are_equal_exactly_if_keys_are_i45(one in values(), other in values()) {
        prop_assert_eq!(bytes_of(both(&one), 0) == bytes_of(both(&other), 0), one == other);
        prop_assert!(bytes_of(both(&one), 0) != bytes_of(both(&other), 1));
    }
}

type Values = [Option<String>; 2];

fn values() -> impl Strategy<Value = Values> {
    let value = || prop_oneof![1 => Just(None), 4 => "[ab\u{0}\u{1}ÿ]{0,3}".prop_map(Some)];
    (value(), value()).prop_map(|(app, user)| [app, user])
}

fn both(values: &Values) -> [Option<&str>; 2] {
    [values[0].as_deref(), values[1].as_deref()]
}

/// The bytes of the key that a limit, of two that count alike, has for these values.
fn bytes_of(values: [Option<&str>; 2], limit: usize) -> Vec<u8> {
    let policy = Policy::freeze(&twins()).unwrap();
    let mut demand = Demand::on(&policy);
    for (name, value) in ["app", "user"].into_iter().zip(values) {
        if let Some(value) = value {
            demand.set(policy.attribute(name).unwrap(), value).unwrap();
        }
    }
    let demand = demand.build();
    let mut bytes = Vec::new();
    ChargeList::new().resolve(&demand, Timestamp::ZERO).charge(limit).key().write(|part| bytes.extend_from_slice(part));
    bytes
}

fn twins() -> PolicyDraft {
    let per = vec![("app".to_owned(), true), ("user".to_owned(), true)];
    let twin = |name: &str| LimitDraft { per: per.clone(), ..limit(name, minute(1)) };
    policy(vec![twin("one"), twin("two")])
}

/// I34: a counter is named by policy, limit, unit, layout and what it counts by, and by nothing that may change in a
/// reload that keeps counters.
#[test]
fn identities_survive_what_may_change_i34() {
    let identity = |draft: &PolicyDraft| Policy::freeze(draft).unwrap().limits()[0].identity();
    let before = twins();
    let changed = |change: &dyn Fn(&mut PolicyDraft)| {
        let mut draft = before.clone();
        change(&mut draft);
        identity(&draft) != identity(&before)
    };
    assert!(!changed(&|draft| draft.version = 2));
    assert!(!changed(&|draft| draft.limits[0].quota = minute(99)));
    assert!(!changed(&|draft| draft.limits[0].mode = tidegate_core::Mode::Shadow));
    assert!(!changed(&|draft| draft.limits[0].on = Some(vec!["other".to_owned()])));
    assert!(!changed(&|draft| drop(draft.limits.pop())));
    assert!(changed(&|draft| draft.name = "another".to_owned()));
    assert!(changed(&|draft| draft.limits[0].name = "another".to_owned()));
    assert!(changed(&|draft| draft.limits[0].per.truncate(1)));
    assert!(changed(&|draft| draft.limits[0].algorithm = Algorithm::TokenBucket));
    assert!(changed(&|draft| draft.limits[0].algorithm = Algorithm::SlidingWindow { cells: 10 }));
    let with_cells = |cells| {
        let mut draft = before.clone();
        draft.limits[0].algorithm = Algorithm::SlidingWindow { cells };
        identity(&draft)
    };
    assert_ne!(with_cells(9), with_cells(10));
}

/// I1, I34: a window's counter outlives a change of its quota that leaves what is used comparable: another amount, but no
/// other window. A bucket outlives all, as it keeps a share.
#[test]
fn counters_are_named_by_what_their_units_stand_for_i34() {
    let (minute, hour) = (Span::from_secs(60), Span::from_secs(3_600));
    let bytes = |algorithm, quota| {
        let limit = LimitDraft { algorithm, ..limit("l", QuotaTree::Fixed(quota)) };
        let policy = Policy::freeze(&policy(vec![limit])).unwrap();
        let demand = Demand::on(&policy).build();
        let mut bytes = Vec::new();
        ChargeList::new().resolve(&demand, Timestamp::ZERO).charge(0).key().write(|part| bytes.extend_from_slice(part));
        bytes
    };
    let is_kept = |algorithm, before, after| bytes(algorithm, before) == bytes(algorithm, after);
    for algorithm in [Algorithm::FixedWindow, Algorithm::SlidingWindow { cells: 10 }] {
        assert!(is_kept(algorithm, Quota::per(10, minute), Quota::per(99, minute)));
        assert!(!is_kept(algorithm, Quota::per(10, minute), Quota::per(10, hour)));
    }
    let bucket = |amount, burst| Quota { burst, ..Quota::per(amount, minute) };
    for other in [bucket(600, 600), bucket(10, 1), bucket(7, 7), Quota::per(1, hour)] {
        assert!(is_kept(Algorithm::TokenBucket, bucket(10, 10), other));
    }
    assert!(is_kept(Algorithm::Concurrency, Quota::per(3, Span::ZERO), Quota::per(5, Span::ZERO)));
}

/// I3: a bucket goes on under another quota only if no caller can choose between the two.
#[test]
fn buckets_of_chosen_quotas_count_apart_i3() {
    let quotas = [Quota::per(10, Span::from_secs(60)), Quota::per(10, Span::from_secs(3_600))].map(QuotaTree::Fixed);
    let by = |attribute: &str| QuotaTree::By {
        attribute: attribute.into(),
        cases: ["a", "b"].map(String::from).into_iter().zip(quotas.clone()).collect(),
        default: None,
    };
    let is_shared = |attribute: &str, per: &[&str]| {
        let per = per.iter().map(|name| ((*name).to_owned(), true)).collect();
        let limit = LimitDraft { algorithm: Algorithm::TokenBucket, per, ..limit("l", by(attribute)) };
        let policy = Policy::freeze(&policy(vec![limit])).unwrap();
        let id = policy.attribute(attribute).unwrap();
        let bytes = ["a", "b"].map(|value| {
            let mut demand = Demand::on(&policy);
            let demand = demand.set(id, value).unwrap().build();
            let mut bytes = [0; 16];
            let mut parts = 0;
            ChargeList::new().resolve(&demand, Timestamp::ZERO).charge(0).key().write(|part| {
                if parts == 0 {
                    bytes.copy_from_slice(part);
                }
                parts += 1;
            });
            bytes
        });
        bytes[0] == bytes[1]
    };
    assert!(is_shared("plan", &["app"]), "a plan is not chosen with each request");
    assert!(is_shared("app", &["app"]), "the value names the counter too");
    assert!(!is_shared("method", &["app"]));
    assert!(!is_shared("app", &["user"]));
    assert!(is_shared("method", &["method"]));
}
