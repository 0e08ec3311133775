//! Where attributes come from.

use std::collections::BTreeSet;

use http::HeaderName;
use tidegate_core::{AttributeId, bounds};

use super::Lowering;
use super::names::each_once;
use crate::file;
use crate::intake::{AttributeDraft, ClientDraft, From, MAX_TRUSTED, Network, SourceDraft};
use crate::problem::{Problem, nearest};
use crate::reading::Text;

/// The kinds of sources, and how each is written.
const KINDS: [(&str, &str); 10] = [
    ("header", "header:NAME"),
    ("query", "query:NAME"),
    ("path", "path:PARAMETER"),
    ("bearer", "bearer"),
    ("client", "client"),
    ("jwt", "jwt:CLAIM"),
    ("host", "host:{value}.example.com"),
    ("body", "body:/member"),
    ("attribute", "attribute:NAME"),
    ("constant", "constant:VALUE"),
];

impl Lowering<'_> {
    /// All attributes with their sources. `parameters` are the path parameters of all routes.
    pub(super) fn attributes(&mut self, parameters: &[&str]) -> Vec<AttributeDraft> {
        let mut drafts = Vec::new();
        self.check_circles();
        for attribute in &self.file.attributes {
            let sources = attribute.sources.iter().map(|source| self.source(source, parameters)).collect();
            self.warn_of_unreached(attribute);
            let is_derived = AttributeId::BUILT_IN.contains(&&*attribute.name) && &*attribute.name != "plan";
            if !is_derived {
                drafts.push(AttributeDraft { name: attribute.name.to_string(), sources });
            }
        }
        drafts
    }

    fn source(&mut self, source: &file::Source, parameters: &[&str]) -> SourceDraft {
        let from = source.from.iter().filter_map(|text| self.from(text, parameters)).collect();
        for (_, value) in &source.map {
            self.check_length(value, value);
        }
        let map = source.map.iter().map(|(pattern, value)| (pattern.to_string(), value.to_string())).collect();
        SourceDraft { from, map, hash: source.hash }
    }

    /// One place in a request.
    fn from(&mut self, text: &Text, parameters: &[&str]) -> Option<From> {
        let from = self.parsed(text)?;
        match &from {
            From::Path(name) if !parameters.contains(&name.as_str()) => {
                let place = text.part("path:".len()..text.len());
                self.note(Problem::unknown_parameter(place, name, parameters));
            }
            From::Constant(value) => self.check_length(text, value),
            From::Attribute(name) => self.check_attribute(text, name),
            From::Jwt(_) if self.file.jwt.is_none() => {
                self.note(Problem::no_jwt(text.place, "a `jwt:` source"));
            }
            _ => {}
        }
        Some(from)
    }

    /// Notes an attribute that cannot be the source of another.
    fn check_attribute(&mut self, text: &Text, name: &str) {
        let place = text.part("attribute:".len()..text.len());
        if name == "plan" {
            let label = "it is settled last, from records and [plans], when all other attributes are known";
            let help = "take what the plan comes from, or name `plan` in the limit".to_owned();
            self.note(Problem::bad_source(text.place, text, label, Some(help)));
        } else if !self.names.attributes.contains(&name) {
            self.note(Problem::unknown_attribute(name, place, &self.names.attributes));
        }
    }

    /// Notes attributes that come from themselves, through however many others, each once.
    fn check_circles(&mut self) {
        let file = self.file;
        let mut noted = BTreeSet::new();
        for attribute in &file.attributes {
            if let Some(circle) = circle_from(file, attribute)
                && !circle.iter().any(|(name, _)| noted.contains(name))
            {
                noted.extend(circle.iter().map(|(name, _)| *name));
                self.note(Problem::circle(&circle));
            }
        }
    }

    /// Notes a value that no attribute can have.
    fn check_length(&mut self, text: &Text, value: &str) {
        if value.is_empty() {
            self.note(Problem::empty_value(text.place));
        } else if value.len() > bounds::MAX_ATTRIBUTE_BYTES {
            let (expected, found) = (format!("at most {} bytes", bounds::MAX_ATTRIBUTE_BYTES), value.len().to_string());
            self.note(Problem::out_of_range(text.place, "value", &expected, &found));
        }
    }

    /// A source by itself.
    pub(super) fn parsed(&mut self, text: &Text) -> Option<From> {
        let (kind, rest) = text.split_once(':').unwrap_or((text, ""));
        let Some((_, form)) = KINDS.iter().find(|(known, _)| *known == kind) else {
            let place = text.part(0..kind.len());
            self.note(Problem::bad_source(place, text, "no kind of source", meant(text, kind)));
            return None;
        };
        let why = match From::parse(text) {
            Ok(from) => return Some(from),
            Err(_) if rest.is_empty() && form.contains(':') => format!("nothing after `{kind}`"),
            Err(why) => why,
        };
        self.note(Problem::bad_source(text.place, text, &why, Some(format!("write `{form}`"))));
        None
    }

    /// Warns of sources after one that is always present.
    fn warn_of_unreached(&mut self, attribute: &file::Attribute) {
        let is_always = |text: &&Text| text.starts_with("constant:");
        let mut always: Option<&Text> = None;
        for source in &attribute.sources {
            if let (Some(always), Some(first)) = (always, source.from.first()) {
                self.problems.push(Problem::unreached_source(first.place, always.place));
                return;
            }
            if source.map.is_empty() {
                always = source.from.iter().find(is_always);
            }
        }
    }

    /// Whose address the client's is.
    pub(super) fn client(&mut self) -> ClientDraft {
        let Some(client) = &self.file.client else { return ClientDraft::default() };
        if let Some(header) = client.header.as_ref().filter(|name| HeaderName::from_bytes(name.as_bytes()).is_err()) {
            self.note(Problem::bad_name(header, header.place, "a header", "letters, digits and `-`"));
        }
        each_once(&client.trusted, "trusted", &mut self.problems);
        if let Some(block) = client.trusted.get(MAX_TRUSTED) {
            let kind = "blocks of trusted addresses";
            self.note(Problem::too_many(block.place, kind, MAX_TRUSTED, client.trusted.len()));
        }
        for text in client.trusted.iter().take(MAX_TRUSTED) {
            match Network::parse(text) {
                Ok(network) if network.is_everything() => self.note(Problem::trusted_by_all(text)),
                Ok(_) => {}
                Err(mistake) => self.note(Problem::bad_network(text, &mistake.label, mistake.help)),
            }
        }
        let standard = ClientDraft::default();
        ClientDraft {
            // Proxies that nobody says otherwise of write this one.
            header: Some(client.header.as_deref().unwrap_or("X-Forwarded-For").to_owned()),
            trusted: client.trusted.iter().map(|text| text.to_string()).collect(),
            ipv4_prefix: client.ipv4_prefix.unwrap_or(standard.ipv4_prefix),
            ipv6_prefix: client.ipv6_prefix.unwrap_or(standard.ipv6_prefix),
        }
    }
}

