//! Policies to draw from: everything that the language of limits can say, in small numbers, so that limits are met.
//!
//! One thing is left out: a token bucket whose quota changes under it, by a plan, a record or an age. What is then used of
//! it is a share that is told to three digits; `core/tests/it/clocks.rs` holds that to fractions.

use std::net::IpAddr;

use super::address;
use super::calendar::ZONES;
use super::description::{
    Algorithm, Amount, Begins, CLIENT, Client, Description, Length, Limit, Mode, Operation, PLANS, Quota, Record, Unit,
};
use super::rng::Rng;
use super::steady;

const METHODS: [&str; 4] = ["GET", "POST", "DELETE", "*"];
/// Values of the declared attributes.
pub(super) const VALUES: [&str; 4] = ["x", "y", "a b", "z-9"];
const DATES: [&str; 7] =
    ["2015-01-01", "2019-11-05", "2019-11-06", "2020-05-28", "2024-01-31", "2024-05-01", "2025-01-01"];
/// Where demands come from, and what proxies say they were called by.
pub(super) const ADDRESSES: [&str; 9] = [
    "192.0.2.7",
    "192.0.2.9",
    "::ffff:192.0.2.7",
    "10.0.0.1",
    "10.9.8.7",
    "2001:db8:0:1::5",
    "2001:db8:0:1:ffff::1",
    "2001:db8:0:2::1",
    "fd00::53",
];

const DAY: u64 = 86_400_000_000;
/// Ages from which quotas hold: short enough to be reached in a story, and long enough not to be.
pub(super) const AGES: [u64; 6] = [1_000, 60_000_000, DAY, 14 * DAY, 90 * DAY, 366 * DAY];
const WINDOWS: [u64; 20] = [
    1_000,
    7_000,
    13_000,
    500_000,
    1_000_000,
    3_000_000,
    5_000_000,
    7_000_000,
    17_000_000,
    60_000_000,
    61_000_000,
    90_000_000,
    3_600_000_000,
    7 * 3_600_000_000,
    DAY,
    7 * DAY,
    28 * DAY,
    31 * DAY,
    365 * DAY,
    366 * DAY,
];

pub(super) fn policy(rng: &mut Rng) -> Description {
    loop {
        let policy = drawn(rng);
        if steady::can_be_modelled(&policy) {
            return policy;
        }
    }
}

fn drawn(rng: &mut Rng) -> Description {
    let mut attributes: Vec<String> =
        ["app", "user", "kind"].iter().take(rng.index(4)).map(|name| (*name).to_owned()).collect();
    if rng.once_in(4) {
        attributes.insert(rng.index(attributes.len() + 1), CLIENT.to_owned());
    }
    let mut policy = Description {
        attributes,
        client: client(rng),
        zone: rng.once_in(3).then(|| rng.pick(&ZONES)),
        default_plan: (!rng.once_in(3)).then(|| rng.pick(&PLANS).to_owned()),
        lists_plans: rng.once_in(2),
        ..Description::default()
    };
    policy.operations = operations(rng);
    if rng.once_in(3) {
        let named = policy.operations.first().map(|operation| operation.name.clone());
        policy.default_operation = Some(named.filter(|_| rng.once_in(2)).unwrap_or_else(|| "rest".to_owned()));
    }
    for index in 0..rng.below(3) {
        policy.units.push(Unit { name: format!("u{index}"), is_settled: rng.once_in(2) });
    }
    let mut drafts: Vec<Draft> = Vec::new();
    for index in 0..=rng.below(6) {
        let draft = Draft::draw(rng, &policy, &drafts, index);
        drafts.push(draft);
    }
    policy.records = records(rng, &policy, &drafts);
    policy.limits = drafts.into_iter().map(|draft| draft.limit).collect();
    policy
}

fn client(rng: &mut Rng) -> Client {
    Client {
        trusted: rng.some_of(&["10.0.0.0/8", "fd00::/8", "192.0.2.8/31"]),
        is_forwarded: rng.once_in(2),
        ipv4_prefix: rng.pick(&[32, 32, 24, 31, 1]),
        ipv6_prefix: rng.pick(&[64, 64, 48, 63, 128]),
    }
}

