//! The slow, exact model: it reads the description as `docs/policy.md` would have it read, keeps every admitted event of
//! every counter, and adds them up anew for each question. It has no line in common with the engine.

use std::collections::BTreeMap;

use super::description::{Algorithm, Amount, Ask, CLIENT, Description, Limit, Mode, Purpose, Quota, Record};
use super::rule::{Book, Rule, Scale, Taken, whole};
use super::{address, calendar};

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
    /// Whether the value was counted before in the window.
    pub(super) is_seen: bool,
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
    rule: Rule,
    unit: usize,
    taken: Taken,
    /// Whether it is held until it is settled or released.
    is_in_flight: bool,
}

/// A limit, the values it counts by, and what else tells its counters apart.
type Counter = (String, Vec<Option<String>>, Scale);

/// One limit that applies to a demand.
struct Check<'d> {
    limit: &'d Limit,
    counter: Counter,
    rule: Rule,
    /// Of distinct values, the demand's.
    value: Option<Option<String>>,
    need: u64,
    take: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Model<'d> {
    policy: &'d Description,
    books: BTreeMap<Counter, Book>,
    /// The values that were counted, each with the ends of the windows that it was counted in.
    values: BTreeMap<(Counter, Option<String>), Vec<u64>>,
    open: BTreeMap<usize, Vec<Open>>,
}

