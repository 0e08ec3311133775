//! What a decision leaves to be done: costs that are known only later, and what is held until work ends.

use std::sync::Arc;

use tidegate_core::{Algorithm, Basis, Charge, Cost, Decision, Purpose, Rule, Ruling, Timestamp, UnitId};

use crate::store::{Memory, memory::Fingerprint};
use crate::sync::{AtomicU64, Ordering};

/// What was charged for one admitted demand and may change: owned, so that it outlives policy and demand.
///
/// It holds the charges whose cost is settled afterwards, those whose cost the demand named (an estimate, perhaps), and
/// what concurrency limits hold. It belongs to the limiter that issued it. Settling and releasing use it up, so that
/// neither happens twice (I5, I7). A receipt that is dropped leaves everything as it was charged. What it holds is held
/// for ever then, which [`Memory::leaked`] counts.
#[derive(Debug, Default)]
#[must_use = "what it holds is held until it is settled or released"]
pub struct Receipt {
    entries: Vec<Entry>,
    /// Where it is counted if it is dropped while something is held.
    leaked: Option<Arc<AtomicU64>>,
}

/// One charge that may change.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) counter: Fingerprint,
    pub(crate) rule: Rule,
    pub(crate) unit: UnitId,
    pub(crate) taken: u64,
    /// The instant that the charge counted as: not when the demand read the clock, if its window had not begun then.
    pub(crate) taken_at: Timestamp,
}

impl Entry {
    fn is_held(&self) -> bool {
        self.rule.algorithm() == Algorithm::Concurrency
    }
}

impl Receipt {
    /// What the cost of may change, and what is held.
    pub(crate) fn of(decision: &Decision<'_>, store: &Memory) -> Receipt {
        Receipt::of_those(decision, store, |charge| is_open(charge, decision))
    }

    /// Everything that was charged, so that all of it can be given back.
    pub(crate) fn of_all(decision: &Decision<'_>, store: &Memory) -> Receipt {
        Receipt::of_those(decision, store, |charge| charge.take() > 0 || is_open(charge, decision))
    }

    fn of_those(decision: &Decision<'_>, store: &Memory, is_kept: impl Fn(&Charge<'_>) -> bool) -> Receipt {
        let mut entries = Vec::new();
        if decision.is_admitted() && decision.demand().purpose() != Purpose::Peek {
            for ruling in decision.rulings() {
                // What a limit did not count for want of room is not to be given back, nor counted later. A value that was
                // counted stays counted: others may have been admitted because it was.
                let is_charged = ruling.status.fits() && ruling.basis == Basis::Counter;
                let is_distinct = ruling.charge.limit().distinct().is_some();
                if is_charged && !is_distinct && is_kept(&ruling.charge) {
                    entries.push(entry(&ruling, decision.at(), store));
                }
            }
        }
        let leaked = entries.iter().any(Entry::is_held).then(|| store.leaks());
        Receipt { entries, leaked }
    }

    /// Whether something is held until it is released.
    pub(crate) fn holds(&self) -> bool {
        self.entries.iter().any(Entry::is_held)
    }

    /// Whether there is nothing to settle and nothing to release: such a receipt may be dropped.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(crate) fn settle(mut self, actual: &[(UnitId, u64)], store: &Memory, now: Timestamp) {
        self.leaked = None;
        for entry in std::mem::take(&mut self.entries) {
            let named = actual.iter().find(|(unit, _)| *unit == entry.unit);
            match (named, entry.is_held()) {
                (_, true) => store.adjust(&entry, 0, now),
                (Some((_, amount)), false) => store.adjust(&entry, *amount, now),
                (None, false) => {}
            }
        }
    }

    pub(crate) fn release(mut self, store: &Memory, now: Timestamp) {
        self.leaked = None;
        for entry in std::mem::take(&mut self.entries).iter().filter(|entry| entry.is_held()) {
            store.adjust(entry, 0, now);
        }
    }

    /// Gives everything back, in the windows that it was taken from.
    pub(crate) fn give_back(mut self, store: &Memory, now: Timestamp) {
        self.leaked = None;
        for entry in std::mem::take(&mut self.entries) {
            store.adjust(&entry, 0, now);
        }
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        if let Some(leaked) = self.leaked.take() {
            leaked.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Whether what was charged may still change.
fn is_open(charge: &Charge<'_>, decision: &Decision<'_>) -> bool {
    let limit = charge.limit();
    if charge.rule().algorithm() == Algorithm::Concurrency {
        return charge.take() > 0;
    }
    limit.cost() == Cost::Settled || decision.demand().cost(limit.unit()).is_some()
}

fn entry(ruling: &Ruling<'_>, at: Timestamp, store: &Memory) -> Entry {
    let charge = &ruling.charge;
    Entry {
        counter: store.fingerprint(charge),
        rule: *charge.rule(),
        unit: charge.limit().unit(),
        taken: charge.take(),
        taken_at: charge.rule().counted_as(ruling.status, at),
    }
}
