//! Demands in the order of time that try the limits of one policy: ties and bursts, edges of windows, the retry-after of
//! a refusal to the microsecond and one less, peeks, costs, and what is settled or released later.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::calendar;
use super::description::{Ask, CLIENT, Description, Limit, PLANS, Purpose, Quota};
use super::draw::{ADDRESSES, AGES, VALUES};
use super::model::{self, Ruling, Wait};
use super::rng::Rng;

/// What happens at an instant, in microseconds since 1970. Its number is what a settlement names it by.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) id: usize,
    pub(super) at: u64,
    pub(super) event: Event,
}

#[derive(Clone, Debug)]
pub(super) enum Event {
    Ask(Ask),
    /// What a demand was charged is replaced, by unit.
    Settle {
        of: usize,
        actual: Vec<(usize, u64)>,
    },
    Release {
        of: usize,
    },
}

const DAY: u64 = 86_400_000_000;

/// Longest wait that a story sits out: a little over the longest window.
const PATIENCE: u64 = 400 * 86_400_000_000;

pub(super) struct Story<'d> {
    policy: &'d Description,
    rng: Rng,
    now: u64,
    count: usize,
    /// Those who ask, over and over.
    askers: Vec<Ask>,
    planned: BTreeMap<(u64, usize), Ask>,
    /// Demands that were admitted and may be settled.
    open: Vec<usize>,
    last: Option<Ruling>,
    windows: Vec<u64>,
    /// When what the records are of comes to an age that a quota could begin at, ascending.
    birthdays: Vec<u64>,
}

