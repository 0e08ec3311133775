//! The slow, exact model: it reads the description as `docs/policy.md` would have it read, keeps every admitted event of
//! every counter, and adds them up anew for each question. It has no line in common with the engine.

use std::collections::BTreeMap;

use super::description::{Algorithm, Amount, Ask, Description, Limit, Mode, Purpose, Quota, Record};

/// How long until it fits, from shortest to longest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wait {
    None,
    For(u64),
    Release,
    Never,
}

/// What one limit says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) name: String,
    pub(super) is_enforced: bool,
    pub(super) limit: u64,
    pub(super) window: u64,
    pub(super) remaining: u64,
    pub(super) reset_after: u64,
    pub(super) retry_after: Wait,
}

/// What all limits say together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ruling {
    pub(super) is_admitted: bool,
    pub(super) lines: Vec<Line>,
    /// The name of the limit that binds.
    pub(super) binding: Option<String>,
}

/// What was charged for a demand and may change, by the demand.
#[derive(Clone, Debug)]
struct Open {
    counter: Counter,
    unit: usize,
    taken: u64,
    taken_at: u64,
    event: usize,
}

/// A limit, the values it counts by, and the window: quotas of different windows count apart.
type Counter = (String, Vec<Option<String>>, u64);

/// One limit that applies to a demand.
struct Check<'d> {
    limit: &'d Limit,
    counter: Counter,
    amount: Amount,
    need: u64,
    take: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Model<'d> {
    policy: &'d Description,
    books: BTreeMap<Counter, Book>,
    open: BTreeMap<usize, Vec<Open>>,
}

impl<'d> Model<'d> {
    pub(super) fn new(policy: &'d Description) -> Model<'d> {
        Model { policy, books: BTreeMap::new(), open: BTreeMap::new() }
    }

    /// Rules on a demand, which can be settled by `id` later.
    pub(super) fn ask(&mut self, id: usize, ask: &Ask, now: u64) -> Ruling {
        let facts = Facts::of(self.policy, ask);
        let checks: Vec<Check<'d>> = self.policy.limits.iter().filter_map(|limit| facts.check(limit, ask)).collect();
        let before: Vec<Line> = checks.iter().map(|check| self.look(check, check.need, now)).collect();
        let refuses = |line: &Line| line.is_enforced && line.retry_after != Wait::None;
        if before.iter().any(refuses) {
            let longest = before.iter().filter(|line| refuses(line)).map(|line| line.retry_after).max();
            let binding = before.iter().find(|line| refuses(line) && Some(line.retry_after) == longest);
            return Ruling { is_admitted: false, binding: binding.map(|line| line.name.clone()), lines: before };
        }
        for (check, line) in checks.iter().zip(&before) {
            if line.retry_after == Wait::None {
                self.charge(id, check, ask, now);
            }
        }
        let after = |(check, line): (&Check<'d>, &Line)| match line.retry_after {
            Wait::None => self.look(check, 0, now),
            _ => line.clone(),
        };
        let lines: Vec<Line> = checks.iter().zip(&before).map(after).collect();
        let share = |line: &Line| (u128::from(line.remaining), u128::from(line.limit.max(1)));
        let mut binding: Option<&Line> = None;
        for line in lines.iter().filter(|line| line.is_enforced) {
            let ((left, of), least) = (share(line), binding.map(share));
            if least.is_none_or(|(least_left, least_of)| left * least_of < least_left * of) {
                binding = Some(line);
            }
        }
        Ruling { is_admitted: true, binding: binding.map(|line| line.name.clone()), lines }
    }

    /// Replaces what a demand was charged in the units that `actual` names, and releases what it holds.
    pub(super) fn settle(&mut self, id: usize, actual: &[(usize, u64)], now: u64) {
        for open in self.open.remove(&id).unwrap_or_default() {
            let book = self.books.get_mut(&open.counter).expect("a counter that was charged");
            let named = actual.iter().find(|(unit, _)| *unit == open.unit);
            match (book.algorithm, named) {
                (Algorithm::Concurrency, _) => book.events[open.event].units = 0,
                (Algorithm::Bucket, Some((_, amount))) => book.correct(&open, *amount, now),
                (_, Some((_, amount))) => book.events[open.event].units = i128::from(*amount),
                (_, None) => {}
            }
        }
    }

    /// Releases what a demand holds.
    pub(super) fn release(&mut self, id: usize) {
        for open in self.open.remove(&id).unwrap_or_default() {
            let book = self.books.get_mut(&open.counter).expect("a counter that was charged");
            if book.algorithm == Algorithm::Concurrency {
                book.events[open.event].units = 0;
            }
        }
    }

    fn look(&self, check: &Check<'_>, need: u64, now: u64) -> Line {
        let limit = check.limit;
        let fresh = Book { algorithm: limit.algorithm, amount: check.amount, events: Vec::new() };
        // The events are the counter's; the quota is the one in force for this demand.
        let events = self.books.get(&check.counter).map_or(&fresh.events, |book| &book.events);
        let book = Book { events: events.clone(), ..fresh };
        Line {
            name: limit.name.clone(),
            is_enforced: limit.mode == Mode::Enforce,
            limit: whole(book.burst()),
            window: check.amount.window,
            remaining: whole(book.remaining(now.into())),
            reset_after: whole(book.reset_after(now.into())),
            retry_after: book.retry_after(need.into(), now.into()),
        }
    }

    fn charge(&mut self, id: usize, check: &Check<'_>, ask: &Ask, now: u64) {
        let fresh = Book { algorithm: check.limit.algorithm, amount: check.amount, events: Vec::new() };
        let book = self.books.entry(check.counter.clone()).or_insert(fresh);
        book.events.push(Event { at: now.into(), units: check.take.into(), kind: Kind::Taken });
        let unit = check.limit.unit.map_or(0, |unit| unit + 1);
        let is_settled = check.limit.unit.is_some_and(|unit| self.policy.units[unit].is_settled);
        let may_change = match check.limit.algorithm {
            Algorithm::Concurrency => true,
            _ => ask.purpose != Purpose::Peek && (is_settled || ask.costs[unit].is_some()),
        };
        if may_change {
            let (counter, event) = (check.counter.clone(), book.events.len() - 1);
            let open = Open { counter, unit, taken: check.take, taken_at: now, event };
            self.open.entry(id).or_default().push(open);
        }
    }
}

/// What is known of a demand.
struct Facts<'d> {
    policy: &'d Description,
    operation: String,
    class: Option<String>,
    method: Option<String>,
    plan: Option<String>,
    values: Vec<(String, Option<String>)>,
    /// Those of its values, in the order of the attributes.
    records: Vec<&'d Record>,
}

