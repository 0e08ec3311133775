//! Policies that are right: the vendors', and `data/good`, where `NAME.txt` says what becomes of `NAME.toml`: its limits,
//! and the charges of the demands that its comments ask, `# ask operation=send app=acme`.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use tidegate_core::{Algorithm, Align, Charge, ChargeList, Cost, Demand, Limit, OnStoreError, Per, Policy, Timestamp};
use tidegate_policy::{Lowered, Source, lower, lower_with};

use crate::diagnostics::open;
use crate::golden::{Golden, data, files};

/// Every `policy.toml` under `vendors/`, with its vendor's name.
pub(crate) fn vendors() -> Vec<(String, PathBuf)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vendors");
    let mut found = Vec::new();
    for entry in fs::read_dir(root).expect("the folder of vendors") {
        let entry = entry.expect("an entry");
        let policy = entry.path().join("policy.toml");
        if policy.exists() {
            found.push((entry.file_name().into_string().expect("a name"), policy));
        }
    }
    found.sort();
    found
}

/// The policy of a text that has no problem, nor a warning.
pub(crate) fn lowered(name: &str, text: &str) -> Lowered {
    let lowered = lower_with(&Source { name, text }, 1, &open).unwrap_or_else(|problems| panic!("{problems}"));
    assert!(lowered.warnings.is_empty(), "{}", lowered.warnings);
    lowered
}

#[test]
fn the_vendors_policies_have_no_problem() {
    assert!(vendors().len() >= 5);
    for (name, path) in vendors() {
        let text = fs::read_to_string(&path).expect("a policy");
        let lowered = lowered(&format!("{name}/policy.toml"), &text);
        assert_eq!(lowered.policy.name(), name);
        assert_eq!(lowered.policy.version(), 1);
    }
}

#[test]
fn policies_become_what_they_say() {
    let mut golden = Golden::default();
    for path in files(&data().join("good"), "toml") {
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name");
        let text = fs::read_to_string(&path).expect("a policy");
        let lowered = lowered(name, &text);
        let mut found = described(&lowered);
        for ask in text.lines().filter_map(|line| line.strip_prefix("# ask")) {
            found += &answered(&lowered.policy, ask);
        }
        golden.compare(&path.with_extension("txt"), &found);
    }
    golden.finish(&data().join("good"));
}

#[test]
fn a_text_lowers_to_the_version_that_is_asked_for() {
    let lowered = lower(&Source { name: "v", text: "name = \"v\"" }, 7).expect("a policy");
    assert_eq!((lowered.policy.version(), lowered.dialect.as_str()), (7, "ietf"));
}

#[test]
fn the_identity_of_a_limit_survives_what_leaves_it_alone() {
    let policy = |text: &str| lowered("x", text).policy;
    let before = policy("name = \"x\"\n[[limit]]\nname = \"a\"\nper = [\"plan\"]\nquota = \"5/min\"\n");
    let after = policy(
        "name = \"x\"\n[operations]\nsend = {}\n[[limit]]\nname = \"b\"\nquota = \"1/s\"\n\
         [[limit]]\nname = \"a\"\nper = [\"plan?\"]\nquota = \"6/h\"\nmode = \"shadow\"\n",
    );
    assert_eq!(before.limits()[0].identity(), after.limits()[1].identity());
    assert_ne!(after.limits()[0].identity(), after.limits()[1].identity());
}

fn described(lowered: &Lowered) -> String {
    let policy = &lowered.policy;
    let mut out = String::new();
    let attributes: Vec<&str> = policy.attribute_names().collect();
    let units: Vec<&str> = policy.unit_names().collect();
    let _ = writeln!(out, "{} in {}, default plan {:?}", policy.name(), lowered.dialect, policy.default_plan());
    let _ = writeln!(out, "attributes {}; units {}", attributes.join(" "), units.join(" "));
    for (at, operation) in policy.operations().iter().enumerate() {
        let default = if at == policy.default_operation().index() { ", the default" } else { "" };
        let (class, method) = (operation.class().unwrap_or("-"), operation.method().unwrap_or("-"));
        let _ = writeln!(out, "operation {}: class {class}, method {method}{default}", operation.name());
    }
    policy.limits().iter().for_each(|limit| out += &described_limit(policy, limit));
    out
}

fn described_limit(policy: &Policy, limit: &Limit) -> String {
    let per = limit.per().iter().map(|per| match per {
        Per::Required(attribute) => policy.attribute_name(*attribute).to_owned(),
        Per::Optional(attribute) => format!("{}?", policy.attribute_name(*attribute)),
    });
    let per = per.collect::<Vec<_>>().join(" ");
    let cost = if limit.cost() == Cost::Settled { ", settled" } else { "" };
    let unit = match limit.distinct() {
        Some(Per::Required(of)) => format!("distinct {}", policy.attribute_name(of)),
        Some(Per::Optional(of)) => format!("distinct {}?", policy.attribute_name(of)),
        None => policy.unit_name(limit.unit()).to_owned(),
    };
    let refused = if limit.counts_refused() { ", refused attempts too" } else { "" };
    let open = if limit.on_store_error() == OnStoreError::Open { ", open on store errors" } else { "" };
    format!("limit {}: per [{per}], {unit}{cost}, {}{refused}{open}\n", limit.name(), limit.mode().name())
}

/// What a demand is charged. The values of its attributes have no spaces.
fn answered(policy: &Policy, ask: &str) -> String {
    let mut demand = Demand::on(policy);
    let mut now = Timestamp::from_secs(1);
    for pair in ask.split_whitespace() {
        let (name, value) = pair.split_once('=').expect("attribute=value");
        if name == "now" {
            now = Timestamp::from_secs(value.parse().expect("seconds since 1970"));
            continue;
        }
        let attribute = policy.attribute(name).unwrap_or_else(|| panic!("no attribute {name}"));
        demand.set(attribute, value).expect("a value that fits");
    }
    let demand = demand.build();
    let plan = demand.value("plan").map(|plan| format!(" (plan {plan})")).unwrap_or_default();
    let header = format!("\nask{ask}{plan}\n");
    let mut charges = ChargeList::new();
    charges.resolve(&demand, now).iter().map(charged).fold(header, |out, charge| out + &charge)
}

fn charged(charge: Charge<'_>) -> String {
    let (rule, quota) = (charge.rule(), charge.rule().quota());
    let algorithm = match rule.algorithm() {
        Algorithm::FixedWindow => "fixed-window".to_owned(),
        Algorithm::SlidingWindow { cells } => format!("sliding-window of {cells}"),
        Algorithm::TokenBucket => format!("token-bucket of {}", quota.burst),
        Algorithm::Concurrency => "concurrency".to_owned(),
    };
    let key: Vec<&str> = charge.key().values().map(|value| value.unwrap_or("-")).collect();
    let (amount, micros) = (quota.amount, quota.window.as_micros());
    let begins = match quota.align {
        Align::Clock => String::new(),
        Align::First => " from the first".to_owned(),
        Align::Calendar(calendar) => format!(" or each {}", calendar.name()),
    };
    format!("  {} [{}]: {amount} in {micros} us{begins}, {algorithm}\n", charge.limit().name(), key.join(" "))
}
