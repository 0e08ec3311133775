//! A JSON line: `{"t":…,"attributes":{…},"cost":{…}}`, or with a `request` that the facts are taken from, and the
//! `response` that the upstream gave it.

use std::borrow::Cow;

use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, Method};
use tidegate_core::Policy;
use tidegate_policy::question::{BadQuestion, Json, Question};

use super::{Ask, Entry, Request, Response, instant};
use crate::bounds::MAX_HEADERS;

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
    let request = request.map(read_request).transpose().map_err(|bad| bad.inside("request"))?;
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

fn read_request(request: Json<'_>) -> Result<Request<'_>, BadQuestion> {
    let [method, path, headers, body] = request.known_members(["method", "path", "headers", "body"])?;
    let method = method.ok_or_else(|| missing("method"))?;
    let method = method.string().and_then(|name| read_method(&name)).map_err(|bad| bad.inside("method"))?;
    let target = path.ok_or_else(|| missing("path"))?.string().map_err(|bad| bad.inside("path"))?;
    let headers = headers.map_or_else(|| Ok(HeaderMap::new()), read_headers).map_err(|bad| bad.inside("headers"))?;
    let body = body.map(read_body).transpose().map_err(|bad| bad.inside("body"))?;
    Ok(Request { method, target, headers, body })
}

fn read_method(name: &str) -> Result<Method, BadQuestion> {
    Method::from_bytes(name.as_bytes()).map_err(|_| BadQuestion::new("not the name of a method"))
}

fn read_headers(headers: Json<'_>) -> Result<HeaderMap, BadQuestion> {
    let mut read = HeaderMap::new();
    for (name, value) in headers.members()? {
        let values = if value.is_array() { value.items(MAX_HEADERS) } else { Ok(vec![value]) };
        let values = values.map_err(|bad| bad.inside(&name))?;
        for value in values {
            let header = read_header(&name, value).map_err(|bad| bad.inside(&name))?;
            if read.len() >= MAX_HEADERS {
                return Err(BadQuestion::new(format!("more than {MAX_HEADERS} headers")));
            }
            read.append(header.0, header.1);
        }
    }
    Ok(read)
}

fn read_header(name: &str, value: Json<'_>) -> Result<(HeaderName, HeaderValue), BadQuestion> {
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| BadQuestion::new("not the name of a header"))?;
    let value = value.string()?;
    let value = HeaderValue::from_str(&value)
        .map_err(|_| BadQuestion::new("not the value of a header").help("only visible ASCII, spaces and tabs"))?;
    Ok((name, value))
}

/// A string is the body itself; anything else is a body of that JSON.
fn read_body(body: Json<'_>) -> Result<Cow<'_, [u8]>, BadQuestion> {
    if body.kind() != "a string" {
        return Ok(Cow::Borrowed(body.text().as_bytes()));
    }
    Ok(match body.string()? {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    })
}

fn read_response(response: Json<'_>) -> Result<Response, BadQuestion> {
    let [status, body] = response.known_members(["status", "body"])?;
    let status = status.map_or(Ok(200), Json::amount).map_err(|bad| bad.inside("status"))?;
    if !(100..=999).contains(&status) {
        return Err(BadQuestion::new("expected a status from 100 to 999").inside("status"));
    }
    let body = body.map(Json::tree).transpose().map_err(|bad| bad.inside("body"))?;
    Ok(Response { body })
}

fn missing(name: &str) -> BadQuestion {
    BadQuestion::new("missing").inside(name)
}