impl<'d> Model<'d> {
    pub(super) fn new(policy: &'d Description) -> Model<'d> {
        Model { policy, books: BTreeMap::new(), values: BTreeMap::new(), open: BTreeMap::new() }
    }

    /// Rules on a demand, which can be settled by `id` later.
    pub(super) fn ask(&mut self, id: usize, ask: &Ask, now: u64) -> Ruling {
        let facts = Facts::of(self.policy, ask, now);
        let checks: Vec<Check<'d>> = self.policy.limits.iter().filter_map(|limit| facts.check(limit, ask)).collect();
        let before: Vec<Line> = checks.iter().map(|check| self.look(check, check.need, now)).collect();
        let refuses = |line: &Line| line.is_enforced && line.retry_after != Wait::None;
        let is_admitted = !before.iter().any(refuses);
        for (check, line) in checks.iter().zip(&before) {
            if line.is_seen {
                continue;
            }
            if is_admitted && line.retry_after == Wait::None {
                self.charge(id, check, ask, now);
            } else if check.limit.counts_refused {
                self.charge_what_is_left(check, now);
            }
        }
        let after = |(check, line): (&Check<'d>, &Line)| match line.retry_after {
            Wait::None if is_admitted => Line { is_seen: line.is_seen, ..self.look(check, 0, now) },
            _ => Line { is_seen: line.is_seen, ..self.look(check, check.need, now) },
        };
        let lines: Vec<Line> = checks.iter().zip(&before).map(after).collect();
        if !is_admitted {
            let longest = lines.iter().filter(|line| refuses(line)).map(|line| line.retry_after).max();
            let binding = lines.iter().find(|line| refuses(line) && Some(line.retry_after) == longest);
            return Ruling { is_admitted, binding: binding.map(|line| line.name.clone()), lines };
        }
        let share = |line: &Line| (u128::from(line.remaining), u128::from(line.limit.max(1)));
        let mut binding: Option<&Line> = None;
        for line in lines.iter().filter(|line| line.is_enforced) {
            let ((left, of), least) = (share(line), binding.map(share));
            if least.is_none_or(|(least_left, least_of)| left * least_of < least_left * of) {
                binding = Some(line);
            }
        }
        Ruling { is_admitted, binding: binding.map(|line| line.name.clone()), lines }
    }

    /// Replaces what a demand was charged in the units that `actual` names, and releases what it holds.
    pub(super) fn settle(&mut self, id: usize, actual: &[(usize, u64)], now: u64) {
        for open in self.open.remove(&id).unwrap_or_default() {
            let book = self.books.get_mut(&open.counter).expect("a counter that was charged");
            let named = actual.iter().find(|(unit, _)| *unit == open.unit);
            match named {
                _ if open.is_in_flight => book.release(open.taken),
                Some((_, amount)) => book.settle(&open.rule, open.taken, *amount, now),
                None => {}
            }
        }
    }

    /// Releases what a demand holds.
    pub(super) fn release(&mut self, id: usize) {
        for open in self.open.remove(&id).unwrap_or_default() {
            let book = self.books.get_mut(&open.counter).expect("a counter that was charged");
            if open.is_in_flight {
                book.release(open.taken);
            }
        }
    }

    fn look(&self, check: &Check<'_>, need: u64, now: u64) -> Line {
        let (limit, rule, fresh) = (check.limit, &check.rule, Book::default());
        // The events are the counter's; the quota is the one in force for this demand.
        let book = self.books.get(&check.counter).unwrap_or(&fresh);
        let reset_after = whole(book.reset_after(rule, now.into()));
        let counted = check.value.clone().and_then(|value| self.values.get(&(check.counter.clone(), value)));
        let is_seen = reset_after > 0 && counted.is_some_and(|ends| ends.contains(&(now + reset_after)));
        Line {
            name: limit.name.clone(),
            is_enforced: limit.mode == Mode::Enforce,
            limit: rule.burst,
            window: rule.window_at(now),
            remaining: whole(book.remaining(rule, now.into())),
            reset_after,
            retry_after: book.retry_after(rule, if is_seen { 0 } else { need.into() }, now.into()),
            is_seen,
        }
    }

    fn charge(&mut self, id: usize, check: &Check<'_>, ask: &Ask, now: u64) {
        let book = self.books.entry(check.counter.clone()).or_default();
        let taken = book.charge(&check.rule, check.take, now);
        if check.value.is_some() {
            return self.know(check, now);
        }
        let unit = check.limit.unit.map_or(0, |unit| unit + 1);
        let is_settled = check.limit.unit.is_some_and(|unit| self.policy.units[unit].is_settled);
        let is_in_flight = check.limit.algorithm == Algorithm::Concurrency;
        if is_in_flight || (ask.purpose != Purpose::Peek && (is_settled || ask.costs[unit].is_some())) {
            let (counter, rule) = (check.counter.clone(), check.rule);
            self.open.entry(id).or_default().push(Open { counter, rule, unit, taken, is_in_flight });
        }
    }

    /// Charges a refused attempt to a limit that counts those: its cost, or what is left of the quota if that is less.
    fn charge_what_is_left(&mut self, check: &Check<'_>, now: u64) {
        let book = self.books.entry(check.counter.clone()).or_default();
        let is_counted = book.remaining(&check.rule, now.into()) > 0;
        book.refuse(&check.rule, check.take, now);
        if is_counted {
            self.know(check, now);
        }
    }

    /// Keeps a distinct value that was charged, with the end of its window.
    fn know(&mut self, check: &Check<'_>, now: u64) {
        let Some(value) = check.value.clone().filter(|_| check.take > 0) else { return };
        let end = now + whole(self.books[&check.counter].reset_after(&check.rule, now.into()));
        self.values.entry((check.counter.clone(), value)).or_default().push(end);
    }
}

/// What is known of a demand.
struct Facts<'d> {
    now: u64,
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
    fn of(policy: &'d Description, ask: &Ask, now: u64) -> Facts<'d> {
        let operation = ask.operation.clone().unwrap_or_else(|| policy.default_operation().to_owned());
        let about = policy.operations.iter().find(|known| known.name == operation);
        let only_method = about.and_then(|about| match about.methods.split_first() {
            Some((first, rest)) if *first != "*" && rest.iter().all(|method| method == first) => Some(*first),
            _ => None,
        });
        let client = || ask.peer.map(|peer| address::client_of(&policy.client, peer, &ask.via));
        let value = |(name, value): (&String, &Option<String>)| match name.as_str() {
            CLIENT => (name.clone(), client()),
            _ => (name.clone(), value.clone()),
        };
        let values: Vec<_> = policy.attributes.iter().zip(&ask.values).map(value).collect();
        let record_of = |(name, value): &(String, Option<String>)| {
            let value = value.as_ref()?;
            policy.records.iter().find(|record| record.attribute == *name && record.value == *value)
        };
        let records: Vec<&Record> = values.iter().filter_map(record_of).collect();
        let recorded = records.iter().find_map(|record| record.plan.clone());
        Facts {
            now,
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
        let lacks = limit
            .per
            .iter()
            .chain(&limit.distinct)
            .any(|(name, is_optional)| !is_optional && self.value(name).is_none());
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
        let rule = Rule::of(limit, self.policy.zone, amount);
        let values = limit.per.iter().map(|(name, _)| self.value(name).map(str::to_owned)).collect();
        let named = ask.costs[limit.unit.map_or(0, |unit| unit + 1)];
        let is_settled = limit.unit.is_some_and(|unit| self.policy.units[unit].is_settled);
        let value = limit.distinct.as_ref().map(|(name, _)| self.value(name).map(str::to_owned));
        let need = named.filter(|_| value.is_none()).unwrap_or(1);
        let take = match ask.purpose {
            Purpose::Peek => 0,
            Purpose::Once if limit.algorithm == Algorithm::Concurrency => 0,
            _ if is_settled && named.is_none() => 0,
            _ => need,
        };
        Some(Check { limit, counter: (limit.name.clone(), values, rule.scale()), rule, value, need, take })
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
            Quota::ByAge { steps, default } => {
                let born = self.records.iter().find_map(|record| record.created).map(midnight);
                let age = born.map(|born| self.now.saturating_sub(born));
                let reached = steps.iter().filter(|(from, _)| age.is_some_and(|age| age >= *from));
                let step = reached.max_by_key(|(from, _)| *from).map(|(_, step)| step);
                self.choose(step.or(default.as_deref())?)
            }
        }
    }
}

/// When a date begins in UTC, in microseconds since 1970.
pub(super) fn midnight(date: &str) -> u64 {
    let part = |bytes: std::ops::Range<usize>| date[bytes].parse().expect("a number in a date");
    whole(i128::from(calendar::days_before(part(0..4), part(5..7), part(8..10))) * 86_400_000_000)
}
