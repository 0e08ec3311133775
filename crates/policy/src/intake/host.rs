//! Host patterns: one label of a host as an attribute, `api-{value}.sendbird.com`.
//!
//! Hosts are compared in small letters, without port and without a final dot, so that one host has one spelling.

use super::bad_request::BadRequest;

/// Longest host in bytes, as in the DNS.
const MAX_HOST_BYTES: usize = 255;

/// A pattern of labels; one of them holds `{value}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostPattern {
    labels: Box<[Label]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Label {
    prefix: Box<str>,
    wild: Wild,
    suffix: Box<str>,
}

/// What is between a label's prefix and suffix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wild {
    /// Nothing: the label is its prefix.
    None,
    /// `*`: any characters, also none.
    Any,
    /// `{value}`: any characters, at least one.
    Value,
}

impl HostPattern {
    /// Reads a pattern.
    ///
    /// # Errors
    ///
    /// What is wrong, and what was expected.
    pub(crate) fn parse(text: &str) -> Result<HostPattern, String> {
        let lower = text.to_ascii_lowercase();
        if !text.contains("{value}") {
            return Err(format!("host pattern `{text}` lacks `{{value}}`, the part to take"));
        }
        let labels = lower.split('.').map(|label| Label::parse(label, text)).collect::<Result<Box<[_]>, _>>()?;
        match labels.iter().filter(|label| label.wild == Wild::Value).count() {
            1 => Ok(HostPattern { labels }),
            _ => Err(format!("host pattern `{text}` has `{{value}}` more than once")),
        }
    }

    /// The part of `host`, a canonical one, that `{value}` stands for.
    pub(crate) fn value<'h>(&self, host: &'h str) -> Option<&'h str> {
        let mut value = None;
        let mut parts = host.split('.');
        for label in &self.labels {
            let middle = parts.next()?.strip_prefix(&*label.prefix)?.strip_suffix(&*label.suffix)?;
            match label.wild {
                Wild::None if middle.is_empty() => {}
                Wild::Any => {}
                Wild::Value if !middle.is_empty() => value = Some(middle),
                Wild::None | Wild::Value => return None,
            }
        }
        value.filter(|_| parts.next().is_none())
    }
}

impl Label {
    fn parse(label: &str, pattern: &str) -> Result<Label, String> {
        let (prefix, wild, suffix) = if let Some((prefix, suffix)) = label.split_once("{value}") {
            (prefix, Wild::Value, suffix)
        } else if let Some((prefix, suffix)) = label.split_once('*') {
            (prefix, Wild::Any, suffix)
        } else {
            (label, Wild::None, "")
        };
        let is_plain = |text: &str| text.bytes().all(is_host_byte);
        if !is_plain(prefix) || !is_plain(suffix) {
            return Err(format!(
                "label `{label}` of host pattern `{pattern}` may hold letters, digits, `-`, `_` and one `*` or `{{value}}`"
            ));
        }
        if label.is_empty() {
            return Err(format!("host pattern `{pattern}` has an empty label"));
        }
        Ok(Label { prefix: prefix.into(), wild, suffix: suffix.into() })
    }
}

/// The one spelling of a host: small letters, no port, no final dot.
///
/// # Errors
///
/// It is empty, too long, or not a host (user information, spaces, a port that is no number …).
pub(crate) fn canonical(host: &str) -> Result<String, BadRequest> {
    let bad = |message: &str| Err(BadRequest::at("host", message));
    if host.len() > MAX_HOST_BYTES + ":65535".len() {
        return bad("expected at most 255 bytes");
    }
    let (name, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, after)) => {
            if address.is_empty() || !address.bytes().all(|byte| byte.is_ascii_hexdigit() || b":.".contains(&byte)) {
                return bad("expected an IPv6 address between brackets");
            }
            (&host[..address.len() + 2], after)
        }
        None if host.starts_with('[') => return bad("expected an IPv6 address between brackets"),
        None => host.split_at(host.find(':').unwrap_or(host.len())),
    };
    let is_port = |digits: &str| digits.is_empty() || digits.parse::<u16>().is_ok_and(|_| !digits.starts_with('+'));
    if !port.is_empty() && !port.strip_prefix(':').is_some_and(is_port) {
        return bad("expected a port number after the colon");
    }
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_name =
        name.starts_with('[') || name.split('.').all(|label| !label.is_empty() && label.bytes().all(is_host_byte));
    if name.is_empty() || name.len() > MAX_HOST_BYTES || !is_name {
        return bad("expected a host name of letters, digits, `-`, `_` and dots");
    }
    Ok(name.to_ascii_lowercase())
}

fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}
