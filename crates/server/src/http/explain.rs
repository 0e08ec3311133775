//! `/v1/explain`: why each limit applies to a question or does not, or did in a refusal that is still kept; and
//! `/v1/decisions`: the refusals that are.

use std::fmt::Write;

use http::StatusCode;
use tidegate_core::{Basis, decide};
use tidegate_limiter::Clock;
use tidegate_policy::question::{BadQuestion, Json, Question, Request};

use super::answer;
use super::bounds::MAX_DECISIONS;
use super::extract::{query, served, served_by_query};
use super::respond::{Problem, written};
use crate::explain::{Explanation, Seconds, Subject, ToldAttribute, ToldDistinct, ToldLimit, ToldStanding, explain};
use crate::refusals::{DecisionId, KEPT, Refusal};
use crate::{Api, Engine};

/// The answer to a body: a question as of `/v1/check`, or a request as traces tell it, or both.
pub(super) fn asked<C: Clock>(engine: &Engine<C>, body: &[u8]) -> Result<String, Problem> {
    if body.trim_ascii().is_empty() {
        let problem = Problem::new(StatusCode::BAD_REQUEST, "the body is empty").at("body");
        return Err(problem.help("send {\"attributes\":{…}} or {\"request\":{\"method\":…,\"path\":…}}"));
    }
    let members = ["policy", "attributes", "cost", "request"];
    let [name, attributes, cost, request] = Json::parse(body)?.known_members(members)?;
    let name = name.map(Json::string).transpose().map_err(|bad| bad.inside("policy"))?;
    let book = engine.book();
    let api = served(&book, name.as_deref()).map_err(|bad| bad.inside("policy"))?;
    if attributes.is_none() && request.is_none() {
        let bad = BadQuestion::new("missing").help("give `attributes`, `request` or both");
        return Err(bad.inside("attributes").into());
    }
    let request = request.map(Request::read).transpose().map_err(|bad| bad.inside("request"))?;
    let question = Question::read(&api.policy, attributes, cost)?;
    Ok(written(&now(engine, api, Subject { request: request.as_ref(), question: &question, said: "given" })))
}

/// The answer to a query: a past decision, or the attributes that it names.
pub(super) fn queried<C: Clock>(engine: &Engine<C>, text: &str) -> Result<String, Problem> {
    let pairs: Vec<_> = form_urlencoded::parse(text.as_bytes()).collect();
    if let [(name, id)] = pairs.as_slice()
        && name == "decision"
    {
        return past(engine, id);
    }
    if pairs.iter().any(|(name, _)| name == "decision") {
        let problem = Problem::new(StatusCode::BAD_REQUEST, "stands alone").at("decision");
        return Err(problem.help("what was decided says the rest"));
    }
    let book = engine.book();
    let api = served_by_query(&book, text)?;
    let question = query(&api.policy, text)?;
    Ok(written(&now(engine, api, Subject { request: None, question: &question, said: "given" })))
}

fn now<C: Clock>(engine: &Engine<C>, api: &Api, subject: Subject<'_>) -> Explanation {
    explain(api, subject, engine.limiter.clock().now(), |demand| engine.limiter.check(demand))
}

/// Explains a refusal by what was recorded of it.
fn past<C: Clock>(engine: &Engine<C>, id: &str) -> Result<String, Problem> {
    let unknown = || {
        let problem = Problem::new(StatusCode::NOT_FOUND, "no such refusal is kept").at("decision");
        problem.help(format!("the last {KEPT} are; /v1/decisions lists them"))
    };
    let id: DecisionId = id.parse().map_err(|()| unknown())?;
    let refusal = engine.refusals.find(id).ok_or_else(unknown)?;
    let book = engine.book();
    let api = book.named(refusal.policy()).filter(|api| api.policy.version() == refusal.version());
    let mut told = match api {
        Some(api) if !refusal.is_shortened() => again(api, &refusal),
        Some(_) => {
            alone(&refusal, "an attribute was too long to be kept whole: limits that did not apply are not told")
        }
        None => alone(&refusal, "the policy has been replaced since: limits that did not apply are not told"),
    };
    told.decision = Some(id.to_string());
    told.surface = Some(refusal.surface().to_owned());
    Ok(written(&told))
}

