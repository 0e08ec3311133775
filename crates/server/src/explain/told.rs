//! An explanation as it is told: the answer of `/v1/explain`, what `tidegate explain --json` prints, and what it reads to
//! print text.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use tidegate_core::{OnStoreError, Span, Timestamp};
use utoipa::ToSchema;

use crate::http::answer;

/// Microseconds that are written as seconds, exact whatever the year, without a float.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seconds(pub u64);

impl From<Span> for Seconds {
    fn from(span: Span) -> Seconds {
        Seconds(span.as_micros())
    }
}

impl From<Timestamp> for Seconds {
    fn from(instant: Timestamp) -> Seconds {
        Seconds(instant.as_micros())
    }
}

impl Serialize for Seconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = String::new();
        answer::seconds(self.0, &mut text);
        RawValue::from_string(text).map_err(serde::ser::Error::custom)?.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Seconds, D::Error> {
        // As it was written: a number that was parsed first may have lost digits or gained an exponent.
        let number = Box::<RawValue>::deserialize(deserializer)?;
        read_seconds(number.get()).map(Seconds).ok_or_else(|| serde::de::Error::custom("expected seconds"))
    }
}

/// The microseconds that a plain decimal of seconds stands for.
fn read_seconds(text: &str) -> Option<u64> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let decimals = format!("{:0<6}", decimals.get(..6).unwrap_or(decimals));
    whole.parse::<u64>().ok()?.checked_mul(1_000_000)?.checked_add(decimals.parse().ok()?)
}

/// Which limits apply to a demand and which do not, why, and what comes of it.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Explanation {
    /// The policy's name.
    pub policy: String,
    /// The policy's number.
    pub version: u64,
    /// When it was asked, in seconds since 1970.
    #[schema(value_type = f64)]
    pub at: Seconds,
    /// The refusal that is explained, of a past one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<String>,
    /// Where that was given: `gateway` or `http`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub surface: Option<String>,
    /// What limits the explanation, where it is not whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The request, if one was asked about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<ToldRequest>,
    /// Why the request is answered by 400 before anything is counted; nothing is told beside it then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bad_request: Option<ToldFault>,
    /// The operation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// What the token of the request is worth, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<ToldToken>,
    /// Every attribute of the policy, in its order.
    #[serde(default)]
    pub attributes: Vec<ToldAttribute>,
    /// The records that the demand meets, in the order in which they count.
    #[serde(default)]
    pub records: Vec<ToldRecord>,
    /// The units whose cost the demand names.
    #[serde(default)]
    pub cost: BTreeMap<String, u64>,
    /// Whether it is admitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed: Option<bool>,
    /// The limit that binds, as in the answer of `/v1/check`; null if no limit applies.
    #[serde(default)]
    pub binding: Option<String>,
    /// Every limit of the policy, in its order.
    #[serde(default)]
    pub limits: Vec<ToldLimit>,
    /// How the answer is spelled.
    #[serde(default)]
    pub answers: ToldAnswers,
}

/// The request that an explanation is about.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ToldRequest {
    /// Its method.
    pub method: String,
    /// Its path as it is matched and forwarded, with its query; as it was sent, if it has no canonical form.
    pub path: String,
    /// The route that fits, with its base; null if none does.
    pub route: Option<String>,
}

/// Why a request cannot be understood.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ToldFault {
    /// The part of the request.
    pub place: String,
    /// What was expected, and what was found.
    pub message: String,
}

/// What a token is worth.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ToldToken {
    /// Whether its claims count.
    pub counts: bool,
    /// What vouches for it, or what is wrong with it.
    pub why: String,
}

/// One attribute of a demand.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ToldAttribute {
    /// Its name.
    pub name: String,
    /// Its value; null if the demand lacks it.
    pub value: Option<String>,
    /// Where the value came from; null if there is none.
    pub from: Option<String>,
    /// The places of a request that were looked at, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub places: Vec<ToldPlace>,
}

/// A place of a request.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ToldPlace {
    /// `header x-api-key`, `query user`, `path session` …
    pub place: String,
    /// `taken`; `absent`; `unmapped`, if the source's map does not know what is there; `unread`, if no limit on the
    /// operation needs it.
    pub finding: String,
}

/// A record that a demand meets.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ToldRecord {
    /// The attribute whose value it is about.
    pub attribute: String,
    /// That value.
    pub value: String,
    /// The plan it is on.
    pub plan: Option<String>,
    /// When it was created, in seconds since 1970.
    #[schema(value_type = Option<f64>)]
    pub created: Option<Seconds>,
}

