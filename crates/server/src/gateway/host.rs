//! Hosts: which are well-formed, and the one spelling that all spellings of a host share (K8).

/// Longest authority: a DNS name has at most 253 bytes, and a port six with its colon.
const MAX_AUTHORITY_BYTES: usize = 260;

/// Whether `authority` is a host name, an IPv4 address or a bracketed IPv6 address, with or without a port; no user
/// information, no spaces, no empty labels.
pub(super) fn is_authority(authority: &str) -> bool {
    let (host, port) = split(authority);
    let port_is_right = port.is_none_or(|port| {
        port.len() <= 5
            && port.bytes().all(|byte| byte.is_ascii_digit())
            && port.parse::<u16>().is_ok_and(|port| port > 0)
    });
    authority.len() <= MAX_AUTHORITY_BYTES && port_is_right && is_host(host)
}

/// Host and port in the one spelling that makes them comparable; port 80 is left out.
pub(super) fn canonical_authority(authority: &str) -> String {
    let (host, port) = split(authority);
    let mut canonical = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    if let Some(port) = port.and_then(|port| port.parse::<u16>().ok()).filter(|port| *port != 80) {
        canonical.push(':');
        canonical.push_str(&port.to_string());
    }
    canonical
}

fn split(authority: &str) -> (&str, Option<&str>) {
    let bytes = authority.as_bytes();
    let after_brackets = memchr::memrchr(b']', bytes).map_or(0, |end| end + 1);
    match memchr::memchr(b':', &bytes[after_brackets..]) {
        Some(between) => {
            let colon = after_brackets + between;
            (&authority[..colon], Some(&authority[colon + 1..]))
        }
        None => (authority, None),
    }
}

fn is_host(host: &str) -> bool {
    if let Some(bracketed) = host.strip_prefix('[') {
        return bracketed.strip_suffix(']').is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok());
    }
    let host = host.strip_suffix('.').unwrap_or(host);
    // No label is empty: no dot stands at either end or behind another.
    let mut before = b'.';
    for byte in host.bytes() {
        match byte {
            b'.' if before == b'.' => return false,
            b'.' | b'-' | b'_' => {}
            _ if byte.is_ascii_alphanumeric() => {}
            _ => return false,
        }
        before = byte;
    }
    before != b'.'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_have_one_spelling() {
        let rows = [
            ("localhost", Some("localhost")),
            ("API.Example.com:80", Some("api.example.com")),
            ("api.example.com.:8080", Some("api.example.com:8080")),
            ("127.0.0.1:8080", Some("127.0.0.1:8080")),
            ("[::1]:8080", Some("[::1]:8080")),
            ("[::1]", Some("[::1]")),
            ("my_host", Some("my_host")),
            ("", None),
            (".", None),
            ("a..b", None),
            ("user@a", None),
            ("user:pw@a", None),
            ("a b", None),
            ("a:", None),
            ("a:0", None),
            ("a:65536", None),
            ("a:+80", None),
            ("a:80:80", None),
            ("a/b", None),
            ("a,b", None),
            ("a%2eb", None),
            ("ä", None),
            ("[::1", None),
            ("::1", None),
            ("[::1]x", None),
            ("[::1]:80]", None),
        ];
        for (authority, expected) in rows {
            let found = is_authority(authority).then(|| canonical_authority(authority));
            assert_eq!(found.as_deref(), expected, "{authority:?}");
        }
        assert!(!is_authority(&"a".repeat(261)));
    }
}
