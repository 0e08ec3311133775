//! The quotas of a limit, each with the choices that lead to it: for tables that people read.

use super::matching::{Node, RuleId};
use super::{AttributeId, LimitId, Policy};
use crate::{Rule, Span};

/// One of a limit's quotas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case<'p> {
    /// What was looked at and leads here. Choices that follow from the operation are not among them.
    pub choices: Vec<Choice<'p>>,
    /// The rule; `None` where the limit does not apply.
    pub rule: Option<&'p Rule>,
}

/// What leads to one of a limit's quotas.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Choice<'p> {
    /// The value of an attribute; `None` for all values that have no quota of their own.
    Value(AttributeId, Option<&'p str>),
    /// The age from which on it holds; `None` for all who are younger than any other quota wants, or of unknown age.
    Age(Option<Span>),
}

impl Policy {
    /// The quotas of a limit, records' overrides aside: each once, however many operations have it, in the order of the
    /// operations, then of the choices, others last.
    pub fn cases(&self, limit: LimitId) -> Vec<Case<'_>> {
        let mut cases = Cases { policy: self, found: Vec::new(), seen: std::collections::HashSet::new() };
        for operation in &self.operations {
            for candidate in operation.candidates.iter().filter(|candidate| candidate.limit == limit) {
                cases.add(&candidate.quota, &mut Vec::new(), &|rule| Some(rule));
            }
        }
        cases.found
    }
}

type Choices<'p> = Vec<Choice<'p>>;

struct Cases<'p> {
    policy: &'p Policy,
    found: Vec<Case<'p>>,
    seen: std::collections::HashSet<(Choices<'p>, Option<RuleId>)>,
}

impl<'p> Cases<'p> {
    /// Adds what a node leads to; `becomes` is the rule that takes the place of the node's.
    fn add(&mut self, node: &'p Node, choices: &mut Choices<'p>, becomes: &dyn Fn(RuleId) -> Option<RuleId>) {
        match node {
            Node::Rule(rule) => self.note(choices, becomes(*rule)),
            Node::Unlimited => self.note(choices, None),
            Node::By { attribute, cases, default } => {
                let cases = cases.iter().map(|(value, node)| (Some(&**value), node));
                for (value, node) in cases.chain(default.as_deref().map(|node| (None, node))) {
                    choices.push(Choice::Value(*attribute, value));
                    self.add(node, choices, becomes);
                    choices.pop();
                }
            }
            Node::ByAge { steps, default } => {
                let steps = steps.iter().map(|(from, node)| (Some(*from), node));
                for (from, node) in steps.chain(default.as_deref().map(|node| (None, node))) {
                    choices.push(Choice::Age(from));
                    self.add(node, choices, becomes);
                    choices.pop();
                }
            }
            Node::Derived { source, rules, .. } => {
                let derived = |base| rules.iter().find(|(from, _)| *from == base).map(|(_, to)| *to);
                self.add(source, choices, &derived);
            }
        }
    }

    /// An operation on which nobody has a quota is no case: the limit is just not on it.
    fn note(&mut self, choices: &Choices<'p>, rule: Option<RuleId>) {
        let is_case = rule.is_some() || !choices.is_empty();
        if is_case && self.seen.insert((choices.clone(), rule)) {
            let rule = rule.map(|id| self.policy.rules.rule(id));
            self.found.push(Case { choices: choices.clone(), rule });
        }
    }
}
