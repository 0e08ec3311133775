//! Random policies, written as an operator would write them, read by the real compiler and decided by the real limiter,
//! beside a slow, exact model that knows only what the generator meant: not one difference in verdict, binding limit,
//! quota, remaining, reset or retry-after, in either direction (I1, I2, I3, I5, I6, I7, I8, I11, I37).
//!
//! `TIDEGATE_POLICIES` sets how many policies are tried, `TIDEGATE_SEED` which; all cores share the work. A difference is
//! printed as the smallest policy file and story found that shows it.

mod address;
mod calendar;
mod description;
mod draw;
mod model;
mod real;
mod rng;
mod rule;
mod shrink;
mod steady;
mod story;
mod text;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use tidegate_policy::{Lowered, Source, lower};

use description::{Algorithm, Ask, Begins, CLIENT, Description, Mode, Quota};
use model::{Line, Model, Ruling, Wait};
use real::Real;
use rng::Rng;
use shrink::{Case, shrink};
use story::{Event, Step, Story};

/// Policies that are tried unless the environment says otherwise.
const POLICIES: u64 = 6_000;

/// In microseconds.
const HOUR: u64 = 3_600_000_000;

/// Most steps of a story.
const STEPS: u64 = 80;

#[test]
fn random_policies_are_decided_as_the_model_decides_them() {
    let (policies, first) = (setting("TIDEGATE_POLICIES", POLICIES), setting("TIDEGATE_SEED", 1));
    let next = AtomicU64::new(first);
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let mut moods = Moods::default();
    thread::scope(|scope| {
        let work = || {
            let mut moods = Moods::default();
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= first + policies {
                    return moods;
                }
                if let Err(difference) = compare(seed, &mut moods) {
                    next.store(first + policies, Ordering::Relaxed);
                    panic!("{difference}");
                }
            }
        };
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            moods.add(worker.join().expect("no difference"));
        }
    });
    println!("{policies} policies from seed {first}: {moods:?}");
    moods.assert_all();
}

/// A comparison that overlooks something would pass everything: a limiter that is given other policies than the model
/// differs from it, and what is printed of that is small.
#[test]
fn a_policy_that_differs_in_one_number_is_found_out() {
    let mut found = 0;
    for seed in 1..=200 {
        let mut rng = Rng::seeded(seed);
        let policy = draw::policy(&mut rng);
        let steps = told(&policy, rng);
        let fails = |case: &Case| is_told_apart(case);
        let case = Case { policy, steps };
        if found < 3 && fails(&case) {
            let small = shrink(case, fails);
            assert!(small.policy.limits.len() <= 2 && small.steps.len() <= 6, "{}", printed(&small, "not small"));
        } else if !fails(&case) {
            continue;
        }
        found += 1;
    }
    // Not every story meets the first limit that has a number.
    assert!(found > 80, "{found} of 200 were found out");
}

/// Whether a limiter whose first quota is larger by one differs from the model on this story.
fn is_told_apart(case: &Case) -> bool {
    let mut other = case.policy.clone();
    let raised = other.limits.iter_mut().find_map(|limit| match &mut limit.quota {
        Quota::Fixed(amount) if amount.amount > 0 && limit.mode == Mode::Enforce => Some(&mut amount.amount),
        _ => None,
    });
    let Some(raised) = raised else { return false };
    *raised += 1;
    lowered(&other).is_ok_and(|lowered| difference(&case.policy, &other, &lowered, &case.steps).is_some())
}

/// Tells a story of a random policy to both.
fn compare(seed: u64, moods: &mut Moods) -> Result<(), String> {
    let mut rng = Rng::seeded(seed);
    let policy = draw::policy(&mut rng);
    let lowered = lowered(&policy).map_err(|problems| format!("seed {seed}: {problems}\n{}", text::write(&policy)))?;
    moods.policies(&policy);
    let (mut real, mut model) = (Real::new(&policy, &lowered), Model::new(&policy));
    let mut story = Story::new(&policy, rng.clone());
    let mut steps = Vec::new();
    for _ in 0..=rng.below(STEPS) {
        let step = story.next();
        let (decided, wanted) = (apply(&mut real, &step), expect(&mut model, &step));
        steps.push(step.clone());
        if decided != wanted {
            let case = shrink(Case { policy: policy.clone(), steps }, |case| is_different(case).is_some());
            let why = is_different(&case).expect("a case that differs");
            return Err(format!("seed {seed}: {}", printed(&case, &why)));
        }
        match (&step.event, wanted) {
            (Event::Settle { .. }, _) => moods.note("settled"),
            (Event::Release { .. }, _) => moods.note("released"),
            (Event::Ask(ask), Some(ruling)) => {
                moods.see(&policy, ask, &ruling);
                story.hear(&step, ruling);
            }
            (Event::Ask(_), None) => unreachable!("a question is answered"),
        }
    }
    Ok(())
}

