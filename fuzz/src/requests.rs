//! Whole requests: what is matched is what is forwarded, and the same facts come of both (I46, I45).

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use tidegate_core::{OperationId, bounds};
use tidegate_policy::{Asked, BadRequest, Facts, Lowered, Route};

use crate::api::{NOW, chosen, line};

/// `METHOD target`: canonical once is canonical for ever.
pub fn route(data: &[u8]) {
    let Some((api, rest)) = chosen(data) else { return };
    let Some((method, target)) = request_line(rest) else { return };
    if let Some(route) = checked(api, &method, target) {
        let head = api.intake.route(&Method::HEAD, target);
        let get = api.intake.route(&Method::GET, target);
        assert_eq!(head.ok().map(|route| about(&route)), get.ok().map(|route| about(&route)), "HEAD counts as GET");
        // A final slash makes no difference, outside of a tail.
        let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        let slashed = format!("{}/{}", path, query.map_or(String::new(), |query| format!("?{query}")));
        if let Ok(other) = api.intake.route(&method, &slashed)
            && !path.ends_with('/')
            && !route.target().starts_with("/send/")
            && api.policy.name() == "reader"
            && target.len() < 8_000
        {
            assert_eq!(other.operation(), route.operation(), "a final slash leads elsewhere");
        }
    }
}

/// A request as it is written in HTTP/1.1: the facts are the same from what is forwarded, and nothing that does not
/// matter changes them.
pub fn request(data: &[u8]) {
    let Some((api, rest)) = chosen(data) else { return };
    let (first, mut rest) = line(rest);
    let Some((method, target)) = request_line(first) else { return };
    let mut headers = HeaderMap::new();
    let mut host = None;
    loop {
        let (field, after) = line(rest);
        rest = after;
        let Some(colon) = field.iter().position(|byte| *byte == b':') else { break };
        let (name, value) = (&field[..colon], field[colon + 1..].trim_ascii());
        let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) else { continue };
        if name == http::header::HOST {
            host = value.to_str().ok().map(str::to_owned);
        }
        headers.append(name, value);
    }
    let Some(route) = checked(api, &method, target) else { return };
    let asked = Asked { peer: None, host: host.as_deref(), headers: &headers, body: Some(rest) };
    let facts = extract(api, &route, &asked);
    check(api, &facts);
    let forwarded = api.intake.route(&method, route.target()).expect("what is forwarded is a target");
    assert_eq!(facts, extract(api, &forwarded, &asked), "other facts of what is forwarded");
    let mut more = headers.clone();
    more.append("x-nobody-reads-this", HeaderValue::from_static("1"));
    assert_eq!(facts, extract(api, &route, &Asked { headers: &more, ..asked }), "a header that nobody reads matters");
    if let Some(host) = host.as_deref().filter(|host| host.is_ascii()) {
        let shouted = host.to_ascii_uppercase();
        assert_eq!(
            facts,
            extract(api, &route, &Asked { host: Some(&shouted), ..asked }),
            "the case of the host matters"
        );
    }
    if !api.intake.needs_body(route.operation()) {
        assert_eq!(facts, extract(api, &route, &Asked { body: None, ..asked }), "a body that is not needed matters");
    }
}

fn request_line(text: &[u8]) -> Option<(Method, &str)> {
    let (method, target) = std::str::from_utf8(text).ok()?.split_once(' ')?;
    Some((Method::from_bytes(method.as_bytes()).ok()?, target))
}

type About<'r> = (&'r str, &'r str, Option<&'r str>, OperationId, bool, &'r str);

fn about(route: &Route) -> (String, OperationId, bool) {
    (route.target().to_owned(), route.operation(), route.is_known())
}

fn all_about(route: &Route) -> About<'_> {
    (route.target(), route.path(), route.query(), route.operation(), route.is_known(), route.method())
}

/// The route, if there is one, held to what is promised of it.
fn checked(api: &Lowered, method: &Method, target: &str) -> Option<Route> {
    let route = match api.intake.route(method, target) {
        Ok(route) => route,
        Err(bad) => {
            complain(&bad);
            return None;
        }
    };
    let forwarded = api.intake.route(method, route.target()).expect("what is forwarded is a target");
    assert_eq!(all_about(&route), all_about(&forwarded), "canonical once is canonical for ever");
    assert_eq!(route.query(), target.split_once('?').map(|(_, query)| query), "the query is passed on as it came");
    let path = route.path();
    // A tail is kept byte for byte, also where it is no ASCII.
    let is_tail = |byte: u8| route.is_known() && byte >= 0x80;
    assert!(path.starts_with('/') && path.bytes().all(|byte| matches!(byte, b'!'..=b'~') || is_tail(byte)), "{path:?}");
    if !route.is_known() {
        // Nothing of it can be a tail: no segment may mean two things.
        for segment in path[1..].split('/').filter(|_| path.len() > 1) {
            let lower = segment.to_ascii_lowercase();
            assert!(!segment.is_empty() && segment != "." && segment != "..", "{path}");
            assert!(!["%2f", "%5c", "%2e", "%00", "%3b", "\\", ";"].iter().any(|odd| lower.contains(odd)), "{path}");
        }
        assert!(path.len() == 1 || !path.ends_with('/'), "{path}");
    }
    Some(route)
}

fn extract(api: &Lowered, route: &Route, asked: &Asked<'_>) -> Result<Facts, BadRequest> {
    api.intake.extract(&api.policy, route, asked, NOW)
}

/// What holds for any answer.
pub(crate) fn check(api: &Lowered, facts: &Result<Facts, BadRequest>) {
    match facts {
        Err(bad) => complain(bad),
        Ok(facts) => {
            for (_, value) in facts.values() {
                assert!(!value.is_empty() && value.len() <= bounds::MAX_ATTRIBUTE_BYTES, "{} bytes", value.len());
                assert!(!value.chars().any(char::is_control), "{value:?}");
            }
            let demand = facts.demand(&api.policy).expect("facts make a demand").build();
            assert_eq!(demand.operation(), facts.operation());
        }
    }
}

fn complain(bad: &BadRequest) {
    assert!(!bad.place().is_empty() && !bad.message().is_empty());
    assert!(bad.to_string().len() < 20_000, "a complaint as long as what it is about");
}
