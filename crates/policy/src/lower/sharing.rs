//! Quotas that share a counter although they are counted over different times.
//!
//! A counter keeps one state. Where route and method choose its quota, and `per` does not tell them apart, requests of
//! one client use that state by turns with different windows; the shorter one forgets what the longer one has counted.

use std::collections::BTreeMap;

use tidegate_core::{Algorithm, LimitDraft, Span};

use super::Lowering;
use crate::file::{self, Choice, Quota};
use crate::problem::Problem;
use crate::quota::Written;
use crate::reading::Text;

/// What tells one request of a client from its next.
const OF_THE_ROUTE: [&str; 3] = ["operation", "class", "method"];

/// The attributes and values that lead to a quota, without those that may change from request to request.
type Way<'q> = Vec<(&'q str, Option<&'q str>)>;

/// A walk through the choices of one limit's quota.
struct Walk<'q> {
    algorithm: Algorithm,
    /// The attributes of the route that `per` does not tell apart.
    mixed: Vec<&'static str>,
    way: Way<'q>,
    /// The innermost choice on the way that mixes.
    mixing: Option<&'q Text>,
    found: BTreeMap<Way<'q>, (Span, Option<&'q Text>)>,
    /// The choice by which a counter gets different times, if one does.
    conflict: Option<&'q Text>,
}

impl Lowering<'_> {
    /// Notes a limit whose counters would be counted over different times.
    pub(super) fn check_sharing(&mut self, limit: &file::Limit, draft: &LimitDraft) {
        let Some(quota) = &limit.quota else { return };
        let counts_by = |name: &str| draft.per.iter().any(|(per, _)| per == name);
        if draft.algorithm == Algorithm::Concurrency || counts_by("operation") {
            return;
        }
        let is_one_operation = draft.on.as_ref().is_some_and(|on| on.len() < 2);
        let is_told_apart = |name: &str| counts_by(name) || (is_one_operation && name != "method");
        let mixed = OF_THE_ROUTE.into_iter().filter(|name| !is_told_apart(name)).collect();
        let way = Way::new();
        let found = BTreeMap::new();
        let mut walk = Walk { algorithm: draft.algorithm, mixed, way, mixing: None, found, conflict: None };
        walk.quota(quota, &|by, value| self.can_be(draft, by, value));
        if let Some(by) = walk.conflict {
            self.note(Problem::shared_counter(by, by.place));
        }
    }

    /// Whether a request that the limit is for can have that operation or class.
    fn can_be(&self, draft: &LimitDraft, by: &str, value: &str) -> bool {
        let Some(on) = &draft.on else { return true };
        match by {
            "operation" => on.iter().any(|operation| operation == value),
            "class" => self
                .names
                .classes
                .get(value)
                .is_some_and(|class| class.iter().any(|member| on.iter().any(|operation| operation == member))),
            _ => true,
        }
    }
}

impl<'q> Walk<'q> {
    fn quota(&mut self, quota: &'q Quota, can_be: &dyn Fn(&str, &str) -> bool) {
        match quota {
            Quota::Text(_, written) => self.leaf(written),
            Quota::By(choice) => self.choice(choice, can_be),
        }
    }

    fn choice(&mut self, choice: &'q Choice, can_be: &dyn Fn(&str, &str) -> bool) {
        let Some(by) = &choice.by else { return };
        let outer = self.mixing;
        let is_mixed = self.mixed.contains(&&**by);
        if is_mixed {
            self.mixing = Some(by);
        }
        let cases = choice.cases.iter().filter(|(value, _)| can_be(by, value));
        let cases = cases.filter_map(|(value, case)| Some((Some(&**value), case.as_ref()?)));
        for (value, case) in cases.chain(choice.default.as_deref().map(|default| (None, default))) {
            if is_mixed {
                self.quota(case, can_be);
            } else {
                self.way.push((by, value));
                self.quota(case, can_be);
                self.way.pop();
            }
        }
        self.mixing = outer;
    }

    fn leaf(&mut self, written: &Written) {
        let Some(time) = counted_over(self.algorithm, written) else { return };
        let (first, mixing) = *self.found.entry(self.way.clone()).or_insert((time, self.mixing));
        let differs = match self.algorithm {
            // A bucket forgets what is more than two of its fills ahead.
            Algorithm::TokenBucket => first.max(time).as_micros() / 2 > first.min(time).as_micros(),
            _ => first != time,
        };
        if differs {
            self.conflict = self.conflict.or(self.mixing).or(mixing);
        }
    }
}

/// The time over which a quota is counted: its window; of a bucket, the time to fill it. `None` if nothing is counted.
fn counted_over(algorithm: Algorithm, written: &Written) -> Option<Span> {
    let Written::Rate { amount: amount @ 1.., window, burst } = written else { return None };
    let burst = burst.as_ref().map_or(*amount, |(burst, _)| *burst);
    match algorithm {
        Algorithm::TokenBucket => {
            let fill = u128::from(burst) * u128::from(window.as_micros()) / u128::from(*amount);
            Some(Span::from_micros(u64::try_from(fill).unwrap_or(u64::MAX)))
        }
        _ => Some(*window),
    }
}
