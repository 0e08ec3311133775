//! A dialect: from a decision to the fields of an answer.

use std::collections::HashSet;

use tidegate_core::{Decision, Policy, Ruling, Wait};

use crate::fields::Names;
use crate::list::List;
use crate::problem::suggestion;
use crate::scene::{Scene, Unknown, Words, visible, visible_named};
use crate::template::{Placeholder, Quantity, Template};
use crate::{DialectErrors, Fields, Inspection, read};

/// How one vendor spells a decision.
#[derive(Clone, Debug)]
pub struct Dialect {
    pub(crate) name: Box<str>,
    pub(crate) names: Names,
    pub(crate) families: Vec<Family>,
    pub(crate) words: Words,
    pub(crate) refusal: Answer,
    pub(crate) variants: Vec<Variant>,
    pub(crate) inspection: Option<Inspection>,
}

/// Headers that come and go together.
#[derive(Clone, Debug)]
pub(crate) struct Family {
    pub(crate) of: Of,
    pub(crate) admitted: bool,
    pub(crate) refused: OnRefusal,
    pub(crate) headers: Vec<Header>,
}

/// Which limits a family is about.
#[derive(Clone, Debug)]
pub(crate) enum Of {
    /// The one that binds.
    Binding,
    /// Every one that applies.
    Every,
    /// These, as far as they apply.
    These(Vec<Box<str>>),
}

/// Whether a family is on a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnRefusal {
    No,
    Yes,
    /// If the binding limit is one of its own.
    ByIt,
}

/// One header.
#[derive(Clone, Debug)]
pub(crate) struct Header {
    pub(crate) name: Box<str>,
    /// The place of its name among the dialect's.
    pub(crate) place: usize,
    pub(crate) value: HeaderValue,
}

/// How a header's value is made.
#[derive(Clone, Debug)]
pub(crate) enum HeaderValue {
    Text(Template),
    List(List),
}

/// An answer that we give ourselves.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Option<Body>,
}

/// A body and what it is.
#[derive(Clone, Debug)]
pub(crate) struct Body {
    pub(crate) content_type: Box<str>,
    pub(crate) template: Template,
}

/// A refusal that is worded in its own way.
#[derive(Clone, Debug)]
pub(crate) struct Variant {
    /// The binding limits it is for; none for all.
    pub(crate) of: Option<Vec<Box<str>>>,
    /// The wait it is for; none for any.
    pub(crate) wait: Option<Wait>,
    pub(crate) answer: Answer,
}

impl Dialect {
    /// Reads a dialect from its TOML text. `name` is what diagnostics call it.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with the text, each with its line.
    pub fn parse(name: &str, text: &str) -> Result<Dialect, DialectErrors> {
        read::dialect(name, text)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How the vendor shows what is left, if it does.
    pub fn inspection(&self) -> Option<&Inspection> {
        self.inspection.as_ref()
    }

    /// The names of all headers that it can write, each spelling once; [`Fields::into_parts`] refers to their places.
    pub fn header_names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.names.iter()
    }

    /// Writes a decision. Every decision has its fields: what does not apply is left out.
    pub fn render(&self, decision: &Decision<'_>) -> Fields {
        let mut fields = Fields::default();
        self.render_on(&mut fields, decision);
        fields
    }

    /// The same in the memory of an earlier answer, for who writes many.
    pub fn render_on(&self, fields: &mut Fields, decision: &Decision<'_>) {
        let answer = if decision.is_admitted() { None } else { Some(self.refusal(decision)) };
        fields.begin(&self.names, answer.map_or(200, |answer| answer.status));
        for family in self.families.iter().filter(|family| family.is_on(decision)) {
            family.write(decision, &self.words, fields);
        }
        if let Some(body) = answer.and_then(|answer| answer.body.as_ref()) {
            let subject = decision.binding();
            body.write(&Scene { decision, words: &self.words, subject, unknown: Unknown::Guessed }, fields);
        }
    }

    /// Everything that the dialect names and the policy does not have, a sentence each. A dialect that is used with
    /// other policies than its own may well name limits that they lack: what they would show is left out.
    pub fn check(&self, policy: &Policy) -> Vec<String> {
        let mut check = Check { policy, found: Vec::new(), seen: HashSet::new() };
        for family in &self.families {
            if let Of::These(limits) = &family.of {
                check.limits("a header family", limits);
            }
            for header in &family.headers {
                check.header(header);
            }
        }
        for (name, word) in &self.words {
            check.limits(&format!("word `{name}`"), word.by_limit.keys());
        }
        for variant in &self.variants {
            check.limits("a variant of the refusal", variant.of.iter().flatten());
            check.body("a variant of the refusal", variant.answer.body.as_ref());
        }
        check.body("the refusal", self.refusal.body.as_ref());
        if let Some(inspection) = &self.inspection {
            inspection.check(&mut check);
        }
        check.found.sort();
        check.found
    }

    fn refusal(&self, decision: &Decision<'_>) -> &Answer {
        let binding = decision.binding();
        let fits = |variant: &&Variant| variant.is_for(binding);
        self.variants.iter().find(fits).map_or(&self.refusal, |variant| &variant.answer)
    }
}

