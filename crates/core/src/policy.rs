//! All limits, operations, plans and records of one API: frozen, numbered, replaced only whole.

mod cases;
mod explain;
mod freeze;
mod matching;
mod reads;
mod steady;

use std::collections::HashMap;
use std::sync::Arc;

use crate::{Rule, Timestamp, bounds};

pub use cases::{Case, Choice};
pub use explain::{Chosen, Explained, Origin, Reason, Recorded, Selected};
pub use freeze::{FreezeError, LimitDraft, OperationDraft, PolicyDraft, QuotaTree, RecordDraft};
pub(crate) use matching::Places;
pub use matching::{Charge, ChargeList, Charges};
pub(crate) use reads::AttributeSet;

/// A stable hash of one name.
pub(crate) fn identity_of(name: &str) -> u64 {
    (freeze::identity(std::iter::once(name)) >> 64) as u64
}

/// The place of an attribute in its policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttributeId(pub(crate) u8);

impl AttributeId {
    /// The called operation's name; built in.
    pub const OPERATION: AttributeId = AttributeId(0);
    /// The request's method; built in.
    pub const METHOD: AttributeId = AttributeId(1);
    /// The plan the caller bought; built in.
    pub const PLAN: AttributeId = AttributeId(2);
    /// The operation's class; built in, and follows from the operation.
    pub const CLASS: AttributeId = AttributeId(3);
    /// The built-in attributes' names, in the order of their places.
    pub const BUILT_IN: [&'static str; 4] = ["operation", "method", "plan", "class"];

    /// Its place, from zero.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// The place of a unit in its policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnitId(pub(crate) u8);

impl UnitId {
    /// Requests, the unit of a quota that names none; built in.
    pub const REQUESTS: UnitId = UnitId(0);

    /// The unit at a place, if a policy can have so many.
    pub fn at(place: usize) -> Option<UnitId> {
        (place < bounds::MAX_UNITS).then(|| u8::try_from(place).map(UnitId).ok()).flatten()
    }

    /// Its place, from zero.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// The place of an operation in its policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperationId(pub(crate) u16);

impl OperationId {
    /// Its place, from zero.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// The place of a limit in its policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct LimitId(pub(crate) u16);

impl LimitId {
    /// Its place, from zero.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Whether a limit refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Mode {
    /// It refuses what does not fit.
    #[default]
    Enforce,
    /// It counts and reports, never refuses, and changes no byte of an answer (I37).
    Shadow,
}

impl Mode {
    /// Its name in policies and answers.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Enforce => "enforce",
            Mode::Shadow => "shadow",
        }
    }
}

/// What a limit does where the store has no room for its counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum OnStoreError {
    /// It refuses.
    #[default]
    Closed,
    /// It admits, uncounted; nothing else than the operator's word selects this (I28).
    Open,
}

impl OnStoreError {
    /// Its name in policies and answers.
    pub fn name(self) -> &'static str {
        match self {
            OnStoreError::Closed => "closed",
            OnStoreError::Open => "open",
        }
    }
}

/// An attribute that a limit counts by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Per {
    /// A demand that lacks it is not counted by this limit.
    Required(AttributeId),
    /// Demands that lack it are counted together.
    Optional(AttributeId),
}

impl Per {
    /// Which attribute it is.
    pub fn attribute(self) -> AttributeId {
        match self {
            Per::Required(attribute) | Per::Optional(attribute) => attribute,
        }
    }
}

/// What a demand costs a limit when it does not say so itself, and when the true cost is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Cost {
    /// One unit, charged at once.
    #[default]
    One,
    /// Known only afterwards: admitted while at least one unit remains, charged nothing until it is settled.
    Settled,
}

/// A fact that decides whether a limit applies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// The attribute is present and one of these.
    In(AttributeId, Vec<Box<str>>),
    /// The attribute is missing or none of these.
    NotIn(AttributeId, Vec<Box<str>>),
    /// No record of the demand was created before this instant. A demand without a record counts as new.
    NotCreatedBefore(Timestamp),
}

