//! Who the control port answers to: on a loopback address only to requests that name it so (A12, DNS rebinding).
//!
//! A page of another site can make a browser call a loopback port by a name of its own that resolves to it; the name is
//! in the request's host. A port that is bound to an address of the network is meant to be called by names that are not
//! known here, and is not protected by this.

use std::net::{IpAddr, SocketAddr};

use http::header::HOST;
use http::{HeaderMap, Uri};

/// Whether a request that came to `bound` may be answered. One without a host, as no browser sends it, may.
pub(super) fn is_ours(bound: SocketAddr, uri: &Uri, headers: &HeaderMap) -> bool {
    if !bound.ip().to_canonical().is_loopback() {
        return true;
    }
    let mut hosts = headers.get_all(HOST).iter();
    match (uri.host(), hosts.next(), hosts.next()) {
        (_, _, Some(_)) => false,
        (Some(host), _, None) => names_loopback(host),
        (None, Some(host), None) => host.to_str().is_ok_and(|host| names_loopback(without_port(host))),
        (None, None, None) => true,
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

fn names_loopback(host: &str) -> bool {
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    match address.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => host.strip_suffix('.').unwrap_or(host).eq_ignore_ascii_case("localhost"),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn is_answered(bound: &str, host: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_str(host).expect(host));
        is_ours(bound.parse().expect(bound), &Uri::from_static("/v1/check"), &headers)
    }

    #[test]
    fn loopback_answers_to_its_names_only() {
        for host in ["localhost", "LOCALHOST:8081", "localhost.", "127.0.0.1:8081", "127.9.9.9", "[::1]:8081", "[::1]"]
        {
            assert!(is_answered("127.0.0.1:8081", host), "{host}");
        }
        for host in ["evil.example", "evil.example:8081", "localhost.evil.example", "10.0.0.1", "0.0.0.0", "", "::1:x"]
        {
            assert!(!is_answered("127.0.0.1:8081", host), "{host}");
            assert!(!is_answered("[::ffff:127.0.0.1]:8081", host), "{host}");
        }
    }

    #[test]
    fn the_network_answers_to_any_name() {
        assert!(is_answered("10.0.0.1:8081", "limits.internal"));
        assert!(is_answered("0.0.0.0:8081", "limits.internal"));
    }

    #[test]
    fn a_target_with_a_host_counts_before_the_header() {
        let bound = "127.0.0.1:8081".parse().expect("an address");
        assert!(!is_ours(bound, &Uri::from_static("http://evil.example/v1/check"), &HeaderMap::new()));
        assert!(is_ours(bound, &Uri::from_static("/v1/check"), &HeaderMap::new()));
    }
}
