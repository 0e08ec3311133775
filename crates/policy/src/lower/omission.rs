//! What is left of a request, and which limits still apply to it, when a caller leaves out all that the caller alone
//! controls: headers, query parameters, members of the body, tokens.
//!
//! What then is known of an attribute is that it is absent, that it has one value, or less than that. A limit that may
//! apply counts as one that does, so that what goes is gone whatever else a request has. Attributes that come from one
//! header are looked at one by one.

use std::collections::{BTreeSet, HashMap};

use tidegate_core::{LimitDraft, OperationDraft, PolicyDraft, QuotaTree, RecordDraft};

use crate::intake::{From, Glob, IntakeDraft, RouteDraft, SourceDraft};

/// What a request without all that can be left out has as an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left<'d> {
    Nothing,
    Is(&'d str),
    /// Something.
    Some,
    /// Something or nothing.
    Maybe,
}

/// What becomes of a limit when all that can be left out is left out.
#[derive(Debug)]
pub(super) enum Fate<'d> {
    /// It applies to such a request, or to some.
    Stays,
    /// It does not, for want of these attributes; of none if it would not apply anyhow.
    Goes(BTreeSet<&'d str>),
    /// It would, but has no quota for such a request, for want of these attributes.
    Unlimited(BTreeSet<&'d str>),
}

/// A policy, and where its attributes come from.
pub(super) struct World<'d> {
    pub(super) policy: &'d PolicyDraft,
    intake: &'d IntakeDraft,
    /// By operation.
    routes: HashMap<&'d str, Vec<&'d RouteDraft>>,
    /// Whether a claim can count at all.
    has_claims: bool,
}

