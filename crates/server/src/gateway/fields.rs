//! Header fields on their way through: which end at the gateway, which it adds.
//!
//! Towards the upstream: what belongs to one connection ends here (`Connection` and what it names, `Keep-Alive`, `TE`,
//! `Upgrade` …), and so do `Expect`, which the gateway answers, `Accept-Encoding` where the answer must be read, fields
//! that would change the method behind our back (K7), and names with an underscore, which some upstreams cannot tell
//! from the same name with a hyphen (K4). `Host` becomes the upstream's; `X-Forwarded-Host` and `-Proto` say what it
//! was, `X-Forwarded-For` gains the client's address, and `Forwarded` and `X-Real-IP`, which could contradict them, end
//! here. `Connection` cannot name what a caller is known by (K5).

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// Fields of one connection.
const OF_CONNECTION: [HeaderName; 6] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("http2-settings"),
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Fields of a request that end at the gateway for another reason.
const OF_GATEWAY: [HeaderName; 9] = [
    header::TE,
    header::EXPECT,
    header::PROXY_AUTHORIZATION,
    header::FORWARDED,
    HeaderName::from_static("x-real-ip"),
    HeaderName::from_static("x-forwarded-port"),
    HeaderName::from_static("x-http-method-override"),
    HeaderName::from_static("x-http-method"),
    HeaderName::from_static("x-method-override"),
];

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Fields that `Connection` cannot name whatever the policy reads: they say who asks, for what, or how it is framed.
const PROTECTED: [HeaderName; 9] = [
    header::AUTHORIZATION,
    header::COOKIE,
    header::HOST,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    X_FORWARDED_FOR,
    X_FORWARDED_HOST,
    X_FORWARDED_PROTO,
];

/// What the gateway knows of a request that the upstream should.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin<'a> {
    /// The client's address; what is written for each request is made once for the connection.
    pub(super) address: Option<&'a HeaderValue>,
    /// The authority it asked for.
    pub(super) authority: &'a str,
    /// The upstream's own name.
    pub(super) upstream: &'a HeaderValue,
}

/// Makes a client's request fields those that the upstream gets. `is_read` says whether the policy reads a field.
pub(super) fn towards_upstream(headers: &mut HeaderMap, origin: Origin<'_>, is_read: impl Fn(&HeaderName) -> bool) {
    let takes_trailers = headers.get_all(header::TE).iter().any(|value| value.as_bytes() == b"trailers");
    remove_named(headers, |name| PROTECTED.contains(name) || is_read(name));
    // Looked for among those there are, not looked up one by one: a request has few, and each look-up hashes a name.
    let ends_here = |name: &HeaderName| OF_CONNECTION.contains(name) || OF_GATEWAY.contains(name);
    let is_ambiguous = |name: &HeaderName| name.as_str().bytes().any(|byte| byte == b'_') && !is_read(name);
    remove_where(headers, |name| ends_here(name) || is_ambiguous(name));
    if takes_trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    join(headers, header::COOKIE, "; ");
    headers.insert(header::HOST, origin.upstream.clone());
    if let Ok(authority) = HeaderValue::from_str(origin.authority) {
        headers.insert(X_FORWARDED_HOST, authority);
    }
    headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static("http"));
    if let Some(address) = origin.address {
        headers.append(X_FORWARDED_FOR, address.clone());
        join(headers, X_FORWARDED_FOR, ", ");
    }
}

/// Makes an upstream's answer fields those that the client gets.
pub(super) fn towards_client(headers: &mut HeaderMap) {
    remove_named(headers, |_| false);
    remove_where(headers, |name| OF_CONNECTION.contains(name));
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
