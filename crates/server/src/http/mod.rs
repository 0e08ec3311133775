//! The HTTP API on the control port: ask for a decision, see what is left, see how the server is.
//!
//! `listen.rs` takes connections, `extract.rs` makes questions of bodies and queries or says what is wrong with them,
//! `check.rs` and `limits.rs` decide, `answer.rs` and `respond.rs` write.

pub mod answer;
mod check;
mod explain;
mod extract;
mod host;
mod limits;
mod listen;
mod openapi;
mod policies;
mod reservations;
mod respond;
mod routes;
pub mod wire;

pub use listen::{bounds, serve};
pub use openapi::document;
