//! Policies to draw from: everything that the language of limits can say, in small numbers, so that limits are met.
//!
//! One thing is left out: a token bucket whose quota is chosen by what it does not count by. Which of its quotas share a
//! bucket, and what is then left of it, follows from how it is kept; `core/tests/it/clocks.rs` holds those to what they
//! admit at most.

use super::description::{Algorithm, Amount, Description, Limit, Mode, Operation, PLANS, Quota, Record, Unit};
use super::rng::Rng;

const METHODS: [&str; 4] = ["GET", "POST", "DELETE", "*"];
/// Values of the declared attributes.
pub(super) const VALUES: [&str; 4] = ["x", "y", "a b", "z-9"];
const DATES: [&str; 4] = ["2015-01-01", "2019-11-05", "2019-11-06", "2020-05-28"];

const DAY: u64 = 86_400_000_000;
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
    let mut policy = Description {
        attributes: ["app", "user", "kind"].iter().take(rng.index(4)).map(|name| (*name).to_owned()).collect(),
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
    /// Whether its quotas may depend only on what it counts by.
    is_keyed: bool,
    /// Attributes whose records may have a quota of their own for it.
    overridden_by: Vec<String>,
    /// Attributes that its quota depends on, records included.
    depends_on: Vec<String>,
    /// Whether a share of its amounts may be too fine for a bucket.
    is_huge: bool,
}

impl Draft {
    fn draw(rng: &mut Rng, policy: &Description, before: &[Draft], index: u64) -> Draft {
        let built_in = ["plan", "operation", "class", "method"].map(str::to_owned);
        let all: Vec<String> = policy.attributes.iter().cloned().chain(built_in).collect();
        let algorithm = match rng.below(5) {
            0 => Algorithm::Fixed,
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
        let sources: Vec<&Draft> = before.iter().filter(|of| of.can_be_shared(algorithm)).collect();
        let source = (!sources.is_empty() && rng.once_in(4)).then(|| rng.pick(&sources));
        if let Some(source) = source.filter(|_| algorithm == Algorithm::Bucket) {
            for name in &source.depends_on {
                if per.iter().all(|(counted, _)| counted != name) {
                    per.push((name.clone(), rng.once_in(2)));
                }
            }
        }
        let counted: Vec<String> = per.iter().map(|(name, _)| name.clone()).collect();
        let is_keyed = algorithm == Algorithm::Bucket;
        let choosers = if is_keyed { counted } else { all.clone() };
        let is_huge = source.is_none() && rng.once_in(12);
        let derived_window = rng.pick(&WINDOWS);
        let windows = windows(rng, algorithm);
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
            unit,
            mode: match rng.below(8) {
                0 => Mode::Shadow,
                1 if rng.once_in(3) => Mode::Off,
                _ => Mode::Enforce,
            },
            when: conditions(rng, policy, &all, 6),
            unless: conditions(rng, policy, &all, 6),
            exempt_before: rng.once_in(8).then(|| rng.pick(&DATES)),
        };
        Draft { limit, is_keyed, overridden_by, depends_on, is_huge }
    }

    fn can_be_shared(&self, by: Algorithm) -> bool {
        by != Algorithm::Concurrency
            && self.limit.mode != Mode::Off
            && !matches!(self.limit.quota, Quota::Derived { .. })
            && !(self.is_huge && by == Algorithm::Bucket)
    }
}

/// The windows of a limit's quotas: one, or a few.
fn windows(rng: &mut Rng, algorithm: Algorithm) -> Vec<u64> {
    match algorithm {
        Algorithm::Concurrency => vec![0],
        _ => (0..rng.pick(&[1, 1, 2, 3])).map(|_| rng.pick(&WINDOWS)).collect(),
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
        _ => VALUES.map(str::to_owned).to_vec(),
    };
    values.sort();
    values.dedup();
    values
}

/// A quota being drawn.
struct Tree<'r, 'd> {
    rng: &'r mut Rng,
    policy: &'d Description,
    algorithm: Algorithm,
    windows: Vec<u64>,
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
    let built_in = ["plan", "operation", "class", "method"].map(str::to_owned);
    let all: Vec<String> = policy.attributes.iter().cloned().chain(built_in).collect();
    let mut records = Vec::new();
    for attribute in &policy.attributes {
        for value in VALUES {
            if !rng.once_in(3) {
                continue;
            }
            let mut limits = Vec::new();
            for draft in drafts.iter().filter(|draft| draft.overridden_by.contains(attribute)) {
                let counted = draft.limit.per.iter().map(|(name, _)| name.clone()).collect();
                let choosers: Vec<String> = if draft.is_keyed { counted } else { all.clone() };
                let known: Vec<String> = choosers.into_iter().filter(|name| draft.depends_on.contains(name)).collect();
                if rng.once_in(2) {
                    let algorithm = draft.limit.algorithm;
                    let windows = windows(rng, algorithm);
                    let mut tree = Tree { rng, policy, algorithm, windows, is_huge: false, used: Vec::new() };
                    limits.push((draft.limit.name.clone(), tree.quota(&known, 1)));
                }
            }
            let plan = (!plans.is_empty() && rng.once_in(3)).then(|| rng.pick(&plans).to_owned());
            let created = rng.once_in(3).then(|| rng.pick(&DATES));
            let (attribute, value) = (attribute.clone(), value.to_owned());
            records.push(Record { attribute, value, plan, created, limits });
        }
    }
    records
}
