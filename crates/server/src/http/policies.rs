//! `/v1/policies`: what is in force, and putting something else into force.

use std::fmt::Debug;

use http::{Response, StatusCode};
use tidegate_core::Per;
use tidegate_limiter::Clock;
use tidegate_policy::Problems;
use tidegate_policy::question::instead;

use super::respond::{Problem, json, written};
use super::wire::{
    Installed, LimitSummary, MistakeDetail, Policies, PolicyDetail, PolicySummary, ProblemDetail, Refused,
};
use crate::reload::explained;
use crate::{Api, AssembleError, Book, Change, Engine};

/// All policies in force.
pub(super) fn list(book: &Book) -> String {
    written(&Policies { policies: book.apis().iter().map(|api| summary(api)).collect() })
}

/// The policy of that name.
pub(super) fn one(book: &Book, name: &str) -> Result<String, Problem> {
    let Some(api) = book.named(name) else {
        let known = book.apis().iter().map(|api| api.policy.name());
        let problem = Problem::new(StatusCode::NOT_FOUND, "no policy of this name is served").at("path");
        return Err(problem.help(instead(name, known)));
    };
    let policy = &api.policy;
    let attribute = |per: &Per| {
        let name = policy.attribute_name(per.attribute());
        if matches!(per, Per::Optional(_)) { format!("{name}?") } else { name.to_owned() }
    };
    let rules = policy.limits().iter().map(|limit| LimitSummary {
        name: limit.name().to_owned(),
        mode: limit.mode().name().to_owned(),
        count_refused: limit.counts_refused(),
        on_store_error: limit.on_store_error().name().to_owned(),
        unit: policy.counted(limit).to_owned(),
        distinct: limit.distinct().as_ref().map(attribute),
        per: limit.per().iter().map(attribute).collect(),
    });
    Ok(written(&PolicyDetail {
        summary: summary(api),
        attributes: policy.attribute_names().map(str::to_owned).collect(),
        rules: rules.collect(),
        warnings: warnings(api),
    }))
}

/// What a port that everybody reaches answers to who would change a policy.
pub(super) fn forbidden() -> Problem {
    let problem = Problem::new(StatusCode::FORBIDDEN, "policies are put only on a loopback address");
    problem.help("bind the control port to one, as 127.0.0.1:8081, or change the policy's file: it is watched")
}

/// Puts the policy that `body` describes into force under the name it bears.
pub(super) fn put<C: Clock + Debug>(engine: &Engine<C>, name: &str, body: &[u8]) -> Response<String> {
    let Ok(text) = std::str::from_utf8(body) else {
        return Problem::new(StatusCode::BAD_REQUEST, "not UTF-8").at("body").help("send the policy as TOML").answer();
    };
    let source = format!("PUT /v1/policies/{name}");
    let refused = |status, refused: Refused| {
        engine.reloads.refused(name);
        tracing::warn!(policy = name, "policy not changed by PUT: {}", refused.error.message);
        json(status, written(&refused))
    };
    let api = match Api::text("policy.toml", text) {
        Ok(api) => Api { source: source.clone(), ..api },
        Err(error) => return refused(StatusCode::UNPROCESSABLE_ENTITY, refusal(&error)),
    };
    if api.policy.name() != name {
        let message = format!("the policy calls itself `{}`", api.policy.name());
        let help = format!("put it to /v1/policies/{}, or change its `name`", api.policy.name());
        return refused(StatusCode::UNPROCESSABLE_ENTITY, mistake(message, "name", Some(help)));
    }
    let warnings = warnings(&api);
    match engine.install([Change::from(api)]) {
        Ok(installed) => {
            let version = installed.first().map_or(0, |api| api.policy.version());
            engine.reloads.succeeded(&source, name);
            tracing::info!(policy = name, version, source, "policy in force");
            json(StatusCode::OK, written(&Installed { policy: name.to_owned(), version, warnings }))
        }
        Err(error) => refused(StatusCode::CONFLICT, mistake(error.to_string(), "serve", None)),
    }
}

fn mistake(message: String, place: &str, help: Option<String>) -> Refused {
    Refused { error: MistakeDetail { message, place: Some(place.to_owned()), help }, problems: Vec::new() }
}

fn refusal(error: &AssembleError) -> Refused {
    match error {
        AssembleError::Policy(problems) => {
            let number = problems.len();
            let message = format!("the policy has {number} problem{}", if number == 1 { "" } else { "s" });
            Refused {
                error: MistakeDetail { message, place: Some("body".to_owned()), help: None },
                problems: details(problems),
            }
        }
        AssembleError::UnknownDialect { name } if name.starts_with(['.', '/']) => {
            let help = "name a dialect that ships, or change the policy's file".to_owned();
            mistake("a policy that is put cannot name files".to_owned(), "dialect", Some(help))
        }
        AssembleError::UnknownDialect { .. } => mistake(error.to_string(), "dialect", None),
        error => mistake(explained(error), "body", None),
    }
}

fn summary(api: &Api) -> PolicySummary {
    PolicySummary {
        name: api.policy.name().to_owned(),
        version: api.policy.version(),
        source: api.source.clone(),
        dialect: api.dialect.name().to_owned(),
        hosts: api.serving.hosts().collect(),
        prefix: api.serving.prefix().to_owned(),
        upstream: api.serving.upstream().map(str::to_owned),
        limits: api.policy.limits().len(),
        operations: api.policy.operations().len(),
    }
}

fn warnings(api: &Api) -> Vec<ProblemDetail> {
    let of_dialect = api.dialect_warnings.iter().map(|warning| ProblemDetail {
        code: String::new(),
        severity: "warning".to_owned(),
        line: 0,
        column: 0,
        message: format!("dialect `{}`: {warning}", api.dialect.name()),
        label: String::new(),
        help: None,
    });
    details(&api.warnings).into_iter().chain(of_dialect).collect()
}

fn details(problems: &Problems) -> Vec<ProblemDetail> {
    let detail = |problem: &tidegate_policy::Problem| ProblemDetail {
        code: problem.code.to_owned(),
        severity: problem.severity.name().to_owned(),
        line: problem.line,
        column: problem.column,
        message: problem.message.clone(),
        label: problem.label.clone(),
        help: problem.help.clone(),
    };
    problems.iter().map(detail).collect()
}
