//! A simulation's report: a table for people, JSON for programs.

use std::collections::BTreeMap;

use serde::Serialize;
use tidegate_core::{Policy, Timestamp};
use tidegate_server::explain::Seconds;
use tidegate_sim::{BusyKey, LimitTally, Report};

use crate::failure::Failure;
use crate::output::{bare_table, grouped, table};

/// A report as programs read it.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    policy: String,
    demands: u64,
    admitted: u64,
    refused: u64,
    refused_for_ever: u64,
    bad_requests: u64,
    skipped: u64,
    from: Option<Seconds>,
    to: Option<Seconds>,
    limits: Vec<LimitRow>,
    busiest: Vec<BusyRow>,
    longest_wait: Option<WaitRow>,
}

#[derive(Debug, Serialize)]
struct LimitRow {
    name: String,
    mode: &'static str,
    demands: u64,
    did_not_fit: u64,
    refused: u64,
}

#[derive(Debug, Serialize)]
struct BusyRow {
    limit: String,
    attributes: BTreeMap<String, Option<String>>,
    demands: u64,
    did_not_fit: u64,
    too_many_by: u64,
}

#[derive(Debug, Serialize)]
struct WaitRow {
    wait_s: Seconds,
    limit: String,
    line: u64,
}

impl Summary {
    pub(crate) fn of(report: &Report, policy: &Policy, top: usize) -> Summary {
        // In the order of the policy, whichever limit was met first.
        let tally = |name: &str| report.limits().iter().find(|tally| tally.name == name);
        let instants = |pick: fn((Timestamp, Timestamp)) -> Timestamp| report.between.map(pick).map(Seconds::from);
        Summary {
            policy: policy.name().to_owned(),
            demands: report.demands,
            admitted: report.admitted,
            refused: report.refused,
            refused_for_ever: report.never,
            bad_requests: report.bad_requests,
            skipped: report.skipped,
            from: instants(|(first, _)| first),
            to: instants(|(_, last)| last),
            limits: policy.limits().iter().filter_map(|limit| tally(limit.name())).map(LimitRow::of).collect(),
            busiest: report.busiest(top).into_iter().map(BusyRow::of).collect(),
            longest_wait: report.longest_wait.as_ref().map(|longest| WaitRow {
                wait_s: longest.wait.into(),
                limit: longest.limit.clone(),
                line: longest.line,
            }),
        }
    }

    pub(crate) fn json(&self) -> Result<String, Failure> {
        let text = serde_json::to_string(self).map_err(|error| Failure::because("cannot write JSON", &error))?;
        Ok(format!("{text}\n"))
    }

    pub(crate) fn text(&self) -> String {
        let mut text = format!("policy `{}`\n{}\n", self.policy, self.totals().trim_fmt());
        if !self.limits.is_empty() {
            text.push_str(&format!("\n{}\n", self.limits_table().trim_fmt()));
        }
        if !self.busiest.is_empty() {
            text.push_str(&format!("\nbusiest keys\n{}\n", self.busiest_table().trim_fmt()));
        }
        text
    }

    fn totals(&self) -> comfy_table::Table {
        let mut rows = bare_table();
        let share = |part: u64| format!("{} ({})", grouped(part), percent(part, self.demands));
        rows.add_row(["demands".to_owned(), grouped(self.demands)]);
        rows.add_row(["admitted".to_owned(), share(self.admitted)]);
        rows.add_row(["refused".to_owned(), share(self.refused)]);
        for (name, count) in [
            ("of these, for ever", self.refused_for_ever),
            ("bad requests (400)", self.bad_requests),
            ("lines passed over", self.skipped),
        ] {
            if count > 0 {
                rows.add_row([name.to_owned(), grouped(count)]);
            }
        }
        let longest = self.longest_wait.as_ref().map_or_else(
            || "none".to_owned(),
            |longest| format!("{} s, for `{}`, line {}", longest.wait_s, longest.limit, longest.line),
        );
        rows.add_row(["longest wait".to_owned(), longest]);
        rows
    }

    fn limits_table(&self) -> comfy_table::Table {
        let mut rows = table(["limit", "demands", "refused", "did not fit"]);
        for limit in &self.limits {
            let name = if limit.mode == "shadow" { format!("{} (shadow)", limit.name) } else { limit.name.clone() };
            rows.add_row([name, grouped(limit.demands), grouped(limit.refused), grouped(limit.did_not_fit)]);
        }
        rows
    }

    fn busiest_table(&self) -> comfy_table::Table {
        let mut rows = table(["limit", "key", "demands", "did not fit"]);
        for key in &self.busiest {
            let value = |(name, value): (&String, &Option<String>)| {
                format!("{name}={}", value.as_deref().map_or_else(|| "(none)".to_owned(), shown))
            };
            let values: Vec<String> = key.attributes.iter().map(value).collect();
            let about = if key.too_many_by > 0 { "at most " } else { "" };
            rows.add_row([
                key.limit.clone(),
                values.join(" "),
                format!("{about}{}", grouped(key.demands)),
                grouped(key.did_not_fit),
            ]);
        }
        rows
    }
}

impl LimitRow {
    fn of(tally: &LimitTally) -> LimitRow {
        LimitRow {
            name: tally.name.clone(),
            mode: if tally.enforced { "enforce" } else { "shadow" },
            demands: tally.demands,
            did_not_fit: tally.did_not_fit,
            refused: tally.refused,
        }
    }
}

impl BusyRow {
    fn of(key: &BusyKey) -> BusyRow {
        BusyRow {
            limit: key.limit.clone(),
            attributes: key.values.iter().cloned().collect(),
            demands: key.demands,
            did_not_fit: key.did_not_fit,
            too_many_by: key.too_many_by,
        }
    }
}

/// A share in percent with one decimal, rounded down.
fn percent(part: u64, whole: u64) -> String {
    let tenths = u128::from(part) * 1_000 / u128::from(whole.max(1));
    format!("{}.{} %", tenths / 10, tenths % 10)
}

/// A value that came from a trace, fit for a terminal: no control characters, at most 40 characters.
fn shown(value: &str) -> String {
    let plain: String = value.chars().take(40).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if value.chars().nth(40).is_some() { format!("{plain}…") } else { plain }
}
