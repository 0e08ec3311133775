//! Which limits apply to a demand, by which rule: from a [`Demand`] to [`Charges`].

use std::ops::Index;

use super::{AttributeId, Condition, Cost, Limit, LimitId, Per, Policy, Record};
use crate::{Algorithm, Attributes, Demand, Key, Purpose, Rule, Span, Timestamp, bounds};

/// The place of a rule in its policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RuleId(pub(crate) u32);

/// How a limit's quota is found. What depends on the operation alone was settled when the policy was frozen.
#[derive(Clone, Debug)]
pub(crate) enum Node {
    /// This one.
    Rule(RuleId),
    /// Without limit: it does not apply.
    Unlimited,
    /// By the value of an attribute. Cases are sorted by it: for the few that there are, a search is quicker than a
    /// hash.
    By { attribute: AttributeId, cases: Box<[(Box<str>, Node)]>, default: Option<Box<Node>> },
    /// By the age of what the demand has a record of: each from that age on, ascending; the default for the younger, and
    /// where no age is known.
    ByAge { steps: Box<[(Span, Node)]>, default: Option<Box<Node>> },
    /// By the rule in force of another limit, `source` for this operation. Pairs of its rule and ours, sorted.
    Derived { of: LimitId, source: Box<Node>, rules: Box<[(RuleId, RuleId)]> },
}

/// A limit that can apply to an operation, and how its quota is found there.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) limit: LimitId,
    pub(crate) quota: Node,
}

/// All rules of a policy.
#[derive(Debug, Default)]
pub(crate) struct Rules(pub(crate) Vec<Rule>);

impl Rules {
    pub(crate) fn rule(&self, id: RuleId) -> &Rule {
        &self.0[id.0 as usize]
    }

    pub(crate) fn begin(&mut self, now: Timestamp) {
        self.0.iter_mut().for_each(|rule| *rule = rule.since(now));
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Rule> {
        self.0.iter()
    }
}

/// One planned debit on one counter.
#[derive(Clone, Copy, Debug)]
pub struct Charge<'a> {
    limit: &'a Limit,
    rule: &'a Rule,
    attributes: &'a Attributes<'a>,
    need: u64,
    take: u64,
}

impl<'a> Charge<'a> {
    /// The limit whose counter is charged.
    pub fn limit(&self) -> &'a Limit {
        self.limit
    }

    /// The rule in force for this demand.
    pub fn rule(&self) -> &'a Rule {
        self.rule
    }

    /// The units that must fit for the demand to be admitted.
    pub fn need(&self) -> u64 {
        self.need
    }

    /// The units that are taken if it is: `need`, or nothing for a peek, and for a cost that is settled later.
    pub fn take(&self) -> u64 {
        self.take
    }

    /// The name of the counter that is charged.
    pub fn key(&self) -> Key<'a> {
        Key::new(self.limit, self.rule, self.attributes)
    }
}

/// What a demand is charged: a plan that leaves a store no choice. In the order of the policy's limits.
#[derive(Clone, Copy, Debug)]
pub struct Charges<'a> {
    demand: &'a Demand<'a>,
    list: [Option<Charge<'a>>; bounds::MAX_CHARGES],
    length: usize,
}

impl<'a> Charges<'a> {
    /// The demand they come from.
    pub fn demand(&self) -> &'a Demand<'a> {
        self.demand
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether no limit applies.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The charges, in the order of the policy's limits.
    pub fn iter(&self) -> impl Iterator<Item = &Charge<'a>> {
        self.list.iter().map_while(Option::as_ref)
    }

    #[inline]
    pub(crate) fn none(demand: &'a Demand<'a>) -> Charges<'a> {
        Charges { demand, list: [None; bounds::MAX_CHARGES], length: 0 }
    }

    fn push(&mut self, charge: Charge<'a>) {
        self.list[self.length] = Some(charge);
        self.length += 1;
    }
}

impl<'a> Index<usize> for Charges<'a> {
    type Output = Charge<'a>;

    fn index(&self, index: usize) -> &Charge<'a> {
        self.list[index].as_ref().expect("an index below the number of charges")
    }
}

