//! A JSON line: `{"t":…,"attributes":{…},"cost":{…}}`, or with a `request` that the facts are taken from, and the
//! `response` that the upstream gave it.

use http::HeaderMap;
use tidegate_core::Policy;
use tidegate_policy::question::{BadQuestion, Json, Question, Request, read_headers};

use super::{Ask, Entry, Response, instant};

const MEMBERS: [&str; 5] = ["t", "attributes", "cost", "request", "response"];

pub(super) fn entry<'l>(line: u64, text: &'l [u8], policy: &'l Policy) -> Result<Entry<'l>, BadQuestion> {
    let [t, attributes, cost, request, response] = object(text)?.known_members(MEMBERS)?;
    let Some(t) = t else {
        return Err(missing("t").help("every line has t, in unix seconds"));
    };
    if request.is_none() && attributes.is_none() {
        return Err(missing("attributes").help("a line has `attributes`, `request` or both"));
    }
    let at = t.number().and_then(instant::from_seconds).map_err(|bad| bad.inside("t"))?;
    let question = Question::read(policy, attributes, cost)?;
    let request = request.map(Request::read).transpose().map_err(|bad| bad.inside("request"))?;
    let response = response.map(read_response).transpose().map_err(|bad| bad.inside("response"))?;
    Ok(Entry { line, at, ask: Ask { request, question }, response })
}

/// The object of a line. The line is one, so of its place only the column is told.
fn object(text: &[u8]) -> Result<Json<'_>, BadQuestion> {
    Json::parse(text).map_err(|mut bad| {
        if let Some(column) = bad.place.strip_prefix("line 1, ") {
            bad.place = column.to_owned();
        }
        bad.help("every line is one JSON object")
    })
}

fn read_response(response: Json<'_>) -> Result<Response, BadQuestion> {
    let [status, headers, body] = response.known_members(["status", "headers", "body"])?;
    let status = status.map_or(Ok(200), Json::amount).map_err(|bad| bad.inside("status"))?;
    if !(100..=999).contains(&status) {
        return Err(BadQuestion::new("expected a status from 100 to 999").inside("status"));
    }
    let body = body.map(Json::tree).transpose().map_err(|bad| bad.inside("body"))?;
    let headers = headers.map_or_else(|| Ok(HeaderMap::new()), read_headers).map_err(|bad| bad.inside("headers"))?;
    Ok(Response { headers, body })
}

fn missing(name: &str) -> BadQuestion {
    BadQuestion::new("missing").inside(name)
}
