//! Warnings about limits that can do nothing: that no request reaches, or that another limit always refuses before.
//! Conservative: what is said is so, whatever is asked, but not all that is so is said.

use std::collections::BTreeSet;

use tidegate_core::{Algorithm, OnStoreError, QuotaTree, Rule, Span};

use super::Lowering;
use super::limits::is_off;
use crate::file::{self, Choice};
use crate::problem::Problem;
use crate::reading::Text;

/// Most pairs of limits that are compared: those of a thousand limits, in a fraction of a second.
const MAX_PAIRS: usize = 1_000_000;

impl<'f> Lowering<'f> {
    /// Warns of limits and quotas without effect. Only for a file without errors.
    pub(super) fn warn_of_idle_limits(&mut self) {
        let file = self.file;
        let limits: Vec<&file::Limit> = file.limits.iter().filter(|limit| !is_off(limit)).collect();
        for limit in &limits {
            if let Some(problem) = self.unreachable(limit) {
                self.note(problem);
            } else {
                limit.quota.iter().for_each(|quota| self.warn_of_idle_cases(limit, quota));
            }
        }
        let simple: Vec<Simple<'_>> = limits.iter().filter_map(|limit| self.simple(limit)).collect();
        if simple.len() * simple.len() > MAX_PAIRS {
            return;
        }
        for limit in &simple {
            let stricter = simple.iter().find(|other| other.always_refuses_before(limit));
            if let Some(other) = stricter {
                self.note(Problem::idle_quota(limit.quota, other.name));
            }
        }
    }

    /// The operations that a limit is on.
    fn reached(&self, limit: &'f file::Limit) -> BTreeSet<&'f str> {
        match &limit.on {
            None => self.names.operations.keys().copied().collect(),
            Some(on) => on.iter().filter_map(|name| self.names.operations_called(name)).flatten().collect(),
        }
    }

    /// Why no request meets a limit, if none does.
    fn unreachable(&self, limit: &'f file::Limit) -> Option<Problem> {
        for (attribute, values) in &limit.when {
            let excluded =
                limit.unless.iter().filter(|(other, _)| **other == **attribute).flat_map(|(_, values)| values);
            let excluded: BTreeSet<&str> = excluded.map(|value| &**value).collect();
            if !values.is_empty() && values.iter().all(|value| excluded.contains(&**value)) {
                return Some(Problem::unreached_limit(
                    attribute.place,
                    "`unless` excludes every value that `when` wants",
                ));
            }
            if !values.iter().any(|value| self.can_be(limit, attribute, value)) {
                let label = match &**attribute {
                    "operation" | "class" => "no operation that the limit is on has such a value",
                    _ => "no source of the attribute gives such a value",
                };
                return Some(Problem::unreached_limit(attribute.place, label));
            }
        }
        for (attribute, values) in &limit.unless {
            let excluded: BTreeSet<&str> = match &**attribute {
                "operation" => values.iter().map(|value| &**value).collect(),
                "class" => {
                    values.iter().filter_map(|value| self.names.classes.get(&**value)).flatten().copied().collect()
                }
                _ => continue,
            };
            if self.reached(limit).is_subset(&excluded) {
                return Some(Problem::unreached_limit(
                    attribute.place,
                    "every operation that the limit is on is excluded",
                ));
            }
        }
        let name = limit.name.as_ref()?;
        let is_unlimited = limit.quota.as_ref().is_some_and(is_unlimited);
        (is_unlimited && !self.is_overridden(name))
            .then(|| Problem::unreached_limit(name.place, "unlimited for everybody, and no record says otherwise"))
    }

    /// Whether a request that a limit is on can have this value; true where that is not known.
    fn can_be(&self, limit: &'f file::Limit, attribute: &str, value: &str) -> bool {
        match attribute {
            "operation" => limit.on.is_none() || self.reached(limit).contains(value),
            "class" if limit.on.is_none() => true,
            "class" => {
                let reached = self.reached(limit);
                self.names.classes.get(value).is_some_and(|members| members.iter().any(|it| reached.contains(it)))
            }
            // A plan may come from a record, or be the default.
            "plan" => true,
            _ => self.values_of(attribute).is_none_or(|values| values.contains(value)),
        }
    }

    /// All values that an attribute can have from a request, if its sources tell: constants, and what maps map to. The
    /// decision API can state others, but a policy that names its values means those.
    fn values_of(&self, attribute: &str) -> Option<BTreeSet<&'f str>> {
        let attribute = self.file.attributes.iter().find(|known| *known.name == *attribute)?;
        let mut values = BTreeSet::new();
        if attribute.sources.is_empty() {
            return None;
        }
        for source in &attribute.sources {
            if source.hash {
                return None;
            }
            if source.map.is_empty() {
                for from in &source.from {
                    values.insert(from.strip_prefix("constant:")?);
                }
            }
            values.extend(source.map.iter().map(|(_, value)| &**value));
        }
        Some(values)
    }

