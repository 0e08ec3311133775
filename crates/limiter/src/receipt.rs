//! What a decision leaves to be done: costs that are known only later, and what is held until work ends.

use tidegate_core::{Algorithm, Charge, Cost, Decision, Rule, Timestamp, UnitId};

use crate::store::{Memory, memory::Fingerprint};

/// What was charged for one admitted demand and may change: owned, so that it outlives policy and demand.
///
/// It holds the charges whose cost is settled afterwards, those whose cost the demand named (an estimate, perhaps), and
/// what concurrency limits hold. It belongs to the limiter that issued it. Settling and releasing use it up, so that
/// neither happens twice (I5, I7). A receipt that is dropped leaves everything as it was charged: what it holds is held
/// for ever.
#[derive(Debug, Default)]
#[must_use = "what it holds is held until it is settled or released"]
pub struct Receipt {
    entries: Vec<Entry>,
    at: Timestamp,
}

/// One charge that may change.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) counter: Fingerprint,
    pub(crate) rule: Rule,
    pub(crate) unit: UnitId,
    pub(crate) taken: u64,
}

impl Entry {
    fn is_held(&self) -> bool {
        self.rule.algorithm() == Algorithm::Concurrency
    }
}

impl Receipt {
    pub(crate) fn of(decision: &Decision<'_>, store: &Memory) -> Receipt {
        let mut entries = Vec::new();
        if decision.is_admitted() {
            for ruling in decision.rulings() {
                if ruling.status.fits() && is_open(&ruling.charge, decision) {
                    entries.push(entry(&ruling.charge, store));
                }
            }
        }
        Receipt { entries, at: decision.at() }
    }

    /// Whether there is nothing to settle and nothing to release: such a receipt may be dropped.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(crate) fn settle(self, actual: &[(UnitId, u64)], store: &Memory, now: Timestamp) {
        for entry in self.entries {
            let named = actual.iter().find(|(unit, _)| *unit == entry.unit);
            match (named, entry.is_held()) {
                (_, true) => store.adjust(&entry, 0, self.at, now),
                (Some((_, amount)), false) => store.adjust(&entry, *amount, self.at, now),
                (None, false) => {}
            }
        }
    }

    pub(crate) fn release(self, store: &Memory, now: Timestamp) {
        for entry in self.entries.iter().filter(|entry| entry.is_held()) {
            store.adjust(entry, 0, self.at, now);
        }
    }
}

/// Whether what was charged may still change.
fn is_open(charge: &Charge<'_>, decision: &Decision<'_>) -> bool {
    let limit = charge.limit();
    if charge.rule().algorithm() == Algorithm::Concurrency {
        return charge.take() > 0;
    }
    let is_peek = decision.demand().purpose() == tidegate_core::Purpose::Peek;
    !is_peek && (limit.cost() == Cost::Settled || decision.demand().cost(limit.unit()).is_some())
}

fn entry(charge: &Charge<'_>, store: &Memory) -> Entry {
    Entry {
        counter: store.fingerprint(charge),
        rule: *charge.rule(),
        unit: charge.limit().unit(),
        taken: charge.take(),
    }
}
