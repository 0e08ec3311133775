//! From a question or a request to an explanation: which limits apply, why others do not, and how the answer is spelled.
//!
//! Nothing is charged. What is told of counters is what the caller's peek says; what would be told if the demand were
//! refused, or admitted, is decided on counters that are used up, or fresh.

mod told;

use tidegate_core::{
    Align, AttributeId, Basis, Chosen, Condition, Decision, Demand, Explained, Limit, Origin, Policy, Purpose, Reason,
    Recorded, Rule, Selected, Span, Status, Timestamp, Wait, decide,
};
use tidegate_policy::question::{Question, Request};
use tidegate_policy::{Facts, Finding, Sourced, TokenFault, TrustedBy};

pub use told::{
    Explanation, Seconds, ToldAnswer, ToldAnswers, ToldAttribute, ToldDistinct, ToldFault, ToldLimit, ToldPlace,
    ToldQuota, ToldReason, ToldRecord, ToldRequest, ToldStanding, ToldStep, ToldToken,
};

use crate::Api;

/// Most operations that a reason names.
const MOST_OPERATIONS: usize = 12;

/// What is asked about.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'q> {
    /// The request that facts are taken from, if there is one.
    pub request: Option<&'q Request<'q>>,
    /// What is said directly: it adds to the facts of the request, or overrides them.
    pub question: &'q Question<'q>,
    /// How it was said, for the origin of attributes: `given`.
    pub said: &'q str,
}

/// Explains what would be answered at `now`, which is for the times in a request's token; `peek` looks at the counters.
pub fn explain(
    api: &Api,
    subject: Subject<'_>,
    now: Timestamp,
    peek: impl for<'d> FnOnce(&'d Demand<'d>) -> Decision<'d>,
) -> Explanation {
    let mut told = Explanation {
        policy: api.policy.name().to_owned(),
        version: api.policy.version(),
        at: now.into(),
        ..Explanation::default()
    };
    let Some(request) = subject.request else {
        let demand = subject.question.demand().set_purpose(Purpose::Peek).build();
        about(api, subject, &Origins { route: None, sources: &[] }, &demand, peek, &mut told);
        return told;
    };
    let (method, path) = (request.method.to_string(), request.target.to_string());
    told.request = Some(ToldRequest { method, path, route: None });
    let understood = understand(api, request, now, &mut told);
    let (facts, sources) = match understood {
        Ok(understood) => understood,
        Err(fault) => {
            told.bad_request = Some(fault);
            return told;
        }
    };
    let mut demand = match facts.demand(&api.policy) {
        Ok(demand) => demand,
        Err(error) => {
            told.bad_request = Some(ToldFault { place: "request".to_owned(), message: error.to_string() });
            return told;
        }
    };
    subject.question.add_to(&mut demand);
    let demand = demand.set_purpose(Purpose::Peek).build();
    let route = told.request.as_ref().and_then(|request| request.route.clone());
    let origins = Origins { route: Some(route.as_deref()), sources: &sources };
    about(api, subject, &origins, &demand, peek, &mut told);
    told
}

/// The facts of a request and where they came from.
fn understand(
    api: &Api,
    request: &Request<'_>,
    now: Timestamp,
    told: &mut Explanation,
) -> Result<(Facts, Vec<Sourced>), ToldFault> {
    let fault = |bad: tidegate_policy::BadRequest| ToldFault {
        place: bad.place().to_owned(),
        message: bad.message().to_owned(),
    };
    let route = api.intake.route(&request.method, &request.target).map_err(fault)?;
    if let Some(told) = &mut told.request {
        told.path = route.target().to_owned();
        told.route = api.intake.template(&route);
    }
    let understood = api.intake.explain(&api.policy, &route, &request.asked(), now).map_err(fault)?;
    told.token = understood.token.map(|verdict| token(&api.policy, verdict));
    Ok((understood.facts, understood.attributes))
}

fn token(policy: &Policy, verdict: Result<TrustedBy<'_>, TokenFault>) -> ToldToken {
    let why = match verdict {
        Ok(TrustedBy::Secret(attribute)) => {
            format!("the secret of its {} verifies it", policy.attribute_name(attribute))
        }
        Ok(TrustedBy::Key(key, algorithm)) => format!("key {} verifies it by {algorithm}", key.name()),
        Ok(TrustedBy::Upstream) => "the upstream verifies it".to_owned(),
        Ok(_) => "it is vouched for".to_owned(),
        Err(fault) => fault.to_string(),
    };
    ToldToken { counts: verdict.is_ok(), why }
}

/// Where a demand's attributes can have come from, beside what was said.
struct Origins<'o> {
    /// The route of a request, or that none fits; `None` if there is no request.
    route: Option<Option<&'o str>>,
    sources: &'o [Sourced],
}

