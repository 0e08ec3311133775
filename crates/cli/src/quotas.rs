//! A policy's limits in a table and in words: what each permits at worst.

use serde::Serialize;
use tidegate_core::{
    Algorithm, Align, Case, Choice, Limit, LimitId, Mode, OnStoreError, Per, Policy, Quota, Rule, Span,
};
use tidegate_server::explain::Seconds;

use crate::output::{grouped, span, table};

/// Most quotas of one limit that are listed; of more, the smallest and the largest are, and whether some have none.
const MOST_LISTED: usize = 8;

/// Most operations of one limit that are listed.
const MOST_OPERATIONS: usize = 3;

/// One limit as programs read it.
#[derive(Debug, Serialize)]
pub(crate) struct LimitSummary {
    name: String,
    /// None: on all operations.
    operations: Option<Vec<String>>,
    per: Vec<String>,
    /// The unit it counts, or the attribute whose distinct values it counts.
    unit: String,
    /// The attribute whose distinct values it counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    distinct: Option<String>,
    mode: &'static str,
    /// Whether refused attempts are charged too.
    count_refused: bool,
    /// Where the store has no room.
    on_store_error: &'static str,
    quotas: Vec<QuotaSummary>,
}

/// One of a limit's quotas as programs read it.
#[derive(Debug, Serialize)]
struct QuotaSummary {
    /// The attributes that choose it; null stands for all other values.
    when: std::collections::BTreeMap<String, Option<String>>,
    /// The age from which on it holds, of a quota that is chosen by age; null for the younger.
    #[serde(skip_serializing_if = "Option::is_none")]
    from_age_s: Option<Option<Seconds>>,
    /// None: without limit.
    amount: Option<u64>,
    burst: Option<u64>,
    window_s: Option<Seconds>,
    algorithm: Option<&'static str>,
    /// What it admits at worst; none for concurrency, where nothing bounds how often units are released.
    worst_case: Option<WorstCase>,
}

/// The most units that one counter admits in spans of these lengths.
#[derive(Debug, Serialize)]
struct WorstCase {
    #[serde(rename = "1s")]
    second: u128,
    #[serde(rename = "1min")]
    minute: u128,
    #[serde(rename = "1h")]
    hour: u128,
    #[serde(rename = "1d")]
    day: u128,
    window: u128,
}

/// All limits of a policy as programs read them.
pub(crate) fn summaries(policy: &Policy) -> Vec<LimitSummary> {
    each(policy).map(|(limit, cases)| summary(policy, limit, &cases)).collect()
}

fn summary(policy: &Policy, limit: &Limit, cases: &[Case<'_>]) -> LimitSummary {
    LimitSummary {
        name: limit.name().to_owned(),
        operations: operations_of(policy, limit).map(|names| names.into_iter().map(str::to_owned).collect()),
        per: per_of(policy, limit),
        unit: policy.counted(limit).to_owned(),
        distinct: limit.distinct().map(|of| attribute(policy, of)),
        mode: limit.mode().name(),
        count_refused: limit.counts_refused(),
        on_store_error: limit.on_store_error().name(),
        quotas: cases.iter().map(|case| quota_summary(policy, case)).collect(),
    }
}

fn quota_summary(policy: &Policy, case: &Case<'_>) -> QuotaSummary {
    let value = |choice: &Choice<'_>| match choice {
        Choice::Value(attribute, value) => {
            Some((policy.attribute_name(*attribute).to_owned(), value.map(str::to_owned)))
        }
        Choice::Age(_) => None,
    };
    let age = |choice: &Choice<'_>| match choice {
        Choice::Age(from) => Some(from.map(Seconds::from)),
        Choice::Value(..) => None,
    };
    let rule = case.rule;
    let window = rule.map(|rule| rule.quota().window).filter(|window| !window.is_zero());
    QuotaSummary {
        when: case.choices.iter().filter_map(value).collect(),
        from_age_s: case.choices.iter().find_map(age),
        amount: rule.map(|rule| rule.quota().amount),
        burst: rule.map(|rule| rule.quota().burst),
        window_s: window.map(Seconds::from),
        algorithm: rule.map(|rule| rule.algorithm().name()),
        worst_case: rule.and_then(WorstCase::of),
    }
}

