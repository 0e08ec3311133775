//! The warnings about limits that can do nothing or can be evaded, beside a slow evaluator: every request that a small
//! policy tells apart is asked of the real intake and the real policy, with and without all that it can leave out.
//!
//! The evaluator knows nothing of how warnings come about. What a warning claims must hold of all requests; and where the
//! lint claims to be exact, what holds of all requests must be warned of.

use std::collections::{BTreeMap, BTreeSet};

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use tidegate_core::{ChargeList, Mode, Timestamp};
use tidegate_policy::{Asked, Lowered, Source, lower};

/// Headers that attributes come from, and what is tried in each.
const HEADERS: [(&str, [Option<&str>; 5]); 3] = [
    ("x-a", [None, Some("x"), Some("y"), Some("w"), Some("z")]),
    ("x-b", [None, Some("x"), Some("y"), Some("w"), Some("z")]),
    ("x-c", [None, Some("xx"), Some("yy"), Some("q"), Some("zz")]),
];

/// Operations, and requests to each.
const PATHS: [(&str, &[&str]); 4] = [
    ("send", &["/send"]),
    ("list", &["/list"]),
    ("item", &["/items/x", "/items/y", "/items/w", "/items/z"]),
    ("other", &["/nowhere"]),
];

const VALUES: [&str; 3] = ["x", "y", "w"];

/// An attribute, and the ways it can be written.
const SOURCES: [(&str, &[&str]); 4] = [
    ("a", &["\"header:x-a\"", "[\"header:x-a\", \"constant:w\"]", "[\"header:x-a\", \"header:x-b\"]"]),
    ("b", &["\"header:x-b\"", "[\"header:x-b\", \"path:id\"]", "[\"attribute:a\", \"constant:x\"]"]),
    (
        "c",
        &[
            "{ from = \"header:x-c\", map = [[\"xx\", \"x\"], [\"y*\", \"y\"]] }",
            "[{ from = \"header:x-c\", map = [[\"xx\", \"x\"], [\"*\", \"y\"]] }, \"constant:w\"]",
            "[{ from = \"header:x-c\", map = [[\"q\", \"w\"], [\"xx\", \"x\"]] }, { from = \"constant:Q\", map = [[\"*q\", \"y\"]] }]",
        ],
    ),
    ("d", &["\"path:id\"", "[\"path:id\", \"client\"]", "\"client\""]),
];

#[derive(Clone, Debug)]
enum Quota {
    /// Requests a minute.
    Fixed(u64),
    Unlimited,
    By(&'static str, Vec<(&'static str, Quota)>, Option<Box<Quota>>),
}

