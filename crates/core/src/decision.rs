//! From statuses to the decision: which limit binds, and whether the demand is admitted.

use crate::policy::Places;
use crate::{Charge, ChargeList, Charges, Demand, Mode, OnStoreError, Rule, Span, Status, Timestamp, Wait, bounds};

/// Whether a demand is admitted. A refusal is a decision, not an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It fits all enforced limits and was charged to them.
    Admitted,
    /// At least one enforced limit does not fit it. Nothing was charged but to limits that count refused attempts.
    Refused,
}

/// What a status rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Basis {
    /// The counter.
    #[default]
    Counter,
    /// The counter of distinct values and a marker: the value was counted before in this window, and is charged nothing.
    Seen,
    /// The store holds as many counters as it may and had no room for this one; the limit refuses until there is.
    StoreFull,
    /// The store had no room for this one, or for its marker, and the limit says to admit uncounted then: what its status
    /// tells is what was seen, of a counter that does not exist a fresh one. Nothing was charged, and nothing is to be
    /// settled.
    Open,
}

/// How much of a charge is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Nothing.
    Nothing,
    /// [`Charge::take`], by [`Rule::charge`].
    All,
    /// As much of it as is left, by [`Rule::charge_left`].
    Left,
}

impl Basis {
    /// Its name in answers; none for the counter alone.
    pub fn name(self) -> Option<&'static str> {
        match self {
            Basis::Counter => None,
            Basis::Seen => Some("seen"),
            Basis::StoreFull => Some("store-full"),
            Basis::Open => Some("open"),
        }
    }
}

/// What a store answers to charges: one status for each, in their order.
#[derive(Clone, Copy, Debug, Default)]
pub struct Statuses {
    list: [Status; bounds::MAX_CHARGES],
    bases: [Basis; bounds::MAX_CHARGES],
    /// Those that say that the cost fits.
    fitting: Places,
}

impl Statuses {
    /// Statuses still to be filled in.
    pub fn new() -> Statuses {
        Statuses::default()
    }

    /// Sets the status of the charge at `index`.
    #[inline]
    pub fn set(&mut self, index: usize, status: Status, basis: Basis) {
        self.list[index] = status;
        self.bases[index] = basis;
        let place = 1 << index;
        self.fitting = if status.fits() { self.fitting | place } else { self.fitting & !place };
    }

    /// Sets what the limit of the charge at `index` says where there is no room for its counter, which does not exist: its
    /// status was set as that of a fresh one. Worth asking again after `wait`.
    ///
    /// A limit that is open then says what it said: a cost that never fits does not fit for want of room either.
    pub fn set_without_room(&mut self, index: usize, charge: &Charge<'_>, wait: Span) {
        match charge.limit().on_store_error() {
            OnStoreError::Closed => self.set(index, Status::store_full(wait), Basis::StoreFull),
            OnStoreError::Open => self.bases[index] = Basis::Open,
        }
    }

    /// The status of the charge at `index`.
    #[inline]
    pub fn status(&self, index: usize) -> Status {
        self.list[index]
    }

    /// What the status of the charge at `index` rests on.
    #[inline]
    pub fn basis(&self, index: usize) -> Basis {
        self.bases[index]
    }

    /// The verdict on `charges`: refused if a limit that is enforced does not fit.
    ///
    /// Stores call it too, between looking and charging, so that all of them rule alike.
    #[inline]
    pub fn verdict(&self, charges: Charges<'_>) -> Verdict {
        if self.refusing(charges) == 0 { Verdict::Admitted } else { Verdict::Refused }
    }

    /// The places of limits that refuse.
    #[inline]
    fn refusing(&self, charges: Charges<'_>) -> Places {
        charges.enforced() & !self.fitting
    }

