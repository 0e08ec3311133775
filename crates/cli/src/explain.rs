//! `tidegate explain`: which limits apply to a request and which do not, why, and how the answer is spelled.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::json;
use tidegate_core::Timestamp;
use tidegate_limiter::{Clock, Limiter, ManualClock, Memory, MemoryOptions, SystemClock};
use tidegate_policy::question::{BadQuestion, Json, Question, Request};
use tidegate_server::Api;
use tidegate_server::explain::{
    Explanation, Seconds, Subject, ToldAnswer, ToldLimit, ToldQuota, ToldStanding, explain,
};

use crate::api;
use crate::args::{ExplainArgs, is_request};
use crate::failure::Failure;
use crate::output::{Paint, grouped, is_terminal, print, print_json, span};

mod ask;

/// Places at the left of a line that belongs to the one above.
const INDENT: &str = "      ";

pub(crate) fn run(args: &ExplainArgs, json: bool) -> Result<ExitCode, Failure> {
    let (policy, request) = what(args)?;
    let question = question(args, request)?;
    let told = match &args.server {
        Some(_) if policy.is_some() => {
            return Err(Failure::new("a policy file and a server are given").help("the server has its own policies"));
        }
        Some(server) => ask::explanation(server, &question)?,
        None => here(args, policy.as_deref(), &question)?,
    };
    if json {
        print_json(&told)?;
    } else {
        print(&text(&told, Paint::new(is_terminal())))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The policy's file, if one is given, and the request: the one begins with a method and a path, the other does not.
fn what(args: &ExplainArgs) -> Result<(Option<PathBuf>, Option<&str>), Failure> {
    let (requests, files): (Vec<&String>, Vec<&String>) = args.what.iter().partition(|text| is_request(text.as_str()));
    let usage = "tidegate explain POLICY 'METHOD /path', or --vendor NAME in place of POLICY";
    match (files.as_slice(), requests.as_slice()) {
        (files, requests) if files.len() > 1 || requests.len() > 1 => {
            let more = files.last().filter(|_| files.len() > 1).or(requests.last()).map_or("", |text| text.as_str());
            Err(Failure::new(format!("`{more}` is one argument too many")).help(usage))
        }
        (_, []) if args.attributes.is_empty() => Err(Failure::new("no request is given").help(usage)),
        (files, requests) => Ok((files.first().map(PathBuf::from), requests.first().map(|request| request.as_str()))),
    }
}

/// What is asked, as a server is asked it.
fn question(args: &ExplainArgs, request: Option<&str>) -> Result<String, Failure> {
    let mut question = serde_json::Map::new();
    if let Some(request) = request {
        question.insert("request".to_owned(), told_request(args, request)?);
    }
    let attributes: BTreeMap<&str, &str> =
        pairs(&args.attributes, '=', "--attribute", "NAME=VALUE")?.into_iter().collect();
    if attributes.len() < args.attributes.len() {
        return Err(Failure::new("an attribute is given twice").help("leave one of the two --attribute out"));
    }
    question.insert("attributes".to_owned(), json!(attributes));
    // Of a server's policies, that one is asked.
    if let (Some(_), Some(name)) = (&args.server, &args.vendor.vendor) {
        question.insert("policy".to_owned(), json!(name));
    }
    Ok(serde_json::Value::Object(question).to_string())
}

fn told_request(args: &ExplainArgs, request: &str) -> Result<serde_json::Value, Failure> {
    let (method, path) = request.split_once(' ').unwrap_or((request, ""));
    let mut headers: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, value) in pairs(&args.headers, ':', "--header", "'name: value'")? {
        headers.entry(name.trim()).or_default().push(value.trim());
    }
    let mut told = json!({ "method": method, "path": path.trim(), "headers": headers });
    if let Some(body) = &args.body {
        told["body"] = body_text(body)?.into();
    }
    if let Some(client) = args.client {
        told["client"] = client.to_string().into();
    }
    Ok(told)
}

fn pairs<'a>(given: &'a [String], at: char, flag: &str, form: &str) -> Result<Vec<(&'a str, &'a str)>, Failure> {
    let pair = |text: &'a String| {
        let failure = || Failure::new(format!("{flag} `{text}` has no `{at}`")).help(format!("write {flag} {form}"));
        text.split_once(at).ok_or_else(failure)
    };
    given.iter().map(pair).collect()
}

/// A body as it is given, or the file that `@` names.
fn body_text(body: &str) -> Result<String, Failure> {
    match body.strip_prefix('@') {
        None => Ok(body.to_owned()),
        Some(path) => std::fs::read_to_string(path)
            .map_err(|error| Failure::because(format!("cannot read the body {path}"), &error)),
    }
}

