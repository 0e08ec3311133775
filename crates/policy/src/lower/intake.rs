//! What makes demands of requests: routes, sources and costs; and the warnings about what is never used.

use std::collections::{BTreeMap, BTreeSet};

use http::HeaderName;

use super::Lowering;
use crate::file::{self, Choice, Quota};
use crate::intake::{CostDraft, CostSource, IntakeDraft, SettleDraft, SettleSource};
use crate::problem::Problem;
use crate::reading::{Place, Text};

impl<'f> Lowering<'f> {
    /// The draft of the intake.
    pub(super) fn intake(&mut self) -> IntakeDraft {
        let parameters = self.parameters();
        IntakeDraft {
            bases: self.bases(),
            ignore_case: self.file.ignore_case,
            routes: self.routes(),
            attributes: self.attributes(&parameters),
            jwt: self.jwt(),
            client: self.client(),
            costs: self.costs(),
            settles: self.settles(),
        }
    }

    fn costs(&mut self) -> Vec<CostDraft> {
        let mut costs = Vec::new();
        for unit in &self.file.units {
            let mut stated: BTreeMap<String, Place> = BTreeMap::new();
            let mut of_rest: Option<Place> = None;
            for cost in &unit.costs {
                let on = cost.on.as_ref().map(|on| self.on(on));
                match (&cost.on, of_rest) {
                    (Some(on), _) => self.note_stated(&mut stated, &unit.name, on),
                    (None, Some(first)) => self.note(Problem::cost_of_rest_twice(cost.place, &unit.name, first)),
                    (None, None) => of_rest = Some(cost.place),
                }
                if let Some(source) = cost.source.as_ref().and_then(|source| self.cost_source(source)) {
                    costs.push(CostDraft { unit: unit.name.to_string(), on, source });
                }
            }
        }
        costs
    }

    fn cost_source(&mut self, source: &'f file::CostSource) -> Option<CostSource> {
        match source {
            file::CostSource::Is(amount) => Some(CostSource::Is(*amount)),
            file::CostSource::Header(name) => self.header(name, name).map(CostSource::Header),
            file::CostSource::LengthOf(text) => {
                self.pointer(text, "body").map(|pointer| CostSource::LengthOf(pointer.to_owned()))
            }
            file::CostSource::SumOf(text) => {
                self.pointer(text, "body").map(|pointer| CostSource::SumOf(pointer.to_owned()))
            }
            file::CostSource::BytesOf(text) if &**text == "body" => Some(CostSource::BytesOfBody),
            file::CostSource::BytesOf(text) => {
                self.note(Problem::bad_pointer(text.place, text, "`body`, all of it", "write `bytes_of = \"body\"`"));
                None
            }
        }
    }

    /// The name of a header, which is a part of `text`.
    fn header(&mut self, text: &Text, name: &str) -> Option<String> {
        if HeaderName::from_bytes(name.as_bytes()).is_err() {
            self.note(Problem::bad_name(text, text.place_of(name), "a header", "letters, digits and `-`"));
            return None;
        }
        Some(name.to_owned())
    }

    /// Notes operations whose cost in a unit an earlier entry states. `stated` are those of the earlier entries.
    fn note_stated(&mut self, stated: &mut BTreeMap<String, Place>, unit: &str, on: &[Text]) {
        let mut fresh = Vec::new();
        for name in on {
            let operations = self.names.operations_called(name).unwrap_or_default();
            if let Some(first) = operations.iter().find_map(|operation| stated.get(*operation)) {
                self.problems.push(Problem::cost_twice(name, unit, *first));
            }
            fresh.extend(operations.into_iter().map(|operation| (operation.to_owned(), name.place)));
        }
        stated.extend(fresh);
    }

    fn settles(&mut self) -> Vec<SettleDraft> {
        let mut settles = Vec::new();
        for unit in &self.file.units {
            let Some(settle) = &unit.settle else { continue };
            let source = match settle.strip_prefix("response-header:") {
                Some(name) => self.header(settle, name).map(SettleSource::Header),
                None => self.pointer(settle, "response").map(|pointer| SettleSource::Body(pointer.to_owned())),
            };
            if let Some(source) = source {
                settles.push(SettleDraft { unit: unit.name.to_string(), on: None, source });
            }
        }
        settles
    }

