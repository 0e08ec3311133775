//! From a draft, as lowered from a file, to a frozen [`Policy`] in which every name is a place and every quota a rule.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use super::explain::Written;
use super::matching::{Candidate, Node, RuleId, Rules};
use super::reads::overridden;
use super::steady::Quotas;
use super::{
    AttributeId, Condition, Cost, Limit, LimitId, Mode, OnStoreError, Operation, OperationId, Per, Policy, Record,
    RecordsOf, UnitId,
};
use crate::{Algorithm, Align, Quota, Rule, RuleError, Span, Timestamp, bounds};

/// A policy as it was meant, before it is frozen. Names refer to each other; [`Policy::freeze`] checks that they do.
#[derive(Clone, Debug, Default)]
pub struct PolicyDraft {
    /// Its name.
    pub name: String,
    /// Its number.
    pub version: u64,
    /// Attributes beside the built-in ones.
    pub attributes: Vec<String>,
    /// Units beside `requests`.
    pub units: Vec<String>,
    /// Operations.
    pub operations: Vec<OperationDraft>,
    /// The operation of what no route matches; one of `operations`.
    pub default_operation: String,
    /// The plan of those that have none.
    pub default_plan: Option<String>,
    /// Limits.
    pub limits: Vec<LimitDraft>,
    /// Records, by attribute and value.
    pub records: BTreeMap<String, BTreeMap<String, RecordDraft>>,
}

/// An operation as it was meant.
#[derive(Clone, Debug, Default)]
pub struct OperationDraft {
    /// Its name.
    pub name: String,
    /// Its class.
    pub class: Option<String>,
    /// Its method, if all its routes have the same.
    pub method: Option<String>,
}

/// A limit as it was meant.
#[derive(Clone, Debug)]
pub struct LimitDraft {
    /// Its name.
    pub name: String,
    /// The operations it applies to; `None` for all.
    pub on: Option<Vec<String>>,
    /// The attributes it counts by, and whether each is optional.
    pub per: Vec<(String, bool)>,
    /// The attribute whose distinct values it counts in place of a unit, and whether it is optional.
    pub distinct: Option<(String, bool)>,
    /// The unit it counts.
    pub unit: String,
    /// What a demand costs it.
    pub cost: Cost,
    /// Its quota.
    pub quota: QuotaTree,
    /// How it counts.
    pub algorithm: Algorithm,
    /// Whether it refuses.
    pub mode: Mode,
    /// Whether attempts that are refused are charged to it too; not by concurrency, which would hold them for ever.
    pub count_refused: bool,
    /// What it does where the store has no room for its counter.
    pub on_store_error: OnStoreError,
    /// It applies only where the attribute has one of the values.
    pub when: Vec<(String, Vec<String>)>,
    /// It does not apply where the attribute has one of the values.
    pub unless: Vec<(String, Vec<String>)>,
    /// It does not apply to what was created before this instant.
    pub exempt_created_before: Option<Timestamp>,
}

impl Default for LimitDraft {
    /// One without a name, on all requests together, without limit.
    fn default() -> LimitDraft {
        LimitDraft {
            name: String::new(),
            on: None,
            per: Vec::new(),
            distinct: None,
            unit: "requests".to_owned(),
            cost: Cost::One,
            quota: QuotaTree::Unlimited,
            algorithm: Algorithm::FixedWindow,
            mode: Mode::Enforce,
            count_refused: false,
            on_store_error: OnStoreError::Closed,
            when: Vec::new(),
            unless: Vec::new(),
            exempt_created_before: None,
        }
    }
}

