//! Which requests of a server an API is for, and where they go: its hosts, its prefix, its upstream.
//!
//! Hosts and prefixes are compared in their canonical forms, so that no spelling of a request chooses another API.

use http::Method;

use crate::intake::{BadRequest, Case, Target, canonical_host};

/// What a policy says about the requests that it is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Serving {
    hosts: Vec<HostRule>,
    /// The prefix's segments, decoded.
    prefix: Vec<Box<str>>,
    /// The prefix as it is forwarded; empty for none.
    prefix_text: Box<str>,
    /// How the prefix is compared, as routes are.
    case: Case,
    strip_prefix: bool,
    upstream: Option<Box<str>>,
}

/// Some hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
enum HostRule {
    /// This one.
    Is(Box<str>),
    /// All that end so, with at least one label before it; it begins with a dot.
    Below(Box<str>),
}

/// How closely a request fits. Of several APIs that it fits, it is for the greatest: a host beats a wildcard, a longer
/// wildcard a shorter, any of them none; then the longer prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fit {
    is_exact_host: bool,
    host_bytes: usize,
    prefix_segments: usize,
}

/// Why a text is no host, prefix or upstream: what was expected, and what to do.
pub(crate) struct Unfit {
    pub(crate) label: String,
    pub(crate) help: String,
}

fn unfit<T>(label: impl Into<String>, help: impl Into<String>) -> Result<T, Unfit> {
    Err(Unfit { label: label.into(), help: help.into() })
}

impl Serving {
    /// Adds a host: `api.example.com`, or `*.example.com` for all below it.
    pub(crate) fn add_host(&mut self, text: &str) -> Result<(), Unfit> {
        let (name, is_wild) = match text.strip_prefix("*.") {
            Some(rest) => (rest, true),
            None => (text, false),
        };
        if name.contains('*') {
            return unfit("a `*` stands only for the first labels", "write `*.example.com`, or list the hosts");
        }
        if name.contains(':') && !name.starts_with('[') {
            return unfit("hosts are compared without their port", "leave the port out");
        }
        let Ok(canonical) = canonical_host(name) else {
            return unfit("expected a host name", "write it as `api.example.com`, or `*.example.com` for all below it");
        };
        let rule =
            if is_wild { HostRule::Below(format!(".{canonical}").into()) } else { HostRule::Is(canonical.into()) };
        if self.hosts.contains(&rule) {
            return unfit("this host is there already", "say it once");
        }
        self.hosts.push(rule);
        Ok(())
    }

    /// Sets the prefix, `/a/b`.
    pub(crate) fn set_prefix(&mut self, text: &str) -> Result<(), Unfit> {
        if text.contains(['{', '}', '*']) {
            return unfit("a prefix has no parameters", "write a fixed path, or use `bases`");
        }
        if text.contains('?') {
            return unfit("a prefix is a path, without a query", "leave the query out");
        }
        let target = match Target::of(&Method::GET, text) {
            Ok(target) if target.flaw.is_none() => target,
            Ok(Target { flaw: Some(flaw), .. }) | Err(flaw) => {
                return unfit(format!("not a path: {}", flaw.message()), "write it as `/chat` or `/chat/v2`");
            }
            Ok(_) => return Ok(()),
        };
        if target.segments.is_empty() || text.ends_with('/') {
            return unfit("expected a path that does not end with `/`", "write it as `/chat`, or leave it out");
        }
        self.prefix = (0..target.segments.len()).map(|index| target.text(index).into()).collect();
        self.prefix_text = target.canonical.as_str().into();
        Ok(())
    }

    /// Sets how the prefix is compared.
    pub(crate) fn set_case(&mut self, case: Case) {
        self.case = case;
    }

    /// Says that the prefix is not forwarded.
    pub(crate) fn strip_prefix(&mut self) {
        self.strip_prefix = true;
    }

    /// Sets where requests go: `http://host[:port][/base]`.
    pub(crate) fn set_upstream(&mut self, text: &str) -> Result<(), Unfit> {
        let help = "write it as `http://127.0.0.1:3000`";
        let Ok(uri) = text.parse::<http::Uri>() else { return unfit("not a URL", help) };
        match (uri.scheme_str(), uri.authority()) {
            (Some("https"), _) => unfit("https is not supported", help),
            (Some("http"), Some(authority)) if canonical_host(authority.as_str()).is_err() => {
                unfit("expected a host, and a port perhaps, after `http://`", help)
            }
            (Some("http"), Some(_)) if uri.query().is_some() => {
                unfit("a query cannot be put before every path", "leave the query out")
            }
            (Some("http"), Some(_)) => {
                self.upstream = Some(text.into());
                Ok(())
            }
            _ => unfit("expected `http://` and a host", help),
        }
    }

    /// The hosts, in the order written: `api.example.com`, `*.example.com`. None for all.
    pub fn hosts(&self) -> impl Iterator<Item = String> {
        self.hosts.iter().map(|rule| match rule {
            HostRule::Is(host) => host.to_string(),
            HostRule::Below(end) => format!("*{end}"),
        })
    }

    /// The prefix as it is forwarded, `/chat`; empty for none.
    pub fn prefix(&self) -> &str {
        &self.prefix_text
    }

    /// Whether the prefix is left out of what is forwarded.
    pub fn strips_prefix(&self) -> bool {
        self.strip_prefix
    }

    /// Where requests go, if not where the server sends all.
    pub fn upstream(&self) -> Option<&str> {
        self.upstream.as_deref()
    }

    /// Whether it takes every request.
    pub fn takes_all(&self) -> bool {
        self.hosts.is_empty() && self.prefix.is_empty()
    }

    /// Whether it depends on the host.
    pub fn asks_host(&self) -> bool {
        !self.hosts.is_empty()
    }

