//! Warnings about plans that nobody is on, and plans that no quota knows. Keys and their plans can be kept elsewhere, so
//! that neither is an error.

use std::collections::BTreeSet;

use super::Lowering;
use super::limits::is_off;
use crate::file::{Choice, Quota};
use crate::problem::Problem;
use crate::reading::Text;

impl<'f> Lowering<'f> {
    /// Only for a file without errors, in which plans that are listed are all that are named.
    pub(super) fn warn_of_plans(&mut self) {
        let mut named = Vec::new();
        for limit in self.file.limits.iter().filter(|limit| !is_off(limit)) {
            limit.quota.iter().for_each(|quota| plans_in(quota, &mut named));
            let conditions = limit.when.iter().chain(&limit.unless);
            named.extend(conditions.filter(|(name, _)| **name == *"plan").flat_map(|(_, values)| values));
        }
        let records: Vec<_> = self.file.records.iter().flat_map(|records| &records.list).collect();
        let own = records.iter().flat_map(|record| &record.limits).filter_map(|(_, quota)| quota.as_ref());
        own.for_each(|quota| plans_in(quota, &mut named));
        let mut sold: BTreeSet<&str> = records.iter().filter_map(|record| record.plan.as_deref()).collect();
        sold.extend(self.file.plans.default.as_deref());
        if self.names.listed_plans.is_none() && !self.file.attributes.iter().any(|it| *it.name == *"plan") {
            for plan in named.iter().filter(|plan| !sold.contains(&****plan)) {
                let known = self.suggest(sold.iter());
                self.note(Problem::unsold_plan(plan, &known));
            }
        }
        let names: BTreeSet<&str> = named.iter().map(|plan| &***plan).collect();
        let default = self.file.plans.default.as_deref();
        for plan in records.iter().filter_map(|record| record.plan.as_ref()).filter(|plan| Some(&***plan) != default) {
            if !names.is_empty() && !names.contains(&**plan) {
                let known = self.suggest(names.iter());
                self.note(Problem::plan_without_quota(plan, &known));
            }
        }
    }
}

/// The plans that a quota has cases for.
fn plans_in<'f>(quota: &'f Quota, found: &mut Vec<&'f Text>) {
    let Quota::By(Choice { by, default, cases, .. }) = quota else { return };
    if by.as_deref() == Some("plan") {
        found.extend(cases.iter().map(|(plan, _)| plan));
    }
    let cases = cases.iter().filter_map(|(_, case)| case.as_ref());
    cases.chain(default.as_deref()).for_each(|case| plans_in(case, found));
}