fn operations(rng: &mut Rng) -> Vec<Operation> {
    let mut operations = Vec::new();
    for name in ["read", "write", "poll"].iter().take(rng.index(4)) {
        let only = rng.once_in(2).then(|| rng.pick(&METHODS));
        let methods = (0..rng.below(3)).map(|_| only.unwrap_or_else(|| rng.pick(&METHODS))).collect();
        let class = (!rng.once_in(3)).then(|| rng.pick(&["heavy", "light"]).to_owned());
        operations.push(Operation { name: (*name).to_owned(), class, methods });
    }
    operations
}

/// A limit, and what its quota may depend on.
struct Draft {
    limit: Limit,
    /// Attributes that its quotas may depend on.
    choosers: Vec<String>,
    /// Attributes whose records may have a quota of their own for it.
    overridden_by: Vec<String>,
    /// Attributes that its quota depends on, records included.
    depends_on: Vec<String>,
    begins: Begins,
    /// Whether a share of its amounts may be too fine for a bucket.
    is_huge: bool,
}

impl Draft {
    fn draw(rng: &mut Rng, policy: &Description, before: &[Draft], index: u64) -> Draft {
        let built_in = ["plan", "operation", "class", "method"].map(str::to_owned);
        let all: Vec<String> = policy.attributes.iter().cloned().chain(built_in).collect();
        let algorithm = match rng.below(6) {
            0 | 5 => Algorithm::Fixed,
            1 => Algorithm::Sliding { cells: rng.pick(&[1, 2, 3, 7, 10, 13, 14, 60, 61]) },
            2 | 3 => Algorithm::Bucket,
            _ => Algorithm::Concurrency,
        };
        let unit = (!policy.units.is_empty() && rng.once_in(3)).then(|| rng.index(policy.units.len()));
        let unit = unit.filter(|unit| !(policy.units[*unit].is_settled && algorithm == Algorithm::Concurrency));
        let mut per: Vec<(String, bool)> = Vec::new();
        if !rng.once_in(5) {
            let counted = if rng.once_in(2) { rng.some_of(&policy.attributes) } else { rng.some_of(&all) };
            per = counted.into_iter().map(|name| (name, rng.once_in(4))).collect();
        }
        let countable: Vec<&String> =
            all.iter().filter(|name| per.iter().all(|(counted, _)| counted != *name)).collect();
        let is_distinct = algorithm == Algorithm::Fixed && !countable.is_empty() && rng.once_in(3);
        let distinct = is_distinct.then(|| (rng.pick(&countable).clone(), rng.once_in(4)));
        let unit = unit.filter(|_| !is_distinct);
        let can_be_shared = |of: &&Draft| of.can_be_shared(algorithm) && !(is_distinct && of.is_huge);
        let sources: Vec<&Draft> = before.iter().filter(can_be_shared).collect();
        let source = (!sources.is_empty() && rng.once_in(4)).then(|| rng.pick(&sources));
        if let Some(source) = source.filter(|_| algorithm == Algorithm::Bucket && !rng.once_in(3)) {
            for name in source.depends_on.iter().filter(|name| *name != AGE) {
                if per.iter().all(|(counted, _)| counted != name) {
                    per.push((name.clone(), rng.once_in(2)));
                }
            }
        }
        let counted: Vec<String> = per.iter().map(|(name, _)| name.clone()).collect();
        let is_keyed = algorithm == Algorithm::Bucket && !rng.once_in(3);
        let choosers = if is_keyed { counted } else { all.clone() };
        let is_huge = source.is_none() && !is_distinct && rng.once_in(12);
        let begins = match rng.below(6) {
            _ if algorithm != Algorithm::Fixed => Begins::Clock,
            0 | 1 => Begins::First,
            2 | 3 => Begins::In(rng.pick(&ZONES)),
            _ => Begins::Clock,
        };
        let derived_window = length(rng, algorithm, begins);
        let windows = windows(rng, algorithm, begins);
        let mut tree = Tree { rng, policy, algorithm, windows, is_huge, used: Vec::new() };
        let quota = match source {
            Some(source) => {
                let denominator = tree.rng.pick(&[1, 2, 3, 7, 10, 30]);
                let numerator = tree.rng.from(1, denominator);
                Quota::Derived { numerator, denominator, of: source.limit.name.clone(), window: derived_window }
            }
            None => tree.quota(&choosers, 0),
        };
        let mut depends_on = tree.used;
        depends_on.extend(source.iter().flat_map(|source| source.depends_on.iter().cloned()));
        let recorded: Vec<String> = policy.attributes.iter().filter(|name| choosers.contains(name)).cloned().collect();
        let overridden_by = if rng.once_in(2) { rng.some_of(&recorded) } else { Vec::new() };
        depends_on.extend(overridden_by.iter().cloned());
        let limit = Limit {
            name: format!("limit-{index}"),
            on: on(rng, policy),
            per,
            quota,
            algorithm,
            begins,
            unit,
            distinct,
            mode: match rng.below(8) {
                0 => Mode::Shadow,
                1 if rng.once_in(3) => Mode::Off,
                _ => Mode::Enforce,
            },
            counts_refused: algorithm != Algorithm::Concurrency && rng.once_in(4),
            when: conditions(rng, policy, &all, 6),
            unless: conditions(rng, policy, &all, 6),
            exempt_before: rng.once_in(8).then(|| rng.pick(&DATES)),
        };
        Draft { limit, choosers, overridden_by, depends_on, begins, is_huge }
    }