/// All limits of a policy as people read them.
pub(crate) fn text(policy: &Policy) -> String {
    let mut rows = table(["limit", "on", "per", "quota", "at worst"]);
    for (limit, cases) in each(policy) {
        rows.add_row([
            name_text(limit),
            operations_text(policy, limit),
            if limit.per().is_empty() { "everybody together".to_owned() } else { per_of(policy, limit).join(", ") },
            quotas_text(policy, limit, &cases),
            worst_text(policy, limit, &cases),
        ]);
    }
    format!("{}\n", rows.trim_fmt())
}

/// A limit's name, and below it what it does otherwise than most.
fn name_text(limit: &Limit) -> String {
    let shadow = if limit.mode() == Mode::Shadow { " (shadow)" } else { "" };
    let mut text = format!("{}{shadow}", limit.name());
    if limit.counts_refused() {
        text.push_str("\ncounts refused attempts");
    }
    if limit.on_store_error() == OnStoreError::Open {
        text.push_str("\nopen if the store is full");
    }
    text
}

fn each(policy: &Policy) -> impl Iterator<Item = (&Limit, Vec<Case<'_>>)> {
    let ids = policy.limits().iter().filter_map(|limit| Some((limit, policy.limit_named(limit.name())?)));
    ids.map(|(limit, id): (&Limit, LimitId)| (limit, policy.cases(id)))
}

/// The names of the operations that a limit is on; `None` for all.
fn operations_of<'p>(policy: &'p Policy, limit: &Limit) -> Option<Vec<&'p str>> {
    let is_on = |operation: &&tidegate_core::Operation| {
        let id = policy.operation_named(operation.name());
        id.is_some_and(|id| policy.limits_on(id).any(|other| other.identity() == limit.identity()))
    };
    let on: Vec<&str> = policy.operations().iter().filter(is_on).map(tidegate_core::Operation::name).collect();
    if on.len() == policy.operations().len() { None } else { Some(on) }
}

fn operations_text(policy: &Policy, limit: &Limit) -> String {
    match operations_of(policy, limit) {
        None => "all".to_owned(),
        Some(names) if names.len() <= MOST_OPERATIONS => names.join(", "),
        Some(names) => format!("{} and {} more", names[..MOST_OPERATIONS].join(", "), names.len() - MOST_OPERATIONS),
    }
}

fn per_of(policy: &Policy, limit: &Limit) -> Vec<String> {
    limit.per().iter().map(|per| attribute(policy, *per)).collect()
}

fn attribute(policy: &Policy, per: Per) -> String {
    let name = policy.attribute_name(per.attribute());
    if matches!(per, Per::Optional(_)) { format!("{name}?") } else { name.to_owned() }
}

/// What a limit counts, for people: a unit, or distinct values.
fn counted(policy: &Policy, limit: &Limit) -> String {
    let name = policy.counted(limit);
    if limit.distinct().is_some() { format!("distinct {name}s") } else { name.to_owned() }
}

