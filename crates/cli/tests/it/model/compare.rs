//! One decision of the program beside one of the model: every number and every byte.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

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
    pub(crate) fn add(&mut self, case: &Case, decided: &str, difference: String) {
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

/// Compares a decision with the model's.
pub(crate) fn compare(vendor: &str, case: &Case, decided: &str) -> Result<(), String> {
    let decided: Value = serde_json::from_str(decided).map_err(|error| format!("not JSON: {error}"))?;
    let ruling = &case.ruling;
    same("policy", &decided["policy"], &Value::from(vendor))?;
    same("t", &Value::from(micros(&decided["t"])), &Value::from(ruling.at))?;
    same("allowed", &decided["allowed"], &Value::from(ruling.allowed))?;
    same("status", &decided["status"], &Value::from(if ruling.allowed { 200 } else { 429 }))?;
    same("binding", &decided["binding"], &Value::from(ruling.binding().map(|line| line.name)))?;
    let limits = decided["limits"].as_array().ok_or("no limits")?;
    same("number of limits", &Value::from(limits.len()), &Value::from(ruling.lines.len()))?;
    for (decided, line) in limits.iter().zip(&ruling.lines) {
        compare_limit(decided, line, ruling.at)?;
    }
    compare_headers(&decided["headers"], &case.words.headers)?;
    let body = case.words.body.as_deref();
    match (&decided["body"], body) {
        (Value::String(text), Some(body)) => same("body", &Value::from(text.as_str()), &Value::from(body)),
        (decided, body) => same("body", decided, &Value::from(body)),
    }
}

fn compare_limit(decided: &Value, line: &Line, at: u64) -> Result<(), String> {
    same("name", &decided["name"], &Value::from(line.name))?;
    let of = |what: &str| format!("{what} of {}", line.name);
    same(&of("limit"), &decided["limit"], &Value::from(line.quota))?;
    same(&of("remaining"), &decided["remaining"], &Value::from(line.remaining))?;
    same(&of("mode"), &decided["mode"], &Value::from("enforce"))?;
    same(&of("window"), &Value::from(micros(&decided["window_s"])), &Value::from(line.window_us))?;
    same(&of("reset_after"), &Value::from(micros(&decided["reset_after_s"])), &Value::from(line.reset_us))?;
    same(&of("reset_at"), &Value::from(micros(&decided["reset_at"])), &Value::from(at + line.reset_us))?;
    let retry = match line.retry {
        Retry::Now => Some(0),
        Retry::After(us) => Some(us),
        Retry::Never => None,
    };
    same(&of("retry_after"), &Value::from(micros(&decided["retry_after_s"])), &Value::from(retry))
}

fn compare_headers(decided: &Value, headers: &[(&'static str, String)]) -> Result<(), String> {
    let empty = Map::new();
    let decided = decided.as_object().unwrap_or(&empty);
    let decided: BTreeMap<&str, &str> =
        decided.iter().map(|(name, value)| (name.as_str(), value.as_str().unwrap_or("not a string"))).collect();
    let wanted: BTreeMap<&str, &str> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    if decided == wanted { Ok(()) } else { Err(format!("headers: decided {decided:?}, model {wanted:?}")) }
}

fn same(what: &str, decided: &Value, model: &Value) -> Result<(), String> {
    if decided == model { Ok(()) } else { Err(format!("{what}: decided {decided}, model {model}")) }
}

/// The whole microseconds that a number of seconds with up to six decimals stands for; `None` for what is no number.
fn micros(seconds: &Value) -> Option<u64> {
    let text = seconds.as_number()?.to_string();
    let (whole, decimals) = text.split_once('.').unwrap_or((&text, ""));
    let whole: u64 = whole.parse().ok()?;
    let micros: u64 = format!("{decimals:0<6}").parse().ok()?;
    (decimals.len() <= 6).then_some(whole * 1_000_000 + micros)
}