    fn can_be_shared(&self, by: Algorithm) -> bool {
        by != Algorithm::Concurrency
            && self.limit.mode != Mode::Off
            && !matches!(self.limit.quota, Quota::Derived { .. })
            && !(self.is_huge && by == Algorithm::Bucket)
    }
}

/// The windows of a limit's quotas: one, or a few.
fn windows(rng: &mut Rng, algorithm: Algorithm, begins: Begins) -> Vec<Length> {
    match algorithm {
        Algorithm::Concurrency => vec![Length::Span(0)],
        _ => (0..rng.pick(&[1, 1, 2, 3])).map(|_| length(rng, algorithm, begins)).collect(),
    }
}

fn length(rng: &mut Rng, algorithm: Algorithm, begins: Begins) -> Length {
    match (algorithm, begins) {
        (Algorithm::Fixed, Begins::In(_)) => rng.pick(&[Length::Span(DAY), Length::Month]),
        (Algorithm::Fixed, Begins::Clock) if rng.once_in(4) => rng.pick(&[Length::Span(DAY), Length::Month]),
        _ => Length::Span(rng.pick(&WINDOWS)),
    }
}

/// The operations and classes that a limit is on.
fn on(rng: &mut Rng, policy: &Description) -> Option<Vec<String>> {
    if !rng.once_in(3) {
        return None;
    }
    let mut names: Vec<String> = policy.operations.iter().map(|operation| operation.name.clone()).collect();
    for class in policy.operations.iter().filter_map(|operation| operation.class.clone()) {
        if !names.contains(&class) {
            names.push(class);
        }
    }
    if !names.iter().any(|name| name == policy.default_operation()) {
        names.push(policy.default_operation().to_owned());
    }
    Some(rng.some_of(&names)).filter(|names| !names.is_empty())
}

fn conditions(rng: &mut Rng, policy: &Description, all: &[String], seldom: u64) -> Vec<(String, Vec<String>)> {
    let mut conditions = Vec::new();
    for name in all {
        if rng.once_in(seldom) && rng.once_in(2) {
            let values = rng.some_of(&values(policy, name));
            if !values.is_empty() {
                conditions.push((name.clone(), values));
            }
        }
    }
    conditions
}

/// The values that a file may name for an attribute.
fn values(policy: &Description, attribute: &str) -> Vec<String> {
    let mut values: Vec<String> = match attribute {
        "operation" => policy.operations.iter().map(|operation| operation.name.clone()).collect(),
        "class" => policy.operations.iter().filter_map(|operation| operation.class.clone()).collect(),
        "method" => ["GET", "POST", "DELETE"].map(str::to_owned).to_vec(),
        "plan" => PLANS.map(str::to_owned).to_vec(),
        CLIENT => {
            let addresses = ADDRESSES.iter().map(|text| text.parse::<IpAddr>().expect("an address"));
            addresses.map(|address| address::client_of(&policy.client, address, &[])).collect()
        }
        _ => VALUES.map(str::to_owned).to_vec(),
    };
    values.sort();
    values.dedup();
    values
}

/// What a quota by age is chosen by.
pub(super) const AGE: &str = "age";

