//! What every store must do, as `store.rs` says: the same tables and the same random traces for all of them.
//!
//! A store is given as a function that makes an empty one; an empty store is a function from charges to statuses.

use std::collections::{HashMap, HashSet};

use tidegate_core::{
    Algorithm, Basis, Charge, ChargeList, Charges, Demand, LimitDraft, Mode, OnStoreError, Policy, Purpose, Quota,
    QuotaTree, Span, Status, Statuses, Timestamp, UnitId, Verdict, Wait, decide,
};
use tidegate_limiter::{Memory, MemoryOptions};

use crate::support::{Random, START, by, limit, policy};

/// An empty store with room for whatever a test of the contract puts there.
type Store = Box<dyn Fn(Charges<'_>, Timestamp) -> Statuses>;

#[test]
fn memory_keeps_the_contract() {
    keeps_the_contract(|| {
        let memory = Memory::new(MemoryOptions { max_counters: 10_000 });
        Box::new(move |charges, now| {
            let mut statuses = Statuses::new();
            memory.charge(charges, &mut statuses, now);
            statuses
        })
    });
}

/// Holds a store to its contract.
fn keeps_the_contract(empty: impl Fn() -> Store) {
    follows_the_table(&empty);
    agrees_with_a_plain_map(&empty);
}

// ---------------------------------------------------------------------------------------------------------------------

/// Every row of `data/contract.txt`.
fn follows_the_table(empty: &impl Fn() -> Store) {
    let mut rows = 0;
    let table = include_str!("data/contract.txt");
    let stores: Vec<&str> = table.split("\nstore ").skip(1).collect();
    for section in stores {
        let (title, body) = section.split_once('\n').expect("rows under a store");
        let (limits, demands): (Vec<&str>, Vec<&str>) = body
            .lines()
            .filter(|line| !line.trim().is_empty() && !line.starts_with('#'))
            .partition(|line| !line.starts_with("at "));
        let policy = policy(limits.iter().map(|line| limit_of(line)).collect());
        let store = empty();
        for row in demands {
            let row = Row::of(row);
            let demand = row.demand(&policy);
            let now = START.plus(row.at);
            let decision = decide(&demand, now, |charges, statuses| *statuses = store(charges, now));
            let limits: Vec<String> = decision.rulings().map(|ruling| show(ruling.name(), ruling.status)).collect();
            let verdict = if decision.is_admitted() { "admit" } else { "refuse" };
            assert_eq!((verdict, limits), (row.verdict, row.limits), "{title}: at {:?}", row.at);
            rows += 1;
        }
    }
    assert!(rows > 30, "{rows} rows");
}

fn limit_of(line: &str) -> LimitDraft {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [kind, name, amount, period, attribute, flags @ ..] = &words[..] else { panic!("a limit: {line}") };
    let micros = if *period == "-" { 1_000 } else { span(period).as_micros() };
    let drafted = limit(name, amount.parse().expect("an amount"), 1);
    let quota = QuotaTree::Fixed(Quota::per(amount.parse().expect("an amount"), Span::from_micros(micros)));
    let [is_shadow, count_refused] = ["shadow", "counts"].map(|word| flags.contains(&word));
    assert_eq!(flags.len(), usize::from(is_shadow) + usize::from(count_refused), "{line}");
    let mode = if is_shadow { Mode::Shadow } else { Mode::Enforce };
    let per = vec![(long(attribute).into(), false)];
    let drafted = LimitDraft { per, mode, count_refused, quota, ..drafted };
    let algorithm = match *kind {
        "limit" => Algorithm::FixedWindow,
        "bucket" => Algorithm::TokenBucket,
        "held" => Algorithm::Concurrency,
        other => panic!("a kind of limit: {other}"),
    };
    by(algorithm, drafted)
}

/// A demand and what becomes of it.
struct Row<'t> {
    at: Span,
    attributes: Vec<(&'t str, &'t str)>,
    cost: u64,
    purpose: Purpose,
    verdict: &'t str,
    limits: Vec<String>,
}

