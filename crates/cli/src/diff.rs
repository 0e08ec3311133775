//! `tidegate diff`: what will change, and for whom, when one policy takes the place of another.
//!
//! Both are made into plain facts, each a text under a name; what differs is told. So nothing that a policy can say is
//! passed over: a part that has no words of its own here is told as changed otherwise.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::ExitCode;

use serde_json::json;
use tidegate_core::{
    Algorithm, Align, Case, Choice, Cost, LimitDraft, Mode, Policy, PolicyDraft, Quota, QuotaTree, Span, Timestamp,
};
use tidegate_policy::{From, IntakeDraft, JwtDraft, Lowered, Source, lower_with};
use tidegate_server::explain::Seconds;
use tidegate_server::{Api, beside, vendors};

use crate::args::DiffArgs;
use crate::failure::Failure;
use crate::output::{counted, grouped, print, print_json, span};

/// The facts of one thing, by what they are about: text to show, and what tells it from others of the same text.
type Facts = BTreeMap<String, (String, String)>;

/// What has no words of its own; told only where nothing else is.
const REST: &str = "the rest";

/// The kinds of things that a policy has, in the order they are told.
const KINDS: [&str; 9] = ["policy", "limit", "record", "operation", "route", "attribute", "unit", "tokens", "key"];