/// The explanation by a policy here, on fresh counters.
fn here(args: &ExplainArgs, policy: Option<&Path>, question: &str) -> Result<Explanation, Failure> {
    let api = api::load(policy, args.vendor.vendor.as_deref())?;
    api::show_warnings(&api);
    let now = match &args.at {
        Some(at) => tidegate_sim::instant_from_seconds(at).map_err(|_| {
            Failure::new(format!("--at {at} is no instant")).help("write unix seconds, such as 1706774400.25")
        })?,
        None => SystemClock::new().now(),
    };
    asked(&api, question, now).map_err(|bad| {
        let failure = Failure::new(format!("{}: {}", bad.place, bad.message));
        match bad.help {
            Some(help) => failure.help(help),
            None => failure,
        }
    })
}

fn asked(api: &Api, question: &str, now: Timestamp) -> Result<Explanation, BadQuestion> {
    let [request, attributes] = Json::parse(question.as_bytes())?.known_members(["request", "attributes"])?;
    let request = request.map(Request::read).transpose().map_err(|bad| bad.inside("request"))?;
    let question = Question::read(&api.policy, attributes, None)?;
    let limiter = Limiter::new(Memory::new(MemoryOptions { max_counters: 1 }), ManualClock::at(now), ());
    let subject = Subject { request: request.as_ref(), question: &question, said: "given" };
    Ok(explain(api, subject, now, |demand| limiter.check(demand)))
}

/// An explanation as people read it.
fn text(told: &Explanation, paint: Paint) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "policy `{}`, version {}, at {}", told.policy, told.version, told.at);
    if let (Some(decision), Some(surface)) = (&told.decision, &told.surface) {
        let _ = writeln!(text, "decision {decision}, on {surface}");
    }
    if let Some(note) = &told.note {
        let _ = writeln!(text, "note: {note}");
    }
    if let Some(request) = &told.request {
        let route = request.route.as_deref().map_or("no route fits".to_owned(), |route| format!("route {route}"));
        let _ = writeln!(text, "request {} {}: {route}", request.method, request.path);
    }
    if let Some(fault) = &told.bad_request {
        let refused = paint.bad("400, before anything is counted");
        let _ = writeln!(text, "{refused}: {}: {}", fault.place, fault.message);
        return text;
    }
    if let Some(operation) = &told.operation {
        let _ = writeln!(text, "operation `{operation}`");
    }
    attributes(told, paint, &mut text);
    let _ = writeln!(text, "\nlimits");
    for limit in &told.limits {
        one_limit(limit, paint, &mut text);
    }
    answers(told, paint, &mut text);
    text
}

fn attributes(told: &Explanation, paint: Paint, text: &mut String) {
    let _ = writeln!(text, "\nattributes");
    let name_width = told.attributes.iter().map(|one| one.name.len()).max().unwrap_or(0);
    let value_width = told.attributes.iter().filter_map(|one| one.value.as_ref()).map(String::len).max().unwrap_or(0);
    for one in &told.attributes {
        let looked_at: Vec<String> = one
            .places
            .iter()
            .map(|place| match place.finding.as_str() {
                "taken" => place.place.clone(),
                finding => format!("{} {finding}", place.place),
            })
            .collect();
        let looked_at = if looked_at.is_empty() { String::new() } else { format!(" ({})", looked_at.join(", ")) };
        let from = one.from.clone().unwrap_or_else(|| paint.dim("missing"));
        let looked_at = if one.places.len() == 1 && one.from.is_some() { String::new() } else { looked_at };
        let value = one.value.as_deref().unwrap_or("-");
        let _ = writeln!(text, "  {:name_width$}  {value:value_width$}  {from}{looked_at}", one.name);
    }
    if let Some(token) = &told.token {
        let counts = if token.counts { paint.good("counts") } else { paint.bad("does not count") };
        let _ = writeln!(text, "  token {counts}: {}", token.why);
    }
    for record in &told.records {
        let plan = record.plan.as_ref().map(|plan| format!(", plan `{plan}`")).unwrap_or_default();
        let created = record.created.map(|created| format!(", created at {created}")).unwrap_or_default();
        let _ = writeln!(text, "  record of {} `{}`{plan}{created}", record.attribute, record.value);
    }
    for (unit, cost) in &told.cost {
        let _ = writeln!(text, "  costs {} {unit}", grouped(*cost));
    }
}

