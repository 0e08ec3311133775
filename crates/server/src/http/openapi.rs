//! The OpenAPI document of the control port, generated of the wire's types and of the operations below.

use std::sync::LazyLock;

use utoipa::OpenApi;

use super::wire::{
    Answers, Checks, Closings, Decisions, Health, Installed, Limits, Mistake, Policies, PolicyDetail, Refused,
    Releases, Settles, Why,
};
use crate::explain::Explanation;

/// The document as JSON.
pub fn document() -> &'static str {
    static DOCUMENT: LazyLock<String> = LazyLock::new(|| {
        // A tree of strings always has a JSON text.
        Description::openapi().to_pretty_json().unwrap_or_default()
    });
    &DOCUMENT
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Tidegate",
        description = "Decisions on rate limits. All answers are JSON but `/metrics`; none may be cached.",
        license(name = "MIT OR Apache-2.0"),
    ),
    paths(
        check,
        settle,
        release,
        limits,
        explain,
        explain_question,
        decisions,
        policies,
        policy,
        put_policy,
        healthz,
        readyz,
        metrics,
        openapi_json
    )
)]
struct Description;

/// Ask for a decision, or for several at once.
///
/// A ruling is always answered by 200, a refusal too. A batch with a mistake anywhere is refused whole, and nothing of
/// it is charged.
#[utoipa::path(
    post,
    path = "/v1/check",
    request_body = Checks,
    responses(
        (status = 200, description = "The ruling, or one for each question in their order", body = Answers),
        (status = 400, description = "The question is wrong; nothing was charged", body = Mistake),
        (status = 408, description = "The body did not arrive in time", body = Mistake),
        (status = 413, description = "The body is too large", body = Mistake),
        (status = 421, description = "The host that was asked for is not this one", body = Mistake),
        (status = 503, description = "There is no room for a reservation; nothing was charged", body = Mistake),
    ),
)]
#[expect(dead_code, reason = "it carries the description")]
fn check() {}

/// Replace what reservations were charged by the truth, and release what they hold.
///
/// Of a batch, each is settled alone: one that is not open is answered by its mistake, in its place.
#[utoipa::path(
    post,
    path = "/v1/settle",
    request_body = Settles,
    responses(
        (status = 200, description = "It is settled, or each of the batch that was open is", body = Closings),
        (status = 400, description = "The question is wrong; nothing was settled", body = Mistake),
        (status = 404, description = "The reservation is not open", body = Mistake),
        (status = 421, description = "The host that was asked for is not this one", body = Mistake),
    ),
)]
#[expect(dead_code, reason = "it carries the description")]
fn settle() {}

/// Give back all that reservations were charged, in the windows that it was taken from, and what they hold.
#[utoipa::path(
    post,
    path = "/v1/release",
    request_body = Releases,
    responses(
        (status = 200, description = "It is released, or each of the batch that was open is", body = Closings),
        (status = 400, description = "The question is wrong; nothing was released", body = Mistake),
        (status = 404, description = "The reservation is not open", body = Mistake),
        (status = 421, description = "The host that was asked for is not this one", body = Mistake),
    ),
)]
#[expect(dead_code, reason = "it carries the description")]
fn release() {}

/// See why each limit applies to the attributes that are given or does not, or did in a past refusal.
///
/// Every attribute of the policy is a query parameter too, unless `decision` is given.
#[utoipa::path(
    get,
    path = "/v1/explain",
    params(
        ("policy" = Option<String>, Query, description = "The policy's name, where several are served"),
        ("decision" = Option<String>, Query, description = "A refusal, by its header `Tidegate-Decision`; stands alone"),
    ),
    responses(
        (status = 200, description = "The explanation; nothing is charged", body = Explanation),
        (status = 400, description = "A parameter is wrong", body = Mistake),
        (status = 404, description = "No such refusal is kept", body = Mistake),
        (status = 421, description = "The host that was asked for is not this one", body = Mistake),
    ),
)]
#[expect(dead_code, reason = "it carries the description")]
fn explain() {}

/// See why each limit applies to a question or a request, or does not.
#[utoipa::path(
    post,
    path = "/v1/explain",
    request_body = Why,
    responses(
        (status = 200, description = "The explanation; nothing is charged", body = Explanation),
        (status = 400, description = "The question is wrong", body = Mistake),
        (status = 421, description = "The host that was asked for is not this one", body = Mistake),
    ),
)]
#[expect(dead_code, reason = "it carries the description")]
fn explain_question() {}