/// The names of attributes that lead from `first` back to it, each with the source that leads to the next.
fn circle_from<'f>(file: &'f file::File, first: &'f file::Attribute) -> Option<Vec<(&'f str, &'f Text)>> {
    let mut ways = vec![vec![(&*first.name, None)]];
    let mut reached: BTreeSet<&str> = BTreeSet::new();
    while let Some(way) = ways.pop() {
        let last = way.last().map(|(name, _): &(&str, Option<&Text>)| *name);
        let attribute = file.attributes.iter().find(|known| Some(&*known.name) == last);
        for from in attribute.into_iter().flat_map(|it| &it.sources).flat_map(|source| &source.from) {
            let Some(next) = from.strip_prefix("attribute:") else { continue };
            let mut longer = way.clone();
            longer.last_mut()?.1 = Some(from);
            if next == &*first.name {
                return longer.into_iter().map(|(name, from)| Some((name, from?))).collect();
            }
            if reached.insert(next) {
                longer.push((next, None));
                ways.push(longer);
            }
        }
    }
    None
}

/// What a source of an unknown kind was probably meant to be.
fn meant(text: &Text, kind: &str) -> Option<String> {
    let kind = match kind {
        "cookie" => return Some("take the value from a header of its own; cookies are not read".to_owned()),
        "const" | "value" | "default" => "constant",
        "token" | "authorization" => "bearer",
        "ip" | "address" | "peer" | "remote" => "client",
        "claim" => "jwt",
        "param" | "parameter" => "path",
        _ => nearest(kind, &KINDS.map(|(kind, _)| kind))?,
    };
    let form = KINDS.iter().find(|(known, _)| *known == kind).map(|(_, form)| *form)?;
    match text.split_once(':') {
        Some((_, rest)) if form.contains(':') => Some(format!("did you mean `{kind}:{rest}`?")),
        _ => Some(format!("did you mean `{form}`?")),
    }
}
