//! What is in force changes while it serves: files, signals and `PUT`, through both ports.

#![expect(clippy::unwrap_used, reason = "what fails in a test's own hands fails the test")]

mod changes;
mod files;
mod house;
mod put;
mod several;
mod under_load;