impl<'d> World<'d> {
    pub(super) fn of(policy: &'d PolicyDraft, intake: &'d IntakeDraft) -> World<'d> {
        let mut routes: HashMap<&str, Vec<&RouteDraft>> = HashMap::new();
        for route in &intake.routes {
            routes.entry(&route.operation).or_default().push(route);
        }
        let has_claims = intake
            .jwt
            .as_ref()
            .is_some_and(|jwt| jwt.upstream_verifies || jwt.keys.is_some() || !jwt.secrets.is_empty());
        World { policy, intake, routes, has_claims }
    }

    /// All operations, each with the limits that are on it.
    pub(super) fn limits_on_each(&self) -> Vec<(&'d OperationDraft, Vec<&'d LimitDraft>)> {
        let mut named: HashMap<&str, Vec<&LimitDraft>> = HashMap::new();
        for limit in &self.policy.limits {
            for operation in limit.on.iter().flatten() {
                named.entry(operation).or_default().push(limit);
            }
        }
        let on_all: Vec<&LimitDraft> = self.policy.limits.iter().filter(|limit| limit.on.is_none()).collect();
        let on = |operation: &'d OperationDraft| {
            let named = named.get(operation.name.as_str()).into_iter().flatten();
            (operation, on_all.iter().chain(named).copied().collect())
        };
        self.policy.operations.iter().map(on).collect()
    }

    pub(super) fn fate(&self, limit: &'d LimitDraft, operation: &'d OperationDraft) -> Fate<'d> {
        let mut by = BTreeSet::new();
        for (attribute, is_optional) in limit.per.iter().chain(&limit.distinct) {
            if !is_optional && self.left(attribute, operation) == Left::Nothing {
                let can_be_met = attribute == "plan" || self.can_be_stated_outside(limit, attribute, &[]);
                if !self.can_be_left_out(attribute) || !can_be_met {
                    return Fate::Goes(BTreeSet::new());
                }
                by.insert(attribute.as_str());
            }
        }
        for (attribute, values) in &limit.when {
            if !values.iter().any(|value| self.can_be(limit, attribute, value, operation)) {
                return Fate::Goes(BTreeSet::new());
            }
            let holds = |value: &str| values.iter().any(|wanted| wanted == value);
            let fails = match self.left(attribute, operation) {
                Left::Nothing => true,
                Left::Is(value) => !holds(value),
                Left::Some | Left::Maybe => false,
            };
            if fails {
                if !values.iter().any(|value| may_be(limit, attribute, value) && self.can_be_stated(attribute, value)) {
                    return Fate::Goes(BTreeSet::new());
                }
                by.insert(attribute);
            }
        }
        for (attribute, values) in &limit.unless {
            let Left::Is(value) = self.left(attribute, operation) else { continue };
            if values.iter().any(|unwanted| unwanted == value) {
                let wanted = limit.when.iter().find(|(name, _)| name == attribute).map(|(_, wanted)| wanted);
                let can_be_other = match wanted {
                    Some(wanted) => {
                        wanted.iter().any(|value| !values.contains(value) && self.can_be_stated(attribute, value))
                    }
                    None => self.can_be_other_than(attribute, values),
                };
                if !can_be_other {
                    return Fate::Goes(BTreeSet::new());
                }
                by.insert(attribute);
            }
        }
        let quota = self.source_of(limit).map_or(&limit.quota, |source| &source.quota);
        if !by.is_empty() {
            let applies = self.is_overridden(limit) || self.has_limit(limit, quota, operation);
            return Fate::Goes(if applies { by } else { BTreeSet::new() });
        }
        if self.may_have_a_quota_of_its_own(limit, operation) {
            return Fate::Stays;
        }
        let mut without = BTreeSet::new();
        match self.is_unlimited(limit, quota, operation, &mut without) {
            true => Fate::Unlimited(without),
            false => Fate::Stays,
        }
    }

    /// The limit that this one's quota is a share of.
    fn source_of(&self, limit: &LimitDraft) -> Option<&'d LimitDraft> {
        let QuotaTree::Derived { of, .. } = &limit.quota else { return None };
        self.policy.limits.iter().find(|other| other.name == *of)
    }

    fn is_overridden(&self, limit: &LimitDraft) -> bool {
        let source = self.source_of(limit).map(|source| source.name.as_str());
        let records = self.policy.records.values().flat_map(|records| records.values());
        records.flat_map(|record| record.limits.keys()).any(|name| *name == limit.name || Some(name.as_str()) == source)
    }

    /// Whether a record that is found all the same has a quota of its own for the limit, or exempts from it.
    fn may_have_a_quota_of_its_own(&self, limit: &LimitDraft, operation: &'d OperationDraft) -> bool {
        let source = self.source_of(limit).map(|source| source.name.as_str());
        let matters = |record: &RecordDraft| {
            record.limits.keys().any(|name| *name == limit.name || Some(name.as_str()) == source)
                || limit.exempt_created_before.is_some_and(|date| record.created.is_some_and(|created| created < date))
        };
        self.policy.records.iter().any(|(attribute, records)| match self.left(attribute, operation) {
            Left::Nothing => false,
            Left::Is(value) => records.get(value).is_some_and(matters),
            Left::Some | Left::Maybe => records.values().any(matters),
        })
    }

    /// Whether such a request has no quota, and without which attributes it then is that it could have had one.
    fn is_unlimited(
        &self,
        limit: &'d LimitDraft,
        quota: &'d QuotaTree,
        operation: &'d OperationDraft,
        without: &mut BTreeSet<&'d str>,
    ) -> bool {
        match quota {
            QuotaTree::Unlimited => true,
            QuotaTree::Fixed(_) | QuotaTree::Derived { .. } => false,
            QuotaTree::ByAge { steps, default } => {
                let mut all = steps.values().chain(default.as_deref());
                all.all(|step| self.is_unlimited(limit, step, operation, without))
            }
            QuotaTree::By { attribute, cases, default } => {
                let named: Vec<String> = cases.keys().cloned().collect();
                let otherwise = |without: &mut BTreeSet<&'d str>| {
                    default.as_deref().is_none_or(|default| self.is_unlimited(limit, default, operation, without))
                };
                let is_unlimited = match self.left(attribute, operation) {
                    Left::Nothing => otherwise(without),
                    Left::Is(value) => match cases.get(value) {
                        Some(case) => self.is_unlimited(limit, case, operation, without),
                        None => otherwise(without),
                    },
                    Left::Some | Left::Maybe => {
                        let mut met = cases.iter().filter(|(value, _)| self.can_be(limit, attribute, value, operation));
                        (!self.can_be_outside(limit, attribute, &named, operation) || otherwise(without))
                            && met.all(|(_, case)| self.is_unlimited(limit, case, operation, without))
                    }
                };
                let can_be_limited = |(value, case): (&String, &QuotaTree)| {
                    may_be(limit, attribute, value)
                        && self.can_be_stated(attribute, value)
                        && self.has_limit(limit, case, operation)
                };
                let may_be_other = || {
                    default.as_deref().is_some_and(|default| self.has_limit(limit, default, operation))
                        && self.can_be_stated_outside(limit, attribute, &named)
                };
                if is_unlimited && (cases.iter().any(can_be_limited) || may_be_other()) {
                    without.insert(attribute);
                }
                is_unlimited
            }
        }
    }

    /// What a request to the operation has as an attribute when all that can be left out is left out.
    pub(super) fn left(&self, attribute: &str, operation: &'d OperationDraft) -> Left<'d> {
        match attribute {
            "operation" => Left::Is(&operation.name),
            "class" => operation.class.as_deref().map_or(Left::Nothing, Left::Is),
            "method" => operation.method.as_deref().map_or(Left::Some, Left::Is),
            "plan" => self.plan_left(operation),
            _ => self.sources_left(attribute, operation),
        }
    }

    fn plan_left(&self, operation: &'d OperationDraft) -> Left<'d> {
        for attribute in &self.policy.attributes {
            let Some(records) = self.policy.records.get(attribute) else { continue };
            match self.left(attribute, operation) {
                Left::Nothing => {}
                Left::Is(value) => {
                    if let Some(plan) = records.get(value).and_then(|record| record.plan.as_deref()) {
                        return Left::Is(plan);
                    }
                }
                Left::Some | Left::Maybe => {
                    if records.values().any(|record| record.plan.is_some()) {
                        return Left::Maybe;
                    }
                }
            }
        }
        match self.sources_left("plan", operation) {
            Left::Nothing => self.policy.default_plan.as_deref().map_or(Left::Nothing, Left::Is),
            plan => plan,
        }
    }

    /// The attributes that have such a record.
    fn recorded_attributes(&self, is_such: impl Fn(&RecordDraft) -> bool) -> impl Iterator<Item = &'d str> {
        let records = self.policy.records.iter();
        records.filter(move |(_, records)| records.values().any(&is_such)).map(|(attribute, _)| attribute.as_str())
    }

    pub(super) fn sources(&self, attribute: &str) -> &'d [SourceDraft] {
        let attribute = self.intake.attributes.iter().find(|known| known.name == attribute);
        attribute.map_or(&[], |attribute| &attribute.sources)
    }

    fn sources_left(&self, attribute: &str, operation: &'d OperationDraft) -> Left<'d> {
        for source in self.sources(attribute) {
            let places = source.from.iter().map(|from| self.place_left(from, operation));
            let found = places.into_iter().find(|left| *left != Left::Nothing).unwrap_or(Left::Nothing);
            match (found, &*source.map) {
                (Left::Nothing, _) => {}
                (Left::Maybe, _) => return Left::Maybe,
                (_, []) if source.hash => return Left::Some,
                (found, []) => return found,
                (Left::Is(value), map) => {
                    let value = value.to_ascii_lowercase();
                    if let Some((_, given)) = map.iter().find(|(pattern, _)| Glob::new(pattern).matches(&value)) {
                        return if source.hash { Left::Some } else { Left::Is(given) };
                    }
                }
                (Left::Some, map) => {
                    return if map.iter().any(|(pattern, _)| Glob::new(pattern).is_total()) {
                        Left::Some
                    } else {
                        Left::Maybe
                    };
                }
            }
        }
        Left::Nothing
    }

    fn place_left(&self, from: &'d From, operation: &'d OperationDraft) -> Left<'d> {
        match from {
            From::Header(_) | From::Query(_) | From::Bearer | From::Jwt(_) | From::Body(_) => Left::Nothing,
            From::Constant(value) => Left::Is(value),
            From::Client => Left::Some,
            From::Host(_) => Left::Maybe,
            From::Attribute(name) => self.left(name, operation),
            From::Path(name) => {
                let routes = self.routes.get(operation.name.as_str()).map_or(&[][..], Vec::as_slice);
                let has = |route: &&&RouteDraft| {
                    ["}", "...}"].iter().any(|end| route.template.contains(&format!("{{{name}{end}")))
                };
                let having = routes.iter().filter(has).count();
                let is_of_the_rest = operation.name == self.policy.default_operation;
                match having {
                    0 => Left::Nothing,
                    all if all == routes.len() && !is_of_the_rest => Left::Some,
                    _ => Left::Maybe,
                }
            }
        }
    }

    /// Whether a caller can give a value by what can be left out.
    pub(super) fn can_be_stated(&self, attribute: &str, value: &str) -> bool {
        let recorded = |record: &RecordDraft| record.plan.as_deref() == Some(value);
        if attribute == "plan" && self.recorded_attributes(recorded).any(|name| self.can_be_left_out(name)) {
            return true;
        }
        self.sources(attribute).iter().any(|source| {
            let is_possible = source.map.is_empty() || source.map.iter().any(|(_, given)| given == value);
            let through = |name: &str| {
                if source.map.is_empty() { self.can_be_stated(name, value) } else { self.can_be_left_out(name) }
            };
            is_possible
                && source.from.iter().any(|from| match from {
                    From::Attribute(name) => through(name),
                    from => self.is_stated(from),
                })
        })
    }

    /// Whether a caller can give another value than these.
    pub(super) fn can_be_other_than(&self, attribute: &str, values: &[String]) -> bool {
        self.sources(attribute).iter().any(|source| {
            let is_possible = source.map.is_empty() || source.map.iter().any(|(_, given)| !values.contains(given));
            let through = |name: &str| {
                if source.map.is_empty() { self.can_be_other_than(name, values) } else { self.can_be_left_out(name) }
            };
            is_possible
                && source.from.iter().any(|from| match from {
                    From::Attribute(name) => through(name),
                    from => self.is_stated(from),
                })
        })
    }

    /// Whether it is there only if the caller says so.
    fn is_stated(&self, from: &From) -> bool {
        match from {
            From::Header(_) | From::Query(_) | From::Bearer | From::Body(_) => true,
            From::Jwt(_) => self.has_claims,
            From::Path(_) | From::Client | From::Host(_) | From::Attribute(_) | From::Constant(_) => false,
        }
    }

    pub(super) fn can_be_left_out(&self, attribute: &str) -> bool {
        !self.left_out(attribute).is_empty()
    }

    /// The sources of an attribute, as they are written, that a caller can leave out.
    pub(super) fn left_out(&self, attribute: &str) -> Vec<String> {
        let mut found = Vec::new();
        if attribute == "plan" {
            found.extend(self.recorded_attributes(|record| record.plan.is_some()).flat_map(|name| self.left_out(name)));
        }
        for from in self.sources(attribute).iter().flat_map(|source| &source.from) {
            match from {
                From::Attribute(name) => found.extend(self.left_out(name)),
                from if self.is_stated(from) => found.push(from.to_string()),
                _ => {}
            }
        }
        found
    }

    /// Whether a caller can give a value that the limit may meet, other than these.
    pub(super) fn can_be_stated_outside(&self, limit: &LimitDraft, attribute: &str, named: &[String]) -> bool {
        match limit.when.iter().find(|(name, _)| name == attribute) {
            Some((_, wanted)) => {
                let mut others = wanted.iter().filter(|value| !named.contains(value));
                others.any(|value| may_be(limit, attribute, value) && self.can_be_stated(attribute, value))
            }
            None => {
                let unwanted = limit.unless.iter().filter(|(name, _)| name == attribute).flat_map(|(_, values)| values);
                self.can_be_other_than(attribute, &named.iter().chain(unwanted).cloned().collect::<Vec<_>>())
            }
        }
    }

    /// Whether some request to the operation that the limit may meet has a quota.
    fn has_limit(&self, limit: &LimitDraft, quota: &QuotaTree, operation: &'d OperationDraft) -> bool {
        let has = |tree: &QuotaTree| self.has_limit(limit, tree, operation);
        match quota {
            QuotaTree::Fixed(_) | QuotaTree::Derived { .. } => true,
            QuotaTree::Unlimited => false,
            QuotaTree::ByAge { steps, default } => steps.values().chain(default.as_deref()).any(has),
            QuotaTree::By { attribute, cases, default } => {
                let named: Vec<String> = cases.keys().cloned().collect();
                cases.iter().any(|(value, case)| self.can_be(limit, attribute, value, operation) && has(case))
                    || default.as_deref().is_some_and(has) && self.can_be_outside(limit, attribute, &named, operation)
            }
        }
    }

    /// Whether a request to the operation that the limit may meet can have this value.
    pub(super) fn can_be(
        &self,
        limit: &LimitDraft,
        attribute: &str,
        value: &str,
        operation: &'d OperationDraft,
    ) -> bool {
        let is_left = match self.left(attribute, operation) {
            Left::Nothing => false,
            Left::Is(own) => own == value,
            Left::Some | Left::Maybe => true,
        };
        may_be(limit, attribute, value) && (is_left || self.can_be_stated(attribute, value))
    }

    /// Whether it can have another value than these, or none.
    pub(super) fn can_be_outside(
        &self,
        limit: &LimitDraft,
        attribute: &str,
        named: &[String],
        operation: &'d OperationDraft,
    ) -> bool {
        let is_left = match self.left(attribute, operation) {
            Left::Nothing => {
                let counted = limit.per.iter().chain(&limit.distinct);
                let is_wanted = counted.into_iter().any(|(name, is_optional)| name == attribute && !is_optional);
                !is_wanted && limit.when.iter().all(|(name, _)| name != attribute)
            }
            Left::Is(own) => may_be(limit, attribute, own) && !named.iter().any(|value| value == own),
            Left::Some | Left::Maybe => {
                let mut wanted = limit.when.iter().filter(|(name, _)| name == attribute);
                let is_other = |value: &String| !named.contains(value) && may_be(limit, attribute, value);
                wanted.all(|(_, values)| values.iter().any(is_other))
            }
        };
        is_left || self.can_be_stated_outside(limit, attribute, named)
    }
}

/// Whether the conditions of a limit let an attribute have a value.
pub(super) fn may_be(limit: &LimitDraft, attribute: &str, value: &str) -> bool {
    let of = |conditions: &[(String, Vec<String>)], holds: &dyn Fn(&[String]) -> bool| {
        conditions.iter().filter(|(name, _)| name == attribute).all(|(_, values)| holds(values))
    };
    let is_in = |values: &[String]| values.iter().any(|known| known == value);
    of(&limit.when, &is_in) && of(&limit.unless, &|values| !is_in(values))
}