impl<'t> Row<'t> {
    fn of(line: &'t str) -> Row<'t> {
        let mut words = line.split_whitespace().skip(1).peekable();
        let at = span(words.next().expect("an instant"));
        let mut attributes = Vec::new();
        while let Some((name, value)) = words.next_if(|word| *word != "cost").and_then(|word| word.split_once('=')) {
            attributes.push((long(name), value));
        }
        let cost = words.nth(1).expect("a cost").parse().expect("a number");
        let purpose = match words.next_if(|word| ["peek", "hold"].contains(word)) {
            Some("peek") => Purpose::Peek,
            Some(_) => Purpose::Hold,
            None => Purpose::Once,
        };
        let verdict = words.next().expect("a verdict");
        Row { at, attributes, cost, purpose, verdict, limits: words.map(String::from).collect() }
    }

    fn demand<'a>(&'a self, policy: &'a Policy) -> Demand<'a> {
        let mut builder = Demand::on(policy);
        for (name, value) in &self.attributes {
            builder.set(policy.attribute(name).expect("an attribute"), value).expect("a value");
        }
        builder.set_cost(UnitId::REQUESTS, self.cost).expect("a small cost").set_purpose(self.purpose).build()
    }
}

fn long(attribute: &str) -> &'static str {
    match attribute {
        "k" => "key",
        "u" => "user",
        "a" => "app",
        other => panic!("an attribute: {other}"),
    }
}

fn span(text: &str) -> Span {
    let (number, unit) = text.split_at(text.find(char::is_alphabetic).expect("a unit"));
    let micros = match unit {
        "us" => 1,
        "ms" => 1_000,
        "s" => 1_000_000,
        other => panic!("a unit of time: {other}"),
    };
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let part: u64 = format!("{part:0<6}").parse().expect("a fraction");
    Span::from_micros(whole.parse::<u64>().expect("a number") * micros + part * micros / 1_000_000)
}

fn show(name: &str, status: Status) -> String {
    let mut text = format!("{name}={},{}", status.remaining, short(status.reset_after));
    match status.retry_after {
        Wait::None => {}
        Wait::For(span) => text += &format!(",{}", short(span)),
        Wait::Release => text += ",release",
        Wait::Never => text += ",never",
    }
    text
}

fn short(span: Span) -> String {
    match span.as_micros() {
        micros if micros % 1_000_000 == 0 => format!("{}s", micros / 1_000_000),
        micros if micros % 1_000 == 0 => format!("{}ms", micros / 1_000),
        micros => format!("{micros}us"),
    }
}

// ---------------------------------------------------------------------------------------------------------------------

/// I6, I8, T13, T14: random demands on random policies get, status for status, what a plain map of states would give that
/// never forgets anything.
fn agrees_with_a_plain_map(empty: &impl Fn() -> Store) {
    let mut random = Traffic(Random::new(1));
    let (mut refused, mut counted) = (0, 0);
    for _ in 0..200 {
        let policy = random.policy();
        let (store, mut model) = (empty(), Model::default());
        let mut now = START;
        for _ in 0..1_000 {
            now = now.plus(random.pause());
            let demand = random.demand(&policy);
            let mut list = ChargeList::new();
            let charges = list.resolve(&demand, now);
            let (statuses, expected) = (store(charges, now), model.charge(charges, now));
            let verdict = expected.verdict(charges);
            refused += u32::from(verdict == Verdict::Refused);
            let has_counting = charges.iter().any(|charge| charge.counts_refused());
            counted += u32::from(verdict == Verdict::Refused && has_counting);
            for index in 0..charges.len() {
                let decided = (statuses.status(index), statuses.basis(index));
                let wanted = (expected.status(index), expected.basis(index));
                assert_eq!(decided, wanted, "{verdict:?} at {now:?}: {charges:?}");
            }
        }
    }
    assert!((50_000..150_000).contains(&refused), "{refused} of 200,000 refused: too few of one kind to mean anything");
    assert!(counted > 20_000, "{counted} refused attempts of which something counts");
}

/// The store as simple as can be: every state by its limit's name and values, for ever, and every window in which a
/// distinct value was counted.
#[derive(Default)]
struct Model {
    states: HashMap<(String, Vec<Option<String>>), [u64; 64]>,
    values: HashSet<(String, Vec<Option<String>>, u64)>,
}

