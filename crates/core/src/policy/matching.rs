//! Which limits apply to a demand, by which rule: from a [`Demand`] to [`Charges`].

use std::sync::Arc;

use super::{AttributeId, Condition, Cost, Limit, LimitId, Mode, Per, Policy, Record, UnitId, reads::AttributeSet};
use crate::{Algorithm, Attributes, Demand, Key, Purpose, Rule, Span, Timestamp, bounds};

/// The place of a rule in its policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
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
    /// Shared by the operations that settle no choice of it otherwise.
    pub(crate) quota: Arc<Node>,
    /// The rule, where there is no condition and no choice but what records say.
    settled: Option<RuleId>,
    /// The attributes without which it does not apply.
    needs: AttributeSet,
    pub(crate) limit: LimitId,
    // What of the limit every demand asks, beside each other.
    unit: UnitId,
    cost: Cost,
    is_concurrency: bool,
    is_distinct: bool,
    is_enforced: bool,
}

impl Candidate {
    /// All rules of a limit have one algorithm.
    pub(crate) fn new(id: LimitId, limit: &Limit, algorithm: Algorithm, quota: Arc<Node>) -> Candidate {
        let needed = limit.per.iter().chain(&limit.distinct).filter(|per| matches!(per, Per::Required(_)));
        let needs = needed.fold(AttributeSet::default(), |needs, per| needs.with(per.attribute()));
        let settled = match &*quota {
            Node::Rule(rule) if limit.conditions.is_empty() => Some(*rule),
            _ => None,
        };
        Candidate {
            quota,
            settled,
            needs,
            limit: id,
            unit: limit.unit,
            cost: limit.cost,
            is_concurrency: algorithm == Algorithm::Concurrency,
            is_distinct: limit.distinct.is_some(),
            is_enforced: limit.mode == Mode::Enforce,
        }
    }

    /// What must fit, and whether it is taken if it does.
    #[inline]
    fn cost_of(&self, demand: &Demand<'_>) -> (u64, bool) {
        if self.is_distinct {
            return (1, demand.purpose() != Purpose::Peek);
        }
        let (need, takes) = match demand.cost(self.unit) {
            Some(cost) => (cost, true),
            None => (1, self.cost == Cost::One),
        };
        let is_taken = match demand.purpose() {
            Purpose::Peek => false,
            Purpose::Once => !self.is_concurrency,
            Purpose::Hold => true,
        };
        (need, takes && is_taken)
    }
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

    /// Whether what is left is taken of it if the demand is refused; see [`Statuses::part`](crate::Statuses::part).
    #[inline]
    pub fn counts_refused(&self) -> bool {
        self.limit.counts_refused() && self.take > 0
    }

    /// The name of the counter that is charged.
    pub fn key(&self) -> Key<'a> {
        Key::new(self.limit, self.rule, self.attributes)
    }

    /// Where distinct values are counted, the name of the marker that tells whether this one was counted before. It is
    /// charged then nothing, and fits whatever remains.
    pub fn marker(&self) -> Option<Key<'a>> {
        self.limit.distinct().map(|_| self.key().marker())
    }
}

/// A charge by its places in the policy: 16 bytes, so that a list of them is cheap to keep and to clear.
#[derive(Clone, Copy, Debug, Default)]
struct Planned {
    need: u64,
    rule: RuleId,
    limit: LimitId,
    /// Whether `need` is taken; else nothing is.
    takes: bool,
}

impl Planned {
    #[inline]
    fn of<'a>(self, demand: &'a Demand<'a>) -> Charge<'a> {
        let policy = demand.policy();
        Charge {
            limit: &policy.limits[self.limit.index()],
            rule: policy.rules.rule(self.rule),
            attributes: demand.attributes(),
            need: self.need,
            take: if self.takes { self.need } else { 0 },
        }
    }
}

/// The charges of a demand, without the demand: what [`Charges`] are read from.
#[derive(Clone, Copy, Debug, Default)]
pub struct ChargeList {
    entries: [Planned; bounds::MAX_CHARGES],
    length: usize,
    /// Those of enforced limits.
    enforced: Places,
    /// How many of them count distinct values.
    distinct: usize,
}

/// Places in a list of charges, by bit.
pub(crate) type Places = u16;
const _: () = assert!(bounds::MAX_CHARGES <= Places::BITS as usize);

impl ChargeList {
    /// Nothing to charge.
    pub fn new() -> ChargeList {
        ChargeList::default()
    }

    /// Plans the charges of `demand` at `now`, for every limit that applies to it, in place of what was planned here. Pure:
    /// the same demand gives the same charges; `now` decides only how old its records are.
    #[inline]
    pub fn resolve<'a>(&'a mut self, demand: &'a Demand<'a>, now: Timestamp) -> Charges<'a> {
        demand.policy().resolve(demand, now, self);
        self.of(demand)
    }

    /// The charges of the demand that this was resolved for.
    #[inline]
    pub(crate) fn of<'a>(&'a self, demand: &'a Demand<'a>) -> Charges<'a> {
        Charges { demand, list: self }
    }

    #[inline]
    pub(crate) fn charge<'a>(&self, index: usize, demand: &'a Demand<'a>) -> Charge<'a> {
        self.entries[..self.length][index].of(demand)
    }
}