    /// Warns of cases that no request can have.
    fn warn_of_idle_cases(&mut self, limit: &'f file::Limit, quota: &'f file::Quota) {
        let file::Quota::By(Choice { by, default, cases, .. }) = quota else { return };
        for (value, case) in cases {
            if let Some(by) = by.as_ref().filter(|by| !self.can_be(limit, by, value)) {
                self.note(Problem::idle_case(value, by));
            }
            case.iter().for_each(|case| self.warn_of_idle_cases(limit, case));
        }
        default.iter().for_each(|default| self.warn_of_idle_cases(limit, default));
    }

    fn is_overridden(&self, limit: &str) -> bool {
        let records = self.file.records.iter().flat_map(|records| &records.list);
        records.flat_map(|record| &record.limits).any(|(name, _)| **name == *limit)
    }

    /// A limit with one quota for everybody, whose cost is known in time.
    fn simple(&mut self, limit: &'f file::Limit) -> Option<Simple<'f>> {
        let name = limit.name.as_deref()?;
        let file::Quota::Text(quota, _) = limit.quota.as_ref()? else { return None };
        let unit = limit.unit.as_deref().unwrap_or("requests");
        // Fewer values are counted than requests, and how many fewer nobody knows.
        if limit.distinct.is_some() {
            return None;
        }
        let is_settled = self.file.units.iter().any(|known| *known.name == *unit && known.settle.is_some());
        if is_settled || self.is_overridden(name) {
            return None;
        }
        let counting = self.counting(limit);
        let QuotaTree::Fixed(fixed) = self.quota(limit, counting)? else { return None };
        let rule = Rule::new(counting.algorithm, fixed).ok()?;
        let operations = limit.on.is_some().then(|| self.reached(limit));
        let is_closed = self.on_store_error(limit) == OnStoreError::Closed;
        Some(Simple { limit, name, quota, unit, rule, operations, is_closed })
    }
}

/// A limit with one quota for everybody.
struct Simple<'f> {
    limit: &'f file::Limit,
    name: &'f str,
    quota: &'f Text,
    unit: &'f str,
    rule: Rule,
    /// None: all of them.
    operations: Option<BTreeSet<&'f str>>,
    /// Whether it refuses where the store has no room.
    is_closed: bool,
}

impl Simple<'_> {
    /// Whether this limit refuses all that the other would: it meets every request that the other meets, counts no more
    /// finely, and never admits what the other would not.
    fn always_refuses_before(&self, other: &Simple<'_>) -> bool {
        let is_enforced = self.limit.mode.as_deref().is_none_or(|mode| mode == "enforce");
        let is_unconditional =
            self.limit.when.is_empty() && self.limit.unless.is_empty() && self.limit.created_before.is_none();
        let counts_coarser = self.limit.per.iter().all(|per| other.limit.per.iter().any(|theirs| **theirs == **per));
        // What this one refuses uses up the other, if that counts refused attempts.
        let counts_refused = other.limit.count_refused.is_some_and(|(_, is_wanted)| is_wanted);
        !std::ptr::eq(self.limit, other.limit)
            && is_enforced
            && self.is_closed
            && !counts_refused
            && is_unconditional
            && counts_coarser
            && self.unit == other.unit
            && self.meets_all_of(other)
            && admits_within(&self.rule, &other.rule)
    }
}

impl Simple<'_> {
    fn meets_all_of(&self, other: &Simple<'_>) -> bool {
        match (&self.operations, &other.operations) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(ours), Some(theirs)) => ours.is_superset(theirs),
        }
    }
}

/// Whether what `strict` admits always fits `other`, by the worst case of the one and what the other counts together.
fn admits_within(strict: &Rule, other: &Rule) -> bool {
    let (quota, window) = (other.quota(), other.quota().window.as_micros());
    let counted = match other.algorithm() {
        // The instants of one window are that far apart at most.
        Algorithm::FixedWindow => window - 1,
        // The oldest cell counts whole.
        Algorithm::SlidingWindow { cells } => window + window.div_ceil(cells.into()),
        Algorithm::TokenBucket => {
            let (theirs, ours) = (strict.quota(), quota);
            let rate = |of: u64, by: Span| u128::from(of) * u128::from(by.as_micros());
            let is_slower = rate(theirs.amount, ours.window) <= rate(ours.amount, theirs.window);
            return strict.algorithm() == Algorithm::TokenBucket
                && theirs.burst <= ours.burst
                && is_slower
                && (theirs.burst, theirs.amount, theirs.window) != (ours.burst, ours.amount, ours.window);
        }
        Algorithm::Concurrency => return false,
    };
    strict.worst_case(Span::from_micros(counted)).is_some_and(|most| most <= u128::from(quota.amount))
        && strict != other
}

fn is_unlimited(quota: &file::Quota) -> bool {
    match quota {
        file::Quota::Text(_, written) => *written == crate::quota::Written::Unlimited,
        file::Quota::By(Choice { default, cases, .. }) => {
            let cases = || cases.iter().filter_map(|(_, case)| case.as_ref()).chain(default.as_deref());
            cases().next().is_some() && cases().all(is_unlimited)
        }
    }
}
