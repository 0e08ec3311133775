//! What goes over the wire, as types: the OpenAPI document is generated of them, and tests read every answer by them.
//!
//! The server itself reads questions with `tidegate_policy::question`, which names each mistake by its place, and
//! writes answers with `answer.rs`, which needs no floats. Tests keep all three in step.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A question. What it does not name does not apply, but for what follows from the rest: the operation's class and
/// method, and the plan of a record.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// The policy's name. It may be left out where only one is served; another name is a mistake.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "whatsapp")]
    pub policy: Option<String>,
    /// Attributes and their values.
    #[schema(example = json!({"key": "k1", "session": "s1", "operation": "send-message"}))]
    pub attributes: BTreeMap<String, String>,
    /// Whole units by name; a unit that is not named costs one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(example = json!({"requests": 1}))]
    pub cost: BTreeMap<String, u64>,
    /// Whether to look only: nothing is charged.
    #[serde(default)]
    pub peek: bool,
    /// Whether what is charged is reserved, to be settled or released by the id that is answered.
    #[serde(default)]
    pub reserve: bool,
    /// When a reservation expires, in seconds: 1 to 3,600, 60 if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_s: Option<u64>,
}

/// One question, or up to a thousand.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Checks {
    /// Answered by one answer.
    One(Check),
    /// Each decided alone, answered by an array in the same order.
    Batch(Vec<Check>),
}

/// A ruling. A refusal is one too, and no error.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// Whether the demand was admitted, or would be if it was a peek.
    pub allowed: bool,
    /// The policy's name.
    pub policy: String,
    /// The policy's number.
    pub version: u64,
    /// The limit that binds: of a refusal the refusing one that makes the caller wait longest, of an admission the one
    /// with the smallest share left. Null if no limit applies.
    pub binding: Option<String>,
    /// Every limit that applied, in the order of the policy.
    pub limits: Vec<LimitAnswer>,
    /// The headers of the answer in the policy's dialect.
    pub headers: BTreeMap<String, String>,
    /// The status in the policy's dialect.
    pub status: u16,
    /// The body of a refusal in the policy's dialect: as it stands if it is JSON, else a string.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<serde_json::Value>,
    /// The reservation, if one was asked for and the demand was admitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reservation: Option<String>,
}

/// What a reservation is to be settled by.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Settle {
    /// Its id.
    pub reservation: String,
    /// The units that are known now, by the names they had when it was reserved; others stay as they were charged.
    #[serde(default)]
    pub cost: BTreeMap<String, u64>,
}

/// One settlement, or up to a thousand.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Settles {
    /// Answered by one answer.
    One(Settle),
    /// Each settled alone, answered by an array in the same order.
    Batch(Vec<Settle>),
}

/// A reservation to be released.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// Its id.
    pub reservation: String,
}

/// One release, or up to a thousand.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Releases {
    /// Answered by one answer.
    One(Release),
    /// Each released alone, answered by an array in the same order.
    Batch(Vec<Release>),
}

/// What became of a reservation.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Closed {
    /// Its id.
    pub reservation: String,
    /// True of one that was settled.
    #[serde(default)]
    pub settled: bool,
    /// True of one that was released.
    #[serde(default)]
    pub released: bool,
}

/// What became of one reservation of a batch.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(untagged)]
pub enum ClosedOrNot {
    /// It was settled or released.
    Closed(Closed),
    /// It was not, and is as it was.
    Mistake(Mistake),
}

/// What became of one reservation, or of each of a batch.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Closings {
    /// Of one.
    One(Closed),
    /// Of each, in their order.
    Batch(Vec<ClosedOrNot>),
}

/// What is to be explained: attributes, a request that they are read from, or both.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Why {
    /// The policy's name. It may be left out where only one is served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// Attributes and their values; beside a request they add to what is read from it, or override it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
    /// Whole units by name; a unit that is not named costs one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub cost: BTreeMap<String, u64>,
    /// The request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<WhyRequest>,
}

/// A request that is told, not sent.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WhyRequest {
    /// Its method.
    pub method: String,
    /// Its path and query.
    pub path: String,
    /// Its headers, each a string or a list of strings; `Host` is one of them.
    #[serde(default)]
    pub headers: BTreeMap<String, serde_json::Value>,
    /// Its body: JSON, or a string that is the body itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<serde_json::Value>,
    /// The address that it comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
}

/// The last refusals.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Decisions {
    /// The newest first.
    pub decisions: Vec<KeptDecision>,
}

/// One refusal that is kept.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KeptDecision {
    /// By what it can be asked for.
    pub decision: String,
    /// When it was decided, in seconds since 1970.
    pub at: f64,
    /// `gateway` or `http`.
    pub surface: String,
    /// The policy's name.
    pub policy: String,
    /// The policy's number.
    pub version: u64,
    /// The limit that binds.
    pub binding: Option<String>,
    /// The attributes that had values; of a long one the first 256 bytes.
    pub attributes: BTreeMap<String, String>,
}