impl Policy {
    /// The charges of a demand at `now`, for every limit that applies to it. Pure: the same demand gives the same
    /// charges; `now` decides only how old its records are.
    pub fn resolve<'a>(&'a self, demand: &'a Demand<'a>, now: Timestamp) -> Charges<'a> {
        let mut charges = Charges::none(demand);
        self.resolve_into(demand, now, &mut charges);
        charges
    }

    /// The same into charges that are still [`Charges::none`] of this demand, where they are to stay.
    pub(crate) fn resolve_into<'a>(&'a self, demand: &'a Demand<'a>, now: Timestamp, charges: &mut Charges<'a>) {
        let facts = Facts::of(self, demand.attributes(), now);
        for candidate in &self.operation(demand.operation()).candidates {
            let limit = &self.limits[candidate.limit.index()];
            if !facts.applies(limit) {
                continue;
            }
            if let Some(rule) = facts.quota(candidate.limit, &candidate.quota) {
                let rule = self.rules.rule(rule);
                let (need, take) = cost_of(demand, limit, rule);
                charges.push(Charge { limit, rule, attributes: demand.attributes(), need, take });
            }
        }
    }

    /// The plan in the first record of `attributes` that names one.
    pub fn recorded_plan<'a>(&'a self, attributes: &Attributes<'_>) -> Option<&'a str> {
        self.records_of(attributes).find_map(Record::plan)
    }

    fn records_of<'a>(&'a self, attributes: &Attributes<'_>) -> impl Iterator<Item = &'a Record> {
        self.records.iter().filter_map(move |(attribute, records)| records.get(attributes.value(*attribute)?))
    }
}

/// What must fit, and what is taken if it does.
fn cost_of(demand: &Demand<'_>, limit: &Limit, rule: &Rule) -> (u64, u64) {
    let (need, take) = match (demand.cost(limit.unit()), limit.cost()) {
        (Some(cost), _) => (cost, cost),
        (None, Cost::One) => (1, 1),
        (None, Cost::Settled) => (1, 0),
    };
    match demand.purpose() {
        Purpose::Peek => (need, 0),
        Purpose::Once if rule.algorithm() == Algorithm::Concurrency => (need, 0),
        Purpose::Once | Purpose::Hold => (need, take),
    }
}

/// A demand's attributes, beside what the policy records about them.
struct Facts<'a> {
    attributes: &'a Attributes<'a>,
    /// In the order of their attributes, looked up once for all limits.
    records: [Option<&'a Record>; bounds::MAX_ATTRIBUTES],
    now: Timestamp,
}

impl<'a> Facts<'a> {
    fn of(policy: &'a Policy, attributes: &'a Attributes<'a>, now: Timestamp) -> Facts<'a> {
        let mut records = [None; bounds::MAX_ATTRIBUTES];
        for (place, record) in records.iter_mut().zip(policy.records_of(attributes)) {
            *place = Some(record);
        }
        Facts { attributes, records, now }
    }

    fn records(&self) -> impl Iterator<Item = &'a Record> {
        self.records.iter().copied().map_while(|record| record)
    }

    fn applies(&self, limit: &Limit) -> bool {
        let has = |per: &Per| matches!(per, Per::Optional(_)) || self.attributes.value(per.attribute()).is_some();
        limit.per.iter().all(has) && limit.conditions.iter().all(|condition| self.holds(condition))
    }

    fn holds(&self, condition: &Condition) -> bool {
        let is_one_of = |attribute: AttributeId, values: &[Box<str>]| {
            self.attributes.value(attribute).is_some_and(|value| values.iter().any(|known| **known == *value))
        };
        match condition {
            Condition::In(attribute, values) => is_one_of(*attribute, values),
            Condition::NotIn(attribute, values) => !is_one_of(*attribute, values),
            Condition::NotCreatedBefore(instant) => {
                !self.records().filter_map(Record::created).any(|created| created < *instant)
            }
        }
    }

    /// The rule in force: that of the first record that overrides this limit, else what the quota says.
    fn quota(&self, limit: LimitId, quota: &Node) -> Option<RuleId> {
        let overriding = self.records().find_map(|record| record.overrides.get(&limit));
        self.choose(overriding.unwrap_or(quota))
    }

    fn choose(&self, node: &Node) -> Option<RuleId> {
        match node {
            Node::Rule(rule) => Some(*rule),
            Node::Unlimited => None,
            Node::By { attribute, cases, default } => {
                let value = self.attributes.value(*attribute);
                let place = value.and_then(|value| cases.binary_search_by(|(case, _)| (**case).cmp(value)).ok());
                self.choose(place.map(|place| &cases[place].1).or(default.as_deref())?)
            }
            Node::ByAge { steps, default } => {
                let created = self.records().find_map(Record::created);
                let age = created.map(|created| self.now.since(created));
                let reached = age.map_or(0, |age| steps.partition_point(|(from, _)| *from <= age));
                let step = reached.checked_sub(1).map(|last| &steps[last].1);
                self.choose(step.or(default.as_deref())?)
            }
            Node::Derived { of, source, rules } => {
                let base = self.quota(*of, source)?;
                rules.binary_search_by_key(&base, |(theirs, _)| *theirs).ok().map(|place| rules[place].1)
            }
        }
    }
}
