//! The gateway on real sockets: raw bytes in, raw bytes out, before an upstream that writes down what it receives.

mod stand;

mod bodies;
mod forwarding;
mod spellings;
mod strictness;
mod together;
