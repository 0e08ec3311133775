//! Header fields on their way through: which end at the gateway, which it adds.
//!
//! Towards the upstream: what belongs to one connection ends here (`Connection` and what it names, `Keep-Alive`, `TE`,
//! `Upgrade` …), and so do `Expect`, which the gateway answers, `Accept-Encoding` where the answer must be read, fields
//! that would change the method behind our back (K7), and names with an underscore, which some upstreams cannot tell
//! from the same name with a hyphen (K4). `Host` becomes the upstream's; `X-Forwarded-Host` and `-Proto` say what it
//! was, `X-Forwarded-For` gains the client's address, and `Forwarded` and `X-Real-IP`, which could contradict them, end
//! here. `Connection` cannot name what a caller is known by (K5).

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// Whether a field is one of one connection. Compared by text: lists of names would be made anew for each look.
fn is_of_connection(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection" | "keep-alive" | "proxy-connection" | "http2-settings" | "transfer-encoding" | "upgrade"
    )
}

/// Whether a field of a request ends at the gateway for another reason.
fn is_of_gateway(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "te" | "expect"
            | "proxy-authorization"
            | "forwarded"
            | "x-real-ip"
            | "x-forwarded-port"
            | "x-http-method-override"
            | "x-http-method"
            | "x-method-override"
    )
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Whether a field is one that `Connection` cannot name whatever the policy reads: it says who asks, for what, or how it
/// is framed.
fn is_protected(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "authorization"
            | "cookie"
            | "host"
            | "content-length"
            | "content-type"
            | "content-encoding"
            | "x-forwarded-for"
            | "x-forwarded-host"
            | "x-forwarded-proto"
    )
}

/// What the gateway knows of a request that the upstream should.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin<'a> {
    /// The client's address; what is written for each request is made once for the connection.
    pub(super) address: Option<&'a HeaderValue>,
    /// The authority it asked for.
    pub(super) authority: &'a HeaderValue,
    /// The upstream's own name.
    pub(super) upstream: &'a HeaderValue,
}

/// Makes a client's request fields those that the upstream gets. `is_read` says whether the policy reads a field.
pub(super) fn towards_upstream(headers: &mut HeaderMap, origin: Origin<'_>, is_read: impl Fn(&HeaderName) -> bool) {
    let takes_trailers = headers.get_all(header::TE).iter().any(|value| value.as_bytes() == b"trailers");
    remove_named(headers, |name| is_protected(name) || is_read(name));
    // Looked for among those there are, not looked up one by one: a request has few, and each look-up hashes a name.
    let ends_here = |name: &HeaderName| is_of_connection(name) || is_of_gateway(name);
    let is_ambiguous = |name: &HeaderName| name.as_str().bytes().any(|byte| byte == b'_') && !is_read(name);
    remove_where(headers, |name| ends_here(name) || is_ambiguous(name));
    if takes_trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    join(headers, header::COOKIE, "; ");
    headers.insert(header::HOST, origin.upstream.clone());
    headers.insert(X_FORWARDED_HOST, origin.authority.clone());
    headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static("http"));
    if let Some(address) = origin.address {
        headers.append(X_FORWARDED_FOR, address.clone());
        join(headers, X_FORWARDED_FOR, ", ");
    }
}

/// Makes an upstream's answer fields those that the client gets.
pub(super) fn towards_client(headers: &mut HeaderMap) {
    remove_named(headers, |_| false);
    remove_where(headers, is_of_connection);
}

/// Removes what `Connection` names, but for what is protected.
fn remove_named(headers: &mut HeaderMap, is_protected: impl Fn(&HeaderName) -> bool) {
    if !headers.contains_key(header::CONNECTION) {
        return;
    }
    let values = headers.get_all(header::CONNECTION).iter();
    let words = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    let names: Vec<HeaderName> = words.filter_map(|word| HeaderName::from_bytes(word).ok()).collect();
    for name in names.iter().filter(|name| !is_protected(name)) {
        headers.remove(name);
    }
}

fn remove_where(headers: &mut HeaderMap, is_removed: impl Fn(&HeaderName) -> bool) {
    let names: Vec<HeaderName> = headers.keys().filter(|name| is_removed(name)).cloned().collect();
    names.iter().for_each(|name| drop(headers.remove(name)));
}

/// Makes one line of several of the same name.
fn join(headers: &mut HeaderMap, name: HeaderName, separator: &str) {
    if headers.get_all(&name).iter().nth(1).is_none() {
        return;
    }
    let values: Vec<&[u8]> = headers.get_all(&name).iter().map(HeaderValue::as_bytes).collect();
    let joined = values.join(separator.as_bytes());
    if let Ok(joined) = HeaderValue::from_bytes(&joined) {
        headers.insert(name, joined);
    }
}