#[derive(Clone, Debug)]
struct Limit {
    on: Option<Vec<&'static str>>,
    per: Vec<(&'static str, bool)>,
    when: Option<(&'static str, Vec<&'static str>)>,
    unless: Option<(&'static str, Vec<&'static str>)>,
    quota: Quota,
    is_shadow: bool,
    lenient_without: Vec<&'static str>,
}

#[derive(Clone, Debug)]
struct Small {
    sources: Vec<usize>,
    limits: Vec<Limit>,
}

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// Attributes that conditions and choices are by: all values of these are tried.
const TRIED: [&str; 3] = ["a", "b", "c"];

fn quota() -> impl Strategy<Value = Quota> {
    let leaf = prop_oneof![4 => select(vec![1, 5, 10]).prop_map(Quota::Fixed), 1 => Just(Quota::Unlimited)];
    leaf.clone().prop_recursive(2, 6, 2, move |inner| {
        let cases = prop::collection::btree_map(select(VALUES.to_vec()), inner.clone(), 1..3);
        (select(TRIED.to_vec()), cases, prop::option::of(inner)).prop_map(|(by, cases, default)| {
            let without = |quota: Quota| without(quota, by);
            let cases = cases.into_iter().map(|(value, case)| (value, without(case))).collect();
            Quota::By(by, cases, default.map(|default| Box::new(without(default))))
        })
    })
}

/// The quota without a second choice by one attribute, which is a mistake.
fn without(quota: Quota, by: &str) -> Quota {
    match quota {
        Quota::By(inner, ..) if inner == by => Quota::Fixed(5),
        Quota::By(inner, cases, default) => {
            let cases = cases.into_iter().map(|(value, case)| (value, without(case, by))).collect();
            Quota::By(inner, cases, default.map(|default| Box::new(without(*default, by))))
        }
        other => other,
    }
}

fn condition() -> impl Strategy<Value = Option<(&'static str, Vec<&'static str>)>> {
    prop::option::weighted(0.2, (select(TRIED.to_vec()), subsequence(VALUES.to_vec(), 1..=2)))
}

fn limit() -> impl Strategy<Value = Limit> {
    let on = prop::option::of(subsequence(PATHS.map(|(name, _)| name).to_vec(), 1..=3));
    let per = subsequence(NAMES.to_vec(), 0..=2).prop_flat_map(|names| {
        let count = names.len();
        (Just(names), prop::collection::vec(prop::bool::weighted(0.2), count))
    });
    let per = per.prop_map(|(names, optional)| names.into_iter().zip(optional).collect());
    let lenient = prop_oneof![3 => Just(Vec::new()), 1 => subsequence(NAMES.to_vec(), 1..=2)];
    (on, per, condition(), condition(), quota(), prop::bool::weighted(0.1), lenient).prop_map(
        |(on, per, when, unless, quota, is_shadow, lenient_without)| Limit {
            on,
            per,
            when,
            unless,
            quota,
            is_shadow,
            lenient_without,
        },
    )
}

fn small() -> impl Strategy<Value = Small> {
    let sources = prop::collection::vec(0_usize..3, 4);
    (sources, prop::collection::vec(limit(), 1..4)).prop_map(|(sources, limits)| Small { sources, limits })
}

fn written(small: &Small) -> String {
    let mut text = String::from("name = \"small\"\n[attributes]\n");
    for ((name, ways), way) in SOURCES.iter().zip(&small.sources) {
        text += &format!("{name} = {}\n", ways[*way]);
    }
    text += "[operations]\nsend = { routes = \"GET /send\" }\nlist = { routes = \"GET /list\" }\n";
    text += "item = { routes = \"GET /items/{id}\" }\n";
    for (index, limit) in small.limits.iter().enumerate() {
        text += &format!("[[limit]]\nname = \"l{index}\"\nquota = {}\n", quota_text(&limit.quota));
        if let Some(on) = &limit.on {
            text += &format!("on = {on:?}\n");
        }
        let per: Vec<String> =
            limit.per.iter().map(|(name, optional)| format!("{name}{}", if *optional { "?" } else { "" })).collect();
        text += &format!("per = {per:?}\n");
        for (key, condition) in [("when", &limit.when), ("unless", &limit.unless)] {
            if let Some((name, values)) = condition {
                text += &format!("{key} = {{ {name} = {values:?} }}\n");
            }
        }
        if limit.is_shadow {
            text += "mode = \"shadow\"\n";
        }
        if !limit.lenient_without.is_empty() {
            text += &format!("lenient_without = {:?}\n", limit.lenient_without);
        }
    }
    text
}

fn quota_text(quota: &Quota) -> String {
    match quota {
        Quota::Fixed(amount) => format!("\"{amount}/min\""),
        Quota::Unlimited => "\"unlimited\"".to_owned(),
        Quota::By(by, cases, default) => {
            let default = default.as_ref().map(|default| format!("default = {}", quota_text(default)));
            let cases = cases.iter().map(|(value, case)| format!("{value} = {}", quota_text(case)));
            let members: Vec<String> = default.into_iter().chain(cases).collect();
            format!("{{ by = \"{by}\", {} }}", members.join(", "))
        }
    }
}

/// One request: what is in each header.
type Headers = [Option<&'static str>; 3];

fn all_headers() -> Vec<Headers> {
    let mut all = Vec::new();
    for a in HEADERS[0].1 {
        for b in HEADERS[1].1 {
            all.extend(HEADERS[2].1.map(|c| [a, b, c]));
        }
    }
    all
}

/// What the real policy makes of a request: its attributes, and the amount of each limit that applies.
struct Seen {
    /// Whether it has no header.
    is_bare: bool,
    values: BTreeMap<&'static str, String>,
    amounts: BTreeMap<usize, u64>,
}

fn seen(lowered: &Lowered, path: &str, headers: Headers) -> Seen {
    let mut map = HeaderMap::new();
    for ((name, _), value) in HEADERS.iter().zip(headers) {
        if let Some(value) = value {
            map.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
    }
    let route = lowered.intake.route(&Method::GET, path).expect("a path");
    let peer = "192.0.2.7".parse().ok();
    let asked = Asked { peer, host: None, headers: &map, body: None };
    let now = Timestamp::from_secs(1_706_774_400);
    let facts = lowered.intake.extract(&lowered.policy, &route, &asked, now).expect("facts");
    let demand = facts.demand(&lowered.policy).expect("a demand").build();
    let values = NAMES.iter().filter_map(|name| Some((*name, demand.value(name)?.to_owned()))).collect();
    let mut list = ChargeList::new();
    let charges = list.resolve(&demand, now);
    let amounts = charges.iter().map(|charge| {
        let index = charge.limit().name()[1..].parse().expect("a number");
        (index, charge.rule().quota().amount)
    });
    Seen { is_bare: headers == [None; 3], values, amounts: amounts.collect() }
}

/// All requests to one operation.
fn all_seen(lowered: &Lowered, paths: &[&str]) -> Vec<Seen> {
    let requests = paths.iter().flat_map(|path| all_headers().into_iter().map(move |headers| (path, headers)));
    requests.map(|(path, headers)| seen(lowered, path, headers)).collect()
}

/// Whether some request has less of a limit than the same one has without the headers that an attribute comes from.
fn grows(
    small: &Small,
    lowered: &Lowered,
    limit: usize,
    name: &str,
    is_more: impl Fn(u64, Option<u64>) -> bool,
) -> bool {
    let left_out: &[usize] = match (name, small.sources[0], small.sources[1]) {
        ("a", 2, _) | ("b", 2, 2) => &[0, 1],
        ("a", ..) | ("b", _, 2) => &[0],
        ("b", ..) => &[1],
        ("c", ..) => &[2],
        _ => &[],
    };
    let requests = PATHS
        .iter()
        .flat_map(|(_, paths)| *paths)
        .flat_map(|path| all_headers().into_iter().map(move |headers| (path, headers)));
    requests.into_iter().any(|(path, headers)| {
        let mut without = headers;
        left_out.iter().for_each(|place| without[*place] = None);
        let [less, more] = [headers, without].map(|headers| seen(lowered, path, headers).amounts.get(&limit).copied());
        less.is_some_and(|less| is_more(less, more))
    })
}

/// The limit that a problem is about, and the attribute that it names, if it names one.
fn about(text: &str, problem: &tidegate_policy::Problem) -> (usize, String) {
    let before = &text[..problem.span.start];
    let limit = before.matches("[[limit]]").count() - 1;
    (limit, problem.message.rsplit('`').nth(1).unwrap_or_default().to_owned())
}

/// Whether what applies to a request without headers follows from its operation: the lint then claims to be exact.
fn is_certain(limit: &Limit, small: &Small) -> bool {
    let conditions = limit.when.iter().chain(&limit.unless).map(|(name, _)| *name);
    let mut depends_on = conditions.chain(choosers(&limit.quota));
    small.sources[1] != 1 || !depends_on.any(|name| name == "b")
}

fn choosers(quota: &Quota) -> Vec<&'static str> {
    match quota {
        Quota::Fixed(_) | Quota::Unlimited => Vec::new(),
        Quota::By(by, cases, default) => {
            let inner = cases.iter().map(|(_, case)| case).chain(default.as_deref());
            std::iter::once(*by).chain(inner.flat_map(choosers)).collect()
        }
    }
}

fn settings() -> ProptestConfig {
    let cases = std::env::var("TIDEGATE_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(3_000);
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(settings())]

    #[test]
    fn warnings_say_what_is_so_and_all_that_is(small in small()) {
        let text = written(&small);
        let lowered = lower(&Source { name: "small.toml", text: &text }, 1).unwrap_or_else(|found| panic!("{found}"));
        let seen: Vec<(&str, Vec<Seen>)> = PATHS.iter().map(|(name, paths)| (*name, all_seen(&lowered, paths))).collect();
        let applies = |limit: usize| seen.iter().flat_map(|(_, seen)| seen).any(|seen| seen.amounts.contains_key(&limit));
        let is_enforced = |limit: &usize| lowered.policy.limits()[*limit].mode() == Mode::Enforce;
        let bare_is_limited = |seen: &[Seen]| {
            seen.iter().any(|seen| seen.is_bare && seen.amounts.keys().any(is_enforced))
        };
        let mut evaded: BTreeSet<usize> = BTreeSet::new();
        // Attributes that come from one header, the lint looks at one by one: they may have no values together that it
        // takes for possible.
        let shares_no_header = small.sources[0] != 2 && small.sources[1] != 2;
        let mut larger: BTreeSet<(usize, String)> = BTreeSet::new();
        let of_limits = ["W041", "W042", "W044", "W045"];
        for problem in lowered.warnings.iter().filter(|problem| of_limits.contains(&problem.code)) {
            let (limit, attribute) = about(&text, problem);
            match problem.code {
                "W041" => prop_assert!(!applies(limit), "{}\n{}", text, lowered.warnings),
                "W042" => {
                    // What no request has, none of those has that the limit could be on.
                    let value = problem.message.split('`').nth(1).expect("a value");
                    let on = &small.limits[limit].on;
                    let met = seen.iter().filter(|(name, _)| on.as_ref().is_none_or(|on| on.contains(name)));
                    let has = met.flat_map(|(_, seen)| seen).any(|seen| seen.values.get(&*attribute).is_some_and(|own| own == value));
                    prop_assert!(!has, "{}\n{}", text, lowered.warnings);
                }
                "W044" => {
                    evaded.insert(limit);
                    larger.insert((limit, attribute.clone()));
                    let operation = problem.label.rsplit('`').nth(1).expect("an operation");
                    let (_, seen) = seen.iter().find(|(name, _)| *name == operation).expect("an operation");
                    prop_assert!(!bare_is_limited(seen), "{}\n{}", text, lowered.warnings);
                    let applies = seen.iter().any(|seen| seen.amounts.contains_key(&limit));
                    prop_assert!(applies || !shares_no_header, "{}\n{}", text, lowered.warnings);
                    prop_assert!(!small.limits[limit].lenient_without.contains(&&*attribute));
                }
                "W045" => {
                    larger.insert((limit, attribute.clone()));
                    let grows = grows(&small, &lowered, limit, &attribute, |less, more| more.is_none_or(|more| more > less));
                    prop_assert!(grows || !shares_no_header, "{}\n{}", text, lowered.warnings);
                }
                _ => {}
            }
        }
        // All that is so: an operation on which something can be refused, and nothing once headers are left out.
        let all_certain = small.limits.iter().all(|limit| is_certain(limit, &small));
        if all_certain && small.limits.iter().all(|limit| limit.lenient_without.is_empty()) {
            for (operation, seen) in &seen {
                let is_limited = seen.iter().any(|seen| seen.amounts.keys().any(is_enforced));
                let is_evaded = is_limited && !bare_is_limited(seen);
                let on_it = |limit: &usize| small.limits[*limit].on.as_ref().is_none_or(|on| on.contains(operation));
                prop_assert!(!is_evaded || evaded.iter().any(on_it), "{operation}\n{}\n{}", text, lowered.warnings);
            }
            for (limit, name) in (0..small.limits.len()).flat_map(|limit| NAMES.map(|name| (limit, name))) {
                let is_more = |less, more: Option<u64>| more.is_some_and(|more| more > less);
                let is_said = !is_enforced(&limit) || larger.contains(&(limit, name.to_owned()));
                let is_chosen_by = choosers(&small.limits[limit].quota).contains(&name);
                if !is_said && is_chosen_by && shares_no_header {
                    let grows = grows(&small, &lowered, limit, name, is_more);
                    prop_assert!(!grows, "{name} of l{limit}\n{}\n{}", text, lowered.warnings);
                }
            }
        }
    }
}
