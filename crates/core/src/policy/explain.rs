//! Why each limit of a policy applies to a demand, or why not, and where its quota comes from: for people who ask.
//!
//! It goes its own, slower way over quotas as they were written, where [`Policy::resolve`] has settled all that follows
//! from the operation. A test holds the two to the same charges.

use super::matching::{Node, RuleId};
use super::{AttributeId, Condition, Limit, LimitId, OperationId, Per, Policy, Record};
use crate::{Attributes, Demand, Rule, Span, Timestamp};

/// A limit as it was written, which only explanations need.
#[derive(Debug)]
pub(super) struct Written {
    /// The operations it is on, in their order; `None` for all.
    pub(super) on: Option<Box<[OperationId]>>,
    /// Its quota, with the choices that follow from the operation still to be made.
    pub(super) quota: Node,
}

/// One limit's part in an explanation.
#[derive(Clone, Debug)]
pub struct Explained<'a> {
    /// Which limit.
    pub id: LimitId,
    /// The limit.
    pub limit: &'a Limit,
    /// All that speaks against it; nothing if it applies.
    pub reasons: Vec<Reason<'a>>,
    /// Where its quota comes from; `None` if it is not on the operation.
    pub origin: Option<Origin<'a>>,
    /// What its counter is named by, in the order of [`Limit::per`]; `None` is a value that is missing.
    pub counter: Vec<(AttributeId, Option<&'a str>)>,
}

impl<'a> Explained<'a> {
    /// Whether the limit applies to the demand.
    pub fn applies(&self) -> bool {
        self.reasons.is_empty()
    }

    /// The rule by which it counts the demand, if it applies.
    pub fn rule(&self) -> Option<&'a Rule> {
        self.origin.as_ref().and_then(|origin| origin.rule).filter(|_| self.applies())
    }
}

/// Why a limit does not apply to a demand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason<'a> {
    /// It is on other operations.
    OtherOperation {
        /// On these, in their order.
        on: &'a [OperationId],
    },
    /// It counts by an attribute that the demand lacks, or the distinct values of one.
    Missing(AttributeId),
    /// A condition on an attribute does not hold.
    Condition {
        /// The condition.
        condition: &'a Condition,
        /// The attribute that it looks at.
        attribute: AttributeId,
        /// What the demand has there.
        found: Option<&'a str>,
    },
    /// A record is older than those that it applies to.
    Exempt {
        /// The record.
        by: Recorded<'a>,
        /// When it was created.
        created: Timestamp,
        /// It applies to what was created from then on.
        before: Timestamp,
    },
    /// The quota is unlimited.
    Unlimited,
    /// The quota has no case for the demand, and no default.
    NoCase,
}

/// Where a quota comes from: what was looked at, and what that led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin<'a> {
    /// The record whose own quota takes the place of the limit's.
    pub record: Option<Recorded<'a>>,
    /// What was chosen, in the order that it was.
    pub choices: Vec<Chosen<'a>>,
    /// The limit that it is a share of, and where that one's quota comes from.
    pub derived: Option<(LimitId, Box<Origin<'a>>)>,
    /// The rule; `None` if the quota is unlimited or has no case.
    pub rule: Option<&'a Rule>,
    /// Whether there is no rule because the quota, or the one it is derived from, is unlimited.
    pub is_unlimited: bool,
}

/// What a quota was chosen by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chosen<'a> {
    /// The value of an attribute.
    Value {
        /// Which attribute.
        attribute: AttributeId,
        /// What the demand has there.
        found: Option<&'a str>,
        /// What that led to.
        case: Selected<()>,
    },
    /// The age of the first record that says when it was created.
    Age {
        /// That record, and how old it is.
        of: Option<(Recorded<'a>, Span)>,
        /// The step that this age has reached.
        step: Selected<Span>,
    },
}

/// What a choice led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selected<T> {
    /// To a case of its own.
    Case(T),
    /// To the quota of all others.
    Default,
    /// To nothing, as there is no default.
    Nothing,
}

/// A record that a demand meets.
#[derive(Clone, Copy, Debug)]
pub struct Recorded<'a> {
    /// By which attribute it is found.
    pub attribute: AttributeId,
    /// By which value of it.
    pub value: &'a str,
    /// The record.
    pub record: &'a Record,
}

impl PartialEq for Recorded<'_> {
    fn eq(&self, other: &Self) -> bool {
        (self.attribute, self.value) == (other.attribute, other.value)
    }
}

impl Eq for Recorded<'_> {}

impl Policy {
    /// Why each limit applies to a demand at `now` or does not, in the order of the policy.
    pub fn explain<'a>(&'a self, demand: &'a Demand<'a>, now: Timestamp) -> Vec<Explained<'a>> {
        let facts = Known { policy: self, attributes: demand.attributes(), records: self.recorded(demand), now };
        let limits = (0..).map(LimitId).zip(&self.limits).zip(&self.written);
        limits.map(|((id, limit), written)| facts.explain(id, limit, written, demand.operation())).collect()
    }

    /// The records that a demand meets, in the order in which they count.
    pub fn recorded<'a>(&'a self, demand: &Demand<'a>) -> Vec<Recorded<'a>> {
        let of = |attribute: AttributeId| demand.attributes().value(attribute);
        let found = self.records.iter().filter_map(|(attribute, records)| {
            let value = of(*attribute)?;
            Some(Recorded { attribute: *attribute, value, record: records.get(value)? })
        });
        found.collect()
    }
}

