//! Records: what is known about one app, key or account.

use std::collections::BTreeMap;

use tidegate_core::RecordDraft;

use super::Lowering;
use super::limits::is_off;
use crate::file;
use crate::intake::is_text_of_a_key;
use crate::problem::Problem;
use crate::quota::Written;

impl Lowering<'_> {
    /// All records, by attribute and value.
    pub(super) fn records(&mut self) -> BTreeMap<String, BTreeMap<String, RecordDraft>> {
        let mut drafts = BTreeMap::new();
        for records in &self.file.records {
            let list = records.list.iter().map(|record| (record.value.to_string(), self.record(record)));
            drafts.insert(records.attribute.clone(), list.collect());
        }
        drafts
    }

    fn record(&mut self, record: &file::Record) -> RecordDraft {
        if let Some(plan) = record.plan.as_ref().filter(|plan| !self.names.plans.contains(&***plan)) {
            let known = self.suggest(self.names.plans.iter());
            self.note(Problem::unknown_plan(plan, &known));
        }
        if let (Some(secret), None) = (&record.secret, &self.file.jwt) {
            self.note(Problem::no_jwt(secret.place, "a `secret`"));
        }
        if let Some(secret) = record.secret.as_ref().filter(|secret| secret.is_empty()) {
            self.note(Problem::empty_secret(secret.place));
        }
        if let Some(secret) = record.secret.as_ref().filter(|secret| is_text_of_a_key(secret.as_bytes())) {
            self.note(Problem::public_secret(secret.place));
        }
        let mut limits = BTreeMap::new();
        for (name, quota) in &record.limits {
            let Some(limit) = self.names.limits.get(&**name).copied() else {
                let known = self.suggest(self.names.limits.keys());
                self.note(Problem::unknown_limit(name, name.place, &known));
                continue;
            };
            if let Some(file::Quota::Text(text, Written::Derived { .. })) = quota {
                let label = "only a limit's own quota is";
                let help = "write it out, as `\"120/min\"`";
                self.note(Problem::bad_derivation(text.place, "quota of a record is derived", label, help));
                continue;
            }
            let noted = self.problems.len();
            let counting = self.counting(limit);
            self.problems.truncate(noted);
            let quota = quota.as_ref().and_then(|quota| self.tree(quota, counting, &mut Vec::new()));
            if let Some(quota) = quota.filter(|_| !is_off(limit)) {
                limits.insert(name.to_string(), quota);
            }
        }
        RecordDraft { plan: record.plan.as_deref().map(str::to_owned), created: record.created, limits }
    }
}