/// A named call of the API.
#[derive(Clone, Debug)]
pub struct Operation {
    name: Box<str>,
    class: Option<Box<str>>,
    method: Option<Box<str>>,
    /// What can apply to it, in the order of the limits.
    candidates: Box<[matching::Candidate]>,
}

impl Operation {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its class, if it has one.
    pub fn class(&self) -> Option<&str> {
        self.class.as_deref()
    }

    /// Its method, if all its routes have the same.
    pub fn method(&self) -> Option<&str> {
        self.method.as_deref()
    }
}

/// A named rule: when it applies, what it counts by, its quota, enforced or shadow.
#[derive(Clone, Debug)]
pub struct Limit {
    name: Box<str>,
    per: Box<[Per]>,
    distinct: Option<Per>,
    /// Where distinct values are counted, what their markers are named by: `per`, then `distinct`.
    marked_by: Box<[Per]>,
    unit: UnitId,
    cost: Cost,
    mode: Mode,
    counts_refused: bool,
    on_store_error: OnStoreError,
    conditions: Box<[Condition]>,
    identity: u128,
    /// Whether each of its counters is a bucket with one quota at a time.
    is_steady: bool,
    series: u32,
}

impl Limit {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it counts by, in the order written.
    pub fn per(&self) -> &[Per] {
        &self.per
    }

    /// The attribute whose distinct values it counts in place of requests: in each window every value once. An optional
    /// one that is missing is a value too.
    #[inline]
    pub fn distinct(&self) -> Option<Per> {
        self.distinct
    }

    /// What the markers of distinct values are named by.
    pub(crate) fn marked_by(&self) -> &[Per] {
        &self.marked_by
    }

    /// The unit it counts; of distinct values it means nothing.
    pub fn unit(&self) -> UnitId {
        self.unit
    }

    /// What a demand costs it.
    pub fn cost(&self) -> Cost {
        self.cost
    }

    /// Whether it refuses.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Whether attempts of demands that are refused, by whichever limit, are charged to it too: as much of their cost as
    /// is left.
    pub fn counts_refused(&self) -> bool {
        self.counts_refused
    }

    /// What it does where the store has no room for its counter.
    pub fn on_store_error(&self) -> OnStoreError {
        self.on_store_error
    }

    /// What its counters are named by, beside their values and the scale of their rule: the policy's and the limit's
    /// name, what it counts and by what, and the layout of its states. It survives a reload that leaves these alone, and
    /// with it the counters do; so all states of one identity have the same number of words.
    pub fn identity(&self) -> u128 {
        self.identity
    }

    /// What the names of its counters begin with where `rule` is in force: with the same values, limits and rules that have
    /// it in common share their counters, also if they are of different policies.
    #[inline]
    pub fn counters_of(&self, rule: &Rule) -> u128 {
        self.identity ^ if self.is_steady { 0 } else { rule.scale() }
    }

    /// Where an observer counts what becomes of it: a number that whoever puts the policy into force gives with
    /// [`Policy::number`]. Zero until then; nothing here depends on it.
    pub fn series(&self) -> u32 {
        self.series
    }
}

/// What is known about one app, key or account beside the limits of its plan.
#[derive(Clone, Debug, Default)]
pub struct Record {
    plan: Option<Box<str>>,
    created: Option<Timestamp>,
    overrides: HashMap<LimitId, matching::Node>,
}

impl Record {
    /// The plan it is on.
    pub fn plan(&self) -> Option<&str> {
        self.plan.as_deref()
    }

    /// When it was created.
    pub fn created(&self) -> Option<Timestamp> {
        self.created
    }
}

/// The records of one attribute, by its value.
type RecordsOf = (AttributeId, HashMap<Box<str>, Record>);

