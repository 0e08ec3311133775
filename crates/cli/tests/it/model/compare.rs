//! One decision of the program beside one of the model: every number and every byte.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::ask::quoted;
use super::ledger::{Line, Retry};
use super::story::Case;

/// How many differences are shown.
const SHOWN: usize = 5;

/// What came out different.
#[derive(Debug, Default)]
pub(crate) struct Differences {
    count: u64,
    /// Refused by the program, admitted by the model, and the other way round.
    directions: (u64, u64),
    shown: Vec<String>,
}

impl Differences {
    pub(crate) fn add(&mut self, case: &Case, decided: &str, difference: &str) {
        self.count += 1;
        let verdicts = (decided.contains("\"allowed\":true"), case.ruling.allowed);
        self.directions.0 += u64::from(verdicts == (false, true));
        self.directions.1 += u64::from(verdicts == (true, false));
        if self.shown.len() < SHOWN {
            self.shown.push(format!(
                "{difference}\n  asked   {}\n  decided {decided}\n  model   {:?} {:?}",
                case.line, case.ruling, case.words
            ));
        }
    }

    pub(crate) fn assert_none(&self, vendor: &str, seed: u64, cases: u64) {
        let Differences { count, directions: (refused, admitted), shown } = self;
        assert!(
            *count == 0,
            "{vendor}, seed {seed}: {count} of {cases} decisions differ; {refused} were refused and {admitted} were \
             admitted against the model:\n{}",
            shown.join("\n")
        );
    }
}

/// A JSON object whose values are as they were written, to the digit.
type Members<'t> = BTreeMap<String, &'t RawValue>;

/// Compares a decision with the model's.
pub(crate) fn compare(vendor: &str, case: &Case, decided: &str) -> Result<(), String> {
    let decided: Members<'_> = parsed(decided)?;
    let Case { ruling, words, .. } = case;
    same("policy", text(&decided, "policy"), &quoted(vendor))?;
    same_seconds("t", text(&decided, "t"), Some(ruling.at))?;
    same("allowed", text(&decided, "allowed"), if ruling.allowed { "true" } else { "false" })?;
    same("status", text(&decided, "status"), if ruling.allowed { "200" } else { "429" })?;
    let binding = ruling.binding().map_or("null".to_owned(), |line| quoted(line.name));
    same("binding", text(&decided, "binding"), &binding)?;
    let limits: Vec<Members<'_>> = parsed(text(&decided, "limits"))?;
    same("number of limits", &limits.len().to_string(), &ruling.lines.len().to_string())?;
    for (limit, line) in limits.iter().zip(&ruling.lines) {
        compare_limit(limit, line, ruling.at)?;
    }
    compare_headers(text(&decided, "headers"), &words.headers)?;
    same("body", text(&decided, "body"), words.body.as_deref().unwrap_or_default())
}

fn compare_limit(limit: &Members<'_>, line: &Line, at: u64) -> Result<(), String> {
    let of = |what: &str| format!("{what} of {}", line.name);
    same("name", text(limit, "name"), &quoted(line.name))?;
    same(&of("limit"), text(limit, "limit"), &line.quota.to_string())?;
    same(&of("remaining"), text(limit, "remaining"), &line.remaining.to_string())?;
    same(&of("mode"), text(limit, "mode"), "\"enforce\"")?;
    same_seconds(&of("window"), text(limit, "window_s"), Some(line.window_us))?;
    same_seconds(&of("reset_after"), text(limit, "reset_after_s"), Some(line.reset_us))?;
    same_seconds(&of("reset_at"), text(limit, "reset_at"), Some(at + line.reset_us))?;
    let retry = match line.retry {
        Retry::Now => Some(0),
        Retry::After(us) => Some(us),
        Retry::Never => None,
    };
    same_seconds(&of("retry_after"), text(limit, "retry_after_s"), retry)
}

fn compare_headers(decided: &str, headers: &[(&'static str, String)]) -> Result<(), String> {
    let decided: BTreeMap<String, String> = parsed(decided)?;
    let wanted: BTreeMap<String, String> =
        headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    if decided == wanted { Ok(()) } else { Err(format!("headers: decided {decided:?}, model {wanted:?}")) }
}

fn parsed<'t, T: serde::Deserialize<'t>>(text: &'t str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|error| format!("{error} in `{text}`"))
}

/// A member as it was written; nothing if there is none.
fn text<'t>(members: &Members<'t>, name: &str) -> &'t str {
    members.get(name).map_or("", |value| value.get())
}

fn same(what: &str, decided: &str, model: &str) -> Result<(), String> {
    if decided == model { Ok(()) } else { Err(format!("{what}: decided `{decided}`, model `{model}`")) }
}

/// Seconds with up to six decimals, beside whole microseconds; no wait that ends is `null`.
fn same_seconds(what: &str, decided: &str, model: Option<u64>) -> Result<(), String> {
    let micros = || {
        let (whole, decimals) = decided.split_once('.').unwrap_or((decided, ""));
        let whole: u64 = whole.parse().ok()?;
        let micros: u64 = format!("{decimals:0<6}").parse().ok()?;
        (decimals.len() <= 6).then_some(whole * 1_000_000 + micros)
    };
    let is_same = if decided == "null" { model.is_none() } else { micros() == model && model.is_some() };
    if is_same { Ok(()) } else { Err(format!("{what}: decided {decided} s, model {model:?} µs")) }
}

/// The decision that the model wants, as the program writes it.
pub(crate) fn written(vendor: &str, case: &Case) -> String {
    let Case { ruling, words, .. } = case;
    let seconds = |us: u64| format!("{}.{:06}", us / 1_000_000, us % 1_000_000);
    let limits: Vec<String> = ruling
        .lines
        .iter()
        .map(|line| {
            let retry = match line.retry {
                Retry::Now => seconds(0),
                Retry::After(us) => seconds(us),
                Retry::Never => "null".to_owned(),
            };
            let Line { name, quota, remaining, window_us, reset_us, .. } = line;
            let (window, reset, reset_at) = (seconds(*window_us), seconds(*reset_us), seconds(ruling.at + reset_us));
            format!(
                "{{\"name\":\"{name}\",\"limit\":{quota},\"remaining\":{remaining},\"window_s\":{window},\
                 \"reset_at\":{reset_at},\"reset_after_s\":{reset},\"retry_after_s\":{retry},\"mode\":\"enforce\"}}"
            )
        })
        .collect();
    let headers: Vec<String> =
        words.headers.iter().map(|(name, value)| format!("{}:{}", quoted(name), quoted(value))).collect();
    let binding = ruling.binding().map_or("null".to_owned(), |line| quoted(line.name));
    let status = if ruling.allowed { 200 } else { 429 };
    let body = words.body.as_ref().map_or(String::new(), |body| format!(",\"body\":{body}"));
    format!(
        "{{\"t\":{},\"allowed\":{},\"policy\":\"{vendor}\",\"binding\":{binding},\"limits\":[{}],\"headers\":{{{}}},\
         \"status\":{status}{body}}}",
        seconds(ruling.at),
        ruling.allowed,
        limits.join(","),
        headers.join(",")
    )
}