    /// How much is taken of the charge at `index`, after a peek has set its status.
    ///
    /// Nothing where there is no room for the counter, and nothing of a distinct value that was counted before. Admitted:
    /// what fits, which is everything but what a shadow limit would have refused. A limit that counts refused attempts takes
    /// what is left otherwise: of a refused demand, and in shadow mode of one that it would have refused itself, so that it
    /// tells what it would do if it were enforced.
    #[inline]
    pub fn part(&self, index: usize, charge: &Charge<'_>, verdict: Verdict) -> Part {
        let status = self.list[index];
        match verdict {
            _ if charge.take() == 0 || self.bases[index] != Basis::Counter => Part::Nothing,
            Verdict::Admitted if status.fits() => Part::All,
            _ if charge.counts_refused() && charge.rule().has_left(status) => Part::Left,
            _ => Part::Nothing,
        }
    }
}

/// What a decision is written on: its charges and their statuses.
///
/// Clearing one costs about as much as finding a counter. So who decides often makes one and uses it again.
#[derive(Clone, Copy, Debug, Default)]
pub struct Slate {
    charges: ChargeList,
    statuses: Statuses,
}

impl Slate {
    /// A clear one.
    pub fn new() -> Slate {
        Slate::default()
    }
}

/// The answer to one demand: the verdict and every limit's numbers, from one snapshot.
#[derive(Clone, Copy, Debug)]
pub struct Decision<'a> {
    demand: &'a Demand<'a>,
    written: Written<'a>,
    verdict: Verdict,
    binding: Option<usize>,
    at: Timestamp,
}

/// Where charges and statuses of a decision are.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::large_enum_variant, reason = "a decision allocates nothing, and is moved only where nobody minds")]
enum Written<'a> {
    /// In itself, for who keeps it.
    Here(Slate),
    /// With the caller.
    There(&'a ChargeList, &'a Statuses),
}

/// One limit's part in a decision.
#[derive(Clone, Copy, Debug)]
pub struct Ruling<'a> {
    /// What was to be charged, to which counter, by which rule.
    pub charge: Charge<'a>,
    /// What the counter said.
    pub status: Status,
    /// What the status rests on.
    pub basis: Basis,
}

impl<'a> Ruling<'a> {
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

/// Decides `demand` at `now` by what `charge` answers: [`ChargeList::resolve`], the store's charge, and the ruling on its
/// statuses.
///
/// The binding limit of a refusal is the refusing one that makes the caller wait longest (never is longest of all); of
/// an admission, the one with the smallest share left. Among equals it is the first in the policy. Shadow limits never
/// bind.
#[inline]
pub fn decide<'a>(
    demand: &'a Demand<'a>,
    now: Timestamp,
    charge: impl FnOnce(Charges<'_>, &mut Statuses),
) -> Decision<'a> {
    // Written where the decision has them: moved from one step to the next, they would cost more than the steps.
    let (written, verdict) = (Written::Here(Slate::new()), Verdict::Refused);
    let mut decision = Decision { demand, written, verdict, binding: None, at: now };
    if let Written::Here(slate) = &mut decision.written {
        charge(slate.charges.resolve(demand, now), &mut slate.statuses);
    }
    decision.rule();
    decision
}

/// The same on a slate of the caller's, which may have been used before.
#[inline]
pub fn decide_on<'a>(
    slate: &'a mut Slate,
    demand: &'a Demand<'a>,
    now: Timestamp,
    charge: impl FnOnce(Charges<'_>, &mut Statuses),
) -> Decision<'a> {
    slate.charges.resolve(demand, now);
    decide_resolved(&slate.charges, &mut slate.statuses, demand, now, charge)
}

/// The same for a demand that `charges` was resolved for.
#[inline]
pub fn decide_resolved<'a>(
    charges: &'a ChargeList,
    statuses: &'a mut Statuses,
    demand: &'a Demand<'a>,
    now: Timestamp,
    charge: impl FnOnce(Charges<'_>, &mut Statuses),
) -> Decision<'a> {
    charge(charges.of(demand), statuses);
    let (written, verdict) = (Written::There(charges, statuses), Verdict::Refused);
    let mut decision = Decision { demand, written, verdict, binding: None, at: now };
    decision.rule();
    decision
}