/// The whole explanation, by the policy that refused and what its counters said then.
fn again(api: &Api, refusal: &Refusal) -> Explanation {
    let mut question = Question::on(&api.policy);
    for (name, value) in refusal.attributes().filter(|(name, _)| *name != "class") {
        // What was demanded of this policy can be demanded of it again.
        let _ = question.set(name, value.into());
    }
    for (name, cost) in refusal.costs() {
        let unit = api.policy.unit(name);
        unit.into_iter().for_each(|unit| question.set_cost(unit, cost));
    }
    let subject = Subject { request: None, question: &question, said: "recorded" };
    explain(api, subject, refusal.at(), |demand| {
        decide(demand, refusal.at(), |charges, statuses| {
            for (index, charge) in charges.iter().enumerate() {
                let recorded = refusal.limits().find(|(name, ..)| *name == charge.limit().name());
                let status = recorded.map(|(_, numbers, _)| (numbers.status, numbers.basis));
                status.into_iter().for_each(|(status, basis)| statuses.set(index, status, basis));
            }
        })
    })
}

/// What can be told of a refusal without its policy.
fn alone(refusal: &Refusal, note: &str) -> Explanation {
    let attribute = |(name, value): (&str, &str)| ToldAttribute {
        name: name.to_owned(),
        value: Some(value.to_owned()),
        from: Some("recorded".to_owned()),
        places: Vec::new(),
    };
    let limits = refusal.limits().map(|(name, numbers, binds)| ToldLimit {
        name: name.to_owned(),
        mode: numbers.mode.name().to_owned(),
        count_refused: false,
        on_store_error: tidegate_core::OnStoreError::default().name().to_owned(),
        unit: numbers.unit.to_owned(),
        distinct: numbers.is_distinct.then(|| ToldDistinct {
            attribute: numbers.unit.to_owned(),
            value: refusal.attributes().find(|(of, _)| *of == numbers.unit).map(|(_, value)| value.to_owned()),
            seen: Some(numbers.basis == Basis::Seen),
        }),
        applies: true,
        binds,
        reasons: Vec::new(),
        quota: None,
        origin: Vec::new(),
        counter: std::collections::BTreeMap::new(),
        standing: Some(ToldStanding::of(numbers.limit, numbers.need, numbers.status, numbers.basis)),
    });
    Explanation {
        policy: refusal.policy().to_owned(),
        version: refusal.version(),
        at: Seconds::from(refusal.at()),
        note: Some(note.to_owned()),
        attributes: refusal.attributes().map(attribute).collect(),
        cost: refusal.costs().map(|(name, cost)| (name.to_owned(), cost)).collect(),
        allowed: Some(false),
        binding: refusal.limits().find(|(.., binds)| *binds).map(|(name, ..)| name.to_owned()),
        limits: limits.collect(),
        ..Explanation::default()
    }
}

/// The newest refusals, at most as many as the query's `most`.
pub(super) fn decisions<C: Clock>(engine: &Engine<C>, text: &str) -> Result<String, Problem> {
    let mut most = MAX_DECISIONS;
    for (name, value) in form_urlencoded::parse(text.as_bytes()) {
        if name != "most" {
            let problem = Problem::new(StatusCode::BAD_REQUEST, "unknown parameter").at(name);
            return Err(problem.help("there is `most`"));
        }
        let number = value.parse().ok().filter(|number| (1..=KEPT).contains(number));
        let problem = || Problem::new(StatusCode::BAD_REQUEST, format!("expected 1 to {KEPT}")).at("most");
        most = number.ok_or_else(problem)?;
    }
    let mut out = String::from("{\"decisions\":[");
    answer::separated(engine.refusals.newest(most).iter(), &mut out, |(id, refusal), out| {
        let _ = write!(out, "{{\"decision\":\"{id}\",\"at\":");
        answer::seconds(refusal.at().as_micros(), out);
        for (name, value) in [("surface", refusal.surface()), ("policy", refusal.policy())] {
            out.push(',');
            answer::member(name, value, out);
        }
        let _ = write!(out, ",\"version\":{},\"binding\":", refusal.version());
        match refusal.limits().find(|(.., binds)| *binds) {
            Some((name, ..)) => answer::string(name, out),
            None => out.push_str("null"),
        }
        out.push_str(",\"attributes\":{");
        answer::separated(refusal.attributes(), out, |(name, value), out| answer::member(name, value, out));
        out.push_str("}}");
    });
    out.push_str("]}");
    Ok(out)
}