    /// How closely a request fits; `None` if it is not for this API. `host` is canonical.
    pub fn fit(&self, host: Option<&str>, target: &Target<'_>) -> Option<Fit> {
        let host_fit = match self.hosts.is_empty() {
            true => (false, 0),
            false => self.hosts.iter().filter_map(|rule| rule.fit(host?)).max()?,
        };
        let fits = target.begins_with(&self.prefix, self.case);
        fits.then_some(Fit { is_exact_host: host_fit.0, host_bytes: host_fit.1, prefix_segments: self.prefix.len() })
    }

    /// What two APIs are both for, so that nothing says whose a request is.
    pub fn overlap(&self, other: &Serving) -> Option<String> {
        let case = if self.case == Case::Ignored { self.case } else { other.case };
        let mut pairs = self.prefix.iter().zip(&other.prefix);
        if self.prefix.len() != other.prefix.len() || !pairs.all(|(ours, theirs)| case.is_same(ours, theirs)) {
            return None;
        }
        let host = match (self.hosts.is_empty(), other.hosts.is_empty()) {
            (true, true) => String::new(),
            (false, false) => {
                let mut names = self.hosts();
                names.find(|name| other.hosts().any(|theirs| theirs == *name))?
            }
            _ => return None,
        };
        match (host.is_empty(), self.prefix.is_empty()) {
            (true, true) => Some("every request".to_owned()),
            _ => Some(format!("`{host}{}`", self.prefix_text)),
        }
    }

    /// What it is for, in words: `api.example.com/chat`.
    pub fn describe(&self) -> String {
        let hosts: Vec<String> = self.hosts().collect();
        match (hosts.as_slice(), self.prefix()) {
            ([], "") => "every request".to_owned(),
            ([], prefix) => prefix.to_owned(),
            (hosts, prefix) => hosts.iter().map(|host| format!("{host}{prefix}")).collect::<Vec<_>>().join(", "),
        }
    }

    /// The segments of the prefix that are not forwarded.
    pub(crate) fn stripped(&self) -> Vec<Box<str>> {
        if self.strip_prefix { self.prefix.clone() } else { Vec::new() }
    }
}

impl HostRule {
    fn fit(&self, host: &str) -> Option<(bool, usize)> {
        match self {
            HostRule::Is(name) => (**name == *host).then_some((true, name.len())),
            HostRule::Below(end) => (host.len() > end.len() && host.ends_with(&**end)).then_some((false, end.len())),
        }
    }
}

/// The one spelling of a host that all spellings of it share.
///
/// # Errors
///
/// It is not a host.
pub fn host_of(authority: &str) -> Result<String, BadRequest> {
    canonical_host(authority)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn serving(hosts: &[&str], prefix: &str) -> Serving {
        let mut serving = Serving::default();
        for host in hosts {
            assert!(serving.add_host(host).is_ok(), "{host}");
        }
        assert!(prefix.is_empty() || serving.set_prefix(prefix).is_ok(), "{prefix}");
        serving
    }

    /// The most specific of those that fit.
    fn chosen(all: &[(&str, Serving)], host: &str, path: &str) -> Option<String> {
        let target = Target::of(&Method::GET, path).expect("a path");
        let host = host_of(host).ok();
        let fits = all.iter().filter_map(|(name, it)| Some((it.fit(host.as_deref(), &target)?, name)));
        fits.max_by_key(|(fit, _)| *fit).map(|(_, name)| (*name).to_owned())
    }

    #[test]
    fn the_most_specific_api_is_chosen() {
        let all = [
            ("exact", serving(&["api.example.com"], "")),
            ("exact-chat", serving(&["api.example.com"], "/chat")),
            ("wild", serving(&["*.example.com"], "")),
            ("wild-deep", serving(&["*.eu.example.com"], "/chat")),
            ("chat", serving(&[], "/chat")),
            ("chat-v2", serving(&[], "/chat/v2")),
        ];
        for (host, path, expected) in [
            ("api.example.com", "/", Some("exact")),
            ("API.Example.com.:8080", "/x", Some("exact")),
            ("api.example.com", "/chat", Some("exact-chat")),
            ("api.example.com", "/ch%61t/x", Some("exact-chat")),
            ("api.example.com", "/chats", Some("exact")),
            ("b.example.com", "/chat", Some("wild")),
            ("a.b.example.com", "/", Some("wild")),
            ("a.eu.example.com", "/chat/", Some("wild-deep")),
            ("a.eu.example.com", "/", Some("wild")),
            ("example.com", "/chat/v1", Some("chat")),
            ("badexample.com", "/chat/v2/x?y", Some("chat-v2")),
            ("other.org", "/chat/../v2", Some("chat")),
            ("other.org", "/", None),
            ("other.org", "/Chat", None),
            ("other.org", "/./chat", None),
        ] {
            assert_eq!(chosen(&all, host, path).as_deref(), expected, "{host} {path}");
        }
    }

    #[test]
    fn only_the_same_hosts_and_prefix_overlap() {
        let rows = [
            ((&[][..], ""), (&[][..], ""), Some("every request")),
            ((&[], "/a"), (&[], "/%61"), Some("`/a`")),
            ((&[], "/a"), (&[], "/a/b"), None),
            ((&["a.org"], ""), (&[], ""), None),
            ((&["a.org", "B.org"], "/x"), (&["b.org."], "/x"), Some("`b.org/x`")),
            ((&["*.a.org"], ""), (&["b.a.org"], ""), None),
        ];
        for ((hosts, prefix), (others, other_prefix), expected) in rows {
            let overlap = serving(hosts, prefix).overlap(&serving(others, other_prefix));
            assert_eq!(overlap.as_deref(), expected, "{hosts:?} {prefix} {others:?} {other_prefix}");
        }
    }
}
