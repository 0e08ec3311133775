//! What a trace came to: how many were admitted, which limits refused the others, who asked most, who would wait longest.

use std::collections::{BTreeSet, HashMap};

use tidegate_core::{Decision, Key, Ruling, Span, Timestamp, Wait};

use crate::bounds::COUNTED_KEYS;

/// The sum of a trace.
#[derive(Debug, Default)]
pub struct Report {
    /// Demands that were decided.
    pub demands: u64,
    /// Of these, admitted.
    pub admitted: u64,
    /// Of these, refused.
    pub refused: u64,
    /// Requests that were answered 400 before anything was counted, as the gateway does.
    pub bad_requests: u64,
    /// Lines that were passed over because they could not be understood.
    pub skipped: u64,
    /// The instants of the first and the last demand.
    pub between: Option<(Timestamp, Timestamp)>,
    /// The longest time that a refused demand would have had to wait.
    pub longest_wait: Option<LongestWait>,
    /// Demands that were refused for ever: their cost is above a quota.
    pub never: u64,
    limits: Limits,
    keys: BusiestKeys,
}

/// One limit's part in a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitTally {
    /// Its name.
    pub name: String,
    /// Whether it is enforced. A shadow limit refuses nobody.
    pub enforced: bool,
    /// Demands that it applied to.
    pub demands: u64,
    /// Demands that did not fit it, whether or not it is the one that the refusal named.
    pub did_not_fit: u64,
    /// Refusals that named it.
    pub refused: u64,
}

/// The demand that would have had to wait longest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LongestWait {
    /// How long.
    pub wait: Span,
    /// For which limit.
    pub limit: String,
    /// On which line of the trace.
    pub line: u64,
}

/// One counter that was asked often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BusyKey {
    /// The limit.
    pub limit: String,
    /// What it counts by, and the values; `None` for those who lack one.
    pub values: Vec<(String, Option<String>)>,
    /// Demands. Exact if `too_many_by` is zero.
    pub demands: u64,
    /// Demands among these that did not fit.
    pub did_not_fit: u64,
    /// `demands` may be too high by so many, as there were more keys than are counted.
    pub too_many_by: u64,
}

impl Report {
    /// Adds a decision that line `line` asked for.
    pub fn add(&mut self, line: u64, decision: &Decision<'_>) {
        let at = decision.at();
        let (first, _) = self.between.unwrap_or((at, at));
        self.between = Some((first, at));
        self.demands += 1;
        if decision.is_admitted() {
            self.admitted += 1;
        } else {
            self.refused += 1;
            self.add_wait(line, decision);
        }
        let binding = decision.binding().filter(|_| !decision.is_admitted()).map(|ruling| ruling.name());
        for ruling in decision.rulings() {
            self.limits.add(&ruling, binding == Some(ruling.name()));
            self.keys.add(decision, &ruling);
        }
    }

    /// The limits that applied, in the order in which they first did.
    pub fn limits(&self) -> &[LimitTally] {
        &self.limits.tallies
    }

    /// The `most` keys that were asked most often, beginning with the busiest.
    pub fn busiest(&self, most: usize) -> Vec<&BusyKey> {
        self.keys.by_count.iter().rev().take(most).map(|(_, index)| &self.keys.slots[*index].key).collect()
    }

    fn add_wait(&mut self, line: u64, decision: &Decision<'_>) {
        match decision.retry_after() {
            Wait::For(wait) => {
                let longest = self.longest_wait.as_ref().map_or(Span::ZERO, |longest| longest.wait);
                if wait > longest {
                    let limit = decision.binding().map_or("", |ruling| ruling.name()).to_owned();
                    self.longest_wait = Some(LongestWait { wait, limit, line });
                }
            }
            Wait::Never => self.never += 1,
            Wait::None | Wait::Release => {}
        }
    }
}

#[derive(Debug, Default)]
struct Limits {
    tallies: Vec<LimitTally>,
    places: HashMap<u128, usize>,
}

impl Limits {
    fn add(&mut self, ruling: &Ruling<'_>, is_binding: bool) {
        let place = *self.places.entry(ruling.charge.limit().identity()).or_insert_with(|| {
            let name = ruling.name().to_owned();
            let enforced = ruling.is_enforced();
            self.tallies.push(LimitTally { name, enforced, demands: 0, did_not_fit: 0, refused: 0 });
            self.tallies.len() - 1
        });
        let tally = &mut self.tallies[place];
        tally.demands += 1;
        tally.did_not_fit += u64::from(!ruling.status.fits());
        tally.refused += u64::from(is_binding);
    }
}

/// The keys asked most often, in bounded memory (Space-Saving: a new key takes over the count of the rarest).
///
/// Source: Metwally, Agrawal, El Abbadi, "Efficient Computation of Frequent and Top-k Elements in Data Streams", 2005.
#[derive(Debug, Default)]
struct BusiestKeys {
    slots: Vec<Slot>,
    places: HashMap<Box<[u8]>, usize>,
    by_count: BTreeSet<(u64, usize)>,
    scratch: Vec<u8>,
}

#[derive(Debug)]
struct Slot {
    bytes: Box<[u8]>,
    key: BusyKey,
}

impl BusiestKeys {
    fn add(&mut self, decision: &Decision<'_>, ruling: &Ruling<'_>) {
        let key = ruling.charge.key();
        self.scratch.clear();
        key.write(|bytes| self.scratch.extend_from_slice(bytes));
        let place = match self.places.get(self.scratch.as_slice()) {
            Some(place) => *place,
            None => self.enter(named(decision, key)),
        };
        let counted = &mut self.slots[place].key;
        self.by_count.remove(&(counted.demands, place));
        counted.demands += 1;
        counted.did_not_fit += u64::from(!ruling.status.fits());
        self.by_count.insert((counted.demands, place));
    }

    fn enter(&mut self, mut key: BusyKey) -> usize {
        let bytes: Box<[u8]> = self.scratch.as_slice().into();
        let rarest = if self.slots.len() < COUNTED_KEYS { None } else { self.by_count.pop_first() };
        let place = match rarest {
            None => {
                self.slots.push(Slot { bytes: bytes.clone(), key });
                self.slots.len() - 1
            }
            Some((count, place)) => {
                (key.demands, key.too_many_by) = (count, count);
                let replaced = std::mem::replace(&mut self.slots[place], Slot { bytes: bytes.clone(), key });
                self.places.remove(&replaced.bytes);
                place
            }
        };
        self.places.insert(bytes, place);
        place
    }
}

fn named(decision: &Decision<'_>, key: Key<'_>) -> BusyKey {
    let policy = decision.demand().policy();
    let names = key.limit().per().iter().map(|per| policy.attribute_name(per.attribute()).to_owned());
    let values = names.zip(key.values().map(|value| value.map(str::to_owned))).collect();
    BusyKey { limit: key.limit().name().to_owned(), values, demands: 0, did_not_fit: 0, too_many_by: 0 }
}