/// A quota as it was meant: fixed, or chosen by attributes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QuotaTree {
    /// This one.
    Fixed(Quota),
    /// Without limit.
    Unlimited,
    /// By the value of an attribute; a value that has no case, or a missing one, has the default. Without a default the
    /// limit does not apply to it.
    By {
        /// The attribute.
        attribute: String,
        /// Its values' quotas.
        cases: BTreeMap<String, QuotaTree>,
        /// The quota of other values.
        default: Option<Box<QuotaTree>>,
    },
    /// By age: the time since the first record of the demand that says when it was created. Each quota holds from that
    /// age on; the default for the younger, and where no age is known. Without a default the limit does not apply to
    /// them.
    ByAge {
        /// The quotas, by the age that they begin at.
        steps: BTreeMap<Span, QuotaTree>,
        /// The quota of those who are younger.
        default: Option<Box<QuotaTree>>,
    },
    /// A share of the quota in force of another limit, rounded down and at least one unit (none of none).
    Derived {
        /// The other limit's name.
        of: String,
        /// The share is numerator ÷ denominator of its amount.
        numerator: u64,
        /// See `numerator`; never zero.
        denominator: u64,
        /// The window of the derived quota.
        window: Span,
        /// Where its windows begin.
        align: Align,
    },
}

impl QuotaTree {
    /// Whether it is chosen by `attribute` anywhere; below the deepest allowed choice nobody asks.
    fn is_by(&self, attribute: &str, depth: usize) -> bool {
        if depth > bounds::MAX_QUOTA_DEPTH {
            return false;
        }
        match self {
            QuotaTree::Fixed(_) | QuotaTree::Unlimited | QuotaTree::Derived { .. } => false,
            QuotaTree::By { attribute: by, cases, default } => {
                let mut trees = cases.values().chain(default.as_deref());
                by == attribute || trees.any(|tree| tree.is_by(attribute, depth + 1))
            }
            QuotaTree::ByAge { steps, default } => {
                steps.values().chain(default.as_deref()).any(|tree| tree.is_by(attribute, depth + 1))
            }
        }
    }
}

/// A record as it was meant.
#[derive(Clone, Debug, Default)]
pub struct RecordDraft {
    /// The plan it is on.
    pub plan: Option<String>,
    /// When it was created.
    pub created: Option<Timestamp>,
    /// Quotas, by limit, that differ from its plan's.
    pub limits: BTreeMap<String, QuotaTree>,
}

/// Why a draft cannot be frozen. A draft that `tidegate-policy` lowered without a problem always can.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FreezeError {
    /// A name refers to nothing.
    Unknown {
        /// What kind of thing.
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// Two things of a kind have one name.
    Duplicate {
        /// What kind of thing.
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// There are more than the bound allows.
    TooMany {
        /// What kind of thing.
        kind: &'static str,
        /// At most so many.
        most: usize,
    },
    /// A quota cannot be counted.
    Rule {
        /// Of which limit.
        limit: String,
        /// Why.
        error: RuleError,
    },
    /// A derived quota leads back to itself, or to a limit whose own quota is derived.
    DerivedFromDerived {
        /// Of which limit.
        limit: String,
    },
    /// A derived quota is one of several choices, or a record's own quota.
    DerivedInside {
        /// Of which limit.
        limit: String,
    },
    /// A concurrency limit counts refused attempts, which would never be released.
    HoldsRefused {
        /// Which limit.
        limit: String,
    },
    /// Distinct values are counted by another algorithm than a fixed window, at a cost that is known afterwards, or up to
    /// more than [`bounds::MAX_DISTINCT`].
    Distinct {
        /// Of which limit.
        limit: String,
    },
    /// The choices of a quota are nested deeper than [`bounds::MAX_QUOTA_DEPTH`].
    QuotaTooDeep {
        /// Of which limit.
        limit: String,
    },
}

impl fmt::Display for FreezeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FreezeError::Unknown { kind, name } => write!(f, "no {kind} is called `{name}`"),
            FreezeError::Duplicate { kind, name } => write!(f, "two {kind}s are called `{name}`"),
            FreezeError::TooMany { kind, most } => write!(f, "more than {most} {kind}"),
            FreezeError::Rule { limit, error } => write!(f, "limit `{limit}`: {error}"),
            FreezeError::DerivedFromDerived { limit } => {
                write!(f, "limit `{limit}` is derived from a limit that is itself derived")
            }
            FreezeError::DerivedInside { limit } => {
                write!(f, "limit `{limit}` can only be derived as a whole, not in one case or for one record")
            }
            FreezeError::HoldsRefused { limit } => {
                write!(f, "limit `{limit}` would hold refused attempts, which nobody releases")
            }
            FreezeError::Distinct { limit } => {
                let most = bounds::MAX_DISTINCT;
                write!(f, "limit `{limit}`: fixed windows alone count distinct values, none settled, {most} at most")
            }
            FreezeError::QuotaTooDeep { limit } => {
                write!(f, "quota of limit `{limit}` nests deeper than {} choices", bounds::MAX_QUOTA_DEPTH)
            }
        }
    }
}

