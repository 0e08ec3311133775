//! Which limits have one quota at a time for each of their counters.

use std::collections::HashMap;

use super::{LimitDraft, PolicyDraft, QuotaTree};
use crate::Algorithm;

/// The quotas that a limit can have, looked up once for all limits.
pub(super) struct Quotas<'d> {
    /// By limit: its own quota.
    own: HashMap<&'d str, &'d QuotaTree>,
    /// By limit: the attributes whose records override it, and what they say.
    overrides: HashMap<&'d str, Vec<(&'d str, &'d QuotaTree)>>,
    /// Attributes that have records.
    recorded: Vec<&'d str>,
}

impl<'d> Quotas<'d> {
    pub(super) fn of(draft: &'d PolicyDraft) -> Quotas<'d> {
        let mut overrides: HashMap<&str, Vec<(&str, &QuotaTree)>> = HashMap::new();
        for (attribute, values) in &draft.records {
            for (limit, tree) in values.values().flat_map(|record| &record.limits) {
                overrides.entry(limit).or_default().push((attribute, tree));
            }
        }
        Quotas {
            own: draft.limits.iter().map(|limit| (limit.name.as_str(), &limit.quota)).collect(),
            overrides,
            recorded: draft.records.keys().map(String::as_str).collect(),
        }
    }

    /// Whether a counter of `limit` is a bucket that can only meet another quota because the policy, a record or the plan
    /// changed: then it goes on under the new quota with the share that was used. Where a caller can choose between quotas,
    /// by a method that the limit does not count by for instance, each counts apart: what was used of a slow quota would
    /// come back at the pace of a quick one.
    pub(super) fn are_steady(&self, limit: &LimitDraft) -> bool {
        let counts_by = |attribute: &str| limit.per.iter().any(|(name, _)| name == attribute);
        let is_settled = |attribute: &str| match attribute {
            "plan" => true,
            "class" => counts_by("class") || counts_by("operation"),
            _ => counts_by(attribute),
        };
        let source = if let QuotaTree::Derived { of, .. } = &limit.quota { Some(of.as_str()) } else { None };
        limit.algorithm == Algorithm::TokenBucket
            && [Some(limit.name.as_str()), source].into_iter().flatten().all(|name| {
                let overrides = self.overrides.get(name).into_iter().flatten();
                self.own.get(name).is_none_or(|tree| self.is_chosen_by(tree, &is_settled))
                    && overrides.into_iter().all(|(by, tree)| is_settled(by) && self.is_chosen_by(tree, &is_settled))
            })
    }

    /// Whether all that a quota is chosen by is settled.
    fn is_chosen_by(&self, tree: &QuotaTree, is_settled: &impl Fn(&str) -> bool) -> bool {
        match tree {
            QuotaTree::Fixed(_) | QuotaTree::Unlimited | QuotaTree::Derived { .. } => true,
            QuotaTree::By { attribute, cases, default } => {
                let mut trees = cases.values().chain(default.as_deref());
                is_settled(attribute) && trees.all(|tree| self.is_chosen_by(tree, is_settled))
            }
            QuotaTree::ByAge { steps, default } => {
                let mut trees = steps.values().chain(default.as_deref());
                self.recorded.iter().all(|attribute| is_settled(attribute))
                    && trees.all(|tree| self.is_chosen_by(tree, is_settled))
            }
        }
    }
}