fn about<'d>(
    api: &Api,
    subject: Subject<'_>,
    origins: &Origins<'_>,
    demand: &'d Demand<'d>,
    peek: impl FnOnce(&'d Demand<'d>) -> Decision<'d>,
    told: &mut Explanation,
) {
    let policy = demand.policy();
    let decision = peek(demand);
    let recorded = policy.recorded(demand);
    told.at = decision.at().into();
    told.operation = Some(policy.operation(demand.operation()).name().to_owned());
    told.attributes = attributes(demand, subject, origins, &recorded);
    told.records = recorded.iter().map(|by| record(policy, by)).collect();
    let units = policy.unit_names().filter_map(|name| Some((name, policy.unit(name)?)));
    told.cost = units.filter_map(|(name, unit)| Some((name.to_owned(), demand.cost(unit)?))).collect();
    told.allowed = Some(decision.is_admitted());
    told.binding = decision.binding().map(|ruling| ruling.name().to_owned());
    let explained = policy.explain(demand, decision.at());
    told.limits = explained.iter().map(|explained| limit(policy, explained, &decision)).collect();
    told.answers = answers(api, demand, &decision);
}

fn attributes(
    demand: &Demand<'_>,
    subject: Subject<'_>,
    origins: &Origins<'_>,
    recorded: &[Recorded<'_>],
) -> Vec<ToldAttribute> {
    let policy = demand.policy();
    let mut told = Vec::new();
    for name in policy.attribute_names() {
        let Some(attribute) = policy.attribute(name) else { continue };
        let value = demand.attributes().value(attribute);
        let sourced = origins.sources.iter().find(|sourced| sourced.attribute == attribute);
        let places = sourced.map_or(&[][..], |sourced| &sourced.places);
        let from = value.map(|value| match attribute {
            _ if subject.question.has(attribute) => subject.said.to_owned(),
            AttributeId::OPERATION => match origins.route {
                Some(Some(_)) => "the route".to_owned(),
                Some(None) => "no route fits: the default operation".to_owned(),
                None => "the default operation".to_owned(),
            },
            AttributeId::CLASS => "the operation".to_owned(),
            AttributeId::METHOD if origins.route.is_some() => "the request".to_owned(),
            AttributeId::METHOD => "the operation's routes".to_owned(),
            AttributeId::PLAN => plan_origin(policy, value, recorded, places),
            _ => taken(places),
        });
        let places = places
            .iter()
            .map(|(place, finding)| ToldPlace { place: place.clone(), finding: finding_name(*finding).to_owned() });
        told.push(ToldAttribute {
            name: name.to_owned(),
            value: value.map(str::to_owned),
            from,
            places: places.collect(),
        });
    }
    told
}

/// Of a plan that was not said directly: the first record's that names one, else the request's, else the default.
fn plan_origin(policy: &Policy, plan: &str, recorded: &[Recorded<'_>], places: &[(String, Finding)]) -> String {
    match recorded.iter().find(|by| by.record.plan().is_some()) {
        Some(by) => format!("the record of {} `{}`", policy.attribute_name(by.attribute), by.value),
        None if places.iter().any(|(_, finding)| *finding == Finding::Taken) => taken(places),
        None if policy.default_plan() == Some(plan) => "the default plan".to_owned(),
        None => "the request".to_owned(),
    }
}

fn taken(places: &[(String, Finding)]) -> String {
    let taken = places.iter().find(|(_, finding)| *finding == Finding::Taken);
    taken.map_or_else(|| "the request".to_owned(), |(place, _)| place.clone())
}

fn finding_name(finding: Finding) -> &'static str {
    match finding {
        Finding::Taken => "taken",
        Finding::Absent => "absent",
        Finding::Unmapped => "unmapped",
        Finding::Unread => "unread",
    }
}

fn record(policy: &Policy, by: &Recorded<'_>) -> ToldRecord {
    ToldRecord {
        attribute: policy.attribute_name(by.attribute).to_owned(),
        value: by.value.to_owned(),
        plan: by.record.plan().map(str::to_owned),
        created: by.record.created().map(Seconds::from),
    }
}

fn limit(policy: &Policy, explained: &Explained<'_>, decision: &Decision<'_>) -> ToldLimit {
    let limit = explained.limit;
    let ruling = decision.rulings().find(|ruling| std::ptr::eq(ruling.charge.limit(), limit));
    let binds = decision.binding().is_some_and(|binding| std::ptr::eq(binding.charge.limit(), limit));
    let mut origin = Vec::new();
    explained.origin.iter().for_each(|from| steps(policy, from, None, &mut origin));
    let name = |attribute: AttributeId| policy.attribute_name(attribute).to_owned();
    ToldLimit {
        name: limit.name().to_owned(),
        mode: limit.mode().name().to_owned(),
        count_refused: limit.counts_refused(),
        on_store_error: limit.on_store_error().name().to_owned(),
        unit: policy.counted(limit).to_owned(),
        distinct: limit.distinct().map(|of| ToldDistinct {
            attribute: name(of.attribute()),
            value: decision.demand().attributes().value(of.attribute()).map(str::to_owned),
            seen: ruling.map(|ruling| ruling.basis == Basis::Seen),
        }),
        applies: explained.applies(),
        binds,
        reasons: explained.reasons.iter().map(|reason| told_reason(policy, reason)).collect(),
        quota: explained.origin.as_ref().and_then(|origin| origin.rule).map(quota),
        origin,
        counter: explained.counter.iter().map(|(of, value)| (name(*of), value.map(str::to_owned))).collect(),
        standing: ruling
            .map(|ruling| ToldStanding::of(ruling.rule().limit(), ruling.charge.need(), ruling.status, ruling.basis)),
    }
}

fn quota(rule: &Rule) -> ToldQuota {
    let quota = rule.quota();
    ToldQuota {
        amount: quota.amount,
        window_s: Some(Seconds::from(quota.window)).filter(|window| window.0 > 0),
        burst: quota.burst,
        algorithm: rule.algorithm().name().to_owned(),
        align: match quota.align {
            Align::Clock => None,
            Align::First => Some("first-request".to_owned()),
            Align::Calendar(calendar) => Some(calendar.name().to_owned()),
        },
    }
}

impl ToldStanding {
    /// How a counter stands for a demand that needs so many units.
    pub fn of(limit: u64, need: u64, status: Status, basis: Basis) -> ToldStanding {
        ToldStanding {
            fits: status.fits(),
            need: if basis == Basis::Seen { 0 } else { need },
            limit,
            remaining: status.remaining,
            reset_after_s: status.reset_after.into(),
            retry_after_s: match status.retry_after {
                Wait::None => Some(Seconds(0)),
                Wait::For(span) => Some(span.into()),
                Wait::Release | Wait::Never => None,
            },
            awaits_release: status.retry_after == Wait::Release,
            basis: basis.name().map(str::to_owned),
        }
    }
}

fn told_reason(policy: &Policy, reason: &Reason<'_>) -> ToldReason {
    let name = |attribute: AttributeId| policy.attribute_name(attribute);
    let (kind, message) = match reason {
        Reason::OtherOperation { on } => {
            let names: Vec<String> =
                on.iter().take(MOST_OPERATIONS).map(|on| format!("`{}`", policy.operation(*on).name())).collect();
            let more = on.len().saturating_sub(names.len());
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            let names = if names.is_empty() { "no operation".to_owned() } else { names.join(", ") };
            ("other-operation", format!("it is on {names}{more}"))
        }
        Reason::Missing(attribute) => {
            ("missing-attribute", format!("it counts by `{}`, which is missing", name(*attribute)))
        }
        Reason::Condition { condition, attribute, found } => {
            let found = found.map_or_else(|| "missing".to_owned(), |found| format!("`{found}`"));
            let (Condition::In(_, values) | Condition::NotIn(_, values)) = condition else {
                return ToldReason { kind: "condition".to_owned(), message: "a condition does not hold".to_owned() };
            };
            let values = values.iter().map(|value| format!("`{value}`")).collect::<Vec<_>>().join(", ");
            let expected = match condition {
                Condition::NotIn(..) => format!("none of {values}"),
                _ => format!("one of {values}"),
            };
            ("condition", format!("`{}` is {found}, and it applies where it is {expected}", name(*attribute)))
        }
        Reason::Exempt { by, created, before } => {
            let (created, before) = (Seconds::from(*created), Seconds::from(*before));
            let who = format!("{} `{}`", name(by.attribute), by.value);
            ("exempt", format!("{who} was created at {created}, and it applies from {before} on"))
        }
        Reason::Unlimited => ("unlimited", "its quota is unlimited here".to_owned()),
        Reason::NoCase => ("no-case", "its quota has no case for this demand, and no default".to_owned()),
    };
    ToldReason { kind: kind.to_owned(), message }
}

fn steps(policy: &Policy, origin: &Origin<'_>, of: Option<&str>, told: &mut Vec<ToldStep>) {
    let name = |attribute: AttributeId| policy.attribute_name(attribute);
    let mut say = |kind: &str, message: String| {
        told.push(ToldStep { kind: kind.to_owned(), limit: of.map(str::to_owned), message });
    };
    if let Some(by) = &origin.record {
        say("record", format!("the record of {} `{}` has a quota of its own", name(by.attribute), by.value));
    }
    for chosen in &origin.choices {
        match chosen {
            Chosen::Value { attribute, found, case } => {
                let name = name(*attribute);
                let found = found.map_or_else(|| format!("no {name}"), |found| format!("{name} `{found}`"));
                say("value", format!("{found}: {}", selected(*case, |()| "a case of its own".to_owned())));
            }
            Chosen::Age { of, step } => {
                let age = of.as_ref().map_or_else(
                    || "of unknown age".to_owned(),
                    |(by, age)| format!("{} `{}` is {} old", name(by.attribute), by.value, days(*age)),
                );
                say("age", format!("{age}: {}", selected(*step, |from| format!("the quota from {} on", days(from)))));
            }
        }
    }
    if let Some((base, from)) = &origin.derived {
        let base = policy.limits().get(base.index()).map_or("", Limit::name);
        steps(policy, from, Some(base), told);
        let rule = from.rule.map(Rule::quota);
        let message = match rule {
            Some(quota) => {
                format!("a share of `{base}`, which is {} per {} s here", quota.amount, Seconds::from(quota.window))
            }
            None => format!("a share of `{base}`, which is not limited here"),
        };
        told.push(ToldStep { kind: "derived".to_owned(), limit: of.map(str::to_owned), message });
    }
}

fn selected<T>(case: Selected<T>, own: impl FnOnce(T) -> String) -> String {
    match case {
        Selected::Case(case) => own(case),
        Selected::Default => "the default".to_owned(),
        Selected::Nothing => "no case and no default".to_owned(),
    }
}

/// Whole days, which ages are counted in.
fn days(span: Span) -> String {
    format!("{} d", span.as_micros() / 86_400_000_000)
}

/// How the answer is spelled, and how it would be if it were the other one.
fn answers(api: &Api, demand: &Demand<'_>, decision: &Decision<'_>) -> ToldAnswers {
    let given = Some(spelled(api, decision, None));
    // Counted for its statuses, not as a question: what a peek takes is nothing.
    let asked = demand.with_purpose(Purpose::Once);
    if decision.is_admitted() {
        let binding = decision.binding();
        let refused = binding.and_then(|binding| supposing_used_up(&asked, decision, binding.name()));
        let supposing = binding.map(|binding| match binding.basis {
            Basis::Seen => format!("nothing were left of `{}`, and the value were new", binding.name()),
            _ => format!("nothing were left of `{}`", binding.name()),
        });
        ToldAnswers { admitted: given, refused: refused.map(|refused| spelled(api, &refused, supposing)) }
    } else {
        let admitted = supposing_fresh(&asked, decision);
        let supposing = Some("nothing were used yet".to_owned());
        ToldAnswers { admitted: admitted.map(|admitted| spelled(api, &admitted, supposing)), refused: given }
    }
}

fn spelled(api: &Api, decision: &Decision<'_>, supposing: Option<String>) -> ToldAnswer {
    let fields = api.dialect.render(decision);
    let headers = fields.headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    ToldAnswer { supposing, status: fields.status, headers, body: fields.body().map(str::to_owned) }
}

/// The decision if all of one limit were used, and the rest were as it is.
fn supposing_used_up<'d>(demand: &'d Demand<'d>, decision: &Decision<'_>, limit: &str) -> Option<Decision<'d>> {
    let now = decision.at();
    let supposed = decide(demand, now, |charges, statuses| {
        for (index, (charge, ruling)) in charges.iter().zip(decision.rulings()).enumerate() {
            let status = if charge.limit().name() == limit {
                let mut state = vec![0; charge.rule().state_words()];
                charge.rule().charge(&mut state, charge.rule().limit(), now);
                charge.rule().peek(&state, charge.need().max(1), now)
            } else {
                ruling.status
            };
            statuses.set(index, status, Basis::Counter);
        }
    });
    Some(supposed).filter(|refused| !refused.is_admitted())
}

/// The decision if every counter were fresh; `None` if not even then it is admitted.
fn supposing_fresh<'d>(demand: &'d Demand<'d>, decision: &Decision<'_>) -> Option<Decision<'d>> {
    let now = decision.at();
    let supposed = decide(demand, now, |charges, statuses| {
        for (index, charge) in charges.iter().enumerate() {
            let mut state = vec![0; charge.rule().state_words()];
            let status = charge.rule().peek(&state, charge.need(), now);
            let status = if status.fits() { charge.rule().charge(&mut state, charge.take(), now) } else { status };
            statuses.set(index, status, Basis::Counter);
        }
    });
    Some(supposed).filter(Decision::is_admitted)
}