impl<'d> Story<'d> {
    pub(super) fn new(policy: &'d Description, mut rng: Rng) -> Story<'d> {
        let zones: Vec<&str> = policy.zones().collect();
        let earliest = zones.iter().map(|zone| calendar::earliest(zone)).max().unwrap_or(0);
        let changes = zones.iter().flat_map(|zone| calendar::changes(zone));
        let changes: Vec<u64> = changes.filter(|change| *change > earliest + DAY).collect();
        let now = match rng.below(6) {
            0 => earliest,
            1 => earliest + rng.below(10_000_000),
            2 => 63_000_000_000_000_000 + rng.below(1_000_000_000_000_000),
            3 | 4 if !changes.is_empty() => rng.pick(&changes) - rng.below(DAY),
            _ => 1_706_774_400_000_000 + rng.below(366 * DAY),
        };
        let askers = (0..=rng.below(4)).map(|_| asker(&mut rng, policy)).collect();
        let mut windows = vec![1_000_000];
        policy.limits.iter().for_each(|limit: &Limit| windows_of(&limit.quota, &mut windows));
        policy.records.iter().flat_map(|record| &record.limits).for_each(|(_, own)| windows_of(own, &mut windows));
        let born = policy.records.iter().filter_map(|record| record.created).map(model::midnight);
        let mut birthdays: Vec<u64> = born.flat_map(|born| AGES.map(|age| born + age)).collect();
        birthdays.sort_unstable();
        let (planned, open) = (BTreeMap::new(), Vec::new());
        Story { policy, rng, now, count: 0, askers, planned, open, last: None, windows, birthdays }
    }

    pub(super) fn next(&mut self) -> Step {
        self.count += 1;
        let id = self.count;
        if !self.open.is_empty() && self.rng.once_in(5) {
            let of = self.open.swap_remove(self.rng.index(self.open.len()));
            self.now += match self.rng.below(4) {
                0 | 1 => 0,
                2 => self.gap() / 16,
                _ => self.gap(),
            };
            return Step { id, at: self.now, event: self.end_of(of) };
        }
        if let Some(((at, _), ask)) = self.planned.first_key_value().map(|(at, ask)| (*at, ask.clone()))
            && self.rng.once_in(2)
        {
            self.planned.pop_first();
            self.now = self.now.max(at);
            return Step { id, at: self.now, event: Event::Ask(ask) };
        }
        self.now += self.gap();
        let mut ask = self.rng.pick(&self.askers);
        self.vary(&mut ask);
        Step { id, at: self.now, event: Event::Ask(ask) }
    }

    /// Tells the story what became of a step.
    pub(super) fn hear(&mut self, step: &Step, ruling: Ruling) {
        let Event::Ask(ask) = &step.event else { return };
        if ruling.is_admitted && ask.purpose != Purpose::Peek {
            self.open.push(step.id);
        }
        let binding = ruling.lines.iter().find(|line| Some(&line.name) == ruling.binding.as_ref());
        if let Some(Wait::For(wait)) = binding.map(|line| line.retry_after)
            && !ruling.is_admitted
            && wait < PATIENCE
            && self.rng.once_in(2)
        {
            self.planned.insert((self.now + wait - 1, self.count), ask.clone());
            self.planned.insert((self.now + wait, self.count), ask.clone());
        }
        self.last = Some(ruling);
    }

    fn end_of(&mut self, of: usize) -> Event {
        if self.rng.once_in(3) {
            return Event::Release { of };
        }
        let mut actual = Vec::new();
        for unit in 0..=self.policy.units.len() {
            if self.rng.once_in(2) {
                actual.push((unit, self.units()));
            }
        }
        Event::Settle { of, actual }
    }

    fn gap(&mut self) -> u64 {
        let window = self.rng.pick(&self.windows).max(1);
        let lines = self.last.as_ref().map_or(&[][..], |last| &last.lines);
        let line = (!lines.is_empty()).then(|| self.rng.index(lines.len()));
        let gap = match (self.rng.below(20), line.map(|line| &lines[line])) {
            (0..=8, _) => 0,
            (9, _) => self.rng.from(1, 3),
            (10, Some(line)) => (line.reset_after + self.rng.below(3)).saturating_sub(1),
            (11..=12, Some(line)) => match line.retry_after {
                Wait::For(wait) => (wait + self.rng.below(3)).saturating_sub(1),
                _ => 0,
            },
            // An edge of the clock's windows, a microsecond before, or one after.
            (13..=14, _) => (window - self.now % window + self.rng.below(3)).saturating_sub(1),
            (15, Some(line)) => line.window / line.limit.max(1),
            (16, _) if self.rng.once_in(2) => {
                let next = self.birthdays.iter().find(|birthday| **birthday > self.now);
                next.map_or(0, |next| (next - self.now + self.rng.below(3)).saturating_sub(1))
            }
            (16, _) => self.rng.below(2 * window + window / 2 + 2),
            _ => self.rng.below(window / 8 + 1),
        };
        gap.min(PATIENCE)
    }

    fn vary(&mut self, ask: &mut Ask) {
        if self.rng.once_in(4) {
            ask.purpose = self.rng.pick(&[Purpose::Once, Purpose::Hold, Purpose::Hold, Purpose::Peek]);
        }
        if self.rng.once_in(4) {
            let unit = self.rng.index(ask.costs.len());
            ask.costs[unit] = Some(self.units());
        }
        if self.rng.once_in(8) && !ask.values.is_empty() {
            let place = self.rng.index(ask.values.len());
            if self.policy.attributes[place] == CLIENT {
                (ask.peer, ask.via) = whence(&mut self.rng);
            } else {
                ask.values[place] = (!self.rng.once_in(3)).then(|| self.rng.pick(&VALUES).to_owned());
            }
        }
    }

    /// A cost: small, what is left, what ever fits, or one more.
    fn units(&mut self) -> u64 {
        let lines = self.last.as_ref().map_or(&[][..], |last| &last.lines);
        let line = (!lines.is_empty()).then(|| &lines[self.rng.index(lines.len())]);
        let units = match (self.rng.below(12), line) {
            (0, _) => 0,
            (1..=2, Some(line)) => line.remaining,
            (3, Some(line)) => line.remaining + 1,
            (4, Some(line)) => line.limit,
            (5, Some(line)) => line.limit + 1,
            (6, _) if self.rng.once_in(3) => self.rng.below(1 << 53),
            _ => self.rng.from(1, 4),
        };
        units.min((1 << 53) - 1)
    }
}

fn asker(rng: &mut Rng, policy: &Description) -> Ask {
    let mut operations: Vec<&str> = policy.operations.iter().map(|operation| operation.name.as_str()).collect();
    operations.push(policy.default_operation());
    let mut value = |name: &String| (name != CLIENT && !rng.once_in(5)).then(|| rng.pick(&VALUES).to_owned());
    let values = policy.attributes.iter().map(&mut value).collect();
    let (peer, via) = whence(rng);
    Ask {
        operation: (!rng.once_in(4)).then(|| rng.pick(&operations).to_owned()),
        method: rng.once_in(4).then(|| rng.pick(&["GET", "POST", "PATCH"]).to_owned()),
        plan: rng.once_in(4).then(|| rng.pick(&[PLANS[0], PLANS[1], "unheard-of"]).to_owned()),
        values,
        peer,
        via,
        costs: vec![None; policy.units.len() + 1],
        purpose: rng.pick(&[Purpose::Once, Purpose::Hold]),
    }
}

/// The address that a demand comes from, and those that proxies say they were called from.
fn whence(rng: &mut Rng) -> (Option<IpAddr>, Vec<IpAddr>) {
    let mut address = || rng.pick(&ADDRESSES).parse().expect("an address");
    let (peer, via) = (address(), [address(), address(), address()]);
    ((!rng.once_in(6)).then_some(peer), via[..rng.index(4)].to_vec())
}

fn windows_of(quota: &Quota, windows: &mut Vec<u64>) {
    match quota {
        Quota::Fixed(amount) => windows.push(amount.window.at_most()),
        Quota::Derived { window, .. } => windows.push(window.at_most()),
        Quota::ByAge { steps, default } => {
            steps.iter().map(|(_, step)| step).chain(default.as_deref()).for_each(|step| windows_of(step, windows));
        }
        Quota::Unlimited => {}
        Quota::By { cases, default, .. } => {
            cases.iter().map(|(_, case)| case).chain(default.as_deref()).for_each(|case| windows_of(case, windows));
        }
    }
}
