//! Quotas: fixed, chosen by attributes, derived from another limit's.

use std::collections::BTreeMap;

use tidegate_core::{Algorithm, Align, Calendar, Quota, QuotaTree, Rule, Span, bounds};

use super::Lowering;
use super::limits::{Begins, Counting, is_off};
use crate::file::{self, Choice};
use crate::problem::Problem;
use crate::quota::{self, Length, Written};
use crate::reading::Text;

impl Lowering<'_> {
    /// A limit's quota; `None` if it has none that can be counted.
    pub(super) fn quota(&mut self, limit: &file::Limit, counting: Counting) -> Option<QuotaTree> {
        match limit.quota.as_ref()? {
            file::Quota::Text(text, Written::Derived { numerator, denominator, of, window }) => {
                let place_of = text.part(of.1.clone());
                let windows = self.windows(text, *window, counting)?;
                let derived = Derived { numerator: *numerator, denominator: *denominator, windows };
                self.derived(limit, counting, text, (&of.0, place_of), derived)
            }
            quota => self.tree(quota, counting, &mut Vec::new()),
        }
    }

    /// A quota that stands for itself. `chosen_by` are the attributes that led to it.
    pub(super) fn tree<'q>(
        &mut self,
        quota: &'q file::Quota,
        counting: Counting,
        chosen_by: &mut Vec<&'q str>,
    ) -> Option<QuotaTree> {
        match quota {
            file::Quota::Text(text, written) => self.leaf(text, written, counting),
            file::Quota::By(choice) => self.choice(choice, counting, chosen_by),
        }
    }

    fn leaf(&mut self, text: &Text, written: &Written, counting: Counting) -> Option<QuotaTree> {
        let concurrency = counting.algorithm == Algorithm::Concurrency;
        let quota = match written {
            Written::Unlimited => return Some(QuotaTree::Unlimited),
            Written::Derived { .. } => {
                let help = "derive the whole limit: `quota = \"1/30 of LIMIT per 1s\"`, and nothing beside it";
                self.note(Problem::bad_derivation(text.place, "a derived quota inside another", "stands alone", help));
                return None;
            }
            Written::Amount(amount) if concurrency => Quota::per(*amount, Span::ZERO),
            Written::Rate { .. } if concurrency => {
                let label = "what is in flight has no window";
                let help = "write the amount alone, as `\"5\"`";
                self.note(Problem::unsuited_quota(text.place, text, "concurrency", label, help));
                return None;
            }
            Written::Amount(_) if !counting.is_known => return None,
            Written::Amount(amount) => {
                let help = format!("write `\"{amount}/min\"`, or choose `algorithm = \"concurrency\"`");
                let name = counting.algorithm.name();
                self.note(Problem::unsuited_quota(text.place, text, name, "expected a window after the amount", &help));
                return None;
            }
            Written::Rate { amount, window, burst: None } => {
                in_windows(*amount, self.windows(text, *window, counting)?)
            }
            Written::Rate { amount, window, burst: Some((burst, part)) } => {
                if !self.burst_fits(text, *amount, (*burst, part.clone()), counting) {
                    return None;
                }
                Quota { burst: *burst, ..in_windows(*amount, self.windows(text, *window, counting)?) }
            }
        };
        self.rule(text, quota, counting).map(QuotaTree::Fixed)
    }

    /// How long windows of this length are, and where they begin.
    fn windows(&mut self, text: &Text, length: Length, counting: Counting) -> Option<Windows> {
        let is_fixed = counting.algorithm == Algorithm::FixedWindow;
        let (label, help) = match (length, counting.begins) {
            (Length::Month, _) if !is_fixed => {
                ("months differ in length", "write `30d`, or choose `algorithm = \"fixed-window\"`")
            }
            (Length::Month, Begins::First) => {
                ("months differ in length: one that begins anywhere has none", "write `30d`, or leave `align` out")
            }
            (Length::Month, Begins::Clock(zone) | Begins::In(zone)) => return Some(of_calendar(zone.months())),
            (Length::Span(DAY), Begins::Clock(zone) | Begins::In(zone)) if is_fixed => {
                return Some(zone.days().map_or((DAY, Align::Clock), of_calendar));
            }
            (Length::Span(_), Begins::In(_)) if is_fixed => {
                ("a time zone has days and months", "write `d` or `month`, or leave `zone` out")
            }
            (Length::Span(span), Begins::First) if is_fixed => return Some((span, Align::First)),
            (Length::Span(span), _) => return Some((span, Align::Clock)),
        };
        if counting.is_known {
            self.note(Problem::misaligned(text.place, label, help));
        }
        None
    }

    fn burst_fits(
        &mut self,
        text: &Text,
        amount: u64,
        (burst, part): (u64, std::ops::Range<usize>),
        counting: Counting,
    ) -> bool {
        let place = text.part(part);
        if counting.is_known && counting.algorithm != Algorithm::TokenBucket {
            let label = format!("{} has no burst", counting.algorithm.name());
            let help = "leave it out, or choose `algorithm = \"token-bucket\"`";
            self.note(Problem::bad_burst(place, &label, help));
            return false;
        }
        if burst == 0 || amount == 0 {
            let label =
                if burst == 0 { "nothing would ever fit" } else { "nothing ever comes back to a quota of zero" };
            self.note(Problem::bad_burst(place, label, "write `\"0/min\"` to block everything"));
            return false;
        }
        true
    }

    /// The quota, if its algorithm can count it.
    fn rule(&mut self, text: &Text, quota: Quota, counting: Counting) -> Option<Quota> {
        if !counting.is_known {
            return Some(quota);
        }
        if counting.is_distinct && quota.amount > bounds::MAX_DISTINCT {
            let label = format!("at most {} distinct values are counted", bounds::MAX_DISTINCT);
            self.note(Problem::bad_distinct(text.place, &label, "lower it, or write `\"unlimited\"`"));
            return None;
        }
        match Rule::new(counting.algorithm, quota) {
            Ok(_) => Some(quota),
            Err(error) => {
                let help = "choose other numbers, or another algorithm";
                let name = counting.algorithm.name();
                self.note(Problem::unsuited_quota(text.place, text, name, &error.to_string(), help));
                None
            }
        }
    }

    fn choice<'q>(
        &mut self,
        choice: &'q Choice,
        counting: Counting,
        chosen_by: &mut Vec<&'q str>,
    ) -> Option<QuotaTree> {
        if chosen_by.len() == bounds::MAX_QUOTA_DEPTH {
            let help = "choose by fewer attributes, or split the limit by `when`";
            let label = format!("at most {} choices inside each other", bounds::MAX_QUOTA_DEPTH);
            self.note(Problem::bad_choice(choice.place, "quota is nested too deep", &label, help));
            return None;
        }
        if choice.by.as_deref() == Some("age") {
            return self.by_age(choice, counting, chosen_by);
        }
        let attribute = self.chooser(choice, chosen_by);
        chosen_by.extend(attribute);
        let mut cases = BTreeMap::new();
        for (value, case) in &choice.cases {
            if let Some(attribute) = attribute {
                self.check_value(attribute, value);
            }
            let case = case.as_ref().and_then(|case| self.tree(case, counting, chosen_by));
            cases.insert(value.to_string(), case.unwrap_or(QuotaTree::Unlimited));
        }
        let default = choice.default.as_ref().and_then(|default| self.tree(default, counting, chosen_by));
        chosen_by.truncate(chosen_by.len() - usize::from(attribute.is_some()));
        let attribute = attribute?;
        self.check_cases(choice, attribute);
        let default = default.or_else(|| self.default_plans_case(choice, attribute, &cases));
        Some(QuotaTree::By { attribute: attribute.to_owned(), cases, default: default.map(Box::new) })
    }

    /// A choice by the age of a record.
    fn by_age<'q>(
        &mut self,
        choice: &'q Choice,
        counting: Counting,
        chosen_by: &mut Vec<&'q str>,
    ) -> Option<QuotaTree> {
        let place = choice.by.as_ref().map_or(choice.place, |by| by.place);
        if self.note_chosen_twice("age", place, chosen_by) {
            return None;
        }
        chosen_by.push("age");
        let (mut steps, mut places) = (BTreeMap::new(), BTreeMap::new());
        for (from, case) in &choice.cases {
            let case = case.as_ref().and_then(|case| self.tree(case, counting, chosen_by));
            match quota::parse_age(from) {
                Ok(age) => {
                    if let Some(first) = places.insert(age, from.place) {
                        self.note(Problem::repeated(from, "age", first));
                    }
                    steps.insert(age, case.unwrap_or(QuotaTree::Unlimited));
                }
                Err(mistake) => self.note(mistake.at(from)),
            }
        }
        let default = choice.default.as_ref().and_then(|default| self.tree(default, counting, chosen_by));
        chosen_by.pop();
        self.check_cases(choice, "age");
        Some(QuotaTree::ByAge { steps, default: default.map(Box::new) })
    }

    /// The attribute that a choice is made by, if it is one and not chosen by already.
    fn chooser<'q>(&mut self, choice: &'q Choice, chosen_by: &[&str]) -> Option<&'q str> {
        let by = choice.by.as_ref()?;
        if !self.names.attributes.contains(&&**by) {
            self.note(Problem::unknown_attribute(by, by.place, &self.names.attributes));
            return None;
        }
        (!self.note_chosen_twice(by, by.place, chosen_by)).then_some(by)
    }

    /// Notes a choice by what was chosen by before.
    fn note_chosen_twice(&mut self, by: &str, place: crate::reading::Place, chosen_by: &[&str]) -> bool {
        let is_twice = chosen_by.contains(&by);
        if is_twice {
            let help = "choose by another attribute here";
            let label = "one value, chosen by before, is all that comes here";
            self.note(Problem::bad_choice(place, "quota is chosen by the same attribute twice", label, help));
        }
        is_twice
    }

    fn check_cases(&mut self, choice: &Choice, attribute: &str) {
        let place = choice.by.as_ref().map_or(choice.place, |by| by.place);
        if choice.cases.is_empty() {
            let help = "write one quota, or add a case, as `VALUE = \"100/min\"`";
            self.note(Problem::bad_choice(place, "choice of quotas has no case", "nothing to choose from", help));
        } else if !choice.has_default && (attribute != "plan" || self.default_plan_of(choice).is_none()) {
            self.note(Problem::open_choice(place, attribute));
        }
    }

    /// What a choice by plan without default has for other plans: the case of the default plan.
    fn default_plans_case(
        &self,
        choice: &Choice,
        attribute: &str,
        cases: &BTreeMap<String, QuotaTree>,
    ) -> Option<QuotaTree> {
        let plan = self.default_plan_of(choice).filter(|_| attribute == "plan" && !choice.has_default);
        plan.and_then(|plan| cases.get(plan)).cloned()
    }

    fn default_plan_of(&self, choice: &Choice) -> Option<&str> {
        let plan = self.file.plans.default.as_deref()?;
        choice.cases.iter().any(|(value, _)| **value == *plan).then_some(plan)
    }

    /// Notes a value that an attribute cannot have.
    pub(super) fn check_value(&mut self, attribute: &str, value: &Text) {
        match attribute {
            "plan" => {
                if let Some(listed) = self.names.listed_plans.as_ref().filter(|listed| !listed.contains(&**value)) {
                    let known = self.suggest(listed.iter());
                    self.note(Problem::unknown_plan(value, &known));
                }
            }
            "operation" if !self.names.operations.contains_key(&**value) => {
                let known = self.suggest(self.names.operations.keys());
                self.note(Problem::unknown_operation(value, &known));
            }
            "class" if !self.names.classes.contains_key(&**value) => {
                let known = self.suggest(self.names.classes.keys());
                self.note(Problem::unknown_class(value, &known));
            }
            "method" => self.check_method(value, value.place),
            _ => {}
        }
    }
}