    /// The JSON pointer after `body:` or `response:`.
    fn pointer(&mut self, text: &'f Text, whose: &str) -> Option<&'f str> {
        let help = format!("write `{whose}:/member/member`, or `{whose}:` for the whole of it");
        let Some(pointer) = text.strip_prefix(whose).and_then(|rest| rest.strip_prefix(':')) else {
            self.note(Problem::bad_pointer(text.place, text, &format!("`{whose}:` and a JSON pointer"), &help));
            return None;
        };
        if !pointer.is_empty() && !pointer.starts_with('/') {
            let place = text.place_of(pointer);
            self.note(Problem::bad_pointer(place, text, "a JSON pointer, which begins with `/`", &help));
            return None;
        }
        let escapes = pointer.match_indices('~').find(|(at, _)| !pointer[at + 1..].starts_with(['0', '1']));
        if let Some((at, _)) = escapes {
            let place = text.place_of(&pointer[at..=at]);
            self.note(Problem::bad_pointer(place, text, "`~0` for `~`, or `~1` for `/`", &help));
            return None;
        }
        Some(pointer)
    }

    /// Warns of what is surely not as it was meant.
    pub(super) fn warn(&mut self) {
        let file = self.file;
        let used = self.used_attributes();
        for attribute in &file.attributes {
            if !used.contains(&*attribute.name) && &*attribute.name != "plan" {
                self.note(Problem::unused_attribute(&attribute.name));
            }
        }
        let counted: BTreeSet<&str> = file.limits.iter().filter_map(|limit| limit.unit.as_deref()).collect();
        for unit in file.units.iter().filter(|unit| !counted.contains(&*unit.name)) {
            self.note(Problem::unused_unit(&unit.name));
        }
        self.warn_of_tokens();
        let mut records = file.records.iter().flat_map(|records| &records.list);
        if !records.any(|record| record.created.is_some()) {
            for place in self.choices_by_age() {
                self.note(Problem::unknown_age(place));
            }
        }
        let sources = || file.attributes.iter().flat_map(|attribute| &attribute.sources).flat_map(|it| &it.from);
        if let Some(client) = file.client.as_ref().filter(|_| !sources().any(|from| &**from == "client")) {
            self.note(Problem::unused_client(client.place));
        }
    }

    /// Where quotas of limits are chosen by age.
    fn choices_by_age(&self) -> Vec<Place> {
        fn find(quota: &Quota, places: &mut Vec<Place>) {
            let Quota::By(Choice { by, default, cases, .. }) = quota else { return };
            places.extend(by.iter().filter(|by| &***by == "age").map(|by| by.place));
            let cases = cases.iter().filter_map(|(_, case)| case.as_ref());
            cases.chain(default.as_deref()).for_each(|quota| find(quota, places));
        }
        let mut places = Vec::new();
        self.file.limits.iter().filter_map(|limit| limit.quota.as_ref()).for_each(|quota| find(quota, &mut places));
        places
    }

    fn warn_of_tokens(&mut self) {
        let Some(jwt) = &self.file.jwt else { return };
        let sources = self.file.attributes.iter().flat_map(|attribute| &attribute.sources);
        let reads_claims = sources.flat_map(|source| &source.from).any(|from| from.starts_with("jwt:"));
        let has_secrets = self.file.records.iter().flat_map(|it| &it.list).any(|record| record.secret.is_some());
        if !reads_claims {
            self.note(Problem::unused_jwt(jwt.place));
        } else if !has_secrets && !jwt.upstream_verifies() && !jwt.has_keys {
            self.note(Problem::untrusted_claims(jwt.place));
        }
    }

    fn used_attributes(&self) -> BTreeSet<&'f str> {
        let mut used: BTreeSet<&str> = self.file.records.iter().map(|records| &*records.attribute).collect();
        let sources = self.file.attributes.iter().flat_map(|attribute| &attribute.sources);
        used.extend(sources.flat_map(|source| &source.from).filter_map(|from| from.strip_prefix("attribute:")));
        for limit in &self.file.limits {
            used.extend(limit.per.iter().chain(&limit.distinct).map(|per| per.strip_suffix('?').unwrap_or(per)));
            used.extend(limit.when.iter().chain(&limit.unless).map(|(attribute, _)| &**attribute));
            limit.quota.iter().for_each(|quota| choosers(quota, &mut used));
        }
        let records = self.file.records.iter().flat_map(|records| &records.list);
        let overrides = records.flat_map(|record| &record.limits).filter_map(|(_, quota)| quota.as_ref());
        overrides.for_each(|quota| choosers(quota, &mut used));
        used
    }
}

/// The attributes that a quota is chosen by.
fn choosers<'f>(quota: &'f Quota, used: &mut BTreeSet<&'f str>) {
    let Quota::By(Choice { by, default, cases, .. }) = quota else { return };
    used.extend(by.as_deref());
    cases.iter().filter_map(|(_, case)| case.as_ref()).chain(default.as_deref()).for_each(|it| choosers(it, used));
}
