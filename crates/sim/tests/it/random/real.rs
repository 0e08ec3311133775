//! The real limiter on a clock that stands where the story is.

use std::collections::BTreeMap;

use tidegate_core::{AttributeId, Basis, Demand, Policy, Purpose, Timestamp, UnitId, Wait};
use tidegate_limiter::{Limiter, ManualClock, Memory, MemoryOptions, Receipt};

use super::description::{self, Ask, Description};
use super::model::{self, Line, Ruling};

/// Room for every counter of a story several times over: what a full store does is not what is tried here.
const COUNTERS: usize = 1_024;

pub(super) struct Real<'p> {
    policy: &'p Policy,
    limiter: Limiter<ManualClock, ()>,
    attributes: Vec<AttributeId>,
    units: Vec<UnitId>,
    receipts: BTreeMap<usize, Receipt>,
}

impl<'p> Real<'p> {
    pub(super) fn new(description: &Description, policy: &'p Policy) -> Real<'p> {
        let named = |name: &String| policy.attribute(name).expect("an attribute that is declared");
        let units = description.units.iter().map(|unit| policy.unit(&unit.name).expect("a unit that is declared"));
        Real {
            policy,
            limiter: Limiter::new(Memory::new(MemoryOptions { max_counters: COUNTERS }), ManualClock::default(), ()),
            attributes: description.attributes.iter().map(named).collect(),
            units: std::iter::once(UnitId::REQUESTS).chain(units).collect(),
            receipts: BTreeMap::new(),
        }
    }

    pub(super) fn ask(&mut self, id: usize, ask: &Ask, now: u64) -> Ruling {
        self.limiter.clock().set(Timestamp::from_micros(now));
        let mut builder = Demand::on(self.policy);
        let built_in = [
            (AttributeId::OPERATION, &ask.operation),
            (AttributeId::METHOD, &ask.method),
            (AttributeId::PLAN, &ask.plan),
        ];
        let values = self.attributes.iter().copied().zip(&ask.values);
        let texts = built_in.into_iter().chain(values);
        for (attribute, text) in texts.filter_map(|(attribute, text)| Some((attribute, text.as_deref()?))) {
            builder.set(attribute, text).expect("a value that a demand can have");
        }
        for (unit, cost) in self.units.iter().zip(&ask.costs) {
            if let Some(cost) = cost {
                builder.set_cost(*unit, *cost).expect("a cost that a demand can have");
            }
        }
        builder.set_purpose(match ask.purpose {
            description::Purpose::Once => Purpose::Once,
            description::Purpose::Hold => Purpose::Hold,
            description::Purpose::Peek => Purpose::Peek,
        });
        let demand = builder.build();
        let decision = self.limiter.check(&demand);
        let lines: Vec<Line> = decision
            .rulings()
            .map(|ruling| {
                assert_eq!(ruling.basis, Basis::Counter, "the store has room");
                Line {
                    name: ruling.name().to_owned(),
                    is_enforced: ruling.is_enforced(),
                    limit: ruling.rule().limit(),
                    window: ruling.rule().quota().window.as_micros(),
                    remaining: ruling.status.remaining,
                    reset_after: ruling.status.reset_after.as_micros(),
                    retry_after: wait(ruling.status.retry_after),
                }
            })
            .collect();
        let binding = decision.binding().map(|ruling| ruling.name().to_owned());
        let ruling = Ruling { is_admitted: decision.is_admitted(), lines, binding };
        // I11: the wait of the whole is the binding limit's.
        let bound = ruling.lines.iter().find(|line| Some(&line.name) == ruling.binding.as_ref());
        let own = bound.filter(|_| !ruling.is_admitted).map_or(model::Wait::None, |line| line.retry_after);
        assert_eq!(wait(decision.retry_after()), own, "the retry-after of the decision");
        self.receipts.insert(id, self.limiter.receipt(&decision));
        ruling
    }

    pub(super) fn settle(&mut self, id: usize, actual: &[(usize, u64)], now: u64) {
        self.limiter.clock().set(Timestamp::from_micros(now));
        let actual: Vec<(UnitId, u64)> = actual.iter().map(|(unit, amount)| (self.units[*unit], *amount)).collect();
        if let Some(receipt) = self.receipts.remove(&id) {
            self.limiter.settle(receipt, &actual);
        }
    }

    pub(super) fn release(&mut self, id: usize, now: u64) {
        self.limiter.clock().set(Timestamp::from_micros(now));
        if let Some(receipt) = self.receipts.remove(&id) {
            self.limiter.release(receipt);
        }
    }
}

fn wait(wait: Wait) -> model::Wait {
    match wait {
        Wait::None => model::Wait::None,
        Wait::For(span) => model::Wait::For(span.as_micros()),
        Wait::Release => model::Wait::Release,
        Wait::Never => model::Wait::Never,
    }
}
