//! The heart: one clock reading, one policy snapshot, one call of the store, one decision, one event.

use tidegate_core::{
    ChargeList, Charges, Decision, Demand, Slate, Span, Statuses, UnitId, decide, decide_on, decide_resolved,
};

use crate::reservations::{Held, MAX_RESERVATIONS, Places, ReservationId, Reservations, ReserveError, SettleError};
use crate::{Clock, Memory, Observer, Receipt};

/// Demands of a batch that are looked at ahead: about as many loads as a core has under way at a time. More would push
/// each other out of its cache.
const BATCH: usize = 32;

/// Decides demands.
#[derive(Debug)]
pub struct Limiter<C, O> {
    store: Memory,
    clock: C,
    observer: O,
    reservations: Reservations,
}

impl<C: Clock, O: Observer> Limiter<C, O> {
    /// A limiter that counts in `store` by `clock` and tells `observer`.
    pub fn new(store: Memory, clock: C, observer: O) -> Limiter<C, O> {
        Limiter { store, clock, observer, reservations: Reservations::new(MAX_RESERVATIONS) }
    }

    /// The same with at most so many reservations at a time.
    #[must_use]
    pub fn with_max_reservations(self, most: usize) -> Limiter<C, O> {
        Limiter { reservations: Reservations::new(most), ..self }
    }

    /// Decides a demand: charges all limits that apply to it, or none. A peek charges nothing.
    pub fn check<'d>(&self, demand: &'d Demand<'d>) -> Decision<'d> {
        let now = self.clock.now(); // read once per demand
        self.reservations.expire(&self.store, now);
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
        self.reservations.expire(&self.store, now);
        let decision = decide_on(slate, demand, now, |charges, statuses| self.store.charge(charges, statuses, now));
        self.observer.decided(&decision);
        decision
    }

    /// Decides demands that came together, at one instant: each alone and in their order, as [`Limiter::check`] decides it,
    /// and tells `hear` of each.
    ///
    /// All names of some demands are hashed before the first of these is decided, and memory is asked for all their
    /// counters at once: where there are many counters, most of a decision is waiting for memory. Allocates nothing.
    pub fn check_batch<'d>(&self, demands: &'d [Demand<'d>], mut hear: impl FnMut(&Decision<'_>)) {
        let now = self.clock.now(); // read once for all
        self.reservations.expire(&self.store, now);
        let mut lists = [ChargeList::new(); BATCH];
        let mut statuses = Statuses::new();
        let mut rest = demands;
        while !rest.is_empty() {
            let mut ahead = self.store.ahead();
            for (list, demand) in lists.iter_mut().zip(rest) {
                if !ahead.seek(list.resolve(demand, now)) {
                    break;
                }
            }
            let (these, others) = rest.split_at(ahead.demands());
            ahead.ask_for();
            for (list, demand) in lists.iter().zip(these) {
                let charge = |charges: Charges<'_>, statuses: &mut Statuses| ahead.charge(charges, statuses, now);
                let decision = decide_resolved(list, &mut statuses, demand, now, charge);
                self.observer.decided(&decision);
                hear(&decision);
            }
            rest = others;
        }
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

    /// Room for so many reservations, to be asked for before what is to be reserved is decided.
    ///
    /// # Errors
    ///
    /// There is no room, or there are no ids.
    pub fn places(&self, number: usize) -> Result<Places<'_>, ReserveError> {
        self.reservations.places(number, &self.store, self.clock.now())
    }

    /// Decides a demand and keeps what it is charged, if it is admitted, as a reservation in one of `places`.
    ///
    /// The demand's purpose is to be [`Purpose::Hold`](tidegate_core::Purpose::Hold), so that concurrency limits are held.
    /// After `expires_in` they are released; what was counted otherwise stays.
    pub fn reserve<'d>(
        &self,
        places: &mut Places<'_>,
        demand: &'d Demand<'d>,
        expires_in: Span,
    ) -> (Decision<'d>, Option<ReservationId>) {
        let decision = self.check(demand);
        if !decision.is_admitted() {
            return (decision, None);
        }
        let receipt = Receipt::of_all(&decision, &self.store);
        let units = demand.policy().units();
        let held = Held { receipt, expires_at: decision.at().plus(expires_in), units };
        match places.keep(held) {
            Ok(id) => (decision, Some(id)),
            Err(held) => {
                // More demands than places: what could never be settled is charged as if it had not been asked to be.
                held.receipt.release(&self.store, decision.at());
                (decision, None)
            }
        }
    }

    /// Replaces what a reservation was charged by the `actual` amounts, by the names of their units, and releases what it
    /// holds. Units that are not named stay as they were charged.
    ///
    /// # Errors
    ///
    /// The reservation is not open, or its policy has no such unit.
    pub fn settle_reservation(&self, id: ReservationId, actual: &[(&str, u64)]) -> Result<(), SettleError> {
        let now = self.clock.now();
        let (receipt, actual) = self.reservations.take(id, &self.store, now, |held| held.units(actual))?;
        receipt.settle(&actual, &self.store, now);
        Ok(())
    }

    /// Gives back all that a reservation was charged, in the windows that it was taken from, and what it holds.
    ///
    /// # Errors
    ///
    /// The reservation is not open.
    pub fn release_reservation(&self, id: ReservationId) -> Result<(), SettleError> {
        let now = self.clock.now();
        let (receipt, ()) = self.reservations.take(id, &self.store, now, |_| Ok(()))?;
        receipt.give_back(&self.store, now);
        Ok(())
    }

    /// How many reservations are open.
    pub fn open_reservations(&self) -> usize {
        self.reservations.count(&self.store, self.clock.now())
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