impl Model {
    fn charge(&mut self, charges: Charges<'_>, now: Timestamp) -> Statuses {
        let mut statuses = Statuses::new();
        let name = |index: usize| {
            let values = charges.charge(index).key().values().map(|value| value.map(String::from)).collect();
            (charges.charge(index).limit().name().to_owned(), values)
        };
        let value = |charge: &Charge<'_>| {
            let values = charge.marker()?.values().map(|value| value.map(String::from)).collect();
            Some((charge.limit().name().to_owned(), values, now.as_micros() / charge.rule().quota().window.as_micros()))
        };
        for (index, charge) in charges.iter().enumerate() {
            let state = self.states.get(&name(index)).copied().unwrap_or([0; 64]);
            let is_seen = value(&charge).is_some_and(|value| self.values.contains(&value));
            let (need, basis) = if is_seen { (0, Basis::Seen) } else { (charge.need(), Basis::Counter) };
            statuses.set(index, charge.rule().peek(&state, need, now), basis);
        }
        let is_refused = statuses.verdict(charges) == Verdict::Refused;
        for (index, charge) in charges.iter().enumerate().filter(|(_, charge)| charge.take() > 0) {
            if statuses.basis(index) == Basis::Seen {
                continue;
            }
            let mut state = self.states.get(&name(index)).copied().unwrap_or([0; 64]);
            let status = if !is_refused && statuses.status(index).fits() {
                charge.rule().charge(&mut state, charge.take(), now)
            } else if charge.limit().counts_refused() {
                charge.rule().charge_left(&mut state, charge.take(), now)
            } else {
                continue;
            };
            self.states.insert(name(index), state);
            // What was counted is known from then on: it fits, whatever is left.
            let is_counted = statuses.status(index).remaining > 0;
            let value = value(&charge).filter(|_| is_counted);
            let status = if value.is_some() { status.of_nothing() } else { status };
            self.values.extend(value);
            statuses.set(index, status, Basis::Counter);
        }
        statuses
    }
}

/// Random policies and demands.
pub(crate) struct Traffic(pub(crate) Random);

impl Traffic {
    pub(crate) fn policy(&mut self) -> Policy {
        let limits = 1 + self.0.below(6);
        policy((0..limits).map(|number| self.limit(number)).collect())
    }

    fn limit(&mut self, number: u64) -> LimitDraft {
        let mut drafted = limit(&format!("l{number}"), self.0.below(12), 1 + self.0.below(4));
        drafted.per.clear();
        for attribute in ["key", "user", "app"] {
            if self.0.below(2) == 0 {
                drafted.per.push((attribute.into(), self.0.below(3) == 0));
            }
        }
        drafted.mode = if self.0.below(4) == 0 { Mode::Shadow } else { Mode::Enforce };
        let algorithm = match self.0.below(8) {
            0..3 => Algorithm::FixedWindow,
            3..5 => Algorithm::TokenBucket,
            5 => Algorithm::SlidingWindow { cells: 10 },
            6 => Algorithm::SlidingWindow { cells: 40 },
            _ => Algorithm::Concurrency,
        };
        drafted.on_store_error = self.0.one_of(&[OnStoreError::Closed, OnStoreError::Open]);
        drafted.count_refused = self.0.below(4) == 0 && algorithm != Algorithm::Concurrency;
        if algorithm == Algorithm::FixedWindow && self.0.below(2) == 0 {
            drafted.distinct = Some((self.0.one_of(&["key", "user", "app"]).to_owned(), self.0.below(3) == 0));
        }
        by(algorithm, drafted)
    }

    pub(crate) fn pause(&mut self) -> Span {
        match self.0.below(40) {
            0 => Span::from_secs(self.0.below(10)),
            1..10 => Span::from_micros(self.0.below(2_000_000)),
            10..25 => Span::from_micros(self.0.below(20_000)),
            _ => Span::ZERO,
        }
    }

    pub(crate) fn demand<'a>(&mut self, policy: &'a Policy) -> Demand<'a> {
        let mut builder = Demand::on(policy);
        for attribute in ["key", "user", "app"] {
            if self.0.below(5) > 0 {
                let attribute = policy.attribute(attribute).expect("an attribute");
                builder.set(attribute, self.0.one_of(&["a", "b", "c", ""])).expect("a short value");
            }
        }
        if self.0.below(3) == 0 {
            builder.set_cost(UnitId::REQUESTS, self.0.below(4)).expect("a small cost");
        }
        builder.set_purpose(self.0.one_of(&[Purpose::Once, Purpose::Once, Purpose::Hold, Purpose::Peek])).build()
    }
}
