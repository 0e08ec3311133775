//! Quotas that are larger for those who leave out what they are chosen by.

use std::collections::BTreeSet;

use tidegate_core::{LimitDraft, OperationDraft, Quota, QuotaTree, Span};

use super::omission::{Fate, Left, World, may_be};

/// Most pairs of quotas that are compared for one choice. Choices are four deep at most.
const MAX_COMPARED: usize = 20_000;

impl<'d> World<'d> {
    /// The attributes by whose absence a request to some operation has a larger quota than another has who states them.
    pub(super) fn grows_without(&self, limit: &'d LimitDraft) -> BTreeSet<&'d str> {
        let mut found = BTreeSet::new();
        if !self.is_chosen_by_what_can_be_left_out(&limit.quota) {
            return found;
        }
        let on: Option<BTreeSet<&str>> = limit.on.as_ref().map(|on| on.iter().map(String::as_str).collect());
        for operation in &self.policy.operations {
            let is_on = on.as_ref().is_none_or(|on| on.contains(operation.name.as_str()));
            let goes_without = match self.fate(limit, operation) {
                _ if !is_on => continue,
                Fate::Stays | Fate::Unlimited(_) => BTreeSet::new(),
                Fate::Goes(without) if without.is_empty() => continue,
                Fate::Goes(without) => without,
            };
            let mut grows = BTreeSet::new();
            self.growing(limit, &limit.quota, operation, &mut grows);
            found.extend(grows.difference(&goes_without));
        }
        found
    }

    fn is_chosen_by_what_can_be_left_out(&self, quota: &QuotaTree) -> bool {
        match quota {
            QuotaTree::By { attribute, cases, default } => {
                let mut inner = cases.values().chain(default.as_deref());
                self.can_be_left_out(attribute) || inner.any(|inner| self.is_chosen_by_what_can_be_left_out(inner))
            }
            QuotaTree::ByAge { steps, default } => {
                steps.values().chain(default.as_deref()).any(|inner| self.is_chosen_by_what_can_be_left_out(inner))
            }
            QuotaTree::Fixed(_) | QuotaTree::Unlimited | QuotaTree::Derived { .. } => false,
        }
    }

    fn growing(
        &self,
        limit: &'d LimitDraft,
        quota: &'d QuotaTree,
        operation: &'d OperationDraft,
        found: &mut BTreeSet<&'d str>,
    ) {
        match quota {
            QuotaTree::By { attribute, cases, default } => {
                let otherwise = default.as_deref().unwrap_or(&QuotaTree::Unlimited);
                let left = match self.left(attribute, operation) {
                    Left::Nothing => Some(otherwise),
                    Left::Is(value) => Some(cases.get(value).unwrap_or(otherwise)),
                    Left::Some | Left::Maybe => None,
                };
                let named: Vec<String> = cases.keys().cloned().collect();
                let is_stated = |value: &str| may_be(limit, attribute, value) && self.can_be_stated(attribute, value);
                let stated = cases.iter().filter(|(value, _)| is_stated(value));
                let other = self.can_be_stated_outside(limit, attribute, &named).then_some(otherwise);
                let mut stated = stated.map(|(_, case)| case).chain(other);
                // Whose plan a record says, that is chosen by a name, not by leaving something out.
                let is_recorded = attribute == "plan" && self.sources(attribute).is_empty();
                let left = left.filter(|_| !is_recorded);
                let mut larger = Larger { world: self, limit, operation, compared: 0 };
                if left.is_some_and(|left| stated.any(|case| larger.somewhere(left, case))) {
                    found.insert(attribute);
                }
                for (_, case) in cases.iter().filter(|(value, _)| self.can_be(limit, attribute, value, operation)) {
                    self.growing(limit, case, operation, found);
                }
                if self.can_be_outside(limit, attribute, &named, operation) {
                    self.growing(limit, otherwise, operation, found);
                }
            }
            QuotaTree::ByAge { steps, default } => {
                steps.values().chain(default.as_deref()).for_each(|inner| self.growing(limit, inner, operation, found));
            }
            QuotaTree::Fixed(_) | QuotaTree::Unlimited | QuotaTree::Derived { .. } => {}
        }
    }
}

/// Compares choices of quotas for requests to one operation.
struct Larger<'w, 'd> {
    world: &'w World<'d>,
    limit: &'d LimitDraft,
    operation: &'d OperationDraft,
    compared: usize,
}

impl Larger<'_, '_> {
    /// Whether the one is larger than the other where all else that they are chosen by is the same.
    fn somewhere(&mut self, one: &QuotaTree, other: &QuotaTree) -> bool {
        self.compared += 1;
        if self.compared > MAX_COMPARED {
            return false;
        }
        match (one, other) {
            (QuotaTree::By { attribute, .. }, _) | (_, QuotaTree::By { attribute, .. }) => {
                let mut named: Vec<String> = Vec::new();
                for tree in [one, other] {
                    if let QuotaTree::By { attribute: by, cases, .. } = tree
                        && by == attribute
                    {
                        named.extend(cases.keys().cloned());
                    }
                }
                let (world, limit, operation) = (self.world, self.limit, self.operation);
                let is_met = |value: &&String| world.can_be(limit, attribute, value, operation);
                let values = named.iter().filter(is_met).map(|value| Some(value.as_str()));
                let outside = world.can_be_outside(limit, attribute, &named, operation).then_some(None);
                let with = |value, quota| chosen(quota, attribute, value);
                values.chain(outside).any(|value| self.somewhere(with(value, one), with(value, other)))
            }
            (QuotaTree::ByAge { .. }, _) | (_, QuotaTree::ByAge { .. }) => {
                let mut ages: BTreeSet<Option<Span>> = BTreeSet::from([None]);
                for tree in [one, other] {
                    if let QuotaTree::ByAge { steps, .. } = tree {
                        ages.extend(steps.keys().copied().map(Some));
                    }
                }
                ages.into_iter().any(|age| self.somewhere(aged(one, age), aged(other, age)))
            }
            (QuotaTree::Fixed(one), QuotaTree::Fixed(other)) => is_larger(one, other),
            (QuotaTree::Unlimited, other) => *other != QuotaTree::Unlimited,
            _ => false,
        }
    }
}

/// What is left of a quota where the value of an attribute is known; none stands for one without a case.
fn chosen<'q>(quota: &'q QuotaTree, attribute: &str, value: Option<&str>) -> &'q QuotaTree {
    match quota {
        QuotaTree::By { attribute: by, cases, default } if by == attribute => {
            let case = value.and_then(|value| cases.get(value));
            case.or(default.as_deref()).unwrap_or(&QuotaTree::Unlimited)
        }
        other => other,
    }
}

fn aged(quota: &QuotaTree, age: Option<Span>) -> &QuotaTree {
    match quota {
        QuotaTree::ByAge { steps, default } => {
            let step = age.and_then(|age| steps.range(..=age).next_back()).map(|(_, step)| step);
            step.or(default.as_deref()).unwrap_or(&QuotaTree::Unlimited)
        }
        other => other,
    }
}

/// Whether the one lets more through in the long run, or as much and more at once.
fn is_larger(one: &Quota, other: &Quota) -> bool {
    let rate = |of: &Quota, by: &Quota| u128::from(of.amount) * u128::from(by.window.as_micros().max(1));
    (rate(one, other), one.burst) > (rate(other, one), other.burst)
}