fn quotas_text(policy: &Policy, limit: &Limit, cases: &[Case<'_>]) -> String {
    let unit = &counted(policy, limit);
    if cases.len() <= MOST_LISTED {
        let lines: Vec<String> = cases.iter().map(|case| case_text(policy, case, unit)).collect();
        return lines.join("\n");
    }
    let mut lines: Vec<String> = extremes(cases).into_iter().map(|rule| quota_text(rule, unit)).collect();
    lines.dedup();
    lines.insert(lines.len().min(1), format!("… {} quotas …", cases.len()));
    if is_unlimited(cases) {
        lines.push("unlimited".to_owned());
    }
    lines.join("\n")
}

/// Whether some of those that the limit is about have no quota.
fn is_unlimited(cases: &[Case<'_>]) -> bool {
    cases.iter().any(|case| case.rule.is_none())
}

fn case_text(policy: &Policy, case: &Case<'_>, unit: &str) -> String {
    let quota = case.rule.map_or_else(|| "unlimited".to_owned(), |rule| quota_text(rule, unit));
    let choice = |choice: &Choice<'_>| match choice {
        Choice::Value(_, Some(value)) => (*value).to_owned(),
        Choice::Value(attribute, None) => format!("other {}s", policy.attribute_name(*attribute)),
        Choice::Age(Some(from)) => format!("from {} on", span(*from)),
        Choice::Age(None) => "younger".to_owned(),
    };
    let choices: Vec<String> = case.choices.iter().map(choice).collect();
    if choices.is_empty() { quota } else { format!("{}: {quota}", choices.join(", ")) }
}

fn quota_text(rule: &Rule, unit: &str) -> String {
    let quota = rule.quota();
    let unit = if unit == "requests" { String::new() } else { format!(" {unit}") };
    let amount = format!("{}{unit}", grouped(quota.amount));
    match rule.algorithm() {
        Algorithm::Concurrency => format!("{amount} at a time"),
        Algorithm::TokenBucket if quota.burst != quota.amount => {
            format!("{amount} / {}, burst {}", span(quota.window), grouped(quota.burst))
        }
        _ => format!("{amount} / {}", window_text(quota)),
    }
}

fn window_text(quota: Quota) -> String {
    match quota.align {
        Align::Clock => span(quota.window),
        Align::First => format!("{} from the first", span(quota.window)),
        Align::Calendar(calendar) => calendar.name().to_owned(),
    }
}

/// The spans of which the worst case is told, beside the window itself.
const SPANS: [(&str, Span); 4] = [
    ("1 s", Span::from_secs(1)),
    ("1 min", Span::from_secs(60)),
    ("1 h", Span::from_secs(3_600)),
    ("1 d", Span::from_secs(86_400)),
];

impl WorstCase {
    fn of(rule: &Rule) -> Option<WorstCase> {
        let [second, minute, hour, day] = SPANS.map(|(_, span)| rule.worst_case(span));
        let window = rule.worst_case(rule.quota().window)?;
        Some(WorstCase { second: second?, minute: minute?, hour: hour?, day: day?, window })
    }
}

/// What the quotas admit at worst: for each span, the one that admits most.
fn worst_text(policy: &Policy, limit: &Limit, cases: &[Case<'_>]) -> String {
    let rules: Vec<&Rule> = cases.iter().filter_map(|case| case.rule).collect();
    if let Some(rule) = rules.iter().find(|rule| rule.algorithm() == Algorithm::Concurrency) {
        let most = rules.iter().map(|rule| rule.limit()).max().unwrap_or(rule.limit());
        return format!("{} {} at the same time", grouped(most), policy.unit_name(limit.unit()));
    }
    let windows = rules.iter().map(|rule| rule.quota().window).max();
    let windows = windows.filter(|window| SPANS.iter().all(|(_, span)| span != window));
    let window = windows.map(|window| (span(window), window));
    let spans = SPANS.map(|(name, span)| (name.to_owned(), span));
    let mut lines: Vec<String> = Vec::new();
    let mut spans: Vec<(String, Span)> = spans.into_iter().chain(window).collect();
    spans.sort_by_key(|(_, span)| *span);
    for (name, span) in spans {
        let most = rules.iter().filter_map(|rule| rule.worst_case(span)).max();
        lines.extend(most.map(|most| format!("{} in {name}", grouped(most))));
    }
    match (rules.is_empty(), is_unlimited(cases)) {
        (true, _) => "no bound".to_owned(),
        (false, false) => lines.join("\n"),
        (false, true) => format!("{}\nno bound where unlimited", lines.join("\n")),
    }
}

/// The quota that permits least, and the one that permits most.
fn extremes<'p>(cases: &[Case<'p>]) -> Vec<&'p Rule> {
    let rules = || cases.iter().filter_map(|case| case.rule);
    // By units in a fixed time: amount / window, compared without dividing.
    let share = |rule: &Rule, other: &Rule| {
        u128::from(rule.quota().amount) * u128::from(other.quota().window.as_micros().max(1))
    };
    let least = rules().min_by(|a, b| share(a, b).cmp(&share(b, a)));
    let most = rules().max_by(|a, b| share(a, b).cmp(&share(b, a)));
    least.into_iter().chain(most).collect()
}
