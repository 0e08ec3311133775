//! `GET /v1/limits`: what is left for the attributes that are given, of every limit that counts by no others.

use std::collections::HashSet;
use std::fmt::Write;

use tidegate_core::{AttributeId, Decision, Demand, Limit, OperationId, Per, Purpose, Ruling};
use tidegate_limiter::Clock;
use tidegate_policy::question::Question;

use super::answer;
use super::bounds::{MAX_ENTRIES, MAX_ENTRIES_BYTES};
use super::respond::Problem;
use crate::Engine;

/// The answer to a query. Without an operation in it, every operation is asked about, and a limit that counts by
/// operation has an entry for each; a counter that several operations share has one.
pub(super) fn limits<C: Clock>(engine: &Engine<C>, query: &str) -> Result<String, Problem> {
    let book = engine.book();
    let policy = &super::extract::served_by_query(&book, query)?.policy;
    let question = super::extract::query(policy, query)?;
    let mut entries = Entries::default();
    let operations: Vec<Option<OperationId>> = if question.has(AttributeId::OPERATION) {
        vec![None]
    } else {
        policy.operations().iter().map(|operation| policy.operation_named(operation.name())).collect()
    };
    for operation in operations {
        if entries.are_full {
            break;
        }
        entries.peek(engine, &question, operation);
    }
    entries.list.sort();
    let mut out = String::from("{\"policy\":");
    answer::string(policy.name(), &mut out);
    let _ = write!(out, ",\"version\":{},\"limits\":[", policy.version());
    answer::separated(entries.list.iter(), &mut out, |entry, out| out.push_str(&entry.json));
    let _ = write!(out, "],\"complete\":{}}}", !entries.are_full);
    Ok(out)
}

#[derive(Default)]
struct Entries {
    list: Vec<Entry>,
    seen: HashSet<(Vec<u8>, u64, u64)>,
    bytes: usize,
    are_full: bool,
}

/// One counter, in the order of the policy's limits, then of the values.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    limit: usize,
    values: Vec<Option<String>>,
    json: String,
}

impl Entries {
    fn peek<C: Clock>(&mut self, engine: &Engine<C>, question: &Question<'_>, operation: Option<OperationId>) {
        let mut demand = question.demand();
        if let Some(operation) = operation {
            demand.set_operation(operation);
        }
        self.add(engine, &demand.set_purpose(Purpose::Peek).build(), |_| true);
        // What is left of distinct values is the same for all that are new: which is asked about need not be said.
        let policy = demand.build().policy();
        let mut of: Vec<AttributeId> = policy.limits().iter().filter_map(Limit::distinct).map(Per::attribute).collect();
        of.sort_unstable();
        of.dedup();
        for of in of.into_iter().filter(|of| !question.has(*of)) {
            let mut demand = demand;
            if demand.set(of, "").is_ok() {
                let demand = demand.build();
                self.add(engine, &demand, |limit| limit.distinct().is_some_and(|per| per.attribute() == of));
            }
        }
    }

    fn add<C: Clock>(&mut self, engine: &Engine<C>, demand: &Demand<'_>, is_asked: impl Fn(&Limit) -> bool) {
        let decision = engine.check(demand);
        for ruling in decision.rulings().filter(|ruling| is_asked(ruling.charge.limit())) {
            let quota = ruling.rule().quota();
            let mut key = Vec::new();
            ruling.charge.key().write(|bytes| key.extend_from_slice(bytes));
            if !self.seen.insert((key, quota.burst, quota.window.as_micros())) {
                continue;
            }
            if self.list.len() == MAX_ENTRIES || self.bytes >= MAX_ENTRIES_BYTES {
                self.are_full = true;
                return;
            }
            let entry = Entry::of(&ruling, &decision);
            self.bytes += entry.json.len();
            self.list.push(entry);
        }
    }
}

impl Entry {
    fn of(ruling: &Ruling<'_>, decision: &Decision<'_>) -> Entry {
        let policy = decision.demand().policy();
        let limit = policy.limit_named(ruling.name()).map_or(usize::MAX, |id| id.index());
        let key = ruling.charge.key();
        let mut json = String::from("{");
        answer::limit(ruling, decision.at(), &mut json);
        json.push_str(",\"attributes\":{");
        let names = key.limit().per().iter().map(|per: &Per| policy.attribute_name(per.attribute()));
        let given = names.zip(key.values()).filter_map(|(name, value)| Some((name, value?)));
        answer::separated(given, &mut json, |(name, value), json| answer::member(name, value, json));
        json.push_str("}}");
        Entry { limit, values: key.values().map(|value| value.map(str::to_owned)).collect(), json }
    }
}