/// One limit of the policy.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ToldLimit {
    /// Its name.
    pub name: String,
    /// `enforce` or `shadow`.
    pub mode: String,
    /// Whether refused attempts are charged to it too.
    #[serde(default, skip_serializing_if = "is_false")]
    pub count_refused: bool,
    /// What it does where the store has no room for its counter: `open` if it admits uncounted.
    #[serde(default = "closed", skip_serializing_if = "is_closed")]
    pub on_store_error: String,
    /// The unit it counts, or the attribute whose distinct values it counts.
    pub unit: String,
    /// Of distinct values, the demand's; left out where it counts a unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distinct: Option<ToldDistinct>,
    /// Whether it applies.
    pub applies: bool,
    /// Whether it is the one that binds.
    pub binds: bool,
    /// All that speaks against it; nothing if it applies.
    pub reasons: Vec<ToldReason>,
    /// Its quota for this demand; null if it is not on the operation, is unlimited or has no case.
    pub quota: Option<ToldQuota>,
    /// Where the quota comes from, choice by choice.
    pub origin: Vec<ToldStep>,
    /// What its counter is named by; null for a value that is missing.
    pub counter: BTreeMap<String, Option<String>>,
    /// How the counter stands, if the limit applies.
    pub standing: Option<ToldStanding>,
}

/// The value of a demand where distinct values are counted.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ToldDistinct {
    /// The attribute.
    pub attribute: String,
    /// Its value; null if it is missing, which is a value like others where the attribute is optional.
    pub value: Option<String>,
    /// Whether it was counted before in this window; null if the limit does not apply.
    pub seen: Option<bool>,
}

/// Why a limit does not apply.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ToldReason {
    /// `other-operation`, `missing-attribute`, `condition`, `exempt`, `unlimited` or `no-case`.
    pub kind: String,
    /// The reason in words.
    pub message: String,
}

/// A quota and how it is counted.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ToldQuota {
    /// Units per window.
    pub amount: u64,
    /// The window in seconds; null for concurrency.
    #[schema(value_type = Option<f64>)]
    pub window_s: Option<Seconds>,
    /// The most units that fit at once.
    pub burst: u64,
    /// `fixed-window`, `sliding-window`, `token-bucket` or `concurrency`.
    pub algorithm: String,
    /// Where windows begin, if not by the clock: `first-request`, or a calendar's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub align: Option<String>,
}

/// One step on the way to a quota.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ToldStep {
    /// `record`, `value`, `age` or `derived`.
    pub kind: String,
    /// The limit whose quota is being found, if it is another: the one that this one's is derived from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<String>,
    /// The step in words.
    pub message: String,
}

/// How a counter stands.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ToldStanding {
    /// Whether the demand fits.
    pub fits: bool,
    /// The units that must fit: of a distinct value that was counted before, none.
    pub need: u64,
    /// The most units that fit at once when nothing is used.
    pub limit: u64,
    /// Units that fit now; one more does not.
    pub remaining: u64,
    /// How long until the quota is whole again, in seconds.
    #[schema(value_type = f64)]
    pub reset_after_s: Seconds,
    /// How long until the demand fits: zero if it does, null if it never will or nobody knows.
    #[schema(value_type = Option<f64>)]
    pub retry_after_s: Option<Seconds>,
    /// Whether it fits when somebody releases what is held.
    pub awaits_release: bool,
    /// What the status rests on, if not on the counter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basis: Option<String>,
}

/// How the answer is spelled, both ways.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ToldAnswers {
    /// If it is admitted; null if it never can be.
    pub admitted: Option<ToldAnswer>,
    /// If it is refused; null if no enforced limit applies.
    pub refused: Option<ToldAnswer>,
}

/// Status, headers and body in the policy's dialect. Those of an admission are added to the upstream's answer.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ToldAnswer {
    /// What would have to be so for this answer to be given; null for the answer that is given.
    pub supposing: Option<String>,
    /// The status.
    pub status: u16,
    /// The headers, in the dialect's order.
    pub headers: Vec<(String, String)>,
    /// The body of a refusal.
    pub body: Option<String>,
}

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        answer::seconds(self.0, &mut text);
        f.write_str(&text)
    }
}

/// What a limit does where the store has no room, unless it says otherwise.
fn closed() -> String {
    OnStoreError::Closed.name().to_owned()
}

fn is_closed(name: &str) -> bool {
    name == OnStoreError::Closed.name()
}

/// Whether a member that is rarely true is left out.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_false(value: &bool) -> bool {
    !value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_read_as_they_were_written() {
        for micros in [0, 1, 1_000_000, 1_706_774_400_123_456, 1_706_774_400_000_000, 4_102_444_800_000_001] {
            let json = serde_json::to_string(&Seconds(micros)).expect("it is written");
            assert_eq!(serde_json::from_str::<Seconds>(&json).expect(&json), Seconds(micros), "{json}");
        }
        for wrong in ["-1", "1e30", "\"1\"", "null"] {
            assert!(serde_json::from_str::<Seconds>(wrong).is_err(), "{wrong}");
        }
    }
}
