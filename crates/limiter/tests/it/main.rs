//! Tests of the limiter and its stores.

mod smoke;
mod support;