/// What a demand is charged: a plan that leaves a store no choice. In the order of the policy's limits.
#[derive(Clone, Copy, Debug)]
pub struct Charges<'a> {
    demand: &'a Demand<'a>,
    list: &'a ChargeList,
}

impl<'a> Charges<'a> {
    /// The demand they come from.
    pub fn demand(&self) -> &'a Demand<'a> {
        self.demand
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.length
    }

    /// How many of them count distinct values, so that markers have to be looked at.
    #[inline]
    pub fn distinct(&self) -> usize {
        self.list.distinct
    }

    /// Whether no limit applies.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The places of enforced limits.
    #[inline]
    pub(crate) fn enforced(&self) -> Places {
        self.list.enforced
    }

    /// The most units that can ever fit the limit of the charge at a place at once.
    #[inline]
    pub(crate) fn limit_at(&self, index: usize) -> u64 {
        self.demand.policy().rules.rule(self.list.entries[index].rule).limit()
    }

    /// The charge at a place; panics beyond the last.
    #[inline]
    pub fn charge(&self, index: usize) -> Charge<'a> {
        self.list.charge(index, self.demand)
    }

    /// The charges, in the order of the policy's limits.
    #[inline]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Charge<'a>> + use<'a> {
        let demand = self.demand;
        self.list.entries[..self.list.length].iter().map(move |planned| planned.of(demand))
    }
}

impl Policy {
    /// See [`ChargeList::resolve`].
    #[inline]
    fn resolve(&self, demand: &Demand<'_>, now: Timestamp, list: &mut ChargeList) {
        let (mut length, mut enforced, mut distinct, mut found) = (0, 0, 0, None);
        let facts = Facts::of(self, demand.attributes(), now, &mut found);
        for candidate in &self.operation(demand.operation()).candidates {
            if !demand.attributes().present().has_all_of(candidate.needs) {
                continue;
            }
            let rule = match candidate.settled {
                Some(rule) if facts.records.is_empty() => Some(rule),
                _ => facts.rule(candidate, &self.limits[candidate.limit.index()]),
            };
            if let Some(rule) = rule {
                let (need, takes) = candidate.cost_of(demand);
                distinct += usize::from(candidate.is_distinct);
                list.entries[length] = Planned { need, rule, limit: candidate.limit, takes };
                enforced |= Places::from(candidate.is_enforced) << length;
                length += 1;
            }
        }
        (list.length, list.enforced, list.distinct) = (length, enforced, distinct);
    }

    /// The plan in the first record of `attributes` that names one.
    #[inline]
    pub fn recorded_plan<'a>(&'a self, attributes: &Attributes<'_>) -> Option<&'a str> {
        if self.records.is_empty() { None } else { self.look_up_plan(attributes) }
    }

    #[inline(never)]
    fn look_up_plan<'a>(&'a self, attributes: &Attributes<'_>) -> Option<&'a str> {
        self.records_of(attributes).find_map(Record::plan)
    }

    /// The records of attributes, in `found`.
    #[inline(never)] // Where nothing is recorded, nobody shall pay for the room.
    fn look_up<'f>(
        &'f self,
        attributes: &Attributes<'_>,
        found: &'f mut Option<[Option<&'f Record>; bounds::MAX_ATTRIBUTES]>,
    ) -> &'f [Option<&'f Record>] {
        let found = found.insert([None; bounds::MAX_ATTRIBUTES]);
        for (place, record) in found.iter_mut().zip(self.records_of(attributes)) {
            *place = Some(record);
        }
        found
    }

    fn records_of<'a>(&'a self, attributes: &Attributes<'_>) -> impl Iterator<Item = &'a Record> {
        self.records.iter().filter_map(move |(attribute, records)| records.get(attributes.value(*attribute)?))
    }
}

/// A demand's attributes, beside what the policy records about them.
struct Facts<'f> {
    attributes: &'f Attributes<'f>,
    /// In the order of their attributes, looked up once for all limits.
    records: &'f [Option<&'f Record>],
    now: Timestamp,
}

impl<'f> Facts<'f> {
    /// What is found is kept in `found`, which stays empty where the policy records nothing.
    #[inline]
    fn of(
        policy: &'f Policy,
        attributes: &'f Attributes<'f>,
        now: Timestamp,
        found: &'f mut Option<[Option<&'f Record>; bounds::MAX_ATTRIBUTES]>,
    ) -> Facts<'f> {
        let records: &[_] = if policy.records.is_empty() { &[] } else { policy.look_up(attributes, found) };
        Facts { attributes, records, now }
    }

    fn records(&self) -> impl Iterator<Item = &'f Record> {
        self.records.iter().copied().map_while(|record| record)
    }

    /// The rule by which a limit applies, if it does, for a demand that has the attributes that it needs.
    #[inline(never)] // So that limits without choices do not pay for these.
    fn rule(&self, candidate: &Candidate, limit: &Limit) -> Option<RuleId> {
        let applies = limit.conditions.iter().all(|condition| self.holds(condition));
        if applies { self.quota(candidate.limit, &candidate.quota) } else { None }
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
