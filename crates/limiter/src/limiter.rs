//! The heart: one clock reading, one policy snapshot, one call of the store, one decision, one event.

use tidegate_core::{Decision, Demand, Slate, UnitId, decide, decide_on};

use crate::{Clock, Memory, Observer, Receipt};

/// Decides demands.
#[derive(Debug)]
pub struct Limiter<C, O> {
    store: Memory,
    clock: C,
    observer: O,
}

impl<C: Clock, O: Observer> Limiter<C, O> {
    /// A limiter that counts in `store` by `clock` and tells `observer`.
    pub fn new(store: Memory, clock: C, observer: O) -> Limiter<C, O> {
        Limiter { store, clock, observer }
    }

    /// Decides a demand: charges all limits that apply to it, or none. A peek charges nothing.
    pub fn check<'d>(&self, demand: &'d Demand<'d>) -> Decision<'d> {
        let now = self.clock.now(); // read once per demand
        let decision = decide(demand, now, |charges, statuses| {
            // Pure until here: the demand's policy resolved it to a plan that leaves the store no choice. And after: the
            // verdict and its numbers follow from the statuses.
            self.store.charge(charges, statuses, now);
        });
        self.observer.decided(&decision);
        decision
    }

    /// The same, written on a slate of the caller's: [`Limiter::check`] for who decides often and keeps no decision.
    pub fn check_on<'d>(&self, slate: &'d mut Slate, demand: &'d Demand<'d>) -> Decision<'d> {
        let now = self.clock.now();
        let decision = decide_on(slate, demand, now, |charges, statuses| self.store.charge(charges, statuses, now));
        self.observer.decided(&decision);
        decision
    }

    /// What is needed to settle or release later what `decision` charged.
    pub fn receipt(&self, decision: &Decision<'_>) -> Receipt {
        Receipt::of(decision, &self.store)
    }

    /// Replaces what was charged by the `actual` amounts, now that they are known, and releases what was held.
    ///
    /// Units that `actual` does not name stay as they were charged. An amount lands in the window that admitted the
    /// demand; if that is over, nothing changes. More than the limit may come out: then nothing is left until enough
    /// of it has passed.
    pub fn settle(&self, receipt: Receipt, actual: &[(UnitId, u64)]) {
        receipt.settle(actual, &self.store, self.clock.now());
    }

    /// Gives back what concurrency limits hold for the demand. What it was charged otherwise stays charged.
    pub fn release(&self, receipt: Receipt) {
        receipt.release(&self.store, self.clock.now());
    }

    /// The store it counts in.
    pub fn store(&self) -> &Memory {
        &self.store
    }

    /// The clock it reads.
    pub fn clock(&self) -> &C {
        &self.clock
    }

    /// Whom it tells.
    pub fn observer(&self) -> &O {
        &self.observer
    }
}
