//! Tests of the policy language and of what makes demands of requests.

mod diagnostics;
mod docs;
mod explained;
mod golden;
mod intake;
mod lint;
mod lowering;
mod mistakes;
mod properties;
mod question;
mod zones;
