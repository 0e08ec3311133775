//! What the limits on an operation depend on: so that a surface reads no more of a request than it needs.

use super::matching::{Candidate, Node};
use super::{AttributeId, Condition, Limit, LimitId, OperationId, Policy};

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
                || limit.per.iter().any(|per| per.attribute() == attribute)
                || limit.conditions.iter().any(|condition| condition.reads(attribute))
                || self.node_reads(&candidate.quota, attribute)
                || self.overrides(candidate.limit).any(|node| self.node_reads(node, attribute))
        })
    }

    /// The candidates that have a quota for somebody.
    fn able_candidates(&self, operation: OperationId) -> impl Iterator<Item = &Candidate> {
        let candidates = &self.operation(operation).candidates;
        candidates.iter().filter(|candidate| {
            !matches!(candidate.quota, Node::Unlimited) || self.overrides(candidate.limit).next().is_some()
        })
    }

    fn overrides(&self, limit: LimitId) -> impl Iterator<Item = &Node> {
        let records = self.records.iter().flat_map(|(_, records)| records.values());
        records.filter_map(move |record| record.overrides.get(&limit))
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
                self.node_reads(source, attribute) || self.overrides(*of).any(|node| self.node_reads(node, attribute))
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