/// All limits of one API: frozen, numbered, replaced only whole.
#[derive(Debug)]
pub struct Policy {
    name: Box<str>,
    version: u64,
    attributes: Box<[Box<str>]>,
    /// Shared, as what outlives the policy may name them.
    units: Arc<[Box<str>]>,
    operations: Box<[Operation]>,
    operation_ids: HashMap<Box<str>, OperationId>,
    default_operation: OperationId,
    default_plan: Option<Box<str>>,
    limits: Box<[Limit]>,
    rules: matching::Rules,
    /// The limits as they were written, in their order.
    written: Box<[explain::Written]>,
    /// By attribute: the records of its values. Only attributes that have records are here, in their own order.
    records: Box<[RecordsOf]>,
    /// By limit that some record overrides: what these quotas depend on. Walking all records to say so would take long.
    overridden: HashMap<LimitId, AttributeSet>,
}

impl Policy {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its number; a later one replaces an earlier.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Numbers a policy that is about to come into force: its version, and the series that each limit is counted in.
    pub fn number(&mut self, version: u64, mut series: impl FnMut(&Limit) -> u32) {
        self.version = version;
        for limit in &mut self.limits {
            limit.series = series(limit);
        }
    }

    /// The place of the attribute called `name`.
    pub fn attribute(&self, name: &str) -> Option<AttributeId> {
        let index = self.attributes.iter().position(|known| &**known == name)?;
        u8::try_from(index).ok().map(AttributeId)
    }

    /// An attribute's name.
    pub fn attribute_name(&self, attribute: AttributeId) -> &str {
        &self.attributes[attribute.index()]
    }

    /// All attributes' names, in the order of their places, the built-in ones first.
    pub fn attribute_names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.attributes.iter().map(|name| &**name)
    }

    /// All attributes with their names, in the order of their places.
    pub fn attributes(&self) -> impl Iterator<Item = (AttributeId, &str)> {
        (0..).map(AttributeId).zip(self.attribute_names())
    }

    /// The place of the unit called `name`.
    pub fn unit(&self, name: &str) -> Option<UnitId> {
        let index = self.units.iter().position(|known| &**known == name)?;
        u8::try_from(index).ok().map(UnitId)
    }

    /// A unit's name.
    pub fn unit_name(&self, unit: UnitId) -> &str {
        &self.units[unit.index()]
    }

    /// The name of what a limit counts: its unit's, or that of the attribute whose distinct values it counts.
    pub fn counted(&self, limit: &Limit) -> &str {
        match limit.distinct() {
            Some(of) => self.attribute_name(of.attribute()),
            None => self.unit_name(limit.unit),
        }
    }

    /// All units' names, in the order of their places, for what outlives the policy.
    pub fn units(&self) -> Arc<[Box<str>]> {
        Arc::clone(&self.units)
    }

    /// All units' names, in the order of their places.
    pub fn unit_names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.units.iter().map(|name| &**name)
    }

    /// All operations, in the order of their places.
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// The operation at a place.
    pub fn operation(&self, id: OperationId) -> &Operation {
        &self.operations[id.index()]
    }

    /// The operation called `name`.
    pub fn operation_named(&self, name: &str) -> Option<OperationId> {
        self.operation_ids.get(name).copied()
    }

    /// The operation of what no route matches.
    pub fn default_operation(&self) -> OperationId {
        self.default_operation
    }

    /// The plan of those that have none.
    pub fn default_plan(&self) -> Option<&str> {
        self.default_plan.as_deref()
    }

    /// All limits, in the order written.
    pub fn limits(&self) -> &[Limit] {
        &self.limits
    }

    /// The limit called `name`.
    pub fn limit_named(&self, name: &str) -> Option<LimitId> {
        let index = self.limits.iter().position(|limit| &*limit.name == name)?;
        u16::try_from(index).ok().map(LimitId)
    }

    /// The record of an attribute's value, if there is one.
    pub fn record(&self, attribute: AttributeId, value: &str) -> Option<&Record> {
        let (_, records) = self.records.iter().find(|(id, _)| *id == attribute)?;
        records.get(value)
    }

    /// Notes when the policy came into force. Buckets that another policy's rules have used are adopted as they were then.
    pub fn begin(&mut self, now: Timestamp) {
        self.rules.begin(now);
    }

    /// Every rule that some demand could meet: for bounds, worst cases and tables.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.rules.all()
    }
}