/// The answers to one question or to a batch.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Answers {
    /// To one.
    One(Answer),
    /// To each, in their order.
    Batch(Vec<Answer>),
}

/// One limit's part in a ruling.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct LimitAnswer {
    /// The limit's name.
    pub name: String,
    /// The most units that fit at once when nothing is used.
    pub limit: u64,
    /// Units that fit now; one more does not.
    pub remaining: u64,
    /// The window in seconds, a whole number where it is one; null for concurrency.
    pub window_s: Option<f64>,
    /// When the quota is whole again, in seconds since 1970, to the microsecond.
    pub reset_at: f64,
    /// How long until then, in seconds.
    pub reset_after_s: f64,
    /// How long until the cost that was asked for fits: zero if it does, null if it never will or if nobody knows,
    /// as it fits when somebody else releases.
    pub retry_after_s: Option<f64>,
    /// `enforce`, or `shadow` for a limit that counts and refuses nobody.
    pub mode: String,
    /// `seen` if the value was counted before in this window, and is charged nothing; `store-full` if the store had no
    /// room for the counter or the value; left out otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basis: Option<String>,
}

/// What is left.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// The policy's name.
    pub policy: String,
    /// The policy's number.
    pub version: u64,
    /// One entry for each counter, in the order of the policy's limits, then of the attributes' values.
    pub limits: Vec<LimitEntry>,
    /// Whether that is all; false if more than a thousand counters match, or their entries have more than a mebibyte.
    pub complete: bool,
}

/// One counter: a limit's part in a ruling, and what the limit counts by.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct LimitEntry {
    /// How it stands; `retry_after_s` is for a cost of one.
    #[serde(flatten)]
    pub standing: LimitAnswer,
    /// What the limit counts by; an optional attribute that was not given is left out.
    pub attributes: BTreeMap<String, String>,
}

/// Why a question was not answered.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Mistake {
    /// What is wrong.
    pub error: MistakeDetail,
}

/// What is wrong with a question.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MistakeDetail {
    /// What was expected and found.
    pub message: String,
    /// The way to the mistake, `attributes.sesion` or `[3].cost.requests`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// What to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

/// How the server is.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Health {
    /// `ok`, `ready` or `draining`.
    pub status: String,
    /// The policy files whose last change is not in force; what was before, is. Left out where there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<FailedSource>,
}

/// A policy file whose last change is not in force.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct FailedSource {
    /// Where it is.
    pub source: String,
    /// The policy that stays in force, or what the file is called if none is.
    pub policy: String,
    /// The whole diagnostic.
    pub message: String,
}

/// The policies in force.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Policies {
    /// Each of them.
    pub policies: Vec<PolicySummary>,
}

/// One policy in force.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema, PartialEq)]
pub struct PolicySummary {
    /// Its name.
    pub name: String,
    /// Its number; it rises with every change.
    pub version: u64,
    /// Where it comes from: a path, `vendor:NAME`, or `PUT /v1/policies/NAME`.
    pub source: String,
    /// Its dialect.
    pub dialect: String,
    /// The hosts it is for; none for all.
    pub hosts: Vec<String>,
    /// What the paths it is for begin with; empty for all.
    pub prefix: String,
    /// Where its requests go, if not where the server sends all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<String>,
    /// How many limits it has.
    pub limits: usize,
    /// How many operations it has.
    pub operations: usize,
}

/// One policy in force, and what it counts.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct PolicyDetail {
    /// The policy.
    #[serde(flatten)]
    pub summary: PolicySummary,
    /// What its limits can count by, the built-in attributes first.
    pub attributes: Vec<String>,
    /// Its limits, in their order.
    pub rules: Vec<LimitSummary>,
    /// What is surely not as it was meant.
    pub warnings: Vec<ProblemDetail>,
}

/// One limit of a policy.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitSummary {
    /// Its name.
    pub name: String,
    /// `enforce` or `shadow`.
    pub mode: String,
    /// Whether refused attempts are charged to it too.
    pub count_refused: bool,
    /// What it does where the store has no room for its counter: `closed`, it refuses, or `open`, it admits uncounted.
    pub on_store_error: String,
    /// What it counts.
    pub unit: String,
    /// The attribute whose distinct values it counts; left out where it counts a unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distinct: Option<String>,
    /// What it counts by.
    pub per: Vec<String>,
}

/// A policy that was put into force.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Installed {
    /// Its name.
    pub policy: String,
    /// Its number.
    pub version: u64,
    /// What is surely not as it was meant.
    pub warnings: Vec<ProblemDetail>,
}

/// Why a policy was not put into force.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Refused {
    /// What is wrong, in one line.
    pub error: MistakeDetail,
    /// Everything that is wrong with its text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<ProblemDetail>,
}

/// One thing that is wrong with a policy's text.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProblemDetail {
    /// Its code; empty for what concerns the dialect.
    pub code: String,
    /// `error` or `warning`.
    pub severity: String,
    /// The line it begins on, from 1; zero for what concerns the whole.
    pub line: usize,
    /// The column it begins at, from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What was expected and found there.
    pub label: String,
    /// What to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}