/// A quota being drawn.
struct Tree<'r, 'd> {
    rng: &'r mut Rng,
    policy: &'d Description,
    algorithm: Algorithm,
    windows: Vec<Length>,
    is_huge: bool,
    /// Attributes chosen by so far.
    used: Vec<String>,
}

impl Tree<'_, '_> {
    fn quota(&mut self, choosers: &[String], depth: usize) -> Quota {
        let free: Vec<String> = choosers.iter().filter(|name| !values(self.policy, name).is_empty()).cloned().collect();
        if depth == 4 || free.is_empty() || !self.rng.once_in(depth as u64 + 2) {
            return if self.rng.once_in(14) { Quota::Unlimited } else { Quota::Fixed(self.amount()) };
        }
        if self.rng.once_in(5) && !self.used.iter().any(|used| used == AGE) {
            return self.by_age(&free, depth);
        }
        let attribute = self.rng.pick(&free);
        let inner: Vec<String> = free.into_iter().filter(|name| *name != attribute).collect();
        self.used.push(attribute.clone());
        let mut named = self.rng.some_of(&values(self.policy, &attribute));
        if named.is_empty() {
            named.push(values(self.policy, &attribute).remove(0));
        }
        let cases = named.into_iter().map(|value| (value, self.quota(&inner, depth + 1))).collect();
        let default = (!self.rng.once_in(4)).then(|| Box::new(self.quota(&inner, depth + 1)));
        Quota::By { attribute, cases, default }
    }

    fn by_age(&mut self, choosers: &[String], depth: usize) -> Quota {
        self.used.push(AGE.to_owned());
        let mut ages = self.rng.some_of(&AGES);
        if ages.is_empty() {
            ages.push(AGES[2]);
        }
        let steps = ages.into_iter().map(|age| (age, self.quota(choosers, depth + 1))).collect();
        let default = (!self.rng.once_in(4)).then(|| Box::new(self.quota(choosers, depth + 1)));
        Quota::ByAge { steps, default }
    }

    fn amount(&mut self) -> Amount {
        let amount = match self.rng.below(10) {
            0 if self.rng.once_in(2) => 0,
            0..=5 => self.rng.from(1, 5),
            6..=7 => self.rng.pick(&[7, 10, 30, 60, 100]),
            8 => self.rng.from(1, 2_000),
            _ if self.is_huge && self.algorithm == Algorithm::Bucket => self.rng.pick(&[99_991, 1_000_000_000]),
            _ if self.is_huge => self.rng.pick(&[(1 << 32) - 5, 1 << 32, (1 << 53) - 1]),
            _ => self.rng.from(1, 10),
        };
        let window = self.rng.pick(&self.windows);
        let has_burst = self.algorithm == Algorithm::Bucket && amount > 0 && self.rng.once_in(3);
        let burst = has_burst.then(|| self.rng.from(1, 3 * amount.min(10)));
        Amount { amount, window, burst }
    }
}

fn records(rng: &mut Rng, policy: &Description, drafts: &[Draft]) -> Vec<Record> {
    // Where plans are not listed, those that a file does not otherwise know may not stand in a record.
    let plans: Vec<&str> =
        if policy.lists_plans { PLANS.to_vec() } else { policy.default_plan.iter().map(String::as_str).collect() };
    let mut records = Vec::new();
    for attribute in &policy.attributes {
        for value in values(policy, attribute) {
            if !rng.once_in(3) {
                continue;
            }
            let mut limits = Vec::new();
            for draft in drafts.iter().filter(|draft| draft.overridden_by.contains(attribute)) {
                let choosers = draft.choosers.iter().cloned();
                let known: Vec<String> = choosers.filter(|name| draft.depends_on.contains(name)).collect();
                if rng.once_in(2) {
                    let algorithm = draft.limit.algorithm;
                    let windows = windows(rng, algorithm, draft.begins);
                    let mut tree = Tree { rng, policy, algorithm, windows, is_huge: false, used: Vec::new() };
                    limits.push((draft.limit.name.clone(), tree.quota(&known, 1)));
                }
            }
            let plan = (!plans.is_empty() && rng.once_in(3)).then(|| rng.pick(&plans).to_owned());
            let created = rng.once_in(3).then(|| rng.pick(&DATES));
            let attribute = attribute.clone();
            records.push(Record { attribute, value, plan, created, limits });
        }
    }
    records
}
