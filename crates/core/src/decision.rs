//! From statuses to the decision: which limit binds, and whether the demand is admitted.

use crate::{Charge, Charges, Demand, Mode, Rule, Span, Status, Timestamp, Wait, bounds};

/// Whether a demand is admitted. A refusal is a decision, not an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It fits all enforced limits and was charged to them.
    Admitted,
    /// At least one enforced limit does not fit it; nothing was charged.
    Refused,
}

/// What a status rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Basis {
    /// The counter.
    #[default]
    Counter,
    /// The store holds as many counters as it may and had no room for this one; the limit refuses until there is.
    StoreFull,
}

/// What a store answers to charges: one status for each, in their order.
#[derive(Clone, Copy, Debug)]
pub struct Statuses {
    list: [(Status, Basis); bounds::MAX_CHARGES],
}

impl Statuses {
    /// Statuses still to be filled in.
    #[inline]
    pub fn new() -> Statuses {
        Statuses { list: [(Status::default(), Basis::Counter); bounds::MAX_CHARGES] }
    }

    /// Sets the status of the charge at `index`.
    pub fn set(&mut self, index: usize, status: Status, basis: Basis) {
        self.list[index] = (status, basis);
    }

    /// The status of the charge at `index`.
    pub fn status(&self, index: usize) -> Status {
        self.list[index].0
    }

    /// The verdict on `charges`: refused if a limit that is enforced does not fit.
    ///
    /// Stores call it too, between looking and charging, so that all of them rule alike.
    pub fn verdict(&self, charges: &Charges<'_>) -> Verdict {
        let refused = charges
            .iter()
            .zip(&self.list)
            .any(|(charge, (status, _))| charge.limit().mode() == Mode::Enforce && !status.fits());
        if refused { Verdict::Refused } else { Verdict::Admitted }
    }
}

impl Default for Statuses {
    fn default() -> Statuses {
        Statuses::new()
    }
}

/// The answer to one demand: the verdict and every limit's numbers, from one snapshot.
#[derive(Clone, Copy, Debug)]
pub struct Decision<'a> {
    charges: Charges<'a>,
    statuses: Statuses,
    verdict: Verdict,
    binding: Option<usize>,
    at: Timestamp,
}

/// One limit's part in a decision.
#[derive(Clone, Copy, Debug)]
pub struct Ruling<'d, 'a> {
    /// What was to be charged, to which counter, by which rule.
    pub charge: &'d Charge<'a>,
    /// What the counter said.
    pub status: Status,
    /// What the status rests on.
    pub basis: Basis,
}

impl<'a> Ruling<'_, 'a> {
    /// The rule in force for this demand.
    pub fn rule(&self) -> &'a Rule {
        self.charge.rule()
    }

    /// The limit's name.
    pub fn name(&self) -> &'a str {
        self.charge.limit().name()
    }

    /// Whether the limit is enforced; a shadow limit changes no byte of an answer.
    pub fn is_enforced(&self) -> bool {
        self.charge.limit().mode() == Mode::Enforce
    }
}

/// Makes the decision of what a store answered to `charges` at `now`.
///
/// The binding limit of a refusal is the refusing one that makes the caller wait longest (never is longest of all); of
/// an admission, the one with the smallest share left. Among equals it is the first in the policy. Shadow limits never
/// bind.
pub fn decide<'a>(charges: Charges<'a>, statuses: Statuses, now: Timestamp) -> Decision<'a> {
    let mut decision = Decision { charges, statuses, verdict: Verdict::Refused, binding: None, at: now };
    decision.rule();
    decision
}

/// Decides `demand` at `now` by what `charge` answers: [`Policy::resolve`](crate::Policy::resolve), the store's charge and
/// [`decide`] in one.
///
/// Charges and statuses are written where the decision has them. Moved from one step to the next they would cost more
/// than the steps: they are 1.3 kB.
#[inline]
pub fn decide_by<'a>(
    demand: &'a Demand<'a>,
    now: Timestamp,
    charge: impl FnOnce(&Charges<'a>, &mut Statuses),
) -> Decision<'a> {
    let mut decision = Decision {
        charges: Charges::none(demand),
        statuses: Statuses::new(),
        verdict: Verdict::Refused,
        binding: None,
        at: now,
    };
    demand.policy().resolve_into(demand, now, &mut decision.charges);
    charge(&decision.charges, &mut decision.statuses);
    decision.rule();
    decision
}

impl<'a> Decision<'a> {
    /// The demand that was decided.
    pub fn demand(&self) -> &'a Demand<'a> {
        self.charges.demand()
    }

    /// Whether it was admitted.
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// Whether it was admitted, where a condition reads better.
    pub fn is_admitted(&self) -> bool {
        self.verdict == Verdict::Admitted
    }

    /// When it was decided.
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// The charges it rests on.
    pub fn charges(&self) -> &Charges<'a> {
        &self.charges
    }

    /// Every limit that applied, in the order of the policy.
    pub fn rulings(&self) -> impl ExactSizeIterator<Item = Ruling<'_, 'a>> {
        (0..self.charges.len()).map(|index| self.ruling(index))
    }

    /// The limit that binds; `None` if none is enforced on this demand.
    pub fn binding(&self) -> Option<Ruling<'_, 'a>> {
        self.binding.map(|index| self.ruling(index))
    }

    /// How long until this very demand would be admitted if nobody else spent: the binding limit's wait.
    pub fn retry_after(&self) -> Wait {
        match self.verdict {
            Verdict::Admitted => Wait::None,
            Verdict::Refused => self.binding().map_or(Wait::None, |ruling| ruling.status.retry_after),
        }
    }

    /// Makes verdict and binding limit of charges and statuses.
    fn rule(&mut self) {
        self.verdict = self.statuses.verdict(&self.charges);
        self.binding = match self.verdict {
            Verdict::Refused => self.longest_wait(),
            Verdict::Admitted => self.smallest_share(),
        };
    }

    fn ruling(&self, index: usize) -> Ruling<'_, 'a> {
        let (status, basis) = self.statuses.list[index];
        Ruling { charge: &self.charges[index], status, basis }
    }

    fn longest_wait(&self) -> Option<usize> {
        let mut longest: Option<(usize, Wait)> = None;
        for (index, ruling) in self.rulings().enumerate() {
            let wait = ruling.status.retry_after;
            if ruling.is_enforced() && !ruling.status.fits() && longest.is_none_or(|(_, most)| wait > most) {
                longest = Some((index, wait));
            }
        }
        longest.map(|(index, _)| index)
    }

    fn smallest_share(&self) -> Option<usize> {
        let mut smallest: Option<(usize, u64, u64)> = None;
        for (index, ruling) in self.rulings().enumerate().filter(|(_, ruling)| ruling.is_enforced()) {
            // Of a limit of zero, nothing is left: the smallest share there is.
            let (left, of) = (ruling.status.remaining, ruling.rule().limit().max(1));
            let is_smaller = smallest.is_none_or(|(_, least_left, least_of)| {
                u128::from(left) * u128::from(least_of) < u128::from(least_left) * u128::from(of)
            });
            if is_smaller {
                smallest = Some((index, left, of));
            }
        }
        smallest.map(|(index, _, _)| index)
    }
}

impl Status {
    /// The status of a limit whose counter has no room in the store: nothing left, and worth asking again after `wait`.
    pub fn store_full(wait: Span) -> Status {
        Status { remaining: 0, reset_after: wait, retry_after: Wait::For(wait) }
    }
}
