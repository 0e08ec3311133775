//! Answers of the gateway's own: faults, refusals, and what a dialect adds to the upstream's answers.

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use tidegate_dialect::{Fields, Parts};

use super::body::Download;
use super::fault::Fault;

/// The methods that are served, for those that ask by another.
const ALLOWED: HeaderValue = HeaderValue::from_static("DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT");

/// An answer that says what is wrong and where: `{"error":…,"place":…}`.
pub(super) fn faulty(fault: &Fault) -> Response<Download> {
    let body = serde_json::json!({ "error": fault.message, "place": fault.place }).to_string();
    let mut response = Response::new(Download::local(Some(Bytes::from(body))));
    *response.status_mut() = StatusCode::from_u16(fault.status).unwrap_or(StatusCode::BAD_REQUEST);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if fault.status == 405 {
        headers.insert(header::ALLOW, ALLOWED);
    }
    response
}

/// An answer as the dialect spells it: a refusal, or what is left.
pub(super) fn spelled(fields: Fields, names: &[HeaderName]) -> Response<Download> {
    let status = StatusCode::from_u16(fields.status).unwrap_or(StatusCode::TOO_MANY_REQUESTS);
    let mut headers = HeaderMap::with_capacity(fields.headers().len() + 2);
    // A refusal is true for an instant and for one caller; no cache may give it to another.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let body = add(fields, names, &mut headers);
    let mut response = Response::new(Download::local(body));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// Adds a decision's headers to an answer, in place of those of the same names, and returns its body. All of them stay in
/// the one piece of memory that they were written in. `names` are those of its dialect.
pub(super) fn add(fields: Fields, names: &[HeaderName], headers: &mut HeaderMap) -> Option<Bytes> {
    let Parts { text, headers: placed, body, .. } = fields.into_parts();
    let text = Bytes::from(text);
    for (place, value) in placed {
        if let (Some(name), Ok(value)) = (names.get(place), HeaderValue::from_maybe_shared(text.slice(value))) {
            headers.insert(name.clone(), value);
        }
    }
    body.map(|body| text.slice(body))
}

/// Makes an answer its connection's last.
pub(super) fn close(response: &mut Response<Download>) {
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
}
