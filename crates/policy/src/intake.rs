//! From an abstract HTTP request to the facts that limits count by.

mod bad_request;
mod draft;
mod host;
mod json;
mod path;
mod routes;

pub use bad_request::BadRequest;
pub use draft::{AttributeDraft, CostDraft, From, IntakeDraft, JwtDraft, RouteDraft, SettleDraft, SourceDraft};