fn one_limit(limit: &ToldLimit, paint: Paint, text: &mut String) {
    let fits = limit.standing.as_ref().is_none_or(|standing| standing.fits);
    let mark = match (limit.applies, fits) {
        (false, _) => paint.dim("-"),
        (true, true) => paint.good("+"),
        (true, false) => paint.bad("x"),
    };
    let quota =
        limit.quota.as_ref().map(|quota| format!(": {}", quota_text(quota, &counted(limit)))).unwrap_or_default();
    let mode = if limit.mode == "enforce" { String::new() } else { format!(" ({})", limit.mode) };
    let binds = if limit.binds { paint.bold(", binds") } else { String::new() };
    let applies = if limit.applies { "" } else { " does not apply" };
    let _ = writeln!(text, "  {mark} {}{mode}{applies}{quota}{binds}", paint.bold(&limit.name));
    if limit.count_refused {
        let _ = writeln!(text, "{INDENT}counts refused attempts too");
    }
    if limit.on_store_error != "closed" {
        let _ = writeln!(text, "{INDENT}admits uncounted where the store has no room");
    }
    for reason in &limit.reasons {
        let _ = writeln!(text, "{INDENT}because {}", reason.message);
    }
    for step in &limit.origin {
        let of = step.limit.as_ref().map(|limit| format!(" of `{limit}`")).unwrap_or_default();
        let _ = writeln!(text, "{INDENT}quota{of}: {}", step.message);
    }
    if limit.applies {
        let counter: Vec<String> = limit
            .counter
            .iter()
            .map(|(name, value)| match value {
                Some(value) => format!("{name}={value}"),
                None => format!("{name} missing"),
            })
            .collect();
        let counter = if counter.is_empty() { "everybody together".to_owned() } else { counter.join(", ") };
        let _ = writeln!(text, "{INDENT}counter: {counter}");
    }
    if let Some(distinct) = &limit.distinct
        && let Some(seen) = distinct.seen
    {
        let value = distinct.value.as_ref().map_or("missing".to_owned(), |value| format!("`{value}`"));
        let seen = if seen { "counted before in this window, charged nothing" } else { "new in this window" };
        let _ = writeln!(text, "{INDENT}{} {value}: {seen}", distinct.attribute);
    }
    if let Some(standing) = &limit.standing {
        let _ = writeln!(text, "{INDENT}{}", standing_text(standing, &counted(limit), paint));
    }
}

/// What a limit counts: a unit, or distinct values.
fn counted(limit: &ToldLimit) -> String {
    if limit.distinct.is_some() { format!("distinct {}s", limit.unit) } else { limit.unit.clone() }
}

fn quota_text(quota: &ToldQuota, unit: &str) -> String {
    let amount = grouped(quota.amount);
    let window = quota.window_s.map(|Seconds(micros)| span(tidegate_core::Span::from_micros(micros)));
    let burst = if quota.burst == quota.amount { String::new() } else { format!(", burst {}", grouped(quota.burst)) };
    match (window, &quota.align) {
        (None, _) => format!("{amount} {unit} at a time"),
        (Some(_), Some(align)) if align != "first-request" => {
            format!("{amount} {unit} per {align}, {}", quota.algorithm)
        }
        (Some(window), align) => {
            let align = align.as_ref().map(|_| " from the first request on").unwrap_or_default();
            format!("{amount} {unit} per {window}{align}{burst}, {}", quota.algorithm)
        }
    }
}

fn standing_text(standing: &ToldStanding, unit: &str, paint: Paint) -> String {
    let of = |Seconds(micros)| span(tidegate_core::Span::from_micros(micros));
    let left = format!("{} of {} {unit} left", grouped(standing.remaining), grouped(standing.limit));
    let whole = match standing.reset_after_s {
        Seconds(0) => String::new(),
        reset => format!(", all of them in {}", of(reset)),
    };
    let basis = standing.basis.as_ref().map(|basis| format!(" ({basis})")).unwrap_or_default();
    if standing.fits {
        return format!("{}: {left}{whole}{basis}", paint.good("fits"));
    }
    let wait = match standing.retry_after_s {
        Some(wait) => format!("it fits in {}", of(wait)),
        None if standing.awaits_release => "it fits when some are released".to_owned(),
        None => "it never fits".to_owned(),
    };
    format!("{}: {left}{whole}; needs {}, {wait}{basis}", paint.bad("does not fit"), grouped(standing.need))
}

fn answers(told: &Explanation, paint: Paint, text: &mut String) {
    let Some(allowed) = told.allowed else { return };
    let verdict = if allowed { paint.good("admitted") } else { paint.bad("refused") };
    let binding = match &told.binding {
        Some(binding) => format!("`{binding}` binds"),
        None => "no enforced limit applies".to_owned(),
    };
    let _ = writeln!(text, "\n{verdict}: {binding}");
    let both = [(&told.answers.admitted, "admitted"), (&told.answers.refused, "refused")];
    // What is answered comes first.
    let (first, second) = if allowed { (0, 1) } else { (1, 0) };
    for (answer, name) in [&both[first], &both[second]] {
        if let Some(answer) = answer {
            one_answer(answer, name, paint, text);
        }
    }
}

fn one_answer(answer: &ToldAnswer, name: &str, paint: Paint, text: &mut String) {
    let title = match &answer.supposing {
        None => format!("answer, before anything is charged: {}", answer.status),
        Some(supposing) => format!("if {supposing}, {name}: {}", answer.status),
    };
    let _ = writeln!(text, "\n{}", paint.bold(&title));
    for (header, value) in &answer.headers {
        let _ = writeln!(text, "  {header}: {value}");
    }
    if let Some(body) = &answer.body {
        for line in body.lines() {
            let _ = writeln!(text, "  {line}");
        }
    }
}
