//! The gateway on real sockets: raw bytes in, raw bytes out, before an upstream that writes down what it receives.

#![expect(clippy::unwrap_used, reason = "what fails in a test's own hands fails the test")]

pub(crate) mod stand;

mod bodies;
mod corpus;
mod costs;
mod forwarding;
mod http2;
mod inspection;
mod life;
mod smuggling;
mod spellings;
mod strictness;
mod together;
mod upgrade;
mod upstream;
