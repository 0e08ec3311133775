//! The smallest policy and story found in which the two still differ.

use super::description::{Begins, Description, Mode, Quota};
use super::story::{Event, Step};

/// Most smaller cases tried; each takes well under a millisecond.
const TRIES: u32 = 20_000;

/// A policy and what is asked of it.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) policy: Description,
    pub(super) steps: Vec<Step>,
}

/// Makes `case` smaller as long as `fails` holds.
pub(super) fn shrink(mut case: Case, fails: impl Fn(&Case) -> bool) -> Case {
    let mut tries = TRIES;
    loop {
        let mut is_smaller = false;
        let mut at = 0;
        // Candidates are made anew after each that was taken; those before it were tried already.
        while let Some(candidate) = smaller(&case).into_iter().nth(at) {
            if tries == 0 {
                return case;
            }
            tries -= 1;
            if fails(&candidate) {
                case = candidate;
                is_smaller = true;
            } else {
                at += 1;
            }
        }
        if !is_smaller {
            return case;
        }
    }
}

/// What is left out in each is one thing, from the coarse to the fine.
fn smaller(case: &Case) -> Vec<Case> {
    let mut found = Vec::new();
    let length = case.steps.len();
    for part in [2, 4, 8] {
        let size = length / part;
        for start in (0..length).step_by(size.max(1)).take(if size > 1 { part } else { 0 }) {
            let mut steps = case.steps.clone();
            steps.drain(start..(start + size).min(length));
            found.push(Case { steps, ..case.clone() });
        }
    }
    for index in 0..case.policy.limits.len() {
        found.push(with(case, |policy| remove_limit(policy, index)));
    }
    for index in 0..case.policy.records.len() {
        found.push(with(case, |policy| drop(policy.records.remove(index))));
    }
    for index in (0..length).rev() {
        let mut steps = case.steps.clone();
        steps.remove(index);
        found.push(Case { steps, ..case.clone() });
    }
    for index in 0..case.policy.limits.len() {
        simpler_limits(case, index, &mut found);
    }
    for index in 0..case.policy.records.len() {
        if !case.policy.records[index].limits.is_empty() {
            found.push(with(case, |policy| policy.records[index].limits.clear()));
        }
        if case.policy.records[index].plan.is_some() {
            found.push(with(case, |policy| policy.records[index].plan = None));
        }
        if case.policy.records[index].created.is_some() {
            found.push(with(case, |policy| policy.records[index].created = None));
        }
    }
    for index in 0..length {
        simpler_asks(case, index, &mut found);
    }
    for index in 0..case.policy.operations.len() {
        if case.policy.operations[index].class.is_some() {
            found.push(with(case, |policy| policy.operations[index].class = None));
        }
        if !case.policy.operations[index].methods.is_empty() {
            found.push(with(case, |policy| policy.operations[index].methods.clear()));
        }
        found.push(with(case, |policy| drop(policy.operations.remove(index))));
    }
    if case.policy.zone.is_some() {
        found.push(with(case, |policy| policy.zone = None));
    }
    if case.policy.default_plan.is_some() {
        found.push(with(case, |policy| policy.default_plan = None));
    }
    found
}

fn simpler_limits(case: &Case, index: usize, found: &mut Vec<Case>) {
    let limit = &case.policy.limits[index];
    if limit.mode != Mode::Enforce {
        found.push(with(case, |policy| policy.limits[index].mode = Mode::Enforce));
    }
    if limit.counts_refused {
        found.push(with(case, |policy| policy.limits[index].counts_refused = false));
    }
    if limit.on.is_some() {
        found.push(with(case, |policy| policy.limits[index].on = None));
    }
    if limit.exempt_before.is_some() {
        found.push(with(case, |policy| policy.limits[index].exempt_before = None));
    }
    if limit.begins != Begins::Clock {
        found.push(with(case, |policy| policy.limits[index].begins = Begins::Clock));
    }
    if limit.unit.is_some() {
        found.push(with(case, |policy| policy.limits[index].unit = None));
    }
    if limit.distinct.is_some() {
        found.push(with(case, |policy| policy.limits[index].distinct = None));
    }
    for place in 0..limit.when.len() {
        found.push(with(case, |policy| drop(policy.limits[index].when.remove(place))));
    }
    for place in 0..limit.unless.len() {
        found.push(with(case, |policy| drop(policy.limits[index].unless.remove(place))));
    }
    let (cases, default): (Vec<&Quota>, _) = match &limit.quota {
        Quota::By { cases, default, .. } => (cases.iter().map(|(_, case)| case).collect(), default),
        Quota::ByAge { steps, default } => (steps.iter().map(|(_, step)| step).collect(), default),
        Quota::Fixed(_) | Quota::Unlimited | Quota::Derived { .. } => return,
    };
    for inner in cases.into_iter().chain(default.as_deref()) {
        found.push(with(case, |policy| policy.limits[index].quota = inner.clone()));
    }
}

fn simpler_asks(case: &Case, index: usize, found: &mut Vec<Case>) {
    let Event::Ask(ask) = &case.steps[index].event else { return };
    let mut push = |change: &dyn Fn(&mut super::description::Ask)| {
        let mut other = case.clone();
        if let Event::Ask(ask) = &mut other.steps[index].event {
            change(ask);
        }
        found.push(other);
    };
    if ask.operation.is_some() {
        push(&|ask| ask.operation = None);
    }
    if ask.method.is_some() {
        push(&|ask| ask.method = None);
    }
    if ask.plan.is_some() {
        push(&|ask| ask.plan = None);
    }
    if !ask.via.is_empty() {
        push(&|ask| ask.via.clear());
    }
    if ask.peer.is_some() {
        push(&|ask| ask.peer = None);
    }
    for place in (0..ask.values.len()).filter(|place| ask.values[*place].is_some()) {
        push(&|ask| ask.values[place] = None);
    }
    for place in (0..ask.costs.len()).filter(|place| ask.costs[*place].is_some()) {
        push(&|ask| ask.costs[place] = None);
    }
}

fn with(case: &Case, change: impl FnOnce(&mut Description)) -> Case {
    let mut other = case.clone();
    change(&mut other.policy);
    other
}

/// Removes a limit with all that names it.
fn remove_limit(policy: &mut Description, index: usize) {
    let name = policy.limits.remove(index).name;
    policy.limits.retain(|limit| !matches!(&limit.quota, Quota::Derived { of, .. } if *of == name));
    let left: Vec<String> = policy.limits.iter().map(|limit| limit.name.clone()).collect();
    for record in &mut policy.records {
        record.limits.retain(|(limit, _)| left.contains(limit));
    }
}