/// A demand's attributes and the records that it meets.
struct Known<'a> {
    policy: &'a Policy,
    attributes: &'a Attributes<'a>,
    records: Vec<Recorded<'a>>,
    now: Timestamp,
}

impl<'a> Known<'a> {
    fn explain(&self, id: LimitId, limit: &'a Limit, written: &'a Written, operation: OperationId) -> Explained<'a> {
        let values = limit.per.iter().map(|per| (per.attribute(), self.attributes.value(per.attribute())));
        let counter = values.collect();
        if let Some(on) = written.on.as_deref().filter(|on| on.binary_search(&operation).is_err()) {
            return Explained { id, limit, reasons: vec![Reason::OtherOperation { on }], origin: None, counter };
        }
        let mut reasons = Vec::new();
        for per in limit.per.iter().chain(&limit.distinct) {
            if let Per::Required(attribute) = per
                && self.attributes.value(*attribute).is_none()
            {
                reasons.push(Reason::Missing(*attribute));
            }
        }
        reasons.extend(limit.conditions.iter().filter_map(|condition| self.fails(condition)));
        let origin = self.origin(id, &written.quota);
        match (origin.rule, origin.is_unlimited) {
            (Some(_), _) => {}
            (None, true) => reasons.push(Reason::Unlimited),
            (None, false) => reasons.push(Reason::NoCase),
        }
        Explained { id, limit, reasons, origin: Some(origin), counter }
    }

    /// Why a condition does not hold.
    fn fails(&self, condition: &'a Condition) -> Option<Reason<'a>> {
        let is_one_of = |found: Option<&str>, values: &[Box<str>]| values.iter().any(|value| Some(&**value) == found);
        let (attribute, is_met) = match condition {
            Condition::In(attribute, values) => (*attribute, is_one_of(self.attributes.value(*attribute), values)),
            Condition::NotIn(attribute, values) => (*attribute, !is_one_of(self.attributes.value(*attribute), values)),
            Condition::NotCreatedBefore(before) => {
                let older = self.records.iter().filter_map(|by| Some((*by, by.record.created()?)));
                let mut older = older.filter(|(_, created)| created < before);
                return older.next().map(|(by, created)| Reason::Exempt { by, created, before: *before });
            }
        };
        let found = self.attributes.value(attribute);
        (!is_met).then_some(Reason::Condition { condition, attribute, found })
    }

    fn origin(&self, limit: LimitId, quota: &'a Node) -> Origin<'a> {
        let overriding = self.records.iter().find_map(|by| Some((*by, by.record.overrides.get(&limit)?)));
        let (record, node) = overriding.map_or((None, quota), |(record, node)| (Some(record), node));
        let mut origin = Origin { record, choices: Vec::new(), derived: None, rule: None, is_unlimited: false };
        self.follow(node, &mut origin);
        origin
    }

    fn follow(&self, node: &'a Node, origin: &mut Origin<'a>) {
        match node {
            Node::Rule(rule) => origin.rule = Some(self.policy.rules.rule(*rule)),
            Node::Unlimited => origin.is_unlimited = true,
            Node::By { attribute, cases, default } => {
                let found = self.attributes.value(*attribute);
                let own = cases.iter().find(|(case, _)| Some(&**case) == found).map(|(_, node)| node);
                let (case, next) = select(own.map(|node| ((), node)), default.as_deref());
                origin.choices.push(Chosen::Value { attribute: *attribute, found, case });
                next.into_iter().for_each(|node| self.follow(node, origin));
            }
            Node::ByAge { steps, default } => {
                let created = self.records.iter().find_map(|by| Some((*by, by.record.created()?)));
                let of = created.map(|(by, created)| (by, self.now.since(created)));
                let mut reached = steps.iter().filter(|(from, _)| of.is_some_and(|(_, age)| age >= *from));
                let (step, next) = select(reached.next_back().map(|(from, node)| (*from, node)), default.as_deref());
                origin.choices.push(Chosen::Age { of, step });
                next.into_iter().for_each(|node| self.follow(node, origin));
            }
            Node::Derived { of, source, rules } => {
                let base = self.origin(*of, source);
                origin.is_unlimited = base.is_unlimited;
                origin.rule = base.rule.and_then(|rule| self.share(rule, rules));
                origin.derived = Some((*of, Box::new(base)));
            }
        }
    }

    /// The rule that is derived from `base`.
    fn share(&self, base: &Rule, rules: &[(RuleId, RuleId)]) -> Option<&'a Rule> {
        let rule = |id: RuleId| self.policy.rules.rule(id);
        rules.iter().find(|(theirs, _)| std::ptr::eq(rule(*theirs), base)).map(|(_, ours)| rule(*ours))
    }
}

fn select<'n, T>(own: Option<(T, &'n Node)>, default: Option<&'n Node>) -> (Selected<T>, Option<&'n Node>) {
    match (own, default) {
        (Some((case, node)), _) => (Selected::Case(case), Some(node)),
        (None, Some(node)) => (Selected::Default, Some(node)),
        (None, None) => (Selected::Nothing, None),
    }
}