impl<'a> Decision<'a> {
    /// The demand that was decided.
    pub fn demand(&self) -> &'a Demand<'a> {
        self.demand
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

    /// Every limit that applied, in the order of the policy.
    pub fn rulings(&self) -> impl ExactSizeIterator<Item = Ruling<'a>> {
        (0..self.charges().len()).map(|index| self.ruling(index))
    }

    /// The limit that binds; `None` if none is enforced on this demand.
    pub fn binding(&self) -> Option<Ruling<'a>> {
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
    #[inline]
    fn rule(&mut self) {
        let (charges, statuses) = (self.charges(), self.statuses());
        let refusing = statuses.refusing(charges);
        let (verdict, binding) = match refusing {
            0 => (Verdict::Admitted, only(charges.enforced(), |all| smallest_share(all, charges, statuses))),
            _ => (Verdict::Refused, only(refusing, |all| longest_wait(all, statuses))),
        };
        (self.verdict, self.binding) = (verdict, binding);
    }

    #[inline]
    fn charges(&self) -> Charges<'_> {
        match &self.written {
            Written::Here(slate) => slate.charges.of(self.demand),
            Written::There(charges, _) => charges.of(self.demand),
        }
    }

    #[inline]
    fn statuses(&self) -> &Statuses {
        match &self.written {
            Written::Here(slate) => &slate.statuses,
            Written::There(_, statuses) => statuses,
        }
    }

    #[inline]
    fn ruling(&self, index: usize) -> Ruling<'a> {
        let (charges, statuses) = match &self.written {
            Written::Here(slate) => (&slate.charges, &slate.statuses),
            Written::There(charges, statuses) => (*charges, *statuses),
        };
        let charge = charges.charge(index, self.demand);
        Ruling { charge, status: statuses.list[index], basis: statuses.bases[index] }
    }
}

/// The only place among these; which one, if there are several.
#[inline]
fn only(places: Places, which: impl FnOnce(Places) -> usize) -> Option<usize> {
    match places {
        0 => None,
        one if one.is_power_of_two() => Some(each(one).next()?),
        several => Some(which(several)),
    }
}

/// The places, in their order.
#[inline]
fn each(mut places: Places) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let first = places.trailing_zeros();
        places &= places.wrapping_sub(1);
        (first < Places::BITS).then_some(first as usize)
    })
}

/// Of those that refuse, the first that makes the caller wait longest.
fn longest_wait(refusing: Places, statuses: &Statuses) -> usize {
    let waits = each(refusing).map(|index| (index, statuses.list[index].retry_after));
    let longest = waits.reduce(|longest, other| if other.1 > longest.1 { other } else { longest });
    longest.map_or(0, |(index, _)| index)
}

/// Of those that are enforced, the first that has the smallest share left.
fn smallest_share(enforced: Places, charges: Charges<'_>, statuses: &Statuses) -> usize {
    let product = |left: u64, of: u64| u128::from(left) * u128::from(of);
    // More than any limit leaves.
    let (mut smallest, mut least, mut least_of) = (0, 1, 0);
    for index in each(enforced) {
        // Of a limit of zero, nothing is left: the smallest share there is.
        let (left, of) = (statuses.list[index].remaining, charges.limit_at(index).max(1));
        if product(left, least_of) < product(least, of) {
            (smallest, least, least_of) = (index, left, of);
        }
    }
    smallest
}

impl Status {
    /// The status of a limit whose counter has no room in the store: nothing left, and worth asking again after `wait`.
    pub fn store_full(wait: Span) -> Status {
        Status { remaining: 0, reset_after: wait, retry_after: Wait::For(wait) }
    }
}