/// The story that a model alone would be told.
fn told(policy: &Description, rng: Rng) -> Vec<Step> {
    let (mut model, mut story) = (Model::new(policy), Story::new(policy, rng));
    let mut steps = Vec::new();
    for _ in 0..STEPS {
        let step = story.next();
        if let Some(ruling) = expect(&mut model, &step) {
            story.hear(&step, ruling);
        }
        steps.push(step);
    }
    steps
}

fn lowered(policy: &Description) -> Result<Lowered, String> {
    let text = text::write(policy);
    lower(&Source { name: "random.toml", text: &text }, 1).map_err(|problems| problems.to_string())
}

/// How the two differ on a case, if they do.
fn is_different(case: &Case) -> Option<String> {
    if !steady::can_be_modelled(&case.policy) {
        return None;
    }
    let lowered = lowered(&case.policy).ok()?;
    difference(&case.policy, &case.policy, &lowered, &case.steps)
}

fn difference(meant: &Description, given: &Description, lowered: &Lowered, steps: &[Step]) -> Option<String> {
    let (mut real, mut model) = (Real::new(given, lowered), Model::new(meant));
    for step in steps {
        if !can_be_asked(meant, step) {
            continue;
        }
        let (decided, wanted) = (apply(&mut real, step), expect(&mut model, step));
        if decided != wanted {
            return Some(format!("step {}:\n  decided {decided:?}\n  model   {wanted:?}", step.id));
        }
    }
    None
}

/// Whether the operation of a step is still there after the policy was made smaller.
fn can_be_asked(policy: &Description, step: &Step) -> bool {
    let Event::Ask(ask) = &step.event else { return true };
    ask.operation.as_deref().is_none_or(|name| {
        name == policy.default_operation() || policy.operations.iter().any(|operation| operation.name == name)
    })
}

fn apply(real: &mut Real<'_>, step: &Step) -> Option<Ruling> {
    match &step.event {
        Event::Ask(ask) => return Some(real.ask(step.id, ask, step.at)),
        Event::Settle { of, actual } => real.settle(*of, actual, step.at),
        Event::Release { of } => real.release(*of, step.at),
    }
    None
}

fn expect(model: &mut Model<'_>, step: &Step) -> Option<Ruling> {
    match &step.event {
        Event::Ask(ask) => return Some(model.ask(step.id, ask, step.at)),
        Event::Settle { of, actual } => model.settle(*of, actual, step.at),
        Event::Release { of } => model.release(*of),
    }
    None
}

fn printed(case: &Case, why: &str) -> String {
    let mut page = format!("{why}\n\n{}\n", text::write(&case.policy));
    for step in &case.steps {
        writeln!(page, "{}: at {}.{:06} {:?}", step.id, step.at / 1_000_000, step.at % 1_000_000, step.event)
            .expect("room for a line");
    }
    page
}

fn setting(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} has to be a whole number, not `{text}`")),
        Err(_) => default,
    }
}

