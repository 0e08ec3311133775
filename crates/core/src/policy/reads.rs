//! What the limits on an operation depend on: so that a surface reads no more of a request than it needs.

use std::collections::HashMap;

use super::matching::{Candidate, Node};
use super::{AttributeId, Condition, Limit, LimitId, OperationId, Policy, RecordsOf};
use crate::bounds;

impl Policy {
    /// The limits that can apply to an operation, in the order written.
    pub fn limits_on(&self, operation: OperationId) -> impl Iterator<Item = &Limit> {
        self.able_candidates(operation).map(|candidate| &self.limits[candidate.limit.index()])
    }

    /// Whether the value of `attribute` can change the charges of a demand for `operation`: because a limit counts by
    /// it, has a condition or a quota that depends on it, or because its values have records.
    pub fn reads(&self, operation: OperationId, attribute: AttributeId) -> bool {
        let has_records = self.records.iter().any(|(recorded, _)| *recorded == attribute);
        self.able_candidates(operation).any(|candidate| {
            let limit = &self.limits[candidate.limit.index()];
            has_records
                || limit.per.iter().chain(&limit.distinct).any(|per| per.attribute() == attribute)
                || limit.conditions.iter().any(|condition| condition.reads(attribute))
                || self.node_reads(&candidate.quota, attribute)
                || self.override_reads(candidate.limit, attribute)
        })
    }

    /// The candidates that have a quota for somebody.
    fn able_candidates(&self, operation: OperationId) -> impl Iterator<Item = &Candidate> {
        let candidates = &self.operation(operation).candidates;
        candidates.iter().filter(|candidate| {
            !matches!(*candidate.quota, Node::Unlimited) || self.overridden.contains_key(&candidate.limit)
        })
    }

    fn override_reads(&self, limit: LimitId, attribute: AttributeId) -> bool {
        self.overridden.get(&limit).is_some_and(|attributes| attributes.has(attribute))
    }

    fn node_reads(&self, node: &Node, attribute: AttributeId) -> bool {
        match node {
            Node::Rule(_) | Node::Unlimited => false,
            Node::By { attribute: by, cases, default } => {
                *by == attribute
                    || cases
                        .iter()
                        .map(|(_, node)| node)
                        .chain(default.as_deref())
                        .any(|node| self.node_reads(node, attribute))
            }
            // Of which attributes the record is that says the age was looked at above.
            Node::ByAge { steps, default } => {
                let nodes = steps.iter().map(|(_, node)| node).chain(default.as_deref());
                nodes.into_iter().any(|node| self.node_reads(node, attribute))
            }
            Node::Derived { of, source, .. } => {
                self.node_reads(source, attribute) || self.override_reads(*of, attribute)
            }
        }
    }
}

impl Condition {
    fn reads(&self, attribute: AttributeId) -> bool {
        match self {
            Condition::In(by, _) | Condition::NotIn(by, _) => *by == attribute,
            Condition::NotCreatedBefore(_) => false,
        }
    }
}

/// Some attributes of a policy.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct AttributeSet(u32);
const _: () = assert!(bounds::MAX_ATTRIBUTES <= 32);

impl AttributeSet {
    #[inline]
    pub(crate) fn with(self, attribute: AttributeId) -> AttributeSet {
        AttributeSet(self.0 | 1 << attribute.index())
    }

    #[inline]
    pub(crate) fn without(self, attribute: AttributeId) -> AttributeSet {
        AttributeSet(self.0 & !(1 << attribute.index()))
    }

    #[inline]
    pub(crate) fn has_all_of(self, others: AttributeSet) -> bool {
        others.0 & !self.0 == 0
    }

    fn has(self, attribute: AttributeId) -> bool {
        self.0 & 1 << attribute.index() != 0
    }

    /// Adds what a record's own quota depends on, which is never derived.
    fn add(&mut self, node: &Node) {
        match node {
            Node::Rule(_) | Node::Unlimited | Node::Derived { .. } => {}
            Node::By { attribute, cases, default } => {
                *self = self.with(*attribute);
                cases.iter().map(|(_, node)| node).chain(default.as_deref()).for_each(|node| self.add(node));
            }
            Node::ByAge { steps, default } => {
                steps.iter().map(|(_, node)| node).chain(default.as_deref()).for_each(|node| self.add(node));
            }
        }
    }
}

/// By limit that some record overrides: the attributes that these quotas depend on.
pub(super) fn overridden(records: &[RecordsOf]) -> HashMap<LimitId, AttributeSet> {
    let mut overridden: HashMap<LimitId, AttributeSet> = HashMap::new();
    for record in records.iter().flat_map(|(_, records)| records.values()) {
        for (limit, node) in &record.overrides {
            overridden.entry(*limit).or_default().add(node);
        }
    }
    overridden
}
