//! Warnings about limits that a caller gets rid of by leaving out what the caller alone controls, and about statements
//! that this is meant.
//!
//! What is said is so: such a request meets no enforced limit on the operation that is named. Where that depends on what
//! else a request has, nothing is said.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tidegate_core::{LimitDraft, Mode, PolicyDraft};

use super::Lowering;
use super::omission::{Fate, World};
use crate::file::{self, Choice};
use crate::intake::IntakeDraft;
use crate::problem::Problem;
use crate::reading::{Place, Text};

impl<'f> Lowering<'f> {
    /// Only for a file without errors.
    pub(super) fn warn_of_evasion(&mut self, policy: &PolicyDraft, intake: &IntakeDraft) {
        let file = self.file;
        let world = World::of(policy, intake);
        let named = file.limits.iter().filter_map(|limit| Some((limit.name.as_deref()?, limit)));
        let limits: HashMap<&str, &'f file::Limit> = named.collect();
        let is_meant = |limit: &LimitDraft, attribute: &str| {
            let written = limits.get(limit.name.as_str());
            written.is_some_and(|limit| limit.lenient_without.iter().any(|meant| **meant == *attribute))
        };
        // By limit and attribute: an operation that is then without limit.
        let mut evaded: BTreeMap<(&str, &str), &str> = BTreeMap::new();
        let mut needed: BTreeSet<(&str, &str)> = BTreeSet::new();
        for (operation, limits) in world.limits_on_each() {
            let mut enforced = limits.iter().filter(|limit| limit.mode == Mode::Enforce);
            if enforced.any(|limit| matches!(world.fate(limit, operation), Fate::Stays)) {
                continue;
            }
            let goes = limits.iter().filter_map(|limit| match world.fate(limit, operation) {
                Fate::Goes(without) | Fate::Unlimited(without) if !without.is_empty() => Some((*limit, without)),
                Fate::Goes(_) | Fate::Unlimited(_) | Fate::Stays => None,
            });
            let goes: Vec<(&LimitDraft, BTreeSet<&str>)> = goes.collect();
            for (place, (limit, without)) in goes.iter().enumerate() {
                needed.extend(without.iter().map(|attribute| (limit.name.as_str(), *attribute)));
                // Were that one not evaded, this one would not have to be.
                let comes_first = |(other_place, (other, by)): (usize, &(&LimitDraft, BTreeSet<&str>))| {
                    other.mode == Mode::Enforce
                        && by.is_subset(without)
                        && (by.len() < without.len() || other_place < place)
                };
                if limit.mode != Mode::Enforce || goes.iter().enumerate().any(comes_first) {
                    continue;
                }
                for attribute in without {
                    // That nothing limits such requests is said once, by any limit that is on the operation.
                    let is_said = |(other, by): &(&LimitDraft, BTreeSet<&str>)| {
                        by.contains(attribute) && is_meant(other, attribute)
                    };
                    if !goes.iter().any(is_said) {
                        evaded.entry((&limit.name, attribute)).or_insert(&operation.name);
                    }
                }
            }
        }
        for ((name, attribute), operation) in &evaded {
            if let Some(limit) = limits.get(name) {
                let place = place_in(limit, attribute);
                self.note(Problem::evaded_limit(place, name, attribute, &world.left_out(attribute), operation));
            }
        }
        for draft in &policy.limits {
            let Some(limit) = limits.get(draft.name.as_str()) else { continue };
            let grows = world.grows_without(draft);
            for attribute in grows.iter().filter(|attribute| !is_meant(draft, attribute)) {
                if draft.mode == Mode::Enforce && !evaded.contains_key(&(draft.name.as_str(), *attribute)) {
                    let place = limit.quota.as_ref().and_then(|quota| chooser(quota, attribute)?.by.as_ref());
                    let place = place.map_or(limit.place, |by| by.place);
                    self.note(Problem::larger_without(place, attribute, &world.left_out(attribute)));
                }
            }
            for meant in &limit.lenient_without {
                if !needed.contains(&(&draft.name, meant)) && !grows.contains(&**meant) {
                    self.note(Problem::needless_leniency(meant));
                }
            }
        }
    }
}

/// Where a limit wants an attribute, and whether it counts by it there.
fn place_in(limit: &file::Limit, attribute: &str) -> (Place, bool) {
    let condition = |conditions: &'_ [(Text, Vec<Text>)]| {
        conditions.iter().map(|(name, _)| name).find(|name| ***name == *attribute).map(|name| name.place)
    };
    if let Some(place) = condition(&limit.when) {
        return (place, false);
    }
    if let Some(counted) = limit.per.iter().find(|per| ***per == *attribute) {
        return (counted.place, true);
    }
    let chosen = limit.quota.as_ref().and_then(|quota| chooser(quota, attribute)).and_then(|choice| choice.by.as_ref());
    let place = condition(&limit.unless).or(chosen.map(|by| by.place));
    (place.unwrap_or(limit.place), false)
}

/// The choice of quotas by an attribute.
fn chooser<'f>(quota: &'f file::Quota, attribute: &str) -> Option<&'f Choice> {
    let file::Quota::By(choice) = quota else { return None };
    if choice.by.as_deref() == Some(attribute) {
        return Some(choice);
    }
    let cases = choice.cases.iter().filter_map(|(_, case)| case.as_ref());
    cases.chain(choice.default.as_deref()).find_map(|case| chooser(case, attribute))
}