impl std::error::Error for FreezeError {}

impl Policy {
    /// Freezes a draft: settles every name, makes a rule of every quota, and plans for each operation what can apply.
    ///
    /// # Errors
    ///
    /// The first thing in the draft that does not fit together.
    pub fn freeze(draft: &PolicyDraft) -> Result<Policy, FreezeError> {
        Freezer::of(draft)?.freeze()
    }
}

/// A draft with its names settled.
struct Freezer<'d> {
    draft: &'d PolicyDraft,
    attributes: Vec<Box<str>>,
    units: Vec<Box<str>>,
    operation_ids: HashMap<Box<str>, OperationId>,
    limit_ids: HashMap<&'d str, LimitId>,
    rules: Rules,
    rule_ids: HashMap<(Algorithm, Quota), RuleId>,
}

impl<'d> Freezer<'d> {
    fn of(draft: &'d PolicyDraft) -> Result<Freezer<'d>, FreezeError> {
        let built_in = AttributeId::BUILT_IN.into_iter();
        let attributes =
            names(["attribute", "attributes"], bounds::MAX_ATTRIBUTES, built_in.chain(each(&draft.attributes)))?;
        let units = names(["unit", "units"], bounds::MAX_UNITS, ["requests"].into_iter().chain(each(&draft.units)))?;
        let operations = draft.operations.iter().map(|operation| operation.name.as_str());
        let operations = names(["operation", "operations"], bounds::MAX_OPERATIONS, operations)?;
        let limits = draft.limits.iter().map(|limit| limit.name.as_str());
        names(["limit", "limits"], bounds::MAX_LIMITS, limits.clone())?;
        Ok(Freezer {
            draft,
            attributes,
            units,
            operation_ids: (0..).map(OperationId).zip(operations).map(|(id, name)| (name, id)).collect(),
            limit_ids: limits.zip((0..).map(LimitId)).collect(),
            rules: Rules::default(),
            rule_ids: HashMap::new(),
        })
    }

    fn freeze(mut self) -> Result<Policy, FreezeError> {
        let quotas = Quotas::of(self.draft);
        let limits =
            self.draft.limits.iter().map(|limit| self.limit(limit, &quotas)).collect::<Result<Box<[_]>, _>>()?;
        let records = self.records()?;
        let overrides = overrides_in(&records);
        let operations = self.operations(&limits, &overrides)?;
        let written = self.written(&overrides)?;
        let default_operation = self.operation(&self.draft.default_operation)?;
        Ok(Policy {
            name: self.draft.name.as_str().into(),
            version: self.draft.version,
            attributes: self.attributes.into(),
            units: self.units.into(),
            operations,
            operation_ids: self.operation_ids,
            default_operation,
            default_plan: self.draft.default_plan.as_deref().map(Into::into),
            limits,
            rules: self.rules,
            written,
            overridden: overridden(&records),
            records,
        })
    }

    fn limit(&self, draft: &LimitDraft, quotas: &Quotas<'_>) -> Result<Limit, FreezeError> {
        if draft.count_refused && draft.algorithm == Algorithm::Concurrency {
            return Err(FreezeError::HoldsRefused { limit: draft.name.clone() });
        }
        let mut conditions = Vec::new();
        for (attribute, values) in &draft.when {
            conditions.push(Condition::In(self.attribute(attribute)?, boxed(values)));
        }
        for (attribute, values) in &draft.unless {
            conditions.push(Condition::NotIn(self.attribute(attribute)?, boxed(values)));
        }
        conditions.extend(draft.exempt_created_before.map(Condition::NotCreatedBefore));
        let per = draft.per.iter().map(|it| self.per(it)).collect::<Result<Vec<_>, _>>()?;
        let distinct = draft.distinct.as_ref().map(|it| self.per(it)).transpose()?;
        let marked_by = if distinct.is_some() { per.iter().copied().chain(distinct).collect() } else { Box::default() };
        if draft.distinct.is_some() && (draft.algorithm != Algorithm::FixedWindow || draft.cost != Cost::One) {
            return Err(FreezeError::Distinct { limit: draft.name.clone() });
        }
        let layout = layout(draft);
        let names = [&self.draft.name, &draft.name, &draft.unit, &layout].into_iter().map(String::as_str);
        let counted_by = draft.per.iter().chain(&draft.distinct).map(|(attribute, _)| attribute.as_str());
        Ok(Limit {
            name: draft.name.as_str().into(),
            per: per.into(),
            distinct,
            marked_by,
            unit: self.unit(&draft.unit)?,
            cost: draft.cost,
            mode: draft.mode,
            counts_refused: draft.count_refused,
            on_store_error: draft.on_store_error,
            conditions: conditions.into(),
            identity: identity(names.chain(counted_by)),
            is_steady: quotas.are_steady(draft),
            series: 0,
        })
    }

    fn records(&mut self) -> Result<Box<[RecordsOf]>, FreezeError> {
        let mut records = Vec::new();
        for (attribute, values) in &self.draft.records {
            let attribute = self.attribute(attribute)?;
            let mut frozen = HashMap::new();
            for (value, draft) in values {
                let mut overrides = HashMap::new();
                for (limit, quota) in &draft.limits {
                    let id = self.limit_id(limit)?;
                    let node = self.node(id, quota, None, 0)?;
                    overrides.insert(id, node);
                }
                let plan = draft.plan.as_deref().map(Into::into);
                frozen.insert(value.as_str().into(), Record { plan, created: draft.created, overrides });
            }
            records.push((attribute, frozen));
        }
        records.sort_by_key(|(attribute, _)| *attribute);
        Ok(records.into())
    }

    fn operations(&mut self, frozen: &[Limit], overrides: &Overrides) -> Result<Box<[Operation]>, FreezeError> {
        for limit in &self.draft.limits {
            for operation in limit.on.iter().flatten() {
                self.operation(operation)?;
            }
        }
        let draft = self.draft;
        let mut shared = HashMap::new();
        let mut operations = Vec::new();
        for (operation, limits) in draft.operations.iter().zip(self.limits_on_each()?) {
            let mut candidates = Vec::new();
            for limit in limits {
                let quota = match shared.entry((limit, self.settled_by(limit, operation)?)) {
                    Entry::Occupied(known) => Arc::clone(known.get()),
                    Entry::Vacant(place) => {
                        let tree = &draft.limits[limit.index()].quota;
                        Arc::clone(place.insert(Arc::new(self.quota(limit, tree, Some(operation), overrides)?)))
                    }
                };
                let algorithm = draft.limits[limit.index()].algorithm;
                candidates.push(Candidate::new(limit, &frozen[limit.index()], algorithm, quota));
            }
            operations.push(Operation {
                name: operation.name.as_str().into(),
                class: operation.class.as_deref().map(Into::into),
                method: operation.method.as_deref().map(Into::into),
                candidates: candidates.into(),
            });
        }
        Ok(operations.into())
    }

    /// The limits that can apply to each operation, in their order.
    fn limits_on_each(&self) -> Result<Vec<Vec<LimitId>>, FreezeError> {
        let mut limits: Vec<Vec<LimitId>> = vec![Vec::new(); self.draft.operations.len()];
        for (limit, id) in self.draft.limits.iter().zip((0..).map(LimitId)) {
            let all = if limit.on.is_none() { 0..limits.len() } else { 0..0 };
            let named = limit.on.iter().flatten().map(|name| self.operation(name).map(OperationId::index));
            for operation in all.map(Ok).chain(named) {
                let on_it = &mut limits[operation?];
                // Who names an operation twice means it once.
                if on_it.last() != Some(&id) {
                    on_it.push(id);
                }
                if on_it.len() > bounds::MAX_CHARGES {
                    return Err(FreezeError::TooMany { kind: "limits on one operation", most: bounds::MAX_CHARGES });
                }
            }
        }
        Ok(limits)
    }

    /// What of an operation settles choices of a limit's quota: its class, its name. Where that is the same, so is the
    /// quota, and operations share it: policies have many operations and few quotas.
    fn settled_by(&self, limit: LimitId, operation: &'d OperationDraft) -> Result<[Option<&'d str>; 2], FreezeError> {
        let tree = &self.draft.limits[limit.index()].quota;
        let source = match tree {
            QuotaTree::Derived { of, .. } => Some(&self.draft.limits[self.limit_id(of)?.index()].quota),
            _ => None,
        };
        let is_by = |attribute| [Some(tree), source].into_iter().flatten().any(|tree| tree.is_by(attribute, 0));
        let class = operation.class.as_deref().filter(|_| is_by("class"));
        Ok([class, Some(operation.name.as_str()).filter(|_| is_by("operation"))])
    }

    /// The limits as explanations tell of them.
    fn written(&mut self, overrides: &Overrides) -> Result<Box<[Written]>, FreezeError> {
        let draft = self.draft;
        let mut written = Vec::new();
        for (limit, id) in draft.limits.iter().zip((0..).map(LimitId)) {
            let on = limit.on.as_ref().map(|on| {
                let mut on: Vec<OperationId> = on.iter().filter_map(|name| self.operation(name).ok()).collect();
                on.sort_unstable();
                on.dedup();
                on.into()
            });
            written.push(Written { on, quota: self.quota(id, &limit.quota, None, overrides)? });
        }
        Ok(written.into())
    }

    /// A limit's quota on one operation; on none, with the choices still to be made that follow from it.
    fn quota(
        &mut self,
        limit: LimitId,
        tree: &QuotaTree,
        operation: Option<&OperationDraft>,
        overrides: &Overrides,
    ) -> Result<Node, FreezeError> {
        let QuotaTree::Derived { of, numerator, denominator, window, align } = tree else {
            return self.node(limit, tree, operation, 0);
        };
        let of = self.limit_id(of)?;
        if matches!(self.draft.limits[of.index()].quota, QuotaTree::Derived { .. }) {
            return Err(FreezeError::DerivedFromDerived { limit: self.draft.limits[limit.index()].name.clone() });
        }
        let source = self.node(of, &self.draft.limits[of.index()].quota, operation, 0)?;
        let mut bases = overrides.get(&of).cloned().unwrap_or_default();
        rules_in(&source, &mut bases);
        bases.sort_unstable();
        bases.dedup();
        let mut rules = Vec::new();
        for base in bases {
            let amount = self.rules.rule(base).quota().amount;
            let share = u128::from(amount) * u128::from(*numerator) / u128::from((*denominator).max(1));
            let share = u64::try_from(share).unwrap_or(u64::MAX).max(u64::from(amount > 0));
            rules.push((base, self.rule(limit, Quota { align: *align, ..Quota::per(share, *window) })?));
        }
        Ok(Node::Derived { of, source: Box::new(source), rules: rules.into() })
    }

    /// A quota's node. Choices that follow from `operation` are made here.
    fn node(
        &mut self,
        limit: LimitId,
        tree: &QuotaTree,
        operation: Option<&OperationDraft>,
        depth: usize,
    ) -> Result<Node, FreezeError> {
        if depth > bounds::MAX_QUOTA_DEPTH {
            return Err(FreezeError::QuotaTooDeep { limit: self.draft.limits[limit.index()].name.clone() });
        }
        match tree {
            QuotaTree::Fixed(quota) => self.rule(limit, *quota).map(Node::Rule),
            QuotaTree::Unlimited => Ok(Node::Unlimited),
            QuotaTree::By { attribute, cases, default } => {
                let attribute = self.attribute(attribute)?;
                if let Some(value) = operation.and_then(|operation| known_value(operation, attribute)) {
                    return match value.and_then(|value| cases.get(value)).or(default.as_deref()) {
                        Some(chosen) => self.node(limit, chosen, operation, depth + 1),
                        None => Ok(Node::Unlimited),
                    };
                }
                // A BTreeMap gives them in the order that the search relies on.
                let mut frozen = Vec::new();
                for (value, case) in cases {
                    frozen.push((value.as_str().into(), self.node(limit, case, operation, depth + 1)?));
                }
                let default = match default {
                    Some(default) => Some(Box::new(self.node(limit, default, operation, depth + 1)?)),
                    None => None,
                };
                Ok(Node::By { attribute, cases: frozen.into(), default })
            }
            QuotaTree::ByAge { steps, default } => {
                let mut frozen = Vec::new();
                for (from, step) in steps {
                    frozen.push((*from, self.node(limit, step, operation, depth + 1)?));
                }
                let default = match default {
                    Some(default) => Some(Box::new(self.node(limit, default, operation, depth + 1)?)),
                    None => None,
                };
                Ok(Node::ByAge { steps: frozen.into(), default })
            }
            QuotaTree::Derived { .. } => {
                Err(FreezeError::DerivedInside { limit: self.draft.limits[limit.index()].name.clone() })
            }
        }
    }

    fn rule(&mut self, limit: LimitId, quota: Quota) -> Result<RuleId, FreezeError> {
        let draft = &self.draft.limits[limit.index()];
        if draft.distinct.is_some() && quota.amount > bounds::MAX_DISTINCT {
            return Err(FreezeError::Distinct { limit: draft.name.clone() });
        }
        if let Some(id) = self.rule_ids.get(&(draft.algorithm, quota)) {
            return Ok(*id);
        }
        let rule = Rule::new(draft.algorithm, quota)
            .map_err(|error| FreezeError::Rule { limit: draft.name.clone(), error })?;
        let id = u32::try_from(self.rules.0.len()).map(RuleId);
        let id = id.map_err(|_| FreezeError::TooMany { kind: "quotas", most: u32::MAX as usize })?;
        self.rules.0.push(rule);
        self.rule_ids.insert((draft.algorithm, quota), id);
        Ok(id)
    }

    fn per(&self, (attribute, is_optional): &(String, bool)) -> Result<Per, FreezeError> {
        let attribute = self.attribute(attribute)?;
        Ok(if *is_optional { Per::Optional(attribute) } else { Per::Required(attribute) })
    }

    fn attribute(&self, name: &str) -> Result<AttributeId, FreezeError> {
        place(&self.attributes, "attribute", name).map(AttributeId)
    }

    fn unit(&self, name: &str) -> Result<UnitId, FreezeError> {
        place(&self.units, "unit", name).map(UnitId)
    }

    fn operation(&self, name: &str) -> Result<OperationId, FreezeError> {
        self.operation_ids.get(name).copied().ok_or_else(|| unknown("operation", name))
    }

    fn limit_id(&self, name: &str) -> Result<LimitId, FreezeError> {
        self.limit_ids.get(name).copied().ok_or_else(|| unknown("limit", name))
    }
}

/// The value of an attribute that follows from the operation: `Some(None)` if it follows that there is none.
fn known_value(operation: &OperationDraft, attribute: AttributeId) -> Option<Option<&str>> {
    match attribute {
        AttributeId::OPERATION => Some(Some(&operation.name)),
        AttributeId::CLASS => Some(operation.class.as_deref()),
        _ => None,
    }
}

/// By limit: the rules that records have in place of its own.
type Overrides = HashMap<LimitId, Vec<RuleId>>;

fn overrides_in(records: &[RecordsOf]) -> Overrides {
    let mut overrides = Overrides::new();
    for record in records.iter().flat_map(|(_, records)| records.values()) {
        for (limit, node) in &record.overrides {
            rules_in(node, overrides.entry(*limit).or_default());
        }
    }
    for rules in overrides.values_mut() {
        rules.sort_unstable();
        rules.dedup();
    }
    overrides
}

fn rules_in(node: &Node, found: &mut Vec<RuleId>) {
    match node {
        Node::Rule(rule) => found.push(*rule),
        Node::Unlimited | Node::Derived { .. } => {}
        Node::By { cases, default, .. } => {
            cases.iter().map(|(_, node)| node).chain(default.as_deref()).for_each(|node| rules_in(node, found));
        }
        Node::ByAge { steps, default } => {
            steps.iter().map(|(_, node)| node).chain(default.as_deref()).for_each(|node| rules_in(node, found));
        }
    }
}

fn names<'n>(
    [kind, plural]: [&'static str; 2],
    most: usize,
    names: impl Iterator<Item = &'n str>,
) -> Result<Vec<Box<str>>, FreezeError> {
    let mut seen = std::collections::HashSet::new();
    let mut kept: Vec<Box<str>> = Vec::new();
    for name in names {
        if !seen.insert(name) {
            return Err(FreezeError::Duplicate { kind, name: name.to_owned() });
        }
        kept.push(name.into());
    }
    if kept.len() > most { Err(FreezeError::TooMany { kind: plural, most }) } else { Ok(kept) }
}

fn place(names: &[Box<str>], kind: &'static str, name: &str) -> Result<u8, FreezeError> {
    let index = names.iter().position(|known| &**known == name);
    index.and_then(|index| u8::try_from(index).ok()).ok_or_else(|| unknown(kind, name))
}

fn unknown(kind: &'static str, name: &str) -> FreezeError {
    FreezeError::Unknown { kind, name: name.to_owned() }
}

fn each(names: &[String]) -> impl Iterator<Item = &str> {
    names.iter().map(String::as_str)
}

fn boxed(values: &[String]) -> Vec<Box<str>> {
    values.iter().map(|value| value.as_str().into()).collect()
}

/// What a state's words mean: two rules with the same layout can read each other's states.
fn layout(draft: &LimitDraft) -> String {
    match draft.algorithm {
        Algorithm::SlidingWindow { cells } => format!("{} {cells}", draft.algorithm.name()),
        // What it counts by and whose values it counts stand in one list.
        _ if draft.distinct.is_some() => format!("{} distinct", draft.algorithm.name()),
        algorithm => algorithm.name().to_owned(),
    }
}

/// FNV-1a over 128 bits of length-prefixed names: stable across processes, versions and machines, as state on disk and
/// in other stores is named by it. Names come from the operator, so no adversary chooses them.
pub(super) fn identity<'n>(names: impl Iterator<Item = &'n str>) -> u128 {
    const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    let mut hash = OFFSET;
    for name in names {
        let length = (name.len() as u64).to_le_bytes();
        for byte in length.iter().chain(name.as_bytes()) {
            hash = (hash ^ u128::from(*byte)).wrapping_mul(PRIME);
        }
    }
    hash
}