const DAY: Span = Span::from_secs(86_400);

/// The length of windows, and where they begin.
type Windows = (Span, Align);

fn of_calendar(calendar: Calendar) -> Windows {
    (calendar.longest(), Align::Calendar(calendar))
}

fn in_windows(amount: u64, (window, align): Windows) -> Quota {
    Quota { align, ..Quota::per(amount, window) }
}

/// The numbers of a derived quota.
#[derive(Clone, Copy)]
struct Derived {
    numerator: u64,
    denominator: u64,
    windows: Windows,
}

impl Derived {
    /// The quota derived from an amount: rounded down, at least one, none of none.
    fn quota(self, amount: u64) -> Quota {
        let share = u128::from(amount) * u128::from(self.numerator) / u128::from(self.denominator.max(1));
        in_windows(u64::try_from(share).unwrap_or(u64::MAX).max(u64::from(amount > 0)), self.windows)
    }
}

impl Lowering<'_> {
    fn derived(
        &mut self,
        limit: &file::Limit,
        counting: Counting,
        text: &Text,
        (of, place): (&str, crate::reading::Place),
        derived: Derived,
    ) -> Option<QuotaTree> {
        let Some(source) = self.names.limits.get(of).copied() else {
            let known = self.suggest(self.names.limits.keys());
            self.note(Problem::unknown_limit(of, place, &known));
            return None;
        };
        let refusal = if std::ptr::eq(source, limit) || limit.name.as_deref() == Some(of) {
            Some(("quota is derived from itself", "this very limit", "name the limit whose quota it is a share of"))
        } else if matches!(&source.quota, Some(file::Quota::Text(_, Written::Derived { .. }))) {
            Some(("quota is derived from a derived one", "its own quota is derived", "derive both from the same limit"))
        } else if is_off(source) && !is_off(limit) {
            Some((
                "quota is derived from a limit that is off",
                "off",
                "set its mode to `shadow`, or write the quota out",
            ))
        } else if counting.algorithm == Algorithm::Concurrency {
            Some(("concurrency cannot be derived", "a share per window", "write the amount alone, as `\"5\"`"))
        } else {
            None
        };
        if let Some((message, label, help)) = refusal {
            self.note(Problem::bad_derivation(place, message, label, help));
            return None;
        }
        for amount in self.amounts(source, of) {
            self.rule(text, derived.quota(amount), counting)?;
        }
        let Derived { numerator, denominator, windows: (window, align) } = derived;
        Some(QuotaTree::Derived { of: of.to_owned(), numerator, denominator, window, align })
    }

    /// Every amount that the limit called `of` can have, by its own quota or by a record's.
    fn amounts(&self, source: &file::Limit, of: &str) -> Vec<u64> {
        let records = self.file.records.iter().flat_map(|records| &records.list).flat_map(|record| &record.limits);
        let overrides = records.filter(|(limit, _)| **limit == *of).filter_map(|(_, quota)| quota.as_ref());
        let mut amounts = Vec::new();
        source.quota.iter().chain(overrides).for_each(|quota| amounts_of(quota, &mut amounts));
        amounts.sort_unstable();
        amounts.dedup();
        amounts
    }
}

fn amounts_of(quota: &file::Quota, amounts: &mut Vec<u64>) {
    match quota {
        file::Quota::Text(_, Written::Amount(amount) | Written::Rate { amount, .. }) => amounts.push(*amount),
        file::Quota::Text(..) => {}
        file::Quota::By(Choice { default, cases, .. }) => {
            let cases = cases.iter().filter_map(|(_, case)| case.as_ref());
            cases.chain(default.as_deref()).for_each(|quota| amounts_of(quota, amounts));
        }
    }
}