pub(crate) fn run(args: &DiffArgs, json: bool) -> Result<ExitCode, Failure> {
    // To compare is to answer no, yes, or not at all: a policy that cannot be read is the last.
    let read = |name: &str| Side::read(name).map_err(Failure::unanswered);
    let (old, new) = (read(&args.old)?, read(&args.new)?);
    let changes = changes(&old, &new);
    if json {
        print_json(&json!({
            "same": changes.is_empty(),
            "old": old.draft.name,
            "new": new.draft.name,
            "changes": changes.iter().map(Change::as_json).collect::<Vec<_>>(),
        }))?;
    } else {
        print(&text(&old, &new, &changes))?;
    }
    Ok(if changes.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// One of the two policies.
struct Side {
    draft: PolicyDraft,
    policy: Policy,
    things: BTreeMap<(&'static str, String), Facts>,
}

impl Side {
    /// The policy of a file, or of `vendor:NAME`.
    fn read(name: &str) -> Result<Side, Failure> {
        let (api, text) = match name.strip_prefix("vendor:") {
            Some(vendor) => {
                let api = Api::vendor(vendor)?;
                let text = vendors::named(vendor).and_then(|vendor| vendor.policy()).unwrap_or_default();
                (api, text.to_owned())
            }
            None => {
                let api = Api::file(Path::new(name))?;
                let text = std::fs::read_to_string(name);
                (api, text.map_err(|error| Failure::because(format!("cannot read {name}"), &error))?)
            }
        };
        let Lowered { policy_draft, intake_draft, .. } =
            lower_with(&Source { name, text: &text }, 1, &beside(Path::new(name))).map_err(Failure::Problems)?;
        let things = things(&api, &policy_draft, &intake_draft);
        Ok(Side { draft: policy_draft, policy: api.policy, things })
    }
}

/// Something that differs.
struct Change {
    kind: &'static str,
    name: String,
    how: &'static str,
    /// What becomes of its counters, of a limit that changed.
    counters: Option<&'static str>,
    aspects: Vec<Aspect>,
}

/// One fact that differs; none on one side where it is not there.
struct Aspect {
    about: String,
    before: Option<String>,
    after: Option<String>,
}

fn changes(old: &Side, new: &Side) -> Vec<Change> {
    let names: BTreeSet<&(&'static str, String)> = old.things.keys().chain(new.things.keys()).collect();
    let mut changes: Vec<Change> = Vec::new();
    for key in names {
        let (before, after) = (old.things.get(key), new.things.get(key));
        let how = match (before, after) {
            (Some(before), Some(after)) if before == after => continue,
            (Some(_), Some(_)) => "changed",
            (Some(_), None) => "removed",
            _ => "added",
        };
        let (kind, name) = key;
        let counters = Some(counters(old, new, name)).filter(|_| *kind == "limit" && how == "changed");
        let none = Facts::new();
        let aspects = aspects(before.unwrap_or(&none), after.unwrap_or(&none));
        changes.push(Change { kind, name: name.clone(), how, counters, aspects });
    }
    let place = |kind: &str| KINDS.iter().position(|known| *known == kind);
    changes.sort_by_key(|change| place(change.kind));
    changes
}

fn aspects(before: &Facts, after: &Facts) -> Vec<Aspect> {
    let abouts: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let mut aspects = Vec::new();
    for about in abouts {
        let (old, new) = (before.get(about), after.get(about));
        if old == new {
            continue;
        }
        let text = |fact: Option<&(String, String)>| fact.map(|(text, _)| text.clone());
        let mut after = text(new);
        if text(old) == after {
            after = after.map(|text| format!("{text}, but not the same"));
        }
        aspects.push(Aspect { about: about.clone(), before: text(old), after });
    }
    if aspects.len() > 1 {
        aspects.retain(|aspect| aspect.about != REST);
    }
    aspects
}

/// What becomes of the counters of a limit that both have.
fn counters(old: &Side, new: &Side, name: &str) -> &'static str {
    let of = |policy: &Policy| -> BTreeMap<String, u128> {
        let Some(id) = policy.limit_named(name) else { return BTreeMap::new() };
        let limit = &policy.limits()[id.index()];
        let cases = policy.cases(id);
        let named = cases.iter().filter_map(|case| Some((case_name(policy, case), limit.counters_of(case.rule?))));
        named.collect()
    };
    let (before, after) = (of(&old.policy), of(&new.policy));
    // Somebody whose case is another one now finds the counter of that one; so any that both have goes on.
    let kept = after.iter().filter(|(case, root)| match before.get(*case) {
        Some(before) => before == *root,
        None => before.values().any(|before| before == *root),
    });
    match kept.count() {
        0 => "begin anew",
        kept if kept == after.len() => "go on",
        _ => "go on for some quotas, begin anew for others",
    }
}

fn case_name(policy: &Policy, case: &Case<'_>) -> String {
    let choice = |choice: &Choice<'_>| match choice {
        Choice::Value(attribute, value) => {
            format!("{} {}", policy.attribute_name(*attribute), value.unwrap_or("\u{0}"))
        }
        Choice::Age(from) => format!("age {}", from.map_or(0, |from| from.as_micros())),
    };
    case.choices.iter().map(choice).collect::<Vec<_>>().join(", ")
}

/// All that a policy says, as facts.
fn things(api: &Api, draft: &PolicyDraft, intake: &IntakeDraft) -> BTreeMap<(&'static str, String), Facts> {
    let mut things = BTreeMap::new();
    let whole: &mut Facts = things.entry(("policy", "as a whole".to_owned())).or_default();
    say(whole, "name", draft.name.clone(), &());
    let serving = &api.serving;
    say(whole, "dialect", api.dialect.name().to_owned(), &api.dialect);
    say(whole, "for", serving.describe(), &());
    say(whole, "upstream", serving.upstream().unwrap_or("the server's").to_owned(), &());
    say(whole, "prefix", if serving.strips_prefix() { "stripped" } else { "forwarded" }.to_owned(), &());
    say(whole, "bases", listed(intake.bases.iter().map(|base| format!("`{base}`"))), &());
    say(whole, "capitals in paths", if intake.ignore_case { "ignored" } else { "told apart" }.to_owned(), &());
    say(whole, "operation of what no route matches", draft.default_operation.clone(), &());
    say(whole, "plan of those that have none", draft.default_plan.clone().unwrap_or("none".to_owned()), &());
    say(whole, "client's address", "as [client] says".to_owned(), &intake.client);
    for limit in &draft.limits {
        things.insert(("limit", limit.name.clone()), limit_facts(limit));
    }
    for (attribute, values) in &draft.records {
        for (value, record) in values {
            let facts: &mut Facts = things.entry(("record", format!("{attribute} {value}"))).or_default();
            record.plan.iter().for_each(|plan| say(facts, "plan", plan.clone(), &()));
            record.created.iter().for_each(|created| say(facts, "created", date(*created), &()));
            for (limit, quota) in &record.limits {
                quotas(facts, &format!("quota of {limit}"), quota);
            }
        }
    }
    for operation in &draft.operations {
        let facts = things.entry(("operation", operation.name.clone())).or_default();
        operation.class.iter().for_each(|class| say(facts, "class", class.clone(), &()));
    }
    for route in &intake.routes {
        let facts = things.entry(("route", format!("{} {}", route.method, route.template))).or_default();
        say(facts, "leads to", route.operation.clone(), &());
    }
    for name in &draft.attributes {
        things.insert(("attribute", name.clone()), Facts::new());
    }
    for attribute in &intake.attributes {
        let facts = things.entry(("attribute", attribute.name.clone())).or_default();
        let from = attribute.sources.iter().map(|source| listed(source.from.iter().map(source_name)));
        say(facts, "from", listed(from), &attribute.sources);
    }
    for name in &draft.units {
        let facts = things.entry(("unit", name.clone())).or_default();
        let costs: Vec<_> = intake.costs.iter().filter(|cost| cost.unit == *name).collect();
        let settles: Vec<_> = intake.settles.iter().filter(|settle| settle.unit == *name).collect();
        if !costs.is_empty() {
            say(facts, "cost", "stated by the request".to_owned(), &costs);
        }
        if !settles.is_empty() {
            say(facts, "settle", "stated by the response".to_owned(), &settles);
        }
    }
    if let Some(jwt) = &intake.jwt {
        tokens(jwt, &mut things);
    }
    things
}

/// Where tokens are, and what verifies them.
fn tokens(jwt: &JwtDraft, things: &mut BTreeMap<(&'static str, String), Facts>) {
    let facts = things.entry(("tokens", "[jwt]".to_owned())).or_default();
    say(facts, "from", listed(jwt.from.iter().map(source_name)), &());
    let others = match (&jwt.keys, jwt.upstream_verifies) {
        (Some(_), _) => "keys",
        (None, true) => "the upstream",
        (None, false) => "nothing",
    };
    say(facts, "verified, where no record has a secret, by", others.to_owned(), &());
    if let Some(keys) = &jwt.keys {
        let algorithms = listed(keys.algorithms.iter().map(|algorithm| algorithm.name().to_owned()));
        say(facts, "algorithms", some_or(algorithms, "those of the keys"), &());
        say(facts, "issuer", some_or(listed(keys.issuers.iter().cloned()), "any"), &());
        say(facts, "audience", some_or(listed(keys.audiences.iter().cloned()), "any"), &());
        say(facts, "leeway", span(keys.leeway), &());
    }
    say(facts, REST, "as written".to_owned(), jwt);
    let mut unnamed = 0..;
    for key in jwt.keys.iter().flat_map(|keys| &keys.keys) {
        // A secret without a name has nothing that tells it from others and may be shown but its place.
        let name = match key.id() {
            None if key.is_secret() => format!("secret {}", unnamed.next().unwrap_or(0) + 1),
            None => key.thumbprint(),
            Some(id) => id.to_owned(),
        };
        let facts = things.entry(("key", name)).or_default();
        let algorithms = listed(key.algorithms().map(|algorithm| algorithm.name().to_owned()));
        let shown = if key.is_secret() { "not shown".to_owned() } else { key.thumbprint() };
        say(facts, "is", key.kind(), &());
        say(facts, "for", algorithms, &());
        say(facts, "thumbprint", shown, &key.thumbprint());
    }
    // Secrets are compared, and never shown.
    for ((attribute, value), secret) in &jwt.secrets {
        let facts = things.entry(("record", format!("{attribute} {value}"))).or_default();
        say(facts, "secret", "not shown".to_owned(), secret);
    }
}

fn say(facts: &mut Facts, about: &str, text: String, whole: &dyn std::fmt::Debug) {
    facts.insert(about.to_owned(), (text, format!("{whole:?}")));
}

fn limit_facts(limit: &LimitDraft) -> Facts {
    let mut facts = Facts::new();
    let per = limit.per.iter().map(|(name, optional)| if *optional { format!("{name}?") } else { name.clone() });
    say(&mut facts, "per", some_or(listed(per), "everybody together"), &());
    say(&mut facts, "on", limit.on.as_ref().map_or("all operations".to_owned(), |on| listed(on.iter().cloned())), &());
    match &limit.distinct {
        Some((name, is_optional)) => {
            let name = if *is_optional { format!("{name}?") } else { name.clone() };
            say(&mut facts, "unit", format!("distinct {name}"), &());
        }
        None => say(&mut facts, "unit", limit.unit.clone(), &()),
    }
    say(&mut facts, "mode", if limit.mode == Mode::Shadow { "shadow" } else { "enforce" }.to_owned(), &());
    say(&mut facts, "algorithm", algorithm(limit.algorithm), &());
    if limit.cost == Cost::Settled {
        say(&mut facts, "cost", "known afterwards".to_owned(), &());
    }
    if limit.count_refused {
        say(&mut facts, "refused attempts", "counted too".to_owned(), &());
    }
    say(&mut facts, "if the store has no room", limit.on_store_error.name().to_owned(), &());
    for (kind, conditions) in [("when", &limit.when), ("unless", &limit.unless)] {
        for (attribute, values) in conditions {
            say(&mut facts, &format!("{kind} {attribute}"), listed(values.iter().cloned()), &());
        }
    }
    if let Some(instant) = limit.exempt_created_before {
        say(&mut facts, "exempt created before", date(instant), &());
    }
    quotas(&mut facts, "quota", &limit.quota);
    say(&mut facts, REST, "as written".to_owned(), limit);
    facts
}

/// Every quota of a tree, each under what leads to it.
fn quotas(facts: &mut Facts, about: &str, tree: &QuotaTree) {
    match tree {
        QuotaTree::Fixed(quota) => say(facts, about, quota_text(*quota), &()),
        QuotaTree::Unlimited => say(facts, about, "unlimited".to_owned(), &()),
        QuotaTree::By { attribute, cases, default } => {
            for (value, case) in cases {
                quotas(facts, &format!("{about}, {attribute} {value}"), case);
            }
            match default {
                Some(default) => quotas(facts, &format!("{about}, other {attribute}s"), default),
                None => say(facts, &format!("{about}, other {attribute}s"), "unlimited".to_owned(), &()),
            }
        }
        QuotaTree::ByAge { steps, default } => {
            for (from, step) in steps {
                quotas(facts, &format!("{about}, from the age of {}", span(*from)), step);
            }
            default.iter().for_each(|default| quotas(facts, &format!("{about}, younger"), default));
        }
        QuotaTree::Derived { of, numerator, denominator, window, align } => {
            say(facts, about, format!("{numerator}/{denominator} of {of} per {}", window_text(*window, *align)), &());
        }
    }
}

fn quota_text(quota: Quota) -> String {
    let amount = grouped(quota.amount);
    if quota.window.is_zero() {
        return format!("{amount} at a time");
    }
    let window = window_text(quota.window, quota.align);
    if quota.burst == quota.amount {
        return format!("{amount} / {window}");
    }
    format!("{amount} / {window}, burst {}", grouped(quota.burst))
}

fn window_text(window: Span, align: Align) -> String {
    match align {
        Align::Calendar(calendar) => calendar.name().to_owned(),
        Align::First => format!("{} from the first request", span(window)),
        Align::Clock => span(window),
    }
}

fn algorithm(algorithm: Algorithm) -> String {
    match algorithm {
        Algorithm::SlidingWindow { cells } => format!("{} of {cells} cells", algorithm.name()),
        _ => algorithm.name().to_owned(),
    }
}

/// An instant in seconds since 1970, as answers have it.
fn date(instant: Timestamp) -> String {
    Seconds::from(instant).to_string()
}

/// A source as policies write it.
fn source_name(from: &From) -> String {
    let debug = format!("{from:?}");
    let (kind, rest) = debug.split_once('(').unwrap_or((&debug, ""));
    let value = rest.trim_end_matches(')').trim_matches('"');
    let kind = kind.to_ascii_lowercase();
    if value.is_empty() { kind } else { format!("{kind}:{value}") }
}

fn listed(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(", ")
}

fn some_or(text: String, otherwise: &str) -> String {
    if text.is_empty() { otherwise.to_owned() } else { text }
}

impl Change {
    fn as_json(&self) -> serde_json::Value {
        let aspect = |aspect: &Aspect| json!({ "about": aspect.about, "before": aspect.before, "after": aspect.after });
        json!({
            "kind": self.kind,
            "name": self.name,
            "change": self.how,
            "counters": self.counters,
            "aspects": self.aspects.iter().map(aspect).collect::<Vec<_>>(),
        })
    }
}

fn text(old: &Side, new: &Side, changes: &[Change]) -> String {
    if changes.is_empty() {
        return format!("policy `{}`: no difference\n", new.draft.name);
    }
    let mut text = format!("policy `{}`: {}\n", new.draft.name, counted(changes.len() as u64, "difference"));
    if old.draft.name != new.draft.name {
        text.push_str(&format!("it was `{}`: all counters begin anew\n", old.draft.name));
    }
    for change in changes {
        text.push_str(&format!("\n{} `{}` {}", change.kind, change.name, change.how));
        change.counters.iter().for_each(|counters| text.push_str(&format!("; its counters {counters}")));
        text.push('\n');
        for Aspect { about, before, after } in &change.aspects {
            let line = match (before, after) {
                (Some(before), Some(after)) => format!("  {about}: {before} → {after}\n"),
                (Some(before), None) if change.how == "changed" => format!("  {about}: {before} → nothing\n"),
                (None, Some(after)) if change.how == "changed" => format!("  {about}: nothing → {after}\n"),
                (Some(fact), None) | (None, Some(fact)) => format!("  {about}: {fact}\n"),
                (None, None) => continue,
            };
            text.push_str(&line);
        }
    }
    text
}