/// See the last refusals.
#[utoipa::path(
    get,
    path = "/v1/decisions",
    params(("most" = Option<u64>, Query, description = "At most so many, 1 to 1,024; 100 if left out")),
    responses(
        (status = 200, description = "The newest first", body = Decisions),
        (status = 400, description = "A parameter is wrong", body = Mistake),
        (status = 421, description = "The host that was asked for is not this one", body = Mistake),
    ),
)]
#[expect(dead_code, reason = "it carries the description")]
fn decisions() {}

/// See what is left for the attributes that are given.
///
/// Every attribute of the policy is a query parameter too. A limit is shown if all attributes that it counts by are
/// given or follow from the operation; without an operation, a limit that counts by operation has an entry for each.
#[utoipa::path(
    get,
    path = "/v1/limits",
    params(("policy" = Option<String>, Query, description = "The policy's name; needed where several are served")),
    responses(
        (status = 200, description = "What is left; nothing is charged", body = Limits),
        (status = 400, description = "A parameter is wrong", body = Mistake),
        (status = 421, description = "The host that was asked for is not this one", body = Mistake),
    ),
)]
#[expect(dead_code, reason = "it carries the description")]
fn limits() {}

/// The policies in force.
#[utoipa::path(
    get,
    path = "/v1/policies",
    responses(
        (status = 200, description = "All of them", body = Policies),
        (status = 421, description = "The host that was asked for is not this one", body = Mistake),
    ),
)]
#[expect(dead_code, reason = "it carries the description")]
fn policies() {}

/// One policy in force.
#[utoipa::path(
    get,
    path = "/v1/policies/{name}",
    params(("name" = String, Path, description = "The policy's name")),
    responses(
        (status = 200, description = "What it is and counts", body = PolicyDetail),
        (status = 404, description = "No policy of this name is served", body = Mistake),
        (status = 421, description = "The host that was asked for is not this one", body = Mistake),
    ),
)]
#[expect(dead_code, reason = "it carries the description")]
fn policy() {}

/// Put a policy into force, in the place of the one of its name or beside the others.
///
/// Only where the control port is bound to a loopback address. It holds until the policy's file changes, or the server
/// ends.
#[utoipa::path(
    put,
    path = "/v1/policies/{name}",
    params(("name" = String, Path, description = "The policy's name, as its text has it")),
    request_body(content = String, content_type = "application/toml"),
    responses(
        (status = 200, description = "It is in force", body = Installed),
        (status = 400, description = "The body is no text", body = Mistake),
        (status = 403, description = "The control port is not on a loopback address", body = Mistake),
        (status = 408, description = "The body did not arrive in time", body = Mistake),
        (status = 409, description = "It cannot be served beside the others; nothing changed", body = Refused),
        (status = 413, description = "The body is too large", body = Mistake),
        (status = 421, description = "The host that was asked for is not this one", body = Mistake),
        (status = 422, description = "It is wrong; nothing changed", body = Refused),
    ),
)]
#[expect(dead_code, reason = "it carries the description")]
fn put_policy() {}

/// Whether the server runs.
#[utoipa::path(
    get,
    path = "/healthz",
    responses(
        (status = 200, description = "It does", body = Health),
        (status = 421, description = "The host that was asked for is not this one", body = Mistake),
    ),
)]
#[expect(dead_code, reason = "it carries the description")]
fn healthz() {}

/// Whether the server is to be asked.
#[utoipa::path(
    get,
    path = "/readyz",
    responses(
        (status = 200, description = "It is", body = Health),
        (status = 503, description = "It finishes what it was asked before", body = Health),
        (status = 421, description = "The host that was asked for is not this one", body = Mistake),
    ),
)]
#[expect(dead_code, reason = "it carries the description")]
fn readyz() {}

/// What was counted, for Prometheus.
#[utoipa::path(
    get,
    path = "/metrics",
    responses(
        (status = 200, description = "OpenMetrics text", body = String, content_type = "application/openmetrics-text"),
        (status = 421, description = "The host that was asked for is not this one", body = Mistake),
    ),
)]
#[expect(dead_code, reason = "it carries the description")]
fn metrics() {}

/// This document.
#[utoipa::path(
    get,
    path = "/openapi.json",
    responses(
        (status = 200, description = "OpenAPI 3.1"),
        (status = 421, description = "The host that was asked for is not this one", body = Mistake),
    ),
)]
#[expect(dead_code, reason = "it carries the description")]
fn openapi_json() {}