/// What was met, and how often.
#[derive(Debug, Default)]
struct Moods(BTreeMap<&'static str, u64>);

/// What every run has to meet: without it, something was not tried.
const ALL: &[&str] = &[
    "admitted",
    "refused",
    "peeked",
    "held",
    "settled",
    "released",
    "no limit applied",
    "fixed window bound a refusal",
    "sliding window bound a refusal",
    "token bucket bound a refusal",
    "concurrency bound a refusal",
    "binding of several that refused",
    "never fits",
    "waits for a release",
    "shadow did not fit",
    "quota of zero",
    "derived quota",
    "quota of a record",
    "quota by two attributes",
    "off",
    "exempt by a date",
    "day of a zone bound a refusal",
    "month bound a refusal",
    "day of 23 or 25 hours",
    "window of the first request bound a refusal",
    "quota by age",
    "one of several buckets bound a refusal",
    "client behind a proxy",
    "limit by client bound a refusal",
    "refused attempt counted",
    "shadow counted what it would refuse",
    "charged by an attempt that another refused",
    "distinct value that was counted before",
    "distinct value that was counted, where nothing remains",
    "distinct values bound a refusal",
];

impl Moods {
    fn note(&mut self, mood: &'static str) {
        *self.0.entry(mood).or_default() += 1;
    }

    fn add(&mut self, other: Moods) {
        for (mood, count) in other.0 {
            *self.0.entry(mood).or_default() += count;
        }
    }

    fn policies(&mut self, policy: &Description) {
        for limit in &policy.limits {
            match &limit.quota {
                Quota::Derived { .. } => self.note("derived quota"),
                Quota::By { cases, .. } if matches!(cases[0].1, Quota::By { .. }) => {
                    self.note("quota by two attributes");
                }
                Quota::ByAge { .. } => self.note("quota by age"),
                _ => {}
            }
            if limit.mode == Mode::Off {
                self.note("off");
            }
            if limit.exempt_before.is_some() && policy.records.iter().any(|record| record.created.is_some()) {
                self.note("exempt by a date");
            }
        }
        if policy.records.iter().any(|record| !record.limits.is_empty()) {
            self.note("quota of a record");
        }
    }

    fn see(&mut self, policy: &Description, ask: &Ask, ruling: &Ruling) {
        self.note("decisions");
        self.note(if ruling.is_admitted { "admitted" } else { "refused" });
        match ask.purpose {
            description::Purpose::Once => {}
            description::Purpose::Hold => self.note("held"),
            description::Purpose::Peek => self.note("peeked"),
        }
        if ruling.lines.is_empty() {
            self.note("no limit applied");
        }
        let refusing = ruling.lines.iter().filter(|line| line.is_enforced && line.retry_after != Wait::None);
        if refusing.count() > 1 {
            self.note("binding of several that refused");
        }
        for line in &ruling.lines {
            match line.retry_after {
                Wait::Never => self.note("never fits"),
                Wait::Release => self.note("waits for a release"),
                Wait::None | Wait::For(_) => {}
            }
            if !line.is_enforced && line.retry_after != Wait::None {
                self.note("shadow did not fit");
            }
            let counts = policy.limit(&line.name).counts_refused && ask.purpose != description::Purpose::Peek;
            if counts && !ruling.is_admitted {
                self.note("refused attempt counted");
                if line.is_enforced && line.retry_after == Wait::None {
                    self.note("charged by an attempt that another refused");
                }
            }
            if counts && ruling.is_admitted && line.retry_after != Wait::None {
                self.note("shadow counted what it would refuse");
            }
            if line.limit == 0 {
                self.note("quota of zero");
            }
            if line.is_seen {
                self.note(match line.remaining {
                    0 => "distinct value that was counted, where nothing remains",
                    _ => "distinct value that was counted before",
                });
            }
        }
        if ask.values.len() > 1 && !ask.via.is_empty() && policy.attributes.iter().any(|name| name == CLIENT) {
            self.note("client behind a proxy");
        }
        let days = |line: &Line| line.window.is_multiple_of(HOUR) && [23, 25].contains(&(line.window / HOUR));
        if ruling.lines.iter().any(days) {
            self.note("day of 23 or 25 hours");
        }
        let binding = ruling.lines.iter().find(|line| Some(&line.name) == ruling.binding.as_ref());
        if let Some(line) = binding.filter(|_| !ruling.is_admitted) {
            let limit = policy.limit(&line.name);
            if limit.distinct.is_some() {
                self.note("distinct values bound a refusal");
            }
            match (limit.begins, line.window / HOUR) {
                (Begins::First, _) => self.note("window of the first request bound a refusal"),
                // No other window is so long.
                (_, 696 | 720) => self.note("month bound a refusal"),
                (Begins::In(zone), 24) if zone != "UTC" => self.note("day of a zone bound a refusal"),
                _ => {}
            }
            if steady::has_several_buckets(policy, limit) {
                self.note("one of several buckets bound a refusal");
            }
            if limit.per.iter().any(|(name, _)| name == CLIENT) {
                self.note("limit by client bound a refusal");
            }
            self.note(match limit.algorithm {
                Algorithm::Fixed => "fixed window bound a refusal",
                Algorithm::Sliding { .. } => "sliding window bound a refusal",
                Algorithm::Bucket => "token bucket bound a refusal",
                Algorithm::Concurrency => "concurrency bound a refusal",
            });
        }
    }

    fn assert_all(&self) {
        let missing: Vec<_> = ALL.iter().filter(|mood| !self.0.contains_key(*mood)).collect();
        assert!(missing.is_empty(), "never met: {missing:?}");
    }
}
