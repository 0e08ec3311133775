//! What an operator writes: one TOML file an API becomes a frozen [`Policy`](tidegate_core::Policy) and the [`Intake`]
//! that makes demands of requests, or all its problems at once, each with a code, a place and help.
//!
//! What this crate does not do: open files (what a policy names is read by whoever calls [`lower_with`]), read clocks or
//! the network, decide, or know a vendor. The language is described in `docs/policy.md`, every problem in
//! `docs/diagnostics.md`.

mod file;
mod intake;
mod lower;
mod problem;
pub mod question;
mod quota;
mod reading;
mod serving;

pub use intake::{
    Asked, AttributeDraft, BadRequest, ClientDraft, CostDraft, CostSource, Facts, Finding, From, Intake, IntakeDraft,
    IntakeError, JwtDraft, Key, Keys, KeysDraft, MAX_METERED_BYTES, MeterProblem, ResponseMeter, Route, RouteDraft,
    SettleDraft, SettleSource, SignatureAlgorithm, SourceDraft, Sourced, Target, TokenFault, TrustedBy, Understood,
};
pub use lower::{Lowered, lower, lower_with};
pub use problem::{Kind, Problem, Problems, Severity, Source, kinds};
pub use serving::{Fit, Serving, host_of};
