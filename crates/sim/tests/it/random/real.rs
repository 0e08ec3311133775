//! The real limiter on a clock that stands where the story is.

use std::collections::BTreeMap;
use std::net::IpAddr;

use http::{HeaderMap, Method};
use tidegate_core::{AttributeId, Basis, Demand, Policy, Purpose, Timestamp, UnitId, Wait};
use tidegate_limiter::{Limiter, ManualClock, Memory, MemoryOptions, Receipt};
use tidegate_policy::{Asked, Intake, Lowered};

use super::description::{self, Ask, CLIENT, Description};
use super::model::{self, Line, Ruling};

/// Room for every counter of a story several times over: what a full store does is not what is tried here.
const COUNTERS: usize = 1_024;

pub(super) struct Real<'p> {
    policy: &'p Policy,
    intake: &'p Intake,
    is_forwarded: bool,
    limiter: Limiter<ManualClock, ()>,
    attributes: Vec<AttributeId>,
    units: Vec<UnitId>,
    receipts: BTreeMap<usize, Receipt>,
}

impl<'p> Real<'p> {
    pub(super) fn new(description: &Description, Lowered { policy, intake, .. }: &'p Lowered) -> Real<'p> {
        let named = |name: &String| policy.attribute(name).expect("an attribute that is declared");
        let units = description.units.iter().map(|unit| policy.unit(&unit.name).expect("a unit that is declared"));
        Real {
            policy,
            intake,
            is_forwarded: description.client.is_forwarded && !description.client.trusted.is_empty(),
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
        let client = self.policy.attribute(CLIENT).and_then(|id| Some((id, self.client(ask, now, id)?)));
        if let Some((attribute, client)) = &client {
            builder.set(*attribute, client).expect("an address that a demand can have");
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
                assert_ne!(ruling.basis, Basis::StoreFull, "the store has room");
                Line {
                    name: ruling.name().to_owned(),
                    is_enforced: ruling.is_enforced(),
                    limit: ruling.rule().limit(),
                    window: ruling.rule().window_at(Timestamp::from_micros(now)).as_micros(),
                    remaining: ruling.status.remaining,
                    reset_after: ruling.status.reset_after.as_micros(),
                    retry_after: wait(ruling.status.retry_after),
                    is_seen: ruling.basis == Basis::Seen,
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

    /// The client's address as a request has it, read as the gateway reads it.
    fn client(&self, ask: &Ask, now: u64, attribute: AttributeId) -> Option<String> {
        let name = if self.is_forwarded { "forwarded" } else { "x-forwarded-for" };
        let node = |address: &IpAddr| match address {
            _ if !self.is_forwarded => address.to_string(),
            IpAddr::V4(_) => format!("proto=https;for={address}"),
            IpAddr::V6(_) => format!("For=\"[{address}]:443\""),
        };
        let nodes: Vec<String> = ask.via.iter().map(node).collect();
        // As one proxy after the other would, at the end of the last line or by a line of its own.
        let lines = if nodes.len().is_multiple_of(2) { nodes } else { vec![nodes.join(", ")] };
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(name, line.parse().expect("a line"));
        }
        let route = self.intake.route(&Method::GET, "/nowhere").expect("a path");
        let asked = Asked { peer: ask.peer, host: None, headers: &headers, body: None };
        let facts = self.intake.extract(self.policy, &route, &asked, Timestamp::from_micros(now));
        facts.expect("an address").value(attribute).map(str::to_owned)
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
