//! Drafts of policies to freeze.

use tidegate_core::{LimitDraft, OperationDraft, PolicyDraft, Quota, QuotaTree, Span};

/// A policy of one operation, `other`, with these limits and the attributes `app`, `user` and `platform`.
pub(crate) fn policy(limits: Vec<LimitDraft>) -> PolicyDraft {
    PolicyDraft {
        name: "sample".to_owned(),
        version: 1,
        attributes: ["app", "user", "platform"].map(str::to_owned).to_vec(),
        operations: vec![operation("other")],
        default_operation: "other".to_owned(),
        limits,
        ..PolicyDraft::default()
    }
}

pub(crate) fn operation(name: &str) -> OperationDraft {
    OperationDraft { name: name.to_owned(), ..OperationDraft::default() }
}

/// A fixed window for everybody.
pub(crate) fn limit(name: &str, quota: QuotaTree) -> LimitDraft {
    LimitDraft { name: name.to_owned(), quota, ..LimitDraft::default() }
}

/// So many a minute.
pub(crate) fn minute(amount: u64) -> QuotaTree {
    QuotaTree::Fixed(Quota::per(amount, Span::from_secs(60)))
}

/// A choice by an attribute; the case `*` is the default.
pub(crate) fn by(attribute: &str, cases: &[(&str, QuotaTree)]) -> QuotaTree {
    let case = |name: &str| cases.iter().find(|(case, _)| *case == name).map(|(_, tree)| Box::new(tree.clone()));
    let named = cases.iter().filter(|(case, _)| *case != "*");
    QuotaTree::By {
        attribute: attribute.to_owned(),
        cases: named.map(|(case, tree)| ((*case).to_owned(), tree.clone())).collect(),
        default: case("*"),
    }
}