impl Variant {
    fn is_for(&self, binding: Option<Ruling<'_>>) -> bool {
        let Some(binding) = binding else { return false };
        self.of.as_ref().is_none_or(|names| is_among(names, binding.name()))
            && self.wait.is_none_or(|wait| wait == binding.status.retry_after)
    }
}

impl Family {
    fn is_on(&self, decision: &Decision<'_>) -> bool {
        if decision.is_admitted() {
            return self.admitted;
        }
        match (self.refused, &self.of) {
            (OnRefusal::No, _) => false,
            (OnRefusal::ByIt, Of::These(names)) => {
                decision.binding().is_some_and(|binding| is_among(names, binding.name()))
            }
            (OnRefusal::Yes | OnRefusal::ByIt, _) => true,
        }
    }

    fn write(&self, decision: &Decision<'_>, words: &Words, fields: &mut Fields) {
        let subject = match &self.of {
            Of::Binding => decision.binding(),
            Of::These(names) if names.len() == 1 => visible_named(decision, &names[0]),
            Of::Every | Of::These(_) => None,
        };
        if !self.applies(decision, subject) {
            return;
        }
        let scene = Scene { decision, words, subject, unknown: Unknown::Missing };
        for header in &self.headers {
            fields.write(header.place, |out| match &header.value {
                HeaderValue::Text(template) => template.write_header(&scene, out).is_some(),
                HeaderValue::List(list) => {
                    let limits = visible(decision).filter(|ruling| self.is_about(ruling, decision));
                    list.write(limits.map(|ruling| Scene { subject: Some(ruling), ..scene }), out)
                }
            });
        }
    }

    fn applies(&self, decision: &Decision<'_>, subject: Option<Ruling<'_>>) -> bool {
        match &self.of {
            Of::Binding => subject.is_some(),
            Of::Every | Of::These(_) => visible(decision).any(|ruling| self.is_about(&ruling, decision)),
        }
    }

    fn is_about(&self, ruling: &Ruling<'_>, decision: &Decision<'_>) -> bool {
        match &self.of {
            Of::Binding => decision.binding().is_some_and(|binding| binding.name() == ruling.name()),
            Of::Every => true,
            Of::These(names) => is_among(names, ruling.name()),
        }
    }
}

impl Body {
    pub(crate) fn write(&self, source: &impl crate::template::Source, fields: &mut Fields) {
        fields.write_body(&self.content_type, self.template.is_json, |out| self.template.write_body(source, out));
    }
}

fn is_among(names: &[Box<str>], name: &str) -> bool {
    names.iter().any(|known| **known == *name)
}

/// What a dialect names, looked up in a policy.
pub(crate) struct Check<'p> {
    policy: &'p Policy,
    found: Vec<String>,
    seen: HashSet<(&'static str, String)>,
}

impl Check<'_> {
    pub(crate) fn limits<'n>(&mut self, place: &str, names: impl IntoIterator<Item = &'n Box<str>>) {
        for name in names {
            if self.policy.limit_named(name).is_none() {
                let known = self.policy.limits().iter().map(tidegate_core::Limit::name);
                self.missing(place, "limit", name, &suggestion(name, known));
            }
        }
    }

    pub(crate) fn operation(&mut self, place: &str, name: &str) {
        if self.policy.operation_named(name).is_none() {
            let known = self.policy.operations().iter().map(tidegate_core::Operation::name);
            self.missing(place, "operation", name, &suggestion(name, known));
        }
    }

    pub(crate) fn attribute(&mut self, place: &str, name: &str) {
        if self.policy.attribute(name).is_none() {
            let near = suggestion(name, self.policy.attribute_names());
            self.missing(place, "attribute", name, &near);
        }
    }

    pub(crate) fn body(&mut self, place: &str, body: Option<&Body>) {
        self.placeholders(place, body.iter().flat_map(|body| body.template.placeholders()));
    }

    fn header(&mut self, header: &Header) {
        let place = format!("header `{}`", header.name);
        match &header.value {
            HeaderValue::Text(template) => self.placeholders(&place, template.placeholders()),
            HeaderValue::List(list) => {
                let parameters = list.parameters.iter().flat_map(|parameter| parameter.value.placeholders());
                self.placeholders(&place, list.item.placeholders().chain(parameters));
            }
        }
    }

    fn placeholders<'n>(&mut self, place: &str, placeholders: impl Iterator<Item = &'n Placeholder>) {
        for placeholder in placeholders {
            self.limits(place, placeholder.limit.as_ref());
            if let Quantity::Attribute(name) = &placeholder.quantity {
                self.attribute(place, name);
            }
        }
    }

    /// Each missing name once, however often it is named.
    fn missing(&mut self, place: &str, kind: &'static str, name: &str, near: &str) {
        if self.seen.insert((kind, name.to_owned())) {
            let policy = self.policy.name();
            self.found.push(format!("{place}: policy `{policy}` has no {kind} `{name}`{near}"));
        }
    }
}
