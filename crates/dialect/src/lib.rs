//! How a vendor spells a decision: status, headers and body of an answer, as data.
//!
//! A [`Dialect`] is read from a TOML file (`docs/dialect.md` describes it; `vendors/*/dialect.toml` are the shipped ones)
//! and writes any [`Decision`](tidegate_core::Decision) as [`Fields`]. No vendor is known here by name: what one does
//! that another does not is a key of the file.
//!
//! What this crate does not do: I/O, clocks, HTTP types, deciding.

pub mod bounds;
mod dialect;
mod encoding;
mod escape;
mod fields;
mod inspection;
mod json;
mod list;
mod problem;
mod read;
mod scene;
mod template;

pub use dialect::Dialect;
pub use fields::{Fields, Parts};
pub use inspection::Inspection;
pub use problem::{DialectError, DialectErrors};
