//! Where attributes come from.

use tidegate_core::AttributeId;

use super::Lowering;
use crate::file;
use crate::intake::{AttributeDraft, From, JwtDraft, SourceDraft};
use crate::problem::Problem;
use crate::reading::Text;

const KINDS: &[&str] = &["header", "query", "path", "bearer", "jwt", "host", "body", "constant"];

impl Lowering<'_> {
    /// All attributes with their sources. `parameters` are the path parameters of all routes.
    pub(super) fn attributes(&mut self, parameters: &[&str]) -> Vec<AttributeDraft> {
        let mut drafts = Vec::new();
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
        let map = source.map.iter().map(|(pattern, value)| (pattern.to_string(), value.to_string())).collect();
        SourceDraft { from, map }
    }

    /// One place in a request.
    fn from(&mut self, text: &Text, parameters: &[&str]) -> Option<From> {
        let (kind, rest) = text.split_once(':').unwrap_or((text, ""));
        if !KINDS.contains(&kind) {
            let help = did_you_mean_source(text, kind);
            self.note(Problem::bad_source(text.place_of(kind), text, "no kind of source", help));
            return None;
        }
        let from = match From::parse(text) {
            Ok(from) => from,
            Err(why) => {
                self.note(Problem::bad_source(text.place, text, &why, None));
                return None;
            }
        };
        match &from {
            From::Path(name) if !parameters.contains(&name.as_str()) => {
                self.note(Problem::unknown_parameter(text.place_of(rest), name, parameters));
            }
            From::Jwt(_) if self.file.jwt.is_none() => {
                self.note(Problem::no_jwt(text.place, "a `jwt:` source"));
            }
            _ => {}
        }
        Some(from)
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

    /// Where tokens are, and the secrets that verify them.
    pub(super) fn jwt(&mut self) -> Option<JwtDraft> {
        let jwt = self.file.jwt.as_ref()?;
        let mut from = Vec::new();
        for text in &jwt.from {
            match self.from(text, &[]) {
                Some(place @ (From::Header(_) | From::Query(_) | From::Bearer)) => from.push(place),
                Some(_) => {
                    let label = "a token is in a header, a query parameter or `bearer`";
                    self.note(Problem::bad_source(
                        text.place,
                        text,
                        label,
                        Some("write `header:Authorization`".to_owned()),
                    ));
                }
                None => {}
            }
        }
        let mut draft = JwtDraft { from, upstream_verifies: jwt.upstream_verifies, ..JwtDraft::default() };
        for records in &self.file.records {
            for record in &records.list {
                let Some(secret) = &record.secret else { continue };
                draft.secrets.insert((records.attribute.clone(), record.value.to_string()), secret.to_string());
            }
        }
        Some(draft)
    }
}

fn did_you_mean_source(text: &Text, kind: &str) -> Option<String> {
    let meant = match kind {
        "ip" | "client" | "address" | "remote" => return None,
        "cookie" => {
            return Some(
                "read the whole header with `header:Cookie`, or send the value in a header of its own".to_owned(),
            );
        }
        "const" | "value" => "constant",
        "token" | "authorization" => "bearer",
        "claim" => "jwt",
        "param" | "parameter" => "path",
        _ => crate::problem::nearest(kind, KINDS)?,
    };
    Some(match text.split_once(':') {
        Some((_, rest)) if meant != "bearer" => format!("did you mean `{meant}:{rest}`?"),
        _ if meant == "bearer" => "did you mean `bearer`?".to_owned(),
        _ => format!("did you mean `{meant}:NAME`?"),
    })
}
