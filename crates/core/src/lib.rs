//! What a limit is and whether a demand fits.
//!
//! A [`Demand`] names attributes and a cost. [`ChargeList::resolve`] makes [`Charges`] of it, a plan that leaves a store no
//! choice. A store applies them by [`Rule::peek`] and [`Rule::charge`] and answers with [`Statuses`], of which
//! [`decide`] makes the [`Decision`]. Everything here is a pure function of its arguments: `now` is always one of them.
//!
//! What this crate does not do: I/O, clocks, async, serialisation, logging, HTTP.

pub mod bounds;
mod counter;
mod decision;
mod demand;
mod key;
mod policy;
mod time;

pub use counter::{
    Algorithm, Align, Calendar, CalendarError, Cover, Needs, Quota, Rule, RuleError, Status, Wait, idle_at,
};
pub use decision::{Basis, Decision, Part, Ruling, Slate, Statuses, Verdict, decide, decide_on, decide_resolved};
pub use demand::{Attributes, Demand, DemandBuilder, DemandError, Purpose};
pub use key::Key;
pub use policy::{
    AttributeId, Case, Charge, ChargeList, Charges, Choice, Chosen, Condition, Cost, Explained, FreezeError, Limit,
    LimitDraft, LimitId, Mode, OnStoreError, Operation, OperationDraft, OperationId, Origin, Per, Policy, PolicyDraft,
    QuotaTree, Reason, Record, RecordDraft, Recorded, Selected, UnitId,
};
pub use time::{Span, Timestamp};