impl<'d> Facts<'d> {
    fn of(policy: &'d Description, ask: &Ask) -> Facts<'d> {
        let operation = ask.operation.clone().unwrap_or_else(|| policy.default_operation().to_owned());
        let about = policy.operations.iter().find(|known| known.name == operation);
        let only_method = about.and_then(|about| match about.methods.split_first() {
            Some((first, rest)) if *first != "*" && rest.iter().all(|method| method == first) => Some(*first),
            _ => None,
        });
        let values: Vec<_> = policy.attributes.iter().cloned().zip(ask.values.iter().cloned()).collect();
        let record_of = |(name, value): &(String, Option<String>)| {
            let value = value.as_ref()?;
            policy.records.iter().find(|record| record.attribute == *name && record.value == *value)
        };
        let records: Vec<&Record> = values.iter().filter_map(record_of).collect();
        let recorded = records.iter().find_map(|record| record.plan.clone());
        Facts {
            policy,
            class: about.and_then(|about| about.class.clone()),
            operation,
            method: ask.method.clone().or(only_method.map(str::to_owned)),
            plan: ask.plan.clone().or(recorded).or(policy.default_plan.clone()),
            values,
            records,
        }
    }

    fn value(&self, attribute: &str) -> Option<&str> {
        match attribute {
            "operation" => Some(&self.operation),
            "class" => self.class.as_deref(),
            "method" => self.method.as_deref(),
            "plan" => self.plan.as_deref(),
            _ => self.values.iter().find(|(name, _)| name == attribute).and_then(|(_, value)| value.as_deref()),
        }
    }

    /// What the limit asks of the demand, if it applies to it.
    fn check(&self, limit: &'d Limit, ask: &Ask) -> Option<Check<'d>> {
        let is_on = limit
            .on
            .as_ref()
            .is_none_or(|on| on.iter().any(|name| *name == self.operation || Some(name) == self.class.as_ref()));
        let lacks = limit.per.iter().any(|(name, is_optional)| !is_optional && self.value(name).is_none());
        let is_one_of = |(name, values): &(String, Vec<String>)| {
            self.value(name).is_some_and(|value| values.iter().any(|one| one == value))
        };
        // Dates of one form are in the order of their texts.
        let is_older =
            |date: &str| self.records.iter().any(|record| record.created.is_some_and(|created| created < date));
        let is_exempt = limit.exempt_before.is_some_and(is_older);
        let applies = limit.mode != Mode::Off
            && is_on
            && !lacks
            && limit.when.iter().all(is_one_of)
            && !limit.unless.iter().any(is_one_of)
            && !is_exempt;
        let amount = applies.then(|| self.amount(limit)).flatten()?;
        let values = limit.per.iter().map(|(name, _)| self.value(name).map(str::to_owned)).collect();
        let named = ask.costs[limit.unit.map_or(0, |unit| unit + 1)];
        let is_settled = limit.unit.is_some_and(|unit| self.policy.units[unit].is_settled);
        let need = named.unwrap_or(1);
        let take = match ask.purpose {
            Purpose::Peek => 0,
            Purpose::Once if limit.algorithm == Algorithm::Concurrency => 0,
            _ if is_settled && named.is_none() => 0,
            _ => need,
        };
        Some(Check { limit, counter: (limit.name.clone(), values, amount.window), amount, need, take })
    }

    /// The quota in force: that of the first record that has one, else the limit's own.
    fn amount(&self, limit: &Limit) -> Option<Amount> {
        let own = |record: &&'d Record| record.limits.iter().find(|(name, _)| *name == limit.name).map(|(_, own)| own);
        match self.records.iter().find_map(own).unwrap_or(&limit.quota) {
            Quota::Derived { numerator, denominator, of, window } => {
                let base = self.amount(self.policy.limit(of))?;
                let share = u128::from(base.amount) * u128::from(*numerator) / u128::from(*denominator);
                let share = u64::try_from(share).expect("a share of the whole").max(1).min(base.amount);
                Some(Amount { amount: share, window: *window, burst: None })
            }
            quota => self.choose(quota),
        }
    }

    fn choose(&self, quota: &Quota) -> Option<Amount> {
        match quota {
            Quota::Fixed(amount) => Some(*amount),
            Quota::Unlimited => None,
            Quota::Derived { .. } => panic!("a derived quota stands alone"),
            Quota::By { attribute, cases, default } => {
                let case_of = |value: &str| cases.iter().find(|(case, _)| case == value).map(|(_, quota)| quota);
                let own = self.value(attribute).and_then(case_of);
                let instead = match (default, attribute.as_str()) {
                    (Some(default), _) => Some(&**default),
                    (None, "plan") => self.policy.default_plan.as_deref().and_then(case_of),
                    (None, _) => None,
                };
                self.choose(own.or(instead)?)
            }
        }
    }
}

/// All that was ever charged to one counter.
#[derive(Clone, Debug)]
struct Book {
    algorithm: Algorithm,
    amount: Amount,
    events: Vec<Event>,
}

#[derive(Clone, Copy, Debug)]
struct Event {
    at: i128,
    /// Of what was taken, units; of a correction, units × window.
    units: i128,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Taken,
    /// A bucket got so much back, in units × window.
    Back,
}

impl Book {
    fn window(&self) -> i128 {
        self.amount.window.into()
    }

    fn rate(&self) -> i128 {
        self.amount.amount.into()
    }

    /// The most that ever fits at once.
    fn burst(&self) -> i128 {
        self.amount.burst.unwrap_or(self.amount.amount).into()
    }

    /// A bucket's cost turns out to be `actual`. More is owed as of now. Of what was too much, that is given back which
    /// cannot have come back by itself.
    fn correct(&mut self, open: &Open, actual: u64, now: u64) {
        let (taken, actual, at) = (i128::from(open.taken), i128::from(actual), i128::from(now));
        if actual > taken {
            self.events.push(Event { at, units: actual - taken, kind: Kind::Taken });
        } else {
            let still_out = (taken * self.window() - (at - i128::from(open.taken_at)) * self.rate()).max(0);
            let back = ((taken - actual) * self.window()).min(still_out);
            self.events.push(Event { at, units: back, kind: Kind::Back });
        }
    }

    fn remaining(&self, now: i128) -> i128 {
        match self.algorithm {
            Algorithm::Bucket if self.rate() == 0 => 0,
            Algorithm::Bucket => (self.burst() * self.window() - self.level(now)).max(0) / self.window(),
            _ => (self.burst() - self.used(now)).max(0),
        }
    }

    fn retry_after(&self, need: i128, now: i128) -> Wait {
        if need <= self.remaining(now) {
            return Wait::None;
        }
        if need > self.burst() || self.rate() == 0 {
            return Wait::Never;
        }
        let wait = match self.algorithm {
            Algorithm::Concurrency => return Wait::Release,
            Algorithm::Fixed => self.window() - now % self.window(),
            Algorithm::Sliding { cells } => {
                // Nothing changes but when a cell begins.
                let cell = self.cell(now);
                let starts = (cell + 1..=cell + i128::from(cells) + 1).map(|cell| self.start_of(cell));
                starts.into_iter().find(|start| need <= self.remaining(*start)).expect("an unused window") - now
            }
            Algorithm::Bucket => {
                let surplus = self.level(now) + (need - self.burst()) * self.window();
                ceiling(surplus, self.rate())
            }
        };
        Wait::For(whole(wait))
    }

    fn reset_after(&self, now: i128) -> i128 {
        match self.algorithm {
            Algorithm::Concurrency => 0,
            Algorithm::Fixed => self.window() - now % self.window(),
            Algorithm::Sliding { cells } => {
                let last = self.events.iter().rev().find(|event| event.units > 0 && self.counts(event, now));
                last.map_or(0, |last| self.start_of(self.cell(last.at) + i128::from(cells) + 1) - now)
            }
            Algorithm::Bucket if self.rate() == 0 => 0,
            Algorithm::Bucket => ceiling(self.level(now), self.rate()),
        }
    }

    /// Units that count, of all algorithms but the bucket.
    fn used(&self, now: i128) -> i128 {
        self.events.iter().filter(|event| self.counts(event, now)).map(|event| event.units).sum()
    }

    fn counts(&self, event: &Event, now: i128) -> bool {
        match self.algorithm {
            Algorithm::Fixed => event.at / self.window() == now / self.window(),
            Algorithm::Sliding { cells } => self.cell(event.at) + i128::from(cells) >= self.cell(now),
            Algorithm::Bucket | Algorithm::Concurrency => true,
        }
    }

    fn cell(&self, at: i128) -> i128 {
        let Algorithm::Sliding { cells } = self.algorithm else { panic!("only sliding windows have cells") };
        at * i128::from(cells) / self.window()
    }

    /// The first instant of a cell.
    fn start_of(&self, cell: i128) -> i128 {
        let Algorithm::Sliding { cells } = self.algorithm else { panic!("only sliding windows have cells") };
        ceiling(cell * self.window(), cells.into())
    }

    /// What is in the vessel at `now`, in units × window: `amount` of it leaks away with each microsecond. A debt is at
    /// most a second bucket.
    fn level(&self, now: i128) -> i128 {
        let (mut level, mut seen) = (0, 0);
        for event in &self.events {
            level = (level - (event.at - seen) * self.rate()).max(0);
            level = match event.kind {
                Kind::Taken => (level + event.units * self.window()).min(2 * self.burst() * self.window()),
                Kind::Back => (level - event.units).max(0),
            };
            seen = event.at;
        }
        (level - (now - seen) * self.rate()).max(0)
    }
}

fn ceiling(of: i128, by: i128) -> i128 {
    (of + by - 1).div_euclid(by)
}

fn whole(number: i128) -> u64 {
    u64::try_from(number).expect("a number that is neither negative nor huge")
}
