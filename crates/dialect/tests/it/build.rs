//! Decisions for tests, made by core's own functions: a small policy with the limits in question, and their statuses.

use tidegate_core::{
    AttributeId, Basis, Decision, Demand, DemandBuilder, LimitDraft, OperationDraft, Policy, PolicyDraft, Status,
    Timestamp, decide,
};

/// A limit that applies to every demand, its quota still to be filled in.
pub(crate) fn draft_of(name: &str) -> LimitDraft {
    LimitDraft { name: name.to_owned(), ..LimitDraft::default() }
}

/// A policy that has these limits, these attributes and these operations, and the operation `other`.
pub(crate) fn policy<'n>(
    limits: impl Iterator<Item = &'n LimitDraft>,
    attributes: impl Iterator<Item = &'n str>,
    operations: &[String],
) -> Policy {
    let mut draft = PolicyDraft { name: "row".to_owned(), default_operation: "other".to_owned(), ..Default::default() };
    for name in attributes.filter(|name| !AttributeId::BUILT_IN.contains(name)) {
        if !draft.attributes.iter().any(|known| known == name) {
            draft.attributes.push(name.to_owned());
        }
    }
    for name in operations.iter().map(String::as_str).chain(["other"]) {
        if !draft.operations.iter().any(|known| known.name == name) {
            draft.operations.push(OperationDraft { name: name.to_owned(), ..Default::default() });
        }
    }
    draft.limits = limits.cloned().collect();
    for limit in &draft.limits {
        if limit.unit != "requests" && !draft.units.contains(&limit.unit) {
            draft.units.push(limit.unit.clone());
        }
    }
    Policy::freeze(&draft).expect("the limits are a policy")
}

/// Sets attributes that the policy declares.
pub(crate) fn set_all<'a>(builder: &mut DemandBuilder<'a>, policy: &Policy, attributes: &'a [(&str, String)]) {
    for (name, value) in attributes {
        let attribute = policy.attribute(name).expect("declared for the test");
        builder.set(attribute, value).expect("a value that fits");
    }
}

/// The decision if the counters of all limits stand so.
pub(crate) fn decision<'d>(demand: &'d Demand<'d>, statuses: &[Status], now: Timestamp) -> Decision<'d> {
    decide(demand, now, |charges, answer| {
        assert_eq!(charges.len(), statuses.len(), "every limit applies");
        for (index, status) in statuses.iter().enumerate() {
            answer.set(index, *status, Basis::Counter);
        }
    })
}
