//! One vendor's invented traffic: scenarios laid over each other in time, and after a refusal the same request again,
//! a microsecond too early and exactly on time.

use std::collections::BTreeMap;

use super::ask::{Ask, Planned};
use super::ledger::{Line, Retry, Ruling};
use super::rng::Rng;

/// Thursday 2024-02-01T08:00:00Z, the day of the WhatsApp document's sample reset.
const BEGIN_US: u64 = 1_706_774_400_000_000;

/// How many requests are planned before no new scenario is begun.
const PLANNED: usize = 40;

/// What a vendor's document says an answer looks like.
#[derive(Clone, Debug, Default)]
pub(crate) struct Words {
    pub(crate) headers: Vec<(&'static str, String)>,
    /// Of a refusal.
    pub(crate) body: Option<String>,
}

impl Words {
    /// Writes the three headers that several of the documents have: what is left of a line's quota, and the unix second
    /// of its reset.
    pub(crate) fn put_figures(&mut self, ruling: &Ruling, line: &Line) {
        self.headers.push(("X-RateLimit-Limit", line.quota.to_string()));
        self.headers.push(("X-RateLimit-Remaining", line.remaining.to_string()));
        self.headers.push(("X-RateLimit-Reset", ruling.reset_second(line).to_string()));
    }

    /// Writes a refusal's body, which is JSON in all of the documents.
    pub(crate) fn put_body(&mut self, json: String) {
        self.headers.push(("Content-Type", "application/json".to_owned()));
        self.body = Some(json);
    }
}

/// All limits of a vendor with all their quotas; each has to be met in all its moods.
pub(crate) type Limits = &'static [(&'static str, &'static [u64])];

/// One vendor: traffic that tries its limits, and a model that answers as its document says.
pub(crate) trait Vendor {
    type Facts: Clone;

    fn name(&self) -> &'static str;

    fn limits(&self) -> Limits;

    /// Some requests that belong together, at or after `start`.
    fn scenario(&mut self, rng: &mut Rng, start: u64) -> Vec<Planned<Self::Facts>>;

    /// The ruling on a request, charged.
    fn rule(&mut self, at: u64, facts: &Self::Facts) -> Ruling;

    /// How the ruling is put.
    fn words(&self, facts: &Self::Facts, ruling: &Ruling) -> Words;
}

/// Why a request was asked again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Again {
    /// It was not.
    First,
    /// A microsecond before the retry-after of a refusal.
    Early,
    /// Exactly at the retry-after.
    OnTime,
}

/// A trace line and what has to come of it.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) line: String,
    pub(crate) again: Again,
    pub(crate) ruling: Ruling,
    pub(crate) words: Words,
}

/// Requests to come, by instant and by the order in which they were planned.
type Plans<F> = BTreeMap<(u64, u64), (Again, Ask<F>)>;

/// The traffic of one vendor, from a seed, without end.
pub(crate) struct Story<V: Vendor> {
    vendor: V,
    rng: Rng,
    now: u64,
    planned: Plans<V::Facts>,
    count: u64,
}

impl<V: Vendor> Story<V> {
    pub(crate) fn new(vendor: V, seed: u64) -> Story<V> {
        Story { vendor, rng: Rng::seeded(seed), now: BEGIN_US, planned: BTreeMap::new(), count: 0 }
    }

    fn plan(&mut self, at: u64, again: Again, ask: Ask<V::Facts>) {
        self.count += 1;
        self.planned.insert((at.max(self.now), self.count), (again, ask));
    }

    fn begin_scenarios(&mut self) {
        while self.planned.len() < PLANNED || self.rng.once_in(200) {
            let start = self.now + self.pause();
            for (at, ask) in self.vendor.scenario(&mut self.rng, start) {
                self.plan(at, Again::First, ask);
            }
        }
    }

    /// Time until the next scenario: mostly none or short, at times a silence in which windows pass.
    fn pause(&mut self) -> u64 {
        let longest = *self.rng.pick(&[1, 1_000, 100_000, 1_000_000, 20_000_000, 90_000_000]);
        let silence = if self.rng.once_in(400) { self.rng.below(90_000_000_000) } else { 0 };
        self.rng.below(longest) + silence
    }

    fn ask_again(&mut self, ask: &Ask<V::Facts>, ruling: &Ruling) {
        if ruling.allowed || !self.rng.once_in(6) {
            return;
        }
        if let Some(Retry::After(wait)) = ruling.binding().map(|line| line.retry) {
            self.plan(self.now + wait - 1, Again::Early, ask.clone());
            self.plan(self.now + wait, Again::OnTime, ask.clone());
        }
    }
}

impl<V: Vendor> Iterator for Story<V> {
    type Item = Case;

    fn next(&mut self) -> Option<Case> {
        self.begin_scenarios();
        let ((at, _), (again, ask)) = self.planned.pop_first()?;
        self.now = at;
        let ruling = self.vendor.rule(at, &ask.facts);
        let words = self.vendor.words(&ask.facts, &ruling);
        self.ask_again(&ask, &ruling);
        let line = format!("{{\"t\":{}.{:06},{}}}", at / 1_000_000, at % 1_000_000, ask.line);
        Some(Case { line, again, ruling, words })
    }
}
